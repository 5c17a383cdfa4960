"""Mirror moves: genetic and residual covariance of traits in a corner change places, with the right odds."""

import math

import numpy as np
import pytest

import bmtme
from bmtme.engines.rotated.collapsed import CORNER
from bmtme.testing.cases import make_scene
from tests.helpers.walks import PLAIN, ScriptedWalk, check_pair, start_walk
from validation.modes import simulate_copies

SCENES = [("missing", "unstructured"), ("absent", "unstructured-iw"), ("unseen", "diagonal"), ("missing", "standard")]
by_names = pytest.mark.parametrize("design, variant", SCENES)


def count(p):
    """Parameters of Sigma_t, and of R_e."""
    return int(PLAIN.parameters.count_parameters(p.prior_t.shape, p.n_trait))


def push_to_corner(p, h, factor=5.0):
    """Genetic standard deviations far above the residual ones."""
    last = len(h.theta) - count(p)
    for k in range(PLAIN.parameters.count_roots(p.prior_t.shape, p.n_trait)):
        h.theta[k] = factor * abs(h.theta[last + k]) * (1.0 + 0.1 * k)


@by_names
def test_exchange_swaps_total_genetic_and_residual_covariance(design, variant):
    p, _, _, h = start_walk(make_scene(design, variant))
    assert PLAIN.density.unpack_trial(h.theta, p, h)
    q2 = 1.0 + np.mean(h.roots**2)
    genetic, residual = h.Sigma_t * q2, h.R_e.copy()
    flags = np.ones(count(p), bool)
    PLAIN.parameters.exchange(h.theta, flags)
    assert PLAIN.density.unpack_trial(h.theta, p, h)
    np.testing.assert_allclose(h.Sigma_t * q2, residual, rtol=1e-10)
    np.testing.assert_allclose(h.R_e, genetic, rtol=1e-10)


@by_names
def test_odds_are_those_of_the_density(design, variant):
    """Accepted just below the ratio of the densities, rejected just above; parameters and state follow."""
    scene = make_scene(design, variant)
    for low in (True, False):
        p, s, w, h = start_walk(scene, 1e-9)  # a trajectory that goes nowhere
        push_to_corner(p, h)
        assert PLAIN.density.unpack_trial(h.theta, p, h)
        PLAIN.collapsed.accept_trial(p, s, h)
        PLAIN.steps.prepare_mean_prior(p, s, w)
        PLAIN.density.sum_within(p, s, h)
        slope = np.empty(len(h.theta))
        before = h.theta.copy()
        here = PLAIN.density.evaluate(before, p, s, w, h, slope)
        there = before.copy()
        PLAIN.parameters.exchange(there, np.ones(count(p), bool))
        change = PLAIN.density.evaluate(there, p, s, w, h, slope) - here
        if change > 0:  # from the other side
            before, there, change = there, before, -change
            h.theta[:] = before
            assert PLAIN.density.unpack_trial(h.theta, p, h)
            PLAIN.collapsed.accept_trial(p, s, h)
        h.tuning.mirror_every[0] = 1.0
        throw = math.exp(change) * (0.999 if low else 1.001)
        assert throw > 0
        # trajectory: jitter, throw; then all cornered traits (0.6), and the throw of the mirror move
        assert PLAIN.collapsed.move_covariances(ScriptedWalk(None, (0.5, 1.0, 0.6, throw)), p, s, w, h)
        np.testing.assert_allclose(h.theta, there if low else before, rtol=1e-6)
        assert h.outcome.mirrors[0] == low
        assert PLAIN.density.unpack_trial(h.theta, p, h)
        np.testing.assert_allclose(s.Sigma_t, h.Sigma_t, rtol=1e-9)
        np.testing.assert_allclose(s.R_e, h.R_e, rtol=1e-9)
        check_pair(scene, s, w)


def test_nothing_is_exchanged_outside_the_corners():
    p, s, w, h = start_walk(make_scene("missing", "unstructured"), 1e-9)
    h.tuning.mirror_every[0] = 1.0
    last = len(h.theta) - count(p)
    for k in range(p.n_trait):
        h.theta[k] = 0.9 * CORNER * abs(h.theta[last + k])
    generator = ScriptedWalk(None, (0.5, 1.0))  # no further number is asked for
    assert PLAIN.collapsed.move_covariances(generator, p, s, w, h)
    assert h.outcome.mirrors[0] == 0
    assert not generator.uniforms


def test_only_cornered_traits_take_part():
    p, s, w, h = start_walk(make_scene("missing", "unstructured"), 1e-9)
    h.tuning.mirror_every[0] = 1.0
    last = len(h.theta) - count(p)
    h.theta[0], h.theta[1] = 1.2 * abs(h.theta[last]), 4.0 * abs(h.theta[last + 1])
    start = h.theta.copy()
    assert PLAIN.collapsed.move_covariances(ScriptedWalk(None, (0.5, 1.0, 0.6, 1e-300)), p, s, w, h)
    assert h.outcome.mirrors[0] == 1
    expected = start.copy()
    expected[1], expected[last + 1] = start[last + 1], start[1]
    np.testing.assert_allclose(h.theta, expected, rtol=1e-6)


def test_chains_cross_from_corner_to_corner():
    """Every chain visits both explanations of traits that are copies, as often as the others: no chance agreement."""
    fit = bmtme.fit(*simulate_copies(4), draws=1000, tune=500, seed=2)
    S, R = (fit._groups["posterior"][name].values for name in ("Sigma_t", "R_e"))
    share = S[..., 0, 0] / (S[..., 0, 0] + R[..., 0, 0])
    low, high = (share < 0.1).mean(axis=1), (share > 0.9).mean(axis=1)
    assert low.min() > 0.05
    assert high.min() > 0.05
    assert np.ptp(low) < 0.15
    assert fit.run["sampling"]["corners"]


def test_odds_after_a_trajectory_that_moved():
    """The mirror move starts from where the trajectory ended, not from where it began."""
    scene = make_scene("missing", "unstructured")
    p, s, w, h = start_walk(scene, 0.05)
    push_to_corner(p, h)
    momentum = np.random.default_rng(1).standard_normal(len(h.theta))
    assert PLAIN.density.unpack_trial(h.theta, p, h)
    PLAIN.collapsed.accept_trial(p, s, h)
    start = h.theta.copy()
    assert PLAIN.collapsed.move_covariances(ScriptedWalk(momentum, (0.5, 1e-12)), p, s, w, h)
    moved, slope = h.theta.copy(), np.empty(len(h.theta))
    there = moved.copy()
    PLAIN.parameters.exchange(there, np.ones(count(p), bool))
    change = PLAIN.density.evaluate(there, p, s, w, h, slope) - PLAIN.density.evaluate(moved, p, s, w, h, slope)
    wrong = PLAIN.density.evaluate(there, p, s, w, h, slope) - PLAIN.density.evaluate(start, p, s, w, h, slope)
    assert abs(change - wrong) > 0.01
    throw = math.exp(0.5 * (change + wrong))
    h.theta[:] = start
    h.tuning.mirror_every[0] = 1.0
    assert PLAIN.collapsed.move_covariances(ScriptedWalk(momentum, (0.5, 1e-12, 0.6, throw)), p, s, w, h)
    assert h.outcome.mirrors[0] == (wrong < change)
