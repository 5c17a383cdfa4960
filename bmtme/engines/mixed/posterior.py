"""The posterior of the covariances of a mixed model, and the proposal that stands at its mode.

Fixed effects have a flat prior and random effects are integrated, so that the likelihood is the restricted one:
log p(theta | y) = log L(phi) + log prior(phi) + log |dphi / dtheta|, the prior with the Jacobian of phi
(`bmtme.engines.mixed.priors`), theta the coordinates that chains walk in (`bmtme.engines.mixed.coordinates`): phi, but
for unstructured covariances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from bmtme.engines.mixed.axes import FactorAnalytic
from bmtme.engines.mixed.components import describe
from bmtme.engines.mixed.coordinates import Coordinates, Place
from bmtme.engines.mixed.equations import Equations, Evaluation
from bmtme.engines.mixed.priors import AxisPrior, evaluate_prior, turn_factors
from bmtme.engines.mixed.problem import Section, Term
from bmtme.engines.mixed.reml import climb_likelihood
from bmtme.engines.mixed.start import Ranges, find_ranges
from bmtme.errors import NumericalError

#: Degrees of freedom of the proposal: its tails must be longer than the posterior's.
DF = 5.0
#: The search for the mode starts no further than this from where a search for estimates starts, in logarithms: an
#: estimate of zero lies far out.
FAR = 3.0
#: Difference of parameters, in their units, for the Hessian at the mode.
STEP = 1e-3
#: Directions, in units of the parameters' own curvature, are taken as no flatter than this.
FLATTEST = 1e-3
#: Where the density is compared with the normal, in its standard deviations; and the most that it may be stretched.
DISTANCES, LONGEST = (1.5, 3.0, 5.0), 5.0
#: End of the search for the mode, in log density: the proposal needs no more.
TOLERANCE, MOST = 1e-6, 200


class Target:
    """Log density of theta given the records; an `Evaluation` of it has theta as its phi.

    Parameters
    ----------
    equations : Equations
    priors : one for each block, in the order of `Equations.blocks`
        Of the axis that has parameters, if any has.

    Attributes
    ----------
    count : int
        Number of parameters theta.
    coordinates : Coordinates
    evaluations : int
        How often the density has been evaluated.
    """

    def __init__(self, equations: Equations, priors: Sequence[AxisPrior]) -> None:
        self.equations = equations
        self.priors = tuple(priors)
        self.count = equations.count
        self.coordinates = Coordinates(equations.blocks)
        axes = [axis for block in equations.blocks for axis in block.axes]
        self._has_factors = any(isinstance(axis, FactorAnalytic) for axis in axes)
        self.evaluations = 0

    @cached_property
    def _bounds(self) -> Ranges:
        """Of phi."""
        return find_ranges(self.equations.problem)

    @cached_property
    def ranges(self) -> Ranges:
        """Of theta."""
        return self.coordinates.turn_ranges(self._bounds)

    @property
    def blocks(self) -> tuple[Section | Term, ...]:
        """As of `Equations`."""
        return self.equations.blocks

    def split(self, phi: np.ndarray) -> list[list[np.ndarray]]:
        """As of `Equations`."""
        return self.equations.split(phi)

    def fork(self) -> Target:
        """The same for another thread."""
        other = Target(self.equations.fork(), self.priors)
        other.__dict__["_bounds"] = self._bounds
        return other

    def evaluate_prior(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log prior density of theta, and its slopes (k,)."""
        return self._evaluate_prior(self.coordinates.find_place(theta))

    def _evaluate_prior(self, place: Place) -> tuple[float, np.ndarray]:
        value, slopes = 0.0, []
        for block, prior, own in zip(self.blocks, self.priors, self.split(place.phi), strict=True):
            for axis, part in zip(block.axes, own, strict=True):
                if axis.count:
                    found, slope = evaluate_prior(axis, prior, part)
                    value += found
                    slopes.append(slope)
        slope = np.concatenate(slopes) if slopes else np.zeros(0)
        return value + place.log_volume, place.turn(slope) + place.volume_slopes

    def evaluate(self, phi: np.ndarray, order: int = 2) -> Evaluation:
        """Log density, which takes the place of the log likelihood; from order 1 with its gradient. `phi` is theta.

        From order 2 with the average information of the records and the curvature of the prior. Beyond the bounds of
        estimates the likelihood has settled (a variance of 1e-8 of the data's does what zero does) and loses its
        digits: it is taken as constant there, and the prior goes on.
        """
        self.evaluations += 1
        theta = np.asarray(phi, float)
        low, high = self._bounds.low, self._bounds.high
        with np.errstate(over="ignore", invalid="ignore"):
            place = self.coordinates.find_place(theta)
            prior, slopes = self._evaluate_prior(place)
        if not np.isfinite(prior):
            return Evaluation(theta, -np.inf)
        inside = (place.phi >= low) & (place.phi <= high)
        found = self.equations.evaluate(np.clip(place.phi, low, high), order)
        if not np.isfinite(found.log_likelihood):
            return Evaluation(theta, -np.inf)
        value = found.log_likelihood + prior
        if order == 0:
            return Evaluation(theta, value, found.solution)
        gradient = place.turn(np.where(inside, found.gradient, 0.0)) + slopes
        if order == 1:
            return Evaluation(theta, value, found.solution, gradient)
        information = place.slopes.T @ (found.information * np.outer(inside, inside)) @ place.slopes
        information = information + self._curve_prior(theta)
        return Evaluation(theta, value, found.solution, gradient, information)

    def draw(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Draws (N, k) of fixed and random effects given theta; see `Equations.draw`."""
        phi = self.coordinates.find_phi(theta)
        return self.equations.draw(np.clip(phi, self._bounds.low, self._bounds.high), z)

    def _curve_prior(self, theta: np.ndarray) -> np.ndarray:
        """How far the log prior bends (k, k), by differences: minus its Hessian, with absolute eigenvalues.

        For a search: where the prior is no hill, a step is no longer than the bend allows.
        """
        units = self.ranges.units
        H = np.zeros((self.count, self.count))
        for k, step in enumerate(np.diag(STEP * units)):
            up, down = (self.evaluate_prior(theta + sign * step)[1] for sign in (1, -1))
            H[k] = (down - up) * units / (2 * STEP)
        values, vectors = np.linalg.eigh(0.5 * (H + H.T))
        return np.asarray((vectors * np.abs(values)) @ vectors.T / np.outer(units, units))

    def turn(self, theta: np.ndarray, mode: np.ndarray) -> np.ndarray:
        """theta with signs of factors as at the mode."""
        if not self._has_factors:
            return theta
        parts = []
        for block, own, there in zip(self.blocks, self.split(theta), self.split(mode), strict=True):
            for axis, part, at in zip(block.axes, own, there, strict=True):
                parts.append(turn_factors(axis, part, at) if isinstance(axis, FactorAnalytic) else part)
        return np.concatenate(parts) if parts else theta

    def report(self, theta: np.ndarray) -> np.ndarray:
        """Parameters as reported (r,), in the order of `bmtme.engines.mixed.components.Component`."""
        parts = [
            axis.natural(part)[0]
            for block, own in zip(self.blocks, self.split(self.coordinates.find_phi(theta)), strict=True)
            for axis, part in zip(block.axes, own, strict=True)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A split t with 5 degrees of freedom at the mode, in the coordinates that the Hessian there makes spherical.

    x = mode + L e, LL' the inverse Hessian, e a multivariate t of which each coordinate is stretched by one factor
    above zero and by another below it, where it lies as often as makes the density continuous (after Geweke 1989,
    Econometrica 57:1317-1339): the log of a standard deviation near zero has a long tail to the left alone.

    Attributes
    ----------
    mode : (k,) array
    root : (k, k) array
        The lower triangle L.
    stretch : (2, k) array
        Factors below and above zero.
    log_density : float
        Of the target at the mode.
    """

    mode: np.ndarray
    root: np.ndarray
    stretch: np.ndarray
    log_density: float

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """A draw (k,), and the log of its density up to a constant."""
        k = len(self.mode)
        e = np.abs(rng.standard_normal(k)) * np.sqrt(DF / rng.chisquare(DF))
        below, above = self.stretch
        side = rng.random(k) * (below + above) < above
        return self.mode + self.root @ np.where(side, above * e, -below * e), measure_tail(e)

    def evaluate(self, phi: np.ndarray) -> float:
        """Log density at phi (k,), up to the same constant."""
        e = solve_triangular(self.root, phi - self.mode, lower=True)
        return measure_tail(e / np.where(e > 0, self.stretch[1], self.stretch[0]))


def measure_tail(e: np.ndarray) -> float:
    """Log density of a multivariate t at e (k,), up to a constant."""
    return -0.5 * (DF + len(e)) * float(np.log1p(e @ e / DF))


def find_proposal(target: Target, start: np.ndarray) -> Proposal:
    """Climb to the mode from estimates phi (k,) by REML, and look how the density falls from there.

    Raises
    ------
    NumericalError
        If the density has no mode that is found.
    """
    problem = target.equations.problem
    ranges = target.ranges
    start = target.coordinates.find_theta(start)
    bounded = np.isfinite(ranges.low)
    near = np.clip(start, ranges.start - FAR, ranges.start + FAR)
    inside = replace(ranges, may_vanish=np.zeros(target.count, bool))
    climb = climb_likelihood(target, np.where(bounded, near, start), inside, TOLERANCE, MOST)
    mode = climb.best.phi
    if not climb.converged:
        worst = describe(problem, int(np.argmax(np.abs(climb.still_rising))))
        raise NumericalError(
            f"the mode of the posterior was not found in {climb.evaluations} evaluations: the density still rises, "
            f"most by {worst}. Give that term fewer parameters (corh, or one variance, in place of us or several)."
        )
    H = np.zeros((target.count, target.count))
    for k, unit in enumerate(np.eye(target.count)):
        up, down = (target.evaluate(mode + sign * STEP * ranges.units * unit, 1) for sign in (1, -1))
        if not np.isfinite([up.log_likelihood, down.log_likelihood]).all():
            raise NumericalError(f"the posterior has no density beside its mode along {describe(problem, k)}.")
        H[k] = (down.gradient - up.gradient) / (2 * STEP * ranges.units[k])
    V = invert_curvature(0.5 * (H + H.T), ranges.units)
    root = np.linalg.cholesky(V)
    stretch = stretch_sides(target, climb.best, root)
    return Proposal(mode, root, stretch, climb.best.log_likelihood)


def stretch_sides(target: Target, best: Evaluation, root: np.ndarray) -> np.ndarray:
    """Factors (2, k) by which the density falls more slowly than the normal, below and above the mode.

    At delta standard deviations the factor is |delta| / sqrt(2 (log p(mode) - log p there)); the largest of some
    counts, and never less than one.
    """
    stretch = np.ones((2, target.count))
    for side, sign in enumerate((-1.0, 1.0)):
        for k in range(target.count):
            for delta in DISTANCES:
                there = target.evaluate(best.phi + sign * delta * root[:, k], 0).log_likelihood
                loss = max(best.log_likelihood - there, 1e-8)
                stretch[side, k] = max(stretch[side, k], min(delta / np.sqrt(2 * loss), LONGEST))
    return stretch


def invert_curvature(H: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Inverse (k, k) of minus a Hessian, positive definite: no direction is taken as flatter than `FLATTEST`."""
    own = np.maximum(np.abs(np.diag(H)), FLATTEST / units**2)
    scale = 1 / np.sqrt(own)
    values, vectors = np.linalg.eigh(H * np.outer(scale, scale))
    V = (vectors / np.maximum(np.abs(values), FLATTEST)) @ vectors.T * np.outer(scale, scale)
    return 0.5 * (V + V.T)
