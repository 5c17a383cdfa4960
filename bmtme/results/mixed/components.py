"""The parameters of the covariances by name: a table, and functions of them with their errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.engines.mixed.axis import Parameter
    from bmtme.engines.mixed.result import REML

__all__ = [
    "COLUMNS",
    "Named",
    "call",
    "find_error",
    "list_untold",
    "name_components",
    "refuse_untold",
    "tabulate_components",
]

COLUMNS = ("term", "parameter", "estimate", "se", "z", "bound")
#: What the engine says of a parameter at the end of its range.
HELD = ("boundary", "singular")
#: In expressions, the only variance of the residual.
RESIDUAL = "residual"
#: Kinds of parameters whose levels alone name them within a term.
_SHORT = ("variance", "covariance")


@dataclass(frozen=True)
class Named:
    """A parameter by name.

    Attributes
    ----------
    place : int
        Among the engine's components.
    term, parameter : str
    kind : str
    levels : tuple of str
    is_residual : bool
    """

    place: int
    term: str
    parameter: str
    kind: str
    levels: tuple[str, ...]
    is_residual: bool


def name_components(layout: Layout, result: REML) -> tuple[Named, ...]:
    """Names of the engine's components, random terms first."""
    designs = (*layout.residual, *layout.random)
    n_sections = len(layout.residual)
    found = []
    for place, component in enumerate(result.components):
        design = designs[component.block]
        added = len(result.problem.blocks[component.block].axes) - len(design.axes)
        kind, levels = _name_parameter(design, component.axis - added, component.parameter)
        # Of correlations there may be several in a term, along its axes.
        parameter = " ".join([kind, ", ".join(levels)]).strip()
        found.append(Named(place, design.name, parameter, kind, levels, component.block < n_sections))
    return tuple(sorted(found, key=lambda named: named.is_residual))


def _name_parameter(design: Design, axis: int, parameter: Parameter) -> tuple[str, tuple[str, ...]]:
    """Kind and levels of a parameter of one of the axes of the formula, or (-1) of the variance before them."""
    if axis < 0:
        return parameter.kind, ()
    levels = design.axes[axis]
    if parameter.kind == "autocorrelation":
        return parameter.kind, (levels.axis.name,)
    names = [levels.levels[place] for place in parameter.levels]
    if parameter.kind == "loading":
        names[1] = str(parameter.levels[1] + 1)
    return parameter.kind, tuple(names)


def tabulate_components(named: Sequence[Named], result: REML) -> pd.DataFrame:
    """Estimates of the parameters: term, parameter, estimate, se, z and bound."""
    rows = []
    for each in named:
        component = result.components[each.place]
        z = component.estimate / component.se if component.se > 0 else np.nan
        bound = "boundary" if component.status in HELD else ""
        rows.append((each.term, each.parameter, component.estimate, component.se, z, bound))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_notes(named: Sequence[Named], result: REML) -> list[str]:
    """What is to be said of parameters at their bounds, or of which the data say nothing."""
    status = {each: result.components[each.place].status for each in named}
    notes = []
    for each, word in status.items():
        if word == "boundary":
            what = "the residual" if each.is_residual else "the term"
            alone = f"{what} may be left out" if each.kind == "variance" and not each.is_residual else "its bound"
            notes.append(f"the {each.parameter} of {each.term} is zero: {alone}")
    for term in dict.fromkeys(each.term for each, word in status.items() if word == "singular"):
        notes.append(
            f"the covariance of {term} is singular (a correlation of one, or no full rank): the log likelihood stands, "
            "and a simpler structure (fa, corh, one variance) says the same with fewer parameters"
        )
    untold = list_untold(named, result)
    if untold:
        notes.append(
            f"the data do not tell these parameters apart: {list_names(untold, 5)}; leave out one of the terms"
        )
    return notes


def find_error(slopes: np.ndarray, result: REML) -> float:
    """Standard error of a function of the components with these slopes (r,); NaN where one of them has none."""
    held = [not np.isfinite(component.se) for component in result.components]
    return np.nan if np.any(slopes[held]) else float(result.derive(slopes)[0])


def list_untold(named: Sequence[Named], result: REML) -> list[str]:
    """Parameters that the data do not tell, or not apart from others."""
    return [call(each) for each in named if result.components[each.place].status == "untold"]


def refuse_untold(named: Sequence[Named], result: REML, places: Collection[int], what: str) -> None:
    """Refuse a function of components (by their places) of which the data tell only a sum with others.

    Raises
    ------
    UsageError
    """
    own = list_untold([each for each in named if each.place in places], result)
    if own:
        others = [name for name in list_untold(named, result) if name not in own]
        raise UsageError(
            f"{what} cannot be told: the data do not tell {list_names(own, 5)} apart from "
            f"{list_names(others, 5) if others else 'each other, or not at all'}, as without replicates a variance of "
            "combinations and the residual of each are one. Leave one of these terms, or that part of it, out."
        )


class Finder:
    """Parameters by what an expression calls them: ``gen``, ``us(site):gen[S1]``, ``us(site):gen[S2, S1]``."""

    def __init__(self, named: Sequence[Named]) -> None:
        self.named = tuple(named)
        self.terms = sorted({each.term for each in named}, key=len, reverse=True)

    def find(self, term: str, inside: str | None) -> Named:
        """The parameter of a term, named by its levels or its whole name in brackets where there are several.

        Raises
        ------
        UsageError
        """
        if term == RESIDUAL and term not in self.terms:
            own = [each for each in self.named if each.is_residual]
            what = "the residual"
        else:
            own = [each for each in self.named if each.term == term]
            what = term
        if inside is None:
            own = [each for each in own if each.kind == "variance"]
        else:
            own = [each for each in own if _is_meant(each, inside)]
        if len(own) == 1:
            return own[0]
        there = [call(each) for each in self.named if each.term == term or (each.is_residual and term == RESIDUAL)]
        if own:
            raise UsageError(
                f"{what} has {len(own)} variances: name the one that is meant, as in {call(own[0])}; there are "
                f"{', '.join(there[:12])}."
            )
        wrong = what if inside is None else f"{what}[{inside}]"
        raise UsageError(f"There is no variance of {wrong}: there are {', '.join(there[:12])}.")

    def match(self, text: str, at: int) -> tuple[str, int] | None:
        """The longest name of a term that stands at a place of a text, and where it ends."""
        for term in (*self.terms, RESIDUAL):
            end = at + len(term)
            if text.startswith(term, at) and not re.match(r"[\w.:(]", text[end : end + 1]):
                return term, end
        return None

    def list_all(self) -> str:
        """All names, for messages."""
        return list_names((call(each) for each in self.named), 12)

    def suggest(self, word: str) -> str:
        """A question for a word that is no name."""
        return suggest(word, [*self.terms, RESIDUAL])


def _is_meant(named: Named, inside: str) -> bool:
    words = tuple(part.strip().strip("\"'") for part in inside.split(","))
    if inside.strip() == named.parameter:
        return True
    if named.kind not in _SHORT and named.kind != "autocorrelation":
        return inside.strip() == named.kind and not named.levels
    return sorted(words) == sorted(named.levels) and len(words) > 0


def call(named: Named) -> str:
    """How an expression calls a parameter."""
    if named.kind == "variance" and not named.levels:
        return named.term
    inside = ", ".join(named.levels) if named.kind in (*_SHORT, "autocorrelation") else named.parameter
    return f"{named.term}[{inside}]"
