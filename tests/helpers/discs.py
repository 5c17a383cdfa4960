"""Discs that fail, and what lies on them."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: as on a full disc."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> list[str]:
    """Names of what lies in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())
