"""Genetic effects in the eigenbasis: the block draw, and the paper's separate step A.4 (and A.5).

Block: z = x (T'beta) + sqrt(d) w~ + N(0, 1) per transformed column, w~_j ~ N(0, lam). Hence
w~_j | z, beta ~ N(sqrt(d_j) lam / (1 + d_j lam) (z_j - x_j beta~), lam / (1 + d_j lam)).
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import decompose_jacobi, factor_cholesky, invert_lower


@compiled()
def fill_normals(rng, n, out):
    """n standard normals."""
    for j in range(n):
        out[j] = rng.standard_normal()


@compiled()
def shrink_column(z, x, root_d, lam, weight, beta, noise, rank):
    """Turn z into a draw of w~ in place; directions beyond the rank carry no effect."""
    for j in range(rank):
        s = lam * weight[j]
        z[j] = root_d[j] * s * (z[j] - x[j] * beta) + math.sqrt(s) * noise[j]
    for j in range(rank, x.shape[0]):
        z[j] = 0.0


@compiled()
def draw_effect(rng, Sigma, P, B, d, root_d, rank, out):
    """One effect given the others: w_j ~ N(0, Sigma), information d_j P and sqrt(d_j) B_j.

    Serves b1 (A.4: P = sum_i k_i R_i^-1) and each b2_i (A.5: Sigma = sigma2_i Sigma_t, P = k_i R_i^-1).
    With Sigma = F F' and F' P F = V diag(s) V', w = F V q has
    q_j ~ N(sqrt(d_j) (V'F'B_j) / (1 + d_j s), 1 / (1 + d_j s)).

    Parameters
    ----------
    Sigma, P : (p, p) prior covariance, information of a plot
    B : (p, J) R^-1-weighted residuals, summed over plots
    out : (p, J)
    """
    p, J = B.shape
    F = np.empty((p, p))
    if not factor_cholesky(Sigma, F):
        return False
    S = np.zeros((p, p))
    for a in range(p):
        for b in range(p):
            s = 0.0
            for k in range(a, p):
                for q in range(b, p):
                    s += F[k, a] * P[k, q] * F[q, b]
            S[a, b] = s
    lam = np.empty(p)
    V = np.empty((p, p))
    decompose_jacobi(S, lam, V)
    FV = np.zeros((p, p))
    for a in range(p):
        for b in range(p):
            for k in range(a + 1):
                FV[a, b] += F[a, k] * V[k, b]
    q = np.empty(p)
    for j in range(J):
        for a in range(p):
            out[a, j] = 0.0
        if j >= rank:
            continue
        for b in range(p):
            s = 0.0
            for a in range(p):
                s += FV[a, b] * B[a, j]
            v = 1.0 / (1.0 + d[j] * max(lam[b], 0.0))
            q[b] = root_d[j] * v * s + math.sqrt(v) * rng.standard_normal()
        for a in range(p):
            for b in range(p):
                out[a, j] += FV[a, b] * q[b]
    return True


@compiled()
def invert_observed(R, observed, out):
    """Inverse of R on the rows and columns marked in `observed`, zero elsewhere; False where it fails."""
    L = R.shape[0]
    n = 0
    index = np.empty(L, np.int64)
    for l in range(L):
        if observed[l]:
            index[n] = l
            n += 1
    A = np.empty((n, n))
    K = np.empty((n, n))
    Ki = np.empty((n, n))
    for a in range(n):
        for b in range(n):
            A[a, b] = R[index[a], index[b]]
    if not factor_cholesky(A, K):
        return False
    invert_lower(K, Ki)
    for a in range(L):
        for b in range(L):
            out[a, b] = 0.0
    for a in range(n):
        for b in range(n):
            s = 0.0
            for k in range(max(a, b), n):
                s += Ki[k, a] * Ki[k, b]
            out[index[a], index[b]] = s
    return True
