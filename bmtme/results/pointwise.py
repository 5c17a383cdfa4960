"""Log density of each record given all others, in one draw of the covariances: effects and means integrated out.

y = X beta + Z u + e, u ~ N(0, G (x) C + I (x) C_r), e of a record of n plots ~ N(0, R / n): with the precision of what
is observed, P = V^-1 - V^-1 X (X' V^-1 X + T^-1)^-1 X' V^-1, and T the prior variance of the means,

    log p(y_b | y_-b) = log N(P_bb^-1 (P y)_b; 0, P_bb^-1)

for a block b: a record, or a single value (Rasmussen & Williams 2006, Gaussian processes for machine learning, eq. 5.10
to 5.12; that importance sampling may use these: Buerkner, Gabry & Vehtari 2021, Computational Statistics 36:1243-1261).

V is never formed. With N = Z' R^-1 Z, V^-1 = R^-1 - R^-1 Z S Z' R^-1, S = (Sigma^-1 + N)^-1 the covariance of u given y
and the means. Where every line has the same plots, S is one matrix of the columns for each eigenvector of G; the cells
that differ from what is most frequent in their environment are put right by Woodbury's formula. So the cost of a draw
grows with the square of the lines and with the third power of the cells that are unlike the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Covariances:
    """One draw of what is held, in the units of the values.

    Attributes
    ----------
    C : (I L, I L), environment by environment
    C_r : (L, L) of an effect outside the relationship
    R : (I, L, L)
    mean_precision : (L,) T^-1, zero for a flat prior; None where the means are not integrated out but taken off y
    """

    C: np.ndarray
    C_r: np.ndarray
    R: np.ndarray
    mean_precision: np.ndarray | None


class Plan:
    """What does not change from draw to draw.

    Parameters
    ----------
    G : (J, J), or None for an identity
    observed : (N, L) bool
    line, env : (N,) places
    sizes : J, I
    number : (N,) plots of which each record is the mean; default one
    """

    def __init__(
        self,
        G: np.ndarray | None,
        observed: np.ndarray,
        line: np.ndarray,
        env: np.ndarray,
        sizes: tuple[int, int],
        number: np.ndarray | None = None,
    ) -> None:
        J, I = sizes
        L = observed.shape[1]
        self.observed, self.line, self.env, self.sizes = observed, line, env, (J, I, L)
        self.values: np.ndarray = np.ones(J)
        self.vectors: np.ndarray = np.eye(J)
        if G is not None:
            self.values, self.vectors = np.linalg.eigh(G)
            self.values = np.maximum(self.values, 0.0)
        #: Which traits a record has, rows of `patterns`, and its number of plots.
        number = np.ones(len(line), np.int64) if number is None else number
        kinds, self.pattern = np.unique(np.column_stack([observed, number]), axis=0, return_inverse=True)
        self.patterns, self.number = kinds[:, :L].astype(bool), kinds[:, L]
        self.pattern = self.pattern.ravel()
        counts = np.zeros((J, I, len(self.patterns)), np.int64)
        np.add.at(counts, (line, env, self.pattern), 1)
        self.counts = counts
        self.usual = np.stack([most_frequent(counts[:, i]) for i in range(I)])
        here = np.zeros((I, L), bool)
        np.logical_or.at(here, env, observed)
        self.columns = np.flatnonzero(here.ravel())  # those with a record
        #: Cells unlike the usual one of their environment, and their rows among (line, column).
        self.unlike = np.argwhere((counts != self.usual).any(axis=2))
        rows = [(a, m) for a, i in self.unlike.tolist() for m in self.columns[self.columns // L == i].tolist()]
        self.row_line: np.ndarray = np.array([a for a, _ in rows], np.int64)
        self.row_column: np.ndarray = np.array([m for _, m in rows], np.int64)


def most_frequent(rows: np.ndarray) -> np.ndarray:
    """The row that is there most often."""
    kinds, number = np.unique(rows, axis=0, return_counts=True)
    return np.asarray(kinds[number.argmax()])


def invert_residuals(plan: Plan, R: np.ndarray) -> np.ndarray:
    """(I, patterns, L, L) inverse residual covariance of the traits that a record has, zero elsewhere."""
    I, L = R.shape[:2]
    out = np.zeros((I, len(plan.patterns), L, L))
    for k, pattern in enumerate(plan.patterns):
        o = np.ix_(pattern, pattern)
        for i in range(I):
            out[i, k][o] = plan.number[k] * np.linalg.inv(R[i][o])
    return out


class Posterior:
    """S, the covariance of u given y and the means, in one draw."""

    def __init__(self, plan: Plan, held: Covariances, inverse: np.ndarray) -> None:
        _, I, L = plan.sizes
        self.plan = plan
        prior = plan.values[:, None, None] * held.C + np.tile(held.C_r, (I, I))
        usual = np.zeros((I * L, I * L))
        for i in range(I):
            usual[i * L : (i + 1) * L, i * L : (i + 1) * L] = np.tensordot(plan.usual[i], inverse[i], 1)
        S = np.linalg.solve(np.eye(I * L) + prior @ usual, prior)
        self.S = (S + S.transpose(0, 2, 1)) / 2  # (J, I L, I L), one for each eigenvector
        self.weights = None
        if len(plan.row_line):
            n, (line, column) = len(plan.row_line), (plan.row_line, plan.row_column)
            excess = np.einsum("aik,iklq->ailq", plan.counts - plan.usual, inverse)
            Delta = np.zeros((n, n))
            same = (line[:, None] == line) & (column[:, None] // L == column // L)
            a, b = np.nonzero(same)
            Delta[a, b] = excess[line[a], column[a] // L, column[a] % L, column[b] % L]
            self.across = self._relate()
            SBB = self.across[line, column]
            W = np.linalg.solve(np.eye(n) + Delta @ SBB, Delta)
            self.weights = (W + W.T) / 2

    def _relate(self) -> np.ndarray:
        """S before it is put right, of every (line, column) with the rows that are unlike: (J, I L, rows)."""
        J, I, L = self.plan.sizes
        U, line, column = self.plan.vectors, self.plan.row_line, self.plan.row_column
        out = np.zeros((J, I * L, len(line)))
        for m in self.plan.columns.tolist():
            for q in np.unique(column).tolist():
                rows = np.flatnonzero(column == q)
                out[:, m, rows] = (U * self.S[:, m, q]) @ U[line[rows]].T
        return out

    def apply(self, g: np.ndarray) -> np.ndarray:
        """S g, (J, I L, k)."""
        U = self.plan.vectors
        turned = np.tensordot(U.T, g, 1)
        out = np.asarray(np.tensordot(U, self.S @ turned, 1))
        if self.weights is not None:
            at = np.tensordot(self.across, g, ((0, 1), (0, 1)))
            out -= self.across @ (self.weights @ at)
        return out

    def blocks(self) -> np.ndarray:
        """(J, I, L, L) blocks of the cells."""
        J, I, L = self.plan.sizes
        squares = self.plan.vectors**2
        within = self.S.reshape(J, I, L, I, L)[:, range(I), :, range(I)]  # (I, J, L, L)
        out = np.moveaxis(np.tensordot(squares, within, ((1,), (1,))), 1, 1)
        if self.weights is not None:
            flat = self.across.reshape(J * I * L, -1)
            lost = (flat @ self.weights).reshape(J * I, L, -1) @ flat.reshape(J * I, L, -1).transpose(0, 2, 1)
            out = out - lost.reshape(J, I, L, L)
        return np.asarray(out)


def measure(plan: Plan, y: np.ndarray, held: Covariances) -> tuple[np.ndarray, np.ndarray]:
    """P_bb (N, L, L) and (P y)_b (N, L) of every record b, one and zero where it lacks a trait.

    y : (N, L) less what is known of their means
    """
    J, I, L = plan.sizes
    inverse = invert_residuals(plan, held.R)
    own = inverse[plan.env, plan.pattern]  # (N, L, L)
    y = np.where(plan.observed, y, 0.0)
    posterior = Posterior(plan, held, inverse)
    columns = plan.columns
    g = np.zeros((J, I, L, 1 + I * L))
    np.add.at(g, (plan.line, plan.env), np.einsum("nlq,nq->nl", own, y)[..., None] * (np.arange(1 + I * L) == 0))
    for i in range(I):
        of = slice(1 + i * L, 1 + (i + 1) * L)
        g[:, i, :, of] = np.tensordot(plan.counts[:, i], inverse[i], 1)
    told = posterior.apply(g.reshape(J, I * L, -1)).reshape(g.shape)[plan.line, plan.env]  # (N, L, 1 + I L)
    q = np.einsum("nlq,nq->nl", own, y - told[..., 0])  # V^-1 y
    P = own - own @ posterior.blocks()[plan.line, plan.env] @ own
    if held.mean_precision is not None:
        design = (plan.env[:, None, None] * L + np.arange(L)[:, None] == columns).astype(float)  # (N, L, columns)
        VX = own @ (design - told[..., 1 + columns])
        H = np.tensordot(design, VX, ((0, 1), (0, 1)))
        H = (H + H.T) / 2 + np.diag(held.mean_precision[columns % L])
        b = np.tensordot(design, q, ((0, 1), (0, 1)))
        solved = np.linalg.solve(H, np.column_stack([b, np.eye(len(columns))]))
        q = q - VX @ solved[:, 0]
        P = P - VX @ solved[:, 1:] @ VX.transpose(0, 2, 1)
    missing = ~plan.observed
    q[missing] = 0.0
    P[missing] = 0.0
    P.transpose(0, 2, 1)[missing] = 0.0
    P[:, range(L), range(L)] += missing
    return P, q


def log_records(P: np.ndarray, q: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """(N,) log density of each record, joint over its traits, given the others; P, q as of `measure`."""
    solved = np.linalg.solve(P, q[..., None])[..., 0]
    return np.asarray(0.5 * (np.linalg.slogdet(P)[1] - (q * solved).sum(axis=1) - LOG_2PI * observed.sum(axis=1)))


def log_values(P: np.ndarray, q: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """(values,) log density of each value given all others, those of its record among them; record by record."""
    variance = 1.0 / np.diagonal(P, axis1=1, axis2=2)
    return np.asarray(-0.5 * (q**2 * variance + np.log(variance) + LOG_2PI))[observed]


def list_flat_orphans(plan: Plan) -> list[tuple[int, int]]:
    """Environment and trait of columns with a single value."""
    _, I, L = plan.sizes
    counts = np.zeros((I, L), np.int64)
    np.add.at(counts, plan.env, plan.observed)
    return [(int(i), int(l)) for i, l in np.argwhere(counts == 1)]


RECORD, VALUE = "record", "value"
#: By the unit that is left out.
UNITS: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    RECORD: log_records,
    VALUE: log_values,
}
