"""Models of the plots of one environment: its design, and what may be said of its field.

All have the same fixed part: lines, replicates, and where the field counts the straight lines along rows and columns
with their product, which is what the splines leave unpenalised. So their restricted likelihoods can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bmtme.choices import SPATIAL
from bmtme.model.mixed.design import Layout, lay_out
from bmtme.model.mixed.fixed import Fixed, parse_fixed
from bmtme.model.mixed.parser import parse_random, parse_residual
from bmtme.model.mixed.plots import Factor, Plots
from bmtme.model.mixed.splines import FEWEST, add_splines, count_segments, make_splines
from bmtme.model.mixed.terms import TRAIT, UNITS, Random, Residual, quote_name

__all__ = ["Candidate", "Environment", "Laid", "lay_candidate", "list_candidates", "weigh_records"]

#: Positions along an axis with random effects or an autoregression, at least.
FEWEST_LEVELS, FEWEST_STEPS = 3, 4


@dataclass(frozen=True, eq=False)
class Environment:
    """The plots of an environment.

    Attributes
    ----------
    name : str
    plots : Plots
        Texts, and numbers for traits.
    line : str
        Columns, and so `rep`, `block`, `row`, `col` where there are any here.
    traits : tuple of str
    trends : tuple of str
        Columns with the positions along `axes` as numbers from -1 to 1.
    notes : tuple of str
        What has been left out of the design, and why.
    """

    name: str
    plots: Plots
    line: str
    traits: tuple[str, ...]
    rep: str | None = None
    block: str | None = None
    row: str | None = None
    col: str | None = None
    trends: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """Columns of positions."""
        return tuple(name for name in (self.row, self.col) if name is not None)

    @cached_property
    def extents(self) -> tuple[tuple[int, int], ...]:
        """First and last position along each axis, of all plots."""
        found = []
        for name in self.axes:
            positions = [int(level) for level in self.plots.factor(name, "field").levels]
            found.append((min(positions), max(positions)))
        return tuple(found)

    def count_positions(self, name: str) -> int:
        """Positions of plots with values along an axis."""
        return len(np.unique(self.codes(name)))

    def codes(self, name: str) -> np.ndarray:
        """Level of each plot with a value."""
        return self.plots.factor(name, "field").codes[self.recorded]

    @cached_property
    def recorded(self) -> np.ndarray:
        """Rows with a value of any trait."""
        values = np.column_stack([self.plots.numbers(trait, "trait") for trait in self.traits])
        return np.flatnonzero(~np.isnan(values).all(axis=1))

    def count_joint(self, *names: str | None) -> int:
        """Combinations of the levels of some factors, those that there are."""
        codes = [self.codes(name) for name in names if name is not None]
        return len(np.unique(np.column_stack(codes), axis=0)) if codes else 1

    def is_apart(self, name: str) -> bool:
        """Whether the levels of an axis are neither within replicates nor the blocks, or plots, themselves."""
        levels, blocks = self.count_positions(name), self.count_joint(self.rep, self.block)
        twins = self.block is not None and levels == blocks == self.count_joint(self.rep, self.block, name)
        twins |= levels == len(self.recorded)
        return self.count_joint(self.rep, name) > self.count_joint(self.rep) and not twins


@dataclass(frozen=True)
class Candidate:
    """A model of the field.

    Attributes
    ----------
    name : str
        Of `bmtme.choices.SPATIAL`.
    random : tuple of str
        Terms beside the design's.
    residual : str
    has_trend, has_splines : bool
        Whether the straight lines are in the fixed part, and smooth deviations in the random one.
    """

    name: str
    random: tuple[str, ...] = ()
    residual: str = UNITS
    has_trend: bool = True
    has_splines: bool = False


@dataclass(frozen=True, eq=False)
class Laid:
    """A model of an environment with its records."""

    fixed: Fixed
    random: Random
    residual: Residual
    layout: Layout


def list_candidates(environment: Environment) -> tuple[list[Candidate], dict[str, str]]:
    """The models that the field allows, the simplest first, and why not others."""
    axes = environment.axes
    lacking = {
        "no positions of plots": not axes,
        "one position only": bool(axes) and all(environment.count_positions(name) < 2 for name in axes),
    }
    reason = next((text for text, holds in lacking.items() if holds), "")
    if reason:
        return [Candidate("none", has_trend=False)], dict.fromkeys(SPATIAL[2:], reason)
    quoted = {name: quote_name(name) for name in axes}
    found, reasons = [Candidate("linear")], {}
    levels = [
        name for name in axes if environment.count_positions(name) >= FEWEST_LEVELS and environment.is_apart(name)
    ]
    if levels:
        found.append(Candidate("rows_cols", tuple(quoted[name] for name in levels)))
    else:
        reasons["rows_cols"] = f"fewer than {FEWEST_LEVELS} rows and columns, or they are replicates, blocks or plots"
    steps = [name for name in axes if environment.count_positions(name) >= FEWEST_STEPS]
    if len(axes) < 2:
        reasons |= dict.fromkeys(("ar1", "ar1_nugget"), "needs rows and columns")
    elif not steps:
        reasons |= dict.fromkeys(("ar1", "ar1_nugget"), f"fewer than {FEWEST_STEPS} rows and columns")
    else:
        field = ":".join(f"ar1({quoted[name]})" if name in steps else quoted[name] for name in axes)
        found += [Candidate("ar1", (), field), Candidate("ar1_nugget", (field,))]
    smooth = [name for name in axes if environment.count_positions(name) >= FEWEST]
    if len(axes) < 2:
        reasons["psplines"] = "needs rows and columns"
    elif not smooth:
        reasons["psplines"] = f"fewer than {FEWEST} rows and columns"
    else:
        found.append(Candidate("psplines", has_splines=True))
    return found, reasons


def lay_candidate(
    environment: Environment, candidate: Candidate, traits: Sequence[str], *, lines_random: bool = False
) -> Laid:
    """Lay an environment out for a model.

    Parameters
    ----------
    environment : Environment
    candidate : Candidate
    traits : sequence of str
        Several jointly: effects of the design and of the field are each trait's own, residuals have any covariance.
    lines_random : bool
        Whether lines are random rather than fixed.

    Raises
    ------
    DataError, UsageError
    """
    several = len(traits) > 1
    line = quote_name(environment.line)
    inner = [] if lines_random else [line]
    if environment.rep is not None:
        inner.append(quote_name(environment.rep))
    if candidate.has_trend:
        trends = [quote_name(name) for name in environment.trends]
        inner += [*trends, *([":".join(trends)] if len(trends) > 1 else [])]
    first = [TRAIT if several else "1"] if lines_random else ["0"]
    terms = first + [f"{TRAIT}:{term}" if several else term for term in inner]
    fixed = parse_fixed(f"{' + '.join(map(quote_name, traits))} ~ {' + '.join(terms)}")
    random = [line] if lines_random else []
    if environment.block is not None:
        parts = [environment.rep, environment.block]
        random.append(":".join(quote_name(name) for name in parts if name is not None))
    random += candidate.random
    residual = candidate.residual
    if several:
        random = [f"diag({TRAIT}):{term}" for term in random]
        residual = f"us({TRAIT}):{residual}"
    parsed = parse_random(" + ".join(random) or None)
    left = parse_residual(residual)
    layout = lay_out(fixed, parsed, left, {}, environment.plots)
    if candidate.has_splines:
        layout = lay_splines(environment, layout)
        parsed = Random((*parsed.terms, *(d.term for d in layout.random[len(parsed.terms) :] if d.term is not None)))
    return Laid(fixed, parsed, left, layout)


def lay_splines(environment: Environment, layout: Layout) -> Layout:
    """A layout with the splines of the field."""
    positions, segments = [], []
    for name in environment.axes:
        factor = environment.plots.factor(name, "field")
        positions.append(np.array([int(level) for level in factor.levels])[factor.codes[layout.rows]])
        enough = environment.count_positions(name) >= FEWEST
        segments.append(count_segments(len(factor.levels)) if enough else 0)
    splines = make_splines(environment.axes, positions, environment.extents, segments)
    return add_splines(layout, splines, weigh_records(environment, layout))


def weigh_records(environment: Environment, layout: Layout) -> np.ndarray:
    """Weights (n,) of the records, adding up to one for each trait: all replicates alike, and within them all plots.

    An adjusted mean is what a line has on the average of these plots.
    """
    codes = np.zeros(len(layout.y), dtype=np.int64) if layout.trait is None else layout.trait.codes
    rep: Factor | None = None if environment.rep is None else environment.plots.factor(environment.rep, "rep")
    strata = codes if rep is None else codes * len(rep.levels) + rep.codes[layout.rows]
    _, place, counts = np.unique(strata, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[place]
    return np.asarray(weights / np.bincount(codes, weights)[codes])
