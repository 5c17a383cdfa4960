"""Chains of a mixed model's posterior: independence Metropolis, Hamiltonian moves, and effects given the covariances.

Independence Metropolis takes the proposal at the mode as it is, and accepts x after x' with probability
min(1, w(x) / w(x')), w the density over the proposal's: where weights have a long tail (Pareto k-hat above 0.7; Vehtari
et al. 2024, J Mach Learn Res 25:72) chains stay where a weight is large, and Hamiltonian moves are used, with the
inverse Hessian at the mode as their metric. Between them two variances trade what they have of their sum
(`bmtme.engines.mixed.trades`), which leads along ridges that neither follows. Either way draws have equal weights, and
effective numbers and R-hat are those of the chains. Effects given phi are C^-1 r + L'^-1 z (`Equations.draw`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np

from bmtme.engines.mixed.chain import Chain, Halted
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


class Pilot:
    """The first part of a `Metropolis` chain as something that can be run: its log weights say whether to go on."""

    def __init__(self, chain: Metropolis) -> None:
        self.chain = chain

    @property
    def draws(self) -> Metropolis:
        """The chain, at the end of its pilot."""
        return self.chain

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the pilot."""
        self.chain.warm_up(report, stop)


class Metropolis(Chain):
    """Independence Metropolis, from the mode.

    Parameters
    ----------
    pilot : int
        Proposals before those that count.
    """

    here: np.ndarray

    def __init__(
        self,
        target: Target,
        proposal: Proposal,
        draws: int,
        slots: np.ndarray,
        seed: np.random.SeedSequence,
        pilot: int = 0,
        keep: Callable[[Chain, bool], None] | None = None,
    ) -> None:
        super().__init__(target, proposal, draws, slots, seed, keep)
        self.tune = pilot
        self.pilot = np.zeros(pilot)
        self.here, self.value, self.weight = proposal.mode, proposal.log_density, proposal.log_density

    @property
    def log_weights(self) -> np.ndarray:
        """Of all proposals so far."""
        return np.concatenate([self.pilot, self.draws.log_weights[: self.done]]) if self.stage else self.pilot

    def propose(self) -> tuple[float, float]:
        """A proposal, accepted or not: the probability of that, and its log weight."""
        phi, log_q = self.proposal.draw(self.rng)
        chance = math.log(self.rng.random())
        value = -math.inf
        # The density sees no signs of factors: of equal places, those on the mode's side are the chain's.
        if np.array_equal(self.target.turn(phi, self.proposal.mode), phi):
            value = self._evaluate(phi, 0).log_likelihood
        weight = value - log_q if np.isfinite(value) else -math.inf
        gain = weight - self.weight
        if chance < gain:
            self.here, self.value, self.weight = phi, value, weight
        return math.exp(min(gain, 0.0)), weight - self.proposal.log_density

    def trade(self) -> None:
        """Two variances change what they have of their sum, or not."""
        phi, ratio = self.trades.propose(self.here, self.rng)
        chance = math.log(self.rng.random())
        value = self._evaluate(phi, 0).log_likelihood
        if np.isfinite(value) and chance < value - self.value + ratio:
            self.here, self.value, self.weight = phi, value, value - self.proposal.evaluate(phi)

    def _tune(self, t: int) -> None:
        _, self.pilot[t] = self.propose()

    def _move(self, t: int) -> None:
        draws, before = self.draws, (self.value, self.weight)
        try:
            draws.accepted[t], draws.log_weights[t] = self.propose()
            if self.trades:
                self.trade()
        except Halted:
            self.value, self.weight = before
            raise
        draws.steps[t] = 2 if self.trades else 1
        draws.phi[t], draws.log_density[t] = self.here, self.value

    def _list_place(self) -> dict[str, np.ndarray]:
        return {"here": self.here, "numbers": np.array([self.value, self.weight]), "pilot": self.pilot}

    def _set_place(self, arrays: dict[str, np.ndarray]) -> None:
        self.here, self.pilot = arrays["here"], arrays["pilot"]
        self.value, self.weight = arrays["numbers"].tolist()


class Hamiltonian(Chain):
    """Hamiltonian Monte Carlo in phi = mode + L theta, LL' the inverse Hessian, with paths of random length.

    The step is adapted by dual averaging (Hoffman & Gelman 2014, J Mach Learn Res 15:1593-1623); a move takes a uniform
    number of leapfrogs, so that no period of the paths can be hit (Neal 2011).
    """

    tune = WARM_UP
    here: Evaluation

    def __init__(
        self,
        target: Target,
        proposal: Proposal,
        draws: int,
        slots: np.ndarray,
        seed: np.random.SeedSequence,
        start: np.ndarray,
        keep: Callable[[Chain, bool], None] | None = None,
    ) -> None:
        super().__init__(target, proposal, draws, slots, seed, keep)
        self.here = Evaluation(start, math.nan, gradient=np.zeros(target.count))
        self.step, self.slack, self.smooth = FIRST_STEP, 0.0, math.log(FIRST_STEP)

    def _tune(self, t: int) -> None:
        if t == 0:
            self.here = self._evaluate(self.here.phi, 1)
            if not np.isfinite(self.here.log_likelihood):
                raise NumericalError("the posterior has no density where a chain starts.")
        chance, _, _ = self.propose()
        self.slack += (WANTED - chance - self.slack) / (t + 11)
        log_step = min(math.log(2 * FIRST_STEP) - math.sqrt(t + 1) / 0.05 * self.slack, math.log(LARGEST_STEP))
        share = (t + 1) ** -0.75
        self.smooth = share * log_step + (1 - share) * self.smooth
        self.step = math.exp(log_step if t + 1 < self.tune else self.smooth)

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
            there = self._evaluate(there.phi + self.step * (root @ momentum), 1)
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
        value = self._evaluate(phi, 0).log_likelihood
        if np.isfinite(value) and chance < value - log_q - here:
            self.here = self._evaluate(phi, 1)

    def trade(self) -> None:
        """As of `Metropolis`."""
        phi, ratio = self.trades.propose(self.here.phi, self.rng)
        chance = math.log(self.rng.random())
        value = self._evaluate(phi, 0).log_likelihood
        if np.isfinite(value) and chance < value - self.here.log_likelihood + ratio:
            self.here = self._evaluate(phi, 1)

    def _move(self, t: int) -> None:
        draws = self.draws
        draws.accepted[t], draws.steps[t], draws.diverging[t] = self.propose()
        self.jump()
        if self.trades:
            self.trade()
        draws.phi[t], draws.log_density[t] = self.here.phi, self.here.log_likelihood

    def _list_place(self) -> dict[str, np.ndarray]:
        numbers = np.array([self.here.log_likelihood, self.step, self.slack, self.smooth])
        return {"here": self.here.phi, "gradient": self.here.gradient, "numbers": numbers}

    def _set_place(self, arrays: dict[str, np.ndarray]) -> None:
        value, self.step, self.slack, self.smooth = arrays["numbers"].tolist()
        self.here = Evaluation(arrays["here"], value, gradient=arrays["gradient"])


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
