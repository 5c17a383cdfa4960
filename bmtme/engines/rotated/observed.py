"""Log density of the recorded values with everything else but the covariances integrated out, as one dense normal.

For comparing a few points only: the cost is the cube of the number of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve

from bmtme.model.codes import EXCHANGEABLE
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.factors import Factor

#: More values than this are not put into one matrix (a second of work, 300 MB).
MOST_VALUES = 4000
#: Variance of what has a flat prior, in scaled units: traits have variance one.
WIDE = 1e4
#: Records from which on an environment's covariance of two traits is told.
FEW = 5


@dataclass(frozen=True)
class Observed:
    """Recorded values in scaled units, and where they stand.

    Attributes
    ----------
    values : (N, L), NaN where missing
    line, env : (N,) indices among the lines and environments of the layout
    basis : of the relationship of the lines
    factors : of the records, whose effects get a flat prior
    plots : (N,) of which each record is the mean; default one
    """

    values: np.ndarray
    line: np.ndarray
    env: np.ndarray
    basis: Eigenbasis
    factors: Sequence[Factor] = ()
    plots: np.ndarray | None = None

    def measure_covariances(self, n_env: int) -> tuple[np.ndarray, np.ndarray]:
        """Covariances of the records around the means of their environment.

        Returns
        -------
        pooled : (L, L) over all environments
        each : (n_env, L, L), the pooled entries where an environment says too little
        """
        L = self.values.shape[1]
        seen = ~np.isnan(self.values)
        sums, pairs = np.zeros((n_env, L, L)), np.zeros((n_env, L, L))
        for i in range(n_env):
            here = self.env == i
            count = seen[here].sum(axis=0)
            mean = np.where(seen[here], self.values[here], 0.0).sum(axis=0) / np.maximum(count, 1)
            rest = np.where(seen[here], self.values[here] - mean, 0.0)
            sums[i], pairs[i] = rest.T @ rest, seen[here].T.astype(float) @ seen[here]
        pooled = _lift(sums.sum(axis=0) / np.maximum(pairs.sum(axis=0) - n_env, 1.0))
        each = np.where(pairs >= FEW, sums / np.maximum(pairs - 1.0, 1.0), pooled)
        return pooled, np.array([_lift(matrix) for matrix in each])

    def log_density(self, Sigma_t: np.ndarray, s2_E: np.ndarray, R_e: np.ndarray, tau2: np.ndarray, kind: int) -> float:
        """log p(values | covariances), the means with variance tau2 around a flat common one, or flat themselves.

        Raises
        ------
        numpy.linalg.LinAlgError
            Where a covariance is not positive definite.
        """
        record, trait = np.nonzero(~np.isnan(self.values))
        line, env = self.line[record], self.env[record]
        G = self._relate()
        V = np.equal.outer(env, env) * s2_E[env] + 1.0
        V *= Sigma_t[np.ix_(trait, trait)]
        V *= np.equal.outer(line, line) if G is None else G[np.ix_(line, line)]
        plots = 1.0 if self.plots is None else self.plots[record]
        V += np.equal.outer(record, record) * R_e[np.ix_(trait, trait)] / plots
        same = np.equal.outer(trait, trait)
        within = same & np.equal.outer(env, env)
        V += within * tau2[trait] + same * WIDE if kind == EXCHANGEABLE else within * WIDE
        for factor in self.factors:
            level = factor.level[record]
            if factor.weight is not None:
                V += same * np.outer(factor.weight[record], factor.weight[record]) * WIDE
                continue
            if not len(factor.env):
                continue
            active = (level >= 0) & factor.active[level, trait]
            V += (same & np.equal.outer(level, level) & active) * WIDE
        y = self.values[record, trait]
        K = np.linalg.cholesky(V)
        quadratic = y @ cho_solve((K, True), y, check_finite=False)
        return float(-0.5 * quadratic - np.log(np.diag(K)).sum())

    def _relate(self) -> np.ndarray | None:
        """Relationship of the lines over its mean diagonal; None for an identity."""
        if self.basis.vectors is None:
            return None
        loadings = self.basis.vectors * np.sqrt(self.basis.values) / np.sqrt(self.basis.multiples)[:, None]
        G: np.ndarray = loadings @ loadings.T
        return G


def _lift(matrix: np.ndarray) -> np.ndarray:
    """The nearest matrix without eigenvalues near or below zero."""
    values, vectors = np.linalg.eigh(matrix)
    lifted: np.ndarray = (vectors * np.maximum(values, max(1e-6 * values[-1], 1e-12))) @ vectors.T
    return lifted
