"""Predictions (BLUPs) that came from elsewhere as values to be analysed again: deregressed, with weights."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from bmtme.arguments import as_text, is_number, is_one_of, show
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names

__all__ = ["deregress"]

#: Relatives that predictions may have been made without, by the word of the argument.
RELATIVES = ("unrelated", "removed")
#: Reliabilities below this say next to nothing, and values over them are noise.
LEAST = 1e-3


def deregress(
    table: pd.DataFrame,
    *,
    line: str,
    blup: str,
    reliability: str,
    h2: float,
    relatives: Literal["unrelated", "removed"],
    missed: float = 0.1,
    variance: float | None = None,
) -> pd.DataFrame:
    """Deregressed values and their weights, from predictions of lines that came without the records behind them.

    Predictions are shrunken towards their mean, each by its own reliability; analysed again as if they were records,
    they are shrunken twice, and lines with few records count as much as others. Where the records are there, analyse
    these, or adjusted means with lines fixed, and never predictions.

    Parameters
    ----------
    table : DataFrame
        A row for each line.
    line, blup, reliability : str
        Columns with names, predictions (as deviations from their mean, of one trait), and reliabilities between 0 and 1
        (1 - PEV / genetic variance: the squared accuracy).
    h2 : float
        Heritability of one record, not of a mean and not Cullis'.
    relatives : {"unrelated", "removed"}
        That predictions are of unrelated lines (lines were random without a relationship), or that the average of
        parents has been removed from predictions and reliabilities (Garrick, Taylor and Fernando 2009, equations 3 to
        9). Others contain what relatives have told: deregressed, it would be counted again for each of them.
    missed : float
        k, the share of the genetic variance that markers miss.
    variance : float, optional
        Genetic variance behind the predictions, for standard errors.

    Returns
    -------
    DataFrame
        line, value (u / r2), weight, and with `variance` se (sqrt(variance (1 - r2) / r2)), in the order of the table.

    Raises
    ------
    DataError
        For a table without rows, a line twice, or a value that is missing or cannot be, with the line.
    UsageError
        If it is not said that predictions hold nothing of relatives, a number cannot be, or a column is named twice.

    Notes
    -----
    With r2 the reliability, weight = (1 - h2) / ((k + (1 - r2) / r2) h2): of one record of the line itself, about 1
    (Garrick, Taylor and Fernando 2009, Genet. Sel. Evol. 41:55). It is the residual variance of a record over
    that of the value, ``mixed.Model.fit(weights="weight")``. ``se`` leaves k out, which is for the residual
    variance that a fit estimates: ``Trial.from_frame(se=...)``. Values with r2 of 1 have no error of their own, which
    se= refuses.
    """
    if not is_one_of(relatives, RELATIVES):
        raise UsageError(
            "predictions that use a relationship cannot be deregressed as they are, as those of relatives would be "
            f"counted again: relatives must be one of {list_names(RELATIVES)} (unrelated lines, or the average of "
            f"parents removed from predictions and reliabilities), got {show(relatives)}. Better are the records "
            "themselves, or adjusted means with lines fixed."
        )
    _check_share(h2, "h2", "the heritability of one record")
    if not is_number(missed) or not 0.0 <= missed < 1.0:
        raise UsageError(f"missed must be a share of the genetic variance, 0 or more and below 1, got {show(missed)}.")
    if variance is not None and (not is_number(variance) or not 0.0 < variance < np.inf):
        raise UsageError(f"variance must be a positive number, got {show(variance)}.")
    source = _read_columns(table, {"line": line, "blup": blup, "reliability": reliability})
    names = source.identifiers(line, "line")
    repeated = pd.Series(names).duplicated()
    if repeated.any():
        raise DataError(
            f"The line column {line!r} of {source.name} has {names[int(repeated.argmax())]!r} twice: expected one "
            "prediction of each line, of one trait."
        )
    u, r2 = source.numbers(blup, "blup"), source.numbers(reliability, "reliability")
    for values, name, what in ((u, blup, "prediction"), (r2, reliability, "reliability")):
        gaps = np.flatnonzero(np.isnan(values))
        if len(gaps):
            raise DataError(
                f"The column {name!r} of {source.name} has no {what} of line {names[gaps[0]]!r} "
                f"({source.row(int(gaps[0]))}): leave the line out, or give it one."
            )
    _check_reliabilities(r2, reliability, source, names)
    if missed == 0.0 and (r2 == 1.0).any():
        own = names[int(np.argmax(r2 == 1.0))]
        raise DataError(
            f"line {own!r} has a reliability of 1, whose weight with missed=0 would be infinite: give missed, the "
            "share of the genetic variance that markers miss."
        )
    lost = (1.0 - r2) / r2
    found: dict[str, Any] = {"line": names, "value": u / r2, "weight": (1.0 - h2) / ((missed + lost) * h2)}
    if variance is not None:
        found["se"] = np.sqrt(variance * lost)
    return pd.DataFrame(found)


def _read_columns(table: Any, columns: dict[str, Any]) -> Table:
    """The table, of which each column is another.

    Raises
    ------
    DataError, UsageError
    """
    if not isinstance(table, pd.DataFrame):
        raise UsageError(f"table must be a pandas DataFrame, a row for each line, got {type(table).__name__}.")
    names = [as_text(name, role) for role, name in columns.items()]
    if len(set(names)) < len(names):
        raise UsageError(f"{list_names(columns)} must be three columns, got {list_names(names)}.")
    if table.empty:
        raise DataError("the table of predictions has no rows: expected one for each line.")
    return Table.from_frame(table)


def _check_share(value: Any, name: str, what: str) -> None:
    if not is_number(value) or not 0.0 < value < 1.0:
        raise UsageError(f"{name} must be {what}, above 0 and below 1, got {show(value)}.")


def _check_reliabilities(r2: np.ndarray, column: str, source: Table, names: list[str]) -> None:
    """Refuse what is no reliability, or one too low to divide by.

    Raises
    ------
    DataError
    """
    odd = np.flatnonzero((r2 < LEAST) | (r2 > 1.0))
    if not len(odd):
        return
    k = int(odd[0])
    hint = f"a prediction without information (below {LEAST:g}) has nothing to be deregressed: leave the line out"
    if r2.max() > 1.0:
        hint = "divide percentages by 100" if r2.max() <= 100.0 else "give 1 - PEV / genetic variance"
    raise DataError(
        f"The reliability column {column!r} of {source.name} holds {r2[k]:g} for line {names[k]!r} "
        f"({source.row(k)}): expected a number above 0 and up to 1; {hint}."
    )
