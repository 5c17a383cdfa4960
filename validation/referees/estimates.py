"""Posterior means with their Monte Carlo errors, by one program and another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray

from bmtme.results.posterior import import_arviz
from bmtme.results.summary import diagnose
from bmtme.testing.uniformity import combine_z

#: Colours of bmtme and of the program beside it, the same on every page.
OURS, THEIRS = "#0072B2", "#D55E00"
#: Fewer effective draws of any mean, by either program, give no Monte Carlo error to speak of: such a comparison fails
#: too. The short runs of `quick` have fewer.
ENOUGH, ENOUGH_QUICK = 200, 40
#: Chains of one program that differ by more have not found the same posterior.
MOST_R_HAT = 1.02


@dataclass(frozen=True)
class Estimate:
    """Of each entry (k,): posterior mean, SD, 90% interval; Monte Carlo error and effective draws of the mean; R-hat.

    R-hat is NaN where there is one chain.
    """

    mean: np.ndarray
    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    error: np.ndarray
    effective: np.ndarray
    r_hat: np.ndarray

    def show(self, k: int, digits: int = 2) -> str:
        """Mean and interval of an entry."""
        return f"{self.mean[k]:.{digits}f} ({self.lower[k]:.{digits}f} to {self.upper[k]:.{digits}f})"

    def show_error(self, k: int) -> str:
        """Mean and Monte Carlo error of an entry."""
        return f"{self.mean[k]:.3f} ± {self.error[k]:.4f}"


def count_effective(draws: np.ndarray) -> np.ndarray:
    """Effective draws for the means of draws (entry, chain, draw)."""
    data = xarray.Dataset({"x": (("chain", "draw", "entry"), np.moveaxis(draws, 0, 2))})
    return np.asarray(import_arviz().ess(data, method="mean")["x"].values)


def estimate(draws: np.ndarray) -> Estimate:
    """From draws (chain, draw, k)."""
    flat = draws.reshape(-1, draws.shape[-1])
    entries = np.moveaxis(draws, 2, 0)
    effective = count_effective(entries)
    sd = flat.std(axis=0, ddof=1)
    lower, upper = np.quantile(flat, (0.05, 0.95), axis=0)
    return Estimate(flat.mean(axis=0), sd, lower, upper, sd / np.sqrt(effective), effective, diagnose(entries)[2])


def take_triangle(draws: np.ndarray) -> np.ndarray:
    """Lower triangles, column by column, of matrices (..., p, p)."""
    columns, rows = np.triu_indices(draws.shape[-1])
    return draws[..., rows, columns]


def name_triangle(names: Sequence[str]) -> list[str]:
    """The entries of `take_triangle`: a name for a variance, a pair for a covariance."""
    columns, rows = np.triu_indices(len(names))
    return [names[a] if a == b else f"{names[b]}, {names[a]}" for a, b in zip(rows, columns, strict=True)]


def compare(one: Estimate, other: Estimate) -> tuple[np.ndarray, float]:
    """Differences of the means in Monte Carlo errors, and the smallest p-value times their number."""
    z = (one.mean - other.mean) / np.hypot(one.error, other.error)
    return z, combine_z(z)


def describe_size(one: Estimate, other: Estimate) -> str:
    """How many means are compared, and on how many draws they rest."""
    fewest = min(one.effective.min(), other.effective.min())
    r_hat = np.concatenate([one.r_hat, other.r_hat])
    r_hat = r_hat[~np.isnan(r_hat)]
    return f"{len(one.mean)} means, least effective draws {fewest:.0f}" + (
        f", R-hat up to {r_hat.max():.3f}" if r_hat.size else ""
    )


def is_settled(*estimates: Estimate, enough: float = ENOUGH) -> bool:
    """Whether all means rest on enough effective draws, and on chains that agree with each other."""
    return all(e.effective.min() >= enough and not (e.r_hat >= MOST_R_HAT).any() for e in estimates)
