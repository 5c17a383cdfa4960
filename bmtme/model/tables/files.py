"""Tables: files read as text without guessing, and columns turned into identifiers or numbers.

Nothing is converted before it is known to be an identifier or a value: line ``001`` stays ``001`` and line ``NA``
stays ``NA``.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_text, file_path
from bmtme.errors import DataError, UsageError
from bmtme.model.tables.cells import HUGE, PLAIN, NumberFormat, first_repeat, identifier, list_names, number, suggest
from bmtme.model.tables.workbooks import EXCEL_SUFFIXES, PARQUET_SUFFIXES, read_parquet, read_sheet

__all__ = ["Table", "check_header", "read_rows", "read_table", "read_words", "suffix"]

_TAB_SUFFIXES = frozenset({".tsv", ".tab"})
_Bytes = io.BufferedReader | gzip.GzipFile


# --- tables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A data frame together with the words that name its rows in messages.

    Attributes
    ----------
    frame : pandas.DataFrame
        Columns are unique trimmed texts. For a file, the index holds the row numbers of the file (header = 1).
    name : str
        The file's name, or "the table".
    from_file : bool
        Whether the index counts rows of a file.
    form : NumberFormat
        How its values are written.
    """

    frame: pd.DataFrame
    name: str
    from_file: bool = False
    form: NumberFormat = PLAIN

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, name: str = "the table", form: NumberFormat = PLAIN) -> Table:
        """Wrap a user's frame (not changed): column names become trimmed text and must be unique."""
        columns = [str(column).strip() for column in frame.columns]
        repeat = first_repeat(columns)
        if repeat is not None:
            raise DataError(f"{name} has two columns named {columns[repeat[1]]!r}: column names must be unique.")
        return cls(frame.set_axis(columns, axis=1), name, form=form)

    @property
    def columns(self) -> list[str]:
        """Names of the columns in the table's order."""
        return [str(column) for column in self.frame.columns]

    def row(self, position: int) -> str:
        """Words for the row at `position` (0-based), e.g. ``row 7`` or ``row 7 (index label 'x')``."""
        label = self.frame.index[position]
        return f"row {label}" if self.from_file else f"row {position + 1} (index label {label!r})"

    def column(self, name: str, role: str) -> pd.Series:
        """The column `name`, asked for as `role`; a DataError suggests the closest name if it is not there."""
        if name not in self.frame.columns:
            raise DataError(
                f"{self.name} has no column {name!r}, given as the {role} column."
                f"{suggest(name, self.columns)} Its columns are {list_names(self.columns, 20)}."
            )
        return self.frame[name]

    def identifiers(self, name: str, role: str, *, allow_missing: bool = False) -> list[str]:
        """Identifiers in column `name` as text; a missing one is a DataError, or "" under `allow_missing`."""
        texts = []
        for position, value in enumerate(self.column(name, role).astype(object)):
            try:
                text = identifier(value)
            except DataError as error:
                raise DataError(
                    f"The {role} column {name!r} of {self.name} holds {error} ({self.row(position)})."
                ) from None
            if text is None and not allow_missing:
                raise DataError(
                    f"The {role} column {name!r} of {self.name} is empty in {self.row(position)}: "
                    f"every row needs a {role} label."
                )
            texts.append(text or "")
        return texts

    def numbers(self, name: str, role: str, positions: np.ndarray | None = None) -> np.ndarray:
        """Values in column `name` as floats, NaN where missing.

        Parameters
        ----------
        name, role : str
            The column and what it was asked for as.
        positions : (K,) int array, optional
            The only rows to look at; all by default.

        Returns
        -------
        (K,) float64 array

        Raises
        ------
        DataError
            For text or an infinite value, with column, row and the offending text.
        """
        column = self.column(name, role)
        if positions is None:
            positions = np.arange(len(column))
        values = np.empty(len(positions))
        for k, value in enumerate(column.iloc[positions].astype(object)):
            try:
                values[k] = number(value, self.form)
            except DataError as error:
                raise DataError(
                    f"The {role} column {name!r} of {self.name} holds {error} in {self.row(int(positions[k]))}: "
                    f"expected a number, or {self.form.missing_words} for a missing value."
                    f"{_keyword_hint(str(error))}"
                ) from None
            if abs(values[k]) > HUGE:
                what = "an infinite value" if math.isinf(values[k]) else "a value that is too large"
                raise DataError(
                    f"The {role} column {name!r} of {self.name} holds {what}, {str(value).strip()!r}, in "
                    f"{self.row(int(positions[k]))}: expected a finite number up to {HUGE:g}, or "
                    f"{self.form.missing_words} for a missing value."
                )
        return values


def _keyword_hint(error: str) -> str:
    """How to have decimal commas or points read, where a cell shows that the whole table may have them."""
    for sign, keyword in (("point", "decimal=',' (in the shell --decimal ,)"), ("comma", "decimal='.' (the default)")):
        if error.endswith(f"(write decimals with a {sign})"):
            return f" If all its decimals are such, say {keyword}."
    return ""


# --- files ------------------------------------------------------------------------------------------------------


def read_rows(path: str | os.PathLike[str], decimal: str = ".") -> Iterator[tuple[int, list[str]]]:
    """Read a delimited text file row by row, the header first.

    The text is UTF-8 (a byte order mark is skipped), possibly compressed with gzip. Columns are separated by tabs in
    ``.tsv`` and ``.tab``, by commas in ``.csv``; elsewhere by tabs if the header holds one, else by commas. Under a
    decimal comma, semicolons separate if the header holds one. Blank lines are skipped.

    Yields
    ------
    row : int
        Number of the row in the file, 1 for the first line.
    cells : list of str
        As written, as many as the header has.

    Raises
    ------
    DataError
        If the file cannot be opened, is empty, is no UTF-8 text, or has a row with more or fewer cells than the header.
    """
    name = Path(path).name
    try:
        with open(path, "rb") as raw, _decompressed(raw) as plain:
            with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as lines:
                yield from _split_rows(lines, name, suffix(path), decimal)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text (byte 0x{error.object[error.start]:02x}): save it as CSV in UTF-8."
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}).") from None
    except OSError as error:
        raise DataError(f"{os.fspath(path)} cannot be read: {error.strerror or error}.") from None


def read_words(path: str | os.PathLike[str], n: int, expected: str, hint: str) -> list[list[str]]:
    """Words of every row of a text without a header, as PLINK and GCTA write them.

    Parameters
    ----------
    path : str or path
    n : int
        Words that every row must have.
    expected : str
        What they are, for messages.
    hint : str
        A sentence for the message that the file cannot be opened.

    Raises
    ------
    DataError
        If the file cannot be read, is no UTF-8 text, or has another number of words in a row.
    """
    name = Path(path).name
    rows = []
    try:
        with open(path, encoding="utf-8") as file:
            for row, text in enumerate(file, start=1):
                rows.append(text.split())
                if len(rows[-1]) != n:
                    raise DataError(f"{name} has {len(rows[-1])} columns in row {row}: expected {expected}.")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not UTF-8 text: expected {expected}.") from None
    except OSError as error:
        raise DataError(f"{os.fspath(path)} cannot be read: {error.strerror or error}. {hint}") from None
    return rows


def suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a file's name in lower case, without that of gzip."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _decompressed(raw: io.BufferedReader) -> _Bytes:
    # Told by the first bytes, not by the name: downloads are often compressed without saying so, and the reverse.
    if raw.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)
    return raw


def _split_rows(lines: io.TextIOWrapper, name: str, ending: str, decimal: str) -> Iterator[tuple[int, list[str]]]:
    skipped = 0
    first = lines.readline()
    while first and not first.strip():
        skipped += 1
        first = lines.readline()
    if not first:
        raise DataError(f"{name} is empty: expected a header row and one row per record.")
    tabs = ending in _TAB_SUFFIXES or (ending != ".csv" and "\t" in first)
    semicolons = decimal == "," and not tabs and ";" in first
    # Without skipinitialspace, the quotes of a cell written after a comma and a space would become part of it.
    delimiter = "\t" if tabs else ";" if semicolons else ","
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    width = 0
    start = skipped + 1
    try:
        for cells in reader:
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                if not width:
                    width = len(cells)
                    _check_separator(first, width, tabs, name)
                elif len(cells) != width:
                    raise DataError(_ragged(name, start, len(cells), width))
                yield start, cells
            start = skipped + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name} cannot be split into cells at row {start}: {error}. Check the quotes there.") from None


def _check_separator(header: str, width: int, tabs: bool, name: str) -> None:
    if width > 1:
        return
    other = next((mark for mark in (";", "\t", ",") if mark in header), None)
    if other is not None:
        found = {";": "semicolons", "\t": "tabs", ",": "commas"}[other]
        raise DataError(
            f"{name} seems to separate its columns by {found}; by its name, {'tabs' if tabs else 'commas'} were "
            "expected. Save it as .csv with commas (and decimal points) or as .tsv with tabs"
            + (
                "; phenotypes with decimal commas can be read as they are, with decimal=',' (in the shell --decimal ,)."
                if other == ";"
                else "."
            )
        )


def _ragged(name: str, row: int, cells: int, width: int) -> str:
    message = f"{name} has {cells} cells in row {row} but {width} in its header: every row needs as many as the header."
    if cells == width + 1:
        message += " (R's write.table leaves out the header of the row names: write with write.csv instead.)"
    return message


def read_table(
    path: str | os.PathLike[str], form: NumberFormat = PLAIN, sheet: str | None = None, name: str | None = None
) -> Table:
    """Read a file as a table: delimited text (see `read_rows`), an Excel workbook or a Parquet file, by its ending.

    Parameters
    ----------
    path : str or path
    form : NumberFormat, optional
        How the values are written.
    sheet : str, optional
        Sheet of a workbook; by default the first, with a warning if there are others.
    name : str, optional
        What messages call the table; by default the file's name.

    Returns
    -------
    Table
        Every cell of delimited text is its text; cells of a workbook or a Parquet file may be numbers. The index holds
        the row numbers of the file (records of a Parquet file).

    Raises
    ------
    DataError
        As for `read_rows`, and if two columns have the same name or more than one has none.
    UsageError
        If a library is needed that is not installed, or a sheet is named of a file that has none.
    """
    path = file_path(path)
    name = name or Path(path).name
    ending = suffix(path)
    sheet = None if sheet is None else as_text(sheet, "sheet")
    if sheet is not None and ending not in EXCEL_SUFFIXES:
        raise UsageError(f"sheet {sheet!r} was named, but {name} is no Excel workbook (.xlsx, .xlsm).")
    if ending in PARQUET_SUFFIXES:
        frame = read_parquet(path)
        check_header([str(column).strip() for column in frame.columns], name)
        return replace(Table.from_frame(frame, name, form), from_file=True)
    rows: Iterator[tuple[int, list[Any]]]
    rows = read_sheet(path, sheet) if ending in EXCEL_SUFFIXES else read_rows(path, form.decimal)
    _, header = next(rows)
    columns = ["" if cell is None else str(cell).strip() for cell in header]
    check_header(columns, name)
    numbers: list[int] = []
    body: list[list[Any]] = []
    for row, cells in rows:
        numbers.append(row)
        body.append(cells)
    frame = pd.DataFrame(body, columns=columns, index=pd.Index(numbers, dtype=np.int64), dtype=object)
    return Table(frame, name, from_file=True, form=form)


def check_header(columns: Sequence[str], name: str) -> None:
    """Raise a DataError if a column name stands twice in the header of the file `name`."""
    repeat = first_repeat(columns)
    if repeat is None:
        return
    text, places = columns[repeat[1]], f"columns {repeat[0] + 1} and {repeat[1] + 1}"
    if text:
        raise DataError(f"{name} has two columns named {text!r} ({places}): column names must be unique.")
    raise DataError(f"{name} has no name in its header for {places}: name them or take them out.")
