"""Figures of a cross-validation: accuracy of the models, their differences, and observed against predicted values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.arguments import show
from bmtme.cv.advice import tabulate
from bmtme.cv.compare import LEVEL, find_score
from bmtme.cv.differences import Design
from bmtme.cv.result import CrossValidation
from bmtme.errors import UsageError
from bmtme.report.calibration import describe_calibration, draw_calibration
from bmtme.report.palette import style
from bmtme.report.panels import add_legend, make_panels, name_axes, shade_places, shorten_names, turn_labels
from bmtme.results.entries import NONE
from bmtme.results.scores import Score
from bmtme.words import count_noun, list_names, suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["choose_metric", "plot_accuracy", "plot_calibration", "plot_differences"]

#: Inches between the points of two models, and beside those of an environment.
STEP, GAP = 0.11, 0.17
REFERENCE: dict[str, Any] = {"color": "0.35", "linewidth": 0.9, "zorder": 1}
CEILING: dict[str, Any] = {"color": "0.2", "linestyle": (0, (3, 2)), "linewidth": 1.1}
#: Scores of which zero says that nothing is predicted.
CORRELATIONS = ("pearson", "spearman", "accuracy")


def plot_accuracy(result: CrossValidation | pd.DataFrame, score: str = "pearson") -> Figure:
    """See `bmtme.cv.result.CrossValidation.plot_accuracy`.

    result : a cross-validation, or its summary, read from ``summary.csv``, without the dashes

    Raises
    ------
    UsageError
        For a score or a table that is none.
    """
    entry = find_score(score)
    summary = result.summary() if isinstance(result, CrossValidation) else result
    needed = ("model", "env", "trait", "n_partitions", f"{score}_mean", f"{score}_se")
    lacking = [name for name in needed if name not in getattr(summary, "columns", ())]
    if lacking:
        raise UsageError(
            "expected a cross-validation or its summary, got "
            + (
                f"a table without the column {list_names(lacking)}."
                if hasattr(summary, "columns")
                else f"{show(result)}."
            )
        )
    if not len(summary):
        raise UsageError("the summary of the cross-validation has no rows: there is nothing to draw.")
    models, envs, traits = (list(dict.fromkeys(summary[name])) for name in ("model", "env", "trait"))
    scored = _list_scored(summary, models, f"{score}_mean")
    slot = GAP + STEP * max(len(scored), 2)
    shown = list(shorten_names(envs).values())
    longest = max(map(len, shown))
    size = slot * len(envs) + max(0.5, 0.04 * longest), max(2.6, 1.7 + 0.06 * longest)
    figure, panels = make_panels(traits, *size, sharey=entry.unit is NONE)
    place = {env: i for i, env in enumerate(envs)}
    for panel, trait in zip(panels, traits, strict=True):
        shade_places(panel, len(envs), "x")
        for m, model in enumerate(scored):
            part = summary[(summary["trait"] == trait) & (summary["model"] == model)]
            panel.errorbar(
                [place[env] + _shift(m, len(scored), slot) for env in part["env"]],
                part[f"{score}_mean"],
                yerr=part[f"{score}_se"].fillna(0.0),
                **style(models.index(model)),
                linestyle="none",
                linewidth=1,
                capsize=2,
                markersize=4.5,
            )
        if score in CORRELATIONS or not isinstance(entry.best, str):
            panel.axhline(0.0 if isinstance(entry.best, str) else entry.best, **REFERENCE)
        if score == "pearson" and isinstance(result, CrossValidation):
            _draw_ceiling(panel, result.heritability, trait, place)
        panel.set_xticks(range(len(envs)), shown)
        turn_labels(panel, shown, slot)
        panel.set_xlim(-0.5, len(envs) - 0.5)
        panel.grid(axis="y", color="0.9")
    most = int(summary["n_partitions"].max())
    bars = f"mean ± naive standard error, {most} partitions" if most > 1 else "one partition"
    name_axes(figure, f"environment ({bars})", _name(entry))
    entries = _list_entries(models, scored)
    if score == "pearson" and isinstance(result, CrossValidation):
        entries |= {"ceiling: root of the heritability": CEILING | {"marker": ""}}
    add_legend(figure, entries)
    return figure


def choose_metric(cv: CrossValidation) -> str:
    """Of a comparison: errors where fewer than two models have correlations, as beside means of environments."""
    return "pearson" if cv.scores.loc[cv.scores["pearson"].notna(), "model"].nunique() > 1 else "msep"


def plot_differences(cv: CrossValidation, metric: str = "pearson", against: str | None = None) -> Figure:
    """See `bmtme.cv.result.CrossValidation.plot_differences`."""
    entry = find_score(metric)
    models = list(dict.fromkeys(cv.scores["model"]))
    if against is None:
        settings = cv.run["settings"]["models"]
        single = (label for label in models if settings[label].get("baseline") == "single")
        against = next(single, models[0])
    over_envs = Design.of(cv.run["data"]["partitions"], cv.scores).alone
    table = tabulate(cv, metric, "trait" if over_envs else "cell", against)
    compared = _list_scored(table, [model for model in models if model != against], "difference")
    rows = ["all"] if over_envs else [env for env in cv.envs if env in set(table["env"])]
    traits = [trait for trait in cv.traits if trait in set(table["trait"])]
    slot = GAP + STEP * max(len(compared), 2)
    shown = list(shorten_names(rows).values())
    width = max(3.2, 2.0 + 0.08 * max(map(len, shown), default=0))
    figure, panels = make_panels(traits, width, slot * len(rows) + 0.45, sharex=entry.unit is NONE, sharey=True)
    place = {env: i for i, env in enumerate(rows)}
    for panel, trait in zip(panels, traits, strict=True):
        shade_places(panel, len(rows), "y")
        panel.axvline(0.0, **REFERENCE)
        for m, model in enumerate(compared):
            looks = style(models.index(model))
            part = table[(table["trait"] == trait) & (table["model"] == model)]
            row: Any
            for row in part.itertuples(index=False):
                y = place[row.env or "all"] + _shift(m, len(compared), slot)
                told = bool(row.p_adjusted < LEVEL)
                panel.plot([row.lower, row.upper], [y, y], color=looks["color"], linewidth=1.2, zorder=2)
                fill: dict[str, Any] = {} if told else {"markerfacecolor": "white"}
                panel.plot([row.difference], [y], **looks, linestyle="none", markersize=4.5, zorder=3, **fill)
        panel.set_yticks(range(len(rows)), shown)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.grid(axis="x", color="0.9")
        panel.locator_params(axis="x", nbins=5)
    better = "right" if entry.sign > 0 else "left"
    what = entry.title if isinstance(entry.best, str) else f"distance of the {entry.title} from {entry.best:g}"
    words = (
        f"{what}: difference from {shorten_names(models)[against]}, with 95% interval ({better} of the line is better)"
    )
    name_axes(figure, words, "environment")
    entries = _list_entries([model for model in models if model != against], compared, models)
    add_legend(figure, entries, "filled: told from noise (p after Holm below 0.05); hollow: not")
    return figure


def plot_calibration(cv: CrossValidation, model: str | None = None) -> Figure:
    """See `bmtme.cv.result.CrossValidation.plot_calibration`."""
    models = list(dict.fromkeys(cv.predictions["model"]))
    if model is None:
        model = models[0]
    if model not in models:
        close = suggest(model, models) if isinstance(model, str) else ""
        raise UsageError(f"model must be one of {list_names(models)}, got {show(model)}.{close}")
    table = cv.predictions[(cv.predictions["model"] == model) & cv.predictions["observed"].notna()]
    envs = [env for env in cv.envs if env in set(table["env"])]
    traits = [trait for trait in cv.traits if trait in set(table["trait"])]
    figure, panels = make_panels(traits, 3.4, 3.9)
    for panel, trait in zip(panels, traits, strict=True):
        part = table[table["trait"] == trait]
        scored = cv.scores[(cv.scores["model"] == model) & (cv.scores["trait"] == trait)]
        # Predictions that are constant in every partition, as means of environments, have no slope over all of them.
        sloping = set(scored.loc[scored["slope"].notna(), "env"])
        draw_calibration(panel, part, envs, sloping)
        panel.set_title(f"{shorten_names(cv.traits)[trait]}\n{_describe_panel(scored, part)}", fontsize=9)
    name_axes(figure, "predicted", "observed")
    number = count_noun(len(cv.run["data"]["partitions"]), "partition")
    title = (
        f"{shorten_names(models)[model]} ({cv.run['settings']['scheme']['name']}, {number})\n"
        "slope within environments (best: 1), coverage of 50% and 90% intervals"
    )
    add_legend(figure, {env: style(e) for e, env in enumerate(shorten_names(envs).values())}, title)
    return figure


# --- parts ------------------------------------------------------------------------------------------------------


def _name(score: Score) -> str:
    """A score for an axis, and which value of it is the best."""
    return f"{score.title} ({score.words} is best)"


def _list_scored(table: pd.DataFrame, models: Sequence[str], column: str) -> list[str]:
    """The models that have a value in the column."""
    known = set(table.loc[table[column].notna(), "model"])
    return [model for model in models if model in known]


def _shift(number: int, count: int, slot: float) -> float:
    """Where a model stands beside the middle of an environment, whose width is 1."""
    return (number - (count - 1) / 2) * STEP / slot


def _draw_ceiling(panel: Axes, heritability: pd.DataFrame, trait: str, place: dict[str, int]) -> None:
    known = heritability[(heritability["trait"] == trait) & heritability["env"].isin(list(place))]
    for env, h2 in zip(known["env"], known["heritability"], strict=True):
        if h2 >= 0:
            ends = [place[env] - 0.45, place[env] + 0.45]
            panel.plot(ends, [math.sqrt(h2)] * 2, **CEILING, zorder=1.5)


def _describe_panel(scored: pd.DataFrame, part: pd.DataFrame) -> str:
    """Slope and coverage, for a title, from the scores and predictions of a model and trait."""
    shares = [
        (part[f"mean_lower{end}"] <= part["observed"]) & (part["observed"] <= part[f"mean_upper{end}"])
        for end in ("_50", "")
        if f"mean_lower{end}" in part
    ]
    return describe_calibration(scored["slope"].mean(), [inside.mean() for inside in shares])


def _list_entries(
    models: Sequence[str], scored: Sequence[str], numbered: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Labels and looks of models for a legend; numbered : the models by whose places colours go."""
    numbered = models if numbered is None else numbered
    shown = shorten_names(numbered)
    return {shown[model] + ("" if model in scored else " (no value)"): style(numbered.index(model)) for model in models}
