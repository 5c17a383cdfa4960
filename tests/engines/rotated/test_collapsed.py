"""Moves of the collapsed sweep that a test of whole sweeps is too blunt for: exact, from scripted numbers."""

import math

import numpy as np
import pytest

from bmtme.engines.rotated.adaptation import list_factors, turn_positive
from bmtme.testing.cases import make_scene
from bmtme.testing.dense import log_inverse_gamma
from bmtme.testing.scripted import HALF, ScriptedGenerator
from tests.helpers.walks import LENGTH, PLAIN, ScriptedWalk, check_pair, start_walk

#: Scenes, with a step at which some trajectories are accepted and others not.
SCENES = [
    ("missing", "unstructured", 0.25),
    ("absent", "unstructured-iw", 0.08),
    ("missing", "standard", 0.25),
    ("unseen", "diagonal", 0.4),
]
by_names = pytest.mark.parametrize("design, variant", [scene[:2] for scene in SCENES], ids=lambda name: name)


def follow_trajectory(scene, momentum, step):
    """Leapfrog (Neal 2011, section 5.2) in whitened coordinates: end point and acceptance probability."""
    p, s, w, h = start_walk(scene)
    PLAIN.steps.prepare_mean_prior(p, s, w)
    PLAIN.density.sum_within(p, s, h)

    def evaluate(xi):
        slope = np.empty(len(xi))
        value = PLAIN.density.evaluate(h.tuning.centre + h.tuning.metric @ xi, p, s, w, h, slope)
        return value, h.tuning.metric.T @ slope

    xi, momentum = np.linalg.solve(h.tuning.metric, h.theta - h.tuning.centre), momentum.copy()
    value, slope = evaluate(xi)
    before = value - 0.5 * momentum @ momentum
    for _ in range(LENGTH):
        momentum += 0.5 * step * slope
        xi = xi + step * momentum
        value, slope = evaluate(xi)
        momentum += 0.5 * step * slope
    change = value - 0.5 * momentum @ momentum - before
    return h.tuning.centre + h.tuning.metric @ xi, math.exp(min(0.0, change))


@pytest.mark.parametrize("design, variant, longest", SCENES, ids=[f"{scene[0]}-{scene[1]}" for scene in SCENES])
def test_hamiltonian_move(design, variant, longest):
    """Trajectory, probability, and both of its ends: state, parameters and eigenvectors belong together."""
    scene = make_scene(design, variant)
    q = len(start_walk(scene)[3].theta)
    jitter = 0.3
    step = longest * (0.8 + 0.4 * jitter)
    tried = [np.random.default_rng(seed).standard_normal(q) for seed in range(40)]
    ends = [follow_trajectory(scene, momentum, step) for momentum in tried]
    chosen = [k for k, (_, probability) in enumerate(ends) if 0.02 < probability < 0.95]
    assert chosen, "no trajectory that may be accepted or not"
    for k in chosen[:2]:
        end, probability = ends[k]
        for throw in (probability - 1e-6, probability + 1e-6):
            p, s, w, h = start_walk(scene, longest)
            start = h.theta.copy()
            seen = [s.Sigma_t.copy(), s.s2_E[p.seen].copy(), s.R_e.copy()]
            assert PLAIN.collapsed.move_covariances(ScriptedWalk(tried[k], (jitter, throw)), p, s, w, h)
            assert h.outcome.acceptance[0] == pytest.approx(probability, rel=1e-7)
            accepted = throw < probability
            np.testing.assert_allclose(h.theta, end if accepted else start, rtol=1e-9, atol=1e-9)
            assert PLAIN.density.unpack_trial(h.theta, p, h)
            now = [s.Sigma_t, s.s2_E[p.seen], s.R_e]
            for got, wanted in zip(now, (h.Sigma_t, h.s2_E[p.seen], h.R_e), strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-10)
            assert all(np.allclose(x, y, rtol=1e-9) for x, y in zip(now, seen, strict=True)) != accepted
            check_pair(scene, s, w)


@pytest.mark.parametrize("kind", ["gibbs", "collapsed"])
def test_unseen_environments_follow_their_prior(kind):
    """Sigma_E of an environment without a record is a draw from its prior in every sweep: see the scripted gammas."""
    scene = make_scene("unseen", "unstructured")
    p, s, w, h = start_walk(scene)
    law = scene.case.model.law_E
    unseen = np.flatnonzero(~scene.case.recorded.any(axis=1))
    assert len(unseen) == 1
    code = {"gibbs": PLAIN.sweep.GIBBS, "collapsed": PLAIN.sweep.COLLAPSED}[kind]
    h.outcome.swept[0] = 1.0  # no sweep that draws the covariances given the effects as well
    assert PLAIN.sweep.sweep(ScriptedWalk(), code, p, s, w, h) == 0
    assert s.s2_E[unseen[0]] == pytest.approx(law.nu * law.scale[unseen[0]] ** 2)


def sweep_without(design, variant, kind, swept, names):
    """The state after one sweep that finds NaN in these arrays of state and work."""
    p, s, w, h = start_walk(make_scene(design, variant))
    h.outcome.swept[0] = swept
    for name in names:
        (getattr(s, name) if hasattr(s, name) else getattr(w, name))[:] = np.nan
    assert PLAIN.sweep.sweep(ScriptedWalk(), getattr(PLAIN.sweep, kind), p, s, w, h) == 0
    return s


by_sweep = pytest.mark.parametrize(("kind", "swept"), [("GIBBS", 0.0), ("COLLAPSED", 0.0), ("COLLAPSED", 1.0)])


@by_names
@by_sweep
def test_imputation_reads_fitted_values_of_its_own_sweep(design, variant, kind, swept):
    """What an earlier sweep left there is of no account, whether or not this one fits the records on its way."""
    s = sweep_without(design, variant, kind, swept, ["fitted"])
    for values in (s.Y, s.pad, s.part):
        assert np.isfinite(values).all()


@by_names
@by_sweep
def test_sweep_does_not_read_old_means_or_effects(design, variant, kind, swept):
    """They are integrated out, or drawn anew at once: nothing may be imputed from them before."""
    s = sweep_without(design, variant, kind, swept, ["mu", "beta", "W", "W1"])
    for values in (s.beta, s.W, s.W1, s.Y, s.Sigma_t, s.R_e):  # mu is not drawn under every prior of the means
        assert np.isfinite(values).all()


@by_names
def test_covariances_drawn_given_the_effects_reach_the_walk(design, variant):
    """Whether a sweep moved the covariances once or twice, the next trajectory starts where it left them."""
    scene = make_scene(design, variant)
    for swept in (0.0, 1.0):
        p, s, w, h = start_walk(scene)
        h.outcome.swept[0] = swept
        assert PLAIN.sweep.sweep(ScriptedWalk(), PLAIN.sweep.COLLAPSED, p, s, w, h) == 0
        assert PLAIN.density.unpack_trial(h.theta, p, h)
        for got, wanted in ((s.Sigma_t, h.Sigma_t), (s.s2_E[p.seen], h.s2_E[p.seen]), (s.R_e, h.R_e)):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@by_names
def test_collapsed_sweep_does_not_read_auxiliaries(design, variant):
    """They are integrated out of the trajectories, so what they were before is of no account."""
    scene = make_scene(design, variant)
    results = []
    for factor in (1.0, 7.0):
        p, s, w, h = start_walk(scene)
        for aux in (s.aux_t, s.aux_E, s.aux_e):
            aux *= factor
        for _ in range(2):
            assert PLAIN.sweep.sweep(ScriptedWalk(), PLAIN.sweep.COLLAPSED, p, s, w, h) == 0
        results.append([s.Sigma_t, s.s2_E, s.R_e, s.beta, s.W, s.W1, s.Y])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@by_names
def test_auxiliaries_given_covariances(design, variant):
    """Log density of the draw less that of the dense law's joint (covariance, auxiliaries) is constant."""
    scene = make_scene(design, variant)
    p, s, model = scene.problem, scene.state(), scene.case.model
    rng = ScriptedGenerator()
    assert PLAIN.steps.draw_all_auxiliaries(rng, p, s)
    shapes = list(rng.shapes)
    seen = scene.case.recorded.any(axis=1)
    laws = [(model.law_t, s.Sigma_t, s.aux_t, np.ones(len(s.aux_t), bool))]
    laws += [(model.law_e, s.R_e, s.aux_e, np.ones(len(s.aux_e), bool))]
    laws += [(model.law_E, np.diag(s.s2_E), s.aux_E, seen)] if p.interaction else []
    for law, M, drawn, here in laws:
        if law.family != "half-t":
            continue
        places = [0] if law.shape == "scalar" else np.flatnonzero(here)
        parts = [(k, shapes.pop(0), drawn[k] * HALF) for k in places]  # shape and rate of each
        differences = []
        for x in (0.3, 0.7, 1.9):
            a = np.where(here, x, 1.0) * np.linspace(1.0, 2.0, len(drawn))
            if law.shape == "scalar":
                a[:] = x
            conditional = sum(log_inverse_gamma(a[k], shape, rate) for k, shape, rate in parts)
            fixed = np.where(here, a, 1.0)
            differences.append(conditional - law.log_density(M, fixed))
        assert np.ptp(differences) < 1e-9 * max(1.0, np.abs(differences).max())
    assert not shapes


@by_names
def test_signs_of_roots(design, variant):
    """A standard deviation and its correlations turned: the same covariances and density, and packing keeps them so."""
    scene = make_scene(design, variant)
    p, s, w, h = start_walk(scene)
    PLAIN.steps.prepare_mean_prior(p, s, w)
    PLAIN.density.sum_within(p, s, h)
    theta = h.theta.copy()
    slope, other = np.empty(len(theta)), np.empty(len(theta))
    value = PLAIN.density.evaluate(theta, p, s, w, h, slope)
    roots, correlations = list_factors(p, len(theta))
    for root in roots:
        signs = np.ones(len(theta))
        signs[root] = -1.0
        signs[[t for t, a, c in correlations if root in (a, c)]] = -1.0
        assert PLAIN.density.evaluate(signs * theta, p, s, w, h, other) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(other, signs * slope, rtol=1e-8, atol=1e-8)
        h.theta[:] = signs * np.abs(np.random.default_rng(root).standard_normal(len(theta)))
        PLAIN.collapsed.pack_state(p, s, h)
        np.testing.assert_allclose(h.theta[roots], (signs * theta)[roots], rtol=1e-12)
        assert PLAIN.density.unpack_trial(h.theta, p, h)
        np.testing.assert_allclose(h.Sigma_t, s.Sigma_t, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(h.R_e, s.R_e, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(h.s2_E[p.seen], s.s2_E[p.seen], rtol=1e-10)
        np.testing.assert_allclose(turn_positive(h.theta, roots, correlations), theta, rtol=1e-9)
