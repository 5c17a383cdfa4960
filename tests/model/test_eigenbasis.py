"""The eigenvectors of the relationship: rank, signs, repeated eigenvalues, lines without a record."""

import numpy as np
import pytest
from scipy.linalg import eigh

from bmtme.errors import DataError
from bmtme.model import eigenbasis
from bmtme.model.eigenbasis import decompose_relationship
from bmtme.testing.cases import make_relationship


def rebuild(basis):
    return (basis.vectors * basis.values) @ basis.vectors.T


@pytest.mark.parametrize("clones", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_decomposition(clones, weighted):
    """W G W / m = U diag(d) U', d descending, positive directions counted."""
    rng = np.random.default_rng(2)
    G = 3.0 * make_relationship(rng, 9, clones)
    c = rng.uniform(1.0, 6.0, 9) if weighted else np.ones(9)
    basis = decompose_relationship(G, c)
    assert basis.scale == pytest.approx(3.0)
    np.testing.assert_allclose(rebuild(basis), G / 3.0 * np.sqrt(np.outer(c, c)), atol=1e-12)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(9), atol=1e-12)
    assert (np.diff(basis.values) <= 0).all()
    assert basis.rank == (8 if clones else 9)
    assert (basis.values[basis.rank :] == 0).all()
    np.testing.assert_allclose(basis.vectors @ basis.rotated_ones, np.sqrt(c), atol=1e-12)


def test_rank_of_centred_markers_and_of_many_clones():
    rng = np.random.default_rng(3)
    markers = rng.standard_normal((12, 40))[np.repeat(np.arange(6), 2)]
    markers -= markers.mean(axis=0)
    assert decompose_relationship(markers @ markers.T).rank == 5


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_fewer_markers_than_lines(centred, weighted, monkeypatch):
    """The short way gives the decomposition: eigenvalues, vectors of the positive ones, a basis of the rest."""
    rng = np.random.default_rng(5)
    markers = rng.integers(0, 3, (40, 12)).astype(float)
    markers[7] = markers[3]  # clones
    markers -= markers.mean(axis=0) if centred else 0.0
    G = markers @ markers.T
    c = rng.uniform(1.0, 4.0, 40) if weighted else np.ones(40)
    whole = decompose_relationship(G, c)
    monkeypatch.setattr(eigenbasis, "MANY", 10)
    monkeypatch.setattr(eigenbasis, "eigh", lambda matrix, **rest: small(matrix, **rest))

    def small(matrix, **rest):
        assert len(matrix) <= 12, "decomposed from scratch"
        return eigh(matrix, **rest)

    short = decompose_relationship(G, c)
    assert short.rank == whole.rank == 12
    np.testing.assert_allclose(short.values, whole.values, atol=1e-12 * whole.values[0])
    np.testing.assert_allclose(short.vectors.T @ short.vectors, np.eye(40), atol=1e-12)
    np.testing.assert_allclose(short.vectors[:, :12], whole.vectors[:, :12], atol=1e-9)
    np.testing.assert_allclose(rebuild(short), G / np.trace(G) * 40 * np.sqrt(np.outer(c, c)), atol=1e-12)


def test_a_negative_eigenvalue_is_found_where_few_are_positive(monkeypatch):
    monkeypatch.setattr(eigenbasis, "MANY", 10)
    rng = np.random.default_rng(6)
    vectors = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    for d in (np.r_[np.ones(8), -0.1, np.zeros(21)], np.r_[np.ones(8), np.full(22, -1e-3)]):
        with pytest.raises(DataError, match="not positive semi-definite"):
            decompose_relationship((vectors * d) @ vectors.T)


def test_identity_is_not_rotated():
    c = np.array([1.0, 4.0, 2.0])
    basis = decompose_relationship(np.eye(3), c, is_identity=True)
    assert basis.vectors is None
    assert basis.rank == 3
    np.testing.assert_array_equal(basis.values, c)
    np.testing.assert_allclose(basis.rotated_ones, np.sqrt(c))
    w = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(basis.rotate_back(w), w)


def make_block_relationship():
    """Families: eigenvalues repeated many times, as in the paper's example."""
    return np.kron(np.eye(4), 0.3 * np.eye(5) + 0.7)


@pytest.mark.parametrize("G", [make_block_relationship(), np.eye(6), make_relationship(np.random.default_rng(0), 7)])
@pytest.mark.parametrize("k", [3.7, 1e-3, 1e5])
def test_basis_does_not_depend_on_units(G, k):
    """G and k G give one basis, repeated eigenvalues or not: draws from one seed then agree."""
    first, second = decompose_relationship(G), decompose_relationship(k * G)
    np.testing.assert_allclose(second.values, first.values, rtol=0, atol=1e-12 * first.values[0])
    np.testing.assert_allclose(second.vectors, first.vectors, rtol=0, atol=1e-9)
    assert second.scale == pytest.approx(k * first.scale)
    np.testing.assert_allclose(rebuild(first), G / first.scale, atol=1e-12)


def test_basis_of_repeated_eigenvalues_survives_rounding():
    G = make_block_relationship()
    noise = np.random.default_rng(1).standard_normal(G.shape)
    other = decompose_relationship(G * (1.0 + 1e-15 * (noise + noise.T)))
    np.testing.assert_allclose(other.vectors, decompose_relationship(G).vectors, atol=1e-9)


def test_signs_are_fixed():
    basis = decompose_relationship(make_relationship(np.random.default_rng(4), 10))
    for column in basis.vectors.T:
        assert column[np.argmax(np.abs(column))] > 0


def test_effects_rotated_back_have_the_relationship_as_covariance():
    rng = np.random.default_rng(5)
    G, c = make_relationship(rng, 6, clones=True), rng.uniform(1, 3, 6)
    basis = decompose_relationship(G, c)
    factor = basis.rotate_back(np.eye(6))  # rows: effects of unit w
    np.testing.assert_allclose(factor.T @ factor, G / basis.scale, atol=1e-12)
    stacked = basis.rotate_back(np.arange(24.0).reshape(2, 2, 6))
    np.testing.assert_allclose(stacked, np.arange(24.0).reshape(2, 2, 6) @ factor, atol=1e-12)


@pytest.mark.parametrize("identity", [False, True])
def test_lines_without_a_record(identity):
    """u_new | w ~ N(A w, v) is u_new | u ~ N(G_no G_oo^+ u, G_nn - G_no G_oo^+ G_on)."""
    rng = np.random.default_rng(6)
    full = make_relationship(rng, 8, clones=True)
    old, new = [0, 1, 2, 5, 6, 7], [3, 4]
    full = np.eye(8) if identity else full * 2.5
    oo, no = full[np.ix_(old, old)], full[np.ix_(new, old)]
    basis = decompose_relationship(oo, rng.uniform(1, 3, 6), identity)
    A, explained = basis.project(no)
    w = rng.standard_normal(6)
    w[basis.rank :] = 0.0
    pinv = np.linalg.pinv(oo, rcond=1e-9, hermitian=True)
    np.testing.assert_allclose(A @ w, no @ pinv @ basis.rotate_back(w), atol=1e-10)
    rest = np.diag(full[np.ix_(new, new)] - no @ pinv @ no.T) / basis.scale
    np.testing.assert_allclose(full[new, new] / basis.scale - explained, rest, atol=1e-10)


def test_a_clone_of_a_recorded_line_is_predicted_exactly():
    G = make_relationship(np.random.default_rng(7), 6, clones=True)
    basis = decompose_relationship(G[:5, :5])
    A, explained = basis.project(G[5:, :5])
    w = np.arange(5.0)
    np.testing.assert_allclose(A @ w, basis.rotate_back(w)[4], atol=1e-10)
    np.testing.assert_allclose(explained, G[5, 5] / basis.scale, atol=1e-10)


def test_negative_eigenvalues():
    G = np.diag([2.0, 1.0, -1e-3])
    with pytest.raises(DataError, match="not positive semi-definite"):
        decompose_relationship(G)
    basis = decompose_relationship(np.diag([2.0, 1.0, -1e-9]))  # rounding
    assert basis.rank == 2
    assert (basis.values >= 0).all()


def test_many_lines(monkeypatch):
    """LAPACK's other driver, and signs fixed in blocks of eigenvectors: the same basis."""
    n = 300
    root = np.random.default_rng(4).standard_normal((n, 2 * n))
    G = root @ root.T / n
    one = decompose_relationship(G)
    monkeypatch.setattr("bmtme.model.eigenbasis.LARGE", 2)
    two = decompose_relationship(G)
    np.testing.assert_allclose(two.values, one.values, rtol=1e-10)
    np.testing.assert_allclose(two.vectors, one.vectors, atol=1e-8)
    largest = np.abs(two.vectors).argmax(axis=0)
    assert (two.vectors[largest, np.arange(n)] > 0).all()
