"""The work of a cross-validation: chains of all models and partitions spread over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
import pandas as pd

from bmtme.collection import list_labels
from bmtme.cv.diagnostics import Diagnosis, diagnose_chains
from bmtme.cv.precision import choose_cells, choose_lines, count_effective, measure_noise
from bmtme.data.trial import Trial
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode, branch_seed, choose_starts, find_modes
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import NumericalError
from bmtme.model.scaling import Scaling
from bmtme.model.structure import BMTME
from bmtme.preparation import Prepared, build, observe
from bmtme.progress import Progress
from bmtme.results.predictions import Targets
from bmtme.results.quantities import choose_stored
from bmtme.results.targets import choose_targets, predict
from bmtme.sampling import Sampling, plan_slots


class Job:
    """One model on one partition: chains that share their constants, and predictions when the last has ended.

    The constants and the draws are there from the start of the first chain to the end of the last only, so that memory
    is used by the jobs at work.

    Parameters
    ----------
    model : BMTME
    prepared : Prepared
        The training part.
    trial : Trial
        With all values, in computing order; only those of `cells` are looked at, to stand beside their predictions.
    cells : (J, I, L) bool array
        Cells of the trial to be predicted.
    sampling : Sampling
    seeds : one per chain

    Attributes
    ----------
    predictions : DataFrame or None
        As of `bmtme.pipeline.predict`; None before the end or after a failure.
    failure : str or None
        What went wrong, in the first of the chains that failed.
    diagnosis : Diagnosis or None
        Whether the chains agree.
    effective : float
        Effective draws behind the predicted mean of the median cell.
    noise : (2, L) float array
        By trait, the variance between predicted lines that is Monte Carlo noise, and all of it.
    seconds : float
        Spent by all chains.
    """

    def __init__(
        self,
        model: BMTME,
        prepared: Prepared,
        trial: Trial,
        cells: np.ndarray,
        sampling: Sampling,
        seeds: Sequence[np.random.SeedSequence],
    ) -> None:
        self.model, self.prepared, self.trial, self.cells = model, prepared, trial, cells
        self.sampling, self.seeds = sampling, seeds
        self.predictions: pd.DataFrame | None = None
        self.failure: str | None = None
        self.diagnosis: Diagnosis | None = None
        self.effective = np.nan
        self.noise = np.full((2, len(trial.traits)), np.nan)
        self.seconds = 0.0
        self.stops = [threading.Event() for _ in seeds]
        self._lock = threading.Lock()
        self._built: tuple[Problem, Scaling, list[Mode]] | None = None
        self._draws: list[Draws | None] = [None] * len(seeds)
        self._errors: dict[int, str] = {}
        self._left = len(seeds)

    def run_chain(self, c: int, report: Callable[[int], None]) -> None:
        """Run a chain; the last one to end makes the predictions."""
        began = time.perf_counter()
        if not self.stops[c].is_set():
            slots = plan_slots(self.sampling.draws, self.sampling.chains, "thin")[c]
            problem, _, modes = self._open()
            start = choose_starts(modes, len(self.seeds))[c]
            structures = self.model.structures
            sampling = self.sampling
            chain = Chain(problem, sampling.sampler, sampling.tune, slots, True, self.seeds[c], start, structures)
            try:
                chain.advance(report, self.stops[c])
            except NumericalError as error:
                self._fail(c, str(error))
            else:
                self._draws[c] = None if self.stops[c].is_set() else chain.draws
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._close()
        with self._lock:
            self.seconds += time.perf_counter() - began

    def stop(self) -> None:
        """Have all chains end soon."""
        for stop in self.stops:
            stop.set()

    def _open(self) -> tuple[Problem, Scaling, list[Mode]]:
        with self._lock:
            if self._built is None:
                problem, scaling = build(self.prepared, self.model)
                modes = find_modes(problem, observe(self.prepared, scaling), branch_seed(self.seeds[0]))
                self._built = problem, scaling, modes
            return self._built

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
            self.failure = f"chain {first + 1} of {len(self.seeds)}: {self._errors[first]}"
        elif len(chains) == len(self.seeds):
            problem, scaling, modes = self._open()
            targets = choose_targets(self.prepared, self.trial.lines)
            self.predictions = predict(self.prepared, scaling, chains, self.trial, targets, self.cells)
            labels = list_labels(self.prepared)
            stored = choose_stored(problem, self.model.structures)
            self.diagnosis = diagnose_chains(chains, stored, labels, modes if problem.native else ())
            if self.cells.any():
                self._measure_precision(chains)
        self._draws, self._built = [], None

    def _measure_precision(self, chains: list[Draws]) -> None:
        places = choose_cells(self.cells)
        lines, places[:, 0] = np.unique(places[:, 0], return_inverse=True)
        basis = self.prepared.basis
        self.effective = count_effective(chains, basis, self._choose_targets(lines), places)
        lines = choose_lines(self.cells)
        self.noise = measure_noise(chains, basis, self._choose_targets(lines), self.cells[lines])

    def _choose_targets(self, lines: np.ndarray) -> Targets:
        return choose_targets(self.prepared, tuple(self.trial.lines[j] for j in lines))


def run_jobs(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
    """Run the chains of all jobs in threads, in the order of the jobs.

    Raises
    ------
    KeyboardInterrupt
        Within about a second of the signal; the threads have ended by then.
    """
    tasks = [(job, c) for job in jobs for c in range(len(job.seeds))]
    done = [0] * len(tasks)
    lock = threading.Lock()

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

    with ThreadPoolExecutor(max(1, min(workers, len(tasks))), thread_name_prefix="bmtme-cv") as pool:
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
