"""From unconstrained parameters to those that are reported, with errors and what is to be known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.engines.mixed.axis import Parameter
from bmtme.engines.mixed.covariances import Unstructured
from bmtme.engines.mixed.equations import Evaluation
from bmtme.engines.mixed.problem import Problem
from bmtme.engines.mixed.start import Ranges

#: Directions with less information than this, in units of the parameters' own, are not told by the data.
UNTOLD = 1e-9


@dataclass(frozen=True)
class Component:
    """A reported parameter of the covariances.

    Attributes
    ----------
    block : int
        Place in `Problem.blocks`: sections first, then terms.
    axis : int
        Place among the block's axes.
    parameter : Parameter
    estimate, se : float
        The standard error is that of the average information, by the delta method; NaN where there is a status, except
        "singular", where it is that of the covariance held to its rank.
    status : str
        "", "boundary" (a variance of zero), "singular" (a correlation of one, or one parameter of a covariance without
        full rank) or "untold" (the data say nothing of it, or not of it and another apart).
    """

    block: int
    axis: int
    parameter: Parameter
    estimate: float
    se: float
    status: str


@dataclass(frozen=True)
class Components:
    """All components, and the covariance of their estimates (r, r)."""

    components: tuple[Component, ...]
    covariance: np.ndarray


def find_components(
    problem: Problem, parts: Sequence[Sequence[np.ndarray]], best: Evaluation, ranges: Ranges
) -> Components:
    """Components of a fit, from phi of every axis of every block (`parts`) and the information there."""
    count = len(best.phi)
    places: list[tuple[int, int, Parameter]] = []
    estimates, status = np.zeros(count), np.full(count, "", object)
    slopes = np.zeros((count, count))
    held = (best.phi <= ranges.low + 1e-9) | (best.phi >= ranges.high - 1e-9)
    k = 0
    for b, (block, own) in enumerate(zip(problem.blocks, parts, strict=True)):
        for a, (axis, phi) in enumerate(zip(block.axes, own, strict=True)):
            mine = slice(k, k + axis.count)
            k += axis.count
            places += [(b, a, parameter) for parameter in axis.parameters]
            estimates[mine], slopes[mine, mine] = axis.natural(phi)
            slid = axis.find_slid(phi)
            held[mine] |= slid
            status[mine] = np.where(slid.any() if isinstance(axis, Unstructured) else slid, "singular", "")
    status[held & ranges.may_vanish & (best.phi <= ranges.low + 1e-9)] = "boundary"
    spread, untold = invert_information(best.information, ~held, ranges.units)
    status[untold] = "untold"
    covariance = slopes @ spread @ slopes.T
    se = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    se[np.isin(status, ("boundary", "untold")) | (held & (se == 0))] = np.nan
    components = tuple(
        Component(b, a, parameter, float(estimate), float(error), str(word))
        for (b, a, parameter), estimate, error, word in zip(places, estimates, se, status, strict=True)
    )
    return Components(components, covariance)


def invert_information(information: np.ndarray, free: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (k, k) of phi, zero of those that are not free; which the data do not tell (k,)."""
    count = len(information)
    spread, untold = np.zeros((count, count)), np.zeros(count, bool)
    own = information.diagonal() * units**2
    untold |= free & (own < UNTOLD)
    free = np.flatnonzero(free & ~untold)
    if len(free):
        scale = 1 / np.sqrt(information[free, free])
        values, vectors = np.linalg.eigh(information[np.ix_(free, free)] * np.outer(scale, scale))
        flat = values < UNTOLD
        untold[free] |= (np.abs(vectors[:, flat]) > 0.1).any(axis=1)
        vectors = vectors[:, ~flat]
        spread[np.ix_(free, free)] = (vectors / values[~flat]) @ vectors.T * np.outer(scale, scale)
    return spread, untold


def describe(problem: Problem, k: int) -> str:
    """A parameter in words: its kind, its levels by number from 1, its block, its axis if several have the like."""
    for block in problem.blocks:
        for a, axis in enumerate(block.axes):
            if k < axis.count:
                parameter = axis.parameters[k]
                levels = ", ".join(str(i + 1) for i in parameter.levels)
                several = sum(parameter in other.parameters for other in block.axes) > 1
                which = f" ({levels})" if levels and axis.n > 1 else ""
                return f"the {parameter.kind}{which} of {block.name}" + (f", axis {a + 1}" if several else "")
            k -= axis.count
    raise IndexError(k)
