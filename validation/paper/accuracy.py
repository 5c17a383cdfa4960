"""Accuracy of the three models in CV1, in the spirit of the paper's Table 2, and what its averages can mean.

With R_e a multiple of Sigma_t and whole records hidden no model can gain from the correlation of the traits: in the
coordinates in which both are the identity the traits are alike and independent, and so are the best predictions. So two
designs are run, one with equal heritabilities, which is that case, and one with unequal ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from validation.paper.accuracy_known import Known, bound_prediction, run_known
from validation.paper.accuracy_sets import ALONE, BD, DESIGNS, KNOWN, PARTITIONS, UN, Accuracy, run_sets
from validation.paper.accuracy_tables import draw_gains, list_tables
from validation.paper.simulated import SIZES, mean_error
from validation.registry import Options, Row, register, write_figure, write_tables

SETS = 14
QUICK_SETS, QUICK_PARTITIONS = 4, 3
#: By so many percent may the MSEP of estimated covariances be above that of known ones,
COST = 2.5
#: and that of two models differ where no gain is possible.
EVEN = 2.0
#: What is called a difference of known predictions is above rounding.
ROUNDING = 1e-6


def judge(results: Sequence[Accuracy]) -> list[Row]:
    """No gain where there can be none, and predictions nearly as good as with known covariances."""
    rows = []
    for r in results:
        name, size = f"accuracy, {r.design.name}", f"{r.sets} sets"
        if r.design.proportional:
            known = float(np.abs(r.gain(KNOWN, ALONE, "msep")).max())
            what = f"{name}: {KNOWN}, with and without correlations"
            rows.append(Row(what, size, "largest difference in MSEP; 1e-6%", f"{known:.1g}%", known < 1e-6))
            gain, error = mean_error(r.gain(UN, BD, "msep")[:, -1])
            rows.append(
                Row(
                    f"{name}: {UN} - {BD}",
                    size,
                    f"MSEP saved; within {EVEN:g}% and 3 SE",
                    f"{gain:+.2f}% (SE {error:.2f})",
                    abs(gain) <= EVEN + 3 * error,
                )
            )
        costs = [mean_error(r.gain(known, model, "msep")[:, -1]) for model, known in ((UN, KNOWN), (BD, ALONE))]
        rows.append(
            Row(
                f"{name}: {KNOWN} - {UN}, {BD}",
                size,
                f"MSEP saved; 0 to {COST:g}% and 3 SE",
                "; ".join(f"{cost:+.2f}% (SE {error:.2f})" for cost, error in costs),
                all(-3 * error <= cost <= COST + 3 * error for cost, error in costs),
            )
        )
    return rows


def judge_gains(results: Sequence[Accuracy]) -> list[Row]:
    """A gain where heritabilities are unequal and traits are correlated."""
    rows = []
    for r in results:
        if not r.design.proportional and r.design.correlation > 0.5:
            gain, error = mean_error(r.gain(UN, BD, "msep")[:, -1])
            told = f"{gain:+.2f}% (SE {error:.2f})"
            what = f"accuracy, {r.design.name}: {UN} - {BD}"
            rows.append(Row(what, f"{r.sets} sets", "MSEP saved; above 3 SE", told, gain > 3 * error))
    return rows


def judge_known(known: Sequence[Known]) -> list[Row]:
    """Under both relationships no gain where there can be none; without relatives no more than the formula allows."""
    rows = []
    for r in known:
        name, size = f"accuracy, known covariances, {r.reading}", f"{r.best.size} sets"
        what = f"{name}: with and without correlations"
        rows.append(Row(what, size, f"largest difference; {ROUNDING:g}", f"{r.gain:.1g}", r.gain < ROUNDING))
    first, bound = known[0], bound_prediction(1.0, SIZES["envs"] - 1)
    level, error = mean_error(first.pure)
    rows.append(
        Row(
            f"accuracy, known covariances, {first.reading}: no residual",
            f"{first.pure.size} sets",
            f"Pearson's correlation; {bound:.3f} and 3 SE at most",
            f"{level:.3f} (SE {error:.3f})",
            level <= bound + 3 * error,
        )
    )
    return rows


def run_quick(options: Options) -> list[Row]:
    """Both designs at the high correlation, few sets: too few for a gain, enough for predictions that are off."""
    designs = [design for design in DESIGNS if design.correlation > 0.5]
    return judge(run_sets(options, designs, QUICK_SETS, QUICK_PARTITIONS, kept=False))


def run_full(options: Options) -> list[Row]:
    """All designs."""
    return write_sets(options, SETS)


def write_sets(options: Options, sets: int) -> list[Row]:
    """Run a number of sets, and write figure and tables."""
    began = time.perf_counter()
    results = run_sets(options, DESIGNS, sets, PARTITIONS, kept=True)
    known = run_known(options)
    rows = judge(results) + judge_gains(results) + judge_known(known)
    write_figure(options, "accuracy", draw_gains(results))
    write_tables(options, "accuracy", rows, list_tables(results, known), time.perf_counter() - began)
    return rows


register("accuracy", run_quick, run_full)
