"""Files of relationship matrices: labelled tables, Parquet, and GCTA's binary format; read and written."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from bmtme.arguments import check_place, file_path, whole_number
from bmtme.data.relationship.entries import from_labelled, match_columns, parse_entry, validated
from bmtme.data.relationship.inverse import warn_of_inverse
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.tables.cells import individual_names, unique_names
from bmtme.data.tables.texts import read_rows, read_words
from bmtme.data.tables.workbooks import load_parquet
from bmtme.errors import DataError, UsageError, blame
from bmtme.extras import require

__all__ = ["read_relationship", "relationship_targets", "write_relationship"]

#: GCTA's three files, the largest last: where it is there, all are.
GCTA_ENDINGS = (".grm.id", ".grm.N.bin", ".grm.bin")
_PARQUET_ENDINGS = (".parquet", ".pq")
_TEXT_ENDINGS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}


# --- reading ----------------------------------------------------------------------------------------------------


def read_relationship(path: str | os.PathLike[str]) -> Relationship:
    """Read a relationship matrix.

    Parameters
    ----------
    path : str or path
        - ``.grm.bin``, ``.grm.id``, ``.grm.N.bin`` or the name before these: GCTA's binary files. Lines are named by
          the individual's ID, the second column of ``.grm.id``; the numbers are 32-bit floats.
        - ``.parquet``: a table of the same shape as a labelled text; needs the extra ``parquet``.
        - else a labelled square matrix as ``.csv`` or ``.tsv``, plain or compressed with gzip. The first column holds
          the names of the lines and the header the same names (the header of the first column is free, or empty). Rows
          and columns are matched by name and may stand in different orders; the lines of the result are in the order of
          the rows. The format is that of R's ``write.csv(G)``.

    Warns
    -----
    UserWarning
        Of a matrix that looks like the inverse of a relationship.

    Raises
    ------
    DataError
        If the file cannot be read; for a name that repeats or stands among the rows or the columns only; and as for
        `Relationship`, with the file's name.
    UsageError
        If the library for this format is not installed.
    """
    path = file_path(path)
    prefix = _gcta_prefix(path)
    if prefix is not None:
        relationship = _read_gcta(prefix)
    elif Path(path).name.lower().endswith(_PARQUET_ENDINGS):
        relationship = _read_parquet(path)
    else:
        relationship = _read_text(path)
    if not relationship.is_identity:
        warn_of_inverse(relationship.matrix, Path(path).name, stacklevel=2)
    return relationship


def _read_text(path: str | os.PathLike[str]) -> Relationship:
    name = Path(path).name
    rows = read_rows(path)
    _, header = next(rows)
    columns = unique_names(header[1:], f"the header of {name}")
    n = len(columns)
    entries = np.empty((n, n))
    labels: list[str] = []
    for row, cells in rows:
        label = cells[0].strip()
        if not label:
            raise DataError(f"{name} has no line name in row {row}: the first column must hold the names of the lines.")
        if len(labels) < n:
            # A surplus row cannot be stored, but its name is needed to tell which one it is.
            entries[len(labels)] = _parse_row(cells[1:], label, columns, f"{name}, row {row}")
        labels.append(label)
    lines = unique_names(labels, f"the first column of {name}")
    order = match_columns(lines, columns, name)
    if not np.array_equal(order, np.arange(n)):
        entries = entries[:, order]
    return Relationship._stored(lines, validated(entries, lines, name))


def _parse_row(cells: Sequence[str], line: str, columns: Sequence[str], where: str) -> np.ndarray:
    """Numbers of one row of a file. All at once if they are plain; else one by one, to name the first that is not."""
    joined = "".join(cells)
    if joined.isascii() and "_" not in joined:  # Python reads 1_0 and digits of other scripts as numbers
        try:
            values = np.array([float(cell) for cell in cells])
        except ValueError:
            pass
        else:
            if np.isfinite(values).all():
                return values
    return np.array([parse_entry(cell, line, column, where) for cell, column in zip(cells, columns, strict=True)])


def _read_parquet(path: str | os.PathLike[str]) -> Relationship:
    name = Path(path).name
    frame = load_parquet(path, _decode_matrix)
    if frame.shape[1] == len(frame) + 1:  # else the names are the index that pandas keeps in the file
        frame = frame.set_index(frame.columns[0])
    elif isinstance(frame.index, pd.RangeIndex) or frame.shape[1] != len(frame):
        raise DataError(
            f"{name} has {len(frame)} rows and {frame.shape[1]} columns: expected the names of the lines in the first "
            "column and one more column for each line."
        )
    entries, lines = from_labelled(frame, None, name)
    return Relationship._stored(lines, validated(entries, lines, name))


def _decode_matrix(table: Any) -> pd.DataFrame:
    """The table with pandas' index, if it has one; texts as Python's, as Arrow's are decoded only when used."""
    frame: pd.DataFrame = table.to_pandas()
    texts = [k for k, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    for k in texts:
        frame.isetitem(k, frame.iloc[:, k].to_numpy(dtype=object))
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.set_axis(frame.index.astype(object), axis=0)


def _gcta_prefix(path: str | os.PathLike[str]) -> str | None:
    """What the names of GCTA's three files begin with, or None where the path is not about them."""
    text = os.fspath(path)
    for ending in GCTA_ENDINGS:
        if text.lower().endswith(ending.lower()):
            return text[: -len(ending)]
    if text.endswith(".grm") and Path(f"{text}.bin").exists():
        return text[: -len(".grm")]
    return text if not Path(text).exists() and Path(f"{text}.grm.bin").exists() else None


def _read_gcta(prefix: str) -> Relationship:
    id_file, _, grm_file = (Path(prefix + ending) for ending in GCTA_ENDINGS)
    together = f"GCTA's matrices are files side by side with one name, {', '.join(GCTA_ENDINGS)}."
    rows = read_words(id_file, 2, "two, the family's and the individual's ID", together)
    lines = individual_names([(family, name) for family, name in rows], f"the second column of {id_file.name}")
    n = len(lines)
    expected = 4 * n * (n + 1) // 2
    try:
        size = grm_file.stat().st_size
        if size != expected:
            raise DataError(
                f"{grm_file.name} has {size:,} bytes, but {expected:,} are needed for the lower triangle of the {n:,} "
                f"lines of {id_file.name}: the two files do not belong together, or one is cut off."
            )
        triangle = np.fromfile(grm_file, dtype="<f4")
    except OSError as error:
        raise DataError(f"{grm_file} cannot be read: {error.strerror or error}. {together}") from None
    entries = np.empty((n, n))
    start = 0
    for j in range(n):
        row = triangle[start : start + j + 1]
        entries[j, : j + 1] = row
        entries[: j + 1, j] = row
        start += j + 1
    bad = np.argwhere(~np.isfinite(entries))
    if len(bad):
        j, k = bad[0]
        parse_entry(float(entries[j, k]), lines[j], lines[k], grm_file.name)
    return Relationship._stored(lines, validated(entries, lines, grm_file.name))


# --- writing ----------------------------------------------------------------------------------------------------


def write_relationship(relationship: Relationship, path: str | os.PathLike[str], markers: int = 0) -> None:
    """Write a relationship matrix, all of it or nothing.

    Parameters
    ----------
    relationship : Relationship
    path : str or path
        By its ending ``.csv``, ``.csv.gz``, ``.tsv``, ``.tsv.gz``, ``.parquet`` (needs the extra of this name), or
        ``.grm.bin`` for GCTA's three files, whose common beginning, a name without an ending, will do too. All but
        GCTA's keep every bit of the numbers; GCTA's are 32-bit floats, seven digits.
    markers : int
        Number of markers behind the matrix, for GCTA's ``.grm.N.bin``.

    Raises
    ------
    UsageError
        If a file is there already or cannot be written, the ending is not known, or the library is not installed.
    MachineError
        If the machine fails, as a full disc does.
    DataError
        If GCTA's files cannot hold a name, as there is white space in it, or an entry, as it is too large or small.
    """
    if not isinstance(relationship, Relationship):
        raise UsageError(f"relationship must be a Relationship, got {type(relationship).__name__}.")
    markers = whole_number(markers, "markers", 0)
    targets = relationship_targets(path)
    kind = _kind(Path(path).name)
    if kind == "gcta":
        _write_gcta(relationship, targets, markers)
        return
    with _new_files(targets) as (draft,):
        if kind == "parquet":
            _write_parquet(relationship, draft)
        else:
            _write_text(relationship, draft, kind)


def relationship_targets(path: str | os.PathLike[str]) -> list[Path]:
    """Files that `write_relationship` would make, the matrix itself last.

    Raises
    ------
    UsageError
        If they could not be written, as far as can be told before.
    """
    path = file_path(path)
    name = Path(path).name
    if not name or path.endswith("/"):
        raise UsageError(f"{path!r} names no file for the relationship.")
    kind = _kind(name)
    targets = [Path(path)]
    if kind == "parquet":
        require("pyarrow", "parquet", f"writing {name}")
    elif kind == "gcta":
        prefix = path[: -len(".grm.bin")] if path.lower().endswith(".grm.bin") else path
        targets = [Path(prefix + ending) for ending in GCTA_ENDINGS]
    for target in targets:
        try:
            there = target.exists() or target.is_symlink()
        except OSError as error:
            raise UsageError(f"{target} cannot be made: {error.strerror}.") from None
        if there:
            raise UsageError(f"{target} is there already: choose another name, or remove it.")
    check_place(targets[0], str(targets[0]))
    return targets


def _kind(name: str) -> str:
    """Format by the name of a file: one of the endings of text, ``parquet`` or ``gcta``."""
    plain = name.lower()
    for ending in _TEXT_ENDINGS:
        if plain.endswith(ending):
            return ending
    if plain.endswith(_PARQUET_ENDINGS):
        return "parquet"
    if plain.endswith(".grm.bin") or "." not in name:
        return "gcta"
    raise UsageError(
        f"{name} does not say in which format the relationship is to be written: expected the ending "
        f"{', '.join(_TEXT_ENDINGS)}, .parquet or .grm.bin (GCTA)."
    )


def _write_text(relationship: Relationship, path: Path, ending: str) -> None:
    with _text_file(path, ending.endswith(".gz")) as file:
        writer: Any = csv.writer(file, delimiter=_TEXT_ENDINGS[ending], lineterminator="\n")
        writer.writerow(["line", *relationship.lines])
        # The shortest decimal text that gives the same float back.
        for line, row in zip(relationship.lines, relationship.matrix, strict=True):
            writer.writerow([line, *row.tolist()])


@contextlib.contextmanager
def _text_file(path: Path, compressed: bool) -> Iterator[IO[str]]:
    """A text file; compressed without name and date, so that the same matrix gives the same bytes."""
    if not compressed:
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
        return
    with (
        open(path, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
    ):
        yield file


def _write_parquet(relationship: Relationship, path: Path) -> None:
    pyarrow = require("pyarrow", "parquet", "writing Parquet")
    parquet = require("pyarrow.parquet", "parquet", "writing Parquet")
    label = "line"
    while label in relationship.lines:
        label += "_"
    columns = [pyarrow.array(relationship.lines, pyarrow.string())]
    columns += [pyarrow.array(column) for column in relationship.matrix]  # symmetric: rows are columns
    parquet.write_table(pyarrow.table(columns, names=[label, *relationship.lines]), path)


def _write_gcta(relationship: Relationship, targets: Sequence[Path], markers: int) -> None:
    for line in relationship.lines:
        if len(line.split()) != 1:
            raise DataError(
                f"GCTA's files cannot hold the name {line!r}, as there is white space in it: rename the line, or write "
                "another format."
            )
    with _new_files(targets) as (ids, counts, entries):
        limits = np.finfo(np.float32)
        matrix = relationship.matrix
        if max(matrix.max(), -matrix.min()) > limits.max or matrix.diagonal().min() < limits.tiny:
            raise DataError(
                f"GCTA's files cannot hold the relationship: its entries go from {matrix.min():.3g} to "
                f"{matrix.max():.3g}, 32-bit floats from {limits.tiny:.3g} to {limits.max:.3g}. Write another format."
            )
        ids.write_text("".join(f"{line}\t{line}\n" for line in relationship.lines), encoding="utf-8")
        with open(entries, "wb") as file:
            for j, row in enumerate(matrix):
                file.write(row[: j + 1].astype("<f4").tobytes())
        with open(counts, "wb") as file:
            for j in range(len(relationship)):
                file.write(np.full(j + 1, markers, dtype="<f4").tobytes())


@contextlib.contextmanager
def _new_files(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Drafts beside the targets, which take their places if all goes well and are gone otherwise."""
    drafts = [target.with_name(f".{target.name}.{os.getpid()}.part") for target in targets]
    try:
        try:
            targets[0].parent.mkdir(parents=True, exist_ok=True)
            yield drafts
            for draft, target in zip(drafts, targets, strict=True):
                draft.replace(target)
        except OSError as error:
            raise blame(error)(f"{targets[0]} cannot be written: {error.strerror or error}.") from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
