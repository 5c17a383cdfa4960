"""Expected information of the likelihood, means integrated out, about the covariances of the model.

With V the covariance of the recorded values, X the design of their means and P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1,

    I_ab = 1/2 tr(P V_a P V_b),   V_a the derivative of V by parameter a                      (Harville 1977)

Where nothing is imputed the rotated model gives it in closed form: with T'RT = 1, T'CT = diag(lambda) everything but
T'V_a T is diagonal. Otherwise the score 1/2 z'V_a z, z = P y, is simulated for y ~ N(0, V), and its covariance taken:
what the likelihood is flat in has a score of zero in every draw, so that flat directions are exact and the rest has a
Monte Carlo error of some per cent. V is dense over the recorded values, or over blocks of lines where these are many;
relationships between blocks are then left out, and blocks not looked at are taken to say as much as those that were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from bmtme.preparation import Prepared

#: Values in one dense covariance; with more, the lines are dealt to blocks, of which some are looked at.
DENSE, BLOCK, BLOCKS = 2000, 1400, 4
#: Unrelated lines are independent: small blocks are exact, and so many values are enough.
UNRELATED_BLOCK, UNRELATED_VALUES = 150, 20_000
#: Neighbouring lines dealt together, as families often stand together.
RUN = 20
#: Numbers held at a time: of simulated values in all cells of a block; of derivatives in all.
HELD, MOST = 4_000_000, 32_000_000
#: Simulated scores at least, and for each parameter.
SCORES, SCORES_EACH = 256, 8


@dataclass(frozen=True)
class Point:
    """Covariances where the information is taken, user's units."""

    S: np.ndarray  # (L, L) Sigma_t
    E: np.ndarray  # (I,) diagonal of Sigma_E, zero with one environment
    R: np.ndarray  # (L, L) R_e


@dataclass(frozen=True)
class Direction:
    """One free parameter: what a unit of it adds to each covariance, and its range under the prior (an SD)."""

    kind: str
    S: np.ndarray
    E: np.ndarray
    R: np.ndarray
    spread: float


@dataclass(frozen=True)
class Columns:
    """The recorded environment x trait columns, and what parameters change of their covariances."""

    env: np.ndarray  # (M,)
    trait: np.ndarray  # (M,)
    C: np.ndarray  # (M, M) of u, for the user's G
    changes: np.ndarray  # (p, M, M) of C


def lay_columns(recorded: np.ndarray, point: Point, directions: list[Direction]) -> Columns:
    """C = (11' + Sigma_E) (x) Sigma_t over the recorded columns, and its derivatives."""
    env, trait = np.nonzero(recorded)
    same = env[:, None] == env
    total = 1.0 + same * point.E[env]
    inner = np.ix_(trait, trait)
    changes = [total * d.S[inner] + same * d.E[env] * point.S[inner] for d in directions]
    return Columns(env, trait, total * point.S[inner], np.array(changes))


def measure_information(prepared: Prepared, point: Point, directions: list[Direction]) -> np.ndarray:
    """Information (p, p) of the recorded values about the parameters, at a point.

    Raises
    ------
    MemoryError
        For more columns and parameters than are computed with.
    numpy.linalg.LinAlgError
        Where a covariance is too nearly singular.
    """
    if len(directions) * int(prepared.layout.recorded.sum()) ** 2 > MOST:
        raise MemoryError("so many environments and traits")
    columns = lay_columns(prepared.layout.recorded, point, directions)
    changes = np.array([d.R for d in directions])
    if len(prepared.layout.cell_line) == 0:
        return inform_complete(prepared, point, columns, changes)
    return inform_incomplete(prepared, point, columns, changes)


def inform_complete(prepared: Prepared, point: Point, columns: Columns, changes: np.ndarray) -> np.ndarray:
    """In closed form, where the layout is filled by records.

    With w_jm = 1 / (1 + d_j lambda_m) and x = U'1, tr(P V_a P V_b) is the sum over lines of
    w_m w_n (V_a)_mn (V_b)_mn less what the means take, by h_m = sum_j x_j^2 w_jm.
    """
    layout, basis = prepared.layout, prepared.basis
    same = columns.env[:, None] == columns.env
    inner = np.ix_(columns.trait, columns.trait)
    plots = layout.plots[columns.env]
    R = same * point.R[inner] / plots
    d, x2 = basis.values * basis.scale, basis.rotated_ones**2
    values, T = eigh(columns.C, R)
    w = 1.0 / (1.0 + d[:, None] * np.maximum(values, 0.0))
    h = x2 @ w
    Ca = (T.T @ columns.changes @ T).reshape(len(changes), -1)
    Ra = np.array([T.T @ (same * change[inner] / plots) @ T for change in changes]).reshape(len(changes), -1)
    parts = []
    for power in range(3):
        v = w * (d**power)[:, None]
        means = (v * w * x2[:, None]).T @ w / h[:, None]  # sum_j d^k x^2 w_m^2 w_n / h_m
        parts.append((v.T @ w - means - means.T).ravel())
    mixed = (Ca * parts[1]) @ Ra.T
    information = (Ca * parts[2]) @ Ca.T + mixed + mixed.T + (Ra * parts[0]) @ Ra.T
    first, second = (((w * (d**power * x2)[:, None]).T @ w).ravel() for power in (1, 0))
    taken = (Ca * first + Ra * second) / np.sqrt(np.outer(h, h)).ravel()
    information += taken @ taken.T
    for i, count in enumerate(layout.n_recorded - layout.n_cells):
        information += inform_within(point.R, changes, layout.recorded[i], count)
    return information / 2.0


def inform_within(R: np.ndarray, changes: np.ndarray, seen: np.ndarray, count: float) -> np.ndarray:
    """Twice the information of `count` residuals of the seen traits."""
    if count <= 0 or not seen.any():
        return np.zeros((len(changes), len(changes)))
    inner = np.ix_(seen, seen)
    whole = np.linalg.inv(R[inner])
    rows = np.array([whole @ change[inner] for change in changes])
    return count * np.einsum("aij,bji->ab", rows, rows)


def inform_incomplete(prepared: Prepared, point: Point, columns: Columns, changes: np.ndarray) -> np.ndarray:
    """By simulated scores, over the recorded values only; plots of a cell with the same traits as their mean."""
    layout, basis = prepared.layout, prepared.basis
    L, p, M = len(point.R), len(changes), len(columns.env)
    table = np.column_stack([layout.rec_line, layout.rec_env, prepared.observed])
    units, unit, records = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    plots = np.bincount(unit.ravel(), layout.rec_plots)
    line, env, seen = units[:, 0], units[:, 1], units[:, 2:].astype(bool)
    sizes = np.bincount(line, seen.sum(axis=1), minlength=layout.n_line).astype(int)
    blocks, share = deal_lines(sizes, basis.vectors is None)
    place = np.full(layout.recorded.shape, -1)
    place[columns.env, columns.trait] = np.arange(M)
    rng = np.random.default_rng(20162)
    K = max(SCORES, SCORES_EACH * p)
    H, r = np.zeros((M, M)), np.zeros((M, K))
    held = []
    for block in blocks:
        chosen = np.flatnonzero(np.isin(line, block))
        unit, trait = np.nonzero(seen[chosen])
        row = np.searchsorted(block, line[chosen])[unit]
        column = place[env[chosen][unit], trait]
        G = relate(prepared, block)
        V = G[np.ix_(row, row)] * columns.C[np.ix_(column, column)]
        V += (unit[:, None] == unit) * point.R[np.ix_(trait, trait)] / plots[chosen][unit]
        factor = cholesky(V, lower=True, check_finite=False)
        noise = rng.standard_normal((len(V), K))
        X = np.zeros((len(V), M))
        X[np.arange(len(V)), column] = 1.0
        half = solve_triangular(factor, X, lower=True, check_finite=False)
        H += half.T @ half
        r += half.T @ noise
        back = solve_triangular(factor, np.hstack([noise, half]), lower=True, trans="T", check_finite=False)
        held.append((G, chosen, unit, trait, row, column, back[:, :K], back[:, K:]))
    shift = np.linalg.pinv(H, hermitian=True) @ r
    scores = np.zeros((p, K))
    for G, chosen, unit, trait, row, column, z, means in held:
        z = z - means @ shift
        step = max(1, min(64, HELD // (len(G) * M)))
        for start in range(0, K, step):
            part = slice(start, start + step)
            by_column = np.zeros((len(G), M, z[:, part].shape[1]))
            np.add.at(by_column, (row, column), z[:, part])
            related = (G @ by_column.reshape(len(G), -1)).reshape(by_column.shape)
            square = np.matmul(by_column.transpose(2, 1, 0), related.transpose(2, 0, 1))
            scores[:, part] += columns.changes.reshape(p, -1) @ square.reshape(len(square), -1).T
        by_trait = np.zeros((len(chosen), L, K))
        by_trait[unit, trait] = z
        for l in range(L):
            for q in range(L):
                if changes[:, l, q].any():
                    square = (by_trait[:, l] * by_trait[:, q] / plots[chosen][:, None]).sum(axis=0)
                    scores += np.outer(changes[:, l, q], square)
    information = np.atleast_2d(np.cov(scores)) / 2.0 / share
    counts: dict[bytes, tuple[np.ndarray, float]] = {}
    for pattern, n in zip(seen, records - 1, strict=True):
        counts[pattern.tobytes()] = pattern, counts.get(pattern.tobytes(), (pattern, 0.0))[1] + n
    for pattern, count in counts.values():
        information += inform_within(point.R, changes, pattern, count)
    return np.asarray(information / 2.0)


def relate(prepared: Prepared, lines: np.ndarray) -> np.ndarray:
    """Relationship of some of the lines with a record, user's G."""
    basis = prepared.basis
    if basis.vectors is None:
        return np.eye(len(lines))
    half = basis.vectors[lines] * np.sqrt(basis.values * basis.scale / basis.multiples[lines][:, None])
    return np.asarray(half @ half.T)


def deal_lines(sizes: np.ndarray, unrelated: bool) -> tuple[list[np.ndarray], float]:
    """Lines in blocks whose covariance is dense, and the share of all values that these hold.

    Parameters
    ----------
    sizes : (J,) recorded values of each line
    """
    total = int(sizes.sum())
    if total <= DENSE and not unrelated:
        return [np.arange(len(sizes))], 1.0
    size, most = (UNRELATED_BLOCK, UNRELATED_VALUES) if unrelated else (BLOCK, BLOCK * BLOCKS)
    number = max(1, round(total / size))
    run = max(1, min(RUN, len(sizes) // number))
    of = (np.arange(len(sizes)) // run) % number
    blocks = [np.flatnonzero(of == b) for b in range(number)]
    kept: list[np.ndarray] = []
    values = 0
    for block in blocks:
        if len(block) and (not kept or values + sizes[block].sum() <= most):
            kept.append(block)
            values += int(sizes[block].sum())
    return kept, values / total
