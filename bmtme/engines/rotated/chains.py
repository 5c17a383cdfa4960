"""Chains over compiled sweeps: reproducible streams, progress, interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bmtme.engines.rotated.adaptation import list_flips, plan_stages, start_stage
from bmtme.engines.rotated.collapsed import (
    Walk,
    allocate_walk,
    measure_curvature,
    pack_state,
    resume_walk,
)
from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.draws import Draws, allocate_draws, hold_draws
from bmtme.engines.rotated.failures import FAILURES, FINE, PAIR
from bmtme.engines.rotated.held import hold
from bmtme.engines.rotated.line_effect import start_line
from bmtme.engines.rotated.problem import Problem, take_paper_pair
from bmtme.engines.rotated.state import State, Work, allocate_work, start_state
from bmtme.engines.rotated.stepwise import run_stepwise
from bmtme.engines.rotated.sweep import COLLAPSED, GIBBS, run_sweeps, settle
from bmtme.engines.threads import Report, run_together
from bmtme.errors import NumericalError
from bmtme.structures.part import Start
from bmtme.structures.proportional import PAPER_PAIR, is_paper_pair
from bmtme.structures.structure import Structures

#: Aim of one compiled call, in seconds: how long an interruption may wait.
CALL_SECONDS = 0.25


class Chain:
    """One chain: its own stream of random numbers, state and draws."""

    def __init__(
        self,
        problem: Problem,
        sampler: str,
        tune: int,
        slots: np.ndarray,
        track: bool,
        seed: np.random.SeedSequence,
        start: Start | None = None,
        structures: Structures = PAPER_PAIR,
    ) -> None:
        self.problem = problem
        self.sampler = sampler
        self.tune = tune
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.state: State = start_state(problem, self.rng, start)
        self.work: Work = allocate_work(problem)
        self.walk: Walk = allocate_walk(problem)
        paper = is_paper_pair(*structures) and not problem.line_effect and not problem.known
        assert problem.native == paper, "the problem was built with other structures"
        self.start, self.structures = start, structures
        self.flips = list_flips(problem, structures)
        self.draws: Draws = allocate_draws(problem, len(slots), slots, track)
        self.trail = np.empty((0, len(self.walk.theta)))

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the chain to its end, or until `stop` is set; `report` is told the sweeps done."""
        if self.sampler == "collapsed":
            self._advance_collapsed(report, stop)
            return

        def call(start: int, last: int, keep: bool) -> tuple[int, int]:
            if self.sampler == "gibbs":
                return self._run(GIBBS, start, last, keep)
            result: tuple[int, int] = run_stepwise(
                self.rng, *self._hold()[:3], start, last, keep, hold_draws(self.draws)
            )
            return result

        self._sweep(call, self.tune, False, 0, report, stop)
        self._sweep(call, len(self.draws.slot), True, self.tune, report, stop)

    def _advance_collapsed(self, report: Callable[[int], None], stop: threading.Event) -> None:
        def call_gibbs(start: int, last: int, keep: bool) -> tuple[int, int]:
            return self._run(GIBBS, start, last, keep)

        def call(start: int, last: int, keep: bool) -> tuple[int, int]:
            return self._run(COLLAPSED, start, last, keep)

        def curve(out: np.ndarray) -> bool:
            return bool(measure_curvature(*self._hold(), out))

        lengths = plan_stages(self.tune)
        done = lengths[0]
        if self.problem.native:
            self._sweep(call_gibbs, lengths[0], False, 0, report, stop)
            p, s, _, h = self._hold()
            pack_state(p, s, h)
        else:
            self._approach(lengths[0], report, stop)
        for stage, length in enumerate(lengths[1:]):
            start_stage(stage, self.walk, self.flips, self.trail, curve)
            self.trail = np.empty((length, len(self.walk.theta)))
            self._sweep(call, length, False, done, report, stop)
            if stop.is_set():
                return
            done += length
        start_stage(3, self.walk, self.flips, self.trail, curve)
        self._sweep(call, len(self.draws.slot), True, self.tune, report, stop)

    def _approach(self, sweeps: int, report: Callable[[int], None], stop: threading.Event) -> None:
        """Gibbs sweeps of the paper's pair with the same data, and on from there with the structures of the problem."""
        origin = take_paper_pair(self.problem)
        state, walk = start_state(origin, self.rng, self.start), allocate_walk(origin)
        held = hold(origin, state, allocate_work(origin), walk)

        def call(start: int, last: int, keep: bool) -> tuple[int, int]:
            return self._run(GIBBS, start, last, keep, held)

        self._sweep(call, sweeps, False, 0, report, stop)
        for name, values in state._asdict().items():
            if name not in ("R_e", "r"):
                getattr(self.state, name)[:] = values
        self.state.R_e[:] = np.tile(state.R_e, (len(self.state.R_e) // len(state.R_e), 1))
        self.walk.theta[:] = place_walk(self.problem, state, self.structures)
        here = self._hold()
        code = settle(self.rng, *here, 1) if resume_walk(*here) else PAIR
        if code == FINE and evaluate(self.walk.theta, *here, np.empty(len(self.walk.theta))) == -np.inf:
            code = PAIR
        if code != FINE:
            raise NumericalError(
                f"where the chain starts: {FAILURES[code]} is not positive definite. Look for a trait that is constant "
                "or a copy of another."
            )

    def _hold(self) -> tuple[Any, ...]:
        """Problem, state, workspace and walk as compiled code takes them."""
        return hold(self.problem, self.state, self.work, self.walk)

    def _run(
        self, kind: int, start: int, last: int, keep: bool, held: tuple[Any, ...] | None = None
    ) -> tuple[int, int]:
        """Sweeps of a kind with what is held, by default that of the chain itself."""
        held = self._hold() if held is None else held
        result: tuple[int, int] = run_sweeps(
            self.rng, kind, *held, start, last, keep, hold_draws(self.draws), self.trail
        )
        return result

    def _sweep(
        self,
        call: Callable[[int, int, bool], tuple[int, int]],
        length: int,
        keep: bool,
        before: int,
        report: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        """Sweeps 0 .. length - 1 of a stage in calls of about `CALL_SECONDS`, after `before` earlier sweeps."""
        done, step = 0, 1
        while done < length and not stop.is_set():
            last = min(done + step, length)
            began = time.perf_counter()
            reached, code = call(done, last, keep)
            if code != FINE:
                raise NumericalError(
                    f"sweep {before + reached + 1}: {FAILURES[code]} is not positive definite. Look for a trait that "
                    "is constant or a copy of another, and for a prior many orders of magnitude away from the data."
                )
            if done > 0:  # the very first call may compile
                rate = (last - done) / max(time.perf_counter() - began, 1e-6)
                step = int(np.clip(rate * CALL_SECONDS, 1, 4 * step))
            done = last
            report(before + done)


def place_walk(p: Problem, s: State, structures: Structures) -> np.ndarray:
    """Parameters (q,) of the covariances that a chain starts from."""
    start = Start(s.Sigma_t, s.s2_E, take_errors_off(p, s.R_e[: p.n_trait]))
    genetic, residual = structures
    line = start_line(p.line_prior, start.R_e) if p.line_effect else np.zeros(0)
    return np.concatenate([genetic.start(p.genetic, start), residual.start(p.residual, start), line])


def take_errors_off(p: Problem, R_e: np.ndarray) -> np.ndarray:
    """What a residual covariance (L, L) that contains known errors leaves without them, at least a tenth."""
    if not p.known:
        return R_e
    L = p.n_trait
    errors = np.diagonal(p.common.reshape(-1, L, L), axis1=1, axis2=2)[p.seen].mean(axis=0)
    errors = errors + np.diagonal(p.part_error, axis1=1, axis2=2).sum(axis=0) / p.n_recorded.sum()
    root = np.sqrt(np.clip(1.0 - errors / np.diag(R_e), 0.1, 1.0))
    return np.asarray(R_e * np.outer(root, root))


def run_chains(
    problem: Problem,
    sampler: str,
    tune: int,
    slots: Sequence[np.ndarray],
    track: bool,
    seeds: Sequence[np.random.SeedSequence],
    cores: int | None = None,
    report: Report | None = None,
    starts: Sequence[Start | None] | None = None,
    structures: Structures = PAPER_PAIR,
) -> list[Draws]:
    """Run chains in threads; the numbers depend on the seeds only.

    Parameters
    ----------
    slots : per chain, (draws,) where the effects of each draw are kept (-1 nowhere)
    seeds : one per chain
    cores : threads at most; default all processors of this process
    report : told (chain, sweeps done) from the chains' threads
    starts : covariances around which each chain starts
    structures : that the problem was built with

    Raises
    ------
    NumericalError
        Naming the matrix and the sweep.
    KeyboardInterrupt
        Within about a second of the signal; the chains have ended by then.
    """
    makers = [
        partial(Chain, problem, sampler, tune, slots[c], track, seed, None if starts is None else starts[c], structures)
        for c, seed in enumerate(seeds)
    ]
    return run_together(makers, cores, report)
