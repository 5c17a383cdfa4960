"""What a comparison of models can bear, in words; nothing is called best that is not told from noise."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bmtme.arguments import as_list
from bmtme.cv.calibration import describe_coverage, describe_slopes
from bmtme.cv.compare import LEVEL, compare, find_score, find_winners
from bmtme.cv.differences import FEWEST_PARTITIONS, By, Design, adjust_holm
from bmtme.words import count_noun, list_names, some_names

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation

#: Scores whose best models get a star where no others are named.
STARRED = ("pearson", "msep")
#: Partitions below which a comparison sees large differences only.
FEW_PARTITIONS = 5
#: Partitions, and multiples of the lines, beyond which nobody would go to tell a difference; pairs that are listed.
MOST_PARTITIONS, MOST_TIMES, MOST_PAIRS = 100, 10, 6
#: The normal quantile of a power of 80%.
Z_POWER = 0.8416
#: A measured size of the test from which on it is told.
LARGE_SIZE = 0.07
#: Of what more are needed, by whether environments are the replicates, and what is hidden.
NOUNS = {(False, unit): noun for unit, noun in (("lines", "lines"), ("envs", "environments"), ("cells", "lines"))}
NOUNS |= {(True, "lines"): "environments and lines", (True, "envs"): "environments", (True, "cells"): "environments"}


def find_best(cv: CrossValidation, metrics: Sequence[str]) -> tuple[set[tuple[str, str, str, str]], dict[str, float]]:
    """The (metric, env, trait, model) where a model is better than every other one; see `CrossValidation.best`.

    And how often the test behind that rejects at 5% where models are alike, by metric, where it was measured.
    """
    best: set[tuple[str, str, str, str]] = set()
    known: dict[str, float] = {}
    correlations = cv.scores.groupby(["env", "trait", "model"])["pearson"].mean()
    means: dict[Any, float] = correlations.to_dict()
    for metric in as_list(metrics, "metrics") if cv.scores["model"].nunique() > 1 else ():
        table = tabulate(cv, metric, "cell")
        best |= {(metric, *key) for key in find_winners(table, find_score(metric), means)}
        sizes = table["size"].dropna()
        if len(sizes):
            known[metric] = float(sizes.iloc[0])
    return best, known


def tabulate(cv: CrossValidation, metric: str, by: By, against: str | None = None) -> pd.DataFrame:
    """A comparison without the bootstrap."""
    records = cv.run["data"]["partitions"]
    named: dict[str, Any] = {"envs": cv.envs, "traits": cv.traits, "draws": 0}
    return compare(cv.scores, cv.predictions, records, metric=metric, against=against, by=by, **named)


def advise(cv: CrossValidation, width: int = 80) -> str:
    """The advice as paragraphs of lines of this width; see `CrossValidation.advice`."""
    design = Design.of(cv.run["data"]["partitions"], cv.scores)
    sentences = list_cautions(cv, design)
    if cv.scores["model"].nunique() > 1:
        sentences += describe_models(cv, design)
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
    if cv.scores["model"].nunique() > 1:
        number = count_replicates(cv, design)
        what = (
            f"{count_noun(number, 'environment')} hidden in turn" if design.alone else count_noun(number, "partition")
        )
        more = "" if design.alone else f": make at least {FEW_PARTITIONS}, better 10"
        if number < FEWEST_PARTITIONS:
            sentences.append(f"With {what} no difference can be told from noise{more}.")
        elif number < FEW_PARTITIONS:
            more = "" if design.alone else ": make 10"
            sentences.append(f"With {what} only large differences can be told{more}.")
    return sentences


def count_replicates(cv: CrossValidation, design: Design) -> int:
    """Number of what differences are averaged over."""
    return int(cv.scores["env"].nunique()) if design.alone else len(cv.run["data"]["partitions"])


def describe_models(cv: CrossValidation, design: Design) -> list[str]:
    """How the models compare."""
    means = cv.scores.groupby("model", sort=False)["pearson"].mean().dropna()
    if means.empty:
        return []
    if means.max() <= 0:
        return ["No mean correlation is above zero."]
    overall = tabulate(cv, "pearson", "all")
    rivals = overall[overall["n_partitions"] > 0]
    sentences = []
    if len(rivals):
        sentences += [*describe_overall(cv, rivals, means, design), *describe_places(cv, design)]
    sentences += [*describe_single(cv, overall), *describe_means(cv, design)]
    if (rivals["p"] < LEVEL).any():
        sizes = tabulate(cv, "pearson", "trait" if design.alone else "cell")["size"].dropna()
        if (sizes > LARGE_SIZE).any():
            where = "of a trait" if design.alone else "of an environment and trait"
            sentences.append(
                f"The test is approximate: at 5% it rejected in {100 * sizes.iloc[0]:.2g}% of simulated comparisons "
                f"{where} where models were alike, so take a p near 0.05 for a hint."
            )
    return sentences


def describe_overall(cv: CrossValidation, rows: pd.DataFrame, means: pd.Series, design: Design) -> list[str]:
    """Which model is better over all environments and traits, by how much, and what would tell."""
    where = "Over all environments and traits" if len(cv.scores[["env", "trait"]].drop_duplicates()) > 1 else "Here"
    correlations: dict[Any, float] = {(None, None, model): mean for model, mean in means.items()}
    winners = {model for _, _, model in find_winners(rows, find_score("pearson"), correlations)}
    if winners:
        best = [str(model) for model in means.index if model in winners]
        mine = rows[(rows["model"].isin(best[:1]) | rows["against"].isin(best[:1])) & (rows["p_adjusted"] < LEVEL)]
        verb = "predicts best: its" if len(best) == 1 else "(the same predictions) predict best: their"
        gaps = "; ".join(_gap(cv, row, best[0], row.p, design) for row in list_rows(mine))
        return [f"{where}, {list_names(best)} {verb} mean correlation is above that of {gaps}."]
    # Being better than every other model needs each of these tests; any pair that is named was chosen from all.
    rows = rows.assign(p_pairs=adjust_holm(rows["p"].to_numpy()))
    known = rows[rows["p"].notna()]
    same = (rows["difference"] == 0) & ~(rows["se"] > 0)
    if same.all():
        return [f"{where}, the models have the very same scores."]
    told, open_ = known[known["p_pairs"] < LEVEL], known[~(known["p_pairs"] < LEVEL)]
    adjusted = f", p adjusted for {len(known)} pairs" if len(known) > 1 else ""
    sentences = []
    if len(told):
        first = told.sort_values("p", kind="stable").head(MOST_PAIRS)
        pairs = "; ".join(
            f"{_upper(row)!r} above {_gap(cv, row, _upper(row), row.p_pairs, design)}" for row in list_rows(first)
        )
        more = f"; and {len(told) - len(first)} more pairs" if len(told) > len(first) else ""
        sentences.append(
            f"{where}, no model is shown to be better than every other one. By the mean correlation{adjusted}: "
            f"{pairs}{more}."
        )
    if len(open_):
        (row,) = list_rows(open_.loc[[open_["difference"].abs().idxmax()]])
        start = "Of the other pairs no difference" if len(told) else f"{where}, no difference that"
        rest = "can be told from noise" if len(told) else f"can be told from noise separates the models{adjusted}"
        sentences.append(
            f"{start} {rest}: the largest is {_upper(row)!r} above {_gap(cv, row, _upper(row), row.p_pairs, design)}. "
            f"{describe_need(row, len(known), design, cv)}".strip()
        )
    unknown = rows[rows["p"].isna() & ~same]
    if len(unknown) and count_replicates(cv, design) >= FEWEST_PARTITIONS:
        reasons = [
            f"{some_names([f'{row.model} - {row.against}' for row in list_rows(part)])} ({note})"
            for note, part in unknown.groupby("note", sort=False)
        ]
        sentences.append(f"Not to be told: {'; '.join(reasons)}.")
    return sentences


def describe_need(row: Any, pairs: int, design: Design, cv: CrossValidation) -> str:
    """What would tell a difference of the size seen with a power of 80%; empty where it is none.

    A difference d is told with that power where ``d > (t + 0.84) se``, t the critical value, here by Bonferroni.
    """
    K, d2 = row.n_partitions, row.difference**2
    ratio = design.env_ratio if design.alone else design.ratio
    S2 = row.se**2 / (1.0 / K + ratio)
    if not d2 > 0 or not S2 > 0:
        return ""

    def need(number: int) -> float:
        return float((stdtrit(number - 1, 1.0 - LEVEL / (2.0 * pairs)) + Z_POWER) ** 2)

    again = cv.predictions.duplicated(["model", "line", "env", "trait"]).any()
    enough = [k for k in range(K + 1, MOST_PARTITIONS + 1) if need(k) * (1.0 / k + ratio) * S2 <= d2]
    if enough and again and not design.alone:
        return (
            f"If it is as large as seen, some {enough[0]} partitions instead of {K} would tell it with a power of 80%."
        )
    times = need(K) * row.se**2 / d2
    noun = NOUNS[design.alone, design.unit]
    if times <= MOST_TIMES:
        more = f"about {times:.1f} times as many {noun}"
        return f"If it is as large as seen, it takes {more} to tell it with a power of 80%."
    return f"To tell a difference so small with a power of 80% takes more than {MOST_TIMES} times as many {noun}."


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
        return [
            f"In no single {noun} is a model shown to be better than every other one (p adjusted for {len(places)} of "
            "them)."
        ]
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
    """Whether several traits help: models against the single-trait ones that are the same but for that."""
    found: list[tuple[str, str, Any]] = []
    for single in _baselines(cv, "single") if len(cv.traits) > 1 else []:
        for model in _contenders(cv):
            rows = overall[overall["model"].isin([model, single]) & overall["against"].isin([model, single])]
            found += [(model, single, row) for row in list_rows(rows) if not math.isnan(row.p)]
    adjusted = adjust_holm(np.array([row.p for _, _, row in found]))
    sentences = []
    for (model, single, row), p in zip(found, adjusted, strict=True):
        sign = 1.0 if row.model == model else -1.0
        ends = sorted((sign * row.lower, sign * row.upper))
        figures = f"mean correlation {sign * row.difference:+.3f}, 95% interval {ends[0]:+.3f} to {ends[1]:+.3f}"
        if len(found) > 1:
            figures += f", p adjusted for {len(found)} such pairs {_write_p(p)}"
        apart = list_other_differences(cv, model, single)
        if apart:
            verdict = (
                f"they differ in more than the number of traits ({', '.join(apart)}), so that this does not tell "
                "whether several traits help"
            )
        elif not p < LEVEL:
            verdict = "it cannot be told from noise whether several traits help"
        else:
            verdict = "several traits help" if _upper(row) == model else "several traits do NOT help, they harm"
        sentences.append(f"{model!r} against one trait at a time ({single!r}): {verdict} ({figures}).")
    return sentences


def list_other_differences(cv: CrossValidation, model: str, single: str) -> list[str]:
    """In what a model and a single-trait one differ beside the traits; structures that one trait cannot tell do not."""
    settings = cv.run["settings"]["models"]
    one, other = (
        {key: value for key, value in settings[label].items() if key not in ("structure", "baseline")}
        for label in (model, single)
    )
    standard = [settings[label].get("structure") == "standard" for label in (model, single)]
    apart = ["structure"] if standard[0] != standard[1] else []
    apart += [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    related = cv.run.get("relationships", {})
    return apart + (["relationship"] if related.get(model) != related.get(single) else [])


def describe_means(cv: CrossValidation, design: Design) -> list[str]:
    """Whether the best predicting model has smaller squared errors than environment means, by trait."""
    models = [
        model
        for model in _contenders(cv) or _baselines(cv, "single")
        if cv.scores.loc[cv.scores["model"] == model, "pearson"].notna().any()
    ]
    sentences = []
    for means in _baselines(cv, "means") if models else []:
        correlations = average_shared(cv, models, design)
        if correlations.isna().any():
            correlations = cv.scores.groupby("model")["pearson"].mean()
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


def average_shared(cv: CrossValidation, models: Sequence[str], design: Design) -> pd.Series:
    """Mean correlations of models where all of these have one, averaged as their differences are; NaN for nowhere."""
    table = cv.scores[cv.scores["model"].isin(models)]
    wide = table.pivot(index=["partition", "env", "trait"], columns="model", values="pearson").dropna()
    return wide.groupby(level="env" if design.alone else "partition").mean().mean()


def _baselines(cv: CrossValidation, kind: str) -> list[str]:
    """Labels of the models that are baselines of this kind, and have scores."""
    models = cv.run["settings"]["models"]
    return [label for label in dict.fromkeys(cv.scores["model"]) if models[label].get("baseline") == kind]


def _contenders(cv: CrossValidation) -> list[str]:
    """Labels of the others."""
    models = cv.run["settings"]["models"]
    return [label for label in dict.fromkeys(cv.scores["model"]) if not models[label].get("baseline")]


def list_rows(table: pd.DataFrame) -> list[Any]:
    """Rows by the names of their columns."""
    return list(table.itertuples(index=False))


def _upper(row: Any) -> str:
    """The model with the higher score."""
    return str(row.model if row.difference >= 0 else row.against)


def _gap(cv: CrossValidation, row: Any, upper: str, p: float, design: Design) -> str:
    """The other model of a comparison, and how far it is below."""
    other, sign = (row.against, 1.0) if row.model == upper else (row.model, -1.0)
    ends = sorted((sign * row.lower, sign * row.upper))
    means = average_shared(cv, [upper, other], design)
    return (
        f"{other!r} by {sign * row.difference:.3f} ({means[upper]:.2f} against {means[other]:.2f}, 95% interval "
        f"{ends[0]:.3f} to {ends[1]:.3f}, p {_write_p(p)})"
    )


def _write_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
