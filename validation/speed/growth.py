"""How the time of a sweep grows with lines, environments, traits and the missing share; one large fit in full."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import bmtme
from validation.registry import Options, Row, make_table
from validation.speed.problems import Data, simulate
from validation.speed.programs import time_sweeps

BASE = {"lines": 309, "envs": 3, "traits": 3, "missing": 0.2}
SERIES: dict[str, tuple[float, ...]] = {
    "lines": (80, 150, 309, 600, 1200, 2400, 5000),
    "envs": (2, 3, 5, 10, 20),
    "traits": (1, 2, 3, 5, 8),
    "missing": (0.0, 0.05, 0.1, 0.2, 0.4, 0.6),
}
LARGE = (5000, 5, 3, 0.2)
#: The large fit, in a process of its own so that its peak memory can be read off.
CHILD = """
import json, sys, time
import numpy as np, pandas as pd
import bmtme

folder = sys.argv[1]


def peak():
    # not getrusage: what that says starts from the process that called this one
    with open("/proc/self/status") as file:
        return next(int(row.split()[1]) for row in file if row.startswith("VmHWM")) * 1024


trial = bmtme.read_trial(folder + "/pheno.csv", line="line", env="env", traits=["T1", "T2", "T3"])
lines = pd.read_csv(folder + "/lines.csv", dtype=str)["line"].tolist()
relationship = bmtme.Relationship(np.load(folder + "/grm.npy"), lines=lines)
before = peak()
began = time.perf_counter()
fit = bmtme.fit(trial, relationship, draws=1000, tune=1000, chains=1, seed=1, keep_effects="none")
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "before": before, "peak": peak()}))
"""


def fit_exponent(sizes: tuple[float, ...], times: list[float]) -> float:
    """Slope of log time on log size over the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(times[half:]), 1)[0])


def measure_growth(options: Options) -> dict[str, str]:
    """Tables of milliseconds a sweep, one size changed at a time, with fitted exponents."""
    tables = {}
    for name, sizes in SERIES.items():
        times: dict[str, list[float]] = {"collapsed": [], "gibbs": []}
        for size in sizes:
            setting = BASE | {name: size if name == "missing" else int(size)}
            problem = simulate(**setting, seed=options.seed).problem  # type: ignore[arg-type]
            draws = 1500 if len(problem.d) < 1000 else 300 if len(problem.d) < 3000 else 60
            for sampler, column in times.items():
                column.append(1e3 * time_sweeps(problem, sampler, draws, options.seed, tune=max(60, draws // 3))[0])
        head = (name, *[f"{size:g}" for size in sizes], "exponent")
        rows = []
        for sampler, column in times.items():
            last = "" if name == "missing" else f"{fit_exponent(sizes, column):.2f}"
            rows.append((sampler, *[f"{t:.3f}" for t in column], last))
        tables[f"Growth: {name}"] = make_table(head, rows)
    return tables


def write_inputs(data: Data, folder: Path) -> None:
    """Files of a set, as the child reads them."""
    data.trial.to_frame().to_csv(folder / "pheno.csv", index=False)
    (folder / "lines.csv").write_text("line\n" + "\n".join(data.relationship.lines) + "\n", encoding="utf-8")
    np.save(folder / "grm.npy", data.relationship.matrix)


def fit_large(options: Options) -> tuple[Row, str]:
    """1,000 + 1,000 sweeps of the largest set: wall time, and peak memory as a multiple of the eigenvectors (Linux)."""
    J, I, L, missing = LARGE
    with tempfile.TemporaryDirectory() as name:
        write_inputs(simulate(J, I, L, missing, options.seed), Path(name))
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CHILD, name], capture_output=True, text=True, check=True,
            cwd=Path(bmtme.__file__).parent.parent,
        )  # fmt: skip
        wall = time.perf_counter() - began
    figures = json.loads(done.stdout)
    size, unit = f"{J} x {I} x {L}, {missing:.0%} missing", 8 * J * J
    share, seconds = figures["peak"] / unit, figures["seconds"]
    table = make_table(
        ("size", "s of the fit", "s with start and reading", "peak memory, GB", "before the fit, GB"),
        [(size, f"{seconds:.0f}", f"{wall:.0f}", f"{figures['peak'] / 1e9:.2f}", f"{figures['before'] / 1e9:.2f}")],
    )
    return Row("large fit", size, "peak memory / eigenvectors", f"{share:.1f} ({seconds:.0f} s)", share <= 6), table
