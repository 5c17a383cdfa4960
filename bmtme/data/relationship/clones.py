"""Lines that are one genotype by the relationship: clones, doubled samples, one line under two names."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import UsageError

__all__ = ["find_clones", "find_close", "find_same_rows"]

#: A correlation of two lines' genetic values from which on they count as clones: markers have errors.
CLONES = 0.999
#: Share of the mean squared distance of lines beyond which a pair is none: with a matrix that is not centred, all
#: correlations are high.
_NEAR = 0.01
#: Rows of a relationship that differ by less, as a share of the largest diagonal entry, are the same.
_SAME = 1e-8
#: Rows compared at a time.
_BLOCK = 512


def find_clones(relationship: Relationship) -> dict[str, str]:
    r"""Lines that have a clone, each with the first name of its clones.

    Two lines are clones if their rows are alike up to rounding, or if the correlation of their genetic values,
    :math:`G_{jk} / \sqrt{G_{jj} G_{kk}}`, is 0.999 or more and their squared distance
    :math:`G_{jj} + G_{kk} - 2 G_{jk}` at most a hundredth of its mean over all pairs. Clones of one line are clones.

    Parameters
    ----------
    relationship : Relationship

    Returns
    -------
    dict of str to str
        Of each line with a clone, by name, the first name among its clones and itself: groups for `bmtme.NewLines`.

    Raises
    ------
    UsageError
        If `relationship` is something else.
    """
    if not isinstance(relationship, Relationship):
        raise UsageError(f"expected a Relationship, got {type(relationship).__name__}.")
    n = len(relationship)
    if relationship.is_identity or n < 2:
        return {}
    matrix, lines = relationship.matrix, relationship.lines
    a, b = np.nonzero(find_close(matrix, CLONES))
    diagonal = matrix.diagonal()
    # The sum over all pairs is n tr G - 1'G1.
    mean = (n * diagonal.sum() - matrix.sum()) / (n * (n - 1) / 2)
    near = diagonal[a] + diagonal[b] - 2.0 * matrix[a, b] <= _NEAR * mean
    pairs = [*zip(a[near], b[near], strict=True)]
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
