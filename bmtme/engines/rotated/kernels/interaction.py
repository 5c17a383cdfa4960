"""The total genetic effect split into b1 and b2, and the cross-products that the covariances need.

Given w = (w1 + w2_i) over the recorded columns, with w1 ~ N(0, Sigma_t) and w2_i ~ N(0, sigma2_i Sigma_t),
w1 | w ~ N(A w, D) with D^-1 = Sigma_t^-1 + sum_i O_i'(Sigma_t,oo)^-1 O_i / sigma2_i and
A_i = D O_i'(Sigma_t,oo)^-1 / sigma2_i, O_i picking the traits recorded in environment i.
"""

from __future__ import annotations

import numpy as np

from bmtme.engines.rotated.kernels.genetic import invert_observed
from bmtme.engines.rotated.kernels.pair import combine_rows
from bmtme.linalg.compile import compiled
from bmtme.linalg.small import dot, factor_cholesky, invert_spd


@compiled()
def fill_split(Sigma_t, s2_E, recorded, seen, col_env, col_trait, A, K):
    """A (L, M) and the Cholesky factor K of D; False where a matrix is not positive definite."""
    L = Sigma_t.shape[0]
    M = col_env.shape[0]
    Di = np.empty((L, L))
    if not invert_spd(Sigma_t, Di):
        return False
    inverse = np.empty((recorded.shape[0], L, L))
    for i in seen:
        if not invert_observed(Sigma_t, recorded[i], inverse[i]):
            return False
        for a in range(L):
            for b in range(L):
                inverse[i, a, b] /= s2_E[i]
                Di[a, b] += inverse[i, a, b]
    D = np.empty((L, L))
    if not invert_spd(Di, D) or not factor_cholesky(D, K):
        return False
    for l in range(L):
        for m in range(M):
            s = 0.0
            for q in range(L):
                s += D[l, q] * inverse[col_env[m], q, col_trait[m]]
            A[l, m] = s
    return True


@compiled()
def add_row(weight, row, out):
    """out += weight row."""
    for j in range(out.shape[0]):
        out[j] += weight * row[j]


@compiled(inline=True)
def draw_main(rng, W, A, K, rank, noise, W1):
    """Draw w1 | w into W1 (L, J)."""
    L = W1.shape[0]
    for l in range(L):
        combine_rows(A[l], W, 0, 1, W1, l)
    for k in range(L):
        for j in range(rank):
            noise[j] = rng.standard_normal()
        for j in range(rank, noise.shape[0]):
            noise[j] = 0.0
        for l in range(k, L):
            if K[l, k] != 0.0:
                add_row(K[l, k], noise, W1[l])


@compiled(inline=True)
def subtract_main(W, W1, col_trait, W2):
    """w2 = w - w1 over the recorded columns."""
    for m in range(W.shape[0]):
        main = W1[col_trait[m]]
        for j in range(W.shape[1]):
            W2[m, j] = W[m, j] - main[j]


@compiled()
def sum_cross_products(X, traits, n, out):
    """Cross-products over the first n entries of the rows of X, into the rows and columns `traits` of out."""
    for a in range(X.shape[0]):
        for b in range(a + 1):
            s = dot(X[a], X[b], n)
            out[traits[a], traits[b]] = s
            out[traits[b], traits[a]] = s


@compiled(inline=True)
def trace_product(A, B):
    """tr(A B) of two symmetric matrices."""
    s = 0.0
    for a in range(A.shape[0]):
        for b in range(A.shape[1]):
            s += A[a, b] * B[a, b]
    return s
