"""Where the run of a folder stands: finished or not, how many draws there are and are wanted, who is at work on it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bmtme.choices import MIXED, POSTERIOR
from bmtme.errors import DataError, UsageError, blame
from bmtme.results.packing import read_pack
from bmtme.results.record import FINISHED, RECORD, read_kind, read_record, read_seal
from bmtme.results.storage import KIND

__all__ = ["FOLDER", "GOAL", "count_draws", "find_goal", "is_finished", "take_lock"]

#: In the folder of a run, and in that what tells of the draws that are wanted, and the lock.
FOLDER, GOAL, LOCK = "checkpoint", "goal", ".lock"
#: Kinds of runs that have draws, and may be asked for more.
DRAWN = (KIND, POSTERIOR)


def find_goal(folder: Path) -> int | None:
    """Draws of each chain that are wanted of a run, where that is not what was asked for at first.

    Raises
    ------
    DataError
    """
    path = folder / FOLDER / GOAL
    return int(read_pack(path, GOAL)[0]["draws"]) if path.exists() else None


def count_draws(folder: Path) -> int:
    """Draws of each chain of a finished run that has such.

    Raises
    ------
    DataError
    """
    kind = read_kind(folder)
    if kind == MIXED:
        raise DataError(
            f"{folder} cannot be extended: it holds estimates by REML, which are no draws. 'bmtme mixed --posterior' "
            "draws from the posterior."
        )
    return int(read_record(folder, kind if kind in DRAWN else KIND)[0]["settings"]["draws"])


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end, and is not on the way to more draws.

    Raises
    ------
    DataError
        If its record is damaged.
    """
    if not (folder / RECORD).exists():
        return False
    _, added = read_seal(folder, unfinished=True)
    if added["state"] != FINISHED:
        return False
    goal = find_goal(folder) if added["kind"] in DRAWN else None
    return goal is None or goal <= count_draws(folder)


def take_lock(folder: Path) -> int:
    """The descriptor of the lock of a run, which ends with this process.

    Raises
    ------
    UsageError
        If another process is at work on it.
    MachineError
    """
    try:
        lock = os.open(folder / FOLDER / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise blame(error)(f"the run in {folder} cannot be gone on with: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UsageError(
            f"another process is at work on the run in {folder}: wait for its end, or end it first."
        ) from None
    except OSError:  # a file system without locks
        pass
    return lock
