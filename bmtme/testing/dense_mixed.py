"""A mixed model written out in full: V = R + sum Z G Z', its restricted likelihood, predictions and their errors.

Slow and readable; no mixed model equations, no precision of a product of axes, no missing cells. Covariances of axes
are built again from their definitions, entry by entry, also of complex parameters: slopes of V are imaginary parts,
exact to rounding.
"""

from __future__ import annotations

import copy
from functools import reduce

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axes import (
    AR1,
    Axis,
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Identity,
    Known,
    Unstructured,
)
from bmtme.engines.mixed.problem import Problem, Section
from bmtme.errors import NumericalError

STEP = 1e-30


class DenseCholesky:
    """What `bmtme.linalg.sparse.SparseCholesky` does, by full matrices."""

    def __init__(self, pattern: sp.csc_matrix) -> None:
        self.n = int(pattern.shape[0])
        self.fill = self.n * (self.n + 1) // 2
        self.memory = 8 * self.n**2
        self._rows = pattern.indices
        self._columns = np.repeat(np.arange(self.n), np.diff(pattern.indptr))
        self._matrix = np.zeros((self.n, self.n))

    def factor(self, values: np.ndarray) -> None:
        """Take the values of a matrix with the pattern."""
        self._matrix = np.zeros((self.n, self.n))
        self._matrix[self._rows, self._columns] = values
        self._matrix[self._columns, self._rows] = values
        try:
            np.linalg.cholesky(self._matrix)
        except np.linalg.LinAlgError as error:
            raise NumericalError("the matrix is not positive definite.") from error

    @property
    def log_determinant(self) -> float:
        return float(np.linalg.slogdet(self._matrix)[1])

    def solve(self, b: np.ndarray) -> np.ndarray:
        """A^-1 b."""
        return np.linalg.solve(self._matrix, b)

    def draw(self, z: np.ndarray) -> np.ndarray:
        """L'^-1 z, A = LL'."""
        return np.linalg.solve(np.linalg.cholesky(self._matrix).T, z)

    def fork(self) -> DenseCholesky:
        """Another one of the same pattern."""
        return copy.copy(self)

    def selected_inverse(self) -> np.ndarray:
        """Entries of A^-1 at those of the pattern."""
        return np.linalg.inv(self._matrix)[self._rows, self._columns]


def build_axis(axis: Axis, phi: np.ndarray) -> np.ndarray:
    """Covariance of an axis, entry by entry; phi may be complex."""
    n = axis.n
    S = np.zeros((n, n), np.result_type(phi, float))
    if isinstance(axis, Known):
        return np.linalg.inv(axis.inverse.toarray())
    for i in range(n):
        for j in range(n):
            if isinstance(axis, Identity):
                S[i, j] = float(i == j)
            elif isinstance(axis, Diagonal):
                S[i, j] = np.exp(2 * phi[i]) if i == j else 0.0
            elif isinstance(axis, AR1):
                S[i, j] = np.tanh(phi[0]) ** abs(i - j)
            elif isinstance(axis, (Corh, CompoundSymmetry)):
                low = -1.0 / (n - 1)
                r = low + (1 - low) / (1 + np.exp(-phi[0]))
                own = [np.exp(phi[1 + k] if isinstance(axis, Corh) else phi[1]) for k in (i, j)]
                S[i, j] = own[0] * own[1] * (1.0 if i == j else r)
            elif isinstance(axis, Unstructured):
                # Row i of the factor begins at i (i + 1) / 2 of phi.
                for k in range(min(i, j) + 1):
                    pair = [np.exp(phi[m * (m + 3) // 2]) if m == k else phi[m * (m + 1) // 2 + k] for m in (i, j)]
                    S[i, j] += pair[0] * pair[1]
            elif isinstance(axis, FactorAnalytic):
                start = 0
                for f in range(axis.k):
                    if min(i, j) >= f:
                        S[i, j] += phi[start + i - f] * phi[start + j - f]
                    start += n - f
                if i == j:
                    S[i, j] += np.exp(2 * phi[start + i])
    return S


class DenseMixed:
    """The twin of `bmtme.engines.mixed.equations.Equations`."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.n = problem.n
        self.X = sp.csr_matrix(problem.X).toarray()[:, problem.kept]
        self.Z = [Z.toarray() for Z in problem.designs]

    def build_blocks(self, phi: np.ndarray) -> list[np.ndarray]:
        """R of every section (over its records), then G of every term."""
        found, k = [], 0
        for block in self.problem.blocks:
            parts = []
            for axis in block.axes:
                parts.append(build_axis(axis, phi[k : k + axis.count]))
                k += axis.count
            S = reduce(np.kron, parts)
            found.append(S[np.ix_(block.places, block.places)] if isinstance(block, Section) else S)
        return found

    def build(self, phi: np.ndarray) -> np.ndarray:
        """V (n, n)."""
        blocks = self.build_blocks(phi)
        V = np.zeros((self.n, self.n), np.result_type(phi, float))
        for section, R in zip(self.problem.sections, blocks, strict=False):
            V[np.ix_(section.rows, section.rows)] = R
        if self.problem.weights is not None:
            V = V / np.sqrt(np.outer(self.problem.weights, self.problem.weights))
        for Z, G in zip(self.Z, blocks[len(self.problem.sections) :], strict=True):
            V = V + Z @ G @ Z.T
        return V

    def project(self, phi: np.ndarray) -> np.ndarray:
        """P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1."""
        Q = np.linalg.inv(self.build(phi))
        if not self.X.shape[1]:
            return Q
        return Q - Q @ self.X @ np.linalg.solve(self.X.T @ Q @ self.X, self.X.T @ Q)

    def log_likelihood(self, phi: np.ndarray) -> float:
        """Restricted, without n log 2 pi and log|X'X|."""
        V, y = self.build(phi), self.problem.y
        value = np.linalg.slogdet(V)[1] + y @ self.project(phi) @ y
        if self.X.shape[1]:
            value += np.linalg.slogdet(self.X.T @ np.linalg.solve(V, self.X))[1]
        return -0.5 * float(value)

    def slopes(self, phi: np.ndarray) -> list[np.ndarray]:
        """dV / dphi_k, by complex steps."""
        return [self.build(phi + 1j * STEP * unit).imag / STEP for unit in np.eye(len(phi))]

    def gradient(self, phi: np.ndarray, h: float = 1e-3) -> np.ndarray:
        """By differences of the log likelihood of fourth order."""
        f = self.log_likelihood
        return np.array(
            [
                (8 * (f(phi + h * u) - f(phi - h * u)) - f(phi + 2 * h * u) + f(phi - 2 * h * u)) / (12 * h)
                for u in np.eye(len(phi))
            ]
        )

    def information(self, phi: np.ndarray) -> np.ndarray:
        """Average information: y'P V_k P V_l P y / 2."""
        P = self.project(phi)
        moved = [dV @ P @ self.problem.y for dV in self.slopes(phi)]
        return np.array([[0.5 * a @ P @ b for b in moved] for a in moved])

    def solve(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fixed effects that are kept, random effects: generalised least squares and best linear prediction."""
        Q = np.linalg.inv(self.build(phi))
        y = self.problem.y
        b = np.linalg.solve(self.X.T @ Q @ self.X, self.X.T @ Q @ y)
        G = self.build_blocks(phi)[len(self.problem.sections) :]
        u = [g @ Z.T @ Q @ (y - self.X @ b) for g, Z in zip(G, self.Z, strict=True)]
        return b, np.concatenate(u) if u else np.zeros(0)

    def errors(self, phi: np.ndarray) -> np.ndarray:
        """Covariance of (b_hat - b, u_hat - u), both linear in the records and the effects."""
        Q, P = np.linalg.inv(self.build(phi)), self.project(phi)
        B = np.linalg.solve(self.X.T @ Q @ self.X, self.X.T @ Q)  # b_hat = B y
        blocks = self.build_blocks(phi)[len(self.problem.sections) :]
        q = sum(map(len, blocks))
        G, Z, end = np.zeros((q, q)), np.zeros((self.n, q)), 0
        for g, own in zip(blocks, self.Z, strict=True):
            G[end : end + len(g), end : end + len(g)], Z[:, end : end + len(g)] = g, own
            end += len(g)
        cross = -B @ Z @ G
        return np.block([[B @ self.build(phi) @ B.T, cross], [cross.T, G - G @ Z.T @ P @ Z @ G]])
