"""Chains over compiled sweeps: reproducible streams, progress, interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from bmtme.engines.breakdowns import Breakdown, describe_failure, refuse_gaps
from bmtme.engines.rotated.adaptation import list_flips, plan_stages, start_stage
from bmtme.engines.rotated.collapsed import (
    Walk,
    allocate_walk,
    measure_curvature,
    pack_state,
    resume_walk,
)
from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.draws import SUMS, Draws, allocate_draws, hold_draws
from bmtme.engines.rotated.failures import FINE, PAIR
from bmtme.engines.rotated.held import hold
from bmtme.engines.rotated.line_effect import start_line
from bmtme.engines.rotated.problem import Problem, take_paper_pair
from bmtme.engines.rotated.snapshots import (
    cut_blocks,
    lengthen,
    list_arrays,
    list_state,
    paste_draws,
)
from bmtme.engines.rotated.state import State, Work, allocate_work, start_state
from bmtme.engines.rotated.stepwise import run_stepwise
from bmtme.engines.rotated.sweep import COLLAPSED, GIBBS, run_sweeps, settle
from bmtme.engines.snapshots import Block, Snapshot, fill_arrays
from bmtme.engines.threads import Report, run_together
from bmtme.mapped import Allocate, release
from bmtme.structures.part import Start
from bmtme.structures.proportional import PAPER_PAIR, is_paper_pair
from bmtme.structures.structure import Structures

#: Aim of one compiled call, in seconds: how long an interruption may wait.
CALL_SECONDS = 0.25


class Chain:
    """One chain: its own stream of random numbers, state and draws.

    Parameters
    ----------
    slots : (draws,) where the effects of each draw are kept (-1 nowhere)
    track : whether conditional means of the effects are summed
    keep : told the chain after each of its calls of compiled sweeps, and whether it ends there: it may `take` it
    allocate : makes the arrays of the draws

    Attributes
    ----------
    lengths : sweeps of each stage of the warm-up, and at last the draws
    stage, done : the stage it is in, and sweeps done of it; -1 before it has been entered
    """

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
        keep: Callable[[Chain, bool], None] | None = None,
        allocate: Allocate = np.zeros,
    ) -> None:
        self.problem = problem
        self.sampler = sampler
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.state: State = start_state(problem, self.rng, start)
        self.work: Work = allocate_work(problem)
        self.walk: Walk = allocate_walk(problem)
        paper = is_paper_pair(*structures) and not problem.line_effect and not problem.known
        assert problem.native == paper, "the problem was built with other structures"
        self.start, self.structures = start, structures
        self.flips = list_flips(problem, structures)
        self.allocate = allocate
        self.draws: Draws = allocate_draws(problem, len(slots), slots, track, allocate)
        self.trail = np.empty((0, len(self.walk.theta)))
        self.lengths = [*(plan_stages(tune) if sampler == "collapsed" else [tune]), len(slots)]
        self.stage, self.done = 0, -1
        self.origin: tuple[Problem, State, Walk] | None = None
        self.keep = keep

    # --- running --------------------------------------------------------------------------------------------------

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the chain to its end, or until `stop` is set; `report` is told the sweeps done."""
        while not stop.is_set():
            if self.done < 0:
                self._enter()
                self.done = 0
            self._sweep(report, stop)
            if self.done < self.lengths[self.stage] or self._keeping:
                break
            self.stage, self.done = self.stage + 1, -1
        if self.keep is not None and self.done >= 0:
            self.keep(self, True)

    @property
    def _keeping(self) -> bool:
        """Whether sweeps are kept: in the last stage."""
        return self.stage == len(self.lengths) - 1

    @property
    def swept(self) -> int:
        """Sweeps that it has done."""
        return sum(self.lengths[: self.stage]) + max(self.done, 0)

    @property
    def drawn(self) -> int:
        """Draws there are."""
        return max(self.done, 0) if self._keeping else 0

    def _enter(self) -> None:
        """Get ready for the sweeps of a stage."""
        if self.sampler != "collapsed":
            return
        if self.stage == 0:
            if not self.problem.native:
                self._start_origin()
            return
        if self.stage == 1:
            self._start_walk()

        def curve(out: np.ndarray) -> bool:
            return bool(measure_curvature(*self._hold(), out))

        start_stage(self.stage - 1, self.walk, self.flips, self.trail, curve)
        if not self._keeping:
            self.trail = np.empty((self.lengths[self.stage], len(self.walk.theta)))

    def _start_origin(self) -> None:
        """The paper's pair with the same data, of which the first sweeps are."""
        problem = take_paper_pair(self.problem)
        self.origin = problem, start_state(problem, self.rng, self.start), allocate_walk(problem)

    def _start_walk(self) -> None:
        """Put the walk where the Gibbs sweeps ended; from the paper's pair on with the structures of the problem."""
        if self.origin is None:
            p, s, _, h = self._hold()
            pack_state(p, s, h)
            return
        _, state, _ = self.origin
        for name, values in state._asdict().items():
            if name not in ("R_e", "r"):
                getattr(self.state, name)[:] = values
        self.state.R_e[:] = np.tile(state.R_e, (len(self.state.R_e) // len(state.R_e), 1))
        self.walk.theta[:] = place_walk(self.problem, state, self.structures)
        self.origin = None
        here = self._hold()
        code = settle(self.rng, *here, 1) if resume_walk(*here) else PAIR
        if code == FINE and evaluate(self.walk.theta, *here, np.empty(len(self.walk.theta))) == -np.inf:
            code = PAIR
        if code != FINE:
            raise self._describe("where the chain starts", code)

    def _describe(self, where: str, code: int) -> Breakdown:
        state = self.state if self.origin is None else self.origin[1]
        return describe_failure(where, code, state.Sigma_t, state.s2_E, state.R_e)

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

    def _prepare_call(self) -> Callable[[int, int], tuple[int, int]]:
        """Sweeps start .. last - 1 of the stage; returns the sweep that failed, or `last`, and the failure's code."""
        keep = self._keeping
        if self.sampler == "stepwise":
            held = self._hold()[:3]
            return lambda start, last: run_stepwise(self.rng, *held, start, last, keep, hold_draws(self.draws))
        kind = COLLAPSED if self.sampler == "collapsed" and self.stage > 0 else GIBBS
        if self.origin is None:
            held = self._hold()
        else:
            problem, state, walk = self.origin
            held = hold(problem, state, allocate_work(problem), walk)
        return lambda start, last: self._run(kind, start, last, keep, held)

    def _sweep(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """The sweeps of a stage that are left, in calls of about `CALL_SECONDS`."""
        length, before, first, step = self.lengths[self.stage], sum(self.lengths[: self.stage]), self.done, 1
        call = self._prepare_call()
        while self.done < length and not stop.is_set():
            last = min(self.done + step, length)
            began = time.perf_counter()
            reached, code = call(self.done, last)
            if code != FINE:
                raise self._describe(f"sweep {before + reached + 1}", code)
            if self._keeping:
                names = {"the genetic variance": "genetic", "the residual variance": "residual", "beta": "beta"}
                made = {what: getattr(self.draws, name)[self.done : last] for what, name in names.items()}
                refuse_gaps(before + self.done + 1, made)
            if self.done > first:  # the very first call may compile
                rate = (last - self.done) / max(time.perf_counter() - began, 1e-6)
                step = int(np.clip(rate * CALL_SECONDS, 1, 4 * step))
            self.done = last
            report(before + last)
            release(*self.draws)
            if self.keep is not None:
                self.keep(self, False)

    # --- going on -------------------------------------------------------------------------------------------------

    def take(self) -> Snapshot:
        """Where the chain is, from which another one made alike goes on as this one would; the arrays are its own."""
        values = {"stage": self.stage, "done": self.done, "generator": self.rng.bit_generator.state}
        return Snapshot(values, self._list_arrays(self.done))

    def cut(self, first: int, last: int) -> Iterator[tuple[int, Block]]:
        """Draws first .. last - 1, as of `bmtme.engines.rotated.snapshots.cut_blocks`."""
        return cut_blocks(self.draws, first, last)

    def restore(self, snapshot: Snapshot, blocks: Iterable[Block]) -> None:
        """Go on from there, with blocks of the draws made so far.

        Raises
        ------
        ValueError
            If they are not of such a chain.
        """
        stage, done = snapshot.values["stage"], snapshot.values["done"]
        if not 0 <= stage < len(self.lengths) or not 0 <= done <= self.lengths[stage]:
            raise ValueError(f"it is at sweep {done} of stage {stage}")
        self.stage, self.done = stage, done
        if stage == 0 and self.sampler == "collapsed" and not self.problem.native:
            self._start_origin()
        elif 0 < stage and not self._keeping:
            self.trail = np.empty((self.lengths[stage], len(self.walk.theta)))
        fill_arrays(self._list_arrays(done), snapshot.arrays)
        self.rng.bit_generator.state = snapshot.values["generator"]
        row = 0
        for block in blocks:
            row = paste_draws(self.draws, row, block)
        if row != self.drawn:
            raise ValueError(f"its draws are {row}, not {self.drawn}")

    def lengthen(self, slots: np.ndarray) -> None:
        """Ask for more draws; effects that were kept and are no longer wanted go."""
        self.draws = lengthen(self.problem, self.draws, self.drawn, slots, self.allocate)
        self.lengths[-1] = len(slots)

    def _list_arrays(self, done: int) -> dict[str, np.ndarray]:
        problem, state, walk = self.origin or (self.problem, self.state, self.walk)
        found = list_state(problem, state) | dict(list_arrays("walk", walk))
        if self.stage > 0 and not self._keeping:
            found["trail"] = self.trail[:done]
        return found | ({name: getattr(self.draws, name) for name in SUMS} if self._keeping else {})


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
