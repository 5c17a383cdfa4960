"""Residual standard deviations of every environment, one correlation of the traits: R_i = D_i P D_i.

The parameters are log sd of every recorded column, with the prior of `bmtme.structures.spreads`, then the t (see
`bmtme.structures.parameters`) of P, whose margins are uniform as in `bmtme.structures.by_env`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.structures.by_env import LARGEST_LOG, count_pairs, finish_correlations, pack_correlations
from bmtme.structures.parameters import unpack_covariance
from bmtme.structures.part import Part, Start
from bmtme.structures.spreads import complete_spreads, finish_spreads, place_columns
from bmtme.structures.structure import Residual


@compiled()
def unpack_common(part, theta, K, P, sd):
    """P with its Cholesky factor, and standard deviations (I, L), one where there is no record."""
    M = part.col_env.shape[0]
    own = np.ones(part.n_trait + count_pairs(part.n_trait, part.prior.shape))
    own[part.n_trait :] = theta[M:]
    sd[:] = 1.0
    for m in range(M):
        if not (abs(theta[m]) < LARGEST_LOG):
            return False
        sd[part.col_env[m], part.col_trait[m]] = math.exp(theta[m])
    return unpack_covariance(own, part.prior.shape, K, P)


@compiled()
def build(part, theta, R):
    """The blocks of R."""
    L = part.n_trait
    K, P = np.empty((L, L)), np.empty((L, L))
    sd = np.empty((part.n_env, L))
    if not unpack_common(part, theta, K, P, sd):
        return False
    for i in range(part.n_env):
        for a in range(L):
            for b in range(L):
                R[i * L + a, b] = sd[i, a] * P[a, b] * sd[i, b]
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dR in the blocks of G."""
    L = part.n_trait
    K, P = np.empty((L, L)), np.empty((L, L))
    sd = np.empty((part.n_env, L))
    if not unpack_common(part, theta, K, P, sd):
        return -np.inf
    columns = place_columns(part)
    gradient[:] = 0.0
    lp = finish_spreads(theta, columns, gradient)
    GP = np.zeros((L, L))
    for i in range(part.n_env):
        for a in range(L):
            for b in range(L):
                g = sd[i, a] * G[i * L + a, b] * sd[i, b]
                GP[a, b] += g
                if columns[i, a] >= 0:
                    gradient[columns[i, a]] += 2.0 * g * P[a, b]
    n = part.col_env.shape[0]
    slope = np.empty(L + theta.shape[0] - n)
    lp += finish_correlations(part.prior.shape, K, P, GP, slope)
    gradient[n:] = slope[L:]
    return lp


@compiled()
def complete(rng, part, theta, whole):
    """The same with log sd of columns without a record given those of their trait."""
    I, L, M = part.n_env, part.n_trait, part.col_env.shape[0]
    complete_spreads(rng, part, theta, whole[: I * L].reshape(I, L))
    whole[I * L :] = theta[M:]
    return True


@dataclass(frozen=True)
class CommonCorrelation(Residual):
    """Residual standard deviations of every environment, learning from each other; one correlation of the traits."""

    name = "common_correlation"
    by_env = True
    common_correlation = True
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def count(self, part: Part) -> int:
        return len(part.col_env) + int(count_pairs(part.n_trait, part.prior.shape))

    def start(self, part: Part, start: Start) -> np.ndarray:
        log_sd = 0.5 * np.log(np.diag(start.R_e))
        return np.concatenate([log_sd[part.col_trait], pack_correlations(start.R_e, part.prior.shape)])
