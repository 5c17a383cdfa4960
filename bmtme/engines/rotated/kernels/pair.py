"""The pair (C, R): genetic and residual covariance of a line's columns, diagonalised together.

T' R T = I and T' C T = diag(lam), so that z_j = T' y_j has Var(z_j) = diag(d_j lam + 1): given the means
every (line, column) is a scalar. Since R^-1 = T T', the inverse is Ti = T' R, and y = Ti' z.

For the paper's model with every column recorded, C = (1 1' + Sigma_E) (x) Sigma_t and
R = diag(1/k) (x) R_e, k_i plots behind each value of environment i; then T = TE (x) TL from one I x I and
one L x L eigenproblem. Otherwise any M x M pair is taken.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.lanes import WIDTH, load_row, multiply_add, spread, store_row
from bmtme.linalg.small import decompose_jacobi, factor_cholesky, fix_signs, invert_lower

#: Up to this size rotations by hand are faster than LAPACK.
SMALL_PAIR = 16


class Pair(NamedTuple):
    """Workspace that holds the factors of (C, R)."""

    T: np.ndarray  # (M, M)
    Ti: np.ndarray  # (M, M) inverse of T
    lam: np.ndarray  # (M,)
    TL: np.ndarray  # (L, L) trait factor of T (product form)
    TLi: np.ndarray
    TE: np.ndarray  # (I, I) environment factor of T (product form; the leading seen x seen block)
    TEi: np.ndarray
    V: np.ndarray  # (M, M) eigenvectors of the whitened C (general form)
    log_R: np.ndarray  # (1,) log|R|


@compiled()
def whiten(C, R, lam, T, Ti, V, log_R):
    """Factors of a general pair, and log|R|; False where R is not positive definite.

    R = K K', K^-1 C K^-T = V diag(lam) V', T = K^-T V, Ti = V' K'.
    """
    n = C.shape[0]
    K = np.empty((n, n))
    if not factor_cholesky(R, K):
        return False
    log_R[0] = 0.0
    for a in range(n):
        log_R[0] += 2.0 * math.log(K[a, a])
    Ki = np.empty((n, n))
    invert_lower(K, Ki)
    if n <= SMALL_PAIR:
        F = np.empty((n, n))
        W = np.empty((n, n))
        for a in range(n):
            for b in range(n):
                s = 0.0
                for k in range(a + 1):
                    s += Ki[a, k] * C[k, b]
                W[a, b] = s
        for a in range(n):
            for b in range(a + 1):
                s = 0.0
                for k in range(b + 1):
                    s += W[a, k] * Ki[b, k]
                F[a, b] = s
                F[b, a] = s
        decompose_jacobi(F, lam, V)
        for a in range(n):
            for b in range(n):
                s = 0.0
                t = 0.0
                for k in range(n):
                    s += Ki[k, a] * V[k, b]
                    t += V[k, a] * K[b, k]
                T[a, b] = s
                Ti[a, b] = t
    else:
        F = np.dot(np.dot(Ki, C), Ki.T)
        for a in range(n):
            for b in range(a):
                F[a, b] = F[b, a]
        if not np.all(np.isfinite(F)):
            return False
        values, vectors = np.linalg.eigh(F)
        V[:] = vectors
        lam[:] = values
        fix_signs(V)
        T[:] = np.dot(Ki.T, V)
        Ti[:] = np.dot(V.T, K.T)
    for a in range(n):
        if not (lam[a] < np.inf):
            return False
        lam[a] = max(lam[a], 0.0)
    return True


@compiled(inline=True)
def factor_product(Sigma_t, s2_E, R_e, k, seen, pair):
    """Factors of C = (1 1' + diag(s2_E)) (x) Sigma_t, R = diag(1/k) (x) R_e over the seen environments."""
    L = Sigma_t.shape[0]
    I = seen.shape[0]
    lam_t = np.empty(L)
    VL = np.empty((L, L))
    if not whiten(Sigma_t, R_e, lam_t, pair.TL, pair.TLi, VL, pair.log_R):
        return False
    pair.log_R[0] *= I
    for i in seen:
        pair.log_R[0] -= L * math.log(k[i])
    B = np.empty((I, I))
    Q = np.empty((I, I))
    lam_E = np.empty(I)
    for a in range(I):
        ka = k[seen[a]]
        for b in range(I):
            B[a, b] = math.sqrt(ka * k[seen[b]])
        B[a, a] += ka * s2_E[seen[a]]
        if not (B[a, a] < np.inf):
            return False
    # Equal environments repeat eigenvalues: rotations give the same vectors then from inputs that differ by rounding.
    if I <= SMALL_PAIR or (np.ptp(s2_E[seen]) == 0.0 and np.ptp(k[seen]) == 0.0):
        decompose_jacobi(B, lam_E, Q)
    else:
        values, vectors = np.linalg.eigh(B)
        lam_E[:], Q[:] = values, vectors
        fix_signs(Q)
    for a in range(I):
        root = math.sqrt(k[seen[a]])
        for b in range(I):
            pair.TE[a, b] = root * Q[a, b]
            pair.TEi[b, a] = Q[a, b] / root
    for a in range(I):
        for l in range(L):
            m = a * L + l
            pair.lam[m] = max(lam_E[a], 0.0) * lam_t[l]
            for b in range(I):
                for q in range(L):
                    pair.T[m, b * L + q] = pair.TE[a, b] * pair.TL[l, q]
                    pair.Ti[m, b * L + q] = pair.TEi[a, b] * pair.TLi[l, q]
    return True


@compiled(inline=True)
def fill_residual(R_e, block, k, col_env, col_trait, R):
    """R over the recorded columns: blocks of R_e (B L, L) over the plots k of each environment."""
    M = col_env.shape[0]
    for a in range(M):
        i = col_env[a]
        first = block[i] * R_e.shape[1]
        for b in range(M):
            R[a, b] = R_e[first + col_trait[a], col_trait[b]] / k[i] if i == col_env[b] else 0.0


@compiled(inline=True)
def add_scaled_rows(fresh, w0, r0, w1, r1, w2, r2, X, out, row):
    """Row `row` of out = or += w0 X[r0] + w1 X[r1] + w2 X[r2]."""
    J = out.shape[1]
    end = J // WIDTH * WIDTH
    v0, v1, v2 = spread(w0), spread(w1), spread(w2)
    if fresh:
        for j in range(0, end, WIDTH):
            ts = multiply_add(v1, load_row(X, r1, j), v0 * load_row(X, r0, j))
            store_row(out, row, j, multiply_add(v2, load_row(X, r2, j), ts))
        for j in range(end, J):
            out[row, j] = w0 * X[r0, j] + w1 * X[r1, j] + w2 * X[r2, j]
    else:
        for j in range(0, end, WIDTH):
            ts = multiply_add(v0, load_row(X, r0, j), load_row(out, row, j))
            ts = multiply_add(v1, load_row(X, r1, j), ts)
            store_row(out, row, j, multiply_add(v2, load_row(X, r2, j), ts))
        for j in range(end, J):
            out[row, j] += w0 * X[r0, j] + w1 * X[r1, j] + w2 * X[r2, j]


@compiled()
def combine_rows(weights, X, first, step, out, row):
    """Row `row` of out = sum_k weights[k] X[first + k step], three rows a pass."""
    K = weights.shape[0]
    k = 0
    while k < K:
        w1 = weights[k + 1] if k + 1 < K else 0.0
        w2 = weights[k + 2] if k + 2 < K else 0.0
        a = first + k * step
        b = first + min(k + 1, K - 1) * step
        c = first + min(k + 2, K - 1) * step
        add_scaled_rows(k == 0, weights[k], a, w1, b, w2, c, X, out, row)
        k += 3


@compiled()
def transform_product(X, P, Q, n_env, temporary, out):
    """out[(a, b)] = sum_(i, l) Q[i, a] P[l, b] X[(i, l)]: two small products, row by row."""
    L = P.shape[0]
    weights = np.empty(L)
    for b in range(L):
        for l in range(L):
            weights[l] = P[l, b]
        for i in range(n_env):
            combine_rows(weights, X, i * L, 1, temporary, i * L + b)
    weights = np.empty(n_env)
    for a in range(n_env):
        for i in range(n_env):
            weights[i] = Q[i, a]
        for b in range(L):
            combine_rows(weights, temporary, b, L, out, a * L + b)


@compiled()
def transform_general(X, D, out):
    """out = D' X."""
    M = D.shape[0]
    if M <= 24:
        weights = np.empty(M)
        for a in range(M):
            for k in range(M):
                weights[k] = D[k, a]
            combine_rows(weights, X, 0, 1, out, a)
    else:
        np.dot(D.T, X, out)


@compiled()
def transform_forward(X, product, n_env, pair, temporary, out):
    """z = T' y for every line; X, out (M, J)."""
    if product:
        transform_product(X, pair.TL, pair.TE, n_env, temporary, out)
    else:
        transform_general(X, pair.T, out)


@compiled(inline=True)
def transform_back(X, product, n_env, pair, temporary, out):
    """y = T^-T z for every line; X, out (M, J)."""
    if product:
        transform_product(X, pair.TLi, pair.TEi, n_env, temporary, out)
    else:
        transform_general(X, pair.Ti, out)
