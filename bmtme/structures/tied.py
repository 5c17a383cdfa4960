"""One residual covariance in every environment, as a block for each: where known errors differ between environments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.structures.parameters import finish_covariance, unpack_covariance
from bmtme.structures.proportional import Shared


@compiled()
def build(part, theta, R):
    """The blocks of R, all the same."""
    L = part.n_trait
    K, R_e = np.empty((L, L)), np.empty((L, L))
    if not unpack_covariance(theta, part.prior.shape, K, R_e):
        return False
    for i in range(part.n_env):
        R[i * L : (i + 1) * L] = R_e
    return True


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dR in the blocks of G."""
    L = part.n_trait
    K, R_e, GR = np.empty((L, L)), np.empty((L, L)), np.zeros((L, L))
    if not unpack_covariance(theta, part.prior.shape, K, R_e):
        return -np.inf
    for i in range(part.n_env):
        GR += G[i * L : (i + 1) * L]
    return finish_covariance(part.prior, K, R_e, GR, gradient)


@dataclass(frozen=True)
class Tied(Shared):
    """`Shared`, laid out by environment."""

    by_env = True
    build = staticmethod(build)
    back = staticmethod(back)
