"""Draws from priors of variances. IG(a, b) has density proportional to x^(-a - 1) exp(-b / x)."""

from __future__ import annotations

from bmtme.linalg.compile import compiled
from bmtme.model.codes import HALF_T


@compiled()
def draw_inverse_gamma(rng, shape, rate):
    """One draw from IG(shape, rate)."""
    return rate / rng.standard_gamma(shape)


@compiled()
def draw_variance_from_prior(rng, prior, k):
    """One variance straight from its prior: the Sigma_E entry of an environment without any record."""
    if prior.family == HALF_T:
        a = draw_inverse_gamma(rng, 0.5, 1.0 / prior.scale[k] ** 2)
        return draw_inverse_gamma(rng, 0.5 * prior.nu, prior.nu / a)
    return draw_inverse_gamma(rng, 0.5 * prior.df, 0.5 * prior.matrix[k, k])
