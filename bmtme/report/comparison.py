"""The comparison of models as text for a terminal. Nothing here needs compiled code."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.columns import MOST_ROWS, align, fixed, label_facts, show_p
from bmtme.cv.compare import LEVEL, find_score
from bmtme.results.entries import NONE
from bmtme.words import count_noun, list_names, some_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.results.scores import Score

__all__ = ["ABSENT", "describe_absent", "describe_comparison", "describe_runs"]

ABSENT = "-"
RESAMPLED = "Resampled: 95% interval over lines (or environments) drawn again, the fits as they are."


def describe_runs(run: Mapping[str, Any], width: int = 100) -> str:
    """What was compared: the scheme, and the models of every run; `run` as of `bmtme.cv.join_runs`."""
    scheme, partitions = run["settings"]["scheme"]["name"], run["data"]["partitions"]
    facts = [("scheme", f"{scheme}, {count_noun(len(partitions), 'partition')}, the same in all runs")]
    if len(run["runs"]) == 1:
        facts = [("scheme", facts[0][1].removesuffix(", the same in all runs"))]
    for k, (name, parts) in enumerate(run["runs"].items()):
        settings = parts["settings"]
        length = f"{count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')}"
        models = some_names(list(settings["models"]))
        facts.append(("" if k else "runs", f"{name}: {models} ({length}, seed {settings['seed']})"))
    return label_facts(facts, width)


def describe_comparison(table: pd.DataFrame, metric: str, width: int = 100) -> str:
    """A table of the differences between models, as of `CrossValidation.compare`, with what it says in words."""
    score = find_score(metric)
    known = table[table["difference"].notna()]
    lines = textwrap.wrap(list_notes(known, score), width) if len(known) else []
    shown = known.head(MOST_ROWS)
    digits = choose_digits(known, score)
    rows: list[list[str]] = []
    last = ""
    row: Any
    for row in shown.itertuples(index=False):
        pair = f"{row.model} - {row.against}"
        rows.append(
            [
                "" if pair == last else pair,
                row.trait or "all",
                row.env or "all",
                _signed(row.difference, digits) + ("*" if row.p_adjusted < LEVEL else " "),
                _interval(row.lower, row.upper, digits),
                show_p(row.p),
                show_p(row.p_adjusted),
                _interval(row.boot_lower, row.boot_upper, digits),
            ]
        )
        last = pair
    header = ["models", "trait", "env", "difference ", "95% interval", "p", "Holm", "resampled"]
    text = align(rows, header, left=3, width=width) if rows else ""
    if rows and (all(row[-1] == ABSENT for row in rows) or text.count(header[0]) > 1):
        text = align([row[:-1] for row in rows], header[:-1], left=3, width=width)
    elif rows:
        lines = textwrap.wrap(f"{list_notes(known, score)} {RESAMPLED}", width)
    lines += ["", text] if text else []
    if len(known) > len(shown):
        lines.append(f"({len(known) - len(shown):,} more rows: --by trait or --against show fewer, --out writes all)")
    for note, part in table[table["p"].isna()].groupby("note", sort=False):
        pairs = dict.fromkeys(f"{row.model} - {row.against}" for row in part.itertuples(index=False))
        lines += textwrap.wrap(f"Not to be told: {some_names(list(pairs))}: {note}.", width)
    return "\n".join(lines).strip("\n")


def list_notes(table: pd.DataFrame, score: Score) -> str:
    """What the columns of the printed table are."""
    what = score.title if isinstance(score.best, str) else f"distance of the {score.title} from {score.best:g}"
    better = "above" if score.sign > 0 else "below"
    counts = sorted(set(table["n_partitions"]))
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    text = (
        f"Differences in {what}, the first model less the second: {better} zero, the first is better. Paired over "
        f"{number} partitions (or environments hidden in turn), intervals and p by a t test that minds what partitions "
        "share (Nadeau & Bengio 2003); Holm: p adjusted for all rows of the two models; * below 0.05."
    )
    sizes = table["size"].dropna()
    if len(sizes):
        text += (
            f" The test is approximate: at a nominal 5% it rejects in about {100 * sizes.iloc[0]:.2g}% where models "
            "are alike."
        )
    return text


def choose_digits(table: pd.DataFrame, score: Score) -> int:
    """Three decimals; in the trait's unit, three significant digits of the largest difference."""
    largest = float(table["difference"].abs().max())
    if score.unit is NONE or not largest > 0:
        return 3
    return max(0, 2 - math.floor(math.log10(largest)))


def describe_absent(summary: pd.DataFrame, printed: Sequence[Score], scores: pd.DataFrame | None) -> str:
    """What a missing score means, with the models that it is missing of; empty if there is none."""
    missing = {score.name: summary[f"{score.name}_mean"].isna() for score in printed}
    rows = summary[np.logical_or.reduce([*missing.values()])]
    if rows.empty:
        return ""
    text = f"{ABSENT} means that there is no score"
    if scores is None:
        return f"{text}."
    # Notes of the accuracy are about none of the other scores.
    other = () if "accuracy" in missing else ("heritability", "accuracy")
    keys = ["model", "env", "trait"]
    reasons: dict[str, dict[str, None]] = {}
    for model, note in rows[keys].merge(scores, on=keys)[["model", "note"]].itertuples(index=False, name=None):
        for part in note.split("; "):
            if part and not part.startswith(other):
                reasons.setdefault(part, {})[model] = None
    models = summary["model"].nunique()
    told = [f"{part} ({'all models' if len(of) == models > 1 else list_names(of)})" for part, of in reasons.items()]
    return f"{text}{': ' if told else ''}{'; '.join(told)}."


def _signed(value: float, digits: int) -> str:
    if math.isnan(value):
        return ABSENT
    text = fixed(value, digits)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def _interval(lower: float, upper: float, digits: int) -> str:
    return ABSENT if math.isnan(lower) else f"{_signed(lower, digits)} to {_signed(upper, digits)}"
