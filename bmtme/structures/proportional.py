"""The paper's pair: C = (1 1' + Sigma_E) (x) Sigma_t with a diagonal Sigma_E, and R = R_e in every environment.

Sigma_t and Sigma_E are walked together; their parametrisation and its reasons are in `bmtme.structures.parameters`. The
parameters are those of (1 + mean sigma2_E) Sigma_t and, with several environments, asinh of the roots of Sigma_E.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.model.codes import DIAGONAL
from bmtme.structures.parameters import (
    LARGEST_ASINH,
    count_parameters,
    count_roots,
    finish_covariance,
    finish_roots,
    finish_total,
    list_covariance_flips,
    pack_covariance,
    spread_roots,
    unpack_covariance,
)
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.priors import draw_variance_from_prior
from bmtme.structures.structure import Genetic, Residual

# --- genetic ----------------------------------------------------------------------------------------------------------


@compiled()
def unpack_proportional(part, theta, K, Sigma_t, roots, s2_E):
    """Sigma_t with its Cholesky factor K, the roots of Sigma_E and its diagonal; False where out of bounds."""
    n = count_parameters(part.prior.shape, part.n_trait)
    if not unpack_covariance(theta[:n], part.prior.shape, K, Sigma_t):
        return False
    if part.n_env > 1:
        for t in theta[n:]:
            if not (abs(t) < LARGEST_ASINH):
                return False
        q = spread_roots(theta[n:], roots)
        K[:] /= q
        Sigma_t[:] /= q**2
        for a in range(part.seen.shape[0]):
            s2_E[part.seen[a]] = roots[a if part.prior_env.shape == DIAGONAL else 0] ** 2
    return True


@compiled()
def finish_proportional(part, theta, K, Sigma_t, roots, GS, gE, gradient):
    """Log prior of the parameters with Jacobian, and the gradient of everything.

    GS, gE : d/dSigma_t and d/dsigma2_E of the log likelihood; used up
    """
    n = count_parameters(part.prior.shape, part.n_trait)
    lp = finish_covariance(part.prior, K, Sigma_t, GS, gradient[:n])
    if part.n_env > 1:
        lp += finish_roots(part.prior_env, roots, part.seen, gE, gradient[n:])
        q = math.sqrt(1.0 + np.mean(roots**2))
        m = count_roots(part.prior.shape, part.n_trait)
        lp += finish_total(theta[:m], theta[n:], roots, q, gradient[:m], gradient[n:])
    return lp


@compiled()
def fill_proportional(Sigma_t, s2_E, col_env, col_trait, C):
    """The rows and columns of (1 1' + diag(s2_E)) (x) Sigma_t that are wanted."""
    M = col_env.shape[0]
    for a in range(M):
        i, l = col_env[a], col_trait[a]
        for b in range(M):
            C[a, b] = Sigma_t[l, col_trait[b]]
            if i == col_env[b]:
                C[a, b] += s2_E[i] * Sigma_t[l, col_trait[b]]


@compiled()
def gather_proportional(part, Sigma_t, s2_E, G, GS, gE):
    """Add d/dSigma_t and d/dsigma2_E of the log likelihood to GS and gE, from d/dC."""
    M = part.col_env.shape[0]
    for m in range(M):
        i, l = part.col_env[m], part.col_trait[m]
        for n in range(M):
            q = part.col_trait[n]
            GS[l, q] += G[m, n]
            if part.col_env[n] == i:
                GS[l, q] += s2_E[i] * G[m, n]
                gE[i] += G[m, n] * Sigma_t[l, q]


@compiled()
def make_room(part, theta):
    """Where `unpack_proportional` writes to: K, Sigma_t, roots, s2_E."""
    L = part.n_trait
    roots = np.empty(theta.shape[0] - count_parameters(part.prior.shape, L))
    return np.empty((L, L)), np.empty((L, L)), roots, np.zeros(part.n_env)


@compiled()
def build(part, theta, C):
    """C at these parameters; False where they are out of bounds."""
    K, Sigma_t, roots, s2_E = make_room(part, theta)
    if not unpack_proportional(part, theta, K, Sigma_t, roots, s2_E):
        return False
    fill_proportional(Sigma_t, s2_E, part.col_env, part.col_trait, C)
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dC in G."""
    L = part.n_trait
    K, Sigma_t, roots, s2_E = make_room(part, theta)
    if not unpack_proportional(part, theta, K, Sigma_t, roots, s2_E):
        return -np.inf
    GS = np.zeros((L, L))
    gE = np.zeros(part.n_env)
    gather_proportional(part, Sigma_t, s2_E, G, GS, gE)
    return finish_proportional(part, theta, K, Sigma_t, roots, GS, gE, gradient)


@compiled()
def complete(rng, part, theta, whole):
    """The same with Sigma_E of environments without a record from its prior."""
    L = part.n_trait
    n = count_parameters(part.prior.shape, L)
    K, Sigma_t, roots, s2_E = make_room(part, theta)
    whole[: theta.shape[0]] = theta
    if part.n_env == 1 or part.prior_env.shape != DIAGONAL:
        return True
    if not unpack_proportional(part, theta, K, Sigma_t, roots, s2_E):
        return False
    total = 0.0
    seen = 0
    for i in range(part.n_env):
        if seen < part.seen.shape[0] and part.seen[seen] == i:
            whole[n + i] = theta[n + seen]
            seen += 1
        else:
            s2_E[i] = draw_variance_from_prior(rng, part.prior_env, i)
            whole[n + i] = math.asinh(math.sqrt(s2_E[i]))
        total += s2_E[i] / part.n_env
    before = math.sqrt(1.0 + np.mean(roots**2))
    for l in range(count_roots(part.prior.shape, L)):
        whole[l] = theta[l] / before * math.sqrt(1.0 + total)
    return True


@dataclass(frozen=True)
class Proportional(Genetic):
    """C = (1 1' + Sigma_E) (x) Sigma_t, Sigma_E diagonal: the genetic covariance of the paper's models.

    Environments covary alike, and every environment has the same genetic correlations between traits.
    """

    name = "proportional"
    shapes = ("unstructured", "diagonal", "standard")
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def count(self, part: Part) -> int:
        roots = int(count_parameters(part.prior_env.shape, len(part.seen))) if part.n_env > 1 else 0
        return int(count_parameters(part.prior.shape, part.n_trait)) + roots

    def start(self, part: Part, start: Start) -> np.ndarray:
        theta = np.ones(part.size)
        n = int(count_parameters(part.prior.shape, part.n_trait))
        pack_covariance(part.prior.shape, np.linalg.cholesky(start.Sigma_t), theta[:n])
        if part.n_env > 1:
            wanted = part.seen if part.prior_env.shape == DIAGONAL else part.seen[:1]
            theta[n:] = np.arcsinh(np.sqrt(start.s2_E[wanted]))
            theta[: count_roots(part.prior.shape, part.n_trait)] *= np.sqrt(1.0 + start.s2_E[wanted].mean())
        return theta

    def list_flips(self, part: Part) -> list[Flip]:
        n = int(count_parameters(part.prior.shape, part.n_trait))
        return [*list_covariance_flips(part.prior.shape, part.n_trait), *((k, ()) for k in range(n, part.size))]


# --- residual ---------------------------------------------------------------------------------------------------------


@compiled()
def build_shared(part, theta, R):
    """R_e at these parameters; False where they are out of bounds."""
    K = np.empty((part.n_trait, part.n_trait))
    return unpack_covariance(theta, part.prior.shape, K, R)


@compiled()
def back_shared(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dR_e in G."""
    K = np.empty((part.n_trait, part.n_trait))
    R = np.empty((part.n_trait, part.n_trait))
    if not unpack_covariance(theta, part.prior.shape, K, R):
        return -np.inf
    return finish_covariance(part.prior, K, R, G, gradient)


@compiled()
def complete_shared(rng, part, theta, whole):
    """There is nothing to complete."""
    whole[:] = theta
    return True


@dataclass(frozen=True)
class Shared(Residual):
    """One residual covariance R_e of the traits in every environment."""

    name = "shared"
    shapes = ("unstructured", "diagonal", "standard")
    takes_prior = True
    build = staticmethod(build_shared)
    back = staticmethod(back_shared)
    complete = staticmethod(complete_shared)

    def count(self, part: Part) -> int:
        return int(count_parameters(part.prior.shape, part.n_trait))

    def start(self, part: Part, start: Start) -> np.ndarray:
        theta = np.ones(part.size)
        pack_covariance(part.prior.shape, np.linalg.cholesky(start.R_e), theta)
        return theta

    def list_flips(self, part: Part) -> list[Flip]:
        return list_covariance_flips(part.prior.shape, part.n_trait)


def is_paper_pair(genetic: Genetic, residual: Residual) -> bool:
    """Whether these are the paper's, which have Gibbs steps, and a fast form where all columns are recorded."""
    return type(genetic) is Proportional and type(residual) is Shared


#: Genetic and residual structure of the paper's models.
PAPER_PAIR = Proportional(), Shared()
