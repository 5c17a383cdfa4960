"""Coordinates that chains walk in: of unstructured covariances standard deviations and partial correlations.

An unstructured covariance has as phi the entries of its Cholesky factor. Beside a standard deviation near zero the
other entries of its row have to be small, too, and a chain would have to walk into a funnel. Here a row i is

    L_ij = s_i tanh(y_ij) c_j for j < i,    L_ii = s_i c_i,    c_j = prod_{k < j} 1 / cosh(y_ik),

s_i the standard deviation, tanh(y_ij) the correlation of levels i and j given those before j (Lewandowski, Kurowicka &
Joe 2009, J Multivar Anal 100:1989-2001). theta has y_ij and log s_i where phi has L_ij and log L_ii, so that

    log |dphi / dtheta| = sum_i [ i log s_i - sum_{j < i} (i - 1 - j) log cosh(y_ij) ],    i, j from zero.

All other parameters stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bmtme.engines.mixed.axes import Unstructured
from bmtme.engines.mixed.problem import Section, Term
from bmtme.engines.mixed.start import Ranges

#: No search goes further: a partial correlation is 1e-6 off its end there.
FAR_OUT = 7.0


@dataclass(frozen=True, eq=False)
class Place:
    """phi that belong to one theta.

    Attributes
    ----------
    phi : (k,) array
    slopes : (k, k) array
        dphi / dtheta.
    log_volume : float
        Log of the determinant of `slopes`.
    volume_slopes : (k,) array
        Its slopes in theta.
    """

    phi: np.ndarray
    slopes: np.ndarray
    log_volume: float
    volume_slopes: np.ndarray

    def turn(self, slopes: np.ndarray) -> np.ndarray:
        """Slopes (k,) in phi as slopes in theta."""
        return slopes @ self.slopes


class Coordinates:
    """The map between theta and phi of the blocks of a problem.

    Attributes
    ----------
    rows : list of (first, i)
        Where rows of unstructured covariances begin in phi, but the first: i entries before the diagonal.
    """

    def __init__(self, blocks: Sequence[Section | Term]) -> None:
        self.rows: list[tuple[int, int]] = []
        k = 0
        for axis in (axis for block in blocks for axis in block.axes):
            if isinstance(axis, Unstructured):
                self.rows += [(k + i * (i + 1) // 2, i) for i in range(1, axis.n)]
            k += axis.count
        self.count = k

    def find_phi(self, theta: np.ndarray) -> np.ndarray:
        """phi (k,)."""
        phi = np.array(theta, float)
        for first, i in self.rows:
            y, size = phi[first : first + i], phi[first + i]
            logs = -np.cumsum(log_cosh(y))
            # Far out, sizes and cosines may leave the numbers' range one by one and not together.
            phi[first : first + i] = np.tanh(y) * np.exp(size + np.r_[0.0, logs[:-1]])
            phi[first + i] = size + logs[-1]
        return phi

    def find_theta(self, phi: np.ndarray) -> np.ndarray:
        """theta (k,)."""
        theta = np.array(phi, float)
        for first, i in self.rows:
            row, last = theta[first : first + i].copy(), theta[first + i]
            # Of level i what is left behind each j: sinh(y_ij) = L_ij / left_j, as left_j = s_i c_{j + 1}.
            squares = np.r_[row**2, np.exp(2 * last)]
            left = np.sqrt(np.cumsum(squares[::-1])[::-1])
            theta[first : first + i] = np.arcsinh(row / np.maximum(left[1:], 1e-300))
            theta[first + i] = np.log(left[0])
        return theta

    def find_place(self, theta: np.ndarray) -> Place:
        """phi, its slopes, and the volume."""
        phi = self.find_phi(theta)
        slopes, log_volume, volume_slopes = np.eye(self.count), 0.0, np.zeros(self.count)
        for first, i in self.rows:
            y, size = theta[first : first + i], theta[first + i]
            logs, z = log_cosh(y), np.tanh(y)
            own = slice(first, first + i)
            block = np.tril(-np.outer(phi[own], z), -1)
            block[np.arange(i), np.arange(i)] = np.exp(size - np.cumsum(logs) - logs)
            slopes[own, own], slopes[own, first + i], slopes[first + i, own] = block, phi[own], -z
            powers = i - 1.0 - np.arange(i)
            log_volume += i * size - float(powers @ logs)
            volume_slopes[own], volume_slopes[first + i] = -powers * z, i
        return Place(phi, slopes, log_volume, volume_slopes)

    def turn_ranges(self, ranges: Ranges) -> Ranges:
        """Start, bounds and units of theta, from those of phi: a standard deviation has those of its diagonal."""
        low, high, units = (x.copy() for x in (ranges.low, ranges.high, ranges.units))
        for first, i in self.rows:
            own = slice(first, first + i)
            low[own], high[own], units[own] = -FAR_OUT, FAR_OUT, 1.0
        return replace(ranges, start=self.find_theta(ranges.start), low=low, high=high, units=units)


def log_cosh(y: np.ndarray) -> np.ndarray:
    """log cosh, of any size."""
    return np.logaddexp(y, -y) - np.log(2.0)
