"""A free genetic covariance over the recorded columns (environment, trait), nothing assumed of it.

The parameters are those of an M x M covariance (see `bmtme.structures.parameters`), with Huang & Wand's prior: nu is
that of the traits' prior, and the scale of a column is that of its trait. The prior of any part of such a matrix is the
same prior for fewer columns, so that a column more or less does not change what is assumed of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.model.codes import FULL, HALF_T, CovariancePrior
from bmtme.structures.parameters import (
    count_parameters,
    finish_covariance,
    list_covariance_flips,
    pack_covariance,
    unpack_covariance,
)
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.structure import Genetic, refuse_absent


@compiled()
def build(part, theta, C):
    """C at these parameters; False where they are out of bounds."""
    return unpack_covariance(theta, FULL, np.empty(C.shape), C)


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dC in G."""
    M = G.shape[0]
    K, C = np.empty((M, M)), np.empty((M, M))
    if not unpack_covariance(theta, FULL, K, C):
        return -np.inf
    prior = CovariancePrior(HALF_T, FULL, part.prior.nu, part.prior.scale[part.col_trait], 0.0, np.eye(M))
    return finish_covariance(prior, K, C, G, gradient)


@compiled()
def complete(rng, part, theta, whole):
    """There is nothing to complete: every column has a record (`Free.check`)."""
    whole[:] = theta
    return True


@dataclass(frozen=True)
class Free(Genetic):
    """A free genetic covariance C over all columns (environment, trait).

    Nothing is assumed of how environments and traits go together, so that every column needs records, and enough of
    them: I L (I L + 1) / 2 parameters for I environments and L traits. Goes with ``structure="unstructured"`` and a
    `bmtme.HalfT` as ``prior_t``.
    """

    name = "free"
    takes_wishart = False
    takes_prior_E = False
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def check(self, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str]) -> None:
        why = "as nothing ties them to the others, all lines would be alike there"
        refuse_absent(self, recorded, envs, traits, why)

    def count(self, part: Part) -> int:
        return int(count_parameters(FULL, len(part.col_env)))

    def start(self, part: Part, start: Start) -> np.ndarray:
        theta = np.ones(part.size)
        interaction = np.equal.outer(part.col_env, part.col_env) * start.s2_E[part.col_env]
        C = (1.0 + interaction) * start.Sigma_t[np.ix_(part.col_trait, part.col_trait)]
        pack_covariance(FULL, np.linalg.cholesky(C), theta)
        return theta

    def list_flips(self, part: Part) -> list[Flip]:
        return list_covariance_flips(FULL, len(part.col_env))
