"""Mixed models by REML beside ASReml's printed answers: four field trials and the gryphon pedigree.

Every fit of `bmtme.testing.field_trials.PUBLISHED`: its log likelihood and whether estimates and errors are those
printed, how long it takes, and how often random starts (one unit of every unconstrained parameter off) reach the same
likelihood. Needs BMTME_DATA.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from bmtme.engines.mixed.equations import Equations
from bmtme.engines.mixed.reml import climb_likelihood, fit_reml
from bmtme.engines.mixed.start import find_ranges
from bmtme.testing.field_trials import PUBLISHED, Published, list_differences
from validation.registry import Options, Row, make_table, register, write_tables
from validation.trials import find_trial

STARTS = 10
#: Of the log likelihood, within which a search has reached the top.
NEAR = 1e-3
TOLERANCE = 1e-9


def try_starts(published: Published, folder: Path, starts: int, seed: int) -> tuple[int, list[int]]:
    """How many random starts reach the printed likelihood, and their evaluations."""
    problem = published.make(folder)
    equations, ranges = Equations(problem), find_ranges(problem)
    rng = np.random.default_rng(seed)
    reached, evaluations = 0, []
    for _ in range(starts):
        first = ranges.start + ranges.units * rng.standard_normal(equations.count)
        climb = climb_likelihood(equations, np.clip(first, ranges.low, ranges.high), ranges, TOLERANCE, 100)
        reached += climb.best.log_likelihood > float(published.log_likelihood) - NEAR
        evaluations.append(climb.evaluations)
    return reached, evaluations


def compare(options: Options, starts: int) -> tuple[list[Row], str]:
    """A row and a line of the table for every published fit whose data are at hand."""
    found_folder = find_trial("field_trials")
    folder = None if found_folder is None else found_folder.parent
    rows: list[Row] = []
    lines: list[tuple[str, ...]] = []
    for published in PUBLISHED:
        if folder is None or not all((folder / file).is_file() for file in published.files):
            rows.append(Row(published.name, "", "", "no data (set BMTME_DATA)", None))
            continue
        fit_reml(published.make(folder))  # what the first fit on a machine compiles
        start = time.process_time()
        found = fit_reml(published.make(folder))
        seconds = time.process_time() - start
        reached, evaluations = try_starts(published, folder, starts, options.seed)
        differences = list_differences(published, found)
        gap = abs(found.log_likelihood - float(published.log_likelihood))
        ok = found.converged and gap <= NEAR and not differences and reached == starts
        figure = f"{found.log_likelihood:.4f} ({published.log_likelihood})" + "".join(f"; {x}" for x in differences)
        rows.append(Row(published.name, f"{found.problem.n} records", "log likelihood (printed)", figure, ok))
        lines.append(
            (
                published.name,
                str(found.equations.n),
                str(len(found.components)),
                f"{found.log_likelihood:.4f}",
                published.log_likelihood,
                str(len(published.components) + len(published.errors) + 2 * len(published.fixed)),
                f"{seconds:.2f}",
                str(found.evaluations),
                f"{reached} of {starts}",
                f"{np.median(evaluations):.0f} ({max(evaluations)})",
            )
        )
    head = ("fit", "equations", "parameters", "log likelihood", "printed", "other numbers", "CPU s", "evaluations")
    return rows, make_table((*head, "random starts", "their evaluations (most)"), lines)


def check_quickly(options: Options) -> list[Row]:
    """Two starts each."""
    return compare(options, 2)[0]


def check_fully(options: Options) -> list[Row]:
    """Ten starts each, and the table."""
    start = time.monotonic()
    rows, table = compare(options, STARTS)
    write_tables(options, "field_trials", rows, {"Fits": table}, time.monotonic() - start)
    return rows


register("field_trials", quick=check_quickly, full=check_fully)
