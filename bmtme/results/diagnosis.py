"""What of a fit can be leaned on and what not, in words, from what its summary and its record say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.results.convergence import describe_convergence, is_reliable
from bmtme.results.notes import ABSENT, BOUNDS_ONLY, CLONES, COPIES, HARDLY, PRIOR_ONLY, SPREAD
from bmtme.results.traits import BY_TRAIT

#: Names of a paragraph at most; the summary has all.
MOST_NAMES = 5
#: Records of an environment and trait, and lines, below which a word is said.
FEW_RECORDS, FEW_LINES = 10, 20


@dataclass(frozen=True)
class Kind:
    """A kind of note that the summary makes, and what to do about it.

    Attributes
    ----------
    begin : how such notes begin
    says : what the rows have in common, for the beginning of a sentence
    advice : one or more sentences
    reasons : whether what follows in the note is told
    """

    begin: str
    says: str
    advice: str
    reasons: bool = False


KINDS = (
    Kind(
        PRIOR_ONLY, "Known from the prior only", "The data say nothing of these, whatever their intervals: report them "
        "as unknown.", reasons=True,
    ),
    Kind(
        BOUNDS_ONLY, "Known within bounds only", "The data say that these lie about within their intervals, and the "
        "prior where: report the interval, and not the mean.", reasons=True,
    ),
    Kind(
        HARDLY, "Hardly known", "Their intervals cover almost all that is possible; more lines, replicates or "
        "environments would tell.",
    ),
    Kind(
        SPREAD, "Residual variances that do not fit", "An environment varies less than the residual variance that all "
        'share: fit with residual="common_correlation" or "by_env", in the shell --residual by-env.',
    ),
    Kind(
        COPIES, "Of traits that are nearly copies", "Their variances are hard to tell apart: leave one of the traits "
        "out, or analyse the difference.",
    ),
    Kind(CLONES, "No genetic variance", "By the relationship all lines are clones of one: check how it was made."),
    Kind(
        ABSENT, "Without a record", "These come from the other environments, or from the prior, and are as uncertain "
        "as their intervals say.",
    ),
)  # fmt: skip


def diagnose_fit(summary: pd.DataFrame, run: Mapping[str, Any], traits: Sequence[str]) -> list[str]:
    """Paragraphs, the gravest first: a verdict; how the chains went; what is not known, and what to do.

    Parameters
    ----------
    summary, run : as of `bmtme.results.fit.Fit`
    traits : names, in the order of the fit
    """
    envs = run["facts"]["envs"]
    parts = [*describe_notes(summary), *describe_few(run, traits)]
    return [
        judge(summary, run, envs, traits, bool(parts)),
        describe_convergence(summary, dict(run), envs, traits),
        *parts,
    ]


def judge(
    summary: pd.DataFrame, run: Mapping[str, Any], envs: Sequence[str], traits: Sequence[str], exceptions: bool
) -> str:
    """One sentence on the whole."""
    if not is_reliable(summary, run, envs, traits):
        return "Do not lean on these numbers yet."
    return (
        "Most numbers can be leaned on; those below cannot, or less." if exceptions else "The numbers can be leaned on."
    )


def describe_notes(summary: pd.DataFrame) -> Iterator[str]:
    """A paragraph for each kind of note, but for those on the chains, which are told of the worst."""
    notes = {str(name): note for name, note in summary["note"].items() if note}
    for kind in KINDS:
        of = {name: note for name, note in notes.items() if note.startswith(kind.begin) or f"; {kind.begin}" in note}
        if not of:
            continue
        names = f"{name_some(list(of))}."
        if kind.reasons:
            groups: dict[str, list[str]] = {}
            for name, note in of.items():
                groups.setdefault(take_reason(note, kind.begin), []).append(name)
            names = " ".join(f"{name_some(members)}: {reason}." for reason, members in groups.items())
        yield f"{kind.says} ({len(of)} of {len(summary)}). {names} {kind.advice}"


def take_reason(note: str, begin: str) -> str:
    """What a note of this kind says after its beginning."""
    part = next(part for part in note.split("; ") if part.startswith(begin))
    return part.removeprefix(begin).removeprefix(": ")


def name_some(names: Sequence[str]) -> str:
    """The first names, which hold commas within brackets, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def describe_few(run: Mapping[str, Any], traits: Sequence[str]) -> Iterator[str]:
    """Few lines, and environments with few records of a trait."""
    lines, envs = run["data"]["lines"], run["facts"]["envs"]
    if lines < FEW_LINES:
        yield (
            f"Few lines: {lines}. Genetic variances and correlations of so few are known only roughly, and lean on the "
            "prior."
        )
    counts = np.array(find_records(run, traits))
    few = [f"{traits[l]} in {envs[i]} ({counts[i, l]})" for i, l in np.argwhere((counts > 0) & (counts < FEW_RECORDS))]
    if few:
        yield (
            f"Few records: {name_some(few)}. What is said of these environments leans on the others, and on the prior; "
            "predictions there cannot be checked by so few."
        )


def find_records(run: Mapping[str, Any], traits: Sequence[str]) -> list[list[int]]:
    """(env, trait) number of records."""
    facts = run["facts"]
    if BY_TRAIT not in facts:
        counts: list[list[int]] = facts["records"]
        return counts
    own = [facts[BY_TRAIT][trait]["records"] for trait in traits]
    return [[part[i][0] for part in own] for i in range(len(facts["envs"]))]


def lay_out(paragraphs: Sequence[str], width: int = 80) -> str:
    """Paragraphs as text; words and names such as ``R_e[T1, T2]`` are never broken."""
    kept = [re.sub(r"\[[^\]]*\]", lambda name: name[0].replace(" ", "\0"), part) for part in paragraphs]
    texts = [textwrap.fill(part, width, break_on_hyphens=False, break_long_words=False) for part in kept]
    return "\n\n".join(texts).replace("\0", " ")
