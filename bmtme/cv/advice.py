"""What a comparison of models can bear, in words; nothing is called best that is not told from noise."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.cv.compare import LEVEL, compare, find_score, find_winners
from bmtme.cv.differences import FEWEST_PARTITIONS, By, Design, judge_difference
from bmtme.cv.schemes import CV2
from bmtme.words import count_noun, list_names, some_names

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation

#: Partitions below which a comparison sees large differences only.
FEW_PARTITIONS = 5
#: How far from 90% a coverage, and how far from 1 a slope must be to be told; and beyond chance: standard errors, p.
FAR_COVERAGE, FAR_SLOPE, ERRORS, FAR_CHANCE = 0.03, 0.2, 3.0, 0.01
#: Partitions, and multiples of the lines, beyond which nobody would go to tell a difference.
MOST_PARTITIONS, MOST_TIMES = 100, 10
#: A measured size of the test from which on it is told.
LARGE_SIZE = 0.07
#: What replicates are called.
NOUNS = {"lines": "line", "envs": "environment", "cells": "line"}


def find_best(cv: CrossValidation, metrics: Sequence[str]) -> set[tuple[str, str, str, str]]:
    """The (metric, env, trait, model) where a model is better than every other one; see `CrossValidation.best`."""
    if cv.scores["model"].nunique() < 2:
        return set()
    correlations = cv.scores.groupby(["env", "trait", "model"])["pearson"].mean()
    means: dict[Any, float] = correlations.to_dict()
    return {
        (metric, *key)
        for metric in metrics
        for key in find_winners(tabulate(cv, metric, "cell"), find_score(metric), means)
    }


def tabulate(cv: CrossValidation, metric: str, by: By, against: str | None = None) -> pd.DataFrame:
    """A comparison without the bootstrap."""
    records = cv.run["data"]["partitions"]
    named: dict[str, Any] = {"envs": cv.envs, "traits": cv.traits, "draws": 0}
    return compare(cv.scores, cv.predictions, records, metric=metric, against=against, by=by, **named)


def advise(cv: CrossValidation, width: int = 80) -> str:
    """The advice as paragraphs of lines of this width; see `CrossValidation.advice`."""
    design = Design.of(cv.run["data"]["partitions"])
    sentences = list_cautions(cv, design)
    if cv.scores["model"].nunique() > 1:
        overall = tabulate(cv, "pearson", "all")
        rivals = overall[overall["n_partitions"] > 0]
        if len(rivals):
            sentences += [*describe_overall(cv, rivals, design), *describe_places(cv, design)]
        sentences += [*describe_single(cv, overall), *describe_means(cv)]
        sizes = overall["size"].dropna()
        if (rivals["p_adjusted"] < LEVEL).any() and (sizes > LARGE_SIZE).any():
            sentences.append(
                f"The test is approximate: at 5% it rejected in {100 * sizes.iloc[0]:.0f}% of simulated comparisons of "
                "models that were alike, so take a p near 0.05 for a hint."
            )
    sentences += [*describe_coverage(cv, design), *describe_slopes(cv, design)]
    fill = {"width": width, "break_on_hyphens": False, "break_long_words": False}
    return "\n".join(textwrap.fill(sentence, **fill) for sentence in sentences)  # type: ignore[arg-type]


def list_cautions(cv: CrossValidation, design: Design) -> list[str]:
    """Fits that failed, and partitions that are too few."""
    sentences = []
    if cv.failures:
        fits = len(cv.run["settings"]["models"]) * len(cv.run["data"]["partitions"])
        labels = dict.fromkeys(model for model, _, _ in cv.failures)
        sentences.append(
            f"{len(cv.failures)} of {count_noun(fits, 'fit')} failed ({list_names(labels)}): models are compared on "
            "the partitions that both have."
        )
    number = len(cv.run["data"]["partitions"])
    if cv.scores["model"].nunique() > 1:
        if design.alone and len(cv.scores["env"].unique()) < FEW_PARTITIONS:
            what = count_noun(cv.scores["env"].nunique(), "environment")
            sentences.append(f"With {what} hidden in turn only large differences between models can be told.")
        elif number < FEWEST_PARTITIONS:
            sentences.append(
                f"With {count_noun(number, 'partition')} no difference can be told from noise: make at least "
                f"{FEW_PARTITIONS}, better 10."
            )
        elif number < FEW_PARTITIONS:
            sentences.append(f"With {count_noun(number, 'partition')} only large differences can be told: make 10.")
    return sentences


def describe_overall(cv: CrossValidation, rows: pd.DataFrame, design: Design) -> list[str]:
    """Which model is better over all environments and traits, by how much, and what would tell."""
    where = "Over all environments and traits" if len(cv.scores[["env", "trait"]].drop_duplicates()) > 1 else "Here"
    means: dict[Any, float] = cv.scores.groupby("model", sort=False)["pearson"].mean().dropna().to_dict()
    if max(means.values(), default=0.0) <= 0:
        return ["No model predicts: no mean correlation of predicted and observed values is above zero."]
    correlations = {(None, None, model): mean for model, mean in means.items()}
    winners = [model for _, _, model in find_winners(rows, find_score("pearson"), correlations)]
    told = rows[rows["p_adjusted"] < LEVEL]
    if winners:
        best = [model for model in means if model in winners]
        mine = told[told["model"].isin(best[:1]) | told["against"].isin(best[:1])]
        verb = "predicts" if len(best) == 1 else "(the same predictions) predict"
        return [
            f"{where}, {list_names(best)} {verb} best: the mean correlation is {means[best[0]]:.2f}, above that of "
            f"{'; '.join(_gap(row, best[0]) for row in mine.itertuples(index=False))}."
        ]
    known = rows[rows["p"].notna()]
    if known.empty:
        same = bool(len(rows)) and bool((rows["difference"] == 0).all())
        return [f"{where}, the models have the very same scores."] if same else []
    sentences = []
    if len(told):
        pairs = "; ".join(f"{_upper(row)!r} above {_gap(row, _upper(row))}" for row in told.itertuples(index=False))
        sentences.append(f"{where}, no model is better than every other one. By the mean correlation: {pairs}.")
    open_ = known[~(known["p_adjusted"] < LEVEL)]
    row: Any = next(open_.loc[[open_["difference"].abs().idxmax()]].itertuples(index=False))
    what = "of the other pairs no difference" if len(told) else f"{where}, no difference that"
    rest = "can be told from noise" if len(told) else "can be told from noise separates the models"
    sentences.append(
        f"{what[0].upper()}{what[1:]} {rest}: the largest is {_upper(row)!r} above {_gap(row, _upper(row))}. "
        f"{describe_need(row, design, cv)}".strip()
    )
    return sentences


def describe_need(row: Any, design: Design, cv: CrossValidation) -> str:
    """What would tell a difference of this size from noise, if it is one; empty where nothing reasonable would."""
    K, d2 = row.n_partitions, row.difference**2
    ratio = design.env_ratio if design.alone else design.ratio
    S2 = row.se**2 / (1.0 / K + ratio)
    if not d2 > 0 or not S2 > 0:
        return ""
    limit = d2 / 4.0 - ratio * S2
    again = cv.predictions.duplicated(["model", "line", "env", "trait"]).any()
    if limit > 0 and again and not design.alone and K < S2 / limit <= MOST_PARTITIONS:
        return f"If it is real, some {math.ceil(S2 / limit)} partitions instead of {K} would tell it."
    times = 4.0 * row.se**2 / d2
    noun = "environment" if design.alone else NOUNS[design.unit]
    if times <= MOST_TIMES:
        return f"If it is real, it takes about {max(times, 1.5):.1f} times as many {noun}s to tell it."
    return f"To tell a difference so small takes more than {MOST_TIMES} times as many {noun}s."


def describe_places(cv: CrossValidation, design: Design) -> list[str]:
    """Where a model is the best: by environment and trait, or by trait where environments are replicates."""
    by: By = "trait" if design.alone else "cell"
    table = tabulate(cv, "pearson", by)
    places = table[["env", "trait"]].drop_duplicates()
    if len(places) < 2 or table["p"].isna().all():
        return []
    keys = ["trait", "model"] if design.alone else ["env", "trait", "model"]
    means: dict[Any, float] = cv.scores.groupby(keys)["pearson"].mean().to_dict()
    correlations = {(None, *key): value for key, value in means.items()} if design.alone else means
    best = find_winners(table, find_score("pearson"), correlations)
    noun = "trait" if design.alone else "environment and trait"
    if not best:
        return [f"In no single {noun} is a model better than every other one (p adjusted for {len(places)} of them)."]
    parts = []
    for model in dict.fromkeys(cv.scores["model"]):
        names = [
            trait if env is None else f"{trait} in {env}"
            for env, trait in places.itertuples(index=False, name=None)
            if (env, trait, model) in best
        ]
        if names:
            parts.append(f"{model!r} in {len(names)} of {len(places)} ({some_names(names)})")
    return [f"By {noun} (p adjusted for {len(places)} of them), better than every other model: {'; '.join(parts)}."]


def describe_single(cv: CrossValidation, overall: pd.DataFrame) -> list[str]:
    """Whether several traits help: models against the single-trait ones."""
    sentences = []
    for single in _baselines(cv, "single") if len(cv.traits) > 1 else []:
        for model in _contenders(cv):
            rows = overall[overall["model"].isin([model, single]) & overall["against"].isin([model, single])]
            row: Any = next(rows.itertuples(index=False), None)
            if row is None or math.isnan(row.p):
                continue
            if not row.p_adjusted < LEVEL:
                verdict = "it cannot be told from noise whether several traits help"
            else:
                verdict = "several traits help" if _upper(row) == model else "several traits do NOT help, they harm"
            sign = 1.0 if row.model == model else -1.0
            ends = sorted((sign * row.lower, sign * row.upper))
            sentences.append(
                f"{model!r} against one trait at a time ({single!r}): {verdict} (mean correlation "
                f"{sign * row.difference:+.3f}, 95% interval {ends[0]:+.3f} to {ends[1]:+.3f})."
            )
    return sentences


def describe_means(cv: CrossValidation) -> list[str]:
    """Whether the best predicting model has smaller squared errors than environment means, by trait."""
    correlations = cv.scores.groupby("model")["pearson"].mean()
    models = [model for model in _contenders(cv) or _baselines(cv, "single") if correlations[model] > -np.inf]
    sentences = []
    for means in _baselines(cv, "means"):
        if not models:
            continue
        model = max(models, key=correlations.__getitem__)
        table = tabulate(cv, "msep", "trait", means)
        table = table[(table["model"] == model) & table["p"].notna()]
        told = table["p_adjusted"] < LEVEL
        parts = [
            (table.loc[told & (table["difference"] < 0), "trait"], "its squared errors are smaller for"),
            (table.loc[told & (table["difference"] > 0), "trait"], "they are LARGER for"),
            (table.loc[~told, "trait"], "no difference can be told from noise for"),
        ]
        texts = [f"{words} {some_names(list(traits))}" for traits, words in parts if len(traits)]
        if texts:
            sentences.append(f"{model!r} against the means of environments ({means!r}): {'; '.join(texts)}.")
    return sentences


def describe_coverage(cv: CrossValidation, design: Design) -> list[str]:
    """Models whose 90% intervals do not cover 90%, beyond chance between lines (or environments)."""
    table = cv.predictions
    if not {"mean_lower", "mean_upper"} <= set(table.columns):
        return []
    parts = []
    for model, rows in table[table["mean_lower"].notna()].groupby("model", sort=False):
        inside = (rows["mean_lower"] <= rows["observed"]) & (rows["observed"] <= rows["mean_upper"])
        covered = float(inside.mean())
        # Values of a line miss together, and those of an environment or trait whose mean is not known, as under CV2.
        scheme = cv.run["settings"]["scheme"]["name"]
        together = ["env"] if design.alone else ["env", "trait"] if scheme == CV2.__name__ else ["line"]
        excess = (inside - covered).groupby([rows[name] for name in together]).sum()
        G = len(excess)
        error = math.sqrt(float((excess**2).sum()) * G / max(G - 1, 1)) / len(rows)
        cells = len(rows[["line", "env", "trait"]].drop_duplicates())
        error = max(error, math.sqrt(0.9 * 0.1 / cells))
        if G >= FEWEST_PARTITIONS and abs(covered - 0.9) > max(FAR_COVERAGE, ERRORS * error):
            parts.append(f"those of {model!r} hold {100 * covered:.0f}% (too {'narrow' if covered < 0.9 else 'wide'})")
    return [f"90% intervals do not hold 90% of the observed values: {'; '.join(parts)}."] if parts else []


def describe_slopes(cv: CrossValidation, design: Design) -> list[str]:
    """Models whose predictions spread too much or too little."""
    parts = []
    for model, rows in cv.scores.groupby("model", sort=False):
        values = rows.groupby("env" if design.alone else "partition")["slope"].mean().dropna().sort_values()
        found = judge_difference(values.to_numpy() - 1.0, design.env_ratio if design.alone else design.ratio)
        if abs(found["difference"]) > FAR_SLOPE and found["p"] < FAR_CHANCE:
            much = "much (inflated)" if found["difference"] < 0 else "little"
            parts.append(f"those of {model!r} spread too {much}, slope {1.0 + found['difference']:.2f}")
    return [f"Predictions are not on the scale of what is observed: {'; '.join(parts)}."] if parts else []


def _baselines(cv: CrossValidation, kind: str) -> list[str]:
    """Labels of the models that are baselines of this kind, and have scores."""
    models = cv.run["settings"]["models"]
    return [label for label in dict.fromkeys(cv.scores["model"]) if models[label].get("baseline") == kind]


def _contenders(cv: CrossValidation) -> list[str]:
    """Labels of the others."""
    models = cv.run["settings"]["models"]
    return [label for label in dict.fromkeys(cv.scores["model"]) if not models[label].get("baseline")]


def _upper(row: Any) -> str:
    """The model with the higher score."""
    return str(row.model if row.difference >= 0 else row.against)


def _gap(row: Any, upper: str) -> str:
    """The other model of a comparison, and how far it is below."""
    other, sign = (row.against, 1.0) if row.model == upper else (row.model, -1.0)
    ends = sorted((sign * row.lower, sign * row.upper))
    p = "p < 0.001" if row.p_adjusted < 0.001 else f"p {row.p_adjusted:.2g}"
    return f"{other!r} by {sign * row.difference:.3f} (95% interval {ends[0]:.3f} to {ends[1]:.3f}, {p})"
