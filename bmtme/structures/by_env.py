"""A residual covariance of its own in every environment: R_i = D_i P_i D_i, D_i the standard deviations.

The parameters are log sd of every recorded column, with the prior of `bmtme.structures.spreads`, then the t (see
`bmtme.structures.parameters`) of the correlations between the traits recorded in each environment, with the margins
that Huang & Wand's prior with two degrees of freedom gives them: uniform, for any number of traits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import factor_cholesky, invert_factored
from bmtme.model.codes import FULL, HALF_T, CovariancePrior
from bmtme.structures.parameters import finish_covariance, pack_covariance, unpack_covariance
from bmtme.structures.part import Part, Start
from bmtme.structures.priors import draw_inverse_wishart
from bmtme.structures.spreads import complete_spreads, finish_spreads, place_columns
from bmtme.structures.structure import Residual

#: A log standard deviation beyond this (data have size one) is taken for a diverging trajectory.
LARGEST_LOG = 200.0


@compiled()
def count_pairs(n, shape):
    """Correlations of n traits that have parameters."""
    return n * (n - 1) // 2 if shape == FULL else 0


def pack_correlations(M: np.ndarray, shape: int) -> np.ndarray:
    """The t of a covariance's correlations."""
    p = len(M)
    own = np.ones(p + int(count_pairs(p, shape)))
    if len(own) > p:
        pack_covariance(shape, np.linalg.cholesky(M), own)
    return own[p:]


@compiled()
def finish_correlations(shape, K, M, G, gradient):
    """Log prior of the correlations alone, with Jacobian; the gradient in (d, t), d standard deviations, of everything.

    Correlations of IW(I, p + 1), each uniform: log p(P) = -(p + 1) log|P| - (p + 1)/2 sum_k log (P^-1)_kk. Huang &
    Wand's density with two degrees of freedom and infinite scales is flat in d, and that of P but for
    (P^-1)_kk^(-1/2), with (P^-1)_kk = d_k^2 (M^-1)_kk.

    K, M, G : Cholesky factor, covariance, and d/dM of the log likelihood, used up
    """
    p = M.shape[0]
    lp = 0.0
    if shape == FULL:
        Mi = np.empty((p, p))
        invert_factored(K, Mi)
        for k in range(p):
            lp += 0.5 * math.log(M[k, k] * Mi[k, k])
            for a in range(p):
                for b in range(p):
                    G[a, b] -= 0.5 * Mi[a, k] * Mi[k, b] / Mi[k, k]
    flat = CovariancePrior(HALF_T, shape, 2.0, np.full(p, np.inf), 0.0, np.eye(p))
    lp += finish_covariance(flat, K, M, G, gradient)
    if shape == FULL:
        for k in range(p):
            gradient[k] += 1.0 / math.sqrt(M[k, k])
    return lp


@compiled()
def unpack_env(theta, places, t, shape, K, M):
    """Covariance of one environment's traits, standard deviations at `places`, correlations from place t on."""
    p = places.shape[0]
    n = count_pairs(p, shape)
    own = np.empty(p + n)
    for a in range(p):
        if not (abs(theta[places[a]]) < LARGEST_LOG):
            return False
        own[a] = math.exp(theta[places[a]])
    own[p:] = theta[t : t + n]
    return unpack_covariance(own, shape, K, M)


@compiled()
def build(part, theta, R):
    """The blocks of R, those of environments without a record and rows of traits without one as of an identity."""
    L = part.n_trait
    columns = place_columns(part)
    t = part.col_env.shape[0]
    R[:] = 0.0
    for i in range(part.n_env):
        traits = np.flatnonzero(columns[i] >= 0)
        p = traits.shape[0]
        for l in range(L):
            R[i * L + l, l] = 1.0
        if p == 0:
            continue
        K, M = np.empty((p, p)), np.empty((p, p))
        if not unpack_env(theta, columns[i, traits], t, part.prior.shape, K, M):
            return False
        for a in range(p):
            for b in range(p):
                R[i * L + traits[a], traits[b]] = M[a, b]
        t += count_pairs(p, part.prior.shape)
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dR in the blocks of G."""
    L = part.n_trait
    columns = place_columns(part)
    shape = part.prior.shape
    t = part.col_env.shape[0]
    gradient[:] = 0.0
    lp = finish_spreads(theta, columns, gradient)
    for i in range(part.n_env):
        traits = np.flatnonzero(columns[i] >= 0)
        p = traits.shape[0]
        if p == 0:
            continue
        K, M, GM = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
        if not unpack_env(theta, columns[i, traits], t, shape, K, M):
            return -np.inf
        for a in range(p):
            for b in range(p):
                GM[a, b] = G[i * L + traits[a], traits[b]]
        n = count_pairs(p, shape)
        slope = np.empty(p + n)
        lp += finish_correlations(shape, K, M, GM, slope)
        for a in range(p):
            gradient[columns[i, traits[a]]] += slope[a] * math.exp(theta[columns[i, traits[a]]])
        gradient[t : t + n] = slope[p:]
        t += n
    return lp


@compiled()
def extend_correlations(rng, P, traits, L, out):
    """Correlations of all L traits from the prior given those of some, P (q, q) of `traits`, into `out`.

    The prior is that of M ~ IW(I, L + 1) scaled to correlations. Of it M_gg ~ IW(I, q + 1), whose variances given its
    correlations are d_k^2 = (P^-1)_kk / (2 Gamma((q + 1) / 2)); and apart from M_gg, M_a.g ~ IW(I, L + 1) and
    M_ag M_gg^-1 = B ~ MN(0, M_a.g, I). With q = 0 all is M_a.g.
    """
    q = traits.shape[0]
    n = L - q
    order = np.empty(L, np.int64)
    order[:q] = traits
    k = q
    for l in range(L):
        if not np.any(traits == l):
            order[k] = l
            k += 1
    M = np.zeros((L, L))
    if q > 0:
        K, Pi = np.empty((q, q)), np.empty((q, q))
        if not factor_cholesky(P, K):
            return False
        invert_factored(K, Pi)
        d = np.empty(q)
        for a in range(q):
            d[a] = math.sqrt(Pi[a, a] / (2.0 * rng.standard_gamma(0.5 * (q + 1))))
        for a in range(q):
            for b in range(q):
                M[a, b] = d[a] * P[a, b] * d[b]
    rest, factor = np.empty((n, n)), np.empty((n, n))
    if not draw_inverse_wishart(rng, np.eye(n), L + 1.0, rest) or not factor_cholesky(rest, factor):
        return False
    M[q:, q:] = rest
    if q > 0:
        B = np.empty((n, q))
        for a in range(n):
            for b in range(q):
                B[a, b] = rng.standard_normal()
        B = np.dot(factor, B)
        cross = np.dot(B, np.ascontiguousarray(M[:q, :q]))
        M[q:, :q] = cross
        M[:q, q:] = cross.T
        M[q:, q:] += np.dot(cross, np.ascontiguousarray(B.T))
    for a in range(L):
        for b in range(L):
            out[order[a], order[b]] = M[a, b] / math.sqrt(M[a, a] * M[b, b])
    return True


@compiled()
def complete(rng, part, theta, whole):
    """The same for every environment and trait: log sd given those of the trait, other correlations from the prior."""
    I, L, shape = part.n_env, part.n_trait, part.prior.shape
    complete_spreads(rng, part, theta, whole[: I * L].reshape(I, L))
    columns = place_columns(part)
    t, to = part.col_env.shape[0], I * L
    every = count_pairs(L, shape)
    for i in range(I):
        traits = np.flatnonzero(columns[i] >= 0)
        p = traits.shape[0]
        n = count_pairs(p, shape)
        if p == L:
            whole[to : to + every] = theta[t : t + n]
        elif every > 0:
            K, P = np.empty((p, p)), np.empty((p, p))
            own = np.ones(p + n)
            own[p:] = theta[t : t + n]
            full, factor = np.empty((L, L)), np.empty((L, L))
            if not unpack_covariance(own, shape, K, P) or not extend_correlations(rng, P, traits, L, full):
                return False
            if not factor_cholesky(full, factor):
                return False
            own = np.ones(L + every)
            pack_covariance(shape, factor, own)
            whole[to : to + every] = own[L:]
        t += n
        to += every
    return True


@dataclass(frozen=True)
class ByEnv(Residual):
    """A residual covariance of the traits in each environment; standard deviations learn from other environments."""

    name = "by_env"
    by_env = True
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def count(self, part: Part) -> int:
        widths = np.bincount(part.col_env, minlength=part.n_env)
        return len(part.col_env) + sum(int(count_pairs(int(p), part.prior.shape)) for p in widths)

    def start(self, part: Part, start: Start) -> np.ndarray:
        log_sd = 0.5 * np.log(np.diag(start.R_e))
        groups = [part.col_trait[part.col_env == i] for i in range(part.n_env)]
        own = [pack_correlations(start.R_e[np.ix_(traits, traits)], part.prior.shape) for traits in groups]
        return np.concatenate([log_sd[part.col_trait], *own])
