"""Tables in Excel workbooks and Parquet files."""

from __future__ import annotations

import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from bmtme.data.tables.limits import count_cells, refuse_archive, refuse_cells
from bmtme.errors import DataError, UsageError, blame
from bmtme.extras import require
from bmtme.words import list_names, suggest

__all__ = ["EXCEL_SUFFIXES", "PARQUET_SUFFIXES", "column_letters", "load_parquet", "read_parquet", "read_sheet"]

EXCEL_SUFFIXES = frozenset({".xlsx", ".xlsm"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
#: Of a sheet; up to the number of its last row openpyxl makes blank ones of those that are not there.
_MOST_ROWS = 2**20
#: Bytes of a cell of a Parquet table as an object of Python's.
_CELL = 40
#: Rows of one that are decoded at a time.
_ROWS = 1000


def read_sheet(path: str | os.PathLike[str], sheet: str | None = None) -> Iterator[tuple[int, list[Any]]]:
    """Read a sheet of a workbook row by row, the header first. Blank rows are skipped.

    Parameters
    ----------
    path : str or path
    sheet : str, optional
        By default the first visible one that is not blank.

    Returns
    -------
    iterator of (int, list)
        Number of the row in the sheet, from 1, and its cells: texts, numbers and None, as many as the header has. A
        whole number shown with leading zeros is the text shown. What is in the sheet counts, whatever extent the file
        claims for it.

    Raises
    ------
    DataError
        If the file cannot be read, has no such sheet or nothing in it, holds an error such as ``#REF!`` or a formula
        without its result, a cell beside the header's columns, or merged cells.
    UsageError
        If openpyxl is not installed.
    """
    name = Path(path).name
    openpyxl = require("openpyxl", "excel", f"reading {name}")
    try:
        # Twice: results of formulas, and the formulas, as one without a result looks empty.
        with warnings.catch_warnings(), open(path, "rb") as first, open(path, "rb") as second:
            with zipfile.ZipFile(first) as archive:
                refuse_archive(archive, name, workbook=True)
            first.seek(0)
            warnings.simplefilter("ignore")  # about styles and validations that do not matter here
            results = openpyxl.load_workbook(first, read_only=True, data_only=True)
            formulas = openpyxl.load_workbook(second, read_only=True)
            for page in [*results.worksheets, *formulas.worksheets]:
                page.reset_dimensions()  # else openpyxl reads no further than the file's own word on its extent
            chosen, others = _choose_sheet(results, sheet, name)
            place = f"sheet {chosen!r} of {name}"
            _check_layout(results[chosen], place)
            rows = _below_header(_pair_rows(results[chosen], formulas[chosen], place), place)
            rows = iter(list(count_cells(rows, place)))
    except (DataError, UsageError):
        raise
    except OSError as error:
        raise blame(error, DataError)(f"{os.fspath(path)} cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # openpyxl stumbles over damaged parts in many ways
        raise DataError(
            f"{name} is no Excel workbook that can be read ({_plain(error)}): save it anew as .xlsx, without a "
            "password."
        ) from None
    if others:
        warnings.warn(
            f"{name} has more than one sheet: the first, {chosen!r}, is read. Name another ({list_names(others, 5)}) "
            "with sheet= (in the shell --sheet).",
            stacklevel=4,
        )
    return rows


def _choose_sheet(book: Any, sheet: str | None, name: str) -> tuple[str, list[str]]:
    """Title of the sheet to read, and of others that might have been meant."""
    titles = [str(page.title) for page in book.worksheets]
    if sheet is not None:
        if sheet not in titles:
            raise DataError(f"{name} has no sheet {sheet!r}.{suggest(sheet, titles)} It has {list_names(titles)}.")
        return sheet, []
    filled = [
        str(page.title)
        for page in book.worksheets
        if page.sheet_state == "visible"
        and any(cell is not None for row in islice(page.values, _MOST_ROWS) for cell in row)
    ]
    if not filled:
        raise DataError(f"{name} has no visible sheet with anything in it: expected a header row and records.")
    return filled[0], filled[1:]


def _check_layout(page: Any, place: str) -> None:
    """Refuse what openpyxl passes over: rows and cells out of order, and values behind or beside a merged cell."""
    last_row = last_column = 0
    with page._get_source() as source:
        for event, element in ElementTree.iterparse(source, events=("start", "end")):
            tag = element.tag.rpartition("}")[2]
            if event == "end":
                if tag == "row":
                    element.clear()
                continue
            where = element.get("r", "")
            if tag == "row":
                row = int(float(where)) if where else last_row + 1
                if row <= last_row:
                    raise DataError(f"{place} has row {row} after row {last_row}: save the workbook anew.")
                if row > _MOST_ROWS:
                    raise DataError(f"{place} has row {row}, but a sheet ends at {_MOST_ROWS}: save the workbook anew.")
                last_row, last_column = row, 0
            elif tag == "c":
                column = _column_number(where) if where else last_column + 1
                if column <= last_column or (where and int(where.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) != last_row):
                    raise DataError(f"{place} has the cell {where} at a wrong place: save the workbook anew.")
                last_column = column
            elif tag == "mergeCell" and element.get("ref"):
                raise DataError(
                    f"{place} has the merged cells {element.get('ref')}, of which one alone holds the value: unmerge "
                    "them, and write the value in every cell that it is for."
                )


def column_letters(number: int) -> str:
    """Letters of a column, AB for 28."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _column_number(reference: str) -> int:
    """Number of a cell's column, 28 for AB7."""
    number = 0
    for letter in reference:
        if not letter.isalpha():
            break
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _pair_rows(results: Any, formulas: Any, place: str) -> Iterator[tuple[int, list[Any]]]:
    """Cells of the rows that are not blank."""
    for number, (shown, written) in enumerate(zip(results.iter_rows(), formulas.iter_rows(), strict=True), start=1):
        cells = []
        for cell, source in zip(shown, written, strict=True):
            if cell.value is None and source.value is not None:
                raise DataError(
                    f"{place} has a formula without its result in cell {source.coordinate}: open the workbook in a "
                    "spreadsheet program and save it, or put the values in place of the formulas."
                )
            if cell.data_type == "e":
                raise DataError(
                    f"{place} has the error {cell.value} in cell {cell.coordinate}: correct it or empty the cell."
                )
            cells.append(_as_shown(cell))
        if any(value is not None and value != "" for value in cells):
            yield number, cells


def _as_shown(cell: Any) -> Any:
    """The value of a cell; a whole number in a format such as 000 with its zeros."""
    value = cell.value
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and re.fullmatch("0{2,}", cell.number_format or ""):
        return f"{value:0{len(cell.number_format)}d}"
    return value


def _below_header(rows: Iterator[tuple[int, list[Any]]], place: str) -> Iterator[tuple[int, list[Any]]]:
    """The header without blank columns at its end, then rows of its width."""
    width = 0
    for number, cells in rows:
        filled = max(k for k, value in enumerate(cells, start=1) if value is not None and value != "")
        if not width:
            width = filled
        elif filled > width:
            raise DataError(
                f"{place} has {cells[filled - 1]!r} in cell {column_letters(filled)}{number}, but its header has "
                f"{width} columns: name the column, or empty the cell."
            )
        yield number, [*cells, *[None] * width][:width]
    if not width:
        raise DataError(f"{place} is empty: expected a header row and one row per record.")


def read_parquet(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a Parquet file as a frame with its records numbered from 1; as `load_parquet` with the errors."""

    def decode(table: Any) -> pd.DataFrame:
        # Whole numbers beside gaps stay whole: as floats, long ones would lose their last digits. As Python's own
        # objects, since columns that stay Arrow's are decoded only when they are used.
        frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True).astype(object)
        return pd.DataFrame(frame.set_axis(pd.RangeIndex(1, len(frame) + 1), axis=0))

    return load_parquet(path, decode)


def load_parquet(path: str | os.PathLike[str], decode: Callable[[Any], pd.DataFrame]) -> pd.DataFrame:
    """Read a Parquet file, which may hold far more than its size says.

    Parameters
    ----------
    path : str or path
    decode : callable
        Makes a frame of the file's ``pyarrow.Table``; must look at every cell, so that damaged ones show here.

    Raises
    ------
    DataError
        If the file cannot be read or decoded, or would fill the memory.
    UsageError
        If pyarrow is not installed.
    """
    name = Path(path).name
    pyarrow = require("pyarrow", "parquet", f"reading {name}")
    parquet = require("pyarrow.parquet", "parquet", f"reading {name}")
    try:
        with open(path, "rb") as file:
            found = parquet.ParquetFile(file)
            size = _CELL * found.metadata.num_rows * found.metadata.num_columns
            refuse_cells(name, size)
            # A long text that repeats is stored once, and may fill the memory.
            texts = [field.name for field in found.schema_arrow if not pyarrow.types.is_primitive(field.type)]
            for batch in found.iter_batches(_ROWS, columns=texts) if texts else ():
                size += 2 * batch.nbytes
                refuse_cells(name, size)
            return decode(found.read())  # read_table refuses a name that repeats
    except DataError:
        raise
    except OSError as error:
        raise blame(error, DataError)(f"{os.fspath(path)} cannot be read: {error.strerror or _plain(error)}.") from None
    except Exception as error:  # damaged parts come as errors of many kinds
        raise DataError(f"{name} is no Parquet file, or a damaged one ({_plain(error)}).") from None


def _plain(error: Exception) -> str:
    """The message of an error on one line, short."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 120 else f"{text[:117]}..."
