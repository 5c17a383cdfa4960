"""Bootstrap intervals of differences between models: scored lines, or whole environments, drawn with replacement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.results.scores import Score

FloatArray = npt.NDArray[np.float64]
#: Of a group of n lines: what is summed over them (n, q), and the score of such sums (q, draws) and of their number.
Sums = tuple[FloatArray, Callable[[FloatArray, FloatArray], FloatArray]]

#: Resamples, and where their random numbers start: the same for every comparison.
DRAWS, SEED = 1000, 0x626F6F74
#: Lines and environments from which on they stand for others.
FEWEST_LINES, FEWEST_ENVS = 10, 5
#: Columns of the predictions that scores are made of.
SCORED = ("observed", "mean", "crps", "log_score", "mean_lower", "mean_upper", "mean_lower_50", "mean_upper_50")
#: Ends of the interval.
ENDS = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Rows:
    """Predictions as arrays, by model, partition and cell, in each in the order of the lines' names.

    Attributes
    ----------
    columns : (n,) arrays by name
    line : (n,) place of the line among the sorted names
    n_lines : number of lines
    limits : first row and the one after the last, by (model, partition, env, trait)
    """

    columns: dict[str, FloatArray]
    line: npt.NDArray[np.int64]
    n_lines: int
    limits: dict[tuple[str, str, str, str], tuple[int, int]]

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> Rows:
        """From the predictions of a cross-validation; rows without an observed value are left out."""
        table = predictions[predictions["observed"].notna()]
        keys = ["model", "partition", "env", "trait", "line"]
        coded = [np.unique(table[key].to_numpy(dtype=object).astype(str), return_inverse=True) for key in keys]
        order = np.lexsort([codes for _, codes in reversed(coded)])
        codes = np.stack([codes[order] for _, codes in coded])
        starts = np.flatnonzero(np.r_[True, (codes[:-1, 1:] != codes[:-1, :-1]).any(axis=0)][: len(order)])
        limits = {
            tuple(str(names[codes[k, start]]) for k, (names, _) in enumerate(coded[:-1])): (int(start), int(end))
            for start, end in zip(starts, [*starts[1:], len(order)], strict=True)
        }
        kept = [name for name in SCORED if name in table.columns]
        columns = {name: table[name].to_numpy(dtype=np.float64)[order] for name in kept}
        return cls(columns, codes[-1], len(coded[-1][0]), limits)  # type: ignore[arg-type]


def can_resample(score: Score) -> bool:
    """Whether a score can be computed anew for lines that count several times."""
    return score.name in _SUMS


def resample_lines(
    rows: Rows,
    score: Score,
    labels: tuple[Sequence[str], Sequence[str], Sequence[tuple[str, str]]],
    comparisons: Sequence[tuple[int, int, FloatArray]],
    draws: int = DRAWS,
    factors: FloatArray | None = None,
) -> list[tuple[float, float, str]]:
    """95% percentile intervals of weighted means of differences, with the lines drawn with replacement.

    A resample draws as many lines as there are and takes each with all its cells, in all partitions and of both models.

    Parameters
    ----------
    labels : models, partitions and cells (env, trait) by place
    comparisons : (model, other, (P, C) weights of the cells of the partitions, zero where a score is missing)
    factors : (C,) what the correlation of a cell is multiplied by, for accuracy

    Returns
    -------
    list of (lower, upper, note)
    """
    models, partitions, cells = labels
    counts = draw_counts(rows.n_lines, draws)
    total, known = (np.zeros((len(comparisons), draws)) for _ in range(2))
    scored: list[set[int]] = [set() for _ in comparisons]
    for p, partition in enumerate(partitions):
        for c, cell in enumerate(cells):
            wanted = [k for k, (_, _, weight) in enumerate(comparisons) if weight[p, c] > 0]
            found: dict[int, FloatArray] = {}
            for m in sorted({m for k in wanted for m in comparisons[k][:2]}):
                start, end = rows.limits[models[m], partition, *cell]
                values = {name: column[start:end] for name, column in rows.columns.items()}
                found[m] = score.measure(_rescore(score.name, values, counts[rows.line[start:end]]))
            for k in wanted:
                one, other, weight = comparisons[k]
                difference = (found[one] - found[other]) * (1.0 if factors is None else factors[c])
                there = np.isfinite(difference)
                total[k] += weight[p, c] * np.where(there, difference, 0.0)
                known[k] += weight[p, c] * there
                start, end = rows.limits[models[one], partition, *cell]
                scored[k].update(rows.line[start:end].tolist())
    return [
        _take_ends(total[k], known[k], f"fewer than {FEWEST_LINES} lines" if len(lines) < FEWEST_LINES else "")
        for k, lines in enumerate(scored)
    ]


@lru_cache(maxsize=1)
def draw_counts(n: int, draws: int) -> FloatArray:
    """(n, draws) how often each of n is drawn where n are drawn with replacement; the same whenever asked for."""
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1.0 / n), size=draws)
    counts: FloatArray = np.ascontiguousarray(drawn.T, dtype=np.float64)
    counts.setflags(write=False)
    return counts


def resample_replicates(values: FloatArray, draws: int = DRAWS) -> tuple[float, float, str]:
    """The same for the mean of (k,) differences of environments, drawn with replacement."""
    k = len(values)
    if k == 0:
        return np.nan, np.nan, ""
    few = f"fewer than {FEWEST_ENVS} environments" if k < FEWEST_ENVS else ""
    return _take_ends(values @ draw_counts(k, draws), np.full(draws, float(k)), few)


def _take_ends(total: FloatArray, known: FloatArray, few: str) -> tuple[float, float, str]:
    if not known.any():
        return np.nan, np.nan, ""
    if few:
        return np.nan, np.nan, f"{few}: no interval by resampling"
    lower, upper = np.quantile(total[known > 0] / known[known > 0], ENDS)
    return float(lower), float(upper), ""


def _rescore(name: str, values: Mapping[str, FloatArray], counts: FloatArray) -> FloatArray:
    """Scores (draws,) of lines that count (n, draws) times; NaN where that leaves nothing to score."""
    summed, finish = _SUMS[name](values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return finish(summed.T @ counts, counts.sum(axis=0))


def _mean_of(make: Callable[[Mapping[str, FloatArray]], FloatArray]) -> Callable[[Mapping[str, FloatArray]], Sums]:
    return lambda values: (make(values)[:, None], lambda sums, n: sums[0] / n)


def _sum_products(values: Mapping[str, FloatArray], slope: bool = False) -> Sums:
    """Of deviations, so that no digits are lost where means are large."""
    centred = [each - each.mean() for each in _pair(values)]
    sizes = [np.abs(each).max() or 1.0 for each in centred]
    y, f = (each / size for each, size in zip(centred, sizes, strict=True))

    def finish(sums: FloatArray, n: FloatArray) -> FloatArray:
        y, f, yy, ff, yf = sums
        spread = (yy - y * y / n) * (ff - f * f / n)
        # A single line drawn again and again leaves rounding for spread.
        product = np.where(spread > 1e-20 * n * n, yf - y * f / n, np.nan)
        if slope:
            return product / (ff - f * f / n) * (sizes[0] / sizes[1])
        return product / np.sqrt(np.abs(spread))

    return np.stack([y, f, y * y, f * f, y * f], axis=1), finish


def _cover(end: str) -> Callable[[Mapping[str, FloatArray]], Sums]:
    def inside(values: Mapping[str, FloatArray]) -> FloatArray:
        y, low, high = values["observed"], values[f"mean_lower{end}"], values[f"mean_upper{end}"]
        return ((low <= y) & (y <= high)).astype(np.float64)

    return _mean_of(inside)


def _root_mean(values: Mapping[str, FloatArray]) -> Sums:
    y, f = _pair(values)
    return ((y - f) ** 2)[:, None], lambda sums, n: np.sqrt(sums[0] / n)


def _pair(values: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    return values["observed"], values["mean"]


_SUMS: dict[str, Callable[[Mapping[str, FloatArray]], Sums]] = {
    "pearson": _sum_products,
    "accuracy": _sum_products,  # times the factors
    "slope": partial(_sum_products, slope=True),
    "msep": _mean_of(lambda values: (values["observed"] - values["mean"]) ** 2),
    "rmse": _root_mean,
    "bias": _mean_of(lambda values: values["mean"] - values["observed"]),
    "crps": _mean_of(lambda values: values["crps"]),
    "log_score": _mean_of(lambda values: values["log_score"]),
    "coverage_50": _cover("_50"),
    "coverage_90": _cover(""),
}
