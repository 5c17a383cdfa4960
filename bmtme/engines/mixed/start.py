"""Where a fit starts: the variance that least squares leaves, half for the residual, the rest for the terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axes import Known
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.errors import DataError, NumericalError

#: Share of the variance that the residual starts with, where there are random terms.
RESIDUAL_SHARE = 0.5
#: Levels with fewer records are not left to themselves: they start with the variance of all data, where it is larger.
FEW = 5


@dataclass(frozen=True)
class Ranges:
    """Start, bounds and units of phi, all (k,); see `bmtme.engines.mixed.axis.Axis`."""

    start: np.ndarray
    low: np.ndarray
    high: np.ndarray
    units: np.ndarray
    may_vanish: np.ndarray


def find_ranges(problem: Problem) -> Ranges:
    """Start, bounds and units from the residuals of least squares: per level of an axis with variances."""
    squares = problem.centred**2 if problem.weights is None else problem.weights * problem.centred**2
    overall = float(squares.mean())
    acting = sum(len(np.unique(Z.nonzero()[0])) for Z in problem.designs) / problem.n
    parts: list[tuple[np.ndarray, ...]] = []
    for b, block in enumerate(problem.blocks):
        if isinstance(block, Section):
            share = RESIDUAL_SHARE if problem.terms else 1.0
            totals = np.bincount(block.places, squares[block.rows], minlength=block.size)
            counts = records = np.bincount(block.places, minlength=block.size).astype(float)
        else:
            share = (1 - RESIDUAL_SHARE) / max(acting, 1.0)
            Z = problem.designs[b - len(problem.sections)]
            there = sp.csr_matrix((np.ones(Z.nnz), Z.indices, Z.indptr), shape=Z.shape)
            totals, counts = there.T @ squares, np.asarray(Z.multiply(Z).sum(axis=0)).ravel()
            records = np.asarray(there.sum(axis=0)).ravel()
        size = find_size(block)
        for a, axis in enumerate(block.axes):
            rest = tuple(d for d in range(len(block.axes)) if d != a)
            shape = [other.n for other in block.axes]
            total, count, number = (x.reshape(shape).sum(axis=rest) for x in (totals, counts, records))
            variances = total / np.maximum(count, 1e-300) / size
            variances = np.where((number < FEW) | (total == 0), np.maximum(variances, overall / size), variances)
            sd = np.sqrt(variances)
            parts.append((axis.start(share * variances), *axis.bounds(sd), axis.units(sd), axis.may_vanish))
    return Ranges(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def find_size(block: Section | Term) -> float:
    """Mean diagonal of a block's known covariances."""
    size = 1.0
    for axis in block.axes:
        if isinstance(axis, Known):
            try:
                size *= axis.mean_diagonal
            except NumericalError as error:
                raise DataError(
                    f"the known covariance of {block.name} cannot be used: its inverse is not positive definite."
                ) from error
    return size
