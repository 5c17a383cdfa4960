"""Every axis against its definition: precision, determinant, slopes, what is reported."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from bmtme.engines.mixed.axes import (
    AR1,
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Identity,
    Known,
    Unstructured,
    Variance,
)
from bmtme.errors import UsageError
from bmtme.testing.dense_mixed import STEP, build_axis

KNOWN = Known(sp.csr_matrix(np.array([[2.0, 0.5], [0.5, 1.0]])), -float(np.log(1.75)))
AXES = [
    Identity(3),
    KNOWN,
    Variance(),
    Diagonal(3),
    Unstructured(1),
    Unstructured(4),
    Corh(2),
    Corh(4),
    CompoundSymmetry(3),
    FactorAnalytic(4, 1),
    FactorAnalytic(4, 2),
    AR1(2),
    AR1(5),
]


def draw_phi(axis, rng):
    phi = axis.start(np.linspace(0.5, 2.0, axis.n)) + rng.normal(0, 0.4, axis.count)
    return -phi - 0.3 if isinstance(axis, AR1) else phi  # a negative autocorrelation


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_axis_is_its_definition(axis):
    rng = np.random.default_rng(3)
    phi, U = draw_phi(axis, rng), rng.standard_normal((axis.n, 2))
    S = build_axis(axis, phi)
    Q = np.linalg.inv(S)
    c, dc = axis.coefficients(phi)
    log_det, dlog_det = axis.log_determinant(phi)
    np.testing.assert_allclose(axis.covariance(phi), S, atol=1e-12)
    np.testing.assert_allclose(sum(a * P.toarray() for a, P in zip(c, axis.pieces, strict=True)), Q, atol=1e-9)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(S)[1], atol=1e-10)
    np.testing.assert_allclose(axis.weigh(phi, U), Q @ U, atol=1e-9)
    assert axis.weigh_slopes(phi, U).shape == axis.shift(phi, U).shape == (axis.count, axis.n, 2)
    for k in range(axis.count):
        dS = build_axis(axis, phi + 1j * STEP * np.eye(axis.count)[k]).imag / STEP
        dQ = -Q @ dS @ Q
        slopes = sum(a * P.toarray() for a, P in zip(dc[:, k], axis.pieces, strict=True))
        np.testing.assert_allclose(slopes, dQ, atol=1e-8)
        np.testing.assert_allclose(axis.weigh_slopes(phi, U)[k], dQ @ U, atol=1e-8)
        np.testing.assert_allclose(axis.shift(phi, U)[k], S @ dQ @ U, atol=1e-8)
        np.testing.assert_allclose(dlog_det[k], np.trace(Q @ dS), atol=1e-9)


def read_natural(axis, S, phi):
    """What the parameters say that they are, from the covariance; loadings and specific variances from phi."""
    d = np.sqrt(np.diag(S))
    found = []
    for k, parameter in enumerate(axis.parameters):
        i = parameter.levels
        if parameter.kind == "variance":
            found.append(S[i[0], i[0]] if i else S[0, 0])
        elif parameter.kind == "covariance":
            found.append(S[i])
        elif parameter.kind == "loading":
            found.append(phi[k])
        elif parameter.kind == "specific variance":
            found.append(np.exp(2 * phi[k]))
        else:
            found.append(S[1, 0] / d[0] / d[1])
    return np.array(found)


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_reported_parameters_are_those_of_the_covariance(axis):
    rng = np.random.default_rng(4)
    phi = draw_phi(axis, rng)
    values, slopes = axis.natural(phi)
    assert len(axis.parameters) == axis.count
    np.testing.assert_allclose(values, read_natural(axis, build_axis(axis, phi), phi), atol=1e-12)
    for k in range(axis.count):
        moved = phi + 1j * STEP * np.eye(axis.count)[k]
        np.testing.assert_allclose(
            slopes[:, k], read_natural(axis, build_axis(axis, moved), moved).imag / STEP, atol=1e-9
        )


def test_start_has_the_variances_it_is_given():
    variances = np.array([0.5, 2.0, 8.0])
    for axis in (Diagonal(3), Unstructured(3), Corh(3)):
        np.testing.assert_allclose(np.diag(axis.covariance(axis.start(variances))), variances, rtol=1e-12)


def test_axes_of_too_few_levels_are_refused():
    for axis in (AR1, Corh, CompoundSymmetry, FactorAnalytic):
        with pytest.raises(UsageError, match="2 levels at least: there is 1"):
            axis(1)
    with pytest.raises(UsageError, match="has 1 to 2 factors: 3"):
        FactorAnalytic(3, 3)


def test_nearly_singular_covariance_keeps_its_digits():
    """An inverse in fractions, which are exact: slopes of a search next to a singular covariance, to ten digits."""
    axis = Unstructured(3)
    phi = np.array([0.1, 0.9, -9.0, -0.7, 1.3, -11.0])
    L = [[Fraction(0)] * 3 for _ in range(3)]
    for value, i, j in zip(phi, *axis.cells, strict=True):
        L[i][j] = Fraction(float(np.exp(value)) if i == j else float(value))
    T = [[1 / L[0][0], Fraction(0), Fraction(0)], [-L[1][0] / L[0][0] / L[1][1], 1 / L[1][1], Fraction(0)], []]
    T[2] = [-(L[2][0] * T[0][0] + L[2][1] * T[1][0]) / L[2][2], -L[2][1] * T[1][1] / L[2][2], 1 / L[2][2]]
    Q, R, dQ = axis.invert(phi)
    exact = [[sum(T[k][i] * T[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(Q, np.array(exact, dtype=float), rtol=1e-10)
    for place, (a, b) in enumerate(zip(*axis.cells, strict=True)):
        size = L[a][a] if a == b else Fraction(1)
        dS = [[size * ((i == a) * L[j][b] + (j == a) * L[i][b]) for j in range(3)] for i in range(3)]
        moved = [[sum(dS[i][k] * exact[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
        slope = [[-sum(exact[i][k] * moved[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
        for found, wanted in ((R[place], moved), (dQ[place], slope)):
            wanted = np.array(wanted, dtype=float)
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10 * abs(wanted).max())
    np.testing.assert_array_equal(axis.log_determinant(phi)[1], [2, 0, 2, 0, 0, 2])
