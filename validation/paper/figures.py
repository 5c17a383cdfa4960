"""Figures of the cross-validations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bmtme.report.palette import COLOURS, MARKS
from validation.paper.crossvalidation import CV1, CV2, DEFAULTS, PAPER, RAW, STRUCTURES, label_means

#: What a row of the figure shows, and which way is better.
PANELS = {"pearson": "difference in\nPearson correlation", "relative": "difference in\nMSEP / variance"}
BETTER = {"pearson": "above 0: better than diagonal", "relative": "below 0: better than diagonal"}
SHORT = {"unstructured": "un", "diagonal": "bd", "standard": "st"}
#: Of the priors of the means, other than those of the parts of MSEP.
PRIORS = (COLOURS[3], COLOURS[2])
#: Panels whose highest bars differ by more than this factor have axes of their own.
APART = 3


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

    unit : of the trait
    printed : MSEP of the paper in the first environment, by model
    """
    figure = Figure(figsize=(10.0, 8.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    sides = {"paper": PAPER, "exchangeable": DEFAULTS}
    highest = [max(cv.scores["msep"][cv.models.index(label)].max() for label in labels) for labels in sides.values()]
    apart = max(highest) > APART * min(highest)
    panels = top.subplots(1, 2, sharey=not apart)
    for panel, (means, labels) in zip(panels, sides.items(), strict=True):
        draw_parts(panel, cv, labels, printed if means == "paper" else {})
        panel.set_ylabel(f"MSEP of {cv.trait}, ({unit})²")
        title = "the paper's prior of the means" if means == "paper" else "exchangeable means (the default)"
        panel.set_title(title + ("\nthe axes of the two differ" if apart else ""), fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    top.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    note = "un: unstructured, bd: diagonal, st: standard (left in raw units as the paper's, right in scaled units)"
    top.supxlabel(note, fontsize=9)
    for i, panel in enumerate(bottom.subplots(1, len(cv.envs), squeeze=False)[0]):
        for k, means in enumerate(sides):
            f = cv.predicted[cv.models.index(label_means("unstructured", means))].mean(axis=0)[:, i]
            label = means if i == 0 else None
            panel.plot(
                f, cv.observed[:, i], MARKS[k], color=PRIORS[k], markersize=3, alpha=0.6, markeredgewidth=0, label=label
            )
        low, high = panel.get_ylim()
        left, right = panel.get_xlim()
        ends = [min(low, left), max(high, right)]
        panel.plot(ends, ends, color="0.4", linewidth=0.9)
        panel.set(xlim=(left, right), ylim=(low, high))
        panel.set_title(cv.envs[i], fontsize=10)
        panel.set_xlabel(f"predicted {cv.trait} ({unit})")
    bottom.axes[0].set_ylabel(f"observed {cv.trait} ({unit})")
    title = "unstructured model, a point a line; line: predicted = observed; prior of the means"
    bottom.legend(loc="outside lower center", ncols=2, frameon=False, title=title, title_fontsize=9, markerscale=2.5)
    return figure


def draw_parts(panel: Axes, cv: CV2, labels: Sequence[str], printed: Mapping[str, float]) -> None:
    """MSEP of every model (their labels as of `STRUCTURES`) in every environment as a bar of two parts."""
    ticks, names = [], []
    for i, env in enumerate(cv.envs):
        for m, (model, label) in enumerate(zip(STRUCTURES, labels, strict=True)):
            k, place = cv.models.index(label), i * (len(STRUCTURES) + 1) + m
            lines, mean = cv.scores["lines"][k, i], cv.scores["mean"][k, i]
            first = place == 0
            panel.bar(place, lines, color=COLOURS[0], label="lines" if first else None)
            panel.bar(place, mean, bottom=lines, color=COLOURS[5], label="mean of the environment" if first else None)
            if i == 0 and model in printed:
                told = "the paper, first environment" if m == 0 else None
                panel.plot(place, printed[model], "x", color="black", markersize=8, markeredgewidth=2, label=told)
            ticks.append(place)
            names.append(SHORT[model])
        middle = i * (len(STRUCTURES) + 1) + 1
        panel.text(middle, -0.12, env, ha="center", va="top", transform=panel.get_xaxis_transform())
    panel.set_xticks(ticks, names, fontsize=9)
    panel.margins(y=0.12)
