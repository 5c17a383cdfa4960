"""Records with errors of known covariance: conditionals, density and whole sweeps, against dense algebra."""

import re

import numpy as np
import pytest
from scipy.linalg import eigvalsh

from bmtme.engines.rotated.collapsed import resume_walk
from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.engines.rotated.draws import allocate_draws, hold_draws, record_draw
from bmtme.engines.rotated.line_effect import start_line
from bmtme.model.errors import share_errors
from bmtme.structures.by_env import ByEnv
from bmtme.structures.free import Free
from bmtme.structures.proportional import Proportional
from bmtme.structures.tied import Tied
from bmtme.testing.cases import DESIGNS, draw_tame, make_case
from bmtme.testing.laws import join_laws, join_restrictions
from bmtme.testing.pairs import (
    build_pair_problem,
    compare_pair,
    make_errors,
    measure_marginal,
    open_walk,
    read_covariances,
)
from bmtme.testing.scripted import assert_normal, import_plain
from tests.structures.test_structures import FULL_SPARSE, complete, start_at

PLAIN = import_plain()
PAIRS = {"tied": (Proportional(), Tied()), "by environment": (Free(), ByEnv())}
PLACES = [("missing", False), ("complete", True), ("one-trait", False), ("absent", False)]


def make_error_scene(name, design, line_effect):
    """A case, its errors, unknowns, true values and those recorded, the problem and its state."""
    case = make_case(DESIGNS[design], even=line_effect, uncertain=True)
    errors = make_errors(case)[2]
    rng = np.random.default_rng(5)
    t = draw_tame(rng, case.model)
    true, pads = case.model.draw_values(rng, t), case.pads().draw_values(rng, t)
    values = true + np.einsum("nlk,nk->nl", errors.root, rng.standard_normal(true.shape))
    p = build_pair_problem(case, PAIRS[name], values, line_effect, errors=errors)
    s = case.pack(p, t, true, pads)
    L = p.n_trait
    s.R_e[:] = np.vstack([t.R_e * (1.0 + 0.3 * k) for k in range(len(s.R_e) // L)]) + p.common
    if line_effect:
        s.r[:] = rng.standard_normal(s.r.shape)
    return case, errors, t, true, values, pads, p, s


def test_common_part_of_one_trait_is_the_least():
    se = np.array([[0.5], [1.0], [np.nan], [0.3]])
    errors = share_errors(se[[0, 1, 3]], np.eye(1), np.array([0, 0, 1]), 3)
    np.testing.assert_allclose(errors.common.ravel(), [0.25, 0.09, 0.0])
    np.testing.assert_allclose(errors.rest.ravel(), [0.0, 0.75, 0.0])
    np.testing.assert_array_equal(errors.uncertain, [False, True, False])
    np.testing.assert_allclose(errors.rescale(np.array([2.0])).common.ravel(), [0.0625, 0.0225, 0.0])


def test_common_part_of_several_traits():
    case = make_case(DESIGNS["absent"])
    se, correlation, errors = make_errors(case)
    env = case.model.env
    for i in range(3):
        least = []
        for n in np.flatnonzero(env == i):
            o = case.observed[n]
            whole = np.outer(se[n], se[n]) * correlation
            np.testing.assert_allclose((errors.common[i] + errors.rest[n])[np.ix_(o, o)], whole[np.ix_(o, o)])
            np.testing.assert_allclose(errors.root[n] @ errors.root[n].T, errors.rest[n], atol=1e-12)
            assert not errors.rest[n][~o].any()
            least.append(eigvalsh(errors.rest[n]).min())
        assert min(least) > -1e-12
        assert errors.common[i].trace() > 0.0
    # In proportion, all of the least is common.
    se = np.array([[0.5, 2.0], [1.0, 4.0], [0.75, np.nan]])
    errors = share_errors(se, correlation[:2, :2], np.zeros(3, int), 1)
    np.testing.assert_allclose(errors.common[0], [[0.25, 0.6], [0.6, 4.0]])
    np.testing.assert_array_equal(errors.uncertain, [False, True, True])
    # Where one trait alone is less precise, as much as leaves no error a negative variance.
    se, correlation = np.array([[1.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 0.8], [0.8, 1.0]])
    errors = share_errors(se, correlation, np.zeros(2, int), 1)
    share = errors.common[0, 0, 0]
    assert 0.1 < share < 0.9
    np.testing.assert_allclose(errors.common[0], share * correlation)
    np.testing.assert_allclose(errors.common[0] + errors.rest[1], [[1.0, 2.4], [2.4, 9.0]])
    np.testing.assert_allclose(eigvalsh(errors.rest[1])[0], 0.0, atol=1e-12)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("design", "line_effect"), PLACES)
def test_true_values(design, line_effect, name):
    """The normal of a record's true values given what is seen of it with its error, trait by trait in one matrix."""
    if design == "absent" and name != "tied":
        pytest.skip("a free covariance needs a record in every column")
    case, errors, t, _, values, _, p, s = make_error_scene(name, design, line_effect)
    L, u = p.n_trait, case.total(t)
    r = case.basis.rotate_plain(s.r) if line_effect else np.zeros((L, len(case.model.G)))
    records = case.layout.part_record
    assert len(records) > len(values) / 2

    def draw(rng):
        w = PLAIN.state.allocate_work(p)
        own = s._replace(part=s.part.copy(), pad=s.pad.copy(), Y=s.Y.copy())
        assert PLAIN.steps.impute(rng, p, own, w, False)
        return own.part[:, :][np.repeat(case.recorded[case.model.env[records]], 1, axis=0)]

    size = int(case.recorded[case.model.env[records]].sum())
    mean, covariance, first = np.empty(size), np.zeros((size, size)), 0
    for n in records:
        j, i = case.model.line[n], case.model.env[n]
        g, o = np.flatnonzero(case.recorded[i]), np.flatnonzero(case.observed[n])
        R = s.R_e[p.block[i] * L : (p.block[i] + 1) * L]
        fitted = t.beta[i] + u[i, :, j] + r[:, j]
        gain = R[np.ix_(g, o)] @ np.linalg.inv((R + errors.rest[n])[np.ix_(o, o)])
        rows = slice(first, first + len(g))
        mean[rows] = fitted[g] + gain @ (values[n, o] - fitted[o])
        covariance[rows, rows] = R[np.ix_(g, g)] - gain @ R[np.ix_(o, g)]
        first += len(g)
    assert_normal(draw, mean, covariance)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("design", "line_effect"), PLACES)
def test_density_and_gradient(design, line_effect, name):
    """Of the true values, whose residuals have the common errors in them; the parameters are those without."""
    if design == "absent" and name != "tied":
        pytest.skip("a free covariance needs a record in every column")
    case, errors, t, true, _, pads, p, s = make_error_scene(name, design, line_effect)
    walk, held = open_walk(p, s)
    whole = case.without_absent(case.completed().env, np.vstack([true, pads]))
    own = start_line(p.line_prior, t.R_e) if line_effect else np.zeros(0)
    first = np.concatenate([start_at(PAIRS[name], p, t), own])
    rng = np.random.default_rng(3)
    gradient, scratch = np.empty((2, len(first)))
    differences, found = [], []
    for _ in range(3):
        theta = first + 0.3 * rng.standard_normal(len(first))
        found.append(evaluate(theta, *held, gradient) - measure_prior(theta, held[0], held[3]))
        C, R = read_covariances(p, PAIRS[name], complete(PAIRS[name], p, theta[: p.line_first], rng)[None])
        differences.append(found[-1] - measure_marginal(case, C[0], R[0] + errors.common, t, whole, walk.Sigma_r))
    assert np.ptp(found) > 0.1
    assert np.ptp(differences) < 1e-9 * max(1.0, np.abs(found).max())
    steps = 1e-5 * np.eye(len(theta))
    slopes = [(evaluate(theta + e, *held, scratch) - evaluate(theta - e, *held, scratch)) / 2e-5 for e in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(gradient).max()))


@pytest.mark.parametrize("name", PAIRS)
def test_residuals_are_reported_without_errors(name):
    _, _, t, _, _, _, p, s = make_error_scene(name, "missing", False)
    walk, held = open_walk(p, s)
    walk.theta[:] = start_at(PAIRS[name], p, t)
    assert resume_walk(*held)
    draws = allocate_draws(p, 1, np.array([-1]), False)
    assert record_draw(np.random.default_rng(1), *held[:3], walk.theta, 0, hold_draws(draws)) == 0
    R = read_covariances(p, PAIRS[name], walk.theta[None])[1][0]
    L = p.n_trait
    expected = R[:1] if p.tied else R
    np.testing.assert_allclose(draws.R_e[0], expected.reshape(-1, L), rtol=1e-9)
    np.testing.assert_allclose(s.R_e, (R + p.common.reshape(-1, L, L)).reshape(-1, L), rtol=1e-9)
    np.testing.assert_allclose(draws.residual[0], np.diagonal(R, axis1=1, axis2=2), rtol=1e-9)


def compare_sweeps(name, line_effect, size, sweeps):
    pair = PAIRS[name]
    plots = tuple(tuple(re.sub("x[0-9]", "", cell) for cell in row) for row in FULL_SPARSE)  # means have no errors
    case = make_case(plots, shape="full", mu_sd=1.0, nu=4.0, scale=1.0, even=line_effect, uncertain=True)
    laws = join_laws(*pair), join_restrictions(*pair)
    return compare_pair(case, pair, *laws, size, sweeps, 1, line_effect, errors=make_errors(case)[2])


GEWEKE = [("tied", False), ("by environment", True)]


@pytest.mark.parametrize(("name", "line_effect"), GEWEKE)
def test_a_look_at_the_joint_distribution(name, line_effect):
    comparison = compare_sweeps(name, line_effect, 20, 2)
    assert np.isfinite(comparison.z).all()
    assert comparison.p_value > 1e-6, str(comparison)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line_effect"), GEWEKE)
def test_sweeps_leave_the_joint_distribution(name, line_effect):
    comparison = compare_sweeps(name, line_effect, 2000, 5)
    assert comparison.p_value > 1e-3, str(comparison)
    assert len(comparison.z) > 150
