"""Main effects of lines and their interaction with environments, each with a covariance of the traits of its own.

C = 1 1' (x) Sigma_t + diag(k) (x) Sigma_gt. With k = "equal" all k_i are 1; with "free" k_i = S exp(a_i) / sum exp(a),
a_i ~ N(0, 1), over the S environments with a record: as their mean k is 1, the scale of the interaction is that of
Sigma_gt. An environment without a record has k = S exp(a_new) / sum exp(a).

The parameters are those of Sigma_t and of Sigma_gt (see `bmtme.structures.parameters`), both with the prior of the
traits' covariances, then a if k is free. In the parameters of every environment, which do not say where the records
are, the mean of k is 1 over all environments, and Sigma_gt has the size that goes with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bmtme.arguments import is_one_of, show
from bmtme.errors import UsageError
from bmtme.linalg.compile import compiled
from bmtme.structures.parameters import (
    LARGEST_ASINH,
    count_parameters,
    count_roots,
    finish_covariance,
    list_covariance_flips,
    pack_covariance,
    unpack_covariance,
)
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.structure import Genetic, Residual
from bmtme.words import list_names

SIZES = ("equal", "free")
#: A start has no log k further from zero.
MOST = 2.0


@compiled()
def spread_sizes(part, a, k):
    """k (I,) of a, which is empty where all are equal; False where out of bounds."""
    k[:] = 1.0
    total = 0.0
    for b in range(a.shape[0]):
        if not (abs(a[b]) < LARGEST_ASINH):
            return False
        k[part.seen[b]] = math.exp(a[b])
        total += k[part.seen[b]] / a.shape[0]
    for b in range(a.shape[0]):
        k[part.seen[b]] /= total
    return True


@compiled()
def unpack_effects(part, theta, K, Sigma, k):
    """Sigma_t and Sigma_gt (2, L, L) with their Cholesky factors, and k (I,); False where out of bounds."""
    n = count_parameters(part.prior.shape, part.n_trait)
    for e in range(2):
        if not unpack_covariance(theta[e * n : (e + 1) * n], part.prior.shape, K[e], Sigma[e]):
            return False
    return spread_sizes(part, theta[2 * n :], k)


@compiled()
def build(part, theta, C):
    """C at these parameters; False where they are out of bounds."""
    K, Sigma = np.empty((2, part.n_trait, part.n_trait)), np.empty((2, part.n_trait, part.n_trait))
    k = np.empty(part.n_env)
    if not unpack_effects(part, theta, K, Sigma, k):
        return False
    for m in range(C.shape[0]):
        i, l = part.col_env[m], part.col_trait[m]
        for n in range(C.shape[0]):
            C[m, n] = Sigma[0, l, part.col_trait[n]]
            if part.col_env[n] == i:
                C[m, n] += k[i] * Sigma[1, l, part.col_trait[n]]
    return True


@compiled()
def finish_sizes(part, a, k, gk, gradient):
    """Log prior of a; the gradient of everything, from d/dk in gk.

    dk_i / da_b = k_i ([i = b] - k_b / S), so that dl/da_b = k_b (gk_b - sum_i gk_i k_i / S).
    """
    lp = 0.0
    mean = 0.0
    for b in range(a.shape[0]):
        mean += gk[part.seen[b]] * k[part.seen[b]] / a.shape[0]
    for b in range(a.shape[0]):
        lp -= 0.5 * a[b] ** 2
        gradient[b] = k[part.seen[b]] * (gk[part.seen[b]] - mean) - a[b]
    return lp


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dC in G."""
    K, Sigma = np.empty((2, part.n_trait, part.n_trait)), np.empty((2, part.n_trait, part.n_trait))
    k, gk = np.empty(part.n_env), np.zeros(part.n_env)
    if not unpack_effects(part, theta, K, Sigma, k):
        return -np.inf
    GS = np.zeros(Sigma.shape)
    for m in range(G.shape[0]):
        i, l = part.col_env[m], part.col_trait[m]
        for n in range(G.shape[0]):
            q = part.col_trait[n]
            GS[0, l, q] += G[m, n]
            if part.col_env[n] == i:
                GS[1, l, q] += k[i] * G[m, n]
                gk[i] += Sigma[1, l, q] * G[m, n]
    n = count_parameters(part.prior.shape, part.n_trait)
    lp = finish_sizes(part, theta[2 * n :], k, gk, gradient[2 * n :])
    for e in range(2):
        lp += finish_covariance(part.prior, K[e], Sigma[e], GS[e], gradient[e * n : (e + 1) * n])
    return lp


@compiled()
def complete(rng, part, theta, whole):
    """The same with a of environments without a record from its prior; mean k is then 1 over all environments."""
    n = count_parameters(part.prior.shape, part.n_trait)
    whole[: 2 * n] = theta[: 2 * n]
    a = whole[2 * n :]
    for i in range(a.shape[0]):
        a[i] = rng.standard_normal()
    S = theta.shape[0] - 2 * n
    if S == 0:
        return True
    seen = 0.0
    for b in range(S):
        a[part.seen[b]] = theta[2 * n + b]
        seen += math.exp(theta[2 * n + b]) / S
    # k exp(a) over the mean of all instead of those seen: Sigma_gt takes up the difference.
    for l in range(count_roots(part.prior.shape, part.n_trait)):
        whole[n + l] = theta[n + l] * math.sqrt(np.mean(np.exp(a)) / seen)
    return True


@compiled()
def unpack_draws(shape, thetas, out):
    """The covariance at each row of parameters (n, size), into (n, p, p)."""
    K = np.empty(out.shape[1:])
    for t in range(thetas.shape[0]):
        if not unpack_covariance(thetas[t], shape, K, out[t]):
            return False
    return True


@dataclass(frozen=True)
class MainAndInteraction(Genetic):
    """C = 1 1' (x) Sigma_t + diag(k) (x) Sigma_gt: main effects, and an interaction with correlations of its own.

    Parameters
    ----------
    k : {"equal", "free"}, optional
        Size of the interaction in each environment: 1, or free around a mean of 1, log-normal up to that. By default
        equal with one residual covariance, whose differences between environments k would absorb, else free.

    Raises
    ------
    UsageError
        For another k.
    """

    k: Literal["equal", "free"] | None = None

    name = "main_and_interaction"
    shapes = ("unstructured", "diagonal")
    takes_prior_E = False
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def __post_init__(self) -> None:
        if self.k is not None and not is_one_of(self.k, SIZES):
            raise UsageError(f"k of MainAndInteraction must be one of {list_names(SIZES)}, got {show(self.k)}.")

    @property
    def alike(self) -> bool:
        return self.k == "equal"

    def settle(self, residual: Residual) -> MainAndInteraction:
        return self if self.k is not None else replace(self, k="free" if residual.by_env else "equal")

    def check(self, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str]) -> None:
        if recorded.any(axis=1).sum() < 2:
            raise UsageError(
                f"the genetic structure {self.name} needs records in two environments at least: in one, nothing tells "
                "main effects from interaction. Use bmtme.Proportional(), whose interaction is left out then."
            )

    def count(self, part: Part) -> int:
        assert self.k is not None, "k is decided by the residual structure: `settle`"
        sizes = len(part.seen) if self.k == "free" else 0
        return 2 * int(count_parameters(part.prior.shape, part.n_trait)) + sizes

    def start(self, part: Part, start: Start) -> np.ndarray:
        theta = np.ones(part.size)
        n = int(count_parameters(part.prior.shape, part.n_trait))
        s2_E = start.s2_E[part.seen]
        for covariance, own in ((start.Sigma_t, theta[:n]), (s2_E.mean() * start.Sigma_t, theta[n : 2 * n])):
            pack_covariance(part.prior.shape, np.linalg.cholesky(covariance), own)
        if self.k == "free":
            theta[2 * n :] = np.clip(np.log(s2_E / s2_E.mean()), -MOST, MOST)
        return theta

    def list_flips(self, part: Part) -> list[Flip]:
        n = int(count_parameters(part.prior.shape, part.n_trait))
        shape, L = part.prior.shape, part.n_trait
        return [*list_covariance_flips(shape, L), *list_covariance_flips(shape, L, n)]

    def report(self, part: Part, seen: np.ndarray, thetas: np.ndarray) -> Mapping[str, np.ndarray]:
        n = int(count_parameters(part.prior.shape, part.n_trait))
        found = {}
        for e, name in enumerate(("Sigma_t", "Sigma_gt")):
            found[name] = np.empty((len(thetas), part.n_trait, part.n_trait))
            own = np.ascontiguousarray(thetas[:, e * n : (e + 1) * n])
            if not unpack_draws(part.prior.shape, own, found[name]):
                raise np.linalg.LinAlgError(f"parameters of {name} are out of bounds")
        if self.k == "free":
            k = np.exp(thetas[:, 2 * n :])
            k /= k.mean(axis=1, keepdims=True)
            mean = k[:, seen].mean(axis=1)
            found["k"] = k / mean[:, None]
            found["Sigma_gt"] *= mean[:, None, None]
        return found
