"""Marker genotypes: codes, files, quality."""
