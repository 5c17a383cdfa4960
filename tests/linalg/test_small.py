"""Small linear algebra of the kernels, and the draws built on it, against numpy and scipy."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import sqrtm

from bmtme.engines.rotated.kernels.genetic import invert_observed
from bmtme.engines.rotated.kernels.pair import whiten
from bmtme.linalg.rotation import rotate_back, rotate_forward
from bmtme.linalg.small import (
    decompose_jacobi,
    differentiate_root,
    dot,
    factor_cholesky,
    fix_signs,
    invert_lower,
    invert_spd,
    solve_lower,
    solve_lower_transposed,
    take_root,
    transform_symmetric,
)
from bmtme.structures.priors import draw_inverse_gamma, draw_inverse_wishart

SIZES = [1, 2, 3, 5, 12, 30]  # the last one beyond `SMALL`


def make_spd(n, seed=0, condition=None):
    rng = np.random.default_rng(seed)
    if condition is None:
        root = rng.standard_normal((n, n + 2))
        return root @ root.T / n
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (Q * np.geomspace(1.0, 1.0 / condition, n)) @ Q.T


@pytest.mark.parametrize("n", SIZES)
def test_cholesky_and_triangular_solves(n):
    A = make_spd(n)
    K, Ki, Ai = np.full((3, n, n), np.nan)
    assert factor_cholesky(A, K)
    np.testing.assert_allclose(K, np.linalg.cholesky(A), atol=1e-13)
    invert_lower(K, Ki)
    np.testing.assert_allclose(Ki @ K, np.eye(n), atol=1e-12)
    assert invert_spd(A, Ai)
    np.testing.assert_allclose(Ai @ A, np.eye(n), atol=1e-11)
    b = np.arange(1.0, n + 1)
    x = b.copy()
    solve_lower(K, x)
    np.testing.assert_allclose(K @ x, b)
    x = b.copy()
    solve_lower_transposed(K, x)
    np.testing.assert_allclose(K.T @ x, b)
    assert dot(b, b, n) == pytest.approx(b @ b)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("equal", [False, True])
def test_symmetric_root_and_its_derivative(n, equal):
    """The root of scipy; of tr(H S) the derivative against differences, of an identity, too."""
    A = 2.0 * np.eye(n) if equal else make_spd(n)
    A.setflags(write=False)
    s, (V, S) = np.empty(n), np.empty((2, n, n))
    assert take_root(A, s, V, S)
    np.testing.assert_allclose(S, sqrtm(A).real, atol=1e-12)
    np.testing.assert_allclose((V * s) @ V.T, S, atol=1e-12)
    rng = np.random.default_rng(n)
    H, D = rng.standard_normal((2, n, n))
    H, D, before = H + H.T, D + D.T, rng.standard_normal((n, n))
    G = before.copy()
    differentiate_root(s, V, H.copy(), G)
    np.testing.assert_allclose(G, G.T + before - before.T, atol=1e-12)
    beside = [np.empty((n, n)) for _ in range(2)]
    step = 1e-6 * s.min() ** 2 / np.abs(D).max()
    for sign, out in zip((1.0, -1.0), beside, strict=True):
        assert take_root(A + sign * step * D, np.empty(n), np.empty((n, n)), out)
    slope = (H * (beside[0] - beside[1])).sum() / (2.0 * step)
    assert ((G - before) * D).sum() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("n", [2, 30])
def test_a_singular_matrix_has_no_root(n):
    for last in (0.0, -1e-3):
        A = np.diag([*np.ones(n - 1), last])
        assert not take_root(A, np.empty(n), np.empty((n, n)), np.empty((n, n)))


@pytest.mark.parametrize("n", [3, 30])
def test_symmetric_transformation(n):
    A, S = make_spd(n, 1) + np.triu(np.ones((n, n))), make_spd(n, 2)
    out = np.full((n, n), np.nan)
    transform_symmetric(A, S, out)
    np.testing.assert_allclose(out, A @ S @ A.T, rtol=1e-11)


@pytest.mark.parametrize("bad", [np.diag([1.0, 0.0]), np.diag([1.0, -1.0]), np.array([[1.0, 2.0], [2.0, 1.0]])])
@pytest.mark.parametrize("poison", [0.0, np.nan, np.inf])
def test_matrices_that_are_not_positive_definite_are_refused(bad, poison):
    A = bad + poison
    assert not factor_cholesky(A, np.empty((2, 2)))
    assert not invert_spd(A, np.empty((2, 2)))
    assert not draw_inverse_wishart(np.random.default_rng(0), A, 5.0, np.empty((2, 2)))


def decompose(A):
    n = len(A)
    values, vectors = np.empty(n), np.empty((n, n))
    decompose_jacobi(A.copy(), values, vectors)
    return values, vectors


def check_decomposition(A, values, vectors):
    size = max(1e-300, np.abs(A).max())
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(A)), atol=1e-13)
    np.testing.assert_allclose((vectors * values) @ vectors.T, A, atol=1e-13 * len(A) * size)
    for column in vectors.T:
        assert column.max() >= np.abs(column).max() * (1.0 - 1e-8)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("condition", [None, 1e12])
def test_jacobi(n, condition):
    A = make_spd(n, n, condition)
    values, vectors = decompose(A)
    check_decomposition(A, values, vectors)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(A), atol=1e-13 * A.max())


@pytest.mark.parametrize(
    "A",
    [
        np.eye(4),
        np.zeros((3, 3)),
        np.ones((4, 4)),
        0.3 * np.eye(5) + 0.7,
        np.kron(np.eye(2), np.array([[2.0, 1.0], [1.0, 2.0]])),
        np.diag([3.0, 1.0, 3.0]),
        -np.eye(2) - 1.0,
        np.array([[0.0, 1.0], [1.0, 0.0]]),
    ],
)
def test_jacobi_with_repeated_eigenvalues(A):
    """Any orthonormal basis will do, but the same one for k A (k not a power of two) and after rounding.

    Vectors of a zero eigenvalue are left to rounding: no effect is drawn along them.
    """
    values, vectors = decompose(A)
    check_decomposition(A, values, vectors)
    noise = np.random.default_rng(1).standard_normal(A.shape)
    kept = np.abs(values) > 1e-12 * np.abs(values).max()
    for B, k in ((A * 3.7, 3.7), (A * (1.0 + 1e-16 * (noise + noise.T)), 1.0), (A * 1e-9, 1e-9)):
        other, turned = decompose(B)
        np.testing.assert_allclose(other, k * values, atol=1e-13 * k * max(1.0, np.abs(values).max()))
        np.testing.assert_allclose(turned[:, kept], vectors[:, kept], atol=1e-9)


def test_jacobi_of_widely_scaled_blocks():
    """Small eigenvalues keep their relative accuracy where the matrix is graded."""
    D = np.diag([1e3, 1.0, 1e-3])
    A = D @ make_spd(3, 5) @ D
    values, vectors = decompose(A)
    check_decomposition(A, values, vectors)
    sign, log = np.linalg.slogdet(make_spd(3, 5))
    assert sign == 1
    assert np.log(np.sort(values)).sum() == pytest.approx(log, abs=1e-9)


def test_signs():
    V = np.array([[-2.0, 1.0, 0.5, 0.0], [1.0, -1.0, -0.5 - 1e-12, 0.0]])
    fix_signs(V)
    np.testing.assert_allclose(V, [[2.0, 1.0, 0.5, 0.0], [-1.0, -1.0, -0.5, 0.0]])


@pytest.mark.parametrize("n", [1, 3, 9, 16, 17, 30])
@pytest.mark.parametrize("rank", ["full", "deficient"])
def test_whitening_of_a_pair(n, rank):
    """T'RT = I, T'CT = diag(lam), Ti = T^-1, by hand up to 16 columns and by LAPACK beyond."""
    C, R = make_spd(n, 1), make_spd(n, 2)
    if rank == "deficient" and n > 1:
        root = np.random.default_rng(0).standard_normal((n, n - 1))
        C = root @ root.T
    lam, (T, Ti, V), log_R = np.empty(n), np.empty((3, n, n)), np.empty(1)
    assert whiten(C, R, lam, T, Ti, V, log_R)
    np.testing.assert_allclose(log_R[0], np.linalg.slogdet(R)[1], atol=1e-10)
    np.testing.assert_allclose(T.T @ R @ T, np.eye(n), atol=1e-10)
    np.testing.assert_allclose(T.T @ C @ T, np.diag(lam), atol=1e-9 * lam.max())
    np.testing.assert_allclose(T @ Ti, np.eye(n), atol=1e-10)
    assert lam.min() >= 0.0
    assert not whiten(C, -R, lam, T, Ti, V, log_R)
    assert not whiten(np.full((n, n), np.nan), R, lam, T, Ti, V, log_R)


def test_inverse_of_the_observed_block():
    R = make_spd(4)
    o = np.array([True, False, True, True])
    out = np.full((4, 4), np.nan)
    assert invert_observed(R, o, out)
    np.testing.assert_allclose(out[np.ix_(o, o)], np.linalg.inv(R[np.ix_(o, o)]), atol=1e-12)
    assert not out[~o].any()
    assert not out[:, ~o].any()
    assert invert_observed(R, np.zeros(4, bool), out)
    assert not out.any()


@pytest.mark.parametrize("columns", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", range(9))
def test_skinny_rotations(rows, columns):
    """Of rows 1 to `rows` and columns 2 to `columns`, and of nothing else."""
    rng = np.random.default_rng(rows)
    U, X, y = (rng.standard_normal(shape) for shape in ((11, 11), (columns + 3, 11), (11, columns + 1)))
    lines = rng.permutation(11)
    back = np.full((11, columns + 1), np.nan)
    rotate_back(U, lines, 1, 1 + rows, X, 2, columns, back)
    wanted = np.full_like(back, np.nan)
    wanted[1 : 1 + rows, :columns] = U[lines[1 : 1 + rows]] @ X[2 : 2 + columns].T
    np.testing.assert_allclose(back, wanted, atol=1e-12)
    forward = X.copy()
    rotate_forward(U, lines, 1, 1 + rows, y, forward, 2, columns)
    wanted = X.copy()
    wanted[2 : 2 + columns] += y[1 : 1 + rows, :columns].T @ U[lines[1 : 1 + rows]]
    np.testing.assert_allclose(forward, wanted, atol=1e-12)


def draw_many(S, df, n=20_000, seed=3):
    rng = np.random.default_rng(seed)
    out = np.empty((n, *S.shape))
    for M in out:
        assert draw_inverse_wishart(rng, S, df, M)
    return out


@pytest.mark.parametrize("p, df", [(1, 7.5), (2, 9.0), (3, 12.5)])
def test_moments_of_the_inverse_wishart(p, df):
    """E M = S / (df - p - 1), and E M^-1 = df S^-1; |z| < 4.5."""
    S = make_spd(p, 8)
    draws = draw_many(S, df)
    np.testing.assert_array_equal(draws, np.swapaxes(draws, 1, 2))
    Si = np.linalg.inv(S)
    for x, mean in ((draws, S / (df - p - 1)), (np.linalg.inv(draws), df * Si)):
        z = (x.mean(axis=0) - mean) / (x.std(axis=0) / math.sqrt(len(x)))
        assert np.abs(z).max() < 4.5
    # second moments of the Wishart inverse: Var W_ab = df (V_ab^2 + V_aa V_bb), V = S^-1
    W = np.linalg.inv(draws)
    wanted = df * (Si**2 + np.outer(np.diag(Si), np.diag(Si)))
    squares = (W - df * Si) ** 2
    assert np.abs((squares.mean(axis=0) - wanted) / (squares.std(axis=0) / math.sqrt(len(W)))).max() < 4.5


def test_distributions_of_the_inverse_wishart():
    """Diagonal entries are IG((df - p + 1)/2, S_kk/2); the rest as scipy has it."""
    S, df, p = make_spd(3, 9), 6.0, 3
    draws = draw_many(S, df)
    for k in range(p):
        law = stats.invgamma((df - p + 1) / 2, scale=S[k, k] / 2)
        assert stats.kstest(draws[:, k, k], law.cdf).pvalue > 1e-4
    reference = stats.invwishart.rvs(df, S, size=20_000, random_state=4)

    def summaries(M):
        return [M[:, 0, 1] / np.sqrt(M[:, 0, 0] * M[:, 1, 1]), M[:, 1, 2], np.linalg.slogdet(M)[1]]

    for x, y in zip(summaries(draws), summaries(reference), strict=True):
        assert stats.ks_2samp(x, y).pvalue > 1e-4


def test_uniform_correlations_of_the_half_t_prior_at_two_degrees_of_freedom():
    """Huang & Wand (2013): IW(2 nu diag(1/a), nu + p - 1) at nu = 2 has uniform correlations, whatever a."""
    draws = draw_many(np.diag([4.0, 0.1, 1.0]), 2.0 + 3.0 - 1.0)
    r = draws[:, 0, 2] / np.sqrt(draws[:, 0, 0] * draws[:, 2, 2])
    assert stats.kstest(r, stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_inverse_gamma():
    rng = np.random.default_rng(5)
    x = [draw_inverse_gamma(rng, 2.5, 0.7) for _ in range(20_000)]
    assert stats.kstest(x, stats.invgamma(2.5, scale=0.7).cdf).pvalue > 1e-4
