"""Sparse Cholesky factor: `bmtme/linalg/sparse`."""
