"""Draws of variances and covariances from the families of their priors.

IG(a, b) has density proportional to x^(-a - 1) exp(-b / x), IW(S, n) to |M|^(-(n + p + 1) / 2) exp(-tr(S M^-1) / 2).
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import factor_cholesky, invert_lower
from bmtme.model.codes import HALF_T


@compiled()
def draw_inverse_gamma(rng, shape, rate):
    """One draw from IG(shape, rate)."""
    return rate / rng.standard_gamma(shape)


@compiled()
def draw_inverse_wishart(rng, S, df, out):
    """Draw IW(S, df) into `out`; False where S is not positive definite.

    With S = K K' and the Bartlett factor A of a W(I, df), K A^-T A^-1 K' is the draw.
    """
    p = S.shape[0]
    K = np.empty((p, p))
    if not factor_cholesky(S, K):
        return False
    A = np.zeros((p, p))
    for a in range(p):
        A[a, a] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (df - a)))
        for b in range(a):
            A[a, b] = rng.standard_normal()
    Ai = np.empty((p, p))
    invert_lower(A, Ai)
    F = np.zeros((p, p))  # K A^-T
    for a in range(p):
        for b in range(p):
            s = 0.0
            for k in range(min(a, b) + 1):
                s += K[a, k] * Ai[b, k]
            F[a, b] = s
    for a in range(p):
        for b in range(a + 1):
            s = 0.0
            for k in range(p):
                s += F[a, k] * F[b, k]
            out[a, b] = s
            out[b, a] = s
    return True


@compiled()
def draw_variance_from_prior(rng, prior, k):
    """One variance straight from its prior: the Sigma_E entry of an environment without any record."""
    if prior.family == HALF_T:
        a = draw_inverse_gamma(rng, 0.5, 1.0 / prior.scale[k] ** 2)
        return draw_inverse_gamma(rng, 0.5 * prior.nu, prior.nu / a)
    return draw_inverse_gamma(rng, 0.5 * prior.df, 0.5 * prior.matrix[k, k])
