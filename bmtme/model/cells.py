"""Single cells: what is an identifier, what is a number, and how names are shown in messages.

White space around a cell is dropped, so that trials and relationships agree on what a name is.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Hashable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from bmtme.errors import DataError

__all__ = [
    "MISSING_CODES",
    "MISSING_WORDS",
    "first_repeat",
    "identifier",
    "list_names",
    "normalise_name",
    "number",
    "suggest",
    "unique_names",
]

#: Texts that stand for a missing value (never for a missing identifier), compared in lower case.
MISSING_CODES = frozenset({"", "na", "nan", "."})
#: The same in words, for messages.
MISSING_WORDS = "an empty cell, NA, NaN or ."


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
_LARGEST_EXACT = 2.0**53


# --- names in messages ------------------------------------------------------------------------------------------


def list_names(names: Iterable[object], limit: int = 10) -> str:
    """Quote names for a message: all of them up to `limit`, then how many more there are."""
    quoted = [repr(str(name)) for name in names]
    if len(quoted) <= limit:
        return ", ".join(quoted)
    return ", ".join(quoted[:limit]) + f" and {len(quoted) - limit} more"


def normalise_name(name: str) -> str:
    """Reduce a name to what survives sloppy typing: no case, no spaces or punctuation, no leading zeros."""
    bare = re.sub(r"[\s_.\-/]+", "", name.casefold())
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", bare)


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the candidate closest to `name`, or an empty text if none is close."""
    pool = list(candidates)
    bare = normalise_name(name)
    for candidate in pool:
        if bare and normalise_name(candidate) == bare:
            return f" Did you mean {candidate!r}?"
    by_folded = {candidate.casefold(): candidate for candidate in reversed(pool)}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def first_repeat(keys: Iterable[Hashable]) -> tuple[int, int] | None:
    """Positions of the first key that stood there before and of its earlier twin, as (earlier, later), or None."""
    seen: dict[Hashable, int] = {}
    for position, key in enumerate(keys):
        earlier = seen.setdefault(key, position)
        if earlier != position:
            return earlier, position
    return None


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
        return value.strip() or None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        plain = float(value)
        if math.isnan(plain):
            return None
        if plain.is_integer() and abs(plain) < _LARGEST_EXACT:
            return str(int(plain))
        raise DataError(f"{plain!r}, which is no whole number: give identifiers as text")
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    raise DataError(f"{value!r}, which is neither text nor a whole number: give identifiers as text")


def number(value: Any) -> float:
    """Value of a cell as a float, NaN if it is missing, plus or minus infinity if it says so.

    Raises
    ------
    DataError
        If the cell is no number. The message is the offending text with a hint: the caller knows the place.
    """
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return float(text)
        if text.lower() in MISSING_CODES:
            return math.nan
        if _INFINITE.fullmatch(text):
            return -math.inf if text.startswith("-") else math.inf
        hint = " (write decimals with a point)" if _DECIMAL_COMMA.fullmatch(text) else ""
        raise DataError(f"{text!r}{hint}")
    if isinstance(value, (int, float, np.integer, np.floating, Decimal)) and not isinstance(value, bool):
        return float(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return math.nan
    raise DataError(repr(value))


def unique_names(names: Iterable[Any], place: str) -> tuple[str, ...]:
    """Identifiers as unique texts, at least one; `place` says in messages where they stand."""
    checked = []
    for k, value in enumerate([names] if isinstance(names, str) else names):
        try:
            text = identifier(value)
        except DataError as error:
            raise DataError(f"{place} holds {error}.") from None
        if text is None:
            raise DataError(f"{place} has no name for line {k + 1}.")
        checked.append(text)
    if not checked:
        raise DataError(f"{place} names no lines: at least one is needed.")
    repeat = first_repeat(checked)
    if repeat is not None:
        raise DataError(f"{place} names line {checked[repeat[1]]!r} twice: every line must stand there once.")
    return tuple(checked)
