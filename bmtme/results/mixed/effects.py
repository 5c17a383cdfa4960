"""Fixed effects, and best linear unbiased predictions of the random effects with their errors."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.model.mixed.parser import parse_random
from bmtme.model.mixed.terms import Random, Term
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = [
    "count_records",
    "find_designs",
    "find_prior_variances",
    "list_columns",
    "list_levels",
    "match_term",
    "tabulate_blups",
    "tabulate_fixed",
]

LEFT_OUT = "sum of earlier ones"


def tabulate_fixed(layout: Layout, result: REML) -> pd.DataFrame:
    """Effects of the fixed columns: term, effect, estimate, se, z, note."""
    problem = result.problem
    kept = problem.kept
    se = np.full(problem.p, np.nan)
    se[kept] = np.sqrt(np.maximum(np.diag(result.fixed_covariance), 0.0))
    table = list_columns(layout)
    table["estimate"], table["se"] = result.fixed, se
    table["z"] = table["estimate"] / table["se"]
    table["note"] = np.where(np.isnan(result.fixed), LEFT_OUT, "")
    return table


def list_columns(layout: Layout) -> pd.DataFrame:
    """The fixed columns: term, effect."""
    terms = [""] * len(layout.columns.names)
    for term, part in layout.columns.terms.items():
        for k in range(part.start, part.stop):
            terms[k] = term
    return pd.DataFrame({"term": terms, "effect": list(layout.columns.names)})


def find_designs(term: str | Term, random: Random, layout: Layout) -> list[int]:
    """Places of the designs of a random term, one for each level of its at().

    A term is named as in the formula, or by its columns alone where one term has these (``line`` of ``known(line)``).

    Raises
    ------
    UsageError
    """
    text = match_term(term, random, [design.name for design in layout.random])
    return [k for k, design in enumerate(layout.random) if text in (str(design.term), design.name)]


def match_term(term: str | Term, random: Random, designs: Collection[str]) -> str:
    """The term of the model, or one of its `designs`, that is meant, as it is written there; see `find_designs`.

    Raises
    ------
    UsageError
    """
    names = [str(one) for one in random.terms]
    text = str(term)
    if text not in names and text not in designs:
        try:
            parsed = parse_random(text).terms
        except UsageError:
            parsed = ()
        wanted = parsed[0] if len(parsed) == 1 else None
        alike = [
            one
            for one in random.terms
            if wanted is not None and (one == wanted or {a.name for a in one.axes} == {a.name for a in wanted.axes})
        ]
        exact = [one for one in alike if one == wanted]
        alike = exact or alike
        if len(alike) != 1:
            raise UsageError(
                f"The model has no random term {text!r}.{suggest(text, names)} It has {list_names(names, 20)}."
                if not alike
                else f"{text!r} may be any of {list_names(map(str, alike))}: name one as in the formula."
            )
        text = str(alike[0])
    return text


def find_prior_variances(result: REML, design: Design, block: int) -> np.ndarray:
    """Variances (q,) of the effects of a term, before the records are seen."""
    problem = result.problem
    axes = problem.blocks[block].axes
    added = len(axes) - len(design.axes)
    covariances = result.make_covariances(block)
    variances: np.ndarray = np.ones(1)
    for k, axis in enumerate(axes):
        covariance = covariances[k]
        precision = design.axes[k - added].precision if k >= added else None
        if covariance is not None:
            own = np.diag(covariance)
        elif precision is not None:
            own = precision.diagonal
        else:
            own = np.ones(axis.n)
        variances = np.kron(variances, own)
    return np.asarray(variances)


def list_levels(design: Design) -> pd.DataFrame:
    """The effects of a term: a column for each factor."""
    levels = [axis.levels for axis in design.axes]
    index = np.indices([len(names) for names in levels]).reshape(len(levels), -1)
    columns = {
        axis.axis.label: np.array(axis.levels, dtype=object)[codes]
        for axis, codes in zip(design.axes, index, strict=True)
    }
    table = pd.DataFrame(columns).astype(str)
    for name, level in design.levels.items():
        table.insert(0, name, level)
    return table


def count_records(design: Design, effects: int) -> np.ndarray:
    """Records of each effect of a term."""
    inside = design.cells[design.cells >= 0] if design.matrix is None else design.matrix.indices
    return np.bincount(inside, minlength=effects)


def tabulate_blups(term: str | Term, random: Random, layout: Layout, result: REML) -> pd.DataFrame:
    """Predictions of a random term: its levels, blup, se, pev, reliability, n."""
    tables = []
    for place in find_designs(term, random, layout):
        design = layout.random[place]
        table = list_levels(design)
        pev = result.find_pev(place)
        prior = find_prior_variances(result, design, len(layout.residual) + place)
        table["blup"] = result.effects[place]
        table["se"] = np.sqrt(np.maximum(pev, 0.0))
        table["pev"] = pev
        with np.errstate(all="ignore"):
            table["reliability"] = np.where(prior > 0, np.clip(1.0 - pev / prior, 0.0, 1.0), 0.0)
        table["n"] = count_records(design, len(table))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
