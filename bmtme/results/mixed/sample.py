"""The chains of a mixed model's posterior: which kind, how many, and how they went."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.engines.threads import run_together
from bmtme.errors import UsageError
from bmtme.model.mixed.priors import LKJ
from bmtme.progress import Progress

if TYPE_CHECKING:
    from bmtme.engines.mixed.chain import Chain
    from bmtme.engines.mixed.draws import Walked
    from bmtme.engines.mixed.posterior import Proposal, Target
    from bmtme.model.mixed.priors import Prior
    from bmtme.results.checkpoint import Checkpoint
    from bmtme.results.mixed.fit import MixedFit

__all__ = ["METROPOLIS", "Sampled", "make_target", "sample_posterior"]

METROPOLIS, HAMILTONIAN = "independence Metropolis", "Hamiltonian"
Made = TypeVar("Made", bound="Chain")
#: Of a checkpoint: the proposal at the mode.
MODE = "mode"


@dataclass(frozen=True, eq=False)
class Sampled:
    """Chains, and how they went.

    Attributes
    ----------
    chains : list of Walked
    facts : dict
        method, k_hat of the pilot and of all proposals, acceptance and divergences of each chain, evaluations of the
        likelihood.
    seconds : dict
        mode, sample.
    """

    chains: list[Walked]
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
    checkpoint: Checkpoint | None = None,
    lengthen: Callable[[list[Walked], float], tuple[int, np.ndarray] | None] | None = None,
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
    checkpoint : Checkpoint, optional
        Where mode and chains are kept, and taken up.
    lengthen : function, optional
        Told what chains have drawn, and the seconds of a draw of all of them: the draws to go on to and their `slots`,
        or None where these do.

    Raises
    ------
    NumericalError
    """
    from bmtme.engines.mixed.chain import MOVES
    from bmtme.engines.mixed.chains import HIGH_K, Hamiltonian, Metropolis, Pilot, count_pilot, measure_k

    n = len(seeds)
    pilot = count_pilot(n, pilot)
    clock = [time.perf_counter()]
    find = partial(_find_mode, target, start, progress)
    proposal, target.evaluations = find() if checkpoint is None else checkpoint.recall(MODE, find)
    clock.append(time.perf_counter())

    def take_up(key: str, chain: Made) -> Made:
        if checkpoint is not None:
            chain.keep = partial(checkpoint.keep, key)
            checkpoint.restore(key, chain)
        return chain

    chains = [
        take_up(f"{k}", Metropolis(target.fork(), proposal, draws, slots, seed, pilot)) for k, seed in enumerate(seeds)
    ]
    _run([Pilot(chain) for chain in chains], chains, "posterior, pilot", pilot, cores, progress)
    k_hat = measure_k(np.concatenate([chain.pilot for chain in chains]))
    method = METROPOLIS if k_hat <= HIGH_K else HAMILTONIAN
    used: list[Chain] = list(chains)
    if method == HAMILTONIAN:
        own = [np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, MOVES)) for seed in seeds]
        used = [
            take_up(f"paths-{k}", Hamiltonian(chain.target, proposal, draws, slots, own[k], chain.here))
            for k, chain in enumerate(chains)
        ]
    what = f"posterior, {n} {'chain' if n == 1 else 'chains'}"
    while True:
        began, before = time.perf_counter(), sum(chain.swept for chain in used)
        walked = _run(used, used, what, used[0].sweeps, cores, progress)
        if lengthen is None:
            break
        made = sum(chain.swept for chain in used) - before
        longer = lengthen(walked, (time.perf_counter() - began) / max(made, 1) * n)
        if longer is None:
            break
        for chain in used:
            chain.lengthen(*longer)
    clock.append(time.perf_counter())
    facts = {
        "method": method,
        "k_hat": None if not np.isfinite(k_hat) else round(k_hat, 3),
        "k_hat_all": None,
        "acceptance": [round(float(chain.accepted.mean()), 3) for chain in walked],
        "divergences": [int(chain.diverging.sum()) for chain in walked],
        "evaluations": target.evaluations + sum(chain.target.evaluations for chain in chains),
        "mode_log_density": proposal.log_density,
    }
    if method == METROPOLIS:
        facts["k_hat_all"] = round(measure_k(np.concatenate([chain.log_weights for chain in chains])), 3)
    return Sampled(walked, facts, dict(zip(("mode", "sample"), np.diff(clock).round(3).tolist(), strict=True)))


def _find_mode(target: Target, start: np.ndarray, progress: bool | None) -> tuple[Proposal, int]:
    """The proposal at the mode, and how often the density has been evaluated for it."""
    from bmtme.engines.mixed.posterior import find_proposal

    bar = Progress(1, "posterior", progress)
    try:
        bar.write("posterior: the mode ...")
        with threadpool_limits(1):
            return find_proposal(target, start), target.evaluations
    finally:
        bar.close()


def _run(
    runs: Sequence[Any],
    chains: Sequence[Chain],
    what: str,
    length: int,
    cores: int | None,
    progress: bool | None,
) -> list[Any]:
    """Run chains, or parts of them, in threads with a line of progress."""
    bar = Progress(length * len(chains), what, progress)
    done = [chain.swept for chain in chains]

    def report(chain: int, sweeps: int) -> None:
        done[chain] = sweeps
        bar.update(sum(done))

    def take(k: int) -> Any:
        return runs[k]

    try:
        found: list[Any] = run_together([partial(take, k) for k in range(len(runs))], cores, report)
        return found
    finally:
        bar.close()
