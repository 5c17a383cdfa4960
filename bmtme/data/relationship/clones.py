"""Lines that are one genotype by the relationship: clones, doubled samples, one line under two names."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bmtme.arguments import is_number, show
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import UsageError

__all__ = ["CLONES", "NEARLY_CLONES", "find_clones", "find_close", "find_nearly_clones", "find_same_rows"]

#: A correlation of two lines' genetic values from which on they count as clones: markers have errors.
CLONES = 0.999
#: One from which on they may be clones of which markers were read with errors: of 0.5% of them, it is about 0.99.
NEARLY_CLONES = 0.97
#: Share of the mean squared distance of lines beyond which a pair is none: with a matrix that is not centred, all
#: correlations are high. The share is this or, where lower correlations do, as many times what they lack of 1.
_NEAR, _TIMES = 0.01, 3.0
#: Rows of a relationship that differ by less, as a share of the largest diagonal entry, are the same.
_SAME = 1e-8
#: Rows compared at a time.
_BLOCK = 512


def find_clones(relationship: Relationship, least: float = CLONES) -> dict[str, str]:
    r"""Lines that have a clone, each with the first name of its clones.

    Two lines are clones if their rows are alike up to rounding, or if the correlation of their genetic values,
    :math:`G_{jk} / \sqrt{G_{jj} G_{kk}}`, is `least` or more and their squared distance
    :math:`G_{jj} + G_{kk} - 2 G_{jk}` at most a share of its mean over all pairs: a hundredth, or ``3 (1 - least)``
    if that is more. Clones of one line are clones.

    Parameters
    ----------
    relationship : Relationship
    least : float, default 0.999
        Above 0 and up to 1. Where 0.5% of the genotypes are read wrongly, samples of one line correlate by some 0.99.

    Returns
    -------
    dict of str to str
        Of each line with a clone, by name, the first name among its clones and itself: groups for `bmtme.NewLines` and
        `bmtme.CV1`.

    Raises
    ------
    UsageError
        If `relationship` is something else, or `least` out of range.
    """
    if not isinstance(relationship, Relationship):
        raise UsageError(f"expected a Relationship, got {type(relationship).__name__}.")
    if not is_number(least) or not 0.0 < least <= 1.0:
        raise UsageError(f"least must be a correlation above 0 and up to 1, got {show(least)}: 0.99 is usual.")
    n = len(relationship)
    if relationship.is_identity or n < 2:
        return {}
    matrix, lines = relationship.matrix, relationship.lines
    pairs = [*zip(*_find_pairs(matrix, least), strict=True)]
    pairs += [(group[0], other) for group in find_same_rows(matrix) for other in group[1:]]
    if not pairs:
        return {}
    rows, columns = np.array(pairs).T
    _, part = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n)), directed=False)
    first: dict[int, str] = {}
    groups = {line: int(part[j]) for line, j in sorted(zip(lines, range(n), strict=True))}
    for line, group in groups.items():
        first.setdefault(group, line)
    sizes = np.bincount(part)
    return {line: first[group] for line, group in groups.items() if sizes[group] > 1}


def find_nearly_clones(relationship: Relationship, least: float = NEARLY_CLONES) -> dict[tuple[str, str], float]:
    """Pairs of lines that would be clones by `least`, by name, and the correlation of their genetic values."""
    if relationship.is_identity or len(relationship) < 2:
        return {}
    matrix, lines = relationship.matrix, relationship.lines
    diagonal = matrix.diagonal()
    a, b = _find_pairs(matrix, least)
    correlations = matrix[a, b] / np.sqrt(diagonal[a] * diagonal[b])
    pairs = [sorted((lines[j], lines[k])) for j, k in zip(a, b, strict=True)]
    return {(one, other): float(r) for (one, other), r in sorted(zip(pairs, correlations, strict=True))}


def _find_pairs(matrix: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Places of the pairs that correlate by `least` or more and are near each other."""
    n, diagonal = len(matrix), matrix.diagonal()
    a, b = np.nonzero(find_close(matrix, least))
    # The sum over all pairs is n tr G - 1'G1.
    mean = (n * diagonal.sum() - matrix.sum()) / (n * (n - 1) / 2)
    near = diagonal[a] + diagonal[b] - 2.0 * matrix[a, b] <= max(_NEAR, _TIMES * (1.0 - least)) * mean
    return a[near], b[near]


def find_close(matrix: np.ndarray, least: float) -> np.ndarray:
    """Pairs with a relationship of `least` or more as a correlation: (n, n) bool array, above the diagonal only."""
    root = np.sqrt(matrix.diagonal())
    close = np.empty(matrix.shape, dtype=bool)
    for start in range(0, len(matrix), _BLOCK):
        rows = slice(start, start + _BLOCK)
        close[rows] = matrix[rows] >= least * root[rows, None] * root
    return np.triu(close, 1)


def find_same_rows(matrix: np.ndarray) -> list[list[int]]:
    """Groups of equal rows: neighbours in a random projection, then compared."""
    projection = matrix @ np.random.default_rng(0).standard_normal(len(matrix))
    order = np.argsort(projection, kind="stable")
    limit = _SAME * matrix.diagonal().max()
    groups: list[list[int]] = []
    for before, here in pairwise(order):
        if projection[here] - projection[before] > limit * len(matrix):
            continue
        if np.abs(matrix[here] - matrix[before]).max() <= limit:
            if groups and groups[-1][-1] == before:
                groups[-1].append(int(here))
            else:
                groups.append([int(before), int(here)])
    return [sorted(group) for group in groups]
