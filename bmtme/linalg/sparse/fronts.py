"""Fronts: of each supernode, the rows that its elimination concerns, and where they lie in the front of its parent.

The front of a supernode is a dense symmetric matrix, over its own columns and the rows below them. What its
elimination leaves of the latter, its update, is added to the front of its parent (the multifrontal method: Liu 1992,
SIAM Review 34:82-109). Supernodes stand in postorder, so that updates wait on a stack.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bmtme.linalg.compile import compiled


class Fronts(NamedTuple):
    """What the pattern decides; m supernodes of n equations in elimination order."""

    start: np.ndarray  # (m + 1,) first equation of each, and n
    parent: np.ndarray  # (m,) -1 of a root
    row_start: np.ndarray  # (m + 1,) where its rows begin in `rows`
    rows: np.ndarray  # equations, its own first, each list ascending
    place: np.ndarray  # of the rows below its own: where they are among the parent's
    panel: np.ndarray  # (m + 1,) where its columns, rows by columns, begin in the factor
    entry_start: np.ndarray  # (n + 1,) where the matrix's entries of a column begin
    source: np.ndarray  # of an entry, its place among the values
    entry_row: np.ndarray  # of an entry, its row within the front


@compiled()
def list_entries(start, rows, rank):
    """Entries of the lower triangle by their columns in elimination order: where they begin, place, row."""
    n = start.shape[0] - 1
    begin = np.zeros(n + 1, np.int64)
    for j in range(n):
        for u in range(start[j], start[j + 1]):
            begin[min(rank[j], rank[rows[u]]) + 1] += 1
    for j in range(n):
        begin[j + 1] += begin[j]
    free = begin[:n].copy()
    source, row = np.empty(start[n], np.int64), np.empty(start[n], np.int64)
    for j in range(n):
        for u in range(start[j], start[j + 1]):
            a, b = rank[j], rank[rows[u]]
            k = free[min(a, b)]
            source[k], row[k] = u, max(a, b)
            free[min(a, b)] += 1
    return begin, source, row


@compiled()
def sift_down(a, first, i, n):
    """Let entry i of the n entries from `first` on sink to its place in a heap."""
    while 2 * i + 1 < n:
        c = 2 * i + 1
        if c + 1 < n and a[first + c + 1] > a[first + c]:
            c += 1
        if a[first + c] <= a[first + i]:
            return
        a[first + i], a[first + c] = a[first + c], a[first + i]
        i = c


@compiled()
def sort(a, first, last):
    """Sort a[first:last] in place: a heap, as `np.sort` takes ten times as long to compile."""
    n = last - first
    for i in range(n // 2 - 1, -1, -1):
        sift_down(a, first, i, n)
    for k in range(n - 1, 0, -1):
        a[first], a[first + k] = a[first + k], a[first]
        sift_down(a, first, 0, k)


@compiled()
def build_fronts(start, sizes, entry_start, source, entry_row):
    """List the rows of every front, those of its entries and of the updates of its children."""
    m, n = sizes.shape[0], entry_start.shape[0] - 1
    row_start, panel = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    for s in range(m):
        row_start[s + 1] = row_start[s] + sizes[s]
        panel[s + 1] = panel[s] + sizes[s] * (start[s + 1] - start[s])
    owner = np.empty(n, np.int64)
    for s in range(m):
        owner[start[s] : start[s + 1]] = s
    rows, place = np.empty(row_start[m], np.int64), np.full(row_start[m], -1, np.int64)
    parent, child, sibling = np.full(m, -1, np.int64), np.full(m, -1, np.int64), np.full(m, -1, np.int64)
    seen, where = np.full(n, -1, np.int64), np.empty(n, np.int64)
    local = np.empty(entry_row.shape[0], np.int64)
    for s in range(m):
        k = row_start[s]
        for j in range(start[s], start[s + 1]):
            seen[j] = s
            rows[k] = j
            k += 1
        below = k
        for u in range(entry_start[start[s]], entry_start[start[s + 1]]):
            i = entry_row[u]
            if seen[i] != s:
                seen[i] = s
                rows[k] = i
                k += 1
        c = child[s]
        while c != -1:
            for u in range(row_start[c] + start[c + 1] - start[c], row_start[c + 1]):
                i = rows[u]
                if seen[i] != s:
                    seen[i] = s
                    rows[k] = i
                    k += 1
            c = sibling[c]
        sort(rows, below, k)
        for u in range(row_start[s], k):
            where[rows[u]] = u - row_start[s]
        for u in range(entry_start[start[s]], entry_start[start[s + 1]]):
            local[u] = where[entry_row[u]]
        c = child[s]
        while c != -1:
            for u in range(row_start[c] + start[c + 1] - start[c], row_start[c + 1]):
                place[u] = where[rows[u]]
            c = sibling[c]
        if k > below:
            parent[s] = owner[rows[below]]
            sibling[s] = child[parent[s]]
            child[parent[s]] = s
    return Fronts(start, parent, row_start, rows, place, panel, entry_start, source, local)


@compiled()
def measure(f, s):
    """Columns of supernode s, and rows below them."""
    columns = f.start[s + 1] - f.start[s]
    return columns, f.row_start[s + 1] - f.row_start[s] - columns


@compiled()
def measure_updates(f):
    """Numbers that wait at most on the stack of `factor_fronts`."""
    m = f.parent.shape[0]
    begin = np.full(m, -1, np.int64)
    top, most = 0, 0
    for s in range(m):
        _, below = measure(f, s)
        if begin[s] < 0:
            begin[s] = top
        top = begin[s] + below * below
        most = max(most, top)
        if below > 0:
            _, rest = measure(f, f.parent[s])
            if begin[f.parent[s]] < 0:
                most = max(most, top + rest * rest)
                begin[f.parent[s]] = begin[s]
                top = begin[s] + rest * rest
            else:
                top = begin[s]
    return most


@compiled()
def count_children(f):
    """Children of every supernode."""
    count = np.zeros(f.parent.shape[0], np.int64)
    for s in range(f.parent.shape[0]):
        if f.parent[s] >= 0:
            count[f.parent[s]] += 1
    return count


@compiled()
def measure_inverses(f):
    """Numbers that are kept at most on the stack of `invert_fronts`."""
    m = f.parent.shape[0]
    left, begin = count_children(f), np.zeros(m, np.int64)
    top, most = 0, 0
    for s in range(m - 1, -1, -1):
        columns, below = measure(f, s)
        q = f.parent[s]
        most = max(most, top + below * below)
        if q >= 0:
            left[q] -= 1
            if left[q] == 0:
                top = begin[q]
        begin[s] = top
        size = below * below + columns * (columns + below)
        most = max(most, top + size)
        if left[s] > 0:
            top += size
    return most
