"""Pictures of stage one: the field with its trend and residuals, their variogram, their quantiles."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.report.palette import COLOURS, plain
from bmtme.report.panels import make_panels, name_axes, shorten_names
from bmtme.results.stage_one.field import FEWEST_PAIRS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmtme.results.mixed.field import Grid
    from bmtme.results.stage_one.result import Adjustment

__all__ = ["plot_field", "plot_quantiles", "plot_variogram"]

#: Inches of a plot of the field at most, of a panel's longer side, and beside it for its scale of colours.
PLOT, LONGEST, SCALE = 0.32, 4.2, 1.0
SHORTEST = 1.2
#: Outliers that are named in a panel.
MOST_NAMED = 8
NOTHING = "#DDDDDD"


def plot_field(means: Adjustment, env: str) -> Figure:
    """Values, trend and residuals of an environment on its field, a row of panels for each trait."""
    import matplotlib.pyplot as plt

    columns = {"value": "values", "trend": "trend", "residual": "residuals"}
    grids = {column: means.grids(env, column) for column in columns}
    n_traits = len(grids["value"])
    shape = np.array(grids["value"][0].values.shape, dtype=float)
    size = shape * min(PLOT, LONGEST / shape.max())
    height, width = np.maximum(size, SHORTEST)
    # A field that is wide stands better with its panels below each other.
    across = width <= 1.6 * height or n_traits > 1
    layout = (n_traits, 3) if across else (3, 1)
    figure, axes = plt.subplots(
        *layout,
        squeeze=False,
        figsize=((width + SCALE) * layout[1] + 0.5, (height + 0.55) * layout[0] + 0.9),
        layout="constrained",
    )
    panels = axes.ravel()
    names = shorten_names([grid.section for grid in grids["value"]])
    for t in range(n_traits):
        for k, (column, title) in enumerate(columns.items()):
            panel = panels[t * 3 + k]
            _draw_grid(figure, panel, grids[column][t], around_zero=column != "value")
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
    text = _name_environment(means, env) + (f" ({'; '.join(notes)})" if notes else "")
    figure.suptitle(textwrap.fill(text, int(12 * figure.get_figwidth())), fontsize=11)
    return figure


def _name_environment(means: Adjustment, env: str) -> str:
    model = means.candidates.loc[(means.candidates["env"] == env) & means.candidates["chosen"], "model"].iloc[0]
    (name,) = shorten_names([env], 40).values()
    return f"{name}, model {model}"


def _draw_grid(figure: Figure, panel: Axes, grid: Grid, around_zero: bool) -> None:
    """A grid of rows x columns in colours with their scale; row 1 is above."""
    n, m = grid.values.shape
    first_row, first_col = grid.starts
    extent = (first_col - 0.5, first_col + m - 0.5, first_row + n - 0.5, first_row - 0.5)
    most = float(np.nanmax(np.abs(grid.values))) or 1.0
    scale: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if around_zero else {"cmap": "viridis"}
    image = panel.imshow(grid.values, extent=extent, aspect="auto", interpolation="nearest", **scale)
    panel.set_facecolor(NOTHING)
    panel.set_xlabel(plain(grid.names[1]), fontsize=9)
    panel.set_ylabel(plain(grid.names[0]), fontsize=9)
    panel.tick_params(labelsize=8)
    _number_whole(panel)
    bar = figure.colorbar(image, ax=panel, pad=0.02, fraction=0.08)
    bar.ax.tick_params(labelsize=8)


def _number_whole(panel: Axes, axes: str = "xy") -> None:
    """Whole numbers along axes."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        getattr(panel, f"{axis}axis").set_major_locator(MaxNLocator(nbins=6, integer=True))


def plot_variogram(means: Adjustment, env: str) -> Figure:
    """The variogram of residuals: over both distances, and along rows and columns, for each trait."""
    import matplotlib.pyplot as plt

    table = means.variogram(env)
    traits = shorten_names(list(dict.fromkeys(means.select(env)["trait"])))
    figure, axes = plt.subplots(
        len(traits), 2, squeeze=False, figsize=(9.0, 3.1 * len(traits) + 0.7), layout="constrained"
    )
    for (left, right), (trait, name) in zip(axes, traits.items(), strict=True):
        own = table[(table["trait"] == trait) & (table["n"] >= FEWEST_PAIRS)]
        if not len(own):
            text = f"{name}: too few plots with residuals, which lines with one plot have not"
            left.text(0.0, 0.5, text, va="center", fontsize=9, transform=left.transAxes)
            left.set_axis_off()
            right.set_axis_off()
            continue
        _draw_surface(figure, left, own)
        for k, (along, same, label) in enumerate(
            (("col", "row", "in the same row"), ("row", "col", "in the same column"))
        ):
            line = own[own[same] == 0]
            right.plot(line[along], line["gamma"], marker="os"[k], markersize=4, color=COLOURS[k], label=label)
        residuals = means.select(env, trait)["residual"]
        right.axhline(float(residuals.var(ddof=0)), color="0.5", linestyle=":", label="variance")
        right.set_ylim(bottom=0)
        _number_whole(right, "x")
        right.set_xlabel("plots apart", fontsize=9)
        right.set_ylabel("half mean square", fontsize=9)
        right.legend(fontsize=8, frameon=False)
        for panel in (left, right):
            panel.tick_params(labelsize=8)
            panel.set_title(name, fontsize=10, loc="left")
    figure.suptitle(f"{_name_environment(means, env)}: variogram of residuals", fontsize=11)
    return figure


def _draw_surface(figure: Figure, panel: Axes, table: pd.DataFrame) -> None:
    """gamma by both distances; grey where few pairs are so far apart."""
    grid = np.full((int(table["row"].max()) + 1, int(table["col"].max()) + 1), np.nan)
    grid[table["row"], table["col"]] = table["gamma"]
    grid[0, 0] = 0.0
    image = panel.imshow(grid, origin="lower", aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0)
    panel.set_facecolor(NOTHING)
    panel.set_xlabel("columns apart", fontsize=9)
    panel.set_ylabel("rows apart", fontsize=9)
    _number_whole(panel)
    figure.colorbar(image, ax=panel, pad=0.02).ax.tick_params(labelsize=8)


def plot_quantiles(means: Adjustment, env: str) -> Figure:
    """Standardised residuals against normal quantiles, a panel for each trait; outliers are named."""
    from scipy.special import ndtri

    own = means.select(env)
    own = own[own["standardised"].notna()]
    traits = list(dict.fromkeys(means.select(env)["trait"]))
    figure, panels = make_panels(traits, 4.2, 3.6)
    outliers = means.outliers[means.outliers["env"] == env]
    for panel, trait in zip(panels, traits, strict=True):
        plots = own[own["trait"] == trait].sort_values("standardised", kind="stable")
        n = len(plots)
        quantiles = ndtri((np.arange(n) + 0.5) / n)
        values = plots["standardised"].to_numpy()
        named = set(outliers.loc[outliers["trait"] == trait, "row_of_table"])
        odd = plots["row_of_table"].isin(named).to_numpy()
        ends = np.array([min(quantiles.min(), values.min()), max(quantiles.max(), values.max())]) * 1.05
        panel.plot(ends, ends, color="0.6", linewidth=1)
        panel.plot(quantiles[~odd], values[~odd], "o", markersize=3, color=COLOURS[0])
        panel.plot(quantiles[odd], values[odd], "o", markersize=5, color=COLOURS[1])
        for k in np.flatnonzero(odd)[:MOST_NAMED]:
            left = quantiles[k] > 0
            panel.annotate(
                plain(plots["line"].iloc[k]),
                (quantiles[k], values[k]),
                xytext=(-6 if left else 6, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=8,
            )
    name_axes(figure, "normal quantile", "standardised residual")
    figure.suptitle(_name_environment(means, env), fontsize=11)
    return figure
