"""Tables for people: CSV files whose text a spreadsheet program cannot run, and one workbook of all of them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import show
from bmtme.errors import UsageError
from bmtme.extras import require

__all__ = ["ESCAPED", "TEXT", "WORKBOOK", "check_tables", "describe_columns", "unescape", "write_tables"]

WORKBOOK = "tables.xlsx"
#: Type of a column of texts, and of one whose texts may have an apostrophe in front.
TEXT, ESCAPED = "text", "escaped text"
#: What a spreadsheet program takes for the beginning of a formula; as wide letters, too, in some languages.
_BEGINNINGS = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
#: Rows of a sheet below its header, letters of its name and of a cell, at most.
_MOST_ROWS, _MOST_NAME, _MOST_LETTERS = 2**20 - 1, 31, 32_767
#: Signs that XML, and so a workbook, cannot hold.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def check_tables(safe_text: bool, xlsx: bool) -> None:
    """Refuse what is no choice, and a workbook that could not be written.

    Raises
    ------
    UsageError
        Also if openpyxl is not installed.
    """
    for name, value in (("safe_text", safe_text), ("xlsx", xlsx)):
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be True or False, got {show(value)}.")
    if xlsx:
        require("openpyxl", "excel", f"writing {WORKBOOK}")


def write_tables(
    folder: Path, tables: dict[str, pd.DataFrame], safe_text: bool = False, xlsx: bool = False
) -> dict[str, dict[str, str]]:
    """Write each table as CSV into a folder that is there, and all as sheets of a workbook if wanted.

    Parameters
    ----------
    folder : Path
    tables : dict
        By the names of their files without the ending. Their indices are not written.
    safe_text : bool
        Whether texts of the CSV files that begin like a formula (= + - @, a tab or a line break) get an apostrophe in
        front, by which spreadsheet programs know text, and so do those that begin with an apostrophe, so that it can
        be taken away again; and all texts stand in quotes. A workbook says of every cell whether it is text.
    xlsx : bool
        Whether to write `WORKBOOK` too.

    Returns
    -------
    dict
        Types of the columns (see `describe_columns`) of each file.

    Raises
    ------
    OSError
    """
    columns = {}
    for name, table in tables.items():
        shown = _escape_table(table) if safe_text else table
        # All texts in quotes: a lone carriage return would begin a row, and what follows it a cell.
        quoting: Any = csv.QUOTE_NONNUMERIC if safe_text else csv.QUOTE_MINIMAL
        shown.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", quoting=quoting)
        columns[f"{name}.csv"] = describe_columns(table, safe_text)
    if xlsx:
        _write_workbook(folder / WORKBOOK, tables)
    return columns


def describe_columns(frame: pd.DataFrame, safe_text: bool = False) -> dict[str, str]:
    """Type of each column, so that a text file gives back the same table: of numpy, `TEXT` or `ESCAPED`."""
    text = ESCAPED if safe_text else TEXT
    return {str(name): text if _is_text(dtype) else str(dtype) for name, dtype in frame.dtypes.items()}


def _is_text(dtype: Any) -> bool:
    return not (isinstance(dtype, np.dtype) and dtype.kind in "iufb")


# --- text -------------------------------------------------------------------------------------------------------


def _escape(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith((*_BEGINNINGS, "'")) else value


def unescape(text: str) -> str:
    """A text as it was before an apostrophe was put in front."""
    return text[1:] if text.startswith("'") else text


def _escape_table(table: pd.DataFrame) -> pd.DataFrame:
    shown = table.copy(deep=False)
    for k, dtype in enumerate(table.dtypes):
        if _is_text(dtype):
            shown.isetitem(k, [_escape(value) for value in table.iloc[:, k]])
    return shown.set_axis([_escape(str(name)) for name in table.columns], axis=1)


# --- workbook ---------------------------------------------------------------------------------------------------


def _write_workbook(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    """A sheet for each table, several for one that has more rows than a sheet."""
    openpyxl = require("openpyxl", "excel", f"writing {path.name}")
    cell_type: Callable[..., Any] = require("openpyxl.cell", "excel", f"writing {path.name}").WriteOnlyCell
    book = openpyxl.Workbook(write_only=True)
    for name, table in tables.items():
        for number, start in enumerate(range(0, max(len(table), 1), _MOST_ROWS), start=1):
            sheet = book.create_sheet(f"{name} {number}"[:_MOST_NAME] if number > 1 else name[:_MOST_NAME])
            sheet.freeze_panes = "A2"
            sheet.append([_make_cell(sheet, cell_type, str(column)) for column in table.columns])
            for row in _list_rows(table.iloc[start : start + _MOST_ROWS]):
                sheet.append([_make_cell(sheet, cell_type, value) for value in row])
    book.save(path)


def _list_rows(table: pd.DataFrame) -> Iterator[Sequence[Any]]:
    # Column by column, as whole numbers of a row with fractions would become fractions.
    return zip(*(table.iloc[:, k].tolist() for k in range(table.shape[1])), strict=True)


def _make_cell(sheet: Any, cell_type: Callable[..., Any], value: Any) -> Any:
    """A number as it is, nothing where there is none, and everything else as text that is never a formula."""
    if isinstance(value, bool) or (isinstance(value, (int, float)) and math.isfinite(value)):
        return value
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    text = _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))[:_MOST_LETTERS]
    cell = cell_type(sheet, value=text)
    cell.data_type = "s"
    return cell
