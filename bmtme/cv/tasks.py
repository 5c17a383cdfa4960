"""The work of a cross-validation: chains of all models and partitions spread over threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd

from bmtme.collection import list_labels
from bmtme.cv.diagnostics import Diagnosis, diagnose_chains, join_diagnoses
from bmtme.cv.precision import choose_cells, choose_lines, count_effective, measure_noise
from bmtme.cv.training import Training
from bmtme.engines.breakdowns import Breakdown
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode, branch_seed, choose_starts, find_modes
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import BmtmeError, MachineError
from bmtme.model.scaling import Scaling
from bmtme.model.structure import BMTME
from bmtme.preparation import Prepared, build, observe
from bmtme.progress import Progress, write_duration
from bmtme.results.predictions import Targets
from bmtme.results.quantities import choose_stored
from bmtme.results.targets import choose_targets, predict_hidden
from bmtme.sampling import ChainClock, Sampling, plan_slots

#: Seconds from which on it is said how long a run will take.
LONG = 20.0
#: What an outcome knows of the time that was spent.
PHASES = ("seconds", "warm_up")


@dataclass
class Outcome:
    """What came out of one model on one partition.

    Attributes
    ----------
    predictions, line_means : DataFrame or None
        As of `bmtme.results.targets.predict_hidden`; None after a failure.
    failure : str or None
        What went wrong, in the first of the chains that failed.
    diagnosis : Diagnosis or None
        Whether the chains agree; None where there are none.
    effective : float
        Effective draws behind the predicted mean of the median cell.
    noise : dict of (2,) float arrays
        By trait, the variance between predicted lines that is Monte Carlo noise, and all of it.
    seconds, warm_up : float
        Spent by all chains, and of it in warm-up.
    """

    predictions: pd.DataFrame | None = None
    line_means: pd.DataFrame | None = None
    failure: str | None = None
    diagnosis: Diagnosis | None = None
    effective: float = np.nan
    noise: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    warm_up: float = 0.0


def join_outcomes(parts: Mapping[str, Outcome]) -> Outcome:
    """One of several traits, fitted one at a time; it fails where one of them does."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    joined = Outcome()
    joined.seconds, joined.warm_up = (sum(getattr(part, name) for part in parts.values()) for name in PHASES)
    failed = [f"trait {trait!r}: {part.failure}" for trait, part in parts.items() if part.failure is not None]
    if failed:
        joined.failure = "; ".join(failed)
        return joined
    joined.predictions = pd.concat([part.predictions for part in parts.values()], ignore_index=True)
    joined.line_means = pd.concat([part.line_means for part in parts.values()], ignore_index=True)
    joined.diagnosis = join_diagnoses({t: part.diagnosis for t, part in parts.items() if part.diagnosis is not None})
    joined.effective = min(part.effective for part in parts.values())
    for part in parts.values():
        joined.noise |= part.noise
    return joined


def describe_error(error: Exception) -> str:
    """What went wrong in a fit, in words."""
    if isinstance(error, BmtmeError):
        return str(error)
    detail = f" ({' '.join(str(error).split())})" if str(error) else ""
    if isinstance(error, MemoryError):
        return f"not enough memory{detail}: ask for fewer workers or draws."
    return f"unexpected {type(error).__name__}{detail}: a fault in bmtme, please report it."


class Keeper(Protocol):
    """What keeps chains and outcomes of a run, so that it can be gone on with."""

    def keep(self, key: str, chain: Chain, last: bool) -> None:
        """Keep where a chain is, if it is time."""

    def restore(self, key: str, chain: Chain) -> bool:
        """Put a chain where it was kept, if it was."""

    def keep_outcome(self, key: str, outcome: Outcome) -> None:
        """Keep what came out of a job."""

    def restore_outcome(self, key: str) -> Outcome | None:
        """What was kept, or None."""

    def forget(self, key: str) -> None:
        """Keep a chain no longer."""


class Job:
    """One model on one training part: chains that share their constants, and predictions when the last has ended.

    The constants and the draws are there from the start of the first chain to the end of the last only, so that memory
    is used by the jobs at work.

    Parameters
    ----------
    model : BMTME
    training : Training
    sampling : Sampling
    seeds : one per chain
    kind : tuple of int
        Jobs of one kind take about as long as each other.
    key : str
        By which it is kept.

    Attributes
    ----------
    outcome : Outcome
    ended : bool
        Whether the outcome is complete.
    stopped, passing : bool
        Whether it was made to end before; whether it failed for a reason that may pass, such as want of memory.
    keeper : Keeper or None
    """

    def __init__(
        self,
        model: BMTME,
        training: Training,
        sampling: Sampling,
        seeds: Sequence[np.random.SeedSequence],
        kind: tuple[int, ...],
        key: str = "",
    ) -> None:
        self.model, self.training, self.kind, self.key = model, training, kind, key
        self.keeper: Keeper | None = None
        self.stopped = self.passing = False
        self.sampling, self.seeds = sampling, seeds
        self.outcome, self.ended = Outcome(), False
        self.stops = [threading.Event() for _ in seeds]
        self._lock = threading.Lock()
        self._built: tuple[Prepared, Problem, Scaling, list[Mode]] | None = None
        self._draws: list[Draws | None] = [None] * len(seeds)
        self._errors: dict[int, str] = {}
        self._left = len(seeds)
        self._clock = ChainClock(sampling.tune)

    def run_chain(self, c: int, report: Callable[[int], None]) -> None:
        """Run a chain; the last one to end makes the predictions, which are kept in place of the chains.

        What goes wrong is a failure of this job alone, but for a disc that is full or a checkpoint that is damaged.
        """
        began = time.perf_counter()
        if not self.stops[c].is_set():
            chain = None
            with self._guard(c):
                chain = self._make_chain(c)
            if chain is not None:
                if self.keeper is not None:
                    self.keeper.restore(f"{self.key}-{c}", chain)
                with self._guard(c):
                    self._advance(c, chain, report)
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._close()
        with self._lock:
            self.outcome.seconds += time.perf_counter() - began
            self.outcome.warm_up = self._clock.warm_up
            self.ended = self.ended or last
        if last:
            self.keep_outcome()

    def take_up(self, keeper: Keeper) -> None:
        """Have what was kept of it: what came out, or else the chains, when their turn comes."""
        self.keeper = keeper
        outcome = keeper.restore_outcome(self.key)
        if outcome is not None:
            self.outcome, self.ended = outcome, True

    @contextlib.contextmanager
    def _guard(self, c: int) -> Iterator[None]:
        try:
            yield
        except MachineError:
            raise
        except Exception as error:
            self.passing = self.passing or not isinstance(error, BmtmeError)
            if isinstance(error, Breakdown):
                trial = self.training.outline.trial
                error = error.name(trial.traits, trial.envs)
            self._fail(c, describe_error(error))

    def _make_chain(self, c: int) -> Chain:
        sampling = self.sampling
        slots = plan_slots(sampling.draws, sampling.chains, "thin")[c]
        _, problem, _, modes = self._open()
        start = choose_starts(modes, len(self.seeds))[c]
        return Chain(
            problem, sampling.sampler, sampling.tune, slots, True, self.seeds[c], start, self.model.structures,
            partial(self._keep, c),
        )  # fmt: skip

    def _advance(self, c: int, chain: Chain, report: Callable[[int], None]) -> None:
        self._clock.begin(c)

        def tell(sweeps: int) -> None:
            self._clock.update(c, sweeps)
            report(sweeps)

        chain.advance(tell, self.stops[c])
        self._draws[c] = None if self.stops[c].is_set() else chain.draws

    def stop(self) -> None:
        """Have all chains end soon."""
        self.stopped = True
        for stop in self.stops:
            stop.set()

    def _open(self) -> tuple[Prepared, Problem, Scaling, list[Mode]]:
        with self._lock:
            if self._built is None:
                prepared = self.training.prepare(self.model)
                problem, scaling = build(prepared, self.model)
                modes = find_modes(problem, observe(prepared, scaling), branch_seed(self.seeds[0]))
                self._built = prepared, problem, scaling, modes
            return self._built

    def _keep(self, c: int, chain: Chain, last: bool) -> None:
        # By time alone: a chain that is quickly run is quickly run anew.
        if self.keeper is not None:
            self.keeper.keep(f"{self.key}-{c}", chain, False)

    def keep_outcome(self) -> None:
        """Keep what came out, but for a failure that may pass."""
        if self.keeper is not None and not self.stopped and not self.passing:
            self.keeper.keep_outcome(self.key, self.outcome)
            for c in range(len(self.seeds)):
                self.keeper.forget(f"{self.key}-{c}")

    def _fail(self, c: int, message: str) -> None:
        # The chains before this one go on: which failure is told must not depend on the number of workers.
        with self._lock:
            self._errors[c] = message
        for stop in self.stops[c + 1 :]:
            stop.set()

    def _close(self) -> None:
        chains = [chain for chain in self._draws if chain is not None]
        if self._errors:
            first = min(self._errors)
            self.outcome.failure = f"chain {first + 1} of {len(self.seeds)}: {self._errors[first]}"
        elif len(chains) == len(self.seeds):
            try:
                self._predict(chains)
            except MachineError:
                raise
            except Exception as error:
                self.passing = self.passing or not isinstance(error, BmtmeError)
                self.outcome = Outcome(failure=f"predictions: {describe_error(error)}", seconds=self.outcome.seconds)
        self._draws, self._built = [], None

    def _predict(self, chains: list[Draws]) -> None:
        out = self.outcome
        prepared, problem, scaling, modes = self._open()
        trial, cells, plots = self.training.trial, self.training.cells, self.training.plots
        out.predictions, out.line_means = predict_hidden(prepared, problem, scaling, chains, trial, cells, plots)
        stored = choose_stored(problem, self.model.structures, factors=prepared.factors)
        out.diagnosis = diagnose_chains(chains, stored, list_labels(prepared), modes if problem.native else ())
        if cells.any():
            self._measure_precision(prepared, chains)

    def _measure_precision(self, prepared: Prepared, chains: list[Draws]) -> None:
        cells, basis = self.training.cells, prepared.basis
        places = choose_cells(cells)
        lines, places[:, 0] = np.unique(places[:, 0], return_inverse=True)
        self.outcome.effective = count_effective(chains, basis, self._choose_targets(prepared, lines), places)
        lines = choose_lines(cells)
        noise = measure_noise(chains, basis, self._choose_targets(prepared, lines), cells[lines])
        self.outcome.noise = dict(zip(self.training.trial.traits, noise.T, strict=True))

    def _choose_targets(self, prepared: Prepared, lines: np.ndarray) -> Targets:
        return choose_targets(prepared, tuple(self.training.trial.lines[j] for j in lines))


class Forecast:
    """How long the jobs take in all, told once some of each kind have ended.

    Parameters
    ----------
    jobs : Sequence of Job
    workers : int

    Attributes
    ----------
    seconds : float
        From the start to the end, as foretold; NaN before.
    """

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self.workers, self.seconds = workers, np.nan
        self.kinds: dict[tuple[int, ...], list[Job]] = {}
        for job in jobs:
            self.kinds.setdefault(job.kind, []).append(job)

    def update(self) -> bool:
        """Whether there is something new to tell."""
        if not np.isnan(self.seconds):
            return False
        total = 0.0
        for jobs in self.kinds.values():
            ended = [job.outcome.seconds for job in jobs if job.ended]
            # The first pays for what is done once, such as waking the compiled code.
            if len(ended) < (2 if len(jobs) > 4 else 1):
                return False
            total += len(jobs) * ended[-1]
        self.seconds = total / self.workers
        return True


def run_jobs(jobs: Sequence[Job], workers: int, progress: Progress) -> float:
    """Run the chains of all jobs in threads, in the order of the jobs; a long run says how long it will take.

    Returns
    -------
    float
        Seconds as foretold when one job of each kind had ended.

    Raises
    ------
    KeyboardInterrupt
        Within about a second of the signal; the threads have ended by then.
    """
    tasks = [(job, c) for job in jobs for c in range(len(job.seeds))]
    done = [0] * len(tasks)
    lock = threading.Lock()
    workers = max(1, min(workers, len(tasks)))
    forecast = Forecast(jobs, workers)

    def run(task: int) -> None:
        job, c = tasks[task]

        def report(sweeps: int) -> None:
            with lock:
                done[task] = sweeps
                progress.update(sum(done))

        job.run_chain(c, report)
        with lock:
            # Sweeps that a failure leaves undone are no longer to come.
            progress.total -= job.sampling.sweeps - done[task]
            if forecast.update() and forecast.seconds > LONG:
                progress.announce(f"{progress.what}: about {write_duration(forecast.seconds)} in all")

    with ThreadPoolExecutor(workers, thread_name_prefix="bmtme-cv") as pool:
        try:
            pending = {pool.submit(run, task) for task in range(len(tasks))}
            while pending:
                # Not every platform lets a signal through while waiting without an end.
                ended, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()
        except BaseException:
            for job in jobs:
                job.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return forecast.seconds
