"""How precise the records of a trial are: the plots behind an adjusted mean, read from a table and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import as_array
from bmtme.data.tables.files import Table
from bmtme.errors import DataError

__all__ = ["WHOLE", "check_plots", "is_count", "read_plots"]

#: Of one record more plots than this are taken for a mistake.
MOST_PLOTS = 10_000
WHOLE = f"expected a whole number of plots from 1 to {MOST_PLOTS:,}"


def check_plots(plots: Any, seen: np.ndarray, name: Callable[[], Sequence[str]]) -> np.ndarray:
    """Numbers of plots (N,) int64, read-only, checked; zero where a record has no value and none is told.

    Parameters
    ----------
    seen : (N,) bool, records with a value
    name : makes words for the records, for messages

    Raises
    ------
    DataError
        If there is not one for each record, or one of a record with a value is no whole number of at least one.
    """
    given = as_array(plots, "n_plots")
    if given.shape != seen.shape or given.dtype.kind not in "iuf":
        raise DataError(
            f"n_plots must hold one number per record: expected {seen.shape}, got {given.dtype} {given.shape}."
        )
    odd = seen & ~is_count(given)
    if odd.any():
        record = int(np.argmax(odd))
        raise DataError(f"n_plots holds {given[record]:g} for {name()[record]}: {WHOLE}.")
    checked = np.where(is_count(given), given, 0).astype(np.int64)
    checked.setflags(write=False)
    return checked


def is_count(given: Any) -> np.ndarray:
    """Whether numbers are whole and of at least one."""
    with np.errstate(invalid="ignore"):
        return np.asarray((given >= 1) & (given <= MOST_PLOTS) & (given == np.floor(given)))


def read_plots(
    table: Table, column: str, rows: np.ndarray, record: np.ndarray, names: Sequence[str], n_records: int
) -> np.ndarray:
    """Number of plots (n_records,) behind each record, zero where no row tells it.

    Parameters
    ----------
    rows : (K,) rows of the table with a value
    record : (K,) record that each of them belongs to
    names : of the records, for messages

    Raises
    ------
    DataError
        If the column is not there, is empty beside a value, or holds something else than a whole number of at least
        one; if two values of one record have different numbers.
    """
    found = table.numbers(column, "n_plots", rows)
    for k in np.flatnonzero(~is_count(found)).tolist():
        cell, name = table.cell(int(rows[k]), column), names[record[k]]
        if np.isnan(found[k]):
            raise DataError(
                f"The n_plots column {column!r} of {table.name} is empty in {cell}, where {name} has a value: say of "
                "how many plots it is the mean, or take the value out."
            )
        hint = "."
        if found[k] > 0 and not found[k].is_integer():
            hint = "; if the column holds standard errors or standard deviations, it is none of plots."
        raise DataError(
            f"The n_plots column {column!r} of {table.name} holds {found[k]:g} in {cell} ({name}): {WHOLE}{hint}"
        )
    plots = np.zeros(n_records, np.int64)
    first: dict[int, int] = {}
    for k, n in enumerate(record.tolist()):
        if n in first and plots[n] != found[k]:
            raise DataError(
                f"The n_plots column {column!r} of {table.name} holds {plots[n]} in {table.row(int(rows[first[n]]))} "
                f"and {found[k]:g} in {table.row(int(rows[k]))}, which are values of one record ({names[n]}): a record "
                "has one number of plots for all of its traits. Give the plots themselves, or read each trait as a "
                "trial of its own."
            )
        plots[n] = found[k]
        first.setdefault(n, k)
    return plots
