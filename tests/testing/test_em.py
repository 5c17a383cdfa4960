"""EM-REML, the readable twin, beside a likelihood with the full covariance of the data, and a formula by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize

import bmtme
from bmtme.testing.em import fit_by_em


def reml(Y, X, animal, A, G, R):
    """Log likelihood, up to a constant, from V itself; missing values are left out."""
    N, L = Y.shape
    keep = np.isfinite(Y).ravel()
    V = (np.kron(A[np.ix_(animal, animal)], G) + np.kron(np.eye(N), R))[np.ix_(keep, keep)]
    W = np.kron(X, np.eye(L))[keep]
    y = Y.ravel()[keep]
    V_inverse = np.linalg.inv(V)
    information = W.T @ V_inverse @ W
    b = np.linalg.solve(information, W.T @ V_inverse @ y)
    e = y - W @ b
    return -0.5 * (np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1] + e @ V_inverse @ e)


def test_balanced_groups_by_hand():
    """Unrelated animals of k records: R is the mean square within, G (between - within) / k."""
    rng = np.random.default_rng(1)
    J, k = 12, 4
    animal = np.repeat(np.arange(J), k)
    y = rng.normal(0, 2, J)[animal] + rng.normal(0, 1, J * k)
    means = y.reshape(J, k).mean(axis=1)
    within = ((y - means[animal]) ** 2).sum() / (J * (k - 1))
    between = k * means.var(ddof=1)
    fit = fit_by_em(y[:, None], np.ones((J * k, 1)), animal, np.eye(J), tolerance=1e-12)
    assert fit.converged
    assert fit.residual[0, 0] == pytest.approx(within, rel=1e-4)
    assert fit.genetic[0, 0] == pytest.approx((between - within) / k, rel=1e-4)
    assert fit.fixed[0, 0] == pytest.approx(y.mean())
    # Shrunk means: weight k G / (k G + R).
    weight = k * fit.genetic[0, 0] / (k * fit.genetic[0, 0] + fit.residual[0, 0])
    np.testing.assert_allclose(fit.values[:, 0], weight * (means - y.mean()), rtol=1e-6)


def population(animals, generations, seed):
    pop = bmtme.simulate_selection(animals=animals, generations=generations, heritability=0.5, seed=seed)
    A = bmtme.pedigree_relationship(pop.pedigree).matrix
    frame = pop.frame
    X = np.column_stack([np.ones(len(frame)), frame["sex"] == "male", frame["age"] - 205]).astype(float)
    return frame["weight"].to_numpy(), X, np.asarray(A)


def test_selected_animals_beside_a_search_of_the_likelihood():
    y, X, A = population(30, 2, 7)
    animal = np.arange(len(y))
    fit = fit_by_em(y[:, None], X, animal, A, tolerance=1e-9)
    assert (np.diff(fit.log_likelihood) > -1e-9).all()

    def cost(logs):
        return -reml(y[:, None], X, animal, A, *(np.array([[np.exp(v)]]) for v in logs))

    best = minimize(cost, np.log([300.0, 300.0]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    assert fit.log_likelihood[-1] == pytest.approx(-best.fun, abs=1e-5)
    np.testing.assert_allclose([fit.genetic[0, 0], fit.residual[0, 0]], np.exp(best.x), rtol=0.01)


def test_two_traits_with_missing_values():
    """Two weighings of each animal, two traits: the likelihood is that of V, and flat at the estimates."""
    _, X, A = population(14, 2, 3)
    rng = np.random.default_rng(5)
    J = len(A)
    animal = np.repeat(np.arange(J), 2)
    X = X[animal, :2]
    U = np.linalg.cholesky(A) @ rng.standard_normal((J, 2)) @ np.array([[1.5, 0.8], [0.0, 1.2]])
    Y = U[animal] + rng.standard_normal((2 * J, 2)) @ np.array([[1.0, 0.3], [0.0, 1.0]]) + X @ [[7.0, 20.0], [1.0, 2.0]]
    Y[rng.random(Y.shape) < 0.15] = np.nan
    fit = fit_by_em(Y, X, animal, A, rounds=400, tolerance=1e-8)
    assert fit.converged
    assert (np.diff(fit.log_likelihood) > -1e-9).all()
    at = reml(Y, X, animal, A, fit.genetic, fit.residual)
    assert fit.log_likelihood[-1] == pytest.approx(at, abs=1e-8)
    for name in ("genetic", "residual"):
        for a, b in ((0, 0), (0, 1), (1, 1)):
            step = np.zeros((2, 2))
            step[a, b] = step[b, a] = 1e-3
            ends = []
            for sign in (-1, 1):
                values = {"genetic": fit.genetic, "residual": fit.residual}
                values[name] = values[name] + sign * step
                ends.append(reml(Y, X, animal, A, values["genetic"], values["residual"]))
            assert abs(ends[1] - ends[0]) / 2e-3 < 0.01
