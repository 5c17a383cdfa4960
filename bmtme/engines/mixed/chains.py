"""Chains of a mixed model's posterior: independence Metropolis, Hamiltonian moves, and effects given the covariances.

Independence Metropolis takes the proposal at the mode as it is, and accepts x after x' with probability
min(1, w(x) / w(x')), w the density over the proposal's: where weights have a long tail (Pareto k-hat above 0.7; Vehtari
et al. 2024, J Mach Learn Res 25:72) chains stay where a weight is large, and Hamiltonian moves are used, with the
inverse Hessian at the mode as their metric. Either way draws have equal weights, and effective numbers and R-hat are
those of the chains. Effects given phi are C^-1 r + L'^-1 z (`Equations.draw`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bmtme.engines.mixed.equations import Evaluation
from bmtme.engines.mixed.posterior import Proposal, Target
from bmtme.errors import NumericalError

#: Weights with a Pareto shape above this have no mean that draws could find.
HIGH_K = 0.7
#: Proposals before those that count: of all chains together, and of one at least.
PILOT, FEWEST_PILOT = 1000, 250
#: Of Hamiltonian moves: warm-up, first step, largest step, length of a path, leapfrogs at most, wanted acceptance.
WARM_UP, FIRST_STEP, LARGEST_STEP, PATH, MOST_LEAPFROGS, WANTED = 200, 0.4, 1.1, 1.9, 24, 0.8
#: A loss of energy beyond this is a divergence.
DIVERGENT = 1000.0
#: Sets of effects that are drawn by one solution of the equations at most.
AT_ONCE = 64


@dataclass(eq=False)
class Walked:
    """What a chain has drawn.

    Attributes
    ----------
    parameters : (draws, r) array
        As reported.
    log_density : (draws,) array
        Of phi, up to a constant.
    accepted : (draws,) array
        Acceptance probability of the move to each draw.
    steps : (draws,) array of int
        Evaluations that it took.
    diverging : (draws,) bool array
    log_weights : (proposals,) array
        Of independence Metropolis, its pilot among them.
    fixed : (kept, p) array
        Fixed effects of the draws whose effects are kept.
    effects : (kept, q) array
        Random effects, term after term.
    """

    parameters: np.ndarray
    log_density: np.ndarray
    accepted: np.ndarray
    steps: np.ndarray
    diverging: np.ndarray
    log_weights: list[float] = field(default_factory=list)
    fixed: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    effects: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


class Chain:
    """One chain: its own stream of random numbers, equations and draws.

    Parameters
    ----------
    target : Target
        Of this chain alone: `Target.fork`.
    proposal : Proposal
    draws : int
    slots : (kept,) array of int
        Draws whose effects are kept, ascending.
    seed : numpy.random.SeedSequence
    """

    #: Moves of `advance` before those that count.
    tune = 0

    def __init__(
        self, target: Target, proposal: Proposal, draws: int, slots: np.ndarray, seed: np.random.SeedSequence
    ) -> None:
        self.target, self.proposal, self.slots = target, proposal, np.asarray(slots, int)
        self.rng = np.random.default_rng(seed)
        r = len(target.report(proposal.mode))
        self.phi = np.zeros((draws, target.count))
        self.draws = Walked(
            np.zeros((draws, r)), np.zeros(draws), np.zeros(draws), np.zeros(draws, int), np.zeros(draws, bool)
        )

    @property
    def sweeps(self) -> int:
        """What `advance` counts: draws, and sets of effects that are kept."""
        return self.tune + len(self.phi) + len(self.slots)

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the chain to its end, or until `stop` is set; `report` is told what is done of `sweeps`."""
        self._warm_up(report, stop)
        for t in range(len(self.phi)):
            if stop.is_set():
                return
            self._move(t)
            report(self.tune + t + 1)
        self._report_parameters()
        self._draw_effects(report, stop)

    def _warm_up(self, report: Callable[[int], None], stop: threading.Event) -> None:
        pass

    def _move(self, t: int) -> None:
        raise NotImplementedError

    def _find_stays(self) -> np.ndarray:
        """Where the chain has moved: the first draw of each stay at one place."""
        moved = np.r_[True, (self.phi[1:] != self.phi[:-1]).any(axis=1)]
        return np.flatnonzero(moved)

    def _report_parameters(self) -> None:
        stays = self._find_stays()
        for begin, end in zip(stays, [*stays[1:], len(self.phi)], strict=True):
            self.phi[begin:end] = self.target.turn(self.phi[begin], self.proposal.mode)
            self.draws.parameters[begin:end] = self.target.report(self.phi[begin])

    def _draw_effects(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Effects of the kept draws; the equations are factored once where the chain has stayed."""
        equations = self.target.equations
        problem = equations.problem
        q = int(equations.offsets[-1]) - problem.rank
        self.draws.fixed = np.full((len(self.slots), problem.p), np.nan)
        self.draws.effects = np.zeros((len(self.slots), q))
        at = np.searchsorted(self._find_stays(), self.slots, side="right")
        for k in np.unique(at):
            own = np.flatnonzero(at == k)
            for part in np.split(own, range(AT_ONCE, len(own), AT_ONCE)):
                if stop.is_set():
                    return
                z = self.rng.standard_normal((equations.n, len(part)))
                solutions = self.target.draw(self.phi[self.slots[part[0]]], z)
                for place, solution in zip(part, solutions.T, strict=True):
                    self.draws.fixed[place], effects = equations.find_effects(solution)
                    self.draws.effects[place] = np.concatenate([*effects, np.zeros(0)])
                report(self.tune + len(self.phi) + int(part[-1]) + 1)


class Pilot:
    """The first part of a `Metropolis` chain as something that can be run: its log weights say whether to go on."""

    def __init__(self, chain: Metropolis, proposals: int) -> None:
        self.chain, self.proposals = chain, proposals

    @property
    def draws(self) -> Metropolis:
        """The chain, at the end of its pilot."""
        return self.chain

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the pilot."""
        for t in range(self.proposals):
            if stop.is_set():
                return
            self.chain.propose()
            report(t + 1)


class Metropolis(Chain):
    """Independence Metropolis, from the mode."""

    def __init__(
        self, target: Target, proposal: Proposal, draws: int, slots: np.ndarray, seed: np.random.SeedSequence
    ) -> None:
        super().__init__(target, proposal, draws, slots, seed)
        self.here, self.value, self.weight = proposal.mode, proposal.log_density, proposal.log_density

    def propose(self) -> float:
        """A proposal, accepted or not; the probability of that."""
        phi, log_q = self.proposal.draw(self.rng)
        chance = math.log(self.rng.random())
        value = -math.inf
        # The density sees no signs of factors: of equal places, those on the mode's side are the chain's.
        if np.array_equal(self.target.turn(phi, self.proposal.mode), phi):
            value = self.target.evaluate(phi, 0).log_likelihood
        weight = value - log_q if np.isfinite(value) else -math.inf
        self.draws.log_weights.append(weight - self.proposal.log_density)
        gain = weight - self.weight
        if chance < gain:
            self.here, self.value, self.weight = phi, value, weight
        return math.exp(min(gain, 0.0))

    def _move(self, t: int) -> None:
        self.draws.accepted[t] = self.propose()
        self.draws.steps[t] = 1
        self.phi[t], self.draws.log_density[t] = self.here, self.value


class Hamiltonian(Chain):
    """Hamiltonian Monte Carlo in phi = mode + L theta, LL' the inverse Hessian, with paths of random length.

    The step is adapted by dual averaging (Hoffman & Gelman 2014, J Mach Learn Res 15:1593-1623); a move takes a uniform
    number of leapfrogs, so that no period of the paths can be hit (Neal 2011).
    """

    tune = WARM_UP

    def __init__(
        self,
        target: Target,
        proposal: Proposal,
        draws: int,
        slots: np.ndarray,
        seed: np.random.SeedSequence,
        start: np.ndarray,
    ) -> None:
        super().__init__(target, proposal, draws, slots, seed)
        self.step = FIRST_STEP
        self.start = start

    def _warm_up(self, report: Callable[[int], None], stop: threading.Event) -> None:
        self.here = self.target.evaluate(self.start, 1)
        if not np.isfinite(self.here.log_likelihood):
            raise NumericalError("the posterior has no density where a chain starts.")
        slack, smooth = 0.0, math.log(FIRST_STEP)
        for t in range(self.tune):
            if stop.is_set():
                return
            chance, _, _ = self.propose()
            slack += (WANTED - chance - slack) / (t + 11)
            log_step = min(math.log(2 * FIRST_STEP) - math.sqrt(t + 1) / 0.05 * slack, math.log(LARGEST_STEP))
            share = (t + 1) ** -0.75
            smooth = share * log_step + (1 - share) * smooth
            self.step = math.exp(log_step)
            report(t + 1)
        self.step = math.exp(smooth)

    def propose(self) -> tuple[float, int, bool]:
        """A move, accepted or not: the probability of that, its leapfrogs, whether it diverged."""
        root, here = self.proposal.root, self.here
        momentum = self.rng.standard_normal(self.target.count)
        most = min(max(round(2 * PATH / self.step), 2), MOST_LEAPFROGS)
        leapfrogs = int(self.rng.integers(1, most + 1))
        chance = math.log(self.rng.random())
        energy = here.log_likelihood - 0.5 * float(momentum @ momentum)
        there: Evaluation = here
        for done in range(1, leapfrogs + 1):
            momentum = momentum + 0.5 * self.step * (root.T @ there.gradient)
            there = self.target.evaluate(there.phi + self.step * (root @ momentum), 1)
            if not np.isfinite(there.log_likelihood):
                return 0.0, done, True
            momentum = momentum + 0.5 * self.step * (root.T @ there.gradient)
        gain = there.log_likelihood - 0.5 * float(momentum @ momentum) - energy
        if chance < gain:
            self.here = there
        return math.exp(min(gain, 0.0)), leapfrogs, gain < -DIVERGENT

    def jump(self) -> None:
        """A proposal of independence Metropolis: it leads out of, and into, places that paths hardly find."""
        target, proposal = self.target, self.proposal
        phi, log_q = proposal.draw(self.rng)
        chance = math.log(self.rng.random())
        if not np.array_equal(target.turn(phi, proposal.mode), phi):
            return  # signs of factors: see `Metropolis`
        here = self.here.log_likelihood - proposal.evaluate(target.turn(self.here.phi, proposal.mode))
        value = target.evaluate(phi, 0).log_likelihood
        if np.isfinite(value) and chance < value - log_q - here:
            self.here = target.evaluate(phi, 1)

    def _move(self, t: int) -> None:
        draws = self.draws
        draws.accepted[t], draws.steps[t], draws.diverging[t] = self.propose()
        self.jump()
        self.phi[t], draws.log_density[t] = self.here.phi, self.here.log_likelihood


def count_pilot(chains: int, pilot: int | None = None) -> int:
    """Proposals of each chain before those that count, of `pilot` of all together if it is given."""
    return max(math.ceil(PILOT / chains), FEWEST_PILOT) if pilot is None else math.ceil(pilot / chains)


def measure_k(log_weights: np.ndarray) -> float:
    """Pareto shape k-hat of the largest weights, by ArviZ; infinite where there is nothing to tell it from."""
    from arviz_stats.base import array_stats

    finite = log_weights[np.isfinite(log_weights)]
    if len(finite) < 0.5 * len(log_weights) or len(finite) < 25 or not np.ptp(finite):
        return math.inf
    # Weights that are zero are no smallest ones of the others: the tail does not see them.
    with np.errstate(all="ignore"):
        k = float(array_stats.psislw(-finite)[1])
    return k if np.isfinite(k) else math.inf
