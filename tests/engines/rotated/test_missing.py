"""What is not recorded, against the dense model: unseen plots, missing traits, columns without a record."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bmtme.engines.rotated.kernels.missing import complete_cross_products
from bmtme.engines.rotated.problem import load_values
from bmtme.testing.cases import SCENES, make_scene
from bmtme.testing.dense import log_normal
from bmtme.testing.scripted import ScriptedGenerator, assert_normal, import_plain

PLAIN = import_plain()


@pytest.fixture(params=[(d, v) for d, v in SCENES if d in ("absent", "absent-two", "unseen")], ids="-".join)
def incomplete(request):
    """Scenes in which some column has no record."""
    return make_scene(*request.param)


def fresh(scene):
    p = scene.problem
    return p, scene.state(), PLAIN.state.allocate_work(p)


def test_completed_data(scene):
    """Complete records, partly seen ones and unseen plots reduce to the plain means of the completed model."""
    p, s, w = fresh(scene)
    wanted = s.Y.copy()
    s.Y[:] = np.nan
    s.Y[:] = p.fixed
    PLAIN.steps.complete_data(p, s, w)
    np.testing.assert_allclose(s.Y, wanted, rtol=0, atol=1e-12)


def test_loading_values_again_is_building_again(scene):
    case = scene.case
    other = 3.0 - 2.0 * scene.values
    problem = case.problem(other)
    load_values(problem, case.layout, case.basis, case.hide(scene.values))
    for name in ("fixed", "cell_count", "cell_mean", "part_values", "within"):
        np.testing.assert_array_equal(getattr(problem, name), getattr(scene.problem, name))


@pytest.mark.parametrize("known", [True, False])
def test_imputation(scene, known):
    """Unseen plots and missing traits are one normal draw given everything else: log draw - log joint is constant."""
    case, p = scene.case, scene.problem
    model = case.completed()
    seen = np.vstack([case.observed, np.zeros_like(scene.pads, dtype=bool)])
    wanted = case.recorded[model.env] & ~seen
    if not wanted.any():
        pytest.skip("nothing is missing")
    here = case.layout.cell_pad > 0

    def draw(rng):
        _, s, w = fresh(scene)
        w.fitted[:] = np.nan
        if known:
            PLAIN.steps.fill_fitted(p, s, w)
        assert PLAIN.steps.impute(rng, p, s, w, known)
        values = scene.values.copy()
        values[case.layout.part_record] = s.part
        return np.vstack([values, s.pad[here]])[wanted]

    places = np.argwhere(wanted)
    fitted = np.nan_to_num(scene.completed_values())
    fitted = fitted - model.residuals(scene.t, fitted)
    mean, covariance = np.empty(len(places)), np.zeros((len(places), len(places)))
    for n in np.unique(places[:, 0]):
        rows = np.flatnonzero(places[:, 0] == n)
        m, o = np.flatnonzero(wanted[n]), np.flatnonzero(seen[n])
        B = scene.t.R_e[np.ix_(m, o)] @ np.linalg.inv(scene.t.R_e[np.ix_(o, o)])
        e = scene.values[n, o] - fitted[n, o] if len(o) else np.zeros(0)
        mean[rows] = fitted[n, m] + B @ e
        rest = scene.t.R_e[np.ix_(m, m)] - B @ scene.t.R_e[np.ix_(o, m)]
        covariance[np.ix_(rows, rows)] = rest / model.plots[n]
    assert_normal(draw, mean, covariance)

    # and these moments are those of the joint density
    rng = np.random.default_rng(3)
    differences = []
    for _ in range(4):
        values = scene.completed_values()
        values[wanted] = mean + rng.standard_normal(len(mean))
        joint = model.log_joint(scene.t, values)
        differences.append(log_normal(values[wanted] - mean, covariance) - joint)
    assert np.ptp(differences) < 1e-9 * max(1.0, abs(joint))


def test_residual_cross_products_of_recorded_plots(scene):
    """Exactly the records count, by their plots, whatever stands in the unseen ones."""
    case, model = scene.case, scene.case.model
    e = model.residuals(scene.t, scene.values)
    scale = max(1.0, float((model.plots[:, None] * e**2).sum()))
    for shift in (0.0, 10.0):
        shifted = replace(scene, pads=scene.pads + shift)
        p, s, w = fresh(shifted)
        PLAIN.steps.fill_fitted(p, s, w)
        for i in p.seen:
            got = np.full((p.n_trait, p.n_trait), np.nan)
            PLAIN.steps.sum_residuals(p, s, w, i, got)
            g = case.recorded[i]
            here = (e * np.sqrt(model.plots)[:, None])[model.env == i][:, g]
            np.testing.assert_allclose(got[np.ix_(g, g)], here.T @ here, rtol=0, atol=1e-11 * scale * (1 + shift**2))
            assert p.n_recorded[i] == (model.env == i).sum()


def test_completed_log_density_of_completed_records(scene):
    """Of the recorded plots, their missing traits as imputed."""
    case, model = scene.case, scene.case.model
    p, s, w = fresh(scene)
    PLAIN.steps.fill_fitted(p, s, w)
    PLAIN.steps.measure_completed_density(p, s, w)
    wanted = model.completed_log_density(scene.t, case.without_absent(model.env, scene.values))
    assert s.completed_log_density[0] == pytest.approx(wanted, rel=1e-9)


def interaction_prior(scene):
    """Covariance of v(b2) over (environment, trait, line), and which of it is recorded."""
    t, G = scene.t, scene.case.model.G
    covariance = np.kron(np.diag(t.s2_E), np.kron(t.Sigma_t, G))
    return covariance, np.repeat(scene.case.recorded.ravel(), len(G))


def regress_dense(covariance, given, wanted, x):
    """Mean and covariance of `wanted` given that `given` is x, singular covariances allowed."""
    B = covariance[np.ix_(wanted, given)] @ np.linalg.pinv(covariance[np.ix_(given, given)], rcond=1e-9, hermitian=True)
    return B @ x, covariance[np.ix_(wanted, wanted)] - B @ covariance[np.ix_(given, wanted)]


def test_absent_interaction(incomplete):
    """b2 of columns without a record, given the recorded ones."""
    case, p, t = incomplete.case, incomplete.problem, incomplete.t
    covariance, recorded = interaction_prior(incomplete)
    b2 = np.swapaxes(t.b2, 1, 2).ravel()

    def draw(rng):
        _, s, w = fresh(incomplete)
        W2 = s.W - s.W1[p.col_trait]
        assert PLAIN.missing.complete_interaction(
            rng, s.Sigma_t, s.s2_E, p.recorded, p.col_env, p.col_trait, p.rank, W2, w.noise, w.full
        )
        effects = case.basis.rotate_back(w.full).ravel()
        np.testing.assert_allclose(effects[recorded], b2[recorded], atol=1e-9)
        return effects[~recorded]

    assert_normal(draw, *regress_dense(covariance, recorded, ~recorded, b2[recorded]))


def test_expected_genetic_effects_of_absent_columns(incomplete):
    """E[u_absent | u_recorded] of the joint prior of u, and the prior means of absent beta."""
    case, p, t = incomplete.case, incomplete.problem, incomplete.t
    I = p.n_env
    covariance = np.kron(np.kron(np.ones((I, I)) + np.diag(t.s2_E), t.Sigma_t), case.model.G)
    recorded = np.repeat(case.recorded.ravel(), len(case.model.G))
    u = case.total(t).ravel()
    _, s, w = fresh(incomplete)
    draws = PLAIN.draws.allocate_draws(p, 1, np.array([0]), True)
    assert PLAIN.draws.record_draw(ScriptedGenerator(np.ones(1)), p, s, w, np.empty(0), 0, draws) == 0
    effects = case.basis.rotate_back(draws.sum_W).ravel()
    np.testing.assert_allclose(effects[recorded], u[recorded], atol=1e-9)
    wanted, _ = regress_dense(covariance, recorded, ~recorded, u[recorded])
    np.testing.assert_allclose(effects[~recorded], wanted, atol=1e-9 * max(1.0, np.abs(wanted).max()))
    law = case.model.law_beta
    centre = t.mu if law.kind == "exchangeable" else -law.centre / law.scale
    spread = np.sqrt(t.tau2) if law.kind == "exchangeable" else math.sqrt(t.s2_b) / law.scale
    np.testing.assert_allclose(draws.sum_beta, np.where(case.recorded, t.beta, centre))
    first = np.cumsum(~case.recorded.ravel()).reshape(case.recorded.shape) == 1  # the scripted normals: 1, 0, 0, ...
    np.testing.assert_allclose(draws.beta[0], np.where(case.recorded, t.beta, centre + first * spread))
    np.testing.assert_allclose(draws.W1[0], s.W1)
    np.testing.assert_allclose(draws.tau[0] ** 2, t.tau2)


CROSS_PRODUCTS = [
    (9, [True, False, True]),
    (9, [False, True, False]),
    (4, [True, True, False, False]),
    (3, [True, True, False, False]),  # fewer rows than traits
    (2, [True, True, False]),  # no freedom left beyond the recorded traits
    (1, [True, True, False]),  # fewer rows than recorded traits
    (5, [False, False]),  # nothing recorded
]


@pytest.mark.parametrize("n, given", CROSS_PRODUCTS)
def test_cross_products_of_absent_columns(n, given):
    """Mean, exact; second moments, against rows drawn one by one. Fixed seed, |z| < 4.5 in about a hundred."""
    given = np.array(given)
    L, size = len(given), 20_000
    rng = np.random.default_rng(100 + n)
    root = rng.standard_normal((L, L + 2))
    Sigma = root @ root.T / L
    rows = rng.standard_normal((n, L)) @ np.linalg.cholesky(Sigma).T
    g, a = np.flatnonzero(given), np.flatnonzero(~given)
    start = np.full((L, L), np.nan)
    start[np.ix_(g, g)] = rows[:, g].T @ rows[:, g]
    draws = np.repeat(start[None], size, axis=0)
    for S in draws:
        assert complete_cross_products(rng, n, given, Sigma, S)
    np.testing.assert_array_equal(draws, np.swapaxes(draws, 1, 2))
    np.testing.assert_array_equal(draws[:, g[:, None], g], np.broadcast_to(start[np.ix_(g, g)], (size, len(g), len(g))))

    B = Sigma[np.ix_(a, g)] @ np.linalg.inv(Sigma[np.ix_(g, g)])
    rest = Sigma[np.ix_(a, a)] - B @ Sigma[np.ix_(g, a)]
    filled = np.broadcast_to(rows, (size, n, L)).copy()
    filled[:, :, a] = rows[:, g] @ B.T + rng.standard_normal((size, n, len(a))) @ np.linalg.cholesky(rest).T
    explicit = np.swapaxes(filled, 1, 2) @ filled
    mean = np.empty((L, L))
    mean[np.ix_(g, g)] = start[np.ix_(g, g)]
    mean[np.ix_(a, g)] = B @ start[np.ix_(g, g)]
    mean[np.ix_(g, a)] = mean[np.ix_(a, g)].T
    mean[np.ix_(a, a)] = B @ start[np.ix_(g, g)] @ B.T + n * rest

    pairs = [(b, c) for b in range(L) for c in range(b + 1) if not (given[b] and given[c])]
    x = np.array([draws[:, b, c] - mean[b, c] for b, c in pairs])
    y = np.array([explicit[:, b, c] - mean[b, c] for b, c in pairs])
    z = [x.mean(axis=1) / (x.std(axis=1) / math.sqrt(size))]
    for b in range(len(pairs)):
        xx, yy = x[b] * x, y[b] * y
        error = np.sqrt((xx.var(axis=1) + yy.var(axis=1)) / size)
        z.append((xx.mean(axis=1) - yy.mean(axis=1)) / error)
    assert np.abs(np.concatenate(z)).max() < 4.5
    if n >= L:  # the smallest eigenvalue is where a wrong number of degrees of freedom shows
        low, high = (np.linalg.slogdet(S)[1] for S in (draws, explicit))
        assert abs(low.mean() - high.mean()) < 4.5 * math.sqrt((low.var() + high.var()) / size)
