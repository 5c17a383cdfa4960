"""Approximate minimum degree ordering of a symmetric pattern (Amestoy, Davis and Duff 1996).

Eliminating a variable makes its neighbours a clique. A quotient graph keeps the clique as one element, the list of its
variables, so that elimination never needs more room than the pattern itself. SIAM J. Matrix Anal. Appl. 17:886-905.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bmtme.linalg.compile import compiled

#: Variables with more neighbours than this times the square root of n are left for the end, as their lists cost more to
#: look through than their place in the order is worth (an overall mean beside a hundred thousand animals).
DENSE = 10.0


class Quotient(NamedTuple):
    """Quotient graph; variables and elements share one numbering, as an element has the number of its pivot."""

    first: np.ndarray  # (n,) where the list of a variable or an element begins in the store
    length: np.ndarray  # (n,) of these lists
    elements: np.ndarray  # (n,) how many of a variable's list are elements; they come first
    size: np.ndarray  # (n,) rows that a variable stands for; 0 where it is gone
    span: np.ndarray  # (n,) rows in an element; 0 where there is none
    seen: np.ndarray  # (n,) number of the latest list that held it
    rest: np.ndarray  # (n,) of an element, rows outside of the new one, above a base that grows
    next: np.ndarray  # (n,) variables that were merged, as chains
    last: np.ndarray  # (n,) ends of these chains


class Buckets(NamedTuple):
    """Variables by their degree, in lists that go both ways."""

    degree: np.ndarray  # (n,)
    head: np.ndarray  # (n,) first variable of a degree, -1 if there is none
    after: np.ndarray  # (n,)
    before: np.ndarray  # (n,)


@compiled()
def put_in(b, i, degree):
    """Variable i into the bucket of its degree."""
    b.degree[i] = degree
    b.before[i] = -1
    b.after[i] = b.head[degree]
    if b.head[degree] != -1:
        b.before[b.head[degree]] = i
    b.head[degree] = i


@compiled()
def take_out(b, i):
    """Variable i out of its bucket."""
    if b.before[i] != -1:
        b.after[b.before[i]] = b.after[i]
    else:
        b.head[b.degree[i]] = b.after[i]
    if b.after[i] != -1:
        b.before[b.after[i]] = b.before[i]


@compiled()
def compress(g, store, used):
    """Move the lists that are in use to the front of the store; where its free part begins."""
    n = g.first.shape[0]
    for i in range(n):
        if (g.size[i] > 0 or g.span[i] > 0) and g.length[i] > 0:
            begin = g.first[i]
            g.first[i] = store[begin]  # the first entry is kept here, and its place shows whose list begins
            store[begin] = -1 - i
    free = 0
    u = 0
    while u < used:
        i = -1 - store[u]
        if i < 0:
            u += 1
            continue
        store[free] = g.first[i]
        g.first[i] = free
        for v in range(1, g.length[i]):
            store[free + v] = store[u + v]
        free += g.length[i]
        u += g.length[i]
    return free


@compiled()
def form_element(g, store, p, stamp, free):
    """List the variables beside the pivot p from `free` on: the end of the list, and how many rows they stand for.

    The elements beside it are part of the new one, and gone.
    """
    weight = 0
    middle = g.first[p] + g.elements[p]
    for u in range(middle, g.first[p] + g.length[p]):
        i = store[u]
        if g.size[i] > 0 and g.seen[i] != stamp:
            g.seen[i] = stamp
            weight += g.size[i]
            store[free] = i
            free += 1
    for u in range(g.first[p], middle):
        e = store[u]
        if g.span[e] == 0:
            continue
        for v in range(g.first[e], g.first[e] + g.length[e]):
            i = store[v]
            if g.size[i] > 0 and g.seen[i] != stamp:
                g.seen[i] = stamp
                weight += g.size[i]
                store[free] = i
                free += 1
        g.span[e] = 0
    return free, weight


@compiled()
def measure_rests(g, store, begin, end, base):
    """Rows of every element beside the new one that are outside of it, plus `base`; the largest element."""
    largest = 0
    for u in range(begin, end):
        i = store[u]
        for v in range(g.first[i], g.first[i] + g.elements[i]):
            e = store[v]
            if g.span[e] > 0:
                if g.rest[e] < base:
                    g.rest[e] = g.span[e] + base
                    largest = max(largest, g.span[e])
                g.rest[e] -= g.size[i]
    return largest


@compiled()
def renew_list(g, store, i, p, stamp, base):
    """Put the new element p into the list of variable i, and drop what is in p: rows outside of p, and a hash."""
    begin = g.first[i]
    middle, end = begin + g.elements[i], begin + g.length[i]
    outside, code = 0, p
    q = begin
    for u in range(begin, middle):
        e = store[u]
        if g.span[e] > 0:
            beyond = g.rest[e] - base
            if beyond > 0:
                outside += beyond
                code += e
                store[q] = e
                q += 1
            else:
                g.span[e] = 0  # all of it is in p
    n_elements = q - begin
    for u in range(middle, end):
        j = store[u]
        if g.size[j] > 0 and g.seen[j] != stamp:
            outside += g.size[j]
            code += j
            store[q] = j
            q += 1
    # The list is shorter than it was, by the pivot or an element that the pivot took in: there is room for p.
    if q > begin + n_elements:
        store[q] = store[begin + n_elements]
    store[begin + n_elements] = p
    g.elements[i] = n_elements + 1
    g.length[i] = q + 1 - begin
    return outside, code


@compiled()
def merge_alike(g, store, i, link, stamp):
    """Merge variables of the chain behind i in `link` into i where their lists are the same."""
    for u in range(g.first[i], g.first[i] + g.length[i]):
        g.seen[store[u]] = stamp
    before = i
    j = link[i]
    while j != -1:
        same = g.length[j] == g.length[i] and g.elements[j] == g.elements[i]
        if same:
            for u in range(g.first[j], g.first[j] + g.length[j]):
                if g.seen[store[u]] != stamp:
                    same = False
                    break
        if same:
            g.size[i] += g.size[j]
            g.size[j] = 0
            g.next[g.last[i]] = j
            g.last[i] = g.last[j]
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
        i = g.next[i]
    return k


@compiled()
def set_dense_aside(g, store):
    """Take variables with very many neighbours out of the graph; how many stay."""
    n = g.first.shape[0]
    most = max(16, int(DENSE * math.sqrt(n)))
    left = n
    for i in range(n):
        if g.length[i] > most:
            g.size[i] = 0
            left -= 1
    if left < n:
        for i in range(n):
            q = g.first[i]
            for u in range(g.first[i], g.first[i] + g.length[i]):
                if g.size[store[u]] > 0:
                    store[q] = store[u]
                    q += 1
            g.length[i] = q - g.first[i]
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
    g = Quotient(
        start[:n].copy(),
        start[1:] - start[:n],
        np.zeros(n, np.int64),
        np.ones(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.full(n, -1, np.int64),
        np.arange(n),
    )
    b = Buckets(np.zeros(n, np.int64), np.full(n, -1, np.int64), np.full(n, -1, np.int64), np.full(n, -1, np.int64))
    # Lists never grow, and a new element has less than n variables; the rest keeps `compress` rare.
    store = np.zeros(start[n] + start[n] // 5 + 2 * n, np.int64)
    store[: start[n]] = neighbours[: start[n]]
    free = start[n]
    left = set_dense_aside(g, store)
    aside = np.flatnonzero(g.size == 0)
    for i in range(n - 1, -1, -1):
        if g.size[i] > 0:
            put_in(b, i, g.length[i])
    order = np.empty(n, np.int64)
    chain, link = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    codes = np.zeros(n, np.int64)
    k, least, stamp, base = 0, 0, 0, 1
    while left > 0:
        while b.head[least] == -1:
            least += 1
        p = b.head[least]
        take_out(b, p)
        if free + n > store.shape[0]:
            free = compress(g, store, free)
        stamp += 1
        g.seen[p] = stamp
        begin = free
        end, weight = form_element(g, store, p, stamp, begin)
        left -= g.size[p]
        g.size[p] = 0
        k = write_members(g, p, order, k)
        largest = measure_rests(g, store, begin, end, base)
        q = begin
        for u in range(begin, end):
            i = store[u]
            take_out(b, i)
            outside, code = renew_list(g, store, i, p, stamp, base)
            if outside == 0:  # its neighbours are those of p: eliminated with p, it fills in nothing
                weight -= g.size[i]
                left -= g.size[i]
                g.size[i] = 0
                k = write_members(g, i, order, k)
                continue
            b.degree[i] = min(b.degree[i], outside)
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
            if g.size[i] > 0:
                put_in(b, i, min(b.degree[i] + weight, left) - g.size[i])
                least = min(least, b.degree[i])
                store[q] = i
                q += 1
        free = q
        g.first[p], g.length[p], g.elements[p], g.span[p] = begin, q - begin, 0, weight
    order[k:] = aside
    return order
