"""Fits whose draws are on the disc: the same numbers, memory that does not grow with them, and less than they take.

Every fit is run by the shell in a process of its own, whose memory is looked at from outside. Where this process may
make a control group, as root on Linux, one fit is run in a group that allows less memory than its draws take.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bmtme
from validation.estimates import WITHIN, Taken, run_shell
from validation.registry import Options, Row, make_table, register, write_tables

#: What memory limits of control groups are called, of either version, and where they are made.
GROUPS = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))
#: Bytes that the group allows, and that the peak may grow by from the shortest fit to the longest.
ALLOWED, FLAT = 800 * 2**20, 64 * 2**20
#: Files that hold numbers.
FILES = ("idata.nc", "summary.csv", "predictions.csv")


@dataclass(frozen=True)
class Trial:
    """Simulated data, and draws of each of four chains: of the fits that are compared, and of others."""

    lines: int
    compared: tuple[int, ...]
    others: tuple[int, ...] = ()


QUICK = Trial(200, (500, 2000))
FULL = Trial(1000, (1500, 6000), (18000,))


def write_data(trial: Trial, folder: Path) -> list[str]:
    """Files of three environments and two traits; the words that name them."""
    sim = bmtme.simulate(lines=trial.lines, envs=3, traits=2, relationship="markers", seed=1)
    sim.frame.to_csv(folder / "pheno.csv", index=False)
    bmtme.write_relationship(sim.relationship, folder / "kin.csv")
    names = ["--line", "line", "--env", "env", "--traits", "T1,T2"]
    return ["fit", str(folder / "pheno.csv"), "--relationship", str(folder / "kin.csv"), *names]


def fit(words: list[str], draws: int, out: Path, stream: bool, group: Path | None = None) -> Taken:
    """What a fit took that keeps all effects."""
    asked = ["--draws", str(draws), "--tune", "100", "--keep-effects", "all", "--out", str(out)]
    return run_shell([*words, *asked, *(["--stream"] if stream else [])], out.parent / f"{out.name}.log", group)


def read_run(out: Path) -> dict[str, Any]:
    """The record of a run."""
    record: dict[str, Any] = json.loads((out / "run.json").read_text())
    return record


@contextlib.contextmanager
def limit_memory(allowed: int) -> Iterator[Path | None]:
    """A control group; None where there can be none."""
    group = None
    for top, name in GROUPS:
        group = top / f"bmtme-validation-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(allowed))
            break
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            group = None
    try:
        yield group
    finally:
        if group is not None:
            group.rmdir()


def compare(trial: Trial, folder: Path) -> tuple[list[Row], list[list[str]], list[str]]:
    """Streamed fits of every length beside plain ones, and what they took."""
    words, rows, lines, peaks = write_data(trial, folder), [], [], []
    for draws in (*trial.compared, *trial.others):
        streamed = fit(words, draws, folder / "streamed", True)
        record, size = read_run(folder / "streamed"), (folder / "streamed" / "idata.nc").stat().st_size
        told = record["estimate"]
        off = told["memory_bytes"] / streamed.peak - 1.0
        peaks.append(streamed.peak)
        rows.append(
            Row(f"{draws:,} draws, on the disc", "1 run", "memory, share too much", f"{off:+.0%}", abs(off) < WITHIN)
        )
        line = [f"{draws:,}", f"{size / 2**20:,.0f}", show(told["memory_bytes"]), show(streamed.peak)]
        line += [f"{streamed.seconds:.0f}"]
        if draws in trial.compared:
            plain = fit(words, draws, folder / "plain", False)
            files = [read_run(folder / name)["files"] for name in ("plain", "streamed")]
            same = all(files[0][name] == files[1][name] for name in FILES)
            rows.append(Row(f"{draws:,} draws, files", "2 runs", "bytes", "the same" if same else "DIFFERENT", same))
            line += [show(plain.peak), f"{plain.seconds:.0f}"]
        lines.append([*line, *[""] * (7 - len(line))])
        for name in ("streamed", "plain"):
            shutil.rmtree(folder / name, ignore_errors=True)
    growth = max(peaks) - min(peaks)
    size = f"{min(trial.compared):,} to {max(*trial.compared, *trial.others):,} draws"
    rows.append(Row("peak of memory", size, "MB more", show(growth), growth < FLAT))
    return rows, lines, words


def confine(words: list[str], draws: int, folder: Path) -> tuple[list[Row], list[list[str]]]:
    """A fit in a group that allows less memory than its draws take: refused, and complete with draws on the disc."""
    what = f"{draws:,} draws, {show(ALLOWED)} MB allowed"
    with limit_memory(ALLOWED) as group:
        if group is None:
            return [Row(what, "2 runs", "status", "no control group", None)], []
        try:
            fit(words, draws, folder / "plain", False, group)
            refused = False
        except RuntimeError as error:
            refused = "have draws on the disc" in str(error)
        taken = fit(words, draws, folder / "streamed", True, group)
    size = (folder / "streamed" / "idata.nc").stat().st_size
    rows = [
        Row(f"{what}, in memory", "1 run", "refused", "yes, with the way out" if refused else "NO", refused),
        Row(f"{what}, on the disc", "1 run", "MB of draws", show(size), size > ALLOWED),
    ]
    lines = [
        [f"{moment:.0f}", show(held), show(own)] for moment, held, own in taken.seen[:: max(1, len(taken.seen) // 20)]
    ]
    return rows, lines


def show(size: float) -> str:
    """Megabytes."""
    return f"{size / 2**20:,.0f}"


def run_quick(options: Options) -> list[Row]:
    """Small fits."""
    with tempfile.TemporaryDirectory() as name:
        return compare(QUICK, Path(name))[0]


def run_full(options: Options) -> list[Row]:
    """Fits of draws up to several gigabytes."""
    with tempfile.TemporaryDirectory() as name:
        rows, lines, words = compare(FULL, Path(name))
        more, trace = confine(words, max(FULL.compared), Path(name))
    head = ("draws of each chain", "MB of draws", "MB estimated", "MB at the peak", "s of processors")
    tables = {
        "Draws on the disc, and in memory": make_table((*head, "MB in memory", "s in memory"), lines),
        f"Memory of the fit that is allowed {show(ALLOWED)} MB": make_table(("s", "MB", "MB of it its own"), trace),
    }
    rows += more
    write_tables(options, "streamed", rows, tables)
    return rows


register("streamed", quick=run_quick, full=run_full)
