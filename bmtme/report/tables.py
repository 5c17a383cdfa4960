"""Text tables for terminals: what a fit says in short, and the comparison of models by cross-validation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from bmtme.checkup.precision import describe_plots
from bmtme.choices import RECORD, SINGLE, STRUCTURES
from bmtme.columns import MOST_ROWS, align, fixed, label_facts, share
from bmtme.cv.diagnostics import summarise_diagnoses
from bmtme.cv.differences import FEWEST_PARTITIONS
from bmtme.data.trial import Trial
from bmtme.report.comparison import ABSENT, describe_absent
from bmtme.report.glossary import name_record
from bmtme.report.replicates import list_block_facts, list_covariate_facts, list_replicate_facts
from bmtme.results import quantities
from bmtme.results import scores as register
from bmtme.results.convergence import describe_convergence
from bmtme.results.entries import NONE, Quantity
from bmtme.results.notes import BOUNDS_ONLY, HARDLY, PRIOR_ONLY
from bmtme.results.rows import name_row, untwin
from bmtme.results.scores import Score
from bmtme.sufficiency import describe_draws
from bmtme.words import count_noun, some_names

__all__ = ["describe_cv", "describe_fit"]

#: Seconds of the compiler from which on they are told; what is compiled already is loaded in less.
LONG_COMPILING = 1.0

Cell = Callable[[str], str]


def describe_fit(
    summary: pd.DataFrame, run: dict[str, Any], trial: Trial, width: int = 100, folder: str | None = None
) -> str:
    """What a fit says in short: the data, whether the chains agree, heritabilities and correlations.

    Parameters
    ----------
    summary : DataFrame
        As of `Fit.summary`.
    run : dict
        As of `Fit.run`.
    trial : Trial
        As read: its environments and traits are in the order of the tables.
    width : int
        Columns of the terminal.
    folder : str, optional
        Of the run, where it can be gone on with.
    """
    data = run["data"]
    envs, traits = trial.envs, trial.traits
    facts = list_fit_facts(run, trial, folder)
    facts.append(("convergence", describe_convergence(summary, run, envs, traits, folder)))
    # A single value of a line may be a plot, or a mean of several.
    record = name_record(data, plots=bool((trial.plots() > 1).any()))
    parts, others = [label_facts(facts, width)], list[str]()
    for quantity in {(each.name, each.dims): each for each in quantities.QUANTITIES if each.title}.values():
        rows, columns = lay_out_rows(quantity, envs, traits)
        if any(name in summary.index for _, row in rows for name in row):
            text = _tabulate(quantity.title.format(record=record), summary, rows, columns, width)
            (parts if "env" in quantity.dims else others).append(text)
    for text in list_remarks(summary, envs, traits):
        parts[-1] += "\n" + textwrap.fill(text, width, initial_indent="  ", subsequent_indent="    ")
    return "\n\n".join([*parts, *others])


def list_fit_facts(run: dict[str, Any], trial: Trial, folder: str | None = None) -> list[tuple[str, str]]:
    """The data of a fit, what else has effects, the model and its chains; as (label, text)."""
    data, settings = run["data"], run["settings"]
    single = settings["model"].get("baseline") == SINGLE
    facts = list_data_facts(data, trial, "environments" if single else "environments and traits")
    new = data["lines_predicted"] - data["lines"]
    if settings["keep_effects"] == "none":
        facts.append(("predicted", "nothing, as no effects were kept"))
    if settings["keep_effects"] == "thin":
        facts.append(("effects", "of the lines, mean, SD and at most 500 draws are kept (all: --keep-effects all)"))
    if settings["keep_effects"] != "none" and new:
        facts.append(("predicted", f"also {count_noun(new, 'line')} of the relationship without records"))
    facts += [*list_replicate_facts(data.get("rep_effects"), trial), *list_block_facts(data.get("blocks"))]
    facts += list_covariate_facts(data.get("covariates"))
    facts += list_sampling_facts("model", f"{name_model(settings['model'])},", run)
    enough = describe_draws(run, folder)
    return facts + ([("draws", enough)] if enough else [])


def lay_out_rows(
    quantity: Quantity, envs: Sequence[str], traits: Sequence[str]
) -> tuple[list[tuple[str, list[str]]], Sequence[str]]:
    """Rows of a printed table, each a label and names in the summary, and its columns; of pairs, what is below."""
    first, second = quantity.dims
    across = envs if untwin(second) == "env" else traits
    if untwin(second) == first:
        pairs = [(b, [name_row(quantity, a, b) for a in across[:k]]) for k, b in enumerate(across) if k > 0]
        return pairs, across[:-1]
    down = envs if first == "env" else traits
    return [(a, [name_row(quantity, a, b) for b in across]) for a in down], across


def list_remarks(summary: pd.DataFrame, envs: Sequence[str], traits: Sequence[str]) -> list[str]:
    """Of what hardly anything is known or only bounds are, and where residual variances do not fit; in words."""
    notes = summary["note"].to_dict()
    vague, texts = [], []
    for quantity in {(each.name, each.dims): each for each in quantities.QUANTITIES if each.told}.values():
        for trait, env in product(traits, envs if "env" in quantity.dims else [""]):
            labels = [env if untwin(dim) == "env" else trait for dim in quantity.dims]
            parts = notes.get(name_row(quantity, *labels), "").split("; ")
            where = f"{trait} in {env}" if env else trait
            for part in (part for part in parts if part.startswith(quantity.told)):
                if quantity.told != HARDLY:
                    texts.append(f"{where}: {part}")
                elif not any(PRIOR_ONLY in other for other in parts):  # that has a star already
                    vague.append(where)
    if vague:
        texts.insert(0, f"The data hardly say, the interval covers almost all of (0, 1): {some_names(vague)}")
    bounded = [
        str(name) for name, note in notes.items() if any(part.startswith(BOUNDS_ONLY) for part in note.split("; "))
    ]
    if bounded:
        texts.append(f"Bounds only, report the interval and not the mean: {some_names(bounded)}")
    return texts


def list_data_facts(
    data: dict[str, Any], trial: Trial, others: str = "environments and traits"
) -> list[tuple[str, str]]:
    """What the data are: sizes, what is missing, lines dropped; as (label, text).

    others : through what columns without records are known
    """
    dropped = data["lines_dropped"]
    kept = [j for j, line in enumerate(trial.lines) if line not in set(dropped)]
    counts = trial.counts()[kept]
    cells = np.asarray((counts > 0).any(axis=2))
    cells = cells[cells.any(axis=1)]
    facts = [
        (
            "data",
            f"{data['lines']:,} line{'' if data['lines'] == 1 else 's'} with records, "
            f"{count_noun(len(trial.envs), 'environment')} ({some_names(trial.envs)}), "
            f"{count_noun(len(trial.traits), 'trait')} ({some_names(trial.traits)})",
        )
    ]
    gaps = []
    if data["missing_values"]:
        gaps.append(f"{share(data['missing_values'], data['records'] * data['traits'])} of their values missing")
    if not cells.all():
        gaps.append(f"{share(cells.size - cells.sum(), cells.size)} of the line x environment cells without one")
    records = count_noun(data["records"], "record")
    if data.get("plots"):
        records += f" ({describe_plots(**data['plots'])})"
    if data.get("standard_errors"):
        some = "" if len(data["standard_errors"]) == data["traits"] else f" of {some_names(data['standard_errors'])}"
        joint = data.get("error_covariances")
        records += " (with covariances of their errors)" if joint else f" (with standard errors{some})"
    facts.append(("", f"{records}, {'; '.join(gaps) if gaps else 'nothing missing'}"))
    absent = counts.sum(axis=0) == 0
    if absent.any():
        per_trait = [f"{trait} in {n}" for trait, n in zip(trial.traits, absent.sum(axis=0), strict=True) if n]
        facts.append(
            (
                "no records",
                f"{some_names(per_trait)} of {count_noun(len(trial.envs), 'environment')}: known only through the "
                f"other {others}",
            )
        )
    if dropped:
        facts.append(("dropped", f"{count_noun(len(dropped), 'line')} without a relationship: {some_names(dropped)}"))
    return facts


def name_model(settings: dict[str, Any]) -> str:
    """The structure of a model, with what it has beside the paper's: other structures, a line effect."""
    words = [settings["structure"]]
    if settings.get("baseline") == SINGLE:
        words = ["one trait at a time", *(word for word in words if word != STRUCTURES[0])]
    for part, usual in (("genetic", "proportional"), ("residual", "shared")):
        said = settings.get(part, usual)
        name, own = (said, {}) if isinstance(said, str) else next(iter(said.items()))
        if name != usual:
            words.append(f"{part} {name.replace('_', ' ')}")
        if "factors" in own:
            words.append(count_noun(own["factors"], "factor"))
    if settings.get("line_effect"):
        words.append("line effect")
    return ", ".join(words)


def list_sampling_facts(label: str, what: str, run: dict[str, Any]) -> list[tuple[str, str]]:
    """Length, sampler, seed and time of a run, less that of the compiler; as (label, text)."""
    settings = run["settings"]
    length = (
        f"{count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')} after "
        f"{count_noun(settings['tune'], 'warm-up sweep')}"
    )
    compiling = run["seconds"].get("compile", 0.0)
    time = f"{sum(run['seconds'].values()) - compiling:.1f} s"
    if compiling > LONG_COMPILING:
        time += f" (and {compiling:.0f} s to compile it first)"
    return [(label, f"{what} {length}"), ("", f"{settings['sampler']} sampler, seed {settings['seed']}, {time}")]


def describe_cv(
    summary: pd.DataFrame,
    run: dict[str, Any],
    trial: Trial,
    width: int = 100,
    best: Collection[tuple[str, str, str, str]] = (),
    shown: Sequence[str] = (),
    scores: pd.DataFrame | None = None,
    sizes: Mapping[str, float] | None = None,
) -> str:
    """Comparison of models by cross-validation.

    Parameters
    ----------
    summary : DataFrame
        As of `CrossValidation.summary`.
    run : dict
        As of `CrossValidation.run`.
    trial : Trial
        As read: its environments and traits are in the order of the table.
    width : int
        Columns of the terminal.
    best : collection of (score, env, trait, model), optional
        What gets a star, as of `CrossValidation.best`.
    shown : sequence of str, optional
        Names of the scores with a column; by default those of the paper.
    scores : DataFrame, optional
        As of `CrossValidation.scores`: its notes say why one is missing.
    sizes : dict, optional
        How often the test behind the stars errs, by score, as of `bmtme.cv.advice.find_best`.
    """
    printed = list_printed(shown)
    what = describe_partitions(run)
    data = run["data"]
    facts = [*list_data_facts(data, trial), *list_replicate_facts(data.get("rep_effects"), trial)]
    facts += [*list_block_facts(data.get("blocks")), *list_covariate_facts(data.get("covariates"))]
    facts += [("scheme", what), *list_sampling_facts("fits", "each", run)]
    chains = summarise_diagnoses(run.get("diagnostics", {}))
    if chains:
        facts.append(("", chains))
    several = bool((summary["n_partitions"] > 1).any())
    note = f"{list_titles(printed)}: mean over the partitions"
    if several:
        note += (
            ", naive standard error in brackets (it takes the partitions for independent, though they share most of "
            "their lines: it is too small)"
        )
    if best:
        note += (
            "; * better than every other model by a paired t test that allows for shared lines (Nadeau & Bengio 2003; "
            f"p by Holm below 0.05), with a correlation above zero; {describe_sizes(sizes or {}, printed)}"
        )
    elif summary["model"].nunique() > 1:
        if summary["n_partitions"].max() < FEWEST_PARTITIONS:
            note += f"; fewer than {FEWEST_PARTITIONS} partitions of a cell do not tell which model is better"
        else:
            note += "; no model is better than all others by a paired t test that allows for shared lines"
    notes = textwrap.wrap(note + ".", width)
    rows, more = tabulate_scores(summary, trial, best, printed)
    header = ["trait", "env", "model", "partitions", *(f"{score.heading or score.name} " for score in printed)]
    text = [align(rows, header, left=3, width=width)]
    if more:
        text.append(f"({more} more rows in summary.csv)")
    absent = describe_absent(summary, printed, scores)
    if absent:
        text += ["", *textwrap.wrap(absent, width, break_on_hyphens=False)]
    return "\n".join([label_facts(facts, width), "", *notes, "", *text])


def describe_sizes(sizes: Mapping[str, float], printed: Sequence[Score]) -> str:
    """How far the stars can be trusted."""
    texts = [
        f"{100 * sizes[score.name]:.2g}% by {score.heading or score.name}" for score in printed if score.name in sizes
    ]
    if not texts:
        return "how often that test errs has not been measured for such partitions"
    return f"where two models are alike that test tells them apart in about {' and '.join(texts)} (nominally 5%)"


def describe_partitions(run: dict[str, Any]) -> str:
    """The scheme of a cross-validation and what its partitions hide, on average."""
    scheme, partitions = run["settings"]["scheme"], run["data"]["partitions"]
    texts = [scheme["name"], count_noun(len(partitions), "partition")]
    if scheme["name"] == "CV1":
        texts.append(f"{100 * scheme['test_fraction']:g}% of the lines of every environment hidden")
    for unit, noun in (("lines", "line"), ("envs", "environment")):
        hidden, kept = (
            np.mean([entry.get(f"{unit}_{word}", 0) for entry in partitions]) for word in ("hidden", "kept")
        )
        if hidden > 0:
            texts.append(
                f"in each {hidden:,.3g} {noun}{'' if hidden == 1 else 's'} hidden and {kept:,.3g} to learn from"
            )
    if scheme.get("of") == RECORD:
        texts.append("records predicted with the hidden plot's other traits")
    groups = scheme.get("groups") or {}
    if groups.get("groups"):
        texts.append(f"{count_noun(groups['groups'], 'group')} of lines never split")
    if sum(groups.get("joined", ())):
        texts.append(f"{count_noun(sum(groups['joined']), 'line')} with clones kept together")
    return ", ".join(texts)


def list_printed(shown: Sequence[str] = ()) -> list[Score]:
    """The scores with a column in the printed comparison: those of these names, or those with a heading."""
    known = {score.name: score for score in register.SCORES}
    return [known[name] for name in shown] or [score for score in register.SCORES if score.heading]


def list_titles(printed: Sequence[Score]) -> str:
    """Their titles, with the headings that do not begin them."""
    headings = {score.title: score.heading or score.name for score in printed}
    titles = [title if title.startswith(head) else f"{title} ({head})" for title, head in headings.items()]
    return " and ".join([", ".join(titles[:-1]), titles[-1]] if titles[1:] else titles)


def tabulate_scores(
    summary: pd.DataFrame, trial: Trial, best: Collection[tuple[str, str, str, str]], printed: Sequence[Score]
) -> tuple[list[list[str]], int]:
    """Cells of the comparison, the models of an environment and trait together; and how many rows are left out."""
    records = summary.to_dict("records")
    models = list(dict.fromkeys(record["model"] for record in records))
    table = {(record["trait"], record["env"], record["model"]): record for record in records}
    rows: list[list[str]] = []
    for trait in trial.traits:
        digits = {score.name: choose_decimals(score, [r for r in records if r["trait"] == trait]) for score in printed}
        for env in trial.envs:
            labels = [trait, env]
            for model in models:
                record = table.get((trait, env, model))
                if record is None:
                    continue
                cells = [*labels, model, str(record["n_partitions"])]
                for name, decimals in digits.items():
                    star = "*" if (name, env, trait, model) in best else " "
                    cells.append(_score(record[f"{name}_mean"], record[f"{name}_se"], decimals) + star)
                rows.append(cells)
                labels = ["", ""]
    most = MOST_ROWS * len(models)
    return rows[:most], max(0, len(rows) - most)


def choose_decimals(score: Score, records: Sequence[Mapping[Hashable, Any]]) -> int:
    """Three decimals; of a score in the trait's unit, four significant digits of the largest mean."""
    if score.unit is NONE:
        return 3
    largest = max((r[f"{score.name}_mean"] for r in records if r[f"{score.name}_mean"] > 0), default=1.0)
    return max(0, 3 - math.floor(math.log10(largest)))


def _tabulate(
    title: str,
    summary: pd.DataFrame,
    names: Sequence[tuple[str, Sequence[str]]],
    columns: Sequence[str],
    width: int,
) -> str:
    """A table of the summary's entries, with intervals where they fit."""
    shown = names[:MOST_ROWS]
    means = summary["mean"].to_dict()
    lower, upper, notes = (summary[column].to_dict() for column in ("lower", "upper", "note"))

    def star(name: str) -> str:
        return "*" if PRIOR_ONLY in notes[name] else ""

    def short(name: str) -> str:
        return f"{fixed(means[name], 2)}{star(name)}"

    def long(name: str) -> str:
        return f"{fixed(means[name], 2)} ({fixed(lower[name], 2)}, {fixed(upper[name], 2)}){star(name)}"

    def lay_out(cell: Cell) -> str:
        rows = []
        for label, row in shown:
            cells = [cell(name) if name in means else "" for name in row]
            rows.append([f"  {label}", *cells, *[""] * (len(columns) - len(cells))])
        return align(rows, ["", *columns], left=1, width=10**6 if cell is long else width)

    text = lay_out(long)
    heading = f"{title}: mean (90% interval)"
    if max(map(len, text.splitlines())) > width:
        text = lay_out(short)
        heading = f"{title}: mean (intervals are in the summary)"
    lines = [heading, text]
    if len(shown) < len(names):
        lines.append(f"  ({len(names) - len(shown)} more rows in the summary)")
    starred = [notes[name] for _, row in shown for name in row if name in means and star(name)]
    if starred:
        parts = [part.removeprefix(f"{PRIOR_ONLY}: ") for note in starred for part in note.split("; ")[:1]]
        reasons = "; ".join(dict.fromkeys(parts))
        mark = f"* known from the {PRIOR_ONLY}: {reasons}"
        lines += textwrap.wrap(mark, width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _score(mean: float, error: float, decimals: int) -> str:
    if math.isnan(mean):
        return ABSENT
    return fixed(mean, decimals) + ("" if math.isnan(error) else f" ({fixed(error, decimals)})")
