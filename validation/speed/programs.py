"""Our samplers and another program on the same data: time per sweep and effective draws per second.

Seconds are those of the processor, one thread each, so that other work on the machine counts less.
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

from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.problem import Problem
from bmtme.linalg.rotation import rotate_back, rotate_forward
from bmtme.structures.proportional import PAPER_PAIR
from bmtme.structures.structure import Structures
from validation.speed.problems import Data

TUNE = 1000


def count_effective(S: np.ndarray, E: np.ndarray, R: np.ndarray) -> tuple[float, float, float]:
    """Worst and median bulk ESS over all covariance entries, and the worst of squared deviations."""
    import arviz

    L = S.shape[1]
    pairs = [(a, b) for a in range(L) for b in range(a + 1)]
    entries = [S[:, a, b] for a, b in pairs] + [R[:, a, b] for a, b in pairs] + list(E.T)
    bulk = [float(arviz.ess(entry[None, :])) for entry in entries]
    square = [float(arviz.ess(((entry - entry.mean()) ** 2)[None, :])) for entry in entries]
    return min(bulk), float(np.median(bulk)), min(square)


def time_sweeps(
    problem: Problem, sampler: str, draws: int, seed: int, tune: int = TUNE, structures: Structures = PAPER_PAIR
) -> tuple[float, Chain]:
    """Seconds a kept sweep, and the chain; nothing of the effects is kept."""
    slots = np.full(draws, -1)
    chain = Chain(problem, sampler, tune, slots, False, np.random.SeedSequence(seed), structures=structures)
    marks: list[tuple[int, float]] = []

    def mark(done: int) -> None:
        if done >= tune:
            marks.append((done, time.process_time()))

    chain.advance(mark, threading.Event())
    return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0]), chain


def time_sampler(problem: Problem, sampler: str, draws: int, seed: int) -> dict[str, float]:
    """Milliseconds a kept sweep, and effective draws per second of these."""
    seconds, chain = time_sweeps(problem, sampler, draws, seed)
    return rate(seconds, draws, count_effective(chain.draws.Sigma_t, chain.draws.s2_E, chain.draws.R_e))


def rate(seconds: float, draws: int, effective: tuple[float, float, float]) -> dict[str, float]:
    """Figures of one program from seconds a sweep and effective draws."""
    total = seconds * draws
    return dict(zip(("ms", "worst", "median", "square"), (1e3 * seconds, *[e / total for e in effective]), strict=True))


def time_prototype(program: Any, data: Data, draws: int, seed: int) -> dict[str, float] | None:
    """The same figures of the program named by BMTME_PROTOTYPE; None where its warm-up breaks off."""
    values, mask, G = data.arrays
    _, I, L = values.shape
    hidden = np.repeat(mask[:, :, None], L, axis=2)
    d, vectors = np.linalg.eigh(G)
    settings = {"A": 5.0, "nu": 2.0, "method": "hmc", "ns": 4, "eps_cap": 0.5, "seed": seed}
    try:
        result = program.sample(values, hidden, np.ascontiguousarray(vectors), np.maximum(d, 0.0), draws, **settings)
    except np.linalg.LinAlgError:
        return None
    return rate(result["sec"] / draws, draws, count_effective(*program.unpack(result["th"], I, L)))


def find_prototype(variable: str = "BMTME_PROTOTYPE") -> Any:
    """The module that an environment variable names, or None."""
    path = os.environ.get(variable)
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


def time_floor(problem: Problem, repeats: int = 200) -> float:
    """Milliseconds of what no sweep can do without: normals, rotations of imputed rows, one pass over J x M."""
    rng = np.random.default_rng(0)
    M, J = problem.fixed.shape
    data, out = rng.standard_normal((M, J)), np.empty((M, J))
    y = np.empty((len(problem.cell_line), problem.n_trait))
    best = np.inf
    for _ in range(repeats):
        began = time.process_time()
        rng.standard_normal(out=out)
        np.multiply(data, out, out=out)
        for i in range(problem.n_env):
            first, width = problem.env_first[i], problem.env_width[i]
            start, stop = problem.cell_offset[i], problem.cell_offset[i + 1]
            rotate_back(problem.U, problem.cell_line, start, stop, data, first, width, y)
            rotate_forward(problem.U, problem.cell_line, start, stop, y, out, first, width)
        best = min(best, time.process_time() - began)
    return 1e3 * best
