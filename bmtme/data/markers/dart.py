"""Genotypes of DArT's reports: SNPs with one or two rows a marker, and SilicoDArT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.data.markers.codes import MissingCodes
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.tables import MISSING_BYTE, Collected, Rows
from bmtme.data.tables.cells import unique_names
from bmtme.errors import DataError
from bmtme.progress import Progress

__all__ = ["is_dart", "read_dart"]

_IDS = ("alleleid", "cloneid", "markername")
#: Columns about the markers, in lower case; those of an alignment have the name of the genome behind them.
_ABOUT = frozenset(
    """
    alleleid cloneid markername clustertempindex allelesequence allelesequenceref allelesequencesnp trimmedsequence
    trimmedsequenceref trimmedsequencesnp clusterconsensussequence clustersize alleleseqdist snp snpposition callrate
    oneratio oneratioref oneratiosnp freqhomref freqhomsnp freqhets pic picref picsnp avgpic avgcountref avgcountsnp
    avgreaddepth stdevreaddepth qpmr reproducibility ratioavgcountrefavgcountsnp freqhetsminusfreqminhom
    allelecountscorrelation aggregatetagstotal derivedcorrminusseedcorr repref repsnp repavg picreprefpicrepsnp
    picrepref picrepsnp totalpicrepreftest totalpicrepsnptest
    """.split()
)
_ALIGNED = ("chrom_", "chrompos_", "chrompossnp_", "chrompostag_", "alncnt_", "alnevalue_", "strand_")
_MISSING = frozenset({"-", "", "NA", "."})


def is_dart(header: Sequence[str]) -> bool:
    """Whether a first row is that of a DArT report: stars above the columns about the markers, or these columns."""
    if header[0].strip() == "*":
        return True
    columns = [cell.strip().casefold() for cell in header]
    return any(name in columns[:3] for name in _IDS) and len(_ABOUT.intersection(columns)) > 2


def read_dart(source: str, header: Sequence[str], rows: Rows, progress: bool | None) -> Markers:
    """Copies of the SNP allele; of SilicoDArT two where the fragment is present, and none where it is absent.

    One row a marker holds 0 for two copies of the reference allele, 1 for two of the SNP allele and 2 for one of each;
    two rows a marker hold the presence, 1, and absence, 0, of the reference allele, and then of the SNP allele. A dash
    is a missing genotype; so is the absence of both alleles.

    Raises
    ------
    DataError
        If there is no column of genotypes, a line is named twice, a genotype is none, or the rows of a marker are not
        two throughout.
    """
    stars = _count_stars(header)
    start = 1
    while _count_stars(header):
        start, header = next(rows, (start, []))
        if not header:
            raise DataError(f"{source} has rows of stars only, as a DArT report has above its header.")
    columns = [cell.strip() for cell in header]
    lower = [column.casefold() for column in columns]
    about = [k for k, name in enumerate(lower) if name in _ABOUT or name.startswith(_ALIGNED)]
    first = stars or max(about, default=-1) + 1
    identity = next((lower.index(name) for name in _IDS if name in lower[:first]), None)
    if identity is None or first >= len(columns):
        raise DataError(
            f"{source} looks like a DArT report, but has no column {'AlleleID or CloneID' if identity is None else ''}"
            f"{'of genotypes' if identity is not None else ''} in row {start}: expected the report as it was delivered."
        )
    lines = unique_names(columns[first:], f"row {start} of {source}")
    snp = lower.index("snp") if "snp" in lower[:first] else None
    names: list[str] = []
    codes = Collected(source)
    blank: list[bool] = []
    numbers: dict[str, int] = {}
    bar = Progress(1, f"reading {source}", progress)
    try:
        for row, cells in rows:
            texts = [cell.strip() for cell in cells]
            for k, text in enumerate(texts[first:]):
                if text not in numbers:
                    numbers[text] = _parse(text, lines[k], texts[identity], f"{source}, row {row}", snp is None)
            names.append(texts[identity])
            codes.append(np.array([numbers[text] for text in texts[first:]], dtype=np.int8))
            blank.append(snp is not None and texts[snp] in _MISSING)
            if len(names) % 1000 == 0:
                bar.write(f"reading {source}: {len(names)} rows")
    finally:
        bar.close()
    if not names:
        raise DataError(f"{source} has no rows below its header: expected markers.")
    found = np.array(codes)
    if any(blank):
        found, names = _join_rows(found, names, blank, source)
    elif snp is None:
        found = np.where(found == MISSING_BYTE, MISSING_BYTE, 2 * found).astype(np.int8)
    else:
        _refuse_pairs(found, names, source)
        # 1 is two copies of the SNP allele, 2 is one.
        found = np.array([0, 2, 1, MISSING_BYTE], dtype=np.int8)[np.where(found == MISSING_BYTE, 3, found)]
    return Markers.from_codes(found.T, lines, names, source, "012", MissingCodes())


def _count_stars(cells: Sequence[str]) -> int:
    return next((k for k, cell in enumerate(cells) if cell.strip() != "*"), len(cells))


def _parse(text: str, line: str, marker: str, place: str, silico: bool) -> int:
    if text in _MISSING:
        return MISSING_BYTE
    if text in ("0", "1") or (text == "2" and not silico):
        return int(text)
    counts = " Reports of counts are not read: take that with one or two rows a marker." if text.isdecimal() else ""
    raise DataError(
        f"{place}: the genotype of line {line!r} at marker {marker!r} is {text!r}: expected 0, 1"
        f"{'' if silico else ', 2'} or - in a DArT report, where {line!r} is taken as a line by its column.{counts}"
    )


def _join_rows(found: np.ndarray, names: Sequence[str], blank: Sequence[bool], source: str) -> tuple[np.ndarray, list]:
    """Genotypes from two rows a marker, the first, that of the reference allele, without an entry under SNP."""
    for k in range(0, len(names), 2):
        if k + 1 == len(names) or not blank[k] or blank[k + 1]:
            raise DataError(
                f"{source} has rows with and without an entry under SNP, as DArT's report with two rows a marker, but "
                f"not by turns at {names[k]!r}: expected the row of the reference allele, without one, and then that "
                "of the SNP allele."
            )
    if (found == 2).any():
        raise DataError(f"{source} has two rows a marker, as SNP is empty in every other row, but holds the code 2.")
    reference, other = found[::2], found[1::2]
    missing = (reference == MISSING_BYTE) | (other == MISSING_BYTE) | (reference + other == 0)
    return np.where(missing, MISSING_BYTE, 1 + other - reference).astype(np.int8), list(names[1::2])


def _refuse_pairs(found: np.ndarray, names: Sequence[str], source: str) -> None:
    """Refuse what may be two rows a marker: the same marker twice in turn, and no heterozygote."""
    pairs = len(names) > 1 and all(a == b for a, b in zip(names[::2], names[1::2], strict=False))
    if pairs and not (found == 2).any():
        raise DataError(
            f"{source} names every marker twice, as DArT's report with two rows a marker, but has an entry under SNP "
            "in both rows: empty that in the row of the reference allele, or ask for the report with one row a marker."
        )
