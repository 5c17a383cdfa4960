"""Further effects of the records of a trial: the blocks that they stand in and covariates, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import as_list, is_unicode, show
from bmtme.data.tables.cells import HUGE
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.words import first_repeat

__all__ = [
    "centre_covariate",
    "check_blocks",
    "check_covariates",
    "list_columns",
    "read_blocks",
    "read_covariates",
    "scale_covariate",
]

#: A standard deviation, relative to the largest value, that is rounding.
NO_SPREAD = 1e-12
#: Between the names of columns whose labels together are a factor: ``rep:block``.
JOINT = ":"


def check_blocks(blocks: Any, n_records: int) -> dict[str, tuple[str, ...]]:
    """Labels of the records by factor, checked.

    Raises
    ------
    DataError
        If it is no dict, or does not hold one text for each record.
    """
    if not isinstance(blocks, Mapping):
        raise DataError(f"blocks must be a dict with one text for each record under each factor, got {show(blocks)}.")
    checked = {}
    for name, labels in blocks.items():
        if not isinstance(name, str) or not name.strip() or not is_unicode(name):
            raise DataError(f"blocks holds the factor {show(name)}: names are texts and not empty.")
        own = tuple(as_list(labels, f"blocks[{name!r}]"))
        if len(own) != n_records or not all(isinstance(label, str) for label in own):
            raise DataError(
                f"blocks[{name!r}] must hold one text per record: expected {n_records}, got {len(own)} entries."
            )
        checked[name] = own
    return checked


def check_covariates(covariates: Any, n_records: int) -> dict[str, np.ndarray]:
    """(N,) values of the records by covariate, NaN where missing, as read-only arrays.

    Raises
    ------
    DataError
        If it is no dict, or does not hold one number for each record.
    """
    if not isinstance(covariates, Mapping):
        raise DataError(
            f"covariates must be a dict with one number for each record under each name, got {show(covariates)}."
        )
    checked = {}
    for name, values in covariates.items():
        if not isinstance(name, str) or not name.strip() or not is_unicode(name):
            raise DataError(f"covariates holds the name {show(name)}: names are texts and not empty.")
        try:
            own = np.array(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"covariates[{name!r}] must be numbers, NaN where missing, got {show(values)}.") from None
        if own.shape != (n_records,):
            raise DataError(
                f"covariates[{name!r}] must hold one number per record: expected ({n_records},), got {own.shape}."
            )
        if (np.abs(own) > HUGE).any():
            raise DataError(f"covariates[{name!r}] holds an infinite value, or one beyond {HUGE:g}.")
        own.setflags(write=False)
        checked[name] = own
    return checked


def centre_covariate(values: np.ndarray, env: np.ndarray) -> np.ndarray:
    """Values (N,) less the mean of their environment, where that is known.

    Added up in the order of the values, so that no digit depends on the order of the records.
    """
    out = values.copy()
    for i in np.unique(env):
        here = np.flatnonzero((env == i) & ~np.isnan(values))
        if len(here):
            out[here] -= np.sort(values[here]).sum() / len(here)
    return out


def scale_covariate(values: np.ndarray, env: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, float]:
    """Centred values (N,), and their standard deviation over the records `used` (N,); of a constant, zeros and one."""
    own = centre_covariate(values, env)
    unit = float(np.sqrt(np.mean(np.sort(own[used] ** 2))))
    if unit <= NO_SPREAD * float(np.nanmax(np.abs(values))):
        return np.where(np.isnan(own), own, 0.0), 1.0
    return own, unit


def list_columns(names: Sequence[str], columns: Iterable[str]) -> dict[str, list[str]]:
    """The columns of each factor: one of its name, or those whose names it joins by colons.

    Raises
    ------
    UsageError
        If a factor is named twice.
    """
    repeat = first_repeat(names)
    if repeat is not None:
        raise UsageError(f"blocks= names {names[repeat[1]]!r} twice: name every factor once.")
    there = set(columns)
    return {name: [name] if name in there else [part.strip() for part in name.split(JOINT)] for name in names}


def read_blocks(table: Table, factors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Label of each row by factor, empty where the last of its columns is.

    factors : the columns of each
    """
    blocks = {}
    for name, columns in factors.items():
        parts = [table.identifiers(column, "blocks", allow_missing=True) for column in columns]
        blocks[name] = [JOINT.join(labels) if labels[-1] else "" for labels in zip(*parts, strict=True)]
    return blocks


def read_covariates(
    table: Table, names: Sequence[str], record: np.ndarray | None = None, first: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Values by covariate of every row, or of every record of a long table.

    Parameters
    ----------
    record, first : (rows,) record of each row; first row of each record

    Raises
    ------
    UsageError
        If a covariate is named twice.
    DataError
        For what is no number, and where rows of one record differ.
    """
    repeat = first_repeat(names)
    if repeat is not None:
        raise UsageError(f"covariates= names {names[repeat[1]]!r} twice: name every covariate once.")
    read = {}
    for name in names:
        values = table.numbers(name, "covariates")
        if record is not None and first is not None:
            told = values[first][record]
            differ = np.flatnonzero((values != told) & ~(np.isnan(values) & np.isnan(told)))
            if len(differ):
                row = int(differ[0])
                other = int(first[record[row]])
                raise DataError(
                    f"The covariates column {name!r} of {table.name} holds {values[other]:g} in {table.row(other)} and "
                    f"{values[row]:g} in {table.row(row)}, which are of one plot: all its rows must say the same."
                )
            values = values[first]
        read[name] = values
    return read
