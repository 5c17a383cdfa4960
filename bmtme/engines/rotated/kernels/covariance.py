"""Draws of covariances and of the auxiliaries of their priors: steps A.6 to A.11 of the paper.

Conventions: IW(S, n) has density prop. |M|^{-(n+p+1)/2} exp(-tr(S M^-1)/2), mean S/(n-p-1); IG(a, b) has
density prop. x^{-a-1} exp(-b/x). For p = 1, IW(S, n) = IG(n/2, S/2).

Half-t priors are the scale mixtures of Huang & Wand (2013, Bayesian Analysis 8:439-452):
M | a ~ IW(2 nu diag(1/a), nu + p - 1), a_k ~ IG(1/2, 1/A_k^2)  =>  sqrt(M_kk) ~ HalfT(nu, A_k);
for a variance alone s2 | a ~ IG(nu/2, nu/a), a ~ IG(1/2, 1/A^2)  =>  sqrt(s2) ~ HalfT(nu, A).
"""

from __future__ import annotations

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import invert_spd
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, INVERSE_WISHART, SCALAR
from bmtme.structures.priors import draw_inverse_gamma, draw_inverse_wishart, draw_variance_from_prior


@compiled()
def draw_auxiliaries(rng, M, prior, aux):
    """a | M: the mixing scales of a half-t prior (A.7, A.9, A.11)."""
    p = M.shape[0]
    if prior.family == INVERSE_WISHART:
        return True
    if prior.shape == FULL:
        Mi = np.empty((p, p))
        if not invert_spd(M, Mi):
            return False
        for k in range(p):
            aux[k] = draw_inverse_gamma(rng, 0.5 * (prior.nu + p), prior.nu * Mi[k, k] + 1.0 / prior.scale[k] ** 2)
    elif prior.shape == DIAGONAL:
        for k in range(p):
            aux[k] = draw_inverse_gamma(rng, 0.5 * (prior.nu + 1.0), prior.nu / M[k, k] + 1.0 / prior.scale[k] ** 2)
    else:
        aux[0] = draw_inverse_gamma(rng, 0.5 * (prior.nu + 1.0), prior.nu / M[0, 0] + 1.0 / prior.scale[0] ** 2)
    return True


@compiled()
def draw_covariance(rng, scatter, n, prior, aux, out):
    """M | n rows with cross-products `scatter` (A.6, A.10 and their diagonal and standard forms).

    Parameters
    ----------
    scatter : (p, p) sum of the outer products of n independent N(0, M) rows
    n : number of rows
    aux : (p,) current auxiliaries of a half-t prior
    out : (p, p) the draw
    """
    p = out.shape[0]
    if prior.shape == FULL:
        S = np.empty((p, p))
        if prior.family == HALF_T:
            for a in range(p):
                for b in range(p):
                    S[a, b] = scatter[a, b]
                S[a, a] += 2.0 * prior.nu / aux[a]
            return draw_inverse_wishart(rng, S, prior.nu + p - 1.0 + n, out)
        for a in range(p):
            for b in range(p):
                S[a, b] = scatter[a, b] + prior.matrix[a, b]
        return draw_inverse_wishart(rng, S, prior.df + n, out)
    for a in range(p):
        for b in range(p):
            out[a, b] = 0.0
    if prior.shape == DIAGONAL:
        for k in range(p):
            if prior.family == HALF_T:
                out[k, k] = draw_inverse_gamma(rng, 0.5 * (prior.nu + n), prior.nu / aux[k] + 0.5 * scatter[k, k])
            else:
                out[k, k] = draw_inverse_gamma(rng, 0.5 * (prior.df + n), 0.5 * (prior.matrix[k, k] + scatter[k, k]))
            if not (out[k, k] > 0.0 and out[k, k] < np.inf):
                return False
        return True
    total = 0.0
    for k in range(p):
        total += scatter[k, k]
    if prior.family == HALF_T:
        s2 = draw_inverse_gamma(rng, 0.5 * (prior.nu + n * p), prior.nu / aux[0] + 0.5 * total)
    else:
        s2 = draw_inverse_gamma(rng, 0.5 * (prior.df + n * p), 0.5 * (prior.matrix[0, 0] + total))
    for k in range(p):
        out[k, k] = s2
    return s2 > 0.0 and s2 < np.inf


@compiled(inline=True)
def draw_environment_variances(rng, squares, n, seen, prior, aux, out):
    """Sigma_E, diagonal, given the interaction effects (A.8, A.9).

    Parameters
    ----------
    squares : (I,) tr(Sigma_t^-1 B2_i' G^-1 B2_i) of each environment, n = r L squares each
    seen : (I,) whether the environment has records; the others come from the prior
    aux, out : (I,) auxiliaries and variances, both replaced
    """
    I = out.shape[0]
    if prior.shape == SCALAR:
        total = 0.0
        count = 0.0
        for i in range(I):
            if seen[i]:
                total += squares[i]
                count += n
        if prior.family == HALF_T:
            s2 = draw_inverse_gamma(rng, 0.5 * (prior.nu + count), prior.nu / aux[0] + 0.5 * total)
            aux[0] = draw_inverse_gamma(rng, 0.5 * (prior.nu + 1.0), prior.nu / s2 + 1.0 / prior.scale[0] ** 2)
        else:
            s2 = draw_inverse_gamma(rng, 0.5 * (prior.df + count), 0.5 * (prior.matrix[0, 0] + total))
        for i in range(I):
            out[i] = s2
        return s2 > 0.0 and s2 < np.inf
    for i in range(I):
        if not seen[i]:
            out[i] = draw_variance_from_prior(rng, prior, i)
            continue
        if prior.family == HALF_T:
            out[i] = draw_inverse_gamma(rng, 0.5 * (prior.nu + n), prior.nu / aux[i] + 0.5 * squares[i])
            aux[i] = draw_inverse_gamma(rng, 0.5 * (prior.nu + 1.0), prior.nu / out[i] + 1.0 / prior.scale[i] ** 2)
        else:
            out[i] = draw_inverse_gamma(rng, 0.5 * (prior.df + n), 0.5 * (prior.matrix[i, i] + squares[i]))
        if not (out[i] > 0.0 and out[i] < np.inf):
            return False
    return True
