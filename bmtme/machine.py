"""The machine and the libraries that numbers come from, for the record of a run; names of neither host nor user."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bmtme import __version__
from bmtme.memory import measure_memory

__all__ = ["BEHIND_THE_NUMBERS", "RELEASES", "count_cores", "describe_machine", "find_versions", "hash_package"]

#: Libraries that compute; a digit may change with each of them.
BEHIND_THE_NUMBERS = ("bmtme", "sources", "numpy", "scipy", "numba")
LIBRARIES = ("numpy", "scipy", "numba", "pandas", "xarray", "arviz", "arviz-stats")
#: What has releases; the rest of the versions tells code between releases, and processors.
RELEASES = ("bmtme", "python", *LIBRARIES)


def count_cores() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """System, processor, the processors and the memory in bytes that this process may use."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": platform.processor() if found is None else found[1].strip(),
        "cores": count_cores(),
        "memory_bytes": measure_memory(),
    }


def find_versions() -> dict[str, str]:
    """Versions of Python and of the libraries behind the numbers; ``sources`` is a hash of this package's code."""
    return {
        "bmtme": __version__,
        "sources": hash_package(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "blas": _name_blas(),
    }


@cache
def hash_package() -> str:
    """The code of this package, which may change between releases without its version, in sixteen letters."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _name_blas() -> str:
    """The linear algebra of NumPy and SciPy, with the processor that each has chosen its code for."""
    import scipy.linalg  # noqa: F401  # which loads its own
    from threadpoolctl import threadpool_info

    found = {
        " ".join(str(library[name]) for name in ("internal_api", "version", "architecture") if library.get(name))
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return ", ".join(sorted(found))
