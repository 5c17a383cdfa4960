"""Panels side by side, one for each trait, and the legend above them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bmtme.report.palette import plain

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "add_caution",
    "add_legend",
    "break_lines",
    "make_figure",
    "make_panels",
    "name_axes",
    "shade_places",
    "shorten_names",
    "turn_labels",
]

#: Panels side by side at most, and inches that they may take.
MOST_PANELS, MOST_WIDTH = 4, 18.0
#: Characters of a name in a figure at most: longer ones would leave no room for the panels.
MOST_SHOWN = 24


def shorten_names(names: Sequence[str], most: int = MOST_SHOWN) -> dict[str, str]:
    """What stands in a figure for each name: long ones without their middle, those that this makes the same by number.

    The names are in the order of the figure, each once.
    """
    made: dict[str, str] = {}
    for name in names:
        text = short = " ".join(str(name).split())
        if len(text) > most:
            text = short = f"{text[: most - 9]}…{text[-8:]}"
        number = 1
        while text in made.values():
            number += 1
            text = f"{short} ({number})"
        made[name] = text
    return {name: plain(text) for name, text in made.items()}


def make_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of this size in inches with (rows, columns) panels, of which neither pyplot nor any window knows."""
    from bmtme.report.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def make_panels(
    traits: Sequence[str], width: float, height: float, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each trait, of about this size in inches."""
    columns = max(1, min(len(traits), MOST_PANELS, int(MOST_WIDTH // width)))
    rows = math.ceil(len(traits) / columns)
    size = max(columns * width + 0.6, 5.0), 1.1 + height * rows
    figure, axes = make_figure(rows, columns, size, sharex=sharex, sharey=sharey)
    panels = list(axes.flat)
    for panel in panels[len(traits) :]:
        panel.set_axis_off()
    for panel, trait in zip(panels, shorten_names(traits).values(), strict=False):
        panel.set_title(trait, fontsize=10)
        panel.set_axisbelow(True)
        panel.tick_params(labelbottom=True, labelleft=True, labelsize=8)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure, panels[: len(traits)]


def shade_places(panel: Axes, places: int, axis: str) -> None:
    """Every other environment on grey, so that the points of one are seen to belong together."""
    band = panel.axvspan if axis == "x" else panel.axhspan
    for k in range(1, places, 2):
        band(k - 0.5, k + 0.5, color="0.955", linewidth=0, zorder=0)


def turn_labels(panel: Axes, names: Sequence[str], slot: float) -> None:
    """Names of environments, as they are shown, upright where they would run into each other."""
    if max(map(len, names)) * 0.08 > slot:
        for label in panel.get_xticklabels():
            label.set(rotation=60, ha="right", rotation_mode="anchor")


def break_lines(text: str, figure: Figure, letters: float) -> str:
    """Every line of a text broken where it is longer than the figure; letters : of an inch."""
    most = max(10, int(letters * figure.get_figwidth()))
    return "\n".join(textwrap.fill(line, most) for line in text.splitlines())


def add_caution(figure: Figure, text: str) -> None:
    """A line below the title of a figure, which stands above the legend where there is one."""
    from matplotlib.font_manager import FontProperties

    if figure.legends:
        legend = figure.legends[0]
        above = legend.get_title().get_text() if legend.get_title().get_visible() else ""
        legend.set_title(
            "\n".join([*([above] if above else []), break_lines(text, figure, 13)]), prop=FontProperties(size=9)
        )
        legend.get_title().set_multialignment("center")
    else:
        figure.suptitle(f"{figure.get_suptitle()}\n{break_lines(text, figure, 13)}", fontsize=9)


def name_axes(figure: Figure, x: str, y: str) -> None:
    """Names of the axes of all panels, broken where they are longer than the figure."""
    width, height = figure.get_size_inches()
    figure.supxlabel(textwrap.fill(x, int(12 * width)), fontsize=10)
    figure.supylabel(textwrap.fill(y, int(8 * height)), fontsize=10)


def add_legend(figure: Figure, entries: dict[str, dict[str, Any]], title: str | None = None) -> None:
    """A legend above the panels, in as many columns as fit."""
    from matplotlib.lines import Line2D

    usual: dict[str, Any] = {"linestyle": "none", "markersize": 5}
    marks = [Line2D([], [], **(usual | looks)) for looks in entries.values()]
    inches = 0.45 + 0.085 * max(map(len, entries))
    columns = max(1, min(len(entries), int(figure.get_figwidth() / inches)))
    legend = figure.legend(
        marks,
        list(entries),
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        title=None if title is None else break_lines(title, figure, 13),
        title_fontsize=9,
    )
    legend.get_title().set_multialignment("center")
