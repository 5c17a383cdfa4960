"""Marker files and genotypes: `bmtme/data/markers`."""
