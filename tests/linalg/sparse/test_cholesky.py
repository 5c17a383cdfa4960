"""The sparse Cholesky factor beside dense algebra, on patterns of every kind."""

import numba
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from bmtme.errors import NumericalError, UsageError
from bmtme.linalg.sparse import PivotError, SparseCholesky


def random_matrix(seed, n, density):
    """Sparse symmetric, diagonally dominant."""
    rng = np.random.default_rng(seed)
    upper = scipy.sparse.random(n, n, density, random_state=rng, data_rvs=rng.standard_normal)
    A = (upper + upper.T).toarray()
    return A + np.diag(abs(A).sum(axis=1) + rng.uniform(0.5, 2.0, n))


def lower(A):
    """Lower triangle of a dense matrix, with the whole diagonal."""
    A = np.asarray(A, dtype=float)
    keep = np.tril(A != 0) | np.eye(len(A), dtype=bool)
    rows, columns = np.nonzero(keep)
    pattern = scipy.sparse.csc_array((A[rows, columns], (rows, columns)), shape=A.shape)
    pattern.sort_indices()
    return pattern


def compare(A, chol=None):
    """Every result beside the dense one."""
    A = np.asarray(A, dtype=float)
    n = len(A)
    pattern = lower(A)
    chol = chol or SparseCholesky(pattern)
    chol.factor(pattern.data)
    inverse = np.linalg.inv(A)
    assert chol.n == n
    assert chol.log_determinant == pytest.approx(np.linalg.slogdet(A)[1] if n else 0.0, rel=1e-10, abs=1e-10)
    b = np.random.default_rng(5).standard_normal((n, 6))
    for given_b in (b, b[:, 0], b[:, :2], np.asfortranarray(b)):
        solution = chol.solve(given_b)
        assert solution.shape == given_b.shape
        np.testing.assert_allclose(A @ solution, given_b, atol=1e-10)
    draws = chol.draw(np.eye(n))
    np.testing.assert_allclose(draws @ draws.T, inverse, atol=1e-10)
    np.testing.assert_allclose(chol.draw(b[:, 0]), draws @ b[:, 0], atol=1e-10)
    entries = pattern.tocoo()
    np.testing.assert_allclose(chol.selected_inverse(), inverse[entries.row, entries.col], atol=1e-10)
    return chol


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]))
def test_random_patterns(seed, n, density):
    compare(random_matrix(seed, n, density))


def line(n):
    """Precision along a row of plots."""
    return np.diag(np.full(n, 1.5)) - 0.7 * (np.eye(n, k=1) + np.eye(n, k=-1))


@pytest.mark.parametrize("sizes", [(7, 9), (1, 30), (16, 16)])
def test_grids(sizes):
    chol = compare(np.kron(line(sizes[0]), line(sizes[1])) + np.eye(sizes[0] * sizes[1]))
    if 1 in sizes:
        assert chol.fill == 2 * max(sizes) - 1  # a path fills in nothing


@pytest.mark.parametrize("seed", range(3))
def test_fill_of_a_grid_in_any_order(seed):
    """Row by row it would be 13,000; minimum degree orderings of others give about 6,000."""
    order = np.random.default_rng(seed).permutation(576)
    A = np.kron(line(24), np.eye(24)) + np.kron(np.eye(24), line(24))
    assert SparseCholesky(lower(A[np.ix_(order, order)])).fill < 6600


def test_dense():
    """One supernode, factored in blocks."""
    compare(random_matrix(6, 70, 1.0))


@pytest.mark.parametrize("place", [0, 17, 39])
def test_arrows_fill_in_nothing(place):
    A = np.eye(40) * 3.0
    A[place, :] = A[:, place] = 0.3
    A[place, place] = 9.0
    assert compare(A).fill == 79


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="too much for plain Python")
def test_wide_supernodes():
    """Dense blocks wider than a panel, with rows below them."""
    rng = np.random.default_rng(3)
    n = 640
    A = np.zeros((n, n))
    for part in (np.arange(400), np.r_[300:560], np.r_[0:20, 540:640]):
        B = rng.standard_normal((len(part), len(part) + 5))
        A[np.ix_(part, part)] += B @ B.T / len(part) + np.eye(len(part))
    compare(A)


def test_disconnected_and_permuted():
    rng = np.random.default_rng(8)
    A = scipy.linalg.block_diag(random_matrix(1, 12, 0.3), np.eye(3), random_matrix(2, 20, 0.2), 4.0)
    log_determinant = compare(A).log_determinant
    for _ in range(3):
        order = rng.permutation(len(A))
        assert compare(A[np.ix_(order, order)]).log_determinant == pytest.approx(log_determinant, rel=1e-12)


def test_many_rows_beside_all_others_come_last():
    """Rows with very many neighbours are not ordered by degree."""
    rng = np.random.default_rng(4)
    A = np.eye(180) * 5.0
    A[:3, 3:] = rng.uniform(-0.05, 0.05, (3, 177))
    A[3:, :3] = A[:3, 3:].T
    assert compare(A).fill == 180 + 3 * 177 + 3


def test_other_values_of_one_pattern():
    A, B = random_matrix(1, 25, 0.2), random_matrix(1, 25, 0.2)
    B[np.tril_indices(25, -1)] *= 0.4
    B = np.tril(B) + np.tril(B, -1).T
    chol = compare(A)
    compare(B, chol)
    compare(A, chol)


def test_entries_that_are_zero_stay_in_the_pattern():
    A = np.diag([2.0, 3.0, 4.0])
    pattern = lower(np.ones((3, 3)))
    chol = SparseCholesky(pattern)
    entries = pattern.tocoo()
    chol.factor(A[entries.row, entries.col])
    np.testing.assert_allclose(chol.selected_inverse(), np.linalg.inv(A)[entries.row, entries.col])


@pytest.mark.parametrize("seed", range(3))
def test_singular_and_indefinite_matrices_name_an_equation(seed):
    rng = np.random.default_rng(seed)
    A = random_matrix(seed, 30, 0.1)
    # Equation 12 becomes the sum of 3 and 20: only these three are aliased.
    T = np.eye(30)
    T[12] = 0.0
    T[12, [3, 20]] = 1.0
    singular = T @ A @ T.T
    pattern = lower(singular)
    chol = SparseCholesky(pattern)
    with pytest.raises(PivotError, match=r"not positive definite: the pivot of equation \d+") as caught:
        chol.factor(pattern.data)
    assert caught.value.equation in (3, 12, 20)
    with pytest.raises(UsageError, match="no matrix was factored"):
        chol.solve(np.ones(30))
    alone = np.eye(30) * 2.0
    place = int(rng.integers(30))
    alone[place, place] = -1.0
    with pytest.raises(NumericalError, match=rf"equation {place} .* is -1\.") as caught:
        SparseCholesky(lower(alone)).factor(np.diag(alone))
    assert caught.value.exit_code == 4


def test_values_that_are_not_numbers():
    chol = SparseCholesky(lower(np.eye(3)))
    with pytest.raises(NumericalError, match="not finite"):
        chol.factor(np.array([1.0, np.nan, 1.0]))
    with pytest.raises(UsageError, match="expected 3 values"):
        chol.factor(np.ones(4))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (np.eye(3), "square scipy.sparse array in CSC"),
        (scipy.sparse.csr_array(np.eye(3)), "square scipy.sparse array in CSC"),
        (scipy.sparse.csc_array(np.ones((2, 3))), "square"),
        (scipy.sparse.csc_array(np.ones((3, 3))), "lower triangle"),
        (scipy.sparse.csc_array(np.diag([1.0, 0.0, 1.0])), "whole diagonal"),
        (scipy.sparse.csc_array(([1.0, 1.0, 1.0], [1, 0, 1], [0, 2, 3]), shape=(2, 2)), "ascending"),
    ],
)
def test_bad_patterns(pattern, words):
    with pytest.raises(UsageError, match=words):
        SparseCholesky(pattern)


def test_memory_is_known_before_any_number():
    chol = SparseCholesky(lower(random_matrix(2, 50, 0.1)))
    foretold = chol.memory
    chol.factor(lower(random_matrix(2, 50, 0.1)).data)
    chol.selected_inverse()
    held = sum(array.nbytes for array in (*chol._fronts, chol._panels, chol._work))
    assert held <= foretold <= held + 8 * chol._entries + 64


def test_wide_supernode_whose_first_columns_lack_a_row():
    """It could take in the zeros of that row, and be cut in pieces of which the first then has a row too few."""
    n = 610
    A = np.ones((n, n)) + 2 * n * np.eye(n)
    A[-1, : n // 2] = A[: n // 2, -1] = 0.0
    chol = compare(A)
    assert chol.fill <= n * (n + 1) // 2
