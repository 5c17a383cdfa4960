"""Simulation-based calibration of every variant and sampler, with coverage of held-out plots.

The instrument is `bmtme.testing.sbc`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.testing.sbc import PATIENCE, SLOW, Study, collect_replicates, make_study, run_study
from bmtme.testing.uniformity import Calibration, combine_p, find_band
from validation.registry import LEVEL, Options, Row, make_table, register, report_progress, write_report

#: Warm-up and thinning: gibbs mixes many times more slowly, and sweeps many times faster.
CHAINS: dict[str, dict[str, int]] = {"collapsed": {}, "gibbs": {"tune": 4000, "thin": 150}}
#: The second environment has no record at all.
UNSEEN = (
    ("01", "01", "01 0", "-", "1 01", "01", "0", "01"),
    ("-",) * 8,
    ("0", "01", "0", "1 0", "01", "01", "0", "1"),
)

VARIANTS: dict[str, dict[str, Any]] = {
    "unstructured": {"shape": "full"},
    "diagonal": {"shape": "diagonal"},
    "standard": {"shape": "scalar"},
    "unstructured-iw": {"shape": "full", "family": "inverse-wishart"},
    "standard-paper": {"shape": "scalar", "means": "paper"},
    "unstructured-unseen": {"shape": "full", "design": UNSEEN},
}
#: (variant, sampler, replicates)
QUICK = [
    ("unstructured", "collapsed", 120),
    ("diagonal", "collapsed", 120),
    ("standard", "collapsed", 120),
    ("unstructured", "gibbs", 80),
]
FULL = [
    *[(variant, "collapsed", 1000) for variant in ("unstructured", "diagonal", "standard")],
    *[(variant, "gibbs", 1000) for variant in ("unstructured", "diagonal", "standard")],
    *[(variant, "collapsed", 1000) for variant in ("unstructured-iw", "standard-paper", "unstructured-unseen")],
]


@dataclass(frozen=True)
class Result:
    """One variant under one sampler."""

    variant: str
    sampler: str
    study: Study
    n: int
    calibration: Calibration
    ranks: list[dict[str, Any]]
    coverage: list[dict[str, Any]]

    @property
    def uniform(self) -> float:
        """p-value of uniformity, over all quantities and both tests."""
        return combine_p([row[key] for row in self.ranks for key in ("p_ecdf", "p_chi2")])

    @property
    def covers(self) -> float:
        """p-value of coverage, over all held-out plots."""
        return combine_p([row["p"] for row in self.coverage])


def run_variant(options: Options, variant: str, sampler: str, n: int, keep: bool) -> Result:
    """Run a variant, or go on with it."""
    study = make_study(sampler, **CHAINS[sampler], **VARIANTS[variant])
    path = options.replicates / f"sbc-{variant}-{sampler}.jsonl" if keep else None
    what = f"calibration, {variant}, {sampler}"
    replicates = run_study(study, n, path, seed=options.seed, cores=options.cores, report=report_progress(what))
    calibration = collect_replicates(study, replicates)
    return Result(variant, sampler, study, n, calibration, calibration.uniformity(), calibration.coverage())


def list_rows(r: Result) -> list[Row]:
    """Uniformity and coverage of one variant."""
    share, error = r.calibration.overall_coverage()
    whole = r.calibration.failed == 0
    size = f"{r.n} replicates" + (f", {r.calibration.failed} FAILED" if not whole else "")
    m = 2 * len(r.ranks)
    name = f"{r.variant}, {r.sampler}"
    uniform = whole and r.uniform > LEVEL
    return [
        Row(f"calibration: {name}", size, f"smallest p of {m} (x {m})", f"{r.uniform:.2g}", uniform),
        Row(
            f"held-out plots: {name}",
            f"{r.calibration.covered.size} plots",
            f"in 90% intervals; p (x {len(r.coverage)})",
            f"{100 * share:.1f} +- {100 * error:.1f}%; {r.covers:.2g}",
            r.covers > LEVEL,
        ),
    ]


def run_quick(options: Options) -> list[Row]:
    """The three structures, a tenth of the full size."""
    rows = []
    for variant, sampler, n in QUICK:
        rows += list_rows(run_variant(options, variant, sampler, n, keep=False))
    return rows


def run_full(options: Options) -> list[Row]:
    """Everything, written to ``sbc.md`` after every variant."""
    results: list[Result] = []
    for variant, sampler, n in FULL:
        results.append(run_variant(options, variant, sampler, n, keep=True))
        write_report(options, "sbc", "Simulation-based calibration", describe(results))
    return [row for r in results for row in list_rows(r)]


def describe(results: list[Result]) -> str:
    """The results as Markdown."""
    study, n = results[0].study, results[0].n
    low, high = find_band(n, study.ranked + 1)
    middle = study.ranked // 2
    width = (high[middle] - low[middle]) / 2 / n
    lines = []
    for r in results:
        p = np.array([[row["p_ecdf"], row["p_chi2"]] for row in r.ranks])
        share, error = r.calibration.overall_coverage()
        lines.append(
            (
                r.variant,
                r.sampler,
                str(r.n),
                str(len(p)),
                f"{r.uniform:.2g}",
                f"{int((p[:, 0] < 0.05).sum())} ({0.05 * len(p):.1f})",
                f"{100 * share:.1f} +- {100 * error:.1f}%",
                f"{r.covers:.2g}",
                f"{r.calibration.again}",
                f"{100 * r.calibration.diverging:.2f}%",
                str(r.calibration.failed),
            )
        )
    head = (
        "variant", "sampler", "replicates", "quantities", "p uniform", "outside 95% band (expected)",
        "90% intervals cover", "p coverage", "run again", "divergent draws", "failed",
    )  # fmt: skip
    left = len(FULL) - len(results)
    rest = f"The same command goes on with the {left} variants that are left.\n\n" if left else ""
    sections = "\n".join(describe_one(r) for r in results)
    return f"""
Unknowns are drawn from proper priors (HalfT(4, 1), or inverse-Wishart with p + 4 degrees of freedom; mu ~ N(m, 1)),
data given them, for ten lines in three environments with two traits: cells without a plot, traits missing within
records, one to three plots a cell, a column without a record, two clones, and one more line that has a relationship but
no record. A chain that starts anywhere is run on them, and the truth is ranked among {study.ranked} of its draws
(`bmtme.testing.sbc`).

- Ranks: ECDF with the simultaneous band of Säilynoja, Bürkner & Vehtari (2022), exact p-value of the largest departure,
  and chi-square. `p uniform` and `p coverage` are the smallest p-value times the number of comparisons; a check fails
  below {LEVEL:g}.
- Monte Carlo error: with {n} replicates the 95% band allows the ECDF to be off by {width:.3f} in the middle; the share
  of replicates in which a held-out plot is covered has a binomial error of {100 * math.sqrt(0.09 / n):.1f}%. The error
  given for all plots together counts those of a replicate as correlated.
- Thinning: collapsed {chain_text("collapsed", results)}; gibbs {chain_text("gibbs", results)}.
  Where a chain had fewer than {SLOW} effective draws per ranked draw for some quantity, a fresh one {PATIENCE} times as
  long and as much thinned took its place (`run again`), whatever it looked like: mostly prior draws with a residual
  variance far below the genetic one, where the imputation of unseen plots mixes slowly. `effective` is the number of
  effective draws per ranked draw (median, and in brackets the 5% quantile over replicates); `widening` is by how much
  the autocorrelation left raises the variance of the rank, whose own Monte Carlo error is {math.sqrt(0.8 / n):.3f}.

{make_table(head, lines)}

{rest}{sections}
"""


def chain_text(sampler: str, results: list[Result]) -> str:
    """Warm-up and thinning of a sampler."""
    for r in results:
        if r.sampler == sampler:
            return f"{r.study.tune} sweeps of warm-up, then a draw every {r.study.thin}"
    return "not run"


def describe_one(r: Result) -> str:
    """The tables of one variant."""
    head = ("quantity", "p ECDF", "p chi2", "largest departure", "mean rank", "effective", "widening")
    ranks = [
        (
            row["quantity"],
            f"{row['p_ecdf']:.3f}",
            f"{row['p_chi2']:.3f}",
            f"{row['departure']:.3f}",
            f"{row['mean']:.3f}",
            f"{row['efficiency']:.1f} ({row['low']:.1f})",
            f"{row['excess']:.3f}",
        )
        for row in r.ranks
    ]
    plots = [
        (
            row["plot"],
            f"{row['covered']} of {row['n']}",
            f"{100 * row['share']:.1f} +- {100 * row['error']:.1f}%",
            f"{row['p']:.2g}",
        )
        for row in r.coverage
    ]
    return f"""## {r.variant}, {r.sampler}

{make_table(head, ranks)}

{make_table(("held-out plot", "covered", "share +- binomial error", "p"), plots)}
"""


register("sbc", run_quick, run_full)
