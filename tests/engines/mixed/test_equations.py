"""Mixed model equations against the model written out: likelihood, slopes, solutions, errors."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import bmtme
from bmtme.engines.mixed.axes import Identity, Known, Variance
from bmtme.engines.mixed.equations import Equations
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.engines.mixed.start import find_ranges
from bmtme.linalg.sparse import SparseCholesky
from bmtme.testing.dense_mixed import DenseCholesky, DenseMixed
from tests.engines.mixed.cases import CASES


def draw_phi(problem, rng):
    ranges = find_ranges(problem)
    return ranges.start + rng.normal(0, 0.4, len(ranges.start))


@pytest.mark.parametrize("cholesky", [DenseCholesky, SparseCholesky])
@pytest.mark.parametrize("case", CASES)
def test_equations_are_the_model(case, cholesky, monkeypatch):
    monkeypatch.setattr("bmtme.engines.mixed.equations.SOLVED", 60)  # a few columns at a time
    rng = np.random.default_rng(5)
    problem = CASES[case](rng)
    twin, equations = DenseMixed(problem), Equations(problem, cholesky)
    for _ in range(2):
        phi = draw_phi(problem, rng)
        found = equations.evaluate(phi)
        assert found.log_likelihood == pytest.approx(twin.log_likelihood(phi), abs=1e-9)
        np.testing.assert_allclose(found.gradient, twin.gradient(phi), atol=1e-8)
        np.testing.assert_allclose(found.information, twin.information(phi), atol=1e-9)
        b, u = twin.solve(phi)
        fixed, effects = equations.find_effects(found.solution)
        np.testing.assert_allclose(fixed[problem.kept], b, atol=1e-9)
        assert np.isnan(np.delete(fixed, problem.kept)).all()
        np.testing.assert_allclose(np.concatenate(effects), u, atol=1e-9)
        errors = twin.errors(phi)
        pev = np.concatenate(equations.find_error_variances())
        np.testing.assert_allclose(pev, np.diag(errors)[problem.rank :], atol=1e-9)
        K = rng.standard_normal((3, problem.p + len(u)))
        K[:, np.setdiff1d(np.arange(problem.p), problem.kept)] = 0.0
        kept = np.delete(K, np.setdiff1d(np.arange(problem.p), problem.kept), axis=1)
        np.testing.assert_allclose(equations.find_covariance(sp.csr_matrix(K)), kept @ errors @ kept.T, atol=1e-9)
        P = twin.project(phi)
        shares, own = equations.find_deletions(phi)
        np.testing.assert_allclose(shares, P @ problem.y, atol=1e-8)
        np.testing.assert_allclose(own, np.diag(P), atol=1e-9)


def test_orders_agree():
    rng = np.random.default_rng(6)
    problem = CASES["spatial"](rng)
    equations, phi = Equations(problem, DenseCholesky), draw_phi(problem, rng)
    whole = equations.evaluate(phi)
    assert equations.evaluate(phi, 0).log_likelihood == whole.log_likelihood
    np.testing.assert_array_equal(equations.evaluate(phi, 1).gradient, whole.gradient)
    assert len(equations.evaluate(phi, 1).information) == 0


def test_likelihood_does_not_see_the_level_of_the_data():
    rng = np.random.default_rng(7)
    problem = CASES["spatial"](rng)
    far = type(problem)(problem.y + 1e7, problem.X, problem.terms, problem.sections)
    phi = draw_phi(problem, rng)
    here, there = (Equations(p, DenseCholesky).evaluate(phi).log_likelihood for p in (problem, far))
    assert there == pytest.approx(here, abs=1e-6)


def test_singular_equations_have_no_likelihood():
    problem = CASES["spatial"](np.random.default_rng(8))
    phi = np.full(Equations(problem, DenseCholesky).count, 400.0)
    assert Equations(problem, DenseCholesky).evaluate(phi).log_likelihood == -np.inf


def test_memory_is_known_beforehand():
    """What a fit takes at its most, of arrays, is about what the equations say before they are factored."""
    pop = bmtme.simulate_selection(animals=500, generations=3, seed=2)
    inverse = bmtme.pedigree_inverse(pop.pedigree)
    n = len(pop.frame)
    axes = (Variance(), Known(inverse.matrix, inverse.log_determinant, 1.0))
    units = Section("units", np.arange(n), (Variance(), Identity(n)))
    problem = Problem(pop.frame["weight"].to_numpy(), np.ones((n, 1)), (Term("animal", axes, np.arange(n)),), (units,))
    Equations(problem).evaluate(np.zeros(2))  # compiled
    problem = replace(problem)
    tracemalloc.start()
    try:
        equations = Equations(problem)
        equations.evaluate(np.zeros(2))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.75 < equations.memory / peak < 1.33
