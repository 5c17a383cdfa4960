"""Figures of the cross-validations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from bmtme.report.plots import COLOURS, MARKS
from validation.paper.crossvalidation import CV1, CV2, RAW, STRUCTURES, label_means

#: What a row of the figure shows, and which way is better.
PANELS = {"pearson": "difference in\nPearson correlation", "relative": "difference in\nMSEP / variance"}
BETTER = {"pearson": "above 0: better than diagonal", "relative": "below 0: better than diagonal"}


def draw_differences(cv: CV1) -> Figure:
    """Every model less the diagonal one, by trait and environment, with both errors."""
    figure = Figure(figsize=(2.5 + 2.3 * len(cv.traits), 6.2), layout="constrained")
    axes = figure.subplots(len(PANELS), len(cv.traits), squeeze=False, sharey="row", sharex=True)
    others = ("unstructured", "standard", RAW)
    for row, score in enumerate(PANELS):
        for m, model in enumerate(others):
            step, partitions, lines = (
                part[:-1].reshape(len(cv.envs), len(cv.traits)) for part in cv.compare(model, "diagonal", score)
            )
            for l, panel in enumerate(axes[row]):
                place = np.arange(len(cv.envs)) + 0.2 * (m - 1)
                style = {"color": COLOURS[m], "linestyle": "none"}
                panel.errorbar(place, step[:, l], yerr=2 * lines[:, l], elinewidth=0.9, capsize=2, **style)
                panel.errorbar(
                    place, step[:, l], yerr=2 * partitions[:, l], elinewidth=3.5, marker=MARKS[m], markersize=6,
                    label=model if row == l == 0 else None, **style,
                )  # fmt: skip
        for l, panel in enumerate(axes[row]):
            panel.axhline(0, color="0.4", linewidth=0.9, zorder=0)
            panel.set_xticks(range(len(cv.envs)), cv.envs, fontsize=8)
            panel.set_xlim(-0.5, len(cv.envs) - 0.5)
            panel.grid(axis="y", color="0.92")
            panel.set_axisbelow(True)
            if row == 0:
                panel.set_title(cv.traits[l], fontsize=10)
        axes[row, 0].set_ylabel(f"{PANELS[score]}\n({BETTER[score]})", fontsize=9)
    figure.supxlabel(
        f"environment; model less diagonal model, mean of {cv.partitions} partitions\n"
        "thick: two standard errors over partitions; thin: two over lines",
        fontsize=9,
    )
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def draw_split(cv: CV2, unit: str, printed: Mapping[str, float]) -> Figure:
    """MSEP in two parts under two priors of the means, and observed against predicted values.

    printed : MSEP of the paper in the first environment, by model
    """
    figure = Figure(figsize=(10.0, 7.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1))
    short = {"unstructured": "un", "diagonal": "bd", "standard": "st"}
    models = STRUCTURES
    panels = top.subplots(1, 2)
    for panel, means in zip(panels, ("paper", "exchangeable"), strict=True):
        ticks, names = [], []
        for i, env in enumerate(cv.envs):
            for m, model in enumerate(models):
                k, place = cv.models.index(label_means(model, means)), i * (len(models) + 1) + m
                lines, mean = cv.scores["lines"][k, i], cv.scores["mean"][k, i]
                panel.bar(place, lines, color=COLOURS[0], label="lines" if place == 0 else None)
                panel.bar(
                    place, mean, bottom=lines, color=COLOURS[5], label="mean of the environment" if place == 0 else None
                )
                if means == "paper" and i == 0 and model in printed:
                    label = "the paper, first environment" if m == 0 else None
                    panel.plot(place, printed[model], "x", color="black", markersize=8, markeredgewidth=2, label=label)
                ticks.append(place)
                names.append(short[model])
            panel.text(
                i * (len(models) + 1) + 1, -0.12, env, ha="center", va="top", transform=panel.get_xaxis_transform()
            )
        panel.set_xticks(ticks, names, fontsize=9)
        panel.set_ylabel(f"MSEP of {cv.trait} ({unit}²)")
        panel.set_title("the paper's prior of the means" if means == "paper" else "exchangeable means (the default)")
        panel.margins(y=0.12)
    handles, labels = panels[0].get_legend_handles_labels()
    top.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    for i, panel in enumerate(bottom.subplots(1, len(cv.envs), squeeze=False)[0]):
        for k, means in enumerate(("paper", "exchangeable")):
            f = cv.predicted[cv.models.index(label_means("unstructured", means))].mean(axis=0)[:, i]
            label = means if i == 0 else None
            panel.plot(f, cv.observed[:, i], ".", color=COLOURS[k], markersize=4, alpha=0.6, label=label)
        ends = [min(panel.get_xlim()[0], cv.observed[:, i].min()), max(panel.get_xlim()[1], cv.observed[:, i].max())]
        panel.plot(ends, ends, color="0.4", linewidth=0.9)
        panel.set_title(cv.envs[i], fontsize=10)
        panel.set_xlabel(f"predicted {cv.trait} ({unit})")
    bottom.axes[0].set_ylabel(f"observed {cv.trait} ({unit})")
    title = "unstructured model; prior of the means"
    bottom.legend(loc="outside lower center", ncols=2, frameon=False, title=title, markerscale=2)
    return figure
