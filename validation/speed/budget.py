"""Whether a sweep has become slower: its time as a multiple of a reference kernel's, against a budget.

Machines differ and are shared, so no time is compared with one of another day. The reference is work of the same kind
(normals, passes over the lines, small Cholesky factors) that shares no code with the package; both take turns in one
process, and the median of their ratios counts. Trajectories have a fixed number of steps, so that a change of the draws
changes no figure.
"""

from __future__ import annotations

import time

import numba
import numpy as np
from threadpoolctl import threadpool_limits

import bmtme
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.engines.rotated.sweep import COLLAPSED
from bmtme.preparation import build, prepare
from validation.registry import Options, Row, register
from validation.speed.problems import simulate

#: Problems, and sweeps in units of the reference. When a sweep is meant to cost more or has become cheaper, the figures
#: of three runs of `python -m validation.run --only budget` replace these.
MEASURED = {
    "309 x 3 x 3, 20% missing": 1.42,
    "80 x 3 x 3": 0.87,
    "80 x 3 x 3, absent columns": 1.53,
    "150 x 24 x 3": 14.3,
}
#: A sweep may take so many times what was measured: interpreters, seeds and a busy machine changed figures by up to 5%.
MARGIN = 1.15
#: Turns of sweep and reference, and about how many seconds each takes.
TURNS, SECONDS = 41, 0.03
#: Leapfrog steps of a trajectory, and their length: all are made, and next to all accepted.
STEPS, LENGTH = 4, 0.1
WARM_UP = 100


@numba.njit(nogil=True)
def work(rng, data, out, matrix, factor):
    """The reference: normals, weighted sums over the lines, and a Cholesky factor for each of them."""
    rows, lines = data.shape
    total = 0.0
    for m in range(rows):
        for j in range(lines):
            out[m, j] = data[m, j] * rng.standard_normal() + 0.5 * out[m, j]
    for a in range(rows):
        for b in range(a + 1):
            cross = 0.0
            for j in range(lines):
                cross += data[a, j] * out[b, j]
            total += cross
    size = matrix.shape[0]
    for j in range(lines):
        for a in range(size):
            for b in range(a + 1):
                value = matrix[a, b] + (data[0, j] ** 2 if a == b else 0.0)
                for c in range(b):
                    value -= factor[a, c] * factor[b, c]
                factor[a, b] = np.sqrt(value) if a == b else value / factor[b, b]
        total += np.log(factor[size - 1, size - 1])
    return total


class Reference:
    """The reference kernel on data of a fixed size."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.data, self.out = self.rng.standard_normal((9, 300)), np.zeros((9, 300))
        self.matrix, self.factor = np.eye(9) + 0.5, np.zeros((9, 9))

    def run(self, times: int) -> None:
        """The work, so many times."""
        for _ in range(times):
            work(self.rng, self.data, self.out, self.matrix, self.factor)


class Sweeps:
    """Collapsed sweeps of a warmed-up chain."""

    def __init__(self, problem: Problem, seed: int, most: int = 1000) -> None:
        self.chain = Chain(problem, "collapsed", WARM_UP, np.full(most, -1), True, np.random.SeedSequence(seed))
        self.chain.trail = np.empty((WARM_UP, len(self.chain.walk.theta)))
        self.run(WARM_UP)
        tuning = self.chain.walk.tuning
        tuning.adapting[0], tuning.step[0], tuning.leapfrogs[0] = 0.0, LENGTH, STEPS

    def run(self, times: int) -> None:
        """So many kept sweeps."""
        reached, code = self.chain._run(COLLAPSED, 0, times, True)
        if code:
            raise RuntimeError(f"sweep {reached} failed with code {code}")


def make_problems(seed: int) -> dict[str, Problem]:
    """A problem for each entry of `MEASURED`: with imputed cells, without, with a general pair, with many columns."""
    sim = bmtme.simulate(lines=80, envs=3, traits=3, heritability=0.5, relationship="markers", seed=seed)
    frame = sim.frame.copy()
    frame.loc[frame["env"] == "E2", "T1"] = np.nan
    frame.loc[frame["env"] == "E3", "T2"] = np.nan
    trial = bmtme.Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2", "T3"])
    problems = (
        simulate(309, 3, 3, 0.2, seed).problem,
        simulate(80, 3, 3, 0.0, seed).problem,
        build(prepare(trial, sim.relationship), bmtme.BMTME())[0],
        simulate(150, 24, 3, 0.0, seed).problem,
    )
    return dict(zip(MEASURED, problems, strict=True))


def time_runs(runner: Sweeps | Reference, times: int) -> float:
    """Seconds of this thread for one run."""
    began = time.thread_time()
    runner.run(times)
    return (time.thread_time() - began) / times


def choose_times(runner: Sweeps | Reference) -> int:
    """How many runs take about `SECONDS`."""
    runner.run(1)
    return int(np.clip(SECONDS / time_runs(runner, 3), 1, 1000))


def measure_ratio(problem: Problem, seed: int) -> tuple[float, float]:
    """Median over the turns of a sweep's time in units of the reference, and half the range of their middle half."""
    reference, sweeps = Reference(), Sweeps(problem, seed)
    counts = choose_times(reference), choose_times(sweeps)
    ratios = [time_runs(sweeps, counts[1]) / time_runs(reference, counts[0]) for _ in range(TURNS)]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return float(middle), float(high - low) / 2


def check_budget(options: Options) -> list[Row]:
    """One row for each problem; fails where a sweep takes more than `MARGIN` times what was measured."""
    rehearse("collapsed")
    rows = []
    with threadpool_limits(1):
        for name, problem in make_problems(options.seed).items():
            ratio, spread = measure_ratio(problem, options.seed)
            most = MARGIN * MEASURED[name]
            figure = f"{ratio:.2f} +- {spread:.2f} (at most {most:.2f})"
            rows.append(Row("time of a sweep", name, "multiple of a reference", figure, ratio <= most))
    return rows


register("budget", check_budget)
