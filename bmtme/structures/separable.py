"""One covariance of environments, the same for every trait, times one of the traits: C = K (x) Sigma_t.

K_ih = sqrt(k_i k_h) P_ih with k_i = I exp(a_i) / sum exp(a), a_i ~ N(0, 1), as in `bmtme.structures.
main_and_interaction`: as the mean of k is 1, the scale of C is that of Sigma_t. P has the margins that Huang & Wand's
prior with two degrees of freedom gives correlations (see `bmtme.structures.by_env`): uniform, for any number of
environments, where LKJ(1) would draw them to zero as environments grow. There is no main effect beside a free K, part
of which would repeat it.

The parameters are those of Sigma_t (see `bmtme.structures.parameters`), then a, then the t of P.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.errors import UsageError
from bmtme.linalg.compile import compiled
from bmtme.model.codes import FULL
from bmtme.structures.by_env import count_pairs, finish_correlations, pack_correlations
from bmtme.structures.main_and_interaction import MOST, finish_sizes, spread_sizes, unpack_draws
from bmtme.structures.parameters import (
    count_parameters,
    finish_covariance,
    list_covariance_flips,
    pack_covariance,
    unpack_covariance,
)
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.structure import Genetic, refuse_single
from bmtme.words import list_names


@compiled()
def unpack_factors(part, theta, root, Sigma, root_env, K):
    """Sigma_t (L, L) and K (I, I) with their Cholesky factors; False where out of bounds."""
    I = part.n_env
    n = count_parameters(part.prior.shape, part.n_trait)
    own = np.empty(theta.shape[0] - n)
    if not spread_sizes(part, theta[n : n + I], own[:I]):
        return False
    for i in range(I):
        own[i] = math.sqrt(own[i])
    own[I:] = theta[n + I :]
    if not unpack_covariance(own, FULL, root_env, K):
        return False
    return unpack_covariance(theta[:n], part.prior.shape, root, Sigma)


@compiled()
def build(part, theta, C):
    """C at these parameters; False where they are out of bounds."""
    root, Sigma = np.empty((part.n_trait, part.n_trait)), np.empty((part.n_trait, part.n_trait))
    root_env, K = np.empty((part.n_env, part.n_env)), np.empty((part.n_env, part.n_env))
    if not unpack_factors(part, theta, root, Sigma, root_env, K):
        return False
    for m in range(C.shape[0]):
        i, l = part.col_env[m], part.col_trait[m]
        for n in range(C.shape[0]):
            C[m, n] = K[i, part.col_env[n]] * Sigma[l, part.col_trait[n]]
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dC in G."""
    I = part.n_env
    root, Sigma = np.empty((part.n_trait, part.n_trait)), np.empty((part.n_trait, part.n_trait))
    root_env, K = np.empty((I, I)), np.empty((I, I))
    if not unpack_factors(part, theta, root, Sigma, root_env, K):
        return -np.inf
    GS, GK = np.zeros(Sigma.shape), np.zeros(K.shape)
    for m in range(G.shape[0]):
        i, l = part.col_env[m], part.col_trait[m]
        for n in range(G.shape[0]):
            GS[l, part.col_trait[n]] += K[i, part.col_env[n]] * G[m, n]
            GK[i, part.col_env[n]] += Sigma[l, part.col_trait[n]] * G[m, n]
    n = count_parameters(part.prior.shape, part.n_trait)
    slope = np.empty(theta.shape[0] - n)
    lp = finish_correlations(FULL, root_env, K, GK, slope)
    k, gk = np.empty(I), np.empty(I)
    for i in range(I):
        k[i] = K[i, i]
        gk[i] = 0.5 * slope[i] / math.sqrt(k[i])
    lp += finish_sizes(part, theta[n : n + I], k, gk, gradient[n : n + I])
    gradient[n + I :] = slope[I:]
    return lp + finish_covariance(part.prior, root, Sigma, GS, gradient[:n])


@compiled()
def complete(rng, part, theta, whole):
    """There is nothing to complete: every environment has a record (`Separable.check`)."""
    whole[:] = theta
    return True


@dataclass(frozen=True)
class Separable(Genetic):
    """C = K (x) Sigma_t: one covariance K of the environments, free, for all traits alike.

    K has a mean diagonal of 1, so that Sigma_t (as ``prior_t``) is the traits' covariance in an environment on average;
    environments may covary as they like, negatively too. Needs two traits, and records in two environments at least and
    in all that the trial has.
    """

    name = "separable"
    shapes = ("unstructured", "diagonal")
    takes_prior_E = False
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def check(self, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str]) -> None:
        absent = [env for env, columns in zip(envs, recorded, strict=False) if not columns.any()]
        if absent:
            raise UsageError(
                f"the genetic structure {self.name} cannot serve environments without any record "
                f"({list_names(absent)}): as nothing ties them to the others, all lines would be alike there. Use "
                "bmtme.Proportional() or bmtme.MainAndInteraction(), or leave these environments out."
            )
        refuse_single(self, recorded)

    def count(self, part: Part) -> int:
        pairs = int(count_pairs(part.n_env, FULL))
        return int(count_parameters(part.prior.shape, part.n_trait)) + part.n_env + pairs

    def start(self, part: Part, start: Start) -> np.ndarray:
        n = int(count_parameters(part.prior.shape, part.n_trait))
        own = np.ones(n)
        k = 1.0 + start.s2_E
        pack_covariance(part.prior.shape, np.linalg.cholesky(k.mean() * start.Sigma_t), own)
        a = np.clip(np.log(k / k.mean()), -MOST, MOST)
        return np.concatenate([own, a, pack_correlations(1.0 + np.diag(start.s2_E), FULL)])

    def list_flips(self, part: Part) -> list[Flip]:
        return list_covariance_flips(part.prior.shape, part.n_trait)

    def report(self, part: Part, seen: np.ndarray, thetas: np.ndarray) -> Mapping[str, np.ndarray]:
        n, I = int(count_parameters(part.prior.shape, part.n_trait)), part.n_env
        k = np.exp(thetas[:, n : n + I])
        k /= k.mean(axis=1, keepdims=True)
        found = {}
        for name, shape, own, p in (
            ("Sigma_t", part.prior.shape, thetas[:, :n], part.n_trait),
            ("K", FULL, np.hstack([np.sqrt(k), thetas[:, n + I :]]), I),
        ):
            found[name] = np.empty((len(thetas), p, p))
            if not unpack_draws(shape, np.ascontiguousarray(own), found[name]):
                raise np.linalg.LinAlgError(f"parameters of {name} are out of bounds")
        return found
