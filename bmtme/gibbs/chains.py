"""Chains in threads over compiled sweeps: reproducible streams, progress, interruption."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.errors import NumericalError
from bmtme.gibbs.draws import Draws, allocate_draws
from bmtme.gibbs.problem import Problem
from bmtme.gibbs.state import State, Work, allocate_work, start_state
from bmtme.gibbs.sweep import FAILURES, run_gibbs, run_stepwise

SAMPLERS: dict[str, Callable[..., Any]] = {"gibbs": run_gibbs, "stepwise": run_stepwise}

#: Aim of one compiled call, in seconds: how long an interruption may wait.
CALL_SECONDS = 0.25

Report = Callable[[int, int], None]  # (chain, sweeps done)


def count_cores() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Chain:
    """One chain: its own stream of random numbers, state and draws."""

    def __init__(
        self, problem: Problem, sampler: str, tune: int, slots: np.ndarray, track: bool, seed: np.random.SeedSequence
    ) -> None:
        self.problem = problem
        self.run = SAMPLERS[sampler]
        self.tune = tune
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.state: State = start_state(problem, self.rng)
        self.work: Work = allocate_work(problem)
        self.draws: Draws = allocate_draws(problem, len(slots), slots, track)

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the chain to its end, or until `stop` is set; `report` is told the sweeps done."""
        done, total = 0, self.tune + len(self.draws.slot)
        step = 1
        while done < total and not stop.is_set():
            keep = done >= self.tune
            offset = self.tune if keep else 0
            last = min(done + step, total if keep else self.tune)
            began = time.perf_counter()
            reached, code = self.run(
                self.rng, self.problem, self.state, self.work, done - offset, last - offset, keep, self.draws
            )
            if code:
                raise NumericalError(
                    f"sweep {reached + offset + 1}: {FAILURES[code]} is not positive definite. Look for a trait that "
                    "is constant or a copy of another, and for a prior many orders of magnitude away from the data."
                )
            # The first call compiles; after that aim at CALL_SECONDS a call.
            if done > 0:
                rate = (last - done) / max(time.perf_counter() - began, 1e-6)
                step = int(np.clip(rate * CALL_SECONDS, 1, 4 * step))
            done = last
            report(done)


def run_chains(
    problem: Problem,
    sampler: str,
    tune: int,
    slots: Sequence[np.ndarray],
    track: bool,
    seeds: Sequence[np.random.SeedSequence],
    cores: int | None = None,
    report: Report | None = None,
) -> list[Draws]:
    """Run chains in threads; the numbers depend on the seeds only.

    Parameters
    ----------
    slots : per chain, (draws,) where the effects of each draw are kept (-1 nowhere)
    seeds : one per chain
    cores : threads at most; default all processors of this process
    report : told (chain, sweeps done) from the chains' threads

    Raises
    ------
    NumericalError
        Naming the matrix and the sweep.
    KeyboardInterrupt
        Within about a second of the signal; the chains have ended by then.
    """
    stop = threading.Event()
    lock = threading.Lock()

    def run(c: int) -> Draws:
        chain = Chain(problem, sampler, tune, slots[c], track, seeds[c])

        def tell(done: int) -> None:
            if report is not None:
                with lock:
                    report(c, done)

        try:
            chain.advance(tell, stop)
        except BaseException:
            stop.set()
            raise
        return chain.draws

    threads = max(1, min(len(seeds), cores or count_cores()))
    with threadpool_limits(1):
        if threads == 1:
            return [run(c) for c in range(len(seeds))]
        with ThreadPoolExecutor(threads) as pool:
            tasks = [pool.submit(run, c) for c in range(len(seeds))]
            try:
                results = [task.result() for task in tasks]
            except BaseException:
                stop.set()
                for task in tasks:
                    task.cancel()
                raise
    return results
