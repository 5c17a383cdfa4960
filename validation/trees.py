"""Hundreds of thousands of records: families of trees in 31 trials, simulated from printed variances.

dbh ~ trial, random mother, trial:mother and trial:block, with one residual variance, one for each trial, and a variance
of blocks for each trial too; and growth with the number of trees and of mothers. Variances and numbers are those of a
published analysis of 189,976 trees. Time includes the setting up of the equations; memory is what a process of
its own gains by the fit, at its peak, beside what was announced, and the peak with libraries and data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axes import Identity, Variance
from bmtme.engines.mixed.problem import Problem, Section, Term
from validation.animals import Gain, compare_memory
from validation.registry import Options, Row, make_table, register, write_tables

TRIALS, TREES, MOTHERS = 31, 189_976, 2_000
#: Variances of mothers, trial:mother and trial:block; the residual's, whose logarithms spread about their mean.
VARIANCES = (32.817, 26.457, 77.390)
RESIDUAL, SPREAD = 892.391, 0.35
MODELS = ("one residual variance", "31 residual variances", "31 residual, 31 block variances")
#: Of z scores of estimates: a mean beyond this, in its errors, or a spread above it, fails.
MOST_Z, MOST_SPREAD = 4.0, 1.5


def simulate(seed: int, trees: int = TREES, mothers: int = MOTHERS) -> dict[str, np.ndarray]:
    """Trial, block, mother and value of every tree; the residual variance of every trial."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.4, 1.6, TRIALS)
    trial = np.repeat(np.arange(TRIALS), rng.multinomial(trees, shares / shares.sum()))
    spread = np.exp(rng.normal(np.log(RESIDUAL), SPREAD, TRIALS))
    blocks = rng.integers(3, 32, TRIALS)
    block = rng.integers(0, blocks[trial])
    mother = np.empty(trees, int)
    for t in range(TRIALS):
        here = np.flatnonzero(trial == t)
        grown = rng.choice(mothers, min(mothers, max(40, len(here) // 30)), replace=False)
        mother[here] = rng.choice(grown, len(here))
    sd = np.sqrt(VARIANCES)
    value = 180 + rng.normal(0, 20, TRIALS)[trial] + sd[0] * rng.standard_normal(mothers)[mother]
    value += sd[1] * rng.standard_normal((TRIALS, mothers))[trial, mother]
    value += sd[2] * rng.standard_normal((TRIALS, blocks.max()))[trial, block]
    value += np.sqrt(spread[trial]) * rng.standard_normal(trees)
    return {"trial": trial, "block": block, "mother": mother, "value": value, "residual": spread}


def make_problem(data: dict[str, np.ndarray], model: int) -> Problem:
    """One of `MODELS`."""
    trial, block, mother = data["trial"], data["block"], data["mother"]
    n = len(trial)

    def make_term(name: str, levels: np.ndarray) -> Term:
        here = levels >= 0
        codes = np.full(n, -1)
        codes[here] = np.unique(levels[here], return_inverse=True)[1]
        return Term(name, (Variance(), Identity(int(codes.max()) + 1)), codes)

    terms = [make_term("mother", mother), make_term("trial:mother", trial * 10**6 + mother)]
    if model == 2:
        terms += [make_term(f"at({t + 1}):block", np.where(trial == t, block, -1)) for t in range(TRIALS)]
    else:
        terms.append(make_term("trial:block", trial * 1000 + block))
    where = [np.arange(n)] if model == 0 else [np.flatnonzero(trial == t) for t in range(TRIALS)]
    sections = tuple(
        Section(f"residual {k + 1}", rows, (Variance(), Identity(len(rows)))) for k, rows in enumerate(where)
    )
    X = sp.csr_matrix((np.ones(n), (np.arange(n), trial)), shape=(n, TRIALS))
    return Problem(data["value"], X, tuple(terms), sections)


def measure(seed: int, trees: int, mothers: int, model: int) -> dict[str, float]:
    """Fit one model in this process."""
    from bmtme.engines.mixed.reml import fit_reml

    fit_reml(make_problem(simulate(seed, 3000, 200), model))  # what the first fit on a machine compiles
    data = simulate(seed, trees, mothers)
    problem = make_problem(data, model)
    gain = Gain()
    start = time.process_time()
    found = fit_reml(problem)
    seconds = time.process_time() - start
    memory = gain.measure()
    truths = [RESIDUAL] if model == 0 else list(data["residual"])
    z = [(c.estimate - truth) / c.se for c, truth in zip(found.components, truths, strict=False)] if model else []
    z += [(c.estimate - truth) / c.se for c, truth in zip(found.components[len(truths) :], VARIANCES[:2], strict=False)]
    return {
        "equations": found.equations.n,
        "parameters": len(found.components),
        "log_likelihood": found.log_likelihood_full,
        "converged": found.converged,
        "evaluations": found.evaluations,
        "seconds": seconds,
        **memory,
        "announced": found.equations.memory / 1e6,
        "mean_z": float(np.mean(z)),
        "sd_z": float(np.std(z)),
        "numbers": len(z),
    }


def run_apart(seed: int, trees: int, mothers: int, model: int) -> dict[str, float]:
    """`measure` in a process of its own, so that its peak of memory is its own."""
    call = f"measure({seed}, {trees}, {mothers}, {model})"
    code = f"import json; from validation.trees import measure; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(options: Options, runs: list[tuple[int, int, int]]) -> tuple[list[Row], str]:
    """A row and a line of the table for each of (trees, mothers, model)."""
    rows, lines = [], []
    for trees, mothers, model in runs:
        found = run_apart(options.seed, trees, mothers, model)
        error = 1 / np.sqrt(found["numbers"])
        ok = bool(found["converged"]) and abs(found["mean_z"]) < MOST_Z * error
        ok = ok and (model == 0 or found["sd_z"] < MOST_SPREAD)
        figure = f"{found['mean_z']:.2f}, {found['seconds']:.1f} CPU s, {found['peak']:.0f} MB"
        size = f"{trees:,} trees, {mothers:,} mothers"
        rows.append(Row(MODELS[model], size, "mean z of variances", figure, ok))
        rows.append(compare_memory("memory", size, found))
        lines.append(
            (
                MODELS[model],
                f"{trees:,}",
                f"{mothers:,}",
                f"{found['equations']:,.0f}",
                f"{found['parameters']:.0f}",
                f"{found['log_likelihood']:.3f}",
                f"{found['evaluations']:.0f}",
                f"{found['seconds']:.2f}",
                f"{found['announced']:.0f}",
                f"{found['taken']:.0f}",
                f"{found['peak']:.0f}",
                f"{found['mean_z']:.2f} ({found['sd_z']:.2f})",
            )
        )
    head = ("model", "trees", "mothers", "equations", "parameters", "log likelihood", "evaluations", "CPU s")
    head = (*head, "MB announced", "MB taken", "MB of the process")
    return rows, make_table((*head, "mean (sd) z of variances"), lines)


def check_quickly(options: Options) -> list[Row]:
    """A tenth of the trees."""
    return compare(options, [(TREES // 10, MOTHERS, model) for model in range(3)])[0]


def check_fully(options: Options) -> list[Row]:
    """All models on all trees; growth in trees and in mothers."""
    start = time.monotonic()
    runs = [(TREES, MOTHERS, model) for model in range(3)]
    runs += [(TREES // 4, MOTHERS, 1), (TREES // 2, MOTHERS, 1), (2 * TREES, MOTHERS, 1)]
    runs += [(TREES, mothers, 1) for mothers in (MOTHERS // 4, 4 * MOTHERS)]
    rows, table = compare(options, runs)
    write_tables(options, "trees", rows, {"Fits": table}, time.monotonic() - start)
    return rows


register("trees", quick=check_quickly, full=check_fully)
