"""From predictions of hidden cells to scores per partition and their summary over partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t

from bmtme.errors import UsageError
from bmtme.words import list_names

FloatArray = npt.NDArray[np.float64]

SCORE_COLUMNS = ("model", "partition", "env", "trait", "n_test", "pearson", "msep")
SUMMARY_COLUMNS = (
    "model",
    "env",
    "trait",
    "n_partitions",
    "pearson_mean",
    "pearson_se",
    "msep_mean",
    "msep_se",
    "pearson_rank",
    "msep_rank",
)

FEWEST_PARTITIONS = 5
"""Partitions from which on a difference between models is told from its error."""

# A spread below this share of the numbers' size is what is left of rounding: a mean over thousands of draws,
# each a sum over a thousand lines, is good to about 1e-14, and data with a true spread this small would itself
# carry a rounding noise of 2e-4 of the spread.
_ROUNDING = 1e-12


def pearson(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Pearson correlation of observed and predicted values.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)
        In the same units.

    Returns
    -------
    float
        Missing (NaN) for n < 3, where a value is missing, and where a side is constant up to rounding: its range
        is below 1e-12 of the size of its numbers. For the predictions the size of the observed values counts too,
        because rounding in values near zero is relative to the trait, not to the prediction.
    """
    y, f = _pair(observed, predicted)
    if y.size < 3 or not (np.isfinite(y).all() and np.isfinite(f).all()):
        return np.nan
    size = np.abs(y).max()
    if np.ptp(y) <= _ROUNDING * size or np.ptp(f) <= _ROUNDING * max(size, np.abs(f).max()):
        return np.nan
    y, f = y - y.mean(), f - f.mean()
    y, f = y / np.abs(y).max(), f / np.abs(f).max()
    return float(np.clip((y @ f) / np.sqrt((y @ y) * (f @ f)), -1.0, 1.0))


def msep(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean squared error of prediction, mean of (observed - predicted)^2, in squared units of the trait.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)

    Returns
    -------
    float
        Missing (NaN) for n = 0 or where a value is missing.
    """
    y, f = _pair(observed, predicted)
    return float(np.mean((y - f) ** 2)) if y.size else np.nan


def score(
    predictions: pd.DataFrame, *, envs: Sequence[str] | None = None, traits: Sequence[str] | None = None
) -> pd.DataFrame:
    """Score the predictions of hidden cells, by model, partition, environment and trait.

    Every line counts once, with the mean of its hidden plots in the environment (`observed`).

    Parameters
    ----------
    predictions : pandas.DataFrame
        With the columns model, partition, env, trait, observed, mean; others are not looked at. A row without an
        observed value is no test cell.
    envs, traits : sequence of str, optional
        Order of the rows; by default the order of first appearance. Models and partitions always come in
        the order of their first appearance.

    Returns
    -------
    pandas.DataFrame
        Columns model, partition, env, trait, n_test (lines scored), pearson, msep. A missing prediction of a test
        cell makes both scores missing.

    Raises
    ------
    UsageError
        If a column is missing, or an environment or trait is not in the order given.
    """
    keys = ["model", "partition", "env", "trait"]
    _need(predictions, [*keys, "observed", "mean"], "predictions")
    tested = predictions.loc[predictions["observed"].notna(), [*keys, "observed", "mean"]]
    ordered = _sorted(tested, keys, {"env": envs, "trait": traits})
    rows = []
    for key, cells in ordered.groupby(keys, sort=False):
        y, f = (cells[column].to_numpy(dtype=np.float64) for column in ("observed", "mean"))
        rows.append((*key, y.size, pearson(y, f), msep(y, f)))
    table = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    return table.astype({"n_test": np.int64, "pearson": np.float64, "msep": np.float64})


def summarise(
    scores: pd.DataFrame, *, envs: Sequence[str] | None = None, traits: Sequence[str] | None = None
) -> pd.DataFrame:
    """Average scores over partitions and rank the models within each env x trait.

    The standard errors are naive: SD over partitions / sqrt(partitions), which takes the partitions for
    independent although they share most of their training and test lines. They are too small.

    Parameters
    ----------
    scores : pandas.DataFrame
        As made by `score`.
    envs, traits : sequence of str, optional
        Order of the rows; by default the order of first appearance.

    Returns
    -------
    pandas.DataFrame
        Columns model, env, trait, n_partitions (those with test cells), pearson_mean, pearson_se, msep_mean,
        msep_se, pearson_rank, msep_rank. Partitions with a missing score are left out of its mean and
        standard error; with fewer than two scores the standard error is missing. Rank 1 is the best model (highest
        Pearson, lowest MSEP) of the env x trait, ties share the lower rank, a missing mean has a missing rank.
        Models missing a partition are ranked by the partitions they have.

    Raises
    ------
    UsageError
        If a column is missing, or an environment or trait is not in the order given.
    """
    keys = ["model", "env", "trait"]
    _need(scores, [*keys, "pearson", "msep"], "scores")
    ordered = _sorted(scores, keys, {"env": envs, "trait": traits})
    rows = []
    for key, cells in ordered.groupby(keys, sort=False):
        r, e = (_mean_se(cells[column].to_numpy(dtype=np.float64)) for column in ("pearson", "msep"))
        rows.append((*key, len(cells), *r, *e))
    table = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS[:8]))
    table = table.astype({"n_partitions": np.int64} | dict.fromkeys(SUMMARY_COLUMNS[4:8], np.float64))
    within = table.groupby(["env", "trait"], sort=False)
    table["pearson_rank"] = within["pearson_mean"].rank(method="min", ascending=False)
    table["msep_rank"] = within["msep_mean"].rank(method="min", ascending=True)
    return table


def find_best(scores: pd.DataFrame, ratio: float = 0.25) -> set[tuple[str, str, str, str]]:
    """The models that are better than every other, by score, environment and trait.

    Model a is so where, over the K >= 5 partitions that it shares with each other model b, the mean of the differences
    d between their scores exceeds the 97.5% point of t with K - 1 degrees of freedom times its standard error,
    sqrt((1 / K + n_test / n_train) var d): partitions share most of their lines, which SD / sqrt(K) leaves out (Nadeau
    and Bengio 2003, Machine Learning 52:239-281). The mean of its own Pearson correlations must be above zero, too: of
    models that predict nothing, none is best. Models with the very same scores share the place.

    Parameters
    ----------
    scores : pandas.DataFrame
        As made by `score`.
    ratio : float
        n_test / n_train.

    Returns
    -------
    set of (score, env, trait, model)
        With score ``"pearson"`` or ``"msep"``.
    """
    best = set()
    for (env, trait), cells in scores.groupby(["env", "trait"], sort=False):
        own = cells.pivot(index="partition", columns="model", values="pearson").mean()
        for name, sign in (("pearson", 1.0), ("msep", -1.0)):
            table = sign * cells.pivot(index="partition", columns="model", values=name)
            for model in table.columns:
                others = [other for other in table.columns if other != model]
                paired = [(table[model] - table[other]).dropna().to_numpy() for other in others]
                paired = [differences for differences in paired if len(differences) == 0 or differences.any()]
                if paired and own[model] > 0 and all(_is_above(differences, ratio) for differences in paired):
                    best.add((name, str(env), str(trait), str(model)))
    return best


def _is_above(differences: FloatArray, ratio: float) -> bool:
    """Whether paired differences are above zero by the test of `find_best`."""
    K = len(differences)
    if K < FEWEST_PARTITIONS:
        return False
    error = np.sqrt((1.0 / K + ratio) * differences.var(ddof=1))
    return bool(differences.mean() > t.ppf(0.975, K - 1) * error)


def _pair(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both sides as vectors of one length, in the order of their values: no digit depends on that of the lines."""
    y, f = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != f.shape:
        raise UsageError(f"observed and predicted must be vectors of one length, got shapes {y.shape} and {f.shape}.")
    order = np.lexsort((f, y))
    return y[order], f[order]


def _mean_se(values: FloatArray) -> tuple[float, float]:
    """Mean and naive standard error of the values that are there."""
    there = values[~np.isnan(values)]
    if there.size == 0:
        return np.nan, np.nan
    error = there.std(ddof=1) / np.sqrt(there.size) if there.size > 1 else np.nan
    return float(there.mean()), float(error)


def _need(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a table without the columns."""
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise UsageError(
            f"the table of {what} lacks the column {list_names(absent)}; it has {list_names(table.columns)}."
        )


def _sorted(table: pd.DataFrame, keys: Sequence[str], orders: dict[str, Sequence[str] | None]) -> pd.DataFrame:
    """Rows by the keys, each in the order given or of first appearance; a stable sort."""
    ranks = {}
    for key in keys:
        given = orders.get(key)
        values = table[key].astype(object)
        order = list(values.unique()) if given is None else list(given)
        place = {name: position for position, name in enumerate(order)}
        unknown = [name for name in values.unique() if name not in place]
        if unknown:
            raise UsageError(f"{key} {unknown[0]!r} is not among the {key}s given: {list_names(order)}.")
        ranks[key] = values.map(place).to_numpy(dtype=np.int64)
    # lexsort takes its last key first.
    return table.iloc[np.lexsort([ranks[key] for key in reversed(keys)])]
