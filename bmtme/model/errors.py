"""Known covariances of the errors of records, and the part that all records of an environment have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh

#: Of a record's error, what is left beyond the common part counts as nothing below this share.
NOTHING_LEFT = 1e-9


#: Of the largest common part of the errors of several traits that correlate between records, what is taken over into
#: the residual: their traits are drawn in turn, which stands still where nothing of a combination of errors is left.
SHARE = 0.9
#: Correlations of errors of several traits have no smaller eigenvalue; those of one may be one and the same error.
LEAST_EIGENVALUE = 1e-6


@dataclass(frozen=True)
class Group:
    """What is left of the errors of a trait's values in an environment, given those of its other traits.

    With e_l the errors of the trait and e_o those of the others, one trait after the other,
    e_l | e_o ~ N(gain e_o, turn diag(values) turn').

    Attributes
    ----------
    env, trait : places
    records : (n,) with a value of the trait
    turn, values : (n, n), (n,)
    gain : (n, m)
    """

    env: int
    trait: int
    records: np.ndarray
    turn: np.ndarray
    values: np.ndarray
    gain: np.ndarray


@dataclass(frozen=True)
class Errors:
    """Known error covariances of N records, E_n = S_i(n) + rest, in the user's units or scaled.

    Attributes
    ----------
    common : (I, L, L) S_i, zero for traits without a record in the environment
    rest : (N, L, L) over the traits seen, zero elsewhere
    root : (N, L, L) rest = root root', zero where errors correlate between records
    groups : of the latter, by environment and trait; without them errors are independent between records
    """

    common: np.ndarray
    rest: np.ndarray
    root: np.ndarray
    groups: tuple[Group, ...] = ()

    @property
    def uncertain(self) -> np.ndarray:
        """(N,) bool, which records have a rest."""
        found = np.asarray(self.rest.any(axis=(1, 2)))
        for group in self.groups:
            found[group.records] = True
        return found

    def rescale(self, scale: np.ndarray) -> Errors:
        """The same with traits divided by their scale (L,)."""
        pair = np.multiply.outer(scale, scale)
        groups = []
        for own in self.groups:
            others = [other for other in self.groups if other.env == own.env and other.trait != own.trait]
            units = np.concatenate([np.zeros(0), *(np.full(len(o.records), scale[o.trait]) for o in others)])
            unit = scale[own.trait]
            groups.append(replace(own, values=own.values / unit**2, gain=own.gain * (units / unit)))
        return Errors(self.common / pair, self.rest / pair, self.root / scale[:, None], tuple(groups))


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


def share_covariances(
    covariances: Mapping[str, np.ndarray], observed: np.ndarray, env: np.ndarray, envs: Sequence[str]
) -> Errors:
    """Errors that correlate between the records of an environment, with covariance V_i of its values.

    What they have in common is c D_i for each record, D_i of the smallest standard errors of the environment and the
    mean correlation within its records, c the smallest eigenvalue of V_i against it: with one trait, that of V_i.

    Parameters
    ----------
    covariances : by environment, (n, L, n, L) over its records in their order; `find_dependence` finds nothing
    observed : (N, L) bool
    env : (N,)
    """
    N, L = observed.shape
    common, rest, root = np.zeros((len(envs), L, L)), np.zeros((N, L, L)), np.zeros((N, L, L))
    groups: list[Group] = []
    for i in np.unique(env).tolist():
        here = np.flatnonzero(env == i)
        # Values by trait, so that those of one stand together.
        l, n = np.nonzero(observed[here].T)
        V = covariances[envs[i]][n[:, None], l[:, None], n, l]
        several = len(np.unique(l)) > 1
        D = find_typical(V, n, l, L)
        among = np.equal.outer(n, n) * D[l[:, None], l]
        least = max(float(eigh(V, among, eigvals_only=True, subset_by_index=[0, 0])[0]), 0.0)
        common[i] = (SHARE if several else 1.0) * least * D
        left = V - common[i][l[:, None], l] * np.equal.outer(n, n)
        if np.trace(left) <= NOTHING_LEFT * np.trace(V):
            continue
        for k in range(len(here)):
            own = np.flatnonzero(n == k)
            rest[here[k]][np.ix_(l[own], l[own])] = left[np.ix_(own, own)]
        inverse = np.linalg.inv(left) if several else left
        for t in np.unique(l).tolist():
            a, b = np.flatnonzero(l == t), np.flatnonzero(l != t)
            P = inverse[np.ix_(a, a)]
            gain = -np.linalg.solve(P, inverse[np.ix_(a, b)]) if len(b) else np.zeros((len(a), 0))
            own = np.linalg.inv(P) if several else left
            values, turn = np.linalg.eigh(0.5 * (own + own.T))
            groups.append(Group(i, t, here[n[a]], turn, np.maximum(values, 0.0), gain))
    return Errors(common, rest, root, tuple(groups))


def find_typical(V: np.ndarray, n: np.ndarray, l: np.ndarray, n_trait: int) -> np.ndarray:
    """D (L, L) of the smallest standard errors of the traits, and the mean correlation of the errors of a record.

    Parameters
    ----------
    V : covariance of some values
    n, l : their records and traits
    """
    se = np.sqrt(V.diagonal())
    least, P = np.zeros(n_trait), np.eye(n_trait)
    place = {pair: k for k, pair in enumerate(zip(n.tolist(), l.tolist(), strict=True))}
    traits = np.unique(l).tolist()
    for a in traits:
        least[a] = se[l == a].min()
        for b in traits:
            pairs = [(place[k, a], place[k, b]) for k in np.unique(n).tolist() if (k, a) in place and (k, b) in place]
            if a != b and pairs:
                u, v = np.array(pairs).T
                P[a, b] = np.mean(V[u, v] / (se[u] * se[v]))
    if np.linalg.eigvalsh(P)[0] < LEAST_EIGENVALUE:  # of traits on different records
        P = np.eye(n_trait)
    return np.asarray(np.multiply.outer(least, least) * P)


def find_dependence(
    covariances: Mapping[str, np.ndarray], observed: np.ndarray, env: np.ndarray, envs: Sequence[str]
) -> list[str]:
    """Environments in which errors of several traits are linearly dependent; arguments as of `share_covariances`."""
    found = []
    for i in np.unique(env).tolist():
        n, l = np.nonzero(observed[env == i])
        V = covariances[envs[i]][n[:, None], l[:, None], n, l]
        se = np.sqrt(V.diagonal())
        if len(np.unique(l)) > 1 and np.linalg.eigvalsh(V / np.multiply.outer(se, se))[0] < LEAST_EIGENVALUE:
            found.append(envs[i])
    return found
