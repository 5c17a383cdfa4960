"""Reading a table of phenotypes in spite of its faults, so that all of them can be shown at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
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
    *errors: Any,
) -> tuple[Records, list[Finding]]:
    """Turn a table into records as `read_records` does, but set aside what that refuses.

    Values that are no number become missing, rows without a name are left out, and plots that stand there again are
    taken as further ones (in a long table, left out). All are findings for which a fit would be refused.

    errors : as of `read_records`, the standard errors and their correlation

    Raises
    ------
    DataError
        If a column is not there, or nothing is left that a trial could be made of.
    UsageError
        As for `read_records`.
    """
    reps = [] if rep is None else as_names(rep, "rep")
    others = (trait, value, blocks, covariates, n_plots, *errors)
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
            columns = [value.strip()]
        else:
            columns = [] if traits is None else as_names(traits, "traits")
        measured = columns
        columns = [*columns, *([] if covariates is None else as_names(covariates, "covariates"))]
        # A wrong column is no fault of a row: the same message as ever.
        counts = [] if n_plots is None else [(n_plots.strip(), "n_plots")]
        precise = list_error_columns(errors[0] if errors else None)
        counts += [(name, "se") for name in precise]
        for name, role in [*names, *((name, "trait") for name in columns), *counts]:
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
            table, bad = _without_bad_plots(table, n_plots.strip(), measured, names)
            found += bad
        for name in precise:
            table, bad = _without_bad_errors(table, name, names)
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
                place = {
                    role: identifier(frame[column].iloc[position]) for column, role in names if role in ("line", "env")
                }
                text = problem if problem in ("infinite", "too large") else f"{problem} is no number"
                cases.append(_case(table, position) | place | {"trait": name, "message": text})
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


def _without_bad_plots(
    table: Table, column: str, values: Sequence[str], names: Sequence[tuple[str, str]]
) -> tuple[Table, list[Finding]]:
    """The table with one plot in place of what is no number of plots, in rows with a value."""
    cells = table.frame[column].astype(object).copy()
    seen = np.zeros(len(cells), dtype=bool)
    for name in values:
        seen |= ~np.isnan(table.numbers(name, "trait"))
    cases = []
    for position, cell in enumerate(cells):
        try:
            parsed = number(cell, table.form)
            problem = "is empty" if math.isnan(parsed) else f"holds {parsed:g}"
            problem = "" if is_count(parsed) or (math.isnan(parsed) and not seen[position]) else problem
        except DataError as error:
            problem = f"holds {error}"
        if problem:
            place = {
                role: identifier(table.frame[name].iloc[position]) for name, role in names if role in ("line", "env")
            }
            cases.append(_case(table, position) | place | {"message": f"the n_plots column {column!r} {problem}"})
            cells.iloc[position] = 1
    if not cases:
        return table, []
    finding = Finding.of(
        "stop",
        "bad value",
        f"{count_noun(len(cases), 'row')} without a number of plots in {column!r}, taken as one plot here: {WHOLE} "
        "beside every value. Standard errors and deviations are no numbers of plots.",
        cases,
    )
    return replace(table, frame=table.frame.assign(**{column: cells})), [finding]


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


def _without_bad_errors(table: Table, column: str, names: Sequence[tuple[str, str]]) -> tuple[Table, list[Finding]]:
    """The table with the usual standard error in place of what is none."""
    cells = table.frame[column].astype(object).copy()
    parsed, problems = np.full(len(cells), np.nan), [""] * len(cells)
    for position, cell in enumerate(cells):
        try:
            parsed[position] = number(cell, table.form)
            if not math.isnan(parsed[position]) and not is_error(parsed[position : position + 1]).all():
                problems[position] = f"holds {parsed[position]:g}"
        except DataError as error:
            problems[position] = f"holds {error}"
    usual = parsed[is_error(parsed)]
    cases = []
    for position, problem in enumerate(problems):
        if problem:
            place = {
                role: identifier(table.frame[name].iloc[position]) for name, role in names if role in ("line", "env")
            }
            cases.append(_case(table, position) | place | {"message": f"the se column {column!r} {problem}"})
            cells.iloc[position] = float(np.median(usual)) if len(usual) else 1.0
    if not cases:
        return table, []
    finding = Finding.of(
        "stop",
        "bad value",
        f"{count_noun(len(cases), 'row')} without a standard error in {column!r}, taken as the usual one here: "
        f"{POSITIVE}, beside every value.",
        cases,
    )
    return replace(table, frame=table.frame.assign(**{column: cells})), [finding]
