"""Plots from a table, by environment, for stage one: columns by their roles, as text, checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bmtme.arguments import as_text
from bmtme.data.records import as_names, name_environment
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.model.mixed.plots import Plots
from bmtme.model.mixed.terms import TRAIT, UNITS
from bmtme.model.stage_one import Environment
from bmtme.words import count_noun, first_repeat

__all__ = ["Roles", "read_environments"]

#: A position; zeros before it, or behind a point where a gap has made numbers of a column, say nothing.
_WHOLE = re.compile(r"(-?)0*([0-9]{1,9})(?:[.]0*)?")
RESERVED = {TRAIT: "trait", UNITS: "plot"}


class Roles:
    """What columns are for.

    Parameters
    ----------
    line, env : str
        `env` may be None where there is one environment only.
    traits : str or list of str
    rep, block, row, col : str, optional

    Raises
    ------
    UsageError, DataError
    """

    def __init__(self, line: Any, env: Any, traits: Any, rep: Any, block: Any, row: Any, col: Any) -> None:
        self.line = as_text(line, "line")
        self.env = None if env is None else as_text(env, "env")
        self.traits = as_names(traits, "traits")
        given = {"rep": rep, "block": block, "row": row, "col": col}
        self.design = {role: as_text(name, role) for role, name in given.items() if name is not None}
        if not self.traits:
            raise UsageError("traits= names no trait: name at least one.")
        repeat = first_repeat(self.traits)
        if repeat is not None:
            raise DataError(f"The trait {self.traits[repeat[1]]!r} is named twice: name every trait once.")
        roles = [("line", self.line), *self.design.items(), *(("trait", name) for name in self.traits)]
        if self.env is not None:
            roles.insert(1, ("env", self.env))
        repeat = first_repeat(name for _, name in roles)
        if repeat is not None:
            (role, name), (other, _) = roles[repeat[0]], roles[repeat[1]]
            raise DataError(
                f"The column {name!r} is given both as {role} and as {other}: these must be different columns."
            )
        role, name = next((pair for pair in roles if pair[1] in (TRAIT, UNITS)), ("", ""))
        if name:
            raise DataError(
                f"The {role} column is named {name!r}, a word that stands for the {RESERVED[name]} in formulas of "
                "mixed models: give the column another name."
            )


def read_environments(table: Table, roles: Roles) -> list[Environment]:
    """The environments of a table, in the order of their first rows; those without any value are left out.

    Raises
    ------
    DataError
    """
    if table.frame.empty:
        raise DataError(f"{table.name} has no rows: expected one for each plot.")
    table, env = name_environment(
        table, roles.line, roles.env, roles.traits, None, None, None, list(roles.design.values())
    )
    envs = np.array(table.identifiers(env, "env"), dtype=object)
    columns: dict[str, Any] = {roles.line: table.identifiers(roles.line, "line")}
    for role, name in roles.design.items():
        texts = table.identifiers(name, role, allow_missing=True)
        columns[name] = [*map(_write_position, texts)] if role in ("row", "col") else texts
    values = np.column_stack([table.numbers(name, "trait") for name in roles.traits])
    for name, own in zip(roles.traits, values.T, strict=True):
        if np.isnan(own).all():
            raise DataError(f"The trait {name!r} has no value in {table.name}: leave it out or correct the table.")
    columns |= dict(zip(roles.traits, values.T, strict=True))
    bare = replace(table, frame=table.frame[[]].assign(**columns))
    found = []
    for name in dict.fromkeys(envs.tolist()):
        here = np.flatnonzero(envs == name)
        own = replace(bare, frame=bare.frame.iloc[here])
        traits = [t for t, there in zip(roles.traits, ~np.isnan(values[here]).all(axis=0), strict=True) if there]
        if traits:
            found.append(_read_environment(str(name), own, roles, traits))
    return found


def _write_position(text: str) -> str:
    """A position written in one way; other texts as they are."""
    found = _WHOLE.fullmatch(text)
    return str(int(found[1] + found[2])) if found else text


def _read_environment(name: str, table: Table, roles: Roles, traits: Sequence[str]) -> Environment:
    """An environment with the part of the design that it has."""
    plots = Plots(table)
    recorded = Environment(name, plots, roles.line, tuple(traits)).recorded
    design: dict[str, str] = {}
    for role, column in roles.design.items():
        codes = plots.factor(column, role).codes
        gaps = recorded[codes[recorded] < 0]
        if len(gaps) == len(recorded):
            continue
        if len(gaps):
            raise DataError(
                f"The {role} column {column!r} of {table.name} is empty in {count_noun(len(gaps), 'plot')} with a "
                f"value in environment {name!r} ({plots.name_rows(gaps)}): fill it in, or leave it empty in all plots "
                "of the environment."
            )
        design[role] = column
    notes = []
    own = Environment(
        name,
        plots,
        roles.line,
        tuple(traits),
        rep=design.get("rep"),
        block=design.get("block"),
        row=design.get("row"),
        col=design.get("col"),
    )
    if own.rep is not None and own.count_joint(own.rep) < 2:
        own = replace(own, rep=None)
    if own.block is not None:
        blocks = own.count_joint(own.rep, own.block)
        words = "is the replicate" if own.rep is not None else "is one"
        if blocks == own.count_joint(own.rep):
            notes.append(f"the block {words}: no effects of blocks")
            own = replace(own, block=None)
        elif blocks == len(recorded):
            notes.append("a block for each plot: no effects of blocks")
            own = replace(own, block=None)
    own = replace(own, notes=tuple(notes))
    return add_trends(own) if own.axes else own


def add_trends(environment: Environment) -> Environment:
    """The environment with its positions as numbers from -1 to 1, checked.

    Raises
    ------
    DataError
        If positions are not whole numbers, lie far apart, or two plots with values lie in one place.
    """
    table, plots = environment.plots.table, environment.plots
    where = f"of {table.name} in environment {environment.name!r}"
    for name in environment.axes:
        levels = plots.factor(name, "field").levels
        odd = next((level for level in levels if not _WHOLE.fullmatch(level)), None)
        if odd is not None:
            raise DataError(
                f"The positions {name!r} {where} have {odd!r}: expected whole numbers. Number the rows or columns of "
                "the field as they lie, 1, 2, 3 and so on."
            )
        positions = [int(level) for level in levels]
        least, most = min(positions), max(positions)
        if most - least + 1 > 20 * len(positions) + 100:
            raise DataError(
                f"The positions {name!r} {where} are {len(positions)} from {least} to {most}: a field with steps of 1 "
                "would be nearly empty. Number the rows or columns of the field 1, 2, 3 and so on."
            )
    if len(environment.axes) == 2:
        _refuse_twins(environment, where)
    made: dict[str, np.ndarray] = {}
    for name, (low, high) in zip(environment.axes, environment.extents, strict=True):
        factor = plots.factor(name, "field")
        numbers = np.array([*map(float, factor.levels), np.nan])[factor.codes]
        trend = f"{name}_linear"
        while trend in table.columns:
            trend += "_"
        made[trend] = (2.0 * numbers - low - high) / max(high - low, 1)
    with_trends = Plots(replace(table, frame=table.frame.assign(**made)))
    return replace(environment, plots=with_trends, trends=tuple(made))


def _refuse_twins(environment: Environment, where: str) -> None:
    """Refuse two plots with values in one place."""
    row, col = environment.axes
    keys = list(zip(environment.codes(row).tolist(), environment.codes(col).tolist(), strict=True))
    repeat = first_repeat(keys)
    if repeat is None:
        return
    factors = [environment.plots.factor(name, "field") for name in (row, col)]
    place = ", ".join(
        f"{name} {factor.levels[code]}" for name, factor, code in zip((row, col), factors, keys[repeat[0]], strict=True)
    )
    rows = environment.recorded[list(repeat)]
    raise DataError(
        f"Two plots {where} lie in one place, {place}: {environment.plots.name_rows(rows)} "
        f"({len(keys) - len(set(keys)):,} such plots). Each needs a place of its own: correct the positions; where "
        "they are counted anew in each replicate or block, count them over the whole field, or leave row and col out."
    )
