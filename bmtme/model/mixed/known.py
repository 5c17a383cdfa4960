"""Relationships that a model is given by name, as sparse or dense inverses over their levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse as sp

from bmtme.arguments import show
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.relationship.pedigree import PedigreeInverse, pedigree_inverse
from bmtme.errors import DataError, UsageError
from bmtme.words import describe_matches, list_names, match_look_alikes

__all__ = ["Precision", "check_known", "invert_known", "match_levels", "read_known"]

#: Eigenvalues, or pivots, below this share of the largest are none.
SINGULAR = 1e-10
PARENTS = ("id", "sire", "dam")


@dataclass(frozen=True, eq=False)
class Precision:
    """Inverse of a relationship.

    Attributes
    ----------
    matrix : (n, n) scipy.sparse.csr_array
    log_det : float
        Of the relationship, not of its inverse.
    levels : tuple of str
        In the order of its rows.
    diagonal : (n,) float array
        Of the relationship.
    """

    matrix: sp.csr_array
    log_det: float
    levels: tuple[str, ...]
    diagonal: np.ndarray


def check_known(known: Any) -> dict[str, Any]:
    """The relationships by the factor that they are for, each of a type that is read.

    Raises
    ------
    UsageError
    """
    if known is None:
        return {}
    if not isinstance(known, Mapping):
        raise UsageError(f'known must be a dict of relationships by factor, as in {{"line": A}}, got {show(known)}.')
    for name, value in known.items():
        if not isinstance(value, (Relationship, PedigreeInverse, pd.DataFrame)):
            raise UsageError(
                f"known[{name!r}] must be a Relationship, a labelled square DataFrame, the inverse of "
                f"bmtme.pedigree_inverse, or a pedigree with the columns id, sire and dam, got {type(value).__name__}."
            )
    return dict(known)


def read_known(value: Any, name: str) -> Relationship | PedigreeInverse:
    """What a relationship is given as.

    Parameters
    ----------
    value : Relationship, DataFrame or PedigreeInverse
        A DataFrame is a relationship with names in its index and columns, or a pedigree with the columns id, sire and
        dam (of plants, too: an individual may be both a sire and a dam).
    name : str
        The factor, for messages.

    Raises
    ------
    DataError
        If it is none.
    """
    if not isinstance(value, pd.DataFrame):
        return value
    columns = {str(column).strip() for column in value.columns}
    if set(PARENTS) <= columns:
        return pedigree_inverse(value, *PARENTS, separate_sexes=False)
    if len(columns) == 3 and len(value) != 3:
        raise DataError(
            f"known[{name!r}] is a table with the columns {list_names(value.columns)}: name those of a pedigree "
            "id, sire and dam; a relationship is square, with names in its index and columns."
        )
    return Relationship(value)


def invert_known(value: Any, name: str) -> Precision:
    """The inverse of a relationship, given as for `read_known`.

    Raises
    ------
    DataError
        If it has no inverse.
    """
    value = read_known(value, name)
    if isinstance(value, PedigreeInverse):
        return Precision(sp.csr_array(value.matrix), value.log_determinant, value.lines, 1.0 + value.inbreeding)
    if value.is_identity:
        n = len(value)
        return Precision(sp.csr_array(sp.eye_array(n)), 0.0, value.lines, np.ones(n))
    return _invert_dense(value, name)


def _invert_dense(value: Relationship, name: str) -> Precision:
    matrix = value.matrix
    values, vectors = scipy.linalg.eigh(matrix)
    if values[0] <= SINGULAR * values[-1]:
        low = int(np.sum(values <= SINGULAR * values[-1]))
        raise DataError(
            f"The relationship known[{name!r}] of {len(value):,} levels has no inverse: {low:,} of its eigenvalues "
            f"{'is' if low == 1 else 'are'} zero or negative (the smallest {values[0]:.3g}, the largest "
            f"{values[-1]:.3g}), as with clones, or markers that are centred or fewer than lines. Blend it: "
            "relationship.blend(0.01), or bend it: relationship.bend()."
        )
    inverse = (vectors / values) @ vectors.T
    return Precision(
        sp.csr_array((inverse + inverse.T) / 2), float(np.log(values).sum()), value.lines, np.diag(matrix).copy()
    )


def match_levels(precision: Precision, levels: tuple[str, ...], term: str, name: str) -> np.ndarray:
    """Places of the levels of a factor in its relationship.

    Raises
    ------
    DataError
        With the levels that have no entry.
    """
    place = {level: j for j, level in enumerate(precision.levels)}
    missing = [level for level in levels if level not in place]
    if missing:
        close = describe_matches(match_look_alikes(missing, precision.levels))
        raise DataError(
            f"{len(missing):,} of {len(levels):,} levels of {name!r} have no entry in the relationship known[{name!r}] "
            f"of the random term {term}: {list_names(missing)}{f' ({close})' if close else ''}. Correct the names, add "
            "them to the relationship (a pedigree needs a row for each individual with a record, with its parents, and "
            "not for the parents alone), or leave their rows out."
        )
    return np.array([place[level] for level in levels], dtype=np.int64)
