"""Joint-distribution tests of whole sweeps at depth: every variant, layout and sampler (see `bmtme.testing.geweke`)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bmtme.testing.cases import make_case
from bmtme.testing.geweke import (
    DENSE,
    SPARSE,
    Comparison,
    compare_joint,
    draw_replicates,
    sweep_collapsed,
    sweep_gibbs,
    sweep_stepwise,
)
from validation.registry import LEVEL, Options, Row, make_table, register, report_progress, write_tables

SAMPLERS = {"collapsed": sweep_collapsed, "gibbs": sweep_gibbs, "stepwise": sweep_stepwise}
#: The second environment has no record at all.
UNSEEN = (SPARSE[0], ("-",) * 8, ("0", "01", "0", "1 0", "01", "01", "0", "1"))

VARIANTS = {
    "unstructured": (SPARSE, {"shape": "full"}),
    "diagonal": (SPARSE, {"shape": "diagonal"}),
    "standard": (SPARSE, {"shape": "scalar"}),
    "unstructured, inverse-Wishart": (SPARSE, {"shape": "full", "family": "inverse-wishart"}),
    "diagonal, inverse-Wishart": (SPARSE, {"shape": "diagonal", "family": "inverse-wishart"}),
    "standard, inverse-Wishart": (SPARSE, {"shape": "scalar", "family": "inverse-wishart"}),
    "unstructured, paper's means": (SPARSE, {"shape": "full", "means": "paper"}),
    "standard, paper's means": (SPARSE, {"shape": "scalar", "means": "paper"}),
    "unstructured, every column": (DENSE, {"shape": "full"}),
    "diagonal, identity relationship": (DENSE, {"shape": "diagonal", "identity": True}),
    "unstructured, an environment unseen": (UNSEEN, {"shape": "full"}),
    "unstructured, one environment": ((DENSE[0][:7],), {"shape": "full"}),
}
QUICK = ("unstructured", "diagonal", "standard", "unstructured, every column")


@dataclass(frozen=True)
class Result:
    """One variant under one sampler."""

    variant: str
    sampler: str
    comparison: Comparison


def compare_variants(variants: tuple[str, ...], size: int, sweeps: int, seed: int) -> list[Result]:
    """Every sampler on the same replicates of each variant."""
    results = []
    report = report_progress("joint-distribution tests")
    for name in variants:
        design, options = VARIANTS[name]
        case = make_case(design, mu_sd=1.0, nu=4.0, scale=1.0, **options)  # type: ignore[arg-type]
        replicates = draw_replicates(case, size, seed)
        for sampler, run in SAMPLERS.items():
            results.append(Result(name, sampler, compare_joint(replicates, run, sweeps, seed + 1)))
            report(len(results), len(variants) * len(SAMPLERS))
    return results


def list_rows(results: list[Result], size: int, sweeps: int) -> list[Row]:
    """One row a variant and sampler."""
    return [
        Row(
            f"joint distribution: {r.variant}, {r.sampler}",
            f"{size} replicates x {sweeps} sweeps",
            f"smallest p of {len(r.comparison.z)} (x {len(r.comparison.z)})",
            f"{r.comparison.p_value:.2g}",
            r.comparison.p_value > LEVEL,
        )
        for r in results
    ]


def run_quick(options: Options) -> list[Row]:
    """The three structures and the Kronecker layout."""
    return list_rows(compare_variants(QUICK, 2000, 5, options.seed), 2000, 5)


def run_full(options: Options, size: int = 20000, sweeps: int = 5) -> list[Row]:
    """Everything."""
    began = time.perf_counter()
    results = compare_variants(tuple(VARIANTS), size, sweeps, options.seed)
    lines = []
    for r in results:
        z = r.comparison.z
        spread = f"{float(np.sqrt(np.mean(z**2))):.2f}"
        lines.append(
            (r.variant, r.sampler, str(len(z)), f"{np.abs(z).max():.2f}", spread, f"{r.comparison.p_value:.2g}",
             r.comparison.worst(2))
        )  # fmt: skip
    head = ("variant", "sampler", "comparisons", "largest abs z", "RMS of z", "p (Bonferroni)", "the two largest")
    rows = list_rows(results, size, sweeps)
    write_tables(options, "geweke", rows, {"z-scores": make_table(head, lines)}, time.perf_counter() - began)
    return rows


register("geweke", run_quick, run_full)
