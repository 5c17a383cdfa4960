"""Every structure: density and gradient against dense algebra, whole sweeps in the joint distribution, whole parts."""

import numpy as np
import pytest

from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.errors import UsageError
from bmtme.structures.by_env import ByEnv
from bmtme.structures.common_correlation import CommonCorrelation
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.part import Start
from bmtme.structures.proportional import Proportional, Shared
from bmtme.testing.cases import DESIGNS as CASES
from bmtme.testing.cases import make_case, make_scene
from bmtme.testing.geweke import SPARSE
from bmtme.testing.laws import LAWS, draw_covariance_parameters, join_laws, join_restrictions
from bmtme.testing.pairs import (
    build_pair_problem,
    compare_pair,
    measure_marginal,
    open_walk,
    read_covariances,
)
from tests.structures.double import SD, HalfAlike

PAIRS = {
    "made up": (HalfAlike(), Shared()),
    "by environment": (Proportional(), ByEnv()),
    "common correlation": (Proportional(), CommonCorrelation()),
    "free": (Free(), Shared()),
    "free by environment": (Free(), ByEnv()),
    "interaction": (MainAndInteraction(k="equal"), Shared()),
    "interaction of free size": (MainAndInteraction(k="free"), Shared()),
    "interaction by environment": (MainAndInteraction(k="free"), ByEnv()),
}
DESIGNS = ("complete", "missing", "absent", "unseen", "one-trait", "one-environment")
#: `SPARSE` with both traits in the last environment, for a structure that needs a record in every column.
FULL_SPARSE = (*SPARSE[:2], ("0", "-", "01", "1 0", "-", "01", "0", "-"))


def serves(genetic, recorded):
    """Whether a genetic structure takes data with records in these columns."""
    try:
        genetic.check(recorded, "abc", "xyz")
    except UsageError:
        return False
    return True


#: Pairs of structures, shapes and designs that go together.
SCENES = [
    (name, variant, design)
    for name, pair in PAIRS.items()
    for variant in ("unstructured", "diagonal")
    if variant in pair[0].shapes
    for design in DESIGNS
    if serves(pair[0], make_case(CASES[design]).recorded)
]


def draw_half_alike(rng, p):
    return np.concatenate([draw_covariance_parameters(rng, p.genetic.prior), SD * rng.standard_normal(p.n_env)])


LAWS[HalfAlike] = draw_half_alike


def start_at(pair, p, t):
    """Parameters of the columns with a record, of about these covariances."""
    start = Start(t.Sigma_t, t.s2_E, t.R_e)
    return np.concatenate([pair[0].start(p.genetic, start), pair[1].start(p.residual, start)])


def complete(pair, p, theta, rng):
    """Parameters of every column and environment."""
    last, first = p.residual.first, p.whole_residual.first
    whole = np.empty(first + p.whole_residual.size)
    assert pair[0].complete(rng, p.genetic, theta[:last], whole[:first])
    assert pair[1].complete(rng, p.residual, theta[last:], whole[first:])
    return whole


def test_structures_are_refused_what_they_cannot_serve_only():
    counts = {name: sum(scene[0] == name for scene in SCENES) for name in PAIRS}
    assert counts["made up"] == counts["by environment"] == counts["common correlation"] == 12
    assert counts["free"] == counts["free by environment"] == 4
    assert {design for name, _, design in SCENES if name == "interaction"} == set(DESIGNS) - {"one-environment"}


@pytest.mark.parametrize(("name", "variant", "design"), SCENES)
def test_density_and_gradient(name, variant, design):
    """Against one dense covariance of all values, and against differences."""
    pair, scene = PAIRS[name], make_scene(design, variant)
    p = build_pair_problem(scene.case, pair, scene.values)
    walk, held = open_walk(p, scene.state())
    first = start_at(pair, p, scene.t)
    rng = np.random.default_rng(3)
    gradient, scratch = np.empty((2, len(first)))
    differences, values = [], []
    here = p.recorded.ravel()
    for _ in range(3):
        theta = first + 0.3 * rng.standard_normal(len(first))
        values.append(evaluate(theta, *held, gradient) - measure_prior(theta, held[0], held[3]))
        C, R = read_covariances(p, pair, complete(pair, p, theta, rng)[None])
        if not p.proportional:
            np.testing.assert_allclose(C[0][np.ix_(here, here)], walk.C, rtol=1e-12)
        blocks = walk.R_e.reshape(-1, p.n_trait, p.n_trait)[p.block]
        for i, seen in enumerate(p.recorded):
            np.testing.assert_allclose(R[0, i][np.ix_(seen, seen)], blocks[i][np.ix_(seen, seen)], rtol=1e-12)
        marginal = measure_marginal(scene.case, C[0], R[0], scene.t, scene.completed_values())
        differences.append(values[-1] - marginal)
    assert np.ptp(values) > 0.1
    assert np.ptp(differences) < 1e-8 * max(1.0, np.abs(values).max())
    steps = 1e-5 * np.eye(len(theta))
    slopes = [(evaluate(theta + e, *held, scratch) - evaluate(theta - e, *held, scratch)) / 2e-5 for e in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(gradient).max()))


@pytest.mark.parametrize("name", PAIRS)
def test_flips_leave_the_covariances(name):
    pair = PAIRS[name]
    scene = make_scene("absent" if (name, "unstructured", "absent") in SCENES else "missing", "unstructured")
    p = build_pair_problem(scene.case, pair, scene.values)
    _, held = open_walk(p, scene.state())
    theta = start_at(pair, p, scene.t) + 0.1
    scratch = np.empty(len(theta))
    value = evaluate(theta, *held, scratch)
    assert pair[0].list_flips(p.genetic)
    for structure, part in zip(pair, (p.genetic, p.residual), strict=True):
        for lead, others in structure.list_flips(part):
            turned = theta.copy()
            turned[[part.first + lead, *(part.first + k for k in others)]] *= -1.0
            assert evaluate(turned, *held, scratch) == pytest.approx(value, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_sweeps_leave_the_joint_distribution(name):
    """Missing cells and traits, an absent column where the structure takes it, clones, unequal replication."""
    pair = PAIRS[name]
    plots = SPARSE if (name, "unstructured", "absent") in SCENES else FULL_SPARSE
    case = make_case(plots, shape="full", mu_sd=1.0, nu=4.0, scale=1.0)
    comparison = compare_pair(case, pair, join_laws(*pair), join_restrictions(*pair), 2000, 5, seed=1)
    assert comparison.p_value > 1e-3, str(comparison)
    assert len(comparison.z) > 150
