"""Where the draws of a chain are written: one row a sweep for the small ones, slots for kept effects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bmtme.engines.rotated.failures import FINE, PAIR, R_E, SIGMA_T
from bmtme.engines.rotated.kernels.interaction import add_row, fill_split
from bmtme.engines.rotated.kernels.missing import complete_interaction, expect_genetic, regress
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.state import RECORD_TOTAL
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_build, call_complete, call_int
from bmtme.linalg.record import define_record
from bmtme.mapped import SLAB, Allocate, release, take_some
from bmtme.model.codes import EXCHANGEABLE, PAPER


class Draws(NamedTuple):
    """Draws of one chain, in scaled units and the eigenbasis."""

    Sigma_t: np.ndarray  # (n, L, L)
    s2_E: np.ndarray  # (n, I)
    theta: np.ndarray  # (n, q) parameters of every column and environment, of genetic structures but the paper's
    R_e: np.ndarray  # (n, B L, L)
    Sigma_r: np.ndarray  # (n, L, L) of a line effect outside the relationship; zero where there is none
    genetic: np.ndarray  # (n, I, L) genetic variance of every column, the diagonal of C
    residual: np.ndarray  # (n, I, L) residual variance of a plot, without known errors
    beta: np.ndarray  # (n, I, L) absent columns from their prior given mu, tau
    mu: np.ndarray  # (n, L)
    tau: np.ndarray  # (n, L)
    completed_log_density: np.ndarray  # (n,)
    acceptance: np.ndarray  # (n,) of Hamiltonian moves, like the next two
    step_size: np.ndarray  # (n,)
    diverging: np.ndarray  # (n,) bool
    slot: np.ndarray  # (n,) where the effects of this draw are kept, -1 for nowhere
    W1: np.ndarray  # (kept, L, J) main effects; without rows where a structure has none
    W2: np.ndarray  # (kept, I L, J) the rest; absent columns drawn given the recorded ones
    level_effects: np.ndarray  # (n, K, L) of levels of factors
    level_sd: np.ndarray  # (n, F, L)
    r: np.ndarray  # (kept, L, J) rotated line effects; without rows where there are none
    track: bool  # whether conditional means of the effects are summed
    sum_beta: np.ndarray  # (I, L) sums over draws of E[beta | recorded columns]
    sum_W: np.ndarray  # (I L, J) of E[w | recorded columns]
    sum_r: np.ndarray  # (L, J) of r


DrawsType, DrawsRecord = define_record(Draws)

#: Of the draws: sums over all of them, and what is kept of some; all others have a row for each draw.
SUMS, KEPT = ("sum_beta", "sum_W", "sum_r"), ("W1", "W2", "r")
ROWS = tuple(name for name in Draws._fields if name not in (*SUMS, *KEPT, "slot", "track"))


@compiled()
def hold_draws(draws):
    """The same arrays as one pointer."""
    return DrawsRecord(*draws)


def allocate_draws(p: Problem, n: int, slots: np.ndarray, track: bool, allocate: Allocate = np.zeros) -> Draws:
    """Arrays for n draws; `slots` (n,) numbers the draws whose effects are kept, -1 elsewhere.

    allocate : makes what grows with the draws
    """
    I, L, J = p.n_env, p.n_trait, len(p.d)
    kept = int(slots.max(initial=-1)) + 1
    B = 1 if p.tied else p.block.max() + 1
    paper, other = (n, 0) if p.proportional else (0, n)
    return Draws(
        Sigma_t=allocate((paper, L, L)),
        s2_E=allocate((paper, I)),
        theta=allocate((other, p.whole_genetic.size)),
        R_e=allocate((n, B * L, L)),
        Sigma_r=allocate((n, L, L)),
        genetic=allocate((n, I, L)),
        residual=allocate((n, I, L)),
        beta=allocate((n, I, L)),
        mu=allocate((n, L)),
        tau=allocate((n, L)),
        completed_log_density=allocate((n,)),
        acceptance=np.full(n, np.nan),
        step_size=np.full(n, np.nan),
        diverging=np.zeros(n, bool),
        slot=slots.astype(np.int64),
        W1=allocate((kept, L if p.proportional else 0, J)),
        W2=allocate((kept, I * L if p.interaction or not p.proportional else 0, J)),
        level_effects=allocate((n, len(p.factors.factor), L)),
        level_sd=allocate((n, len(p.factors.random), L)),
        r=allocate((kept, L if p.line_effect else 0, J)),
        track=track,
        sum_beta=np.zeros((I, L)),
        sum_W=np.zeros((I * L, J)),
        sum_r=np.zeros((L, J)),
    )


def walk_draws(chain: Draws, row: int = 0) -> Iterator[tuple[slice, Draws]]:
    """The rows of a chain's draws in slabs: which they are, and the draws with these alone; kept effects are all there.

    row : bytes of what is made of a draw, if more than it has itself
    """
    n = len(chain.slot)
    own = sum(getattr(chain, name).nbytes for name in ROWS) // max(n, 1)
    step = max(1, SLAB // max(row, own, 1))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        yield rows, cut_rows(chain, rows)
        release(*chain)


def cut_rows(chain: Draws, rows: slice) -> Draws:
    """Some rows of a chain's draws; views."""
    return chain._replace(**{name: getattr(chain, name)[rows] for name in (*ROWS, "slot")})


@compiled()
def record_means(rng, p, s, t, out):
    """Write means, scales and density to row t, means of absent columns from their prior given mu and tau.

    Returns whether there is an absent column.
    """
    out.mu[t] = s.mu
    out.completed_log_density[t] = s.completed_log_density[0]
    for l in range(p.n_trait):
        out.tau[t, l] = math.sqrt(s.tau2[l])
    absent = False
    for i in range(p.n_env):
        for l in range(p.n_trait):
            if p.recorded[i, l]:
                value = s.beta[p.env_first[i] + np.sum(p.recorded[i, :l])]
                out.beta[t, i, l] = value
                out.sum_beta[i, l] += value
            else:
                absent = True
                if p.means.kind == EXCHANGEABLE:
                    centre = s.mu[l]
                    spread = math.sqrt(s.tau2[l])
                else:
                    centre = -p.means.centre[l] / p.means.scale[l]
                    spread = math.sqrt(s.s2_b[0]) / p.means.scale[l] if p.means.kind == PAPER else np.inf
                out.beta[t, i, l] = centre + spread * rng.standard_normal()
                out.sum_beta[i, l] += centre
    return absent


@compiled()
def record_total(rng, p, s, w, theta, t, out):
    """The same for other genetic structures than the paper's, whose effects are not split.

    Parameters of environments and columns without a record are drawn first, and their effects given the recorded ones:
    w_a | w_o ~ N(C_ao C_oo^-1 w_o, C_aa - C_ao C_oo^-1 C_oa).
    """
    I, L = p.n_env, p.n_trait
    whole = out.theta[t]
    if not call_complete(p.genetic.complete, rng, p.genetic, theta[: p.residual.first], whole):
        return PAIR
    C = np.empty((I * L, I * L))
    if not call_build(p.whole_genetic.build, p.whole_genetic, whole, C):
        return PAIR
    for i in range(I):
        for l in range(L):
            out.genetic[t, i, l] = C[i * L + l, i * L + l]
    absent = record_means(rng, p, s, t, out)
    slot = out.slot[t]
    if not absent:
        if out.track:
            out.sum_W[:] += s.W
        if slot >= 0:
            out.W2[slot] = s.W
        return FINE
    B = np.empty((I * L, I * L))
    K = np.empty((I * L, I * L))
    recorded = p.recorded.ravel()
    if not regress(C, recorded, ~recorded, B, K):
        return PAIR
    for m in range(s.W.shape[0]):
        w.full[p.col_env[m] * L + p.col_trait[m]] = s.W[m]
    for a in range(I * L):
        if not recorded[a]:
            w.full[a] = 0.0
            for m in range(s.W.shape[0]):
                add_row(B[a, p.col_env[m] * L + p.col_trait[m]], s.W[m], w.full[a])
    if out.track:
        out.sum_W[:] += w.full
    # Absent columns take their normals in every draw, so that the chain does not depend on what is stored.
    for q in range(I * L):
        if not recorded[q]:
            for j in range(p.rank):
                w.noise[j] = rng.standard_normal()
            for j in range(p.rank, w.noise.shape[0]):
                w.noise[j] = 0.0
            for a in range(q, I * L):
                if not recorded[a]:
                    add_row(K[a, q], w.noise, w.full[a])
    if slot >= 0:
        out.W2[slot] = w.full
    return FINE


#: `record_total` at its address.
call_record_total = call_apart(record_total, call_int)


@compiled(inline=True)
def record_residual(rng, p, s, theta, t, out):
    """Write the blocks of R_e to row t, those of environments and traits without a record from their prior."""
    if p.shared:
        out.R_e[t] = s.R_e
    elif p.tied:
        out.R_e[t] = s.R_e[: p.n_trait] - p.common[: p.n_trait]
    else:
        whole = np.empty(p.whole_residual.size)
        if not call_complete(p.residual.complete, rng, p.residual, theta[p.residual.first : p.line_first], whole):
            return False
        if not call_build(p.whole_residual.build, p.whole_residual, whole, out.R_e[t]):
            return False
    for i in range(p.n_env):
        for l in range(p.n_trait):
            first = 0 if p.tied else p.block[i] * p.n_trait
            out.residual[t, i, l] = out.R_e[t, first + l, l]
    return True


@compiled()
def record_draw(rng, p, s, w, theta, t, out):
    """Write the state to row t; returns 0, or the code of what failed on the way. theta : the walk's"""
    if not record_residual(rng, p, s, theta, t, out):
        return R_E
    out.level_effects[t] = s.level_effects
    out.level_sd[t] = s.level_sd
    if p.line_effect:
        out.Sigma_r[t] = s.Sigma_r
        if out.track:
            out.sum_r[:] += s.r
        if out.slot[t] >= 0:
            out.r[out.slot[t]] = s.r
    if not p.proportional:
        return call_record_total(w.steps[RECORD_TOTAL], (rng, p, s, w, theta, t, out))
    out.Sigma_t[t] = s.Sigma_t
    out.s2_E[t] = s.s2_E
    for i in range(p.n_env):
        for l in range(p.n_trait):
            out.genetic[t, i, l] = s.Sigma_t[l, l] * (1.0 + s.s2_E[i])
    absent = record_means(rng, p, s, t, out)
    if out.track:
        if absent:
            if not fill_split(s.Sigma_t, s.s2_E, p.recorded, p.seen, p.col_env, p.col_trait, w.A, w.K):
                return SIGMA_T
            if not expect_genetic(s.Sigma_t, p.recorded, p.col_env, p.col_trait, s.W, w.A, w.main, w.full):
                return SIGMA_T
            for m in range(w.full.shape[0]):
                add_row(1.0, w.full[m], out.sum_W[m])
        else:
            for m in range(s.W.shape[0]):
                add_row(1.0, s.W[m], out.sum_W[m])
    slot = out.slot[t]
    if slot >= 0:
        out.W1[slot] = s.W1
    # Absent columns take their normals in every draw, so that the chain does not depend on what is stored.
    if p.interaction and (absent or slot >= 0):
        for m in range(s.W.shape[0]):
            w.W2[m] = s.W[m] - s.W1[p.col_trait[m]]
        if not complete_interaction(
            rng,
            s.Sigma_t,
            s.s2_E,
            p.recorded,
            p.col_env,
            p.col_trait,
            p.rank,
            w.W2,
            w.noise,
            out.W2[slot] if slot >= 0 else w.full,
        ):
            return SIGMA_T
    return FINE


#: `record_draw` at its address.
call_record_draw = call_apart(record_draw, call_int)


def take_effects(chain: Draws, i: int, l: int, slots: np.ndarray | None = None) -> np.ndarray:
    """Total genetic effects of a column in kept draws, in the eigenbasis: (slots, J).

    slots : which of the kept draws; default all
    """
    chosen = np.arange(len(chain.W2)) if slots is None else slots
    L = chain.R_e.shape[2]
    if not chain.W1.shape[1]:
        return take_some(chain.W2[:, i * L + l], chosen)
    main = take_some(chain.W1[:, l], chosen)
    return main + take_some(chain.W2[:, i * L + l], chosen) if chain.W2.shape[1] else main
