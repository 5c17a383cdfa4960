"""Known parameters recovered from simulated data, in the spirit of the paper's Table 1.

Three environments, three traits, 80 lines, 20 replicates, all correlations 0.85. What the paper's text leaves open (the
variances, and how its relationship combines the identity and a matrix of ones) is chosen here, and said.
"""

from __future__ import annotations

import time

from validation.paper.pages import reflow
from validation.paper.published import TABLE_1_SETS
from validation.paper.recovery_figure import draw_recovery
from validation.paper.recovery_findings import COVARIANCES, SHIFT, SLACK, Results
from validation.paper.recovery_page import describe
from validation.paper.recovery_sets import GROUPS, READINGS, run_sets
from validation.registry import Options, Row, register, write_figure, write_report

#: Sets of each reading; more than the paper's, as its bias of Sigma_E is small.
FULL = 4 * TABLE_1_SETS
QUICK = 20


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
    """All sets under both readings, written to ``recovery.md``."""
    return write_sets(options, FULL)


def write_sets(options: Options, sets: int) -> list[Row]:
    """Run a number of sets, and write the page."""
    began = time.perf_counter()
    results = run_sets(options, READINGS, sets, kept=True)
    figure = write_figure(options, "recovery", draw_recovery(results))
    text = reflow(describe(results, figure).strip())
    title = "Known parameters recovered: Table 1 of the paper"
    write_report(options, "recovery", title, text, time.perf_counter() - began)
    return judge(results)


register("recovery", run_quick, run_full)
