"""Approximate minimum degree ordering of a symmetric pattern (Amestoy, Davis and Duff 1996).

Eliminating a variable makes its neighbours a clique. A quotient graph keeps the clique as one element, the list of its
variables, so that elimination never needs more room than the pattern itself. SIAM J. Matrix Anal. Appl. 17:886-905.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled

#: Variables with more neighbours than this times the square root of n are left for the end, as their lists cost more to
#: look through than their place in the order is worth (an overall mean beside a hundred thousand animals).
DENSE = 10.0


# Rows of a quotient graph g; variables and elements share one numbering, as an element has the number of its pivot.
(
    FIRST,  # where the list of a variable or an element begins in the store
    LENGTH,  # of these lists
    ELEMENTS,  # how many of a variable's list are elements; they come first
    SIZE,  # rows that a variable stands for; 0 where it is gone
    SPAN,  # rows in an element; 0 where there is none
    SEEN,  # number of the latest list that held it
    REST,  # of an element, rows outside of the new one, above a base that grows
    NEXT,  # variables that were merged, as chains
    LAST,  # ends of these chains
) = range(9)
# Rows of the buckets b, variables by their degree in lists that go both ways.
DEGREE, HEAD, AFTER, BEFORE = range(4)


@compiled()
def put_in(b, i, degree):
    """Variable i into the bucket of its degree."""
    b[DEGREE, i] = degree
    b[BEFORE, i] = -1
    b[AFTER, i] = b[HEAD, degree]
    if b[HEAD, degree] != -1:
        b[BEFORE, b[HEAD, degree]] = i
    b[HEAD, degree] = i


@compiled()
def take_out(b, i):
    """Variable i out of its bucket."""
    if b[BEFORE, i] != -1:
        b[AFTER, b[BEFORE, i]] = b[AFTER, i]
    else:
        b[HEAD, b[DEGREE, i]] = b[AFTER, i]
    if b[AFTER, i] != -1:
        b[BEFORE, b[AFTER, i]] = b[BEFORE, i]


@compiled()
def compress(g, store, used):
    """Move the lists that are in use to the front of the store; where its free part begins."""
    n = g.shape[1]
    for i in range(n):
        if (g[SIZE, i] > 0 or g[SPAN, i] > 0) and g[LENGTH, i] > 0:
            begin = g[FIRST, i]
            g[FIRST, i] = store[begin]  # the first entry is kept here, and its place shows whose list begins
            store[begin] = -1 - i
    free = 0
    u = 0
    while u < used:
        i = -1 - store[u]
        if i < 0:
            u += 1
            continue
        store[free] = g[FIRST, i]
        g[FIRST, i] = free
        for v in range(1, g[LENGTH, i]):
            store[free + v] = store[u + v]
        free += g[LENGTH, i]
        u += g[LENGTH, i]
    return free


@compiled()
def form_element(g, store, p, stamp, free):
    """List the variables beside the pivot p from `free` on: the end of the list, and how many rows they stand for.

    The elements beside it are part of the new one, and gone.
    """
    weight = 0
    middle = g[FIRST, p] + g[ELEMENTS, p]
    for u in range(middle, g[FIRST, p] + g[LENGTH, p]):
        i = store[u]
        if g[SIZE, i] > 0 and g[SEEN, i] != stamp:
            g[SEEN, i] = stamp
            weight += g[SIZE, i]
            store[free] = i
            free += 1
    for u in range(g[FIRST, p], middle):
        e = store[u]
        if g[SPAN, e] == 0:
            continue
        for v in range(g[FIRST, e], g[FIRST, e] + g[LENGTH, e]):
            i = store[v]
            if g[SIZE, i] > 0 and g[SEEN, i] != stamp:
                g[SEEN, i] = stamp
                weight += g[SIZE, i]
                store[free] = i
                free += 1
        g[SPAN, e] = 0
    return free, weight


@compiled()
def measure_rests(g, store, begin, end, base):
    """Rows of every element beside the new one that are outside of it, plus `base`; the largest element."""
    largest = 0
    for u in range(begin, end):
        i = store[u]
        for v in range(g[FIRST, i], g[FIRST, i] + g[ELEMENTS, i]):
            e = store[v]
            if g[SPAN, e] > 0:
                if g[REST, e] < base:
                    g[REST, e] = g[SPAN, e] + base
                    largest = max(largest, g[SPAN, e])
                g[REST, e] -= g[SIZE, i]
    return largest


@compiled()
def renew_list(g, store, i, p, stamp, base):
    """Put the new element p into the list of variable i, and drop what is in p: rows outside of p, and a hash."""
    begin = g[FIRST, i]
    middle, end = begin + g[ELEMENTS, i], begin + g[LENGTH, i]
    outside, code = 0, p
    q = begin
    for u in range(begin, middle):
        e = store[u]
        if g[SPAN, e] > 0:
            beyond = g[REST, e] - base
            if beyond > 0:
                outside += beyond
                code += e
                store[q] = e
                q += 1
            else:
                g[SPAN, e] = 0  # all of it is in p
    n_elements = q - begin
    for u in range(middle, end):
        j = store[u]
        if g[SIZE, j] > 0 and g[SEEN, j] != stamp:
            outside += g[SIZE, j]
            code += j
            store[q] = j
            q += 1
    # The list is shorter than it was, by the pivot or an element that the pivot took in: there is room for p.
    if q > begin + n_elements:
        store[q] = store[begin + n_elements]
    store[begin + n_elements] = p
    g[ELEMENTS, i] = n_elements + 1
    g[LENGTH, i] = q + 1 - begin
    return outside, code


@compiled()
def merge_alike(g, store, i, link, stamp):
    """Merge variables of the chain behind i in `link` into i where their lists are the same."""
    for u in range(g[FIRST, i], g[FIRST, i] + g[LENGTH, i]):
        g[SEEN, store[u]] = stamp
    before = i
    j = link[i]
    while j != -1:
        same = g[LENGTH, j] == g[LENGTH, i] and g[ELEMENTS, j] == g[ELEMENTS, i]
        if same:
            for u in range(g[FIRST, j], g[FIRST, j] + g[LENGTH, j]):
                if g[SEEN, store[u]] != stamp:
                    same = False
                    break
        if same:
            g[SIZE, i] += g[SIZE, j]
            g[SIZE, j] = 0
            g[NEXT, g[LAST, i]] = j
            g[LAST, i] = g[LAST, j]
            link[before] = link[j]
        else:
            before = j
        j = link[j]


@compiled()
def write_members(g, i, order, k):
    """Write the rows that variable i stands for into `order` from k on; the next free place."""
    while i != -1:
        order[k] = i
        k += 1
        i = g[NEXT, i]
    return k


@compiled()
def set_dense_aside(g, store):
    """Take variables with very many neighbours out of the graph; how many stay."""
    n = g.shape[1]
    most = max(16, int(DENSE * math.sqrt(n)))
    left = n
    for i in range(n):
        if g[LENGTH, i] > most:
            g[SIZE, i] = 0
            left -= 1
    if left < n:
        for i in range(n):
            q = g[FIRST, i]
            for u in range(g[FIRST, i], g[FIRST, i] + g[LENGTH, i]):
                if g[SIZE, store[u]] > 0:
                    store[q] = store[u]
                    q += 1
            g[LENGTH, i] = q - g[FIRST, i]
    return left


@compiled()
def order_pivots(start, neighbours):
    """Order in which elimination fills in little.

    Parameters
    ----------
    start : (n + 1,) int array
    neighbours : int array
        Of row i, neighbours[start[i]:start[i + 1]], without itself; symmetric.

    Returns
    -------
    (n,) int array
        Row of the k-th pivot.
    """
    n = start.shape[0] - 1
    g = np.zeros((9, n), np.int64)
    b = np.full((4, n), -1, np.int64)
    # Lists never grow, and a new element has less than n variables; the rest keeps `compress` rare.
    store = np.zeros(start[n] + start[n] // 5 + 2 * n, np.int64)
    free = start[n]
    for u in range(free):
        store[u] = neighbours[u]
    for i in range(n):
        g[FIRST, i], g[LENGTH, i], g[SIZE, i] = start[i], start[i + 1] - start[i], 1
        g[NEXT, i], g[LAST, i] = -1, i
    left = set_dense_aside(g, store)
    order = np.empty(n, np.int64)
    aside = n
    for i in range(n - 1, -1, -1):
        if g[SIZE, i] > 0:
            put_in(b, i, g[LENGTH, i])
        else:
            aside -= 1
            order[aside] = i
    chain, link = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    codes = np.zeros(n, np.int64)
    k, least, stamp, base = np.int64(0), 0, 0, np.int64(1)  # one type: literals would be compiled for themselves
    while left > 0:
        while b[HEAD, least] == -1:
            least += 1
        p = b[HEAD, least]
        take_out(b, p)
        if free + n > store.shape[0]:
            free = compress(g, store, free)
        stamp += 1
        g[SEEN, p] = stamp
        begin = free
        end, weight = form_element(g, store, p, stamp, begin)
        left -= g[SIZE, p]
        g[SIZE, p] = 0
        k = write_members(g, p, order, k)
        largest = measure_rests(g, store, begin, end, base)
        q = begin
        for u in range(begin, end):
            i = store[u]
            take_out(b, i)
            outside, code = renew_list(g, store, i, p, stamp, base)
            if outside == 0:  # its neighbours are those of p: eliminated with p, it fills in nothing
                weight -= g[SIZE, i]
                left -= g[SIZE, i]
                g[SIZE, i] = 0
                k = write_members(g, i, order, k)
                continue
            b[DEGREE, i] = min(b[DEGREE, i], outside)
            codes[i] = code % n
            store[q] = i
            q += 1
        end = q
        base += largest + 1
        # Variables with one hash are compared.
        for u in range(begin, end):
            i = store[u]
            link[i] = chain[codes[i]]
            chain[codes[i]] = i
        for u in range(begin, end):
            i = chain[codes[store[u]]]
            chain[codes[store[u]]] = -1
            while i != -1 and link[i] != -1:
                stamp += 1
                merge_alike(g, store, i, link, stamp)
                i = link[i]
        q = begin
        for u in range(begin, end):
            i = store[u]
            if g[SIZE, i] > 0:
                put_in(b, i, min(b[DEGREE, i] + weight, left) - g[SIZE, i])
                least = min(least, b[DEGREE, i])
                store[q] = i
                q += 1
        free = q
        g[FIRST, p], g[LENGTH, p], g[ELEMENTS, p], g[SPAN, p] = begin, q - begin, 0, weight
    return order
