"""From a table, wide or long, to the labels and arrays of a trial."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bmtme.arguments import as_list, as_text
from bmtme.data.effects import list_columns, read_blocks, read_covariates
from bmtme.data.precision import list_error_columns, name_error_columns, read_errors, read_plots
from bmtme.data.tables.cells import number
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.words import first_repeat, list_names, suggest

__all__ = ["Names", "Records", "as_names", "name_environment", "read_records"]

Names = str | Iterable[str]
#: The name of an environment where there is one only, and no column names it.
ONE_ENVIRONMENT = "all"


class Records(NamedTuple):
    """Parts of a trial; see `bmtme.data.trial.Trial`."""

    lines: tuple[str, ...]
    envs: tuple[str, ...]
    traits: tuple[str, ...]
    line_index: np.ndarray
    env_index: np.ndarray
    values: np.ndarray
    reps: tuple[str, ...] | None
    blocks: Mapping[str, tuple[str, ...]] = {}
    covariates: Mapping[str, np.ndarray] = {}
    n_plots: np.ndarray | None = None
    se: np.ndarray | None = None
    se_correlation: np.ndarray | None = None


def read_records(
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
) -> Records:
    """Turn a wide or a long table into records; see `Trial.from_frame` for the keywords, the rules and the errors."""
    if (trait is None) != (value is None):
        raise UsageError("trait= and value= belong together: a long table needs both, a wide one neither.")
    line, env = as_text(line, "line"), as_text(env, "env")
    if trait is not None and value is not None:
        trait, value = as_text(trait, "trait"), as_text(value, "value")
    rep_columns = [] if rep is None else as_names(rep, "rep")
    wanted = None if traits is None else as_names(traits, "traits")
    n_plots = None if n_plots is None else as_text(n_plots, "n_plots")
    if n_plots is not None and se is not None:
        raise UsageError("n_plots= and se= do not go together: both say how precise records are. Name one of them.")
    if se is None and se_correlation is not None:
        raise UsageError("se_correlation= needs se=, the standard errors whose correlation it is.")
    precise = dict.fromkeys(list_error_columns(se), "se") if n_plots is None else {n_plots: "n_plots"}
    factors = list_columns([] if blocks is None else as_names(blocks, "blocks"), table.columns)
    beside = [] if covariates is None else as_names(covariates, "covariates")
    _check_names(line, env, rep_columns, wanted, trait, value, factors, beside, precise)
    if table.frame.empty:
        raise DataError(f"{table.name} has no records: expected at least one row below the header.")
    line_index, lines = _encode(table.identifiers(line, "line"))
    env_index, envs = _encode(table.identifiers(env, "env"))
    parts = _rep_parts(table, rep_columns)
    labels = read_blocks(table, factors)
    plots = list(zip(line_index.tolist(), env_index.tolist(), *parts, *labels.values(), strict=True))
    reps = tuple(":".join(labels) for labels in zip(*parts, strict=True)) if parts else None

    if trait is None or value is None:
        used = {line, env, *rep_columns, *beside, *precise}
        used |= {column for columns in factors.values() for column in columns}
        chosen = _numeric_columns(table, used) if wanted is None else wanted
        values = np.column_stack([table.numbers(name, "trait") for name in chosen])
        numbers = read_covariates(table, beside)
        rows = record = np.flatnonzero(~np.isnan(values).all(axis=1))
        if parts:
            _refuse_repeats(table, plots, lines, envs, reps)
    else:
        trait_index, names = _encode(table.identifiers(trait, "trait"))
        _refuse_repeats(table, list(zip(plots, trait_index.tolist(), strict=True)), lines, envs, reps, names)
        chosen = list(names) if wanted is None else wanted
        for name in chosen:
            if name not in names:
                raise DataError(
                    f"The trait column {trait!r} of {table.name} holds no trait {name!r}."
                    f"{suggest(name, names)} Its traits are {list_names(names, 20)}."
                )
        record, first = _records(plots)
        column = np.array([chosen.index(name) if name in chosen else -1 for name in names])[trait_index]
        rows = np.flatnonzero(column >= 0)
        values = np.full((len(first), len(chosen)), np.nan)
        values[record[rows], column[rows]] = table.numbers(value, "value", rows)
        rows = rows[~np.isnan(values[record[rows], column[rows]])]
        place, record = record, record[rows]
        line_index, env_index = line_index[first], env_index[first]
        reps = None if reps is None else tuple(reps[row] for row in first)
        labels = {name: [own[row] for row in first] for name, own in labels.items()}
        numbers = read_covariates(table, beside, place, first)

    n_each = errors = None
    if precise:
        named = [f"line {lines[j]!r} in environment {envs[i]!r}" for j, i in zip(line_index, env_index, strict=True)]
        if n_plots is not None:
            n_each = read_plots(table, n_plots, rows, record, named, len(values))
    if se is not None:
        errors = np.full(values.shape, np.nan)
        for name, source in name_error_columns(se, chosen, trait is not None).items():
            l = chosen.index(name)
            own = np.flatnonzero(~np.isnan(values[:, l])) if trait is None else rows[column[rows] == l]
            of = own if trait is None else place[own]
            errors[of, l] = read_errors(table, source, own, [named[n] for n in of])
    records = Records(
        lines,
        envs,
        tuple(chosen),
        line_index,
        env_index,
        values,
        reps,
        {name: tuple(own) for name, own in labels.items()},
        numbers,
        n_each,
        errors,
        se_correlation,
    )
    _check_values(records, table.name)
    return records


def name_environment(
    table: Table,
    line: str,
    env: str | None,
    traits: Names | None,
    rep: Names | None,
    trait: str | None,
    value: str | None,
    blocks: Names | None = None,
    covariates: Names | None = None,
    n_plots: str | None = None,
    se: str | Mapping[str, str] | None = None,
    *_: Any,
) -> tuple[Table, str]:
    """The table and its column of environments; without one, a column with the same name throughout is added.

    Raises
    ------
    DataError
        If another column has a name that is usual for environments and tells several apart.
    """
    if env is not None:
        return table, env
    columns = (traits, rep, blocks, covariates, n_plots, list_error_columns(se))
    used = {line, trait, value, *(name for names in columns for name in as_names(names or (), "a column"))}
    for name in table.columns:
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
        if name in used or _ENVIRONMENTS.isdisjoint(word.casefold() for word in words):
            continue
        found = list(dict.fromkeys(label for label in table.identifiers(name, "env", allow_missing=True) if label))
        if len(found) > 1:
            raise DataError(
                f"No column of environments is named, but {table.name} has the column {name!r} with {len(found):,} "
                f"different entries ({list_names(found, 3)}): if it tells environments apart, name it as env= (in the "
                "shell --env); if all records are of one environment, take the column out."
            )
    column = ONE_ENVIRONMENT
    while column in table.columns:
        column += "_"
    return replace(table, frame=table.frame.assign(**{column: ONE_ENVIRONMENT})), column


def as_names(names: Names, argument: str) -> list[str]:
    """One name or several, given as an argument, as a list of trimmed texts."""
    return [str(name).strip() for name in as_list(names, argument)]


def _check_names(
    line: str,
    env: str,
    rep_columns: Sequence[str],
    traits: Sequence[str] | None,
    trait: str | None,
    value: str | None,
    factors: Mapping[str, Sequence[str]],
    covariates: Sequence[str],
    precise: Mapping[str, str],
) -> None:
    """Refuse a column asked for in two roles, but for one of blocks and reps, and a trait asked for twice."""
    if traits is not None:
        if not traits:
            raise UsageError("traits= names no trait: name at least one, or leave it out to take all.")
        repeat = first_repeat(traits)
        if repeat is not None:
            raise DataError(f"The trait {traits[repeat[1]]!r} is named twice: name every trait once.")
    roles: list[tuple[str, str]] = [("line", line), ("env", env)]
    roles += [("rep", name) for name in rep_columns]
    parts = dict.fromkeys(column for columns in factors.values() for column in columns if column not in rep_columns)
    roles += [("blocks", name) for name in parts] + [("covariates", name) for name in dict.fromkeys(covariates)]
    roles += [(role, name) for name, role in precise.items()]
    if trait is not None and value is not None:
        roles += [("trait", trait), ("value", value)]
    else:
        roles += [("trait", name) for name in traits or ()]
    repeat = first_repeat(name for _, name in roles)
    if repeat is not None:
        (role, name), (other, _) = roles[repeat[0]], roles[repeat[1]]
        raise DataError(f"The column {name!r} is given both as {role} and as {other}: these must be different columns.")


def _encode(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    place: dict[str, int] = {}
    index = np.array([place.setdefault(name, len(place)) for name in names], dtype=np.int64)
    return index, tuple(place)


def _rep_parts(table: Table, rep_columns: Sequence[str]) -> list[list[str]]:
    """Labels of the rep columns, one list per column. Several columns may have gaps, though not all in one row."""
    several = len(rep_columns) > 1
    parts = [table.identifiers(name, "rep", allow_missing=several) for name in rep_columns]
    for position, labels in enumerate(zip(*parts, strict=True)):
        if not any(labels):
            raise DataError(
                f"The rep columns {list_names(rep_columns)} of {table.name} are all empty in {table.row(position)}: "
                "every row needs a rep label."
            )
    return parts


def _records(plots: Sequence[tuple[object, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Record of each row of a long table, and the first row of each record."""
    place: dict[tuple[object, ...], int] = {}
    first: list[int] = []
    record = np.empty(len(plots), dtype=np.int64)
    for row, plot in enumerate(plots):
        record[row] = place.setdefault(plot, len(place))
        if record[row] == len(first):
            first.append(row)
    return record, np.array(first, dtype=np.int64)


def _refuse_repeats(
    table: Table,
    keys: Sequence[tuple[Any, ...]],
    lines: Sequence[str],
    envs: Sequence[str],
    reps: Sequence[str] | None,
    traits: Sequence[str] | None = None,
) -> None:
    """Refuse two rows with the same line, environment, rep, blocks (and trait)."""
    repeat = first_repeat(keys)
    if repeat is None:
        return
    key = keys[repeat[1]]
    plot = key if traits is None else key[0]
    what = f"line {lines[plot[0]]!r} in environment {envs[plot[1]]!r}"
    what += "" if reps is None else f" with rep {reps[repeat[1]]!r}"
    what += "" if traits is None else f" and trait {traits[key[1]]!r}"
    advice = "give a plot identifier as rep, which may be several columns together (such as rep and block)"
    if traits is None:
        advice += ", or leave rep out: repeated rows are then taken as replicates"
    repeats = len(keys) - len(set(keys))
    raise DataError(
        f"{table.name} has {what} twice: {table.row(repeat[0])} and {table.row(repeat[1])} "
        f"({repeats} such {'repeat' if repeats == 1 else 'repeats'} in all). To tell plots apart, {advice}."
    )


#: Usual names of columns that number plots, places, times, entries or groups and measure nothing, by `_bare_name`.
_LABELS = frozenset(
    """
    rep reps replicate replicates replication replica repetition iblk block blk blocks incblock subblock superblock
    wholeplot subplot row rows col column columns range ranges pass bed bay tray plot plots unit site loc location
    env environment year years season cycle month date trial exp expt experiment study entry gid id line genotype
    gen geno germplasm record accession sample tag barcode order index no nr obs observation group grp set cvset
    fold cluster family fam fid iid pedigree sire dam father mother sex byear birthyear treatment trt treat check
    ischeck tester gencheck gennew unnamed
    """.split()
)
#: Words in names of columns that tell environments apart, such as locationName or study_year.
_ENVIRONMENTS = frozenset(
    "env environment site loc location year years season trial exp expt experiment study country region".split()
)
#: Rows from which on numbers in their order are a count of the rows.
_FEWEST_COUNTED = 10


def _bare_name(name: str) -> str:
    """A column's name without case, punctuation, and a number or what means one at its end: plot for Plot_ID, rep1."""
    bare = re.sub(r"[0-9]+$", "", re.sub(r"[^a-z0-9]+", "", name.casefold()))
    return re.sub(r"(?<=[a-z])(?:id|no|nr|num|number|code)$", "", bare) if bare not in _LABELS else bare


def _numeric_columns(table: Table, used: set[str]) -> list[str]:
    """Columns with at least one number, no text, and not the look of labels.

    A column with numbers and text is named in a warning, as it may be a mistake, and so is one of whole numbers whose
    name is usual for plots, blocks, years and the like, or that counts the rows.
    """
    chosen, labels = [], []
    for name in table.columns:
        if name in used:
            continue
        seen, text, whole, counts = False, None, True, len(table.frame) >= _FEWEST_COUNTED
        for position, value in enumerate(table.frame[name].astype(object)):
            try:
                parsed = number(value, table.form)
            except DataError as error:
                text = text or f"{error} in {table.cell(position, name)}"
                continue
            if not math.isnan(parsed):
                seen, whole = True, whole and parsed >= 0 and parsed.is_integer()
            counts = counts and parsed - position in (0, 1)
        if seen and text is not None:
            warnings.warn(
                f"The column {name!r} of {table.name} holds numbers and text ({text}) and is not taken as a trait; "
                "name the traits to choose.",
                stacklevel=5,
            )
        elif seen and whole and (counts or not name or _bare_name(name) in _LABELS):
            labels.append(name)
        elif seen:
            chosen.append(name)
    if labels:
        one = len(labels) == 1
        warnings.warn(
            f"The column{'' if one else 's'} {list_names(labels)} of {table.name} {'is' if one else 'are'} not taken "
            f"as {'a trait' if one else 'traits'}: by name and whole numbers, {'it says' if one else 'they say'} which "
            "plot, block, year or the like a row is. If plots are told apart by one, name it as rep; if one is "
            "measured, name the traits.",
            stacklevel=5,
        )
    if not chosen:
        beside = list_names(sorted({*used, *labels}))
        raise DataError(
            f"{table.name} has no numeric column to take as a trait beside {beside}: name the traits, or"
            "  the trait and value columns of a long table."
        )
    return chosen


def _check_values(records: Records, source: str) -> None:
    """Refuse what no model can be fitted to."""
    seen = ~np.isnan(records.values)
    for name, any_value in zip(records.traits, seen.any(axis=0), strict=True):
        if not any_value:
            raise DataError(f"The trait {name!r} has no value in {source}: leave it out or correct the table.")
    n_lines = len(np.unique(records.line_index[seen.any(axis=1)]))
    if n_lines < 2:
        raise DataError(f"{source} has values for one line only: at least two lines are needed.")
