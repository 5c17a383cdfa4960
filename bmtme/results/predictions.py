"""Predictions for every line, environment and trait from the draws of the chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bmtme.engines.rotated.draws import Draws, take_effects
from bmtme.engines.rotated.kernels.mixture import fill_mixture_quantiles
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.scaling import Scaling
from bmtme.results.entries import NUMBER, TEXT, Column

#: Equal-tailed interval of a new plot.
LOW, HIGH = 0.05, 0.95
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


def spread_evenly(count: int, wanted: int) -> np.ndarray:
    """Up to `wanted` evenly spaced places among `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


@dataclass(frozen=True)
class Cells:
    """The n lines predicted in one environment for one trait: what a column of the predictions is made of.

    Attributes
    ----------
    expected : (n,) mean of beta + b1 + b2, over all draws
    fitted : (n, S) at most `KEPT` evenly kept draws of it
    extra : (n, S) variance that a line without a record adds given the others: G_nn - G_no G_oo^+ G_on times that of
        the column; in these draws
    residual : (S,) residual variance in these draws
    n_obs, observed : (n,) number and mean of the plots described beside the predictions, in the user's units; None
        where there are none to describe
    """

    expected: np.ndarray
    fitted: np.ndarray
    extra: np.ndarray
    residual: np.ndarray
    n_obs: np.ndarray | None = None
    observed: np.ndarray | None = None

    @property
    def sd(self) -> np.ndarray:
        """(n,) standard deviation of beta + b1 + b2."""
        ddof = 1 if self.fitted.shape[1] > 1 else 0
        return np.asarray(np.sqrt(self.fitted.var(axis=1, ddof=ddof) + self.extra.mean(axis=1)))

    @cached_property
    def interval(self) -> np.ndarray:
        """(n, 2) interval of a new plot: of the equal mixture, over the draws, of N(fitted, extra + residual)."""
        interval = np.empty((len(self.fitted), 2))
        fill_mixture_quantiles(self.fitted, self.extra + self.residual, LOW, HIGH, interval)
        return interval

    @cached_property
    def mean_interval(self) -> np.ndarray:
        """(n, 2) interval of a mean of k = `n_obs` new plots, from the mixture of N(fitted, extra + residual / k)."""
        assert self.n_obs is not None
        interval = self.interval.copy()
        many = np.flatnonzero(self.n_obs > 1)
        found = np.empty((len(many), 2))
        shared = self.residual / self.n_obs[many, None]
        fill_mixture_quantiles(self.fitted[many], self.extra[many] + shared, LOW, HIGH, found)
        interval[many] = found
        return interval


def predict_cells(
    chains: Sequence[Draws],
    basis: Eigenbasis,
    scaling: Scaling,
    targets: Targets,
    columns: Sequence[Column],
    cells: np.ndarray | None = None,
    n_obs: np.ndarray | None = None,
    observed: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Columns of the predictions that are no keys, in the user's units, by name.

    Parameters
    ----------
    chains : draws with kept effects and sums of conditional means
    columns : of the register; its keys are passed over
    cells : (n, I, L) bool, optional
        The cells wanted; of the others the numbers are missing. Default all.
    n_obs, observed : (n, I, L), optional
        See `Cells`; where the mean of new plots is predicted, `n_obs` is at least 1 in the cells wanted.

    Returns
    -------
    dict of (n, I, L) arrays
    """
    n_env, n_trait = chains[0].sum_beta.shape
    n = len(targets.recorded)
    total = sum(len(chain.slot) for chain in chains)
    mean_beta = np.sum([chain.sum_beta for chain in chains], axis=0) / total
    mean_w = np.sum([chain.sum_W for chain in chains], axis=0) / total
    picks = []
    for chain in chains:
        sweeps = np.flatnonzero(chain.slot >= 0)
        picks.append(sweeps[spread_evenly(len(sweeps), max(1, KEPT // len(chains)))])
    beta = np.concatenate([chain.beta[pick] for chain, pick in zip(chains, picks, strict=True)])
    genetic = np.concatenate([chain.genetic[pick] for chain, pick in zip(chains, picks, strict=True)])
    residual = np.concatenate([chain.residual[pick] for chain, pick in zip(chains, picks, strict=True)])
    slots = [chain.slot[pick] for chain, pick in zip(chains, picks, strict=True)]
    new = np.flatnonzero(targets.recorded < 0)
    made = [column for column in columns if column.make is not None]
    out = {column.name: allocate(column, (n, n_env, n_trait)) for column in made}

    order = np.empty(n, dtype=np.int64)
    order[new] = np.arange(len(new))

    def place(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Effects (S, J) in the eigenbasis to some target lines, (rows, S)."""
        u = np.empty((len(rows), len(w)))
        is_new = targets.recorded[rows] < 0
        u[~is_new] = basis.rotate_lines(w, targets.recorded[rows[~is_new]])
        u[is_new] = targets.A[order[rows[is_new]]] @ w.T
        return u

    for i in range(n_env):
        for l in range(n_trait):
            rows = np.arange(n) if cells is None else np.flatnonzero(cells[:, i, l])
            if len(rows) == 0:
                continue
            m = i * n_trait + l
            w = np.concatenate([take_effects(chain, i, l, slot) for chain, slot in zip(chains, slots, strict=True)])
            spare = np.zeros(n)
            spare[new] = targets.spare
            known = Cells(
                expected=mean_beta[i, l] + place(mean_w[m][None], rows)[:, 0],
                fitted=place(w, rows) + beta[:, i, l],
                extra=spare[rows][:, None] * genetic[:, i, l],
                residual=residual[:, i, l],
                n_obs=None if n_obs is None else n_obs[rows, i, l],
                observed=None if observed is None else observed[rows, i, l],
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
    """The rows by line, environment and trait in the orders given."""
    orders = (("trait", traits), ("env", envs), ("line", lines))  # lexsort takes its last key first
    ranks = [pd.Categorical(table[name], categories=list(order)).codes for name, order in orders]
    return table.iloc[np.lexsort(ranks)].reset_index(drop=True)
