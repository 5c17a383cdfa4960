"""Every plot of an environment: its value, the trend of the field there, what is left, and whether it is an outlier."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from bmtme.model.stage_one import Environment
from bmtme.results.mixed.field import Grid
from bmtme.results.mixed.fit import MixedFit
from bmtme.results.stage_one.means import combine_means

__all__ = ["FEWEST_PAIRS", "OUTLIERS", "find_outliers", "lay_grid", "tabulate_plots"]

#: Probability of naming any plot of an environment and trait whose residuals are normal.
ALPHA = 0.05
#: Median absolute deviation of a normal distribution, over its standard deviation.
NORMAL_MAD = 0.6744897501960817
#: Pairs of plots that a value of a variogram stands on, at least, to be shown.
FEWEST_PAIRS = 20
OUTLIERS = ("env", "trait", "line", "row_of_table", "row", "col", "value", "expected", "standardised", "p")


def tabulate_plots(environment: Environment, fit: MixedFit) -> pd.DataFrame:
    """Every value of an environment.

    Returns
    -------
    DataFrame
        env, trait, line, row_of_table, row, col (missing where there are none), value; trend, what design and field
        add to the line's mean; residual, the rest (with model ar1 it holds the field, too); expected, what
        all other plots predict; standardised, the difference from it over its standard error. The last three are
        missing of a line with one plot, which its mean takes as it is.
    """
    layout, result = fit.layout, fit.result
    codes = environment.plots.factor(environment.line, "line").codes[layout.rows]
    traits = np.zeros(len(codes), dtype=np.int64) if layout.trait is None else layout.trait.codes
    lines, which, K = combine_means(environment, fit)
    means = np.where(result.is_estimable(K), result.combine(K), np.nan)
    place = {key: k for k, key in enumerate(zip(lines.tolist(), which.tolist(), strict=True))}
    mean = means[[place[key] for key in zip(codes.tolist(), traits.tolist(), strict=True)]]
    residual = result.find_residuals()
    shares, own = result.find_deletions()
    known = own > 0
    off = np.divide(shares, own, out=np.full(len(own), np.nan), where=known)
    standardised = np.divide(shares, np.sqrt(own), out=np.full(len(own), np.nan), where=known)
    levels = environment.plots.factor(environment.line, "line").levels
    table = pd.DataFrame(
        {
            "env": environment.name,
            "trait": np.array(environment.traits, dtype=object)[traits],
            "line": np.array(levels, dtype=object)[codes],
            "row_of_table": layout.plots.label_all(layout.rows),
            "row": _take_positions(environment, environment.row, layout.rows),
            "col": _take_positions(environment, environment.col, layout.rows),
            "value": layout.y,
            "trend": layout.y - mean - residual,
            "residual": np.where(known, residual, np.nan),
            "expected": layout.y - off,
            "standardised": standardised,
        }
    )
    return table.iloc[np.lexsort([layout.rows, traits])].reset_index(drop=True)


def _take_positions(environment: Environment, name: str | None, rows: np.ndarray) -> np.ndarray:
    if name is None:
        return np.full(len(rows), np.nan)
    factor = environment.plots.factor(name, "field")
    return np.array([int(level) for level in factor.levels], dtype=float)[factor.codes[rows]]


def find_outliers(plots: pd.DataFrame) -> pd.DataFrame:
    """Plots that differ from what the others predict by more than chance.

    Standardised differences over their median absolute deviation (times 1.4826), in each environment and trait, by
    Holm's test at 5%.

    Returns
    -------
    DataFrame
        Columns `OUTLIERS`; p by Holm, of the rescaled difference.

    References
    ----------
    Bernal-Vasquez, Utz and Piepho 2016, Theoretical and Applied Genetics 129:787-804 (their BH-MADR).
    """
    found = []
    for _, own in plots.groupby(["env", "trait"], sort=False):
        known = own[own["standardised"].notna()]
        if not len(known):
            continue
        r = np.abs(known["standardised"].to_numpy())
        scale = np.median(r) / NORMAL_MAD
        if not scale > 0:
            continue
        p = adjust_by_holm(2.0 * ndtr(-r / scale))
        found.append(known.assign(p=p)[p < ALPHA])
    table = pd.concat(found) if found else plots.head(0).assign(p=np.zeros(0))
    return table[list(OUTLIERS)].reset_index(drop=True)


def adjust_by_holm(p: np.ndarray) -> np.ndarray:
    """p-values (n,) that allow for each other (Holm 1979, Scandinavian Journal of Statistics 6:65-70)."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def lay_grid(plots: pd.DataFrame, column: str, names: tuple[str, str], section: str = "") -> Grid:
    """A column of the plots of one environment and trait on the field: rows x columns, NaN where there is none."""
    row, col = (plots[name].to_numpy().astype(np.int64) for name in ("row", "col"))
    values = np.full((row.max() - row.min() + 1, col.max() - col.min() + 1), np.nan)
    values[row - row.min(), col - col.min()] = plots[column].to_numpy()
    return Grid(section, names, (int(row.min()), int(col.min())), values)
