"""A summary of a fit, and the scores of a cross-validation, as they are printed from Python: diagnostics are seen."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.columns import MOST_ROWS, align, fixed
from bmtme.report.glossary import explain_interaction
from bmtme.report.ranking import choose_decimals
from bmtme.results.summary import HIGH_R_HAT, LOW_ESS
from bmtme.words import count_noun

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "describe_scores",
    "describe_summary",
    "describe_worst",
    "order_rows",
    "show_estimate",
    "show_number",
    "tabulate_printed",
]

#: Notes take at least so many columns beside the numbers, or a line of their own.
FEWEST_COLUMNS = 16
HEADER = ["parameter", "mean", "lower", "upper", "ESS ", "R-hat "]


def describe_worst(table: pd.DataFrame) -> str:
    """What to look at first in a summary: its worst diagnostics, and how many rows have a note."""
    noted = int((table["note"] != "").sum())
    text = f"{noted:,} of {count_noun(len(table), 'number')} {'has' if noted == 1 else 'have'} a note"
    if table["r_hat"].notna().any():
        text += f"; the largest R-hat is {table['r_hat'].max():.3f} ({table['r_hat'].idxmax()})"
    ess = table[["ess_bulk", "ess_tail"]].min(axis=1)
    if ess.notna().any():
        text += f"; the fewest effective draws are {ess.min():,.0f} ({ess.idxmin()})"
    return f"{text}. Intervals are of 90%."


def order_rows(table: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """The rows that are shown, those with a note first where not all are, and a line about the others."""
    if len(table) <= most:
        return table, ""
    noted = table["note"].to_numpy() != ""
    first = ", those with a note shown first" if noted.any() else ""
    shown = table.iloc[np.argsort(~noted, kind="stable")].iloc[:most]
    return shown, f"({len(table) - most:,} more rows{first}: .to_string() prints all)"


def describe_summary(table: pd.DataFrame, width: int) -> str:
    """The table of `bmtme.results.fit.Fit.summary` as text: diagnostics that are not good have a mark, and no note."""
    shown, more = order_rows(table, MOST_ROWS)
    rows, notes = [], []
    row: Any
    for row in shown.itertuples():
        ess, marks = np.fmin(row.ess_bulk, row.ess_tail), [mark in row.note for mark in (LOW_ESS, HIGH_R_HAT)]
        diagnostics = [show_number(ess, ".0f"), show_number(row.r_hat, ".3f")]
        told = [f"{text}{'!' if bad else ' '}" for text, bad in zip(diagnostics, marks, strict=True)]
        rows.append([str(row.Index), *show_estimate(row.mean, row.lower, row.upper), *told])
        notes.append("; ".join(part for part in row.note.split("; ") if part not in (LOW_ESS, HIGH_R_HAT)))
    # Never in blocks: a table that is too wide for the terminal is cut there.
    head, *lines = align(rows, HEADER, left=1, width=10**6).splitlines()
    used = max(map(len, (head, *lines)))
    beside = width - used - 2
    if not any(notes):
        text = [head, *lines]
    elif beside >= FEWEST_COLUMNS:
        text = [f"{head.ljust(used)}  note"]
        text += [f"{line.ljust(used)}  {cut(note, beside)}".rstrip() for line, note in zip(lines, notes, strict=True)]
    else:
        text = [head]
        for line, note in zip(lines, notes, strict=True):
            text += [line, *([f"    {cut(note, width - 4)}"] if note else [])]
    parts = []
    for words in (describe_worst(table), explain_interaction(table)):
        parts += textwrap.wrap(words, width, break_on_hyphens=False, break_long_words=False)
    return "\n".join([*parts, "", *text, *([more] if more else [])])


def show_estimate(*numbers: float) -> list[str]:
    """Mean and ends of an interval, with three digits of its width."""
    decimals = choose_decimals(numbers[-1] - numbers[-2])
    return [fixed(number, decimals) if np.isfinite(number) else "-" for number in numbers]


def show_number(value: float, form: str) -> str:
    """A diagnostic, or a dash."""
    return format(value, form) if np.isfinite(value) else "-"


def cut(text: str, most: int) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def describe_scores(table: pd.DataFrame, width: int) -> str:
    """The table of `bmtme.cv.CrossValidation.summary` as text: the paper's two scores."""
    from bmtme.report.tables import list_printed, list_titles

    printed = list_printed()
    rows, more = tabulate_printed(table)
    header = ["trait", "env", "model", "partitions", *(f"{score.heading or score.name} " for score in printed)]
    note = (
        f"{list_titles(printed)}: mean over the partitions, naive standard error in brackets. cv.advice() says which "
        "differences are more than noise; the columns have more scores."
    )
    parts = [*textwrap.wrap(note, width), "", align(rows, header, left=3, width=width)]
    return "\n".join([*parts, *([more] if more else [])])


def tabulate_printed(table: pd.DataFrame) -> tuple[list[list[str]], str]:
    """Rows of the scores that are printed, in the order of the table, and a line about those that are not shown."""
    from bmtme.report.tables import list_printed, tabulate_scores

    order: Any = SimpleNamespace(envs=list(dict.fromkeys(table["env"])), traits=list(dict.fromkeys(table["trait"])))
    rows, more = tabulate_scores(table, order, (), list_printed())
    return rows, f"({more} more rows: .to_string() prints all)" if more else ""
