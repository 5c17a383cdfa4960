"""How fast: time per sweep and effective draws per second, in one run, as ratios.

Both samplers on simulated sets; the floor (the normals, the rotations of the imputed rows and one pass over the
transformed data, measured alone); and, where BMTME_PROTOTYPE names a file ``collapsed.py`` with the functions
``sample`` and ``unpack``, that program on the same data.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from bmtme.gibbs.chains import Chain
from bmtme.gibbs.problem import MeanPrior, Problem, build_problem
from bmtme.gibbs.rehearsal import rehearse
from bmtme.kernels.beta import EXCHANGEABLE
from bmtme.kernels.covariance import DIAGONAL, FULL, HALF_T, CovariancePrior
from bmtme.kernels.missing import rotate_rows_back, rotate_rows_forward
from bmtme.model.eigenbasis import decompose_relationship
from bmtme.model.layout import lay_out
from validation.registry import Options, Row, make_table, register, write_report

TUNE = 1000
SIZES = ((80, 3, 3, 0.2), (309, 3, 3, 0.2), (309, 3, 3, 0.0), (1000, 5, 3, 0.2))


def simulate(J: int, I: int, L: int, missing: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (J, I, L), mask of unrecorded cells (J, I), relationship; half of the variance genetic."""
    rng = np.random.default_rng(seed)
    markers = rng.standard_normal((J, 3 * J))
    markers -= markers.mean(axis=0)
    G = markers @ markers.T / (3 * J)
    G /= np.diag(G).mean()
    root = np.linalg.cholesky(G + 1e-9 * np.eye(J))
    S, R = 0.5 * (0.5 * np.eye(L) + 0.5), 0.5 * (0.7 * np.eye(L) + 0.3)
    main = root @ rng.standard_normal((J, L)) @ np.linalg.cholesky(S).T
    Y = np.empty((J, I, L))
    for i in range(I):
        interaction = np.sqrt(0.5) * root @ rng.standard_normal((J, L)) @ np.linalg.cholesky(S).T
        Y[:, i] = main + interaction + rng.standard_normal((J, L)) @ np.linalg.cholesky(R).T
    return Y, rng.random((J, I)) < missing, G


def make_problem(Y: np.ndarray, mask: np.ndarray, G: np.ndarray) -> Problem:
    """The default model on these data."""
    J, I, L = Y.shape
    line, env = np.nonzero(~mask)
    layout = lay_out(np.ones((len(line), L), bool), line, env, J, I)
    prior = CovariancePrior(HALF_T, FULL, 2.0, np.full(L, 5.0), 0.0, np.eye(L))
    prior_E = CovariancePrior(HALF_T, DIAGONAL, 4.0, np.ones(I), 0.0, np.eye(I))
    means = MeanPrior(EXCHANGEABLE, np.zeros(L), np.zeros(L), 4.0, np.ones(L), np.ones(L), np.zeros(L), 2.0, 1e5)
    basis = decompose_relationship(G, layout.multiples)
    return build_problem(layout, basis, Y[line, env], prior, prior_E, prior, means)


def count_effective(S: np.ndarray, E: np.ndarray, R: np.ndarray) -> tuple[float, float, float]:
    """Worst and median bulk ESS over all covariance entries, and the worst of squared deviations."""
    import arviz

    L = S.shape[1]
    pairs = [(a, b) for a in range(L) for b in range(a + 1)]
    entries = [S[:, a, b] for a, b in pairs] + [R[:, a, b] for a, b in pairs] + list(E.T)
    bulk = [float(arviz.ess(entry[None, :])) for entry in entries]
    square = [float(arviz.ess(((entry - entry.mean()) ** 2)[None, :])) for entry in entries]
    return min(bulk), float(np.median(bulk)), min(square)


def time_sampler(problem: Problem, sampler: str, draws: int, seed: int) -> dict[str, float]:
    """Milliseconds a kept sweep, and effective draws per second of these."""
    chain = Chain(problem, sampler, TUNE, np.full(draws, -1), False, np.random.SeedSequence(seed))
    marks: list[tuple[int, float]] = []

    def mark(done: int) -> None:
        if done >= TUNE:
            marks.append((done, time.perf_counter()))

    chain.advance(mark, threading.Event())
    seconds = (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
    return rate(seconds, draws, count_effective(chain.draws.Sigma_t, chain.draws.s2_E, chain.draws.R_e))


def rate(seconds: float, draws: int, effective: tuple[float, float, float]) -> dict[str, float]:
    """Figures of one program from seconds a sweep and effective draws."""
    total = seconds * draws
    return dict(zip(("ms", "worst", "median", "square"), (1e3 * seconds, *[e / total for e in effective]), strict=True))


def time_prototype(
    program: Any, data: tuple[np.ndarray, np.ndarray, np.ndarray], draws: int, seed: int
) -> dict[str, float]:
    """The same figures of the program named by BMTME_PROTOTYPE."""
    Y, mask, G = data
    _, I, L = Y.shape
    hidden = np.repeat(mask[:, :, None], L, axis=2)
    values, vectors = np.linalg.eigh(G)
    settings = {"A": 5.0, "nu": 2.0, "method": "hmc", "ns": 4, "eps_cap": 0.5, "seed": seed}
    result = program.sample(
        np.where(hidden, 0.0, Y), hidden, np.ascontiguousarray(vectors), np.maximum(values, 0.0), draws, **settings
    )
    return rate(result["sec"] / draws, draws, count_effective(*program.unpack(result["th"], I, L)))


def time_floor(problem: Problem, repeats: int = 200) -> float:
    """Milliseconds of what no sweep can do without: normals, rotations of imputed rows, one pass over J x M."""
    rng = np.random.default_rng(0)
    M, J = problem.fixed.shape
    data, out = rng.standard_normal((M, J)), np.empty((M, J))
    best = np.inf
    for _ in range(repeats):
        began = time.perf_counter()
        rng.standard_normal(out=out)
        np.multiply(data, out, out=out)
        for i in range(problem.n_env):
            start, stop = problem.cell_offset[i], problem.cell_offset[i + 1]
            if stop > start:
                first, width = problem.env_first[i], problem.env_width[i]
                y = np.empty((stop - start, width))
                rotate_rows_back(problem.U, problem.cell_line[start:stop], data[first : first + width], y)
                rotate_rows_forward(problem.U, problem.cell_line[start:stop], y, out[first : first + width])
        best = min(best, time.perf_counter() - began)
    return 1e3 * best


def find_prototype() -> Any:
    """The module that BMTME_PROTOTYPE names, or None."""
    path = os.environ.get("BMTME_PROTOTYPE")
    if not path:
        return None
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # compiled code that was kept looks its module up by name
    spec.loader.exec_module(module)
    return module


def measure(options: Options, sizes: tuple[tuple[int, int, int, float], ...], repeats: int) -> tuple[list[Row], str]:
    """Medians over `repeats` runs, all programs in turn."""
    program = find_prototype()
    for sampler in ("collapsed", "gibbs"):
        rehearse(sampler)
    rows, lines = [], []
    for J, I, L, missing in sizes:
        data = simulate(J, I, L, missing, options.seed)
        problem = make_problem(*data)
        draws = 6000 if J < 200 else 4000 if J < 500 else 1500
        figures: dict[str, list[dict[str, float]]] = {}
        for k in range(repeats):
            for sampler in ("collapsed", "gibbs"):
                figures.setdefault(sampler, []).append(time_sampler(problem, sampler, draws, options.seed + k))
            if program is not None:
                figures.setdefault("prototype", []).append(time_prototype(program, data, draws, options.seed + k))
        middle = {
            name: {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
            for name, runs in figures.items()
        }
        floor = time_floor(problem)
        size = f"{J} x {I} x {L}, {missing:.0%} missing"
        for name, m in middle.items():
            counts = [f"{m[key]:.0f}" for key in ("worst", "median", "square")]
            lines.append((size, name, f"{m['ms']:.3f}", f"{m['ms'] / floor:.1f}", *counts))
        gain = middle["collapsed"]["worst"] / middle["gibbs"]["worst"]
        rows.append(Row("collapsed / gibbs", size, "worst effective draws per second", f"{gain:.0f}", gain > 1.0))
    head = ("lines x environments x traits", "program", "ms a sweep", "floors", "worst/s", "median/s", "worst square/s")
    return rows, make_table(head, lines)


def run_quick(options: Options) -> list[Row]:
    """The two smaller sizes, once."""
    return measure(options, SIZES[:2], 1)[0]


def run_full(options: Options) -> list[Row]:
    """All sizes, three runs each."""
    began = time.perf_counter()
    rows, text = measure(options, SIZES, 3)
    text = (
        "Medians of three runs in turn on a shared machine: trust ratios, not single figures. Effective draws per "
        "second are bulk ESS over all entries of Sigma_t, Sigma_E and R_e, one chain, after warm-up; `square`: of "
        "squared deviations.\n\n" + text
    )
    write_report(options, "speed", "Speed", text, time.perf_counter() - began)
    return rows


register("speed", run_quick, run_full)
