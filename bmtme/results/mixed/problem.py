"""The arrays of a mixed model, and what makes its parameters impossible to tell."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axes import (
    AR1,
    Axis,
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Identity,
    Known,
    Unstructured,
    Variance,
)
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.errors import UsageError
from bmtme.model.mixed.design import AxisLevels, Design, Layout

__all__ = ["make_axes", "make_problem"]

#: A term whose effects on the records, drawn at random, have less than this share outside the fixed part, is in it.
ALIASED = 1e-8
_AXES = {"us": Unstructured, "diag": Diagonal, "corh": Corh, "cs": CompoundSymmetry, "ar1": AR1, "identity": Identity}


def make_axes(design: Design) -> tuple[Axis, ...]:
    """The engine's axes of a term or section: those of its formula, after a variance where none of these has one."""
    made = [_make_axis(levels) for levels in design.axes]
    return tuple(made) if any(axis.has_scale for axis in made) else (Variance(), *made)


def _make_axis(levels: AxisLevels) -> Axis:
    axis = levels.axis
    known = levels.precision
    if known is not None:
        return Known(sp.csr_matrix(known.matrix), known.log_det, float(known.diagonal.mean()))
    if axis.factors is not None:
        return FactorAnalytic(len(levels.levels), axis.factors)
    return _AXES[axis.structure](len(levels.levels))


def make_problem(layout: Layout) -> Problem:
    """The engine's problem: sections in their order, terms in theirs.

    Raises
    ------
    UsageError
        If a random term cannot be told from the fixed part, the residual or another term.
    DataError
    """
    terms = tuple(
        Term(design.name, make_axes(design), design.cells if design.matrix is None else design.matrix)
        for design in layout.random
    )
    sections = []
    for design in layout.residual:
        rows = np.flatnonzero(design.cells >= 0)
        sections.append(Section(design.name, rows, make_axes(design), design.cells[rows]))
    _refuse_twins(layout)
    _refuse_residuals(layout)
    problem = Problem(layout.y, layout.columns.matrix, terms, tuple(sections), layout.weights)
    _refuse_aliased(problem, layout)
    return problem


def _is_plain(design: Design) -> bool:
    """Whether its effects are independent with one variance, each of some records alike."""
    return design.matrix is None and all(levels.axis.structure == "identity" for levels in design.axes)


def _refuse_twins(layout: Layout) -> None:
    """Two terms of independent effects that divide the records alike."""
    seen: dict[bytes, str] = {}
    for design in layout.random:
        if not _is_plain(design):
            continue
        _, first, codes = np.unique(design.cells, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        key = (np.where(design.cells < 0, -1, rank[codes])).tobytes()
        other = seen.setdefault(key, design.name)
        if other != design.name:
            raise UsageError(
                f"The random terms {other} and {design.name} divide the plots alike: their variances cannot be told "
                "apart. Leave one of them out."
            )


def _refuse_residuals(layout: Layout) -> None:
    """A term with an effect of its own for each record, beside independent residuals."""
    names = {section.name for section in layout.residual}
    plain = np.zeros(len(layout.y), dtype=bool)
    for section in layout.residual:
        if _is_plain(section):
            plain |= section.cells >= 0
    for design in layout.random:
        inside = design.cells >= 0
        alone = len(np.unique(design.cells[inside])) == inside.sum()
        if design.name in names or (_is_plain(design) and plain[inside].all() and alone):
            raise UsageError(
                f"The random term {design.name} has a level for each plot: its variance cannot be told from that of "
                "the residual, which is of the same structure. Leave it out."
            )


def _refuse_aliased(problem: Problem, layout: Layout) -> None:
    """A term whose effects are sums of fixed columns."""
    if not problem.terms or not problem.rank:
        return
    # What random effects do to the records has, almost surely, a part outside the fixed columns if any effects have.
    rng = np.random.default_rng(1)
    z = np.column_stack([Z @ rng.standard_normal(Z.shape[1]) for Z in problem.designs])
    X = problem.X[:, problem.kept]
    cross = X.T @ z
    fitted = X @ np.linalg.solve((X.T @ X).toarray(), cross)
    outside = np.linalg.norm(z - fitted, axis=0) / np.linalg.norm(z, axis=0)
    for design, share in zip(layout.random, outside, strict=True):
        if share < ALIASED:
            raise UsageError(
                f"The random term {design.name} is in the fixed part: every effect of it is a sum of fixed effects, "
                "so that its variance cannot be told. Leave it out of one of the two."
            )
