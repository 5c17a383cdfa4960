"""Does a fit of each structure find the truth of trials that were simulated from that structure?

Truths are drawn around the paper's covariances (`bmtme.simulate`), not from the priors: intervals need not hold 90% of
them exactly, but about as many, and standardised errors (posterior mean less truth, in posterior standard deviations)
have a root mean square of about 1. Whether a sampler has the right posterior is for `sbc-structures`, where truths are
from the priors; this is the whole way of a user, from a table to a summary, with another scale of every trait.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import bmtme
from validation.registry import Options, Row, make_table, register, report_progress, write_tables

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
#: Shares of truths in 90% intervals, and root mean squares of standardised errors, that count as found.
SHARES, MOST = (0.82, 0.97), 1.3
SETS, QUICK_SETS = 12, 1


@dataclass(frozen=True)
class Found:
    """Estimates of one model on its sets: rows of the summary, with the truth and the set."""

    model: str
    table: pd.DataFrame

    @property
    def errors(self) -> pd.Series:
        """Standardised."""
        return (self.table["mean"] - self.table["truth"]) / self.table["sd"]

    @property
    def covered(self) -> pd.Series:
        """Whether the 90% interval holds the truth."""
        return (self.table["lower"] <= self.table["truth"]) & (self.table["truth"] <= self.table["upper"])

    def share(self) -> tuple[float, float]:
        """Covered, and its standard error over sets."""
        by_set = self.covered.groupby(self.table["set"]).mean()
        return float(by_set.mean()), float(by_set.std(ddof=1) / np.sqrt(len(by_set))) if len(by_set) > 1 else np.nan


def fit_sets(model: str, words: Mapping[str, Any], sets: int, options: Options) -> Found:
    """Simulate, fit, and put the truth beside the summary."""
    parts = []
    report = report_progress(f"recovery, {model}")
    for number in range(sets):
        simulation = bmtme.simulate(**SIZE, seed=options.seed + number, **words)  # type: ignore[arg-type]
        trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=TRAITS, rep="rep")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            fit = bmtme.fit(
                trial, simulation.relationship, bmtme.BMTME(**words), seed=number, cores=options.cores, **CHAINS
            )
        summary = fit.summary()
        truth = simulation.parameters()
        assert set(truth.index) == set(summary.index), set(truth.index) ^ set(summary.index)
        parts.append(summary.assign(truth=truth, set=number))
        report(number + 1, sets)
    table = pd.concat(parts)
    table["quantity"] = table.index.str.split("[", regex=False).str[0]
    return Found(model, table)


def list_rows(found: Found, sets: int) -> list[Row]:
    """Coverage and errors of one model."""
    share, error = found.share()
    spread = float(np.sqrt((found.errors**2).mean()))
    size = f"{sets} set{'s' if sets > 1 else ''}, {len(found.table)} truths"
    beside = "" if np.isnan(error) else f" +- {100 * error:.1f}"
    low, high = SHARES if sets > 2 else (0.6, 1.0)
    return [
        Row(f"truth in intervals: {found.model}", size, "in 90% intervals", f"{100 * share:.1f}{beside}%",
            low <= share <= high),
        Row(f"errors: {found.model}", size, "root mean square, standardised", f"{spread:.2f}",
            spread < (MOST if sets > 2 else 2.0)),
    ]  # fmt: skip


def run_quick(options: Options) -> list[Row]:
    """One set of each, with wide bounds."""
    return [row for name, words in MODELS.items() for row in list_rows(fit_sets(name, words, QUICK_SETS, options), 1)]


def run_full(options: Options) -> list[Row]:
    """Every model on sets of its own."""
    began = time.perf_counter()
    rows, lines = [], []
    for name, words in MODELS.items():
        found = fit_sets(name, words, SETS, options)
        rows += list_rows(found, SETS)
        errors, covered = found.errors, found.covered
        for quantity, index in found.table.reset_index(drop=True).groupby("quantity", sort=False).groups.items():
            own, inside = errors.to_numpy()[index], covered.to_numpy()[index]
            lines.append((
                name, str(quantity), str(len(own)), f"{100 * inside.mean():.0f}%", f"{np.sqrt((own**2).mean()):.2f}",
                f"{own.mean():+.2f}", f"{found.table['r_hat'].to_numpy()[index].max():.3f}",
            ))  # fmt: skip
    head = ("model", "quantity", "truths", "in 90%", "RMS error", "mean error", "largest R-hat")
    tables = {"By quantity": make_table(head, lines)}
    write_tables(options, "structures", rows, tables, time.perf_counter() - began)
    return rows


register("structures", run_quick, run_full)
