"""Genotypes of HapMap files, as TASSEL and GAPIT write them: a row for each marker, letters for the alleles."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bmtme.data.markers.codes import DIPLOID, MissingCodes, name_alleles
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.tables import MISSING_BYTE, Collected, Rows
from bmtme.data.tables.cells import unique_names
from bmtme.errors import DataError
from bmtme.progress import Progress

__all__ = ["is_hapmap", "read_hapmap"]

#: Columns before those of the lines, the last one being QCcode.
_FIRST_LINE = 11
#: One letter for two alleles (IUPAC; 0 for an insertion beside its absence).
_PAIRS = {"R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC", "0": "+-"}
_ALLELES = frozenset("ACGT+-")
_UNKNOWN = frozenset("NX?")
_BETWEEN = re.compile(r"[/|: ]")


def is_hapmap(header: Sequence[str]) -> bool:
    """Whether these are the columns of a HapMap file."""
    return [cell.strip().casefold().rstrip("#") for cell in header[:2]] == ["rs", "alleles"]


def read_hapmap(source: str, header: Sequence[str], rows: Rows, ploidy: int, progress: bool | None) -> Markers:
    """Copies of the second allele of the column ``alleles``, or of the other one that is seen.

    A genotype is one letter (IUPAC), or as many as there are sets of chromosomes. N, an empty cell and NA are missing,
    and so is - where ``alleles`` names no insertion. Markers of which more than two alleles are seen are left out, with
    their number in a warning.

    Raises
    ------
    DataError
        If the columns before the lines are others, a line is named twice, or a genotype is none.
    """
    columns = [cell.strip() for cell in header]
    if len(columns) < _FIRST_LINE or not columns[_FIRST_LINE - 1].casefold().startswith("qc"):
        raise DataError(
            f"{source} begins as a HapMap file does, but has no QCcode in column {_FIRST_LINE}: expected the columns "
            "rs#, alleles, chrom, pos, strand, assembly#, center, protLSID, assayLSID, panelLSID, QCcode and then the "
            "lines."
        )
    lines = unique_names(columns[_FIRST_LINE:], f"the header of {source}")
    names: list[str] = []
    codes = Collected(source)
    named: list[tuple[str, str]] = []
    several = 0
    bar = Progress(1, f"reading {source}", progress)
    try:
        for row, cells in rows:
            texts = [cell.strip() for cell in cells]
            name = texts[0]
            listed = [allele for allele in texts[1].upper().split("/") if allele in _ALLELES]
            seen: dict[str, str | None] = {}
            for k, text in enumerate(texts[_FIRST_LINE:]):
                if text not in seen:
                    try:
                        seen[text] = _split(text, listed, ploidy)
                    except DataError as error:
                        raise DataError(
                            f"{source}, row {row}: the genotype of line {lines[k]!r} at marker {name!r} is {error}."
                        ) from None
            counted = _choose_allele(listed, [alleles for alleles in seen.values() if alleles])
            if counted is None:
                several += 1
                continue
            there = set("".join(alleles for alleles in seen.values() if alleles))
            others = (there if len(there) == 2 else there.union(listed)) - {counted}
            named.append(name_alleles(counted, others.pop() if len(others) == 1 else ""))
            numbers = {text: MISSING_BYTE if a is None else a.count(counted) for text, a in seen.items()}
            names.append(name or f"{texts[2]}:{texts[3]}")
            codes.append(np.array([numbers[text] for text in texts[_FIRST_LINE:]], dtype=np.int8))
            if len(names) % 1000 == 0:
                bar.write(f"reading {source}: {len(names)} markers")
    finally:
        bar.close()
    if not names:
        raise DataError(f"{source} has no marker with two alleles or one: there are no markers to read.")
    if several:
        warnings.warn(
            f"{source}: {several} of {several + len(names)} markers left out, as more than two alleles are seen.",
            UserWarning,
            stacklevel=4,
        )
    found = Markers.from_codes(np.array(codes).T, lines, names, source, "012", MissingCodes(), ploidy)
    return replace(found, alleles=tuple(named))


def _split(text: str, listed: Sequence[str], ploidy: int) -> str | None:
    """Alleles of a genotype, a letter for each copy, None if it is missing. A DataError holds the reason only."""
    bare = _BETWEEN.sub("", text).upper()
    if not bare or bare in ("NA", "NAN", ".") or set(bare) <= _UNKNOWN:
        return None
    if set(bare) == {"-"} and not {"+", "-"} & set(listed):
        return None
    if len(bare) == 1 and bare in _ALLELES:
        return bare * ploidy
    if len(bare) == 1 and bare in _PAIRS:
        if ploidy != DIPLOID:
            raise DataError(f"{text!r}, which does not tell how many copies of {ploidy} each allele has")
        return _PAIRS[bare]
    if len(bare) == ploidy and set(bare) <= _ALLELES | _UNKNOWN:
        return None if _UNKNOWN & set(bare) else bare
    raise DataError(
        f"{text!r}: expected one letter (A, C, G, T, R, Y, S, W, K, M, +, -, 0, or N if missing) or {ploidy} letters, "
        "one for each copy"
    )


def _choose_allele(listed: Sequence[str], genotypes: Sequence[str]) -> str | None:
    """The allele to count, the second in order, whether it is seen or not; None if there are more than two."""
    seen = set("".join(genotypes))
    if len(seen) > 2:
        return None
    order = [*listed, *sorted(seen.difference(listed))]
    if len(seen) == 2:
        return [allele for allele in order if allele in seen][1]
    # Of a single one all copies are counted, or none.
    return order[1] if len(order) > 1 else "?"
