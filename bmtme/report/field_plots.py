"""Pictures of plots: the field with its trend and residuals, variograms, quantiles, residuals against fitted values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.errors import UsageError
from bmtme.report.palette import COLOURS, style
from bmtme.report.panels import add_legend, break_lines, make_figure, make_panels, name_axes, shorten_names
from bmtme.results.mixed.field import Grid, tabulate_variogram
from bmtme.results.stage_one.field import FEWEST_PAIRS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmtme.results.stage_one.result import Adjustment

__all__ = [
    "plot_field",
    "plot_quantiles",
    "plot_residual_field",
    "plot_residual_variogram",
    "plot_residuals",
    "plot_variogram",
]

#: Inches of a plot of the field at most, of a panel's longer side, and beside it for its scale of colours.
PLOT, LONGEST, SCALE = 0.32, 4.2, 1.0
SHORTEST = 1.2
#: Outliers that are named in a panel.
MOST_NAMED = 8
NOTHING = "#DDDDDD"
LEVEL: dict[str, Any] = {"color": "0.5", "linestyle": ":"}
#: Of sections: panels beside each other at most, and inches of a panel, for a few and for many.
FEW, MANY = (3, 3.6), (5, 2.6)
#: Sections that are few.
SOME = 6


# --- stage one --------------------------------------------------------------------------------------------------


def plot_field(means: Adjustment, env: str) -> Figure:
    """Values, trend and residuals of an environment on its field, a row of panels for each trait."""
    columns = {"value": "values", "trend": "trend", "residual": "residuals"}
    grids = {column: means.grids(env, column) for column in columns}
    n_traits = len(grids["value"])
    shape = np.array(grids["value"][0].values.shape, dtype=float)
    size = shape * min(PLOT, LONGEST / shape.max())
    height, width = np.maximum(size, SHORTEST)
    names = shorten_names([grid.section for grid in grids["value"]])
    width = max(width, 0.085 * max(map(len, names.values())) + 0.2)  # of the titles
    # A field that is wide stands better with its panels below each other.
    across = width <= 1.6 * height or n_traits > 1
    rows, beside = (n_traits, 3) if across else (3, 1)
    figure, axes = make_figure(rows, beside, ((width + SCALE) * beside + 0.5, (height + 0.55) * rows + 0.9))
    panels = axes.ravel()
    for t in range(n_traits):
        for k, (column, title) in enumerate(columns.items()):
            panel = panels[t * 3 + k]
            image = draw_grid(panel, grids[column][t], around_zero=column != "value")
            add_scale(figure, panel, image)
            trait = f"{names[grids['value'][t].section]}: " if n_traits > 1 or k == 0 else ""
            panel.set_title(f"{trait}{title}", fontsize=10, loc="left")
    outliers = means.outliers[means.outliers["env"] == env]
    for row in outliers.to_dict("records"):
        for k in range(3):
            panel = panels[list(names).index(str(row["trait"])) * 3 + k]
            for colour, line in (("white", 3.0), ("black", 1.2)):  # to be seen on any colour
                looks: dict[str, Any] = {"markeredgecolor": colour, "markeredgewidth": line}
                panel.plot(row["col"], row["row"], "s", markersize=8, markerfacecolor="none", **looks)
    notes = ["outliers in squares"] if len(outliers) else []
    if means.select(env)["residual"].isna().any():
        notes.append("no residual where a line has one plot")
    add_title(figure, _name_environment(means, env) + (f" ({'; '.join(notes)})" if notes else ""))
    return figure


def plot_variogram(means: Adjustment, env: str) -> Figure:
    """The variogram of residuals: over both distances, and along rows and columns, for each trait."""
    traits = list(dict.fromkeys(means.select(env)["trait"]))
    variances = {trait: float(means.select(env, trait)["residual"].var(ddof=0)) for trait in traits}
    table = means.variogram(env).rename(columns={"trait": "section"})
    title = f"{_name_environment(means, env)}: variogram of residuals"
    return _draw_variograms(table, ("row", "col"), variances, title)


def _name_environment(means: Adjustment, env: str) -> str:
    model = means.candidates.loc[(means.candidates["env"] == env) & means.candidates["chosen"], "model"].iloc[0]
    (name,) = shorten_names([env], 40).values()
    return f"{name}, model {model}"


def plot_quantiles(means: Adjustment, env: str) -> Figure:
    """Standardised residuals against normal quantiles, a panel for each trait; outliers are named."""
    own = means.select(env)
    own = own[own["standardised"].notna()]
    traits = list(dict.fromkeys(means.select(env)["trait"]))
    figure, panels = make_panels(traits, 4.2, 3.6)
    outliers = means.outliers[means.outliers["env"] == env]
    for panel, trait in zip(panels, traits, strict=True):
        plots = own[own["trait"] == trait].sort_values("standardised", kind="stable")
        values = plots["standardised"].to_numpy()
        named = set(outliers.loc[outliers["trait"] == trait, "row_of_table"])
        odd = plots["row_of_table"].isin(named).to_numpy()
        quantiles = draw_quantiles(panel, values, odd)
        told = np.flatnonzero(odd)[:MOST_NAMED]
        lines = shorten_names(list(dict.fromkeys(plots["line"].iloc[told])))
        for k in told:
            left = quantiles[k] > 0
            panel.annotate(
                lines[plots["line"].iloc[k]],
                (quantiles[k], values[k]),
                xytext=(-6 if left else 6, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=8,
            )
    name_axes(figure, "normal quantile", "standardised residual")
    add_title(figure, _name_environment(means, env))
    return figure


# --- mixed models -----------------------------------------------------------------------------------------------


def plot_residual_field(grids: Sequence[Grid]) -> Figure:
    """Residuals of each section by position, in one scale of colours around zero; plots without a value stay empty."""
    columns, inches = FEW if len(grids) <= SOME else MANY
    beside = min(len(grids), columns)
    below = math.ceil(len(grids) / beside)
    figure, axes = make_figure(below, beside, (max(inches * beside + 0.9, 4.5), inches * below + 0.4))
    most = max((float(np.nanmax(np.abs(grid.values))) for grid in grids), default=1.0) or 1.0
    names = shorten_names([grid.section for grid in grids])
    image: Any = None
    for panel, grid in zip(axes.flat, grids, strict=False):
        image = draw_grid(panel, turn(grid), around_zero=True, most=most)
        panel.set_title(names[grid.section], loc="left", fontsize=10)
    for panel in axes.flat[len(grids) :]:
        panel.set_axis_off()
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("residual", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def plot_residual_variogram(grids: Sequence[Grid]) -> Figure:
    """The variogram of residuals of each section: over both distances, and along each axis alone."""
    turned = [turn(grid) for grid in grids]
    variances = {grid.section: float(np.nanvar(grid.values)) for grid in turned}
    return _draw_variograms(tabulate_variogram(turned), turned[0].names, variances, "variogram of residuals")


def plot_residuals(table: pd.DataFrame) -> Figure:
    """Residuals of a mixed model against fitted values and normal quantiles, a row of panels for each trait.

    Parameters
    ----------
    table : DataFrame
        As of `MixedFit.residuals`: fitted, residual, standardised, and trait where there are several.
    """
    traits = list(dict.fromkeys(table["trait"])) if "trait" in table else [""]
    names = shorten_names(traits)
    figure, axes = make_figure(len(traits), 2, (8.0, 3.2 * len(traits) + 0.5))
    for (left, right), trait in zip(axes, traits, strict=True):
        own = table[table["trait"] == trait] if trait else table
        left.axhline(0.0, color="0.6", linewidth=1)
        left.plot(own["fitted"], own["residual"], "o", markersize=3, color=COLOURS[0], alpha=_choose_alpha(len(own)))
        left.set_xlabel("fitted", fontsize=9)
        left.set_ylabel("residual", fontsize=9)
        known = own["standardised"].dropna().sort_values()
        draw_quantiles(right, known.to_numpy(), np.zeros(len(known), dtype=bool))
        right.set_xlabel("normal quantile", fontsize=9)
        right.set_ylabel("standardised residual", fontsize=9)
        for panel in (left, right):
            panel.tick_params(labelsize=8)
            panel.set_title(names[trait], fontsize=10, loc="left")
    return figure


# --- parts ------------------------------------------------------------------------------------------------------


def turn(grid: Grid) -> Grid:
    """A grid of columns x rows as rows x columns, or the other way round."""
    return Grid(grid.section, grid.names[::-1], grid.starts[::-1], grid.values.T)


def add_title(figure: Figure, text: str) -> None:
    """A title of the figure, broken where it is longer than the figure."""
    figure.suptitle(break_lines(text, figure, 12), fontsize=11)


def draw_grid(panel: Axes, grid: Grid, around_zero: bool, most: float | None = None) -> Any:
    """A grid of rows x columns in colours; row 1 is above.

    most : end of the scale of colours around zero; by default the largest value of the grid
    """
    n, m = grid.values.shape
    first_row, first_col = grid.starts
    extent = (first_col - 0.5, first_col + m - 0.5, first_row + n - 0.5, first_row - 0.5)
    if most is None:
        known = np.abs(grid.values[~np.isnan(grid.values)])
        most = float(known.max(initial=0.0)) or 1.0
    scale: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if around_zero else {"cmap": "viridis"}
    image = panel.imshow(grid.values, extent=extent, aspect="auto", interpolation="nearest", **scale)
    panel.set_facecolor(NOTHING)
    down, across = shorten_names(grid.names).values()
    panel.set_xlabel(across, fontsize=9)
    panel.set_ylabel(down, fontsize=9)
    panel.tick_params(labelsize=8)
    _number_whole(panel)
    return image


def add_scale(figure: Figure, panel: Axes, image: Any) -> None:
    """The scale of colours beside a panel."""
    figure.colorbar(image, ax=panel, pad=0.02, fraction=0.08).ax.tick_params(labelsize=8)


def draw_quantiles(panel: Axes, values: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Values (n,), the lowest first, against normal quantiles, which are given back; odd (n,) : which are outliers."""
    from scipy.special import ndtri

    n = len(values)
    quantiles = np.asarray(ndtri((np.arange(n) + 0.5) / n))
    if n:
        ends = np.array([min(quantiles.min(), values.min()), max(quantiles.max(), values.max())]) * 1.05
        panel.plot(ends, ends, color="0.6", linewidth=1)
        panel.plot(quantiles[~odd], values[~odd], "o", markersize=3, color=COLOURS[0])
        panel.plot(quantiles[odd], values[odd], "o", markersize=5, color=COLOURS[1])
    return quantiles


def _draw_variograms(table: pd.DataFrame, axes: tuple[str, str], variances: Mapping[str, float], title: str) -> Figure:
    """A surface and two lines for each section; axes : columns of the table, down and across in the field."""
    down, across = axes
    if not (table["n"] >= FEWEST_PAIRS).any():
        raise UsageError(
            f"there is no variogram to draw: fewer than {FEWEST_PAIRS} pairs of plots with residuals lie at any "
            "distance from each other (a line with one plot has no residual)."
        )
    sections = shorten_names(list(variances))
    figure, panels = make_figure(len(sections), 2, (9.0, 3.1 * len(sections) + 0.7))
    for (left, right), (section, name) in zip(panels, sections.items(), strict=True):
        own = table[(table["section"] == section) & (table["n"] >= FEWEST_PAIRS)]
        if not len(own):
            text = f"{name}: too few plots with residuals, which lines with one plot have not"
            left.text(0.0, 0.5, text, va="center", fontsize=9, transform=left.transAxes)
            left.set_axis_off()
            right.set_axis_off()
            continue
        add_scale(figure, left, _draw_surface(left, own, axes))
        for k, (along, same) in enumerate(((across, down), (down, across))):
            line = own[own[same] == 0]
            right.plot(line[along], line["gamma"], **style(k), markersize=4)
        right.axhline(variances[section], **LEVEL)
        right.set_ylim(bottom=0)
        _number_whole(right, "x")
        right.set_xlabel("distance", fontsize=9)
        right.set_ylabel("half mean square", fontsize=9)
        for panel in (left, right):
            panel.tick_params(labelsize=8)
            panel.set_title(name, fontsize=10, loc="left")
    names = shorten_names(axes).values()
    entries = {f"in the same {name.strip()}": style(k) | {"linestyle": "-"} for k, name in enumerate(names)}
    add_legend(figure, entries | {"variance": LEVEL | {"marker": ""}}, title)
    return figure


def _draw_surface(panel: Axes, table: pd.DataFrame, axes: tuple[str, str]) -> Any:
    """gamma by both distances; grey where few pairs are so far apart."""
    down, across = axes
    grid = np.full((int(table[down].max()) + 1, int(table[across].max()) + 1), np.nan)
    grid[table[down], table[across]] = table["gamma"]
    grid[0, 0] = 0.0
    image = panel.imshow(grid, origin="lower", aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0)
    panel.set_facecolor(NOTHING)
    named = shorten_names(axes)
    panel.set_xlabel(f"distance in {named[across].strip()}", fontsize=9)
    panel.set_ylabel(f"distance in {named[down].strip()}", fontsize=9)
    _number_whole(panel)
    return image


def _number_whole(panel: Axes, axes: str = "xy") -> None:
    """Whole numbers along axes."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        getattr(panel, f"{axis}axis").set_major_locator(MaxNLocator(nbins=6, integer=True))


def _choose_alpha(count: int) -> float:
    """How opaque points are: many lie over each other."""
    return min(0.8, max(0.15, 300 / max(count, 1)))
