"""Cholesky factor of a sparse matrix, front by front."""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.sparse.fronts import measure
from bmtme.linalg.sparse.panels import ROUNDING, add_square, factor_panel


@compiled()
def take_entries(f, s, values, x, floors):
    """Entries of the matrix into the panel of supernode s; the least that its pivots may be."""
    columns = f.start[s + 1] - f.start[s]
    x[f.panel[s] : f.panel[s + 1]] = 0.0
    for j in range(columns):
        column = f.start[s] + j
        for u in range(f.entry_start[column], f.entry_start[column + 1]):
            x[f.panel[s] + f.entry_row[u] * columns + j] = values[f.source[u]]
        floors[column] = ROUNDING * abs(x[f.panel[s] + j * columns + j])


@compiled()
def give_update(places, C, P, U):
    """Bring the update C of a child (lower triangle) to the front of its parent: P less C, U plus C."""
    columns = P.shape[1]
    own = 0
    while own < places.shape[0] and places[own] < columns:
        own += 1
    for i in range(places.shape[0]):
        p = places[i]
        for j in range(min(own, i + 1)):
            P[p, places[j]] -= C[i, j]
        for j in range(own, i + 1):
            U[p - columns, places[j] - columns] += C[i, j]


@compiled()
def factor_fronts(f, values, x, stack, floors):
    """Factor a matrix.

    Each update is brought to the parent at once, whose own update (what is to be subtracted further up) then waits on
    the stack: among many children with long columns, one update at a time is kept.

    Parameters
    ----------
    f : Fronts
    values : array
    x : (f.panel[-1],) array
        Takes the panels.
    stack : array of at least `measure_updates(f)` numbers
    floors : (n,) array
        Takes the least that pivots may be.

    Returns
    -------
    column : int
        The first whose pivot is not positive, or -1.
    figure : float
        That pivot; otherwise the log determinant.
    """
    m = f.parent.shape[0]
    begin = np.full(m, -1, np.int64)  # where the update of a front begins, once there is one
    for s in range(m):
        take_entries(f, s, values, x, floors)
    top = 0
    total = 0.0
    for s in range(m):
        columns, below = measure(f, s)
        P = x[f.panel[s] : f.panel[s + 1]].reshape(columns + below, columns)
        size = below * below
        if begin[s] < 0:
            begin[s] = top
            stack[top : top + size] = 0.0
        top = begin[s] + size
        bad = factor_panel(P, floors[f.start[s] : f.start[s + 1]])
        if bad >= 0:
            return f.start[s] + bad, P[bad, bad]
        for j in range(columns):
            total += math.log(P[j, j])
        if below == 0:
            continue
        C = stack[begin[s] : top].reshape(below, below)
        add_square(P[columns:], C)
        q = f.parent[s]
        width, rest = measure(f, q)
        square = rest * rest
        place = begin[q] if begin[q] >= 0 else top
        if begin[q] < 0:
            stack[top : top + square] = 0.0
        give_update(
            f.place[f.row_start[s] + columns : f.row_start[s + 1]],
            C,
            x[f.panel[q] : f.panel[q + 1]].reshape(width + rest, width),
            stack[place : place + square].reshape(rest, rest),
        )
        top = begin[s]
        if begin[q] < 0:
            begin[q] = top
            for u in range(square):
                stack[top + u] = stack[place + u]
            top += square
    return -1, 2.0 * total
