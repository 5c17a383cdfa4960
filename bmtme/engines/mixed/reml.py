"""Restricted maximum likelihood by average information."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from bmtme.engines.mixed.components import describe, find_components
from bmtme.engines.mixed.equations import Equations, Evaluation
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.engines.mixed.result import REML
from bmtme.engines.mixed.start import Ranges, find_ranges
from bmtme.errors import NumericalError, UsageError
from bmtme.linalg.sparse import SparseCholesky

#: Largest step of a parameter in its units: first, and after so many steps.
CAPS, CAREFUL_STEPS = (0.7, 2.0), 6
#: A log standard deviation that falls this near its bound is put there: a variance of 4.5e-5 of the data's.
NEAR = 4.0
#: The Levenberg term: a share of the diagonal of the information.
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-9, 1e8
#: Refused steps after which the curvature is learnt from gradients; as many in a row, and it is forgotten again.
FUTILE = 3
#: Steps between looks beyond the ends of axes.
LOOK = 5
#: Where rounding ends a search, it has converged if the next step promises less than this of log likelihood.
SETTLED = 1e-3
#: Rounding of the log likelihood, as a share of it: a step that loses no more is taken.
ROUNDING = 1e-11


class Slope(Protocol):
    """What can be climbed: `Equations`, or these with something added to the likelihood."""

    count: int

    @property
    def blocks(self) -> tuple[Section | Term, ...]:
        """As of `Equations`."""
        ...

    def split(self, phi: np.ndarray) -> list[list[np.ndarray]]:
        """As of `Equations`."""
        ...

    def evaluate(self, phi: np.ndarray) -> Evaluation:
        """As of `Equations`, with gradient and information."""
        ...


@dataclass(frozen=True)
class Climb:
    """How a search ended: the last accepted evaluation, how many there were, what was gained last."""

    best: Evaluation
    evaluations: int
    converged: bool
    still_rising: np.ndarray  # (k,): what each parameter still promises, in units of log likelihood


def fit_reml(
    problem: Problem,
    start: np.ndarray | None = None,
    *,
    tolerance: float = 1e-9,
    most: int = 200,
    begin: Callable[[Equations], None] | None = None,
    progress: Callable[[int, float], None] | None = None,
    recall: Callable[[Callable[[], Climb]], Climb] = lambda search: search(),
    cholesky: Callable[..., Any] = SparseCholesky,
) -> REML:
    """Estimate the covariances of a mixed model.

    Steps are those of average information with a Levenberg term, H = AI + damping diag(AI); a parameter whose step is
    too large is capped and the others are solved given it. A step that lowers the likelihood raises the damping; after
    three of them H is updated from the gradients instead (`update_curvature`). A variance that runs to zero is put on
    its bound and flagged; the diagonal of a Cholesky factor never is, only bounded (put there, searches end beside the
    optimum).

    Parameters
    ----------
    problem : Problem
    start : array (k,), optional
        Unconstrained parameters to start from, such as `REML.phi` of another fit of the same terms.
    tolerance : float
        The search ends where the next step promises less than this of log likelihood.
    most : int
        Evaluations of the likelihood, at most.
    begin : function, optional
        Called with the equations before they are factored for the first time: their size is known, and little is taken.
    progress : function, optional
        Called with the number of evaluations and the log likelihood after each accepted step.
    recall : function, optional
        Given the search, gives what it ends with, which it may know from an earlier one of the same.
    cholesky : class, optional
        As in `Equations`.

    Raises
    ------
    NumericalError
        If the likelihood cannot be evaluated where the search starts.
    """
    equations = Equations(problem, cholesky)
    if begin is not None:
        begin(equations)
    ranges = find_ranges(problem)
    if start is not None:
        start = np.asarray(start, float)
        if start.shape != (equations.count,) or not np.isfinite(start).all():
            raise UsageError(
                f"a start needs {equations.count} finite numbers, one for each parameter of the covariances."
            )
    first = np.clip(ranges.start if start is None else start, ranges.low, ranges.high)
    climb = recall(partial(climb_likelihood, equations, first, ranges, tolerance, most, progress))
    best = climb.best
    found = find_components(problem, equations.split(best.phi), best, ranges)
    fixed, effects = equations.find_effects(best.solution)
    return REML(
        problem=problem,
        equations=equations,
        phi=best.phi,
        log_likelihood=best.log_likelihood,
        converged=climb.converged,
        message=describe_end(problem, climb, most),
        evaluations=climb.evaluations,
        gradient=best.gradient,
        information=best.information,
        components=found.components,
        covariance=found.covariance,
        fixed=fixed,
        effects=effects,
    )


def climb_likelihood(
    equations: Slope,
    phi: np.ndarray,
    ranges: Ranges,
    tolerance: float,
    most: int,
    progress: Callable[[int, float], None] | None = None,
) -> Climb:
    """Search from phi for the largest likelihood."""
    best = equations.evaluate(phi)
    if not np.isfinite(best.log_likelihood):
        raise NumericalError(
            "the mixed model equations are singular where the search starts: a known relationship or a fixed column "
            "may be singular, or values of very different size."
        )
    damping, taken, evaluations, refused, row, next_look = FIRST_DAMPING, 0, 1, 0, 0, LOOK
    curvature = best.information
    kept_off = np.zeros(equations.count, bool)  # from its bound: to be put there has lowered the likelihood
    while True:
        gradient = best.gradient
        held = (best.phi <= ranges.low) & (gradient < 0) | (best.phi >= ranges.high) & (gradient > 0)
        caps = (CAPS[0] if taken < CAREFUL_STEPS else CAPS[1]) * ranges.units
        step = propose_step(gradient, curvature, best.information.diagonal(), damping, caps, held)
        rising = 0.5 * gradient * step
        settled = bool(np.abs(rising).sum() < tolerance) and damping <= FIRST_DAMPING
        if settled or damping > MOST_DAMPING or taken >= next_look:
            beyond, tried = look_beyond(equations, best, ranges.low)
            evaluations += tried
            next_look = taken + LOOK if tried else taken + 1
            if beyond.log_likelihood > best.log_likelihood + tolerance and evaluations < most:
                best, curvature, damping, refused, row = beyond, beyond.information, FIRST_DAMPING, 0, 0
                continue
        if settled:
            return Climb(best, evaluations, True, rising)
        if evaluations >= most or damping > MOST_DAMPING:
            rising = 0.5 * gradient * propose_step(gradient, curvature, best.information.diagonal(), 0.0, caps, held)
            return Climb(best, evaluations, bool(np.abs(rising).sum() < SETTLED), rising)
        if rising.sum() <= 0.0:  # downhill: parameters solved given the capped ones; more damping turns the step
            damping = max(damping * 10, FIRST_DAMPING)
            continue
        phi = np.clip(best.phi + step, ranges.low, ranges.high)
        near = ranges.may_vanish & ~held & ~kept_off & (phi < ranges.low + NEAR) & (gradient < 0)
        phi[near] = ranges.low[near]
        trial = equations.evaluate(phi)
        evaluations += 1
        moved = phi - best.phi
        gain = trial.log_likelihood - best.log_likelihood
        if gain >= -ROUNDING * abs(best.log_likelihood):
            share = gain / max(gradient @ moved - 0.5 * moved @ curvature @ moved, 1e-300)
            if refused < FUTILE:
                curvature = trial.information
            else:
                curvature = update_curvature(curvature, moved, gradient - trial.gradient)
            best, taken, row = trial, taken + 1, 0
            if share > 0.75:
                damping = max(damping / 10, LEAST_DAMPING)
            elif share < 0.25:
                damping = max(damping * 4, FIRST_DAMPING)
            if progress is not None:
                progress(evaluations, best.log_likelihood)
        elif near.any():
            kept_off |= near
        else:
            damping, refused, row = max(damping * 10, FIRST_DAMPING), refused + 1, row + 1
            if row == FUTILE:
                curvature = best.information


def look_beyond(equations: Slope, best: Evaluation, low: np.ndarray) -> tuple[Evaluation, int]:
    """The best evaluation beyond the ends that axes have run to, and how many there were; see `Axis.cross`."""
    phi, found, k = best.phi, [], 0
    for block, parts in zip(equations.blocks, equations.split(phi), strict=True):
        for axis, own in zip(block.axes, parts, strict=True):
            end = k + axis.count
            for other in axis.cross(own, low[k:end]):
                found.append(equations.evaluate(np.concatenate([phi[:k], other, phi[end:]])))
            k = end
    return max(found, key=lambda evaluation: evaluation.log_likelihood, default=best), len(found)


def update_curvature(B: np.ndarray, moved: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Secant update of the negative Hessian, damped so that it stays positive (Powell 1978; BFGS).

    Average information is far from the Hessian where data are few beside the parameters; this learns it from the
    gradients along the way.

    Parameters
    ----------
    B : array (k, k)
    moved : array (k,)
        The step taken.
    change : array (k,)
        Of the gradient, before less after.
    """
    Bm = B @ moved
    old, new = moved @ Bm, moved @ change
    if old <= 0.0:
        return B
    share = 1.0 if new >= 0.2 * old else 0.8 * old / (old - new)
    r = share * change + (1 - share) * Bm
    return B - np.outer(Bm, Bm) / old + np.outer(r, r) / (moved @ r)


def propose_step(
    gradient: np.ndarray,
    curvature: np.ndarray,
    sizes: np.ndarray,
    damping: float,
    caps: np.ndarray,
    held: np.ndarray,
) -> np.ndarray:
    """The damped step (k,), each parameter capped and the others solved given the capped ones.

    `curvature` (k, k) is the negative Hessian or the average information, `sizes` (k,) the diagonal of the latter;
    parameters that are `held` stay.
    """
    sizes = np.maximum(sizes, 1e-8 / caps**2)
    step = np.zeros(len(gradient))
    fixed = held.copy()
    for _ in range(4):
        free = ~fixed
        if not free.any():
            break
        scale = 1 / np.sqrt(sizes[free])
        values, vectors = np.linalg.eigh(curvature[np.ix_(free, free)] * np.outer(scale, scale))
        right = (gradient[free] - curvature[np.ix_(free, fixed)] @ step[fixed]) * scale
        step[free] = scale * (vectors @ ((vectors.T @ right) / (np.maximum(np.abs(values), 1e-6) + damping)))
        over = free & (np.abs(step) > caps)
        if not over.any():
            break
        step[over] = np.clip(step[over], -caps[over], caps[over])
        fixed |= over
    return np.clip(step, -caps, caps)


def describe_end(problem: Problem, climb: Climb, most: int) -> str:
    """How a search ended, in words."""
    if climb.converged:
        return f"converged after {climb.evaluations} evaluations of the likelihood"
    worst = describe(problem, int(np.argmax(climb.still_rising)))
    if climb.evaluations >= most:
        what = f"has not converged after {most} evaluations of the likelihood: it still rises"
    else:
        what = f"has not converged: after {climb.evaluations} evaluations of the likelihood no step raises it"
    return (
        f"{what}, most by {worst}. Start from the estimates of a simpler model, give that term fewer parameters "
        "(corh or fa in place of us, one variance in place of several), or allow more evaluations."
    )
