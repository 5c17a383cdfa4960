"""Animal models of many animals: time, memory beside what is announced, and whether the variances are found.

One record of every animal, groups of contemporaries fixed. Simulated breeding values of a pedigree of six generations;
one trait of 25,000 to 200,000 animals, two traits of 20,000. Time is that of `Model.fit`, from the table and the
pedigree to the estimates, on one thread; memory is what a process of its own gains by it, at its peak, and what was
announced is what the equations were said to take before they were factored.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bmtme
from bmtme import mixed
from validation.registry import Options, Row, make_table, register, write_tables
from validation.sparse import make_pedigree

#: Between traits, genetic and residual; one trait has the first entries.
GENETIC = np.array([[0.5, 0.2], [0.2, 0.5]])
RESIDUAL = np.array([[1.0, 0.3], [0.3, 1.0]])
#: Animals in a group.
GROUP = 200
#: Of estimates, in their standard errors.
MOST_Z = 4.0
#: The memory announced is that taken but for this share of it, and for megabytes that were free within the process.
OFF, FREE = 1 / 3, 5
RUNS = ((25_000, 1), (50_000, 1), (100_000, 1), (200_000, 1), (20_000, 2))


def simulate(seed: int, animals: int, traits: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records (id, group, a, b) and the pedigree."""
    rng = np.random.default_rng(seed)
    pedigree = make_pedigree(animals, rng)
    parents = pedigree[["sire", "dam"]].to_numpy() - 1
    inbreeding = bmtme.pedigree_inverse(pedigree).inbreeding
    young = parents[:, 0] >= 0
    share = np.where(young, 0.5 - 0.25 * inbreeding[parents].sum(axis=1), 1.0)
    u = rng.standard_normal((animals, traits)) @ np.linalg.cholesky(GENETIC[:traits, :traits]).T
    u *= np.sqrt(share)[:, None]
    for generation in np.split(np.arange(animals), np.arange(animals // 6, animals, animals // 6)):
        own = generation[young[generation]]
        u[own] += 0.5 * (u[parents[own, 0]] + u[parents[own, 1]])
    group = rng.integers(0, animals // GROUP, animals)
    e = rng.standard_normal((animals, traits)) @ np.linalg.cholesky(RESIDUAL[:traits, :traits]).T
    values = u + e + rng.standard_normal((animals // GROUP, traits))[group]
    records = pd.DataFrame({"id": pedigree["id"].astype(str), "group": [f"g{k}" for k in group]})
    return records.assign(**dict(zip("ab", values.T, strict=False))), pedigree.astype(str)


class Gain:
    """Memory that this process gains from here on, at its most, as Linux counts it."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is forgotten
        self.before = self._read("VmRSS")

    @staticmethod
    def _read(what: str) -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split(f"{what}:")[1].split()[0])

    def measure(self) -> dict[str, float]:
        """Megabytes: the peak, and what it is above the beginning."""
        peak = self._read("VmHWM")
        return {"peak": peak / 1e6, "taken": (peak - self.before) / 1e6}


def measure(seed: int, animals: int, traits: int) -> dict[str, float]:
    """Fit in this process."""

    def make_model(pedigree: pd.DataFrame) -> mixed.Model:
        return mixed.Model.animal("a ~ group" if traits == 1 else "a + b ~ 0 + trait:group", pedigree)

    small, few = simulate(seed, 1200, traits)
    make_model(few).fit(small)  # what the first fit on a machine compiles
    records, pedigree = simulate(seed, animals, traits)
    model = make_model(pedigree)
    gain = Gain()
    start = time.process_time()
    fit = model.fit(records)
    seconds = time.process_time() - start
    memory = gain.measure()
    equations = fit.result.equations
    start = time.process_time()
    fit.blup(model.random.terms[0])
    rows, columns = np.tril_indices(traits)
    truths = np.concatenate([GENETIC[rows, columns], RESIDUAL[rows, columns]])
    z = (fit.components["estimate"] - truths) / fit.components["se"]
    return {
        "equations": equations.n,
        "fill": equations.factor.fill,
        "evaluations": fit.result.evaluations,
        "seconds": seconds,
        "blups": time.process_time() - start,
        **memory,
        "announced": equations.memory / 1e6,
        "worst": float(np.abs(z).max()),
        "converged": fit.converged,
    }


def run_apart(seed: int, animals: int, traits: int) -> dict[str, float]:
    """`measure` in a process of its own, so that its peak of memory is its own, on one thread."""
    call = f"measure({seed}, {animals}, {traits})"
    code = f"import json; from validation.animals import measure; print(json.dumps({call}))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare_memory(name: str, size: str, found: dict[str, float]) -> Row:
    """Whether the memory announced is that taken."""
    announced, taken = found["announced"], found["taken"]
    ok = abs(announced - taken) < OFF * taken + FREE
    return Row(name, size, "announced / taken", f"{announced / taken:.2f}", ok)


def compare(options: Options, runs: tuple[tuple[int, int], ...]) -> tuple[list[Row], str]:
    """Rows and lines of the table for each of (animals, traits)."""
    rows, lines = [], []
    for animals, traits in runs:
        found = run_apart(options.seed, animals, traits)
        name = f"{animals:,} animals" + ", two traits" * (traits == 2)
        size = f"{found['equations']:,.0f} equations"
        ok = bool(found["converged"]) and found["worst"] < MOST_Z
        rows.append(Row(f"REML: {name}", size, "largest z of variances", f"{found['worst']:.2f}", ok))
        rows.append(compare_memory(f"memory: {name}", size, found))
        lines.append(
            (
                name,
                f"{found['equations']:,.0f}",
                f"{found['fill']:,.0f}",
                f"{found['evaluations']:.0f}",
                f"{found['seconds']:.1f}",
                f"{found['blups']:.1f}",
                f"{found['announced']:.0f}",
                f"{found['taken']:.0f}",
                f"{found['peak']:.0f}",
                f"{found['worst']:.2f}",
            )
        )
    head = ("model", "equations", "entries of L", "evaluations", "fit, CPU s", "BLUPs and PEVs, CPU s")
    return rows, make_table((*head, "MB announced", "MB taken", "MB of the process", "largest z"), lines)


def check_quickly(options: Options) -> list[Row]:
    """A tenth of the animals."""
    return compare(options, ((10_000, 1), (2_000, 2)))[0]


def check_fully(options: Options) -> list[Row]:
    """Growth with animals; two traits."""
    start = time.monotonic()
    rows, table = compare(options, RUNS)
    write_tables(options, "animals", rows, {"Fits": table}, time.monotonic() - start)
    return rows


register("animals", quick=check_quickly, full=check_fully)
