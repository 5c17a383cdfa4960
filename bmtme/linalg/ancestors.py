"""Diagonal of the additive relationship matrix of a pedigree, and Mendelian sampling variances, without the matrix.

Meuwissen and Luo (1992, Genet. Sel. Evol. 24:305-313), with generations of selfing brought in.
"""

from __future__ import annotations

import numpy as np

from bmtme.linalg.compile import compiled


@compiled()
def push(heap, size, value):
    """Put a value into a heap of `size` values, the largest first."""
    i = size
    while i > 0 and heap[(i - 1) // 2] < value:
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = value


@compiled()
def pop(heap, size):
    """Take the largest of `size` values."""
    largest, value = heap[0], heap[size - 1]
    i = 0
    while 2 * i + 1 < size - 1:
        c = 2 * i + 1
        if c + 1 < size - 1 and heap[c + 1] > heap[c]:
            c += 1
        if heap[c] <= value:
            break
        heap[i] = heap[c]
        i = c
    heap[i] = value
    return largest


@compiled()
def measure_mean(parents, i, sampling, share, heap):
    """Variance of the mean of the parents of i: the sum of t^2 d over their ancestors, from the youngest up."""
    size, variance = 0, 0.0
    child, part = i, 1.0
    while True:
        half = 0.5 * part
        for side in range(2):
            a = parents[child, side]
            if a >= 0 and half > 0.0:  # after a thousand generations nothing is left
                if share[a] == 0.0:
                    push(heap, size, a)
                    size += 1
                share[a] += half
        if size == 0:
            return variance
        child = pop(heap, size)
        size -= 1
        part = share[child]
        share[child] = 0.0
        variance += part * part * sampling[child]


@compiled()
def walk_up(parents, rest, family, families):
    """Diagonal of A and variances of Mendelian sampling.

    Parameters
    ----------
    parents : (n, 2) int array
        Of individuals that are numbered after their parents; -1 where unknown.
    rest : (n,) array
        Share of the heterozygosity that selfing has left.
    family : (n,) int array
        Number of each individual's pair of parents: full sibs share the variance of their parents' mean.
    families : int
        How many pairs there are.

    Returns
    -------
    diagonal, sampling : (n,) arrays
    """
    n = parents.shape[0]
    diagonal, sampling, share = np.zeros(n), np.zeros(n), np.zeros(n)
    heap = np.empty(n, np.int64)
    known = np.full(families, -1.0)
    for i in range(n):
        if known[family[i]] < 0.0:
            known[family[i]] = measure_mean(parents, i, sampling, share, heap)
        variance = known[family[i]]
        of_parents = 0.0
        first, second = parents[i, 0], parents[i, 1]
        if first >= 0 and second >= 0:
            of_parents = max(0.0, variance - 0.25 * (diagonal[first] + diagonal[second]))
        diagonal[i] = 2.0 - (1.0 - of_parents) * rest[i]
        sampling[i] = diagonal[i] - variance
    return diagonal, sampling
