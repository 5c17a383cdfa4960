"""The chains of a fit: compiled, started where the modes are, run, and asked for more draws until these suffice."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.engines.breakdowns import Breakdown
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.held import Needs, list_needs
from bmtme.engines.rotated.modes import Mode, branch_seed, choose_starts, find_modes
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.rehearsal import EFFECTS_OF_LEVELS, is_compiled, rehearse
from bmtme.engines.threads import run_together
from bmtme.errors import NumericalError, UsageError
from bmtme.estimates import STREAM, STREAM_ON, Estimate, Part, check_estimate, estimate_fit
from bmtme.mapped import Allocate
from bmtme.model.scaling import Scaling
from bmtme.preparation import observe
from bmtme.progress import Progress
from bmtme.request import Request
from bmtme.results.checkpoint import Checkpoint
from bmtme.results.folder import measure_space
from bmtme.rounds import Judge, Looks
from bmtme.sampling import (
    VERY_LARGE,
    ChainClock,
    Sampling,
    choose_keep,
    plan_slots,
)
from bmtme.trait_sets import TraitSet, naming


def plan_memory(parts: Sequence[Part], sampling: Sampling, keep_effects: str, warn: bool = True) -> str:
    """What is kept of the effects; told where it is less than all."""
    effect_bytes = int(sum(part.count_effects(sampling.kept) for part in parts))
    keep = choose_keep(keep_effects, effect_bytes)
    if warn and keep != keep_effects and keep == "thin" and effect_bytes > VERY_LARGE:
        warnings.warn(
            f"the effects of all lines in all draws would take {effect_bytes / 2**30:.1f} GB: kept are their mean, SD "
            "and at most 500 draws, in the group 'effects' (keep_effects='thin').",
            UserWarning,
            stacklevel=4,
        )
    return keep


def refuse_large(
    parts: Sequence[Part],
    sampling: Sampling,
    keep_effects: str,
    cores: int,
    progress: bool | None,
    stream: bool | None = None,
) -> Estimate:
    """What a fit will take, said; refused where the memory at hand does not do.

    stream : whether draws are on the disc alone; None where there is no folder for them

    Raises
    ------
    UsageError
    """
    estimate = estimate_fit(parts, sampling, keep_effects, cores, bool(stream))
    what = f"draws={sampling.draws}, chains={sampling.chains}, keep_effects={keep_effects!r}"
    way = "" if stream else STREAM if stream is None else STREAM_ON
    check_estimate(estimate, what, progress, "fit", way)
    return estimate


class Ran(NamedTuple):
    """What chains came to.

    Attributes
    ----------
    modes, sampled : of each set
    draws : of each chain
    keep : what is kept of the effects
    verdict : where draws were to suffice, as of `bmtme.sufficiency.describe`
    before : seconds of sampling before this process took it up
    cores : chains that ran at a time, at most
    """

    modes: list[list[Mode]]
    sampled: list[list[Draws]]
    draws: int
    keep: str
    verdict: dict[str, Any]
    before: float
    cores: int


def run(
    sets: Sequence[TraitSet],
    built: Sequence[tuple[Problem, Scaling]],
    request: Request,
    keep: str,
    cores: int,
    progress: bool | None,
    clock: list[float],
    checkpoint: Checkpoint | None = None,
) -> Ran:
    """Compile, look for the modes, and run the chains from there; the times of these go to the clock.

    Chains of all sets share the threads. Where draws are to suffice, chains are asked for more until they do.
    """
    sampling, until = request.sampling, request.until
    allocate: Allocate = np.zeros if checkpoint is None else checkpoint.allocate
    n = sampling.chains
    each = f" of each of {len(sets)} traits" if len(sets) > 1 else ""
    bar = Progress(len(sets) * n * sampling.sweeps, f"sampling, {n} chains{each}", progress)
    done, phases = [0] * (len(sets) * n), ChainClock(sampling.tune)

    def report(chain: int, sweeps: int) -> None:
        done[chain] = sweeps
        phases.update(chain, sweeps)
        bar.update(sum(done))

    try:
        needs = Needs(*(any(each) for each in zip(*(list_needs(problem) for problem, _ in built), strict=True)))
        compile_sampler(sampling.sampler, needs, bar)
        clock.append(time.perf_counter())
        seeds = [own.spawn_seeds(sampling) for own in sets]
        modes = []
        for own, (problem, scaling), streams in zip(sets, built, seeds, strict=True):
            with threadpool_limits(1), naming(own.trait):
                modes.append(find_modes(problem, observe(own.prepared, scaling), branch_seed(streams[0])))
        clock.append(time.perf_counter())
        starts = [choose_starts(found, n) for found in modes]
        slots = plan_slots(sampling.draws, n, keep)
        held: dict[int, Chain] = {}

        def open_chain(k: int) -> Chain:
            if k in held:
                return held[k]
            m, c = divmod(k, n)
            chain = Chain(
                built[m][0], sampling.sampler, sampling.tune, slots[c], keep != "none", seeds[m][c], starts[m][c],
                sets[m].model.structures, None if checkpoint is None else partial(checkpoint.keep, f"{k}"), allocate,
            )  # fmt: skip
            if checkpoint is not None and checkpoint.restore(f"{k}", chain):
                report(k, chain.swept)
            if until is not None:
                held[k] = chain
            return chain

        makers = [partial(open_chain, k) for k in range(len(done))]
        judge, parts = None, [own.part for own in sets]
        stream = None if checkpoint is None else checkpoint.stream
        if until is not None:
            looks = Looks(sets, built, modes, allocate)
            judge = Judge(until, clock[0], looks.summarise, looks.is_stuck)
            for k in range(len(done)):  # what was done before tells nothing of the time
                open_chain(k)
        while True:
            began, before = time.perf_counter(), sum(done)
            sampled = run_together(makers, cores, report, lambda k, error: explain(sets[k // n], error))
            split = [sampled[k : k + n] for k in range(0, len(sampled), n)]
            if judge is None:
                break
            rate = (time.perf_counter() - began) / max(sum(done) - before, 1) * len(done)
            draws = judge.plan(split, sampling.draws, rate)
            if judge.ended:
                break
            try:
                longer = replace(sampling, draws=draws)
                estimate = refuse_large(parts, longer, request.keep_effects, cores, False, stream)
                keep = plan_memory(parts, longer, request.keep_effects, warn=False)
            except UsageError:
                judge.end("memory")
                break
            if checkpoint is not None and checkpoint.stream:
                there = estimate_fit(parts, sampling, request.keep_effects, cores, True).disc
                if estimate.disc - there > measure_space(checkpoint.folder):
                    judge.end("disc")
                    break
                break
            sampling, slots = longer, plan_slots(draws, n, keep)
            for k, chain in held.items():
                chain.lengthen(slots[k % n])
            if checkpoint is not None:  # once there is room for them
                checkpoint.set_goal(draws)
            bar.total = len(done) * sampling.sweeps
    finally:
        bar.close()
    ended = time.perf_counter()
    clock += [clock[-1] + phases.divide(ended - clock[-1]), ended]
    earlier = 0.0 if checkpoint is None else checkpoint.sum_before() / min(cores, len(done))
    return Ran(modes, split, sampling.draws, keep, {} if judge is None else judge.verdict, earlier, cores)


def explain(own: TraitSet, error: NumericalError) -> NumericalError:
    """A failure of a chain with names, and the trait before it where it has chains of its own."""
    if isinstance(error, Breakdown):
        error = error.name(own.list_traits(), own.prepared.trial.envs)
    return NumericalError(f"trait {own.trait!r}: {error}") if own.trait else error


def compile_sampler(sampler: str, needs: Needs, bar: Progress) -> None:
    """Compile what chains call; that the first start takes its time is said, also where stderr is a log."""
    if not is_compiled(sampler):
        bar.announce("compiling the sampler (once after an installation, two or three minutes) ...")
    elif needs.levels and not is_compiled(EFFECTS_OF_LEVELS):
        bar.announce(
            "compiling the effects of replicates and blocks (once after an installation, less than a minute) ..."
        )
    rehearse(sampler, needs)
