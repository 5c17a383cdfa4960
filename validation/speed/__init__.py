"""How fast: time per sweep and effective draws per second, in one run, as ratios.

Both samplers on simulated sets; the floor (the normals, the rotations of the imputed rows and one pass over the
transformed data, measured alone); and, where BMTME_PROTOTYPE names a file ``collapsed.py`` with the functions
``sample`` and ``unpack``, that program on the same data. Programs in R, where R has them. How the time of a sweep
grows, and a large fit.
"""

from __future__ import annotations

import time

import numpy as np

from bmtme.engines.rotated.rehearsal import rehearse
from validation.registry import Options, Row, make_table, register, write_tables
from validation.speed import compilation as compilation
from validation.speed import structures as structures
from validation.speed.budget import check_budget as check_budget
from validation.speed.growth import fit_large, measure_growth
from validation.speed.problems import simulate
from validation.speed.programs import find_prototype, time_floor, time_prototype, time_sampler
from validation.speed.rivals import measure_rivals

SIZES = ((80, 3, 3, 0.2), (309, 3, 3, 0.2), (309, 3, 3, 0.0), (1000, 5, 3, 0.2))
#: Kept sweeps of `gibbs` for each of `collapsed`: its worst entries take that many to be measured at all.
LONGER = 8


def measure(options: Options, sizes: tuple[tuple[int, int, int, float], ...], repeats: int) -> tuple[list[Row], str]:
    """Medians over `repeats` data sets, all programs in turn on each."""
    program = find_prototype()
    for sampler in ("collapsed", "gibbs"):
        rehearse(sampler)
    rows, lines = [], []
    for J, I, L, missing in sizes:
        draws = 6000 if J < 200 else 4000 if J < 500 else 1500
        figures: dict[str, list[dict[str, float]]] = {}
        floors = []
        for k in range(repeats):
            data = simulate(J, I, L, missing, options.seed + k)
            problem = data.problem
            floors.append(time_floor(problem))
            figures.setdefault("collapsed", []).append(time_sampler(problem, "collapsed", draws, options.seed + k))
            figures.setdefault("gibbs", []).append(time_sampler(problem, "gibbs", LONGER * draws, options.seed + k))
            if program is not None:
                other = time_prototype(program, data, draws, options.seed + k)
                if other is not None:
                    figures.setdefault("prototype", []).append(other)
        middle = {
            name: {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
            for name, runs in figures.items()
        }
        floor = float(np.median(floors))
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
    """All sizes, three sets each; programs in R; growth; the large fit."""
    began = time.perf_counter()
    rows, table = measure(options, SIZES, 3)
    others, rivals = measure_rivals(options)
    large, figures = fit_large(options)
    rows += [*others, large]
    tables = {"Both samplers": table, **rivals, **measure_growth(options), "A large fit": figures}
    write_tables(options, "speed", rows, tables, time.perf_counter() - began)
    return rows


register("speed", run_quick, run_full)
