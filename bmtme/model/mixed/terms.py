"""Random and residual terms as values: frozen, compared by what they say, printed as the formula that says it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bmtme.arguments import as_label, show, whole_number
from bmtme.errors import UsageError

__all__ = [
    "CORRELATIONS",
    "EFFECT",
    "IDENTITY",
    "STRUCTURES",
    "TRAIT",
    "UNITS",
    "VARIANCES",
    "At",
    "Axis",
    "Random",
    "Residual",
    "Term",
    "quote_name",
]

#: The plot, and the trait where there are several.
UNITS, TRAIT = "units", "trait"
IDENTITY = "identity"
#: In tables, the column that says of which of two columns an effect is.
EFFECT = "effect"
#: Structures that hold variances themselves; a term without one gets a variance of its own.
VARIANCES = ("us", "diag", "corh", "cs", "fa")
#: Structures without: known relationships and correlations along a line.
CORRELATIONS = ("ar1", "known")
STRUCTURES = (*VARIANCES, *CORRELATIONS)

_PLAIN = re.compile(r"[^\W\d][\w.]*")


def quote_name(name: str) -> str:
    """A name as it stands in a formula: with back-quotes where it has blanks or signs."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


def quote_level(level: str) -> str:
    """A level as it stands in a formula, in double quotes."""
    return '"' + level.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _as_name(value: Any, what: str) -> str:
    name = as_label(value, what)
    if not name or "`" in name:
        raise UsageError(f"{what} must be the name of a column, without back-quotes, got {show(value)}.")
    return name


@dataclass(frozen=True)
class Axis:
    """One factor of a Kronecker product, and how its levels covary.

    Parameters
    ----------
    name : str
        A column, `units` (the plot) or, with several traits, `trait`.
    structure : str
        ``identity`` (independent), ``us`` (any covariance), ``diag`` (variances), ``corh`` (variances and one
        correlation), ``cs`` (one variance and one correlation), ``fa`` (`factors` in common and specific variances),
        ``ar1`` (a correlation that falls with the distance), ``known`` (a given relationship).
    factors : int, optional
        Of ``fa``.
    other : str, optional
        Of ``us``: a second column, whose effects are correlated with those of the first, as in
        ``us(id, dam):known(id)``, direct and maternal effects over one relationship.

    Raises
    ------
    UsageError
    """

    name: str
    structure: str = IDENTITY
    factors: int | None = None
    other: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _as_name(self.name, "name"))
        if self.other is not None:
            object.__setattr__(self, "other", _as_name(self.other, "other"))
            if self.structure != "us" or self.other == self.name:
                raise UsageError(f"{self.structure}({self.name}, {self.other}) needs us() and two different columns.")
        if self.structure not in (IDENTITY, *STRUCTURES):
            raise UsageError(
                f"structure must be one of {', '.join((IDENTITY, *STRUCTURES))}, got {show(self.structure)}."
            )
        if self.structure == "fa":
            object.__setattr__(self, "factors", whole_number(self.factors, "factors", 1))
        elif self.factors is not None:
            raise UsageError(f"factors is for the structure fa, not for {self.structure}.")

    def __str__(self) -> str:
        name = quote_name(self.name)
        if self.structure == IDENTITY:
            return name
        if self.other is not None:
            return f"us({name}, {quote_name(self.other)})"
        return f"fa({name}, {self.factors})" if self.structure == "fa" else f"{self.structure}({name})"

    @property
    def label(self) -> str:
        """Name of the column of its levels in tables: of two columns, these are its levels."""
        return self.name if self.other is None else EFFECT

    @property
    def has_variance(self) -> bool:
        """Whether its parameters hold variances."""
        return self.structure in VARIANCES


@dataclass(frozen=True)
class At:
    """The rows at levels of a factor, each level with a term, or a section of the residual, of its own.

    Parameters
    ----------
    name : str
        A column.
    levels : tuple of str
        All levels where it is empty.
    """

    name: str
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _as_name(self.name, "name"))
        object.__setattr__(self, "levels", tuple(as_label(level, "a level of at()") for level in self.levels))
        if len(set(self.levels)) < len(self.levels):
            raise UsageError(f"{self} names a level twice.")

    def __str__(self) -> str:
        return f"at({', '.join([quote_name(self.name), *map(quote_level, self.levels)])})"


@dataclass(frozen=True)
class Term:
    """A Kronecker product of axes, over all rows or at levels of factors.

    Parameters
    ----------
    axes : tuple of Axis
    at : tuple of At

    Raises
    ------
    UsageError
        If a name stands there twice, or two axes hold variances, which data cannot tell apart.
    """

    axes: tuple[Axis, ...]
    at: tuple[At, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "at", tuple(self.at))
        if not self.axes or not all(isinstance(axis, Axis) for axis in self.axes):
            raise UsageError(f"axes must hold values of Axis, at least one, got {show(self.axes)}.")
        if not all(isinstance(at, At) for at in self.at):
            raise UsageError(f"at must hold values of At, got {show(self.at)}.")
        joined = next((axis for axis in self.axes if axis.other is not None), None)
        if joined is not None and (self.at or self.axes[1:] != (Axis(joined.name, "known"),)):
            raise UsageError(
                f"the term {self} has effects of two columns, which share a relationship: write "
                f"{joined}:{Axis(joined.name, 'known')}."
            )
        names = self.columns if joined is None else ()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"the term {self} has {twice!r} twice: a factor stands once in a term.")
        scaled = [str(axis) for axis in self.axes if axis.has_variance]
        if len(scaled) > 1:
            raise UsageError(
                f"the term {self} has variances twice, in {' and in '.join(scaled)}: their product alone would be "
                "known. Keep the structure of one factor, and let the others be plain names."
            )

    def __str__(self) -> str:
        return ":".join(map(str, (*self.at, *self.axes)))

    @property
    def core(self) -> str:
        """The product without the levels at which it holds."""
        return ":".join(map(str, self.axes))

    @property
    def has_variance(self) -> bool:
        """Whether an axis holds variances, so that the term needs none of its own."""
        return any(axis.has_variance for axis in self.axes)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the factors."""
        others = (axis.other for axis in self.axes if axis.other is not None)
        return (*(at.name for at in self.at), *(axis.name for axis in self.axes), *others)


def _as_terms(terms: Iterable[Term], what: str) -> tuple[Term, ...]:
    found = tuple(terms)
    if not all(isinstance(term, Term) for term in found):
        raise UsageError(f"{what} must hold values of Term, got {show(found)}.")
    return found


@dataclass(frozen=True)
class Random:
    """The random part: a sum of terms, independent of each other.

    Raises
    ------
    UsageError
        If a term stands there twice.
    """

    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", _as_terms(self.terms, "random"))
        texts = [str(term) for term in self.terms]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            raise UsageError(f"the random term {twice} stands there twice.")

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


@dataclass(frozen=True)
class Residual:
    """The residual part: one term for all plots, or one for each section of them.

    ``Residual((Term(axes, (At("site"),)),))`` prints as ``axes | site``: a section for each site, with parameters of
    its own.

    Raises
    ------
    UsageError
        If there is no term, or several and one is for all plots.
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", _as_terms(self.terms, "residual"))
        if not self.terms:
            raise UsageError("residual needs a term: units, where plots are independent.")
        for term in self.terms:
            known = next((axis for axis in term.axes if axis.structure == "known"), None)
            if known is not None:
                raise UsageError(f"the residual {term} has a known relationship, which is for random terms.")
        whole = next((term for term in self.terms if not term.at), None)
        if len(self.terms) > 1 and whole is not None:
            raise UsageError(
                f"the residual {self} is a sum in which {whole} is for all plots: a plot has one residual. A sum is "
                'for sections, as in at(site, "A"):units + at(site, "B"):ar1(col):ar1(row); an effect of each plot '
                "beside the residual (a nugget) is units in the random formula."
            )

    def __str__(self) -> str:
        if len(self.terms) == 1 and len(self.terms[0].at) == 1 and not self.terms[0].at[0].levels:
            term = self.terms[0]
            return f"{term.core} | {quote_name(term.at[0].name)}"
        return " + ".join(map(str, self.terms))
