"""Checks of the parts that a trial is made of: labels, values, places, replicates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import as_array, as_list, is_unicode, show
from bmtme.data.tables.cells import HUGE
from bmtme.errors import DataError
from bmtme.words import first_repeat

__all__ = ["check_index", "check_labels", "check_reps", "check_values", "find_replicates"]


def check_labels(labels: Iterable[str], field: str) -> tuple[str, ...]:
    """Labels of lines, environments or traits: texts, none empty or twice, at least one.

    Raises
    ------
    DataError
    """
    checked = tuple(as_list(labels, field))
    if not checked:
        raise DataError(f"{field} is empty: at least one label is needed.")
    for label in checked:
        if not isinstance(label, str) or not label or not is_unicode(label):
            raise DataError(f"{field} holds {show(label)}: labels are texts and not empty.")
    repeat = first_repeat(checked)
    if repeat is not None:
        raise DataError(f"{field} holds {checked[repeat[1]]!r} twice: labels must be unique.")
    return checked


def check_values(given: Any, traits: Sequence[str]) -> np.ndarray:
    """(N, L) values of the records, NaN where missing, as a read-only array.

    Raises
    ------
    DataError
        If they are no numbers, of another shape, infinite or beyond 1e50.
    """
    try:
        values = np.array(given, dtype=np.float64, order="C")
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"values must be numbers, NaN where missing, got {show(given)}.") from None
    if values.ndim != 2 or values.shape[1] != len(traits):
        raise DataError(
            f"values must have one row per record and one column per trait: "
            f"expected (N, {len(traits)}), got {values.shape}."
        )
    if (np.abs(values) > HUGE).any():
        record, column = np.argwhere(np.abs(values) > HUGE)[0]
        what = "an infinite value" if np.isinf(values[record, column]) else f"a value beyond {HUGE:g}"
        raise DataError(f"values holds {what} of trait {traits[column]!r} in record {record}.")
    values.setflags(write=False)
    return values


def check_index(index: Any, field: str, n_records: int, n_labels: int) -> np.ndarray:
    """(N,) places of the records among so many labels, as a read-only array.

    Raises
    ------
    DataError
        If they are no whole numbers, not one for each record, or point nowhere.
    """
    given = as_array(index, field)
    if given.shape != (n_records,) or (given.size and given.dtype.kind not in "iu"):
        raise DataError(
            f"{field} must hold one integer per record: expected ({n_records},), got {given.dtype} {given.shape}."
        )
    checked = np.array(given, dtype=np.int64)
    if checked.size and (checked.min() < 0 or checked.max() >= n_labels):
        raise DataError(f"{field} must lie between 0 and {n_labels - 1}.")
    checked.setflags(write=False)
    return checked


def check_reps(given: Any, n_records: int) -> tuple[str, ...]:
    """Labels of the records' replicates.

    Raises
    ------
    DataError
        If they are not one text for each record.
    """
    reps = tuple(as_list(given, "reps"))
    if len(reps) != n_records or not all(isinstance(rep, str) for rep in reps):
        raise DataError(f"reps must hold one text per record: expected {n_records}, got {len(reps)}.")
    return reps


def find_replicates(reps: Sequence[str], blocks: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Labels less those of their columns that are blocks; None where nothing is left.

    Where the columns together are blocks, the last one is left out: replicates hold blocks.
    """
    if not blocks:
        return tuple(reps)
    factors = set(blocks.values())
    parts = [rep.split(":") for rep in reps]
    several = len({len(labels) for labels in parts}) == 1
    columns = list(zip(*parts, strict=True)) if several else [tuple(reps)]
    joint = tuple(rep if rep and rep[-1] != ":" else "" for rep in reps)
    if len(columns) > 1 and joint in factors:
        columns = columns[:-1]
    columns = [labels for labels in columns if labels not in factors]
    return tuple(":".join(labels) for labels in zip(*columns, strict=True)) if columns else None
