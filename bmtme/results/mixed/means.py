"""Adjusted means: what a fit predicts for levels of some factors, with errors and estimability."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.model.mixed.fixed import Fixed, as_category, decode, encode, list_columns, make_frame, name_term
from bmtme.model.mixed.parser import parse_random
from bmtme.model.mixed.plots import sort_levels
from bmtme.model.mixed.terms import IDENTITY, TRAIT, UNITS
from bmtme.words import list_names, some_names, suggest

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = ["Means", "predict_means"]

#: Rows of the table of combinations over which means are taken.
MOST_ROWS = 1_000_000
#: Columns that a reason names at most.
MOST_NAMED = 2


@dataclass(frozen=True, eq=False)
class Means:
    """Adjusted means, the combinations of effects that they are, and how they were made.

    Attributes
    ----------
    table : DataFrame
        Levels, mean, se, estimable, note.
    combinations : (m, p + q) scipy.sparse.csr_matrix
    averaged, held, ignored : tuples of str
        Factors averaged over, covariates held at their mean, random terms left out.
    sed : float
        Standard error of a difference: square root of the mean variance over all pairs; NaN of fewer than two.
    term : str
        The fixed term over these factors alone, if there is one.
    """

    table: pd.DataFrame
    combinations: sp.csr_matrix
    averaged: tuple[str, ...]
    held: tuple[str, ...]
    ignored: tuple[str, ...]
    sed: float
    term: str

    def tell_ignored(self, layout: Layout, stacklevel: int) -> None:
        """Warn of random terms over a named factor that are left out; `stacklevel` from the caller."""
        own = set(self.table.columns)
        partly: list[str] = []
        joined: list[str] = []
        for design in layout.random:
            names = {name for axis in design.axes for name in (axis.axis.name, axis.axis.other)}
            if design.name in self.ignored and not own.isdisjoint(names):
                (joined if design.axes[0].axis.other is not None else partly).append(design.name)
        if not partly and not joined:
            return
        hints = ["to have them in, name all their factors"] if partly else []
        hints += [f"effects of two columns, as of {list_names(joined)}, are those of blup() alone"] if joined else []
        warnings.warn(
            f"these means leave out {list_names([*partly, *joined])}, whose effects stand at zero: {'; '.join(hints)}.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def predict_means(classify: str, fixed: Fixed, layout: Layout, result: REML) -> Means:
    """Means of the levels of some factors, ``"gen:site"``.

    Every combination of the levels has a row. Other factors of the fixed part are averaged over, all levels alike;
    covariates stand at their mean. Random terms over named factors, and perhaps over some that are averaged, are
    counted, averaged likewise; the others are not (their effects are at their mean, zero).

    Raises
    ------
    UsageError
    """
    names = _read_names(classify, fixed, layout)
    frame = make_frame(fixed, layout.plots, layout.rows, layout.trait)
    own = {name: _list_levels(name, frame, layout) for name in names}
    if layout.trait is not None and TRAIT not in own:
        raise UsageError(
            f"Means of {classify} would be taken over the traits {list_names(layout.trait.levels)}, which are in "
            f"different units: name {TRAIT}:{classify}."
        )
    coded = _list_coded(layout)
    rest = {
        name: _read_levels(frame[name])
        for name in frame.columns
        if name not in own and (_is_factor(frame[name]) or name in coded)
    }
    numeric = [name for name in frame.columns if name not in rest and name not in own]
    forced = [name for name in frame.columns if name not in numeric and not _is_factor(frame[name])]
    grid = {**own, **rest}
    sizes = [len(levels) for levels in grid.values()]
    n, m = int(np.prod(sizes, dtype=float)), int(np.prod([len(levels) for levels in own.values()], dtype=float))
    if n > MOST_ROWS:
        raise UsageError(
            f"Means of {classify} are taken over {n:,} combinations of {list_names(grid)}, and {MOST_ROWS:,} are the "
            "most: name more of these factors."
        )
    index = np.indices(sizes).reshape(len(sizes), -1)
    new: dict[str, Any] = {}
    for (name, levels), codes in zip(grid.items(), index, strict=True):
        if name not in frame.columns:
            continue
        if name in forced:
            new[name] = np.array(levels, dtype=float)[codes].astype(frame[name].to_numpy().dtype)
        else:
            new[name] = as_category(codes, levels)
    for name in numeric:
        new[name] = np.full(n, frame[name].to_numpy(dtype=float).mean())
    X = _make_matrix(layout, pd.DataFrame(new, index=pd.RangeIndex(n)))
    average = sp.csr_matrix((np.full(n, m / n), (np.repeat(np.arange(m), n // m), np.arange(n))), shape=(m, n))
    cells = pd.DataFrame(
        {name: np.array(levels, dtype=object)[codes] for (name, levels), codes in zip(grid.items(), index, strict=True)}
    ).astype(str)
    rows = cells.loc[:: n // m, list(own)].reset_index(drop=True)
    parts: list[sp.csr_matrix] = [average @ X]
    ignored = []
    for design, term in zip(layout.random, result.problem.terms, strict=True):
        Z = _place_effects(design, cells, own, term.q)
        if Z is None:
            ignored.append(design.name)
        parts.append(sp.csr_matrix((m, term.q)) if Z is None else sp.csr_matrix(average @ Z))
    K = sp.csr_matrix(sp.hstack(parts, format="csr"))
    estimable = result.is_estimable(K)
    table = rows.copy()
    table["mean"] = np.where(estimable, result.combine(K), np.nan)
    variances = np.concatenate([np.diag(result.covariance_of(K[k : k + 500])) for k in range(0, m, 500)])
    table["se"] = np.where(estimable, np.sqrt(np.maximum(variances, 0.0)), np.nan)
    table["estimable"] = estimable
    table["note"] = _explain_gaps(K, layout, result)
    sed = _find_difference(K[np.flatnonzero(estimable)], variances[estimable], result)
    return Means(table, K, tuple(rest), tuple(numeric), tuple(ignored), sed, _find_term(names, layout))


def _explain_gaps(K: sp.csr_matrix, layout: Layout, result: REML) -> list[str]:
    """Why each mean is missing, or nothing."""
    problem = result.problem
    leaning: dict[int, list[str]] = {}
    for row, column in zip(*problem.find_leanings(K[:, : problem.p]), strict=True):
        leaning.setdefault(int(row), []).append(layout.columns.names[column])
    return [
        f"not estimable: no data tell {some_names(leaning[row], MOST_NAMED)}" if row in leaning else ""
        for row in range(K.shape[0])
    ]


def _find_difference(K: sp.csr_matrix, variances: np.ndarray, result: REML) -> float:
    """Square root of the mean variance of a difference of two means, 2 (tr V - 1'V1 / m) / (m - 1)."""
    m = K.shape[0]
    if m < 2:
        return np.nan
    total = float(result.covariance_of(sp.csr_matrix(np.ones((1, m))) @ K)[0, 0])
    return float(np.sqrt(max(2.0 * (variances.sum() - total / m) / (m - 1), 0.0)))


def _find_term(names: list[str], layout: Layout) -> str:
    """The fixed term over these factors alone, if there is one."""
    for term in layout.columns.spec.term_slices:
        if {name for factor in term.factors for name in list_columns(factor)} == set(names):
            return name_term(term)
    return ""


def _read_names(classify: str, fixed: Fixed, layout: Layout) -> list[str]:
    terms = parse_random(classify).terms
    axes = terms[0].axes if len(terms) == 1 and not terms[0].at else ()
    if not axes or any(axis.structure != IDENTITY for axis in axes):
        raise UsageError(f"Means are of factors joined by :, as in 'gen:site', got {classify!r}.")
    names = [axis.name for axis in axes]
    there = set(fixed.names)
    for design in layout.random:
        there |= {axis.axis.name for axis in design.axes} | set(design.levels)
    there.discard(UNITS)
    for name in names:
        if name not in there:
            raise UsageError(
                f"Means of {name!r} cannot be taken: the model has no such factor.{suggest(name, there)} It has "
                f"{list_names(sorted(there), 20) or 'none'}."
            )
    return names


def _list_coded(layout: Layout) -> set[str]:
    """Columns of which the fixed formula makes factors, numbers in C() among them."""
    factors = {factor for term in layout.columns.spec.term_slices for factor in term.factors}
    return {name for f in factors if decode(f) not in layout.columns.covariates for name in list_columns(f)}


def _read_levels(column: pd.Series) -> list[str]:
    """Levels of a factor, or of numbers that are taken as one."""
    if _is_factor(column):
        return list(map(str, column.cat.categories))
    return list(map(str, sorted(column.unique())))


def _is_factor(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _list_levels(name: str, frame: pd.DataFrame, layout: Layout) -> list[str]:
    """Levels of a factor that means are of: those of the fixed part, or of all random terms with it."""
    if name in frame.columns:
        if _is_factor(frame[name]):
            return _read_levels(frame[name])
        if any(decode(factor) == name for term in layout.columns.spec.term_slices for factor in term.factors):
            raise UsageError(
                f"Means of {name!r} cannot be taken: it is a covariate. In the fixed formula C({name}) makes a factor "
                "of it."
            )
        return _read_levels(frame[name])
    if name == TRAIT and layout.trait is not None:
        return list(layout.trait.levels)
    found: set[str] = set()
    for design in layout.random:
        found |= {level for axis in design.axes if axis.axis.label == name for level in axis.levels}
        found |= {level for other, level in design.levels.items() if other == name}
    return list(sort_levels(found))


def _make_matrix(layout: Layout, frame: pd.DataFrame) -> sp.csr_matrix:
    """Fixed columns of new rows."""
    spec = layout.columns.spec
    made = spec.get_model_matrix(encode(frame), na_action="ignore", context={})
    matrix = sp.csr_matrix(made)
    if matrix.shape[0] != len(frame):
        matrix = sp.csr_matrix(np.ones((len(frame), matrix.shape[1])))
    return matrix


def _place_effects(design: Design, levels: pd.DataFrame, own: Collection[str], q: int) -> sp.csr_matrix | None:
    """The effects of a term that belong to each row, or None where it has other factors, too, or none of `own`."""
    places = design.levels
    names = [axis.axis.label for axis in design.axes]
    if not set(names) | set(places) <= set(levels.columns) or set(own).isdisjoint([*names, *places]):
        return None
    inside = np.ones(len(levels), dtype=bool)
    for name, level in places.items():
        inside &= (levels[name] == level).to_numpy()
    cells = np.zeros(len(levels), dtype=np.int64)
    for axis in design.axes:
        place = {level: j for j, level in enumerate(axis.levels)}
        codes = np.array([place.get(level, -1) for level in levels[axis.axis.name]], dtype=np.int64)
        inside &= codes >= 0
        cells = cells * len(axis.levels) + codes
    rows = np.flatnonzero(inside)
    return sp.csr_matrix((np.ones(len(rows)), (rows, cells[rows])), shape=(len(levels), q))
