"""How precise the records of a trial are: plots behind adjusted means, or their standard errors, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import as_array, show
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names

__all__ = [
    "POSITIVE",
    "WHOLE",
    "check_correlation",
    "check_errors",
    "check_plots",
    "is_count",
    "is_error",
    "list_error_columns",
    "name_error_columns",
    "read_errors",
    "read_plots",
]

#: Of one record more plots than this are taken for a mistake.
MOST_PLOTS = 10_000
#: Of a correlation of errors, which are otherwise nearly one and the same.
LEAST_EIGENVALUE = 1e-6
POSITIVE = "expected a standard error above zero"
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
            hint = "; standard errors are named as se= (in the shell --se)."
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


# --- standard errors ------------------------------------------------------------------------------------------------


def check_errors(se: Any, values: np.ndarray, traits: Sequence[str], name: Callable[[], Sequence[str]]) -> np.ndarray:
    """Standard errors (N, L), read-only, checked; NaN where there is no value, and for traits without any.

    Parameters
    ----------
    values : (N, L)
    name : makes words for the records, for messages

    Raises
    ------
    DataError
        If shapes disagree, or one of a trait that has some is missing beside a value, or is not positive.
    """
    given = np.array(as_array(se, "se"), dtype=np.float64)
    if given.shape != values.shape:
        raise DataError(f"se must hold one number per record and trait: expected {values.shape}, got {given.shape}.")
    seen = ~np.isnan(values)
    there = ~np.isnan(given).all(axis=0)
    odd = seen & there & ~is_error(given)
    if odd.any():
        record, trait = np.argwhere(odd)[0]
        raise DataError(
            f"se holds {given[record, trait]:g} of trait {traits[trait]!r} for {name()[record]}: {POSITIVE}."
        )
    given[~seen] = np.nan
    given.setflags(write=False)
    return given


def is_error(given: Any) -> np.ndarray:
    """Whether numbers are positive and finite."""
    with np.errstate(invalid="ignore"):
        return np.asarray((given > 0.0) & np.isfinite(given))


def list_error_columns(se: Any) -> list[str]:
    """The columns that an argument `se` names."""
    if isinstance(se, Mapping):
        return [str(column).strip() for column in se.values()]
    return [se.strip()] if isinstance(se, str) else []


def name_error_columns(se: Any, traits: Sequence[str], long: bool) -> dict[str, str]:
    """The column with the standard errors of each trait that has some.

    Parameters
    ----------
    se : dict of columns by trait; of a long table, or of one trait, the column itself

    Raises
    ------
    UsageError
    """
    if isinstance(se, str):
        if not long and len(traits) > 1:
            raise UsageError(
                f"se={se!r} names one column for the standard errors of {len(traits)} traits ({list_names(traits)}): "
                f"name one for each, such as se={{{traits[0]!r}: {se!r}}} (in the shell --se {traits[0]}={se})."
            )
        return dict.fromkeys(traits, se.strip())
    if not isinstance(se, Mapping) or not se or not all(isinstance(x, str) for pair in se.items() for x in pair):
        raise UsageError(f"se must be a dict of columns by trait, such as {{'Yield': 'Yield_se'}}, got {show(se)}.")
    if long:
        raise UsageError("se must be one column of a long table, in which a row is one value and its standard error.")
    unknown = [trait for trait in se if trait not in traits]
    if unknown:
        raise UsageError(f"se names no trait with {unknown[0]!r}: the traits are {list_names(traits)}.")
    return {trait: column.strip() for trait, column in se.items()}


def read_errors(table: Table, column: str, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Standard errors (K,) in some rows of a table, all with a value.

    names : (K,) words for their records, for messages

    Raises
    ------
    DataError
        If the column is not there, is empty beside a value, or holds what is not positive.
    """
    found = table.numbers(column, "se", rows)
    for k in np.flatnonzero(~is_error(found)).tolist():
        cell = table.cell(int(rows[k]), column)
        if np.isnan(found[k]):
            raise DataError(
                f"The se column {column!r} of {table.name} is empty in {cell}, where {names[k]} has a value: give its "
                "standard error, or take the value out."
            )
        hint = "; one of zero would say that the value is known exactly" if found[k] == 0 else ""
        raise DataError(
            f"The se column {column!r} of {table.name} holds {found[k]:g} in {cell} ({names[k]}): {POSITIVE}{hint}."
        )
    return found


def check_correlation(correlation: Any, traits: Sequence[str]) -> np.ndarray:
    """Correlation (L, L) of the errors of traits, read-only, checked.

    Parameters
    ----------
    correlation : array in the order of the traits, DataFrame labelled by traits, or, of two traits, a number

    Raises
    ------
    DataError
        If it is no positive definite correlation matrix of the traits.
    """
    L = len(traits)
    if hasattr(correlation, "columns") and hasattr(correlation, "index"):
        labels = [[str(name).strip() for name in names] for names in (correlation.index, correlation.columns)]
        for own in labels:
            lacking = [trait for trait in traits if trait not in own]
            if lacking:
                raise DataError(f"se_correlation has no trait {lacking[0]!r}: it has {list_names(own)}.")
        rows, columns = ([own.index(trait) for trait in traits] for own in labels)
        correlation = np.asarray(correlation)[np.ix_(rows, columns)]
    elif np.ndim(correlation) == 0 and L == 2:
        correlation = [[1.0, correlation], [correlation, 1.0]]
    try:
        P = np.array(correlation, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"se_correlation must be numbers, got {show(correlation)}.") from None
    if P.shape != (L, L):
        raise DataError(f"se_correlation must be a matrix of the {L} traits: expected {(L, L)}, got {P.shape}.")
    if not np.allclose(np.diag(P), 1.0, atol=1e-6) or not np.allclose(P, P.T, atol=1e-6):
        raise DataError("se_correlation must be symmetric with ones on its diagonal: correlations, no covariances.")
    if not (np.linalg.eigvalsh(P)[0] > LEAST_EIGENVALUE):
        raise DataError(
            "se_correlation is not positive definite: no errors of these traits correlate so. Where two errors are "
            "one and the same, the traits are; leave one out."
        )
    P.setflags(write=False)
    return P
