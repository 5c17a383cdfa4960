"""Predictions for every line, environment and trait from the draws of the chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bmtme.engines.rotated.draws import Draws, take_effects
from bmtme.engines.rotated.kernels.mixture import fill_mixture_quantiles, fill_mixture_scores
from bmtme.mapped import take_some
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.scaling import Scaling
from bmtme.results.entries import NUMBER, TEXT, Column
from bmtme.results.known_errors import KnownErrors
from bmtme.results.replicates import Levels, Shift
from bmtme.results.residuals import Plots, Told, tell_residuals

#: Equal-tailed interval of a new plot, and of the mean of some.
LOW, HIGH = 0.05, 0.95
#: The same of the values that were observed in hidden cells, for half of them.
HALF = 0.25, 0.75
#: Groups in which more draws than `MANY` are paired for the spread of a CRPS.
GROUPS, MANY = 16, 256
#: Draws behind standard deviations and intervals, at most.
KEPT = 1000


@dataclass(frozen=True)
class Targets:
    """Lines to predict: those with a record by their place in the eigenbasis, the others by projection.

    Attributes
    ----------
    recorded : (n,) place of the line among those with a record, -1 for none
    A : (k, J) projection of the k other lines, in order (see `Eigenbasis.project`)
    spare : (k,) variance left to each of them, G_nn / m - explained
    """

    recorded: np.ndarray
    A: np.ndarray
    spare: np.ndarray


def take_every(count: int, most: int) -> np.ndarray:
    """Places of every 2^k-th of `count` things, with the smallest k that leaves `most` at most.

    Those of more things, as of a longer run, that lie among the first `count` are among these.
    """
    stride = 1
    while -(-count // stride) > most:
        stride *= 2
    return np.arange(0, count, stride)


def spread_evenly(count: int, wanted: int) -> np.ndarray:
    """Up to `wanted` evenly spaced places among `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


@dataclass(frozen=True)
class Mixture:
    """What is predicted of n observed values: over S draws, equal mixtures of N(fitted, extra + noise).

    Attributes
    ----------
    expected : (n,) mean of beta + b1 + b2, and r of a line effect, over all draws; of what was observed, with the
        effects of its replicates and blocks
    fitted : (n, S) at most `KEPT` evenly kept draws of it
    extra : (n, S) variance that a line, a replicate or a block without a record adds given the others, in these draws
    noise : (n, S) variance of residual and known error of what is observed, in these draws; None where nothing is
    error : (n, S) mean of the known error, in these draws
    observed : (n,) what was observed, in the user's units
    target : (n,) the same in the units of `fitted`
    """

    expected: np.ndarray
    fitted: np.ndarray
    extra: np.ndarray
    noise: np.ndarray | None = None
    observed: np.ndarray | None = None
    target: np.ndarray | None = None
    error: np.ndarray | float = 0.0

    @property
    def sd(self) -> np.ndarray:
        """(n,) standard deviation of beta + b1 + b2."""
        ddof = 1 if self.fitted.shape[1] > 1 else 0
        return np.asarray(np.sqrt(self.fitted.var(axis=1, ddof=ddof) + self.extra.mean(axis=1)))

    @property
    def components(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, S) means and variances of the components of what is observed."""
        assert self.noise is not None
        return self.fitted + self.error, self.extra + self.noise

    @cached_property
    def mean_interval(self) -> np.ndarray:
        """(n, 2) 90% interval of what is observed."""
        return find_quantiles(*self.components, LOW, HIGH)

    @cached_property
    def mean_half(self) -> np.ndarray:
        """(n, 2) 50% interval of what is observed."""
        return find_quantiles(*self.components, *HALF)

    @cached_property
    def scores(self) -> np.ndarray:
        """(n, 2) logarithm of the predictive density of what was observed, and its CRPS."""
        assert self.target is not None
        S = self.fitted.shape[1]
        mean, variance = self.components
        known = np.isfinite(variance).all(axis=1)
        out = np.full((len(known), 2), np.nan)
        given = mean[known], variance[known], self.target[known]
        out[known] = _fill(fill_mixture_scores, *given, GROUPS if S > MANY else S)
        return out


@dataclass(frozen=True)
class Cells(Mixture):
    """The n lines predicted in one environment for one trait: what a column of the predictions is made of.

    Attributes
    ----------
    residual : (n, S) residual variance of a plot, in the draws of `fitted`
    n_obs : (n,) number of the plots of which `observed` is the mean; None where there are none to describe
    """

    residual: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_obs: np.ndarray | None = None

    @cached_property
    def interval(self) -> np.ndarray:
        """(n, 2) 90% interval of a new plot."""
        return find_quantiles(self.fitted, self.extra + self.residual, LOW, HIGH)

    @cached_property
    def mean_interval(self) -> np.ndarray:
        """(n, 2) 90% interval of a mean of `n_obs` new plots, known errors in it."""
        assert self.n_obs is not None
        assert self.noise is not None
        interval = self.interval.copy()
        many = (self.n_obs > 1) | (self.noise != self.residual).any(axis=1)
        mean, variance = self.components
        interval[many] = find_quantiles(mean[many], variance[many], LOW, HIGH)
        return interval


def find_quantiles(fitted: np.ndarray, variance: np.ndarray, low: float, high: float) -> np.ndarray:
    """(n, 2) quantiles of equal mixtures of N(fitted, variance), both (n, S)."""
    out = np.full((len(fitted), 2), np.nan)
    known = np.isfinite(variance).all(axis=1)
    out[known] = _fill(fill_mixture_quantiles, fitted[known], variance[known], low, high)
    return out


def _fill(kernel: Callable[..., None], *given: Any) -> np.ndarray:
    """The two columns that a kernel fills for rows of mixtures."""
    out = np.empty((len(given[0]), 2))
    kernel(*given, out)
    return out


class Predictor:
    """The effects of some lines, column by column, from the kept draws of some chains.

    Parameters
    ----------
    chains : draws with kept effects and sums of conditional means
    basis : Eigenbasis
    targets : Targets
        The lines.
    plots : Plots, optional
        Of the lines, where records are predicted and not genetic values.
    levels : Levels, optional
        Of the lines, where what is observed contains effects of replicates or blocks; its plots are those of `plots`.
    errors : KnownErrors, optional
        Of the lines, where what is observed has such.

    Attributes
    ----------
    picks : of each chain, the sweeps whose effects are looked at: every 2^k-th, at most `KEPT` in all
    """

    def __init__(
        self,
        chains: Sequence[Draws],
        basis: Eigenbasis,
        targets: Targets,
        plots: Plots | None = None,
        levels: Levels | None = None,
        errors: KnownErrors | None = None,
    ) -> None:
        self.chains, self.basis, self.targets = chains, basis, targets
        self.plots, self.levels, self.errors = plots, levels, errors
        total = sum(len(chain.slot) for chain in chains)
        self.mean_beta = np.sum([chain.sum_beta for chain in chains], axis=0) / total
        self.mean_w = np.sum([chain.sum_W for chain in chains], axis=0) / total
        self.mean_r = np.sum([chain.sum_r for chain in chains], axis=0) / total
        self.picks = []
        for chain in chains:
            sweeps = np.flatnonzero(chain.slot >= 0)
            self.picks.append(sweeps[take_every(len(sweeps), max(1, KEPT // len(chains)))])
        self.beta, self.genetic, self.residual = (self.join(name) for name in ("beta", "genetic", "residual"))
        new = targets.recorded < 0
        self.spare = np.zeros(len(new))
        self.spare[new] = targets.spare
        self.row_new = np.cumsum(new) - 1
        #: Variance of the effect outside the relationship, which lines without a record have too, (S, L).
        self.line = np.diagonal(self.join("Sigma_r"), axis1=1, axis2=2)

    def join(self, name: str) -> np.ndarray:
        """Draws of a quantity in the sweeps looked at, (S, ...)."""
        return np.concatenate(
            [take_some(getattr(chain, name), pick) for chain, pick in zip(self.chains, self.picks, strict=True)]
        )

    def expect(self, i: int, l: int, rows: np.ndarray) -> np.ndarray:
        """(rows,) mean of beta + b1 + b2 of these lines."""
        m = i * self.mean_beta.shape[1] + l
        effects = self._place(self.mean_w[m][None], rows) + self._place_line(self.mean_r[l][None], rows)
        return np.asarray(self.mean_beta[i, l] + effects[:, 0])

    def draw(self, i: int, l: int, rows: np.ndarray) -> np.ndarray:
        """(rows, S) draws of it, of lines without a record of its mean given the others."""
        w = [take_effects(chain, i, l, chain.slot[pick]) for chain, pick in zip(self.chains, self.picks, strict=True)]
        effects = self._place(np.concatenate(w), rows) + self.beta[:, i, l]
        if self.chains[0].r.shape[1]:
            r = [
                take_some(chain.r[:, l], chain.slot[pick]) for chain, pick in zip(self.chains, self.picks, strict=True)
            ]
            effects += self._place_line(np.concatenate(r), rows)
        return np.asarray(effects)

    def add(self, rows: np.ndarray, variance: np.ndarray, l: int) -> np.ndarray:
        """(rows, S) variance that lines without a record add given the others, of effects with this one (rows, S)."""
        new = self.targets.recorded[rows] < 0
        return np.asarray(self.spare[rows][:, None] * variance + new[:, None] * self.line[:, l])

    def _place_line(self, r: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Effects outside the relationship (S, J) in the eigenbasis to some of the lines, (rows, S)."""
        out = np.zeros((len(rows), len(r)))
        known = self.targets.recorded[rows] >= 0
        out[known] = self.basis.turn_lines(r, self.targets.recorded[rows[known]])
        return out

    def tell(self, i: int, l: int, rows: np.ndarray) -> Told:
        """What is known of the residuals of plots of these lines: without `plots`, their variance."""
        if self.plots is None:
            return Told(np.zeros((len(rows), 1)), np.tile(self.residual[:, i, l], (len(rows), 1)))
        R, L = self.join("R_e"), self.residual.shape[2]
        first = i * L if R.shape[1] > L else 0
        effects, levels = self.join("level_effects"), self.levels
        take = (lambda plots, t: 0.0) if levels is None else lambda plots, t: levels.take(plots, t, effects[:, :, t])
        return tell_residuals(self.plots, i, l, rows, lambda t: self.draw(i, t, rows), R[:, first : first + L], take)

    def shift(self, i: int, l: int, rows: np.ndarray) -> Shift:
        """What effects of replicates and blocks add to what is observed of these lines."""
        if self.levels is None:
            return Shift(np.zeros((len(rows), 1)), np.zeros((len(rows), 1)))
        effects, sd = self.join("level_effects")[:, :, l], self.join("level_sd")[:, :, l]
        return self.levels.add_up(i, l, rows, effects, sd)

    def err(self, i: int, l: int, rows: np.ndarray) -> Shift:
        """What known errors add to what is observed of these lines."""
        if self.errors is None:
            return Shift(np.zeros((len(rows), 1)), np.zeros((len(rows), 1)))
        return self.errors.add_up(i, l, rows, lambda lines: self.draw(i, l, lines), self.residual[:, i, l])

    def _place(self, w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Effects (S, J) in the eigenbasis to some of the lines, (rows, S)."""
        u = np.empty((len(rows), len(w)))
        new = self.targets.recorded[rows] < 0
        u[~new] = self.basis.rotate_lines(w, self.targets.recorded[rows[~new]])
        u[new] = self.targets.A[self.row_new[rows[new]]] @ w.T
        return u


def predict_cells(
    predictor: Predictor,
    scaling: Scaling,
    columns: Sequence[Column],
    cells: np.ndarray | None = None,
    n_obs: np.ndarray | None = None,
    observed: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Columns of the predictions that are no keys, in the user's units, by name.

    Parameters
    ----------
    predictor : Predictor
    columns : of the register; its keys are passed over
    cells : (n, I, L) bool, optional
        The cells wanted; of the others the numbers are missing. Default all.
    n_obs, observed : (n, I, L), optional
        See `Cells`; where columns describe what was observed, `n_obs` is at least 1 in the cells wanted.

    Returns
    -------
    dict of (n, I, L) arrays
    """
    n_env, n_trait = predictor.mean_beta.shape
    n = len(predictor.spare)
    made = [column for column in columns if column.make is not None]
    out = {column.name: allocate(column, (n, n_env, n_trait)) for column in made}
    for i, l in np.ndindex(n_env, n_trait):
        rows = np.arange(n) if cells is None else np.flatnonzero(cells[:, i, l])
        if len(rows) == 0:
            continue
        seen = None if observed is None else observed[rows, i, l]
        plots = None if n_obs is None else n_obs[rows, i, l]
        told, reps, error = predictor.tell(i, l, rows), predictor.shift(i, l, rows), predictor.err(i, l, rows)
        shift = told.shift + reps.shift
        known = Cells(
            expected=predictor.expect(i, l, rows) + shift.mean(axis=1),
            fitted=predictor.draw(i, l, rows) + shift,
            extra=predictor.add(rows, predictor.genetic[:, i, l], l) + reps.variance,
            noise=None if plots is None else told.variance / np.maximum(plots, 1)[:, None] + error.variance,
            error=error.shift,
            observed=seen,
            target=None if seen is None else (seen - scaling.centre[l]) / scaling.scale[l],
            residual=told.variance,
            n_obs=plots,
        )
        for column in made:
            out[column.name][rows, i, l] = column.unit.restore(column.of(known), scaling.take(l))
    return out


def allocate(column: Column, shape: tuple[int, ...]) -> np.ndarray:
    """An array of the column's type, of missing numbers."""
    if column.kind == NUMBER:
        return np.full(shape, np.nan)
    return np.zeros(shape, object if column.kind == TEXT else column.kind)


def tabulate_predictions(
    columns: Sequence[Column],
    labels: Mapping[str, Sequence[str]],
    predicted: Mapping[str, np.ndarray],
    cells: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row per line x environment x trait, in this order.

    Parameters
    ----------
    labels : names of the lines, environments and traits, by column
    predicted : (n, I, L) arrays by column
    cells : (n, I, L) bool, optional
        The rows wanted; default all.
    """
    keep = np.ones([len(names) for names in labels.values()], bool) if cells is None else cells
    keys = {
        name: np.array(names, dtype=object)[index]
        for (name, names), index in zip(labels.items(), np.nonzero(keep), strict=True)
    }
    return pd.DataFrame(
        {column.name: keys[column.name] if column.make is None else predicted[column.name][keep] for column in columns}
    )


def arrange_predictions(
    table: pd.DataFrame, lines: Sequence[str], envs: Sequence[str], traits: Sequence[str]
) -> pd.DataFrame:
    """The rows by line, environment (where the table has them) and trait in the orders given."""
    orders = (("trait", traits), ("env", envs), ("line", lines))  # lexsort takes its last key first
    there = [(name, order) for name, order in orders if name in table.columns]
    ranks = [pd.Categorical(table[name], categories=list(order)).codes for name, order in there]
    return table.iloc[np.lexsort(ranks)].reset_index(drop=True)
