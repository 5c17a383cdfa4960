"""Known covariances of the errors of records, and the part that all records of an environment have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

#: Of a record's error, what is left beyond the common part counts as nothing below this share.
NOTHING_LEFT = 1e-9


@dataclass(frozen=True)
class Errors:
    """Known error covariances of N records, E_n = S_i(n) + rest, in the user's units or scaled.

    Attributes
    ----------
    common : (I, L, L) S_i, zero for traits without a record in the environment
    rest : (N, L, L) over the traits seen, zero elsewhere
    root : (N, L, L) rest = root root'
    """

    common: np.ndarray
    rest: np.ndarray
    root: np.ndarray

    @property
    def uncertain(self) -> np.ndarray:
        """(N,) bool, which records have a rest."""
        return np.asarray(self.rest.any(axis=(1, 2)))

    def rescale(self, scale: np.ndarray) -> Errors:
        """The same with traits divided by their scale (L,)."""
        pair = np.multiply.outer(scale, scale)
        return Errors(self.common / pair, self.rest / pair, self.root / scale[:, None])


def share_errors(se: np.ndarray, correlation: np.ndarray, env: np.ndarray, n_env: int) -> Errors:
    """Errors of standard errors and a correlation of the traits: E = D P D, D = diag(se).

    With D_i the smallest standard errors of the environment, S_i = c D_i P D_i, c at most 1 and as large as leaves
    every E_n - S_i positive semi-definite: 1 where the errors of all traits change in proportion, and with one trait.

    Parameters
    ----------
    se : (N, L) NaN where there is no value; every record has one
    correlation : (L, L) positive definite
    env : (N,)
    """
    N, L = se.shape
    common, rest, root = np.zeros((n_env, L, L)), np.zeros((N, L, L)), np.zeros((N, L, L))
    for i in np.unique(env).tolist():
        here = np.flatnonzero(env == i)
        least = np.fmin.reduce(se[here], axis=0)
        shared = np.nan_to_num(np.multiply.outer(least, least) * correlation)
        seen = [np.flatnonzero(~np.isnan(row)) for row in se[here]]
        pairs = [
            np.multiply.outer(se[n, o], se[n, o]) * correlation[np.ix_(o, o)] for n, o in zip(here, seen, strict=True)
        ]
        shares = [
            float(eigh(own, shared[np.ix_(o, o)], eigvals_only=True)[0])
            for o, own in zip(seen, pairs, strict=True)
            if len(o) > 1
        ]
        common[i] = min([1.0, *shares]) * shared
        for n, o, own in zip(here, seen, pairs, strict=True):
            left = own - common[i][np.ix_(o, o)]
            if np.trace(left) <= NOTHING_LEFT * np.trace(own):
                continue
            values, vectors = np.linalg.eigh(left)
            half = vectors * np.sqrt(np.maximum(values, 0.0))
            rest[n][np.ix_(o, o)] = half @ half.T
            root[n][np.ix_(o, np.arange(len(o)))] = half
    return Errors(common, rest, root)
