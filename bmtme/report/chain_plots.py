"""Pictures of chains. Drawn by matplotlib alone, as the plotting functions of ArviZ 0.x and 1.x differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_list
from bmtme.errors import UsageError
from bmtme.report.palette import COLOURS
from bmtme.report.panels import add_legend, make_figure, shorten_names
from bmtme.results.fit import Fit
from bmtme.results.frames import ComponentTable
from bmtme.results.traits import walk_entries
from bmtme.words import suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.results.mixed.posterior import MixedPosterior

__all__ = ["plot_chains"]

RANK_BINS = 20
#: Parameters that are shown by default; letters of the name of one.
DEFAULT, MOST_LETTERS = 4, 56
#: Chains that have a colour of their own; more share colours, and lines tell them apart.
LINES = ("-", "--", ":")


def plot_chains(run: Fit | MixedPosterior, names: Sequence[str] | None = None) -> Figure:
    """See `bmtme.results.pictures.FitPictures.plot_chains`."""
    if isinstance(run, Fit):
        summary = pd.DataFrame(run.summary())
    else:
        summary = ComponentTable(run.summary()).join_names()
    known = summary.index.tolist()
    if names is None:
        names = summary["ess_bulk"].nsmallest(DEFAULT).index.tolist() or known[:DEFAULT]
    names = as_list(names, "names")
    if not names:
        raise UsageError("names holds no parameter: leave it out for those with the fewest effective draws.")
    for name in names:
        if name not in known:
            close = suggest(name, known) if isinstance(name, str) else ""
            raise UsageError(f"the summary has no parameter {name!r}.{close}")
    if isinstance(run, Fit):
        entries = walk_entries(run._groups["posterior"], run.run["facts"])
        draws = {entry.name: entry.row.draws.copy() for entry in entries if entry.name in names}
    else:
        draws = dict(zip(known, np.moveaxis(run._draws, 2, 0), strict=True))
    numbers = [str(chain) for chain in run._groups["posterior"]["chain"].values.tolist()]
    shown = shorten_names(list(dict.fromkeys(names)), MOST_LETTERS)
    figure, axes = make_figure(len(names), 2, (9.0, 1.3 + 1.55 * len(names)), width_ratios=(2, 1))
    looks = {
        f"chain {number}": {"color": COLOURS[c % 7], "linestyle": LINES[c // 7 % 3], "marker": ""}
        for c, number in enumerate(numbers)
    }
    for (left, right), name in zip(axes, names, strict=True):
        chains = draws[name]
        # Draws that coincide (a move was rejected) share the mean of their ranks.
        ranks = pd.Series(chains.ravel()).rank().to_numpy().reshape(chains.shape)
        edges = np.linspace(0.5, chains.size + 0.5, min(RANK_BINS, chains.size) + 1)
        for c, (chain, look) in enumerate(zip(chains, looks.values(), strict=True)):
            colour: Any = look["color"]
            left.plot(chain, color=colour, linewidth=0.5, alpha=0.8)
            counts = np.histogram(ranks[c], edges)[0]
            right.stairs(counts, edges, baseline=None, color=colour, linestyle=look["linestyle"], linewidth=1.2)
        right.axhline(chains.shape[1] / (len(edges) - 1), color="0.5", linestyle=":")
        right.set_ylim(bottom=0)
        right.set_yticks([])
        left.set_title(f"{shown[name]}: {_describe(summary, name)}", fontsize=9, loc="left")
        left.set_xlim(0, max(chains.shape[1] - 1, 1))
        left.tick_params(labelsize=8)
        right.tick_params(labelsize=8)
    for panel in axes[:-1].flat:
        panel.tick_params(labelbottom=False)
    axes[-1, 0].set_xlabel("draw", fontsize=9)
    axes[-1, 1].set_xlabel("rank among the draws of all chains", fontsize=9)
    add_legend(figure, looks)
    return figure


def _describe(summary: pd.DataFrame, name: str) -> str:
    """R-hat and effective draws of a parameter, for a title."""
    if name not in summary.index:  # made of others, and not listed
        return "not in the summary"
    row: Any = summary.loc[name]
    if not math.isfinite(row["ess_bulk"]):
        return "not to be told"
    r_hat = f"R-hat {row['r_hat']:.3f}, " if math.isfinite(row["r_hat"]) else ""
    return f"{r_hat}ESS {row['ess_bulk']:,.0f} (tail {row['ess_tail']:,.0f})"
