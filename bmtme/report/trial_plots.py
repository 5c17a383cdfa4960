"""A picture of a trial: which line has records in which environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.data.trial import Trial
from bmtme.report.palette import COLOURS
from bmtme.report.panels import make_figure, shorten_names
from bmtme.words import count_noun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_records"]

#: What a cell can be: without a value, with values of some traits, with values of all; dark enough to tell in grey.
NONE, SOME, ALL = range(3)
SHADES = {NONE: "#F2F2F2", SOME: COLOURS[5], ALL: COLOURS[0]}
INK = {SOME: "black", ALL: "white"}
#: Inches of a line, of an environment, of a letter of a name, and beside a block of lines.
LINE, ENV, LETTER, GAP = 0.118, 0.17, 0.062, 0.25
#: Lines whose names are shown, and inches of a figure with their names, at most; without them, as many.
MOST_NAMED, MOST_INCHES, BARE_INCHES = 1_000, 30.0, 11.0
SIZE = 6.5
#: Letters of a name at most; lines of a block beside another at least.
MOST_LETTERS, FEWEST_ROWS = 40, 25


@dataclass(frozen=True)
class Scene:
    """What is drawn: the lines in their order, and of every line and environment the kind of cell and its plots."""

    lines: list[str]
    envs: list[str]
    kinds: np.ndarray  # (J, I)
    plots: np.ndarray  # (J, I)


def plot_records(trial: Trial) -> Figure:
    """Records by line and environment: a row for each line, a column for each environment.

    A cell tells by its colour whether there are values of all traits, of some, or none, and by a number how many plots,
    where any cell has several. Lines recorded in the same environments stand together, those in most of them first. Of
    up to a thousand lines there are the names, in blocks side by side.

    Parameters
    ----------
    trial : Trial

    Returns
    -------
    matplotlib.figure.Figure
    """
    scene = _sort(trial)
    J = len(scene.lines)
    names, envs = (shorten_names(texts, MOST_LETTERS) for texts in (scene.lines, scene.envs))
    beside = LETTER * max(map(len, names.values())) + GAP
    above = LETTER * max(map(len, envs.values())) + 0.9
    width = ENV * len(envs)
    blocks = _count_blocks(J, width + beside, above)
    rows = math.ceil(J / blocks)
    named = J <= MOST_NAMED and max(blocks * (width + beside), LINE * rows + above) <= MOST_INCHES
    if named:
        size = max(blocks * (width + beside), 4.5), LINE * rows + above
    else:
        blocks, rows = 1, J
        size = float(np.clip(width + 1, 5.0, BARE_INCHES)), BARE_INCHES
    figure, axes = make_figure(1, blocks, size)
    for block, panel in enumerate(axes.flat):
        part = slice(block * rows, min((block + 1) * rows, J))
        # Blocks of the same height: the last one may have fewer lines.
        _draw_cells(panel, scene.kinds[part], rows)
        panel.set_xticks(range(len(envs)), list(envs.values()), rotation=90, fontsize=SIZE)
        panel.xaxis.tick_top()
        panel.tick_params(length=0, pad=2)
        panel.set_yticks([])
        if named:
            panel.set_yticks(range(part.stop - part.start), [names[line] for line in scene.lines[part]], fontsize=SIZE)
            _part_cells(panel, rows, len(envs))
            if scene.plots.max(initial=0) > 1:
                _write_plots(panel, scene.kinds[part], scene.plots[part])
    if not named:
        axes[0, 0].set_ylabel(f"{J:,} lines", fontsize=9)
    figure.suptitle(f"Records of {count_noun(J, 'line')} in {count_noun(len(envs), 'environment')}", fontsize=10)
    _explain(figure, scene, len(trial.traits), named)
    return figure


def _sort(trial: Trial) -> Scene:
    """Lines by the environments they are in: those in most of them first, then those in the earlier ones."""
    counts = trial.counts()
    seen = counts > 0
    kinds = np.where(seen.all(axis=2), ALL, np.where(seen.any(axis=2), SOME, NONE))
    grown = kinds > NONE
    # lexsort takes the last key first.
    order = np.lexsort([*(~grown[:, ::-1]).T, -grown.sum(axis=1)])
    return Scene([trial.lines[j] for j in order], list(trial.envs), kinds[order], counts.max(axis=2)[order])


def _count_blocks(J: int, width: float, above: float) -> int:
    """Blocks of lines side by side, of this width in inches each, that make the figure about square."""
    most = max(1, J // FEWEST_ROWS)
    return next((n for n in range(1, most) if n * width >= LINE * math.ceil(J / n) + above), most)


def _draw_cells(panel: Axes, kinds: np.ndarray, rows: int) -> None:
    from matplotlib.colors import ListedColormap

    shades: Any = ListedColormap(list(SHADES.values()))
    panel.imshow(kinds, cmap=shades, vmin=NONE, vmax=ALL, aspect="auto", interpolation="nearest")
    panel.set_ylim(rows - 0.5, -0.5)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _part_cells(panel: Axes, rows: int, columns: int) -> None:
    """White lines between cells."""
    panel.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, color="white", linewidth=0.6)
    panel.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, color="white", linewidth=0.6)


def _write_plots(panel: Axes, kinds: np.ndarray, plots: np.ndarray) -> None:
    for j, i in np.argwhere(plots > 0):
        panel.text(
            i, j, str(plots[j, i]), fontsize=SIZE - 1.5, ha="center", va="center_baseline", color=INK[kinds[j, i]]
        )


def _explain(figure: Figure, scene: Scene, traits: int, named: bool) -> None:
    """A legend below, with the number of cells of each kind."""
    from matplotlib.patches import Patch

    words = {ALL: "values of all traits" if traits > 1 else "values", SOME: "of some traits", NONE: "none"}
    marks = []
    for kind, text in words.items():
        number = int((scene.kinds == kind).sum())
        if number or kind == NONE:
            label = f"{text} ({count_noun(number, 'cell')})"
            marks.append(Patch(facecolor=SHADES[kind], edgecolor="0.6", linewidth=0.4, label=label))
    if named and scene.plots.max(initial=0) > 1:
        marks.append(Patch(facecolor="none", edgecolor="none", label="numbers: plots"))
    fits = max(1, int(figure.get_figwidth() / 2.3))
    figure.legend(handles=marks, loc="outside lower center", ncols=min(len(marks), fits), frameon=False, fontsize=8)
