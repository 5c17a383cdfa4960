"""Warm-up of the Hamiltonian moves: a metric from the curvature, then from the draws; the step size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bmtme.engines.rotated.collapsed import LONGEST_STEP, MIRROR_EVERY, Walk
from bmtme.engines.rotated.line_effect import list_line_flips
from bmtme.engines.rotated.problem import Problem
from bmtme.structures.part import Flip
from bmtme.structures.proportional import PAPER_PAIR
from bmtme.structures.structure import Structures

#: Shares of the warm-up: plain Gibbs sweeps into the bulk, then three stages of Hamiltonian moves.
SHARES = (0.1, 0.2, 0.3, 0.4)
#: Step sizes each Hamiltonian stage starts from.
FIRST_STEPS = (0.1, 0.2, 0.4)
#: A signed root this many standard deviations or more away from zero does not cross it.
CROSSING = 4.0
#: Aim of step size times leapfrogs: a quarter turn of a standard normal, and a bit.
TRAJECTORY = 1.9
#: A step that adapted to less than this tells that the metric fits badly (a ridge that bends, many parameters for the
#: warm-up): some directions are wider than it says, and the aim is this one.
FITTING_STEP, LONG_TRAJECTORY = 0.4, 4.0
#: Leapfrogs of a move at least and at most.
LEAPFROGS = (3, 24)


def plan_stages(tune: int) -> list[int]:
    """Sweeps of the four warm-up stages; they add up to `tune`."""
    edges = np.round(np.cumsum(SHARES) * tune).astype(int)
    return np.diff(np.concatenate([[0], edges])).tolist()


def start_stage(
    stage: int, h: Walk, flips: Sequence[Flip], trail: np.ndarray, curve: Callable[[np.ndarray], bool]
) -> None:
    """Set metric, centre and step size for Hamiltonian stage 0, 1, 2, or 3 for the kept sweeps.

    flips : of the walk's parameters, see `list_flips`
    trail : (n, q) parameters drawn in the stage before (none for stage 0); the walk holds the current ones
    curve : fills minus the Hessian at the walk's centre, False where it is not defined
    """
    q = len(h.theta)
    h.theta[:] = turn_positive(h.theta, flips)
    if stage < 3:
        draws = turn_positive(trail[len(trail) // 5 :], flips)
        n = len(draws)
        centre = draws.mean(axis=0) if stage and n else h.theta.copy()
        h.tuning.centre[:] = centre
        curvature = np.empty((q, q))
        if not curve(curvature) or not np.isfinite(curvature).all():
            curvature = 100.0 * np.eye(q)
        covariance = _bounded_inverse((curvature + curvature.T) / 2)
        if stage and n > 1:
            weight = n / (n + (10.0 if stage == 1 else 5.0) * q)
            covariance = weight * np.cov(draws, rowvar=False).reshape(q, q) + (1.0 - weight) * covariance
            _decouple_crossing(covariance, draws, flips)
        try:
            h.tuning.metric[:] = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:  # a stage that hardly moved: keep the scales, forget the correlations
            h.tuning.metric[:] = np.diag(np.sqrt(np.maximum(np.diag(covariance), 1e-8)))
        h.tuning.step[0], h.tuning.leapfrogs[0] = FIRST_STEPS[stage], 8 if stage == 0 else 4
        _plan_mirrors(h)
        a = h.tuning
        a.adapting[0], a.moves[0], a.error[0] = 1.0, 0.0, 0.0
        a.log_step[0], a.anchor[0] = np.log(FIRST_STEPS[stage]), np.log(2 * FIRST_STEPS[stage])
    else:
        step = min(float(np.exp(h.tuning.log_step[0])), LONGEST_STEP)
        aim = TRAJECTORY if step >= FITTING_STEP else LONG_TRAJECTORY
        h.tuning.step[0], h.tuning.leapfrogs[0] = step, np.clip(np.ceil(aim / step), *LEAPFROGS)
        _plan_mirrors(h)
        h.tuning.adapting[0] = 0.0


def _plan_mirrors(h: Walk) -> None:
    """A mirror move in every sweep where one was accepted in the stage before."""
    h.tuning.mirror_every[0] = 1.0 if h.outcome.mirrors[0] > 0.0 else MIRROR_EVERY
    h.outcome.mirrors[0] = 0.0


def list_flips(p: Problem, structures: Structures = PAPER_PAIR) -> list[Flip]:
    """Changes of sign of a walk's parameters that leave the covariances as they are."""
    genetic, residual = structures
    first = p.residual.first
    moved = [(lead + first, tuple(k + first for k in others)) for lead, others in residual.list_flips(p.residual)]
    line = list_line_flips(p.line_prior, p.line_first) if p.line_effect else []
    return [*genetic.list_flips(p.genetic), *moved, *line]


def turn_positive(draws: np.ndarray, flips: Sequence[Flip]) -> np.ndarray:
    """The same covariances (..., q) with every parameter that may flip positive."""
    turned = draws.copy()
    for lead, others in flips:
        signs = np.where(draws[..., lead] < 0.0, -1.0, 1.0)
        for k in (lead, *others):
            turned[..., k] *= signs
    return turned


def _decouple_crossing(covariance: np.ndarray, draws: np.ndarray, flips: Sequence[Flip]) -> None:
    """Take out the correlations of parameters that may cross zero, and of those that flip with them, in place.

    The density is the same on both sides, but what a correlation with the rest is on one, it is with the other sign
    on the other: a metric with that correlation fits one side only, and trajectories on the other diverge.
    """
    for lead, others in flips:
        if draws[:, lead].mean() < CROSSING * draws[:, lead].std():
            for k in (lead, *others):
                variance = covariance[k, k]
                covariance[k, :] = 0.0
                covariance[:, k] = 0.0
                covariance[k, k] = variance


def _bounded_inverse(curvature: np.ndarray) -> np.ndarray:
    """Inverse with eigenvalues of the curvature at least 1 in size: no direction is thought wider than that."""
    values, vectors = np.linalg.eigh(curvature)
    return (vectors / np.maximum(np.abs(values), 1.0)) @ vectors.T
