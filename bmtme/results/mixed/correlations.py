"""Correlations between the levels of a term with a covariance: pairs with their errors, and the square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bmtme.engines.mixed.axis import DenseAxis
from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.model.mixed.terms import Random, Term
from bmtme.results.mixed.components import Named, find_error, refuse_untold
from bmtme.results.mixed.effects import find_designs
from bmtme.words import list_names

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = ["arrange_correlations", "tabulate_correlations"]


def tabulate_correlations(
    term: str | Term, random: Random, layout: Layout, result: REML, named: Sequence[Named]
) -> pd.DataFrame:
    """Each pair of levels once: a, b, covariance, correlation, se of the correlation, by the delta method.

    Raises
    ------
    UsageError
        If the term has no correlations, or the data do not tell them.
    """
    block, design = _find_design(term, random, layout)
    axes = result.problem.blocks[block].axes
    places = [k for k, axis in enumerate(design.axes) if axis.axis.structure in ("us", "fa", "corh", "cs")]
    if not places:
        raise UsageError(
            f"The term {design.name} has no correlations between levels: those are of us(), fa(), corh() and cs()."
        )
    added = len(axes) - len(design.axes)
    where, levels = places[0] + added, design.axes[places[0]].levels
    own = [k for k, c in enumerate(result.components) if (c.block, c.axis) == (block, where)]
    refuse_untold(named, result, own, f"The correlations of {design.name}")
    axis, phi = axes[where], result.equations.split(result.phi)[block][where]
    assert isinstance(axis, DenseAxis)
    S, slopes = axis.build(phi)
    _, jacobian = axis.natural(phi)
    slopes = np.moveaxis(np.linalg.solve(jacobian.T, slopes.reshape(len(slopes), -1)).reshape(slopes.shape), 0, -1)
    variances = np.diag(S)
    rows = []
    for i in range(len(levels)):
        for j in range(i):
            with np.errstate(all="ignore"):
                r = float(S[i, j] / np.sqrt(variances[i] * variances[j]))
                slope = slopes[i, j] / np.sqrt(variances[i] * variances[j])
                slope -= 0.5 * r * (slopes[i, i] / variances[i] + slopes[j, j] / variances[j])
            whole = np.zeros(len(result.components))
            whole[own] = np.where(np.abs(slope) > 1e-10 * np.abs(slope).max(initial=0.0), slope, 0.0)
            rows.append((levels[j], levels[i], float(S[i, j]), r, find_error(whole, result)))
    return pd.DataFrame(rows, columns=["a", "b", "covariance", "correlation", "se"])


def arrange_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """The correlations of such a table as a square with ones on its diagonal."""
    levels = list(dict.fromkeys([*table["a"], *table["b"]]))
    square = pd.DataFrame(np.eye(len(levels)), index=levels, columns=levels)
    for a, b, r in zip(table["a"], table["b"], table["correlation"], strict=True):
        square.loc[a, b] = square.loc[b, a] = r
    return square


def _find_design(term: str | Term, random: Random, layout: Layout) -> tuple[int, Design]:
    """A section of the residual, or a random term at one level of its at(), with its place among the blocks."""
    for block, section in enumerate(layout.residual):
        if str(term) == section.name:
            return block, section
    found = find_designs(term, random, layout)
    if len(found) > 1:
        names = list_names((layout.random[place].name for place in found), 12)
        raise UsageError(f"The term {term} has correlations at each of several levels: name one of {names}.")
    return len(layout.residual) + found[0], layout.random[found[0]]
