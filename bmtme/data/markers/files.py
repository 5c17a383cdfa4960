"""Files of marker genotypes: which format a file has, tables of text, and NumPy archives."""

from __future__ import annotations

import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bmtme.arguments import file_path
from bmtme.data.markers.codes import AUTO, MissingCodes, check_coding
from bmtme.data.markers.genotypes import Markers, ask_about_rows
from bmtme.data.markers.plink import PLINK_SUFFIXES, read_plink
from bmtme.data.markers.vcf import VCF_ENDINGS, read_vcf
from bmtme.data.tables.cells import individual_names, list_codes, unique_names
from bmtme.data.tables.files import check_header
from bmtme.data.tables.texts import open_lines, read_rows
from bmtme.errors import DataError, UsageError
from bmtme.progress import Progress
from bmtme.words import list_names

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
#: First six columns of PLINK's .raw.
_RAW_HEADER = ("FID", "IID", "PAT", "MAT", "SEX", "PHENOTYPE")
_RAW_ENDINGS = (".raw", ".raw.gz")
#: Headers of the first column that say that the rows are markers.
_MARKER_WORDS = frozenset(
    "marker markers snp snps snpid rs rs# rsid locus loci probe probeid alleleid cloneid chr chrom".split()
)
#: Endings of formats that are not read, which as tables would be read wrongly or not at all, and what to do.
_FOREIGN = {
    (".ped", ".map", ".tped", ".tfam"): "convert it with plink --make-bed",
    (".traw",): "it has the markers in rows; write it with plink --make-bed or --recode A",
    (".pgen", ".pvar", ".psam", ".bgen", ".gen"): "convert it with plink2 --make-bed",
    (".gds", ".rds", ".rdata", ".rda"): "write a table or a VCF file in R",
    (".xlsx", ".xlsm", ".xls", ".ods"): "save the sheet as CSV",
    (".hmp.txt", ".hmp.txt.gz", ".hmp"): "convert HapMap to VCF, for example with TASSEL",
}


def read_markers(
    path: str | os.PathLike[str], coding: str = AUTO, missing: Iterable[Any] = (), progress: bool | None = None
) -> Markers:
    """Read marker genotypes.

    Parameters
    ----------
    path : str or path
        By its ending:

        - ``.bed`` (with its ``.bim`` and ``.fam``): PLINK, the copies of allele 1; needs the extra ``plink``. Lines
          are named by the individual's ID; where this is one and the same, by the family's ID, with a warning.
        - ``.vcf``, ``.vcf.gz``: copies of the alternative allele from GT; needs the extra ``vcf``. Sites
          with several alternative alleles are left out, with their number in a warning.
        - ``.npz``: arrays ``markers`` (n x m numbers), ``line`` (n names) and, if there are names of markers,
          ``snp`` (m).
        - ``.raw`` of PLINK (``--recode A``, ``--export A``), with tabs or blanks, or another table with its header: the
          first six columns are left out, and so are columns of heterozygotes (``--recode AD``), with a warning. Lines
          are named as those of ``.bed``; markers keep their names with the counted allele, such as ``rs1_A``.
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
    for endings, advice in _FOREIGN.items():
        if plain.endswith(endings):
            raise DataError(f"{Path(path).name} is in a format that is not read: {advice}.")
    if plain.endswith(PLINK_SUFFIXES) or plain.endswith(VCF_ENDINGS):
        _refuse_options(Path(path).name, coding, missing)
        return read_plink(path) if plain.endswith(PLINK_SUFFIXES) else read_vcf(path, progress)
    if plain.endswith(".npz"):
        codes, lines, names = load_archive(path)
        ask_about_rows(lines, names, Path(path).name, stacklevel=2)
        return Markers.from_codes(codes, lines, names, Path(path).name, coding, absent)
    return _read_table(path, coding, missing, progress)


def _refuse_options(source: str, coding: str, missing: Iterable[Any]) -> None:
    if coding != AUTO or list_codes(missing):
        raise UsageError(
            f"{source} says itself what its genotypes are: coding and missing codes are for tables and .npz files."
        )


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


def _read_table(path: str | os.PathLike[str], coding: str, missing: Iterable[Any], progress: bool | None) -> Markers:
    absent = MissingCodes(missing)
    source = Path(path).name
    rows = _split_at_blanks(path) if source.lower().endswith(_RAW_ENDINGS) else read_rows(path)
    _, header = next(rows)
    if len(header) == 1 and _is_raw(header[0].split()):
        header, rows = header[0].split(), ((row, cells[0].split()) for row, cells in rows)
    if _is_raw(header):
        _refuse_options(source, coding, missing)
        return _read_raw(source, header, rows, progress)
    if source.lower().endswith(_RAW_ENDINGS):
        raise DataError(f"{source} is no .raw of PLINK: expected a header that begins {' '.join(_RAW_HEADER)}.")
    names = [cell.strip() for cell in header]
    check_header(names, source)
    _refuse_strangers(names, source)
    del names[0]
    numbers = _Numbers(absent)
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
                raise DataError(_bad_cell(source, row, label, names, cells, absent)) from None
            labels.append(label)
            codes.append(_compact(values))
            if len(labels) % 100 == 0:
                bar.write(f"reading {source}: {len(labels)} lines")
    finally:
        bar.close()
    lines = unique_names(labels, f"the first column of {source}")
    ask_about_rows(lines, names, source, stacklevel=3)
    return Markers.from_codes(_stack(codes), lines, names, source, coding, absent)


def _refuse_strangers(names: list[str], source: str) -> None:
    """Refuse columns that hold no genotypes, and markers in rows."""
    strangers = [name for name in names[1:] if name.upper() in _RAW_HEADER]
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


# --- PLINK's .raw -----------------------------------------------------------------------------------------------


def _is_raw(header: list[str]) -> bool:
    return tuple(cell.strip().lstrip("#").upper() for cell in header[:6]) == _RAW_HEADER


def _split_at_blanks(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    with open_lines(path) as lines:
        for row, text in enumerate(lines, start=1):
            if text.strip():
                yield row, text.split()


def _read_raw(source: str, header: list[str], rows: Iterator[tuple[int, list[str]]], progress: bool | None) -> Markers:
    """Genotypes of PLINK's .raw: copies of the allele that is part of each marker's name."""
    names = [cell.strip() for cell in header[6:]]
    # Columns of --recode AD: after each marker, whether it is heterozygous.
    additive = np.array(
        [k % 2 == 0 or name != names[k - 1].rpartition("_")[0] + "_HET" for k, name in enumerate(names)], dtype=bool
    )
    if not additive.all():
        warnings.warn(
            f"{source}: {int((~additive).sum())} columns of heterozygotes (_HET) left out.", UserWarning, stacklevel=4
        )
    missing = MissingCodes()
    numbers = _Numbers(missing)
    individuals: list[tuple[str, str]] = []
    codes: list[np.ndarray] = []
    bar = Progress(1, f"reading {source}", progress)
    try:
        for row, cells in rows:
            if len(cells) != len(header):
                raise DataError(f"{source} has {len(cells)} cells in row {row}, but {len(header)} in its header.")
            label = cells[1].strip()
            try:
                values = np.fromiter(map(numbers.__getitem__, cells[6:]), np.float64, len(names))
            except DataError:
                raise DataError(_bad_cell(source, row, label, names, cells[6:], missing)) from None
            individuals.append((cells[0].strip(), label))
            codes.append(_compact(values[additive]))
            if len(codes) % 100 == 0:
                bar.write(f"reading {source}: {len(codes)} lines")
    finally:
        bar.close()
    if not individuals:
        raise DataError(f"{source} has no rows below its header: expected one for each individual.")
    lines = individual_names(individuals, f"the second column of {source}", stacklevel=5)
    markers = [name for name, stays in zip(names, additive, strict=True) if stays]
    return Markers.from_codes(_stack(codes), lines, markers, source, "012", missing)


# --- cells of tables --------------------------------------------------------------------------------------------


def _bad_cell(source: str, row: int, label: str, names: list[str], cells: list[str], missing: MissingCodes) -> str:
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


def _stack(rows: list[np.ndarray]) -> np.ndarray:
    """Genotypes of all lines, as bytes if those of every line are."""
    if any(codes.dtype != np.int8 for codes in rows):
        rows = [_as_floats(codes) for codes in rows]
    return np.array(rows)


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
