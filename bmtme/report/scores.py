"""Scores of new genotypes as a breeder reads them: the best of each trait, and how well they are known."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from bmtme.columns import align, fixed, label_facts
from bmtme.report.ranking import FEWEST_ROWS, choose_decimals, describe_target
from bmtme.words import count_noun

__all__ = ["describe_scores"]

#: Behind the names of lines that the fit has, with a record and without.
RECORDED, RELATED = "+", "*"


def describe_scores(table: pd.DataFrame, recorded: Collection[str], related: Collection[str], width: int = 80) -> str:
    """The table of `Fit.score` as text: of each trait the lines with the highest values.

    Parameters
    ----------
    table : DataFrame
        As it came.
    recorded, related : names of the lines with a record, and of all in the relationship
    width : int
        Columns of the terminal.
    """
    lines = table["line"].drop_duplicates().tolist()
    seen = set(recorded)
    marks = {line: RECORDED if line in seen else RELATED for line in related}
    known = sum(line in marks for line in lines)
    missing = table.drop_duplicates("line").set_index("line")["missing"]
    facts = [
        ("lines", f"{len(lines):,}, {known:,} of them in the fit" if known else f"{len(lines):,}, none in the fit"),
        ("markers", f"{table.attrs['markers']:,}; without a genotype {100 * missing.mean():.1f}% on average, "
         f"{100 * missing.max():.1f}% of {missing.idxmax()}" if missing.any() else f"{table.attrs['markers']:,}, all "
         "with a genotype"),
        ("environments", describe_target(table.attrs["env"])),
    ]  # fmt: skip
    parts = [label_facts(facts, width)]
    parts += [tabulate_trait(part, str(trait), marks, width) for trait, part in table.groupby("trait", sort=False)]
    notes = []
    if len(lines) > FEWEST_ROWS:
        notes.append(f"{count_noun(len(lines) - FEWEST_ROWS, 'line')} of each trait are not shown: lower values.")
    present = {marks[line] for line in lines if line in marks}
    if RECORDED in present:
        notes.append(f"{RECORDED} has records in the fit.")
    if RELATED in present:
        notes.append(f"{RELATED} is in its relationship, without a record.")
    notes.append(
        "Values are deviations, without the means of the environments; reliability: squared correlation with the true "
        "deviation from the mean of the trial's lines, as the model expects."
    )
    parts.append("\n".join(textwrap.wrap(" ".join(notes), width, break_on_hyphens=False)))
    return "\n\n".join(parts)


def tabulate_trait(part: pd.DataFrame, trait: str, marks: dict[str, str], width: int) -> str:
    """The lines with the highest values of a trait."""
    shown = part.sort_values("mean", ascending=False, kind="stable").head(FEWEST_ROWS)
    decimals = choose_decimals(float(np.median(part["upper"] - part["lower"])))
    ends = [[fixed(x, decimals) for x in shown[name]] for name in ("lower", "upper")]
    size = max(len(text) for texts in ends for text in texts)
    rows = []
    for n, (low, high) in enumerate(zip(*ends, strict=True)):
        row: Any = shown.iloc[n]
        reliability = "-" if np.isnan(row["reliability"]) else fixed(row["reliability"], 2)
        name = row["line"] + marks.get(row["line"], "")
        rows.append([name, fixed(row["mean"], decimals), f"{low:>{size}} to {high:>{size}}", reliability])
    return align(rows, [trait, "value", "90% interval", "reliab."], left=1, width=width)
