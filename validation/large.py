"""Fits of many lines: time by phase and memory, beside what was estimated before the start.

Each is run by the shell, from text and a GCTA file, in a process of its own. The relationship is of markers of doubled
haploids in families: with fewer markers than lines its rank is low and its decomposition quick, with more it is full.
Sweeps take the same time with either, as the basis is complete.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bmtme
from bmtme.datasets.relatives import FAMILY, draw_genotypes, make_names
from validation.estimates import run_shell
from validation.registry import Options, Row, make_table, register, report_progress, write_tables

SHORT = ("--draws", "200", "--tune", "200", "--chains", "2")
#: Lines, markers in thousands, share of cells missing, options.
QUICK = ((1500, 2, 0.0, SHORT), (1500, 2, 0.2, SHORT))
FULL = ((20_000, 10, 0.0, ("--chains", "2")),)
ENVS, TRAITS = 5, 3
#: Most seconds of the processors, which are no fewer than those of the clock where nothing else runs, and bytes.
HOUR, MOST = 3600.0, 24e9
#: Shares of the variance of a record: of the main effect, of the interaction.
MAIN, INTERACTION = 0.3, 0.15


def draw_markers(lines: int, thousands: int, rng: np.random.Generator) -> np.ndarray:
    """Allele counts of so many thousands of markers, (lines, markers) int8."""
    family = np.arange(lines) // FAMILY
    parts = [draw_genotypes(family, rng, chromosomes=1) for _ in range(10 * thousands)]
    counts = np.concatenate(parts, axis=1)
    return counts[:, counts.min(axis=0) < counts.max(axis=0)]


def write_inputs(lines: int, thousands: int, missing: float, seed: int, folder: Path) -> None:
    """A trial of lines that differ by their markers, in environments that covary alike, and the relationship."""
    rng = np.random.default_rng(seed)
    names = make_names("L", lines)
    counts = draw_markers(lines, thousands, rng)
    centre = counts.mean(axis=0)
    root = np.sqrt(2.0 * (centre / 2 * (1 - centre / 2)).sum())
    effects = rng.standard_normal((counts.shape[1], 1 + ENVS, TRAITS)) / root
    effects = effects * np.sqrt([MAIN, *[INTERACTION] * ENVS])[:, None]
    genetic = np.zeros((lines, 1 + ENVS, TRAITS))
    for part in np.array_split(np.arange(lines), max(1, lines // 1000)):
        genetic[part] = np.tensordot(counts[part] - centre, effects, 1)
    y = genetic[:, :1] + genetic[:, 1:]
    y += np.sqrt(1 - MAIN - INTERACTION) * rng.standard_normal(y.shape)
    y[rng.random(y.shape) < missing] = np.nan
    frame = pd.DataFrame(y.reshape(-1, TRAITS), columns=[f"T{k + 1}" for k in range(TRAITS)])
    frame.insert(0, "line", np.repeat(names, ENVS))
    frame.insert(1, "env", np.tile([f"E{k + 1}" for k in range(ENVS)], lines))
    frame.to_csv(folder / "pheno.csv", index=False)
    markers = pd.DataFrame(counts, index=pd.Index(names, name="line"), columns=make_names("M", counts.shape[1]))
    relationship = bmtme.vanraden(markers, method=1)
    del markers, counts
    bmtme.write_relationship(relationship, folder / "kin.grm.bin")


def fit(
    lines: int, thousands: int, missing: float, options: tuple[str, ...], seed: int
) -> tuple[list[str], float, float]:
    """A line of the table, seconds of the processors and the peak of the memory in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(lines, thousands, missing, seed, folder)
        words = ["fit", str(folder / "pheno.csv"), "--relationship", str(folder / "kin.grm.bin"), "--line", "line"]
        words += ["--env", "env", "--traits", ",".join(f"T{k + 1}" for k in range(TRAITS)), *options]
        words += ["--seed", str(seed), "--keep-effects", "none", "--out", str(folder / "run")]
        began = time.monotonic()
        taken = run_shell(words, folder / "log")
        peak, cpu = taken.peak, taken.seconds
        wall = time.monotonic() - began
        run = json.loads((folder / "run" / "run.json").read_text())
        table = pd.read_csv(folder / "run" / "summary.csv")
    told, spent = run["estimate"], run["seconds"]
    phases = ", ".join(f"{phase} {seconds:,.0f}" for phase, seconds in spent.items() if seconds >= 0.5)
    hidden = f", {missing:.0%} missing" if missing else ""
    label = f"{lines:,} x {ENVS} x {TRAITS}{hidden}, {1000 * thousands:,} markers: {' '.join(options)}"
    line = [
        label, phases, f"{wall:,.0f}", f"{cpu:,.0f}",
        f"{told['seconds']:,.0f}", f"{peak / 1e9:.1f}", f"{told['memory_bytes'] / 1e9:.1f}",
        f"{table['r_hat'].max():.3f}", f"{table['ess_bulk'].min():,.0f}",
    ]  # fmt: skip
    return line, cpu, peak


def run(options: Options, quick: bool) -> list[Row]:
    """All fits of a size."""
    rows, lines = [], []
    sizes = QUICK if quick else FULL
    report = report_progress("large")
    for done, (J, thousands, missing, given) in enumerate(sizes, start=1):
        # Each takes up to an hour: those that are done are kept, as replicates of other studies are.
        path = options.replicates / f"large-{J}-{thousands}-{missing}-{options.seed}.json"
        if quick or not path.is_file():
            found = fit(J, thousands, missing, given, options.seed)
            if not quick:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(found))
        else:
            found = json.loads(path.read_text())
        line, cpu, peak = found
        lines.append(line)
        good = peak < MOST and cpu < HOUR
        rows.append(Row(f"large: {line[0]}", "1 fit", "s of processors, GB", f"{cpu:,.0f}, {peak / 1e9:.1f}", good))
        report(done, len(sizes))
    head = (
        "fit", "seconds by phase", "s", "s of processors", "s estimated", "GB at the peak", "GB estimated",
        "largest R-hat", "fewest effective draws",
    )  # fmt: skip
    if not quick:
        write_tables(options, "large", rows, {"Fits": make_table(head, lines)})
    else:
        print(make_table(head, lines))
    return rows


register("large", quick=lambda options: run(options, True), full=lambda options: run(options, False))
