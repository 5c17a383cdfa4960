"""The chains of a mixed model's posterior: which kind, how many, and how they went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.engines.threads import run_together
from bmtme.errors import UsageError
from bmtme.model.mixed.priors import LKJ
from bmtme.progress import Progress

if TYPE_CHECKING:
    from bmtme.engines.mixed.chains import Walked
    from bmtme.engines.mixed.posterior import Target
    from bmtme.model.mixed.priors import Prior
    from bmtme.results.mixed.fit import MixedFit

__all__ = ["METROPOLIS", "Sampled", "make_target", "sample_posterior"]

METROPOLIS, HAMILTONIAN = "independence Metropolis", "Hamiltonian"


@dataclass(frozen=True, eq=False)
class Sampled:
    """Chains, and how they went.

    Attributes
    ----------
    chains : list of Walked
    slots : (kept,) array of int
        Draws of each chain whose effects were kept.
    facts : dict
        method, k_hat of the pilot and of all proposals, acceptance and divergences of each chain, evaluations of the
        likelihood.
    seconds : dict
        mode, sample.
    """

    chains: list[Walked]
    slots: np.ndarray
    facts: dict[str, Any]
    seconds: dict[str, float]


def make_target(fit: MixedFit, priors: Sequence[Prior], scales: Sequence[np.ndarray]) -> Target:
    """The posterior of a fit's model, with a prior and its scales for each section and term.

    Raises
    ------
    UsageError
        If there is nothing to be drawn.
    """
    from bmtme.engines.mixed.posterior import Target
    from bmtme.engines.mixed.priors import AxisPrior

    own = [
        AxisPrior(prior.nu, scale, prior.eta if isinstance(prior, LKJ) else None)
        for prior, scale in zip(priors, scales, strict=True)
    ]
    target = Target(fit.result.equations, own)
    if not target.count:
        raise UsageError(
            "The model has no parameters of covariances that could have a posterior: all of them are known."
        )
    return target


def sample_posterior(
    target: Target,
    start: np.ndarray,
    draws: int,
    slots: np.ndarray,
    seeds: Sequence[np.random.SeedSequence],
    cores: int | None = None,
    progress: bool | None = None,
    pilot: int | None = None,
) -> Sampled:
    """Draw from the posterior around the mode that is reached from somewhere.

    Parameters
    ----------
    target : Target
    start : (k,) array
        Estimates by REML.
    draws : int
        Of each chain.
    slots : (kept,) array of int
        Draws of each chain whose effects are kept.
    seeds : sequence of numpy.random.SeedSequence
        Of each chain; the numbers depend on them alone.
    pilot : int, optional
        Proposals of all chains that come before, and tell k-hat.

    Raises
    ------
    NumericalError
    """
    from bmtme.engines.mixed.chains import HIGH_K, Hamiltonian, Metropolis, Pilot, count_pilot, measure_k
    from bmtme.engines.mixed.posterior import find_proposal

    n = len(seeds)
    clock = [time.perf_counter()]
    bar = Progress(1, "posterior", progress)
    try:
        bar.write("posterior: the mode ...")
        with threadpool_limits(1):
            proposal = find_proposal(target, start)
        clock.append(time.perf_counter())
        chains = [Metropolis(target.fork(), proposal, draws, slots, seed) for seed in seeds]
        pilot = count_pilot(n, pilot)
        _run([Pilot(chain, pilot) for chain in chains], [pilot] * n, "posterior, pilot", cores, progress)
        k_hat = measure_k(_join_weights(chains))
        method = METROPOLIS if k_hat <= HIGH_K else HAMILTONIAN
        used: list[Any] = list(chains)
        if method == HAMILTONIAN:
            used = [
                Hamiltonian(chain.target, proposal, draws, slots, seed.spawn(1)[0], chain.here)
                for chain, seed in zip(chains, seeds, strict=True)
            ]
        what = f"posterior, {n} {'chain' if n == 1 else 'chains'}"
        walked = _run(used, [chain.sweeps for chain in used], what, cores, progress)
    finally:
        bar.close()
    clock.append(time.perf_counter())
    evaluations = target.evaluations + sum(chain.target.evaluations for chain in chains)
    facts = {
        "method": method,
        "k_hat": None if not np.isfinite(k_hat) else round(k_hat, 3),
        "k_hat_all": round(measure_k(_join_weights(chains)), 3) if method == METROPOLIS else None,
        "acceptance": [round(float(chain.accepted.mean()), 3) for chain in walked],
        "divergences": [int(chain.diverging.sum()) for chain in walked],
        "evaluations": evaluations,
        "mode_log_density": proposal.log_density,
    }
    return Sampled(walked, slots, facts, dict(zip(("mode", "sample"), np.diff(clock).round(3).tolist(), strict=True)))


def _join_weights(chains: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.array(chain.draws.log_weights) for chain in chains])


def _run(
    chains: Sequence[Any], lengths: Sequence[int], what: str, cores: int | None, progress: bool | None
) -> list[Any]:
    """Run chains in threads with a line of progress."""
    bar = Progress(sum(lengths), what, progress)
    done = [0] * len(chains)

    def report(chain: int, sweeps: int) -> None:
        done[chain] = sweeps
        bar.update(sum(done))

    def take(k: int) -> Any:
        return chains[k]

    try:
        found: list[Any] = run_together([partial(take, k) for k in range(len(chains))], cores, report)
        return found
    finally:
        bar.close()
