"""Runs that are stopped: as by a power cut, or by a disc that fills."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from bmtme.results import checkpoint
from bmtme.results.checkpoint import Checkpoint


class Stopped(BaseException):
    """As by a power cut."""


def keep_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint each time that one could be."""
    monkeypatch.setattr(checkpoint, "SHARE", np.inf)
    before = Checkpoint.begin.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Checkpoint, "begin", classmethod(lambda cls, *given, **named: before(cls, *given, **named | {"every": 0.0}))
    )


@contextlib.contextmanager
def stop_after(writes: int, error: type[BaseException] = Stopped) -> Iterator[None]:
    """Break off at some file of the checkpoint, and at each after it."""
    left = [writes]
    lock = threading.Lock()
    write = checkpoint.write_pack

    def count(path, *given):  # type: ignore[no-untyped-def]
        with lock:
            left[0] -= 1
            if left[0] < 0:
                raise error(f"cannot write {path}: No space left on device.")
        return write(path, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write_pack", count)
        yield
