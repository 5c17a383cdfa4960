"""Cholesky factor of sparse matrices of one pattern."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bmtme.errors import NumericalError, UsageError
from bmtme.linalg.sparse.elimination import (
    count_columns,
    find_parents,
    form_supernodes,
    list_earlier,
    mirror_pattern,
    order_supernodes,
    order_tree,
)
from bmtme.linalg.sparse.factor import factor_fronts
from bmtme.linalg.sparse.fronts import build_fronts, list_entries, measure_inverses, measure_updates
from bmtme.linalg.sparse.inverse import invert_fronts
from bmtme.linalg.sparse.ordering import order_pivots
from bmtme.linalg.sparse.solve import solve_backward, solve_forward

__all__ = ["PivotError", "SparseCholesky"]


class PivotError(NumericalError):
    """A matrix that is not positive definite.

    Attributes
    ----------
    equation : int
        Row, in the order of the matrix, whose pivot is not positive.
    """

    def __init__(self, equation: int, pivot: float) -> None:
        super().__init__(
            f"the matrix is not positive definite: the pivot of equation {equation} (counted from 0) is "
            f"{pivot:.3g}. The equation is a combination of others, or the matrix is indefinite."
        )
        self.equation = equation


class SparseCholesky:
    r"""Factor P A P' = L L' of symmetric positive definite matrices A that share a pattern.

    Rows are ordered, and everything that depends on the pattern alone is worked out, once; after that each matrix takes
    `factor`, and what follows is of the matrix factored last.

    Parameters
    ----------
    pattern : (n, n) scipy.sparse array or matrix, CSC
        Lower triangle with the whole diagonal, rows sorted within columns. An entry may be zero.

    Attributes
    ----------
    n : int
    fill : int
        Entries of L.
    memory : int
        Bytes that the pattern, the factor and the selected inverse take together.

    Raises
    ------
    UsageError
        If the pattern is another.

    Notes
    -----
    Approximate minimum degree ordering (Amestoy, Davis and Duff 1996), supernodes, multifrontal elimination (Liu 1992),
    selected inverse by Takahashi, Fagan and Chin (1973). Products of blocks are those of the BLAS that SciPy brings,
    with as many threads as it is allowed (`threadpoolctl`); which may change the last digits.
    """

    def __init__(self, pattern: Any) -> None:
        start, rows = _check_pattern(pattern)
        self.n = len(start) - 1
        self._entries = len(rows)
        full, neighbours = mirror_pattern(start, rows)
        order = order_pivots(full, neighbours)
        rank = _invert(order)
        begin, earlier = list_earlier(full, neighbours, order, rank)
        parent = find_parents(begin, earlier)
        count = count_columns(begin, earlier, parent)
        self.fill = int(count.sum())
        post = order_tree(parent, count, True)  # the longest child is merged with its parent if it comes last
        parent = np.where(parent >= 0, _invert(post)[parent], -1)[post]
        supernodes, sizes = form_supernodes(parent, count[post])
        supernodes, sizes, again = order_supernodes(supernodes, sizes, parent)
        self._order = order[post][again]
        self._fronts = build_fronts(supernodes, sizes, *list_entries(start, rows, _invert(self._order)))
        self._stored = int(self._fronts.panel[-1])
        self._stack = max(measure_updates(self._fronts), measure_inverses(self._fronts))
        arrays = sum(array.nbytes for array in self._fronts)
        self.memory = int(8 * (self._stored + self._stack + self._entries) + arrays)
        self._panels: np.ndarray | None = None
        self._work: np.ndarray | None = None
        self._log_determinant: float | None = None

    def fork(self) -> SparseCholesky:
        """Another one of the same pattern, for another thread: what depends on the pattern alone is shared."""
        other = copy.copy(self)
        other._panels = other._work = other._log_determinant = None
        return other

    def factor(self, values: np.ndarray) -> None:
        """Factor the matrix with these values.

        Parameters
        ----------
        values : array
            Aligned with `pattern.data`.

        Raises
        ------
        PivotError
            A `NumericalError`, if a pivot is not positive, or no more than 1e-14 of its diagonal entry, which is the
            size of rounding errors; its `equation` is the row.
        NumericalError
            If a value is not finite.
        """
        values = np.ascontiguousarray(values, dtype=np.float64)
        if values.shape != (self._entries,):
            raise UsageError(f"expected {self._entries} values, one for each entry of the pattern, got {values.shape}.")
        self._log_determinant = None
        if not np.isfinite(values).all():
            raise NumericalError("the matrix has a value that is not finite.")
        if self._panels is None or self._work is None:
            self._panels, self._work = np.empty(self._stored), np.empty(self._stack)
        column, figure = factor_fronts(self._fronts, values, self._panels, self._work, np.empty(self.n))
        if column >= 0:
            raise PivotError(int(self._order[column]), float(figure))
        self._log_determinant = float(figure)

    @property
    def log_determinant(self) -> float:
        """Log of the determinant of A."""
        self._find_panels()
        assert self._log_determinant is not None
        return self._log_determinant

    def solve(self, b: np.ndarray) -> np.ndarray:
        """A^-1 b.

        Parameters
        ----------
        b : (n,) or (n, k) array

        Returns
        -------
        array of the shape of b
        """
        panels = self._find_panels()
        columns = self._take_columns(b)[self._order]
        solve_forward(self._fronts, panels, columns)
        solve_backward(self._fronts, panels, columns)
        return self._give_columns(columns, np.shape(b))

    def draw(self, z: np.ndarray) -> np.ndarray:
        """P' L'^-1 z, of covariance A^-1 where z is standard normal.

        Parameters
        ----------
        z : (n,) or (n, k) array

        Returns
        -------
        array of the shape of z
        """
        columns = self._take_columns(z).copy()
        solve_backward(self._fronts, self._find_panels(), columns)
        return self._give_columns(columns, np.shape(z))

    def selected_inverse(self) -> np.ndarray:
        """Entries of A^-1 where the pattern has entries.

        Returns
        -------
        array
            Aligned with `pattern.data`.
        """
        panels = self._find_panels()
        out = np.empty(self._entries)
        assert self._work is not None
        invert_fronts(self._fronts, panels, self._work, out)
        return out

    def _find_panels(self) -> np.ndarray:
        if self._log_determinant is None or self._panels is None:
            raise UsageError("no matrix was factored: call factor(values) first.")
        return self._panels

    def _take_columns(self, b: np.ndarray) -> np.ndarray:
        columns = np.ascontiguousarray(b, dtype=np.float64)
        if columns.ndim not in (1, 2) or columns.shape[0] != self.n:
            raise UsageError(f"expected an array of {self.n} rows, got one of shape {columns.shape}.")
        return columns[:, None] if columns.ndim == 1 else columns

    def _give_columns(self, columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        out = np.empty_like(columns)
        out[self._order] = columns
        return out.reshape(shape)


def _check_pattern(pattern: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where columns begin, and their rows."""
    if getattr(pattern, "format", None) != "csc" or pattern.shape[0] != pattern.shape[1]:
        raise UsageError("a pattern has to be a square scipy.sparse array in CSC format.")
    start, rows = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64)
    column = np.repeat(np.arange(len(start) - 1), np.diff(start))
    if np.any(rows < column) or np.any((np.diff(rows) <= 0) & (np.diff(column) == 0)):
        raise UsageError("a pattern has to be a lower triangle, with rows ascending within columns and none twice.")
    if not np.array_equal(rows[start[:-1][np.diff(start) > 0]], np.arange(len(start) - 1)):
        raise UsageError("a pattern has to hold the whole diagonal; its entries may be zero.")
    return start, rows


def _invert(order: np.ndarray) -> np.ndarray:
    """Inverse of a permutation."""
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank
