"""Relationships between lines: matrices, their files, and their making from markers or a pedigree."""
