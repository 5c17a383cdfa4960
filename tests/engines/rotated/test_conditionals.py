"""Every full conditional against the dense joint density: log conditional - log joint is constant, to 1e-9.

The parameters of each conditional are read off the sampler's own code, run as plain Python with scripted numbers
in place of random ones; the joint density is that of `bmtme.testing.dense`, written without the sampler's algebra.
"""

from dataclasses import replace

import numpy as np
import pytest

from bmtme.testing.cases import make_scene
from bmtme.testing.dense import log_inverse_gamma, log_inverse_wishart
from bmtme.testing.scripted import HALF, ScriptedGenerator, assert_normal, import_plain

PLAIN = import_plain()
POINTS = (0.3, 0.7, 1.9)


def check_constant(log_conditional, log_joint, points):
    """The difference of two log densities is the same at every point."""
    conditional = np.array([log_conditional(x) for x in points])
    joint = np.array([log_joint(x) for x in points])
    assert np.ptp(conditional) > 1e-3, "the points do not tell one density from another"
    scale = max(1.0, np.abs(conditional).max(), np.abs(joint).max())
    assert np.ptp(conditional - joint) < 1e-9 * scale


def read_inverse_gamma(shape, value):
    """Log density of the IG whose scripted draw gave `value`."""
    return lambda x: log_inverse_gamma(x, shape, value * HALF)


def read_covariance(law, shapes, out):
    """Log density of the covariance whose scripted draw gave `out`; takes its share off the list of shapes."""
    p = len(out)
    if law.shape == "full":
        mine = [shapes.pop(0) for _ in range(p)]
        np.testing.assert_allclose(mine, mine[0] - 0.5 * np.arange(p))
        S = out.copy()
        return lambda M: log_inverse_wishart(M, S, 2 * mine[0])
    entries = range(1 if law.shape == "scalar" else p)
    parts = [read_inverse_gamma(shapes.pop(0), out[k, k]) for k in entries]
    return lambda M: sum(part(M[k, k]) for k, part in enumerate(parts))


def read_auxiliaries(law, shapes, out):
    """Log density of the auxiliaries whose scripted draw gave `out`."""
    parts = [read_inverse_gamma(shapes.pop(0), out[k]) for k in range(1 if law.shape == "scalar" else len(out))]
    return lambda a: sum(part(a[k]) for k, part in enumerate(parts))


def draw_points(law, n=4):
    rng = np.random.default_rng(11)
    return [law.draw(rng) for _ in range(n)]


def extend_rows(given, S, g, factor=None):
    """Rows of all traits from rows of the traits g, as if every normal drawn were zero and every Bartlett factor 1.

    X_a = X_g B' + Q K' with Q orthonormal and orthogonal to X_g; ``factor`` (n, r) maps whitened rows to rows.
    """
    L = len(S)
    a = np.setdiff1d(np.arange(L), g)
    factor = np.eye(len(given)) if factor is None else factor
    white = np.linalg.pinv(factor) @ given
    rows = np.zeros((len(white), L))
    rows[:, g] = white
    B = S[np.ix_(a, g)] @ np.linalg.inv(S[np.ix_(g, g)])
    K = np.linalg.cholesky(S[np.ix_(a, a)] - B @ S[np.ix_(g, a)])
    Q = np.linalg.qr(np.column_stack([white, np.eye(len(white))]))[0][:, len(g) : len(g) + len(a)]
    rows[:, a] = white @ B.T + Q @ K.T
    return factor @ rows


def extend_interaction(scene):
    """The unknowns with absent traits of b2 as the scripted draw has them; environments without a record: NaN."""
    t, model = scene.t, scene.case.model
    values, vectors = np.linalg.eigh(model.G)
    kept = values > 1e-8 * values.max()
    F = vectors[:, kept] * np.sqrt(values[kept])
    b2 = np.full_like(t.b2, np.nan)
    for i, g in enumerate(scene.case.recorded):
        if g.any():
            b2[i] = extend_rows(t.b2[i][:, g], t.s2_E[i] * t.Sigma_t, np.flatnonzero(g), F)
    return replace(t, b2=b2)


def vary(model, t, values, name, k=None):
    """Log joint density as a function of one unknown, or of its entry k."""

    def log_joint(x):
        old = getattr(t, name)
        new = x if k is None else np.where(np.arange(len(old)) == k, x, old)
        return model.log_joint(replace(t, **{name: new}), values)

    return log_joint


def test_genetic_covariances_and_auxiliaries(scene):
    case, p, w = scene.case, scene.problem, PLAIN.state.allocate_work(scene.problem)
    s, model, seen = scene.state(), case.model, case.recorded.any(axis=1)
    w.W2[:] = s.W - s.W1[p.col_trait] if p.interaction else 0.0
    rng = ScriptedGenerator()
    assert PLAIN.steps.draw_genetic_covariances(rng, p, s, w) == 0
    shapes = rng.shapes[int((~case.recorded[seen]).sum()) if p.interaction else 0 :]
    t = extend_interaction(scene) if p.interaction else scene.t
    values = case.without_absent(model.env, scene.values)

    def joint(**changed):
        return model.log_joint(replace(t, **changed), values)

    points = draw_points(model.law_t)
    log_Sigma_t = read_covariance(model.law_t, shapes, s.Sigma_t)
    check_constant(log_Sigma_t, lambda M: joint(Sigma_t=M), [M for M, _ in points])
    t = replace(t, Sigma_t=s.Sigma_t)
    if model.law_t.family == "half-t":
        log_aux = read_auxiliaries(model.law_t, shapes, s.aux_t)
        check_constant(log_aux, lambda a: joint(aux_t=a), [a for _, a in points])
        t = replace(t, aux_t=s.aux_t)
    if not p.interaction:
        assert not shapes
        return
    law = model.law_E
    half_t = law.family == "half-t"
    if law.shape == "scalar":
        log_s2 = read_inverse_gamma(shapes.pop(0), s.s2_E[0])
        check_constant(log_s2, lambda v: joint(s2_E=np.full(p.n_env, v)), POINTS)
        t = replace(t, s2_E=s.s2_E)
        if half_t:
            log_aux = read_inverse_gamma(shapes.pop(0), s.aux_E[0])
            check_constant(log_aux, lambda a: joint(aux_E=np.full(p.n_env, a)), POINTS)
        assert not shapes
        return
    for i in range(p.n_env):
        if not seen[i]:  # straight from the prior, through an auxiliary of its own
            if half_t:
                assert [shapes.pop(0), shapes.pop(0)] == [0.5, law.nu / 2]
                assert s.s2_E[i] == pytest.approx(law.nu * law.scale[i] ** 2)
            else:
                assert shapes.pop(0) == law.df / 2
                assert s.s2_E[i] == pytest.approx(law.matrix[i, i])
            continue
        log_s2 = read_inverse_gamma(shapes.pop(0), s.s2_E[i])
        check_constant(log_s2, vary(model, t, values, "s2_E", i), POINTS)
        t = replace(t, s2_E=np.where(np.arange(p.n_env) <= i, s.s2_E, t.s2_E))
        if half_t:
            log_aux = read_inverse_gamma(shapes.pop(0), s.aux_E[i])
            check_constant(log_aux, vary(model, t, values, "aux_E", i), POINTS)
    assert not shapes


def test_residual_covariance_and_auxiliaries(scene):
    """Only recorded plots count: the joint density is without the unseen ones."""
    case, p, w = scene.case, scene.problem, PLAIN.state.allocate_work(scene.problem)
    s, model = scene.state(), case.model
    PLAIN.steps.fill_fitted(p, s, w)
    rng = ScriptedGenerator()
    assert PLAIN.steps.draw_residual(rng, p, s, w)
    shapes = rng.shapes[int((~case.recorded[case.recorded.any(axis=1)]).sum()) :]
    values = scene.values.copy()
    fitted = values - model.residuals(scene.t, values)
    for i, g in enumerate(case.recorded):
        here = model.env == i
        if here.any():
            e = (values - fitted)[here]
            values[here] = fitted[here] + extend_rows(e[:, g], scene.t.R_e, np.flatnonzero(g))
    points = draw_points(model.law_e)
    log_R_e = read_covariance(model.law_e, shapes, s.R_e)
    check_constant(log_R_e, lambda M: model.log_joint(replace(scene.t, R_e=M), values), [M for M, _ in points])
    if model.law_e.family == "half-t":
        t = replace(scene.t, R_e=s.R_e)
        log_aux = read_auxiliaries(model.law_e, shapes, s.aux_e)
        check_constant(log_aux, lambda a: model.log_joint(replace(t, aux_e=a), values), [a for _, a in points])
    assert not shapes


def test_scales_of_the_means(scene):
    """tau and s2_b read recorded columns only."""
    case, p, s, model = scene.case, scene.problem, scene.state(), scene.case.model
    t = replace(scene.t, beta=np.where(case.recorded, scene.t.beta, np.nan))
    values = case.without_absent(model.env, scene.values)
    rng = ScriptedGenerator()
    PLAIN.steps.draw_mean_scales(rng, p, s)
    shapes = rng.shapes
    if model.law_beta.kind == "exchangeable":
        for l in range(p.n_trait):
            log_tau2 = read_inverse_gamma(shapes.pop(0), s.tau2[l])
            check_constant(log_tau2, vary(model, t, values, "tau2", l), POINTS)
            t = replace(t, tau2=np.where(np.arange(p.n_trait) <= l, s.tau2, t.tau2))
            log_aux = read_inverse_gamma(shapes.pop(0), s.aux_tau[l])
            check_constant(log_aux, vary(model, t, values, "aux_tau", l), POINTS)
    elif model.law_beta.kind == "paper":
        check_constant(read_inverse_gamma(shapes.pop(0), s.s2_b[0]), vary(model, t, values, "s2_b"), POINTS)
        t = replace(t, s2_b=float(s.s2_b[0]))
        check_constant(read_inverse_gamma(shapes.pop(0), s.aux_b[0]), vary(model, t, values, "aux_b"), POINTS)
    assert not shapes


def test_means_given_effects(scene):
    """A.1, with mu integrated out, then mu: jointly (mu, beta) | b1, b2."""
    case, p = scene.case, scene.problem
    mean, covariance = case.completed().condition(scene.t, scene.completed_values(), ("mu", "beta"))
    names = ("beta", "mu") if case.model.law_beta.kind == "exchangeable" else ("beta",)
    places = np.concatenate([case.places(name) for name in names])

    def draw(rng):
        s, w = scene.state(), PLAIN.state.allocate_work(p)
        assert PLAIN.steps.factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)
        assert PLAIN.stepwise.draw_means_given_effects(rng, p, s, w)
        return np.concatenate([getattr(s, name) for name in names])

    assert_normal(draw, mean[places], covariance[np.ix_(places, places)])


def test_main_effects_given_interaction(scene):
    """A.4. The interaction of absent columns has no say."""
    case, p = scene.case, scene.problem
    mean, covariance = case.completed().condition(scene.t, scene.completed_values(), ("b1",))
    places = case.places("b1")

    def draw(rng):
        s, w = scene.state(), PLAIN.state.allocate_work(p)
        w.W2[:] = s.W - s.W1[p.col_trait] if p.interaction else 0.0
        before = w.W2.copy()
        assert PLAIN.stepwise.draw_main_given_interaction(rng, p, s, w)
        np.testing.assert_allclose(s.W, s.W1[p.col_trait] + before, rtol=0, atol=1e-12)
        return case.basis.rotate_back(s.W1).T.ravel()

    assert_normal(draw, mean[places], covariance[np.ix_(places, places)])


def test_interaction_given_main_effects(scene):
    """A.5 over the recorded traits, those absent integrated out."""
    case, p = scene.case, scene.problem
    if not p.interaction:
        pytest.skip("one environment has no interaction")
    mean, covariance = case.completed().condition(scene.t, scene.completed_values(), ("b2",))
    places = case.places("b2")

    def draw(rng):
        s, w = scene.state(), PLAIN.state.allocate_work(p)
        assert PLAIN.stepwise.draw_interaction_given_main(rng, p, s, w)
        np.testing.assert_allclose(s.W, s.W1[p.col_trait] + w.W2, rtol=0, atol=1e-12)
        return case.basis.rotate_back(w.W2).ravel()

    assert_normal(draw, mean[places], covariance[np.ix_(places, places)])


def log_prior(law, M):
    """log p(M), the auxiliaries a integrated out: p(M, a) / p(a | M) for any a."""
    if law.family == "inverse-wishart":
        return law.log_density(M, np.ones(len(M)))
    p = len(M) if law.shape == "full" else 1
    precision = np.diag(np.linalg.inv(M))
    entries = range(1 if law.shape == "scalar" else len(M))

    def log_ratio(a):
        conditional = sum(
            log_inverse_gamma(a[k], (law.nu + p) / 2, law.nu * precision[k] + 1 / law.scale[k] ** 2) for k in entries
        )
        return law.log_density(M, a) - conditional

    assert log_ratio(np.full(len(M), 0.4)) == pytest.approx(log_ratio(np.full(len(M), 2.0)), rel=1e-9)
    return log_ratio(np.ones(len(M)))


def test_covariances_with_means_and_effects_integrated_out(scene):
    """The collapsed density against the dense one (with the Jacobian of its parameters), and its gradient."""
    case, p, s = scene.case, scene.problem, scene.state()
    model, seen = case.completed(), case.recorded.any(axis=1)
    w, h = PLAIN.state.allocate_work(p), PLAIN.collapsed.allocate_walk(p)
    PLAIN.steps.prepare_mean_prior(p, s, w)
    PLAIN.collapsed.sum_within(p, s, h)
    PLAIN.collapsed.pack_state(p, s, h)
    q = len(h.theta)

    def unpack(theta):
        assert PLAIN.collapsed.unpack_trial(theta, p, h)
        return h.Sigma_t.copy(), h.s2_E[seen].copy(), h.R_e.copy()

    def free_entries(theta):
        Sigma_t, s2_E, R_e = unpack(theta)
        rows = {"full": np.tril_indices(p.n_trait), "diagonal": np.diag_indices(p.n_trait), "scalar": ([0], [0])}
        parts = [Sigma_t[rows[model.law_t.shape]], R_e[rows[model.law_e.shape]]]
        if p.interaction:
            parts.insert(1, s2_E if model.law_E.shape == "diagonal" else s2_E[:1])
        return np.concatenate(parts)

    def dense(theta):
        Sigma_t, s2_E, R_e = unpack(theta)
        shared = model.law_E.shape == "scalar"
        full = np.where(seen, 0.0, s2_E[0] if shared else 1.0)
        full[seen] = s2_E
        t = replace(scene.t, Sigma_t=Sigma_t, s2_E=full, R_e=R_e)
        step = 1e-5 * np.eye(q)
        jacobian = np.array([(free_entries(theta + e) - free_entries(theta - e)) / 2e-5 for e in step])
        result = model.log_marginal(t, scene.completed_values()) + np.linalg.slogdet(jacobian)[1]
        result += log_prior(model.law_t, Sigma_t) + log_prior(model.law_e, R_e)
        return result + (log_prior(model.law_E, np.diag(full)) if p.interaction else 0.0)

    rng = np.random.default_rng(2)
    gradient, scratch = np.empty((2, q))
    points = [h.theta + 0.3 * rng.standard_normal(q) for _ in range(4)]
    values = [PLAIN.density.evaluate(theta, p, s, w, h, gradient) for theta in points]
    differences = [value - dense(theta) for value, theta in zip(values, points, strict=True)]
    assert np.ptp(values) > 0.1
    assert np.ptp(differences) < 1e-7 * max(1.0, np.abs(values).max())
    theta = points[-1]
    slopes = [
        (
            PLAIN.density.evaluate(theta + e, p, s, w, h, scratch)
            - PLAIN.density.evaluate(theta - e, p, s, w, h, scratch)
        )
        / 2e-5
        for e in 1e-5 * np.eye(q)
    ]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(gradient).max()))


def test_wrong_conditionals_are_caught(monkeypatch):
    """Degrees of freedom off by one; a scatter one per cent too large; A.1 without its prior."""
    scene = make_scene("missing", "unstructured")
    right = PLAIN.covariance.draw_covariance
    for change in (lambda S, n: (S, n + 1.0), lambda S, n: (1.01 * S, n)):

        def wrong(rng, S, n, *rest, change=change):
            return right(rng, *change(S, n), *rest)

        monkeypatch.setattr(PLAIN.steps, "draw_covariance", wrong)
        for test in (test_genetic_covariances_and_auxiliaries, test_residual_covariance_and_auxiliaries):
            with pytest.raises(AssertionError):
                test(scene)
    monkeypatch.setattr(PLAIN.stepwise, "prepare_mean_prior", lambda p, s, w: None)
    with pytest.raises(AssertionError):
        test_means_given_effects(scene)
