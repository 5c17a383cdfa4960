"""Tables of pedigrees: read, checked, and numbered with parents before offspring."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from bmtme.arguments import as_list, as_text, is_number, show
from bmtme.data.tables.cells import NumberFormat, is_missing
from bmtme.data.tables.files import Table, read_columns, read_table
from bmtme.data.tables.names import is_doubtful, is_nothing
from bmtme.errors import DataError, UsageError
from bmtme.words import first_repeat, list_names

__all__ = [
    "Codes",
    "Pedigree",
    "describe_doubtful",
    "find_families",
    "is_pedigree",
    "list_both_sexes",
    "list_doubtful_parents",
    "number_pedigree",
    "read_pedigree",
]

Codes = str | float | Iterable[str | float]


@dataclass(frozen=True)
class Pedigree:
    """Individuals numbered so that parents come before offspring; `place` is where the user has them."""

    names: tuple[str, ...]  # in the user's order
    place: np.ndarray  # (n,) of each individual in `names`
    parents: np.ndarray  # (n, 2), -1 where unknown
    rest: np.ndarray  # (n,) share of the heterozygosity that selfing has left, 1 without selfing


def read_pedigree(path: str | os.PathLike[str], id: str = "id", sire: str = "sire", dam: str = "dam") -> pd.DataFrame:
    """Read a pedigree from a file (CSV, TSV, Excel or Parquet), for `pedigree_relationship`.

    Parameters
    ----------
    path : str or path
    id, sire, dam : str
        Columns that must be there.

    Returns
    -------
    pandas.DataFrame
        The file's columns; identifiers of text files are text (``001`` stays). The index holds the file's row numbers.

    Raises
    ------
    DataError
        If the file cannot be read or a column is not there.
    """
    table = read_table(path)
    for column, role in ((id, "id"), (sire, "sire"), (dam, "dam")):
        table.column(as_text(column, role), role)
    frame = table.frame.copy()
    frame.attrs |= {"file": Path(path).name, "in_sheet": table.in_sheet}
    return frame


def is_pedigree(path: str | os.PathLike[str], id: str = "id", sire: str = "sire", dam: str = "dam") -> bool:
    """Whether a file is a table with the columns of a pedigree; False if it cannot be read as a table."""
    if not os.path.isfile(path):  # nor is a name that is too long for one
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            columns = read_columns(path)
        except (DataError, UsageError):
            return False
    # Of a square matrix the lines' names are the header, and may be these.
    return {id.strip(), sire.strip(), dam.strip()} <= set(columns)


def list_both_sexes(
    frame: pd.DataFrame, id: str = "id", sire: str = "sire", dam: str = "dam", missing: Codes | None = None
) -> tuple[list[str], list[str]]:
    """Individuals that are a sire and a dam, in order of first mention: those with a row of their own, and others."""
    table = _as_table(frame, missing)
    sires, dams = (_first_rows(labels) for labels in _parents(table, sire.strip(), dam.strip()))
    both = _in_both(sires, dams)
    known = set(table.identifiers(id.strip(), "id"))
    return [name for name in both if name in known], [name for name in both if name not in known]


def list_doubtful_parents(
    frame: pd.DataFrame, id: str = "id", sire: str = "sire", dam: str = "dam", missing: Codes | None = None
) -> list[str]:
    """Parents without a row of their own whose name may stand for an unknown one, or for many: 999, open, bulk."""
    table = _as_table(frame, missing)
    return _find_doubtful(table.identifiers(id.strip(), "id"), _parents(table, sire.strip(), dam.strip()))


def number_pedigree(
    frame: pd.DataFrame,
    id: str,
    sire: str,
    dam: str,
    selfing: str | float | None,
    separate_sexes: bool,
    missing: Codes | None,
    founders: Iterable[str] = (),
) -> Pedigree:
    """Check a pedigree and number its individuals with parents before offspring; see `pedigree_relationship`."""
    table = _as_table(frame, missing)
    id, sire, dam = as_text(id, "id"), as_text(sire, "sire"), as_text(dam, "dam")
    columns = [id, sire, dam, *([selfing.strip()] if isinstance(selfing, str) else [])]
    if not isinstance(separate_sexes, bool):
        raise UsageError(f"separate_sexes must be True or False, got {show(separate_sexes)}.")
    if len(set(columns)) < len(columns):
        what = "id, sire and dam" if len(columns) == 3 else "id, sire, dam and selfing"
        raise DataError(f"{what} must be different columns, got {', '.join(map(repr, columns))}.")
    if table.frame.empty:
        raise DataError(f"{table.name} has no rows: expected one per individual.")
    names = table.identifiers(id, "id")
    for position, name in enumerate(names):
        if _is_unknown(name, table.form):
            raise DataError(
                f"{table.name} has the individual {name!r} in {table.row(position)}, a code for unknown parents: "
                "give it another name."
            )
    _refuse_repeats(table, names)
    parents = _parents(table, sire, dam)
    _refuse_own_parents(table, names, parents)
    if separate_sexes and selfing is None:
        _refuse_both_sexes(table, names, parents)
    doubtful = _find_doubtful(names, parents)
    if doubtful:
        warnings.warn(f"{table.name}: {describe_doubtful(doubtful)}", UserWarning, stacklevel=3)
    place = {name: j for j, name in enumerate(names)}
    for pair in zip(*parents, strict=True):
        for label in pair:
            if label:
                place.setdefault(label, len(place))
    for name in as_list(founders, "founders"):
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"founders must hold names of lines, got {show(name)}.")
        place.setdefault(name.strip(), len(place))
    known = np.full((len(place), 2), -1, dtype=np.int64)
    for side in (0, 1):
        known[: len(names), side] = [place[label] if label else -1 for label in parents[side]]
    rest = 0.5 ** _generations(table, names, selfing, len(place))
    order = np.array(_generation_order(known, tuple(place), table.name), dtype=np.int64)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    sorted_parents = known[order]
    return Pedigree(tuple(place), order, np.where(sorted_parents >= 0, rank[sorted_parents], -1), rest[order])


def find_families(
    frame: pd.DataFrame, id: str = "id", sire: str = "sire", dam: str = "dam", missing: Codes | None = None
) -> dict[str, str]:
    """Full-sib families of a pedigree: groups for `bmtme.NewLines`.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per individual, in any order, as for `bmtme.pedigree_relationship`.
    id, sire, dam : str
        Columns with the individual and its parents.
    missing : str, number or list of these, optional
        Further codes for an unknown parent.

    Returns
    -------
    dict of str to str
        Of each individual with two known parents, its family: ``"A x B"`` for the parents A and B by name, whichever
        is the sire. The selfed offspring of one individual are a family.

    Raises
    ------
    DataError
        If a column is not there or an individual has two rows.
    """
    table = _as_table(frame, missing)
    names = table.identifiers(as_text(id, "id"), "id")
    _refuse_repeats(table, names)
    families = {}
    for name, *pair in zip(names, *_parents(table, as_text(sire, "sire"), as_text(dam, "dam")), strict=True):
        if all(pair):
            # Names of crosses would make two families of one name.
            families[name] = " x ".join(f"({parent})" if " x " in parent else parent for parent in sorted(pair))
    return families


def _as_table(frame: pd.DataFrame, missing: Codes | None) -> Table:
    form = NumberFormat.of(missing, ".")
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"expected a pandas DataFrame, got {type(frame).__name__}.")
    file = frame.attrs.get("file")
    if file is None:
        return Table.from_frame(frame, "the pedigree", form)
    return Table(frame, f"the pedigree {file}", True, form, frame.attrs.get("in_sheet", False))


def _refuse_repeats(table: Table, names: Sequence[str]) -> None:
    repeat = first_repeat(names)
    if repeat is not None:
        raise DataError(
            f"{table.name} has the individual {names[repeat[1]]!r} twice, in {table.row(repeat[0])} and "
            f"{table.row(repeat[1])}: every individual must have one row."
        )


def _is_unknown(label: str, form: NumberFormat) -> bool:
    return is_nothing(label) or is_missing(label, form)


def _find_doubtful(names: Sequence[str], parents: Sequence[Sequence[str]]) -> list[str]:
    known = {"", *names}
    return [name for name in dict.fromkeys(chain(*parents)) if name not in known and is_doubtful(name)]


def describe_doubtful(names: Sequence[str]) -> str:
    """Words for parents that `list_doubtful_parents` found."""
    one = len(names) == 1
    return (
        f"the parent{'' if one else 's'} {list_names(names)} without {'a row of its' if one else 'rows of their'} own "
        f"{'is' if one else 'are'} taken as {'one individual' if one else 'an individual each'}, to which all "
        f"offspring are related. If {'it stands' if one else 'they stand'} for unknown parents, or for many, say "
        f"missing={list(names[:3])!r} (in the shell --pedigree-missing); if not, give "
        f"{'it a row' if one else 'them rows'}."
    )


def _parents(table: Table, sire: str, dam: str) -> tuple[list[str], list[str]]:
    """Names of the sires and of the dams, empty where unknown."""
    labels = (table.identifiers(*column, allow_missing=True) for column in ((sire, "sire"), (dam, "dam")))
    sires, dams = (_blank_unknown(side, table.form) for side in labels)
    return sires, dams


def _blank_unknown(labels: Sequence[str], form: NumberFormat) -> list[str]:
    unknown = {label for label in set(labels) if _is_unknown(label, form)}  # a parent has many rows
    return ["" if label in unknown else label for label in labels]


def _refuse_own_parents(table: Table, names: Sequence[str], parents: Sequence[Sequence[str]]) -> None:
    for role, side in zip(("sire", "dam"), parents, strict=True):
        for position, (name, label) in enumerate(zip(names, side, strict=True)):
            if name == label:
                raise DataError(
                    f"{table.name} has {name!r} as its own {role} in {table.row(position)}: correct the {role}."
                )


def _refuse_both_sexes(table: Table, names: Sequence[str], parents: Sequence[Sequence[str]]) -> None:
    sires, dams = map(_first_rows, parents)
    both = _in_both(sires, dams)
    if both:
        first = both[0]
        more = f" In all, {len(both):,} individuals are both: {list_names(both)}." if len(both) > 1 else ""
        code = ""
        if first not in set(names):
            code = f" It has no row of its own: if it stands for an unknown parent, say missing=[{first!r}]."
        raise DataError(
            f"{table.name} has {first!r} as a sire in {table.row(sires[first])} and as a dam in "
            f"{table.row(dams[first])}.{code} If it is an animal, correct the wrong one; of plants, which can be both "
            f"(hermaphrodites, selfing), pass separate_sexes=False.{more}"
        )


def _first_rows(labels: Sequence[str]) -> dict[str, int]:
    """Positions where each parent is mentioned first."""
    return {label: position for position, label in reversed(list(enumerate(labels))) if label}


def _in_both(sires: dict[str, int], dams: dict[str, int]) -> list[str]:
    return sorted(sires.keys() & dams.keys(), key=lambda label: (min(sires[label], dams[label]), label))


def _generations(table: Table, names: Sequence[str], selfing: str | float | None, n: int) -> np.ndarray:
    """Generations of selfing of every individual."""
    if selfing is None:
        return np.zeros(n)
    if not isinstance(selfing, str):
        if not is_number(selfing) or not float(selfing).is_integer() or selfing < 0:
            raise UsageError(f"selfing must be a column or a whole number of generations, got {show(selfing)}.")
        return np.full(n, float(selfing))
    given = np.zeros(n)
    given[: len(names)] = np.nan_to_num(table.numbers(selfing.strip(), "selfing"))
    for name, generations in zip(names, given, strict=False):
        if not generations.is_integer() or generations < 0:
            raise DataError(
                f"The selfing column {selfing.strip()!r} of {table.name} holds {generations:g} for {name!r}: expected "
                "the number of generations of selfing, 0 or more."
            )
    return given


def _generation_order(parents: np.ndarray, names: Sequence[str], place: str) -> list[int]:
    """Order with parents before offspring; a loop is a DataError that names those on it."""
    offspring: list[list[int]] = [[] for _ in names]
    waiting = np.zeros(len(names), dtype=np.int64)
    for child, pair in enumerate(parents.tolist()):
        for parent in pair:
            if parent >= 0:
                offspring[parent].append(child)
                waiting[child] += 1
    order = [int(j) for j in np.flatnonzero(waiting == 0)]
    for parent in order:  # grows while it is walked
        for child in offspring[parent]:
            waiting[child] -= 1
            if waiting[child] == 0:
                order.append(child)
    if len(order) < len(names):
        loop = _find_loop(parents, waiting > 0)
        shown = [repr(names[j]) for j in [*loop, loop[0]]]
        if len(shown) > 12:
            shown[9:-1] = [f"... and {len(shown) - 10} more ..."]
        chain = " -> ".join(shown)
        raise DataError(f"{place} has a loop, offspring -> parent: {chain}. No one can be its own ancestor.")
    return order


def _find_loop(parents: np.ndarray, stuck: np.ndarray) -> list[int]:
    """Walk up from an individual that could not be placed: each has a parent that could not, until one recurs."""
    path: dict[int, None] = {}
    current = int(np.flatnonzero(stuck)[0])
    while current not in path:
        path[current] = None
        current = next(int(parent) for parent in parents[current] if parent >= 0 and stuck[parent])
    walked = list(path)
    return walked[walked.index(current) :]
