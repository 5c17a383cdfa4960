"""Delimited text and other text files, plain or compressed, read line by line or row by row."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import os
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bmtme.arguments import show
from bmtme.errors import DataError
from bmtme.words import count_noun

__all__ = ["open_lines", "read_rows", "read_words", "suffix"]

#: Sizes of a sheet in spreadsheet programs of today and of before 2007 (256 columns are no rare number).
_MOST_ROWS, _MOST_COLUMNS = (65_536, 1_048_576), (16_384,)
_LINE_BREAK = re.compile("\r\n|\r|\n")
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_TAB_SUFFIXES = frozenset({".tsv", ".tab"})
_Bytes = io.BufferedReader | gzip.GzipFile


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
    with open_lines(path) as lines:
        yield from _split_rows(lines, name, suffix(path), decimal)


@contextlib.contextmanager
def open_lines(path: str | os.PathLike[str], expected: str = "", hint: str = "") -> Iterator[Iterator[str]]:
    """Lines of a UTF-8 text (a byte order mark is skipped), possibly compressed with gzip, in one or several members.

    Parameters
    ----------
    path : str or path
    expected : str, optional
        What a file that is no such text should be; by default CSV.
    hint : str, optional
        A sentence for the message that the file cannot be opened.

    Yields
    ------
    iterator of str
        Each with its line break, as written.

    Raises
    ------
    DataError
        If the file cannot be opened, is no UTF-8 text, holds a zero byte, or is a gzip file that is damaged or cut off.
    """
    name = Path(path).name
    try:
        with open(path, "rb") as raw, _decompressed(raw) as plain:
            with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as lines:
                yield _without_zeros(lines, name)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text (byte 0x{error.object[error.start]:02x}): "
            f"{f'expected {expected}' if expected else 'save it as CSV in UTF-8'}."
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}).") from None
    except OSError as error:
        raise DataError(f"{os.fspath(path)} cannot be read: {error.strerror or error}.{hint and f' {hint}'}") from None


def _without_zeros(lines: Iterable[str], name: str) -> Iterator[str]:
    """The lines; a zero byte is damage, or text in two bytes a letter, and would hide in a name."""
    for row, line in enumerate(lines, start=1):
        if "\0" in line:
            raise DataError(f"{name} holds a zero byte in row {row}: it is damaged, or no UTF-8 text. Save it anew.")
        yield line


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
    rows = []
    with open_lines(path, expected, hint) as lines:
        for row, text in enumerate(lines, start=1):
            rows.append(text.split())
            if len(rows[-1]) != n:
                raise DataError(f"{Path(path).name} has {len(rows[-1])} columns in row {row}: expected {expected}.")
    return rows


def suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a file's name in lower case, without that of gzip."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _decompressed(raw: io.BufferedReader) -> _Bytes:
    # Told by the first bytes, not by the name: downloads are often compressed without saying so, and the reverse.
    head = raw.peek(18)
    if head[:2] != b"\x1f\x8b":
        return raw
    if head[12:14] == b"BC" and raw.seekable():
        # Members of bgzip's are whole in themselves: only the empty one at the end tells that none is missing.
        raw.seek(-len(_BGZIP_END), os.SEEK_END)
        if raw.read() != _BGZIP_END:
            raise EOFError("the block that ends a bgzip file is missing, so it is cut off")
        raw.seek(0)
    return gzip.GzipFile(fileobj=raw)


def _split_rows(lines: Iterator[str], name: str, ending: str, decimal: str) -> Iterator[tuple[int, list[str]]]:
    skipped = 0
    first = next(lines, "")
    while first and not first.strip():
        skipped += 1
        first = next(lines, "")
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
                if reader.line_num + skipped > start:
                    _refuse_swallowed(cells, delimiter, name, start)
                yield start, cells
            start = skipped + reader.line_num + 1
    except csv.Error as error:
        if str(error) == "unexpected end of data":
            raise DataError(
                f"{name} cannot be split into cells at row {start}: a quote that opens there is never closed. Close it."
            ) from None
        raise DataError(f"{name} cannot be split into cells at row {start}: {error}. Check the quotes there.") from None
    _warn_of_limits(start - 1, width, name)


def _refuse_swallowed(cells: Sequence[str], delimiter: str, name: str, row: int) -> None:
    """Refuse a cell in which a quote that was never closed has taken in rows up to the next quote.

    Such a cell, in column k of w, holds the rest of its own row, w - k - 1 delimiters, whole rows perhaps, and the
    start of the row with the next quote, k delimiters.
    """
    last = len(cells) - 1
    for k, cell in enumerate(cells):
        parts = _LINE_BREAK.split(cell)
        if len(parts) < 2 or not last:
            continue
        counts = [part.count(delimiter) for part in parts]
        if counts[0] == last - k and counts[-1] == k and all(count in (0, last) for count in counts[1:-1]):
            raise DataError(
                f"{name} has a quote in row {row} that is closed only {count_noun(len(parts) - 1, 'row')} further on, "
                f"so that whole rows would be taken as one cell ({show(cell, 60)}): close the quote in row {row}."
            )


def _warn_of_limits(rows: int, columns: int, name: str) -> None:
    """Say that a table may have been cut off by a spreadsheet program, if it is as large as these hold."""
    for number, limits, noun in ((rows, _MOST_ROWS, "rows"), (columns, _MOST_COLUMNS, "columns")):
        if number in limits:
            warnings.warn(
                f"{name} has exactly {number:,} {noun}, the most that a spreadsheet program holds: it may have been "
                "cut off there. Compare it with its source.",
                stacklevel=5,
            )


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
