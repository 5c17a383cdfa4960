"""The standard model in raw units, as the paper writes it: one genetic and one residual variance for all traits.

With traits in different units the draws of one with small figures are as wide as those of the largest, and a mean of
thousands of draws is mostly noise. So the means are taken exactly: the conditional expectation of every cell, averaged
over draws of the variances. Environment means have a flat prior here, which is of no account where all are recorded.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

import bmtme
from bmtme.cv.schemes import Partition
from bmtme.results.predictions import spread_evenly
from validation.paper.kept import Data

#: Draws of the variances, evenly spread over the chains.
VARIANCES = 25


def expect(trial: bmtme.Trial, G: np.ndarray, s2_t: float, s2_E: float, s2_e: float) -> np.ndarray:
    """Conditional expectation of every cell given the variances, (J, I, L).

    Generalised least squares for the means and the best linear prediction of the effects: with K the covariance
    s2_t (11' + s2_E I) (x) G of the cells' effects, V = K_oo + s2_e I and X the environments of the records,
    b = (X'V^-1 X)^-1 X'V^-1 y and E = b + K_ao V^-1 (y - X b). Records hold all traits or none.
    """
    records = ~np.isnan(trial.values).any(axis=1)
    line, env, y = trial.line_index[records], trial.env_index[records], trial.values[records]
    n_env = len(trial.envs)
    total = s2_t * (1.0 + s2_E * np.eye(n_env))
    V = total[np.ix_(env, env)] * G[np.ix_(line, line)] + s2_e * np.eye(len(y))
    factor = cho_factor(V)
    X = np.eye(n_env)[env]
    solved = cho_solve(factor, np.column_stack([X, y]))
    b = np.linalg.solve(X.T @ solved[:, :n_env], X.T @ solved[:, n_env:])
    a = cho_solve(factor, y - X @ b)
    return np.stack([b[i] + (total[i, env] * G[:, line]) @ a for i in range(n_env)], axis=1)


def predict_partition(data: Data, partition: Partition, seed: int, cores: int, tune: int, draws: int) -> pd.DataFrame:
    """Predictions of the hidden cells: line, env, trait, mean.

    Every line of the trial is in the relationship; the hidden cells lose all traits.
    """
    trial, relationship = data
    training = trial.hide(partition.record_mask(trial))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short chains, meant so
        fit = bmtme.fit(
            training, relationship, bmtme.BMTME("standard", units="raw"), draws=draws, tune=tune, chains=2, seed=seed,
            cores=cores, keep_effects="none", progress=False,
        )  # fmt: skip
    place = [relationship.lines.index(line) for line in trial.lines]
    G = np.asarray(relationship.matrix)[np.ix_(place, place)]
    drawn = [fit.idata.posterior[name].values[:, :, 0, 0].ravel() for name in ("Sigma_t", "Sigma_E", "R_e")]
    with threadpool_limits(1):  # the same digits on any number of cores
        chosen = spread_evenly(len(drawn[0]), VARIANCES)
        mean = np.mean([expect(training, G, *(values[k] for values in drawn)) for k in chosen], axis=0)
    j, i, l = np.nonzero(partition.scored(trial))
    names = [np.array(names, dtype=object) for names in (trial.lines, trial.envs, trial.traits)]
    return pd.DataFrame({"line": names[0][j], "env": names[1][i], "trait": names[2][l], "mean": mean[j, i, l]})
