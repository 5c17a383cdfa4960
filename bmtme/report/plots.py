"""Figures: cross-validated accuracy of models, and the chains of a fit.

They are drawn from tables and draws by matplotlib alone, as the plotting functions of ArviZ 0.x and 1.x differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.errors import UsageError
from bmtme.results.entries import NONE
from bmtme.results.fit import Fit
from bmtme.results.rows import derive_rows, list_values
from bmtme.results.scores import SCORES
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_accuracy", "plot_chains"]

#: Colours that the colour-blind can tell apart (Okabe and Ito), and marks for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
#: Panels side by side at most.
MOST_PANELS = 4
RANK_BINS = 20


def plot_accuracy(summary: pd.DataFrame, score: str = "pearson") -> Figure:
    """Accuracy of the models side by side: a panel for each trait, in it the environments.

    Parameters
    ----------
    summary : DataFrame
        As of `CrossValidation.summary`, or read from the ``summary.csv`` of ``bmtme cv``.
    score : {"pearson", "msep"}
        Correlation of predicted and observed values (higher is better), or mean squared error (lower is better).

    Returns
    -------
    matplotlib.figure.Figure
        Points are means over partitions, bars one naive standard error to either side (none with one partition).

    Raises
    ------
    UsageError
        For a score or a table that is none.
    """
    scores = {each.name: each for each in SCORES}
    if score not in scores:
        raise UsageError(f"score must be one of {list_names(scores)}, got {score!r}.{suggest(str(score), scores)}")
    needed = ("model", "env", "trait", "n_partitions", f"{score}_mean", f"{score}_se")
    lacking = [name for name in needed if name not in getattr(summary, "columns", ())]
    if lacking:
        raise UsageError(f"expected the summary of a cross-validation: it has no column {list_names(lacking)}.")
    import matplotlib.pyplot as plt

    models, envs, traits = (list(dict.fromkeys(summary[name])) for name in ("model", "env", "trait"))
    columns = min(len(traits), MOST_PANELS)
    rows = math.ceil(len(traits) / columns)
    width = max(2.4, 0.9 + len(envs) * (0.25 + 0.15 * len(models)))
    figure, axes = plt.subplots(
        rows,
        columns,
        squeeze=False,
        sharey=scores[score].unit is NONE,  # of squared errors each trait has its own unit
        figsize=(max(columns * width, 5.0), 0.9 + 2.7 * rows),
        layout="constrained",
    )
    place = {env: i for i, env in enumerate(envs)}
    for panel, trait in zip(axes.flat, traits, strict=False):
        for m, model in enumerate(models):
            part = summary[(summary["trait"] == trait) & (summary["model"] == model)]
            shift = 0.6 * ((m + 0.5) / len(models) - 0.5)
            panel.errorbar(
                [place[env] + shift for env in part["env"]],
                part[f"{score}_mean"],
                yerr=part[f"{score}_se"].fillna(0.0),
                color=COLOURS[m % len(COLOURS)],
                marker=MARKS[m % len(MARKS)],
                linestyle="none",
                capsize=2,
                markersize=5,
                label=model,
            )
        panel.set_title(str(trait), fontsize=10)
        panel.set_xticks(range(len(envs)), envs, rotation=0 if max(map(len, map(str, envs))) <= 6 else 60)
        panel.set_xlim(-0.5, len(envs) - 0.5)
        panel.grid(axis="y", color="0.9")
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    for panel in axes.flat[len(traits) :]:
        panel.set_axis_off()
    figure.supylabel(scores[score].title, fontsize=10)
    most = int(summary["n_partitions"].max())
    bars = f"mean ± naive standard error, {most} partitions" if most > 1 else "one partition"
    figure.supxlabel(f"environment ({bars})", fontsize=10)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(models), frameon=False)
    return figure


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
    values, labels = list_values(_group(fit.idata, "posterior"))
    draws = {row.name: row.draws for row in derive_rows(values, labels, fit.run["facts"]["spread"])}
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
        left.set_title(name, fontsize=9, loc="left")
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
