"""Memory and time as estimated before a run, against what it took.

Every size is run by the shell, from text files, in a process of its own; the peak of its memory is what the system says
at its end. The time is that of its processors, as a machine may have other work.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bmtme
from validation.registry import Options, Row, make_table, register, write_tables

#: An estimate of memory is right within this share.
WITHIN = 1 / 3
SHORT = ("--draws", "200", "--tune", "100", "--chains", "2")


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
