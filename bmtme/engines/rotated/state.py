"""What moves: the state of a chain, and the workspace that its sweeps write over."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bmtme.engines.rotated.kernels.pair import Pair
from bmtme.engines.rotated.problem import Problem
from bmtme.linalg.compile import compiled
from bmtme.linalg.record import define_record
from bmtme.model.codes import SCALAR, CovariancePrior
from bmtme.structures.part import Start


class State(NamedTuple):
    """The state of a chain, updated in place (scaled units)."""

    Sigma_t: np.ndarray  # (L, L)
    s2_E: np.ndarray  # (I,) diagonal of Sigma_E; zero with one environment
    R_e: np.ndarray  # (B L, L) residual covariance of a plot, its blocks one below the other; with common errors
    Sigma_r: np.ndarray  # (L, L) of the line effect outside the relationship
    aux_t: np.ndarray  # (L,) half-t auxiliaries
    aux_E: np.ndarray  # (I,)
    aux_e: np.ndarray  # (L,)
    beta: np.ndarray  # (M,)
    mu: np.ndarray  # (L,)
    tau2: np.ndarray  # (L,)
    aux_tau: np.ndarray  # (L,)
    s2_b: np.ndarray  # (1,)
    aux_b: np.ndarray  # (1,)
    W: np.ndarray  # (M, J) standardised total effects
    W1: np.ndarray  # (L, J) of b1
    r: np.ndarray  # (L, J) rotated line effects outside the relationship; without rows where there are none
    level_effects: np.ndarray  # (K, L) effects of levels of factors, zero where there is none
    level_sd: np.ndarray  # (F, L) standard deviations of random ones
    fixed: np.ndarray  # (M, J) as of the problem, like the next two, less these effects
    cell_mean: np.ndarray  # (S, L)
    within: np.ndarray  # (I, L, L)
    Y: np.ndarray  # (M, J) completed, rotated data, less them
    part: np.ndarray  # (P, L) partly seen records, imputed, less them
    pad: np.ndarray  # (S, L) means of the unseen plots
    completed_log_density: np.ndarray  # (1,) of the recorded plots given means, effects and R_e


#: Steps of a sweep that are called at addresses, by their places in `Work.steps`; `held` finds these.
N_STEPS = 14
WHITEN, FACTOR, DENSITY, MOVE, BLOCK, COVARIANCES, REFILL, RECORD = range(8)
LINE, LEVELS, SLOPES, ERRORS, JOINT, RECORD_TOTAL = range(8, N_STEPS)


class Work(NamedTuple):
    """Scratch arrays of a chain, and the addresses of large steps."""

    steps: np.ndarray  # (N_STEPS,)
    pair: Pair
    C: np.ndarray  # (M, M)
    R: np.ndarray
    Z: np.ndarray  # (M, J)
    temporary: np.ndarray  # (M, J)
    W2: np.ndarray  # (M, J)
    weight: np.ndarray  # (M, J) 1 / (1 + d lam)
    noise: np.ndarray  # (J,)
    sxx: np.ndarray  # (M,)
    sxz: np.ndarray
    P0: np.ndarray  # (M, M)
    P0b0: np.ndarray
    K_means: np.ndarray  # (M, M) transformed covariance of the means (collapsed moves)
    tilde: np.ndarray  # (M,) T' beta
    A: np.ndarray  # (L, M) split of u into b1 and b2
    K: np.ndarray  # (L, L)
    fitted: np.ndarray  # (S, width) beta + u of the touched cells, an environment's recorded traits in order
    cell_y: np.ndarray  # (S, width) their completed data
    B: np.ndarray  # (Q, L, L) regressions of the patterns
    Kp: np.ndarray
    scatter_1: np.ndarray  # (L, L)
    scatter_2: np.ndarray  # (I, L, L)
    scatter_e: np.ndarray  # (L, L)
    full: np.ndarray  # (I L, J) effects of every column
    main: np.ndarray  # (L, J)


StateType, StateRecord = define_record(State)


@compiled()
def hold_state(state):
    """The same arrays as one pointer."""
    return StateRecord(*state)


WorkType, WorkRecord = define_record(Work)


@compiled()
def hold_work(work):
    """The same arrays as one pointer."""
    return WorkRecord(*work)


def allocate_work(p: Problem) -> Work:
    """Scratch arrays of the sizes a problem needs."""
    M, J = p.fixed.shape
    I, L, S, Q = p.n_env, p.n_trait, len(p.cell_line), len(p.patterns)

    def new(*shape: int) -> np.ndarray:
        return np.zeros(shape)

    n = len(p.seen)
    pair = Pair(new(M, M), new(M, M), new(M), new(L, L), new(L, L), new(n, n), new(n, n), new(M, M), new(1))
    return Work(
        steps=np.zeros(N_STEPS, np.int64),
        pair=pair,
        C=new(M, M),
        R=new(M, M),
        Z=new(M, J),
        temporary=new(M, J),
        W2=new(M, J),
        weight=new(M, J),
        noise=new(J),
        sxx=new(M),
        sxz=new(M),
        P0=new(M, M),
        P0b0=new(M),
        K_means=new(M, M),
        tilde=new(M),
        A=new(L, M),
        K=new(L, L),
        fitted=new(S, L),
        cell_y=new(S, L),
        B=new(Q, L, L),
        Kp=new(Q, L, L),
        scatter_1=new(L, L),
        scatter_2=new(I, L, L),
        scatter_e=new(L, L),
        full=new(I * L, J),
        main=new(L, J),
    )


#: Least variances at a start: a chain leaves the neighbourhood of zero slowly.
LEAST_VARIANCE = 0.01
#: Standard deviation of random effects of a factor at a start, in those of the trait.
LEVEL_SD = 0.3


def start_state(p: Problem, rng: np.random.Generator, start: Start | None = None) -> State:
    """A dispersed start: variances within a factor e^(+-1) of given ones, imputed data at their expectation.

    start : around it; default even shares of a trait's variance, and no correlations
    """
    M, J = p.fixed.shape
    I, L = p.n_env, p.n_trait
    if start is None:
        start = Start(0.5 * np.eye(L), np.full(I, 0.5), 0.5 * np.eye(L))

    def spread(n: int, prior: CovariancePrior) -> np.ndarray:
        factors = np.exp(rng.uniform(-1.0, 1.0, n))
        return np.full(n, factors[0]) if prior.shape == SCALAR else factors

    def spread_covariance(matrix: np.ndarray, prior: CovariancePrior) -> np.ndarray:
        wanted = np.maximum(np.diag(matrix) * spread(L, prior), LEAST_VARIANCE)
        root = np.sqrt(wanted / np.diag(matrix))
        return matrix * np.outer(root, root)

    Sigma_t = spread_covariance(start.Sigma_t, p.genetic.prior)
    s2_E = np.maximum(start.s2_E * spread(I, p.genetic.prior_env), LEAST_VARIANCE) if p.interaction else np.zeros(I)
    R_e = spread_covariance(start.R_e, p.residual.prior)
    pad, part = expect_missing(p, Start(Sigma_t, s2_E, R_e))
    K, F = len(p.factors.factor), len(p.factors.random)
    return State(
        Sigma_t=Sigma_t,
        s2_E=s2_E,
        R_e=np.tile(R_e, (p.block.max() + 1, 1)),
        Sigma_r=np.zeros((L, L)),
        aux_t=np.ones(L),
        aux_E=np.ones(I),
        aux_e=np.ones(L),
        beta=np.zeros(M),
        mu=np.zeros(L),
        tau2=np.exp(rng.uniform(-1.0, 1.0, L)),
        aux_tau=np.ones(L),
        s2_b=np.full(1, float(np.mean(p.means.centre**2 + p.means.scale**2))),
        aux_b=np.ones(1),
        W=np.zeros((M, J)),
        W1=np.zeros((L, J)),
        r=np.zeros((L if p.line_effect else 0, J)),
        level_effects=np.zeros((K, L)),
        level_sd=np.full((F, L), LEVEL_SD),
        # Without factors nothing writes to them.
        fixed=p.fixed.copy() if K else p.fixed,
        cell_mean=p.cell_mean.copy() if K else p.cell_mean,
        within=p.within.copy() if K else p.within,
        Y=p.fixed.copy(),
        part=part,
        pad=pad,
        completed_log_density=np.zeros(1),
    )


def expect_missing(p: Problem, start: Start) -> tuple[np.ndarray, np.ndarray]:
    """Means of unseen plots (S, L), and partly seen records (P, L) completed.

    Unseen plots are at the mean of their column, missing traits at their expectation given the record's others, the
    covariance of a record being that of one line: filled in otherwise, copies of a trait would be none.
    """
    cell_env = np.repeat(np.arange(p.n_env), np.diff(p.cell_offset))
    means = measure_columns(p, cell_env)
    pad = means[cell_env]
    part = p.part_values.copy()
    part_env = np.repeat(cell_env, np.diff(p.part_offset))
    for n, (values, i) in enumerate(zip(part, part_env, strict=True)):
        lacking = np.isnan(values)
        seen, wanted = ~lacking, lacking & p.recorded[i]
        V = start.Sigma_t * (1.0 + start.s2_E[i]) + start.R_e
        rest = np.linalg.solve(V[np.ix_(seen, seen)], values[seen] - means[i, seen])
        part[n, lacking] = 0.0
        part[n, wanted] = means[i, wanted] + V[np.ix_(wanted, seen)] @ rest
    return pad, part


def measure_columns(p: Problem, cell_env: np.ndarray) -> np.ndarray:
    """(I, L) means of the recorded values, lines weighted by their plot multiples; zero where there is none.

    cell_env : (S,) environment of each touched cell
    """
    weight = p.cell_root**2
    sums, counts = np.zeros((p.n_env, p.n_trait)), np.zeros((p.n_env, p.n_trait))
    for m, (i, l) in enumerate(zip(p.col_env, p.col_trait, strict=True)):
        sums[i, l] = p.x @ p.fixed[m]
        counts[i, l] = p.x @ p.x - weight[cell_env == i].sum()
    whole = p.cell_count > 0
    np.add.at(sums, cell_env[whole], weight[whole, None] * p.cell_mean[whole])
    np.add.at(counts, cell_env[whole], weight[whole, None])
    cell = np.repeat(np.arange(len(cell_env)), np.diff(p.part_offset))
    seen = ~np.isnan(p.part_values)
    np.add.at(sums, cell_env[cell], weight[cell, None] * np.where(seen, p.part_values, 0.0))
    np.add.at(counts, cell_env[cell], weight[cell, None] * seen)
    return np.where(p.recorded & (counts > 1e-9), sums / np.maximum(counts, 1e-9), 0.0)
