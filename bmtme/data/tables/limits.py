"""How much a file may hold: what a compressed one unfolds to, and the cells of a table that are in memory at a time."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from bmtme.arguments import measure_memory, show
from bmtme.errors import DataError, UsageError

__all__ = ["LIMIT", "count_cells", "describe_excess", "find_limit", "refuse_archive", "refuse_cells"]

#: Environment variable with the most that a compressed file may unfold to, in GB (10^9 bytes).
LIMIT = "BMTME_MAX_UNFOLDED_GB"
#: Its default: 10,000 lines by a million markers as text.
_MOST = 20.0
#: Of a part of a workbook: how many times larger it may become, and the bytes up to which that does not matter.
_MOST_TIMES, _SMALL = 100, 10**8
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


def describe_excess(name: str, limit: float) -> str:
    """Words for a compressed file that unfolds to more than the limit."""
    return (
        f"{name} unfolds to more than {limit / 1e9:g} GB: it is damaged, or made to fill the memory. If it is sound, "
        f"unpack it, or set the environment variable {LIMIT} to more."
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
        raise DataError(describe_excess(name, limit))
    for member in members if workbook else ():
        if member.file_size > max(_SMALL, _MOST_TIMES * member.compress_size):
            raise DataError(
                f"{name} has a part, {show(member.filename)}, that unfolds to {member.file_size / 1e9:.1f} GB, more "
                f"than {_MOST_TIMES} times its size in the file: it is damaged, or made to fill the memory. If it is "
                "sound, save the sheet as CSV."
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
