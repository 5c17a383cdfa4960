"""Entries of the inverse of a sparse matrix where the matrix has entries, from its Cholesky factor.

With L of a front split into its own columns (L11) and the rows below (L21), and Z the inverse:
Z12 = -Y Z22, Z11 = (L11 L11')^-1 - Z12 Y', where Y = L11'^-1 L21' (Takahashi, Fagan and Chin 1973; by supernodes as in
Rouet 2012, PhD thesis, Toulouse). Z22 is known from the front of the parent, so the fronts are walked from the last.
"""

from __future__ import annotations

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.sparse.fronts import count_children, measure
from bmtme.linalg.sparse.panels import HAND, add_symmetric_product, invert_triangle, multiply


@compiled()
def split_front(stack, begin, columns, below):
    """The blocks Z22 (below, below), Z12 (columns, below) and Z11 (columns, columns) of a front on the stack."""
    middle = begin + below * below
    end = middle + columns * below
    return (
        stack[begin:middle].reshape(below, below),
        stack[middle:end].reshape(columns, below),
        stack[end : end + columns * columns].reshape(columns, columns),
    )


@compiled()
def take_inverse(places, Z22, Z12, Z11, out):
    """Rows and columns `places` (ascending) of a front, into `out`."""
    columns, n = Z11.shape[0], places.shape[0]
    own = 0
    while own < n and places[own] < columns:
        own += 1
    for i in range(own):
        row = Z11[places[i]]
        for j in range(own):
            out[i, j] = row[places[j]]
        row = Z12[places[i]]
        for j in range(own, n):
            v = row[places[j] - columns]
            out[i, j] = v
            out[j, i] = v
    for i in range(own, n):
        row = Z22[places[i] - columns]
        for j in range(own, n):
            out[i, j] = row[places[j] - columns]


@compiled()
def invert_front(P, Z22, Z12, Z11):
    """Z12 and Z11 of a front from its panel and Z22."""
    columns, below = Z12.shape
    if columns == 1:
        w = 1.0 / P[0, 0]
        Z12[:] = 0.0
        for i in range(below):
            y = P[1 + i, 0] * w
            for j in range(below):
                Z12[0, j] -= y * Z22[i, j]
        total = w * w
        for i in range(below):
            total -= P[1 + i, 0] * w * Z12[0, i]
        Z11[0, 0] = total
        return
    upper = invert_triangle(P[:columns])
    Z11[:] = 0.0
    add_symmetric_product(upper, upper, Z11)
    if below == 0:
        return
    Y = np.empty((columns, below))
    multiply(upper, P[columns:], Y)
    for k in range(columns):
        for i in range(below):
            Y[k, i] *= -1.0
    if columns * below * below < HAND:
        Z12[:] = 0.0
        for k in range(columns):
            for i in range(below):
                for j in range(below):
                    Z12[k, j] += Y[k, i] * Z22[i, j]
        for k in range(columns):
            for m in range(columns):
                for i in range(below):
                    Z11[k, m] += Z12[k, i] * Y[m, i]
    else:
        multiply(Y, Z22, Z12)  # Z22 is symmetric
        add_symmetric_product(Z12, Y, Z11)


@compiled()
def give_entries(f, s, Z12, Z11, out):
    """Entries of the inverse in the columns of supernode s, where the matrix has them."""
    columns = Z11.shape[0]
    for j in range(columns):
        column = f.start[s] + j
        for u in range(f.entry_start[column], f.entry_start[column + 1]):
            i = f.entry_row[u]
            out[f.source[u]] = Z11[i, j] if i < columns else Z12[j, i - columns]


@compiled()
def invert_fronts(f, x, stack, out):
    """Entries of the inverse where the matrix has entries, aligned with its values.

    Parameters
    ----------
    f : Fronts
    x : array
        Panels of `factor_fronts`.
    stack : array of at least `measure_inverses(f)` numbers
        Fronts of supernodes with children that are still to come.
    out : array
    """
    m = f.parent.shape[0]
    left, begin = count_children(f), np.zeros(m, np.int64)
    top = 0
    for s in range(m - 1, -1, -1):
        columns, below = measure(f, s)
        q = f.parent[s]
        begin[s] = top
        if q >= 0:
            width, rest = measure(f, q)
            Q22, Q12, Q11 = split_front(stack, begin[q], width, rest)
            places = f.place[f.row_start[s] + columns : f.row_start[s + 1]]
            take_inverse(places, Q22, Q12, Q11, stack[top : top + below * below].reshape(below, below))
            left[q] -= 1
            if left[q] == 0:  # its front is not needed again
                begin[s] = begin[q]
                for u in range(below * below):
                    stack[begin[s] + u] = stack[top + u]
        Z22, Z12, Z11 = split_front(stack, begin[s], columns, below)
        P = x[f.panel[s] : f.panel[s + 1]].reshape(columns + below, columns)
        invert_front(P, Z22, Z12, Z11)
        give_entries(f, s, Z12, Z11, out)
        top = begin[s]
        if left[s] > 0:
            top += below * below + columns * (columns + below)
