"""Memory and time as estimated before a run, against what it took, and memory during a long one.

Every size is run by the shell, from text files, in a process of its own; the peak of its memory is what the system says
at its end. The time is that of its processors, as a machine may have other work.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bmtme
from bmtme.estimates import Part
from bmtme.memory import measure_own_memory
from bmtme.preparation import prepare, stand_in
from bmtme.progress import Progress
from validation.many import BARLEY, read
from validation.registry import Options, Row, make_table, register, write_tables

#: An estimate of memory is right within this share.
WITHIN = 1 / 3
SHORT = ("--draws", "200", "--tune", "100", "--chains", "2")
#: Seconds of sweeps, between two looks at the memory, and of the first part of the run, in which it may still settle.
LONG, EVERY, SETTLING = 600.0, 5.0, 60.0
#: Bytes that a long run may grow by beyond its draws.
FLAT = 8 * 2**20


@dataclass(frozen=True)
class Size:
    """A run: its data and its options."""

    lines: int
    envs: int
    traits: int
    options: tuple[str, ...] = SHORT
    command: str = "fit"
    missing: float = 0.0

    def __str__(self) -> str:
        hidden = f", {self.missing:.0%} missing" if self.missing else ""
        return f"{self.command} {self.lines} x {self.envs} x {self.traits}{hidden}: {' '.join(self.options)}"


QUICK = (Size(50, 2, 2), Size(300, 3, 3, (*SHORT, "--keep-effects", "all")))
FULL = (
    *QUICK,
    Size(1000, 3, 3),
    Size(3000, 2, 2),
    Size(5000, 2, 2),
    Size(300, 3, 3, ("--draws", "2000", "--keep-effects", "all")),
    Size(300, 3, 3, ("--draws", "6000", "--keep-effects", "all")),
    Size(1000, 5, 3, ("--draws", "500", "--tune", "300", "--chains", "2"), missing=0.2),
    Size(1000, 5, 3, ("--draws", "500", "--tune", "100", "--chains", "2", "--keep-effects", "all"), missing=0.2),
    Size(200, 20, 1, ("--draws", "2000", "--tune", "200")),
    Size(100, 8, 4, ("--draws", "2000", "--tune", "100", "--residual", "by-env")),
    Size(60, 6, 4, ("--draws", "1000", "--tune", "100", "--chains", "2", "--genetic", "free")),
    Size(300, 3, 3, (*SHORT, "--partitions", "5", "--model", "unstructured", "--model", "diagonal"), "cv"),
    Size(1000, 3, 3, (*SHORT, "--scheme", "new-lines", "--folds", "5"), "cv"),
    Size(2000, 2, 2, (*SHORT, "--scheme", "new-lines", "--folds", "5"), "cv"),
)


def run_shell(words: list[str], log: Path) -> tuple[float, float]:
    """Peak of the memory in bytes, and seconds of the processors, of a command.

    Raises
    ------
    RuntimeError
        With what it said.
    """
    pid = os.fork()
    if not pid:
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.execv(sys.executable, [sys.executable, "-m", "bmtme", *words])
    _, status, used = os.wait4(pid, 0)
    if status:
        raise RuntimeError(log.read_text()[-500:])
    return 1024.0 * used.ru_maxrss, used.ru_utime + used.ru_stime


def measure(size: Size, folder: Path) -> tuple[dict[str, float], float, float]:
    """The estimate of a run, the peak of its memory in bytes, and seconds of the processors."""
    sim = bmtme.simulate(
        lines=size.lines, envs=size.envs, traits=size.traits, missing=size.missing, relationship="markers", seed=1
    )
    sim.frame.to_csv(folder / "pheno.csv", index=False)
    bmtme.write_relationship(sim.relationship, folder / "kin.csv")
    traits = ",".join(f"T{k + 1}" for k in range(size.traits))
    words = [size.command, str(folder / "pheno.csv"), "--relationship", str(folder / "kin.csv"), "--line", "line"]
    words += ["--env", "env", "--traits", traits, *size.options, "--out", str(folder / "run")]
    peak, seconds = run_shell(words, folder / "log")
    return json.loads((folder / "run" / "run.json").read_text())["estimate"], peak, seconds


def compare_sizes(sizes: tuple[Size, ...]) -> tuple[list[Row], str]:
    """A row for every size, and all as a table."""
    rows, lines = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            told, peak, seconds = measure(size, Path(name))
        off = told["memory_bytes"] / peak - 1.0
        rows.append(Row(str(size), "1 run", "memory, share too much", f"{off:+.0%}", abs(off) < WITHIN))
        figures = [f"{told['memory_bytes'] / 2**20:,.0f}", f"{peak / 2**20:,.0f}", f"{off:+.0%}"]
        lines.append([str(size), *figures, f"{told['seconds']:.1f}", f"{seconds:.1f}"])
    head = ("run", "MB estimated", "MB at the peak", "too much", "s estimated", "s of processors")
    return rows, make_table(head, lines)


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
            seen.append((time.monotonic() - began, float(measure_own_memory()), drawn))
            if seen[-1][0] > seconds:
                os.kill(os.getpid(), signal.SIGINT)
                return

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
    lines = [
        [f"{t / 60:.1f}", f"{u / 2**20:,.0f}", f"{d / 2**20:,.1f}", f"{r / 2**20:,.0f}"]
        for t, u, d, r in zip(times[::12], used[::12], drawn[::12], rest[::12], strict=True)
    ]
    size = f"{seconds / 60:.0f} minutes, {done[0]:,} sweeps"
    row = Row("memory of long runs", size, "MB more than draws", f"{growth / 2**20:.1f}", abs(growth) < FLAT)
    return row, make_table(("minutes", "MB in memory", "of it draws", "MB else"), lines)


def run_quick(options: Options) -> list[Row]:
    """Two small sizes."""
    return compare_sizes(QUICK)[0]


def run_full(options: Options) -> list[Row]:
    """All sizes."""
    rows, table = compare_sizes(FULL)
    tables = {"Memory and time, estimated and taken": table}
    watched = watch(LONG)
    if watched is not None:
        rows.append(watched[0])
        tables["Memory during sweeps of 149 lines x 16 environments x 8 traits"] = watched[1]
    write_tables(options, "estimates", rows, tables)
    return rows


register("estimates", quick=run_quick, full=run_full)
