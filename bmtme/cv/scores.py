"""From predictions of hidden cells to scores per partition and their summary over partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from bmtme.errors import UsageError
from bmtme.results import quantities
from bmtme.results.docstrings import document
from bmtme.results.entries import name_columns, type_columns
from bmtme.results.quantities import list_comparison, list_scores
from bmtme.words import list_names

FEWEST_PARTITIONS = 5
"""Partitions from which on a difference between models is told from its error."""


@document(columns=list_scores())
def score(
    predictions: pd.DataFrame, *, envs: Sequence[str] | None = None, traits: Sequence[str] | None = None
) -> pd.DataFrame:
    """Score the predictions of hidden cells, by model, partition, environment and trait.

    Every line counts once, with the mean of its hidden plots in the environment (`observed`).

    Parameters
    ----------
    predictions : pandas.DataFrame
        As of a cross-validation; of its columns model, partition, env, trait, observed and mean are needed, and what
        else the scores look at. A row without an observed value is no test cell.
    envs, traits : sequence of str, optional
        Order of the rows; by default the order of first appearance. Models and partitions always come in
        the order of their first appearance.

    Returns
    -------
    pandas.DataFrame
        {columns}

        A missing prediction of a test cell makes the scores missing.

    Raises
    ------
    UsageError
        If a column is missing, or an environment or trait is not in the order given.
    """
    keys = ["model", "partition", "env", "trait"]
    _need(predictions, [*keys, "observed", "mean"], "predictions")
    ordered = _sorted(predictions[predictions["observed"].notna()], keys, {"env": envs, "trait": traits})
    columns = list_scores()
    made = [column for column in columns if column.make is not None]
    rows = [(*key, *(each.of(cells) for each in made)) for key, cells in ordered.groupby(keys, sort=False)]
    return pd.DataFrame(rows, columns=name_columns(columns)).astype(type_columns(columns))


@document(columns=list_comparison())
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
        {columns}

        Partitions with a missing score are left out of its mean and standard error; with fewer than two scores the
        standard error is missing. Ranks are within the env x trait, ties share the lower rank, a missing mean has a
        missing rank. Models missing a partition are ranked by the partitions they have.

    Raises
    ------
    UsageError
        If a column is missing, or an environment or trait is not in the order given.
    """
    keys = ["model", "env", "trait"]
    found = quantities.SCORES
    _need(scores, [*keys, *name_columns(found)], "scores")
    ordered = _sorted(scores, keys, {"env": envs, "trait": traits})
    rows = []
    for key, cells in ordered.groupby(keys, sort=False):
        told = [number for each in found for number in _mean_se(cells[each.name].to_numpy(dtype=np.float64))]
        rows.append((*key, len(cells), *told))
    columns = list_comparison()
    averages = columns[: len(columns) - len(found)]
    table = pd.DataFrame(rows, columns=name_columns(averages)).astype(type_columns(averages))
    within = table.groupby(["env", "trait"], sort=False)
    for each in found:
        ranks = within[f"{each.name}_mean"].rank(method="min", ascending=each.best == "lowest")
        table[f"{each.name}_rank"] = ranks
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
        With score such as ``"pearson"``.
    """
    best = set()
    for (env, trait), cells in scores.groupby(["env", "trait"], sort=False):
        own = cells.pivot(index="partition", columns="model", values="pearson").mean()
        for each in quantities.SCORES:
            table = each.sign * cells.pivot(index="partition", columns="model", values=each.name)
            for model in table.columns:
                others = [other for other in table.columns if other != model]
                paired = [(table[model] - table[other]).dropna().to_numpy() for other in others]
                paired = [differences for differences in paired if len(differences) == 0 or differences.any()]
                if paired and own[model] > 0 and all(_is_above(differences, ratio) for differences in paired):
                    best.add((each.name, str(env), str(trait), str(model)))
    return best


def _is_above(differences: np.ndarray, ratio: float) -> bool:
    """Whether paired differences are above zero by the test of `find_best`."""
    K = len(differences)
    if K < FEWEST_PARTITIONS:
        return False
    error = np.sqrt((1.0 / K + ratio) * differences.var(ddof=1))
    return bool(differences.mean() > t.ppf(0.975, K - 1) * error)


def _mean_se(values: np.ndarray) -> tuple[float, float]:
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
