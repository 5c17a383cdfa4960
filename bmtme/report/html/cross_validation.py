"""The page of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.choices import SINGLE
from bmtme.columns import show_p
from bmtme.cv.advice import STARRED, advise, find_best, tabulate
from bmtme.cv.compare import LEVEL, find_score
from bmtme.cv.diagnostics import summarise_diagnoses
from bmtme.report.comparison import describe_absent, list_notes
from bmtme.report.cv_plots import choose_metric
from bmtme.report.html.content import Block, Column, Facts, Matrix, Notice, Page, Prose, Section, Shade, Table
from bmtme.report.html.figures import Pictures
from bmtme.report.html.methods import describe_model, describe_software, list_methods
from bmtme.report.html.numbers import ABSENT, plain
from bmtme.report.html.references import Citations
from bmtme.report.html.settings import show_settings, write_plain
from bmtme.report.tables import (
    choose_decimals,
    describe_partitions,
    list_printed,
    list_sampling_facts,
    name_model,
)
from bmtme.results.entries import NONE
from bmtme.results.scores import SCORES, Score
from bmtme.words import count_noun, some_names

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation

__all__ = ["make_cv_page"]

#: Rows of a table at most.
MOST_ROWS = 1500
LONG = 10**6
#: Models with a picture of their predictions.
MOST_DRAWN = 4
ACCURACY = (
    "Mean correlation of predicted and observed values by environment, bars one naive standard error to either side. "
    "Dashes: the highest that can be reached on average."
)
DIFFERENCES = "Differences between models, with 95% intervals."
#: What schemes are called elsewhere, and where.
ELSEWHERE = {
    "CV1": ("CV2", "sparse testing"),
    "NewLines": ("CV1", "sparse testing"),
    "NewEnvironments": ("CV0", "new environments"),
    "NewLinesNewEnvironments": ("CV00", "new environments"),
}


def make_cv_page(cv: CrossValidation, name: str, folder: str | None = None) -> Page:
    """The page of a cross-validation."""
    data, settings = cv.run["data"], cv.run["settings"]
    best, sizes = find_best(cv, STARRED)
    summary = pd.DataFrame(cv.summary())
    facts = [("scheme", describe_partitions(cv.run)), *list_sampling_facts("fits", "each", cv.run)]
    facts += [(f"model {label}", describe_settings(own)) for label, own in settings["models"].items()]
    pictures = Pictures()
    sections = [
        Section("scores", "Scores", [
            *show_scores(cv, summary, best, sizes), *pictures.draw(cv, "plot_accuracy", ACCURACY),
        ]),
        Section("differences", "Differences between the models", [
            *show_differences(cv), *pictures.draw(cv, "plot_differences", DIFFERENCES, metric=choose_metric(cv)),
        ]),
        Section("calibration", "Calibration", [show_calibration(cv), *draw_calibration(cv, pictures)]),
        Section("ceiling", "What could be reached", [show_ceiling(cv.heritability)]),
        Section("diagnostics", "Diagnostics", list(show_diagnostics(cv))),
        Section("settings", "Settings", show_settings(cv.run, facts, folder)),
        Section("methods", "Methods, to be pasted", write_methods(cv)),
    ]  # fmt: skip
    lead = (
        f"{count_noun(data['lines'], 'line')}, {count_noun(len(cv.envs), 'environment')} ({some_names(cv.envs)}), "
        f"{count_noun(len(cv.traits), 'trait')} ({some_names(cv.traits)}). {describe_partitions(cv.run)}. "
        f"{count_noun(len(settings['models']), 'model')}: {some_names(list(settings['models']))}."
    )
    title = "Report of a cross-validation"
    return Page(title, name, lead, judge(cv), sections, cv.run["versions"].get("bmtme", ""))


def draw_calibration(cv: CrossValidation, pictures: Pictures) -> list[Block]:
    """Observed against predicted values of the first models."""
    models = list(dict.fromkeys(cv.predictions["model"]))
    blocks: list[Block] = []
    for model in models[:MOST_DRAWN]:
        blocks += pictures.draw(
            cv, "plot_calibration", f"{model}: observed against predicted values.", True, model=model
        )
    if len(models) > MOST_DRAWN:
        left = count_noun(len(models) - MOST_DRAWN, "model")
        blocks.append(Prose([f"'bmtme plot RUN calibration --model LABEL' draws the other {left}."]))
    return blocks


def judge(cv: CrossValidation) -> list[Notice]:
    """What to bear in mind, and what the comparison can bear."""
    notices = [Notice("good", "The scores can be leaned on: the chains of the fits agree, and none failed.")]
    if cv.warnings:
        notices = [Notice("bad", "Bear in mind first", [text[0].upper() + text[1:] for text in cv.warnings])]
    advice = [text for text in advise(cv, LONG).splitlines() if text]
    return [*notices, *([Notice("plain", "What the comparison can bear", advice)] if advice else [])]


def describe_settings(settings: Mapping[str, Any]) -> str:
    """A model in words."""
    if "structure" not in settings:
        return "means of the environments"
    priors = [
        f"{name} {write_plain(settings[name])}"
        for name in ("prior_t", "prior_E", "prior_e")
        if settings.get(name, "default") != "default"
    ]
    return ", ".join([name_model(dict(settings)), *priors])


def show_scores(
    cv: CrossValidation, summary: pd.DataFrame, best: set[tuple[str, str, str, str]], sizes: Mapping[str, float]
) -> list[Block]:
    """The mean correlation by trait and model, then all scores."""
    models, traits = list(dict.fromkeys(summary["model"])), list(cv.traits)
    cells: list[list[Shade | None]] = []
    for trait in traits:
        row: list[Shade | None] = []
        for model in models:
            own = summary[(summary["trait"] == trait) & (summary["model"] == model)]["pearson_mean"]
            low, high = (own.min(), own.max()) if own.notna().any() else (np.nan, np.nan)
            ends = "" if not np.isfinite(low) or len(own) < 2 else f"{plain(low, 2)} to {plain(high, 2)}"
            mean = float(own.mean()) if own.notna().any() else np.nan
            row.append(Shade(plain(mean, 3), ends, mean if np.isfinite(mean) else 0.0))
        cells.append(row)
    several = len(cv.envs) > 1
    note = (
        "Correlation of predicted and observed values, mean over environments and partitions"
        f"{'; below, the lowest and the highest environment' if several else ''}. "
        f"{ABSENT}: no correlation, as of models that give all lines of an environment one value."
    )
    blocks: list[Block] = [Matrix(traits, models, cells, "Mean correlation by trait and model", note)]
    shown = summary.head(MOST_ROWS)
    header = [Column("trait"), Column("environment"), Column("model"), Column("partitions", True)]
    header += [Column(score.heading or score.name.replace("_", " "), True, score.meaning) for score in SCORES]
    records = summary.to_dict("records")
    digits = {
        (trait, score.name): choose_decimals(score, [r for r in records if r["trait"] == trait])
        for trait in traits
        for score in SCORES
    }
    rows = []
    for record in shown.to_dict("records"):
        line = [str(record["trait"]), str(record["env"]), str(record["model"]), f"{record['n_partitions']:,}"]
        for score in SCORES:
            mean, error = record[f"{score.name}_mean"], record[f"{score.name}_se"]
            decimals = min(digits[record["trait"], score.name], 6)
            text = plain(mean, decimals)
            if score.heading and np.isfinite(error):
                text += f" ({plain(error, decimals)})"
            star = (score.name, record["env"], record["trait"], record["model"]) in best
            line.append(text + "*" * star)
        rows.append(line)
    blocks.append(Table(header, rows, "All scores", describe_scores(summary, cv, best, sizes), long=True, printed=60))
    return blocks


def describe_scores(
    summary: pd.DataFrame, cv: CrossValidation, best: set[tuple[str, str, str, str]], sizes: Mapping[str, float]
) -> str:
    """What the columns and stars are."""
    meanings = [f"{score.heading or score.name.replace('_', ' ')}: {score.meaning}" for score in SCORES]
    text = (
        "Means over the partitions; in brackets a naive standard error, too small, as partitions share most of their "
        f"lines. {'; '.join(meanings)}."
    )
    if best:
        text += " * better than every other model by a paired test that allows for shared lines, p adjusted below 0.05."
        rates = [f"{100 * size:.2g}% by {find_score(name).title}" for name, size in sizes.items()]
        text += (
            f" Where two models are alike that test tells them apart in about {' and '.join(rates)}." if rates else ""
        )
    if len(summary) > MOST_ROWS:
        text += f" The first {MOST_ROWS:,} of {len(summary):,} rows: summary.csv has all."
    return f"{text} {describe_absent(summary, list_printed(), cv.scores)}".strip()


def show_differences(cv: CrossValidation) -> Iterator[Block]:
    """Every pair of models over all, by trait, and in each environment."""
    if cv.scores["model"].nunique() < 2:
        yield Prose(["There is one model."])
        return
    for metric in dict.fromkeys([choose_metric(cv), "msep"]):
        score = find_score(metric)
        first = True
        for by, words in (("all", "over all"), ("trait", "by trait"), ("cell", "in each environment")):
            if (by == "all" and score.unit is not NONE) or (by == "trait" and len(cv.traits) < 2 and by != "cell"):
                continue
            if by == "cell" and len(cv.envs) * len(cv.traits) < 2:
                continue
            table = tabulate(cv, metric, by)  # type: ignore[arg-type]
            known = table[table["difference"].notna()]
            if known.empty:
                continue
            note = list_notes(known, score) if first else ""
            yield tabulate_differences(known, score, f"{score.title[0].upper() + score.title[1:]}, {words}", note)
            first = False


def tabulate_differences(table: pd.DataFrame, score: Score, title: str, note: str) -> Table:
    """A table of the differences."""
    from bmtme.report.comparison import choose_digits

    # Of a score in a trait's unit, each trait has its own.
    decimals = {trait: choose_digits(own, score) for trait, own in table.groupby("trait", dropna=False)}
    header = [
        Column("models"), Column("trait"), Column("environment"), Column("difference", True),
        Column("95% interval", True), Column("p", True), Column("p by Holm", True),
    ]  # fmt: skip
    rows = []
    row: Any
    shown = table.head(MOST_ROWS)
    for row in shown.itertuples(index=False):
        digits = decimals.get(row.trait, 3)
        ends = ABSENT if np.isnan(row.lower) else f"{row.lower:+.{digits}f} to {row.upper:+.{digits}f}"
        star = "*" * bool(row.p_adjusted < LEVEL)
        rows.append([
            f"{row.model} - {row.against}", row.trait or "all", row.env or "all", f"{row.difference:+.{digits}f}{star}",
            ends, show_p(row.p), show_p(row.p_adjusted),
        ])  # fmt: skip
    marked = frozenset(np.flatnonzero(shown["p_adjusted"] < LEVEL).tolist())
    return Table(header, rows, title, note, long=len(rows) > 12, marked=marked)


def show_calibration(cv: CrossValidation) -> Table:
    """Coverage of intervals, slope and bias, by model and trait."""
    shown: list[tuple[str, str]] = [
        ("coverage_50", "coverage of 50% intervals"),
        ("coverage_90", "coverage of 90% intervals"),
        ("slope", "slope of observed on predicted"),
        ("bias", "bias"),
    ]
    header = [Column("model"), Column("trait"), *(Column(words, True) for _, words in shown)]
    means = cv.scores.groupby(["model", "trait"], sort=False)[[name for name, _ in shown]].mean().reset_index()
    rows = []
    for row in means.to_dict("records"):
        numbers = [f"{row[name]:.3g}" if np.isfinite(row[name]) else ABSENT for name, _ in shown]
        rows.append([str(row["model"]), str(row["trait"]), *numbers])
    note = (
        "Means over environments and partitions. Intervals are right where about 50% and 90% of the observed values "
        "lie within them: far fewer, and they promise too much; far more, and they are too wide. A slope below 1 says "
        "that predictions spread too much, and the best will disappoint; bias, in the trait's unit, is predicted less "
        "observed."
    )
    return Table(header, rows, "", note, long=len(rows) > 12)


def show_ceiling(table: pd.DataFrame) -> Table:
    """The heritability of what was observed, and what that allows."""
    header = [
        Column("trait"), Column("environment"), Column("heritability", True), Column("95% interval", True),
        Column("highest correlation on average", True), Column("taken from"), Column("note"),
    ]  # fmt: skip
    rows = []
    for row in table.to_dict("records"):
        h2 = row["heritability"]
        ends = (
            f"{row['lower']:.2f} to {row['upper']:.2f}" if np.isfinite([row["lower"], row["upper"]]).all() else ABSENT
        )
        ceiling = plain(float(np.sqrt(h2)), 2) if h2 >= 0 else ABSENT
        labels = [str(row["trait"]) if row["trait"] else "all", str(row["env"]) if row["env"] else "mean over all"]
        rows.append([*labels, plain(h2, 2), ends, ceiling, str(row["source"]), str(row["note"] or "")])
    note = (
        "Observed means carry error, so that no prediction can correlate with them above the root of their "
        "heritability on average. A correlation divided by that root estimates the accuracy, the correlation with "
        "genetic values."
    )
    return Table(header, rows, "", note, long=len(rows) > 12)


def show_diagnostics(cv: CrossValidation) -> Iterator[Block]:
    """Of each model the worst of its fits."""
    found = cv.run.get("diagnostics", {})
    text = summarise_diagnoses(found)
    yield Prose([f"Of all fits: {text}." if text else "No fit had chains."])
    header = [
        Column("model"), Column("fits", True), Column("largest R-hat", True), Column("of"),
        Column("divergent draws", True), Column("least acceptance", True),
        Column("fewest effective draws of predictions", True), Column("Monte Carlo noise", True),
    ]  # fmt: skip
    rows = []
    for model, fits in found.items():
        known = [each for each in fits.values() if each["r_hat"] is not None]
        worst = max(known, key=lambda each: each["r_hat"]) if known else None
        accepted = [each["acceptance"] for each in fits.values() if each["acceptance"] is not None]
        effective = list(cv.run.get("effective_draws", {}).get(model, {}).values())
        noise = list(cv.run.get("monte_carlo_noise", {}).get(model, {}).values())
        rows.append([
            str(model), str(len(fits)), ABSENT if worst is None else f"{worst['r_hat']:.3f}",
            "" if worst is None else str(worst["parameter"]), f"{sum(each['divergent'] for each in fits.values()):,}",
            f"{min(accepted):.2f}" if accepted else ABSENT, f"{min(effective):,.0f}" if effective else ABSENT,
            f"{max(noise):.2g}" if noise else ABSENT,
        ])  # fmt: skip
    note = "Monte Carlo noise: share of the predictions' variance that is chance of the sampler, of the worst trait."
    yield Table(header, rows, "", note)
    if cv.failures:
        columns = [Column("model"), Column("partition"), Column("message")]
        yield Table(columns, [list(map(str, each)) for each in cv.failures], "Fits that failed")
    yield Facts([("partitions", describe_partitions(cv.run))])


def write_methods(cv: CrossValidation) -> list[Block]:
    """The text of the methods."""
    cite = Citations()
    data, settings = cv.run["data"], cv.run["settings"]
    scheme = settings["scheme"]["name"]
    named = ""
    if scheme in ELSEWHERE:
        name, source = ELSEWHERE[scheme]
        named = f", called {name} elsewhere ({cite(source)})"
    texts = [
        f"Models were compared by cross-validation on {count_noun(data['lines'], 'line')} in "
        f"{count_noun(len(cv.envs), 'environment')} ({some_names(cv.envs, 20)}) for "
        f"{count_noun(len(cv.traits), 'trait')} ({some_names(cv.traits, 20)}), "
        f"{count_noun(data['records'], 'record')}. Scheme: {describe_partitions(cv.run)}{named}; the same partitions "
        f"for all models (seed {settings['seed']}). G is the relationship matrix [say here from which markers or "
        "pedigree, and how, it was made]."
    ]
    for label, own in settings["models"].items():
        if "structure" not in own:
            texts.append(f"Model {label!r}: every line has the mean of its environment.")
            continue
        alone = " (one trait at a time)" if own.get("baseline") == SINGLE else ""
        texts.append(f"Model {label!r}{alone}: {describe_model(own, len(cv.envs), len(cv.traits), cite)}")
    texts.append(
        f"Each fit had {count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')} after "
        f"{count_noun(settings['tune'], 'warm-up sweep')}; {summarise_diagnoses(cv.run.get('diagnostics', {}))} "
        f"({cite('r-hat')}). Scores compare predictions with the means of the hidden plots in each environment and "
        "trait. Differences between models were tested by a paired t test over partitions that allows for the lines "
        f"which these share ({cite('resampled')}), p adjusted over environments and traits ({cite('holm')}). "
        "Accuracies are correlations divided by the root of the heritability of the observed means."
    )
    texts.append(describe_software(cv.run))
    return list_methods(texts, cite, not cv.warnings)
