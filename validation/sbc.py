"""Simulation-based calibration of every variant, sampler and structure, with coverage of held-out plots.

The instrument is `bmtme.testing.sbc`. Two studies: ``sbc`` of the paper's model, ``sbc-structures`` of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.structures.by_env import ByEnv
from bmtme.structures.common_correlation import CommonCorrelation
from bmtme.structures.environments_by_trait import EnvironmentsByTrait
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.scaled import Scaled
from bmtme.structures.separable import Separable
from bmtme.structures.tied import Tied
from bmtme.testing.replication import run_study
from bmtme.testing.sbc import MEANS, SINGLE, Study, collect_replicates, make_pair_study, make_study
from bmtme.testing.uniformity import Calibration, combine_p
from validation.registry import LEVEL, Options, Row, make_table, register, report_progress, write_tables

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
#: Genetic structures with the residuals of the paper, residuals with the paper's C, and pairs of both.
PAIRS: dict[str, dict[str, Any]] = {
    "main and interaction": {"genetic": MainAndInteraction(k="equal"), "residual": Shared()},
    "main and interaction of free size": {"genetic": MainAndInteraction(k="free"), "residual": Shared()},
    "environments by trait": {"genetic": EnvironmentsByTrait(), "residual": Shared()},
    "separable": {"genetic": Separable(), "residual": Shared()},
    "one factor": {"genetic": FactorAnalytic(1), "residual": Shared()},
    "two factors": {"genetic": FactorAnalytic(2), "residual": Shared()},
    "free": {"genetic": Free(), "residual": Shared()},
    "scaled": {"genetic": Proportional(), "residual": Scaled()},
    "common correlation": {"genetic": Proportional(), "residual": CommonCorrelation()},
    "by environment": {"genetic": Proportional(), "residual": ByEnv()},
    "separable, scaled": {"genetic": Separable(), "residual": Scaled()},
    "line effect": {"genetic": Proportional(), "residual": Shared(), "line_effect": True},
    "means of plots": {"genetic": Proportional(), "residual": Shared(), "design": MEANS},
    "means of plots, by environment": {"genetic": Proportional(), "residual": ByEnv(), "design": MEANS},
    "known errors": {"genetic": Proportional(), "residual": Tied(), "errors": True},
    "known covariances": {"genetic": Proportional(), "residual": Tied(), "joint": True, "design": SINGLE},
    "known covariances, by environment": {
        "genetic": Proportional(),
        "residual": ByEnv(),
        "joint": True,
        "design": SINGLE,
    },
    "blocks": {"genetic": Proportional(), "residual": Shared(), "blocks": 2},
    "blocks, covariate": {"genetic": Proportional(), "residual": ByEnv(), "blocks": 1, "covariates": 1},
}
#: (variant, sampler, replicates)
Plan = Sequence[tuple[str, str, int]]
QUICK: Plan = [
    ("unstructured", "collapsed", 120),
    ("diagonal", "collapsed", 120),
    ("standard", "collapsed", 120),
    ("unstructured", "gibbs", 80),
]
FULL: Plan = [
    *[(variant, "collapsed", 1000) for variant in ("unstructured", "diagonal", "standard")],
    *[(variant, "gibbs", 1000) for variant in ("unstructured", "diagonal", "standard")],
    *[(variant, "collapsed", 1000) for variant in ("unstructured-iw", "standard-paper", "unstructured-unseen")],
]
QUICK_PAIRS: Plan = [(name, "collapsed", 40) for name in PAIRS]
FULL_PAIRS: Plan = [(name, "collapsed", 1000) for name in PAIRS]


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
    if variant in PAIRS:
        study = make_pair_study(**PAIRS[variant])
    else:
        study = make_study(sampler, **CHAINS[sampler], **VARIANTS[variant])
    path = options.replicates / f"sbc-{variant.replace(', ', '-').replace(' ', '-')}-{sampler}.jsonl" if keep else None
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


def run_quick(options: Options, plan: Plan) -> list[Row]:
    """A small part of the full size."""
    rows = []
    for variant, sampler, n in plan:
        rows += list_rows(run_variant(options, variant, sampler, n, keep=False))
    return rows


def run_full(options: Options, name: str, plan: Plan) -> list[Row]:
    """Everything, with tables that are written after every variant."""
    results: list[Result] = []
    rows: list[Row] = []
    for variant, sampler, n in plan:
        results.append(run_variant(options, variant, sampler, n, keep=True))
        rows += list_rows(results[-1])
        write_tables(options, name, rows, list_tables(results))
    return rows


def list_tables(results: list[Result]) -> dict[str, str]:
    """One row a variant; then ranks and held-out plots of each."""
    lines, tables = [], {}
    for r in results:
        p = np.array([[row["p_ecdf"], row["p_chi2"]] for row in r.ranks])
        share, error = r.calibration.overall_coverage()
        outside = f"{int((p[:, 0] < 0.05).sum())} ({0.05 * len(p):.1f})"
        lines.append((
            r.variant, r.sampler, str(r.n), str(len(p)), f"{r.uniform:.2g}", outside,
            f"{100 * share:.1f} +- {100 * error:.1f}%", f"{r.covers:.2g}", f"{r.calibration.again}",
            f"{100 * r.calibration.diverging:.2f}%", str(r.calibration.failed),
        ))  # fmt: skip
        tables[f"{r.variant}, {r.sampler}: ranks"] = tabulate_ranks(r)
        tables[f"{r.variant}, {r.sampler}: held-out plots"] = tabulate_plots(r)
    head = (
        "variant", "sampler", "replicates", "quantities", "p uniform", "outside 95% band (expected)",
        "90% intervals cover", "p coverage", "run again", "divergent draws", "failed",
    )  # fmt: skip
    return {"Variants": make_table(head, lines), **tables}


def tabulate_ranks(r: Result) -> str:
    """Every quantity of one variant."""
    head = ("quantity", "p ECDF", "p chi2", "largest departure", "mean rank", "effective", "widening")
    return make_table(head, [
        (
            row["quantity"], f"{row['p_ecdf']:.3f}", f"{row['p_chi2']:.3f}", f"{row['departure']:.3f}",
            f"{row['mean']:.3f}", f"{row['efficiency']:.1f} ({row['low']:.1f})", f"{row['excess']:.3f}",
        )
        for row in r.ranks
    ])  # fmt: skip


def tabulate_plots(r: Result) -> str:
    """Every held-out plot of one variant."""
    return make_table(("held-out plot", "covered", "share +- binomial error", "p"), [
        (
            row["plot"], f"{row['covered']} of {row['n']}", f"{100 * row['share']:.1f} +- {100 * row['error']:.1f}%",
            f"{row['p']:.2g}",
        )
        for row in r.coverage
    ])  # fmt: skip


def run_quick_paper(options: Options) -> list[Row]:
    """Quick look at the paper's model."""
    return run_quick(options, QUICK)


def run_full_paper(options: Options) -> list[Row]:
    """The paper's model in all variants, under both samplers."""
    return run_full(options, "sbc", FULL)


def run_quick_pairs(options: Options) -> list[Row]:
    """Quick look at the structures."""
    return run_quick(options, QUICK_PAIRS)


def run_full_pairs(options: Options) -> list[Row]:
    """Every structure."""
    return run_full(options, "sbc-structures", FULL_PAIRS)


register("sbc", run_quick_paper, run_full_paper)
register("sbc-structures", run_quick_pairs, run_full_pairs)
