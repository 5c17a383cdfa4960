"""The standard model in raw units, as the paper writes it: one genetic and one residual variance for all traits.

With traits in different units the draws of one with small figures are as wide as those of the largest, and a mean of
thousands of draws is mostly noise. So the means are taken exactly: the conditional expectation of every cell, averaged
over draws of the variances. Environment means have a flat prior here, which is of no account where all are recorded;
one without a record is 0, its expectation under the paper's prior.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

import bmtme
from bmtme.cv.partitions import Partition
from bmtme.results.predictions import spread_evenly
from validation.paper.kept import Data

#: Draws of the variances, evenly spread over the chains.
VARIANCES = 25


def expect(
    trial: bmtme.Trial, G: np.ndarray, traits: Sequence[int], s2_t: float, s2_E: float, s2_e: float
) -> np.ndarray:
    """Conditional expectation of every cell of some traits given the variances, (J, I, traits).

    Generalised least squares for the means and the best linear prediction of the effects: with K the covariance
    s2_t (11' + s2_E I) (x) G of the cells' effects, V = K_oo + s2_e I and X the environments of the records,
    b = (X'V^-1 X)^-1 X'V^-1 y and E = b + K_ao V^-1 (y - X b). Given the variances the traits are independent, so that
    each may be taken alone; records hold all of `traits` or none.
    """
    values = trial.values[:, traits]
    records = ~np.isnan(values).any(axis=1)
    line, env, y = trial.line_index[records], trial.env_index[records], values[records]
    n_env = len(trial.envs)
    total = s2_t * (1.0 + s2_E * np.eye(n_env))
    V = total[np.ix_(env, env)] * G[np.ix_(line, line)] + s2_e * np.eye(len(y))
    factor = cho_factor(V)
    recorded = np.unique(env)
    X = np.eye(n_env)[env][:, recorded]
    solved = cho_solve(factor, np.column_stack([X, y]))
    b = np.zeros((n_env, len(traits)))
    b[recorded] = np.linalg.solve(X.T @ solved[:, : len(recorded)], X.T @ solved[:, len(recorded) :])
    a = cho_solve(factor, y - b[env])
    return np.stack([b[i] + (total[i, env] * G[:, line]) @ a for i in range(n_env)], axis=1)


def predict_partition(
    data: Data, partition: Partition, means: str, seed: int, cores: int, tune: int, draws: int
) -> pd.DataFrame:
    """Predictions of the hidden cells: line, env, trait, mean.

    Every line of the trial is in the relationship; all traits of the hidden cells are hidden in the same lines and
    environments.
    """
    trial, relationship = data
    j, i, l = np.nonzero(partition.test_cells(trial))
    traits, column = np.unique(l, return_inverse=True)
    training = trial.hide(partition.record_mask(trial))
    model = bmtme.BMTME("standard", units="raw", means=means)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short chains, meant so
        fit = bmtme.fit(
            training, relationship, model, draws=draws, tune=tune, chains=2, seed=seed, cores=cores,
            keep_effects="none", progress=False,
        )  # fmt: skip
    place = [relationship.lines.index(line) for line in trial.lines]
    G = np.asarray(relationship.matrix)[np.ix_(place, place)]
    drawn = [fit.idata.posterior[name].values[:, :, 0, 0].ravel() for name in ("Sigma_t", "Sigma_E", "R_e")]
    with threadpool_limits(1):  # the same digits on any number of cores
        chosen = spread_evenly(len(drawn[0]), VARIANCES)
        mean = np.mean([expect(training, G, traits, *(values[k] for values in drawn)) for k in chosen], axis=0)
    names = [np.array(names, dtype=object) for names in (trial.lines, trial.envs, trial.traits)]
    return pd.DataFrame({"line": names[0][j], "env": names[1][i], "trait": names[2][l], "mean": mean[j, i, column]})
