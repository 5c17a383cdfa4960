"""Dense pieces of fronts: Cholesky factor of a panel, inverse of a triangle, products of which one triangle is needed.

Large products are those of BLAS, in blocks, so that little more than half of a symmetric one is computed. They go
through `np.dot`, as pointers to other routines would keep numba from caching, and through one function, as every call
of `np.dot` takes a second to compile.
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
def multiply(A, B, out):
    """out = A B'."""
    np.dot(A, B.T, out)


@compiled()
def take_block(A, row, column, out):
    """out = the block of A that begins there."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = A[row + i, column + j]


@compiled()
def add_block(A, row, column, scale, B):
    """The block of A that begins there += scale B."""
    for i in range(B.shape[0]):
        for j in range(B.shape[1]):
            A[row + i, column + j] += scale * B[i, j]


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
def solve_rows(P, first, last):
    """Rows of P below a factored block, in its columns: x L' = row, in place."""
    for i in range(last, P.shape[0]):
        for j in range(first, last):
            t = P[i, j]
            for k in range(first, j):
                t -= P[i, k] * P[j, k]
            P[i, j] = t / P[j, j]


@compiled()
def invert_block(L, first, last):
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
            left, product = np.empty((r - first, first)), np.empty((r - first, last - first))
            take_block(P, first, 0, left)
            multiply(left, left[: last - first], product)
            add_block(P, first, first, -1.0, product)
        bad = factor_block(P, first, last, floor)
        if bad >= 0:
            return bad
        if (r - last) * (last - first) ** 2 < HAND:
            solve_rows(P, first, last)
        else:
            rows, product = np.empty((r - last, last - first)), np.empty((r - last, last - first))
            take_block(P, last, first, rows)
            multiply(rows, invert_block(P, first, last), product)
            take_block_back(product, P, last, first)
    return -1


@compiled()
def take_block_back(B, A, row, column):
    """The block of A that begins there = B."""
    for i in range(B.shape[0]):
        for j in range(B.shape[1]):
            A[row + i, column + j] = B[i, j]


@compiled()
def add_square(X, U):
    """Lower triangle of U += X X'."""
    n, c = X.shape
    if n * n * c < HAND or c == 1:
        for k in range(c):
            column = np.empty(n)
            for i in range(n):
                column[i] = X[i, k]
            for i in range(n):
                for j in range(i + 1):
                    U[i, j] += column[i] * column[j]
        return
    for first in range(0, n, ROWS):
        last = min(n, first + ROWS)
        product = np.empty((last - first, last))
        multiply(X[first:last], X[:last], product)
        add_block(U, first, 0, 1.0, product)


@compiled()
def add_symmetric_product(A, B, out):
    """All of `out` += A B', where the product is known to be symmetric."""
    n = A.shape[0]
    for first in range(0, n, ROWS // 2):
        last = min(n, first + ROWS // 2)
        product = np.empty((last - first, last))
        multiply(A[first:last], B[:last], product)
        add_block(out, first, 0, 1.0, product)
        for i in range(first, last):
            for j in range(first):
                out[j, i] += product[i - first, j]


@compiled()
def invert_triangle(L):
    """Transpose of the inverse of a lower triangle L (c, c)."""
    c = L.shape[0]
    out = np.zeros((c, c))
    for first in range(0, c, BLOCK):
        last = min(c, first + BLOCK)
        corner = invert_block(L, first, last)
        for i in range(last - first):
            for j in range(i + 1):
                out[first + j, first + i] = corner[i, j]
        if first > 0:
            before, left = np.empty((first, first)), np.empty((last - first, first))
            take_block(out, 0, 0, before)
            take_block(L, first, 0, left)
            product, above = np.empty((first, last - first)), np.empty((first, last - first))
            multiply(before, left, product)
            multiply(product, corner, above)
            add_block(out, 0, first, -1.0, above)
    return out
