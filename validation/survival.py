"""Do runs that are killed, interrupted, or run out of disk come out as those that never were?

Commands of the shell in processes of their own, at a small size, with a checkpoint every twentieth of a second: `fit`,
`extend`, `cv` and `mixed --posterior`, killed (SIGKILL) again and again at random moments, a third of them while a file
is written, and gone on with by `resume`; the same with Ctrl-C (SIGINT), which has to end within two seconds, and on a
disk of a few megabytes that fills and is emptied. Draws, summaries, predictions and scores have to be those of a run
that was left alone, byte for byte.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from validation.registry import Options, Row, make_table, register, write_tables

#: Seconds between checkpoints; a process that has not done its work by then hangs.
EVERY, LONGEST = 0.05, 600.0
#: Seconds that an interruption may take.
PROMPT = 2.0
TRIAL = ["--line", "line", "--env", "env", "--traits", "T1,T2"]
FIT = [*TRIAL, "--draws", "2000", "--tune", "2000", "--chains", "2", "--seed", "3", "--residual", "by-env"]
CV = [
    *TRIAL, "--scheme", "new-lines", "--folds", "3", "--draws", "500", "--tune", "300", "--model", "unstructured",
    "--model", "single", "--model", "mean",
]  # fmt: skip
MORE = 2000
#: A mixed model of each kind of chain, and draws of each.
POSTERIORS = {
    "independence Metropolis": [
        "--fixed", "T1 + T2 ~ trait + trait:env", "--random", "us(trait):line + us(trait):env:line",
        "--residual", "us(trait):units", "--predict", "trait:env", "--draws", "3000",
    ],
    "Hamiltonian": ["--fixed", "T2 ~ env", "--random", "line", "--derive", "line / residual", "--draws", "1500"],
}  # fmt: skip
#: Stages of the first chain by the file that it is in, the last one first.
FIT_STAGES = {"chain-0": ("warm-up",) * 4 + ("sampling",)}
MIXED_STAGES = {"chain-paths-0": ("warm-up", "sampling"), "chain-0": ("pilot", "sampling")}
#: A process is stopped at most so many seconds after its first file.
SPAN = 1.5
#: Rows, and a table of the moments.
Checks = tuple[list[Row], list[list[str]]]


@dataclass(frozen=True)
class Job:
    """A command of which the run is stopped.

    Attributes
    ----------
    begin : words of the command that begins it
    base : of an extension, those of the command that makes what is extended
    whole : of an extension, those of the command that gives its results at once
    stages : of its first chain
    """

    name: str
    begin: Sequence[str]
    base: Sequence[str] = ()
    whole: Sequence[str] = ()
    stages: Mapping[str, Sequence[str]] = field(default_factory=lambda: FIT_STAGES)

    def has_begun(self, run: Path) -> bool:
        """Whether there is something to go on with."""
        return run.exists() and (not self.base or (run / "checkpoint" / "goal").exists())


def run_bmtme(words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command in a folder."""
    command = [sys.executable, "-m", "bmtme", *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts
    )


def hear_interrupts() -> None:
    """A study in the background ignores Ctrl-C, and its children would."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def finish(words: Sequence[str], folder: Path) -> None:
    """Run a command to its end."""
    process = run_bmtme(words, folder)
    _, said = process.communicate(timeout=LONGEST)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {said}")


def list_jobs(folder: Path) -> list[Job]:
    """The commands, and the data that they read."""
    finish(["simulate", "--out", "sim", "--lines", "24", "--envs", "3", "--traits", "2", "--missing", "0.2"], folder)
    data = ["sim/phenotypes.csv", "--relationship", "sim/relationship.csv"]
    every = ["--checkpoint-every", str(EVERY)]
    fit = ["fit", *data, *FIT, "--out", "run"]
    extend = ["extend", "run", "--more", str(MORE)]
    jobs = [
        Job("fit", [*fit, *every]),
        Job("extend", extend, [*fit, *every], ask_longer(fit)),
        Job("cv", ["cv", *data, *CV, *every, "--out", "run"]),
    ]
    for method, model in POSTERIORS.items():
        draw = ["mixed", data[0], *model, "--posterior", "--chains", "2", "--seed", "3", "--out", "run"]
        jobs.append(Job(f"mixed, {method}", [*draw, *every], stages=MIXED_STAGES))
    jobs.append(Job("mixed, extended", extend, [*draw, *every], ask_longer(draw), MIXED_STAGES))
    return jobs


def ask_longer(words: Sequence[str]) -> list[str]:
    """The command with as many draws as its extension has."""
    longer = [*words]
    at = longer.index("--draws") + 1
    longer[at] = str(int(longer[at]) + MORE)
    return longer


def take_result(folder: Path) -> dict[str, bytes]:
    """All numbers of a finished run: draws, and tables as they are; the times are its own."""
    import xarray

    found = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    if (folder / "idata.nc").exists():
        with xarray.open_datatree(folder / "idata.nc", engine="h5netcdf") as tree:
            for node in tree.leaves:
                found |= {f"{node.path}/{name}": values.to_numpy().tobytes() for name, values in node.data_vars.items()}
    record = json.loads((folder / "run.json").read_text())
    return found | {name: json.dumps(record.get(name)).encode() for name in ("settings", "sampling")}


def say_stage(run: Path, stages: Mapping[str, Sequence[str]]) -> str:
    """Where the first chain was, by its file."""
    for name, words in stages.items():
        try:
            head = (run / "checkpoint" / name).read_bytes().split(b"\n")[1]
            return words[json.loads(head)["values"]["stage"]]
        except (OSError, IndexError, ValueError):
            continue
    return "before a checkpoint"


def wait_for_work(
    process: subprocess.Popen[str], run: Path, writing: bool, delay: float, stages: Mapping[str, Sequence[str]]
) -> str:
    """Wait until a moment of the work; returns which it is, empty where the process had ended before."""
    place = run / "checkpoint"
    touched = place.stat().st_mtime_ns if place.exists() else 0
    while process.poll() is None and not (place.exists() and place.stat().st_mtime_ns > touched):
        time.sleep(0.002)
    ends = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < ends:
        time.sleep(0.002)
    if not writing:
        return "" if process.poll() is not None else say_stage(run, stages)
    while process.poll() is None:
        if any(place.glob("*.part")) or (place / "result").exists():
            return "during a write"
    return ""


def stop_again_and_again(
    job: Job, folder: Path, expected: dict[str, bytes], times: int, number: signal.Signals, rng: np.random.Generator
) -> tuple[Counter[str], list[float], bool]:
    """Begin the run as often as needed, and stop it so many times.

    Returns
    -------
    moments, seconds from each signal to the end of the process, and whether all results are as expected
    """
    moments: Counter[str] = Counter()
    took: list[float] = []
    same = True
    run = folder / "run"
    base = folder / "base"
    while sum(moments.values()) < times:
        shutil.rmtree(run, ignore_errors=True)
        if base.exists():
            shutil.copytree(base, run)
        words: Sequence[str] = job.begin
        while True:
            process = run_bmtme(words, folder)
            moment = ""
            if sum(moments.values()) < times:
                delay = rng.uniform(0.0, SPAN)
                writing = rng.random() < 1 / 3 and number == signal.SIGKILL
                moment = wait_for_work(process, run, writing, delay, job.stages)
            began = time.monotonic()
            if moment:
                process.send_signal(number)
            _, said = process.communicate(timeout=LONGEST)
            if process.returncode == 0:
                break
            if process.returncode not in (-signal.SIGKILL, 130):
                raise RuntimeError(f"{' '.join(words)} ended by {process.returncode}: {said}")
            if number == signal.SIGINT and "bmtme resume" not in said:
                raise RuntimeError(f"{' '.join(words)} did not say how to go on: {said}")
            moments[moment] += 1
            took.append(time.monotonic() - began)
            # Killed before the folder was there, the command begins anew; an extension, before its goal was.
            words = ["resume", "run"] if job.has_begun(run) else job.begin
        same = same and take_result(run) == expected
    return moments, took, same


def make_expected(job: Job, folder: Path) -> dict[str, bytes]:
    """The results of a run that is left alone; of an extension, of a fit of that length. Keeps its base."""
    run, base = folder / "run", folder / "base"
    shutil.rmtree(base, ignore_errors=True)
    shutil.rmtree(run, ignore_errors=True)
    if not job.base:
        finish(job.begin, folder)
        return take_result(run)
    finish(job.base, folder)
    run.rename(base)
    finish(job.whole, folder)
    found = take_result(run)
    shutil.rmtree(run)
    return found


def fill_disk(job: Job, folder: Path, expected: dict[str, bytes], size: int) -> tuple[bool | None, str]:
    """Run on a disk of so many bytes, empty it when it is full, and go on; None where no such disk can be made."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True).returncode:
        return None, "no tmpfs can be mounted here"
    run, ballast = disk / "run", disk / "ballast"
    try:
        if (folder / "base").exists():
            shutil.copytree(folder / "base", run)
        full, words = 0, [*job.begin]
        words[words.index("run")] = "disk/run"
        while True:
            process = run_bmtme(words, folder)
            if full < 3:  # something else fills the disk while it runs, but for a little
                wait_for_work(process, run, False, 0.1 * full, job.stages)
                left = shutil.disk_usage(disk).free
                with contextlib.suppress(OSError):  # the run takes some meanwhile
                    ballast.write_bytes(bytes(max(left - 150_000, 0)))
            _, said = process.communicate(timeout=LONGEST)
            if process.returncode == 0:
                break
            if process.returncode != 1 or "No space left" not in said or said.count("error:") != 1:
                return False, f"status {process.returncode}: {' '.join(said[-200:].split())}"
            full += 1
            ballast.unlink(missing_ok=True)
            words = ["resume", "disk/run"] if job.has_begun(run) else words
        return take_result(run) == expected and full > 0, f"full {full} times"
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def check(job: Job, folder: Path, options: Options, times: int, interrupts: int, disks: bool) -> Checks:
    """Rows of a command, and a table of the moments."""
    rng = np.random.default_rng(options.seed)
    rows, table = [], []
    expected = make_expected(job, folder)
    for number, count, what in ((signal.SIGKILL, times, "SIGKILL"), (signal.SIGINT, interrupts, "Ctrl-C")):
        moments, took, same = stop_again_and_again(job, folder, expected, count, number, rng)
        prompt = number == signal.SIGKILL or max(took) < PROMPT
        figure = "the same, byte for byte" if same else "DIFFERENT"
        figure += "" if number == signal.SIGKILL else f", ended within {max(took):.1f} s"
        rows.append(Row(f"{job.name}, {what}", f"{count} times", "results", figure, same and prompt))
        told = ", ".join(f"{moment} {n}" for moment, n in sorted(moments.items()))
        table.append([job.name, what, told, f"{max(took):.2f}"])
        print(*table[-1], figure, sep="; ", file=sys.stderr, flush=True)
    if disks:
        ok, told = fill_disk(job, folder, expected, 60_000_000)
        print(f"{job.name}, full disk: {ok}, {told}", file=sys.stderr, flush=True)
        rows.append(Row(f"{job.name}, full disk", "once", "results", told, ok))
    return rows, table


def check_all(name: str, options: Options, *given: Any) -> Checks:
    """The same of all commands of a study."""
    rows, table = [], []
    with tempfile.TemporaryDirectory() as place:
        for job in list_jobs(Path(place)):
            if job.name.split(",")[0] == name:
                more = check(job, Path(place), options, *given)
                rows += more[0]
                table += more[1]
    return rows, table


def check_quickly(name: str, options: Options) -> list[Row]:
    """A few of each."""
    return check_all(name, options, 3, 1, False)[0]


def check_fully(name: str, options: Options) -> list[Row]:
    """Twenty of each, and a full disk."""
    began = time.monotonic()
    rows, table = check_all(name, options, 20, 5, True)
    moments = make_table(["run", "stopped by", "moments", "longest end, s"], table)
    tables = {"When they were stopped": moments}
    write_tables(options, f"survival-{name}", rows, tables, time.monotonic() - began)
    return rows


def quick_fit(options: Options) -> list[Row]:
    """A few of each, of a fit."""
    return check_quickly("fit", options)


def quick_extend(options: Options) -> list[Row]:
    """A few of each, of an extension."""
    return check_quickly("extend", options)


def quick_cv(options: Options) -> list[Row]:
    """A few of each, of a cross-validation."""
    return check_quickly("cv", options)


def quick_mixed(options: Options) -> list[Row]:
    """A few of each, of posteriors of mixed models and an extension."""
    return check_quickly("mixed", options)


register("survival-fit", quick_fit, partial(check_fully, "fit"))
register("survival-extend", quick_extend, partial(check_fully, "extend"))
register("survival-cv", quick_cv, partial(check_fully, "cv"))
register("survival-mixed", quick_mixed, partial(check_fully, "mixed"))
