"""Heritability of lines' means from their plots: what of the variance of means is error, and what is replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import f as f_distribution

from bmtme.checkup.replicates import Fitted, fit_replicates, group_replicates
from bmtme.data.trial import Trial

FloatArray = npt.NDArray[np.float64]

#: Degrees of freedom among plots of a line from which on they tell the error.
FEWEST_FREEDOM = 10


@dataclass(frozen=True, eq=False)
class Plots:
    """The plots of an environment and trait.

    Attributes
    ----------
    counts : (J,) array
        Plots of each line.
    means : (J,) array
        Their means, NaN where there is none.
    shares : (J, K) array
        Share of each replicate in the plots of a line; of one replicate where the labels tell of none.
    fitted : Fitted
    """

    counts: npt.NDArray[np.int64]
    means: FloatArray
    shares: FloatArray
    fitted: Fitted

    @property
    def freedom(self) -> int:
        """Of the error."""
        return self.fitted.freedom - self.fitted.rank


def fit_plots(trial: Trial, i: int, l: int, counts: npt.NDArray[np.int64], means: FloatArray) -> Plots:
    """Fit line + replicate to the plots of environment i and trait l, of the lines with counts above zero."""
    records = np.flatnonzero((trial.env_index == i) & ~np.isnan(trial.values[:, l]))
    records = records[counts[trial.line_index[records]] > 0]
    reps = np.zeros(len(records), dtype=np.int64)
    for k, mine in enumerate(group_replicates(trial, records).values()):
        reps[np.searchsorted(records, mine)] = k
    lines = trial.line_index[records]
    plots = np.zeros((len(counts), int(reps.max()) + 1))
    np.add.at(plots, (lines, reps), 1.0)
    fitted = fit_replicates(trial.values[records, l] - means[lines], lines, reps)
    return Plots(counts, means, plots / np.maximum(counts, 1)[:, None], fitted)


@dataclass(frozen=True)
class Shares:
    """Variances of what makes up observed means, and how well they are known.

    Attributes
    ----------
    adjusted : float
        Variance of the means less estimated effects of replicates.
    error : float
        Error in that, that of the estimated effects included; `freedom` are its degrees of freedom.
    plain : float
        Error variance of the means as observed, on average over the lines.
    replicates : float
        Variance that effects of replicates give to the means as observed: zero where all lines are in all of them.
    n_lines : int
    """

    adjusted: float
    error: float
    plain: float
    replicates: float
    n_lines: int
    freedom: float

    def measure(self, factor: float = 1.0) -> float:
        """The heritability if the variance of means over that of errors is overestimated by a factor."""
        genetic = max(0.0, self.adjusted / factor - self.error)
        whole = genetic + self.plain + self.replicates
        return genetic / whole if whole > 0 else np.nan

    def bound(self) -> tuple[float, float]:
        """Ends of the 95% interval."""
        low, high = f_distribution.ppf([0.975, 0.025], self.n_lines - 1, self.freedom)
        return self.measure(low), self.measure(high)


def average_means(envs: Sequence[Plots]) -> FloatArray:
    """(J,) means of lines over environments, each environment less its mean; NaN where a line is in none."""
    weights = _weigh(envs)
    parts = [
        w * np.where(w > 0, plots.means - np.nanmean(plots.means), 0.0) for w, plots in zip(weights, envs, strict=True)
    ]
    return np.where(np.any(weights > 0, axis=0), np.sum(parts, axis=0), np.nan) if envs else np.empty(0)


def divide_variance(envs: Sequence[Plots]) -> Shares:
    """Variances that make up the lines' means over environments, as of `average_means`.

    Lines weigh alike, whatever their numbers of plots, as they do in a correlation.
    """
    weights = _weigh(envs)
    used = np.any(weights > 0, axis=0)
    shift = np.zeros(int(used.sum()))
    plain, extra, freedom = np.zeros((3, len(envs)))
    for i, (weight, plots) in enumerate(zip(weights, envs, strict=True)):
        design = weight[:, None] * (plots.shares - plots.shares[weight > 0].mean(axis=0))
        design = design[used] - design[used].mean(axis=0)
        shift += design @ plots.fitted.effects
        error, freedom[i] = plots.fitted.error, plots.freedom
        plain[i] = error * (weight[used] ** 2 / np.maximum(plots.counts[used], 1)).mean()
        extra[i] = error * ((design @ plots.fitted.inverse) * design).sum() / (len(shift) - 1)
    errors = plain + extra
    total = errors.sum()
    return Shares(
        adjusted=float((average_means(envs)[used] - shift).var(ddof=1)),
        error=float(total),
        plain=float(plain.sum()),
        replicates=max(0.0, float(shift.var(ddof=1) - extra.sum())),
        n_lines=len(shift),
        freedom=float(1.0 / ((errors / total) ** 2 / freedom).sum() if total > 0 else freedom.sum()),
    )


def _weigh(envs: Sequence[Plots]) -> FloatArray:
    """(I, J) weights of the environments in the mean of each line."""
    there = np.array([plots.counts > 0 for plots in envs])
    return there / np.maximum(there.sum(axis=0), 1)
