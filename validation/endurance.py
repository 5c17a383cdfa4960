"""Memory during an hour of sweeps of the barley (149 lines, 16 environments, eight traits; needs BMTME_DATA).

What a run holds beyond its draws must stay what it was after the first minute.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np

import bmtme
from bmtme.estimates import Part
from bmtme.preparation import prepare, stand_in
from bmtme.progress import Progress
from validation.many import BARLEY, read
from validation.registry import Options, Row, make_table, register, write_tables
from validation.trials import skip

#: Seconds of sweeps, between two looks at the memory, and of the first part of the run, in which it may still settle.
QUICK, LONG, EVERY, SETTLING = 90.0, 3600.0, 5.0, 60.0
#: Bytes that a run may grow by beyond its draws.
FLAT = 8 * 2**20


def measure() -> float:
    """Bytes of this process but for pages of files, which the system takes back as it likes (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
    return 1024.0 * int(line.split()[1])


def watch(seconds: float) -> tuple[Row, str] | None:
    """Memory during sweeps of the barley with 16 environments and eight traits, less that of the draws so far."""
    data = read(BARLEY)
    if data is None:
        return None
    sampling = {"draws": 100_000, "tune": 500, "chains": 2}
    own = Part.of(prepare(*data, "error", stand_in), bmtme.BMTME()).count_chains(1, 0)
    seen: list[tuple[float, float, float]] = []
    done, ended, began = [0], threading.Event(), time.monotonic()

    def look() -> None:
        while not ended.wait(EVERY):
            drawn = own * max(0, done[0] - sampling["tune"] * sampling["chains"])
            seen.append((time.monotonic() - began, measure(), drawn))
            if seen[-1][0] > seconds:
                os.kill(os.getpid(), signal.SIGINT)
                return

    # Of a program in the background the shell has made this signal one that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tell = Progress.update
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        Progress.update = lambda self, sweeps: done.__setitem__(0, sweeps)  # type: ignore[method-assign]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bmtme.fit(*data, keep_effects="none", progress=False, **sampling)
    except KeyboardInterrupt:
        pass
    finally:
        Progress.update = tell  # type: ignore[method-assign]
        ended.set()
        watcher.join()
    times, used, drawn = np.array(seen).T
    rest = used - drawn
    late = times > SETTLING
    growth = float(rest[late][-1] - rest[late][0])
    step = max(1, len(times) // 12)
    lines = [
        [f"{t / 60:.1f}", f"{u / 2**20:,.0f}", f"{d / 2**20:,.1f}", f"{r / 2**20:,.0f}"]
        for t, u, d, r in zip(times[::step], used[::step], drawn[::step], rest[::step], strict=True)
    ]
    size = f"{seconds / 60:.0f} minutes, {done[0]:,} sweeps"
    row = Row("memory of long runs", size, "MB more than draws", f"{growth / 2**20:.1f}", abs(growth) < FLAT)
    return row, make_table(("minutes", "MB in memory", "of it draws", "MB else"), lines)


def run(options: Options, seconds: float) -> list[Row]:
    """The verdict, and of an hour the table."""
    watched = watch(seconds)
    if watched is None:
        return [skip("memory of long runs", BARLEY)]
    row, table = watched
    if seconds == LONG:
        write_tables(
            options, "endurance", [row], {"Memory during sweeps of 149 lines x 16 environments x 8 traits": table}
        )
    return [row]


register("endurance", quick=lambda options: run(options, QUICK), full=lambda options: run(options, LONG))
