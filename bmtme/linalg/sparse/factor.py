"""Cholesky factor of a sparse matrix, front by front."""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.sparse.fronts import measure
from bmtme.linalg.sparse.panels import ROUNDING, add_square, factor_panel


@compiled()
def take_entries(f, s, values, P, floor):
    """Entries of the matrix into the panel of supernode s; the least that its pivots may be."""
    P[:] = 0.0
    for j in range(P.shape[1]):
        column = f.start[s] + j
        for u in range(f.entry_start[column], f.entry_start[column + 1]):
            P[f.entry_row[u], j] = values[f.source[u]]
        floor[j] = ROUNDING * abs(P[j, j])


@compiled()
def take_update(places, C, P, U):
    """Subtract the update C of a child (lower triangle) from the front of its parent: P less C, U plus C."""
    columns = P.shape[1]
    own = np.searchsorted(places, columns)
    for i in range(places.shape[0]):
        p = places[i]
        for j in range(min(own, i + 1)):
            P[p, places[j]] -= C[i, j]
        for j in range(own, i + 1):
            U[p - columns, places[j] - columns] += C[i, j]


@compiled()
def factor_fronts(f, values, x, stack):
    """Factor a matrix.

    Parameters
    ----------
    f : Fronts
    values : array
    x : (f.panel[-1],) array
        Takes the panels.
    stack : array of at least `measure_updates(f)` numbers
        Updates that wait, as what is to be subtracted.

    Returns
    -------
    column : int
        The first whose pivot is not positive, or -1.
    figure : float
        That pivot; otherwise the log determinant.
    """
    m = f.parent.shape[0]
    waiting, begin = np.empty(m, np.int64), np.empty(m, np.int64)
    floor = np.empty(256)
    count, top = 0, 0
    total = 0.0
    for s in range(m):
        columns, below = measure(f, s)
        P = x[f.panel[s] : f.panel[s + 1]].reshape(columns + below, columns)
        take_entries(f, s, values, P, floor)
        size = below * below
        U = stack[top : top + size].reshape(below, below)
        U[:] = 0.0
        base = top
        while count > 0 and f.parent[waiting[count - 1]] == s:
            count -= 1
            c = waiting[count]
            base = begin[count]
            _, n = measure(f, c)
            take_update(
                f.place[f.row_start[c + 1] - n : f.row_start[c + 1]], stack[base : base + n * n].reshape(n, n), P, U
            )
        bad = factor_panel(P, floor)
        if bad >= 0:
            return f.start[s] + bad, P[bad, bad]
        for j in range(columns):
            total += math.log(P[j, j])
        top = base
        if below > 0:
            add_square(P[columns:], U)
            if U.size and base + size <= stack.shape[0]:
                move_down(stack, base, U)
            waiting[count], begin[count] = s, base
            count += 1
            top = base + size
    return -1, 2.0 * total


@compiled()
def move_down(stack, base, U):
    """The lower triangle of U, which lies further up in the stack, to `base`."""
    n = U.shape[0]
    for i in range(n):
        for j in range(i + 1):
            stack[base + i * n + j] = U[i, j]
