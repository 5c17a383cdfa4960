"""Covariances of few levels: variances, unstructured, one correlation, factor analytic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from scipy.special import expit

from bmtme.engines.mixed.axis import SINGULAR, START_CORRELATION, DenseAxis, Parameter, refuse_few
from bmtme.errors import UsageError

#: Log standard deviations of effects that may be absent end here, below that of the data: a variance of 1.5e-8 of it.
FLOOR = -9.0
#: The diagonal of a Cholesky factor, and standard deviations beside a correlation, end here: a variance of 2e-6 of the
#: data's, where the likelihood has settled; nearer to a singular covariance slopes lose their digits. None is ever put
#: there: it has to slide.
LOW = -6.5
#: So far above it a diagonal counts as gone: a variance of 1e-3 of the data's.
NEAR = 3.0
#: And the largest: 1e7 times the variance of the data.
HIGH = 8.0
#: Bound of a transformed correlation: it is 1e-5 off its end there.
STEEP = 11.5


@dataclass(frozen=True)
class Diagonal(DenseAxis):
    """Independent levels, a variance for each: phi log standard deviations."""

    n: int

    @property
    def count(self) -> int:
        return self.n

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(Parameter("variance", (i,)) for i in range(self.n))

    @property
    def may_vanish(self) -> np.ndarray:
        return np.ones(self.count, bool)

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(self.n), np.arange(self.n)

    def build(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s2 = np.exp(2 * phi)
        return np.diag(s2), diagonal_slopes(s2)

    # No matrix is inverted: most terms have one variance, and small models would spend their time on it.

    def coefficients(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q = np.exp(-2 * phi)
        return q, np.diag(-2 * q)

    def log_determinant(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        return 2 * float(phi.sum()), np.full(self.n, 2.0)

    def weigh(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return np.exp(-2 * phi)[:, None] * U

    def weigh_slopes(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self._spread(-2 * self.weigh(phi, U))

    def shift(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self._spread(-2 * U)

    def _spread(self, U: np.ndarray) -> np.ndarray:
        """Row k of U (n, m) alone, for every k: (n, n, m)."""
        if self.n == 1:
            return U[None]
        rows = np.zeros((self.n, *U.shape))
        rows[np.arange(self.n), np.arange(self.n)] = U
        return rows

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s2 = np.exp(2 * phi)
        return s2, np.diag(2 * s2)

    def start(self, variances: np.ndarray) -> np.ndarray:
        return 0.5 * np.log(variances)

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.log(sd) + FLOOR, np.log(sd) + HIGH


@dataclass(frozen=True)
class Variance(Diagonal):
    """One level with a variance: the scale of a product of axes."""

    n: int = 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("variance"),)


@dataclass(frozen=True)
class Unstructured(DenseAxis):
    """Any covariance of n levels: phi its Cholesky factor, row by row, the diagonal in logarithms."""

    n: int

    @property
    def count(self) -> int:
        return self.n * (self.n + 1) // 2

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(
            Parameter("variance", (int(i),)) if i == j else Parameter("covariance", (int(i), int(j)))
            for i, j in zip(*self.cells, strict=True)
        )

    def factor(self, phi: np.ndarray) -> np.ndarray:
        """The Cholesky factor (n, n)."""
        i, j = self.cells
        L = np.zeros((self.n, self.n))
        L[i, j] = np.where(i == j, np.exp(np.where(i == j, phi, 0.0)), phi)
        return L

    def build(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        L = self.factor(phi)
        i, j = self.cells
        D = np.zeros((self.count, self.n, self.n))
        D[np.arange(self.count), i, j] = np.where(i == j, L[i, j], 1.0)
        D = D @ L.T
        return L @ L.T, D + D.transpose(0, 2, 1)

    def invert(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # With T = L^-1 and A = T dL: dS = L (A + A') L', and nothing is squared before it is inverted. The inverse of S
        # has half the digits: next to a singular covariance the gradient would have none left, and a search no step.
        L = self.factor(phi)
        T = scipy.linalg.solve_triangular(L, np.eye(self.n), lower=True)
        i, j = self.cells
        A = np.zeros((self.count, self.n, self.n))
        A[np.arange(self.count), :, j] = (T[:, i] * np.where(i == j, L[i, j], 1.0)).T
        A = A + A.transpose(0, 2, 1)
        return T.T @ T, L @ A @ T, -(T.T @ A @ T)

    def log_determinant(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        i, j = self.cells
        return 2.0 * float(phi[i == j].sum()), np.where(i == j, 2.0, 0.0)

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        S, dS = self.build(phi)
        i, j = self.cells
        return S[i, j], dS[:, i, j].T

    def find_slid(self, phi: np.ndarray) -> np.ndarray:
        i, j = self.cells
        L = self.factor(phi)
        return (i == j) & (L[i, j] ** 2 < SINGULAR * np.square(L).sum(axis=1)[i])

    def cross(self, phi: np.ndarray, low: np.ndarray) -> list[np.ndarray]:
        # Where a diagonal has run to zero, the covariance goes on to its negative, which is that of the rest of the
        # column: without this the logarithm would end a search there, with correlations of the wrong sign.
        i, j = self.cells
        slid = j[(i == j) & (j < self.n - 1) & (phi < low + NEAR)]
        return [np.where((j == column) & (i > column), -phi, phi) for column in slid]

    def start(self, variances: np.ndarray) -> np.ndarray:
        sd = np.sqrt(variances)
        R = np.full((self.n, self.n), START_CORRELATION) + (1 - START_CORRELATION) * np.eye(self.n)
        L = np.linalg.cholesky(R * np.outer(sd, sd))
        i, j = self.cells
        return np.where(i == j, np.log(np.where(i == j, L[i, j], 1.0)), L[i, j])

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        i, j = self.cells
        ends = np.log(sd[i])
        return np.where(i == j, ends + LOW, -np.inf), np.where(i == j, ends + HIGH, np.inf)

    def units(self, sd: np.ndarray) -> np.ndarray:
        i, j = self.cells
        return np.where(i == j, 1.0, sd[i])


@dataclass(frozen=True)
class Corh(DenseAxis):
    """One correlation r of all pairs, a variance for each level.

    phi: r = lo + (1 - lo) logistic(phi_0) with lo = -1/(n-1), the lowest correlation that n levels can share; then log
    standard deviations.
    """

    n: int

    def __post_init__(self) -> None:
        refuse_few(self.n, 2, "a correlation")

    @property
    def count(self) -> int:
        return self.n + 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("correlation"), *(Parameter("variance", (i,)) for i in range(self.n)))

    def build(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, dr = share_correlation(phi[0], self.n)
        s = np.exp(phi[1:])
        off = (1.0 - np.eye(self.n)) * np.outer(s, s)
        S = r * off + np.diag(s * s)
        dS = np.zeros((self.count, self.n, self.n))
        dS[0] = dr * off
        k = np.arange(self.n)
        dS[1 + k, k, :] += S
        dS[1 + k, :, k] += S
        return S, dS

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, dr = share_correlation(phi[0], self.n)
        s2 = np.exp(2 * phi[1:])
        return np.r_[r, s2], np.diag(np.r_[dr, 2 * s2])

    def find_slid(self, phi: np.ndarray) -> np.ndarray:
        return np.r_[is_at_end(phi[0]), np.zeros(self.count - 1, bool)]

    def start(self, variances: np.ndarray) -> np.ndarray:
        return np.r_[start_correlation(self.n), 0.5 * np.log(variances)]

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.r_[-STEEP, np.log(sd) + LOW], np.r_[STEEP, np.log(sd) + HIGH]


@dataclass(frozen=True)
class CompoundSymmetry(DenseAxis):
    """One variance and one correlation, which may be negative; phi as in `Corh`."""

    n: int

    def __post_init__(self) -> None:
        refuse_few(self.n, 2, "a correlation")

    @property
    def count(self) -> int:
        return 2

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("correlation"), Parameter("variance"))

    def build(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, dr = share_correlation(phi[0], self.n)
        s2 = math.exp(2 * phi[1])
        off = 1.0 - np.eye(self.n)
        S = s2 * (r * off + np.eye(self.n))
        return S, np.stack([s2 * dr * off, 2 * S])

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, dr = share_correlation(phi[0], self.n)
        s2 = math.exp(2 * phi[1])
        return np.array([r, s2]), np.diag([dr, 2 * s2])

    def find_slid(self, phi: np.ndarray) -> np.ndarray:
        return np.r_[is_at_end(phi[0]), np.zeros(self.count - 1, bool)]

    def start(self, variances: np.ndarray) -> np.ndarray:
        return np.array([start_correlation(self.n), 0.5 * math.log(variances.mean())])

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle = float(np.log(sd).mean())
        return np.array([-STEEP, middle + LOW]), np.array([STEEP, middle + HIGH])


@dataclass(frozen=True)
class FactorAnalytic(DenseAxis):
    """S = Lambda Lambda' + Psi with k factors; loadings above the diagonal of Lambda are zero.

    phi: loadings factor by factor, then logarithms of the specific standard deviations.
    """

    n: int
    k: int = 1

    def __post_init__(self) -> None:
        refuse_few(self.n, 2, "a factor analytic covariance")
        if not 1 <= self.k < self.n:
            raise UsageError(
                f"a factor analytic covariance of {self.n} levels has 1 to {self.n - 1} factors: {self.k}."
            )

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Level and factor of every loading."""
        pairs = [(i, f) for f in range(self.k) for i in range(f, self.n)]
        level, factor = np.array(pairs).T
        return level, factor

    @property
    def count(self) -> int:
        return len(self.places[0]) + self.n

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        loadings = (Parameter("loading", (int(i), int(f))) for i, f in zip(*self.places, strict=True))
        return (*loadings, *(Parameter("specific variance", (i,)) for i in range(self.n)))

    @property
    def may_vanish(self) -> np.ndarray:
        return np.arange(self.count) >= len(self.places[0])

    def build(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        level, factor = self.places
        L = np.zeros((self.n, self.k))
        L[level, factor] = phi[: len(level)]
        psi = np.exp(2 * phi[len(level) :])
        D = np.zeros((len(level), self.n, self.k))
        D[np.arange(len(level)), level, factor] = 1.0
        D = D @ L.T
        return L @ L.T + np.diag(psi), np.concatenate([D + D.transpose(0, 2, 1), diagonal_slopes(psi)])

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(self.places[0])
        psi = np.exp(2 * phi[n:])
        return np.r_[phi[:n], psi], np.diag(np.r_[np.ones(n), 2 * psi])

    def start(self, variances: np.ndarray) -> np.ndarray:
        # The factors share 0.6 of the variance; a second one starts small, so that the first settles before it.
        level, factor = self.places
        loadings = np.sqrt(variances[level]) * np.where(factor == 0, math.sqrt(0.6), 0.1)
        return np.r_[loadings, 0.5 * np.log(0.4 * variances)]

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(self.places[0])
        low, high = np.full(self.count, -np.inf), np.full(self.count, np.inf)
        low[n:], high[n:] = np.log(sd) + FLOOR, np.log(sd) + HIGH
        return low, high

    def units(self, sd: np.ndarray) -> np.ndarray:
        level, _ = self.places
        return np.r_[sd[level], np.ones(self.n)]


def diagonal_slopes(s2: np.ndarray) -> np.ndarray:
    """Slopes (n, n, n) of a diagonal of variances in their log standard deviations."""
    n = len(s2)
    slopes = np.zeros((n, n, n))
    slopes[np.arange(n), np.arange(n), np.arange(n)] = 2 * s2
    return slopes


def share_correlation(phi: float, n: int) -> tuple[float, float]:
    """The correlation that all pairs of n levels share, and its slope."""
    low = -1.0 / (n - 1)
    p = float(expit(phi))
    return low + (1 - low) * p, (1 - low) * p * (1 - p)


def start_correlation(n: int) -> float:
    """phi where `share_correlation` is `START_CORRELATION`."""
    low = -1.0 / (n - 1)
    p = (START_CORRELATION - low) / (1 - low)
    return math.log(p / (1 - p))


def is_at_end(phi: float) -> bool:
    """Whether the correlation is at an end of its range, to `SINGULAR` of its length."""
    return not SINGULAR < float(expit(phi)) < 1 - SINGULAR
