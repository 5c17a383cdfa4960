"""A made-up genetic structure, in one file as any other: environments with scales of their own, half alike.

C[(i, l), (h, q)] = (1 + [i = h]) / 2 f_i f_h Sigma_t[l, q], log f_i ~ N(0, 0.5^2). The parameters are those of Sigma_t,
then log f of the environments with a record.
"""

import math
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.structures.parameters import (
    count_parameters,
    finish_covariance,
    list_covariance_flips,
    pack_covariance,
    unpack_covariance,
)
from bmtme.structures.structure import Genetic

SD = 0.5


@compiled()
def unpack(part, theta, K, Sigma_t, f):
    """Sigma_t with its Cholesky factor, and f (I,)."""
    n = count_parameters(part.prior.shape, part.n_trait)
    for a in range(part.seen.shape[0]):
        f[part.seen[a]] = math.exp(theta[n + a])
    return unpack_covariance(theta[:n], part.prior.shape, K, Sigma_t)


@compiled()
def build(part, theta, C):
    K, Sigma_t = np.empty((2, part.n_trait, part.n_trait))
    f = np.empty(part.n_env)
    if not unpack(part, theta, K, Sigma_t, f):
        return False
    env, trait = part.col_env, part.col_trait
    for m in range(C.shape[0]):
        for n in range(C.shape[0]):
            share = 1.0 if env[m] == env[n] else 0.5
            C[m, n] = share * f[env[m]] * f[env[n]] * Sigma_t[trait[m], trait[n]]
    return True


@compiled()
def back(part, theta, G, gradient):
    K, Sigma_t = np.empty((2, part.n_trait, part.n_trait))
    f = np.empty(part.n_env)
    if not unpack(part, theta, K, Sigma_t, f):
        return -np.inf
    env, trait = part.col_env, part.col_trait
    GS = np.zeros(Sigma_t.shape)
    slope = np.zeros(part.n_env)
    for m in range(G.shape[0]):
        for n in range(G.shape[0]):
            share = 1.0 if env[m] == env[n] else 0.5
            g = share * f[env[m]] * f[env[n]] * G[m, n]
            GS[trait[m], trait[n]] += g
            slope[env[m]] += 2.0 * g * Sigma_t[trait[m], trait[n]]
    n = count_parameters(part.prior.shape, part.n_trait)
    lp = finish_covariance(part.prior, K, Sigma_t, GS, gradient[:n])
    for a in range(part.seen.shape[0]):
        lp -= 0.5 * (theta[n + a] / SD) ** 2
        gradient[n + a] = slope[part.seen[a]] - theta[n + a] / SD**2
    return lp


@compiled()
def complete(rng, part, theta, whole):
    n = count_parameters(part.prior.shape, part.n_trait)
    whole[:n] = theta[:n]
    for i in range(part.n_env):
        whole[n + i] = SD * rng.standard_normal()
    for a in range(part.seen.shape[0]):
        whole[n + part.seen[a]] = theta[n + a]
    return True


@dataclass(frozen=True)
class HalfAlike(Genetic):
    """Environments with scales of their own, half alike."""

    name = "half-alike"
    shapes = ("unstructured", "diagonal")
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def count(self, part):
        return int(count_parameters(part.prior.shape, part.n_trait)) + len(part.seen)

    def start(self, part, start):
        theta = np.ones(part.size)
        n = int(count_parameters(part.prior.shape, part.n_trait))
        pack_covariance(part.prior.shape, np.linalg.cholesky(start.Sigma_t), theta[:n])
        theta[n:] = 0.5 * np.log1p(start.s2_E[part.seen])
        return theta

    def list_flips(self, part):
        return list_covariance_flips(part.prior.shape, part.n_trait)
