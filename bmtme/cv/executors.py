"""Fits of a cross-validation as tasks of an executor: other processes, or other machines."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.arguments import show
from bmtme.cv.tasks import Job, Outcome
from bmtme.cv.training import Training
from bmtme.engines.threads import one_thread_each
from bmtme.errors import UsageError
from bmtme.machine import BEHIND_THE_NUMBERS, find_versions
from bmtme.model.structure import BMTME
from bmtme.preparation import DecompositionCache
from bmtme.progress import Progress
from bmtme.sampling import Sampling

__all__ = ["Elsewhere", "check_executor"]

#: Times that a task is given away at most: a worker that is lost takes what it works on with it.
ATTEMPTS = 3
#: Tasks under way: so many, and more as long as they take fewer bytes, as an executor may hold copies of all.
FEWEST, AHEAD = 16, 2**30


@dataclass(frozen=True)
class Task:
    """One model on one training part, with what it takes to run it somewhere else.

    Attributes
    ----------
    relationship : digest of the relationship, of which a worker keeps decompositions
    versions : that the worker must have, too
    """

    model: BMTME
    training: Training
    sampling: Sampling
    seeds: Sequence[np.random.SeedSequence]
    relationship: str
    versions: Mapping[str, str]


class _Decompositions:
    """In a worker, those of the relationship that it was given last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digest, self._cache = "", DecompositionCache()

    def take(self, digest: str) -> DecompositionCache:
        """Those of a relationship, by its digest."""
        with self._lock:
            if digest != self._digest:
                self._digest, self._cache = digest, DecompositionCache()
            return self._cache


_DECOMPOSITIONS = _Decompositions()


def run_task(task: Task) -> tuple[Outcome, bool]:
    """Run all chains of a task, one after the other; the numbers are those of any other way to run them.

    Returns
    -------
    Outcome
    bool
        Whether it is a failure that may pass.

    Raises
    ------
    UsageError
        If the libraries behind the numbers are others here.
    """
    here = find_versions()
    for name in BEHIND_THE_NUMBERS:
        if here[name] != task.versions[name]:
            what = "code of bmtme" if name == "sources" else name
            raise UsageError(
                f"a worker has another {what} ({here[name]}) than this process ({task.versions[name]}), which may give "
                "other numbers: install the same versions on all machines."
            )
    with one_thread_each():
        task.training.use(_DECOMPOSITIONS.take(task.relationship))
        job = Job(task.model, task.training, task.sampling, task.seeds, ())
        for c in range(len(task.seeds)):
            job.run_chain(c, lambda sweeps: None)
    return job.outcome, job.passing


def check_executor(executor: Any) -> None:
    """Refuse what is no executor.

    Raises
    ------
    UsageError
    """
    if executor is None or isinstance(executor, Executor):
        return
    hint = "client.get_executor()" if hasattr(executor, "get_executor") else "ProcessPoolExecutor(4)"
    raise UsageError(
        f"executor must be an executor as of concurrent.futures, such as {hint}, got {show(executor)}; leave it out to "
        "run in threads of this process."
    )


class Elsewhere:
    """Jobs as tasks of an executor.

    A task that is lost with its worker is given away again, up to `ATTEMPTS` times; what fails then, or in itself, is a
    failure of that job alone.

    Parameters
    ----------
    workers : tasks under way at a time; default some
    relationship : its digest

    Raises
    ------
    UsageError
        If a model cannot be sent to other processes.
    """

    def __init__(self, executor: Executor, jobs: Sequence[Job], workers: int | None, relationship: str) -> None:
        versions = find_versions()
        self.executor, self.jobs = executor, jobs
        self.tasks = [Task(job.model, job.training, job.sampling, job.seeds, relationship, versions) for job in jobs]
        self.most = workers or max(FEWEST, AHEAD // max(1, measure_tasks(jobs, self.tasks)))
        self._waiting: deque[tuple[int, int]] = deque()
        self._under_way: dict[Future[tuple[Outcome, bool]], tuple[int, int]] = {}

    def run(self, progress: Progress) -> None:
        """Give the tasks away, and take in their outcomes.

        Raises
        ------
        UsageError
            If a worker has other versions of what is behind the numbers.
        KeyboardInterrupt
            Tasks that have begun go on to their end in the executor; no other is begun.
        """
        self._waiting.extend((k, 1) for k, job in enumerate(self.jobs) if not job.ended)
        before = len(self.jobs) - len(self._waiting)
        try:
            while self._waiting or self._under_way:
                self._submit()
                # Not every platform lets a signal through while waiting without an end.
                ended = wait(self._under_way, timeout=0.5, return_when=FIRST_COMPLETED).done
                for future in ended:
                    self._take(future)
                    ended_now = sum(job.ended for job in self.jobs) - before
                    progress.update(ended_now * progress.total // (len(self.jobs) - before))
        except BaseException:
            for future in self._under_way:
                future.cancel()
            raise

    def _submit(self) -> None:
        while self._waiting and len(self._under_way) < self.most:
            k, attempt = self._waiting.popleft()
            try:
                self._under_way[self.executor.submit(run_task, self.tasks[k])] = k, attempt
            except Exception as error:  # an executor that is broken takes no more
                self._lose(k, attempt, error)

    def _take(self, future: Future[tuple[Outcome, bool]]) -> None:
        k, attempt = self._under_way.pop(future)
        error = RuntimeError("cancelled") if future.cancelled() else future.exception()
        if isinstance(error, UsageError):
            raise error
        if error is not None:
            self._lose(k, attempt, error)
        else:
            outcome, self.jobs[k].passing = future.result()
            self._settle(k, outcome)

    def _lose(self, k: int, attempt: int, error: BaseException) -> None:
        if attempt < ATTEMPTS:
            self._waiting.append((k, attempt + 1))
            return
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        failure = f"its worker was lost {ATTEMPTS} times, at last with {reason}"
        self.jobs[k].passing = True
        self._settle(k, Outcome(failure=failure))

    def _settle(self, k: int, outcome: Outcome) -> None:
        job = self.jobs[k]
        job.outcome, job.ended = outcome, True
        job.keep_outcome()


def measure_tasks(jobs: Sequence[Job], tasks: Sequence[Task]) -> int:
    """Bytes of the largest task, of one for each model.

    Raises
    ------
    UsageError
        If one cannot be sent.
    """
    first = {job.kind: task for job, task in zip(reversed(jobs), reversed(tasks), strict=True)}
    largest = 0
    for task in first.values():
        try:
            largest = max(largest, len(pickle.dumps(task)))
        except MemoryError:
            raise
        except Exception as error:  # of whatever cannot be pickled
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise UsageError(
                f"a model cannot be sent to other processes: {reason}. Define its parts at the head of a module that "
                "the workers can import, or leave executor out."
            ) from error
    return largest
