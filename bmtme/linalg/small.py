"""Small dense linear algebra, by hand: below about 30 x 30 it beats LAPACK calls and compiles faster.

Beyond `SMALL` columns the sums run over four lanes at a time, and products are those of BLAS.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.lanes import WIDTH, add_up, load, load_row, multiply_add, spread, store_row

#: Up to this size by hand, number by number.
SMALL = 24


@compiled()
def factor_cholesky(A, out):
    """Lower Cholesky factor of A into `out`; False where A is not positive definite."""
    n = A.shape[0]
    for a in range(n):
        for b in range(a + 1):
            s = A[a, b]
            if n > SMALL:
                s -= dot_rows(out, a, b, b)
            else:
                for k in range(b):
                    s -= out[a, k] * out[b, k]
            if a == b:
                if not (s > 0.0) or not (s < np.inf):
                    return False
                out[a, a] = math.sqrt(s)
            else:
                out[a, b] = s / out[b, b]
        for b in range(a + 1, n):
            out[a, b] = 0.0
    return True


@compiled()
def invert_lower(K, out):
    """Inverse of a lower triangular matrix."""
    n = K.shape[0]
    if n > SMALL:
        out[:] = 0.0
        for r in range(n):
            for k in range(r):
                add_multiple(-K[r, k], k, out, r)
            out[r, r] = 1.0
            for c in range(r + 1):
                out[r, c] /= K[r, r]
        return
    for c in range(n):
        for r in range(n):
            out[r, c] = 0.0
        out[c, c] = 1.0 / K[c, c]
        for r in range(c + 1, n):
            s = 0.0
            for k in range(c, r):
                s += K[r, k] * out[k, c]
            out[r, c] = -s / K[r, r]


@compiled()
def solve_lower(K, b):
    """Solve K x = b in place, K lower triangular."""
    for a in range(K.shape[0]):
        s = b[a]
        for k in range(a):
            s -= K[a, k] * b[k]
        b[a] = s / K[a, a]


@compiled()
def solve_lower_transposed(K, b):
    """Solve K' x = b in place, K lower triangular."""
    n = K.shape[0]
    for a in range(n - 1, -1, -1):
        s = b[a]
        for k in range(a + 1, n):
            s -= K[k, a] * b[k]
        b[a] = s / K[a, a]


@compiled()
def invert_factored(K, out):
    """Inverse of K K', K lower triangular."""
    n = K.shape[0]
    Ki = np.empty((n, n))
    invert_lower(K, Ki)
    if n > SMALL:
        out[:] = np.dot(Ki.T, Ki)
        return
    for a in range(n):
        for b in range(a + 1):
            s = 0.0
            for k in range(a, n):
                s += Ki[k, a] * Ki[k, b]
            out[a, b] = s
            out[b, a] = s


@compiled()
def invert_spd(A, out):
    """Inverse of a symmetric positive definite matrix; False where it is not."""
    K = np.empty(A.shape)
    if not factor_cholesky(A, K):
        return False
    invert_factored(K, out)
    return True


@compiled()
def fix_signs(V):
    """Turn every column so that its largest entry is positive (the first of those that tie)."""
    n = V.shape[0]
    for c in range(V.shape[1]):
        top = 0.0
        for a in range(n):
            top = max(top, abs(V[a, c]))
        for a in range(n):
            if abs(V[a, c]) >= top * (1.0 - 1e-9):
                if V[a, c] < 0.0:
                    for k in range(n):
                        V[k, c] = -V[k, c]
                break


@compiled()
def decompose_jacobi(A, w, V):
    """Eigenvalues `w` and eigenvectors `V` (columns) of a symmetric A, which is destroyed.

    Cyclic Jacobi rotations. Off-diagonal entries at rounding level are taken for zero, and equal diagonal
    entries are turned one fixed way, so that repeated positive eigenvalues give the same vectors from inputs
    that differ by rounding only.
    """
    n = A.shape[0]
    for a in range(n):
        for b in range(n):
            V[a, b] = 0.0
        V[a, a] = 1.0
    size = 0.0
    for a in range(n):
        size = max(size, abs(A[a, a]))
    for _ in range(60):
        turned = False
        for p in range(n - 1):
            for q in range(p + 1, n):
                apq = A[p, q]
                if abs(apq) <= 1e-15 * math.sqrt(abs(A[p, p] * A[q, q])) or abs(apq) <= 1e-17 * size:
                    continue
                turned = True
                tau = (A[q, q] - A[p, p]) / (2.0 * apq)
                if tau >= -1e-13:
                    t = 1.0 / (tau + math.sqrt(1.0 + tau * tau))
                else:
                    t = -1.0 / (-tau + math.sqrt(1.0 + tau * tau))
                c = 1.0 / math.sqrt(1.0 + t * t)
                s = t * c
                for k in range(n):
                    a = A[k, p]
                    b = A[k, q]
                    A[k, p] = c * a - s * b
                    A[k, q] = s * a + c * b
                for k in range(n):
                    a = A[p, k]
                    b = A[q, k]
                    A[p, k] = c * a - s * b
                    A[q, k] = s * a + c * b
                for k in range(n):
                    a = V[k, p]
                    b = V[k, q]
                    V[k, p] = c * a - s * b
                    V[k, q] = s * a + c * b
                A[p, q] = 0.0
                A[q, p] = 0.0
        if not turned:
            break
    for a in range(n):
        w[a] = A[a, a]
    fix_signs(V)


@compiled()
def dot(a, b, n):
    """Sum of products of the first n entries."""
    step = 2 * WIDTH
    end = n // step * step
    even = spread(0.0)
    odd = spread(0.0)
    for j in range(0, end, step):
        even = multiply_add(load(a, j), load(b, j), even)
        odd = multiply_add(load(a, j + WIDTH), load(b, j + WIDTH), odd)
    s = add_up(even + odd)
    for j in range(end, n):
        s += a[j] * b[j]
    return s


@compiled()
def dot_rows(A, a, b, n):
    """Sum of products of the first n entries of rows a and b of a contiguous matrix."""
    end = n // WIDTH * WIDTH
    lanes = spread(0.0)
    for j in range(0, end, WIDTH):
        lanes = multiply_add(load_row(A, a, j), load_row(A, b, j), lanes)
    s = add_up(lanes)
    for j in range(end, n):
        s += A[a, j] * A[b, j]
    return s


@compiled()
def add_multiple(weight, a, A, b):
    """Row b of a contiguous matrix += weight times the first a + 1 entries of its row a."""
    n = a + 1
    end = n // WIDTH * WIDTH
    lanes = spread(weight)
    for j in range(0, end, WIDTH):
        store_row(A, b, j, multiply_add(lanes, load_row(A, a, j), load_row(A, b, j)))
    for j in range(end, n):
        A[b, j] += weight * A[a, j]


@compiled()
def transform_symmetric(A, S, out):
    """out = A S A', S symmetric: by hand while a call of BLAS costs more."""
    n = A.shape[0]
    if n > SMALL:
        out[:] = np.dot(np.dot(A, S), A.T)
        return
    row = np.empty(n)
    for a in range(n):
        row[:] = 0.0
        for k in range(n):
            for b in range(n):
                row[b] += A[a, k] * S[k, b]
        for b in range(a + 1):
            s = 0.0
            for k in range(n):
                s += row[k] * A[b, k]
            out[a, b] = s
            out[b, a] = s


@compiled()
def take_root(A, s, V, out):
    """Symmetric root of a symmetric A into `out`: V diag(s) V'; False where A is not positive definite to rounding."""
    n = A.shape[0]
    if n > SMALL:
        values, vectors = np.linalg.eigh(A)
        s[:], V[:] = values, vectors
    else:
        decompose_jacobi(A.copy(), s, V)
    for a in range(n):
        if not (s[a] > 0.0):
            return False
        s[a] = math.sqrt(s[a])
    transform_symmetric(V, np.diag(s), out)
    return True


@compiled()
def differentiate_root(s, V, GS, G):
    """Add d/dA to G, from d/dS in GS (used up), both symmetric, of a function of the root S = V diag(s) V' of A.

    As dA = S dS + dS S, d/dA is the X that solves S X + X S = GS: in the basis V, entries of GS over s_a + s_b.
    Eigenvalues may be equal.
    """
    n = s.shape[0]
    X = np.empty((n, n))
    transform_symmetric(np.ascontiguousarray(V.T), GS, X)
    for a in range(n):
        for b in range(n):
            X[a, b] /= s[a] + s[b]
    transform_symmetric(V, X, GS)
    G += GS
