"""Priors of BGLR's Multitrait and of bmtme: what heritability do they expect before there are data?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from bmtme.model.eigenbasis import measure_spread
from bmtme.model.scaling import DEFAULT_T

PARTS = ("genetic", "residual")
#: BGLR's own degrees of freedom of the residual prior; of the genetic one: number of traits + 1.
DF_RESIDUAL = 5
#: Draws of a prior.
PRIOR_DRAWS = 100_000


def set_scales(values: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """BGLR's own scales: prior modes share the variances of the data half and half, as it takes the modes to be.

    S0 = V (df0 + p + 1) / 2 for the residuals, and the same with df0 = p + 1, divided by the mean of K's diagonal less
    the mean of all its entries, for the effects; V the covariance of the p traits.
    """
    V = np.cov(values.T)
    p = len(V)
    spread = np.diag(matrix).mean() - matrix.mean()
    return {"genetic": V * (2 * p + 2) / (2 * spread), "residual": V * (DF_RESIDUAL + p + 1) / 2}


def describe_prior(heritabilities: np.ndarray) -> str:
    """Median and central 90% of draws."""
    lower, median, upper = np.quantile(heritabilities, (0.05, 0.5, 0.95))
    return f"{median:.2f} (90% {lower:.2f} to {upper:.2f})"


def draw_bglr_prior(df_genetic: float, values: np.ndarray, matrix: np.ndarray, seed: int) -> np.ndarray:
    """Heritabilities of all traits under the inverse-Wishart priors on BGLR's scales."""
    scales = set_scales(values, matrix)
    rng = np.random.default_rng(seed)
    genetic, residual = (
        np.diagonal(stats.invwishart.rvs(df, scales[part], PRIOR_DRAWS, random_state=rng), axis1=1, axis2=2)
        for part, df in zip(PARTS, (df_genetic, DF_RESIDUAL), strict=True)
    )
    c = measure_spread(np.trace(matrix), matrix.sum(), len(matrix))
    return c * genetic / (c * genetic + residual)


def draw_default_prior(seed: int) -> np.ndarray:
    """Heritabilities under bmtme's default priors: both standard deviations half-t on one scale, for G as scaled."""
    genetic, residual = stats.t.rvs(DEFAULT_T.nu, size=(2, PRIOR_DRAWS), random_state=np.random.default_rng(seed)) ** 2
    return genetic / (genetic + residual)
