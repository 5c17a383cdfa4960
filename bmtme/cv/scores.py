"""From predictions of hidden cells to scores per partition and their summary over partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import as_list, is_number, show
from bmtme.errors import UsageError
from bmtme.results import scores as register
from bmtme.results.docstrings import document
from bmtme.results.entries import NUMBER, Column, name_columns, type_columns
from bmtme.results.scores import (
    Tested,
    list_comparison,
    list_overall,
    list_scores,
    outline_comparison,
)
from bmtme.words import list_names, suggest

IntArray = npt.NDArray[np.int64]

TOP = 0.2
"""Share of the lines taken for the best."""

FEWEST_ENVS = 0.75
"""Share of a trait's environments that a line's mean is over, below which the heritability of such means is not its."""


@document(columns=list_scores())
def score(
    predictions: pd.DataFrame,
    *,
    envs: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    top: float = TOP,
    lowest: Iterable[str] = (),
    heritability: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score the predictions of hidden cells, by model, partition, environment and trait.

    Every line counts once, with the mean of its hidden plots in the environment (`observed`).

    Parameters
    ----------
    predictions : pandas.DataFrame
        As of a cross-validation; of its columns model, partition, env, trait, observed and mean are needed. Scores made
        of columns that are absent (intervals, crps, log_score) are missing. A row without an observed value is no test
        cell.
    envs, traits : sequence of str, optional
        Order of the rows; by default the order of first appearance. Models and partitions always come in
        the order of their first appearance.
    top : float
        Share of the lines taken for the best, of n lines max(1, floor(top n + 0.5)).
    lowest : sequence of str
        Traits of which low values are the best.
    heritability : pandas.DataFrame, optional
        As of `bmtme.cv.measure_heritability`; without it there is no accuracy. It is of the lines of the whole trial:
        where whole groups, such as families, are the folds, lines of a fold differ less and the accuracy is too low.

    Returns
    -------
    pandas.DataFrame
        {columns}

        A missing prediction of a test cell makes the scores missing. No digit depends on the order of the rows.

    Raises
    ------
    UsageError
        If a column is missing, an environment or trait is not in the order given, `top` is no share, or `lowest` names
        an unknown trait.
    """
    keys = ["model", "partition", "env", "trait"]
    _need(predictions, [*keys, "observed", "mean"], "predictions", ("observed", "mean"))
    known = _list_known(heritability)
    places = {(env, trait): found for (env, trait), found in known.items() if env is not None}

    def find(key: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> tuple[float, str]:
        return places.get((key["env"], key["trait"]), (np.nan, "not measured here"))

    measured = None if heritability is None else find
    return _score(predictions, keys, list_scores(), {"env": envs, "trait": traits}, top, lowest, measured)


@document(columns=list_overall())
def score_means(
    line_means: pd.DataFrame,
    *,
    traits: Sequence[str] | None = None,
    top: float = TOP,
    lowest: Iterable[str] = (),
    heritability: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score the predictions of the lines' means over environments, by model, partition and trait.

    Parameters
    ----------
    line_means : pandas.DataFrame
        As of a cross-validation; of its columns model, partition, trait, n_envs, observed and mean are needed.
    traits, top, lowest, heritability
        As for `score`. Lines that are scored in one environment of several have means of another heritability than
        that of all environments, so that the accuracy is missing where n_envs is on average below three quarters.

    Returns
    -------
    pandas.DataFrame
        {columns}

    Raises
    ------
    UsageError
        As for `score`.
    """
    keys = ["model", "partition", "trait"]
    _need(line_means, [*keys, "n_envs", "observed", "mean"], "means of lines", ("n_envs", "observed", "mean"))
    known = _list_known(heritability)
    n_envs = {trait: sum(env is not None and trait == other for env, other in known) for _, trait in known}

    def find(key: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> tuple[float, str]:
        found = known.get((None, key["trait"]))
        if found is None:
            return np.nan, "not measured here"
        if columns["n_envs"].mean() < FEWEST_ENVS * n_envs[key["trait"]]:
            return np.nan, "the means are over few of the environments"
        return found

    measured = None if heritability is None else find
    return _score(line_means, keys, list_overall(), {"trait": traits}, top, lowest, measured)


def check_top(top: Any, lowest: Any, traits: Iterable[str]) -> tuple[float, list[str]]:
    """The share of the best lines and the traits that are best when low, checked."""
    if not is_number(top) or not 0.0 < top <= 1.0:
        raise UsageError(f"top must be a share above 0 and up to 1, got {show(top)}: 0.2 takes a fifth for the best.")
    names = [str(name) for name in as_list(lowest, "lowest")]
    known = list(traits)
    for name in names:
        if name not in known:
            raise UsageError(
                f"lowest names the trait {name!r}, which is not scored.{suggest(name, known)} The traits are "
                f"{list_names(known)}."
            )
    return float(top), names


def _score(
    table: pd.DataFrame,
    keys: Sequence[str],
    columns: Sequence[Column],
    orders: Mapping[str, Sequence[str] | None],
    top: float,
    lowest: Iterable[str],
    find: Any,
) -> pd.DataFrame:
    """The scores of every group of rows with the same keys; `find` tells the heritability of a group and its note."""
    given = table["trait"].unique() if orders["trait"] is None else orders["trait"]
    top, lows = check_top(top, lowest, given if len(table) else as_list(lowest, "lowest"))
    table = table[table["observed"].notna()]
    codes, names = _rank_keys(table, keys, orders)
    values = {
        str(name): table[name].to_numpy(dtype=np.float64)
        for name in table.columns
        if table[name].dtype.kind in "fiu" or name in ("observed", "mean", "n_envs")
    }
    # lexsort takes its last key first.
    order = np.lexsort([values["mean"], values["observed"], *codes.T[::-1]])
    codes = codes[order]
    values = {name: column[order] for name, column in values.items()}
    limits = _find_groups(codes)
    made = [column for column in columns if column.make is not None]
    rows = []
    for start, end in pairwise(limits):
        key = {name: names[k][codes[start, k]] for k, name in enumerate(keys)}
        own = {name: column[start:end] for name, column in values.items()}
        h2, reason = (np.nan, "") if find is None else find(key, own)
        tested = Tested(own, top, key["trait"] in lows, h2, reason)
        rows.append((*key.values(), *(each.of(tested) for each in made)))
    return pd.DataFrame(rows, columns=name_columns(columns)).astype(type_columns(columns))


def _list_known(heritability: pd.DataFrame | None) -> dict[tuple[str | None, str], tuple[float, str]]:
    """Heritabilities and their notes, by environment (None: of means over environments) and trait."""
    if heritability is None:
        return {}
    _need(heritability, ["env", "trait", "heritability", "note"], "heritabilities", ("heritability",))
    found: dict[tuple[str | None, str], tuple[float, str]] = {}
    for env, trait, h2, note in heritability[["env", "trait", "heritability", "note"]].itertuples(
        index=False, name=None
    ):
        found[env if isinstance(env, str) else None, trait] = float(h2), note
    return found


@document(columns=outline_comparison())
def summarise(
    scores: pd.DataFrame, *, envs: Sequence[str] | None = None, traits: Sequence[str] | None = None
) -> pd.DataFrame:
    """Average scores over partitions and rank the models within each env x trait.

    The standard errors are naive: SD over partitions / sqrt(partitions), which takes the partitions for
    independent although they share most of their training and test lines. They are too small.

    Parameters
    ----------
    scores : pandas.DataFrame
        As made by `score`; model, partition, env, trait, pearson and msep are needed, other scores that are absent are
        missing.
    envs, traits : sequence of str, optional
        Order of the rows; by default the order of first appearance.

    Returns
    -------
    pandas.DataFrame
        {columns}

        Partitions with a missing score are left out of its mean and standard error; with fewer than two scores the
        standard error is missing. Ranks are within the env x trait, ties share the lower rank, a missing mean has a
        missing rank. So has a model that lacks the score in a partition where another model has it, as after a
        failure: means over other partitions are no comparison, `compare` makes one.

    Raises
    ------
    UsageError
        If a column is missing, or an environment or trait is not in the order given.
    """
    keys = ["model", "env", "trait"]
    found = register.SCORES
    _need(scores, [*keys, "partition", "pearson", "msep"], "scores", ("pearson", "msep"))
    codes, names = _rank_keys(scores, keys, {"env": envs, "trait": traits})
    order = np.lexsort(codes.T[::-1])
    codes = codes[order]
    limits = _find_groups(codes)
    sizes = np.diff(limits)
    columns = list_comparison()
    table: dict[str, Any] = {
        name: np.array(names[k], dtype=object)[codes[limits[:-1], k]] for k, name in enumerate(keys)
    }
    table[columns[len(keys)].name] = sizes
    place = np.repeat(np.arange(len(sizes)), sizes), np.arange(len(codes)) - np.repeat(limits[:-1], sizes)
    for each in found:
        # A row for each group, its scores in the order of their values.
        spread = np.full((len(sizes), max(sizes, default=0)), np.nan)
        if each.name in scores.columns:
            spread[place] = scores[each.name].to_numpy(dtype=np.float64)[order]
        table[f"{each.name}_mean"], table[f"{each.name}_se"] = average_rows(np.sort(spread, axis=1))
    made = pd.DataFrame(table)
    complete = find_complete(scores, made, [each.name for each in found])
    within = made.assign(**{each.name: each.measure(made[f"{each.name}_mean"]) for each in found})
    for each in found:
        within[each.name] = within[each.name].where(complete[each.name])
    groups = within.groupby(["env", "trait"], sort=False)
    for each in found:
        made[f"{each.name}_rank"] = groups[each.name].rank(method="min", ascending=each.sign < 0)
    kinds = {column.name: column.kind for column in columns if column.kind == NUMBER}
    return made.astype({columns[len(keys)].name: "int64", **kinds})[name_columns(columns)]


def find_complete(scores: pd.DataFrame, made: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Of the models, environments and traits of a summary, those with each score wherever a model has it (bool)."""
    there = scores.reindex(columns=names).notna()
    cell = ["env", "trait"]
    mine = there.groupby([scores[key] for key in ("model", *cell)]).sum()
    every = there.groupby([scores[key] for key in (*cell, "partition")]).any().groupby(level=cell).sum()
    counts = [
        table.reindex(pd.MultiIndex.from_frame(made[keys])).to_numpy()
        for table, keys in ((mine, ["model", *cell]), (every, cell))
    ]
    return pd.DataFrame(dict(zip(names, (counts[0] == counts[1]).T, strict=True)))


def average_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and naive standard error of what is not NaN in every row of (n, k)."""
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=1) / count
        squares = np.where(there, values - mean[:, None], 0.0) ** 2
        variance = squares.sum(axis=1) / np.where(count > 1, count - 1, np.nan)
        return mean, np.sqrt(variance / count)


def _need(table: pd.DataFrame, columns: Iterable[str], what: str, numbers: Iterable[str] = ()) -> None:
    """Refuse what is no table, lacks one of the columns, or holds something else where there must be numbers."""
    if not isinstance(table, pd.DataFrame):
        raise UsageError(f"the table of {what} must be a pandas DataFrame, got {show(table)}.")
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise UsageError(
            f"the table of {what} lacks the column {list_names(absent)}; it has {list_names(table.columns)}."
        )
    for column in numbers:
        try:
            table[column].to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"the column {column!r} of the table of {what} must hold numbers.") from None


def _rank_keys(
    table: pd.DataFrame, keys: Sequence[str], orders: Mapping[str, Sequence[str] | None]
) -> tuple[IntArray, list[list[str]]]:
    """Places (rows, keys) of the keys among their names, in the order given or of first appearance; and the names."""
    codes, names = np.empty((len(table), len(keys)), dtype=np.int64), []
    for k, key in enumerate(keys):
        given = orders.get(key)
        values = table[key].astype(object)
        order = list(values.unique()) if given is None else list(given)
        place = {name: position for position, name in enumerate(order)}
        unknown = [name for name in values.unique() if name not in place]
        if unknown:
            raise UsageError(f"{key} {unknown[0]!r} is not among the {key}s given: {list_names(order)}.")
        codes[:, k] = values.map(place).to_numpy(dtype=np.int64)
        names.append(order)
    return codes, names


def _find_groups(codes: IntArray) -> IntArray:
    """Where runs of equal rows begin, and the number of rows."""
    changes = np.flatnonzero((codes[1:] != codes[:-1]).any(axis=1)) + 1
    return np.concatenate([np.zeros(min(len(codes), 1), np.int64), changes, [len(codes)]]).astype(np.int64)
