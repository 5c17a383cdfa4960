"""Priors of the covariances of a mixed model, as densities of the unconstrained parameters phi, with slopes.

A standard deviation s with a half-t prior of nu degrees of freedom and scale A has
log p(s) = -(nu + 1)/2 log(1 + s^2 / (nu A^2)) + constant. Of an unstructured p x p covariance S

- Huang & Wand (2013, Bayesian Anal 8:439-452), their auxiliaries integrated, as the other engine has it:
  log p(S) = -(nu + 2p)/2 log|S| - (nu + p)/2 sum_k log(nu (S^-1)_kk + 1/A_k^2), in which standard deviations are half-t
  and each correlation has density (1 - r^2)^(nu/2 - 1), uniform at nu = 2;
- or LKJ (Lewandowski, Kurowicka & Joe 2009, J Multivar Anal 100:1989-2001): |R|^(eta - 1) of the correlations R, with
  independent half-t standard deviations.

Other correlations are uniform where they may lie. Loadings of factors are N(0, A^2), with the Jacobian of the triangle
that stands for all rotations of them, so that Lambda Lambda' has the prior of free loadings (Geweke & Zhou 1996, Rev
Financ Stud 9:557-587); specific standard deviations are half-t.

Each density is multiplied by the Jacobian of phi: s of log s, (1 - rho^2) of atanh rho, and of a Cholesky factor K with
the logarithm of its diagonal 2^p prod_a K_aa^(p - a + 1), a counted from zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import expit

from bmtme.engines.mixed.axes import (
    AR1,
    Axis,
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Unstructured,
)

#: Logarithms of a diagonal beyond this have no density that a number could hold.
FARTHEST = 300.0


@dataclass(frozen=True, eq=False)
class AxisPrior:
    """Prior of the parameters of an axis.

    Attributes
    ----------
    nu : float
        Degrees of freedom of standard deviations.
    scale : (n,) array
        Their scales A, of the axis' levels; of one shared variance the first.
    eta : float, optional
        Of LKJ; Huang & Wand's without it.
    """

    nu: float
    scale: np.ndarray
    eta: float | None = None


def evaluate_prior(axis: Axis, prior: AxisPrior, phi: np.ndarray) -> tuple[float, np.ndarray]:
    """Log density (up to a constant) of phi (count,), and its slopes."""
    if isinstance(axis, Unstructured):
        return evaluate_unstructured(axis, prior, phi)
    if isinstance(axis, Diagonal):
        return evaluate_roots(prior, phi, prior.scale)
    if isinstance(axis, (Corh, CompoundSymmetry)):
        p = float(expit(phi[0]))
        value, slopes = evaluate_roots(prior, phi[1:], prior.scale[: len(phi) - 1])
        return value - np.logaddexp(0.0, phi[0]) - np.logaddexp(0.0, -phi[0]), np.r_[1 - 2 * p, slopes]
    if isinstance(axis, AR1):
        return -2.0 * (float(np.logaddexp(phi[0], -phi[0]))), -2.0 * np.tanh(phi)
    if isinstance(axis, FactorAnalytic):
        return evaluate_factors(axis, prior, phi)
    raise NotImplementedError(f"{type(axis).__name__} has no prior")


def evaluate_roots(prior: AxisPrior, phi: np.ndarray, scale: np.ndarray) -> tuple[float, np.ndarray]:
    """Half-t of exp(phi), with the Jacobian of the logarithm."""
    x = 2 * (phi - np.log(scale)) - np.log(prior.nu)  # log(s^2 / (nu A^2))
    value = phi - 0.5 * (prior.nu + 1) * np.logaddexp(0.0, x)
    return float(value.sum()), 1.0 - (prior.nu + 1) * expit(x)


def evaluate_unstructured(axis: Unstructured, prior: AxisPrior, phi: np.ndarray) -> tuple[float, np.ndarray]:
    """Huang & Wand's prior, or LKJ's."""
    p, nu, A2 = axis.n, prior.nu, prior.scale**2
    i, j = axis.cells
    logs = phi[i == j]
    if not (np.abs(logs) < FARTHEST).all():
        return -np.inf, np.zeros(axis.count)
    S, dS = axis.build(phi)
    # By the factor, as a covariance that is singular to rounding has a density, too.
    Li = solve_triangular(axis.factor(phi), np.eye(p), lower=True)
    Q = Li.T @ Li
    log_det = 2.0 * float(logs.sum())
    if prior.eta is None:
        t = nu * np.diag(Q) + 1.0 / A2
        value = -0.5 * (nu + 2 * p) * log_det - 0.5 * (nu + p) * float(np.log(t).sum())
        G = -0.5 * (nu + 2 * p) * Q + 0.5 * (nu + p) * nu * (Q / t) @ Q
    else:
        own = np.diag(S)
        value = (prior.eta - 1) * (log_det - float(np.log(own).sum())) - 0.5 * p * float(np.log(own).sum())
        value -= 0.5 * (nu + 1) * float(np.log1p(own / (nu * A2)).sum())
        G = (prior.eta - 1) * Q - np.diag((prior.eta - 1 + 0.5 * p) / own + 0.5 * (nu + 1) / (nu * A2 + own))
    jacobian = np.zeros(axis.count)
    jacobian[i == j] = p - np.arange(p) + 1.0
    return value + float(jacobian[i == j] @ logs), np.einsum("kij,ij->k", dS, G) + jacobian


def evaluate_factors(axis: FactorAnalytic, prior: AxisPrior, phi: np.ndarray) -> tuple[float, np.ndarray]:
    """Normal loadings, half-t specific standard deviations."""
    level, factor = axis.places
    loadings, n = phi[: len(level)], len(level)
    value, slopes = evaluate_roots(prior, phi[n:], prior.scale)
    z = loadings / prior.scale[level]
    turned = np.where(level == factor, axis.k - 1.0 - factor, 0.0)  # powers of |Lambda_cc|
    at = turned > 0
    value += -0.5 * float(z @ z) + float(turned[at] @ np.log(np.abs(loadings[at])))
    slope = -z / prior.scale[level]
    slope[at] += turned[at] / loadings[at]
    return value, np.r_[slope, slopes]


def turn_factors(axis: FactorAnalytic, phi: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """phi with the signs of each factor's loadings on the side of those at the mode: the density sees no signs."""
    _, factor = axis.places
    signs = np.ones(axis.count)
    for f in range(axis.k):
        own = np.flatnonzero(factor == f)
        if phi[own] @ mode[own] < 0:
            signs[own] = -1.0
    return phi * signs
