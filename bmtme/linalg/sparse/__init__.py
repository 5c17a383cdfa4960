"""Sparse Cholesky factor of matrices of one pattern: ordering, fronts, solutions, draws, selected inverse."""

from bmtme.linalg.sparse.cholesky import PivotError, SparseCholesky

__all__ = ["PivotError", "SparseCholesky"]
