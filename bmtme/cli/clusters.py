"""Where ``bmtme cv`` runs its fits: threads of this process, or the workers of a Dask cluster (``--scheduler``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor

from bmtme.cli.streams import complain
from bmtme.errors import MachineError, UsageError

__all__ = ["open_cluster"]

#: Seconds in which a scheduler has to answer.
PATIENCE = 30


@contextlib.contextmanager
def open_cluster(address: str | None) -> Iterator[Executor | None]:
    """The executor of a Dask cluster by the address of its scheduler; None without an address.

    Raises
    ------
    UsageError
        If the library is not installed, or the address is none.
    MachineError
        If nothing answers there.
    """
    if address is None:
        yield None
        return
    from bmtme.extras import require

    distributed = require("distributed", "dask", "--scheduler")
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"argument --scheduler: {address!r} is no address of a Dask scheduler ({error}): expected one such as "
            "tcp://10.0.0.1:8786, as the scheduler says it at its start."
        ) from None
    except OSError as error:
        raise MachineError(
            f"no Dask scheduler answers at {address} within {PATIENCE} s ({type(error).__name__}): start one with "
            "'dask scheduler', and workers with 'dask worker ADDRESS', or leave --scheduler out."
        ) from None
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            complain(f"warning: the scheduler at {address} has no workers yet: fits wait for them.")
        yield client.get_executor()
    finally:
        client.close()
