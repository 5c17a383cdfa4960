"""Genotypes of PLINK's .raw (``--recode A``, ``--export A``): a row for each individual, separated in any way."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from bmtme.data.markers.codes import MissingCodes
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.tables import RAW_HEADER, Collected, Numbers, Rows, bad_cell, compact, stack
from bmtme.data.tables.cells import individual_names
from bmtme.errors import DataError
from bmtme.progress import Progress

__all__ = ["is_raw", "read_raw"]


def is_raw(header: Sequence[str]) -> bool:
    """Whether these are the columns of PLINK's .raw."""
    return tuple(cell.strip().lstrip("#").upper() for cell in header[: len(RAW_HEADER)]) == RAW_HEADER


def read_raw(source: str, header: Sequence[str], rows: Rows, ids: str, progress: bool | None) -> Markers:
    """Genotypes of PLINK's .raw: copies of the allele that is part of each marker's name.

    Raises
    ------
    DataError
        For an individual whose name repeats, and a genotype that is none.
    """
    first = len(RAW_HEADER)
    names = [cell.strip() for cell in header[first:]]
    # Columns of --recode AD: after each marker, whether it is heterozygous.
    additive = np.array(
        [k % 2 == 0 or name != names[k - 1].rpartition("_")[0] + "_HET" for k, name in enumerate(names)], dtype=bool
    )
    if not additive.all():
        warnings.warn(
            f"{source}: {int((~additive).sum())} columns of heterozygotes (_HET) left out.", UserWarning, stacklevel=4
        )
    missing = MissingCodes()
    numbers = Numbers(missing)
    individuals: list[tuple[str, str]] = []
    codes = Collected(source)
    bar = Progress(1, f"reading {source}", progress)
    try:
        for row, cells in rows:
            label = cells[1].strip()
            try:
                values = np.fromiter(map(numbers.__getitem__, cells[first:]), np.float64, len(names))
            except DataError:
                raise DataError(bad_cell(source, row, label, names, cells[first:], missing)) from None
            individuals.append((cells[0].strip(), label))
            codes.append(compact(values[additive]))
            if len(codes) % 100 == 0:
                bar.write(f"reading {source}: {len(codes)} lines")
    finally:
        bar.close()
    if not individuals:
        raise DataError(f"{source} has no rows below its header: expected one for each individual.")
    lines = individual_names(individuals, source, ids, stacklevel=5)
    markers = [name for name, stays in zip(names, additive, strict=True) if stays]
    return Markers.from_codes(stack(codes), lines, markers, source, "012", missing)
