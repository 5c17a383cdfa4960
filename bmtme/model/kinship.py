"""Relationships computed from markers (VanRaden) and from pedigrees (with inbreeding)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bmtme.errors import DataError, UsageError
from bmtme.model.cells import MISSING_CODES, first_repeat, number, unique_names
from bmtme.model.relationship import Relationship
from bmtme.model.tables import Table

__all__ = ["pedigree_relationship", "vanraden"]

# Markers come by the hundred thousand; a block of them as floats stays in memory beside the relationship.
_MARKER_BLOCK = 4096


def vanraden(markers_frame: pd.DataFrame, method: int = 1) -> Relationship:
    r"""Genomic relationship of lines from their marker genotypes.

    Parameters
    ----------
    markers_frame : (n, m) pandas.DataFrame
        Lines in rows (their names are the index), markers in columns: copies of one allele, 0, 1 or 2, or a dosage
        between. Missing genotypes (NaN, None, NA) are replaced by the marker's mean.
    method : {1, 2}
        VanRaden's first or second method.

    Returns
    -------
    Relationship
        Of the n lines, in the frame's order.

    Warns
    -----
    UserWarning
        With the number of markers left out because only one allele, or nothing, was seen.

    Raises
    ------
    DataError
        For a code outside 0 to 2 or text (line and marker are named), if no marker with two alleles is left, or if a
        line is named twice.

    Notes
    -----
    With M the n x m codes, :math:`p_k` half the mean of column k and :math:`Z_{jk} = M_{jk} - 2 p_k`, method 1 is
    :math:`G = Z Z' / \sum_k 2 p_k (1 - p_k)` and method 2 is
    :math:`G = \frac{1}{m} \sum_k z_k z_k' / (2 p_k (1 - p_k))` (VanRaden 2008, J. Dairy Sci. 91:4414-4423,
    doi 10.3168/jds.2007-0980), allele frequencies being those of the lines given.
    """
    if not isinstance(markers_frame, pd.DataFrame):
        raise UsageError(f"expected a pandas DataFrame with lines in rows, got {type(markers_frame).__name__}.")
    if method not in (1, 2):
        raise UsageError(f"method must be 1 or 2, got {method!r}.")
    lines = unique_names(markers_frame.index, "the index of the marker frame")
    n_markers = markers_frame.shape[1]
    product = np.zeros((len(lines), len(lines)))
    scale = 0.0
    used = 0
    for start in range(0, n_markers, _MARKER_BLOCK):
        block = markers_frame.iloc[:, start : start + _MARKER_BLOCK]
        codes = _marker_codes(block, lines)
        seen = ~np.isnan(codes)
        n_seen = seen.sum(axis=0)
        total = np.where(seen, codes, 0.0).sum(axis=0)
        frequency = np.divide(total, 2 * n_seen, out=np.zeros(len(total)), where=n_seen > 0)
        polymorphic = (frequency > 0) & (frequency < 1)
        frequency = frequency[polymorphic]
        # Centred first: a missing genotype at the marker's mean is a zero.
        centred = np.where(seen[:, polymorphic], codes[:, polymorphic] - 2 * frequency, 0.0)
        variance = 2 * frequency * (1 - frequency)
        if method == 2:
            centred /= np.sqrt(variance)
            scale += len(variance)
        else:
            scale += variance.sum()
        used += len(variance)
        product += centred @ centred.T
    if not used:
        raise DataError(
            f"None of the {n_markers} markers shows both alleles among the {len(lines)} lines: "
            "no relationship can be computed."
        )
    if used < n_markers:
        warnings.warn(
            f"{n_markers - used} of {n_markers} markers left out: they show only one allele, or no genotype at all, "
            f"among the {len(lines)} lines.",
            stacklevel=2,
        )
    return Relationship(product / scale, lines=lines)


def _marker_codes(block: pd.DataFrame, lines: Sequence[str]) -> np.ndarray:
    """Codes of some markers as floats between 0 and 2, NaN where missing."""
    # Any code that is not plain is read on its own, so that the first bad one can be named.
    try:
        codes = block.to_numpy(dtype=np.float64, na_value=np.nan)
        suspects = np.argwhere((codes < 0) | (codes > 2))
    except (TypeError, ValueError):
        codes = np.empty(block.shape)
        suspects = np.argwhere(np.ones(block.shape, dtype=bool))
    for j, k in suspects:
        place = f"The genotype of line {lines[j]!r} at marker {str(block.columns[k])!r}"
        value = block.iat[j, k]
        try:
            code = number(value)
        except DataError as error:
            raise DataError(f"{place} is {error}: expected 0, 1 or 2, or NaN if missing.") from None
        if code < 0 or code > 2:
            raise DataError(
                f"{place} is {code:.6g}: expected the number of copies of one allele, 0, 1 or 2 (add 1 to "
                "codes -1, 0, 1), or NaN if missing."
            )
        codes[j, k] = code
    return codes


def pedigree_relationship(frame: pd.DataFrame, id: str = "id", sire: str = "sire", dam: str = "dam") -> Relationship:
    r"""Additive relationship (numerator relationship matrix A) of the individuals of a pedigree.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per individual, in any order.
    id, sire, dam : str
        Columns with the individual and its parents. An unknown parent is 0, empty, NA, NaN, ``.`` or a missing value.
        One individual may be sire and dam of different offspring, and both parents of the same one (selfing).

    Returns
    -------
    Relationship
        Of the individuals in the order of the rows, followed by founders that are mentioned as parents only, in order
        of first mention.

    Raises
    ------
    DataError
        If a column is not there, an individual is missing or has two rows, or is its own parent or ancestor; the
        individuals are named.

    Notes
    -----
    Parents s and d before offspring i: :math:`a_{ij} = (a_{sj} + a_{dj}) / 2` and :math:`a_{ii} = 1 + a_{sd} / 2`,
    an unknown parent counting as unrelated (Henderson 1976, Biometrics 32:69-83; the tabular method).
    """
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"expected a pandas DataFrame, got {type(frame).__name__}.")
    table = Table.from_frame(frame, "the pedigree")
    if len({id.strip(), sire.strip(), dam.strip()}) < 3:
        raise DataError(f"id, sire and dam must be different columns, got {id!r}, {sire!r} and {dam!r}.")
    if table.frame.empty:
        raise DataError("the pedigree has no rows: expected one per individual.")
    names = table.identifiers(id.strip(), "id")
    for position, name in enumerate(names):
        if _is_unknown(name):
            raise DataError(
                f"the pedigree has the individual {name!r} in {table.row(position)}, a code for unknown parents: "
                "give it another name."
            )
    repeat = first_repeat(names)
    if repeat is not None:
        raise DataError(
            f"the pedigree has the individual {names[repeat[1]]!r} twice, in {table.row(repeat[0])} and "
            f"{table.row(repeat[1])}: every individual must have one row."
        )
    parents: list[list[str]] = []
    for column, role in ((sire, "sire"), (dam, "dam")):
        labels = table.identifiers(column.strip(), role, allow_missing=True)
        parents.append(["" if _is_unknown(label) else label for label in labels])
        for position, (name, label) in enumerate(zip(names, parents[-1], strict=True)):
            if name == label:
                raise DataError(
                    f"the pedigree has {name!r} as its own {role} in {table.row(position)}: correct the {role}."
                )
    place = {name: j for j, name in enumerate(names)}
    for pair in zip(*parents, strict=True):
        for label in pair:
            if label:
                place.setdefault(label, len(place))
    known = np.full((len(place), 2), -1, dtype=np.int64)
    for side in (0, 1):
        known[: len(names), side] = [place[label] if label else -1 for label in parents[side]]
    individuals = tuple(place)
    return Relationship(_additive(known, _generation_order(known, individuals)), lines=individuals)


def _is_unknown(label: str) -> bool:
    return label == "0" or label.lower() in MISSING_CODES


def _generation_order(parents: np.ndarray, names: Sequence[str]) -> list[int]:
    """Order with parents before offspring; a loop is a DataError that names those on it."""
    offspring: list[list[int]] = [[] for _ in names]
    waiting = np.zeros(len(names), dtype=np.int64)
    for child, pair in enumerate(parents):
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
        chain = " -> ".join(repr(names[j]) for j in [*loop, loop[0]])
        raise DataError(f"the pedigree has a loop, offspring -> parent: {chain}. No one can be its own ancestor.")
    return order


def _find_loop(parents: np.ndarray, stuck: np.ndarray) -> list[int]:
    """Walk up from an individual that could not be placed: each has a parent that could not, until one recurs."""
    path: list[int] = []
    current = int(np.flatnonzero(stuck)[0])
    while current not in path:
        path.append(current)
        current = next(int(parent) for parent in parents[current] if parent >= 0 and stuck[parent])
    return path[path.index(current) :]


def _additive(parents: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Numerator relationship matrix by the tabular method, in the individuals' own numbering."""
    relationship = np.zeros((len(order), len(order)))
    for child in order:
        known = [int(parent) for parent in parents[child] if parent >= 0]
        # Individuals not yet placed have zero rows, so whole rows can be added; their share comes with their turn.
        row = 0.5 * relationship[known].sum(axis=0)
        relationship[child] = row
        relationship[:, child] = row
        relationship[child, child] = 1.0 + (0.5 * relationship[known[0], known[1]] if len(known) == 2 else 0.0)
    return relationship
