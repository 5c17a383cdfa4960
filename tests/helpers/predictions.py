"""Predictions by hand, by formulas that share nothing with the eigenbasis."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from tests.helpers.trials import trial_of


def mixture_quantile(mean, variance, p):
    """The p quantile of an equal mixture of normals, by a root finder and SciPy's distribution function."""
    sd = np.sqrt(variance)
    low, high = (mean - 20 * sd).min() - 1.0, (mean + 20 * sd).max() + 1.0
    return brentq(lambda x: norm.cdf(x, mean, sd).mean() - p, low, high, xtol=1e-13, rtol=1e-14)


def flatten(posterior, name):
    """Draws with chains one after another, (S, ...)."""
    values = posterior[name].values
    return values.reshape(-1, *values.shape[2:])


def predict_by_hand(frame, relationship, posterior):
    """Per draw: conditional mean and drawn value of beta + b1 + b2, spare variance: (S, n, I, L) arrays.

    Columns without a record: E[u_absent | u_recorded] = C_ao C_oo^-1 u_o with C = (11' + Sigma_E) (x) Sigma_t, and
    mu for beta. Lines without one: G_no G_oo^+ u, and the variance G_nn - G_no G_oo^+ G_on of theirs.
    """
    lines = [str(name) for name in posterior["line"].values]
    beta, b1, S = (flatten(posterior, name) for name in ("beta", "b1", "Sigma_t"))
    draws, I, L = beta.shape
    E = flatten(posterior, "Sigma_E") if "Sigma_E" in posterior else np.zeros((draws, I, I))
    b2 = flatten(posterior, "b2") if "b2" in posterior else np.zeros((draws, I, len(lines), L))
    u = (b1[:, None] + b2).transpose(0, 2, 1, 3).reshape(draws, len(lines), I * L)
    counts = trial_of(frame).counts().sum(axis=0).ravel() > 0
    a, o = np.flatnonzero(~counts), np.flatnonzero(counts)
    expected, centre = u.copy(), beta.reshape(draws, I * L).copy()
    if len(a):
        centre[:, a] = np.tile(flatten(posterior, "mu"), (1, I))[:, a]
    for s in range(draws if len(a) else 0):
        C = np.kron(np.ones((I, I)) + E[s], S[s])
        expected[s][:, a] = u[s][:, o] @ np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, a)])
    names = relationship.lines
    known, everyone = relationship.index(lines), np.arange(len(names))
    G = np.asarray(relationship.matrix)
    A = G[np.ix_(everyone, known)] @ np.linalg.pinv(G[np.ix_(known, known)], rcond=1e-9, hermitian=True)
    spare = np.maximum(np.diag(G) - np.einsum("nj,nj->n", A, G[np.ix_(everyone, known)]), 0.0)
    column = np.einsum("sll->sl", S)[:, None, :] * (1.0 + np.einsum("sii->si", E))[:, :, None]

    def to_cells(effects, means):
        values = np.einsum("nj,sjm->snm", A, effects) + means[:, None, :]
        return values.reshape(draws, len(names), I, L)

    return (
        to_cells(expected, centre),
        to_cells(u, beta.reshape(draws, I * L)),
        spare[None, :, None, None] * column[:, None],
    )
