"""Known errors of what is observed in hidden cells, and what the errors of a training part tell of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bmtme.data.trial import Trial
from bmtme.model.scaling import Scaling
from bmtme.preparation import Prepared
from bmtme.results.replicates import Shift


class Related(NamedTuple):
    """Errors of a trait in an environment, of hidden values and of the training part, over lines of the trial."""

    hidden: np.ndarray  # (h,) lines, ascending
    training: np.ndarray  # (n,) lines
    values: np.ndarray  # (n,) training values
    covariance: np.ndarray  # (h, n) of the errors of hidden values with training ones in the eigenbasis of theirs
    spread: np.ndarray  # (n,) eigenvalues of the covariance of the errors of training values
    turn: np.ndarray  # (n, n) its eigenvectors


@dataclass(frozen=True)
class KnownErrors:
    """Known errors of the means of hidden cells, in scaled units.

    Attributes
    ----------
    variance : (J, I, L)
    related : by environment and trait, where errors correlate between the records of an environment
    """

    variance: np.ndarray
    related: Mapping[tuple[int, int], Related] = field(default_factory=dict)

    def add_up(
        self, i: int, l: int, rows: np.ndarray, fitted: Callable[[np.ndarray], np.ndarray], residual: np.ndarray
    ) -> Shift:
        """E[e_h | residuals of the training values] and Var(e_h | the same) of hidden values, each (rows, S).

        With V the errors' covariance and r the residual variance, what training values y_t are off beta + u_t is their
        residual and their error: e_h has the mean V_ht (V_tt + r I)^-1 (y_t - beta - u_t) and the variance
        V_hh - V_ht (V_tt + r I)^-1 V_th. Without it the errors that all lines share would count twice, as they are a
        part of what the posterior of beta does not know. Errors of other traits are left aside, as their residuals are.

        Parameters
        ----------
        rows : (n,) lines, ascending
        fitted : of some lines, draws of beta + u, (lines, S)
        residual : (S,) residual variances of the trait
        """
        variance = np.tile(self.variance[rows, i, l][:, None], (1, len(residual)))
        shift = np.zeros(variance.shape)
        if (i, l) not in self.related:
            return Shift(shift, variance)
        known = self.related[i, l]
        place = np.searchsorted(known.hidden, rows)
        off = known.turn.T @ (known.values[:, None] - fitted(known.training))
        total = known.spread[:, None] + residual
        covariance = known.covariance[place]
        return Shift(covariance @ (off / total), variance - covariance**2 @ (1.0 / total))


def find_known_errors(prepared: Prepared, scaling: Scaling, trial: Trial, cells: np.ndarray) -> KnownErrors | None:
    """Those of hidden cells; None of a trial without.

    Parameters
    ----------
    prepared : of the training part
    trial : with the hidden values, in computing order
    cells : (J, I, L) bool
    """
    if trial.se is None:
        return None
    known = KnownErrors(trial.mean_errors() / scaling.scale**2)
    if trial.error_covariances is None:
        return known
    places = {name: j for j, name in enumerate(trial.lines)}
    line_of = np.array([places[name] for name in prepared.lines])[prepared.layout.rec_line]
    related: dict[tuple[int, int], Related] = {}
    for i, l in np.argwhere(cells.any(axis=0)).tolist():
        own = np.flatnonzero((prepared.layout.rec_env == i) & prepared.observed[:, l])
        if not len(own):
            continue
        V = trial.error_covariances[trial.envs[i]][:, l, :, l] / scaling.scale[l] ** 2
        at = np.empty(len(trial.lines), np.int64)
        at[trial.line_index[trial.env_index == i]] = np.arange(len(V))
        hidden, training = np.flatnonzero(cells[:, i, l]), line_of[own]
        spread, turn = np.linalg.eigh(V[np.ix_(at[training], at[training])])
        related[i, l] = Related(
            hidden,
            training,
            (prepared.values[own, l] - scaling.centre[l]) / scaling.scale[l],
            V[np.ix_(at[hidden], at[training])] @ turn,
            np.maximum(spread, 0.0),
            turn,
        )
    return KnownErrors(known.variance, related)
