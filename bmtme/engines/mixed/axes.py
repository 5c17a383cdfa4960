"""The axes of covariances: the one place to import them from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axis import SINGULAR, START_CORRELATION, Axis, Parameter, refuse_few
from bmtme.engines.mixed.covariances import (
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Unstructured,
    Variance,
)
from bmtme.errors import DataError, UsageError
from bmtme.linalg.sparse import SparseCholesky

__all__ = [
    "AR1",
    "Axis",
    "CompoundSymmetry",
    "Corh",
    "Diagonal",
    "FactorAnalytic",
    "Identity",
    "Known",
    "Parameter",
    "Unstructured",
    "Variance",
]

#: Bound of atanh(rho): 1 - |rho| is 1e-5 there.
STEEP = 6.1
#: Vectors of random signs that estimate a mean diagonal: a start needs no more.
PROBES = 4


@dataclass(frozen=True)
class Identity(Axis):
    """n independent levels with variance 1."""

    n: int

    @cached_property
    def pieces(self) -> Sequence[sp.csr_matrix]:
        return [sp.identity(self.n, format="csr")]

    def covariance(self, phi: np.ndarray) -> np.ndarray:
        return np.eye(self.n)

    def weigh(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return U


@dataclass(frozen=True, eq=False)
class Known(Axis):
    """A covariance without parameters, given by its inverse: a relationship, or known errors.

    Attributes
    ----------
    inverse : sparse or dense matrix (n, n)
        Symmetric.
    log_det : float
        log|S| of the covariance (not of its inverse).
    size : float, optional
        About the mean diagonal of S, for starting values; if not given, the inverse is factored to find it.
    """

    inverse: sp.csr_matrix
    log_det: float
    size: float | None = None

    def __post_init__(self) -> None:
        matrix = sp.csr_matrix(self.inverse)
        if matrix.shape[0] != matrix.shape[1]:
            raise UsageError(f"the inverse of a known covariance has to be square, not {matrix.shape}.")
        if not np.isfinite(self.log_det) or not np.isfinite(matrix.data).all():
            raise DataError("the inverse of a known covariance, or its log determinant, is not finite.")
        object.__setattr__(self, "inverse", matrix)

    @property
    def n(self) -> int:  # type: ignore[override]
        return int(self.inverse.shape[0])

    @property
    def pieces(self) -> Sequence[sp.csr_matrix]:
        return [self.inverse]

    @cached_property
    def mean_diagonal(self) -> float:
        """Mean diagonal of S, from `size` or estimated by random signs z: that of z'S z (Hutchinson 1990).

        Raises
        ------
        NumericalError
            If the inverse is not positive definite.
        """
        if self.size is not None:
            return self.size
        signs = np.random.default_rng(1).choice([-1.0, 1.0], (self.n, PROBES))
        return float((signs * self.spread(signs)).mean())

    @cached_property
    def _factor(self) -> SparseCholesky:
        lower = sp.tril(self.inverse, format="csc")
        lower.sort_indices()
        factor = SparseCholesky(lower)
        factor.factor(lower.data)
        return factor

    def spread(self, U: np.ndarray) -> np.ndarray:
        """S U, for U (n, m).

        Raises
        ------
        NumericalError
            If the inverse is not positive definite.
        """
        return self._factor.solve(U)

    def log_determinant(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        return self.log_det, np.zeros(0)

    def covariance(self, phi: np.ndarray) -> np.ndarray:
        return np.linalg.inv(self.inverse.toarray())

    def weigh(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self.inverse @ U


@dataclass(frozen=True)
class AR1(Axis):
    """Correlation rho^|i-j| of levels in their order, rho of any sign: phi = atanh(rho).

    Q = (I + rho^2 D - rho E) / (1 - rho^2), D the identity without its first and last entry, E the neighbours.
    """

    n: int

    def __post_init__(self) -> None:
        refuse_few(self.n, 2, "an autoregression")

    @property
    def count(self) -> int:
        return 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("autocorrelation"),)

    @cached_property
    def pieces(self) -> Sequence[sp.csr_matrix]:
        inner = np.ones(self.n)
        inner[[0, -1]] = 0.0
        side = np.ones(self.n - 1)
        return [sp.identity(self.n, format="csr"), sp.diags(inner).tocsr(), sp.diags([side, side], [-1, 1]).tocsr()]

    def coefficients(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r = math.tanh(phi[0])
        w = math.cosh(phi[0]) ** 2  # 1 / (1 - rho^2), and drho/dphi = 1 - rho^2
        return w * np.array([1.0, r * r, -r]), w * np.array([[2 * r], [2 * r], [-(1 + r * r)]])

    def log_determinant(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        return -2 * (self.n - 1) * math.log(math.cosh(phi[0])), np.array([-2 * (self.n - 1) * math.tanh(phi[0])])

    def covariance(self, phi: np.ndarray) -> np.ndarray:
        return np.power(math.tanh(phi[0]), np.abs(np.subtract.outer(np.arange(self.n), np.arange(self.n))))

    def _combine(self, c: np.ndarray, U: np.ndarray) -> np.ndarray:
        result = c[0] * U
        result[1:-1] += c[1] * U[1:-1]
        result[1:] += c[2] * U[:-1]
        result[:-1] += c[2] * U[1:]
        return result

    def weigh(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self._combine(self.coefficients(phi)[0], U)

    def weigh_slopes(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self._combine(self.coefficients(phi)[1][:, 0], U)[None]

    def shift(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        from scipy.signal import lfilter  # half a second to import, for autoregressions alone

        # S x is a filter forwards and one backwards: no matrix of n x n.
        X = self.weigh_slopes(phi, U)[0]
        a = [1.0, -math.tanh(phi[0])]
        return (lfilter([1.0], a, X, axis=0) + lfilter([1.0], a, X[::-1], axis=0)[::-1] - X)[None]

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.tanh(phi), np.cosh(phi)[:, None] ** -2

    def find_slid(self, phi: np.ndarray) -> np.ndarray:
        return np.abs(np.tanh(phi)) > 1 - SINGULAR

    def start(self, variances: np.ndarray) -> np.ndarray:
        return np.array([math.atanh(START_CORRELATION)])

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([-STEEP]), np.array([STEEP])
