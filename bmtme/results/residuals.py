"""What the other traits of a plot tell of its residual for one that is missing there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bmtme.errors import UsageError
from bmtme.results.levels import RecordEffects


@dataclass(frozen=True)
class Plots:
    """Plots of which a trait is predicted from their others.

    Attributes
    ----------
    line, env : (N,) places of their line and environment
    values : (N, L) what is known of them, NaN for what is missing or hidden
    wanted : (N, L) bool, whose value is predicted; none that is known
    number : (N,) number of plots of which each is the mean; default one
    """

    line: np.ndarray
    env: np.ndarray
    values: np.ndarray
    wanted: np.ndarray
    number: np.ndarray | None = None

    def count(self, shape: tuple[int, int, int]) -> np.ndarray:
        """(J, I, L) number of plots with a value wanted."""
        counts = np.zeros(shape, np.int64)
        np.add.at(counts, (self.line, self.env), self.wanted * self.weight[:, None])
        return counts

    @property
    def weight(self) -> np.ndarray:
        """(N,) number of plots of each."""
        return np.ones(len(self.line), np.int64) if self.number is None else self.number


#: Names of coordinates of the records, where the trial has them: their numbers of plots.
RECORD_PLOTS = "record_plots"
#: Standard errors of their values (record x trait), and the correlation of these between traits.
RECORD_SE, SE_CORRELATION = "record_se", "se_correlation"
#: Where these errors correlate between records: the same without what they have in common (`Trial.own_errors`).
RECORD_OWN_SE = "record_own_se"


class Told(NamedTuple):
    """Of n cells in S draws: means over their plots, each (n, S)."""

    shift: np.ndarray  # E[residual | the plot's other residuals]
    variance: np.ndarray  # Var(residual | the same), of one plot


def tell_residuals(
    plots: Plots,
    i: int,
    l: int,
    rows: np.ndarray,
    fitted: Callable[[int], np.ndarray],
    R: np.ndarray,
    take: Callable[[np.ndarray, int], np.ndarray | float] = lambda plots, trait: 0.0,
) -> Told:
    """E[e_a | e_b] = R_ab R_bb^-1 (y_b - beta_b - u_b) of trait a = l in environment i, b the traits known of a plot.

    From y_b the effects of the plot's replicate and blocks are taken off, too.

    Parameters
    ----------
    rows : (n,) lines, ascending; those without a plot that is wanted get the variance of one and no shift
    fitted : of a trait, draws of beta + u of these lines, (n, S)
    R : (S, L, L) residual covariance in the environment
    take : these of some plots on a trait, (plots, S)
    """
    here = np.flatnonzero((plots.env == i) & plots.wanted[:, l] & np.isin(plots.line, rows))
    cell, number = np.searchsorted(rows, plots.line[here]), plots.weight[here][:, None]
    count = np.bincount(cell, number[:, 0], minlength=len(rows))[:, None]
    shift, variance = np.zeros((2, len(rows), len(R)))
    variance[count[:, 0] == 0] = R[:, l, l]
    known = ~np.isnan(plots.values[here])
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        b, members = np.flatnonzero(pattern), np.flatnonzero(which.ravel() == k)
        R_ab = R[:, b, l]
        weights = np.linalg.solve(R[:, b[:, None], b], R_ab[..., None])[..., 0]
        np.add.at(variance, cell[members], number[members] * (R[:, l, l] - (weights * R_ab).sum(axis=1)))
        for weight, t in zip(weights.T, b.tolist(), strict=True):
            deviation = plots.values[here[members], t][:, None] - fitted(t)[cell[members]]
            deviation = deviation - take(here[members], t)
            np.add.at(shift, cell[members], number[members] * weight * deviation)
    count = np.maximum(count, 1)
    return Told(shift / count, variance / count)


def arrange_plots(observed: Any, lines: list[str], envs: list[str]) -> Plots:
    """The records of a fit with the traits they lack as wanted; `observed` its group observed_data."""
    place = {name: n for n, name in enumerate(lines)}
    line = np.array([place[name] for name in observed["record_line"].values.tolist()], np.int64)
    env = np.array([envs.index(name) for name in observed["record_env"].values.tolist()], np.int64)
    values = observed["Y"].values
    return Plots(line, env, values, np.isnan(values), take_numbers(observed))


def take_numbers(observed: Any) -> np.ndarray:
    """(N,) number of plots of which each record is the mean, by default one; of the group observed_data."""
    there = RECORD_PLOTS in observed.coords
    return np.asarray(observed[RECORD_PLOTS].values) if there else np.ones(observed.sizes["record"], np.int64)


def refuse_correlated(observed: Any, what: str) -> None:
    """Refuse records whose known errors correlate between records; of the group observed_data.

    Raises
    ------
    UsageError
    """
    if RECORD_OWN_SE in observed.coords:
        raise UsageError(
            f"{what} does not serve adjusted means with the covariance of their errors, which is not kept with a fit: "
            "use bmtme.cross_validate, which does."
        )


def take_errors(observed: Any) -> np.ndarray | None:
    """(N, L, L) known error covariance of each record, zero for missing values; of the group observed_data."""
    if RECORD_SE not in observed.coords:
        return None
    se = np.nan_to_num(observed[RECORD_SE].transpose("record", "trait").values)
    L = se.shape[1]
    P = observed[SE_CORRELATION].values if SE_CORRELATION in observed.coords else np.eye(L)
    return np.asarray(se[:, :, None] * se[:, None, :] * P)


def list_residuals(posterior: Any) -> np.ndarray:
    """(S, I, L, L) residual covariances of every environment, chains one after another."""
    values = posterior["R_e"].values
    if values.ndim == 4:
        values = np.repeat(values[:, :, None], posterior.sizes["env"], axis=2)
    return np.asarray(values.reshape(-1, *values.shape[2:]))


def predict_records(posterior: Any, u: Any, observed: Any) -> Mapping[tuple[str, str, str], tuple[float, ...]]:
    """Predictions of the plots that lack a trait and have others, by line, environment and trait, in the user's units.

    Parameters
    ----------
    posterior, u : as of `bmtme.results.line_effects.take_kept`
    observed : Dataset of the records

    Returns
    -------
    dict
        Number of plots; shift of the posterior mean against that of the genetic value, which the effects of their
        replicates and blocks are a part of; standard deviation; lower and upper end of the 90% interval for the mean
        of these plots.
    """
    from bmtme.results.predictions import HIGH, LOW, find_quantiles

    lines, envs, traits = (u[name].values.tolist() for name in ("line", "env", "trait"))
    plots, R = arrange_plots(observed, lines, envs), list_residuals(posterior)
    effects = RecordEffects(posterior, observed)

    def take(records: np.ndarray, t: int) -> np.ndarray | float:
        total = effects.add_up(records, t)
        return 0.0 if isinstance(total, float) else total.reshape(-1, len(records)).T

    counts = plots.count((len(lines), len(envs), len(traits)))
    beta = posterior["beta"].values.reshape(-1, len(envs), len(traits))
    found = {}
    for i, l in np.argwhere(counts.any(axis=0)).tolist():
        rows = np.flatnonzero(counts[:, i, l])
        here = u.isel(env=i, line=rows).values.reshape(len(beta), len(rows), len(traits))

        def fit(t: int, here: np.ndarray = here, i: int = i) -> np.ndarray:
            return np.asarray((here[:, :, t] + beta[:, i, t][:, None]).T)

        told = tell_residuals(plots, i, l, rows, fit, R[:, i], take)
        shift = told.shift.copy()
        wanted = np.flatnonzero((plots.env == i) & plots.wanted[:, l])  # the plots that lack the trait
        cell = np.searchsorted(rows, plots.line[wanted])
        own = plots.weight[wanted][:, None] * take(wanted, l)
        np.add.at(shift, cell, own / counts[plots.line[wanted], i, l][:, None])
        fitted = fit(l) + shift
        sd = fitted.std(axis=1, ddof=min(1, len(beta) - 1))
        interval = find_quantiles(fitted, told.variance / counts[rows, i, l][:, None], LOW, HIGH)
        for n, row in enumerate(rows.tolist()):
            numbers = counts[row, i, l], shift[n].mean(), sd[n], *interval[n]
            found[lines[row], envs[i], traits[l]] = tuple(float(number) for number in numbers)
    return found
