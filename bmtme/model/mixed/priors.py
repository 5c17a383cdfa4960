"""Priors of a mixed model's covariances as users give them, and their scales in the units of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.arguments import show
from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.model.mixed.terms import TRAIT
from bmtme.model.scaling import DEFAULT_SCALE
from bmtme.model.structure import HalfT, spread_by_name
from bmtme.words import list_names, suggest

__all__ = ["LKJ", "Prior", "choose_priors", "describe_prior", "find_scales"]

#: Of all sections of the residual together.
RESIDUAL = "residual"


@dataclass(frozen=True)
class LKJ:
    """Prior of a covariance: half-t standard deviations, and correlations with density proportional to \\|R\\|^(eta-1).

    Parameters
    ----------
    eta : float
        1 is uniform over correlation matrices; larger ones pull correlations towards zero.
    nu, scale
        Of the standard deviations, as of `bmtme.HalfT`.

    Notes
    -----
    Lewandowski, Kurowicka and Joe (2009), J. Multivar. Anal. 100:1989-2001. Structures without free correlations are
    those of `bmtme.HalfT`.
    """

    eta: float = 1.0
    nu: float = 2.0
    scale: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        HalfT(self.nu, self.scale)
        spread_by_name(self.eta, ["eta"], "eta of LKJ")


Prior = HalfT | LKJ


def choose_priors(prior: Any, layout: Layout) -> list[Prior]:
    """The prior of each section of the residual, then of each random term.

    Raises
    ------
    UsageError
        For what is no prior, or names no term.
    """
    designs = (*layout.residual, *layout.random)
    if prior is None or isinstance(prior, (HalfT, LKJ)):
        return [prior or HalfT()] * len(designs)
    if not isinstance(prior, Mapping):
        raise UsageError(
            f"prior must be a bmtme.HalfT, a bmtme.mixed.LKJ, or a dict of these by term, got {show(prior)}."
        )
    names: dict[str, list[int]] = {RESIDUAL: list(range(len(layout.residual)))}
    for k, design in enumerate(designs):
        names.setdefault(design.name, []).append(k)
        if design.term is not None and str(design.term) != design.name:
            names.setdefault(str(design.term), []).append(k)
    chosen: list[Prior] = [HalfT()] * len(designs)
    for name, value in prior.items():
        if name not in names:
            raise UsageError(
                f"prior names no term with {name!r}.{suggest(str(name), names)} There are {list_names(names, 20)}."
            )
        if not isinstance(value, (HalfT, LKJ)):
            raise UsageError(f"the prior of {name} must be a bmtme.HalfT or a bmtme.mixed.LKJ, got {show(value)}.")
        for k in names[name]:
            chosen[k] = value
    return chosen


def find_scales(prior: Prior, design: Design, layout: Layout) -> np.ndarray:
    """Scale of the standard deviation of each level of the axis with the variances; one where they share theirs.

    By default 5 standard deviations of the trait's values over the root of the mean diagonal of a relationship, over
    its levels with records: the scale is that of effects, as with `bmtme.BMTME`. A variance that several traits share
    has the root of the mean of their squares, of the traits in the term's records. A residual's is of a record with
    weight one: values with variance s^2 / w spread by s times the root of the mean of 1 / w.

    Raises
    ------
    UsageError
    """
    over = next((axis for axis in design.axes if axis.axis.has_variance and axis.axis.structure != "cs"), None)
    levels: Sequence[str] = () if over is None else over.levels
    if prior.scale is not None:
        if isinstance(prior.scale, Mapping) and over is None:
            raise UsageError(
                f"the scale of the prior of {design.name} must be one number: its levels have one variance."
            )
        return spread_by_name(prior.scale, levels or [""], f"the scale of the prior of {design.name}")
    sd = _measure_spreads(layout, design)
    if over is not None and over.axis.name == TRAIT and layout.trait is not None:
        spread = np.array([sd[level] for level in levels])
    else:
        spread = np.full(max(len(levels), 1), np.sqrt(np.mean(np.square(list(sd.values())))))
    return np.asarray(DEFAULT_SCALE * spread / np.sqrt(_measure_relationship(design)))


def _measure_spreads(layout: Layout, design: Design) -> dict[str, float]:
    """Standard deviation of the values of each trait in the records of a term; of one trait under an empty name.

    Of a residual over the root of the mean of 1 / weight.
    """
    is_residual = any(design is section for section in layout.residual)
    shares = 1.0 / layout.weights if layout.weights is not None and is_residual else np.ones(len(layout.y))
    whole = float(layout.y.std(ddof=1))
    inside = design.cells >= 0
    if layout.trait is None:
        return {"": whole / np.sqrt(shares[inside].mean())}
    found = {}
    for code in np.unique(layout.trait.codes[inside]):
        own = layout.trait.codes == code
        values = layout.y[own]
        sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        found[layout.trait.levels[code]] = (sd if sd > 0 else whole) / np.sqrt(shares[own & inside].mean())
    return found


def _measure_relationship(design: Design) -> float:
    """Mean diagonal of the known covariances of a term over the levels that have records."""
    cells = design.cells[design.cells >= 0]
    codes = np.unravel_index(cells, [len(axis.levels) for axis in design.axes])
    size = 1.0
    for axis, own in zip(design.axes, codes, strict=True):
        if axis.precision is not None:
            size *= float(axis.precision.diagonal[np.unique(own)].mean())
    return size


def describe_prior(prior: Prior, scales: np.ndarray) -> dict[str, Any]:
    """A prior in plain values, for the record of a run."""
    found: dict[str, Any] = {"nu": float(prior.nu), "scale": [float(x) for x in scales]}
    return {"LKJ": {"eta": float(prior.eta), **found}} if isinstance(prior, LKJ) else {"HalfT": found}
