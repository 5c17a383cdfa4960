"""Effects of replicates, blocks and covariates in what is observed: means of hidden plots contain their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bmtme.data.effects import centre_covariate
from bmtme.data.trial import Trial
from bmtme.engines.rotated.factors import order_levels
from bmtme.model.factors import Factor, find_blocks, find_replicates
from bmtme.preparation import Prepared


class Shift(NamedTuple):
    """What effects of factors add to the means of n cells in S draws, each (n, S)."""

    shift: np.ndarray  # of levels whose effects were drawn
    variance: np.ndarray  # of those that were not


@dataclass(frozen=True)
class Levels:
    """The levels, in F factors, of the N plots of a trial, of which a training part has effects.

    Attributes
    ----------
    line, env : (N,) places in the trial
    seen : (N, L) bool, which values there are
    level : (N, F) level among those of the training part, -1 for none
    strange : (N, F, L) number of a level whose effect is random and of which the training part has no plot, -1 for
        none
    slope : (C, L) place among the levels of the training part of the slopes of covariates
    mark : (N, C) values of these, in their units
    number : (N,) plots of which each record is the mean
    """

    line: np.ndarray
    env: np.ndarray
    seen: np.ndarray
    level: np.ndarray
    strange: np.ndarray
    slope: np.ndarray
    mark: np.ndarray
    number: np.ndarray

    def add_up(self, i: int, l: int, rows: np.ndarray, effects: np.ndarray, sd: np.ndarray) -> Shift:
        """Means of the effects over the plots of some lines that have a value of trait l in environment i.

        Parameters
        ----------
        rows : (n,) lines, ascending
        effects : (S, K) effects of the training part's levels on the trait
        sd : (S, F) standard deviations of random ones
        """
        here = np.flatnonzero((self.env == i) & self.seen[:, l] & np.isin(self.line, rows))
        cell = np.searchsorted(rows, self.line[here])
        number = self.number[here]
        plots = np.maximum(np.bincount(cell, number, minlength=len(rows)), 1)
        shift, variance = np.zeros((2, len(rows), len(effects)))
        for f in range(self.level.shape[1]):
            shares = []
            for of in (self.level[:, f], self.strange[:, f, l]):
                names, place = np.unique(of[here], return_inverse=True)
                share = np.zeros((len(rows), len(names)))
                np.add.at(share, (cell, place.ravel()), number)
                shares.append((names[names >= 0], share[:, names >= 0] / plots[:, None]))
            (known, share), (_, strange) = shares
            shift += share @ effects[:, known].T
            variance += np.outer((strange**2).sum(axis=1), sd[:, f] ** 2)
        sums = np.zeros((len(rows), self.mark.shape[1]))
        np.add.at(sums, cell, number[:, None] * self.mark[here])
        return Shift(shift + (sums / plots[:, None]) @ effects[:, self.slope[:, l]].T, variance)

    def take(self, plots: np.ndarray, l: int, effects: np.ndarray) -> np.ndarray:
        """(n, S) sums of the effects (S, K) on trait l of the levels and covariates of some plots."""
        total = np.zeros((len(plots), len(effects)))
        for level in self.level[plots].T:
            total += np.where((level >= 0)[:, None], effects[:, level].T, 0.0)
        return total + self.mark[plots] @ effects[:, self.slope[:, l]].T


def find_levels(prepared: Prepared, trial: Trial) -> Levels | None:
    """The levels of a trial whose effects a training part may have; None where it has no factors.

    A level that is hidden as a whole has no estimate: fixed, its effect counts as zero, that of an average one;
    random, as a new one.

    Parameters
    ----------
    prepared : of the training part, laid out for the model
    trial : with the hidden values, in computing order
    """
    if not prepared.factors:
        return None
    seen = ~np.isnan(trial.values)
    F, L = len(prepared.factors), seen.shape[1]
    slope, mark = np.zeros((0, L), np.int64), np.zeros((len(seen), 0))
    level, strange = np.full((len(seen), F), -1), np.full((len(seen), F, L), -1)
    used = np.flatnonzero(seen.any(axis=1))
    where = trial.line_index[used], trial.env_index[used], seen[used]
    for f, (factor, places) in enumerate(zip(prepared.factors, order_levels(prepared.factors), strict=True)):
        if factor.kind == "covariate":
            slope = np.vstack([slope, places[factor.active.argmax(axis=0)]])
            centred = centre_covariate(trial.covariates[factor.name], trial.env_index)
            mark = np.column_stack([mark, np.where(seen.any(axis=1), centred, 0.0) / factor.unit])
            continue
        envs = prepared.trial.envs
        known: Mapping[tuple[str, str], int] = {
            (envs[i], label): int(k) for k, i, label in zip(places, factor.env.tolist(), factor.labels, strict=True)
        }
        labels = trial.blocks[factor.name] if factor.block else trial.replicates
        assert labels is not None
        for n in used.tolist():
            # Names of replicates are labels of a column or of several: see `name_replicates`.
            names = (labels[n],) if factor.block else (labels[n].split(":")[0], labels[n])
            env = trial.envs[trial.env_index[n]]
            level[n, f] = next((known[env, name] for name in names if (env, name) in known), -1)
        if factor.random:
            whole = find_whole(factor, [labels[n] for n in used], *where, trial.envs)
            none = np.zeros((1, L), bool)
            active = np.vstack([whole.active, none])[whole.level]
            strange[used, f] = np.where((level[used, f] < 0)[:, None] & active, whole.level[:, None], -1)
    number = np.ones(len(seen)) if trial.n_plots is None else trial.n_plots
    return Levels(trial.line_index, trial.env_index, seen, level, strange, slope, mark, number)


def find_whole(
    factor: Factor, labels: list[str], line: np.ndarray, env: np.ndarray, seen: np.ndarray, envs: tuple[str, ...]
) -> Factor:
    """A random factor of a training part as it is in the whole trial."""
    if factor.block:
        return find_blocks(factor.name, labels, env, seen, len(envs))
    whole = find_replicates("random", labels, line, env, seen, envs)
    assert whole is not None
    return whole
