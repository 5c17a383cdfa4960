"""What quantities are worked out with, and which models have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bmtme.model.codes import EXCHANGEABLE
from bmtme.results.notes import Values

if TYPE_CHECKING:
    from bmtme.engines.rotated.draws import Draws
    from bmtme.engines.rotated.problem import Problem


def diagonal(values: np.ndarray) -> np.ndarray:
    """(..., p) of (..., p, p)."""
    return np.asarray(np.diagonal(values, axis1=-2, axis2=-1))


def correlate(values: np.ndarray) -> np.ndarray:
    """Correlations of covariances (..., p, p)."""
    variances = diagonal(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / np.sqrt(variances[..., :, None] * variances[..., None, :]))


def share_genetic(values: Values, spread: float) -> np.ndarray:
    """V / (V + R_e,ll), V = c Sigma_t,ll (1 + Sigma_E,ii) or c C_il,il, c the spread; R_e may be by environment.

    A line effect adds Sigma_r,ll to V.
    """
    if "genetic_variance" in values:
        genetic = spread * values["genetic_variance"]
    else:
        E = diagonal(values["Sigma_E"]) if "Sigma_E" in values else np.zeros(1)
        genetic = spread * diagonal(values["Sigma_t"])[..., None, :] * (1.0 + E[..., :, None])
    if "Sigma_r" in values:
        genetic = genetic + diagonal(values["Sigma_r"])[..., None, :]
    residual = diagonal(values["R_e"])
    return np.asarray(genetic / (genetic + (residual if residual.ndim == genetic.ndim else residual[..., None, :])))


def spread_interaction(chain: Draws) -> np.ndarray:
    """Sigma_E as a matrix."""
    return np.asarray(chain.s2_E[..., None] * np.eye(chain.s2_E.shape[-1]))


def has_interaction(problem: Problem) -> bool:
    """The paper's genetic structure in more than one environment."""
    return problem.proportional and problem.interaction


def is_proportional(problem: Problem) -> bool:
    """The paper's genetic structure."""
    return problem.proportional


def is_other(problem: Problem) -> bool:
    """Any other genetic structure."""
    return not problem.proportional


def is_shared(problem: Problem) -> bool:
    """One residual covariance."""
    return not problem.by_env


def has_line_effect(problem: Problem) -> bool:
    """An effect of lines outside the relationship."""
    return problem.line_effect


def is_by_env(problem: Problem) -> bool:
    """A residual covariance in every environment."""
    return problem.by_env


def stack_blocks(chain: Draws) -> np.ndarray:
    """R_e (draw, I, L, L)."""
    n, _, L = chain.R_e.shape
    return chain.R_e.reshape(n, -1, L, L)


def has_spread_means(problem: Problem) -> bool:
    """Means of the environments around one of their own."""
    return problem.means.kind == EXCHANGEABLE
