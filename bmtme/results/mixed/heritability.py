"""Heritabilities of a random term: of a plot, of an entry mean, and by the errors of differences (Cullis)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.arguments import is_one_of, show
from bmtme.choices import CULLIS, HERITABILITY_KINDS, HERITABILITY_RATIOS
from bmtme.engines.mixed.axes import Known
from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.model.mixed.terms import TRAIT, UNITS, Random
from bmtme.results.mixed.components import Named, call, find_error, refuse_untold
from bmtme.results.mixed.effects import find_designs, find_prior_variances

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = ["list_ratios", "record_ratios", "tabulate_heritability"]

#: What the errors of differences are compared with.
DIFFERENCE = "variance of a difference"


def tabulate_heritability(
    term: str, kind: str, random: Random, layout: Layout, result: REML, named: Sequence[Named]
) -> pd.DataFrame:
    """Heritability of a term, in each section or at each level of its variance.

    Parameters
    ----------
    term : str
    kind : {"record", "mean", "cullis"}

    Returns
    -------
    DataFrame
        level, kind, estimate, se, denominator (in words).

    Raises
    ------
    UsageError
    """
    if not is_one_of(kind, HERITABILITY_KINDS):
        raise UsageError(f"kind must be one of {', '.join(map(repr, HERITABILITY_KINDS))}, got {show(kind)}.")
    ratios = [] if kind == CULLIS else list_ratios(term, kind, random, layout, named)
    rows: list[tuple[str, str, float, float, str]] = []
    for ratio in ratios:
        refuse_untold(named, result, {ratio.variance, *ratio.others}, f"The heritability of {ratio.term}")
        value, slopes = _divide(*ratio.weigh(len(named)), result.estimates)
        rows.append((ratio.label, kind, value, find_error(slopes, result), ratio.describe(named)))
    for place in find_designs(term, random, layout) if kind == CULLIS else []:
        design = layout.random[place]
        for level, records, variance in _list_strata(design, place, layout, named):
            refuse_untold(named, result, [variance], f"The heritability of {design.name}")
            rows.append((level, kind, _find_cullis(design, place, layout, result, records), np.nan, DIFFERENCE))
    return pd.DataFrame(rows, columns=["level", "kind", "estimate", "se", "denominator"])


@dataclass(frozen=True)
class Ratio:
    """A heritability V / (V + others).

    Attributes
    ----------
    term, label : str
        Of the design, and of the section or level.
    variance : int
        Component V.
    others : dict of float
        Weights of the other components in the denominator.
    """

    term: str
    label: str
    variance: int
    others: dict[int, float]

    def weigh(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (count,) of the components in V and in the others."""
        top, rest = np.zeros(count), np.zeros(count)
        top[self.variance] = 1.0
        rest[list(self.others)] = list(self.others.values())
        return top, rest

    def describe(self, named: Sequence[Named]) -> str:
        """The denominator in words."""
        names = {each.place: call(each) for each in named}
        return " + ".join(
            names[place] if weight == 1.0 else f"{names[place]} / {1 / weight:.3g}"
            for place, weight in ({self.variance: 1.0} | self.others).items()
        )


def list_ratios(term: str, kind: str, random: Random, layout: Layout, named: Sequence[Named]) -> list[Ratio]:
    """Heritabilities of a plot or an entry mean, in each section or at each level of the variance.

    Raises
    ------
    UsageError
    """
    found = []
    for place in find_designs(term, random, layout):
        design = layout.random[place]
        for level, records, variance in _list_strata(design, place, layout, named):
            found += _find_ratios(design, layout, named, level, records, variance, kind)
    return found


def record_ratios(random: Random, layout: Layout, named: Sequence[Named]) -> list[dict[str, Any]]:
    """Heritabilities of every term in plain values, so that a posterior has them without its plots.

    Of each, term, design, kind, level, weights (of the parameters in the order of `named`: V, the others) and the
    denominator in words; of a term that has none, term and why.
    """
    named = [replace(each, place=k) for k, each in enumerate(named)]
    found: list[dict[str, Any]] = []
    for term in map(str, random.terms):
        try:
            for kind in HERITABILITY_RATIOS:
                for ratio in list_ratios(term, kind, random, layout, named):
                    top, rest = (weights.tolist() for weights in ratio.weigh(len(named)))
                    facts = {"term": term, "design": ratio.term, "kind": kind, "level": ratio.label}
                    found.append(facts | {"top": top, "rest": rest, "denominator": ratio.describe(named)})
        except UsageError as error:
            found.append({"term": term, "refused": str(error)})
    return found


def _list_strata(
    design: Design, place: int, layout: Layout, named: Sequence[Named]
) -> list[tuple[str, np.ndarray, int]]:
    """Levels of the axis with the variances (one stratum where there is none): level, records, component."""
    inside = design.cells >= 0
    over = next((k for k, axis in enumerate(design.axes) if axis.axis.has_variance), None)
    own = [each for each in named if each.term == design.name and each.kind == "variance" and not each.is_residual]
    if not own or (over is not None and design.axes[over].axis.structure == "fa"):
        raise UsageError(
            f"The heritability of {design.name} is not one of its parameters: it has no variances of its own."
        )
    label = ", ".join(design.levels.values())
    if over is None or len(own) == 1:
        return [(label, inside, own[0].place)]
    codes = design.find_codes(over)
    found = []
    for each in own:
        (level,) = each.levels
        records = codes == design.axes[over].levels.index(level)
        if not records.any():  # maternal effects, which are in the records of others
            continue
        found.append((", ".join(filter(None, [label, level])), records, each.place))
    return found


def _find_ratios(
    design: Design,
    layout: Layout,
    named: Sequence[Named],
    level: str,
    records: np.ndarray,
    variance: int,
    kind: str,
) -> list[Ratio]:
    """Ratios, one for each residual variance that these records have."""
    found = []
    for section, residual in _list_residuals(layout, named, records):
        inside = records & section[1]
        share = 1.0 / _count_plots(design, inside, layout.weights) if kind == "mean" else 1.0
        others = {residual: share} | dict.fromkeys(_list_nuggets(design, layout, named, inside), share)
        if kind == "mean":
            others |= _find_interaction(design, layout, named, inside)
        label = ", ".join(dict.fromkeys(filter(None, [level, *section[0]])))
        found.append(Ratio(design.name, label, variance, others))
    return found


def _list_residuals(
    layout: Layout, named: Sequence[Named], records: np.ndarray
) -> list[tuple[tuple[list[str], np.ndarray], int]]:
    """Residual variances of some records: (section and level, records of both), component."""
    found = []
    for section in layout.residual:
        inside = section.cells >= 0
        if not (inside & records).any():
            continue
        own = [each for each in named if each.is_residual and each.term == section.name and each.kind == "variance"]
        label = ", ".join(section.levels.values()) if len(layout.residual) > 1 else ""
        over = next((k for k, axis in enumerate(section.axes) if axis.axis.has_variance), None)
        for each in own:
            some = inside
            if over is not None and each.levels:
                some = section.find_codes(over) == section.axes[over].levels.index(each.levels[0])
            if (some & records).any():
                parts = [label, each.levels[0] if len(own) > 1 and each.levels else ""]
                found.append(((parts, some), each.place))
    if not found:
        raise UsageError("The residual has no variance of its own parameters: use fit.derive().")
    return found


def _list_entries(design: Design, records: np.ndarray) -> np.ndarray:
    """Level of each of these records on the axes without variances: the entry."""
    entries = np.zeros(int(records.sum()), dtype=np.int64)
    for k, axis in enumerate(design.axes):
        if not axis.axis.has_variance and axis.axis.name != TRAIT:
            entries = entries * len(axis.levels) + design.find_codes(k)[records]
    return entries


def _count_plots(design: Design, records: np.ndarray, weights: np.ndarray | None) -> float:
    """Harmonic mean of the plots of an entry; a record with a weight is as many."""
    _, entries = np.unique(_list_entries(design, records), return_inverse=True)
    counts = np.bincount(entries.ravel(), None if weights is None else weights[records])
    return float(len(counts) / np.sum(1.0 / counts))


def _list_nuggets(design: Design, layout: Layout, named: Sequence[Named], records: np.ndarray) -> list[int]:
    """Variances of random effects of the plots themselves, which are a part of the residual of a plot."""
    found = []
    for other in layout.random:
        own = [each for each in named if each.term == other.name and not each.is_residual]
        nugget = other is not design and [axis.axis.name for axis in other.axes] == [UNITS]
        if nugget and len(own) == 1 and (other.cells[records] >= 0).all():
            found.append(own[0].place)
    return found


def _find_interaction(design: Design, layout: Layout, named: Sequence[Named], records: np.ndarray) -> dict[int, float]:
    """Variances of terms over the same entries and one factor more, divided by its levels in which an entry stands."""
    own = {axis.axis.name for axis in design.axes}
    found: dict[int, float] = {}
    for other in layout.random:
        names = {axis.axis.name for axis in other.axes}
        scalar = [each for each in named if each.term == other.name and not each.is_residual]
        if not own < names or len(scalar) != 1 or not (other.cells[records] >= 0).all():
            continue
        entries = _list_entries(design, records)
        pairs = np.unique(np.column_stack([entries, other.cells[records]]), axis=0)
        _, counts = np.unique(pairs[:, 0], return_counts=True)
        found[scalar[0].place] = float(np.mean(1.0 / counts))
    return found


def _divide(top: np.ndarray, rest: np.ndarray, estimates: np.ndarray) -> tuple[float, np.ndarray]:
    """V / (V + rest), and its slopes."""
    a, b = float(top @ estimates), float(rest @ estimates)
    total = a + b
    return a / total, (top * b - rest * a) / total**2


def _find_cullis(design: Design, place: int, layout: Layout, result: REML, records: np.ndarray) -> float:
    """1 - mean PEV of a difference / mean variance of a difference, over the effects that have records."""
    places = np.unique(design.cells[records])
    n = len(places)
    if n < 2:
        return float("nan")
    problem = result.problem
    start = problem.p + sum(term.q for term in problem.terms[:place])
    width = problem.p + sum(term.q for term in problem.terms)
    ones = sp.csr_matrix((np.ones(n), (np.zeros(n, dtype=int), start + places)), shape=(1, width))
    trace = float(result.find_pev(place)[places].sum())
    total = float(result.covariance_of(ones)[0, 0])
    error = (trace - total / n) / (n - 1)
    prior = _find_spread(design, place, layout, result, places)
    return 1.0 - error / prior if prior > 0 else float("nan")


def _find_spread(design: Design, place: int, layout: Layout, result: REML, places: np.ndarray) -> float:
    """Expected sample variance (tr V - 1'V1 / n) / (n - 1) of these effects before the records are seen."""
    block = len(layout.residual) + place
    diagonal = find_prior_variances(result, design, block)[places]
    n = len(places)
    axes = result.problem.blocks[block].axes
    ones = np.zeros(len(find_prior_variances(result, design, block)))
    ones[places] = 1.0
    x = ones.reshape([axis.n for axis in axes])
    for k, (axis, covariance) in enumerate(zip(axes, result.make_covariances(block), strict=True)):
        if covariance is not None:
            x = np.moveaxis(np.tensordot(covariance, x, axes=(1, k)), 0, k)
        elif isinstance(axis, Known):
            flat = np.moveaxis(x, k, 0)
            x = np.moveaxis(axis.spread(flat.reshape(axis.n, -1)).reshape(flat.shape), 0, k)
    return (float(diagonal.sum()) - float(ones @ x.ravel()) / n) / (n - 1)
