"""Codes of marker genotypes: which numbers stand for 0, 1 and 2 copies of an allele, and which for no genotype."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bmtme.arguments import is_one_of, show, whole_number
from bmtme.data.tables.cells import MISSING_CODES, list_codes, number
from bmtme.errors import DataError, UsageError

__all__ = ["AUTO", "CODINGS", "DIPLOID", "Coding", "MissingCodes", "check_coding", "choose_coding", "name_alleles"]

FloatArray = npt.NDArray[np.float64]

#: Let the codes tell.
AUTO = "auto"
DIPLOID = 2
#: More sets of chromosomes than any crop has.
_MOST_SETS = 24
#: Numbers that no coding holds and that programs write for a missing genotype: PLINK's -9, bed-reader's -127, and the
#: least 8-bit integer.
_NEVER_A_GENOTYPE = (-9.0, -127.0, -128.0)

#: In place of the name of an allele.
_NO_ALLELE = ("", "0", ".", "?", "N")


@dataclass(frozen=True)
class Coding:
    """One way of writing genotypes.

    Attributes
    ----------
    name : str
        As the user gives it.
    low, high : float
        Range of the codes; dosages between are allowed.
    words : str
        The codes, for messages.
    copies : float
        Copies of the allele that one step of the code stands for; the lowest code is no copy.
    """

    name: str
    low: float
    high: float
    words: str
    copies: float

    @classmethod
    def of(cls, name: str, ploidy: int) -> Coding:
        """The coding of this name, a key of `CODINGS`, for so many sets of chromosomes."""
        coding = CODINGS[name]
        if name == "012" and ploidy != DIPLOID:
            return cls(name, 0.0, float(ploidy), f"0 to {ploidy}", 1.0)
        return replace(coding, copies=float(ploidy)) if name == "01" else coding

    def decode(self, codes: FloatArray) -> FloatArray:
        """Copies of the allele, 0 to the ploidy."""
        return codes if self.name == "012" else (codes - self.low) * self.copies


#: Of diploids; see `Coding.of`.
CODINGS = {
    coding.name: coding
    for coding in (
        Coding("012", 0.0, 2.0, "0, 1 or 2", 1.0),
        Coding("-101", -1.0, 1.0, "-1, 0 or 1", 1.0),
        Coding("01", 0.0, 1.0, "0 or 1", 2.0),
    )
}


class MissingCodes:
    """What stands for a genotype that is missing: always an empty cell, NA, NaN, a point, -9, -127 and -128.

    Parameters
    ----------
    more : iterable of str or number
        Further codes, such as ``-1`` or ``"--"``. Texts are compared without regard to case.
    """

    def __init__(self, more: Iterable[Any] = ()) -> None:
        texts, numbers = set(MISSING_CODES), set(_NEVER_A_GENOTYPE)
        for code in list_codes(more):
            texts.add(code.strip().casefold())
            try:
                value = number(code)
            except DataError:
                continue
            if not math.isnan(value):
                numbers.add(value)
        if {0.0, 2.0} <= numbers or {-1.0, 1.0} <= numbers:
            raise UsageError("missing= takes away two genotypes of one coding: name only codes for missing genotypes.")
        self._texts = frozenset(texts)
        self._numbers = tuple(sorted(numbers))

    def parse(self, value: Any) -> float:
        """A cell as a number, NaN if it is missing. A DataError holds the reason only, as for `cells.number`."""
        if isinstance(value, str) and value.strip().casefold() in self._texts:
            return math.nan
        parsed = number(value)
        return math.nan if parsed in self._numbers else parsed

    def clear(self, codes: FloatArray) -> FloatArray:
        """Write NaN over the codes for missing, in place."""
        for value in self._numbers:
            codes[codes == value] = np.nan
        return codes


def name_alleles(counted: str, other: str) -> tuple[str, str]:
    """The two alleles of a marker as files name them, in capitals; empty where they name none."""
    one, two = (allele.strip().upper() for allele in (counted, other))
    return "" if one in _NO_ALLELE else one, "" if two in _NO_ALLELE else two


def check_coding(coding: Any, ploidy: Any = DIPLOID) -> int:
    """The ploidy as a number; a UsageError if there is no such coding, none for it, or no such ploidy."""
    if not is_one_of(coding, (AUTO, *CODINGS)):
        raise UsageError(f"coding must be one of {AUTO}, {', '.join(CODINGS)}, got {show(coding)}.")
    number = whole_number(ploidy, "ploidy", DIPLOID)
    if number > _MOST_SETS:
        raise UsageError(f"ploidy must be at most {_MOST_SETS}, got {number}.")
    if coding == "-101" and number != DIPLOID:
        raise UsageError("coding='-101' is for diploids: of polyploids expected the copies of one allele, 0 to ploidy.")
    return number


@dataclass
class _Extreme:
    """The lowest or the highest code of all, and where it stands first."""

    value: float = math.nan
    line: int = -1
    marker: int = -1


def choose_coding(
    coding: str,
    blocks: Iterator[tuple[int, FloatArray]],
    lines: tuple[str, ...],
    names: tuple[str, ...],
    source: str,
    ploidy: int = DIPLOID,
) -> Coding:
    """Find the coding, or check that the codes keep to the one given.

    Parameters
    ----------
    coding : str
        A key of `CODINGS`, or ``"auto"``: -1, 0, 1 if a code is negative, else 0, 1, 2. What cannot be told from the
        codes alone is said in a warning; codes that reach over a part of their scale only, such as 0, 0.5 and 1, are
        refused.
    blocks : iterator of (int, (n, w) array)
        Place of the first marker and the codes, NaN where missing.
    lines, names : tuple of str
        Lines and markers, for messages.
    source : str
        Name of the file, or words for it.
    ploidy : int
        Sets of chromosomes; of more than two, only copies of one allele, or their frequency, are codes.

    Raises
    ------
    DataError
        For a code outside the coding, or codes that fit none; line and marker are named.
    UsageError
        If there is no such coding.
    """
    check_coding(coding, ploidy)
    lowest, highest = _Extreme(), _Extreme()
    fractions = False
    for start, codes in blocks:
        for extreme, find, place in ((lowest, np.fmin, np.nanargmin), (highest, np.fmax, np.nanargmax)):
            value = float(find.reduce(codes, axis=None)) if codes.size else math.nan
            if not math.isnan(value) and (math.isnan(extreme.value) or find(value, extreme.value) != extreme.value):
                j, k = np.unravel_index(int(place(codes)), codes.shape)
                extreme.value, extreme.line, extreme.marker = value, int(j), start + int(k)
        fractions = fractions or bool((np.abs(codes - 0.5) < 0.5).any())

    def place_of(extreme: _Extreme) -> str:
        return f"line {lines[extreme.line]!r} at marker {names[extreme.marker]!r} is {extreme.value:.6g}"

    if math.isnan(lowest.value):  # no genotype at all: whoever needs some will say so
        return Coding.of("012" if coding == AUTO else coding, ploidy)
    if coding == AUTO:
        chosen = Coding.of("-101" if lowest.value < 0 and ploidy == DIPLOID else "012", ploidy)
        if lowest.value < 0 and highest.value > 1 and ploidy == DIPLOID:
            whole = lowest.value.is_integer() and highest.value.is_integer()
            advice = "Name a code for missing genotypes with missing= (in the shell --missing)"
            raise DataError(
                f"{source}: the genotype of {place_of(lowest)}, and that of {place_of(highest)}: expected 0, 1 or 2 "
                "copies of one allele, or -1, 0, 1. "
                f"{advice if whole else 'If they are centred or scaled, give them as they were before'}."
            )
    else:
        chosen = Coding.of(coding, ploidy)
    for extreme in (lowest, highest):
        if not chosen.low <= extreme.value <= chosen.high:
            raise DataError(
                f"{source}: the genotype of {place_of(extreme)}: expected {chosen.words}"
                f"{' copies of one allele' if chosen.name == '012' else ''}, or an empty cell, NA or NaN if missing. "
                "Other codes for missing genotypes are named with missing=, another coding with coding= (in the shell "
                f"--missing and --coding).{_ask_ploidy(extreme.value, ploidy)}"
            )
    if coding == AUTO:
        _refuse_other_scales(chosen, lowest.value, highest.value, fractions, source)
        _say(chosen, highest.value, fractions, source, ploidy)
    return chosen


def _ask_ploidy(value: float, ploidy: int) -> str:
    """A question for a code that more sets of chromosomes would explain."""
    sets = next((sets for sets in (4, 6, 8) if ploidy < sets and 2 < value <= sets), None)
    if sets is None or not value.is_integer():
        return ""
    return f" If these are dosages of polyploids, say how many sets of chromosomes: ploidy={sets} (--ploidy {sets})."


def _refuse_other_scales(chosen: Coding, lowest: float, highest: float, fractions: bool, source: str) -> None:
    """Refuse codes with fractions that do not reach the ends of their scale: frequencies, centred codes."""
    if chosen.name == "012" and fractions and highest <= 1:
        raise DataError(
            f"{source}: the genotypes go from {lowest:.6g} to {highest:.6g}, with values between: are they frequencies "
            "of an allele, such as 0, 0.5 and 1, or copies, of which no line has more than one? Say coding='01' (in "
            "the shell --coding 01) if 1 stands for all copies, coding='012' (--coding 012) if for one."
        )
    if chosen.name == "-101" and (lowest > -1 or not highest.is_integer()):
        raise DataError(
            f"{source}: the genotypes go from {lowest:.6g} to {highest:.6g}: are they centred or scaled? Expected 0, 1 "
            "or 2 copies of one allele, or -1, 0, 1, as they were before. If these are dosages of the latter, say "
            "coding='-101' (in the shell --coding -101)."
        )


def _say(chosen: Coding, highest: float, fractions: bool, source: str, ploidy: int) -> None:
    if ploidy > DIPLOID and highest <= DIPLOID:
        warnings.warn(
            f"{source}: no genotype has more than {highest:g} of {ploidy} copies of the allele: are these dosages of "
            f"diploids? If they are out of {ploidy}, coding='012' (in the shell --coding 012) is without this warning.",
            stacklevel=4,
        )
    elif chosen.name == "-101":
        warnings.warn(
            f"{source}: the codes lie between -1 and 1 and are taken as -1, 0, 1 for 0, 1, 2 copies of an allele. If "
            "-1 stands for missing genotypes, say so (missing=-1, in the shell --missing -1); else coding='-101' "
            "(--coding -101) is without this warning.",
            stacklevel=4,
        )
    elif highest == 1.0 and not fractions:
        warnings.warn(
            f"{source}: the only codes are 0 and 1, taken as copies of an allele out of two. If 1 stands for two "
            "copies (inbred lines, dominant markers), say coding='01' (in the shell --coding 01), which changes "
            "VanRaden's method 1 by a factor only; coding='012' (--coding 012) is without this warning.",
            stacklevel=4,
        )
