"""Genotypes of tables in text: cells turned into bytes, and tables with lines in rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bmtme.data.markers.codes import MissingCodes
from bmtme.data.markers.genotypes import Markers, ask_about_rows
from bmtme.data.tables.cells import unique_names
from bmtme.data.tables.files import check_header
from bmtme.data.tables.limits import refuse_cells
from bmtme.errors import DataError
from bmtme.progress import Progress
from bmtme.words import list_names

__all__ = ["MISSING_BYTE", "Collected", "Numbers", "bad_cell", "compact", "read_lines", "stack"]

#: Texts remembered with their numbers; dosages may be all different.
_MOST_TEXTS = 10_000
#: In arrays of bytes, no genotype.
MISSING_BYTE = -128
#: Columns of PLINK's .raw before the markers.
RAW_HEADER = ("FID", "IID", "PAT", "MAT", "SEX", "PHENOTYPE")
#: Headers of the first column that say that the rows are markers.
_MARKER_WORDS = frozenset(
    "marker markers snp snps snpid rs rs# rsid locus loci probe probeid alleleid cloneid chr chrom".split()
)
#: Bytes of a row beside its genotypes.
_ROW = 500
#: Rows between two looks.
_ROWS = 100
Rows = Iterator[tuple[int, list[str]]]


class Collected(list[np.ndarray]):
    """Genotypes row by row, refused once they, and the array that is made of them, would fill the machine's memory."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.size = 0

    def append(self, codes: np.ndarray) -> None:
        super().append(codes)
        self.size += codes.nbytes + _ROW
        if len(self) % _ROWS == 0:
            refuse_cells(self.source, 2 * self.size)


class Numbers(dict[str, float]):
    """Number of a text, found when it is first met: a table of genotypes has few different texts."""

    def __init__(self, missing: MissingCodes) -> None:
        self.missing = missing

    def __missing__(self, text: str) -> float:
        value = self.missing.parse(text)
        if len(self) < _MOST_TEXTS:
            self[text] = value
        return value


def read_lines(
    source: str,
    header: Sequence[str],
    rows: Rows,
    coding: str,
    missing: Iterable[Any],
    ploidy: int,
    progress: bool | None,
) -> Markers:
    """Genotypes of a table with lines in rows, their names in the first column and those of the markers in the header.

    Raises
    ------
    DataError
        For a line without a name or with that of another, and a genotype that is none.
    """
    absent = MissingCodes(missing)
    names = [cell.strip() for cell in header]
    check_header(names, source)
    _refuse_strangers(names, source)
    del names[0]
    numbers = Numbers(absent)
    labels: list[str] = []
    codes = Collected(source)
    bar = Progress(1, f"reading {source}", progress)
    try:
        for row, cells in rows:
            label = cells.pop(0).strip()
            if not label:
                raise DataError(
                    f"{source} has no line name in row {row}: the first column must hold the names of the lines."
                )
            try:
                values = np.fromiter(map(numbers.__getitem__, cells), np.float64, len(cells))
            except DataError:
                raise DataError(bad_cell(source, row, label, names, cells, absent)) from None
            labels.append(label)
            codes.append(compact(values))
            if len(labels) % 100 == 0:
                bar.write(f"reading {source}: {len(labels)} lines")
    finally:
        bar.close()
    lines = unique_names(labels, f"the first column of {source}")
    ask_about_rows(lines, names, source, stacklevel=4)
    return Markers.from_codes(stack(codes), lines, names, source, coding, absent, ploidy)


def _refuse_strangers(names: list[str], source: str) -> None:
    """Refuse columns that hold no genotypes, and markers in rows."""
    strangers = [name for name in names[1:] if name.upper() in RAW_HEADER]
    if strangers:
        raise DataError(
            f"{source} has the column{'' if len(strangers) == 1 else 's'} {list_names(strangers)} beside the markers, "
            "as PLINK's .raw does: expected the names of the lines in the first column and nothing but markers after "
            "it."
        )
    if re.sub(r"[^a-z#]", "", names[0].casefold()) in _MARKER_WORDS:
        raise DataError(
            f"{source} has {names[0]!r} at the head of its first column, so that its rows seem to be markers: expected "
            "lines in rows and markers in columns. Turn the table (in R, t(); in pandas, .T); if its rows are lines, "
            "head their column 'line'."
        )


def bad_cell(source: str, row: int, label: str, names: list[str], cells: list[str], missing: MissingCodes) -> str:
    """Words for the first cell of a row that is no genotype."""
    for name, cell in zip(names, cells, strict=True):
        try:
            missing.parse(cell)
        except DataError as error:
            return (
                f"{source}, row {row}: the genotype of line {label!r} at marker {name!r} is {error}: expected a number "
                "such as 0, 1 or 2, or an empty cell, NA or NaN if missing (other codes are named with missing=, in "
                "the shell --missing). The first column must hold the lines, all others markers."
            )
    raise AssertionError("no cell of the row is bad")


def compact(values: np.ndarray) -> np.ndarray:
    """Genotypes of a line as bytes, -128 for missing, or as 32-bit floats where they have fractions."""
    absent = np.isnan(values)
    whole = np.where(absent, MISSING_BYTE, values)
    if (np.abs(whole) <= -MISSING_BYTE).all() and (whole == np.rint(whole)).all() and (whole < 128).all():
        return whole.astype(np.int8)
    return values.astype(np.float32)


def stack(rows: list[np.ndarray]) -> np.ndarray:
    """Genotypes of all lines, as bytes if those of every line are."""
    if any(codes.dtype != np.int8 for codes in rows):
        rows = [_as_floats(codes) for codes in rows]
    return np.array(rows)


def _as_floats(codes: np.ndarray) -> np.ndarray:
    if codes.dtype != np.int8:
        return codes
    return np.where(codes == MISSING_BYTE, np.nan, codes).astype(np.float32)
