"""How texts separate their cells: tabs, commas, semicolons or blanks, and the header that R leaves one cell short."""

from __future__ import annotations

import csv
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence

from bmtme.arguments import show
from bmtme.errors import DataError
from bmtme.words import count_noun

__all__ = ["split_rows"]

#: Sizes of a sheet in spreadsheet programs of today and of before 2007 (256 columns are no rare number).
_MOST_ROWS, _MOST_COLUMNS = (65_536, 1_048_576), (16_384,)
_LINE_BREAK = re.compile("\r\n|\r|\n")
_WORDS = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "blank"}
#: A cell between blanks: in double quotes, with those inside doubled or after a backslash (R), or without.
_CELL = re.compile(r'[ \t]*(?:"((?:\\"|""|[^"])*)"(?=[ \t\r\n]|$)|([^" \t\r\n][^ \t\r\n]*))')
_QUOTED = re.compile(r'"[^"]*"')

Rows = Iterator[tuple[int, list[str]]]


def split_rows(lines: Iterator[str], name: str, ending: str, decimal: str, named: bool) -> Rows:
    """Rows of a text with their numbers, from 1, and as many cells as the header; see `texts.read_rows`.

    Parameters
    ----------
    lines : iterator of str
        With their line breaks.
    name, ending : str
        Of the file; the ending without that of gzip.
    decimal : {".", ","}
    named : bool
        Whether it is a matrix, whose rows have names.

    Raises
    ------
    DataError
        If there is nothing, quotes do not close, or a row has more or fewer cells than the header.
    """
    skipped = 0
    first = next(lines, "")
    while first and not first.strip():
        skipped += 1
        first = next(lines, "")
    if not first:
        raise DataError(f"{name} is empty: expected a header row and one row per record.")
    mark = _find_separator(first, name, ending, decimal)
    text = itertools.chain([first], lines)
    rows = _split_at_blanks(text, name, skipped) if mark == " " else _split_at(mark, text, name, skipped)
    start, header = next(rows)
    row = start
    short: bool | None = None
    names: set[str] = set()
    for row, cells in rows:
        if short is None:
            # Now it shows whether the header is short.
            short = (
                len(cells) == len(header) + 1 and bool(cells[-1].strip()) and (named or cells[0].strip().isdecimal())
            )
            header = [""] * (short and named) + header
            yield start, header
        if short and not named:
            _check_row_name(cells[0].strip(), names, name, row)
            del cells[0]
        if len(cells) != len(header):
            raise DataError(_ragged(name, row, cells, len(header), mark))
        yield row, cells
    if short is None:
        yield start, header
    _warn_of_limits(row, len(header), name)


def _check_row_name(label: str, names: set[str], name: str, row: int) -> None:
    """Refuse a name of a row, as R would have put it in front, that is no number or no new one."""
    if label in names or not label.isdecimal():
        raise DataError(
            f"{name} has one cell less in its header than in its rows, as if R had written the names of the rows in "
            f"front, but {label!r} in row {row} {'stands there twice' if label in names else 'is no number'}: name "
            "every column in the header."
        )
    names.add(label)


def _find_separator(header: str, name: str, ending: str, decimal: str) -> str:
    """What separates the cells of the header, outside quotes."""
    bare = _QUOTED.sub("", header)
    if decimal == "," and ";" in bare and "\t" not in bare:
        return ";"
    marks = ",\t" if ending == ".csv" else "\t,"
    found = next((mark for mark in marks if mark in bare), None)
    if found is not None:
        return found
    if ";" in bare:
        raise DataError(
            f"{name} seems to separate its columns by semicolons: save it as .csv with commas (and decimal points) or "
            "as .tsv with tabs; phenotypes with decimal commas can be read as they are, with decimal=',' (in the shell "
            "--decimal ,)."
        )
    return " " if len(_CELL.findall(header.rstrip())) > 1 else ","


def _split_at_blanks(lines: Iterator[str], name: str, skipped: int) -> Rows:
    for row, line in enumerate(lines, start=skipped + 1):
        text = line.rstrip()
        if not text:
            continue
        if '"' not in text:
            yield row, re.findall(r"[^ \t]+", text)
            continue
        cells = []
        place = 0
        while place < len(text):
            found = _CELL.match(text, place)
            if found is None:
                raise DataError(
                    f"{name} cannot be split into cells at row {row}: a quote does not close before a blank. Check the "
                    "quotes there."
                )
            quoted, plain = found.groups()
            cells.append(plain if quoted is None else quoted.replace('\\"', '"').replace('""', '"'))
            place = found.end()
        yield row, cells


def _split_at(delimiter: str, lines: Iterator[str], name: str, skipped: int) -> Rows:
    # Without skipinitialspace, the quotes of a cell written after a comma and a space would become part of it.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    start = skipped + 1
    try:
        for cells in reader:
            if len(cells) > 1 or any(cell.strip() for cell in cells):
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


def _ragged(name: str, row: int, cells: Sequence[str], width: int, mark: str) -> str:
    """Words for a row with another number of cells than the header."""
    message = f"{name} has {len(cells)} cells in row {row} but {width} in its header"
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        return (
            f"{message}, as the row ends with a {_WORDS[mark]} more: take such {_WORDS[mark]}s away, or add them to "
            "the header too."
        )
    message += ": every row needs as many as the header."
    if mark == " " and len(cells) > width:
        message += " Blanks separate the columns here: put names with a blank into double quotes."
    if len(cells) == width + 1:
        message += (
            " (R's write.table leaves out the header of the row names, which is understood where these are numbers, "
            "all different: else write with write.csv.)"
        )
    return message
