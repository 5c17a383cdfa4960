"""Does a fit of each structure find the truth of trials that were simulated from that structure?

Truths are drawn around the paper's covariances (`bmtme.simulate`), not from the priors: intervals need not hold 90% of
them exactly, but about as many, and standardised errors (posterior mean less truth, in posterior standard deviations)
have a root mean square of about 1. Whether a sampler has the right posterior is for `sbc-structures`, where truths are
from the priors; this is the whole way of a user, from a table to a summary, with another scale of every trait.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import bmtme
from validation.registry import Options, Row, register, report_progress

MODELS: dict[str, dict[str, Any]] = {
    "paper": {},
    "main and interaction": {"genetic": bmtme.MainAndInteraction(k="equal")},
    "environments by trait": {"genetic": bmtme.EnvironmentsByTrait()},
    "separable": {"genetic": bmtme.Separable()},
    "one factor": {"genetic": bmtme.FactorAnalytic(1)},
    "two factors": {"genetic": bmtme.FactorAnalytic(2)},
    "free": {"genetic": bmtme.Free()},
    "scaled": {"residual": "scaled"},
    "common correlation": {"residual": "common_correlation"},
    "by environment": {"residual": "by_env"},
    "separable, scaled": {"genetic": bmtme.Separable(), "residual": "scaled"},
    "main and interaction, by environment": {"genetic": bmtme.MainAndInteraction(), "residual": "by_env"},
    "line effect": {"line_effect": True},
    "free, by environment, line effect": {"genetic": bmtme.Free(), "residual": "by_env", "line_effect": True},
}
TRAITS = ["T1", "T2"]
SIZE = {"lines": 100, "envs": 3, "traits": len(TRAITS), "reps": 2, "relationship": "markers", "missing": 0.1,
        "missing_traits": 0.05, "genetic_correlation": 0.4, "residual_correlation": 0.3}  # fmt: skip
CHAINS = {"draws": 1000, "tune": 700, "chains": 2, "progress": False}
#: Share of truths in 90% intervals, and root mean square of standardised errors, that count as found in one trial: of
#: some thirty truths that depend on each other.
FEWEST, MOST = 0.6, 2.0


def fit_one(words: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """The summary of a fit to a trial of the same structure, with the truth beside it."""
    simulation = bmtme.simulate(**SIZE, seed=options.seed, **words)  # type: ignore[arg-type]
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=TRAITS, rep="rep")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = bmtme.BMTME(rep_effect="none", **words)
        fit = bmtme.fit(trial, simulation.relationship, model, seed=0, cores=options.cores, **CHAINS)
    summary, truth = fit.summary(), simulation.parameters()
    assert set(truth.index) == set(summary.index), set(truth.index) ^ set(summary.index)
    return summary.assign(truth=truth)


def list_rows(model: str, found: pd.DataFrame) -> list[Row]:
    """Coverage and errors of one model."""
    errors = (found["mean"] - found["truth"]) / found["sd"]
    share = float(((found["lower"] <= found["truth"]) & (found["truth"] <= found["upper"])).mean())
    spread = float(np.sqrt((errors**2).mean()))
    size = f"{len(found)} truths"
    return [
        Row(f"truth in intervals: {model}", size, "in 90% intervals", f"{100 * share:.0f}%", share > FEWEST),
        Row(f"errors: {model}", size, "root mean square, standardised", f"{spread:.2f}", spread < MOST),
    ]


def run_quick(options: Options) -> list[Row]:
    """Every model on a trial of its own."""
    rows = []
    report = report_progress("truths")
    for number, (model, words) in enumerate(MODELS.items()):
        rows += list_rows(model, fit_one(words, options))
        report(number + 1, len(MODELS))
    return rows


register("truths", run_quick)
