"""Whether one model predicts better than another: paired over partitions, which share most of their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import is_one_of, show
from bmtme.cv.differences import (
    FEWEST_PARTITIONS,
    By,
    Design,
    Grid,
    adjust_holm,
    average_replicates,
    judge_both,
    number_folds,
)
from bmtme.cv.resampling import DRAWS, Rows, can_resample, resample_lines, resample_replicates
from bmtme.errors import UsageError
from bmtme.results import scores as register
from bmtme.results.agreement import FEWEST_LINES
from bmtme.results.docstrings import document
from bmtme.results.entries import NONE, NUMBER, TEXT, WHOLE, Column, Unit, bound
from bmtme.results.scores import Score
from bmtme.words import list_names, suggest

Key = tuple[Any, Any, str]

#: A difference is told from noise where its adjusted p is below this.
LEVEL = 0.05

#: Share of rejections at a nominal 5% where the models are exchangeable, by the kind of partitions and the score, for
#: so many partitions (environments, where these are the replicates). Measured by `python -m validation.run --only
#: comparison`.
SIZES: dict[tuple[str, str], tuple[tuple[int, float], ...]] = {
    ("folds", "pearson"): ((5, 0.050), (10, 0.043)),
    ("folds", "msep"): ((5, 0.056), (10, 0.051)),
    ("random", "pearson"): ((10, 0.101),),
    ("random", "msep"): ((10, 0.125),),
    ("cells", "pearson"): ((10, 0.082),),
    ("cells", "msep"): ((10, 0.107),),
    ("envs", "pearson"): ((4, 0.026), (6, 0.009), (10, 0.003)),
    ("envs", "msep"): ((4, 0.023), (6, 0.005), (10, 0.003)),
    ("envs and lines", "pearson"): ((4, 0.018), (6, 0.035), (10, 0.051)),
    ("envs and lines", "msep"): ((4, 0.020), (6, 0.029), (10, 0.057)),
}
#: How far numbers of partitions, and shares of lines, may be from those measured: a factor.
NEAR = 2.0
#: n_test / n_train of the random partitions measured; and the number of folds of lines beside environments.
MEASURED_RATIO, MEASURED_FOLDS = 0.25, 5
#: The accuracy is the correlation over a constant, which changes no p.
LIKE = {"accuracy": "pearson"}

#: Scores that predictions without a spread do not have.
CORRELATIONS = ("pearson", "spearman", "slope", "accuracy")
UNSAMPLED = "no interval by resampling for this score"

METRIC = Unit("unit of the metric")
COMPARED: tuple[Column, ...] = (
    Column("model", TEXT, NONE, "label of a model"),
    Column("against", TEXT, NONE, "label of the model that it is compared with"),
    Column("env", TEXT, NONE, "name of the environment, None where all of them are averaged"),
    Column("trait", TEXT, NONE, "name of the trait, None where all of them are averaged"),
    Column(
        "difference", NUMBER, METRIC,
        "mean of `model` minus `against`; of bias, slope and coverage, of their distances from the best value",
    ),
    Column("se", NUMBER, METRIC, "its standard error, with what partitions share allowed for"),
    *bound(METRIC, "the 95% interval of that t test"),
    Column("p", NUMBER, NONE, "two-sided p of the difference"),
    Column("p_adjusted", NUMBER, NONE, "p by Holm over the rows of the two models"),
    Column("size", NUMBER, NONE, "how often the test rejects at 5% where models are alike; missing where not measured"),
    *bound(METRIC, "the 95% interval by resampling lines or environments", "boot_"),
    Column("n_partitions", WHOLE, NONE, "number of partitions (or of environments hidden in turn) that both score"),
    Column("note", TEXT, NONE, "why something is missing"),
)  # fmt: skip


@document(columns=COMPARED)
def compare(
    scores: pd.DataFrame,
    predictions: pd.DataFrame,
    partitions: Sequence[Mapping[str, Any]],
    *,
    metric: str = "pearson",
    against: str | None = None,
    by: By = "cell",
    envs: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Compare models by the differences between their scores on common partitions.

    Parameters
    ----------
    scores, predictions : DataFrame
        As of a cross-validation.
    partitions : list of dict
        Of every partition, lines_hidden, lines_kept, envs_hidden, envs_kept, cells_hidden and cells_kept.
    metric : str
        A score. Positive differences speak for `model` in pearson, spearman, log_score, top_share and accuracy;
        negative ones in msep, rmse, crps and in bias, slope and coverage, of which the distances from the best value
        (0, 1, the share of the interval) are compared.
    against : str, optional
        Label of the model that every other one is compared with; by default every pair is compared once.
    by : {"cell", "trait", "all"}
        A row for every environment and trait; for every trait, with the score averaged over the environments within a
        partition; or one for all of them, for scores without a unit. Where every partition hides a whole environment,
        or scores a trait of one alone (`CV2`), the rows of traits and of all have the environments for replicates,
        after averaging within each of them.
    envs, traits : sequence of str, optional
        Order of the rows; by default that of their names.
    draws : int
        Resamples of the bootstrap; 0 for none.

    Returns
    -------
    DataFrame
        {columns}

    Raises
    ------
    UsageError
        For a metric, a model or a way to average that is none, or fewer than two models.

    Notes
    -----
    With d_k the differences on K partitions and S^2 their variance, the standard error is the root of
    ``(1 / K + n_test / n_train) S^2``, and t has K - 1 degrees of freedom (Nadeau and Bengio 2003, Machine Learning
    52:239-281); n counts lines where lines are hidden whole, environments where only environments are, else line x
    environment cells. Where environments are the replicates and folds of lines are hidden with them, the environments
    tell nothing of the chance in which lines were hidden: the folds, averaged over environments, are judged as well,
    with the ratio of lines, and the wider interval is told with its standard error and p.

    The test is approximate; `size` says how often it errs, where that was measured: for single environments and traits,
    or single traits over environments that are replicates. Holm's adjustment (1979, Scandinavian Journal of Statistics
    6:65-70) is over the rows of a pair of models, not over pairs. M models make M (M - 1) / 2 pairs, and among five
    exchangeable models some pair had p below 0.05 in a quarter (ten folds) to half (ten random partitions) of
    simulated sets: to name a pair that was not chosen beforehand, adjust for their number, as
    `CrossValidation.advice` does.

    The bootstrap draws the scored lines with replacement and rescores their predictions, without fitting anew: it tells
    the chance in which lines were scored, not that in which lines were learnt from, and its intervals left out zero in
    14 to 21% of simulated comparisons of exchangeable models. Take it for the width, not for a test. Where environments
    are replicates it draws environments, if there are five or more. Of ranks (spearman, top_share) there is none.
    """
    score = find_score(metric)
    models = list(dict.fromkeys(scores["model"]))
    pairs = list_pairs(models, against)
    if by not in ("cell", "trait", "all"):
        raise UsageError(f"by must be 'cell', 'trait' or 'all', got {show(by)}.")
    if by == "all" and score.unit is not NONE:
        raise UsageError(
            f"{metric} is in the {score.unit.words}, so that it cannot be averaged over traits: use by='trait', or a "
            "metric without a unit such as 'pearson'."
        )
    design = Design.of(partitions, scores)
    alone = design.alone and by != "cell"
    grid = Grid.of(scores, score, models)
    folds = number_folds(predictions, grid.partitions) if alone and design.unit == "lines" else None
    kind = find_kind(predictions, design, folds)
    rows: list[dict[str, Any]] = []
    weights, replicates = [], []
    for one, other in pairs:
        difference = grid.values[models.index(one)] - grid.values[models.index(other)]
        mine = []
        for (env, trait), columns in grid.group(by, envs, traits):
            where = np.isfinite(difference) & columns
            values, weight = average_replicates(difference, where, grid.number_replicates(alone))
            row: dict[str, Any] = {"model": one, "against": other, "env": env, "trait": trait}
            others = None if folds is None else average_replicates(difference, where, grid.spread(folds))[0]
            row |= judge_both(values, design.env_ratio if alone else design.ratio, others, design.ratio)
            single = columns.sum() == 1 if not alone else trait is not None or len({t for _, t in grid.cells}) == 1
            row["size"] = find_size(kind, metric, len(values)) if single and alone == design.alone else np.nan
            row |= {"n_partitions": len(values), "note": explain(values, alone, design.alone, others)}
            mine.append(row)
            weights.append((models.index(one), models.index(other), weight))
            replicates.append(values)
        if metric in CORRELATIONS and not any(row["n_partitions"] for row in mine):
            for row in mine:
                row["note"] = explain_absence(predictions, (one, other)) or row["note"]
        for row, p in zip(mine, adjust_holm(np.array([row["p"] for row in mine])), strict=True):
            row["p_adjusted"] = p
        rows += mine
    ends = [(np.nan, np.nan, "")] * len(rows)
    if draws and alone:
        ends = [resample_replicates(values, draws) for values in replicates]
    elif draws and can_resample(score):
        labels = (models, grid.partitions, grid.cells)
        factors = find_factors(scores, grid) if metric == "accuracy" else None
        with threadpool_limits(1):  # the same digits whatever the number of cores
            ends = resample_lines(Rows.of(predictions), score, labels, weights, draws, factors)
    elif draws:
        ends = [(np.nan, np.nan, UNSAMPLED if len(values) else "") for values in replicates]
    for row, (lower, upper, reason) in zip(rows, ends, strict=True):
        row |= {"boot_lower": lower, "boot_upper": upper, "note": "; ".join(filter(None, (row["note"], reason)))}
    return pd.DataFrame(
        {
            column.name: pd.Series(
                [row[column.name] for row in rows], dtype="object" if column.kind == TEXT else column.kind
            )
            for column in COMPARED
        }
    )


def explain(values: np.ndarray, by_env: bool, hides_envs: bool, folds: np.ndarray | None = None) -> str:
    """Why there is no p, empty if there is one."""
    if not len(values):
        return "no partition has a score of both"
    if not values.any():
        return "both have the same scores"
    if len(values) < FEWEST_PARTITIONS and by_env:
        return f"fewer than {FEWEST_PARTITIONS} environments"
    if len(values) < FEWEST_PARTITIONS:
        hint = ": compare by='trait', over environments" if hides_envs else ""
        return f"fewer than {FEWEST_PARTITIONS} partitions{hint}"
    return (
        f"fewer than {FEWEST_PARTITIONS} folds of lines" if folds is not None and len(folds) < FEWEST_PARTITIONS else ""
    )


def explain_absence(predictions: pd.DataFrame, models: Sequence[str]) -> str:
    """Why two models have no score in common, where one predicts all lines alike; empty if that is not it."""
    for model in models:
        cells = predictions[predictions["model"] == model].groupby(["partition", "env", "trait"])["mean"]
        several = cells.nunique()[cells.size() >= FEWEST_LINES]
        if len(several) and (several == 1).all():
            return f"{model!r} predicts all lines of an environment alike: it has no correlation, compare by msep"
    return ""


def find_kind(predictions: pd.DataFrame, design: Design, folds: np.ndarray | None) -> str:
    """The kind of partitions as in `SIZES`, empty for one that was not measured."""
    first = predictions[predictions["model"] == predictions["model"].iloc[0]] if len(predictions) else predictions
    if design.alone:
        if design.unit == "envs":
            return "envs"
        number = 0 if folds is None else len(set(folds))
        near = design.unit == "lines" and MEASURED_FOLDS / NEAR <= number <= MEASURED_FOLDS * NEAR
        return "envs and lines" if near else ""
    lines = first.groupby("partition")["line"].nunique()
    again = bool(first.duplicated(["line", "env", "trait"]).any())
    if design.unit == "lines" and not again:
        # Families as folds are of unequal sizes, and were not measured.
        return "folds" if len(lines) and lines.max() <= NEAR * lines.min() else ""
    if not MEASURED_RATIO / NEAR <= design.ratio <= MEASURED_RATIO * NEAR or not again:
        return ""
    everywhere = (first.groupby("partition")["env"].nunique() == first["env"].nunique()).all()
    return {"lines": "random", "cells": "cells" if everywhere else ""}.get(design.unit, "")


def find_size(kind: str, metric: str, number: int) -> float:
    """The measured size of the test for so many partitions of a kind, NaN where none like it was measured."""
    known = SIZES.get((kind, LIKE.get(metric, metric)), ())
    near = [entry for entry in known if entry[0] / NEAR <= number <= entry[0] * NEAR]
    return min(near, key=lambda entry: abs(np.log(entry[0] / number)))[1] if near else np.nan


def find_factors(scores: pd.DataFrame, grid: Grid) -> np.ndarray:
    """(C,) accuracy over correlation in each cell, NaN where the heritability is not known."""
    ratio = scores["accuracy"] / scores["pearson"].where(scores["pearson"] != 0.0)
    found = ratio.groupby([scores["env"], scores["trait"]]).median()
    return np.array([found.get(cell, np.nan) for cell in grid.cells], dtype=np.float64)


def find_score(metric: str) -> Score:
    """The score of this name."""
    known = {score.name: score for score in register.SCORES}
    if not is_one_of(metric, known):
        raise UsageError(
            f"metric must be one of {list_names(known, 20)}, got {show(metric)}.{suggest(str(metric), known)}"
        )
    return known[metric]


def list_pairs(models: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    """The pairs to compare, each once."""
    if len(models) < 2:
        raise UsageError(
            f"there is nothing to compare: {list_names(models) or 'no model'} is the only model with scores."
        )
    if against is None:
        return list(combinations(models, 2))
    if against not in models:
        raise UsageError(
            f"against must be the label of a model, got {show(against)}.{suggest(str(against), models)} The models are "
            f"{list_names(models)}."
        )
    return [(model, against) for model in models if model != against]


def find_winners(table: pd.DataFrame, score: Score, correlations: Mapping[Key, float]) -> set[Key]:
    """The models that are better than every other one.

    Parameters
    ----------
    table : DataFrame
        Every pair of models, as of `compare`.
    score : Score
        That of the table.
    correlations : dict
        Mean Pearson correlation by (env, trait, model), as these stand in the table. Of models that predict nothing
        none is the best.

    Returns
    -------
    set of (env, trait, model)
        Models with the very same scores share the place; one that has no score here is no rival.
    """
    beaten: dict[Key, int] = {}
    rivals: dict[Key, int] = {}
    row: Any
    for row in table.itertuples(index=False):
        if row.n_partitions == 0 or (row.difference == 0 and not row.se > 0):
            continue
        better = row.model if score.sign * row.difference > 0 else row.against
        for model in (row.model, row.against):
            key = (row.env, row.trait, model)
            rivals[key] = rivals.get(key, 0) + 1
            beaten[key] = beaten.get(key, 0) + (model == better and row.p_adjusted < LEVEL)
    return {key for key, number in rivals.items() if beaten[key] == number and correlations.get(key, np.nan) > 0}
