"""The line effect outside the relationship: density and conditional against dense algebra.

Whole sweeps with it are among those of `tests/structures/test_structures.py`.
"""

import numpy as np
import pytest

from bmtme.engines.rotated.collapsed import resume_walk
from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.engines.rotated.line_effect import list_line_flips, start_line
from bmtme.model.layout import choose_plots
from bmtme.testing.cases import DESIGNS, draw_tame, make_case
from bmtme.testing.pairs import build_pair_problem, measure_marginal, open_walk, read_covariances
from bmtme.testing.scripted import ScriptedGenerator, import_plain
from tests.structures.test_structures import LINE_PAIRS as PAIRS
from tests.structures.test_structures import compare_slopes, complete, serves, start_at

PLAIN = import_plain()
SCENES = [
    (name, design)
    for name, pair in PAIRS.items()
    for design in ("complete", "missing", "absent", "one-trait")
    if serves(pair[0], make_case(DESIGNS[design]).recorded)
]


def make_line_scene(name, design):
    """A case without multiples, unknowns and values, its problem, walk and what is held."""
    case = make_case(DESIGNS[design], even=True)
    rng = np.random.default_rng(5)
    t = draw_tame(rng, case.model)
    values, pads = case.model.draw_values(rng, t), case.pads().draw_values(rng, t)
    p = build_pair_problem(case, PAIRS[name], values, line_effect=True)
    s = case.pack(p, t, values, pads)
    walk, held = open_walk(p, s)
    return case, t, case.without_absent(case.completed().env, np.vstack([values, pads])), p, s, walk, held


@pytest.mark.parametrize(("name", "design"), SCENES)
def test_density_and_gradient(name, design):
    case, t, values, p, _, walk, held = make_line_scene(name, design)
    pair = PAIRS[name]
    first = np.concatenate([start_at(pair, p, t), start_line(p.line_prior, t.R_e)])
    assert p.line_first + len(start_line(p.line_prior, t.R_e)) == len(first) == len(walk.theta)
    rng = np.random.default_rng(3)
    gradient, scratch = np.empty((2, len(first)))
    differences, found = [], []
    for _ in range(3):
        theta = first + 0.3 * rng.standard_normal(len(first))
        found.append(evaluate(theta, *held, gradient) - measure_prior(theta, held[0], held[3]))
        C, R = read_covariances(p, pair, complete(pair, p, theta[: p.line_first], rng)[None])
        differences.append(found[-1] - measure_marginal(case, C[0], R[0], t, values, walk.Sigma_r))
    assert np.ptp(found) > 0.1
    assert np.ptp(differences) < 1e-8 * max(1.0, np.abs(found).max())
    compare_slopes(gradient, theta, held)
    for lead, others in list_line_flips(p.line_prior, p.line_first):
        turned = theta.copy()
        turned[[lead, *others]] *= -1.0
        assert evaluate(turned, *held, scratch) == pytest.approx(evaluate(theta, *held, scratch), rel=1e-12)


def rotate(case, effects):
    return effects if case.basis.vectors is None else effects @ case.basis.vectors


@pytest.mark.parametrize(("name", "design"), SCENES)
def test_conditional_of_the_line_effects(name, design):
    """Mean and covariance of r given means, u and the completed data, line by line as if nothing were rotated."""
    case, t, values, p, s, walk, held = make_line_scene(name, design)
    walk.theta[:] = np.concatenate([start_at(PAIRS[name], p, t), start_line(p.line_prior, t.R_e)])
    assert resume_walk(*held)
    L, J = s.r.shape
    u = case.total(t)
    m = case.completed()
    P, h = np.tile(np.linalg.inv(s.Sigma_r), (J, 1, 1)), np.zeros((J, L))
    for n, (j, i) in enumerate(zip(m.line, m.env, strict=True)):
        seen = case.recorded[i]
        R = s.R_e[p.block[i] * L : (p.block[i] + 1) * L][np.ix_(seen, seen)]
        weight = m.plots[n] * np.linalg.inv(R)
        P[j][np.ix_(seen, seen)] += weight
        h[j][seen] += weight @ (values[n] - t.beta[i] - u[i, :, j])[seen]
    work = PLAIN.state.allocate_work(p)
    assert PLAIN.line_effect.draw_line(ScriptedGenerator(), p, s, work)  # all normals zero: the mean
    np.testing.assert_allclose(case.basis.rotate_plain(s.r).T, np.linalg.solve(P, h[..., None])[..., 0], atol=1e-9)
    mean = s.r.copy()
    noise = np.random.default_rng(2).standard_normal((J, L))
    assert PLAIN.line_effect.draw_line(ScriptedGenerator(noise.ravel()), p, s, work)
    deviation = (s.r - mean).T
    np.testing.assert_allclose(deviation @ np.linalg.cholesky(P[0]), noise, atol=1e-9)


@pytest.mark.parametrize("design", ["missing", "absent"])
def test_fitted_values_and_residuals_count_the_line_effects(design):
    case, t, values, p, s, *_ = make_line_scene("paper", design)
    work = PLAIN.state.allocate_work(p)
    r = np.random.default_rng(1).standard_normal(s.r.shape)
    s.r[:] = rotate(case, r)
    PLAIN.steps.fill_fitted(p, s, work)
    u = case.total(t)
    cell = 0
    for i in range(p.n_env):
        traits = np.flatnonzero(case.recorded[i])
        for c in range(p.cell_offset[i], p.cell_offset[i + 1]):
            j = p.cell_line[c]
            expected = t.beta[i, traits] + u[i, traits, j] + r[traits, j]
            np.testing.assert_allclose(work.fitted[c, : len(traits)], expected, atol=1e-10)
            cell += 1
        out = np.zeros((p.n_trait, p.n_trait))
        PLAIN.steps.sum_residuals(p, s, work, i, out)
        here = case.model.env == i
        lines = case.model.line[here]
        e = values[: len(here)][here] - t.beta[i] - u[i][:, lines].T - r.T[lines]
        expected = np.nan_to_num(e).T @ np.nan_to_num(e)
        seen = np.ix_(traits, traits)
        np.testing.assert_allclose(out[seen], expected[seen], atol=1e-9)
    assert cell > 0


def test_a_layout_without_multiples():
    counts = np.array([[1.0, 4.0], [2.0, 0.0], [1.0, 1.0]])
    k, c = choose_plots(counts, even=True)
    np.testing.assert_array_equal(k, [2.0, 4.0])
    np.testing.assert_array_equal(c, 1.0)
    case = make_case(DESIGNS["missing"])
    with pytest.raises(AssertionError, match="multiple of the plots"):
        build_pair_problem(case, PAIRS["paper"], np.zeros(case.observed.shape), line_effect=True)
