"""Posterior means with their Monte Carlo errors, by one program and another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from bmtme.results.summary import diagnose

#: A comparison fails where its smallest p-value, times the number of means compared, is below this.
LEVEL = 1e-3
#: Fewer effective draws of any entry than this give no Monte Carlo error to speak of: such a comparison fails too.
ENOUGH = 30


@dataclass(frozen=True)
class Estimate:
    """Of each entry (k,): posterior mean, SD and 90% interval, Monte Carlo error of the mean, effective draws."""

    mean: np.ndarray
    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    error: np.ndarray
    effective: np.ndarray

    def show(self, k: int, digits: int = 2) -> str:
        """Mean and interval of an entry."""
        return f"{self.mean[k]:.{digits}f} ({self.lower[k]:.{digits}f} to {self.upper[k]:.{digits}f})"

    def show_error(self, k: int) -> str:
        """Mean and Monte Carlo error of an entry."""
        return f"{self.mean[k]:.3f} ± {self.error[k]:.4f}"


def estimate(draws: np.ndarray) -> Estimate:
    """From draws (chain, draw, k)."""
    flat = draws.reshape(-1, draws.shape[-1])
    effective = diagnose(np.moveaxis(draws, 2, 0))[0]
    sd = flat.std(axis=0, ddof=1)
    lower, upper = np.quantile(flat, (0.05, 0.95), axis=0)
    return Estimate(flat.mean(axis=0), sd, lower, upper, sd / np.sqrt(effective), effective)


def take_triangle(draws: np.ndarray) -> np.ndarray:
    """Lower triangles, column by column, of matrices (..., p, p)."""
    columns, rows = np.triu_indices(draws.shape[-1])
    return draws[..., rows, columns]


def name_triangle(names: Sequence[str]) -> list[str]:
    """The entries of `take_triangle`: a name for a variance, a pair for a covariance."""
    columns, rows = np.triu_indices(len(names))
    return [names[a] if a == b else f"{names[b]}, {names[a]}" for a, b in zip(rows, columns, strict=True)]


def find_smallest_p(z: np.ndarray) -> float:
    """Smallest p-value of standard normal differences, times their number (Bonferroni)."""
    return min(1.0, z.size * float(2 * norm.sf(np.abs(z).max())))


def compare(one: Estimate, other: Estimate) -> tuple[np.ndarray, float]:
    """Differences of the means in Monte Carlo errors, and the smallest p-value times their number."""
    z = (one.mean - other.mean) / np.hypot(one.error, other.error)
    return z, find_smallest_p(z)
