"""Dense pieces of fronts: Cholesky factor of a panel, products of which one triangle is needed, inverse of a triangle.

Large products are those of BLAS through `np.dot`, in blocks, so that about half of a symmetric product is computed.
Pointers to other routines would keep numba from caching.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled

#: Columns that are factored number by number.
BLOCK = 48
#: Rows of a symmetric product that are computed together.
ROWS = 192
#: Products of fewer multiplications are done by hand.
HAND = 2000
#: A pivot at or below this share of the matrix's diagonal entry is rounding error, not a number.
ROUNDING = 1e-14


@compiled()
def factor_block(P, first, last, floor):
    """Cholesky factor of the columns first .. last - 1 of P, number by number; the first bad pivot, or -1."""
    for j in range(first, last):
        d = P[j, j]
        for k in range(first, j):
            d -= P[j, k] * P[j, k]
        if not d > floor[j]:
            P[j, j] = d
            return j
        P[j, j] = math.sqrt(d)
        for i in range(j + 1, last):
            t = P[i, j]
            for k in range(first, j):
                t -= P[i, k] * P[j, k]
            P[i, j] = t / P[j, j]
    return -1


@compiled()
def solve_rows(P, first, last, begin):
    """Rows of P from `begin` on, in the columns of a factored block: x L' = row, in place."""
    for i in range(begin, P.shape[0]):
        for j in range(first, last):
            t = P[i, j]
            for k in range(first, j):
                t -= P[i, k] * P[j, k]
            P[i, j] = t / P[j, j]


@compiled()
def invert_triangle(L, first, last):
    """Inverse of the lower triangle of rows and columns first .. last - 1 of L."""
    n = last - first
    out = np.zeros((n, n))
    for i in range(n):
        out[i, i] = 1.0 / L[first + i, first + i]
        for k in range(i):
            w = -L[first + i, first + k] * out[i, i]
            for j in range(k + 1):
                out[i, j] += w * out[k, j]
    return out


@compiled()
def factor_panel(P, floor):
    """Factor a panel in place: P[:c] = L L', then the rows below it times L'^-1.

    Parameters
    ----------
    P : (r, c) array
        Lower triangle and the rows below; above the diagonal, anything.
    floor : (c,) array
        A pivot has to be above it.

    Returns
    -------
    int
        The first column whose pivot is not, with that pivot on the diagonal; -1 where all is well.
    """
    r, c = P.shape
    for first in range(0, c, BLOCK):
        last = min(c, first + BLOCK)
        if first > 0:
            left = P[first:, :first].copy()
            P[first:, first:last] -= np.dot(left, left[: last - first].T)
        bad = factor_block(P, first, last, floor)
        if bad >= 0:
            return bad
        if (r - last) * (last - first) ** 2 < HAND:
            solve_rows(P, first, last, last)
        else:
            inverse = invert_triangle(P, first, last)
            P[last:, first:last] = np.dot(P[last:, first:last].copy(), inverse.T)
    return -1


@compiled()
def add_square(X, U):
    """Lower triangle of U += X X'."""
    n, c = X.shape
    if n * n * c < HAND or c == 1:
        T = X.T.copy()
        for i in range(n):
            for k in range(c):
                x = T[k, i]
                for j in range(i + 1):
                    U[i, j] += x * T[k, j]
        return
    for first in range(0, n, ROWS):
        last = min(n, first + ROWS)
        U[first:last, :last] += np.dot(X[first:last], X[:last].T)


@compiled()
def add_symmetric_product(A, B, out):
    """All of `out` += A B', where the product is known to be symmetric."""
    n = A.shape[0]
    if n <= ROWS // 2:
        out += np.dot(A, B.T)
        return
    step = ROWS // 3
    for first in range(0, n, step):
        last = min(n, first + step)
        block = np.dot(A[first:last], B[:last].T)
        out[first:last, :first] += block[:, :first]
        out[:first, first:last] += block[:, :first].T
        out[first:last, first:last] += block[:, first:]


@compiled()
def invert_wide_triangle(L):
    """Inverse of a lower triangle."""
    n = L.shape[0]
    if n <= BLOCK:
        return invert_triangle(L, 0, n)
    out = np.zeros((n, n))
    for first in range(0, n, BLOCK):
        last = min(n, first + BLOCK)
        corner = invert_triangle(L, first, last)
        out[first:last, first:last] = corner
        if first > 0:
            left = np.dot(L[first:last, :first].copy(), out[:first, :first].copy())
            out[first:last, :first] = -np.dot(corner, left)
    return out
