"""Covariances on the page of a fit: correlations, interaction, heritabilities; and how the chains went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from bmtme.decisions.correlations import SAME
from bmtme.decisions.covariances import list_names_along
from bmtme.errors import UsageError
from bmtme.report.best import count_draws
from bmtme.report.glossary import explain_interaction
from bmtme.report.html.content import Block, Column, Facts, Fold, Matrix, Prose, Shade, Table
from bmtme.report.html.numbers import PRIOR, decide_decimals, shade
from bmtme.report.summaries import describe_worst, show_estimate, show_number
from bmtme.results import quantities
from bmtme.results.convergence import list_samplings
from bmtme.results.notes import PRIOR_ONLY
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

__all__ = ["show_correlations", "show_diagnostics", "show_heritability", "show_interaction"]

Kind = Literal["genetic", "residual", "interaction"]
Over = Literal["trait", "env"]
#: Matrices of environments or traits, and how many of them stand open.
MOST_MATRICES, MOST_OPEN = 16, 3
#: Rows of the summary on a page, those with a note first.
MOST_ROWS = 2000
#: Rows with the worst diagnostics.
WORST = 8
STARRED = f"{PRIOR} known from the prior only: "
INTERVALS = "Posterior means with 90% intervals."


def show_correlations(fit: Fit) -> list[Block]:
    """Of traits: genetic ones, of means over environments and within each, and residual ones."""
    blocks: list[Block] = []
    for kind, title, note in (
        ("genetic", "Genetic correlations of the traits", "Of lines' genetic effects, means over all environments."),
        ("residual", "Residual correlations of the traits", "Of what is left on one plot: not inherited."),
    ):
        found = tabulate(fit, kind, "trait")  # type: ignore[arg-type]
        if isinstance(found, str):
            blocks.append(Prose([found]))
            break  # the same for both
        blocks += arrange(found, list_names_along(fit, "trait"), title, note, "environment")
    return blocks


def show_interaction(fit: Fit) -> list[Block]:
    """Of environments: how much lines change between them."""
    envs = list_names_along(fit, "env")
    if len(envs) < 2:
        return [Prose(["There is one environment, and so no interaction of lines and environments."])]
    found = tabulate(fit, "genetic", "env")
    if isinstance(found, str):
        return [Prose([found])]
    blocks: list[Block] = []
    text = explain_interaction(fit.summary())
    if text:
        blocks.append(Prose([text]))
    note = (
        "Of lines' genetic effects in two environments: 1 where lines keep their order and their distances, 0 where "
        "what they do in one says nothing of the other."
    )
    blocks += arrange(found, envs, "Genetic correlations of the environments", note, "trait")
    if "Sigma_gt[" in " ".join(map(str, fit.summary().index)):
        own = tabulate(fit, "interaction", "trait")
        if not isinstance(own, str):
            title = "Correlations of the traits in the interaction"
            note = "Of lines' deviations in single environments from their mean over all."
            blocks += arrange(own, list_names_along(fit, "trait"), title, note, "environment")
    return blocks


def tabulate(fit: Fit, kind: Kind, over: Over) -> pd.DataFrame | str:
    """The correlations, or why there are none."""
    try:
        return fit.correlations(kind, over)
    except UsageError as error:
        text = str(error)
        return text[0].upper() + text[1:]


def arrange(table: pd.DataFrame, names: list[str], title: str, note: str, noun: str) -> list[Block]:
    """Matrices of pairs: one where all are the same, else the first, or the mean, and the others folded."""
    label = table.columns[0]
    parts = {key if isinstance(key, str) else None: own for key, own in table.groupby(label, sort=False, dropna=False)}
    if len(parts) > 1 and None not in parts:
        own = [part["mean"].to_numpy() for part in parts.values()]
        if all(np.allclose(values, own[0], rtol=0, atol=SAME, equal_nan=True) for values in own):
            first = next(iter(parts.values()))
            return [draw_pairs(first, names, title, f"{note} {INTERVALS} The same for every {noun}.")]
    alike = f" The same in every {noun}." if list(parts) == [None] and noun == "environment" else ""
    blocks: list[Block] = []
    if None in parts:
        blocks.append(draw_pairs(parts.pop(None), names, title, f"{note} {INTERVALS}{alike}"))
    elif len(parts) == 1:
        (own_label,) = parts
        blocks.append(draw_pairs(parts.pop(own_label), names, title, f"{note} {INTERVALS}"))
    if not parts:
        return blocks
    shown = list(parts.items())[:MOST_MATRICES]
    inner: list[Block] = [draw_pairs(own, names, f"{title}: {key}", "") for key, own in shown]
    if len(shown) < len(parts):
        inner.append(Prose([f"The first {len(shown)} of {len(parts)}: fit.correlations() has all."]))
    if blocks:
        return [*blocks, Fold(f"{title} in each {noun}", inner)]
    if len(parts) > MOST_OPEN:
        return [Prose([f"{note} {INTERVALS}"]), Fold(f"{title}, {count_noun(len(parts), noun)}", inner)]
    return [Prose([f"{note} {INTERVALS}"]), *inner]


def draw_pairs(table: pd.DataFrame, names: list[str], title: str, note: str) -> Matrix:
    """Pairs below the diagonal."""
    found = {(row["a"], row["b"]): row for row in table.to_dict("records")}
    cells: list[list[Shade | None]] = []
    for i, a in enumerate(names[1:], 1):
        row: list[Shade | None] = []
        for b in names[:i]:
            pair = found.get((a, b), found.get((b, a)))
            row.append(None if pair is None else shade(pair))
        cells.append(row + [None] * (len(names) - 1 - i))
    return Matrix(names[1:], names[:-1], cells, title, " ".join([note, *list_stars(table)]).strip())


def list_stars(table: pd.DataFrame) -> list[str]:
    """What the stars of a matrix mean, and where the chains do not suffice."""
    notes = [str(note) for note in table["note"] if PRIOR_ONLY in str(note)]
    reasons = dict.fromkeys(
        part.removeprefix(f"{PRIOR_ONLY}: ") for note in notes for part in note.split("; ") if PRIOR_ONLY in part
    )
    return [f"{STARRED}{'; '.join(list(reasons)[:3])}."] if reasons else []


def show_heritability(fit: Fit, record: str) -> list[Block]:
    """Of a record in each environment, of a line's mean, and by Cullis."""
    envs, traits = list_names_along(fit, "env"), list_names_along(fit, "trait")
    own = fit.heritability("record")
    rows: list[str] = [f"{record} in {env}" for env in envs]
    by = {(row["env"], row["trait"]): row for row in own.to_dict("records")}
    cells: list[list[Shade | None]] = [[shade(by[env, trait]) for trait in traits] for env in envs]
    kinds = [("mean", "mean of a line")]
    if count_draws(fit):  # of lines, which Cullis' needs
        kinds.append(("cullis", "Cullis"))
    for kind, label in kinds:
        found = {row["trait"]: row for row in fit.heritability(kind).to_dict("records")}  # type: ignore[arg-type]
        rows.append(label)
        cells.append([shade(found[trait]) if trait in found else None for trait in traits])
    note = (
        f"Of a {record}: genetic share of the variance among the trial's lines. Mean of a line: of its mean over its "
        "plots and environments, whose interaction and residual are divided by their numbers. Cullis: from the "
        f"precision of differences between lines, a single number. {INTERVALS} Variances of replicates and blocks are "
        "in none of them."
    )
    return [Matrix(rows, traits, cells, "", " ".join([note, *list_stars(own)]))]


def show_means(fit: Fit) -> list[Block]:
    """Means of the environments."""
    envs, traits = list_names_along(fit, "env"), list_names_along(fit, "trait")
    summary = fit.summary()
    cells: list[list[Shade | None]] = []
    for env in envs:
        row: list[Shade | None] = []
        for trait in traits:
            found: Any = summary.loc[f"beta[{env}, {trait}]"] if f"beta[{env}, {trait}]" in summary.index else None
            row.append(
                None if found is None else shade(found, decide_decimals([found["lower"]], [found["upper"]]), 0.0)
            )
        cells.append(row)
    return [Matrix(envs, traits, cells, "Means of the environments", f"{INTERVALS} In the traits' units.")]


def show_diagnostics(fit: Fit) -> list[Block]:
    """Moves of the chains, the worst parameters, and the whole summary."""
    summary, run = fit.summary(), fit.run
    settings = run["settings"]
    facts = [
        ("chains", f"{settings['chains']} of {settings['draws']:,} draws, after {settings['tune']:,} warm-up sweeps")
    ]
    samplings = list_samplings(run["sampling"], fit._traits)
    for sampling, traits in samplings:
        of = f" ({traits[0]})" if len(samplings) > 1 else ""
        moves = f"{', '.join(map(str, sampling['divergences']))} by chain"
        if sampling["acceptance"]:
            moves += f"; acceptance {', '.join(f'{x:.2f}' for x in sampling['acceptance'])} (wanted 0.8)"
        facts.append((f"divergent moves{of}", moves))
        if len(sampling["modes"]) > 1:
            facts.append((f"modes{of}", f"{len(sampling['modes'])} found before sampling"))
    blocks: list[Block] = [Prose([describe_worst(summary)]), Facts(facts)]
    ess = summary[["ess_bulk", "ess_tail"]].min(axis=1)
    worst = summary.assign(least=ess).sort_values("least", kind="stable").head(WORST)
    blocks.append(tabulate_summary(worst, "Parameters with the fewest effective draws", long=False))
    noted = summary["note"].to_numpy() != ""
    ordered = summary.iloc[np.argsort(~noted, kind="stable")]
    title = f"All {count_noun(len(summary), 'number')}, those with a note first"
    inner: list[Block] = [tabulate_summary(ordered.head(MOST_ROWS), "Summary", long=True)]
    if len(summary) > MOST_ROWS:
        inner.append(Prose([f"The first {MOST_ROWS:,} rows: summary.csv has all."]))
    return [*blocks, Fold(title, inner), Fold("What the names mean", [explain_names(summary)])]


def tabulate_summary(table: pd.DataFrame, title: str, long: bool) -> Table:
    """Rows of a summary."""
    header = [
        Column("parameter"), Column("mean", True), Column("90% interval", True), Column("ESS bulk", True),
        Column("ESS tail", True), Column("R-hat", True), Column("note"),
    ]  # fmt: skip
    rows = []
    row: Any
    for row in table.itertuples():
        mean, low, high = show_estimate(row.mean, row.lower, row.upper)
        numbers = [show_number(value, ".0f") for value in (row.ess_bulk, row.ess_tail)]
        rows.append([str(row.Index), mean, f"{low} to {high}", *numbers, show_number(row.r_hat, ".3f"), row.note])
    marked = frozenset(n for n, cells in enumerate(rows) if cells[-1])
    return Table(header, rows, title, long=long, marked=marked)


def explain_names(summary: pd.DataFrame) -> Table:
    """Meanings and units of the quantities of a summary."""
    there = {str(name).partition("[")[0] for name in summary.index}
    rows = {each.name: [each.name, each.meaning, each.unit.words] for each in quantities.QUANTITIES if each.listed}
    header = [Column("name"), Column("meaning"), Column("unit")]
    return Table(header, [row for name, row in rows.items() if name in there])
