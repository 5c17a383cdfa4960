"""REML where the answer is known: balanced designs, boundaries, singular covariances, what is not told, bad starts."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from bmtme.engines.mixed.axes import AR1, Identity, Known, Unstructured, Variance
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.engines.mixed.reml import fit_reml
from bmtme.errors import DataError, UsageError
from bmtme.testing.dense_mixed import DenseCholesky, DenseMixed
from tests.engines.mixed.cases import CASES


def fit(problem, **options):
    return fit_reml(problem, cholesky=DenseCholesky, **options)


def make_units(n):
    return (Section("units", np.arange(n), (Variance(), Identity(n))),)


def make_oneway(y):
    """Groups in rows."""
    groups, members = y.shape
    group = Term("group", (Variance(), Identity(groups)), np.repeat(np.arange(groups), members))
    return Problem(y.ravel(), np.ones((y.size, 1)), (group,), make_units(y.size))


def test_balanced_groups_have_the_estimates_of_an_analysis_of_variance():
    y = np.random.default_rng(1).standard_normal((12, 5)) + np.linspace(0, 4, 12)[:, None]
    found = fit(make_oneway(y))
    within = y.var(axis=1, ddof=1).mean()
    between = 5 * y.mean(axis=1).var(ddof=1)
    assert found.converged
    np.testing.assert_allclose(found.estimates, [within, (between - within) / 5], rtol=1e-6)
    # Sums of squares are s2 chi-square with a density each: -2 log L = sum df (log s2 + 1), and what X'X adds.
    assert found.log_likelihood == pytest.approx(-0.5 * (48 * np.log(within) + 11 * np.log(between) + 59 + np.log(60)))
    assert found.log_likelihood_full == pytest.approx(found.log_likelihood - 59 / 2 * np.log(2 * np.pi))
    assert found.fixed == pytest.approx([y.mean()])
    shrunk = (1 - within / between) * (y.mean(axis=1) - y.mean())
    np.testing.assert_allclose(found.effects[0], shrunk, rtol=1e-6)


def test_groups_more_alike_than_chance_have_no_variance():
    y = np.random.default_rng(2).standard_normal((8, 4))
    y -= y.mean(axis=1, keepdims=True)
    found = fit(make_oneway(y))
    group = found.components[1]
    assert found.converged
    assert (group.status, group.estimate < 1e-6, np.isnan(group.se)) == ("boundary", True, True)
    assert found.components[0].status == ""
    assert found.estimates[0] == pytest.approx(y.var(ddof=1), rel=1e-5)


def test_errors_are_those_of_the_average_information():
    problem = make_pair(0.5)
    found = fit(problem)
    V = np.linalg.inv(DenseMixed(problem).information(found.phi))
    J = np.zeros((5, 5))
    J[:2, :2] = np.diag(2 * np.exp(2 * found.phi[:2]))
    l11, l21, l22 = np.exp(found.phi[2]), found.phi[3], np.exp(found.phi[4])  # of the factor of trait:group
    J[2:, 2:] = [[2 * l11**2, 0, 0], [l11 * l21, l11, 0], [0, 2 * l21, 2 * l22**2]]
    assert {component.status for component in found.components} == {""}
    np.testing.assert_allclose([c.se for c in found.components], np.sqrt(np.diag(J @ V @ J.T)), rtol=1e-6)
    np.testing.assert_allclose(found.covariance, J @ V @ J.T, rtol=1e-5, atol=1e-9)
    assert found.derive([[1.0, 0, 0, 0, 1.0]])[0] == pytest.approx(np.sqrt((J @ V @ J.T)[np.ix_([0, 4], [0, 4])].sum()))


@pytest.mark.parametrize("a, b", [(1000.0, -3.0), (1e-3, 5e4)])
def test_units_of_the_data_do_not_matter(a, b):
    problem = make_pair(0.5)
    here, there = fit(problem), fit(replace(problem, y=a * problem.y + b))
    assert there.evaluations == here.evaluations
    np.testing.assert_allclose(there.estimates, here.estimates * a**2, rtol=1e-5)


def test_traits_may_differ_by_any_factor():
    problem = make_pair(0.5)
    factor = np.repeat([1e4, 1e-4], 60)
    here, there = fit(problem), fit(replace(problem, y=factor * problem.y))
    assert there.converged
    assert there.evaluations <= here.evaluations + 2
    np.testing.assert_allclose(there.estimates / here.estimates, [1e8, 1e-8, 1e8, 1.0, 1e-8], rtol=1e-4)


def test_size_of_a_known_covariance_does_not_matter():
    """One that is nearly singular, whose inverse says little of its diagonal; and one that is no covariance."""
    rng = np.random.default_rng(13)
    K = 0.3 * np.ones((20, 20)) + np.kron(np.eye(10), np.ones((2, 2))) + 1e-7 * np.eye(20)
    u = np.linalg.cholesky(K) @ rng.standard_normal(20)
    line = np.repeat(np.arange(20), 4)
    y = u[line] + 0.5 * rng.standard_normal(80)
    found = []
    for size in (1.0, 1e6):
        known = Known(sp.csr_matrix(np.linalg.inv(K) / size), float(np.linalg.slogdet(size * K)[1]))
        assert known.mean_diagonal == pytest.approx(1.3 * size, rel=0.5)
        term = Term("line", (Variance(), known), line)
        found.append(fit(Problem(y, np.ones((80, 1)), (term,), make_units(80))))
    assert found[0].evaluations == found[1].evaluations
    assert found[0].estimates[1] == pytest.approx(1.0, abs=0.7)
    np.testing.assert_allclose(found[1].estimates, found[0].estimates / [1.0, 1e6], rtol=1e-4)
    bad = Term("line", (Variance(), Known(sp.csr_matrix(-np.eye(20)), 0.0)), line)
    with pytest.raises(DataError, match="the known covariance of line cannot be used"):
        fit(Problem(y, np.ones((80, 1)), (bad,), make_units(80)))


def make_pair(correlation, seed=3):
    """Two traits of 15 groups of four, effects with this correlation, and residuals without any."""
    rng = np.random.default_rng(seed)
    n, groups = 60, 15
    group = np.tile(np.repeat(np.arange(groups), 4), 2)
    trait = np.repeat([0, 1], n)
    u = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], groups).T
    y = np.array([10.0, 1.0])[trait] * (u[trait, group] + rng.standard_normal(2 * n))
    term = Term("trait:group", (Unstructured(2), Identity(groups)), trait * groups + group)
    sections = tuple(Section(f"trait {k + 1}", np.flatnonzero(trait == k), (Variance(), Identity(n))) for k in range(2))
    return Problem(y, sp.csr_matrix(np.eye(2)[trait]), (term,), sections)


def test_any_start_reaches_the_same_top():
    problem = make_pair(0.5)
    rng = np.random.default_rng(4)
    best = fit(problem)
    for _ in range(3):  # the second comes to L_11 = 0 with L_21 of the wrong sign
        found = fit(problem, start=best.phi + rng.normal(0, 1, 5) * [1, 1, 1, 10, 1])
        assert found.converged
        assert found.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-7)
    again = fit(problem, start=best.phi)
    assert again.evaluations <= 2


def test_singular_covariance_is_said():
    found = fit(make_pair(1.0, seed=7))
    assert found.converged
    G = found.make_covariances(2)[0]
    assert G[1, 0] ** 2 == pytest.approx(G[0, 0] * G[1, 1], rel=1e-3)
    assert [component.status for component in found.components] == ["", "", "singular", "singular", "singular"]
    assert np.isfinite([component.se for component in found.components]).all()


@pytest.mark.slow
def test_few_records_of_three_traits_converge():
    """20 plots, and a covariance that becomes singular: the gradient beside it needs digits for the last steps."""
    rng = np.random.default_rng(9)
    lines = np.resize(np.arange(7), 20)
    L = np.linalg.cholesky(0.5 + 0.5 * np.eye(3))
    u = rng.standard_normal((7, 3)) @ L.T
    y = u[lines] + rng.standard_normal((20, 3)) @ np.linalg.cholesky(0.3 + 0.7 * np.eye(3)).T
    X = np.kron(np.eye(3), np.ones((20, 1)))
    term = Term("line", (Unstructured(3), Identity(7)), (7 * np.arange(3)[:, None] + lines).ravel())
    units = Section("units", np.arange(60), (Unstructured(3), Identity(20)))
    found = fit(Problem(y.T.ravel(), X, (term,), (units,)))
    assert found.converged


def test_what_the_data_do_not_tell_is_named():
    y = np.random.default_rng(6).standard_normal((10, 3))
    problem = make_oneway(y)
    plots = Term("plot", (Variance(), Identity(30)), np.arange(30))
    found = fit(replace(problem, terms=(*problem.terms, plots)))
    assert [component.status for component in found.components][::2] == ["untold", "untold"]
    whole = Term("all", (Variance(), Identity(1)), np.zeros(30, int))
    found = fit(replace(problem, terms=(whole,)))
    assert found.components[1].status == "untold"


def test_search_that_is_cut_short_says_what_to_do():
    found = fit(make_pair(0.5), most=2)
    assert not found.converged
    assert found.message.startswith(
        "has not converged after 2 evaluations of the likelihood: it still rises, most by the "
    )
    assert "corh or fa in place of us" in found.message
    with pytest.raises(UsageError, match="5 finite numbers"):
        fit(make_pair(0.5), start=np.zeros(4))


def test_known_errors_of_a_second_stage():
    """Means with a known covariance: only the variance of lines is estimated."""
    rng = np.random.default_rng(8)
    B = rng.standard_normal((30, 60))
    errors = B @ B.T / 60
    y = 5 + 2 * rng.standard_normal(30) + np.linalg.cholesky(errors) @ rng.standard_normal(30)
    known = Known(sp.csr_matrix(np.linalg.inv(errors)), float(np.linalg.slogdet(errors)[1]))
    line = Term("line", (Variance(), Identity(30)), np.arange(30))
    problem = Problem(y, np.ones((30, 1)), (line,), (Section("means", np.arange(30), (known,)),))
    found = fit(problem)
    (component,) = found.components
    grid = np.linspace(-0.05, 0.05, 21) + found.phi[0]
    values = [DenseMixed(problem).log_likelihood(np.array([phi])) for phi in grid]
    assert int(np.argmax(values)) == 10
    assert component.estimate == pytest.approx(np.exp(2 * found.phi[0]))
    nothing = fit(replace(problem, terms=()))  # nor anything to estimate
    assert nothing.converged
    assert nothing.components == ()
    assert nothing.log_likelihood == pytest.approx(DenseMixed(nothing.problem).log_likelihood(np.zeros(0)))


def test_residuals_and_combinations():
    problem = CASES["spatial"](np.random.default_rng(11))
    found = fit(problem)
    b, u = DenseMixed(problem).solve(found.phi)
    residuals = problem.y - problem.X[:, problem.kept] @ b - problem.designs[0] @ u
    np.testing.assert_allclose(found.find_residuals(), residuals, atol=1e-8)
    K = np.zeros((2, problem.p + len(u)))
    K[0, [0, 1]], K[1, 1] = 1.0, 1.0  # the mean of the first treatment; its own effect, which is none
    K[0, 4] = 1.0
    np.testing.assert_allclose(found.combine(K), [b[0] + b[1] + u[0], b[1]], atol=1e-8)
    assert found.is_estimable(K).tolist() == [True, False]
    errors = DenseMixed(problem).errors(found.phi)
    assert found.covariance_of(K[:1])[0, 0] == pytest.approx(errors[np.ix_([0, 1, 3], [0, 1, 3])].sum())
    found.equations.evaluate(found.phi + 0.3)  # elsewhere: errors are those at the estimates all the same
    np.testing.assert_allclose(found.find_pev(0), np.diag(errors)[3:], atol=1e-9)


def test_autocorrelation_that_runs_to_one_is_said():
    walk = np.cumsum(np.random.default_rng(12).standard_normal(40))
    problem = Problem(walk, np.ones((40, 1)), (), (Section("walk", np.arange(40), (Variance(), AR1(40))),))
    found = fit(problem)
    assert found.converged
    assert {component.status for component in found.components} <= {"", "singular"}
