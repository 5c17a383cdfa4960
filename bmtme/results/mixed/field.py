"""Residuals where they lie in the field: a table of them, and their sample variogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.results.mixed.effects import find_prior_variances

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = [
    "Grid",
    "has_positions",
    "list_grids",
    "read_grids",
    "tabulate_grids",
    "tabulate_residuals",
    "tabulate_variogram",
]

#: A value whose residual has less than this share of its variance left is fitted exactly, by an effect of its own.
EXACT = 1e-8


@dataclass(frozen=True, eq=False)
class Grid:
    """Values of a section on its field: NaN where there is no plot.

    Attributes
    ----------
    section : str
    names : (str, str)
        Of its two axes, such as col and row.
    starts : (int, int)
        First position along each.
    values : (n, m) float array
    """

    section: str
    names: tuple[str, str]
    starts: tuple[int, int]
    values: np.ndarray


def tabulate_residuals(layout: Layout, result: REML) -> pd.DataFrame:
    """Of every value, in the order of the table: its row, trait (of several), observed, fitted, residual, standardised.

    The latter are residuals in their standard deviations: that of y - X b - Z u is R - W C^-1 W', with W = [X, Z] and C
    of the mixed model equations.
    """
    residuals = result.find_residuals()
    columns: dict[str, object] = {"row_of_table": layout.plots.label_all(layout.rows)}
    if layout.trait is not None:
        columns["trait"] = np.array(layout.trait.levels, dtype=object)[layout.trait.codes]
    variances = np.zeros(len(residuals))
    for block, section in enumerate(layout.residual):
        inside = section.cells >= 0
        variances[inside] = find_prior_variances(result, section, block)[section.cells[inside]]
    if layout.weights is not None:
        variances /= layout.weights
    left = variances - result.find_fitted_variances()
    with np.errstate(invalid="ignore", divide="ignore"):
        standardised = np.where(left > EXACT * variances, residuals / np.sqrt(left), np.nan)
    columns |= {"observed": layout.y, "fitted": layout.y - residuals, "residual": residuals}
    columns["standardised"] = standardised
    trait = np.zeros(len(layout.rows)) if layout.trait is None else layout.trait.codes
    order = np.lexsort([trait, layout.rows])
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def list_grids(layout: Layout, result: REML, axes: tuple[str, str] | None = None) -> list[Grid]:
    """Residuals on the field of each section.

    Parameters
    ----------
    axes : (str, str), optional
        Columns with the positions; by default those of the residual, where it has two.

    Raises
    ------
    UsageError
        If no two columns of positions are known.
    """
    residuals = result.find_residuals()
    grids = []
    for section in layout.residual:
        names = axes or _find_axes(section)
        if names is None:
            raise UsageError(
                f"The residual {section.name} has no rows and columns of a field: name the columns with the positions, "
                "as in axes=('col', 'row')."
            )
        inside = np.flatnonzero(section.cells >= 0)
        traits = [None] if layout.trait is None else list(enumerate(layout.trait.levels))
        for trait in traits:
            some = inside if trait is None or layout.trait is None else inside[layout.trait.codes[inside] == trait[0]]
            label = ", ".join([*section.levels.values(), *([] if trait is None else [trait[1]])])
            grids.append(_lay_grid(layout, residuals, some, label, names))
    return grids


def has_positions(layout: Layout) -> bool:
    """Whether the residual has two axes, the same in every section."""
    found = {_find_axes(section) for section in layout.residual}
    return len(found) == 1 and None not in found


def tabulate_grids(grids: list[Grid]) -> pd.DataFrame:
    """Grids as rows: section, the two axes, residual, which is missing where there is no plot with a value."""
    parts = []
    for grid in grids:
        a, b = np.indices(grid.values.shape)
        first, second = grid.names
        columns: dict[str, object] = {"section": np.full(a.size, grid.section, dtype=object)}
        columns |= {first: a.ravel() + grid.starts[0], second: b.ravel() + grid.starts[1]}
        parts.append(pd.DataFrame(columns | {"residual": grid.values.ravel()}))
    return pd.concat(parts, ignore_index=True)


def read_grids(table: pd.DataFrame) -> list[Grid]:
    """The grids of `tabulate_grids`."""
    _, first, second, _ = table.columns
    found = []
    for section, part in table.groupby("section", sort=False):
        starts = int(part[first].min()), int(part[second].min())
        values = np.full((int(part[first].max()) - starts[0] + 1, int(part[second].max()) - starts[1] + 1), np.nan)
        values[part[first] - starts[0], part[second] - starts[1]] = part["residual"]
        found.append(Grid(str(section), (first, second), starts, values))
    return found


def _find_axes(section: Design) -> tuple[str, str] | None:
    names = [axis.axis.name for axis in section.axes if axis.axis.name not in ("units", "trait")]
    return (names[0], names[1]) if len(names) == 2 else None


def _lay_grid(layout: Layout, residuals: np.ndarray, places: np.ndarray, label: str, names: tuple[str, str]) -> Grid:
    positions = []
    for name in names:
        factor = layout.plots.factor(name, "residual")
        texts = [factor.levels[code] if code >= 0 else "" for code in factor.codes[layout.rows[places]]]
        try:
            positions.append(np.array([int(text) for text in texts], dtype=np.int64))
        except ValueError:
            raise UsageError(f"The column {name!r} has no positions: they are whole numbers.") from None
    starts = tuple(int(own.min()) for own in positions)
    shape = tuple(int(own.max()) - start + 1 for own, start in zip(positions, starts, strict=True))
    if np.prod(shape, dtype=float) > 1000 * len(places):
        raise UsageError(f"The columns {names[0]!r} and {names[1]!r} are no positions in a field: nearly all is empty.")
    values = np.full(shape, np.nan)
    values[positions[0] - starts[0], positions[1] - starts[1]] = residuals[places]
    return Grid(label, names, (starts[0], starts[1]), values)


def tabulate_variogram(grids: list[Grid]) -> pd.DataFrame:
    """Sample variogram of residuals.

    Half the mean square of the differences between plots that lie so many columns and rows apart, in either direction
    (Gilmour, Cullis and Verbyla 1997, J. Agric. Biol. Environ. Stat. 2:269-293).

    Returns
    -------
    DataFrame
        section, the two axes as distances, n (pairs), gamma. Values of few pairs vary much.
    """
    rows = []
    for grid in grids:
        there = ~np.isnan(grid.values)
        n, m = grid.values.shape
        filled = np.where(there, grid.values, 0.0)
        for a in range(n):
            for b in range(m):
                sums, pairs = _sum_squares(filled, there, a, b)
                if b and a:
                    more, others = _sum_squares(filled[:, ::-1], there[:, ::-1], a, b)
                    sums, pairs = sums + more, pairs + others
                if pairs and (a or b):
                    rows.append((grid.section, a, b, pairs, 0.5 * sums / pairs))
    names = grids[0].names if grids else ("col", "row")
    return pd.DataFrame(rows, columns=["section", *names, "n", "gamma"])


def _sum_squares(values: np.ndarray, there: np.ndarray, a: int, b: int) -> tuple[float, int]:
    """Squares of the differences at a distance, summed, and how many."""
    n, m = values.shape
    both = there[a:, b:] & there[: n - a, : m - b]
    return float(np.sum(((values[a:, b:] - values[: n - a, : m - b]) ** 2)[both])), int(both.sum())
