"""Known parameters recovered from simulated data, in the spirit of the paper's Table 1.

Three environments, three traits, 80 lines, 20 replicates, all correlations 0.85. What the paper's text leaves open (the
variances, and how its relationship combines the identity and a matrix of ones) is chosen here, and said.
"""

from __future__ import annotations

import time

from validation.paper.published import TABLE_1_SETS
from validation.paper.recovery_sets import COVARIANCES, GROUPS, READINGS, run_sets
from validation.paper.recovery_tables import Results, draw_recovery, list_tables
from validation.registry import Options, Row, register, write_figure, write_tables

#: Sets of each reading; more than the paper's, as its bias of Sigma_E is small.
FULL = 4 * TABLE_1_SETS
QUICK = 20
#: 90% intervals cover 90% of truths drawn from the prior, which the study `sbc` tests. These truths are fixed, so that
#: a prior may help or harm: what intervals an eighth too narrow, or off by half a posterior SD, would do is let pass.
SLACK = 0.05
#: By so many posterior standard deviations may the medians of a group be off in the mean.
SHIFT = 0.25


def judge(results: Results) -> list[Row]:
    """Coverage of every group, and bias of the covariances' medians."""
    rows = []
    for (reading, priors), r in results.items():
        size = f"{r.sets} sets"
        for group in GROUPS:
            share, error = r.coverage(group)
            rows.append(
                Row(
                    f"recovery, {reading}, {priors} priors: {group}",
                    size,
                    f"90% intervals cover; 90 +- {100 * SLACK:g}% and 3 SE",
                    f"{100 * share:.1f}% (SE {100 * error:.1f})",
                    bool(abs(share - 0.9) <= SLACK + 3 * error),
                )
            )
        shifts = [r.shift(group) for group in COVARIANCES]
        rows.append(
            Row(
                f"recovery, {reading}, {priors} priors: medians of {', '.join(COVARIANCES)}",
                size,
                f"bias in posterior SDs; {SHIFT:g} and 3 SE",
                "; ".join(f"{shift:+.2f} (SE {error:.2f})" for shift, error in shifts),
                all(abs(shift) <= SHIFT + 3 * error for shift, error in shifts),
            )
        )
    return rows


def run_quick(options: Options) -> list[Row]:
    """One reading, few sets: enough for an estimate that is far off."""
    return judge(run_sets(options, READINGS[:1], QUICK, kept=False))


def run_full(options: Options) -> list[Row]:
    """All sets under both readings."""
    return write_sets(options, FULL)


def write_sets(options: Options, sets: int) -> list[Row]:
    """Run a number of sets, and write figure and tables."""
    began = time.perf_counter()
    results = run_sets(options, READINGS, sets, kept=True)
    rows = judge(results)
    write_figure(options, "recovery", draw_recovery(results))
    write_tables(options, "recovery", rows, list_tables(results), time.perf_counter() - began)
    return rows


register("recovery", run_quick, run_full)
