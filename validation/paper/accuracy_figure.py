"""The figure of the study `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bmtme.report.plots import COLOURS, MARKS
from validation.paper.accuracy_sets import ALONE, BD, KNOWN, ST, UN, Accuracy

PAIRS = {"gain of the unstructured model over the diagonal one": (UN, BD), "the same over the standard one": (UN, ST)}
PANELS = {"msep": "MSEP saved (%)", "pearson": "gain in Pearson's correlation"}


def draw_gains(results: Sequence[Accuracy]) -> Figure:
    """Gains of the unstructured model by design and trait, with intervals."""
    figure = Figure(figsize=(11.0, 2.0 + 1.5 * len(results)), layout="constrained")
    axes = figure.subplots(len(results), len(PANELS), sharex="col", sharey="row", squeeze=False)
    for panels, r in zip(axes, results, strict=True):
        labels = [f"{trait} (heritability {h2:g})" for trait, h2 in zip(r.traits, r.design.heritability, strict=True)]
        place = np.arange(len(labels) + 1)
        for panel, score in zip(panels, PANELS, strict=True):
            for m, (label, (one, other)) in enumerate(PAIRS.items()):
                gains = r.gain(one, other, score)
                error = gains.std(axis=0, ddof=1) / np.sqrt(r.sets)
                panel.errorbar(
                    gains.mean(axis=0), place + 0.3 * (m - 0.5), xerr=2 * error, color=COLOURS[m], marker=MARKS[m],
                    linestyle="none", capsize=2, markersize=5, label=label,
                )  # fmt: skip
            panel.plot(
                r.gain(KNOWN, ALONE, score).mean(axis=0), place, "x", color="black", markersize=6,
                label="correlations used against not used, covariances known",
            )  # fmt: skip
            panel.axvline(0, color="0.4", linewidth=0.9, zorder=0)
            panel.set_yticks(place, [*labels, "all traits"], fontsize=8)
            panel.set_ylim(len(labels) + 0.6, -0.6)
            panel.grid(axis="x", color="0.92")
            panel.set_axisbelow(True)
            panel.tick_params(labelbottom=True, labelsize=8)
        panels[0].set_title(r.design.name, fontsize=10, loc="left")
    for panel, label in zip(axes[-1], PANELS.values(), strict=True):
        panel.set_xlabel(label, fontsize=10)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        [*handles[1:], handles[0]], [*names[1:], names[0]], loc="outside upper center", ncols=3, frameon=False,
        fontsize=9, title_fontsize=9,
        title=f"right of zero: the unstructured model is better; bars: two standard errors over {results[0].sets} sets",
    )  # fmt: skip
    return figure
