"""Memory: how much this process may take, how much of that is free, and sizes in words."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["measure_free_memory", "measure_memory", "measure_own_memory", "measure_peak_memory", "show_bytes"]

#: Where Linux tells of memory and of control groups: the limits of containers and of jobs of a scheduler.
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def measure_memory() -> int:
    """Bytes that this process may take: the memory of the machine, or less where a control group limits it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for limit, _ in _list_groups())])


def measure_free_memory() -> int:
    """Bytes of these that are free, or are soon (copies of files); all of them where the system does not tell."""
    found = [measure_memory(), *(max(limit - used, 0) for limit, used in _list_groups())]
    available = re.search(r"^MemAvailable:\s+(\d+) kB", _read(_PROC / "meminfo"), re.MULTILINE)
    if available is not None:
        found.append(1024 * int(available[1]))
    return min(found)


def measure_own_memory() -> int:
    """Bytes that this process has in memory; zero where the system does not tell."""
    return _read_status("VmRSS")


def measure_peak_memory() -> int:
    """Most bytes that this process has had in memory; zero where the system does not tell."""
    return _read_status("VmHWM")


def _read_status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", _read(_PROC / "self/status"), re.MULTILINE)
    return 0 if found is None else 1024 * int(found[1])


def show_bytes(size: float) -> str:
    """A size to two digits."""
    return f"{size / 2**30:.2g} GB" if size >= 2**30 else f"{max(1, math.ceil(size / 2**20)):,} MB"


def _list_groups() -> Iterator[tuple[int, int]]:
    """Limit and use of each control group with a limit that this process is in, of either version."""
    for line in _read(_PROC / "self/cgroup").splitlines():
        _, controllers, place = line.split(":", 2)
        if not controllers:
            top, names = _GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = _GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Within a container its own group is the top, and the place that is named may not be seen.
        group = top / place.lstrip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            limit, used = (_read(folder / name).strip() for name in names[:2])
            if limit.isdecimal() and used.isdecimal():
                files = re.search(rf"^{names[2]} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
                yield int(limit), int(used) - (0 if files is None else int(files[1]))


def _read(path: Path) -> str:
    """The text of a file of the system, or nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""
