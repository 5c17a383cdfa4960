"""The posterior of bmtme beside that of an independent program: NUTS by numpyro, in an environment of its own.

numpyro brings jax, which bmtme does not need, so it gets its own environment::

    python3 -m venv numpyro_env
    numpyro_env/bin/pip install numpyro
    BMTME_NUMPYRO=numpyro_env/bin/python python -m validation.run --only nuts

Without it nothing is run. `nuts_program.py` is the referee, `nuts_sets` holds the data sets, `posteriors` what is
compared, `nuts_page` what is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from validation.referees.estimates import LEVEL
from validation.referees.nuts_page import Pair, describe, draw_densities, draw_differences
from validation.referees.nuts_sets import (
    PLANTED,
    VARIABLE,
    Set,
    find_program,
    make_sets,
    make_small,
    run_bmtme,
    run_nuts,
)
from validation.registry import Options, Row, register, report_progress, write_figure, write_report

CHECK = "bmtme and NUTS"
STATISTIC = "largest difference, in errors"


def skip() -> list[Row]:
    """The row of a machine without numpyro."""
    how = f"python -m venv E; E/bin/pip install numpyro; {VARIABLE}=E/bin/python"
    return [Row(CHECK, "", "", how, None)]


def compare_all(python: str, tasks: list[tuple[Set, Mapping[str, float]]], options: Options) -> list[Pair]:
    """Both programs on every set, with or without planted errors in the referee's priors."""
    report = report_progress("NUTS")
    theirs = []
    with ThreadPoolExecutor(options.cores) as pool:
        for run in pool.map(lambda task: run_nuts(python, task[0], task[1], options.seed), tasks):
            theirs.append(run)
            report(len(theirs), len(tasks))
    ours = {}
    for data, _ in tasks:
        if data.label not in ours:
            ours[data.label] = run_bmtme(data, options.seed, options.cores)
    return [Pair(data, ours[data.label], run) for (data, _), run in zip(tasks, theirs, strict=True)]


def check_pair(pair: Pair) -> Row:
    """Have both programs the same posterior?"""
    c = pair.comparison
    figure = f"{c.largest}; p (x {c.z.size}) {c.p:.2g}; least effective draws {c.fewest:.0f}"
    return Row(f"{CHECK}: {pair.data.label}", pair.data.size, STATISTIC, figure, c.p > LEVEL and pair.converged)


def check_planted(pair: Pair, what: str) -> Row:
    """Is a planted error seen?"""
    c = pair.comparison
    figure = f"{c.largest}; p (x {c.z.size}) {c.p:.2g}"
    return Row(f"planted error seen: {what}", pair.data.size, STATISTIC, figure, c.p < LEVEL and pair.converged)


def run_quick(options: Options) -> list[Row]:
    """The smallest set, few draws."""
    python = find_program()
    if python is None:
        return skip()
    data = replace(make_small(options.seed), nuts=(300, 400), bmtme=(1000, 10_000))
    return [check_pair(pair) for pair in compare_all(python, [(data, {})], options)]


def run_full(options: Options) -> list[Row]:
    """All sets, and the planted errors on the smallest; written to ``nuts.md``."""
    python = find_program()
    if python is None:
        return skip()
    began = time.perf_counter()
    sets = make_sets(options.seed)
    # The longest first, so that no thread is left with it at the end.
    tasks: list[tuple[Set, Mapping[str, float]]] = [(data, {}) for data in reversed(sets)]
    tasks += [(sets[0], planted.changes) for planted in PLANTED]
    pairs = compare_all(python, tasks, options)
    honest, wrong = pairs[: len(sets)][::-1], list(zip(PLANTED, pairs[len(sets) :], strict=True))
    seen = [check_planted(pair, planted.what) for planted, pair in wrong]
    rows = [check_pair(pair) for pair in honest]
    figures = [
        write_figure(options, "nuts", draw_densities(honest[-1])),
        write_figure(options, "nuts-differences", draw_differences(honest, wrong)),
    ]
    text = describe(honest, wrong, rows, figures)
    write_report(options, "nuts", "The posterior by another program: NUTS", text, time.perf_counter() - began)
    return rows + seen


register("nuts", run_quick, run_full)
