"""A covariance structure as compiled code sees it, and the table of places in the vector of parameters.

The parameters theta of a model are those of the genetic structure, then those of the residual one. Compiled code knows
of a structure what a `Part` says: where its parameters are, which columns there are, the priors, and the addresses of

build(part, theta, matrix)
    Its covariance at these parameters: C (M, M) of a genetic structure; the blocks of R, one below the other (B L, L),
    of a residual one. False where parameters are out of bounds.
back(part, theta, matrix, gradient)
    Log prior of the parameters with its Jacobian (returned), and the gradient of everything in the parameters, from the
    derivative of the log likelihood in the covariance (dl = tr(matrix' dC), used up).
complete(rng, part, theta, whole)
    The parameters of every environment and trait, those without a record drawn from their prior given the others, for
    the part that is laid over every column. False where that fails.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_build
from bmtme.model.codes import CovariancePrior


class Part(NamedTuple):
    """One structure of a model with its data, priors and functions."""

    first: int  # place of its first parameter
    size: int  # number of parameters
    build: int  # addresses
    back: int
    complete: int
    n_env: int
    n_trait: int
    seen: np.ndarray  # environments that the columns are of
    col_env: np.ndarray  # (M,)
    col_trait: np.ndarray  # (M,)
    prior: CovariancePrior  # of covariances of traits
    prior_env: CovariancePrior  # of covariances of environments


class Start(NamedTuple):
    """Covariances around which a chain starts, in scaled units."""

    Sigma_t: np.ndarray  # (L, L)
    s2_E: np.ndarray  # (I,)
    R_e: np.ndarray  # (L, L)


#: A flip: the place of a parameter that may turn its sign, and of those that then turn theirs; the covariance stays.
Flip = tuple[int, tuple[int, ...]]


@compiled()
def fill_matrices(part, thetas, out):
    """The covariance at each row of parameters (n, size), into (n, rows, columns); False where one fails."""
    for k in range(thetas.shape[0]):
        if not call_build(part.build, part, thetas[k], out[k]):
            return False
    return True


def build_matrices(part: Part, thetas: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The covariance, of this shape, at each row of parameters (n, size): (n, *shape).

    Raises
    ------
    numpy.linalg.LinAlgError
        Where parameters are out of bounds.
    """
    assert part.build, "a part without addresses"
    out = np.empty((len(thetas), *shape))
    if not fill_matrices(part, np.ascontiguousarray(thetas), out):
        raise np.linalg.LinAlgError("parameters of a covariance are out of bounds")
    return out


def describe_columns(recorded: np.ndarray) -> dict[str, Any]:
    """What a `Part` says of the columns that are marked in (I, L)."""
    env, trait = (index.astype(np.int64) for index in np.nonzero(recorded))
    return {
        "n_env": recorded.shape[0],
        "n_trait": recorded.shape[1],
        "seen": np.flatnonzero(recorded.any(axis=1)).astype(np.int64),
        "col_env": env,
        "col_trait": trait,
    }
