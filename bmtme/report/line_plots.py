"""Pictures of lines: their ranking, the probability of being among the best, their values from place to place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.report.palette import COLOURS, style
from bmtme.report.panels import add_legend, make_figure, name_axes, shorten_names, turn_labels
from bmtme.report.ranking import describe_target
from bmtme.words import count_noun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmtme.results.fit import Fit

__all__ = ["draw_probabilities", "draw_ranking", "plot_reaction_norms"]

#: Lines that have a row of their own, besides the check.
MOST_ROWS = 40
#: Inches of such a row.
ROW = 0.17
#: Lines that have a colour of their own, besides the check.
MOST_COLOURED = 6
BEST, OTHER, CHECK = COLOURS[0], "0.55", COLOURS[1]
#: Larger than the points of the other probability, which may lie within.
ABOVE: dict[str, Any] = style(1) | {"markerfacecolor": "none", "markersize": 7}
NEW = "no record: known through relatives"


def draw_ranking(table: pd.DataFrame, recorded: Collection[str]) -> Figure:
    """Values of the best lines with 90% intervals, the check among them, and of all lines beside.

    Parameters
    ----------
    table : DataFrame
        As of `Fit.ranking` or `Fit.index`, with its ``attrs``. An index is drawn less the mean of all candidates.
    recorded : names of the lines with a record
    """
    about: dict[str, Any] = dict(table.attrs)  # type: ignore[arg-type]
    known = set(recorded)
    if "weights" in about:
        table = table.assign(**{name: table[name] - table["value"].mean() for name in ("lower", "upper", "value")})
    rows, gap = _choose_rows(table)
    shown = table.iloc[rows]
    names = _name_rows(shown["line"], about["check"])
    more = len(table) > len(rows)
    figure, panels = _make_rows(len(rows) + gap, max(map(len, names)), 2 if more else 1)
    panel = panels[0]
    places = _place_rows(len(rows), gap)
    _draw_rows(panel, places, names, gap)
    level = _find_level(table)
    if level is not None:
        panel.axvline(level, color=CHECK, linestyle="--", linewidth=0.9, zorder=1)
    looks: dict[str, dict[str, Any]] = {}
    row: Any
    for y, n, row in zip(places, rows, shown.itertuples(index=False), strict=True):
        kind, mark = _look(row.line, n, about)
        looks[kind] = mark
        panel.plot([row.lower, row.upper], [y, y], color=mark["color"], linewidth=1.4, zorder=2)
        fill: dict[str, Any] = {} if row.line in known else {"markerfacecolor": "white"}
        panel.plot([row.value], [y], **mark, linestyle="none", markersize=4.5, zorder=3, **fill)
    if any(line not in known for line in shown["line"]):
        looks[NEW] = {"color": "0.3", "marker": "o", "markerfacecolor": "white"}
    panel.locator_params(axis="x", nbins=6)
    if more:
        _draw_all(panels[1], table, level)
        panel.set_title(f"the first {len(rows) - gap}", fontsize=10)
    name_axes(figure, f"{_name_criterion(table)}, posterior mean and 90% interval", "")
    add_legend(figure, _order(looks, about), _describe(table))
    return figure


def draw_probabilities(table: pd.DataFrame) -> Figure:
    """Probabilities to be among the best and, with a check, to be better than it; those likely to be the best first.

    table : as of `Fit.ranking` or `Fit.index`, with its ``attrs``
    """
    about = table.attrs
    order = np.argsort(-table["p_top"].to_numpy(), kind="stable")
    sorted_table = table.iloc[order].reset_index(drop=True)
    rows, gap = _choose_rows(sorted_table, about["check"])
    shown = sorted_table.iloc[rows]
    names = _name_rows(shown["line"], about["check"])
    figure, panels = _make_rows(len(rows) + gap, max(map(len, names)), 1)
    panel = panels[0]
    places = _place_rows(len(rows), gap)
    _draw_rows(panel, places, names, gap)
    k = about["top"]
    chance = k / len(table)
    panel.axvline(chance, color="0.35", linestyle=":", linewidth=1.2, zorder=1)
    series: dict[str, tuple[str, dict[str, Any]]] = {f"to be among the best {k:,}": ("p_top", style(0))}
    if about["check"] is not None:
        (check,) = shorten_names([about["check"]]).values()
        series[f"to be better than the check {check}"] = "p_above_check", ABOVE
    for column, looks in series.values():
        values = shown[column]
        if column == "p_above_check":
            values = values.where(shown["line"] != about["check"])
        points: dict[str, Any] = {"linestyle": "none", "markersize": 5, "zorder": 3} | looks
        panel.plot(values, places, **points)
    panel.set_xlim(-0.02, 1.02)
    name_axes(figure, "probability, the share of the draws", "")
    entries = {text: looks for text, (_, looks) in series.items()}
    entries[f"best {k:,} by chance"] = {"color": "0.35", "linestyle": ":", "marker": ""}
    add_legend(figure, entries, _describe(table))
    return figure


def plot_reaction_norms(
    fit: Fit,
    trait: str | None = None,
    env: Any = None,
    top: float = 5,
    best: str = "high",
    check: str | None = None,
    draws: int = 1000,
) -> Figure:
    """See `bmtme.results.pictures.FitPictures.plot_reaction_norms`."""
    from matplotlib.collections import LineCollection

    from bmtme.decisions.norms import draw_norms

    norms = draw_norms(fit, trait, env, top, best, check, draws)
    shown = list(shorten_names(norms.envs).values())
    slot = max(0.32, min(1.0, 6.0 / len(shown)))
    width = max(3.6, slot * len(shown) + 0.8)
    figure, axes = make_figure(2, 1, (max(width + 1.2, 6.0), 7.0 + 0.05 * max(map(len, shown))), sharex=True)
    x = np.arange(len(shown))
    named = [*norms.chosen[:MOST_COLOURED], *([norms.check] if norms.check is not None else [])]
    for panel, values in ((axes[0, 0], norms.values), (axes[1, 0], norms.deviations)):
        others = np.delete(values, named, axis=0)
        paths = np.stack([np.broadcast_to(x, others.shape), others], axis=2)
        panel.add_collection(LineCollection(list(paths), colors="0.72", linewidths=0.5, alpha=0.7, zorder=1))
        panel.tick_params(labelsize=8)
        panel.set_xlim(-0.3, len(shown) - 0.7)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    entries = {}
    labels = shorten_names([norms.lines[j] for j in named], 32)
    step = 0.5 / max(len(named), 1)
    for n, j in enumerate(named):
        is_check = j == norms.check
        looks: dict[str, Any] = {"color": "black", "marker": "X"} if is_check else style(n)
        line: dict[str, Any] = {"linewidth": 1.6, "linestyle": "--" if is_check else "-"}
        axes[0, 0].plot(x, norms.values[j], **looks, **line, markersize=4, zorder=3)
        shift = (n - (len(named) - 1) / 2) * step
        axes[1, 0].plot(x + shift, norms.deviations[j], **looks, **line, markersize=4, zorder=3)
        axes[1, 0].vlines(
            x + shift, norms.lower[j], norms.upper[j], color=looks["color"], linewidth=0.9, alpha=0.7, zorder=2
        )
        label = labels[norms.lines[j]]
        entries[f"{label} (check)" if is_check else label] = looks | line
    axes[0, 0].set_ylabel("value", fontsize=9)
    axes[1, 0].axhline(0.0, color="0.3", linewidth=0.9, zorder=1.5)
    axes[1, 0].set_ylabel("less the mean of the trial's lines", fontsize=9)
    axes[1, 0].set_xticks(x, shown)
    turn_labels(axes[1, 0], shown, slot)
    name_axes(figure, "environment, the lowest mean first; bars: 90% intervals", "")
    wanted = "highest" if norms.best == "high" else "lowest"
    (name,) = shorten_names([norms.trait], 40).values()
    title = f"{name}: {count_noun(len(norms.lines), 'line')}; in colour the {wanted} by their mean"
    add_legend(figure, entries, title)
    return figure


# --- parts ------------------------------------------------------------------------------------------------------


def _choose_rows(table: pd.DataFrame, check: str | None = None) -> tuple[list[int], int]:
    """Places of the lines with a row, and 1 if the last is the check, which stands further down than the others."""
    names, check = table["line"].tolist(), table.attrs.get("check", check)
    rows = list(range(min(len(names), MOST_ROWS)))
    return ([*rows, names.index(check)], 1) if check in names[len(rows) :] else (rows, 0)


def _name_rows(lines: Iterable[str], check: str | None) -> list[str]:
    """What stands at the rows."""
    names = list(lines)
    short = shorten_names(names, 32)
    return [f"{short[name]} (check)" if name == check else short[name] for name in names]


def _make_rows(count: int, letters: int, panels: int) -> tuple[Figure, list[Axes]]:
    """A figure with a panel of so many rows, whose names have so many letters at most, and perhaps one beside."""
    widths = [3.6 + 0.065 * letters, 3.2][:panels]
    size = max(sum(widths) + 0.4, 6.4), ROW * max(count, 6) + 1.6
    figure, axes = make_figure(1, panels, size, width_ratios=widths)
    for panel in axes.flat:
        panel.tick_params(labelsize=8)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure, list(axes.flat)


def _place_rows(count: int, gap: int) -> np.ndarray:
    """(count,) heights of the rows; below a gap the last one."""
    places = np.arange(count, dtype=float)
    places[count - gap :] += 0.6
    return places


def _draw_rows(panel: Axes, places: np.ndarray, names: Sequence[str], gap: int) -> None:
    """Names at the rows, from above, and a grid."""
    panel.set_yticks(places, names, fontsize=7.5)
    panel.set_ylim(places[-1] + 0.7, -0.7)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="both", color="0.93", linewidth=0.7)
    if gap:
        panel.axhline(places[-1] - 0.8, color="0.5", linewidth=0.7)


def _draw_all(panel: Axes, table: pd.DataFrame, level: float | None) -> None:
    """Values of all lines by their rank, with intervals."""
    about = table.attrs
    ranks = np.arange(1, len(table) + 1)
    chosen = ranks <= about["top"]
    low, high, value = (table[name].to_numpy() for name in ("lower", "upper", "value"))
    thin = min(1.2, max(0.3, 90 / len(table)))
    for part, colour in ((chosen, BEST), (~chosen, OTHER)):
        panel.vlines(ranks[part], low[part], high[part], color=colour, linewidth=thin, alpha=0.5, zorder=1)
        panel.plot(ranks[part], value[part], ".", color=colour, markersize=2.5, zorder=2, rasterized=len(table) > 1000)
    if level is not None:
        panel.axhline(level, color=CHECK, linestyle="--", linewidth=0.9)
        place = table["line"].tolist().index(about["check"]) + 1
        panel.plot([place], [level], "D", color=CHECK, markersize=4.5, zorder=4)
    panel.set_title(f"all {len(table):,} lines, by rank", fontsize=10)
    panel.yaxis.tick_right()
    panel.spines["left"].set_visible(False)
    panel.spines["right"].set_visible(True)
    panel.locator_params(axis="x", nbins=5, integer=True)


def _find_level(table: pd.DataFrame) -> float | None:
    """The value of the check, if it is among the lines."""
    own = table.loc[table["line"] == table.attrs["check"], "value"]
    return float(own.iloc[0]) if len(own) else None


def _look(line: str, n: int, about: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a line is, for the legend, and its colour and mark."""
    if line == about["check"]:
        return "check", {"color": CHECK, "marker": "D"}
    if n < about["top"]:
        return f"best {about['top']:,}", {"color": BEST, "marker": "o"}
    return "others", {"color": OTHER, "marker": "o"}


def _order(looks: dict[str, dict[str, Any]], about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    order = [f"best {about['top']:,}", "others", "check", NEW]
    return {name: looks[name] for name in order if name in looks}


def _name_criterion(table: pd.DataFrame) -> str:
    about = table.attrs
    if "trait" in about:
        return next(iter(shorten_names([about["trait"]], 40).values()))
    return "index less the mean of all candidates"


def _describe(table: pd.DataFrame) -> str:
    """What is ranked, where, of how many: the title above the legend."""
    about = table.attrs
    wanted = f", {about['best']} values wanted" if "trait" in about else ""
    shares = about["env"]
    short = shorten_names(list(shares))
    where = describe_target({short[env]: share for env, share in list(shares.items())})
    return f"{_name_criterion(table)}{wanted}: {count_noun(len(table), 'line')}\n{where}"
