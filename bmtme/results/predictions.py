"""Predictions for every line, environment and trait from the draws of the chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.kernels.mixture import fill_mixture_quantiles
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.scaling import Scaling

#: Equal-tailed interval of a new plot.
LOW, HIGH = 0.05, 0.95
#: Draws behind standard deviations and intervals, at most.
KEPT = 1000

COLUMNS = ("line", "env", "trait", "n_obs", "observed", "mean", "sd", "lower", "upper")
#: What `COLUMNS` gain where hidden plots are predicted: the interval of their mean.
MEAN_COLUMNS = ("mean_lower", "mean_upper")


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


def predict_cells(
    chains: Sequence[Draws],
    basis: Eigenbasis,
    scaling: Scaling,
    targets: Targets,
    cells: np.ndarray | None = None,
    plots: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """Mean, SD and interval of beta + b1 + b2 (the interval: of a new plot), in the user's units.

    Parameters
    ----------
    chains : draws with kept effects and sums of conditional means
    cells : (n, I, L) bool, optional
        The cells wanted; the others are left missing. Default all.
    plots : (n, I, L) int, optional
        Number k of new plots of each cell whose mean is predicted, too; at least 1 in the cells wanted.

    Returns
    -------
    mean, sd, lower, upper : (n, I, L) arrays
        Means are over all draws; the rest over the same at most `KEPT` evenly kept draws. A line without a record
        adds its variance given the others, G_nn - G_no G_oo^+ G_on times that of the column. The interval is that of
        the equal mixture, over the draws, of N(fitted, v + R), v that added variance and R the residual variance.
    mean_lower, mean_upper : (n, I, L) arrays
        Only with `plots`: the interval of a mean of k plots, from the mixture of N(fitted, v + R / k).
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
    s2 = np.concatenate([chain.s2_E[pick] for chain, pick in zip(chains, picks, strict=True)])
    genetic = np.concatenate([chain.Sigma_t[pick] for chain, pick in zip(chains, picks, strict=True)])
    residual = np.concatenate([chain.R_e[pick] for chain, pick in zip(chains, picks, strict=True)])
    slots = [chain.slot[pick] for chain, pick in zip(chains, picks, strict=True)]
    new = np.flatnonzero(targets.recorded < 0)
    out = np.full((4 if plots is None else 6, n, n_env, n_trait), np.nan)

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
            w = np.concatenate(
                [
                    chain.W1[slot, l] + (chain.W2[slot, m] if chain.W2.shape[1] else 0.0)
                    for chain, slot in zip(chains, slots, strict=True)
                ]
            )
            fitted = place(w, rows) + beta[:, i, l]
            spare = np.zeros(n)
            spare[new] = targets.spare
            extra = spare[rows][:, None] * (genetic[:, l, l] * (1.0 + s2[:, i]))
            s, c = scaling.scale[l], scaling.centre[l]
            out[0, rows, i, l] = s * (mean_beta[i, l] + place(mean_w[m][None], rows)[:, 0]) + c
            ddof = 1 if fitted.shape[1] > 1 else 0
            out[1, rows, i, l] = s * np.sqrt(fitted.var(axis=1, ddof=ddof) + extra.mean(axis=1))
            interval = np.empty((len(rows), 2))
            fill_mixture_quantiles(fitted, extra + residual[:, l, l], LOW, HIGH, interval)
            out[2:4, rows, i, l] = (s * interval + c).T
            if plots is not None:
                out[4:, rows, i, l] = out[2:4, rows, i, l]
                k = plots[rows, i, l]
                many = np.flatnonzero(k > 1)
                interval = np.empty((len(many), 2))
                shared = residual[:, l, l] / k[many, None]
                fill_mixture_quantiles(fitted[many], extra[many] + shared, LOW, HIGH, interval)
                out[4:, rows[many], i, l] = (s * interval + c).T
    return tuple(out)


def tabulate_predictions(
    lines: Sequence[str],
    envs: Sequence[str],
    traits: Sequence[str],
    n_obs: np.ndarray,
    observed: np.ndarray,
    predicted: Sequence[np.ndarray],
    cells: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row per line x environment x trait, in this order; arrays are (n, I, L)."""
    keep = np.ones(n_obs.shape, bool) if cells is None else cells
    n, i, l = np.nonzero(keep)
    frame = {
        "line": np.array(lines, dtype=object)[n],
        "env": np.array(envs, dtype=object)[i],
        "trait": np.array(traits, dtype=object)[l],
        "n_obs": n_obs[keep],
        "observed": observed[keep],
    }
    names = (*COLUMNS[5:], *MEAN_COLUMNS)[: len(predicted)]
    frame |= {name: values[keep] for name, values in zip(names, predicted, strict=True)}
    return pd.DataFrame(frame)


def arrange_predictions(
    table: pd.DataFrame, lines: Sequence[str], envs: Sequence[str], traits: Sequence[str]
) -> pd.DataFrame:
    """The rows by line, environment and trait in the orders given."""
    orders = (("trait", traits), ("env", envs), ("line", lines))  # lexsort takes its last key first
    ranks = [pd.Categorical(table[name], categories=list(order)).codes for name, order in orders]
    return table.iloc[np.lexsort(ranks)].reset_index(drop=True)
