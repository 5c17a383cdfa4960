"""Effects of replicates in what is observed: the mean of hidden plots contains those of their replicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bmtme.data.trial import Trial
from bmtme.model.factors import find_replicates
from bmtme.preparation import Prepared


class Shift(NamedTuple):
    """What effects of replicates add to the means of n cells in S draws, each (n, S)."""

    shift: np.ndarray  # of replicates whose effects were drawn
    variance: np.ndarray  # of those that were not


@dataclass(frozen=True)
class Levels:
    """The replicates of the N plots of a trial, of which a training part has effects.

    Attributes
    ----------
    line, env : (N,) places in the trial
    seen : (N, L) bool, which values there are
    level : (N,) replicate among those of the training part, -1 for none
    strange : (N, L) number of a replicate whose effect is random and of which the training part has no plot, -1 for
        none
    number : (N,) plots of which each record is the mean
    """

    line: np.ndarray
    env: np.ndarray
    seen: np.ndarray
    level: np.ndarray
    strange: np.ndarray
    number: np.ndarray

    def add_up(self, i: int, l: int, rows: np.ndarray, effects: np.ndarray, sd: np.ndarray) -> Shift:
        """Means of the effects over the plots of some lines that have a value of trait l in environment i.

        Parameters
        ----------
        rows : (n,) lines, ascending
        effects : (S, K) effects of the training part's replicates on the trait
        sd : (S,) standard deviation of random ones
        """
        here = np.flatnonzero((self.env == i) & self.seen[:, l] & np.isin(self.line, rows))
        cell = np.searchsorted(rows, self.line[here])
        number = self.number[here]
        plots = np.maximum(np.bincount(cell, number, minlength=len(rows)), 1)
        shares = []
        for of in (self.level, self.strange[:, l]):
            names, place = np.unique(of[here], return_inverse=True)
            share = np.zeros((len(rows), len(names)))
            np.add.at(share, (cell, place.ravel()), number)
            shares.append((names[names >= 0], share[:, names >= 0] / plots[:, None]))
        (known, share), (_, strange) = shares
        return Shift(share @ effects[:, known].T, np.outer((strange**2).sum(axis=1), sd**2))


def find_levels(prepared: Prepared, trial: Trial) -> Levels | None:
    """The replicates of a trial whose effects a training part may have; None where it has none.

    A replicate that is hidden as a whole has no estimate: fixed, its effect counts as zero, that of an average one;
    random, as a new one.

    Parameters
    ----------
    prepared : of the training part, laid out for the model
    trial : with the hidden values, in computing order
    """
    if not prepared.factors or trial.reps is None:
        return None
    factor = prepared.factors[0]
    envs = prepared.trial.envs
    known: Mapping[tuple[str, str], int] = {
        (envs[i], label): k for k, (i, label) in enumerate(zip(factor.env.tolist(), factor.labels, strict=True))
    }
    seen = ~np.isnan(trial.values)
    level, strange = np.full(len(seen), -1), np.full(seen.shape, -1)
    used = np.flatnonzero(seen.any(axis=1))
    # Names of replicates are labels of a column or of several: see `name_replicates`.
    names = [
        [(trial.envs[trial.env_index[n]], name) for name in (trial.reps[n].split(":")[0], trial.reps[n])] for n in used
    ]
    for n, pair in zip(used.tolist(), names, strict=True):
        level[n] = next((known[name] for name in pair if name in known), -1)
    if factor.random:
        reps = [trial.reps[n] for n in used]
        whole = find_replicates("random", reps, trial.line_index[used], trial.env_index[used], seen[used], trial.envs)
        assert whole is not None
        active = (whole.level >= 0)[:, None] & whole.active[whole.level]
        strange[used] = np.where((level[used] < 0)[:, None] & active, whole.level[:, None], -1)
    number = np.ones(len(seen)) if trial.n_plots is None else trial.n_plots
    return Levels(trial.line_index, trial.env_index, seen, level, strange, number)
