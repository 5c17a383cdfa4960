"""GBLUP of one trait by REML, in plain dense algebra: the rival that any breeder has at hand.

y = X b + g + ge + e, environments fixed, g ~ N(0, s1 G) the same in every environment and ge ~ N(0, s2 G) in each by
itself (Lopez-Cruz et al. 2015, G3 5:569-582), one residual variance. Predictions are X b + E[g + ge | y].
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize


def predict(
    y: np.ndarray, line: np.ndarray, env: np.ndarray, G: np.ndarray, wanted_line: np.ndarray, wanted_env: np.ndarray
) -> np.ndarray:
    """Predictions of cells.

    Parameters
    ----------
    y, line, env : (n,) values and places of their line in G and of their environment
    wanted_line, wanted_env : (m,) of the cells to predict, in environments with values
    """
    main = G[np.ix_(line, line)]
    own = main * np.equal.outer(env, env)
    envs, place = np.unique(env, return_inverse=True)
    X = np.eye(len(envs))[place]
    n, p = X.shape

    def solve(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """REML criterion, residual variance profiled out; means; V^-1 (y - X b). theta: log s1 / se, log s2 / se."""
        V = np.exp(theta[0]) * main + np.exp(theta[1]) * own
        V[np.diag_indices(n)] += 1.0
        root, lower = cho_factor(V, lower=True)
        Wx, Wy = (solve_triangular(root, values, lower=lower) for values in (X, y))
        A = Wx.T @ Wx
        b = np.linalg.solve(A, Wx.T @ Wy)
        rest = Wy - Wx @ b
        logs = 2.0 * np.log(np.diag(root)).sum() + np.linalg.slogdet(A)[1]
        return (n - p) * np.log(rest @ rest) + logs, b, cho_solve((root, lower), y - X @ b)

    found = minimize(
        lambda theta: solve(theta)[0], np.log([0.5, 0.5]), method="Nelder-Mead", bounds=[(-9.0, 5.0)] * 2,
        options={"xatol": 0.02, "fatol": 1e-3, "maxiter": 150},
    )  # fmt: skip
    _, b, weights = solve(found.x)
    K = G[np.ix_(wanted_line, line)]
    alike = np.equal.outer(wanted_env, env)
    means = b[np.searchsorted(envs, wanted_env)]
    return np.asarray(means + (np.exp(found.x[0]) * K + np.exp(found.x[1]) * K * alike) @ weights)
