"""Warm-up of the Hamiltonian moves: a metric from the curvature, then from the draws; the step size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bmtme.gibbs.collapsed import LONGEST_STEP, Walk
from bmtme.gibbs.problem import Problem
from bmtme.kernels.covariance import DIAGONAL
from bmtme.kernels.parameters import count_parameters

#: Shares of the warm-up: plain Gibbs sweeps into the bulk, then three stages of Hamiltonian moves.
SHARES = (0.1, 0.2, 0.3, 0.4)
#: Step sizes each Hamiltonian stage starts from.
FIRST_STEPS = (0.1, 0.2, 0.4)
#: A signed root this many standard deviations or more away from zero does not cross it.
CROSSING = 4.0
#: Aim of step size times leapfrogs: a quarter turn of a standard normal, and a bit.
TRAJECTORY = 1.9


def plan_stages(tune: int) -> list[int]:
    """Sweeps of the four warm-up stages; they add up to `tune`."""
    edges = np.round(np.cumsum(SHARES) * tune).astype(int)
    return np.diff(np.concatenate([[0], edges])).tolist()


def start_stage(
    stage: int, p: Problem, h: Walk, trail: np.ndarray, curve: Callable[[np.ndarray], bool]
) -> None:
    """Set metric, centre and step size for Hamiltonian stage 0, 1, 2, or 3 for the kept sweeps.

    trail : (n, q) parameters drawn in the stage before (none for stage 0); the walk holds the current ones
    curve : fills minus the Hessian at the walk's centre, False where it is not defined
    """
    roots = _signed_roots(p, len(h.theta))
    h.theta[roots] = np.abs(h.theta[roots])
    if stage < 3:
        draws = trail[len(trail) // 5 :].copy()
        draws[:, roots] = np.abs(draws[:, roots])
        n, q = draws.shape
        centre = draws.mean(axis=0) if stage and n else h.theta.copy()
        h.centre[:] = centre
        curvature = np.empty((q, q))
        if not curve(curvature) or not np.isfinite(curvature).all():
            curvature = 100.0 * np.eye(q)
        covariance = _bounded_inverse((curvature + curvature.T) / 2)
        if stage and n > 1:
            weight = n / (n + (10.0 if stage == 1 else 5.0) * q)
            covariance = weight * np.cov(draws, rowvar=False).reshape(q, q) + (1.0 - weight) * covariance
            _decouple_crossing(covariance, draws, roots)
        try:
            h.metric[:] = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:  # a stage that hardly moved: keep the scales, forget the correlations
            h.metric[:] = np.diag(np.sqrt(np.maximum(np.diag(covariance), 1e-8)))
        h.settings[:] = FIRST_STEPS[stage], 8 if stage == 0 else 4
        h.adapt[:] = 1.0, 0.0, 0.0, np.log(FIRST_STEPS[stage]), np.log(2 * FIRST_STEPS[stage])
    else:
        step = min(float(np.exp(h.adapt[3])), LONGEST_STEP)
        h.settings[:] = step, np.clip(np.ceil(TRAJECTORY / step), 3, 16)
        h.adapt[0] = 0.0


def _signed_roots(p: Problem, q: int) -> slice:
    """Where the signed roots of Sigma_E stand among the parameters."""
    start = count_parameters(p.prior_t.shape, p.n_trait)
    if not p.interaction:
        return slice(start, start)
    return slice(start, start + (len(p.seen) if p.prior_E.shape == DIAGONAL else 1))


def _decouple_crossing(covariance: np.ndarray, draws: np.ndarray, roots: slice) -> None:
    """Take out the correlations of signed roots that may cross zero, in place.

    The density is the same at s and -s, but what a root's correlation with the rest is at s, it is with the other
    sign at -s: a metric with that correlation fits one side only, and trajectories on the other diverge.
    """
    for k in range(len(covariance))[roots]:
        if draws[:, k].mean() < CROSSING * draws[:, k].std():
            variance = covariance[k, k]
            covariance[k, :] = 0.0
            covariance[:, k] = 0.0
            covariance[k, k] = variance


def _bounded_inverse(curvature: np.ndarray) -> np.ndarray:
    """Inverse with eigenvalues of the curvature at least 1 in size: no direction is thought wider than that."""
    values, vectors = np.linalg.eigh(curvature)
    return (vectors / np.maximum(np.abs(values), 1.0)) @ vectors.T
