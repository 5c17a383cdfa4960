"""One residual covariance, larger or smaller in each environment: R_i = f_i R_e.

The deviations g_i = log(f_i) / 2 of the log standard deviations, the same for every trait, sum to zero over the
environments with a record, so that R_e is the geometric mean of the R_i. Their prior is that of the deviations in
`bmtme.structures.spreads`: N(0, s^2) with s^2 ~ IG(2, 0.18) integrated out; R_e has that of residual covariances.

The parameters are those of R_e (see `bmtme.structures.parameters`), then z, one number fewer than environments: g is
the image of (0, z) under the reflection that takes the first axis to the line of equal deviations, so that lengths stay
and no environment stands out. In the parameters of every environment, which do not say where the records are, g sums to
zero over all environments, and R_e has the size that goes with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.structures.by_env import LARGEST_LOG
from bmtme.structures.parameters import (
    count_parameters,
    count_roots,
    finish_covariance,
    list_covariance_flips,
    pack_covariance,
    unpack_covariance,
)
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.spreads import complete_logs, finish_spreads
from bmtme.structures.structure import Residual


@compiled()
def spread_deviations(z, g):
    """Deviations g (n,) that sum to zero, of z (n - 1,)."""
    n = g.shape[0]
    total = np.sum(z)
    g[0] = total / math.sqrt(n)
    for a in range(n - 1):
        g[a + 1] = z[a] - total / (n - math.sqrt(n))


@compiled()
def gather_deviations(g, z):
    """z (n - 1,) of deviations, or slopes in it of slopes in them: the transposed map, which is the inverse, too."""
    n = g.shape[0]
    total = 0.0
    for a in range(n - 1):
        total += g[a + 1]
    for a in range(n - 1):
        z[a] = g[a + 1] + g[0] / math.sqrt(n) - total / (n - math.sqrt(n))


@compiled()
def unpack_scaled(part, theta, K, R_e, g):
    """R_e with its Cholesky factor, and g of the environments with a record; False where out of bounds."""
    n = count_parameters(part.prior.shape, part.n_trait)
    for a in range(n, theta.shape[0]):
        if not (abs(theta[a]) < LARGEST_LOG):
            return False
    spread_deviations(theta[n:], g)
    return unpack_covariance(theta[:n], part.prior.shape, K, R_e)


@compiled()
def build(part, theta, R):
    """The blocks of R, that of an environment without a record as R_e."""
    L = part.n_trait
    K, R_e = np.empty((L, L)), np.empty((L, L))
    g = np.empty(part.seen.shape[0])
    if not unpack_scaled(part, theta, K, R_e, g):
        return False
    for i in range(part.n_env):
        R[i * L : (i + 1) * L] = R_e
    for a in range(part.seen.shape[0]):
        i = part.seen[a]
        R[i * L : (i + 1) * L] *= math.exp(2.0 * g[a])
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dR in the blocks of G."""
    L, S = part.n_trait, part.seen.shape[0]
    K, R_e = np.empty((L, L)), np.empty((L, L))
    g, slope = np.empty(S), np.zeros(S)
    if not unpack_scaled(part, theta, K, R_e, g):
        return -np.inf
    lp = finish_spreads(g, np.arange(S).reshape(S, 1), slope)  # the mean is zero, its prior a constant
    GR = np.zeros((L, L))
    for a in range(S):
        f = math.exp(2.0 * g[a])
        first = part.seen[a] * L
        for l in range(L):
            for q in range(L):
                GR[l, q] += f * G[first + l, q]
                slope[a] += 2.0 * f * G[first + l, q] * R_e[l, q]
    n = count_parameters(part.prior.shape, L)
    gather_deviations(slope, gradient[n:])
    return lp + finish_covariance(part.prior, K, R_e, GR, gradient[:n])


@compiled()
def complete(rng, part, theta, whole):
    """The same with g of environments without a record given the others; its mean is then zero over all."""
    n = count_parameters(part.prior.shape, part.n_trait)
    g, known = np.zeros(part.n_env), np.zeros(part.n_env, np.bool_)
    own = np.empty(part.seen.shape[0])
    spread_deviations(theta[n:], own)
    g[part.seen], known[part.seen] = own, True
    complete_logs(rng, known, g)
    mean = np.mean(g)
    whole[:n] = theta[:n]
    for l in range(count_roots(part.prior.shape, part.n_trait)):
        whole[l] *= math.exp(mean)
    gather_deviations(g - mean, whole[n:])
    return True


@dataclass(frozen=True)
class Scaled(Residual):
    """R_i = f_i R_e: residual variances of all traits change alike between environments, correlations not at all."""

    name = "scaled"
    by_env = True
    common_correlation = True
    common_scale = True
    takes_prior = True
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def count(self, part: Part) -> int:
        return int(count_parameters(part.prior.shape, part.n_trait)) + len(part.seen) - 1

    def start(self, part: Part, start: Start) -> np.ndarray:
        own = np.ones(int(count_parameters(part.prior.shape, part.n_trait)))
        pack_covariance(part.prior.shape, np.linalg.cholesky(start.R_e), own)
        return np.concatenate([own, np.zeros(len(part.seen) - 1)])

    def list_flips(self, part: Part) -> list[Flip]:
        return list_covariance_flips(part.prior.shape, part.n_trait)
