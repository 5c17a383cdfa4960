"""Files of marker genotypes: which format a file has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bmtme.arguments import file_path
from bmtme.data.markers.archives import load_archive
from bmtme.data.markers.codes import AUTO, DIPLOID, MissingCodes, check_coding
from bmtme.data.markers.dart import is_dart, read_dart
from bmtme.data.markers.genotypes import Markers, ask_about_rows
from bmtme.data.markers.hapmap import is_hapmap, read_hapmap
from bmtme.data.markers.plink import PLINK_SUFFIXES, read_plink
from bmtme.data.markers.raw import is_raw, read_raw
from bmtme.data.markers.tables import RAW_HEADER, read_lines
from bmtme.data.markers.vcf import VCF_ENDINGS, read_vcf
from bmtme.data.tables.cells import check_ids, list_codes
from bmtme.data.tables.foreign import refuse_foreign
from bmtme.data.tables.texts import read_rows
from bmtme.errors import DataError, UsageError

__all__ = ["read_markers"]

_RAW_ENDINGS = (".raw", ".raw.gz")
_HAPMAP_ENDINGS = (".hmp", ".hmp.txt", ".hmp.gz", ".hmp.txt.gz")


def read_markers(
    path: str | os.PathLike[str],
    coding: str = AUTO,
    missing: Iterable[Any] = (),
    progress: bool | None = None,
    *,
    ploidy: int = DIPLOID,
    ids: str = AUTO,
) -> Markers:
    """Read marker genotypes.

    Parameters
    ----------
    path : str or path
        By its ending:

        - ``.bed`` (with its ``.bim`` and ``.fam``): PLINK, the copies of allele 1; needs the extra ``plink``.
        - ``.vcf``, ``.vcf.gz``: copies of the alternative allele from GT; needs the extra ``vcf``. Sites
          with several alternative alleles are left out, with their number in a warning.
        - ``.npz``: arrays ``markers`` (n x m numbers), ``line`` (n names) and, if there are names of markers,
          ``snp`` (m).

        Other files are texts, plain or gzipped, separated by commas, tabs or blanks, and known by their first row:

        - PLINK's ``.raw`` (``--recode A``, ``--export A``): the first six columns are left out, and so are columns of
          heterozygotes (``--recode AD``), with a warning. Markers keep their names with the counted allele, such as
          ``rs1_A``.
        - HapMap (``rs#``, ``alleles`` ...), with one letter a genotype or one a copy: copies of the second allele.
          Markers with more than two alleles are left out, with their number in a warning.
        - DArT's reports of SNPs, with one or two rows a marker, as they are delivered: copies of the SNP allele; and of
          SilicoDArT, presence being taken as two copies.
        - else a table: lines in rows with their names in the first column, a header with the names of the markers.
    coding : {"auto", "012", "-101", "01"}
        Codes of a table or an archive: copies of one allele; copies less one; or 1 for all copies (inbred lines,
        dominant markers, frequencies). ``auto`` tells the first two apart, and warns where the codes alone do not
        tell. Dosages between the codes are allowed.
    missing : iterable of str or number
        Codes for missing genotypes, beside an empty cell, NA, NaN, a point, -9, -127 and -128.
    progress : bool, optional
        Whether to show on stderr how far it is; by default only where that is a terminal.
    ploidy : int
        Sets of chromosomes, the most copies of an allele: of tetraploids 4. Tables, archives, HapMap and VCF files may
        have more than two.
    ids : {"auto", "iid", "fid"}
        What names the lines of PLINK's files: the individual's ID or the family's. ``auto`` is the individual's, or,
        where this is one and the same, the family's, with a warning.

    Returns
    -------
    Markers
        Genotypes of texts are kept as bytes (dosages as 32-bit floats).

    Raises
    ------
    DataError
        If the file cannot be read or is damaged, a line is named twice, or a genotype is none; the place is named.
    UsageError
        If the library for this format is not installed, there is no such coding, or an option does not belong to the
        format.
    """
    ploidy = check_coding(coding, ploidy)
    check_ids(ids)
    path = file_path(path)
    absent = MissingCodes(missing)
    source = Path(path).name
    plain = source.lower()
    refuse_foreign(path, "markers")
    if plain.endswith(PLINK_SUFFIXES):
        _refuse_options(source, coding, missing, ploidy)
        return read_plink(path, ids)
    if ids != AUTO and not plain.endswith(_RAW_ENDINGS):
        raise UsageError(f"ids={ids!r} is for PLINK's files, in which families and individuals have IDs, not {source}.")
    if plain.endswith(VCF_ENDINGS):
        _refuse_options(source, coding, missing)
        return read_vcf(path, progress, ploidy)
    if plain.endswith(".npz"):
        codes, lines, names = load_archive(path)
        ask_about_rows(lines, names, source, stacklevel=2)
        return Markers.from_codes(codes, lines, names, source, coding, absent, ploidy)
    return _read_text(path, coding, missing, ploidy, ids, progress)


def _read_text(path: str, coding: str, missing: Iterable[Any], ploidy: int, ids: str, progress: bool | None) -> Markers:
    source = Path(path).name
    rows = read_rows(path, named=True)
    _, header = next(rows)
    if is_raw(header):
        _refuse_options(source, coding, missing, ploidy)
        return read_raw(source, header, rows, ids, progress)
    if source.lower().endswith(_RAW_ENDINGS):
        raise DataError(f"{source} is no .raw of PLINK: expected a header that begins {' '.join(RAW_HEADER)}.")
    if is_hapmap(header):
        _refuse_options(source, coding, missing)
        return read_hapmap(source, header, rows, ploidy, progress)
    if source.lower().endswith(_HAPMAP_ENDINGS):
        raise DataError(f"{source} is no HapMap file: expected a header that begins rs# alleles chrom pos.")
    if is_dart(header):
        _refuse_options(source, coding, missing, ploidy)
        return read_dart(source, header, rows, progress)
    return read_lines(source, header, rows, coding, missing, ploidy, progress)


def _refuse_options(source: str, coding: str, missing: Iterable[Any], ploidy: int = DIPLOID) -> None:
    if coding != AUTO or list_codes(missing):
        raise UsageError(
            f"{source} says itself what its genotypes are: coding and missing codes are for tables and .npz files."
        )
    if ploidy != DIPLOID:
        raise UsageError(f"{source} holds genotypes of diploids: ploidy is for tables, .npz, HapMap and VCF files.")
