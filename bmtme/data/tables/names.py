"""Names that are none, and names that a spreadsheet program has damaged."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Sequence

from bmtme.errors import DataError

__all__ = [
    "PLACEHOLDERS",
    "describe_dates",
    "describe_lost",
    "find_dates",
    "is_doubtful",
    "is_nothing",
    "refuse_lost",
    "warn_of_dates",
]

#: Words that say that there is no name, in lower case.
_NOTHING = frozenset("na n/a nan null none nil missing unknown unk unkn".split())
#: Numbers that do; no name is a negative number, and 999 may be one.
_NO_NUMBER = re.compile(r"-(?:1|9+)(?:\.0*)?|0(?:\.0*)?")
#: Words that may say so, in lower case.
PLACEHOLDERS = frozenset("tbd tba blank empty void unnamed 999 9999 99999".split())
#: Words for many parents at once.
_MANY = frozenset("various several many other open op polycross bulk mix mixture wild".split())


def is_nothing(name: str) -> bool:
    """Whether a text can be no name: a word such as unknown, 0, -9, or signs alone such as * and ?."""
    text = name.strip().casefold()
    return text in _NOTHING or _NO_NUMBER.fullmatch(text) is not None or not any(c.isalnum() for c in text)


def is_doubtful(name: str) -> bool:
    """Whether a text may stand for no name, or for many: 999, open, bulk."""
    return name.strip().casefold() in PLACEHOLDERS | _MANY


# --- spreadsheet programs ---------------------------------------------------------------------------------------

#: A long number as it is shown: 3.92752E+12.
_SCIENTIFIC = re.compile(r"[1-9](?:[.,][0-9]{1,14})?E[+-][0-9]{2,3}", re.IGNORECASE)
_FAILED = re.compile(
    r"#N/A|#NAME\?|#REF!|#VALUE!|#DIV/0!|#NUM!|#NULL!|#SPILL!|#CALC!|#{2,}|Err:[0-9]{3}", re.IGNORECASE
)
#: Months as these programs write them in English, German, French, Spanish, Italian, Portuguese and Dutch.
_MONTH = (
    r"(jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec|mrz|mär|mai|okt|dez|janv|févr|fevr|mars|avr|juin|juil|août|aout"
    r"|déc|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|fev|out|mrt|mei)\.?"
)
_DAY_MONTH = re.compile(
    rf"(?:0?[1-9]|[12][0-9]|3[01])[-. ]{{1,2}}{_MONTH}(?:[-. ](?:[0-9]{{2}}){{1,2}})?", re.IGNORECASE
)
_MONTH_NUMBER = re.compile(rf"{_MONTH}[-. ](?:[0-9]{{2}}){{1,2}}", re.IGNORECASE)
#: Dates with a year of four digits: 2026-03-01 (with midnight), 1/3/2026, 1.3.2026; the last group tells others of this
#: shape, such as 2015-03-112, which are none.
_YEAR_FIRST = re.compile(r"[12][0-9]{3}-([0-9]+)-([0-9]+)(?: 00:00:00)?")
_YEAR_LAST = re.compile(r"([0-9]+)[/.]([0-9]+)[/.](?:18|19|20|21)[0-9]{2}")
#: What turns into a date if its numbers are small: 3-1, 14/32.
_PAIR = re.compile(r"[0-9]{1,2}[-/][0-9]{1,4}")


def describe_lost(name: str) -> str | None:
    """Why a name is no longer the one that was meant, as a clause, or None."""
    if _SCIENTIFIC.fullmatch(name):
        return (
            "a number as a spreadsheet program or R shortens it: digits are lost, and different names may have become "
            "one. Go back to the source, make the column text before anything is pasted or opened there (in R, "
            "format(x, scientific = FALSE)), and save again"
        )
    if _FAILED.fullmatch(name):
        return (
            "which a spreadsheet program shows in place of a name that it took for a formula or has no room for: "
            "different names may have become one. Go back to the source, make the column text, and save again"
        )
    return None


def refuse_lost(names: Iterable[str], place: str) -> None:
    """Raise a DataError for names that a spreadsheet program has put in the place of others.

    Parameters
    ----------
    names : iterable of str
        May repeat.
    place : str
        Where they stand, such as ``The line column 'line' of pheno.csv``.
    """
    lost: dict[str, int] = {}
    for name in names:
        # Cheap first: a name in a thousand has one of these signs.
        if name[:1] == "#" or name[:1] == "E" or "+" in name or "-" in name:
            if name in lost or describe_lost(name):
                lost[name] = lost.get(name, 0) + 1
    if not lost:
        return
    first = next(iter(lost))
    times = f" {lost[first]:,} times" if lost[first] > 1 else ""
    more = f" (and {len(lost) - 1:,} more such)" if len(lost) > 1 else ""
    raise DataError(f"{place} holds {first!r}{times}{more}, {describe_lost(first)}.")


def find_dates(names: Collection[str], dated: bool = False) -> list[str]:
    """Names that are dates, or long numbers ending in zeros, as a spreadsheet program makes them of other names.

    Parameters
    ----------
    names : collection of str
        Unique.
    dated : bool
        Whether dates may be names of such things, as of environments: then they are found only beside names such as
        14-32, which are what became of none.
    """
    dates = [name for name in names if _DAY_MONTH.fullmatch(name)]
    numbered = [name for name in names if _MONTH_NUMBER.fullmatch(name)]
    if dates or len({name[:3].casefold() for name in numbered}) > 1:  # else a family that is named so
        dates += numbered
    for shape in (_YEAR_FIRST, _YEAR_LAST):
        found = {name: match for name in names if (match := shape.fullmatch(name))}
        if all(_is_day(*map(int, match.groups())) for match in found.values()):
            dates += found
    if dated and not any(_PAIR.fullmatch(name) for name in names):
        dates = []
    long = [name for name in names if name.isdecimal() and len(name) > 15]
    if len(long) > 2 and all(set(name[15:]) == {"0"} for name in long):
        dates += long
    chosen = set(dates)
    return [name for name in names if name in chosen]


def _is_day(first: int, second: int) -> bool:
    return 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31


def warn_of_dates(names: Sequence[str], noun: str, source: str, stacklevel: int = 3) -> None:
    """Warn of such names of lines or environments."""
    found = find_dates(names, dated=noun == "environment")
    if found:
        warnings.warn(f"{source}: {describe_dates(found, noun)}", UserWarning, stacklevel=stacklevel)


def describe_dates(found: Sequence[str], noun: str) -> str:
    """Words for such names."""
    shown = ", ".join(map(repr, found[:8])) + (f" and {len(found) - 8:,} more" if len(found) > 8 else "")
    return (
        f"{len(found):,} {noun}{'' if len(found) == 1 else 's'} with a name such as a spreadsheet program makes of "
        f"another ({shown}): a date of 3-1 or MAR1, zeros of the last digits of a long number. Compare with the "
        "source; to mend it, make the column text there before the names are entered or opened, and save again."
    )
