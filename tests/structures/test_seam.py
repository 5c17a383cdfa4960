"""The seam for structures: the paper's pair through it, and a made-up structure that nothing else knows."""

import numpy as np
import pytest
from double import SD, HalfAlike

from bmtme.engines.rotated.collapsed import allocate_walk, hold_walk
from bmtme.engines.rotated.density import evaluate, measure_prior, sum_within
from bmtme.engines.rotated.problem import hold_problem
from bmtme.engines.rotated.state import allocate_work, hold_state, hold_work
from bmtme.engines.rotated.steps import prepare_mean_prior
from bmtme.structures.parameters import pack_covariance
from bmtme.structures.part import Start
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.structure import Genetic
from bmtme.testing.cases import SCENES, make_case, make_scene
from bmtme.testing.geweke import SPARSE
from bmtme.testing.pairs import build_pair_problem, compare_pair, measure_marginal, read_covariances


class Twin(Genetic):
    """The paper's genetic structure, not known as such: it takes the way of any other."""

    build = staticmethod(Proportional.build)
    back = staticmethod(Proportional.back)
    complete = staticmethod(Proportional.complete)
    count, start, list_flips = Proportional.count, Proportional.start, Proportional.list_flips


def open_walk(scene, p):
    """Everything that a density needs, and the parameters of the scene's covariances."""
    s = scene.state()
    walk = allocate_walk(p)
    held = hold_problem(p), hold_state(s), hold_work(allocate_work(p)), hold_walk(walk)
    prepare_mean_prior(*held[:3])
    sum_within(held[0], held[1], held[3])
    return walk, held


@pytest.mark.parametrize(("design", "variant"), SCENES)
def test_paper_pair_through_the_seam(design, variant):
    """Density, gradient and prior are those of the native form, Kronecker or not."""
    scene = make_scene(design, variant)
    t = scene.t
    p = scene.problem
    q = build_pair_problem(scene.case, (Twin(), Shared()), scene.values)
    assert p.native
    assert not q.native
    parts = (Twin(), p.genetic), (Shared(), p.residual)
    start = Start(t.Sigma_t, t.s2_E, t.R_e)
    theta = np.concatenate([structure.start(part, start) for structure, part in parts])
    theta += 0.2 * np.random.default_rng(1).standard_normal(len(theta))
    found = []
    for problem in (p, q):
        _, held = open_walk(scene, problem)
        gradient = np.empty(len(theta))
        found.append((evaluate(theta, *held, gradient), gradient, measure_prior(theta, held[0], held[3])))
    (value, slope, prior), (other, other_slope, other_prior) = found
    assert other == pytest.approx(value, rel=1e-10)
    assert other_prior == pytest.approx(prior, rel=1e-10)
    np.testing.assert_allclose(other_slope, slope, rtol=0, atol=1e-9 * np.abs(slope).max())


@pytest.mark.parametrize("design", ["complete", "missing", "absent", "unseen", "one-trait"])
@pytest.mark.parametrize("structure", [HalfAlike(), Twin()])
def test_density_and_gradient(structure, design):
    """Against one dense covariance of all values, and against differences."""
    scene = make_scene(design, "unstructured")
    p = build_pair_problem(scene.case, (structure, Shared()), scene.values)
    walk, held = open_walk(scene, p)
    t = scene.t
    start = Start(t.Sigma_t, t.s2_E, t.R_e)
    first = np.concatenate([structure.start(p.genetic, start), Shared().start(p.residual, start)])
    rng = np.random.default_rng(3)
    gradient, scratch = np.empty((2, len(first)))
    differences, values = [], []
    for _ in range(3):
        theta = first + 0.3 * rng.standard_normal(len(first))
        values.append(evaluate(theta, *held, gradient) - measure_prior(theta, held[0], held[3]))
        last = p.residual.first
        whole = np.empty(p.whole_residual.first)
        assert structure.complete(rng, p.genetic, theta[:last], whole)
        C, R = read_covariances(p, np.concatenate([whole, theta[last:]])[None])
        np.testing.assert_allclose(C[0][np.ix_(p.recorded.ravel(), p.recorded.ravel())], walk.C, rtol=1e-12)
        differences.append(values[-1] - measure_marginal(scene.case, C[0], R[0], t, scene.completed_values()))
    assert np.ptp(values) > 0.1
    assert np.ptp(differences) < 1e-8 * np.abs(values).max()
    steps = 1e-5 * np.eye(len(theta))
    slopes = [(evaluate(theta + e, *held, scratch) - evaluate(theta - e, *held, scratch)) / 2e-5 for e in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


def draw_half_alike(case):
    """Draws parameters of `HalfAlike` with `Shared` from their prior."""

    def draw(rng, p):
        model = case.model
        n = p.whole_genetic.size - p.n_env
        theta = np.ones(p.whole_residual.first + p.whole_residual.size)
        for law, prior, places in (
            (model.law_t, p.prior_t, slice(0, n)),
            (model.law_e, p.prior_e, slice(p.whole_residual.first, None)),
        ):
            signs = np.where(rng.random(len(theta[places])) < 0.5, -1.0, 1.0)
            theta[places] = signs
            pack_covariance(prior.shape, np.linalg.cholesky(law.draw(rng)[0]), theta[places])
        theta[n : n + p.n_env] = SD * rng.standard_normal(p.n_env)
        return theta

    return draw


#: What a planted error changes, and in which function of the seam.
PLANTED = {
    "no prior of f": ("back", lambda lp, part, theta: lp + 0.5 * np.sum((theta[-part.n_env :] / SD) ** 2)),
}


def test_sweeps_leave_the_joint_distribution():
    """Missing cells and traits, an absent column, clones; every step of a sweep, with the structure behind the seam."""
    case = make_case(SPARSE, shape="full", mu_sd=1.0, nu=4.0, scale=1.0)
    comparison = compare_pair(case, (HalfAlike(), Shared()), draw_half_alike(case), 2000, 5, seed=1)
    assert comparison.p_value > 1e-3, str(comparison)
    assert len(comparison.z) > 150
