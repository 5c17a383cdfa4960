"""A covariance of the environments for each trait, and one correlation of the traits.

C_(il, hq) = (S_l S_q)_ih P_lq with S_l the symmetric root of K_l, so that trait l has the covariance K_l of the
environments. Roots are symmetric, where Cholesky factors would make C depend on the order of the environments. In
environment i traits l and q correlate by P_lq times the cosine between rows i of S_l and S_q: by P_lq where K_l and K_q
are proportional, which is `bmtme.structures.separable`, and by less elsewhere.

The parameters are those of each K_l (see `bmtme.structures.parameters`), with Huang & Wand's prior as in
`bmtme.structures.free`, then the t of P, whose margins are uniform as in `bmtme.structures.by_env`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import differentiate_root, take_root
from bmtme.model.codes import FULL, HALF_T, CovariancePrior
from bmtme.structures.by_env import count_pairs, finish_correlations, pack_correlations
from bmtme.structures.main_and_interaction import unpack_draws
from bmtme.structures.parameters import (
    count_parameters,
    finish_covariance,
    list_covariance_flips,
    pack_covariance,
    unpack_covariance,
)
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.structure import Genetic, refuse_absent, refuse_single


@compiled()
def make_room(part):
    """Where `unpack_traits` writes to."""
    I, L = part.n_env, part.n_trait
    K, P = np.empty((4, L, I, I)), np.empty((2, L, L))
    return K[0], K[1], K[2], K[3], np.empty((L, I)), P[0], P[1]


@compiled()
def unpack_traits(part, theta, factor, K, S, V, s, factor_P, P):
    """Each K with its Cholesky factor and its root S = V diag(s) V' (L, I, I), and P (L, L) with its factor.

    False where parameters are out of bounds or a K is singular to rounding.
    """
    L = part.n_trait
    n = count_parameters(FULL, part.n_env)
    for l in range(L):
        if not unpack_covariance(theta[l * n : (l + 1) * n], FULL, factor[l], K[l]):
            return False
        if not take_root(K[l], s[l], V[l], S[l]):
            return False
    own = np.ones(L + theta.shape[0] - L * n)
    own[L:] = theta[L * n :]
    return unpack_covariance(own, FULL, factor_P, P)


@compiled()
def build(part, theta, C):
    """C at these parameters, every column recorded; False where they are out of bounds."""
    I, L = part.n_env, part.n_trait
    factor, K, S, V, s, factor_P, P = make_room(part)
    if not unpack_traits(part, theta, factor, K, S, V, s, factor_P, P):
        return False
    for l in range(L):
        for q in range(l + 1):
            for i in range(I):
                for h in range(I):
                    c = K[l, i, h]
                    if q < l:
                        c = 0.0
                        for k in range(I):
                            c += S[l, i, k] * S[q, k, h]
                        c *= P[l, q]
                    C[i * L + l, h * L + q] = c
                    C[h * L + q, i * L + l] = c
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dC in G.

    With G_lq (I, I) the block of traits l and q, d/dK_l is G_ll beside what comes through the root, where
    d/dS_l = sum_q P_lq (G_lq S_q + (G_lq S_q)'), q other than l; d/dP_lq = tr(S_l G_lq S_q).
    """
    I, L = part.n_env, part.n_trait
    factor, K, S, V, s, factor_P, P = make_room(part)
    if not unpack_traits(part, theta, factor, K, S, V, s, factor_P, P):
        return -np.inf
    n = count_parameters(FULL, I)
    GP = np.zeros((L, L))
    GK, GS = np.empty((I, I)), np.empty((I, I))
    lp = 0.0
    for l in range(L):
        GS[:] = 0.0
        for q in range(L):
            for i in range(I):
                for k in range(I):
                    if q == l:
                        GK[i, k] = G[i * L + l, k * L + l]
                        continue
                    g = 0.0
                    for h in range(I):
                        g += G[i * L + l, h * L + q] * S[q, h, k]
                    GS[i, k] += P[l, q] * g
                    GS[k, i] += P[l, q] * g
                    GP[l, q] += S[l, i, k] * g
        differentiate_root(s[l], V[l], GS, GK)
        prior = CovariancePrior(HALF_T, FULL, part.prior.nu, np.full(I, part.prior.scale[l]), 0.0, np.eye(I))
        lp += finish_covariance(prior, factor[l], K[l], GK, gradient[l * n : (l + 1) * n])
    slope = np.empty(L + theta.shape[0] - L * n)
    lp += finish_correlations(FULL, factor_P, P, GP, slope)
    gradient[L * n :] = slope[L:]
    return lp


@compiled()
def complete(rng, part, theta, whole):
    """There is nothing to complete: every column has a record (`EnvironmentsByTrait.check`)."""
    whole[:] = theta
    return True


@dataclass(frozen=True)
class EnvironmentsByTrait(Genetic):
    """C_(il, hq) = (K_l^1/2 K_q^1/2)_ih P_lq: a covariance K_l of the environments for each trait, one correlation P.

    Environments may covary as they like in each trait, with fewer parameters than in a free C:
    L I (I + 1) / 2 + L (L - 1) / 2 for I environments and L traits. Needs two of each, and records in every column
    (environment, trait). Goes with ``structure="unstructured"`` and a `bmtme.HalfT` as ``prior_t``: it is that of each
    K_l, with the scale of the trait.
    """

    name = "environments_by_trait"
    takes_wishart = False
    takes_prior_E = False
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def check(self, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str]) -> None:
        # The prior has correlations of both signs alike with the trait's other environments, not with the other traits.
        why = (
            "there lines would be told apart by other traits in the same environment at most, never by the trait's "
            "own records elsewhere"
        )
        refuse_absent(self, recorded, envs, traits, why)
        refuse_single(self, recorded)

    def count(self, part: Part) -> int:
        return part.n_trait * int(count_parameters(FULL, part.n_env)) + int(count_pairs(part.n_trait, FULL))

    def start(self, part: Part, start: Start) -> np.ndarray:
        own = np.ones((part.n_trait, int(count_parameters(FULL, part.n_env))))
        factor = np.linalg.cholesky(1.0 + np.diag(start.s2_E))
        for l in range(part.n_trait):
            pack_covariance(FULL, np.sqrt(start.Sigma_t[l, l]) * factor, own[l])
        return np.concatenate([own.ravel(), pack_correlations(start.Sigma_t, FULL)])

    def list_flips(self, part: Part) -> list[Flip]:
        n = int(count_parameters(FULL, part.n_env))
        return [flip for l in range(part.n_trait) for flip in list_covariance_flips(FULL, part.n_env, l * n)]

    def report(self, part: Part, seen: np.ndarray, thetas: np.ndarray) -> Mapping[str, np.ndarray]:
        I, L = part.n_env, part.n_trait
        n = int(count_parameters(FULL, I))
        K, P = np.empty((L, len(thetas), I, I)), np.empty((len(thetas), L, L))
        correlations = np.hstack([np.ones((len(thetas), L)), thetas[:, L * n :]])
        if not all(
            unpack_draws(FULL, np.ascontiguousarray(own), out)
            for own, out in (*((thetas[:, l * n : (l + 1) * n], K[l]) for l in range(L)), (correlations, P))
        ):
            raise np.linalg.LinAlgError("parameters of a covariance are out of bounds")
        return {"env_covariance": np.moveaxis(K, 0, -1), "P": P}
