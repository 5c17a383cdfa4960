"""Tables: files read as text without guessing, and columns turned into identifiers or numbers.

Nothing is converted before it is known to be an identifier or a value: line ``001`` stays ``001`` and line ``NA``
stays ``NA``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_text, file_path
from bmtme.data.tables.cells import HUGE, PLAIN, NumberFormat, identifier, number
from bmtme.data.tables.foreign import refuse_foreign
from bmtme.data.tables.limits import count_cells
from bmtme.data.tables.names import is_nothing, refuse_lost
from bmtme.data.tables.texts import read_rows, suffix
from bmtme.data.tables.workbooks import EXCEL_SUFFIXES, PARQUET_SUFFIXES, column_letters, read_parquet, read_sheet
from bmtme.errors import DataError, UsageError
from bmtme.words import first_repeat, list_names, suggest

__all__ = ["Table", "check_header", "read_columns", "read_table"]


#: Digits of a number that spreadsheet programs keep.
MOST_DIGITS = 15


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
    in_sheet : bool
        Whether the file is a workbook, whose cells have names such as B7.
    """

    frame: pd.DataFrame
    name: str
    from_file: bool = False
    form: NumberFormat = PLAIN
    in_sheet: bool = False

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

    def cell(self, position: int, name: str) -> str:
        """Words for the cell at `position` of the column `name`: ``row 7``, or ``cell B7`` in a workbook."""
        if not self.in_sheet:
            return self.row(position)
        return f"cell {column_letters(self.columns.index(name) + 1)}{self.frame.index[position]}"

    def column(self, name: str, role: str) -> pd.Series:
        """The column `name`, asked for as `role`; a DataError suggests the closest name if it is not there."""
        if name not in self.frame.columns:
            raise DataError(
                f"{self.name} has no column {name!r}, given as the {role} column."
                f"{suggest(name, self.columns)} Its columns are {list_names(self.columns, 20)}."
            )
        return self.frame[name]

    def identifiers(self, name: str, role: str, *, allow_missing: bool = False) -> list[str]:
        """Identifiers in column `name` as text.

        Raises
        ------
        DataError
            For a missing one ("" under `allow_missing`), and for one that a spreadsheet program has put in the place of
            others (3.92752E+12, #NAME?).
        """
        texts = []
        for position, value in enumerate(self.column(name, role).astype(object)):
            try:
                text = identifier(value)
                if self.in_sheet and isinstance(value, (int, float)) and text and len(text.lstrip("-")) > MOST_DIGITS:
                    raise DataError(
                        f"{text}, a number of more digits than the {MOST_DIGITS} that a spreadsheet program keeps: "
                        "make the column text in the program that has the names, enter or import them again, and save"
                    )
            except DataError as error:
                raise DataError(
                    f"The {role} column {name!r} of {self.name} holds {error} ({self.cell(position, name)})."
                ) from None
            if text is None and not allow_missing:
                raise DataError(
                    f"The {role} column {name!r} of {self.name} is empty in {self.cell(position, name)}: "
                    f"every row needs a {role} label."
                )
            texts.append(text or "")
        refuse_lost(texts, f"The {role} column {name!r} of {self.name}")
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
                    f"The {role} column {name!r} of {self.name} holds {error} in {self.cell(int(positions[k]), name)}: "
                    f"expected a number, or {self.form.missing_words} for a missing value."
                    f"{_keyword_hint(value, str(error)) or self._header_hint(int(positions[k]), value)}"
                ) from None
            if abs(values[k]) > HUGE:
                what = "an infinite value" if math.isinf(values[k]) else "a value that is too large"
                raise DataError(
                    f"The {role} column {name!r} of {self.name} holds {what}, {str(value).strip()!r}, in "
                    f"{self.cell(int(positions[k]), name)}: expected a finite number up to {HUGE:g}, or "
                    f"{self.form.missing_words} for a missing value."
                )
        return values

    def _header_hint(self, position: int, value: Any) -> str:
        """A question where the first row below the header may be a second one, with units or the like."""
        if position or not isinstance(value, str) or not self.from_file:
            return ""
        return f" If {self.row(position)} is part of the header (units, say), take it out."


#: A number such as 1,234 or 1,234.5 or 1.234,5.
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}((,[0-9]{3})+(\.[0-9]*)?|(\.[0-9]{3})+,[0-9]*)")


def _keyword_hint(value: Any, error: str) -> str:
    """What to say to have a cell read that shows how the whole table may be written."""
    if isinstance(value, str) and _THOUSANDS.fullmatch(value.strip()):
        # Taken for a decimal sign, one that separates thousands would change the number.
        return " A sign that separates thousands has to be left out; decimal commas need decimal=',' (--decimal ,)."
    for sign, keyword in (("point", "decimal=',' (in the shell --decimal ,)"), ("comma", "decimal='.' (the default)")):
        if error.endswith(f"(write decimals with a {sign})"):
            return f" If all its decimals are such, say {keyword}."
    if isinstance(value, str) and is_nothing(value):
        code = value.strip()
        return f" If {code!r} stands for a missing value, say missing={code!r} (in the shell --missing {code!r})."
    return ""


# --- files ------------------------------------------------------------------------------------------------------


def read_table(
    path: str | os.PathLike[str], form: NumberFormat = PLAIN, sheet: str | None = None, name: str | None = None
) -> Table:
    """Read a file as a table: text (see `read_rows`), an Excel workbook or a Parquet file, by its ending.

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
    refuse_foreign(path, "table")
    ending = suffix(path)
    sheet = None if sheet is None else as_text(sheet, "sheet")
    if sheet is not None and ending not in EXCEL_SUFFIXES:
        raise UsageError(f"sheet {sheet!r} was named, but {name} is no Excel workbook (.xlsx, .xlsm).")
    if ending in PARQUET_SUFFIXES:
        frame = read_parquet(path)
        check_header([str(column).strip() for column in frame.columns], name)
        return replace(Table.from_frame(frame, name, form), from_file=True)
    rows: Iterator[tuple[int, list[Any]]]
    rows = read_sheet(path, sheet) if ending in EXCEL_SUFFIXES else count_cells(read_rows(path, form.decimal), name)
    _, header = next(rows)
    columns = ["" if cell is None else str(cell).strip() for cell in header]
    check_header(columns, name)
    numbers: list[int] = []
    body: list[list[Any]] = []
    for row, cells in rows:
        numbers.append(row)
        body.append(cells)
    frame = pd.DataFrame(body, columns=columns, index=pd.Index(numbers, dtype=np.int64), dtype=object)
    return Table(frame, name, from_file=True, form=form, in_sheet=ending in EXCEL_SUFFIXES)


def read_columns(path: str | os.PathLike[str]) -> list[str]:
    """Names of the columns of a table in a file; of a text, without reading further than the header.

    Raises
    ------
    DataError, UsageError
        As for `read_table`.
    """
    if suffix(path) in EXCEL_SUFFIXES | PARQUET_SUFFIXES:
        return read_table(path).columns
    refuse_foreign(path, "table")
    _, header = next(read_rows(path, whole=False))
    return [cell.strip() for cell in header]


def check_header(columns: Sequence[str], name: str) -> None:
    """Raise a DataError if a column name stands twice in the header of the file `name`."""
    repeat = first_repeat(columns)
    if repeat is None:
        return
    text, places = columns[repeat[1]], f"columns {repeat[0] + 1} and {repeat[1] + 1}"
    if text:
        raise DataError(f"{name} has two columns named {text!r} ({places}): column names must be unique.")
    raise DataError(f"{name} has no name in its header for {places}: name them or take them out.")
