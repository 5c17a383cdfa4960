"""Elimination tree of a sparse symmetric matrix, and supernodes: columns of its factor that are stored as one block.

The tree and its columns' counts follow Liu (1990, SIAM J. Matrix Anal. Appl. 11:134-172), merging as in CHOLMOD (Chen,
Davis, Hager and Rajamanickam 2008, ACM Trans. Math. Softw. 35:22).
"""

from __future__ import annotations

import numpy as np

from bmtme.linalg.compile import compiled

#: Widest supernode. Wider ones are a chain of these: products stay products of whole blocks in memory.
WIDTH = 256


@compiled()
def mirror_pattern(start, rows):
    """The full pattern without its diagonal, of the lower triangle by columns: where rows begin, and their columns."""
    n = start.shape[0] - 1
    full = np.zeros(n + 1, np.int64)
    for j in range(n):
        for u in range(start[j], start[j + 1]):
            if rows[u] != j:
                full[j + 1] += 1
                full[rows[u] + 1] += 1
    for j in range(n):
        full[j + 1] += full[j]
    free = full[:n].copy()
    columns = np.empty(full[n], np.int64)
    for j in range(n):
        for u in range(start[j], start[j + 1]):
            i = rows[u]
            if i != j:
                columns[free[j]] = i
                columns[free[i]] = j
                free[j] += 1
                free[i] += 1
    return full, columns


@compiled()
def list_earlier(start, neighbours, order, rank):
    """Of each row in the new order, the earlier rows beside it: where they begin, and the rows."""
    n = order.shape[0]
    begin = np.zeros(n + 1, np.int64)
    earlier = np.empty(start[n] // 2, np.int64)
    k = 0
    for i in range(n):
        for u in range(start[order[i]], start[order[i] + 1]):
            if rank[neighbours[u]] < i:
                earlier[k] = rank[neighbours[u]]
                k += 1
        begin[i + 1] = k
    return begin, earlier


@compiled()
def find_parents(begin, earlier):
    """Parent of each column in the elimination tree, -1 of a root: the first row below the diagonal of its column."""
    n = begin.shape[0] - 1
    parent = np.full(n, -1, np.int64)
    ancestor = np.full(n, -1, np.int64)  # shortcuts to the top
    for i in range(n):
        for u in range(begin[i], begin[i + 1]):
            k = earlier[u]
            while k != -1 and k < i:
                above = ancestor[k]
                ancestor[k] = i
                if above == -1:
                    parent[k] = i
                k = above
    return parent


@compiled()
def count_columns(begin, earlier, parent):
    """Entries of each column of the factor, the diagonal among them."""
    n = parent.shape[0]
    count = np.ones(n, np.int64)
    seen = np.full(n, -1, np.int64)
    for i in range(n):
        seen[i] = i
        for u in range(begin[i], begin[i + 1]):
            k = earlier[u]
            while seen[k] != i:
                seen[k] = i
                count[k] += 1
                k = parent[k]
    return count


@compiled()
def order_tree(parent, length, longest_last):
    """Postorder of a tree: of the children of each, the longest comes last, or first."""
    n = parent.shape[0]
    child, sibling = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    # A list of children for each parent, the longest first.
    for j in range(n):
        q = parent[j]
        if q == -1:
            continue
        if child[q] == -1 or length[j] >= length[child[q]]:
            sibling[j] = child[q]
            child[q] = j
        else:
            sibling[j] = sibling[child[q]]
            sibling[child[q]] = j
    order = np.empty(n, np.int64)
    stack = np.empty(n, np.int64)
    k = n
    for root in range(n - 1, -1, -1):
        if parent[root] != -1:
            continue
        top = 0
        stack[0] = root
        # Backwards: a parent, then its children from the last to the first.
        while top >= 0:
            j = stack[top]
            top -= 1
            k -= 1
            order[k] = j
            first = top + 1
            c = child[j]
            while c != -1:
                top += 1
                stack[top] = c
                c = sibling[c]
            if longest_last and first < top:  # to the top of the stack
                stack[first], stack[top] = stack[top], stack[first]
    return order


@compiled()
def order_supernodes(start, rows, parent):
    """Postorder of supernodes, the largest child first, so that little waits on the stacks of fronts.

    Returns
    -------
    start, rows : of the supernodes in their new order
    order : (n,) int array
        The columns in their new order.
    """
    m, n = rows.shape[0], parent.shape[0]
    owner, above = np.empty(n, np.int64), np.full(m, -1, np.int64)
    for s in range(m):
        for j in range(start[s], start[s + 1]):
            owner[j] = s
    for s in range(m):
        q = parent[start[s + 1] - 1]
        if q >= 0:
            above[s] = owner[q]
    turn = order_tree(above, rows, False)
    begin, sizes, order = np.zeros(m + 1, np.int64), np.empty(m, np.int64), np.empty(n, np.int64)
    for k in range(m):
        s = turn[k]
        sizes[k] = rows[s]
        begin[k + 1] = begin[k] + start[s + 1] - start[s]
        for j in range(start[s], start[s + 1]):
            order[begin[k] + j - start[s]] = j
    return begin, sizes, order


@compiled()
def is_worth(columns, rows, zeros):
    """Whether a block of so many columns and rows may hold so many zeros."""
    if zeros == 0:
        return True
    total = columns * rows - columns * (columns - 1) // 2
    if columns <= 4:
        return zeros < 0.8 * total
    if columns <= 16:
        return zeros < 0.5 * total
    if columns <= 48:
        return zeros < 0.15 * total
    return zeros < 0.05 * total


@compiled()
def form_supernodes(parent, count):
    """Group the columns of a postordered tree.

    Columns with the same rows below the diagonal are a supernode; it takes in the child before it where that stores few
    zeros, up to `WIDTH`; what is wider, and stores none, is cut.

    Returns
    -------
    start : (m + 1,) int array
        First column of each supernode, and n.
    rows : (m,) int array
        Rows of each, those of its own columns among them.
    """
    n = parent.shape[0]
    start, rows = np.empty(n + 1, np.int64), np.empty(n, np.int64)
    end, zeros = np.empty(n, np.int64), np.empty(n, np.int64)
    top = -1
    j = 0
    while j < n:
        top += 1
        start[top], rows[top], zeros[top] = j, count[j], 0
        j += 1
        while j < n and parent[j - 1] == j and count[j] == count[j - 1] - 1:
            j += 1
        end[top] = j
        while top > 0 and parent[end[top - 1] - 1] == start[top]:
            width = end[top - 1] - start[top - 1]
            both = width + rows[top]
            stored = zeros[top - 1] + zeros[top] + width * (both - rows[top - 1])
            # Pieces of one with zeros would lack rows that its later columns have: only exact ones may be cut.
            if stored > 0 and end[top] - start[top - 1] > WIDTH:
                break
            if not is_worth(end[top] - start[top - 1], both, stored):
                break
            top -= 1
            end[top], rows[top], zeros[top] = end[top + 1], both, stored
    pieces = 0
    for s in range(top + 1):
        pieces += (end[s] - start[s] + WIDTH - 1) // WIDTH
    cut, left = np.empty(pieces + 1, np.int64), np.empty(pieces, np.int64)
    k = 0
    for s in range(top + 1):
        width = end[s] - start[s]
        parts = (width + WIDTH - 1) // WIDTH
        for part in range(parts):
            offset = part * width // parts
            cut[k], left[k] = start[s] + offset, rows[s] - offset
            k += 1
    cut[k] = n
    return cut, left
