"""Hamiltonian moves of the covariances with means and effects integrated out.

Conditional on the completed data, tau (or s2_b) and nothing else (`density`). Nothing that conditions
on the effects may stand between this move and the new draw of the effects: see the sweep in `sweep`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bmtme.engines.rotated.density import call_evaluate, factor_trial, sum_within, unpack_trial
from bmtme.engines.rotated.line_effect import count_line_parameters
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.state import DENSITY, FACTOR
from bmtme.engines.rotated.steps import call_factor_pair, complete_data, prepare_mean_prior
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_bool
from bmtme.linalg.record import define_record
from bmtme.linalg.small import factor_cholesky
from bmtme.model.codes import DIAGONAL
from bmtme.structures.parameters import (
    count_parameters,
    count_roots,
    exchange,
    flag_traits,
    pack_covariance,
    spread_roots,
)

#: Energy error beyond which a trajectory counts as divergent.
DIVERGENT = 1000.0
#: Longest step, in standard deviations of the whitened parameters; long trajectories are traps.
LONGEST_STEP = 0.5
#: Ratio of genetic to residual standard deviation, or the other way round, from which on a trait is in a corner.
CORNER = 3.0
#: Sweeps between mirror moves where none was accepted in the warm-up; where one was, every sweep makes one.
MIRROR_EVERY = 8.0


class Tuning(NamedTuple):
    """How a walk moves; the last five belong to the dual averaging of the step (numbers are arrays of one)."""

    centre: np.ndarray  # (q,) theta = centre + metric xi, in whitened coordinates xi
    metric: np.ndarray  # (q, q) lower triangular
    step: np.ndarray
    leapfrogs: np.ndarray
    mirror_every: np.ndarray  # sweeps between mirror moves, zero for never
    adapting: np.ndarray  # one while the step is adapted
    moves: np.ndarray  # counted
    error: np.ndarray  # mean of the wanted less the found acceptance
    log_step: np.ndarray  # average
    anchor: np.ndarray  # where it shrinks to


class Outcome(NamedTuple):
    """What the last move came to, and counts (arrays of one)."""

    acceptance: np.ndarray  # probability
    step: np.ndarray
    diverging: np.ndarray  # zero or one
    mirrors: np.ndarray  # mirror moves accepted since they were last counted
    swept: np.ndarray  # sweeps made


class Walk(NamedTuple):
    """Position, tuning, outcome and workspace of the Hamiltonian moves."""

    theta: np.ndarray  # (q,) current parameters
    tuning: Tuning
    outcome: Outcome
    # scratch: covariances of a trial point, data for R_e, derivatives
    Sigma_t: np.ndarray
    s2_E: np.ndarray
    roots: np.ndarray  # signed roots of Sigma_E at the trial point
    C: np.ndarray  # (M, M) of genetic structures other than the paper's
    R_e: np.ndarray  # (B L, L)
    Sigma_r: np.ndarray
    KT: np.ndarray
    KR: np.ndarray
    Kr: np.ndarray
    within: np.ndarray  # (I, L, L) cross-products within cells, imputed plots included
    n_within: np.ndarray  # (I,) their degrees of freedom
    GC: np.ndarray  # (M, M) derivatives in transformed coordinates
    GR: np.ndarray
    PZ: np.ndarray  # (M, J)


WalkType, WalkRecord = define_record(Walk)


@compiled()
def hold_walk(walk):
    """The same arrays as one pointer."""
    return WalkRecord(*walk)


def allocate_walk(p: Problem) -> Walk:
    """Workspace of the sizes a problem needs."""
    I, L, (M, J) = p.n_env, p.n_trait, p.fixed.shape
    q = p.line_first + (count_line_parameters(p.line_prior) if p.line_effect else 0)

    def new(*shape: int) -> np.ndarray:
        return np.zeros(shape)

    tuning = Tuning(
        centre=new(q),
        metric=np.eye(q),
        step=np.array([0.1]),
        leapfrogs=np.array([4.0]),
        mirror_every=np.array([MIRROR_EVERY]),
        adapting=new(1),
        moves=new(1),
        error=new(1),
        log_step=new(1),
        anchor=new(1),
    )
    return Walk(
        theta=new(q),
        tuning=tuning,
        outcome=Outcome(new(1), new(1), new(1), new(1), new(1)),
        Sigma_t=new(L, L),
        s2_E=new(I),
        roots=new(count_parameters(p.genetic.prior_env.shape, len(p.seen))),
        C=np.zeros((0, 0) if p.proportional else (M, M)),
        R_e=new((p.block.max() + 1) * L, L),
        Sigma_r=new(L, L),
        KT=new(L, L),
        KR=new(L, L),
        Kr=new(L, L),
        within=new(I, L, L),
        n_within=new(I),
        GC=new(M, M),
        GR=new(M, M),
        PZ=new(M, J),
    )


@compiled()
def pack_state(p, s, h):
    """Parameters of the state's covariances into the walk; False where one is not positive definite."""
    L = p.n_trait
    nt = count_parameters(p.genetic.prior.shape, L)
    last = p.residual.first
    if not factor_cholesky(s.Sigma_t, h.KT) or not factor_cholesky(s.R_e, h.KR):
        return False
    pack_covariance(p.genetic.prior.shape, h.KT, h.theta[:nt])
    pack_covariance(p.residual.prior.shape, h.KR, h.theta[last:])
    if p.interaction:
        for a in range(nt, last):
            h.theta[a] = math.copysign(math.asinh(math.sqrt(s.s2_E[p.seen[a - nt]])), h.theta[a])
        h.theta[: count_roots(p.genetic.prior.shape, L)] *= spread_roots(h.theta[nt:last], h.roots)
    return True


@compiled(inline=True)
def accept_trial(p, s, h):
    """Make the trial point's covariances those of the state (C of other structures than the paper's: the walk's)."""
    s.R_e[:] = h.R_e
    s.Sigma_r[:] = h.Sigma_r
    if not p.proportional:
        return
    s.Sigma_t[:] = h.Sigma_t
    if p.interaction:
        for i in p.seen:
            s.s2_E[i] = h.s2_E[i]
        if p.genetic.prior_env.shape != DIAGONAL:
            s.s2_E[:] = h.s2_E[p.seen[0]]


@compiled()
def resume_walk(p, s, w, h):
    """Make the walk's covariances those of the state, and factor them."""
    if not unpack_trial(h.theta, p, h):
        return False
    accept_trial(p, s, h)
    return factor_state(p, s, w, h)


@compiled()
def factor_state(p, s, w, h):
    """Diagonalise the pair (C, R) of the state; of structures other than the paper's it is the walk's."""
    if p.proportional:
        return call_factor_pair(w.steps[FACTOR], (p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w))
    return factor_trial(p, h, w)


@compiled(inline=True)
def evaluate_whitened(xi, theta, p, s, w, h, gradient, scratch):
    """The same in whitened coordinates; theta is filled with centre + metric xi."""
    q = xi.shape[0]
    for a in range(q):
        t = h.tuning.centre[a]
        for b in range(a + 1):
            t += h.tuning.metric[a, b] * xi[b]
        theta[a] = t
    lp = call_evaluate(w.steps[DENSITY], (theta, p, s, w, h, scratch))
    for b in range(q):
        t = 0.0
        for a in range(b, q):
            t += h.tuning.metric[a, b] * scratch[a]
        gradient[b] = t
    return lp


@compiled()
def move_covariances(rng, p, s, w, h):
    """One Hamiltonian trajectory on the covariances, accepted or rejected (leapfrog; Neal 2011).

    Afterwards the state holds the new covariances and `factor_pair` is current for them; False where that fails.
    """
    q = h.theta.shape[0]
    theta = h.theta.copy()
    gradient = np.empty(q)
    scratch = np.empty(q)
    xi = np.empty(q)
    for a in range(q):
        t = theta[a] - h.tuning.centre[a]
        for b in range(a):
            t -= h.tuning.metric[a, b] * xi[b]
        xi[a] = t / h.tuning.metric[a, a]
    prepare_mean_prior(p, s, w)
    sum_within(p, s, h)
    step = h.tuning.step[0] * (0.8 + 0.4 * rng.random())
    momentum = np.empty(q)
    for a in range(q):
        momentum[a] = rng.standard_normal()
    before = 0.0
    density = 0.0  # where the trajectory starts; then of the covariances kept
    after = 0.0
    steps = int(h.tuning.leapfrogs[0])
    for n in range(steps + 1):  # n = 0: the density where the trajectory starts
        for a in range(q):
            if n > 0:
                momentum[a] += 0.5 * step * gradient[a]
                xi[a] += step * momentum[a]
        after = evaluate_whitened(xi, theta, p, s, w, h, gradient, scratch)
        if n == 0:
            if after == -np.inf:
                # Not resolved here: stay (which leaves any density as it is); the Gibbs draws lead out.
                h.outcome.acceptance[0], h.outcome.step[0], h.outcome.diverging[0] = 0.0, step, 0.0
                return factor_state(p, s, w, h)
            density = after
            before = after
            for a in range(q):
                before -= 0.5 * momentum[a] ** 2
        elif after == -np.inf:
            break
        else:
            for a in range(q):
                momentum[a] += 0.5 * step * gradient[a]
    change = after - before
    for a in range(q):
        change -= 0.5 * momentum[a] ** 2
    probability = math.exp(min(0.0, change)) if change > -np.inf else 0.0
    h.outcome.acceptance[0] = probability
    h.outcome.step[0] = step
    h.outcome.diverging[0] = 0.0 if change > -DIVERGENT else 1.0
    if rng.random() < probability:
        h.theta[:] = theta
        density = after
    if p.native and h.tuning.mirror_every[0] > 0.0 and h.outcome.swept[0] % h.tuning.mirror_every[0] == 0.0:
        mirror_covariances(rng, density, p, s, w, h, theta, gradient)
    adapt_step(h)
    return resume_walk(p, s, w, h)


#: `move_covariances` at its address.
call_move_covariances = call_apart(move_covariances, call_bool)


@compiled(inline=True)
def mirror_covariances(rng, density, p, s, w, h, theta, gradient):
    """Propose that genetic and residual covariance of some traits change places; accepted or rejected (Metropolis).

    Where data hardly tell one from the other (single plots of lines that are hardly related, traits that are nearly
    copies), the posterior has a corner where all is genetic and one where all is residual, with so little between
    that no trajectory crosses. The parameters of Sigma_t (standard deviations of the total genetic effect) and those
    of R_e mean the same, so that exchanging them maps one corner to the other: a permutation, its own inverse, with
    Jacobian one. Only traits in a corner take part (an exchange leaves them there, on the other side): all of them in
    half of the proposals, a random set in the others. Elsewhere trajectories do.

    density : log density at the walk's theta; theta, gradient : (q,) scratch
    """
    n = count_roots(p.genetic.prior.shape, p.n_trait)
    m = count_parameters(p.genetic.prior.shape, p.n_trait)
    last = p.residual.first
    cornered = np.zeros(p.n_trait, np.bool_)
    for l in range(n):
        ratio = abs(h.theta[l] / h.theta[last + l])
        cornered[l] = ratio > CORNER or ratio * CORNER < 1.0
    if not np.any(cornered):
        return
    chosen = cornered.copy()
    if rng.random() < 0.5:
        chosen[:] = False
        while not np.any(chosen):
            for l in range(n):
                chosen[l] = cornered[l] and rng.random() < 0.5
    flags = np.zeros(m, np.bool_)
    flag_traits(chosen, p.genetic.prior.shape, flags)
    theta[:] = h.theta
    exchange(theta, flags)
    change = call_evaluate(w.steps[DENSITY], (theta, p, s, w, h, gradient)) - density
    if math.log(rng.random()) < change:
        h.theta[:] = theta
        h.outcome.mirrors[0] += 1.0


@compiled(inline=True)
def adapt_step(h):
    """Dual averaging of the log step towards an acceptance of 0.8 (Hoffman & Gelman 2014)."""
    a = h.tuning
    if a.adapting[0] == 0.0:
        return
    a.moves[0] += 1.0
    t = a.moves[0]
    a.error[0] += (0.8 - h.outcome.acceptance[0] - a.error[0]) / (t + 10.0)
    log_step = a.anchor[0] - math.sqrt(t) / 0.05 * a.error[0]
    log_step = min(max(log_step, math.log(1e-4)), math.log(LONGEST_STEP))
    weight = t**-0.75
    a.log_step[0] = weight * log_step + (1.0 - weight) * a.log_step[0]
    a.step[0] = math.exp(log_step)


@compiled()
def measure_curvature(p, s, w, h, out):
    """Minus the Hessian of `evaluate` at the walk's centre, by central differences of the gradient, into (q, q) out.

    False where the density is not defined nearby.
    """
    complete_data(p, s, w)
    prepare_mean_prior(p, s, w)
    sum_within(p, s, h)
    q = h.tuning.centre.shape[0]
    point = h.tuning.centre.copy()
    gradient = np.empty(q)
    out[:] = 0.0
    for a in range(q):
        for side in range(2):
            point[a] = h.tuning.centre[a] + (1e-4 if side == 0 else -1e-4)
            if call_evaluate(w.steps[DENSITY], (point, p, s, w, h, gradient)) == -np.inf:
                return False
            for b in range(q):
                out[a, b] += (-gradient[b] if side == 0 else gradient[b]) / 2e-4
        point[a] = h.tuning.centre[a]
    return True
