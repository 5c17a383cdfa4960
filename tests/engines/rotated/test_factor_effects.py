"""Effects of factors of records, such as replicates: conditionals, density and whole sweeps, against dense algebra."""

import numpy as np
import pytest
from scipy.linalg import block_diag, null_space

from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.engines.rotated.line_effect import start_line
from bmtme.model.factors import Factor
from bmtme.structures.by_env import ByEnv
from bmtme.structures.free import Free
from bmtme.structures.proportional import Proportional, Shared
from bmtme.testing.cases import DESIGNS, draw_tame, make_case
from bmtme.testing.geweke import SPARSE
from bmtme.testing.laws import join_laws, join_restrictions
from bmtme.testing.pairs import (
    add_levels,
    build_pair_problem,
    compare_pair,
    measure_marginal,
    open_walk,
    read_covariances,
)
from bmtme.testing.scripted import HALF, ScriptedGenerator, assert_normal, import_plain
from tests.structures.test_structures import FULL_SPARSE, complete, start_at

PLAIN = import_plain()
PAIRS = {"paper": (Proportional(), Shared()), "by environment": (Free(), ByEnv())}
#: Designs; whether the relationship is an identity; whether lines have an effect outside it (and no multiples).
PLACES = [
    ("complete", False, False),
    ("missing", False, False),
    ("missing", True, False),
    ("missing", False, True),
    ("means-of-plots", False, False),
    ("means-of-plots", False, True),
    ("absent", False, False),
    ("absent", False, True),
    ("unseen", False, False),
    ("one-trait", False, False),
]


def make_factor(case, name, random, levels=2, seed=1):
    """Levels at random, each with a record of the environment; effects as `find_replicates` marks them."""
    rng = np.random.default_rng(seed)
    m, L = case.model, case.observed.shape[1]
    level, env, active = np.full(len(m.line), -1), [], []
    for i in range(m.n_env):
        here = np.flatnonzero(m.env == i)
        if len(here) < levels:
            continue
        own = rng.permutation(np.arange(len(here)) % levels)
        lines = np.array([case.observed[here[own == k]].sum(axis=0) for k in range(levels)])
        there = (lines > 0) & ((lines > 0).sum(axis=0) > 1)
        for k in range(levels):
            level[here[own == k]] = len(env) + k
        env += [i] * levels
        active += list(there)
    labels = tuple(f"{name}{k}" for k in range(len(env)))
    return Factor(name, random, level, np.array(env), labels, np.array(active).reshape(-1, L))


def make_covariate(case, name, seed=3):
    """Values of each record; every environment with a record is a level."""
    here = np.unique(case.model.env)
    active = np.array([case.observed[case.model.env == i].any(axis=0) for i in here])
    weight = np.random.default_rng(seed).standard_normal(len(case.model.env))
    return Factor(name, False, np.searchsorted(here, case.model.env), here, ("",) * len(here), active, weight=weight)


def make_factors(case, kind):
    """One factor, fixed or random, one of each, or two random ones; the second with three levels.

    Slopes: a random factor and two covariates.
    """
    if kind == "slopes":
        return [make_factor(case, "b", True, 3, seed=2), make_covariate(case, "x"), make_covariate(case, "z", 4)]
    if kind in ("both", "crossed"):
        return [make_factor(case, "a", kind == "crossed"), make_factor(case, "b", True, 3, seed=2)]
    return [make_factor(case, "a", kind == "random")]


def make_level_scene(design, identity, line_effect, kind, pair="paper", precision=0.0):
    """A case, unknowns, values of which levels are a part, the problem, its state and the effects (K, L)."""
    case = make_case(DESIGNS[design], identity=identity, even=line_effect)
    rng = np.random.default_rng(5)
    t = draw_tame(rng, case.model)
    values, pads = case.model.draw_values(rng, t), case.pads().draw_values(rng, t)
    factors = make_factors(case, kind)
    p = build_pair_problem(case, PAIRS[pair], values, line_effect, factors, precision)
    b = np.where(p.factors.active, rng.standard_normal(p.factors.active.shape), 0.0)
    for f in p.factors.slopes:
        b[p.factors.factor == f] = p.factors.active[p.factors.factor == f] * rng.standard_normal(p.n_trait)
    values = values + add_levels(p.factors, b)
    p = build_pair_problem(case, PAIRS[pair], values, line_effect, factors, precision)
    s = case.pack(p, t, values - add_levels(p.factors, b), pads)
    s.R_e[:] = np.vstack([t.R_e * (1.0 + 0.3 * k) for k in range(len(s.R_e) // p.n_trait)])
    s.level_effects[:] = b
    s.level_sd[:] = 0.7 + 0.2 * np.arange(s.level_sd.size).reshape(s.level_sd.shape)
    if line_effect:
        s.r[:] = rng.standard_normal(s.r.shape)
    PLAIN.factor_effects.adjust_data(p, s)
    return case, t, values, pads, p, s, b, factors


def sum_information(case, t, values, p, s, f):
    """A (K, L, L) and h (K, L) of the levels of one factor, record by record in the original space."""
    K, L = s.level_effects.shape
    A, h = np.zeros((K, L, L)), np.zeros((K, L))
    u = case.total(t)
    r = case.basis.rotate_plain(s.r) if p.line_effect else np.zeros((L, len(case.model.G)))
    level, mark = (np.delete(given, f, axis=1) for given in (p.factors.level, p.factors.mark))
    others = add_levels(p.factors._replace(level=level, mark=mark), s.level_effects)
    for n, (j, i, k) in enumerate(zip(case.model.line, case.model.env, p.factors.level[:, f], strict=True)):
        o = case.observed[n]
        e = values[n] - t.beta[i] - u[i, :, j] - r[:, j] - others[n]
        R = s.R_e[p.block[i] * L : (p.block[i] + 1) * L]
        P = np.zeros((L, L))
        P[np.ix_(o, o)] = np.linalg.inv(R[np.ix_(o, o)])
        if k >= 0:
            A[k] += case.model.plots[n] * P
            h[k] += case.model.plots[n] * P @ np.where(o, e, 0.0)
    return A, h


def compute_information(p, s, f):
    work = PLAIN.state.allocate_work(p)
    PLAIN.steps.fill_fitted(p, s, work)
    A, h = np.empty((*s.level_effects.shape, p.n_trait)), np.empty(s.level_effects.shape)
    assert PLAIN.factor_effects.sum_level_information(p, s, work, f, A, h)
    return A, h


@pytest.mark.parametrize("kind", ["fixed", "random", "both", "crossed", "slopes"])
@pytest.mark.parametrize(("design", "identity", "line_effect"), PLACES)
def test_information_on_the_effects(design, identity, line_effect, kind):
    pair = "by environment" if design in ("missing", "means-of-plots") else "paper"
    case, t, values, _, p, s, *_ = make_level_scene(design, identity, line_effect, kind, pair)
    for f in np.flatnonzero(~p.factors.slope):
        expected = sum_information(case, t, values, p, s, f)
        for got, wanted in zip(compute_information(p, s, f), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("kind", ["both", "slopes"])
@pytest.mark.parametrize(("design", "identity", "line_effect"), PLACES)
def test_data_less_the_effects(design, identity, line_effect, kind):
    """As if the values had been those less the effects from the beginning."""
    case, _, values, _, p, s, b, factors = make_level_scene(design, identity, line_effect, kind)
    less = values - add_levels(p.factors, b)
    q = build_pair_problem(case, PAIRS["paper"], less, line_effect, factors)
    for name in ("fixed", "within", "cell_mean"):
        wanted = getattr(q, name)
        assert wanted.size == 0 or not np.allclose(getattr(p, name), wanted) or name == "within"
        np.testing.assert_allclose(getattr(s, name), wanted, atol=1e-9)
    seen = ~np.isnan(q.part_values)
    np.testing.assert_allclose(s.part[seen], q.part_values[seen], atol=1e-12)


@pytest.mark.parametrize("precision", [0.0, 0.5])
@pytest.mark.parametrize(("design", "identity", "line_effect"), PLACES)
def test_fixed_effects_sum_to_zero(design, identity, line_effect, precision):
    """Mean and covariance are those of the normal restricted to effects that sum to zero within environments."""
    case, t, values, _, p, s, _, _ = make_level_scene(design, identity, line_effect, "fixed", "paper", precision)
    A, h = sum_information(case, t, values, p, s, 0)
    K, L = h.shape
    env = np.repeat(np.arange(p.n_env), np.diff(p.factors.first))
    rows = [np.zeros(K * L)]
    for i, l in np.ndindex(p.n_env, L):
        row = np.zeros((K, L))
        row[env == i, l] = p.factors.active[env == i, l]
        rows.append(row.ravel())
    rows += list(np.eye(K * L)[~p.factors.active.ravel()])
    free = null_space(np.array(rows))
    assert free.shape[1] > 0
    precisions = block_diag(*A) + precision * np.eye(K * L)
    V = free @ np.linalg.inv(free.T @ precisions @ free) @ free.T

    def draw(rng):
        own, information = s._replace(level_effects=np.full((K, L), np.nan)), A.copy()
        assert PLAIN.factor_effects.draw_fixed(rng, p, own, 0, information, h)
        return own.level_effects

    assert_normal(draw, V @ h.ravel(), V)


@pytest.mark.parametrize(("design", "identity", "line_effect"), PLACES)
def test_random_effects(design, identity, line_effect):
    case, t, values, _, p, s, _, _ = make_level_scene(design, identity, line_effect, "random")
    A, h = sum_information(case, t, values, p, s, 0)
    K, L = h.shape
    on = p.factors.active.ravel()
    precisions = (block_diag(*A) + np.diag(np.tile(1 / s.level_sd[0] ** 2, K)))[np.ix_(on, on)]
    mean, V = np.zeros(K * L), np.zeros((K * L, K * L))
    V[np.ix_(on, on)] = np.linalg.inv(precisions)
    mean[on] = V[np.ix_(on, on)] @ h.ravel()[on]

    def draw(rng):
        own = s._replace(level_effects=np.full((K, L), np.nan))
        assert PLAIN.factor_effects.draw_random(rng, p, own, 0, A, h)
        return own.level_effects

    assert_normal(draw, mean, V)


def test_standard_deviations_of_random_effects():
    """Given effects by their sum of squares; given what is standard normal of them, a regression of the data on it."""
    case, t, values, _, p, s, b, _ = make_level_scene("missing", False, False, "random")
    A, h = sum_information(case, t, values, p, s, 0)
    f, sd, L = p.factors, s.level_sd[0].copy(), p.n_trait
    own = s._replace(level_sd=s.level_sd.copy())
    rng = ScriptedGenerator()
    PLAIN.factor_effects.draw_sd_given_effects(rng, p, own, 0)
    n = f.active.sum(axis=0)
    np.testing.assert_allclose(rng.shapes, np.column_stack([np.full(L, (f.nu + 1) / 2), (f.nu + n) / 2]).ravel())
    a = (f.nu / sd**2 + 1 / f.scale[0] ** 2) / HALF
    np.testing.assert_allclose(own.level_sd[0] ** 2, (f.nu / a + (b**2).sum(axis=0) / 2) / HALF)

    eta = np.where(f.active, b / sd, 0.0)
    g = (f.nu + (sd / f.scale[0]) ** 2) / 2 / HALF
    X = np.concatenate([np.diag(row) for row in eta])  # b = X s
    V = np.linalg.inv(X.T @ block_diag(*A) @ X + np.diag(1 / (f.scale[0] ** 2 * g)))

    def draw(rng):
        own = s._replace(level_sd=s.level_sd.copy(), level_effects=b.copy())
        assert PLAIN.factor_effects.draw_sd_given_standard(rng, p, own, 0, A, h)
        signs = np.sign(own.level_effects[0] * b[0])
        np.testing.assert_allclose(own.level_effects, eta * own.level_sd[0] * signs, atol=1e-12)
        return own.level_sd[0] * signs

    assert_normal(draw, V @ X.T @ h.ravel(), V)


@pytest.mark.parametrize("means", ["exchangeable", "paper", "flat"])
def test_effects_and_means_move_together(means):
    """The density along the move is that of effects and means under their priors; no residual changes."""
    case = make_case(DESIGNS["missing"], means=means)
    rng = np.random.default_rng(5)
    t = draw_tame(rng, case.model)
    values, pads = case.model.draw_values(rng, t), case.pads().draw_values(rng, t)
    p = build_pair_problem(case, PAIRS["paper"], values, False, make_factors(case, "random"))
    s = case.pack(p, t, values, pads)
    s.level_effects[:] = rng.standard_normal(s.level_effects.shape)
    work = PLAIN.state.allocate_work(p)
    PLAIN.steps.fill_fitted(p, s, work)
    own = s._replace(level_effects=s.level_effects.copy(), beta=s.beta.copy())
    PLAIN.factor_effects.shift_means(ScriptedGenerator(), p, own, work, 0)
    moved, fitted = s.beta - own.beta, work.fitted.copy()
    assert np.abs(moved).min() > 1e-3
    env = np.repeat(np.arange(p.n_env), np.diff(p.factors.first))
    law = case.model.law_beta
    for m, (i, l) in enumerate(zip(p.col_env, p.col_trait, strict=True)):
        here = env == i
        np.testing.assert_allclose(own.level_effects[here, l], s.level_effects[here, l] + moved[m])

        def log_density(t_, m=m, here=here, l=l):
            beta = s.beta[m] - t_
            out = -0.5 * ((s.level_effects[here, l] + t_) ** 2).sum() / s.level_sd[0, l] ** 2
            if means == "exchangeable":
                out -= 0.5 * (beta - t.mu[l]) ** 2 / t.tau2[l]
            elif means == "paper":
                out -= 0.5 * (law.scale[l] * beta + law.centre[l]) ** 2 / t.s2_b
            return out

        top = [log_density(moved[m] + h) for h in (-1e-3, 0.0, 1e-3)]
        assert (top[2] - top[0]) / 2e-3 == pytest.approx(0.0, abs=1e-6 * abs(top[1]) + 1e-8)
        again = s._replace(level_effects=s.level_effects.copy(), beta=s.beta.copy())
        noise = np.zeros(len(s.beta))
        noise[m] = 1.0
        PLAIN.factor_effects.shift_means(ScriptedGenerator(noise), p, again, work, 0)
        curvature = -(top[2] - 2 * top[1] + top[0]) / 1e-6
        assert own.beta[m] - again.beta[m] == pytest.approx(curvature**-0.5, rel=1e-4)
    PLAIN.steps.fill_fitted(p, own, work)
    np.testing.assert_allclose(fitted, work.fitted, atol=1e-12)


def copy_state(s):
    return s._replace(**{name: array.copy() for name, array in s._asdict().items()})


@pytest.mark.parametrize(
    ("design", "identity", "line_effect", "precision"),
    [*((*place, 0.0) for place in PLACES), ("missing", False, False, 0.5)],
)
def test_slopes(design, identity, line_effect, precision):
    """Means and effects integrated out: the normal whose density is that of the completed values less the effects.

    What is imputed stays the same less the effects, so that a slope moves the values that are seen.
    """
    case, t, values, pads, p, s, b, _ = make_level_scene(design, identity, line_effect, "slopes", "paper", precision)
    f, (I, L) = p.factors, case.recorded.shape
    assert len(f.slopes) == 2
    s.Sigma_r[:] = 0.3 * np.eye(L) * line_effect
    gamma = np.zeros((2, L))
    for c, factor in enumerate(f.slopes):
        mine = f.factor == factor
        gamma[c] = b[mine][f.active[mine].argmax(axis=0), np.arange(L)]
    less = case.without_absent(case.completed().env, np.vstack([values - add_levels(f, b), pads]))
    C = np.kron(np.ones((I, I)) + np.diag(t.s2_E), t.Sigma_t)
    R = np.tile(t.R_e, (I, 1, 1))
    N = len(values)

    def log_density(delta):
        moved = less.copy()
        moved[:N] -= np.where(case.observed, f.mark[:, f.slopes] @ delta.reshape(2, L), 0.0)
        prior = -0.5 * precision * ((gamma.ravel() + delta) ** 2).sum()
        return measure_marginal(case, C, R, t, moved, s.Sigma_r) + prior

    e = np.eye(2 * L)
    top = log_density(np.zeros(2 * L))
    up, down = (np.array([log_density(sign * row) for row in e]) for sign in (1, -1))
    H = np.diag(up + down - 2 * top)
    for a, c in zip(*np.tril_indices(2 * L, -1), strict=True):
        H[a, c] = H[c, a] = log_density(e[a] + e[c]) - up[a] - up[c] + top
    V = np.linalg.inv(-H)
    mean = gamma.ravel() + V @ (up - down) / 2

    def prepare():
        own, work = copy_state(s), PLAIN.state.allocate_work(p)
        assert PLAIN.steps.factor_pair(p, own.Sigma_t, own.s2_E, own.R_e, own.Sigma_r, work)
        PLAIN.steps.complete_data(p, own, work)
        PLAIN.steps.prepare_mean_prior(p, own, work)
        return own, work

    def draw(rng):
        own, work = prepare()
        assert PLAIN.slopes.draw_slopes(rng, p, own, work)
        found = np.zeros(2 * L)
        PLAIN.slopes.read_slopes(p, own, found)
        for k, factor in enumerate(f.factor):
            if f.slope[factor]:
                own_slope = found.reshape(2, L)[int(np.searchsorted(f.slopes, factor))]
                np.testing.assert_array_equal(own.level_effects[k], np.where(f.active[k], own_slope, 0.0))
        Y = own.Y.copy()
        PLAIN.steps.complete_data(p, own, work)
        np.testing.assert_allclose(Y, own.Y, atol=1e-10)
        return found

    assert_normal(draw, mean, V)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("design", "identity", "line_effect"), PLACES[:8])
def test_density_and_gradient(design, identity, line_effect, pair):
    """Given the effects, the density of the covariances is that of the completed values less the effects."""
    if design == "absent" and pair != "paper":
        pytest.skip("a free covariance needs a record in every column")
    kind = "slopes" if identity or line_effect else "both"
    case, t, values, pads, p, s, b, _ = make_level_scene(design, identity, line_effect, kind, pair)
    walk, held = open_walk(p, s)
    less = case.without_absent(case.completed().env, np.vstack([values - add_levels(p.factors, b), pads]))
    own = start_line(p.line_prior, t.R_e) if line_effect else np.zeros(0)
    first = np.concatenate([start_at(PAIRS[pair], p, t), own])
    rng = np.random.default_rng(3)
    gradient, scratch = np.empty((2, len(first)))
    differences, found = [], []
    for _ in range(3):
        theta = first + 0.3 * rng.standard_normal(len(first))
        found.append(evaluate(theta, *held, gradient) - measure_prior(theta, held[0], held[3]))
        C, R = read_covariances(p, PAIRS[pair], complete(PAIRS[pair], p, theta[: p.line_first], rng)[None])
        differences.append(found[-1] - measure_marginal(case, C[0], R[0], t, less, walk.Sigma_r))
    assert np.ptp(found) > 0.1
    assert np.ptp(differences) < 1e-9 * max(1.0, np.abs(found).max())
    steps = 1e-5 * np.eye(len(theta))
    slopes = [(evaluate(theta + e, *held, scratch) - evaluate(theta - e, *held, scratch)) / 2e-5 for e in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(gradient).max()))


def compare_sweeps(name, kind, line_effect, size, sweeps):
    pair = PAIRS[name]
    case = make_case(
        FULL_SPARSE if name != "paper" else SPARSE, shape="full", mu_sd=1.0, nu=4.0, scale=1.0, even=line_effect
    )
    laws = join_laws(*pair), join_restrictions(*pair)
    return compare_pair(case, pair, *laws, size, sweeps, 1, line_effect, make_factors(case, kind), precision=1.0)


GEWEKE = [
    ("paper", "fixed", False),
    ("paper", "random", False),
    ("paper", "both", True),
    ("by environment", "fixed", True),
    ("by environment", "random", False),
    ("by environment", "crossed", True),
    ("paper", "slopes", False),
    ("by environment", "slopes", True),
]


@pytest.mark.parametrize(("name", "kind", "line_effect"), GEWEKE)
def test_a_look_at_the_joint_distribution(name, kind, line_effect):
    comparison = compare_sweeps(name, kind, line_effect, 20, 2)
    assert np.isfinite(comparison.z).all()
    assert comparison.p_value > 1e-6, str(comparison)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "line_effect"), [*GEWEKE[1:4], *GEWEKE[5:]])
def test_sweeps_leave_the_joint_distribution(name, kind, line_effect):
    comparison = compare_sweeps(name, kind, line_effect, 2000, 5)
    assert comparison.p_value > 1e-3, str(comparison)
    assert len(comparison.z) > 150
