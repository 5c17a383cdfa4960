"""Additive and residual covariances of a pedigreed population: bmtme beside ASReml-R's printed REML estimates.

The data (`gryphon`, where BMTME_DATA names a folder with it) are those of a tutorial that prints what ASReml-R finds in
them. Between the two stands a third program, REML by dense algebra (`validation.referees.reml`): its estimates must be
ASReml-R's, and its likelihood times the prior must be bmtme's posterior. Without the data, the latter on a simulated
pedigree.
"""

from __future__ import annotations

import time

import numpy as np

from validation.referees.animals import Animals, read_gryphon, simulate_animals
from validation.referees.estimates import ENOUGH
from validation.referees.gryphon_results import (
    ANALYSES,
    BOTH,
    BY_SEX,
    DRAWS,
    IMPORTANCE,
    NEAR,
    SAME,
    SAME_ERROR,
    Result,
    analyse,
)
from validation.referees.gryphon_tables import draw_results, list_tables
from validation.referees.posteriors import show_p
from validation.registry import LEVEL, Options, Row, register, write_figure, write_tables
from validation.trials import skip


def check_posterior(label: str, result: Result) -> Row:
    """Is bmtme's posterior the exact one?"""
    a = result.agreement
    enough = min(a.effective, result.exact.effective) >= ENOUGH
    figure = f"{np.abs(a.z).max():.1f}; p (x {len(a.z)}) {show_p(a.p)}"
    return Row(
        f"{label}: bmtme and the exact posterior, {result.analysis.name}",
        f"{result.records} values, {len(a.z)} moments", "largest difference, in errors", figure,
        bool(a.p > LEVEL and enough),
    )  # fmt: skip


def list_rows(result: Result) -> list[Row]:
    """The three verdicts on one analysis."""
    share, error = result.differ()
    distance = float(np.abs(result.place()).max())
    name, size = result.analysis.name, f"{result.records} values"
    return [
        Row(
            f"gryphon: our REML and ASReml-R's print, {name}", size, "largest share by which estimates, errors differ",
            f"{share:.1e}, {error:.1e}", share < SAME and error < SAME_ERROR,
        ),
        check_posterior("gryphon", result),
        Row(
            f"gryphon: ASReml-R's print in bmtme's posterior, {name}", size, "largest distance from a median, in SDs",
            f"{distance:.2f}", distance < NEAR,
        ),
    ]  # fmt: skip


def check_pedigree(animals: Animals) -> Row:
    """Parents stand before their offspring, and pedigree and phenotypes name the same dams."""
    pedigree = animals.pedigree.fillna("")
    dams = dict(zip(pedigree["id"], pedigree["dam"], strict=True))
    agree = sum(dams.get(line) == mother for line, mother in animals.frame[["line", "mother"]].to_numpy())
    place = {name: k for k, name in enumerate(pedigree["id"])}
    parents = [(k, name) for column in ("sire", "dam") for k, name in enumerate(pedigree[column]) if name]
    ordered = all(place[name] < k for k, name in parents)
    size, counted = f"{len(pedigree)} animals", f"{agree} of {len(animals.frame)}"
    ok = bool(ordered and agree == len(animals.frame))
    return Row("gryphon: pedigree and phenotypes name the same dams", size, "dams in common", counted, ok)


def run_quick(options: Options) -> list[Row]:
    """A simulated pedigree: one trait with means by sex, and two traits."""
    animals = simulate_animals(options.seed)
    sizes = {BY_SEX: 4000, BOTH: 4000}
    results = [analyse(animals, analysis, draws, 1000, options) for analysis, draws in sizes.items()]
    return [check_posterior("simulated pedigree", result) for result in results]


def run_full(options: Options) -> list[Row]:
    """The gryphon data."""
    animals = read_gryphon()
    if animals is None:
        return [skip("gryphon: bmtme and ASReml-R", "gryphon")]
    began = time.perf_counter()
    results = {a: analyse(animals, a, DRAWS[a], IMPORTANCE, options) for a in ANALYSES}
    rows = [check_pedigree(animals), *[row for result in results.values() for row in list_rows(result)]]
    write_figure(options, "gryphon", draw_results(results))
    tables = list_tables(animals, results, options)
    write_tables(options, "gryphon", rows, tables, time.perf_counter() - began)
    return rows


register("gryphon", run_quick, run_full)
