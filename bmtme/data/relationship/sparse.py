"""Matrices as rows of row, column and value, zeros left out: ASReml's .giv and .grm, and long tables with names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bmtme.data.relationship.entries import SYMMETRY_TOLERANCE, parse_entry
from bmtme.data.relationship.triangles import read_gcta_text, read_ids, read_rows_of
from bmtme.data.tables.cells import unique_names
from bmtme.data.tables.limits import count_cells
from bmtme.data.tables.texts import open_lines
from bmtme.errors import DataError

__all__ = ["Sparse", "is_sparse", "read_asreml", "read_sparse"]

#: Endings of ASReml's texts; those that say that the matrix is an inverse.
INVERSE_ENDINGS = (".giv", ".giv.gz")
ENDINGS = (*INVERSE_ENDINGS, ".grm")
_WORDS = "line|id|ind|individual|accession|genotype|clone|germplasm|stock"
_ROW = re.compile(rf"(row|i|{_WORDS})s?[ _.]?(1|i|a)?|var1")
_COLUMN = re.compile(rf"(col|column|j|{_WORDS})s?[ _.]?(2|j|b)?|var2")
#: Letters of a word in a header, such as Ainverse or Ginv.
_INVERSE = re.compile(r".*inv")
_QUALIFIER = re.compile(r"!([A-Z]+) +([-+.0-9eE]+)")
_NUMBER = re.compile(r"[0-9]+")
Rows = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True)
class Sparse:
    """A matrix, the names of its lines, and why it is an inverse, if the file says so."""

    entries: np.ndarray
    lines: tuple[str, ...]
    inverse: str | None = None


def is_sparse(header: Sequence[str]) -> bool:
    """Whether a first row is that of row, column and value, with a header or without."""
    cells = [cell.strip() for cell in header]
    if len(cells) != 3:
        return False
    row, column = cells[0].casefold(), cells[1].casefold()
    if _ROW.fullmatch(row) and _COLUMN.fullmatch(column) and row != column:
        return True
    return bool(cells[0]) and cells[0] == cells[1] and _is_number(cells[2])


def read_asreml(path: str, ids: str) -> Sparse:
    """A ``.giv`` or ``.grm``: row, column and value, or the lower triangle row by row; GCTA's unpacked text too.

    Rows that begin with # are left out. A first row may hold qualifiers of ASReml: of ``!LDET`` the logarithm of the
    determinant is compared with that of the matrix.

    Raises
    ------
    DataError
        If the file cannot be read, has other columns, or does not go with the file of its names.
    """
    name = Path(path).name
    inverse = "by its ending" if path.lower().endswith(INVERSE_ENDINGS) else None
    qualifiers: dict[str, float] = {}
    first: list[str] = []
    with open_lines(path, "rows of row, column and value", whole=False) as lines:
        for text in lines:
            if text.startswith("!"):
                qualifiers |= {word: float(value) for word, value in _QUALIFIER.findall(text)}
            elif text.strip() and not text.startswith("#"):
                first = text.replace(",", " ").split()
                break
    if qualifiers.get("GROUPSDF", qualifiers.get("GROUPDF", 0.0)) > 0:
        raise DataError(f"{name} has rows of genetic groups (!GROUPSDF), which have no relationship: make one without.")
    if len(first) == 4:
        return Sparse(*read_gcta_text(path, ids), inverse)
    id_file = Path((path[:-3] if path.lower().endswith(".gz") else path) + ".id")
    if len(first) == 1:
        names = read_ids(id_file, ids, f"The names of the lines of {name} are expected there, one a row.")
        found = Sparse(read_rows_of(path, names, id_file.name), names, inverse)
    else:
        with open_lines(path, "rows of row, column and value") as lines:
            found = read_sparse(name, first, _split(lines), ids, id_file, inverse)
    if "LDET" in qualifiers:
        _check_determinant(found.entries, qualifiers["LDET"], name)
    return found


def _split(lines: Iterable[str]) -> Rows:
    for row, text in enumerate(lines, start=1):
        if text.strip() and not text.startswith(("#", "!")):
            yield row, text.replace(",", " ").split()


def read_sparse(
    name: str, first: Sequence[str], rows: Rows, ids: str, id_file: Path, inverse: str | None = None
) -> Sparse:
    """A matrix of rows of row, column and value.

    Parameters
    ----------
    name : str
        Of the file.
    first : sequence of str
        The first row, which may be a header.
    rows : iterator of (int, list of str)
        All rows, the first among them where it is no header.
    ids : {"auto", "iid", "fid"}
    id_file : Path
        File with the names of the lines, where rows and columns are numbers.
    inverse : str, optional
        What says that it is an inverse; so does a header such as Ainverse or Ginv over the values.

    Raises
    ------
    DataError
        For another number of cells, a pair that stands there twice or differs from its mirror image, a line without
        a relationship with itself, and numbers in place of names without a file of these.
    """
    headed = len(first) == 3 and not _is_number(first[2].strip())
    if headed and inverse is None and _INVERSE.match(first[2].casefold()):
        inverse = f"by the header {first[2].strip()!r} of its values"
    triples: list[tuple[int, str, str, str]] = []
    for row, cells in count_cells(rows, name):
        words = [cell.strip() for cell in cells]
        if headed and not triples and words == [cell.strip() for cell in first]:
            continue
        if len(words) != 3 or not all(words):
            raise DataError(f"{name} has {len(words)} cells in row {row}: expected three, row, column and value.")
        triples.append((row, *words))
    if not triples:
        raise DataError(f"{name} has no rows: expected row, column and value in each.")
    lines, places = _find_lines(name, triples, ids, id_file)
    entries = np.full((len(lines), len(lines)), np.nan)
    for row, first_word, second, value in triples:
        j, k = places[first_word], places[second]
        if not np.isnan(entries[j, k]):
            raise DataError(f"{name} has row {first_word!r} and column {second!r} twice, in row {row} again.")
        entries[j, k] = parse_entry(value, lines[j], lines[k], f"{name}, row {row}")
    gaps = np.flatnonzero(np.isnan(entries.diagonal()))
    if len(gaps):
        raise DataError(
            f"{name} has no entry of line {lines[gaps[0]]!r} with itself ({len(gaps):,} such lines): every line needs "
            "one; only zeros off the diagonal may be left out."
        )
    return Sparse(_join(entries, lines, name), lines, inverse)


def _find_lines(
    name: str, triples: Sequence[tuple[int, str, str, str]], ids: str, id_file: Path
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the lines, and the place of each word for a row or a column."""
    words = list(dict.fromkeys(word for _, *pair, _ in triples for word in pair))
    numbered = all(_NUMBER.fullmatch(word) for word in words)
    if not numbered:
        lines = unique_names(words, f"the rows of {name}")
        return lines, {word: j for j, word in enumerate(words)}
    if not id_file.is_file():
        raise DataError(
            f"{name} has numbers for rows and columns, as ASReml's .giv and .grm do, and none for the names of the "
            f"lines: put these into {id_file.name} beside it, one a row, in the order of the numbers (in R, "
            f"writeLines(attr(x, 'rowNames'), '{id_file.name}')); if the numbers are the names, list them there."
        )
    lines = read_ids(id_file, ids, "")
    most = max(map(int, words))
    if most > len(lines) and set(words) <= set(lines):
        return lines, {line: j for j, line in enumerate(lines)}
    if most > len(lines) or min(map(int, words)) < 1 or len(set(map(int, words))) < len(lines):
        raise DataError(
            f"{name} has the rows {min(map(int, words))} to {most:,}, {len(words):,} in all, but {id_file.name} names "
            f"{len(lines):,} lines: the two files do not belong together, or one is cut off."
        )
    return lines, {word: int(word) - 1 for word in words}


def _join(entries: np.ndarray, lines: Sequence[str], name: str) -> np.ndarray:
    """One matrix of both triangles, of which one will do; zeros where there is nothing."""
    mirror = entries.T
    gap = np.nan_to_num(np.abs(entries - mirror))
    j, k = map(int, np.unravel_index(int(gap.argmax()), gap.shape))
    if gap[j, k] > SYMMETRY_TOLERANCE * np.nanmax(entries.diagonal()):
        raise DataError(
            f"{name} is not symmetric: the entry of lines {lines[j]!r} and {lines[k]!r} is {entries[j, k]:.10g} but "
            f"that of {lines[k]!r} and {lines[j]!r} is {entries[k, j]:.10g} (the worst of all pairs)."
        )
    return np.nan_to_num(np.where(np.isnan(entries), mirror, entries))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_determinant(entries: np.ndarray, given: float, name: str) -> None:
    sign, found = np.linalg.slogdet(entries)
    if sign <= 0 or min(abs(found - given), abs(found + given)) > 1e-4 * max(1.0, abs(found)):
        raise DataError(
            f"{name} says that the logarithm of its determinant is {given:.6g} (!LDET), but it is {found:.6g}: the "
            "file was changed or is cut off."
        )
