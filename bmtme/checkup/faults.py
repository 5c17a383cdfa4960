"""Reading a table of phenotypes in spite of its faults, so that all of them can be shown at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from bmtme.checkup.findings import Finding
from bmtme.data.effects import list_columns
from bmtme.data.precision import POSITIVE, WHOLE, is_count, is_error, list_error_columns
from bmtme.data.records import Names, Records, as_names, read_records
from bmtme.data.tables.cells import HUGE, identifier, number
from bmtme.data.tables.files import Table
from bmtme.errors import DataError
from bmtme.words import count_noun, some_names

__all__ = ["read_in_spite"]

#: What else is to be said where a number of plots is lacking.
PLOTS = "beside every value. Standard errors and deviations are no numbers of plots."


def read_in_spite(
    table: Table,
    line: str,
    env: str,
    traits: Names | None,
    rep: Names | None,
    trait: str | None,
    value: str | None,
    blocks: Names | None = None,
    covariates: Names | None = None,
    n_plots: str | None = None,
    se: str | Mapping[str, str] | None = None,
    se_correlation: Any = None,
) -> tuple[Records, list[Finding]]:
    """Turn a table into records as `read_records` does, but set aside what that refuses.

    Values that are no number become missing, rows without a name are left out, and plots that stand there again are
    taken as further ones (in a long table, left out). All are findings for which a fit would be refused.

    Raises
    ------
    DataError
        If a column is not there, or nothing is left that a trial could be made of.
    UsageError
        As for `read_records`.
    """
    reps = [] if rep is None else as_names(rep, "rep")
    others = (trait, value, blocks, covariates, n_plots, se, se_correlation)
    try:
        return read_records(table, line, env, traits, reps or None, *others), []
    except DataError as refused:
        names = [(line.strip(), "line"), (env.strip(), "env"), *((name, "rep") for name in reps)]
        factors = list_columns([] if blocks is None else as_names(blocks, "blocks"), table.columns)
        tell = [(name, "blocks") for columns in factors.values() for name in columns if name not in reps]
        names += dict.fromkeys(tell)
        long = trait is not None and value is not None
        if trait is not None and value is not None:
            names.append((trait.strip(), "trait"))
            measured = [value.strip()]
        else:
            measured = [] if traits is None else as_names(traits, "traits")
        beside = [] if covariates is None else as_names(covariates, "covariates")
        columns = [*measured, *beside]
        precise = list_error_columns(se)
        # A wrong column is no fault of a row: the same message as ever.
        roles = [*names, *((name, "trait") for name in measured), *((name, "covariates") for name in beside)]
        roles += [] if n_plots is None else [(n_plots.strip(), "n_plots")]
        for name, role in [*roles, *((name, "se") for name in precise)]:
            table.column(name, role)
        # Of several rep columns, some may be empty, and so may blocks.
        table, found = _without_nameless(
            table, [(name, role) for name, role in names if role != "blocks" and (role != "rep" or len(reps) < 2)]
        )
        if table.frame.empty:  # no row has usable names: the first reason says more
            raise refused
        table, bad = _without_bad_values(table, columns, names)
        found += bad
        if n_plots is not None:
            column = n_plots.strip()
            seen = np.zeros(len(table.frame), dtype=bool)
            for name in measured:
                seen |= ~np.isnan(table.numbers(name, "trait"))
            words = f"number of plots in {column!r}, taken as one plot", f"{WHOLE} {PLOTS}"
            table, bad = _without_bad_precision(table, column, "n_plots", is_count, seen, lambda _: 1, words, names)
            found += bad
        for column in precise:
            words = f"standard error in {column!r}, taken as the usual one", f"{POSITIVE}, beside every value."
            none = np.zeros(len(table.frame), dtype=bool)
            table, bad = _without_bad_precision(table, column, "se", is_error, none, find_usual, words, names)
            found += bad
        if reps or long:
            repeats = _find_repeats(table, [name for name, _ in names])
            if repeats:
                found.append(_describe_repeats(table, repeats, [name for name, _ in names], columns, long))
                if long:
                    table = replace(table, frame=table.frame.drop(index=table.frame.index[list(repeats)]))
                else:
                    reps = []
        try:
            with warnings.catch_warnings():
                # What was said of columns that are no traits was said at the first reading.
                warnings.simplefilter("ignore")
                return read_records(table, line, env, traits, reps or None, *others), found
        except DataError as error:  # of values that were set aside here: the first reason says more
            raise refused from error


def _without_nameless(table: Table, names: Sequence[tuple[str, str]]) -> tuple[Table, list[Finding]]:
    """The table without rows that lack a name, or have one that is no text or whole number."""
    cases = []
    keep = np.ones(len(table.frame), dtype=bool)
    for name, role in names:
        for position, value in enumerate(table.frame[name].astype(object)):
            try:
                problem = None if identifier(value) is not None else "is empty"
            except DataError as error:
                problem = f"holds {error}"
            if problem is not None:
                keep[position] = False
                cases.append(_case(table, position) | {"message": f"the {role} column {name!r} {problem}"})
    if not cases:
        return table, []
    rows = list(dict.fromkeys(str(case["row"]) for case in cases))
    header = ""
    if table.from_file and not keep[0]:
        header = f" If {table.row(0)} is part of the header (units, say), take it out."
    columns = dict.fromkeys(case["message"].split("'")[1] for case in cases)
    finding = Finding.of(
        "stop",
        "empty name",
        f"{count_noun(int((~keep).sum()), 'row')} without a name in {', '.join(map(repr, columns))} (row "
        f"{some_names(rows, 6)} of {table.name}), not looked at any further: every row needs one.{header}",
        cases,
    )
    return replace(table, frame=table.frame[keep]), [finding]


def _without_bad_values(
    table: Table, columns: Sequence[str], names: Sequence[tuple[str, str]]
) -> tuple[Table, list[Finding]]:
    """The table with missing values in place of what is no finite number."""
    cases = []
    texts: dict[str, None] = {}
    frame = table.frame.copy()
    for name in columns:
        cells = frame[name].astype(object).copy()
        for position, value in enumerate(cells):
            try:
                parsed = number(value, table.form)
                problem = "infinite" if math.isinf(parsed) else "too large" if abs(parsed) > HUGE else None
            except DataError as error:
                problem = str(error)
            if problem is not None:
                cells.iloc[position] = None
                text = problem if problem in ("infinite", "too large") else f"{problem} is no number"
                cases.append(_place(table, position, names) | {"trait": name, "message": text})
                texts[problem] = None
        frame[name] = cells
    if not cases:
        return table, []
    advice = f"correct them, or name codes of missing values with --missing (beside {table.form.missing_words})"
    if any(text.endswith("(write decimals with a point)") for text in texts):
        advice += "; decimal commas are read with --decimal ,"
    finding = Finding.of(
        "stop",
        "bad value",
        f"{count_noun(len(cases), 'value')} that {'is no number' if len(cases) == 1 else 'are no numbers'}, such as "
        f"{', '.join(list(texts)[:5])}, taken as missing here: {advice}.",
        cases,
    )
    return replace(table, frame=frame), [finding]


def _without_bad_precision(
    table: Table,
    column: str,
    role: str,
    fits: Callable[[Any], np.ndarray],
    needed: np.ndarray,
    usual: Callable[[np.ndarray], float],
    words: tuple[str, str],
    names: Sequence[tuple[str, str]],
) -> tuple[Table, list[Finding]]:
    """The table with a usual number in place of what says nothing of how precise a record is.

    Parameters
    ----------
    fits : which numbers do
    needed : (rows,) bool, where there has to be one
    usual : what stands in, given those that do
    words : what is lacking, and what to do
    """
    cells = table.frame[column].astype(object).copy()
    parsed, problems = np.full(len(cells), np.nan), {}
    for position, cell in enumerate(cells):
        try:
            parsed[position] = number(cell, table.form)
        except DataError as error:
            problems[position] = f"holds {error}"
            continue
        if math.isnan(parsed[position]):
            if needed[position]:
                problems[position] = "is empty"
        elif not fits(parsed[position]):
            problems[position] = f"holds {parsed[position]:g}"
    if not problems:
        return table, []
    cells.iloc[list(problems)] = usual(parsed[fits(parsed)])
    cases = [
        _place(table, position, names) | {"message": f"the {role} column {column!r} {problem}"}
        for position, problem in problems.items()
    ]
    lacking, advice = words
    text = f"{count_noun(len(cases), 'row')} without a {lacking} here: {advice}"
    return replace(table, frame=table.frame.assign(**{column: cells})), [Finding.of("stop", "bad value", text, cases)]


def _find_repeats(table: Table, columns: Sequence[str]) -> dict[int, int]:
    """Rows whose names all stand in an earlier row, and that row."""
    first: dict[tuple[str, ...], int] = {}
    parts = [[identifier(value) or "" for value in table.frame[name].astype(object)] for name in columns]
    earlier = [first.setdefault(key, position) for position, key in enumerate(zip(*parts, strict=True))]
    return {position: there for position, there in enumerate(earlier) if there != position}


def _describe_repeats(
    table: Table, repeats: dict[int, int], names: Sequence[str], values: Sequence[str], long: bool
) -> Finding:
    """Repeated plots, with the columns that would tell them apart."""
    cases = [
        _case(table, position)
        | {
            "line": identifier(table.frame[names[0]].iloc[position]),
            "env": identifier(table.frame[names[1]].iloc[position]),
            "message": f"the same {', '.join(names)} as {table.row(there)}",
        }
        for position, there in repeats.items()
    ]
    helpful = _find_plot_columns(table, names, values)
    advice = "give a plot identifier as --rep (rep=), which may be several columns together"
    if helpful:
        advice = f"{' and '.join(helpful)} would tell them apart: --rep {','.join([*names[2:], *helpful])}"
        if long:
            advice = f"{' and '.join(helpful)} would tell them apart: name them in --rep too"
    taken = "left out of the rest of this report" if long else "taken as further plots in the rest of this report"
    return Finding.of(
        "stop",
        "repeated plot",
        f"{count_noun(len(cases), 'row')} with the same {', '.join(names)} as an earlier one, {taken}. If they are "
        f"plots of their own, {advice}; if not, take them out.",
        cases,
    )


def _find_plot_columns(table: Table, names: Sequence[str], values: Sequence[str]) -> list[str]:
    """One or two further columns with which no names repeat."""
    others = [name for name in table.columns if name not in {*names, *values}]
    # A measured column tells any rows apart.
    others = [name for name in others if not _is_measured(table, name)][:15]
    for extra in [*combinations(others, 1), *combinations(others, 2)]:
        try:
            if not _find_repeats(table, [*names, *extra]):
                return list(extra)
        except DataError:
            continue
    return []


def _is_measured(table: Table, name: str) -> bool:
    """Whether the column holds a number with decimals."""
    for value in table.frame[name].astype(object):
        try:
            parsed = number(value, table.form)
        except DataError:
            return False
        if math.isfinite(parsed) and not parsed.is_integer():
            return True
    return False


def _case(table: Table, position: int) -> dict[str, Any]:
    """Row of a case, counted as messages do."""
    return {"row": int(table.frame.index[position]) if table.from_file else position + 1}


def find_usual(errors: np.ndarray) -> float:
    """The median of standard errors, one of none."""
    return float(np.median(errors)) if len(errors) else 1.0


def _place(table: Table, position: int, names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Row of a case, its line and its environment."""
    cells = {role: table.frame[name].iloc[position] for name, role in names if role in ("line", "env")}
    return _case(table, position) | {role: identifier(cell) for role, cell in cells.items()}
