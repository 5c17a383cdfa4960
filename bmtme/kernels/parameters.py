"""Unconstrained parameters of a covariance: values, priors with Jacobians, gradients carried back.

A free covariance M = K K' has the entries of K row by row, log on the diagonal; a diagonal one the logs of its
standard deviations; a single variance the log of its root. The diagonal Sigma_E has signed roots s_i,
sigma2_Ei = s_i^2: with mass at zero they mix far better than logs.

The marginal of the half-t hierarchy (auxiliaries integrated, Huang & Wand 2013) is
log p(M) = -(nu + 2p)/2 log|M| - (nu + p)/2 sum_k log(nu (M^-1)_kk + 1/A_k^2) + constant.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.kernels.compile import compiled
from bmtme.kernels.covariance import DIAGONAL, FULL, HALF_T, SCALAR
from bmtme.kernels.linalg import invert_lower

#: Beyond this a parameter means a factor e^60: taken for a diverging trajectory.
LIMIT = 60.0


@compiled()
def count_parameters(shape, p):
    """Number of parameters of a p x p covariance of this shape."""
    if shape == FULL:
        return p * (p + 1) // 2
    return p if shape == DIAGONAL else 1


@compiled()
def unpack_covariance(theta, shape, K, M):
    """Cholesky factor K and covariance M of the parameters."""
    p = M.shape[0]
    K[:] = 0.0
    M[:] = 0.0
    if shape == FULL:
        t = 0
        for a in range(p):
            for b in range(a + 1):
                K[a, b] = math.exp(theta[t]) if a == b else theta[t]
                t += 1
        for a in range(p):
            for b in range(a + 1):
                s = 0.0
                for k in range(b + 1):
                    s += K[a, k] * K[b, k]
                M[a, b] = s
                M[b, a] = s
    else:
        for a in range(p):
            K[a, a] = math.exp(theta[a] if shape == DIAGONAL else theta[0])
            M[a, a] = K[a, a] ** 2


@compiled()
def pack_covariance(M, shape, K, theta):
    """Parameters of a covariance with Cholesky factor K."""
    p = M.shape[0]
    if shape == FULL:
        t = 0
        for a in range(p):
            for b in range(a + 1):
                theta[t] = math.log(K[a, a]) if a == b else K[a, b]
                t += 1
    else:
        for a in range(p if shape == DIAGONAL else 1):
            theta[a] = 0.5 * math.log(M[a, a])


@compiled()
def finish_covariance(prior, K, M, G, gradient):
    """Log prior with Jacobian; the gradient of everything in the parameters into `gradient`.

    G (p, p) holds d/dM of the log likelihood, dl = tr(G dM), symmetric; it is used up.
    """
    p = M.shape[0]
    lp = 0.0
    if prior.shape != FULL:
        for a in range(p):
            if prior.shape == SCALAR and a > 0:
                gradient[0] += 2.0 * G[a, a] * M[a, a]
                continue
            g = 2.0 * G[a, a] * M[a, a]
            if prior.family == HALF_T:
                r = M[a, a] / (prior.nu * prior.scale[a] ** 2)
                lp += math.log(K[a, a]) - 0.5 * (prior.nu + 1.0) * math.log1p(r)
                g += 1.0 - (prior.nu + 1.0) * r / (1.0 + r)
            else:
                lp -= prior.df * math.log(K[a, a]) + 0.5 * prior.matrix[a, a] / M[a, a]
                g += prior.matrix[a, a] / M[a, a] - prior.df
            gradient[a] = g
        return lp
    Ki = np.empty((p, p))
    Mi = np.empty((p, p))
    invert_lower(K, Ki)
    for a in range(p):
        for b in range(a + 1):
            s = 0.0
            for k in range(a, p):
                s += Ki[k, a] * Ki[k, b]
            Mi[a, b] = s
            Mi[b, a] = s
    log_root = 0.0
    for a in range(p):
        log_root += math.log(K[a, a])
        lp += (p - a + 1.0) * math.log(K[a, a])
    if prior.family == HALF_T:
        lp -= (prior.nu + 2.0 * p) * log_root
        weight = np.empty(p)
        for k in range(p):
            t = prior.nu * Mi[k, k] + 1.0 / prior.scale[k] ** 2
            lp -= 0.5 * (prior.nu + p) * math.log(t)
            weight[k] = 0.5 * (prior.nu + p) * prior.nu / t
        for a in range(p):
            for b in range(p):
                s = -0.5 * (prior.nu + 2.0 * p) * Mi[a, b]
                for k in range(p):
                    s += weight[k] * Mi[a, k] * Mi[k, b]
                G[a, b] += s
    else:
        lp -= (prior.df + p + 1.0) * log_root
        SMi = np.zeros((p, p))
        for a in range(p):
            for b in range(p):
                for k in range(p):
                    SMi[a, b] += prior.matrix[a, k] * Mi[k, b]
            lp -= 0.5 * SMi[a, a]
        for a in range(p):
            for b in range(p):
                s = -0.5 * (prior.df + p + 1.0) * Mi[a, b]
                for k in range(p):
                    s += 0.5 * Mi[a, k] * SMi[k, b]
                G[a, b] += s
    t = 0
    for a in range(p):
        for b in range(a + 1):
            s = 0.0
            for k in range(b, p):
                s += (G[a, k] + G[k, a]) * K[k, b]
            gradient[t] = s * K[a, a] + (p - a + 1.0) if a == b else s
            t += 1
    return lp


@compiled()
def finish_environment_variances(prior, theta, seen, g, gradient):
    """Log prior of the signed roots of Sigma_E, and the gradient in them; g (I,) is d/d sigma2_Ei."""
    lp = 0.0
    if prior.shape == SCALAR:
        total = 0.0
        for i in seen:
            total += g[i]
        part, slope = prior_of_root(prior, theta[0], 0)
        gradient[0] = 2.0 * theta[0] * total + slope
        return part
    for a in range(seen.shape[0]):
        part, slope = prior_of_root(prior, theta[a], seen[a])
        lp += part
        gradient[a] = 2.0 * theta[a] * g[seen[a]] + slope
    return lp


@compiled()
def prior_of_root(prior, s, k):
    """Log density of a signed root, symmetric, and its slope."""
    if prior.family == HALF_T:
        r = s * s / (prior.nu * prior.scale[k] ** 2)
        slope = -(prior.nu + 1.0) * s / (prior.nu * prior.scale[k] ** 2) / (1.0 + r)
        return -0.5 * (prior.nu + 1.0) * math.log1p(r), slope
    s2 = s * s
    if s2 < 1e-290:
        return -np.inf, 0.0
    return (
        -0.5 * (prior.df + 1.0) * math.log(s2) - 0.5 * prior.matrix[k, k] / s2,
        -(prior.df + 1.0) / s + prior.matrix[k, k] / (s2 * s),
    )
