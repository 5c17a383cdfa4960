"""Formats that are recognised and not read: each is named, with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

from bmtme.errors import DataError

__all__ = ["describe_bytes", "refuse_foreign"]

_R = (".rds", ".rdata", ".rda")
_SHEETS = (".xls", ".xlsb", ".ods", ".numbers", ".gsheet")
_PACKED = (".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".bz2", ".xz", ".zst")
_STATISTICS = (".sav", ".por", ".dta", ".sas7bdat", ".xpt", ".jmp")
_PAGES = (".pdf", ".doc", ".docx", ".odt", ".html", ".htm", ".json", ".xml", ".sqlite", ".db", ".mdb", ".accdb")
_ARROW = (".feather", ".arrow", ".orc")
_UNPACK = "an archive: unpack it first (a single file compressed with gzip, .gz, is read as it is)"

#: By what is to be read: endings, and what the file is and what to do.
_FOREIGN: dict[str, dict[tuple[str, ...], str]] = {
    "table": {
        _R: "an object of R: write it with write.csv(x, 'x.csv', row.names = FALSE)",
        _SHEETS: "a sheet of a format that is not read: save it as .xlsx or as CSV",
        _STATISTICS: "a table of a statistics program: export it as CSV",
        _ARROW: "a table of Arrow: save it as Parquet or CSV",
        _PAGES: "no table: export the data as CSV or .xlsx",
    },
    "relationship": {
        (".king", ".kin0", ".kin", ".genome"): "a table of kinships or of shared segments, which are no relationships: "
        "make these with plink --make-rel square, or from the markers with bmtme grm",
        (".bgrm", ".sgrm", ".rgrm", ".bgiv", ".sgiv", ".rgiv"): "a binary file of ASReml: write the matrix as text "
        "(.grm, .giv), or as a square table",
        (".mgrm", ".mgrm.bin", ".mtx"): "a format that is not read: write the matrix as a square table, or as rows of "
        "row, column and value (.giv, .grm)",
        (".vcf", ".vcf.bgz", ".bcf", ".bed", ".bim", ".fam", ".ped", ".raw", ".traw", ".pgen", ".hmp", ".hmp.txt"): (
            "a file of genotypes: make the relationship of it first, with bmtme grm"
        ),
        (".rel.zst", ".rel.bin.zst"): "a compressed file of PLINK 2: unpack it with zstd -d",
        (".npy", ".npz"): "a file of NumPy: write a table with the names of the lines in its first column and header",
        _R: "an object of R: write the matrix with write.csv(G, 'G.csv'), which keeps the names of its rows",
        (*_SHEETS, ".xlsx", ".xlsm"): "a workbook: save the sheet as CSV",
        _ARROW: "a table of Arrow: save it as Parquet or CSV",
        _PAGES: "no matrix: export it as CSV",
    },
    "markers": {
        (".ped", ".map", ".tped", ".tfam"): "a text of PLINK: convert it with plink --make-bed",
        (".traw",): "PLINK's text with the markers in rows: write it with plink --make-bed or --recode A",
        (
            ".pgen",
            ".pvar",
            ".psam",
            ".bgen",
            ".gen",
        ): "a format of PLINK 2 or Oxford: convert it by plink2 --make-bed",
        (".h5", ".hdf5", ".hmp.h5"): "an HDF5 file, as TASSEL keeps genotypes: export VCF or HapMap",
        (".gds", *_R): "a file of R's: write a table or a VCF file in R",
        (*_SHEETS, ".xlsx", ".xlsm"): "a workbook: save the sheet as CSV",
        (".parquet", *_ARROW): "a table of a format that is not read for markers: save it as CSV or .npz",
        _PAGES: "no table of genotypes: export it as CSV, HapMap or VCF",
    },
}

#: What each purpose wants, in words.
_WANTED = {"table": "a table", "relationship": "a relationship matrix", "markers": "markers"}
#: First bytes of files that are no text, whatever they are called.
_HEADS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an archive, as an Excel workbook is, which needs the ending .xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as .xlsx or as CSV"),
    (b"PAR1", "a Parquet file, which needs the ending .parquet"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF file"),
    (b"RDX", "an object of R: write it with write.csv"),
    (b"X\n\x00\x00", "an object of R: write it with write.csv"),
    (b"\x1f\x8b", "compressed with gzip twice over: unpack it once"),
    (b"BZh", "compressed with bzip2: unpack it"),
    (b"\xfd7zXZ", "compressed with xz: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it"),
    (b"\x6c\x1b", "a .bed of PLINK"),
    (b"\xff\xfe", "text in UTF-16, as Excel's Unicode text is: save it as CSV UTF-8"),
    (b"\xfe\xff", "text in UTF-16, as Excel's Unicode text is: save it as CSV UTF-8"),
)


def refuse_foreign(path: str | os.PathLike[str], purpose: str) -> None:
    """Raise a DataError for a file whose ending is that of a format that is not read.

    Parameters
    ----------
    path : str or path
    purpose : {"table", "relationship", "markers"}
        What is to be read of it.
    """
    name = Path(path).name
    plain = name.lower()
    for endings, what in (*_FOREIGN[purpose].items(), (_PACKED, _UNPACK)):
        for ending in endings:
            if plain.endswith((ending, f"{ending}.gz")):
                raise DataError(f"{name} cannot be read as {_WANTED[purpose]}: by its ending it is {what}.")


def describe_bytes(head: bytes) -> str:
    """What a file is by its first bytes, or an empty text."""
    return next((what for start, what in _HEADS if head.startswith(start)), "")
