"""Relationships from pedigrees: the additive relationship matrix with inbreeding, and its sparse inverse."""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from bmtme.errors import DataError, UsageError
from bmtme.model.cells import MISSING_CODES, first_repeat, list_names
from bmtme.model.relationship import Relationship
from bmtme.model.tables import Table, read_table

__all__ = ["PedigreeInverse", "pedigree_inverse", "pedigree_relationship", "read_pedigree"]

#: A Mendelian sampling variance below this is none: the individual is a copy.
_NO_SAMPLING = 1e-10


@dataclass(frozen=True, eq=False)
class PedigreeInverse:
    """Inverse of the additive relationship matrix.

    Attributes
    ----------
    matrix : (n, n) scipy.sparse.csc_array
        A^-1, symmetric, both triangles stored.
    lines : tuple of str
        Individuals in the order of its rows.
    inbreeding : (n,) float array
        Their coefficients of inbreeding F; A has 1 + F on its diagonal.
    """

    matrix: scipy.sparse.csc_array
    lines: tuple[str, ...]
    inbreeding: np.ndarray


@dataclass(frozen=True)
class _Pedigree:
    """Individuals numbered so that parents come before offspring; `place` is where the user has them."""

    names: tuple[str, ...]  # in the user's order
    place: np.ndarray  # (n,) of each individual in `names`
    parents: np.ndarray  # (n, 2), -1 where unknown
    rest: np.ndarray  # (n,) share of the heterozygosity that selfing has left, 1 without selfing


def pedigree_relationship(
    frame: pd.DataFrame,
    id: str = "id",
    sire: str = "sire",
    dam: str = "dam",
    *,
    selfing: str | float | None = None,
    separate_sexes: bool = False,
) -> Relationship:
    r"""Additive relationship (numerator relationship matrix A) of the individuals of a pedigree.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per individual, in any order.
    id, sire, dam : str
        Columns with the individual and its parents. An unknown parent is 0, empty, NA, NaN, ``.`` or a missing value.
        One individual may be sire and dam of different offspring, and both parents of the same one (selfing).
    selfing : str or int, optional
        Generations of selfing, by single seeds, between the cross and the line that was grown: a column (an empty cell
        is 0, and so are founders without a row) or one number for all individuals, founders too. A doubled haploid is
        as good as 50 generations.
    separate_sexes : bool
        Whether an individual that is both a sire and a dam is an error, as it is for most animals.

    Returns
    -------
    Relationship
        Of the individuals in the order of the rows, followed by founders that are mentioned as parents only, in order
        of first mention.

    Raises
    ------
    DataError
        If a column is not there, an individual is missing or has two rows, or is its own parent or ancestor, or (with
        `separate_sexes`) is both sire and dam, or for generations that are no whole number; the individuals are named.

    See Also
    --------
    pedigree_inverse : the inverse without the matrix, for large pedigrees.

    Notes
    -----
    Parents s and d before offspring i: :math:`a_{ij} = (a_{sj} + a_{dj}) / 2` and :math:`a_{ii} = 1 + a_{sd} / 2`,
    an unknown parent counting as unrelated (Henderson 1976, Biometrics 32:69-83; the tabular method). Each generation
    of selfing halves the heterozygosity and leaves the relationships with others as they are: after k generations
    :math:`a_{ii} = 1 + F`, :math:`F = 1 - (1 - a_{sd} / 2) / 2^k` (Falconer and Mackay 1996, Introduction to
    Quantitative Genetics, chapter 5).
    """
    pedigree = _read(frame, id, sire, dam, selfing, separate_sexes)
    n = len(pedigree.names)
    relationship = np.zeros((n, n))
    # In the user's numbering, so that the matrix need not be sorted afterwards.
    parents = np.where(pedigree.parents >= 0, pedigree.place[pedigree.parents], -1)
    for child, pair, rest in zip(pedigree.place, parents, pedigree.rest, strict=True):
        known = pair[pair >= 0]
        # Individuals not yet placed have zero rows, so whole rows can be added; their share comes with their turn.
        row = 0.5 * relationship[known].sum(axis=0)
        relationship[child] = row
        relationship[:, child] = row
        of_parents = 0.5 * relationship[known[0], known[1]] if len(known) == 2 else 0.0
        relationship[child, child] = 2.0 - (1.0 - of_parents) * rest
    return Relationship(relationship, lines=pedigree.names)


def pedigree_inverse(
    frame: pd.DataFrame,
    id: str = "id",
    sire: str = "sire",
    dam: str = "dam",
    *,
    selfing: str | float | None = None,
    separate_sexes: bool = False,
) -> PedigreeInverse:
    r"""Inverse of the additive relationship matrix, sparse, without forming the matrix.

    Parameters
    ----------
    frame, id, sire, dam, selfing, separate_sexes
        As for `pedigree_relationship`.

    Returns
    -------
    PedigreeInverse
        Of the same individuals in the same order.

    Raises
    ------
    DataError
        As for `pedigree_relationship`, and for an individual that is a copy of its parent (selfing of one that is fully
        inbred), as A has no inverse then.

    Notes
    -----
    :math:`A^{-1} = (I - P)' D^{-1} (I - P)` with 1/2 in P where a column is a parent of the row (Henderson 1976,
    Biometrics 32:69-83) and D the variances of Mendelian sampling, :math:`d_i = a_{ii} - v_i`, where
    :math:`v_i = (a_{ss} + a_{dd} + 2 a_{sd}) / 4` is that of the parents' mean (Quaas 1976, Biometrics 32:949-953, who
    brought inbreeding in). With A = T D T', :math:`v_i` is the sum of :math:`t^2 d` over the ancestors, found by
    walking up the pedigree from the youngest (Meuwissen and Luo 1992, Genet. Sel. Evol. 24:305-313); that gives
    :math:`a_{sd}`, the inbreeding, and :math:`d_i`.
    """
    pedigree = _read(frame, id, sire, dam, selfing, separate_sexes)
    diagonal, sampling = _walk_up(pedigree)
    worst = int(np.argmin(sampling))
    if sampling[worst] < _NO_SAMPLING:
        name = pedigree.names[pedigree.place[worst]]
        raise DataError(
            f"the relationship of the pedigree has no inverse: {name!r} is a copy of its parents, which are fully "
            "inbred and the same. Leave it out, or give it the parent's name."
        )
    n = len(pedigree.names)
    child, side = np.nonzero(pedigree.parents >= 0)
    parent = pedigree.parents[child, side]
    place = pedigree.place
    gaps = scipy.sparse.csc_array(  # I - P; entries of one place add up, so a selfed parent counts twice
        (
            np.concatenate([np.ones(n), np.full(len(child), -0.5)]),
            (np.concatenate([place, place[child]]), np.concatenate([place, place[parent]])),
        ),
        shape=(n, n),
    )
    precision = np.empty(n)
    precision[place] = 1.0 / sampling
    inbreeding = np.empty(n)
    inbreeding[place] = diagonal - 1.0
    matrix = scipy.sparse.csc_array(gaps.T @ (scipy.sparse.diags_array(precision) @ gaps))
    matrix.sort_indices()
    return PedigreeInverse(matrix, pedigree.names, inbreeding)


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
        table.column(column.strip(), role)
    frame = table.frame.copy()
    frame.attrs["file"] = Path(path).name
    return frame


def _read(
    frame: pd.DataFrame, id: str, sire: str, dam: str, selfing: str | float | None, separate_sexes: bool
) -> _Pedigree:
    """Check a pedigree and number its individuals with parents before offspring."""
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"expected a pandas DataFrame, got {type(frame).__name__}.")
    file = frame.attrs.get("file")
    table = Table.from_frame(frame, "the pedigree") if file is None else Table(frame, f"the pedigree {file}", True)
    columns = [id.strip(), sire.strip(), dam.strip(), *([selfing.strip()] if isinstance(selfing, str) else [])]
    if len(set(columns)) < len(columns):
        what = "id, sire and dam" if len(columns) == 3 else "id, sire, dam and selfing"
        raise DataError(f"{what} must be different columns, got {', '.join(map(repr, columns))}.")
    if table.frame.empty:
        raise DataError(f"{table.name} has no rows: expected one per individual.")
    names = table.identifiers(id.strip(), "id")
    for position, name in enumerate(names):
        if _is_unknown(name):
            raise DataError(
                f"{table.name} has the individual {name!r} in {table.row(position)}, a code for unknown parents: "
                "give it another name."
            )
    repeat = first_repeat(names)
    if repeat is not None:
        raise DataError(
            f"{table.name} has the individual {names[repeat[1]]!r} twice, in {table.row(repeat[0])} and "
            f"{table.row(repeat[1])}: every individual must have one row."
        )
    parents = _parents(table, names, sire.strip(), dam.strip())
    if separate_sexes:
        _refuse_both_sexes(table, parents)
    place = {name: j for j, name in enumerate(names)}
    for pair in zip(*parents, strict=True):
        for label in pair:
            if label:
                place.setdefault(label, len(place))
    known = np.full((len(place), 2), -1, dtype=np.int64)
    for side in (0, 1):
        known[: len(names), side] = [place[label] if label else -1 for label in parents[side]]
    rest = 0.5 ** _generations(table, names, selfing, len(place))
    order = np.array(_generation_order(known, tuple(place), table.name), dtype=np.int64)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    sorted_parents = known[order]
    return _Pedigree(tuple(place), order, np.where(sorted_parents >= 0, rank[sorted_parents], -1), rest[order])


def _is_unknown(label: str) -> bool:
    return label == "0" or label.lower() in MISSING_CODES


def _parents(table: Table, names: Sequence[str], sire: str, dam: str) -> list[list[str]]:
    """Names of the sires and of the dams, empty where unknown."""
    parents: list[list[str]] = []
    for column, role in ((sire, "sire"), (dam, "dam")):
        labels = table.identifiers(column, role, allow_missing=True)
        parents.append(["" if _is_unknown(label) else label for label in labels])
        for position, (name, label) in enumerate(zip(names, parents[-1], strict=True)):
            if name == label:
                raise DataError(
                    f"{table.name} has {name!r} as its own {role} in {table.row(position)}: correct the {role}."
                )
    return parents


def _refuse_both_sexes(table: Table, parents: Sequence[Sequence[str]]) -> None:
    sires, dams = ({label: row for row, label in reversed(list(enumerate(side))) if label} for side in parents)
    both = sorted(set(sires) & set(dams), key=lambda label: (min(sires[label], dams[label]), label))
    if both:
        first = both[0]
        more = f" In all, {len(both)} individuals are both: {list_names(both)}." if len(both) > 1 else ""
        raise DataError(
            f"{table.name} has {first!r} as a sire in {table.row(sires[first])} and as a dam in "
            f"{table.row(dams[first])}: with separate sexes an individual is one or the other.{more}"
        )


def _generations(table: Table, names: Sequence[str], selfing: str | float | None, n: int) -> np.ndarray:
    """Generations of selfing of every individual."""
    if selfing is None:
        return np.zeros(n)
    if not isinstance(selfing, str):
        if not isinstance(selfing, (int, float, np.integer)) or not float(selfing).is_integer() or selfing < 0:
            raise UsageError(f"selfing must be a column or a whole number of generations, got {selfing!r}.")
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


def _walk_up(pedigree: _Pedigree) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal of A and variances of Mendelian sampling, by Meuwissen and Luo's way with selfing brought in."""
    pairs = [(int(first), int(second)) for first, second in pedigree.parents]
    diagonal: list[float] = []
    sampling: list[float] = []
    known: dict[tuple[int, int], float] = {}  # full sibs share their parents' variance
    for pair, rest in zip(pairs, pedigree.rest.tolist(), strict=True):
        first, second = pair = (min(pair), max(pair))
        variance = known.get(pair)
        if variance is None:
            variance = known[pair] = _mean_variance(pair, pairs, sampling)
        of_parents = 0.0
        if first >= 0:
            of_parents = max(0.0, variance - 0.25 * (diagonal[first] + diagonal[second]))
        diagonal.append(2.0 - (1.0 - of_parents) * rest)
        sampling.append(diagonal[-1] - variance)
    return np.array(diagonal), np.array(sampling)


def _mean_variance(pair: tuple[int, int], pairs: Sequence[tuple[int, int]], sampling: Sequence[float]) -> float:
    """Variance of the parents' mean, the sum over their ancestors of t^2 d."""
    share: dict[int, float] = {}
    queue: list[int] = []  # negative, as the youngest has to come first

    def pass_on(parents: tuple[int, int], half: float) -> None:
        for parent in parents:
            if parent < 0:
                continue
            if parent not in share:
                share[parent] = 0.0
                heapq.heappush(queue, -parent)
            share[parent] += half

    pass_on(pair, 0.5)
    variance = 0.0
    while queue:
        ancestor = -heapq.heappop(queue)
        part = share.pop(ancestor)
        variance += part * part * sampling[ancestor]
        pass_on(pairs[ancestor], 0.5 * part)
    return variance
