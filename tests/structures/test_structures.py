"""Every structure: density and gradient against dense algebra, whole sweeps in the joint distribution, whole parts."""

import numpy as np
import pytest
from scipy import stats

from bmtme.engines.rotated.collapsed import resume_walk
from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.engines.rotated.draws import allocate_draws, hold_draws, record_total
from bmtme.engines.rotated.kernels.missing import fill_regressions
from bmtme.engines.rotated.kernels.pair import SMALL_PAIR
from bmtme.errors import UsageError
from bmtme.linalg.small import SMALL
from bmtme.model.codes import FULL, HALF_T, MISSING, OBSERVED, CovariancePrior
from bmtme.structures.by_env import ByEnv, back
from bmtme.structures.common_correlation import CommonCorrelation
from bmtme.structures.environments_by_trait import EnvironmentsByTrait
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.part import Start, build_matrices
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.scaled import Scaled
from bmtme.structures.separable import Separable
from bmtme.structures.structure import make_part
from bmtme.testing.cases import DESIGNS as CASES
from bmtme.testing.cases import VARIANTS, draw_tame, make_case, make_scene
from bmtme.testing.geweke import SPARSE
from bmtme.testing.laws import LAWS, draw_covariance_parameters, join_laws, join_restrictions, pack_loadings
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
    "scaled": (Proportional(), Scaled()),
    "free": (Free(), Shared()),
    "free by environment": (Free(), ByEnv()),
    "one factor": (FactorAnalytic(1), Shared()),
    "two factors": (FactorAnalytic(2), ByEnv()),
    "interaction": (MainAndInteraction(k="equal"), Shared()),
    "interaction of free size": (MainAndInteraction(k="free"), Shared()),
    "interaction by environment": (MainAndInteraction(k="free"), ByEnv()),
    "by trait": (EnvironmentsByTrait(), Shared()),
    "by trait, common correlation": (EnvironmentsByTrait(), CommonCorrelation()),
    "separable": (Separable(), Shared()),
}
#: With an effect of lines outside the relationship, the paper's pair needs the general form, too.
LINE_PAIRS = {"paper": (Proportional(), Shared())} | PAIRS
DESIGNS = ("complete", "missing", "means-of-plots", "absent", "unseen", "one-trait", "one-environment")
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


def compare_slopes(gradient, theta, held):
    """A gradient with differences of the density."""
    scratch = np.empty(len(theta))
    steps = 1e-5 * np.eye(len(theta))
    slopes = [(evaluate(theta + e, *held, scratch) - evaluate(theta - e, *held, scratch)) / 2e-5 for e in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(gradient).max()))


def test_structures_are_refused_what_they_cannot_serve_only():
    counts = {name: sum(scene[0] == name for scene in SCENES) for name in PAIRS}
    assert {counts[name] for name in ("made up", "by environment", "common correlation", "scaled")} == {14}
    assert counts["free"] == counts["free by environment"] == 5
    assert {design for name, _, design in SCENES if name == "by trait"} == {"complete", "missing", "means-of-plots"}
    assert {design for name, _, design in SCENES if name == "interaction"} == set(DESIGNS) - {"one-environment"}
    assert {design for name, _, design in SCENES if name == "separable"} == set(DESIGNS[:4])


@pytest.mark.parametrize(("name", "variant", "design"), SCENES)
def test_density_and_gradient(name, variant, design):
    """Against one dense covariance of all values, and against differences."""
    pair, scene = PAIRS[name], make_scene(design, variant)
    p = build_pair_problem(scene.case, pair, scene.values)
    walk, held = open_walk(p, scene.state())
    first = start_at(pair, p, scene.t)
    rng = np.random.default_rng(3)
    gradient = np.empty(len(first))
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
    compare_slopes(gradient, theta, held)


@pytest.mark.parametrize("variant", ["unstructured", "standard", "unstructured-flat"])
def test_density_in_many_environments(variant):
    """Larger matrices are inverted and decomposed in another way."""
    case = make_case([("01",) * 4] * 18, **VARIANTS[variant], clones=False)
    rng = np.random.default_rng(4)
    t = draw_tame(rng, case.model)
    values = case.model.draw_values(rng, t)
    pair = Proportional(), Shared()
    p = case.problem(values)
    assert p.product
    assert len(p.col_env) > SMALL > SMALL_PAIR
    walk, held = open_walk(p, case.pack(p, t, values, np.empty((0, 2))))
    first = start_at(pair, p, t)
    gradient = np.empty(len(first))
    differences = []
    for _ in range(3):
        theta = first + 0.1 * rng.standard_normal(len(first))
        value = evaluate(theta, *held, gradient) - measure_prior(theta, held[0], held[3])
        C = np.kron(np.ones((p.n_env, p.n_env)) + np.diag(walk.s2_E), walk.Sigma_t)
        differences.append(value - measure_marginal(case, C, np.tile(walk.R_e, (p.n_env, 1, 1)), t, values))
    assert np.ptp(differences) < 1e-8 * max(1.0, abs(value))
    compare_slopes(gradient, theta, held)


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


def test_many_factors_assume_nothing():
    """One fewer than columns make any C, with the likelihood that C has in a free covariance."""
    scene = make_scene("missing", "unstructured")
    rng = np.random.default_rng(2)
    free = PAIRS["free"]
    p = build_pair_problem(scene.case, free, scene.values)
    M = len(p.col_env)
    many = FactorAnalytic(M - 1), Shared()
    many[0].check(p.recorded, "ab", "xy")
    q = build_pair_problem(scene.case, many, scene.values)
    walks = [open_walk(problem, scene.state()) for problem in (p, q)]
    values = []
    for _ in range(3):
        theta = start_at(free, p, scene.t) + 0.3 * rng.standard_normal(p.residual.first + p.residual.size)
        own = theta[p.residual.first :]
        C = build_matrices(p.genetic, theta[None, : p.residual.first], (M, M))[0]
        roots, vectors = np.linalg.eigh(C)
        Lambda = (vectors * np.sqrt(roots - roots[0]))[:, 1:]
        other = np.concatenate([pack_loadings(Lambda, np.full(M, np.sqrt(roots[0]))), own])
        for (walk, held), place in zip(walks, (theta, other), strict=True):
            values.append(evaluate(place, *held, np.empty(len(place))) - measure_prior(place, held[0], held[3]))
            np.testing.assert_allclose(walk.C, C, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values[::2], values[1::2], rtol=1e-9)
    assert np.ptp(values) > 0.1


def test_traits_with_one_covariance_of_environments_are_separable():
    """All K_l in proportion: C, and the likelihood, of `Separable` with P as the correlation of Sigma_t."""
    scene = make_scene("missing", "unstructured")
    names = "by trait", "separable"
    problems = [build_pair_problem(scene.case, PAIRS[name], scene.values) for name in names]
    walks = [open_walk(problem, scene.state()) for problem in problems]
    rng = np.random.default_rng(5)
    values = []
    for _ in range(3):
        sd, z, k = np.exp(0.5 * rng.standard_normal(2)), rng.standard_normal(2), rng.standard_normal(2)
        roots = np.sqrt(np.exp(k) / np.exp(k).mean())
        own = start_at(PAIRS["separable"], problems[1], scene.t)[problems[1].residual.first :]
        own *= np.exp(0.2 * rng.standard_normal(len(own)))
        each = np.concatenate([*([*(d * roots), z[0]] for d in sd), z[1:], own])
        for (walk, held), theta in zip(walks, (each, np.concatenate([sd, z[1:], k, z[:1], own])), strict=True):
            values.append(evaluate(theta, *held, np.empty(len(theta))) - measure_prior(theta, held[0], held[3]))
            K, P = (np.array([[1.0, r], [r, 1.0]]) for r in np.tanh(z))
            by_hand = np.kron(K * np.outer(roots, roots), P * np.outer(sd, sd))
            np.testing.assert_allclose(walk.C, by_hand, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values[::2], values[1::2], rtol=1e-9)
    assert np.ptp(values) > 0.1


#: Every pair by itself and with a line effect; the paper's is tested elsewhere without.
WHOLE = [pytest.param(pair, False, id=name) for name, pair in PAIRS.items()]
WHOLE += [pytest.param(pair, True, id=f"{name} and line effect") for name, pair in LINE_PAIRS.items()]

#: Of these, every structure once at a size that tells; validation has all in `sbc-structures`.
DEEP = (
    "by environment",
    "scaled",
    "free by environment",
    "two factors",
    "interaction",
    "interaction by environment",
    "by trait, common correlation",
    "separable",
    "paper and line effect",
    "free by environment and line effect",
)
#: The one that every change has to pass.
QUICK = "free by environment"


def compare_sweeps(pair, line_effect, size, sweeps):
    """Missing cells and traits, an absent column where the structure takes it, clones, unequal replication."""
    plots = SPARSE if serves(pair[0], make_case(CASES["absent"]).recorded) else FULL_SPARSE
    case = make_case(plots, shape="full", mu_sd=1.0, nu=4.0, scale=1.0, even=line_effect)
    return compare_pair(case, pair, join_laws(*pair), join_restrictions(*pair), size, sweeps, 1, line_effect)


@pytest.mark.parametrize(("pair", "line_effect"), WHOLE)
def test_a_look_at_the_joint_distribution(pair, line_effect):
    """The same as below with little power: gross errors, and every line of a sweep as plain Python."""
    comparison = compare_sweeps(pair, line_effect, 20, 2)
    assert np.isfinite(comparison.z).all()
    assert comparison.p_value > 1e-6, str(comparison)


@pytest.mark.parametrize(
    ("pair", "line_effect"),
    [
        whole if whole.id == QUICK else pytest.param(*whole.values, id=whole.id, marks=pytest.mark.slow)
        for whole in WHOLE
        if whole.id in DEEP
    ],
)
def test_sweeps_leave_the_joint_distribution(pair, line_effect):
    comparison = compare_sweeps(pair, line_effect, 2000, 5)
    assert comparison.p_value > 1e-3, str(comparison)
    assert len(comparison.z) > 150


def make_part_of(structure, recorded):
    """Parts over the recorded columns and over all, with priors of four traits."""
    prior = CovariancePrior(HALF_T, FULL, 2.0, np.ones(recorded.shape[1]), 0.0, np.eye(recorded.shape[1]))
    return [make_part(structure, 0, columns, prior, prior, True) for columns in (recorded, np.ones_like(recorded))]


def test_residual_covariances_by_hand():
    """D_i P D_i and D_i P_i D_i, the correlations by Fisher's z."""
    recorded = np.array([[True, True], [True, True]])
    sd = np.array([[0.5, 2.0], [1.5, 0.1]])
    for structure, z in ((CommonCorrelation(), [0.3]), (ByEnv(), [0.3, -1.2])):
        part, _ = make_part_of(structure, recorded)
        R = build_matrices(part, np.array([[*np.log(sd).ravel(), *z]]), (4, 2))[0]
        for i in range(2):
            r = np.tanh(z[i if len(z) > 1 else 0])
            P = np.array([[1.0, r], [r, 1.0]])
            np.testing.assert_allclose(R[2 * i : 2 * i + 2], np.diag(sd[i]) @ P @ np.diag(sd[i]), rtol=1e-12)


def test_prior_of_the_residual_spreads_by_hand():
    """The hierarchy with its variance integrated out by quadrature, up to a constant."""
    recorded = np.array([[True], [True], [True]])
    part, _ = make_part_of(ByEnv(), recorded)
    variances = np.geomspace(1e-6, 1e4, 20_000)
    law = stats.invgamma.pdf(variances, 2.0, scale=0.18)
    differences = []
    for logs in (np.array([-0.4, -0.5, -0.6]), np.array([0.5, -1.5, 2.0]), np.array([-3.0, -3.1, -2.0])):
        deviations = logs - logs.mean()
        density = (2 * np.pi * variances) ** -1.0 * np.exp(-(deviations**2).sum() / 2 / variances)
        expected = np.log(np.trapezoid(density * law, variances)) + stats.norm.logpdf(logs.mean(), np.log(0.6), 2.0)
        found = back(part, logs, np.zeros((3, 1)), np.empty(3))
        differences.append(found - expected)
    assert np.ptp(differences) < 1e-4


def test_correlations_with_absent_traits_follow_the_prior():
    """Given the recorded ones; margins uniform, and a trait goes with two others as far as these go together."""
    recorded = np.array([[True, False, True], [True, True, True]])
    part, whole = make_part_of(ByEnv(), recorded)
    rng = np.random.default_rng(1)
    found, direct = [], []
    for M in stats.invwishart.rvs(4, np.eye(3), 4000, random_state=rng):
        root = np.sqrt(np.diag(M))
        direct.append((M / np.outer(root, root))[np.triu_indices(3, 1)])
        theta = np.zeros(part.size)
        theta[5] = np.arctanh(direct[-1][1])  # of the traits 0 and 2, in the first environment
        every = np.empty(whole.size)
        assert ByEnv.complete(rng, part, theta, every)
        R = build_matrices(whole, every[None], (6, 3))[0, :3]
        root = np.sqrt(np.diag(R))
        found.append((R / np.outer(root, root))[np.triu_indices(3, 1)])
    found, direct = np.array(found), np.array(direct)
    np.testing.assert_allclose(found[:, 1], direct[:, 1], atol=1e-9)
    for k in (0, 2):
        assert stats.kstest(found[:, k], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    for function in (lambda r: r[:, 0] * r[:, 1] * r[:, 2], lambda r: np.abs(r[:, 0] * r[:, 2]) * np.abs(r[:, 1])):
        assert stats.ks_2samp(function(found), function(direct)).pvalue > 1e-3


def test_imputation_by_the_residuals_of_the_environment():
    """Regressions of the missing on the seen traits of a cell's environment, by its own block."""
    scene = make_scene("missing", "unstructured")
    p = build_pair_problem(scene.case, PAIRS["by environment"], scene.values)
    R = np.array([[[1.0, 0.3], [0.3, 2.0]], [[1.0, -0.8], [-0.8, 0.7]]])
    B, K = np.empty((2, len(p.patterns), 2, 2))
    assert fill_regressions(R.reshape(4, 2), p.patterns, p.pattern_block, B, K)
    cell_env = np.repeat(np.arange(p.n_env), np.diff(p.cell_offset))
    part_env = np.repeat(cell_env, np.diff(p.part_offset))
    looked = 0
    for env, t in (*zip(cell_env, p.cell_pattern, strict=True), *zip(part_env, p.part_pattern, strict=True)):
        seen, missing = p.patterns[t] == OBSERVED, p.patterns[t] == MISSING
        if seen.any() and missing.any():
            looked += 1
            by_hand = R[env][np.ix_(missing, seen)] / R[env][np.ix_(seen, seen)]
            np.testing.assert_allclose(B[t][np.ix_(missing, seen)], by_hand, rtol=1e-12)
    assert looked >= 4


def test_effects_of_absent_columns_are_those_given_the_recorded_ones():
    """C_ao C_oo^-1 w_o on average, for a structure whose effects are not split."""
    pair, scene = PAIRS["made up"], make_scene("absent", "unstructured")
    p = build_pair_problem(scene.case, pair, scene.values)
    s = scene.state()
    walk, held = open_walk(p, s)
    walk.theta[:] = start_at(pair, p, scene.t) + 0.1
    assert resume_walk(*held)
    draws = allocate_draws(p, 1, np.array([0]), True)
    rng = np.random.default_rng(1)
    assert record_total(rng, held[0], held[1], held[2], walk.theta, 0, hold_draws(draws)) == 0
    C, _ = read_covariances(p, pair, np.concatenate([draws.theta[0], walk.theta[p.residual.first :]])[None])
    seen = p.recorded.ravel()
    by_hand = C[0][np.ix_(~seen, seen)] @ np.linalg.solve(C[0][np.ix_(seen, seen)], s.W)
    np.testing.assert_allclose(draws.sum_W[~seen], by_hand, atol=1e-10)
    np.testing.assert_allclose(draws.sum_W[seen], s.W, atol=1e-12)
    assert np.abs(by_hand).max() > 0.01
