"""What moves: the state of a chain, and the workspace that its sweeps write over."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bmtme.gibbs.problem import Problem
from bmtme.kernels.compile import compiled
from bmtme.kernels.covariance import CovariancePrior
from bmtme.kernels.pair import Pair
from bmtme.kernels.record import define_record


class State(NamedTuple):
    """The state of a chain, updated in place (scaled units)."""

    Sigma_t: np.ndarray  # (L, L)
    s2_E: np.ndarray  # (I,) diagonal of Sigma_E; zero with one environment
    R_e: np.ndarray  # (L, L)
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
    Y: np.ndarray  # (M, J) completed, rotated data
    part: np.ndarray  # (P, L) partly seen records, imputed
    pad: np.ndarray  # (S, L) means of the unseen plots
    completed_log_density: np.ndarray  # (1,) of the recorded plots given means, effects and R_e


class Work(NamedTuple):
    """Scratch arrays of a chain."""

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
    pair = Pair(new(M, M), new(M, M), new(M), new(L, L), new(L, L), new(n, n), new(n, n), new(M, M))
    return Work(
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


def start_state(p: Problem, rng: np.random.Generator) -> State:
    """A dispersed start: variances within a factor e^(+-1) of even shares, imputed data at the trait means."""
    M, J = p.fixed.shape
    I, L, S = p.n_env, p.n_trait, len(p.cell_line)

    def spread(n: int, prior: CovariancePrior) -> np.ndarray:
        factors = 0.5 * np.exp(rng.uniform(-1.0, 1.0, n))
        return np.full(n, factors[0]) if prior.shape == 2 else factors

    part = np.where(np.isnan(p.part_values), 0.0, p.part_values)
    return State(
        Sigma_t=np.diag(spread(L, p.prior_t)),
        s2_E=spread(I, p.prior_E) if p.interaction else np.zeros(I),
        R_e=np.diag(spread(L, p.prior_e)),
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
        Y=p.fixed.copy(),
        part=part,
        pad=np.zeros((S, L)),
        completed_log_density=np.zeros(1),
    )
