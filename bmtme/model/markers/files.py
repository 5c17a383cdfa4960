"""Files of marker genotypes: which format a file has, tables of text, and NumPy archives."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bmtme.arguments import file_path
from bmtme.errors import DataError, UsageError
from bmtme.model.markers.codes import AUTO, MissingCodes, check_coding
from bmtme.model.markers.genotypes import Markers
from bmtme.model.markers.plink import PLINK_SUFFIXES, read_plink
from bmtme.model.markers.vcf import VCF_ENDINGS, read_vcf
from bmtme.model.tables.cells import list_codes, list_names, unique_names
from bmtme.model.tables.files import check_header
from bmtme.model.tables.texts import read_rows
from bmtme.progress import Progress

__all__ = ["load_archive", "read_markers"]

#: Arrays of a NumPy archive by what they hold: the name of ours first, then others that are understood.
_ARRAYS = {
    "genotypes": ("markers", "genotypes", "codes"),
    "lines": ("line", "lines"),
    "markers": ("snp", "snps", "marker", "marker_names"),
}
#: Texts remembered with their numbers; dosages may be all different.
_MOST_TEXTS = 10_000
_MISSING_BYTE = -128


def read_markers(
    path: str | os.PathLike[str], coding: str = AUTO, missing: Iterable[Any] = (), progress: bool | None = None
) -> Markers:
    """Read marker genotypes.

    Parameters
    ----------
    path : str or path
        By its ending:

        - ``.bed`` (with its ``.bim`` and ``.fam``): PLINK, the copies of allele 1; needs the extra ``plink``. Lines
          are named by the individual's ID.
        - ``.vcf``, ``.vcf.gz``: copies of the alternative allele from GT; needs the extra ``vcf``. Sites
          with several alternative alleles are left out, with their number in a warning.
        - ``.npz``: arrays ``markers`` (n x m numbers), ``line`` (n names) and, if there are names of markers,
          ``snp`` (m).
        - else a table as ``.csv`` or ``.tsv``, plain or gzipped: lines in rows with their names in the first column,
          a header with the names of the markers.
    coding : {"auto", "012", "-101", "01"}
        Codes of a table or an archive: copies of one allele; copies less one; or 1 for two copies (inbred lines,
        dominant markers). ``auto`` tells the first two apart, and warns where the codes alone do not tell. Dosages
        between the codes are allowed.
    missing : iterable of str or number
        Codes for missing genotypes, beside an empty cell, NA, NaN, a point, -9, -127 and -128.
    progress : bool, optional
        Whether to show on stderr how far it is; by default only where that is a terminal.

    Returns
    -------
    Markers
        Genotypes of tables and VCF files are kept as bytes (dosages as 32-bit floats).

    Raises
    ------
    DataError
        If the file cannot be read or is damaged, a line is named twice, or a genotype is none; the place is named.
    UsageError
        If the library for this format is not installed, or there is no such coding.
    """
    check_coding(coding)
    path = file_path(path)
    absent = MissingCodes(missing)
    plain = Path(path).name.lower()
    if plain.endswith(PLINK_SUFFIXES) or plain.endswith(VCF_ENDINGS):
        if coding != AUTO or list_codes(missing):
            raise UsageError(
                f"{Path(path).name} says itself what its genotypes are: coding and missing codes are for tables and "
                ".npz files."
            )
        return read_plink(path) if plain.endswith(PLINK_SUFFIXES) else read_vcf(path, progress)
    if plain.endswith(".npz"):
        return Markers.from_codes(*load_archive(path), Path(path).name, coding, absent)
    return _read_table(path, coding, absent, progress)


# --- tables -----------------------------------------------------------------------------------------------------


class _Numbers(dict[str, float]):
    """Number of a text, found when it is first met: a table of genotypes has few different texts."""

    def __init__(self, missing: MissingCodes) -> None:
        self.missing = missing

    def __missing__(self, text: str) -> float:
        value = self.missing.parse(text)
        if len(self) < _MOST_TEXTS:
            self[text] = value
        return value


def _read_table(path: str | os.PathLike[str], coding: str, missing: MissingCodes, progress: bool | None) -> Markers:
    source = Path(path).name
    rows = read_rows(path)
    _, header = next(rows)
    names = [cell.strip() for cell in header]
    check_header(names, source)
    del names[0]
    numbers = _Numbers(missing)
    labels: list[str] = []
    codes: list[np.ndarray] = []
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
                raise DataError(_bad_cell(source, row, label, names, cells, missing)) from None
            labels.append(label)
            codes.append(_compact(values))
            if len(labels) % 100 == 0:
                bar.write(f"reading {source}: {len(labels)} lines")
    finally:
        bar.close()
    lines = unique_names(labels, f"the first column of {source}")
    if any(row_codes.dtype != np.int8 for row_codes in codes):
        codes = [_as_floats(row_codes) for row_codes in codes]
    return Markers.from_codes(np.array(codes), lines, names, source, coding, missing)


def _bad_cell(
    source: str, row: int, label: str, names: list[str], cells: list[str], missing: MissingCodes
) -> str:
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


def _compact(values: np.ndarray) -> np.ndarray:
    """Genotypes of a line as bytes, -128 for missing, or as 32-bit floats where they have fractions."""
    absent = np.isnan(values)
    whole = np.where(absent, _MISSING_BYTE, values)
    if (np.abs(whole) <= -_MISSING_BYTE).all() and (whole == np.rint(whole)).all() and (whole < 128).all():
        return whole.astype(np.int8)
    return values.astype(np.float32)


def _as_floats(codes: np.ndarray) -> np.ndarray:
    if codes.dtype != np.int8:
        return codes
    return np.where(codes == _MISSING_BYTE, np.nan, codes).astype(np.float32)


# --- NumPy archives ---------------------------------------------------------------------------------------------


def load_archive(path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """Codes (n, m) of a NumPy archive as they are, the names of the lines and of the markers (else their numbers).

    Raises
    ------
    DataError
        If the file cannot be read or is damaged, lacks an array, or one is of another shape or type.
    """
    source = Path(path).name
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{source} holds a single array, not an archive of arrays: {_wanted()}")
        with archive:
            keys = {what: next((key for key in choices if key in archive), None) for what, choices in _ARRAYS.items()}
            if keys["genotypes"] is None or keys["lines"] is None:
                raise DataError(f"{source} has the arrays {list_names(archive.files)}: {_wanted()}")
            # A member that is no array comes as bytes.
            arrays = {what: np.asarray(archive[key]) for what, key in keys.items() if key is not None}
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, SyntaxError, struct.error) as error:
        if str(error).startswith("Object arrays"):
            raise DataError(f"{source} holds an array of Python objects: {_wanted()}") from None
        raise DataError(f"{source} is no NumPy archive, or a damaged one: {_wanted()}") from None
    except OSError as error:
        raise DataError(f"{os.fspath(path)} cannot be read: {error.strerror or error}.") from None
    codes = arrays["genotypes"]
    key = keys["genotypes"]
    if codes.ndim != 2 or codes.dtype.kind not in "biuf":
        raise DataError(
            f"The array {key!r} of {source} has shape {codes.shape} and type {codes.dtype}: expected numbers, lines in "
            "rows and markers in columns."
        )
    for what, axis in (("lines", 0), ("markers", 1)):
        if what in arrays and arrays[what].shape != (codes.shape[axis],):
            raise DataError(
                f"The array {keys[what]!r} of {source} has shape {arrays[what].shape}, but {key!r} has "
                f"{codes.shape[axis]} {what}: expected one name for each."
            )
    lines = unique_names(arrays["lines"].tolist(), f"the array {keys['lines']!r} of {source}")
    names = [str(name) for name in arrays.get("markers", np.arange(1, codes.shape[1] + 1)).tolist()]
    return codes, lines, names


def _wanted() -> str:
    return (
        "expected markers (lines x markers, numbers), line (names of the lines as text) and, optionally, snp (names of "
        "the markers), as numpy.savez_compressed(path, markers=..., line=..., snp=...) writes them."
    )
