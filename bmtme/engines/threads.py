"""Chains in threads: the same numbers whatever their number, progress, interruption."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits

from bmtme.errors import NumericalError
from bmtme.machine import count_cores

Report = Callable[[int, int], None]  # (chain, sweeps done)
Drawn = TypeVar("Drawn", covariant=True)


class Chain(Protocol[Drawn]):
    """What can be run: it goes on until it is done or `stop` is set, and tells how many sweeps it has done."""

    @property
    def draws(self) -> Drawn:
        """What it has drawn."""
        ...

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run."""
        ...


class _Limit:
    """One limit on the threads of BLAS, for as long as anybody wants it."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limits: threadpool_limits | None = None


_LIMIT = _Limit()


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """BLAS with one thread, also where several threads want it at times that overlap: the last to leave lifts it."""
    with _LIMIT.lock:
        _LIMIT.users += 1
        if _LIMIT.users == 1:
            _LIMIT.limits = threadpool_limits(1)
    try:
        yield
    finally:
        with _LIMIT.lock:
            _LIMIT.users -= 1
            if _LIMIT.users == 0 and _LIMIT.limits is not None:
                _LIMIT.limits.restore_original_limits()


def run_together(
    makers: Sequence[Callable[[], Chain[Drawn]]],
    cores: int | None = None,
    report: Report | None = None,
    explain: Callable[[int, NumericalError], NumericalError] | None = None,
) -> list[Drawn]:
    """Run chains, perhaps of several problems, in threads.

    Parameters
    ----------
    makers : one for each chain, called when its turn comes
    cores : threads at most; default all processors of this process
    report : told (chain, sweeps done) from the chains' threads
    explain : makes of a chain's failure what is raised

    Raises
    ------
    NumericalError
        Of a chain.
    KeyboardInterrupt
        Within about a second of the signal; the chains have ended by then.
    """
    begin, stop = threading.Event(), threading.Event()
    lock = threading.Lock()

    def run(c: int) -> Drawn:
        begin.wait()

        def tell(done: int) -> None:
            if report is not None:
                with lock:
                    report(c, done)

        try:
            chain = makers[c]()
            chain.advance(tell, stop)
        except BaseException as error:
            stop.set()
            if explain is not None and isinstance(error, NumericalError):
                raise explain(c, error) from error
            raise
        return chain.draws

    threads = max(1, min(len(makers), cores or count_cores()))
    with threadpool_limits(1):
        # Also for one: an interruption reaches the main thread, and would leave a chain there between two places.
        with ThreadPoolExecutor(threads) as pool:
            try:
                # An interruption while the pool starts a thread may leave it a stranger to the pool, which then does
                # not wait for its end: no chain is under way before all are submitted.
                tasks = [pool.submit(run, c) for c in range(len(makers))]
                begin.set()
                results = [task.result() for task in tasks]
            except BaseException:
                stop.set()
                begin.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return results
