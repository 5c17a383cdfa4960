"""Are ranks uniform? Simultaneous bands of their ECDF, chi-square, exact intervals for coverage.

The band is that of Säilynoja, Bürkner & Vehtari (2022, Statistics and Computing 32:32): with R_i of N ranks below
z_i, R_i ~ Bin(N, z_i) under uniformity, and the band holds at every z_i what lies within the central 1 - gamma of
its binomial. The probability that the whole ECDF stays inside follows exactly from the Markov chain R_1, R_2, ...
(their algorithm 2); so does the p-value of the largest departure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import gammaln


def count_below(ranks: np.ndarray, values: int) -> np.ndarray:
    """Number of ranks (each 0 .. values - 1) below 1, 2, ..., values - 1."""
    return np.cumsum(np.bincount(ranks, minlength=values))[:-1]


def limit_counts(n: int, values: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest counts R_i within the central 1 - gamma: both tails above gamma / 2."""
    z = np.arange(1, values) / values
    counts = np.arange(n + 1)[:, None]
    inside = (stats.binom.cdf(counts, n, z) > gamma / 2) & (stats.binom.sf(counts - 1, n, z) > gamma / 2)
    return np.argmax(inside, axis=0), n - np.argmax(inside[::-1], axis=0)


def stay_inside(n: int, low: np.ndarray, high: np.ndarray) -> float:
    """Probability that the counts of n uniform ranks stay within [low_i, high_i] at every i / (len + 1)."""
    values = len(low) + 1
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    counts, p = np.array([0]), np.array([1.0])
    for i in range(len(low)):
        step = 1.0 / (values - i)
        new = np.arange(low[i], high[i] + 1)
        more, left = new[None, :] - counts[:, None], n - counts[:, None]
        k = np.clip(more, 0, left)
        log_pmf = log_factorial[left] - log_factorial[k] - log_factorial[left - k]
        log_pmf = log_pmf + k * math.log(step) + (left - k) * math.log1p(-step)
        p = p @ np.where((more >= 0) & (more <= left), np.exp(log_pmf), 0.0)
        counts = new
    return float(p.sum())


def find_ecdf_p(ranks: np.ndarray, values: int) -> float:
    """p-value of the largest departure of the ECDF of ranks (0 .. values - 1) from uniformity."""
    n = len(ranks)
    R, z = count_below(ranks, values), np.arange(1, values) / values
    gamma = 2.0 * float(np.minimum(stats.binom.cdf(R, n, z), stats.binom.sf(R - 1, n, z)).min())
    if gamma < 1e-12:
        return gamma
    return float(np.clip(1.0 - stay_inside(n, *limit_counts(n, values, gamma * (1 + 1e-9))), gamma / 2, 1.0))


def find_band(n: int, values: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous band of the counts below 1, ..., values - 1: `level` of the uniform samples stay inside."""
    below, above = 0.0, 1.0
    for _ in range(40):
        gamma = (below + above) / 2
        if stay_inside(n, *limit_counts(n, values, gamma)) >= level:
            below = gamma
        else:
            above = gamma
    return limit_counts(n, values, below)


def find_chi_square_p(ranks: np.ndarray, values: int) -> float:
    """p-value of chi-square over equal bins: at most 20, with at least ten ranks expected in each."""
    bins = max([b for b in range(2, 21) if values % b == 0 and len(ranks) >= 10 * b], default=0)
    if not bins:
        return 1.0
    return float(stats.chisquare(np.bincount(ranks * bins // values, minlength=bins)).pvalue)


def effective_draws(x: np.ndarray) -> np.ndarray:
    """Effective number of draws of stationary series (..., n) (Geyer 1992: initial monotone positive sequence)."""
    n = x.shape[-1]
    centred = x - x.mean(axis=-1, keepdims=True)
    size = 2 ** math.ceil(math.log2(2 * n))
    spectrum = np.fft.rfft(centred, size)
    rho = np.fft.irfft(spectrum * np.conj(spectrum), size)[..., : n - n % 2]
    constant = rho[..., 0] <= 0
    rho = rho / np.where(constant, 1.0, rho[..., 0])[..., None]
    pairs = rho.reshape(*rho.shape[:-1], -1, 2).sum(axis=-1)
    initial = np.logical_and.accumulate(pairs > 0, axis=-1)
    total = np.where(initial, np.minimum.accumulate(pairs, axis=-1), 0.0).sum(axis=-1)
    return np.where(constant, n, n / np.maximum(2.0 * total - 1.0, 1.0 / math.log10(n)))


@dataclass(frozen=True)
class Calibration:
    """Ranks and coverage over replicates.

    Attributes
    ----------
    ranks : (n, quantities) of the truth among the ranked draws
    efficiency : (n, quantities) effective draws per ranked draw
    covered : (n, plots) 0 or 1
    failed : replicates whose sampler failed
    diverging : share of divergent draws
    again : replicates that needed a longer chain
    """

    names: tuple[str, ...]
    plots: tuple[str, ...]
    values: int
    ranks: np.ndarray
    efficiency: np.ndarray
    covered: np.ndarray
    failed: int
    diverging: float
    again: int

    def uniformity(self) -> list[dict[str, Any]]:
        """Per quantity: p-values, largest ECDF departure, mean rank, median and low effective draws per ranked draw.

        ``excess`` is the share by which autocorrelation raises the variance of the rank.
        """
        rows = []
        n, L = len(self.ranks), self.values - 1
        grid = np.arange(1, self.values) / self.values
        for name, ranks, share in zip(self.names, self.ranks.T, self.efficiency.T, strict=True):
            tau = 1.0 / np.minimum(share, 1.0)
            rows.append(
                {
                    "quantity": name,
                    "p_ecdf": find_ecdf_p(ranks, self.values),
                    "p_chi2": find_chi_square_p(ranks, self.values),
                    "departure": float(np.abs(count_below(ranks, self.values) / n - grid).max()),
                    "mean": float(ranks.mean() / L),
                    "efficiency": float(np.median(share)),
                    "low": float(np.quantile(share, 0.05)),
                    "excess": float(2.0 * (tau - 1.0).mean() / L),
                }
            )
        return rows

    def coverage(self) -> list[dict[str, Any]]:
        """Per held-out plot: covered, of how many, their share with its binomial error, exact two-sided p-value."""
        rows = []
        for name, column in zip(self.plots, self.covered.T, strict=True):
            k, n = int(column.sum()), len(column)
            p = float(stats.binomtest(k, n, 0.9).pvalue)
            rows.append({"plot": name, "covered": k, "n": n, "share": k / n, "error": math.sqrt(0.09 / n), "p": p})
        return rows

    def overall_coverage(self) -> tuple[float, float]:
        """Share of all held-out plots covered and its standard error, a replicate's plots being correlated."""
        share = self.covered.mean(axis=1)
        return float(share.mean()), float(share.std(ddof=1) / math.sqrt(len(share)))

    def p_value(self) -> float:
        """Of uniformity and coverage together: smallest times their number (Bonferroni); 0 where a replicate failed."""
        if self.failed:
            return 0.0
        ranks = self.uniformity()
        p_values = [row[key] for row in ranks for key in ("p_ecdf", "p_chi2")]
        return combine_p(p_values + [row["p"] for row in self.coverage()])


def combine_p(p_values: Sequence[float] | np.ndarray) -> float:
    """Smallest p-value times their number (Bonferroni); NaN where one is NaN, so that no check passes by it."""
    return min(float(np.min(p_values)) * len(p_values), 1.0)


def combine_z(z: np.ndarray) -> float:
    """The same of the two-sided p-values of standard normal z, an array of any shape."""
    return combine_p(2 * stats.norm.sf(np.abs(z).ravel()))
