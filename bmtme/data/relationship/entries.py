"""Entries of a relationship matrix: labelled or bare numbers become a symmetric matrix, or the bad entry is named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_array
from bmtme.data.tables.cells import HUGE, MISSING_CODES, number, unique_names
from bmtme.errors import DataError
from bmtme.words import list_names

__all__ = ["from_labelled", "from_square", "is_identity", "match_columns", "parse_entry", "validated"]

#: Largest difference between an entry and its mirror image, relative to the largest diagonal entry.
#: Rows worked on at once.
_BLOCK = 256
SYMMETRY_TOLERANCE = 1e-8


def match_columns(lines: Sequence[str], columns: Sequence[str], name: str) -> np.ndarray:
    """Place among the columns of each line."""
    without_column = sorted(set(lines).difference(columns))
    without_row = sorted(set(columns).difference(lines))
    if without_column or without_row:
        parts = [f"{list_names(without_column)} only among the rows"] if without_column else []
        parts += [f"{list_names(without_row)} only among the columns"] if without_row else []
        hint = ""
        if set(lines).isdisjoint(columns):
            hint = " If it is a table of markers, make the matrix of it first: 'bmtme grm', in Python bmtme.vanraden."
        raise DataError(
            f"{name} has {' and '.join(parts)}: expected a square matrix with the names of the lines in the first "
            f"column and the same names in the header.{hint}"
        )
    place = {column: k for k, column in enumerate(columns)}
    return np.array([place[line] for line in lines], dtype=np.int64)


def parse_entry(value: Any, line: str, column: str, where: str) -> float:
    """One entry as a finite number; `where` names the file and row, or the matrix."""
    place = f"{where}: the entry of lines {line!r} (row) and {column!r} (column)"
    try:
        parsed = number(value)
    except DataError as error:
        raise DataError(f"{place} is {error}, expected a number.") from None
    if np.isnan(parsed):
        shown = str(value).strip()
        text = f" ({shown!r})" if shown and shown.lower() in MISSING_CODES else ""
        raise DataError(f"{place} is missing{text}: every pair of lines needs a number.")
    if np.isinf(parsed):
        raise DataError(f"{place} is infinite, expected a finite number.")
    return parsed


def from_square(matrix: Any, lines: Sequence[str], name: str) -> np.ndarray:
    """Entries of a bare matrix whose rows and columns are `lines`."""
    entries = as_array(matrix, name)
    if entries.ndim != 2 or entries.shape[0] != entries.shape[1]:
        raise DataError(f"{name} must be square, got shape {entries.shape}.")
    if len(lines) != len(entries):
        raise DataError(f"{name} has {len(entries)} rows but {len(lines)} lines are named.")
    return _numbers(entries, lines, lines, name)


def from_labelled(frame: pd.DataFrame, lines: Iterable[Any] | None, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Entries and lines of a frame, its columns (and under `lines` its rows too) matched by name."""
    rows = unique_names(frame.index, f"the index of {name}")
    columns = unique_names(frame.columns, f"the header of {name}")
    order = match_columns(rows, columns, name)
    try:
        entries = frame.to_numpy(dtype=np.float64, na_value=np.nan)[:, order]
    except (TypeError, ValueError, OverflowError):
        entries = frame.to_numpy(dtype=object)[:, order]
    entries = _numbers(entries, rows, rows, name)
    if lines is None:
        return entries, rows
    wanted = unique_names(lines, "lines=")
    if set(wanted) != set(rows):
        raise DataError(
            f"lines= and the index of {name} name different lines "
            f"({list_names(sorted(set(wanted) ^ set(rows)))} in one only). Lines are matched by name; to label the "
            "rows by position, pass frame.to_numpy()."
        )
    place = {line: j for j, line in enumerate(rows)}
    again = np.array([place[line] for line in wanted], dtype=np.int64)
    return entries[np.ix_(again, again)], wanted


def _numbers(entries: np.ndarray, lines: Sequence[str], columns: Sequence[str], name: str) -> np.ndarray:
    """Entries as finite floats; the first that is none is named."""
    if entries.dtype.kind in "fiu":
        values = np.array(entries, dtype=np.float64, order="C")
        suspects = np.argwhere(~np.isfinite(values))
    else:
        values = np.empty(entries.shape)
        suspects = np.argwhere(np.ones(entries.shape, dtype=bool))
    for j, k in suspects:
        value = entries[j, k]
        values[j, k] = parse_entry(value.item() if isinstance(value, np.generic) else value, lines[j], columns[k], name)
    return values


def validated(entries: np.ndarray, lines: Sequence[str], name: str) -> np.ndarray | None:
    """Exactly symmetric matrix, or None if it is the identity. `entries` are finite, square and ours to keep."""
    diagonal = entries.diagonal()
    if diagonal.min() <= 0:
        j = int(diagonal.argmin())
        raise DataError(
            f"{name} has {diagonal[j]:.10g} on the diagonal for line {lines[j]!r}: a line's relationship with itself "
            "must be positive."
        )
    if is_identity(entries):
        return None
    if diagonal.min() < 1 / HUGE or max(entries.max(), -entries.min()) > HUGE:
        extreme = (entries > HUGE) | (entries < -HUGE)
        np.fill_diagonal(extreme, extreme.diagonal() | (diagonal < 1 / HUGE))
        j, k = np.argwhere(extreme)[0]
        raise DataError(
            f"{name} has {entries[j, k]:.10g} for lines {lines[j]!r} and {lines[k]!r}: expected entries up to "
            f"{HUGE:g}, on the diagonal at least {1 / HUGE:g}."
        )
    gap, j, k = _find_asymmetry(entries)
    if gap > SYMMETRY_TOLERANCE * diagonal.max():
        raise DataError(
            f"{name} is not symmetric: the entry of lines {lines[j]!r} and {lines[k]!r} is {entries[j, k]:.10g} but "
            f"that of {lines[k]!r} and {lines[j]!r} is {entries[k, j]:.10g} (the worst of all pairs)."
        )
    if gap > 0.0:
        for start in range(0, len(entries), _BLOCK):  # in place: a matrix of thousands of lines fills memory
            rows = slice(start, start + _BLOCK)
            mean = 0.5 * (entries[rows, start:] + entries[start:, rows].T)
            entries[rows, start:] = mean
            entries[start:, rows] = mean.T
    return np.ascontiguousarray(entries.T if entries.flags.f_contiguous else entries)


def _find_asymmetry(entries: np.ndarray) -> tuple[float, int, int]:
    """Largest difference between an entry and its mirror image, and where it is."""
    worst = (-1.0, 0, 0)
    for start in range(0, len(entries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        difference = np.abs(entries[rows] - entries[:, rows].T)
        j, k = np.unravel_index(int(difference.argmax()), difference.shape)
        if difference[j, k] > worst[0]:
            worst = (float(difference[j, k]), start + int(j), int(k))
    return worst


def is_identity(entries: np.ndarray) -> bool:
    return bool((entries.diagonal() == 1.0).all()) and np.count_nonzero(entries) == len(entries)
