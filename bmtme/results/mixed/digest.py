"""A mixed model's posterior in short: a row of the summary for each parameter, and what speaks against the chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.results import quantities
from bmtme.results.entries import type_columns
from bmtme.results.summary import (
    GOOD_ESS,
    GOOD_R_HAT,
    INTERVAL,
    Digest,
    diagnose,
    note_diagnostics,
    note_width,
    stretch_draws,
)

if TYPE_CHECKING:
    from bmtme.engines.mixed.problem import Problem
    from bmtme.model.mixed.design import Layout
    from bmtme.results.mixed.components import Named

__all__ = ["count_contrasts", "list_faults", "summarise"]

#: What a parameter of these kinds lies between.
_RANGES = {"correlation": (-1.0, 1.0), "autocorrelation": (-1.0, 1.0)}
#: Divergent moves beyond this share of the draws are told.
SOME_DIVERGED = 0.01
#: Levels of which it is worth while to count contrasts: with more, every posterior has a standard deviation.
FEW = 6
#: Singular values of contrasts below this, of the largest, are none.
NONE = 1e-8


@dataclass(frozen=True)
class HeavyDigest(Digest):
    """Of a variance whose posterior may have no moments."""

    has_mean: bool
    has_sd: bool

    @property
    def mean(self) -> float:
        return float(self.flat.mean()) if self.has_mean else float("nan")

    @property
    def sd(self) -> float:
        return super().sd if self.has_sd else float("nan")


def count_contrasts(named: Sequence[Named], layout: Layout, problem: Problem) -> list[int | None]:
    """Of each variance of a random term how many contrasts of its effects the records tell beside fixed effects.

    None where there are more than a few, and of other parameters.
    """
    found: list[int | None] = []
    X = problem.X[:, problem.kept]
    for each in named:
        place = next((k for k, design in enumerate(layout.random) if design.name == each.term), None)
        if each.is_residual or each.kind != "variance" or place is None:
            found.append(None)
            continue
        design, Z = layout.random[place], problem.designs[place]
        over = next((k for k, axis in enumerate(design.axes) if axis.axis.has_variance), None)
        if each.levels and over is not None:
            sizes = [len(axis.levels) for axis in design.axes]
            codes = np.unravel_index(np.arange(Z.shape[1]), sizes)[over]
            Z = Z[:, np.flatnonzero(codes == design.axes[over].levels.index(each.levels[0]))]
        used = np.flatnonzero(np.bincount(Z.nonzero()[1], minlength=Z.shape[1]))
        if len(used) > FEW:
            found.append(None)
            continue
        own = Z[:, used].toarray()
        if problem.rank:
            own = own - X @ np.linalg.solve((X.T @ X).toarray(), X.T @ own)
        values = np.linalg.svd(own, compute_uv=False)
        found.append(int((values > NONE * max(float(np.abs(Z).max()), 1e-300)).sum()) if len(used) else 0)
    return found


def summarise(
    draws: np.ndarray, named: Sequence[Named], contrasts: Sequence[int | None], nu: Mapping[str, float]
) -> pd.DataFrame:
    """The summary of (chain, draw, component), by term and parameter.

    Notes
    -----
    With a half-t standard deviation s of nu degrees of freedom, of effects of which the records tell d contrasts, the
    posterior of s falls as s^-(nu + 1 + d): that of the variance has a mean where nu + d > 2, and a standard deviation
    where nu + d > 4.
    """
    draws = np.moveaxis(draws, 2, 0)
    bulk, tail, r_hat = diagnose(draws)
    digests = []
    for k, each in enumerate(named):
        constant = bool(np.ptp(draws[k]) == 0)
        if constant:
            bulk[k] = tail[k] = r_hat[k] = np.nan
        flat = draws[k].ravel()
        interval = np.quantile(flat, INTERVAL)
        told = contrasts[k]
        tail_power = np.inf if told is None else nu[each.term] + told
        notes = []
        if tail_power <= 4:
            gone = "standard deviation" if tail_power > 2 else "mean"
            notes.append(f"median {np.median(flat):.4g}: too few levels for a {gone}")
        notes += note_width(_RANGES.get(each.kind), interval[1] - interval[0])
        notes += note_diagnostics(draws[k].shape, constant, bulk[k], tail[k], r_hat[k])
        digests.append(
            HeavyDigest(flat, interval, bulk[k], tail[k], r_hat[k], "; ".join(notes), tail_power > 2, tail_power > 4)
        )
    index = pd.MultiIndex.from_tuples([(each.term, each.parameter) for each in named], names=["term", "parameter"])
    columns = quantities.SUMMARY
    table = pd.DataFrame({column.name: [column.of(digest) for digest in digests] for column in columns}, index)
    return table.astype(type_columns(columns))


def list_faults(
    summary: pd.DataFrame, names: Sequence[str], settings: Mapping[str, Any], divergences: Sequence[int]
) -> list[str]:
    """What speaks against the chains, with what to do."""
    faults = []
    ess = summary[["ess_bulk", "ess_tail"]].min(axis=1).to_numpy()
    r_hat = summary["r_hat"].to_numpy()
    if not np.isfinite(ess).any():
        return ["Too few draws to judge."]
    worst = int(np.nanargmin(ess))
    if np.nanmin(ess) < GOOD_ESS:
        faults.append(
            f"Few effective draws: {names[worst]} has {ess[worst]:.0f}. Ask for more: "
            f"draws={stretch_draws(ess[worst]) * settings['draws']}."
        )
    if np.isfinite(r_hat).any() and np.nanmax(r_hat) > GOOD_R_HAT:
        far = int(np.nanargmax(r_hat))
        faults.append(f"The chains do NOT agree: R-hat of {names[far]} is {r_hat[far]:.3f}. Ask for more draws.")
    diverged = sum(divergences)
    if diverged > SOME_DIVERGED * settings["draws"] * settings["chains"]:
        faults.append(
            f"{diverged:,} moves diverged: give terms whose variance is near zero, or whose correlation is near "
            "its end, fewer parameters."
        )
    return faults
