"""A mixed model as arrays: data, fixed columns, random terms, residual sections."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from bmtme.engines.mixed.axis import Axis
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, list_names

#: A fixed column counts as a sum of earlier ones where less than this share of its sum of squares is its own.
OWN_SHARE = 1e-9


def check_axes(name: str, axes: tuple[Axis, ...]) -> int:
    """Number of cells of a product of axes; refuse one without a variance beside a parameter."""
    if not axes:
        raise UsageError(f"{name} has no axes.")
    scales = sum(axis.has_scale for axis in axes)
    if scales > 1:
        raise UsageError(f"{name} has variances on {scales} axes, and only their product can be told: keep one.")
    if not scales and any(axis.count for axis in axes):
        raise UsageError(f"{name} has a correlation and no variance: give it an axis with variances.")
    return math.prod(axis.n for axis in axes)


@dataclass(frozen=True, eq=False)
class Term:
    """A random term: effects u ~ N(0, G), G the Kronecker product of its axes.

    Attributes
    ----------
    name : str
        For messages.
    axes : tuple of Axis
        The first varies slowest.
    columns : array of int (n,) or sparse matrix (n, q)
        The effect of each record, its place in the product of axes (-1 for none); or the incidence matrix Z.
    """

    name: str
    axes: tuple[Axis, ...]
    columns: np.ndarray | sp.spmatrix

    @property
    def q(self) -> int:
        """Number of effects."""
        return math.prod(axis.n for axis in self.axes)

    def make_design(self, n: int) -> sp.csr_matrix:
        """The incidence matrix Z (n, q)."""
        size = check_axes(self.name, self.axes)
        if sp.issparse(self.columns):
            Z = sp.csr_matrix(self.columns, dtype=float)
        else:
            columns = np.asarray(self.columns)
            if columns.shape != (n,):
                raise UsageError(f"{self.name} names the effects of {columns.shape} records: expected {n:,}.")
            if len(columns) and not -1 <= columns.min() <= columns.max() < size:
                raise UsageError(f"{self.name} has {size:,} effects, and records name others.")
            rows = np.flatnonzero(columns >= 0)
            Z = sp.csr_matrix((np.ones(len(rows)), (rows, columns[rows])), shape=(n, size))
        if Z.shape != (n, size):
            raise UsageError(f"{self.name} has an incidence matrix of {Z.shape}: expected {(n, size)}.")
        return Z


@dataclass(frozen=True, eq=False)
class Section:
    """Records whose residuals are e ~ N(0, R), R the Kronecker product of axes over the cells of the section.

    A cell without a record (a plot that was not harvested, a trait that was not measured) is allowed: the likelihood is
    that of the records.

    Attributes
    ----------
    name : str
        For messages.
    rows : array of int (m,)
        The records of the section.
    axes : tuple of Axis
        The first varies slowest.
    cells : array of int (m,), optional
        The cell of each of these records in the product of axes; as they come, if not given.
    """

    name: str
    rows: np.ndarray
    axes: tuple[Axis, ...]
    cells: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(axis.n for axis in self.axes)

    @cached_property
    def places(self) -> np.ndarray:
        """The cell of each record (m,)."""
        size = check_axes(self.name, self.axes)
        places = np.arange(len(self.rows)) if self.cells is None else np.asarray(self.cells)
        if places.shape != np.shape(self.rows):
            raise UsageError(f"{self.name} has {len(self.rows):,} records and {places.shape} cells.")
        if not len(places):
            raise DataError(f"{self.name} has no records: leave the section out.")
        if not 0 <= places.min() <= places.max() < size:
            raise UsageError(f"{self.name} has {size:,} cells, and records lie in others.")
        counts = np.bincount(places, minlength=size)
        if counts.max() > 1:
            cell = int(counts.argmax())
            where = np.unravel_index(cell, [axis.n for axis in self.axes])
            position = ", ".join(str(int(k) + 1) for k, axis in zip(where, self.axes, strict=True) if axis.n > 1)
            raise DataError(
                f"{self.name} has {counts[cell]} records in one cell, at {position}: each needs a place of its own."
            )
        return places


@dataclass(frozen=True, eq=False)
class Problem:
    """y = X b + sum_t Z_t u_t + e. Records without a value are not among the n.

    Attributes
    ----------
    y : array (n,)
    X : array or sparse matrix (n, p)
        Fixed columns. One that is a sum of earlier ones is left out: `kept`, `is_estimable`. Centre covariates: one
        with a mean of 30,000 standard deviations is taken for the intercept.
    terms : tuple of Term
    sections : tuple of Section
        Every record is in one.
    weights : array (n,), optional
        Positive: the covariance of residuals is D R D with D the diagonal of 1 / sqrt(weights).
    """

    y: np.ndarray
    X: np.ndarray | sp.spmatrix
    terms: tuple[Term, ...]
    sections: tuple[Section, ...]
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        y = np.asarray(self.y, float)
        X = sp.csr_matrix(self.X, dtype=float)
        if X.shape[0] != len(y):
            raise UsageError(f"there are {len(y):,} records and {X.shape[0]:,} rows of fixed columns.")
        if not (np.isfinite(y).all() and np.isfinite(X.data).all()):
            raise DataError("a value of the trait or of a fixed column is missing or infinite: leave such records out.")
        if not self.sections:
            raise UsageError("the model has no residual.")
        seen = np.bincount(np.concatenate([section.rows for section in self.sections]), minlength=len(y))
        if len(seen) > len(y) or (seen != 1).any():
            at = int(np.flatnonzero(seen != 1)[0])
            raise UsageError(
                f"record {at + 1} is in {count_noun(int(seen[at]), 'section')} of the residual: expected one."
            )
        if self.weights is not None:
            weights = np.asarray(self.weights, float)
            if weights.shape != y.shape or not np.isfinite(weights).all() or weights.min() <= 0:
                raise DataError("weights have to be positive numbers, one for each record.")
            object.__setattr__(self, "weights", weights)
        names = [block.name for block in self.blocks]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UsageError(f"the model has two terms by one name: {list_names(repeated)}.")
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "X", X)
        if self.n <= self.rank:
            raise DataError(
                f"{count_noun(self.n, 'record')} and {count_noun(self.rank, 'fixed effect')} that can be told apart: "
                "nothing is left for variances. Make effects random, or leave some out."
            )
        if not np.any(self.centred):
            raise DataError("the fixed effects explain every value of the trait: nothing is left for variances.")

    @property
    def n(self) -> int:
        """Number of records."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Number of fixed columns."""
        return int(self.X.shape[1])

    @property
    def blocks(self) -> tuple[Section | Term, ...]:
        """Everything with a covariance, in the order of the parameters: sections, then terms."""
        return (*self.sections, *self.terms)

    @cached_property
    def designs(self) -> tuple[sp.csr_matrix, ...]:
        """Incidence matrices of the terms."""
        return tuple(term.make_design(self.n) for term in self.terms)

    @cached_property
    def _basis(self) -> tuple[np.ndarray, np.ndarray]:
        """Fixed columns that are kept, and those that are left out as sums of these (rank, p - rank)."""
        chosen = find_independent((self.X.T @ self.X).toarray())
        others = np.setdiff1d(np.arange(self.p), chosen)
        K = self.X[:, chosen]
        if not len(chosen) or not len(others):
            return chosen, np.zeros((len(chosen), len(others)))
        sums = scipy.linalg.solve((K.T @ K).toarray(), (K.T @ self.X[:, others]).toarray(), assume_a="pos")
        sums[np.abs(sums) < 1e-9] = 0.0
        return chosen, sums

    @property
    def kept(self) -> np.ndarray:
        """Fixed columns that are no sums of earlier ones."""
        return self._basis[0]

    @property
    def rank(self) -> int:
        """Rank of X."""
        return len(self.kept)

    @cached_property
    def least_squares(self) -> np.ndarray:
        """Fixed effects (rank,) without any random term."""
        K = self.X[:, self.kept]
        return scipy.linalg.solve((K.T @ K).toarray(), K.T @ self.y, assume_a="pos") if self.rank else np.zeros(0)

    @cached_property
    def centred(self) -> np.ndarray:
        """y without its least squares fit (n,): it has the same restricted likelihood, and keeps more digits."""
        centred = self.y - self.X[:, self.kept] @ self.least_squares
        scale = np.abs(self.y).max(initial=0.0)
        return np.where(np.abs(centred) < 1e-13 * scale, 0.0, centred)

    def is_estimable(self, combinations: sp.spmatrix) -> np.ndarray:
        """Which combinations (m, p) of fixed columns do not depend on which columns were left out (m,)."""
        found = np.ones(sp.csr_matrix(combinations).shape[0], dtype=bool)
        found[self.find_leanings(combinations)[0]] = False
        return found

    def find_leanings(self, combinations: sp.spmatrix) -> tuple[np.ndarray, np.ndarray]:
        """Combinations (m, p) of fixed columns and columns left out on which they depend: places of both, in order."""
        K = sp.csr_matrix(combinations)
        kept, sums = self._basis
        others = np.setdiff1d(np.arange(self.p), kept)
        gap = np.abs(K[:, others].toarray() - K[:, kept] @ sums)
        size = np.maximum(np.abs(K).max(axis=1).toarray().ravel(), 1e-300) if self.p else np.ones(K.shape[0])
        rows, places = np.nonzero(gap > 1e-7 * size[:, None])
        return rows, others[places]


def find_independent(A: np.ndarray) -> np.ndarray:
    """Columns of X that are no sums of earlier ones, from A = X'X (p, p): the pivots of its Cholesky factor tell."""
    own = A.diagonal().copy()
    try:
        pivots = np.linalg.cholesky(A).diagonal() ** 2
        if (pivots > OWN_SHARE * own).all():
            return np.arange(len(A))
    except np.linalg.LinAlgError:
        pass
    A = A.copy()
    kept: list[int] = []
    for j in range(len(A)):
        if own[j] > 0 and A[j, j] > OWN_SHARE * own[j]:
            kept.append(j)
            A[j + 1 :, j + 1 :] -= np.outer(A[j + 1 :, j], A[j + 1 :, j] / A[j, j])
    return np.array(kept, int)
