"""Memory and time as estimated before a run, against what it took.

Every size is run by the shell, from text files, in a process of its own; the peak of its memory is what the system says
at its end. The time is that of its processors, as a machine may have other work.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import bmtme
from validation.registry import Options, Row, make_table, register, write_tables

#: An estimate of memory is right within this share.
WITHIN = 1 / 3
SHORT = ("--draws", "200", "--tune", "100", "--chains", "2")
#: Seconds between two looks at a process from outside, and before the first, when it is still this one.
LOOK, LOADED = 0.02, 0.2


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


class Taken(NamedTuple):
    """What a command took.

    Attributes
    ----------
    peak : bytes of memory; what the system says at the end would be that of this process, if that has more
    seconds : of the processors
    seen : seconds since the start, bytes in memory, and of these bytes that are not those of files
    """

    peak: float
    seconds: float
    seen: list[tuple[float, float, float]]


def run_shell(words: list[str], log: Path, group: Path | None = None) -> Taken:
    """What a command takes, perhaps in a control group.

    Raises
    ------
    RuntimeError
        With what it said.
    """
    pid = os.fork()
    if not pid:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.execv(sys.executable, [sys.executable, "-m", "bmtme", *words])
    began, peak, seen = time.monotonic(), 0.0, []
    while True:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        held = dict(re.findall(r"^(VmHWM|VmRSS|RssAnon):\s+(\d+) kB", _read_status(pid), re.MULTILINE))
        if held and time.monotonic() - began > LOADED:
            peak = 1024.0 * int(held["VmHWM"])
            seen.append((time.monotonic() - began, 1024.0 * int(held["VmRSS"]), 1024.0 * int(held["RssAnon"])))
        time.sleep(LOOK)
    if status:
        raise RuntimeError(log.read_text()[-1000:])
    return Taken(peak, used.ru_utime + used.ru_stime, seen)


def _read_status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return ""


def measure(size: Size, folder: Path) -> tuple[dict[str, float], Taken, float]:
    """The estimate of a run, what it took, and the seconds that are no part of the estimate: start and reading."""
    sim = bmtme.simulate(
        lines=size.lines, envs=size.envs, traits=size.traits, missing=size.missing, relationship="markers", seed=1
    )
    sim.frame.to_csv(folder / "pheno.csv", index=False)
    bmtme.write_relationship(sim.relationship, folder / "kin.csv")
    traits = ",".join(f"T{k + 1}" for k in range(size.traits))
    words = [size.command, str(folder / "pheno.csv"), "--relationship", str(folder / "kin.csv"), "--line", "line"]
    words += [
        "--env",
        "env",
        "--traits",
        traits,
        *size.options,
        "--cores" if size.command == "fit" else "--workers",
        "1",
    ]
    before = run_shell([*words, "--dry-run"], folder / "log")
    taken = run_shell([*words, "--out", str(folder / "run")], folder / "log")
    return json.loads((folder / "run" / "run.json").read_text())["estimate"], taken, before.seconds


def compare_sizes(sizes: tuple[Size, ...]) -> tuple[list[Row], str]:
    """A row for every size, and all as a table."""
    rows, lines = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            told, taken, before = measure(size, Path(name))
        off = told["memory_bytes"] / taken.peak - 1.0
        rows.append(Row(str(size), "1 run", "memory, share too much", f"{off:+.0%}", abs(off) < WITHIN))
        figures = [f"{told['memory_bytes'] / 2**20:,.0f}", f"{taken.peak / 2**20:,.0f}", f"{off:+.0%}"]
        late = told["seconds"] / (taken.seconds - before) - 1.0
        lines.append([str(size), *figures, f"{told['seconds']:.1f}", f"{taken.seconds - before:.1f}", f"{late:+.0%}"])
    head = ("run", "MB estimated", "MB at the peak", "too much", "s estimated", "s of a processor", "too much")
    return rows, make_table(head, lines)


def run_quick(options: Options) -> list[Row]:
    """Two small sizes."""
    return compare_sizes(QUICK)[0]


def run_full(options: Options) -> list[Row]:
    """All sizes."""
    rows, table = compare_sizes(FULL)
    tables = {"Memory and time, estimated and taken": table}
    write_tables(options, "estimates", rows, tables)
    return rows


register("estimates", quick=run_quick, full=run_full)
