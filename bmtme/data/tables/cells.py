"""Single cells: what is an identifier, and what is a number.

White space around a cell is dropped, so that trials and relationships agree on what a name is.
"""

from __future__ import annotations

import datetime
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_list, is_one_of, is_unicode, show
from bmtme.data.tables.names import refuse_lost
from bmtme.errors import DataError, UsageError
from bmtme.words import first_repeat

__all__ = [
    "HUGE",
    "IDS",
    "MISSING_CODES",
    "MISSING_WORDS",
    "PLAIN",
    "NumberFormat",
    "check_ids",
    "identifier",
    "individual_names",
    "is_missing",
    "list_codes",
    "number",
    "unique_names",
]

#: Texts that stand for a missing value (never for a missing identifier), compared in lower case.
MISSING_CODES = frozenset({"", "na", "nan", "."})
#: The same in words, for messages.
MISSING_WORDS = "an empty cell, NA, NaN or ."


#: What names an individual with two IDs.
IDS = ("auto", "iid", "fid")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
_LARGEST_EXACT = 2.0**53
#: No value and no relationship is as large as this: squares of variances would not be finite.
HUGE = 1e50


@dataclass(frozen=True)
class NumberFormat:
    """How a table writes its numbers.

    Parameters
    ----------
    decimal : {".", ","}
        Sign between the whole part and the fraction.
    missing : sequence of str
        Texts that stand for a missing value, beside the empty cell, NA, NaN and the point. One that is a number stands
        for every way to write it: -9 also means -9.0.

    Raises
    ------
    UsageError
        For another decimal sign, or an empty code.
    """

    decimal: str = "."
    missing: tuple[str, ...] = ()
    codes: frozenset[str] = field(init=False, repr=False, compare=False)
    values: frozenset[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_one_of(self.decimal, (".", ",")):
            raise UsageError(f"decimal must be '.' or ',', got {show(self.decimal)}.")
        texts = [code.strip() for code in self.missing]
        if not all(texts):
            raise UsageError("missing names an empty code: an empty cell is missing anyway.")
        plain = [self.to_plain(text) for text in texts]
        object.__setattr__(self, "codes", MISSING_CODES.union(text.lower() for text in texts))
        object.__setattr__(self, "values", frozenset(float(text) for text in plain if _NUMBER.fullmatch(text)))

    @classmethod
    def of(cls, missing: str | float | Iterable[str | float] | None, decimal: str) -> NumberFormat:
        """The format that a user's keywords name: one code or several, as text or number."""
        return cls(decimal, tuple(dict.fromkeys(list_codes(missing))))

    @property
    def missing_words(self) -> str:
        """What stands for a missing value, for messages."""
        extra = [code for code in self.missing if code.lower() not in MISSING_CODES]
        return ", ".join([MISSING_WORDS.replace(" or", ","), *extra]) if extra else MISSING_WORDS

    def to_plain(self, text: str) -> str:
        """The text with a decimal point, if it is one of a number of this format."""
        if self.decimal == "," and "." not in text:
            return text.replace(",", ".", 1)
        return "" if self.decimal == "," else text


#: Decimal points, and the usual codes for a missing value.
PLAIN = NumberFormat()


def list_codes(missing: Any) -> list[str]:
    """Codes for missing values as texts: those of a user's keyword, one text or number or several.

    Raises
    ------
    UsageError
        If one is neither text nor number.
    """
    given = [] if missing is None else [missing] if isinstance(missing, (int, float)) else as_list(missing, "missing")
    for code in given:
        if not isinstance(code, (str, int, float, np.integer, np.floating)):
            raise UsageError(f"missing must hold texts or numbers, got {show(code)}.")
    return [show(code) if isinstance(code, int) else str(code) for code in given]


# --- names in messages ------------------------------------------------------------------------------------------


# --- cells ------------------------------------------------------------------------------------------------------


def identifier(value: Any) -> str | None:
    """Text of an identifier, or None if there is none.

    Text is trimmed and otherwise kept; whole numbers become their decimal text (``1`` and ``1.0`` both give ``"1"``,
    since a table with a gap turns whole numbers into floats); empty text, None, NaN and NA give None.

    Raises
    ------
    DataError
        For a number with a fraction, an infinite one or one too large to be exact, and for anything that is neither
        text nor number. The message holds the reason only: the caller knows the place.
    """
    if isinstance(value, str):
        if not is_unicode(value):
            raise DataError(f"{show(value)}, which holds half of a pair of Unicode surrogates: write it anew")
        return value.strip() or None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        try:
            return str(int(value))
        except ValueError:
            raise DataError("a whole number of thousands of digits: give identifiers as text") from None
    if isinstance(value, (float, np.floating)):
        plain = float(value)
        if math.isnan(plain):
            return None
        if plain.is_integer():
            if abs(plain) < _LARGEST_EXACT:
                return str(int(plain))
            raise DataError(f"{plain!r}, which has lost its last digits: give identifiers as text")
        raise DataError(f"{plain!r}, which is no whole number: give identifiers as text")
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta, np.datetime64)):
        raise DataError(
            f"{value}, which is neither text nor a whole number. Spreadsheet programs make such dates of names like "
            "3-1 or MAR1: make the column text in the program that has the names, enter or import them again, and "
            "save; if dates are the names, give them as text"
        )
    raise DataError(f"{show(value)}, which is neither text nor a whole number: give identifiers as text")


def number(value: Any, form: NumberFormat = PLAIN) -> float:
    """Value of a cell as a float, NaN if it is missing, plus or minus infinity if it says so.

    Raises
    ------
    DataError
        If the cell is no number. The message is the offending text with a hint: the caller knows the place.
    """
    if isinstance(value, str):
        text = value.strip()
        plain = form.to_plain(text)
        if _NUMBER.fullmatch(plain):
            return _or_missing(float(plain), form)
        if text.lower() in form.codes:
            return math.nan
        if _INFINITE.fullmatch(text):
            return -math.inf if text.startswith("-") else math.inf
        raise DataError(f"{show(text)}{_decimal_hint(text, form)}")
    if isinstance(value, (int, float, np.integer, np.floating, Decimal)) and not isinstance(value, bool):
        try:
            return _or_missing(float(value), form)
        except (OverflowError, ValueError):  # beyond all floats; a NaN of Decimal that signals
            raise DataError(f"{show(value)}, which is too large or no number") from None
    if value is None or value is pd.NA or value is pd.NaT:
        return math.nan
    raise DataError(show(value))


def is_missing(label: str, form: NumberFormat) -> bool:
    """Whether an identifier is one of the format's codes for a missing value."""
    return label.lower() in form.codes or (_NUMBER.fullmatch(label) is not None and float(label) in form.values)


def _or_missing(value: float, form: NumberFormat) -> float:
    return math.nan if value in form.values else value


def _decimal_hint(text: str, form: NumberFormat) -> str:
    if form.decimal == "." and _DECIMAL_COMMA.fullmatch(text):
        return " (write decimals with a point)"
    return " (write decimals with a comma)" if form.decimal == "," and _NUMBER.fullmatch(text) else ""


def check_ids(ids: Any) -> None:
    """Raise a UsageError for a word that says no ID of PLINK's or GCTA's."""
    if not is_one_of(ids, IDS):
        raise UsageError(f"ids must be one of {', '.join(IDS)}, got {show(ids)}.")


def individual_names(
    individuals: Sequence[tuple[str, str]], file: str, ids: str = "auto", stacklevel: int = 4
) -> tuple[str, ...]:
    """Names of individuals from the family's and the individual's ID, as PLINK and GCTA write them.

    Parameters
    ----------
    individuals : sequence of (str, str)
    file : str
        Where they stand, for messages.
    ids : {"auto", "iid", "fid"}
        Which of the two; ``auto`` is the individual's. Where all individuals have one ID and the families differ, as
        after an export without families, it is the family's, with a warning.
    stacklevel : int

    Raises
    ------
    DataError
        If IDs repeat otherwise.
    """
    families, names = ([pair[side] for pair in individuals] for side in (0, 1))
    if ids == "fid":
        repeat = first_repeat(families)
        if repeat is not None:
            raise DataError(
                f"The family's ID {families[repeat[1]]!r} stands twice in the first column of {file} (individuals "
                f"{names[repeat[0]]!r} and {names[repeat[1]]!r}): named by it, each line needs one of its own."
            )
        return unique_names(families, f"the first column of {file}")
    place = f"the second column of {file}"
    repeat = first_repeat(names)
    if repeat is None:
        return unique_names(names, place)
    if ids == "auto" and len(set(names)) == 1 and len(set(families)) == len(families):
        warnings.warn(
            f"{place} holds the individual's ID {names[0]!r} throughout: lines are named by the family's ID, the first "
            "column; ids='fid' (in the shell --ids fid) is without this warning.",
            UserWarning,
            stacklevel=stacklevel,
        )
        return unique_names(families, place)
    earlier, later = repeat
    raise DataError(
        f"{place} names line {names[later]!r} twice (families {families[earlier]!r} and "
        f"{families[later]!r}): the individual's ID is the name of a line and must be unique; plink --update-ids "
        "changes it, ids='fid' (in the shell --ids fid) takes the family's. Of a line with two samples take one out, "
        "or give them two names."
    )


def unique_names(names: Iterable[Any], place: str) -> tuple[str, ...]:
    """Identifiers as unique texts, at least one; `place` says in messages where they stand."""
    checked = []
    for k, value in enumerate(as_list(names, place)):
        try:
            text = identifier(value)
        except DataError as error:
            raise DataError(f"{place} holds {error}.") from None
        if text is None:
            raise DataError(f"{place} has no name for line {k + 1}.")
        checked.append(text)
    if not checked:
        raise DataError(f"{place} names no lines: at least one is needed.")
    refuse_lost(checked, place)
    repeat = first_repeat(checked)
    if repeat is not None:
        raise DataError(f"{place} names line {checked[repeat[1]]!r} twice: every line must stand there once.")
    return tuple(checked)
