"""Relationships between lines: a symmetric matrix whose rows and columns carry the names of the lines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bmtme.errors import DataError, UsageError
from bmtme.model.cells import MISSING_CODES, list_names, normalise_name, number, unique_names
from bmtme.model.tables import read_rows
from bmtme.model.trial import Trial

__all__ = ["Relationship", "match_lines", "read_relationship"]

#: Largest difference between an entry and its mirror image, relative to the largest diagonal entry.
SYMMETRY_TOLERANCE = 1e-8


class Relationship:
    """Relationship matrix G of n lines, such as a genomic or pedigree relationship. Immutable.

    Parameters
    ----------
    matrix : (n, n) array or pandas.DataFrame
        Symmetric, finite, with a positive diagonal; differences between mirror images up to 1e-8 of the largest
        diagonal entry are averaged away. The rows and columns of a DataFrame are matched by name.
    lines : sequence of str, optional
        Names of the lines in the order of the array's rows. Of a DataFrame, the order wanted; its index by default.

    Attributes
    ----------
    lines : tuple of str
        Names of the lines.
    matrix : (n, n) float64 array
        Exactly symmetric, C-contiguous, read-only.
    is_identity : bool
        Whether the lines are unrelated with unit variance. No matrix is stored then; `matrix` is made on demand.

    Raises
    ------
    DataError
        For a matrix that is not square, labels that do not fit or repeat, an entry that is missing, text or infinite,
        mirror images that differ, or a diagonal entry that is not positive; lines are named. Eigenvalues are not
        looked at here.

    Notes
    -----
    Names are text: white space around them is dropped, whole numbers become their decimal text, ``001`` stays.
    """

    __slots__ = ("_lines", "_matrix", "_position")

    _lines: tuple[str, ...]
    _matrix: np.ndarray | None
    _position: dict[str, int]

    def __init__(self, matrix: np.ndarray | pd.DataFrame, lines: Iterable[Any] | None = None) -> None:
        name = "the relationship matrix"
        if isinstance(matrix, pd.DataFrame):
            entries, names = _from_labelled(matrix, lines, name)
        elif lines is None:
            raise UsageError("lines= is needed: the names of the lines in the order of the matrix's rows.")
        else:
            names = unique_names(lines, "lines=")
            entries = _square(matrix, names, name)
        self._store(names, _validated(entries, names, name))

    def _store(self, lines: tuple[str, ...], matrix: np.ndarray | None) -> None:
        if matrix is not None:
            matrix.setflags(write=False)
        self._lines = lines
        self._matrix = matrix
        self._position = {line: j for j, line in enumerate(lines)}

    @classmethod
    def _stored(cls, lines: tuple[str, ...], matrix: np.ndarray | None) -> Relationship:
        """Wrap lines and a matrix that are known to be valid."""
        relationship = cls.__new__(cls)
        relationship._store(lines, matrix)
        return relationship

    @classmethod
    def identity(cls, lines: Iterable[Any]) -> Relationship:
        """Unrelated lines of unit variance; no matrix is stored."""
        return cls._stored(unique_names(lines, "lines="), None)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through _stored, as unpickled arrays are writeable.
        return Relationship._stored, (self._lines, self._matrix)

    def __repr__(self) -> str:
        if self._matrix is None:
            return f"Relationship({len(self)} lines; identity)"
        return f"Relationship({len(self)} lines; mean diagonal {np.trace(self._matrix) / len(self):.4g})"

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """Names of the lines."""
        return self._lines

    @property
    def matrix(self) -> np.ndarray:
        """The (n, n) matrix, read-only."""
        if self._matrix is not None:
            return self._matrix
        matrix = np.eye(len(self))
        matrix.setflags(write=False)
        return matrix

    @property
    def is_identity(self) -> bool:
        """Whether the matrix is the identity."""
        return self._matrix is None

    def index(self, lines: Iterable[str]) -> np.ndarray:
        """Places of `lines` in this relationship: int64 array. A DataError names the lines that are not there."""
        wanted = list(lines)
        unknown = [line for line in wanted if line not in self._position]
        if unknown:
            raise DataError(f"The relationship has no line {list_names(unknown)}{_look_alikes(unknown, self._lines)}.")
        return np.array([self._position[line] for line in wanted], dtype=np.int64)

    def subset(self, lines: Iterable[str]) -> Relationship:
        """The relationship of these lines, in this order."""
        names = unique_names(lines, "lines=")
        places = self.index(names)
        if self._matrix is None:
            return Relationship._stored(names, None)
        matrix = self._matrix[np.ix_(places, places)]
        return Relationship._stored(names, None if _is_identity(matrix) else matrix)


def read_relationship(path: str | os.PathLike[str]) -> Relationship:
    """Read a labelled square matrix from a CSV or TSV file, possibly compressed with gzip.

    The first column holds the names of the lines and the header the same names (the header of the first column is
    free, or empty). Rows and columns are matched by name and may stand in different orders; the lines of the result
    are in the order of the rows. The format is that of R's ``write.csv(G)``.

    Raises
    ------
    DataError
        If the file cannot be read; for a name that repeats or stands among the rows or the columns only; and as for
        `Relationship`, with the file's name.
    """
    name = Path(path).name
    rows = read_rows(path)
    _, header = next(rows)
    columns = unique_names(header[1:], f"the header of {name}")
    n = len(columns)
    entries = np.empty((n, n))
    labels: list[str] = []
    for row, cells in rows:
        label = cells[0].strip()
        if not label:
            raise DataError(f"{name} has no line name in row {row}: the first column must hold the names of the lines.")
        if len(labels) < n:
            # A surplus row cannot be stored, but its name is needed to tell which one it is.
            entries[len(labels)] = _parse_row(cells[1:], label, columns, f"{name}, row {row}")
        labels.append(label)
    lines = unique_names(labels, f"the first column of {name}")
    order = _match_columns(lines, columns, name)
    if not np.array_equal(order, np.arange(n)):
        entries = entries[:, order]
    return Relationship._stored(lines, _validated(entries, lines, name))


def match_lines(
    trial: Trial, relationship: Relationship, unrelated: Literal["error", "drop"] = "error"
) -> tuple[Trial, tuple[str, ...]]:
    """Make sure that every line of the trial has a relationship.

    Parameters
    ----------
    trial : Trial
    relationship : Relationship
        May hold lines that the trial does not have, in any order.
    unrelated : {"error", "drop"}
        What to do about lines with a value but no relationship. Lines without either are dropped in both cases:
        there is nothing to learn from them and nothing to predict them by.

    Returns
    -------
    trial : Trial
        The trial with the lines of the relationship only; the same object if none was dropped.
    dropped : tuple of str
        Lines that were dropped, in the order of the trial.

    Raises
    ------
    DataError
        If a line with a value has no relationship and is not to be dropped, or fewer than two lines with a value stay.
    """
    if unrelated not in ("error", "drop"):
        raise UsageError(f"unrelated must be 'error' or 'drop', got {unrelated!r}.")
    related = set(relationship.lines)
    unknown = tuple(line for line in trial.lines if line not in related)
    if not unknown:
        return trial, ()
    recorded = np.zeros(len(trial.lines), dtype=bool)
    recorded[trial.line_index[~np.isnan(trial.values).all(axis=1)]] = True
    with_value = {line for line, any_value in zip(trial.lines, recorded, strict=True) if any_value}
    missing = [line for line in unknown if line in with_value]
    if missing and unrelated == "error":
        lines = "1 line has" if len(missing) == 1 else f"{len(missing)} lines have"
        raise DataError(
            f"{lines} records in the trial but no relationship: "
            f"{list_names(missing)}{_look_alikes(missing, relationship.lines)}. "
            "Correct the names, add the lines to the relationship, or have them dropped (unrelated='drop', in the "
            "shell --drop-unrelated)."
        )
    if len(with_value) - len(missing) < 2:
        raise DataError(
            f"Only {len(with_value) - len(missing)} of the trial's {len(with_value)} lines with records "
            f"are in the relationship, at least two are needed: names such as {list_names(trial.lines[:3])} do not "
            f"match names such as {list_names(relationship.lines[:3])}."
        )
    return trial.drop_lines(unknown), unknown


# --- names ------------------------------------------------------------------------------------------------------


def _match_columns(lines: Sequence[str], columns: Sequence[str], name: str) -> np.ndarray:
    """Place among the columns of each line."""
    without_column = sorted(set(lines).difference(columns))
    without_row = sorted(set(columns).difference(lines))
    if without_column or without_row:
        parts = [f"{list_names(without_column)} only among the rows"] if without_column else []
        parts += [f"{list_names(without_row)} only among the columns"] if without_row else []
        raise DataError(
            f"{name} has {' and '.join(parts)}: expected a square matrix with the names of the lines in the first "
            "column and the same names in the header."
        )
    place = {column: k for k, column in enumerate(columns)}
    return np.array([place[line] for line in lines], dtype=np.int64)


def _look_alikes(names: Sequence[str], known: Sequence[str], limit: int = 10) -> str:
    """Words for those of the known names that differ in case, spaces, punctuation or leading zeros only."""
    bare = {normalise_name(line): line for line in reversed(known)}
    pairs = [(name, bare[normalise_name(name)]) for name in names[:limit] if normalise_name(name) in bare]
    return f" (close: {', '.join(f'{name!r} and {other!r}' for name, other in pairs)})" if pairs else ""


# --- entries ----------------------------------------------------------------------------------------------------


def _parse_row(cells: Sequence[str], line: str, columns: Sequence[str], where: str) -> np.ndarray:
    """Numbers of one row of a file. All at once if they are plain; else one by one, to name the first that is not."""
    joined = "".join(cells)
    if joined.isascii() and "_" not in joined:  # Python reads 1_0 and digits of other scripts as numbers
        try:
            values = np.array([float(cell) for cell in cells])
        except ValueError:
            pass
        else:
            if np.isfinite(values).all():
                return values
    return np.array([_entry(cell, line, column, where) for cell, column in zip(cells, columns, strict=True)])


def _entry(value: Any, line: str, column: str, where: str) -> float:
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


def _square(matrix: Any, lines: Sequence[str], name: str) -> np.ndarray:
    entries = np.asarray(matrix)
    if entries.ndim != 2 or entries.shape[0] != entries.shape[1]:
        raise DataError(f"{name} must be square, got shape {entries.shape}.")
    if len(lines) != len(entries):
        raise DataError(f"{name} has {len(entries)} rows but {len(lines)} lines are named.")
    return _numbers(entries, lines, lines, name)


def _from_labelled(frame: pd.DataFrame, lines: Iterable[Any] | None, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Entries and lines of a frame, its columns (and under `lines` its rows too) matched by name."""
    rows = unique_names(frame.index, f"the index of {name}")
    columns = unique_names(frame.columns, f"the header of {name}")
    order = _match_columns(rows, columns, name)
    try:
        entries = frame.to_numpy(dtype=np.float64, na_value=np.nan)[:, order]
    except (TypeError, ValueError):
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
        values[j, k] = _entry(value.item() if isinstance(value, np.generic) else value, lines[j], columns[k], name)
    return values


def _validated(entries: np.ndarray, lines: Sequence[str], name: str) -> np.ndarray | None:
    """Exactly symmetric matrix, or None if it is the identity. `entries` are finite, square and ours to keep."""
    diagonal = entries.diagonal()
    if diagonal.min() <= 0:
        j = int(diagonal.argmin())
        raise DataError(
            f"{name} has {diagonal[j]:.10g} on the diagonal for line {lines[j]!r}: a line's relationship with itself "
            "must be positive."
        )
    if _is_identity(entries):
        return None
    difference = np.abs(entries - entries.T)
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    j, k = int(worst[0]), int(worst[1])
    if difference[j, k] > SYMMETRY_TOLERANCE * diagonal.max():
        raise DataError(
            f"{name} is not symmetric: the entry of lines {lines[j]!r} and {lines[k]!r} is {entries[j, k]:.10g} but "
            f"that of {lines[k]!r} and {lines[j]!r} is {entries[k, j]:.10g} (the worst of all pairs)."
        )
    matrix = entries + entries.T
    matrix *= 0.5
    return matrix


def _is_identity(entries: np.ndarray) -> bool:
    return bool((entries.diagonal() == 1.0).all()) and np.count_nonzero(entries) == len(entries)
