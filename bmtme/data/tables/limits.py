"""How much a file may hold: what a compressed one unfolds to, and the cells of a table that are in memory at a time."""

from __future__ import annotations

import gzip
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

from bmtme.arguments import show
from bmtme.errors import DataError, UsageError
from bmtme.memory import measure_memory

__all__ = ["LIMIT", "LONGEST_LINE", "count_cells", "find_limit", "refuse_archive", "refuse_cells", "refuse_excess"]

#: Environment variable with the most that a compressed file may unfold to, in GB (10^9 bytes).
LIMIT = "BMTME_MAX_UNFOLDED_GB"
#: Its default: 10,000 lines by a million markers as text.
_MOST = 20.0
#: Characters of a line, many times those of a million genotypes.
LONGEST_LINE = 2**27
#: How many times larger a text may become, and the bytes and lines up to which that does not matter. gzip shrinks what
#: repeats itself without end to a 1,030th; to a 100th genotypes of alleles of half a percent, to a 500th relationships
#: of pedigrees, nearly all zeros.
_MOST_TIMES, _SMALL, _FEW_LINES = 300, 2 * 10**9, 10**7
#: The times, and bytes, of a part of a workbook, which is parsed several times, in memory.
_MOST_TIMES_OF_PART, _SMALL_PART = 100, 10**7
#: Bytes unfolded at a time.
_PIECE = 2**20
#: Bytes of a cell as a text of Python's, in a list, beside its letters.
_CELL = 64
#: Rows between two looks.
_ROWS = 10_000


def find_limit() -> float:
    """Bytes that a compressed file may unfold to.

    Raises
    ------
    UsageError
        If `LIMIT` is no positive number.
    """
    text = os.environ.get(LIMIT, "").strip()
    try:
        most = float(text) if text else _MOST
    except ValueError:
        most = math.nan
    if not most > 0:
        raise UsageError(f"the environment variable {LIMIT} must be a positive number of GB, got {show(text)}.")
    return 1e9 * most


def refuse_excess(packed: gzip.GzipFile, raw: IO[bytes], name: str) -> None:
    """Unfold a compressed text to its end, keeping nothing, and go back to its start.

    Parsing is a hundred times slower: what is made to fill the memory is told before.

    Parameters
    ----------
    packed : GzipFile
        At its start.
    raw : file
        The bytes that it reads.
    name : str

    Raises
    ------
    DataError
        If it unfolds to more than `find_limit`, or, where no limit is given, to many times its size. Errors of
        `packed`, where the file is damaged or cut off, go through. A line that is too long is left to the reader.
    UsageError
    """
    if not raw.seekable():
        raise DataError(f"{name} is a pipe with something compressed: unpack it on the way (zcat), or name the file.")
    limit = find_limit()
    times = math.inf if os.environ.get(LIMIT, "").strip() else _MOST_TIMES
    size = lines = last = 0
    while (piece := packed.read(_PIECE)) and size - last <= 4 * LONGEST_LINE:
        ends = piece.count(b"\n") + piece.count(b"\r")
        size, lines = size + len(piece), lines + ends
        last = size if ends else last
        if size > limit:
            raise DataError(_describe_excess(name, f"{limit / 1e9:g} GB", "more"))
        if (size > _SMALL or lines > _FEW_LINES) and size > times * raw.tell():
            raise DataError(_describe_excess(name, f"{times} times its size", "the GB that it may become"))
    packed.seek(0)


def _describe_excess(name: str, most: str, enough: str) -> str:
    return (
        f"{name} unfolds to more than {most}: it is damaged, or made to fill the memory. If it is sound, unpack it, or "
        f"set the environment variable {LIMIT} to {enough}."
    )


def refuse_archive(archive: zipfile.ZipFile, name: str, workbook: bool = False) -> None:
    """Refuse a zip archive whose members unfold to too much; no more is read of a member than it says to hold.

    Parameters
    ----------
    archive : ZipFile
    name : str
    workbook : bool
        Whether the members are parts of a workbook, which are parsed in memory: a large one is refused, too, that
        shrank to less than one part in a hundred, as sheets with data do not.

    Raises
    ------
    DataError, UsageError
    """
    limit = find_limit()
    members = archive.infolist()
    if sum(member.file_size for member in members) > limit:
        raise DataError(_describe_excess(name, f"{limit / 1e9:g} GB", "more"))
    for member in members if workbook else ():
        if member.file_size > max(_SMALL_PART, _MOST_TIMES_OF_PART * member.compress_size):
            raise DataError(
                f"{name} has a part, {show(member.filename)}, that unfolds to {member.file_size / 1e9:.2g} GB, more "
                f"than {_MOST_TIMES_OF_PART} times its size in the file: it is damaged, or made to fill the memory. "
                "If it is sound, save the sheet as CSV."
            )


def count_cells(rows: Iterator[tuple[int, list[Any]]], name: str) -> Iterator[tuple[int, list[Any]]]:
    """The same rows, refused once they would fill the machine's memory.

    Raises
    ------
    DataError
    """
    size = 0
    for count, (row, cells) in enumerate(rows, start=1):
        size += _CELL * len(cells) + _count_letters(cells)
        if count % _ROWS == 0:
            refuse_cells(name, size, f"up to row {row:,} alone")
        yield row, cells


def _count_letters(cells: Sequence[Any]) -> int:
    return sum(len(cell) for cell in cells if isinstance(cell, str))


def refuse_cells(name: str, size: float, part: str = "") -> None:
    """Refuse a table whose cells would take so many bytes, if that is more than half of the machine's memory.

    Parameters
    ----------
    name : str
        Of the file.
    size : float
    part : str, optional
        Which part of it takes as much.

    Raises
    ------
    DataError
    """
    there = measure_memory()
    if size > there / 2:
        raise DataError(
            f"{name} would take about {size / 2**30:,.1f} GB of memory{part and f' {part}'}, of which this machine has "
            f"{there / 2**30:,.1f} GB: leave out rows and columns that are not needed."
        )
