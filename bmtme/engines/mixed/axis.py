"""What an axis of a covariance is: one factor of the Kronecker product of a random term or a residual section.

The precision of an axis is a sum of constant sparse matrices, Q(phi) = sum_j c_j(phi) M_j, and so is that of a product
of axes. phi are unconstrained parameters: logarithms of standard deviations, Cholesky factors with the logarithm of
their diagonal, transformed correlations. S = Q^-1 is the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from bmtme.errors import UsageError

#: A covariance is called singular where a level has less than this share of its variance to itself, or a correlation is
#: this near its end.
SINGULAR = 1e-4
#: Starting values of correlations: neither 0, where some slopes vanish, nor far from it.
START_CORRELATION = 0.1


@dataclass(frozen=True)
class Parameter:
    """A parameter as reported, by position.

    Attributes
    ----------
    kind : str
        "variance", "covariance", "correlation", "loading", "specific variance" or "autocorrelation".
    levels : tuple of int
        Levels of the axis that it belongs to: (i,) of a variance, (i, j) with i > j of a covariance, (i, factor) of a
        loading; empty where it belongs to all.
    """

    kind: str
    levels: tuple[int, ...] = ()


class Axis:
    """One factor of a Kronecker product of covariances. `n` is its number of levels."""

    n: int

    @property
    def count(self) -> int:
        """Number of unconstrained parameters phi."""
        return 0

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters as reported, in the order of `natural`; their number may differ from `count`."""
        return ()

    @property
    def has_scale(self) -> bool:
        """Whether the axis has variances; a product of axes needs one axis that has."""
        return False

    def natural(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters as reported (r,), and their slopes in phi (r, count)."""
        return np.zeros(0), np.zeros((0, 0))

    def start(self, variances: np.ndarray) -> np.ndarray:
        """Starting phi (count,) for these variances of the levels (n,)."""
        return np.zeros(0)

    def bounds(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest phi (count,) where the levels' data have these standard deviations (n,)."""
        return np.zeros(0), np.zeros(0)

    def units(self, sd: np.ndarray) -> np.ndarray:
        """What counts as a step of 1 in phi (count,): 1 for logarithms and correlations, else a standard deviation."""
        return np.ones(self.count)

    @property
    def may_vanish(self) -> np.ndarray:
        """Which phi are the log standard deviation of effects that may be absent: those may run to their bound."""
        return np.zeros(self.count, bool)

    def find_slid(self, phi: np.ndarray) -> np.ndarray:
        """Which phi make the covariance singular (count,); see `SINGULAR`."""
        return np.zeros(self.count, bool)

    def cross(self, phi: np.ndarray, low: np.ndarray) -> list[np.ndarray]:
        """Other phi, near in S, beyond those ends of phi that it has run to and where the covariance goes on."""
        return []

    @property
    def pieces(self) -> Sequence[sp.csr_matrix]:
        """The constant symmetric matrices M_j, each (n, n)."""
        raise NotImplementedError

    def coefficients(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c (J,), and its slopes in phi (J, count)."""
        return np.ones(1), np.zeros((1, 0))

    def log_determinant(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        """log|S|, and its slopes in phi (count,)."""
        return 0.0, np.zeros(0)

    def covariance(self, phi: np.ndarray) -> np.ndarray:
        """S (n, n), dense."""
        raise NotImplementedError

    def weigh(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        """Q U, for U (n, m)."""
        raise NotImplementedError

    def weigh_slopes(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        """(dQ/dphi_k) U for every k: (count, n, m)."""
        return np.zeros((0, *U.shape))

    def shift(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        """S (dQ/dphi_k) U for every k: (count, n, m)."""
        return np.zeros((0, *U.shape))


class Precision(NamedTuple):
    """The precision Q of a covariance of few levels, for one phi."""

    Q: np.ndarray  # (n, n)
    R: np.ndarray  # dS Q (count, n, n)
    dQ: np.ndarray  # (count, n, n)
    entries: np.ndarray  # of Q, as coefficients (J,)
    slopes: np.ndarray  # of these (J, count)


class DenseAxis(Axis):
    """A covariance of few levels, given as a matrix with its slopes by `build`.

    What is made of phi is kept until another phi is asked for: an evaluation asks several times for the same. Kept
    arrays are read-only, as others may hold them.
    """

    #: phi as bytes, and what `_take` made of it: replaced as a whole, as chains of several threads share axes.
    _last: tuple[bytes, Precision] | None = None

    def build(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S (n, n), and its slopes (count, n, n)."""
        raise NotImplementedError

    @property
    def has_scale(self) -> bool:
        return True

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the entries of Q that may differ from zero, in the lower triangle."""
        return np.tril_indices(self.n)

    @cached_property
    def pieces(self) -> Sequence[sp.csr_matrix]:
        found = []
        for i, j in zip(*self.cells, strict=True):
            rows, columns = ([i], [i]) if i == j else ([i, j], [j, i])
            found.append(sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(self.n, self.n)))
        return found

    def _take(self, phi: np.ndarray) -> Precision:
        """What is made of phi, or kept from the last time."""
        key, last = phi.tobytes(), self._last
        if last is not None and last[0] == key:
            return last[1]
        Q, R, dQ = self.invert(phi)
        i, j = self.cells
        found = Precision(Q, R, dQ, Q[i, j], dQ[:, i, j].T)
        for array in found:
            array.setflags(write=False)
        object.__setattr__(self, "_last", (key, found))  # the fields are frozen, this is none
        return found

    def invert(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Q (n, n), dS Q (count, n, n) and dQ = -Q dS Q (count, n, n)."""
        S, dS = self.build(phi)
        Q = np.linalg.inv(S)
        Q = 0.5 * (Q + Q.T)
        R = dS @ Q
        return Q, R, -(Q @ R)

    def coefficients(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._take(phi)
        return found.entries, found.slopes

    def log_determinant(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        S, _ = self.build(phi)
        return float(np.linalg.slogdet(S)[1]), np.trace(self._take(phi).R, axis1=1, axis2=2)

    def covariance(self, phi: np.ndarray) -> np.ndarray:
        return self.build(phi)[0]

    def weigh(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self._take(phi).Q @ U

    def weigh_slopes(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return self._take(phi).dQ @ U

    def shift(self, phi: np.ndarray, U: np.ndarray) -> np.ndarray:
        return -(self._take(phi).R @ U)


def refuse_few(n: int, least: int, what: str) -> None:
    """Refuse an axis with fewer levels than it needs."""
    if n < least:
        raise UsageError(f"{what} needs {least} levels at least: there {'is' if n == 1 else 'are'} {n}.")
