"""Relationships, by matrix, markers or pedigree: `bmtme/data/relationship`."""
