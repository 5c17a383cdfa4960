"""Relationships from pedigrees: the additive relationship matrix with inbreeding, and its sparse inverse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse

from bmtme.arguments import check_memory
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.relationship.pedigree_table import Codes, number_pedigree
from bmtme.errors import DataError

__all__ = ["PedigreeInverse", "pedigree_inverse", "pedigree_relationship"]

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
    log_determinant : float
        Of A.
    """

    matrix: scipy.sparse.csc_array
    lines: tuple[str, ...]
    inbreeding: np.ndarray
    log_determinant: float


def pedigree_relationship(
    frame: pd.DataFrame,
    id: str = "id",
    sire: str = "sire",
    dam: str = "dam",
    *,
    selfing: str | float | None = None,
    separate_sexes: bool = True,
    missing: Codes | None = None,
    founders: Iterable[str] = (),
) -> Relationship:
    r"""Additive relationship (numerator relationship matrix A) of the individuals of a pedigree.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per individual, in any order.
    id, sire, dam : str
        Columns with the individual and its parents. An unknown parent is 0, empty, a missing value, a word such as NA,
        ``unknown``, ``none`` or ``missing``, -1, -9, -99 and so on, or signs alone such as ``.``, ``*``, ``?``, ``-``.
    selfing : str or int, optional
        Generations of selfing, by single seeds, between the cross and the line that was grown: a column (an empty cell
        is 0, and so are founders without a row) or one number for all individuals, founders too. A doubled haploid is
        as good as 50 generations.
    separate_sexes : bool
        Whether an individual that is both a sire and a dam is an error, as it is of most animals. With False, for
        plants, it may be either in different rows, or both parents of one offspring (selfing); so it may with
        `selfing`, where nothing is asked about sexes.
    missing : str, number or list of these, optional
        Further codes for an unknown parent, such as ``["open", 999]``; a number stands for every way to write it.
    founders : iterable of str, optional
        Lines that are to have a relationship, such as those of a trial: one that the pedigree does not mention becomes
        a founder, unrelated to all others.

    Returns
    -------
    Relationship
        Of the individuals in the order of the rows, followed by founders that are mentioned as parents only, in order
        of first mention, and then by those of `founders`.

    Warns
    -----
    UserWarning
        Of a parent without a row of its own whose name may stand for an unknown one or for many, such as 999 or
        ``bulk``.

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
    pedigree = number_pedigree(frame, id, sire, dam, selfing, separate_sexes, missing, founders)
    n = len(pedigree.names)
    check_memory(16.0 * n**2, f"a relationship matrix of {n:,} individuals")
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
    separate_sexes: bool = True,
    missing: Codes | None = None,
    founders: Iterable[str] = (),
) -> PedigreeInverse:
    r"""Inverse of the additive relationship matrix, sparse, without forming the matrix.

    Parameters
    ----------
    frame, id, sire, dam, selfing, separate_sexes, missing, founders
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
    :math:`a_{sd}`, the inbreeding, and :math:`d_i`. :math:`|A|` is the product of all :math:`d_i`.
    """
    pedigree = number_pedigree(frame, id, sire, dam, selfing, separate_sexes, missing, founders)
    diagonal, sampling = measure_sampling(pedigree.parents, pedigree.rest)
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
    return PedigreeInverse(matrix, pedigree.names, inbreeding, float(np.log(sampling).sum()))


def measure_sampling(parents: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal of A and variances of Mendelian sampling, both (n,), of individuals numbered after their parents.

    Parameters
    ----------
    parents : (n, 2) int array
        -1 where unknown.
    rest : (n,) array
        Share of the heterozygosity that selfing has left, 1 without selfing.
    """
    from bmtme.linalg.ancestors import walk_up

    pairs = np.sort(parents, axis=1)
    codes, family = np.unique(pairs[:, 0] * np.int64(len(pairs) + 1) + pairs[:, 1], return_inverse=True)
    diagonal, sampling = walk_up(np.ascontiguousarray(parents, dtype=np.int64), rest, family, len(codes))
    return diagonal, sampling
