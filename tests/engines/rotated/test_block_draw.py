"""The block draw of (mu, beta, u), and the split of u into b1 and b2, against dense normal conditioning."""

import numpy as np

from bmtme.testing.cases import make_scene
from bmtme.testing.scripted import assert_normal, import_plain, read_normal

PLAIN = import_plain()


def sum_effects(case):
    """Matrix that takes the dense stacked vector to u of the recorded columns, one column after another."""
    blocks = case.model.blocks()
    (I, L), J = case.recorded.shape, len(case.model.G)
    b1 = np.arange(blocks["b1"].start, blocks["b1"].stop).reshape(J, L)
    b2 = np.arange(blocks["b2"].start, blocks["b2"].stop).reshape(-1, J, L)
    A = np.zeros((int(case.recorded.sum()) * J, blocks["b2"].stop))
    row = 0
    for i, l in zip(*np.nonzero(case.recorded), strict=True):
        for j in range(J):
            A[row, b1[j, l]] = 1.0
            if I > 1:
                A[row, b2[i, j, l]] = 1.0
            row += 1
    return A


def test_block_draw(scene):
    """Mean and covariance of (beta, mu, u) given covariances, tau and the completed data, to 1e-10."""
    case, p = scene.case, scene.problem
    mean, covariance = case.completed().condition(
        scene.t, scene.completed_values(), ("mu", "beta", "b1", "b2")[: 4 if p.interaction else 3]
    )
    names = ("beta", "mu") if case.model.law_beta.kind == "exchangeable" else ("beta",)
    here = np.eye(len(mean))[np.concatenate([case.places(name) for name in names])]
    A = np.vstack([here, sum_effects(case)])

    def draw(rng):
        s, w = scene.state(), PLAIN.state.allocate_work(p)
        assert PLAIN.steps.factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)
        assert PLAIN.steps.draw_means_and_genetic(rng, p, s, w)
        return np.concatenate([*(getattr(s, name) for name in names), case.basis.rotate_back(s.W).ravel()])

    assert_normal(draw, A @ mean, A @ covariance @ A.T, 1e-10)


def test_pair_diagonalises_both_covariances(scene):
    """T' R T = I, T' C T = diag(lam), for the product form and the general one."""
    case, p, t = scene.case, scene.problem, scene.t
    s, w = scene.state(), PLAIN.state.allocate_work(p)
    assert PLAIN.steps.factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)
    C = np.kron(np.ones((p.n_env, p.n_env)) + np.diag(s.s2_E), t.Sigma_t)
    R = np.kron(np.diag(1 / p.k), t.R_e)
    here = case.recorded.ravel()
    C, R = C[np.ix_(here, here)], R[np.ix_(here, here)]
    M = int(here.sum())
    np.testing.assert_allclose(w.pair.T.T @ R @ w.pair.T, np.eye(M), atol=1e-10)
    np.testing.assert_allclose(w.pair.T.T @ C @ w.pair.T, np.diag(w.pair.lam), atol=1e-9 * w.pair.lam.max())
    np.testing.assert_allclose(w.pair.Ti @ w.pair.T, np.eye(M), atol=1e-10)


def test_general_form_agrees_with_product_form():
    """One problem through both forms of the pair: the same distribution (a basis of their own each)."""
    scene = make_scene("missing", "unstructured")
    p = scene.problem
    assert p.product
    results = []
    for product in (True, False):
        q = p._replace(product=product)

        def draw(rng, q=q):
            s, w = scene.state(), PLAIN.state.allocate_work(q)
            assert PLAIN.steps.factor_pair(q, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)
            assert PLAIN.steps.draw_means_and_genetic(rng, q, s, w)
            return np.concatenate([s.beta, s.mu, s.W.ravel()])

        results.append(draw)
    assert_normal(results[1], *read_normal(results[0]), 1e-11)


def test_split_into_main_effects_and_interaction(scene):
    """b1 | u: the conditional of the joint prior of (b1, u); data have nothing to add."""
    case, p, t = scene.case, scene.problem, scene.t
    G = case.model.G
    if not p.interaction:
        s, w = scene.state(), PLAIN.state.allocate_work(p)
        assert PLAIN.steps.split_effects(None, p, s, w)
        np.testing.assert_array_equal(s.W1, s.W)
        return
    env, trait = np.nonzero(case.recorded)
    same = (env[:, None] == env[None, :]) * t.s2_E[env]
    uu = np.kron((1.0 + same) * t.Sigma_t[np.ix_(trait, trait)], G)  # one column after another
    bu = np.kron(t.Sigma_t[:, trait], G)
    B = bu @ np.linalg.pinv(uu, rcond=1e-9, hermitian=True)
    u = case.total(t)[case.recorded].ravel()

    def draw(rng):
        s, w = scene.state(), PLAIN.state.allocate_work(p)
        assert PLAIN.steps.split_effects(rng, p, s, w)
        np.testing.assert_allclose(w.W2, s.W - s.W1[p.col_trait], rtol=0, atol=1e-12)
        return case.basis.rotate_back(s.W1).ravel()

    assert_normal(draw, B @ u, np.kron(t.Sigma_t, G) - B @ bu.T)
