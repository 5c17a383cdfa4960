"""Numbers of a page in words, and how dark the cells of a matrix are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bmtme.columns import fixed
from bmtme.report.html.content import Column, Shade, Table
from bmtme.report.mixed import show
from bmtme.report.ranking import choose_decimals
from bmtme.results.notes import PRIOR_ONLY

__all__ = ["ABSENT", "LABELS", "PRIOR", "interval", "limit_rows", "plain", "shade", "tabulate"]

ABSENT = "-"
#: What columns are called.
LABELS = {"blup": "effect", "pev": "PEV", "se": "SE", "sd": "SD", "n": "records"}
#: Behind a number that shows the prior alone.
PRIOR = "*"


def plain(value: float, decimals: int) -> str:
    """A number, or a dash where it is missing."""
    return fixed(value, decimals) if np.isfinite(value) else ABSENT


def interval(low: float, high: float, decimals: int) -> str:
    """The ends of an interval."""
    return f"{fixed(low, decimals)} to {fixed(high, decimals)}" if np.isfinite([low, high]).all() else ABSENT


def shade(row: Mapping[Any, Any], decimals: int = 2, dark: float | None = None) -> Shade:
    """A cell of a matrix from a row with mean, lower, upper and note.

    dark : of the cell, default its mean
    """
    mean, note = float(row["mean"]), str(row.get("note", "") or "")
    if not math.isfinite(mean):
        return Shade(ABSENT, about=note)
    star = PRIOR if PRIOR_ONLY in note else ""
    ends = interval(float(row["lower"]), float(row["upper"]), decimals)
    below = "" if ends == ABSENT else ends
    return Shade(plain(mean, decimals) + star, below, 0.0 if star else (mean if dark is None else dark), note)


def tabulate(table: pd.DataFrame, about: Mapping[str, str] | None = None, most: int = 3000, **more: Any) -> Table:
    """A table of a DataFrame: texts as they are, numbers with four digits.

    about : meanings of columns
    more : as of `Table`
    """
    empty = [name for name in table if table[name].map(lambda cell: cell is None or cell == "").all()]
    shown = table.drop(columns=empty).head(most)
    about = about or {}
    columns, texts = [], []
    for name in shown:
        own = shown[name]
        number = pd.api.types.is_numeric_dtype(own) and not pd.api.types.is_bool_dtype(own)
        columns.append(Column(LABELS.get(str(name), str(name).replace("_", " ")), number, about.get(str(name), "")))
        texts.append([write_cell(value, number) for value in own.tolist()])
    note = more.pop("note", "")
    if len(table) > len(shown):
        note = f"{note} The first {len(shown):,} of {len(table):,} rows; the files have all.".strip()
    return Table(columns, list(zip(*texts, strict=True)), note=note, **more)


def write_cell(value: Any, number: bool) -> str:
    """A cell of a table."""
    if number:
        return f"{value:,}" if isinstance(value, int) else show(value)
    if value is None or value != value:  # missing
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def limit_rows(parts: int, each: int, budget: int) -> int:
    """Rows of each of some tables, so that all together stay below a budget; fifty at least."""
    return each if parts * each <= budget else max(50, budget // max(parts, 1))


def decide_decimals(lower: Sequence[float], upper: Sequence[float]) -> int:
    """Three digits of the middle width of intervals."""
    widths = np.asarray(upper, dtype=float) - np.asarray(lower, dtype=float)
    widths = widths[np.isfinite(widths)]
    return choose_decimals(float(np.median(widths))) if len(widths) else 2
