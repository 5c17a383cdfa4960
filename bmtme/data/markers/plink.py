"""PLINK binary genotypes: ``.bed`` with its ``.bim`` and ``.fam``, read from disk as they are needed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bmtme.data.markers.codes import AUTO, FloatArray, name_alleles
from bmtme.data.markers.genotypes import Markers
from bmtme.data.tables.cells import individual_names
from bmtme.data.tables.texts import read_words
from bmtme.errors import DataError, blame
from bmtme.extras import require

__all__ = ["PLINK_SUFFIXES", "read_plink"]

PLINK_SUFFIXES = (".bed", ".bim", ".fam")

_MAGIC = b"\x6c\x1b"
_BY_MARKER = b"\x01"


def read_plink(path: str | os.PathLike[str], ids: str = AUTO) -> Markers:
    """Markers of a PLINK fileset, named by any of its three files: copies of allele 1 (the fifth column of .bim).

    Lines are named by the ID that `ids` says, see `read_markers`.

    Raises
    ------
    DataError
        If a file is not there, is damaged, or does not go with the others; or if two individuals have one ID.
    UsageError
        If bed-reader is not installed.
    """
    bed = Path(path).with_suffix(".bed")
    bed_reader = require("bed_reader", "plink", f"reading {Path(path).name}")
    individuals = _columns(bed.with_suffix(".fam"), "individual", (0, 1))
    variants = _columns(bed.with_suffix(".bim"), "marker", (1, 0, 3, 4, 5))
    lines = individual_names([(family, name) for family, name in individuals], f"{bed.stem}.fam", ids)
    names = [f"{chromosome}:{position}" if name == "." else name for name, chromosome, position, _, _ in variants]
    alleles = tuple(name_alleles(one, other) for *_, one, other in variants)
    _check_size(bed, len(lines), len(names))
    # Its own reading of .fam and .bim is left out: the counts are enough.
    genotypes = bed_reader.open_bed(bed, iid_count=len(lines), sid_count=len(names))

    def read(start: int, stop: int) -> FloatArray:
        try:
            codes = genotypes.read(index=np.s_[:, start:stop], dtype="float64", order="C")
        except (OSError, ValueError) as error:
            raise DataError(f"{bed.name} cannot be read at markers {start + 1} to {stop}: {error}.") from None
        return np.asarray(codes, dtype=np.float64)

    return Markers(lines, tuple(names), bed.name, read, alleles=alleles)


def _columns(path: Path, what: str, places: tuple[int, ...]) -> list[tuple[str, ...]]:
    """Words of some of the six columns of every row of a .fam or .bim file."""
    rows = read_words(
        path,
        6,
        f"the six columns of a PLINK {path.suffix} file, one row for each {what}",
        "PLINK genotypes are three files side by side, .bed, .bim and .fam, with one name.",
    )
    if not rows:
        raise DataError(f"{path.name} is empty: expected one row for each {what}.")
    return [tuple(words[place] for place in places) for words in rows]


def _check_size(bed: Path, lines: int, markers: int) -> None:
    try:
        with open(bed, "rb") as file:
            head = file.read(3)
        size = bed.stat().st_size
    except OSError as error:
        raise blame(error, DataError)(f"{bed} cannot be read: {error.strerror or error}.") from None
    if head[:2] != _MAGIC:
        raise DataError(f"{bed.name} is no PLINK .bed file: it does not begin with that format's two bytes.")
    if head[2:] != _BY_MARKER:
        raise DataError(
            f"{bed.name} is stored line by line, as by very old versions of PLINK: convert it with plink --make-bed."
        )
    expected = 3 + markers * ((lines + 3) // 4)
    if size != expected:
        raise DataError(
            f"{bed.name} has {size:,} bytes, but {expected:,} are needed for the {lines:,} lines of {bed.stem}.fam and "
            f"the {markers:,} markers of {bed.stem}.bim: the three files do not belong together, or one is cut off."
        )
