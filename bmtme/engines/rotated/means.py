"""The environment means in the coordinates of a pair, where the data inform each of them alone."""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import factor_cholesky, invert_factored, transform_symmetric


@compiled(inline=True)
def solve_transformed_means(p, w, flat):
    """b~ into w.tilde and K into w.K_means; sxz gains the prior's part. Returns log|diag(sxx) + Ti P0 Ti'|."""
    M = w.sxx.shape[0]
    log_P = 0.0
    if flat:
        w.K_means[:] = 0.0
        for m in range(M):
            w.tilde[m] = w.sxz[m] / w.sxx[m]
            w.K_means[m, m] = 1.0 / w.sxx[m]
            log_P += math.log(w.sxx[m])
        return log_P
    Ti = w.pair.Ti
    P = np.empty((M, M))
    K = np.empty((M, M))
    if p.product and p.seen.shape[0] > 1:
        transform_mean_prior(p, w, P)
    else:
        transform_symmetric(Ti, w.P0, P)
    for m in range(M):
        P[m, m] += w.sxx[m]
        t = 0.0
        for a in range(M):
            t += Ti[m, a] * w.P0b0[a]
        w.sxz[m] += t
    if not factor_cholesky(P, K):
        return np.inf
    invert_factored(K, w.K_means)
    for m in range(M):
        log_P += 2.0 * math.log(K[m, m])
    for m in range(M):
        t = 0.0
        for a in range(M):
            t += w.K_means[m, a] * w.sxz[a]
        w.tilde[m] = t
    return log_P


@compiled(inline=True)
def transform_mean_prior(p, w, out):
    """Ti P0 Ti' into `out` where T is a Kronecker product.

    P0 = I (x) D + 1 1' (x) F, D and F diagonal over the traits, so that with Ti = A (x) B the product is
    A A' (x) B D B' + (A 1)(A 1)' (x) B F B'.
    """
    L, I = p.n_trait, p.seen.shape[0]
    A, B = w.pair.TEi, w.pair.TLi
    D, F = np.empty((L, L)), np.empty((L, L))
    for l in range(L):
        for q in range(L):
            s, t = 0.0, 0.0
            for k in range(L):
                both = w.P0[k, L + k]
                s += B[l, k] * (w.P0[k, k] - both) * B[q, k]
                t += B[l, k] * both * B[q, k]
            D[l, q], F[l, q] = s, t
    AA, sums = np.dot(A, A.T), np.empty(I)
    for a in range(I):
        s = 0.0
        for b in range(I):
            s += A[a, b]
        sums[a] = s
    for a in range(I):
        for b in range(I):
            for l in range(L):
                for q in range(L):
                    out[a * L + l, b * L + q] = AA[a, b] * D[l, q] + sums[a] * sums[b] * F[l, q]
