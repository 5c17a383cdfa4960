"""The posterior of bmtme beside that of an independent program: NUTS by numpyro, in an environment of its own.

numpyro brings jax, which bmtme does not need, so it gets its own environment::

    python3 -m venv numpyro_env
    numpyro_env/bin/pip install numpyro
    BMTME_NUMPYRO=numpyro_env/bin/python python -m validation.run --only nuts

Without it nothing is run. `nuts_program.py` is the referee, `nuts_sets` holds the data sets, `posteriors` what is
compared, `nuts_tables` figures and tables.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from validation.referees.nuts_sets import (
    FEW,
    PLANTED,
    VARIABLE,
    Set,
    find_program,
    make_complete,
    make_sets,
    make_small,
    run_bmtme,
    run_nuts,
    run_program,
)
from validation.referees.nuts_tables import Pair, draw_densities, draw_differences, list_tables
from validation.referees.posteriors import show_p
from validation.registry import Options, Row, register, report_progress, write_figure, write_tables

CHECK = "bmtme and NUTS"
STATISTIC = "largest difference, in errors"
#: The two forms of the referee differ by rounding alone, of log likelihood, gradient and drawn means.
ROUNDING = 1e-8


def skip() -> list[Row]:
    """The row of a machine without numpyro."""
    how = f"python -m venv E; E/bin/pip install numpyro; {VARIABLE}=E/bin/python"
    return [Row(CHECK, "", "", how, None)]


def compare_all(python: str, tasks: list[tuple[Set, Mapping[str, float]]], options: Options) -> tuple[Row, list[Pair]]:
    """Both programs on every set, with or without planted errors in the referee's priors; and `check_forms`."""
    report = report_progress("NUTS")
    theirs = []
    with ThreadPoolExecutor(options.cores) as pool:
        forms = pool.submit(check_forms, python, options)
        for run in pool.map(lambda task: run_nuts(python, task[0], task[1], options.seed), tasks):
            theirs.append(run)
            report(len(theirs), len(tasks))
    ours = {}
    for data, _ in tasks:
        if data.label not in ours:
            # Compiles, and is thrown away: the seconds are those of the sampler.
            run_bmtme(replace(data, bmtme=(20, 20)), options.seed, options.cores)
            ours[data.label] = run_bmtme(data, options.seed, options.cores)
    pairs = [Pair(data, ours[data.label], run) for (data, _), run in zip(tasks, theirs, strict=True)]
    return forms.result(), pairs


def check_pair(pair: Pair) -> Row:
    """Have both programs the same posterior?"""
    return Row(f"{CHECK}: {pair.data.label}", pair.data.size, STATISTIC, show_pair(pair), pair.agrees)


def check_planted(pair: Pair, what: str) -> Row:
    """Is a planted error found?"""
    return Row(f"planted error found: {what}", pair.data.size, STATISTIC, show_pair(pair), pair.differs)


def show_pair(pair: Pair) -> str:
    """The figures behind a verdict."""
    c = pair.comparison
    return f"{c.largest}; p (x {c.z.size}) {show_p(c.p)}; least effective draws {c.fewest:.0f}"


def check_forms(python: str, options: Options) -> Row:
    """Are the dense and the rotated form of the referee the same?"""
    data = make_complete(options.seed)
    shares = run_program(python, "compare", data, {}, options.seed)["shares"]
    figure = ", ".join(f"{share:.0e}" for share in shares)
    statistic = "largest share by which log likelihood, gradient, drawn means differ"
    return Row("NUTS: dense and rotated form", data.size, statistic, figure, bool(shares.max() < ROUNDING))


def run_quick(options: Options) -> list[Row]:
    """The smallest set, few draws."""
    python = find_program()
    if python is None:
        return skip()
    data = replace(make_small(options.seed), nuts=(300, 400), bmtme=(1000, 10_000))
    forms, pairs = compare_all(python, [(data, {})], options)
    return [forms, *map(check_pair, pairs)]


def run_full(options: Options) -> list[Row]:
    """All sets, and the planted errors on the smallest."""
    python = find_program()
    if python is None:
        return skip()
    began = time.perf_counter()
    sets = make_sets(options.seed)
    # The longest first, so that no thread is left with it at the end.
    tasks: list[tuple[Set, Mapping[str, float]]] = [(data, {}) for data in reversed(sets)]
    tasks += [(replace(sets[0], nuts=FEW), planted.changes) for planted in PLANTED]
    forms, pairs = compare_all(python, tasks, options)
    honest, wrong = pairs[: len(sets)][::-1], list(zip(PLANTED, pairs[len(sets) :], strict=True))
    rows = [forms, *map(check_pair, honest), *[check_planted(pair, planted.what) for planted, pair in wrong]]
    write_figure(options, "nuts", draw_densities(honest[-1]))
    write_figure(options, "nuts-differences", draw_differences(honest, wrong))
    write_tables(options, "nuts", rows, list_tables(honest, wrong), time.perf_counter() - began)
    return rows


register("nuts", run_quick, run_full)
