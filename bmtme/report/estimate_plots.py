"""Pictures of estimates: correlations of traits and of environments, heritabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.decisions.correlations import ENV, GENETIC, INTERACTION, RESIDUAL, SAME, TRAIT
from bmtme.decisions.covariances import list_names_along
from bmtme.decisions.targets import find_name
from bmtme.report.glossary import name_record
from bmtme.report.palette import COLOURS
from bmtme.report.panels import (
    add_legend,
    break_lines,
    make_figure,
    make_panels,
    name_axes,
    shade_places,
    shorten_names,
)
from bmtme.results.notes import PRIOR_ONLY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmtme.results.fit import Fit

__all__ = ["plot_env_correlations", "plot_heritability", "plot_trait_correlations"]

#: Inches of a cell with a number and of the smallest one, and of a letter of a name.
CELL, SMALLEST, LETTER = 0.36, 0.11, 0.072
#: Names along a side up to which cells have numbers; panels beside each other at most, and inches of a figure.
MOST_NUMBERED, MOST_BESIDE, MOST_INCHES = 24, 4, 20.0
#: From this size on a correlation is drawn so dark that ink has to be white.
DARK = 0.6
BOLD, HATCHED = "bold: 90% interval without zero", "hatched: prior only, or no record"


def plot_trait_correlations(fit: Fit, env: str | None = None) -> Figure:
    """See `bmtme.results.pictures.FitPictures.plot_trait_correlations`."""
    envs = list_names_along(fit, ENV)
    if env is not None:
        find_name(env, envs, "environment")
    short = shorten_names(envs)
    kinds = [GENETIC, RESIDUAL]
    if env is None and len(envs) > 1:
        kinds.insert(1, INTERACTION)
    panels: dict[str, pd.DataFrame] = {}
    genetic = fit.correlations()
    for kind in kinds:
        table = genetic if kind == GENETIC else fit.correlations(kind)  # type: ignore[arg-type]
        if kind == INTERACTION and genetic["env"].isna().all():  # as in the main effects
            continue
        shared = table[table["env"].isna()]
        own = table[table["env"] == env] if env is not None else table.head(0)
        if len(own) or len(shared):
            alike = kind != INTERACTION and len(shared) == len(table)
            where = ", every environment" if alike and len(envs) > 1 else ""
            if kind == GENETIC and not alike and not len(own):
                where = ", means over environments"
            panels[f"{kind}{where}"] = own if len(own) else shared
        else:
            for name, part in table.groupby("env", sort=False):
                panels[f"{kind}, {short[str(name)]}"] = part
    title = "Correlations of traits"
    if env is not None:
        title += f" in {short[env]}"
    return _draw_matrices(panels, list_names_along(fit, TRAIT), title)


def plot_env_correlations(fit: Fit, trait: str | None = None) -> Figure:
    """See `bmtme.results.pictures.FitPictures.plot_env_correlations`."""
    traits = list_names_along(fit, TRAIT)
    if trait is not None:
        traits = [find_name(trait, traits, "trait")]
    table = fit.correlations(over="env")
    parts = {name: table[table["trait"] == name] for name in traits}
    means = np.stack([part["mean"].to_numpy() for part in parts.values()])
    unseen = {tuple(map(_is_unseen, part["note"])) for part in parts.values()}
    if len(traits) > 1 and np.abs(means - means[0]).max() < SAME and len(unseen) == 1:
        panels = {"every trait": parts[traits[0]]}
    else:
        short = shorten_names(traits)
        panels = {short[name]: part for name, part in parts.items()}
    return _draw_matrices(panels, list_names_along(fit, ENV), "Genetic correlations of environments")


def plot_heritability(fit: Fit) -> Figure:
    """See `bmtme.results.pictures.FitPictures.plot_heritability`."""
    table = fit.heritability()
    envs, traits = (list(dict.fromkeys(table[name])) for name in ("env", "trait"))
    entry = fit.heritability("mean").set_index("trait")
    shown = [*shorten_names(envs).values(), "mean of a line"]
    width = 2.2 + 0.07 * max(map(len, shown))
    figure, panels = make_panels(traits, width, 0.2 * len(shown) + 0.5, sharex=True, sharey=True)
    looks: dict[str, dict[str, Any]] = {
        f"of a {name_record(fit.run['data'])}": {"color": COLOURS[0], "marker": "o"},
        "of a line's mean over its plots": {"color": COLOURS[1], "marker": "s"},
    }
    record, mean = looks.values()
    hollow = {"markerfacecolor": "white"}
    unseen = False
    for panel, trait in zip(panels, traits, strict=True):
        shade_places(panel, len(shown), "y")
        part = table[table["trait"] == trait].set_index("env")
        points = [(y, part.loc[env], record) for y, env in enumerate(envs)]
        points.append((len(envs), entry.loc[trait], mean))
        for y, row, look in points:
            prior = PRIOR_ONLY in row["note"]
            unseen |= prior
            panel.plot([row["lower"], row["upper"]], [y, y], color=look["color"], linewidth=1.4, zorder=2)
            fill: dict[str, Any] = hollow if prior else {}
            panel.plot([row["mean"]], [y], **look, linestyle="none", markersize=5, zorder=3, **fill)
        panel.set_yticks(range(len(shown)), shown)
        panel.set_ylim(len(shown) - 0.5, -0.5)
        panel.set_xlim(0.0, 1.0)
        panel.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "", "0.5", "", "1"])
        panel.grid(axis="x", color="0.9")
    if unseen:
        looks["prior only (see the note)"] = {"color": "0.3", "marker": "o"} | hollow
    name_axes(figure, "heritability among the trial's lines, posterior mean and 90% interval", "environment")
    add_legend(figure, looks)
    return figure


# --- parts ------------------------------------------------------------------------------------------------------


def _draw_matrices(panels: dict[str, pd.DataFrame], names: Sequence[str], title: str) -> Figure:
    """Panels with the lower triangles of matrices of correlations.

    panels : by title, the pairs as of `Fit.correlations`
    """
    short = list(shorten_names(names).values())
    n = len(names)
    numbered = n <= MOST_NUMBERED
    cell = CELL if numbered else max(SMALLEST, CELL * MOST_NUMBERED / n)
    side = cell * n
    beside = LETTER * max(map(len, short)) + 0.3
    width = max(side + beside, 0.085 * max(map(len, panels)) + 0.3, 2.2)
    columns = max(1, min(len(panels), MOST_BESIDE, int(MOST_INCHES // width)))
    rows = -(-len(panels) // columns)
    size = max(columns * width + 1.0, 4.4), rows * (side + beside + 0.35) + 0.8
    figure, axes = make_figure(rows, columns, size)
    image: Any = None
    for panel, (name, table) in zip(axes.flat, panels.items(), strict=False):
        image = _draw_matrix(panel, table, list(names), short, numbered, cell)
        panel.set_title(name, fontsize=10)
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 3.0 / size[1]) if size[1] > 4 else 0.9, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("correlation, posterior mean", fontsize=9)
    hatched = any(_is_unseen(note) for table in panels.values() for note in table["note"])
    words = "; ".join([BOLD] * numbered + [HATCHED] * hatched)
    figure.suptitle(break_lines("\n".join(text for text in (title, words) if text), figure, 13), fontsize=9)
    return figure


def _draw_matrix(
    panel: Axes, table: pd.DataFrame, names: Sequence[str], short: Sequence[str], numbered: bool, cell: float
) -> Any:
    from matplotlib.patches import Rectangle

    n = len(names)
    place = {name: k for k, name in enumerate(names)}
    grid = np.full((n, n), np.nan)
    row: Any
    for row in table.itertuples(index=False):
        i, j = sorted((place[row.a], place[row.b]), reverse=True)
        grid[i, j] = row.mean
        if _is_unseen(row.note):
            box: dict[str, Any] = {"fill": False, "hatch": "////", "edgecolor": "0.45", "linewidth": 0}
            panel.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, **box))
        if numbered:
            told = row.lower > 0 or row.upper < 0
            panel.text(
                j,
                i,
                _write(row.mean),
                ha="center",
                va="center",
                fontsize=7,
                fontweight="bold" if told else "normal",
                color="white" if abs(row.mean) > DARK else "black",
            )
    image = panel.imshow(grid, cmap="RdBu_r", vmin=-1.0, vmax=1.0, interpolation="nearest", aspect="equal")
    size = min(8.0, 64 * cell)
    # The first name has no row, and the last one no column.
    panel.set_xticks(range(n - 1), short[:-1], rotation=90, fontsize=size)
    panel.set_yticks(range(1, n), short[1:], fontsize=size)
    panel.set_xlim(-0.5, n - 1.5)
    panel.set_ylim(n - 0.5, 0.5)
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def _is_unseen(note: str) -> bool:
    """Whether a number comes from the prior alone."""
    return PRIOR_ONLY in note or "no record of" in note


def _write(value: float) -> str:
    """Two digits without the zero before the point, as in a table of correlations."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text[:-3]
