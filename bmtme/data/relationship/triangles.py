"""Matrices whose names stand in a file beside them: GCTA's .grm.bin and .grm.gz, PLINK's .rel and .rel.bin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmtme.data.relationship.entries import parse_entry
from bmtme.data.tables.cells import individual_names, unique_names
from bmtme.data.tables.texts import open_lines
from bmtme.errors import DataError, blame

__all__ = [
    "GCTA_ENDINGS",
    "find_gcta",
    "find_rel",
    "read_gcta",
    "read_gcta_text",
    "read_ids",
    "read_rel",
    "read_rows_of",
]

#: GCTA's three files, the largest last: where it is there, all are.
GCTA_ENDINGS = (".grm.id", ".grm.N.bin", ".grm.bin")
_GCTA_TEXT = ".grm.gz"
_REL_ENDINGS = (".rel", ".rel.gz", ".rel.bin")
Matrix = tuple[np.ndarray, tuple[str, ...]]


# --- names ------------------------------------------------------------------------------------------------------


def read_ids(path: Path, ids: str, hint: str) -> tuple[str, ...]:
    """Names of lines in a file of IDs: the family's and the individual's, or one name a row.

    A first row that begins with # names the columns, as in PLINK 2's (``#FID IID``, ``#IID``).

    Raises
    ------
    DataError
        If the file cannot be read, has another number of words in a row, or names a line twice.
    """
    families: list[str] = []
    names: list[str] = []
    places: tuple[int, int] | None = None  # of the two IDs; the same where there is one only
    width = 0
    with open_lines(path, "the IDs of lines", hint) as lines:
        for row, text in enumerate(lines, start=1):
            words = text.split()
            if row == 1 and text.startswith("#"):
                columns = [word.lstrip("#").upper() for word in words]
                if "IID" not in columns:
                    raise DataError(f"{path.name} has no column IID in its header: expected #FID IID, or #IID.")
                iid = columns.index("IID")
                places, width = (columns.index("FID") if "FID" in columns else iid, iid), len(words)
                continue
            if places is None:
                width = min(max(len(words), 1), 2)
                places = (0, width - 1)
            if len(words) != width:
                expected = "two, the family's and the individual's ID" if width == 2 else f"{width}, as in the first"
                raise DataError(f"{path.name} has {len(words)} columns in row {row}: expected {expected}.")
            families.append(words[places[0]])
            names.append(words[places[1]])
    if places is not None and places[0] == places[1]:
        if ids == "fid":
            raise DataError(f"{path.name} has no IDs of families (ids='fid', --ids fid): it names each line once.")
        return unique_names(names, path.name)
    return individual_names(list(zip(families, names, strict=True)), path.name, ids, stacklevel=6)


# --- GCTA -------------------------------------------------------------------------------------------------------


def find_gcta(path: str) -> str | None:
    """The matrix of GCTA's that a path is about, binary or text, or None; the path may be the beginning of its name."""
    lower = path.lower()
    for ending in GCTA_ENDINGS:
        if lower.endswith(ending.lower()):
            return _present(path[: -len(ending)]) or path[: -len(ending)] + GCTA_ENDINGS[-1]
    if lower.endswith(_GCTA_TEXT):
        return path
    if Path(path).exists():
        return None
    return _present(path[: -len(".grm")] if lower.endswith(".grm") else path)


def _present(prefix: str) -> str | None:
    return next((prefix + end for end in (GCTA_ENDINGS[-1], _GCTA_TEXT) if Path(prefix + end).exists()), None)


def read_gcta(path: str, ids: str) -> Matrix:
    """The lower triangle of a ``.grm.bin``, 32-bit floats, with the names of its ``.grm.id``."""
    prefix = path[: -len(GCTA_ENDINGS[-1])]
    grm_file = Path(path)
    together = f"GCTA's matrices are files side by side with one name, {', '.join(GCTA_ENDINGS)}."
    lines = read_ids(Path(prefix + GCTA_ENDINGS[0]), ids, together)
    n = len(lines)
    triangle = _load(grm_file, "<f4", {"triangle": n * (n + 1) // 2}, f"{Path(prefix).name}.grm.id", n, together)[1]
    return _fill(triangle, n, lines, grm_file.name), lines


def read_gcta_text(path: str, ids: str) -> Matrix:
    """GCTA's ``.grm.gz``, or the same unpacked: two lines by number in ``.grm.id``, number of markers, entry."""
    name = Path(path).name
    id_file = Path((path[:-3] if path.lower().endswith(".gz") else path) + ".id")
    lines = read_ids(id_file, ids, f"The names of the lines of {name} stand in {id_file.name}, as GCTA writes it.")
    n = len(lines)
    entries = np.full((n, n), np.nan)
    with open_lines(path, "a .grm.gz of GCTA") as rows:
        for row, text in enumerate(rows, start=1):
            words = text.split()
            if len(words) != 4:
                raise DataError(
                    f"{name} has {len(words)} columns in row {row}: expected four, the numbers of two lines, the "
                    "number of markers, and the entry."
                )
            pair = [int(word) - 1 if word.isascii() and word.isdecimal() else n for word in words[:2]]
            if not all(0 <= place < n for place in pair):
                raise DataError(
                    f"{name} has the lines {words[0]} and {words[1]} in row {row}: expected numbers from 1 to {n:,}, "
                    f"the lines of {id_file.name}."
                )
            j, k = pair
            if not np.isnan(entries[j, k]):
                raise DataError(f"{name} has the entry of lines {words[0]} and {words[1]} twice, in row {row} again.")
            entries[j, k] = entries[k, j] = parse_entry(words[3], lines[j], lines[k], f"{name}, row {row}")
    gaps = np.argwhere(np.isnan(entries))
    if len(gaps):
        raise DataError(
            f"{name} has no entry for lines {gaps[0, 0] + 1} and {gaps[0, 1] + 1} ({lines[gaps[0, 0]]!r}, "
            f"{lines[gaps[0, 1]]!r}) of the {n:,} lines of {id_file.name}: the two files do not belong together, or "
            "one is cut off."
        )
    return entries, lines


# --- PLINK ------------------------------------------------------------------------------------------------------


def find_rel(path: str) -> str | None:
    """The matrix of PLINK's ``--make-rel`` that a path is about, or None."""
    lower = path.lower()
    if lower.endswith(".rel.id"):
        stem = path[: -len(".rel.id")]
        return next((stem + end for end in _REL_ENDINGS if Path(stem + end).exists()), f"{stem}.rel")
    return path if lower.endswith(_REL_ENDINGS) else None


def read_rel(path: str, ids: str) -> Matrix:
    """PLINK's ``.rel`` (text) or ``.rel.bin`` (64 or 32 bits), square or a triangle; names are in its ``.rel.id``."""
    file = Path(path)
    stem = path[: path.lower().rindex(".rel")]
    id_file = Path(f"{stem}.rel.id")
    together = f"The names of the lines of {file.name} stand in {id_file.name}, as PLINK writes it."
    lines = read_ids(id_file, ids, together)
    n = len(lines)
    if not path.lower().endswith(".bin"):
        return read_rows_of(path, lines, id_file.name), lines
    try:
        size = file.stat().st_size
    except OSError as error:
        raise blame(error, DataError)(f"{file} cannot be read: {error.strerror or error}. {together}") from None
    sizes = {"triangle": n * (n + 1) // 2, "square": n * n}
    kind = "<f4" if size in [4 * number for number in sizes.values()] and n > 1 else "<f8"
    shape, values = _load(file, kind, sizes, id_file.name, n, together)
    if shape == "square":
        return _square(values.astype(np.float64).reshape(n, n), lines, file.name), lines
    return _fill(values, n, lines, file.name), lines


def read_rows_of(path: str, lines: Sequence[str], id_name: str) -> np.ndarray:
    """Entries of a text without names, the lower triangle row by row or all of it."""
    name = Path(path).name
    n = len(lines)
    rows: list[list[float]] = []
    with open_lines(path, "rows of numbers") as texts:
        for row, text in enumerate(texts, start=1):
            words = text.split()
            j = len(rows)
            if not words:
                continue
            if j == n or len(words) not in ((n, 1) if j == 0 else (len(rows[0]) if len(rows[0]) == n > 1 else j + 1,)):
                raise DataError(
                    f"{name} has {len(words)} numbers in row {row}: expected {n:,} rows for the {n:,} lines of "
                    f"{id_name}, each with {n:,} numbers, or with 1, 2, 3 and so on, the lower triangle."
                )
            rows.append([parse_entry(word, lines[j], lines[k], f"{name}, row {row}") for k, word in enumerate(words)])
    if len(rows) < n:
        raise DataError(
            f"{name} has {len(rows):,} rows, but {id_name} {n:,} lines: the two files do not belong together, or one "
            "is cut off."
        )
    if len(rows[0]) == n > 1:
        return _square(np.array(rows), lines, name)
    return _fill(np.array([entry for row in rows for entry in row]), n, lines, name)


# --- numbers ----------------------------------------------------------------------------------------------------


def _load(path: Path, kind: str, sizes: dict[str, int], id_name: str, n: int, together: str) -> tuple[str, np.ndarray]:
    """Numbers of a binary file, and which of the shapes has as many."""
    width = np.dtype(kind).itemsize
    try:
        size = path.stat().st_size
        shape = next((shape for shape, number in sizes.items() if size == width * number), None)
        if shape is None:
            needed = " or ".join(f"{width * number:,}" for number in sizes.values())
            what = "lower triangle" if len(sizes) == 1 else "lower triangle or all entries"
            raise DataError(
                f"{path.name} has {size:,} bytes, but {needed} are needed for the {what} of the {n:,} lines of "
                f"{id_name}: the two files do not belong together, or one is cut off."
            )
        return shape, np.fromfile(path, dtype=kind)
    except OSError as error:
        raise blame(error, DataError)(f"{path} cannot be read: {error.strerror or error}. {together}") from None


def _fill(triangle: np.ndarray, n: int, lines: Sequence[str], name: str) -> np.ndarray:
    """Both triangles of a matrix from the lower one, row by row."""
    entries = np.empty((n, n))
    start = 0
    for j in range(n):
        row = triangle[start : start + j + 1]
        entries[j, : j + 1] = row
        entries[: j + 1, j] = row
        start += j + 1
    _refuse_gaps(entries, lines, name)
    return entries


def _square(entries: np.ndarray, lines: Sequence[str], name: str) -> np.ndarray:
    """A whole matrix, or one with zeros above the diagonal (PLINK's square0), which are filled."""
    _refuse_gaps(entries, lines, name)
    if not np.triu(entries, 1).any():
        entries = entries + np.tril(entries, -1).T
    return entries


def _refuse_gaps(entries: np.ndarray, lines: Sequence[str], name: str) -> None:
    bad = np.argwhere(~np.isfinite(entries))
    if len(bad):
        j, k = bad[0]
        parse_entry(float(entries[j, k]), lines[j], lines[k], name)
