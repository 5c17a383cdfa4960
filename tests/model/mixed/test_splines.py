"""P-splines of a field against penalised least squares in the coefficients of B-splines themselves."""

from __future__ import annotations

import numpy as np
import pytest

from bmtme.model.mixed.splines import count_segments, make_marginal, make_splines
from tests.results.stage_one.dense import find_splines


@pytest.mark.parametrize("positions, segments", [(5, 4), (6, 4), (7, 6), (21, 20), (22, 20), (90, 20)])
def test_segments(positions, segments):
    assert count_segments(positions) == segments


def test_bases_by_recursion():
    x = np.array([3.0, 4.0, 4.5, 7.0, 9.0, 11.0])
    marginal = make_marginal(x, (3.0, 11.0), 4)
    B = find_splines(x, 3.0, 11.0, 4)
    np.testing.assert_allclose(B.sum(axis=1), 1.0)
    D = np.diff(np.eye(7), 2, axis=0)
    # The same deviations, whatever their basis: B (D'D)^+ B'.
    found = (marginal.smooth / marginal.roots) @ marginal.smooth.T
    np.testing.assert_allclose(found, B @ np.linalg.pinv(D.T @ D) @ B.T, atol=1e-10)
    np.testing.assert_allclose(marginal.line, (x - 7.0) / 4.0)


def penalise(A: np.ndarray, P: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fitted values of least squares with the penalty a'Pa on the coefficients."""
    return np.asarray(A @ np.linalg.lstsq(A.T @ A + P, A.T @ y, rcond=None)[0])


def fit_mixed(X: np.ndarray, parts: list[tuple[np.ndarray, float]], y: np.ndarray) -> np.ndarray:
    """Fitted values of a mixed model with residual variance 1."""
    A = np.hstack([X, *(Z for Z, _ in parts)])
    ridge = np.concatenate([np.zeros(X.shape[1]), *(np.full(Z.shape[1], 1 / s2) for Z, s2 in parts)])
    return penalise(A, np.diag(ridge), y)


def test_one_axis():
    """|y - B a|^2 + |D a|^2 / s2 (Eilers and Marx)."""
    rng = np.random.default_rng(3)
    x = np.repeat(np.arange(1.0, 12.0), 2)
    y, s2 = rng.normal(size=len(x)), 0.7
    names, one = ("row", "col"), np.ones(len(x))
    (spline,) = make_splines(names, (x, one), ((1, 11), (1, 1)), (10, 0))
    assert spline.name == "s(row)"
    found = fit_mixed(np.column_stack([one, x]), [(spline.matrix, s2)], y)
    D = np.diff(np.eye(13), 2, axis=0)
    np.testing.assert_allclose(found, penalise(find_splines(x, 1, 11, 10), D.T @ D / s2, y), atol=1e-8)


def test_both_axes(monkeypatch):
    """|y - (B x B) a|^2 + a'(D'D x I + I x D'D) a / s2, in which the five variances are s2 times known numbers."""
    monkeypatch.setattr("bmtme.model.mixed.splines.NESTED", 1)
    rng = np.random.default_rng(4)
    row, col = (x.ravel().astype(float) for x in np.meshgrid(np.arange(1, 8), np.arange(4, 10), indexing="ij"))
    there = rng.permutation(len(row))[:36]
    row, col, s2 = row[there], col[there], 0.4
    y = rng.normal(size=len(row)) + np.sin(row)
    segments, ends = (6, 4), ((1, 7), (4, 9))
    splines = {each.name: each.matrix for each in make_splines(("row", "col"), (row, col), ends, segments)}
    assert list(splines) == ["s(row)", "s(row) x col", "s(col)", "s(col) x row", "s(row) x s(col)"]
    # Coefficients that make 1, and the line from -1 to 1: what multiplies a smooth deviation has their squares' sum.
    lines = []
    for x, (low, high), k in zip((row, col), ends, segments, strict=True):
        greville = low + (high - low) / k * np.arange(-1, k + 2)
        line = 2 * (greville - low) / (high - low) - 1
        there = find_splines(x, low, high, k) @ line
        np.testing.assert_allclose(there, 2 * (x - low) / (high - low) - 1, atol=1e-12)
        lines.append((len(greville), float(line @ line)))
    (n_row, l_row), (n_col, l_col) = lines
    sizes = {"s(row)": n_col, "s(row) x col": l_col, "s(col)": n_row, "s(col) x row": l_row, "s(row) x s(col)": 1.0}
    X = np.column_stack([np.ones(len(y)), row, col, row * col])
    found = fit_mixed(X, [(splines[name], s2 / size) for name, size in sizes.items()], y)
    B = np.einsum("ni,nj->nij", find_splines(row, 1, 7, 6), find_splines(col, 4, 9, 4)).reshape(len(y), -1)
    Dr, Dc = (np.diff(np.eye(k + 3), 2, axis=0) for k in segments)
    P = np.kron(Dr.T @ Dr, np.eye(7)) + np.kron(np.eye(9), Dc.T @ Dc)
    np.testing.assert_allclose(found, penalise(B, P / s2, y), atol=1e-8)
