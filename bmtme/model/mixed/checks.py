"""Formulas and a table that do not go together, whatever the values are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from bmtme.errors import DataError, UsageError
from bmtme.model.mixed.fixed import Fixed
from bmtme.model.mixed.plots import Plots
from bmtme.model.mixed.terms import TRAIT, UNITS, Random, Residual, quote_name
from bmtme.words import list_names

__all__ = ["check_words", "warn_of_covariates"]


def check_words(fixed: Fixed, random: Random, residual: Residual, known: Mapping[str, Any], plots: Plots) -> None:
    """Refuse words that do not go together, whatever the values.

    Raises
    ------
    UsageError, DataError
    """
    several = bool(fixed.traits)
    warn_of_covariates(fixed, random, residual, plots)
    for part, terms in (("random", random.terms), ("residual", residual.terms)):
        for term in terms:
            for name in term.columns:
                if name == UNITS or (name == TRAIT and several):
                    if name in plots.table.columns:
                        raise DataError(
                            f"{plots.table.name} has a column {name!r}, a word that stands for the "
                            f"{'plot' if name == UNITS else 'trait'} in formulas: give the column another name."
                        )
                    continue
                if name == TRAIT and name not in plots.table.columns:
                    raise UsageError(
                        f"The {part} term {term} names trait, but the model has one response: name several, as in "
                        "'A + B ~ trait', or leave trait out."
                    )
                plots.check_column(name, part)
            for axis in term.axes:
                if axis.structure == "known" and axis.name not in known:
                    raise UsageError(
                        f"The {part} term {term} needs a relationship of {axis.name!r}: give it as "
                        f'known={{"{axis.name}": ...}} (in the shell --known {axis.name}=FILE).'
                    )
    used = {axis.name for term in random.terms for axis in term.axes if axis.structure == "known"}
    spare = [name for name in known if name not in used]
    if spare:
        raise UsageError(
            f"known has a relationship of {list_names(spare)}, which no random term names: write "
            f"known({quote_name(spare[0])}) in the random formula, or leave the relationship out."
        )
    if several and not all(TRAIT in term.columns for term in residual.terms):
        raise UsageError(
            f"With several responses ({', '.join(fixed.traits)}) the residual {residual} has to say how the traits of "
            "a plot covary: us(trait):units, or diag(trait):units."
        )


def warn_of_covariates(fixed: Fixed, random: Random, residual: Residual, plots: Plots) -> None:
    """Warn of a column that divides plots in one part and is taken as a number in the fixed one."""
    dividing = {at.name for term in (*random.terms, *residual.terms) for at in term.at}
    dividing |= {axis.name for term in random.terms for axis in term.axes if axis.has_variance}
    for name in fixed.names:
        bare = re.search(rf"(?<![\w.(]){re.escape(name)}(?![\w.(])", fixed.text.partition("~")[2])
        if name in dividing and bare and name in plots.table.columns and plots.is_numeric(name):
            warnings.warn(
                f"{name!r} holds numbers and is a covariate in the fixed formula, while it divides the plots in the "
                f"others: if it is a factor, write C({name}) in the fixed formula.",
                UserWarning,
                stacklevel=4,
            )
