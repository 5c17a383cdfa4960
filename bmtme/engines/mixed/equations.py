"""The mixed model equations of a problem: likelihood, gradient, average information, solutions and their errors.

With y as last row and column they are M(phi) = sum_j c_j(phi) M_j, M_j constant and sparse: of a section W'(P_j)W with
W = [X, Z, missing cells, y], of a term the precision of its effects, P_j being the Kronecker products of its axes'
pieces. C is M without y, C (b, u) = r the solution, v = (-b, -u, 1), and for a block (section or term) with covariance
V and precision Q, e = W v, or -u:

- -2 log L = sum log|V| + log|C| + y'Py,  y'Py = sum e'Q e
- -2 dlog L/dphi_k = dlog|V|/dphi_k + sum_j dc_j/dphi_k tr(C^-1 M_j) + e' Q_k e,  Q_k = dQ/dphi_k
- average information_kl = 1/2 [sum_blocks e' Q_k V Q_l e - (M_k v)' C^-1 (M_l v)],  M_k = dM/dphi_k

(Gilmour, Thompson & Cullis 1995, Biometrics 51:1440; Johnson & Thompson 1995, J Dairy Sci 78:449). The traces need only
those entries of C^-1 where C has one. Cells of a section without a record get a fixed effect each: what they add to
log|V| they take from log|C|, so that the likelihood is that of the records.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axes import Identity
from bmtme.engines.mixed.axis import Axis
from bmtme.engines.mixed.problem import Problem, Section
from bmtme.errors import NumericalError
from bmtme.linalg.sparse import SparseCholesky

#: Records whose equations are solved at once.
AT_ONCE = 256
#: Of P_ii relative to that of the residual's precision: what counts as none.
ALONE = 1e-9
#: Numbers that an evaluation keeps at once for each slope of a block and each of its cells.
SLOPES = 4
#: Pairs of effects that meet in records, looked up at once.
PAIRS = 2**21
#: Numbers of right sides that are solved at once.
SOLVED = 2**23


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The restricted likelihood at one phi.

    Attributes
    ----------
    phi : array (k,)
    log_likelihood : float
        -inf where the equations are singular to rounding.
    solution : array (N,)
        Fixed effects that are kept, random effects, effects of missing cells; empty where the equations are singular.
    gradient : array (k,)
    information : array (k, k)
        Both empty where not asked for.
    """

    phi: np.ndarray
    log_likelihood: float
    solution: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gradient: np.ndarray = field(default_factory=lambda: np.zeros(0))
    information: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


class Equations:
    """The mixed model equations of a problem.

    Parameters
    ----------
    problem : Problem
    cholesky : class
        Sparse Cholesky decomposition: of the pattern of C (sparse, lower triangle), with `factor`, `log_determinant`,
        `solve`, `selected_inverse`, `fill`, `memory`; for draws with `fork` and `draw`.

    Attributes
    ----------
    n : int
        Order of C.
    count : int
        Number of parameters phi.
    factor : cholesky
        As the last call of `evaluate` has left it.
    memory : int
        About how many bytes a fit takes for all this: the equations, their factor, and what an evaluation computes.
    """

    def __init__(self, problem: Problem, cholesky: Callable[[sp.csc_matrix], Any] = SparseCholesky) -> None:
        self.problem = problem
        self.blocks = problem.blocks
        ends = np.cumsum([axis.count for block in self.blocks for axis in block.axes])
        self.count = int(ends[-1])
        parts = iter([slice(a, b) for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)])
        self._parts = [[next(parts) for _ in block.axes] for block in self.blocks]
        self.offsets = problem.rank + np.cumsum([0, *(term.q for term in problem.terms)])
        self.designs = self._lay_sections()
        self.n = self.designs[0].shape[1] - 1
        self._lay_pieces()
        self.factor = cholesky(self.pattern)
        off = self.pattern.indices != np.repeat(np.arange(self.n), np.diff(self.pattern.indptr))
        self._twice = np.where(off, 2.0, 1.0)
        self._at = np.full(self.count, np.nan)  # phi of the factor
        self.memory = self._measure()
        self._constant = 0.0 if problem.weights is None else -float(np.log(problem.weights).sum())

    def _lay_sections(self) -> list[sp.csr_matrix]:
        """W of every section: (cells, N + 1)."""
        problem = self.problem
        W = [problem.X[:, problem.kept], *problem.designs]
        root = np.ones(problem.n) if problem.weights is None else np.sqrt(problem.weights)
        records = sp.csr_matrix(sp.diags(root) @ sp.hstack(W, format="csr"))
        values = root * problem.centred
        absent = [np.setdiff1d(np.arange(section.size), section.places) for section in problem.sections]
        ends = np.cumsum([0, *map(len, absent)])
        found = []
        for section, missing, end in zip(problem.sections, absent, ends, strict=False):
            m = len(section.rows)
            place = sp.csr_matrix((np.ones(m), (section.places, np.arange(m))), shape=(section.size, m))
            effects = sp.csr_matrix(
                (np.ones(len(missing)), (missing, end + np.arange(len(missing)))), shape=(section.size, int(ends[-1]))
            )
            y = sp.csr_matrix(values[section.rows][:, None])
            found.append(sp.hstack([place @ records[section.rows], effects, place @ y], format="csr"))
        return found

    def _lay_pieces(self) -> None:
        """The M_j: their entries in C as columns of a sparse matrix, and those beside y."""
        N = self.n
        keys: list[np.ndarray] = []
        entries: list[np.ndarray] = []
        rights: list[sp.csc_matrix] = []
        self.spans = []
        for b, block in enumerate(self.blocks):
            first = len(keys)
            for P in make_pieces(block.axes):
                if isinstance(block, Section):
                    W = self.designs[b]
                    M = sp.csc_matrix(W.T @ (P @ W))
                    rights.append(sp.csc_matrix(M[:N, N]))
                    M = sp.tril(M[:N, :N]).tocoo()
                    keys.append(M.col.astype(np.int64) * N + M.row)
                else:
                    M, at = sp.tril(P).tocoo(), int(self.offsets[b - len(self.problem.sections)])
                    keys.append((M.col.astype(np.int64) + at) * N + M.row + at)
                entries.append(M.data)
            self.spans.append(slice(first, len(keys)))
        whole, places = np.unique(np.concatenate([*keys, np.arange(N) * (N + 1)]), return_inverse=True)
        ends = np.cumsum([0, *map(len, keys)])
        places = places.ravel()[: ends[-1]]
        self._entries = sp.csc_matrix((np.concatenate(entries), places, ends), shape=(len(whole), len(keys)))
        self._rights = sp.csr_matrix(sp.hstack(rights))
        self._n_rights = len(rights)
        pointers = np.searchsorted(whole, np.arange(N + 1) * N)
        self.pattern = sp.csc_matrix((np.ones(len(whole)), whole % N, pointers), shape=(N, N))

    def _measure(self) -> int:
        held = [*self.designs, self._entries, self._rights, self.pattern, *self.problem.designs]
        sizes = [matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes for matrix in held]
        cells = [math.prod(axis.n for axis in block.axes) for block in self.blocks]
        counts = [sum(axis.count for axis in block.axes) for block in self.blocks]
        # Of an evaluation: values of the matrix, the selected inverse twice; right sides, solved and in order; the
        # slopes of a block, along its axes and back.
        slopes = max(SLOPES * count * size for count, size in zip(counts, cells, strict=True))
        numbers = 4 * self.pattern.nnz + 3 * self.n * self.count + 4 * sum(cells) + slopes
        return int(sum(sizes) + self.factor.memory + 8 * numbers)

    def split(self, phi: np.ndarray) -> list[list[np.ndarray]]:
        """phi of every axis of every block."""
        phi = np.asarray(phi, float)
        return [[phi[part] for part in parts] for parts in self._parts]

    def evaluate(self, phi: np.ndarray, order: int = 2) -> Evaluation:
        """Log likelihood; from order 1 with its gradient, from order 2 with the average information."""
        phi = np.asarray(phi, float)
        parts = self.split(phi)
        self._at = np.full(self.count, np.nan)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                steps, c, log_det, gradient = self._combine(parts)
            if not np.isfinite(c).all():
                return Evaluation(phi, -math.inf)
            self.factor.factor(self._entries @ c)
            self._at = phi.copy()
        except (NumericalError, np.linalg.LinAlgError, OverflowError):
            return Evaluation(phi, -math.inf)
        right = self._rights @ c[: self._n_rights]
        solution = self.factor.solve(right)
        errors = self._find_errors(solution)
        weighed = [weigh_all(block.axes, own, e) for block, own, e in zip(self.blocks, parts, errors, strict=True)]
        fit = sum(float(e @ w) for e, w in zip(errors, weighed, strict=True))
        log_likelihood = -0.5 * (log_det + self.factor.log_determinant + fit)
        if not np.isfinite(log_likelihood):
            return Evaluation(phi, -math.inf)
        if order == 0:
            return Evaluation(phi, log_likelihood, solution)
        traces = self._entries.T @ (self._twice * self.factor.selected_inverse())
        moved = np.zeros((self.n, self.count))
        information = np.zeros((self.count, self.count))
        for b, ((span, mine, slopes), block, own, e) in enumerate(zip(steps, self.blocks, parts, errors, strict=True)):
            if mine.start == mine.stop:
                continue
            weighed_slopes = weigh_slopes(block.axes, own, e)
            gradient[mine] += slopes.T @ traces[span] + weighed_slopes @ e
            if order < 2:
                continue
            information[mine, mine] = weighed_slopes @ shift(block.axes, own, e).T
            if isinstance(block, Section):
                moved[:, mine] = (self.designs[b].T @ weighed_slopes.T)[: self.n]
            else:
                moved[self._find_rows(b), mine] = weighed_slopes.T
        gradient *= -0.5
        if order < 2:
            return Evaluation(phi, log_likelihood, solution, gradient)
        information -= moved.T @ self.factor.solve(moved)
        return Evaluation(phi, log_likelihood, solution, gradient, 0.25 * (information + information.T))

    def _combine(
        self, parts: list[list[np.ndarray]]
    ) -> tuple[list[tuple[slice, slice, np.ndarray]], np.ndarray, float, np.ndarray]:
        """Of every block its places among the M_j and in phi, and the slopes of c; c; sum log|V| and its slopes."""
        c = np.zeros(self._entries.shape[1])
        gradient = np.zeros(self.count)
        log_det = self._constant
        steps = []
        k = 0
        for block, span, own in zip(self.blocks, self.spans, parts, strict=True):
            c[span], slopes = combine_coefficients(block.axes, own)
            value, slope = combine_determinants(block.axes, own)
            log_det += value
            mine = slice(k, k + len(slope))
            gradient[mine] = slope
            steps.append((span, mine, slopes))
            k += len(slope)
        return steps, c, log_det, gradient

    def _find_rows(self, block: int) -> slice:
        """Rows of C of the effects of a block that is a term."""
        t = block - len(self.problem.sections)
        return slice(int(self.offsets[t]), int(self.offsets[t + 1]))

    def _find_errors(self, solution: np.ndarray) -> list[np.ndarray]:
        """e of every block: W v of a section, -u of a term."""
        v = np.append(-solution, 1.0)
        sections = [W @ v for W in self.designs]
        return sections + [v[self._find_rows(b)] for b in range(len(sections), len(self.blocks))]

    def fork(self) -> Equations:
        """Other ones of the same problem, for another thread: what does not depend on phi is shared."""
        other = copy.copy(self)
        other.factor = self.factor.fork()
        other._at = np.full(self.count, np.nan)
        return other

    def draw(self, phi: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Draws (N, k) of the solution given y and phi, with a flat prior of fixed effects; z (N, k) standard normal.

        They are C^-1 r + L'^-1 z: see `find_effects` for their order.
        """
        return np.asarray(self.evaluate(phi, 0).solution[:, None] + self.factor.draw(z))

    def go_to(self, phi: np.ndarray) -> None:
        """Factor the equations at phi, if the last evaluation was elsewhere."""
        if not np.array_equal(self._at, phi):
            self.evaluate(phi, 0)

    def find_effects(self, solution: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Fixed effects (p,), NaN of columns left out, and the effects of every term."""
        problem = self.problem
        fixed = np.full(problem.p, np.nan)
        fixed[problem.kept] = solution[: problem.rank] + problem.least_squares
        return fixed, tuple(solution[a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True))

    def find_error_variances(self) -> tuple[np.ndarray, ...]:
        """Diagonal of C^-1 of the effects of every term."""
        diagonal = self.factor.selected_inverse()[self.pattern.indptr[:-1]]
        return tuple(diagonal[a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True))

    def find_fitted_variances(self) -> np.ndarray:
        """Diagonal (n,) of W C^-1 W', of the records: their residuals have that of R less this as variance.

        W C^-1 W' needs C^-1 where two effects meet in a record, which is where C has an entry.
        """
        inverse = self.factor.selected_inverse()
        keys = self.pattern.indices + np.repeat(np.arange(self.n), np.diff(self.pattern.indptr)) * self.n
        found = np.zeros(self.problem.n)
        for section, W in zip(self.problem.sections, self.designs, strict=True):
            rows = sp.csr_matrix(W[section.places, : self.n])
            counts = np.diff(rows.indptr)
            for count in np.unique(counts[counts > 0]):
                own = np.flatnonzero(counts == count)
                step = max(1, PAIRS // int(count) ** 2)
                for k in range(0, len(own), step):
                    some = own[k : k + step]
                    at = rows.indptr[some][:, None] + np.arange(count)
                    columns, values = rows.indices[at].astype(np.int64), rows.data[at]
                    a, b = columns[:, :, None], columns[:, None, :]
                    entries = inverse[np.searchsorted(keys, np.minimum(a, b) * self.n + np.maximum(a, b))]
                    found[section.rows[some]] = np.einsum("ri,rij,rj->r", values, entries, values)
        return found

    def find_fixed_covariance(self) -> np.ndarray:
        """C^-1 of the fixed effects that are kept (rank, rank), the first rows of C."""
        rank = self.problem.rank
        return self._multiply_inverse(sp.identity(self.n, format="csr")[:rank])

    def find_covariance(self, combinations: sp.spmatrix | np.ndarray) -> np.ndarray:
        """K C^-1 K' (m, m) for combinations K (m, p + sum q) of all fixed columns, then of all random effects."""
        K = sp.csr_matrix(combinations)
        p = self.problem.p
        rest = sp.csr_matrix((K.shape[0], self.n - int(self.offsets[-1])))
        return self._multiply_inverse(sp.hstack([K[:, self.problem.kept], K[:, p:], rest], format="csr"))

    def _multiply_inverse(self, K: sp.csr_matrix) -> np.ndarray:
        """K C^-1 K' (m, m), some columns at a time."""
        m = K.shape[0]
        step = max(1, SOLVED // self.n)
        parts = [K @ self.factor.solve(K[k : k + step].T.toarray()) for k in range(0, m, step)]
        return np.hstack(parts) if parts else np.zeros((0, 0))

    def find_deletions(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P y and the diagonal of P of the records (n,), P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1.

        A record differs by (P y)_i / P_ii from what the others predict, with variance 1 / P_ii. P_ii is zero of one
        that has a fixed effect to itself.
        """
        solution = self.evaluate(phi, 0).solution
        shares, own = np.zeros(self.problem.n), np.zeros(self.problem.n)
        v = np.append(-solution, 1.0)
        for section, W, parts in zip(self.problem.sections, self.designs, self.split(phi), strict=False):
            c, _ = combine_coefficients(section.axes, parts)
            Q = sp.csr_matrix(sum(ck * M for ck, M in zip(c, make_pieces(section.axes), strict=True)))
            QW = sp.csr_matrix(Q @ W)
            shares[section.rows] = (QW @ v)[section.places]
            for start in range(0, len(section.rows), AT_ONCE):
                rows, places = (x[start : start + AT_ONCE] for x in (section.rows, section.places))
                A = QW[places, : self.n].toarray()
                found = Q.diagonal()[places] - np.einsum("ij,ji->i", A, self.factor.solve(A.T))
                own[rows] = np.where(found > ALONE * Q.diagonal()[places], found, 0.0)
        root = 1.0 if self.problem.weights is None else np.sqrt(self.problem.weights)
        return root * shares, root**2 * own


def make_pieces(axes: tuple[Axis, ...]) -> list[sp.csr_matrix]:
    """Kronecker products of the axes' constant matrices, in the order of `combine_coefficients`."""
    found = [sp.identity(1, format="csr")]
    for axis in axes:
        found = [sp.kron(A, B, format="csr") for A in found for B in axis.pieces]
    return found


def combine_coefficients(axes: tuple[Axis, ...], parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """c (J,) of a product of axes, and its slopes (J, k)."""
    c, slopes = np.ones(1), np.zeros((1, 0))
    for axis, phi in zip(axes, parts, strict=True):
        if not axis.count:
            continue  # one piece, with coefficient 1
        own, own_slopes = axis.coefficients(phi)
        if len(c) == 1 and not slopes.size:
            c, slopes = c * own, c * own_slopes
            continue
        # Kronecker products of a column with a column, and of columns with many: np.kron would take most of the time.
        both = slopes[:, None] * own[:, None], c[:, None, None] * own_slopes
        slopes = np.concatenate([each.reshape(len(c) * len(own), -1) for each in both], axis=1)
        c = np.outer(c, own).ravel()
    return c, slopes


def combine_determinants(axes: tuple[Axis, ...], parts: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """log|V| of a product of axes, and its slopes (k,)."""
    size = math.prod(axis.n for axis in axes)
    found = [(size // axis.n, *axis.log_determinant(phi)) for axis, phi in zip(axes, parts, strict=True)]
    return sum(times * value for times, value, _ in found), np.concatenate([times * slope for times, _, slope in found])


def along(axes: tuple[Axis, ...], which: int, x: np.ndarray, operate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """An operator (n, m) -> (n, m), or -> (k, n, m), along one axis of x (cells,): (cells,), or (k, cells)."""
    before = math.prod(axis.n for axis in axes[:which])
    n = axes[which].n
    if before == 1:
        found = operate(x.reshape(n, -1))
        return found.reshape(*found.shape[:-2], x.size)
    U = x.reshape(before, n, -1).transpose(1, 0, 2)
    result = operate(U.reshape(n, -1))
    back = np.moveaxis(result.reshape(*result.shape[:-2], *U.shape), -3, -2)
    return back.reshape(*result.shape[:-2], x.size)


def weigh_all(axes: tuple[Axis, ...], parts: list[np.ndarray], x: np.ndarray, but: int = -1) -> np.ndarray:
    """Q x (cells,), with the precision of every axis except `but`."""

    def step(x: np.ndarray, a: int) -> np.ndarray:
        return along(axes, a, x, partial(axes[a].weigh, parts[a]))

    return reduce(step, [a for a, axis in enumerate(axes) if a != but and not isinstance(axis, Identity)], x)


def weigh_slopes(axes: tuple[Axis, ...], parts: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """(dQ/dphi_k) x for every k: (k, cells)."""
    found = []
    for a, axis in enumerate(axes):
        if axis.count:
            others = weigh_all(axes, parts, x, but=a)
            found.append(along(axes, a, others, partial(axis.weigh_slopes, parts[a])))
    return np.concatenate(found)


def shift(axes: tuple[Axis, ...], parts: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """V (dQ/dphi_k) x for every k: (k, cells). Along the other axes V and Q cancel."""
    found = []
    for a, axis in enumerate(axes):
        if axis.count:
            found.append(along(axes, a, x, partial(axis.shift, parts[a])))
    return np.concatenate(found)
