"""Files of relationship matrices: which format a file has, labelled tables and Parquet; and all that is written."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from bmtme.arguments import check_place, file_path, show, whole_number
from bmtme.data.markers.dart import is_dart
from bmtme.data.markers.hapmap import is_hapmap
from bmtme.data.markers.raw import is_raw
from bmtme.data.relationship.entries import from_labelled, match_columns, parse_entry, validated
from bmtme.data.relationship.inverse import invert, warn_of_inverse, warn_of_no_inverse
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.relationship.sparse import ENDINGS as ASREML_ENDINGS
from bmtme.data.relationship.sparse import Sparse, is_sparse, read_asreml, read_sparse
from bmtme.data.relationship.triangles import GCTA_ENDINGS, find_gcta, find_rel, read_gcta, read_gcta_text, read_rel
from bmtme.data.tables.cells import check_ids, unique_names
from bmtme.data.tables.foreign import refuse_foreign
from bmtme.data.tables.texts import read_rows
from bmtme.data.tables.workbooks import load_parquet
from bmtme.errors import DataError, UsageError, blame
from bmtme.extras import require
from bmtme.words import list_names

__all__ = ["read_relationship", "relationship_targets", "write_relationship"]

#: Headers of parents in pedigrees.
_PARENTS = frozenset(
    "sire dam father mother male female male_parent female_parent parent1 parent2 parent_1 parent_2 pollen seed".split()
)
_PARQUET_ENDINGS = (".parquet", ".pq")
_TEXT_ENDINGS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}


# --- reading ----------------------------------------------------------------------------------------------------


def read_relationship(path: str | os.PathLike[str], *, ids: str = "auto", inverse: bool | None = None) -> Relationship:
    """Read a relationship matrix.

    Parameters
    ----------
    path : str or path
        By its ending:

        - ``.grm.bin``, ``.grm.id``, ``.grm.N.bin``, ``.grm.gz`` or the name before these: GCTA's binary files (32-bit
          floats) or text, the names being in ``.grm.id``.
        - ``.rel``, ``.rel.gz``, ``.rel.bin``: PLINK's ``--make-rel`` in any of its shapes, with names in ``.rel.id``.
        - ``.giv``, ``.grm``: ASReml's rows of row, column and value without zeros, or its lower triangle row by row.
          Where rows and columns are numbers, the names stand in a file beside it, ``.giv.id`` or ``.grm.id``, one a
          row in the order of the numbers. A ``.giv`` is an inverse.
        - ``.parquet``: a table of the same shape as a labelled text; needs the extra ``parquet``.

        Other files are texts, plain or compressed with gzip, separated by commas, tabs or blanks:

        - a labelled square matrix. The first column holds the names of the lines and the header the same names (the
          header of the first column is free, empty, or left out as R's ``write.table`` does). Rows and columns are
          matched by name and may stand in different orders; the lines of the result are in the order of the rows.
        - rows of line, line and value, with or without a header. One triangle will do; pairs that are not there are
          zero. A header such as Ainverse or Ginv over the values says that it is an inverse.
    ids : {"auto", "iid", "fid"}
        What names the lines of GCTA's and PLINK's files: the individual's ID or the family's. ``auto`` is the
        individual's, or, where this is one and the same, the family's, with a warning.
    inverse : bool, optional
        Whether the file holds the inverse of the relationship, which is inverted then; by default as the file says.

    Warns
    -----
    UserWarning
        Of a matrix that looks like the inverse of a relationship, as read or after it was inverted.

    Raises
    ------
    DataError
        If the file cannot be read or is in a format that is not; for a name that repeats or stands among the rows or
        the columns only, an inverse that is not positive definite; and as for `Relationship`, with the file's name.
    UsageError
        If the library for this format is not installed.
    """
    path = file_path(path)
    check_ids(ids)
    if inverse is not None and not isinstance(inverse, bool):
        raise UsageError(f"inverse must be True, False or None, got {show(inverse)}.")
    name = Path(path).name
    found = _read(path, ids)
    matrix = validated(found.entries, found.lines, name)
    reason = found.inverse if inverse is None else "as was said" if inverse else None
    if reason is None:
        if matrix is not None:
            warn_of_inverse(matrix, name, stacklevel=2)
        return Relationship._stored(found.lines, matrix)
    if matrix is None:  # the inverse of the identity
        return Relationship._stored(found.lines, None)
    entries, note = invert(matrix, found.lines, name, reason)
    warn_of_no_inverse(entries, name, reason, stacklevel=2)
    return Relationship._stored(found.lines, validated(entries, found.lines, name), (note,))


def _read(path: str, ids: str) -> Sparse:
    """The entries in a file as they are."""
    lower = Path(path).name.lower()
    gcta = find_gcta(path)
    if gcta is not None:
        return Sparse(*(read_gcta(gcta, ids) if gcta.lower().endswith(".bin") else read_gcta_text(gcta, ids)))
    refuse_foreign(path, "relationship")
    rel = find_rel(path)
    if rel is not None:
        return Sparse(*read_rel(rel, ids))
    if lower.endswith(ASREML_ENDINGS):
        return read_asreml(path, ids)
    if lower.endswith(_PARQUET_ENDINGS):
        return _read_parquet(path)
    return _read_text(path, ids)


def _read_text(path: str, ids: str) -> Sparse:
    name = Path(path).name
    rows = read_rows(path, named=True)
    start, header = next(rows)
    if is_hapmap(header) or is_dart(header) or is_raw(header):
        raise DataError(
            f"{name} holds genotypes, by its first row: make the relationship of them first, with bmtme grm (in Python "
            "bmtme.read_markers and bmtme.vanraden)."
        )
    first = next(rows, None)
    rows = rows if first is None else itertools.chain([first], rows)
    if first is not None and _is_numbered(header, first[1]):
        header = header[1:]
        rows = ((row, cells[1:]) for row, cells in rows)
    if is_sparse(header):
        return read_sparse(name, header, itertools.chain([(start, header)], rows), ids, Path(f"{path}.id"))
    columns = unique_names(header[1:], f"the header of {name}")
    n = len(columns)
    entries = np.empty((n, n))
    labels: list[str] = []
    for row, cells in rows:
        label = cells[0].strip()
        if not labels and label not in columns:
            _refuse_pedigree(columns, name)
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
    return Sparse(entries, lines)


def _is_numbered(header: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether R put the number of the row in front of line, line and value, and nothing or "" above it."""
    return len(header) == 4 and not header[0].strip() and cells[0].strip().isdecimal() and is_sparse(header[1:])


def _refuse_pedigree(columns: Sequence[str], name: str) -> None:
    """Refuse a table whose header has two words for parents."""
    parents = [column for column in columns if column.casefold().replace(" ", "_") in _PARENTS]
    if len(parents) > 1:
        raise DataError(
            f"{name} has the columns {list_names(parents, 4)}, as a pedigree: say which are the individual's and its "
            "parents' (in the shell --pedigree-columns ID,SIRE,DAM); in Python, pedigree_relationship makes the "
            "matrix of it."
        )


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


def _read_parquet(path: str) -> Sparse:
    name = Path(path).name
    frame = load_parquet(path, _decode_matrix)
    if frame.shape[1] == len(frame) + 1:  # else the names are the index that pandas keeps in the file
        frame = frame.set_index(frame.columns[0])
    elif isinstance(frame.index, pd.RangeIndex) or frame.shape[1] != len(frame):
        raise DataError(
            f"{name} has {len(frame)} rows and {frame.shape[1]} columns: expected the names of the lines in the first "
            "column and one more column for each line."
        )
    return Sparse(*from_labelled(frame, None, name))


def _decode_matrix(table: Any) -> pd.DataFrame:
    """The table with pandas' index, if it has one; texts as Python's, as Arrow's are decoded only when used."""
    frame: pd.DataFrame = table.to_pandas()
    texts = [k for k, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    for k in texts:
        frame.isetitem(k, frame.iloc[:, k].to_numpy(dtype=object))
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.set_axis(frame.index.astype(object), axis=0)


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
            raise blame(error)(f"{target} cannot be made: {error.strerror}.") from None
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
