"""Monte Carlo error of predictions: what it is beside the posterior, and beside the differences between lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.engines.rotated.draws import Draws, take_effects
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.results.predictions import Targets, spread_evenly

#: Hidden cells looked at, evenly spread.
CELLS = 40
#: Batches over all chains: long ones, so that slow mixing shows, and enough of them to tell their spread.
BATCHES = 20
#: Below this the Monte Carlo error of a mean is above a tenth of the posterior standard deviation.
ENOUGH = 100
#: Lines among which the noise is measured, evenly spread.
LINES = 100
#: Of the variance between lines of their predicted means; a correlation with anything loses half as large a share.
MOST_NOISE = 0.1


def count_effective(chains: Sequence[Draws], basis: Eigenbasis, targets: Targets, places: np.ndarray) -> float:
    """Effective draws behind the predicted mean of the median cell.

    The kept draws of beta + b1 + b2 are cut into batches. With N kept draws of variance s^2 and A batches of n_a draws
    and mean m_a it is ``N s^2 / V``, ``V = sum_a n_a (m_a - m)^2 / (A - 1)``, with m the mean over all chains, so that
    chains which disagree count against each other. The means rest on all draws and this on the kept ones: it errs low
    where draws were left out. Source: batch means, Flegal and Jones (2010), Annals of Statistics 38:1034-1070.

    Parameters
    ----------
    chains : sequence of Draws
        With kept effects.
    targets : Targets
        The n lines of the cells.
    places : (C, 3) int array
        Cells as (place among the n lines, environment, trait).

    Returns
    -------
    float
        Between 0 and N.
    """
    loadings = load_lines(basis, targets)
    turns = load_line_effects(basis, targets)
    traces = [trace_cells(chain, loadings, places, turns) for chain in chains]
    per_chain = max(1, BATCHES // len(traces))
    batches = [batch for trace in traces for batch in np.array_split(trace, min(per_chain, len(trace)))]
    joined = np.concatenate(traces)
    total = len(joined)
    if len(batches) < 2:
        return float(total)
    sizes = np.array([len(batch) for batch in batches])[:, None]
    deviations = np.array([batch.mean(axis=0) for batch in batches]) - joined.mean(axis=0)
    between = (sizes * deviations**2).sum(axis=0) / (len(batches) - 1)
    variance = joined.var(axis=0, ddof=1)
    moving = between > 0
    ratio = np.divide(variance, between, out=np.ones_like(variance), where=moving)
    return float(min(np.median(total * ratio), total))


def measure_noise(chains: Sequence[Draws], basis: Eigenbasis, targets: Targets, cells: np.ndarray) -> np.ndarray:
    """What of the differences between predicted lines is Monte Carlo noise, by trait.

    With p_nc the mean of b1 + b2 of line n over all draws of chain c, and p_n that over the C chains, all less their
    means over lines: the noise in p_n has the variance ``sum_nc (p_nc - p_n)^2 / (C (C - 1) (N - 1))`` and p_n itself
    ``sum_n p_n^2 / (N - 1)``. A posterior may be wide while its means hardly differ between lines (a trait in small
    units, a variance shared with traits in large ones): then many effective draws can still be too few.

    Parameters
    ----------
    chains : sequence of Draws
        With sums of conditional means.
    targets : Targets
        The N lines.
    cells : (N, I, L) bool array
        Cells looked at; an environment with fewer than two lines for a trait says nothing.

    Returns
    -------
    (2, L) float array
        Both variances, summed over environments; NaN for a single chain.
    """
    n_line, n_env, n_trait = cells.shape
    C = len(chains)
    if C < 2:
        return np.full((2, n_trait), np.nan)
    loadings = load_lines(basis, targets)
    turns = load_line_effects(basis, targets)
    means = np.array([loadings @ (chain.sum_W / len(chain.slot)).T for chain in chains])
    means = means.reshape(C, n_line, n_env, n_trait)
    means += np.array([turns @ (chain.sum_r / len(chain.slot)).T for chain in chains])[:, :, None]
    out = np.zeros((2, n_trait))
    for i, l in np.argwhere(cells.sum(axis=0) > 1):
        here = means[:, cells[:, i, l], i, l]
        here = here - here.mean(axis=1, keepdims=True)
        joined = here.mean(axis=0)
        lines = here.shape[1] - 1
        out[0, l] += ((here - joined) ** 2).sum() / (C * (C - 1) * lines)
        out[1, l] += (joined**2).sum() / lines
    return out


def choose_lines(cells: np.ndarray) -> np.ndarray:
    """Some of the lines with one of the (J, I, L) cells, evenly spread."""
    places = np.flatnonzero(cells.any(axis=(1, 2)))
    return places[spread_evenly(len(places), LINES)]


def choose_cells(cells: np.ndarray) -> np.ndarray:
    """Some of the (J, I, L) cells, evenly spread: (C, 3) line, environment, trait."""
    places = np.argwhere(cells)
    return places[spread_evenly(len(places), CELLS)]


def load_lines(basis: Eigenbasis, targets: Targets) -> np.ndarray:
    """(n, J) loadings of the lines' effects on w."""
    rows = np.empty((len(targets.recorded), len(basis.values)))
    known = targets.recorded >= 0
    place = targets.recorded[known]
    rows[~known] = targets.A
    if basis.vectors is None:
        rows[known] = 0.0
        rows[known, place] = np.sqrt(basis.values[place] / basis.multiples[place])
    else:
        rows[known] = basis.vectors[place] * np.sqrt(basis.values) / np.sqrt(basis.multiples[place])[:, None]
    return rows


def load_line_effects(basis: Eigenbasis, targets: Targets) -> np.ndarray:
    """(n, J) loadings of the lines' effects outside the relationship on r; none of lines without a record."""
    rows = np.zeros((len(targets.recorded), len(basis.values)))
    known = targets.recorded >= 0
    rows[known] = basis.turn_lines(np.eye(len(basis.values)), targets.recorded[known])
    return rows


def trace_cells(chain: Draws, loadings: np.ndarray, places: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """(kept draws, C) draws of beta + b1 + b2, and r of a line effect, in scaled units."""
    sweeps = np.flatnonzero(chain.slot >= 0)
    out = np.empty((len(sweeps), len(places)))
    for i, l in np.unique(places[:, 1:], axis=0):
        here = np.flatnonzero((places[:, 1] == i) & (places[:, 2] == l))
        w = take_effects(chain, i, l)
        out[:, here] = chain.beta[sweeps, i, l][:, None] + w @ loadings[places[here, 0]].T
        if chain.r.shape[1]:
            out[:, here] += chain.r[:, l] @ turns[places[here, 0]].T
    return out
