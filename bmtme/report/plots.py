"""Figures of a fit: its chains. Drawn by matplotlib alone, as the plotting functions of ArviZ 0.x and 1.x differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.errors import UsageError
from bmtme.report.palette import COLOURS, plain
from bmtme.results.fit import Fit
from bmtme.results.traits import list_entries
from bmtme.words import suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_chains"]

RANK_BINS = 20


def plot_chains(fit: Fit, names: Sequence[str] | None = None) -> Figure:
    """Traces and ranks of some parameters, by chain.

    Left: the draws in their order; chains that agree cover the same band, without drift. Right: how the ranks of a
    chain's draws among all draws are spread; chains that agree have flat histograms (Vehtari et al. 2021, Bayesian
    Analysis 16:667-718).

    Parameters
    ----------
    fit : Fit
    names : sequence of str, optional
        Names in the index of `Fit.summary`; by default the four with the fewest effective draws.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UsageError
        For a name that is not in the summary.
    """
    entries = list_entries(_group(fit.idata, "posterior"), fit.run["facts"])
    draws = {entry.name: entry.row.draws for entry in entries}
    if names is None:
        names = fit.summary()["ess_bulk"].nsmallest(4).index.tolist() or list(draws)[:4]
    for name in names:
        if name not in draws:
            raise UsageError(f"the summary has no parameter {name!r}.{suggest(name, list(draws))}")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(names),
        2,
        squeeze=False,
        figsize=(9.0, 0.8 + 1.5 * len(names)),
        width_ratios=(2, 1),
        layout="constrained",
    )
    for (left, right), name in zip(axes, names, strict=True):
        chains = draws[name]
        # Draws that coincide (a move was rejected) share the mean of their ranks.
        ranks = pd.Series(chains.ravel()).rank().to_numpy().reshape(chains.shape)
        edges = np.linspace(0.5, chains.size + 0.5, min(RANK_BINS, chains.size) + 1)
        for c, chain in enumerate(chains):
            colour = COLOURS[c % len(COLOURS)]
            left.plot(chain, color=colour, linewidth=0.5, alpha=0.8)
            right.stairs(np.histogram(ranks[c], edges)[0], edges, baseline=None, color=colour, linewidth=1.2)
        right.axhline(chains.shape[1] / (len(edges) - 1), color="0.5", linestyle=":")
        right.set_ylim(bottom=0)
        right.set_yticks([])
        left.set_title(plain(name), fontsize=9, loc="left")
        left.set_xlim(0, max(chains.shape[1] - 1, 1))
    for panel in axes[:-1].flat:
        panel.tick_params(labelbottom=False)
    axes[-1, 0].set_xlabel("draw")
    axes[-1, 1].set_xlabel("rank among the draws of all chains")
    return figure


def _group(idata: Any, name: str) -> Any:
    """A group as a Dataset, from an InferenceData (ArviZ 0.x) or a DataTree (ArviZ 1.x)."""
    group = idata[name]
    return group.to_dataset() if hasattr(group, "to_dataset") else group
