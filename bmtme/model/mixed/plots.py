"""The rows of a table as plots: their columns as factors, numbers or positions, whatever the order of the rows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names, suggest

__all__ = ["Factor", "Plots", "guess_numbers", "sort_levels"]

_WHOLE = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
#: Rows that a message names at most.
MOST_NAMED = 3


@dataclass(frozen=True)
class Factor:
    """A column as names.

    Attributes
    ----------
    codes : (n,) int64 array
        Level of each row, -1 where there is none.
    levels : tuple of str
    """

    codes: np.ndarray
    levels: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Factor:
        """The factor of these texts, an empty one being missing; levels are sorted."""
        levels = sort_levels(set(texts) - {""})
        place = {level: code for code, level in enumerate(levels)}
        return cls(np.array([place.get(text, -1) for text in texts], dtype=np.int64), levels)

    def take(self, rows: np.ndarray) -> Factor:
        """The factor of some rows, with the levels that they have."""
        codes = self.codes[rows]
        used = np.unique(codes[codes >= 0])
        place = np.full(len(self.levels) + 1, -1, dtype=np.int64)
        place[used] = np.arange(len(used))
        return Factor(place[codes], tuple(self.levels[code] for code in used))


def sort_levels(levels: Iterable[str]) -> tuple[str, ...]:
    """Levels in order: by size where all are whole numbers, otherwise by name."""
    names = sorted(levels)
    return tuple(sorted(names, key=int)) if all(map(_WHOLE.fullmatch, names)) else tuple(names)


def guess_numbers(table: Table) -> pd.DataFrame:
    """A table of texts with its columns of numbers as such; names such as 001 stay text."""
    frame = table.frame.copy()
    for name in frame.columns:
        column = frame[name]
        texts = [value.strip() for value in column if isinstance(value, str)]
        filled = [text for text in texts if text.lower() not in table.form.codes]
        plain = [table.form.to_plain(text) for text in filled]
        if len(texts) < len(column) and not filled:
            continue  # of a workbook, or of a Parquet file, with types of its own
        if filled and all(map(_NUMBER.fullmatch, plain)) and not any(map(_is_name, plain)):
            frame[name] = table.numbers(str(name), "")
        else:
            frame[name] = [None if _is_empty(value) else value for value in column]
    return frame


def _is_name(text: str) -> bool:
    return len(text) > 1 and text[0] == "0" and text[1].isdigit()


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


@dataclass(frozen=True, eq=False)
class Plots:
    """A user's table.

    Attributes
    ----------
    table : Table
    """

    table: Table

    @classmethod
    def of(cls, frame: Any) -> Plots:
        """The plots of a data frame, which is not changed.

        Raises
        ------
        UsageError, DataError
        """
        if isinstance(frame, Table):
            return cls(replace(frame, frame=guess_numbers(frame)))
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(f"plots must be a pandas DataFrame, a row for each plot, got {type(frame).__name__}.")
        if frame.empty:
            raise DataError("the table of plots has no rows: expected one for each plot.")
        return cls(Table.from_frame(frame))

    def __len__(self) -> int:
        return len(self.table.frame)

    def check_column(self, name: str, formula: str) -> None:
        """Refuse a name that no column has.

        Raises
        ------
        DataError
        """
        if name not in self.table.frame.columns:
            raise DataError(
                f"{self.table.name} has no column {name!r}, which the {formula} formula names."
                f"{suggest(name, self.table.columns)} Its columns are {list_names(self.table.columns, 20)}."
            )

    @cached_property
    def _factors(self) -> dict[str, Factor]:
        return {}

    def factor(self, name: str, formula: str) -> Factor:
        """A column as names.

        Raises
        ------
        DataError
        """
        if name not in self._factors:
            self.check_column(name, formula)
            column = self.table.frame[name]
            if isinstance(column.dtype, pd.CategoricalDtype):
                column = column.astype(object)
            uniques, inverse = np.unique(pd.factorize(column)[0], return_inverse=True)
            # Names are checked once a level, as a table may have hundreds of thousands of rows.
            first = np.full(len(uniques), -1)
            first[inverse[::-1]] = np.arange(len(column))[::-1]
            few = replace(self.table, frame=self.table.frame.iloc[first])
            texts = few.identifiers(name, formula, allow_missing=True)
            found = Factor.of(texts)
            doubtful = [level for level in found.levels if level.lower() in self.table.form.codes]
            if doubtful:
                warnings.warn(
                    f"{list_names(doubtful)} in the column {name!r} of {self.table.name} is taken as a level like any "
                    "other: where it stands for a missing name, leave the cell empty.",
                    UserWarning,
                    stacklevel=5,
                )
            self._factors[name] = Factor(found.codes[inverse], found.levels)
        return self._factors[name]

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers, and so is a covariate in the fixed part."""
        dtype = self.table.frame[name].dtype
        return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)

    def numbers(self, name: str, formula: str) -> np.ndarray:
        """A column of numbers, NaN where missing.

        Raises
        ------
        DataError
        """
        self.check_column(name, formula)
        if self.is_numeric(name):
            values = self.table.frame[name].to_numpy(dtype=float, na_value=np.nan)
            if np.isfinite(values[~np.isnan(values)]).all():
                return np.asarray(values)
        return self.table.numbers(name, formula)

    def name_rows(self, rows: Sequence[int] | np.ndarray) -> str:
        """Words for some rows."""
        shown = ", ".join(self.table.row(int(row)) for row in rows[:MOST_NAMED])
        return shown + (f" and {len(rows) - MOST_NAMED:,} more" if len(rows) > MOST_NAMED else "")

    def label_all(self, rows: np.ndarray) -> tuple[str, ...]:
        """Names of plots in tables: their labels in the index of the frame, or the rows of the file."""
        return tuple(map(str, self.table.frame.index[rows].tolist()))

    def refuse_gaps(self, missing: np.ndarray, name: str, role: str, cure: str) -> None:
        """Refuse a column that is empty in rows with a value of the response.

        Parameters
        ----------
        missing : (n,) bool array
        name, role, cure : str

        Raises
        ------
        DataError
        """
        rows = np.flatnonzero(missing)
        if len(rows):
            raise DataError(
                f"The {role} {name!r} of {self.table.name} is missing in {len(rows):,} row{'s' * (len(rows) > 1)} with "
                f"a value of the response ({self.name_rows(rows)}): {cure}."
            )
