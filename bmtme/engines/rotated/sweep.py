"""The order of the steps, and many sweeps per compiled call."""

from __future__ import annotations

from bmtme.engines.rotated.collapsed import call_move_covariances, factor_state, pack_state
from bmtme.engines.rotated.density import sum_within
from bmtme.engines.rotated.draws import call_record_draw
from bmtme.engines.rotated.factor_effects import call_refill
from bmtme.engines.rotated.failures import FINE, MEANS, PAIR, R_E, SIGMA_T
from bmtme.engines.rotated.slopes import call_draw_slopes
from bmtme.engines.rotated.state import BLOCK, COVARIANCES, FACTOR, MOVE, RECORD, REFILL, SLOPES
from bmtme.engines.rotated.steps import (
    call_draw_covariances,
    call_draw_means_and_genetic,
    call_factor_pair,
    complete_data,
    draw_mean_scales,
    draw_unseen_variances,
    measure_completed_density,
    prepare_mean_prior,
    split_effects,
)
from bmtme.linalg.compile import compiled

GIBBS, COLLAPSED = 0, 1
#: Sweeps of `COLLAPSED` between draws of the covariances given the effects.
REFRESH = 4


@compiled(inline=True)
def draw_block(rng, p, s, w):
    """(slopes of covariates, mu, beta, u) | covariances, tau, completed data; `factor_pair` must be current."""
    if p.factors.slopes.shape[0] > 0:
        prepare_mean_prior(p, s, w)
        if not call_draw_slopes(w.steps[SLOPES], (rng, p, s, w)):
            return False
    return call_draw_means_and_genetic(w.steps[BLOCK], (rng, p, s, w))


@compiled(inline=True)
def sweep(rng, kind, p, s, w, h):
    """One sweep of `GIBBS` or `COLLAPSED`. Returns 0 or the code of what failed.

    Gibbs: (mu, beta, u), and slopes of covariates, in one block; b1, b2; the covariances given these; tau; imputation,
    and with it the effects of factors of records. R_e counts recorded plots only and the imputed ones are redrawn
    directly after (with only tau and these effects between, which do not read them): (R_e, unseen plots) is one block.
    Every other step is a full conditional.

    Collapsed: the covariances with (mu, beta, u) integrated out and tau held; then at once (mu, beta, u) in one
    block, and the rest. Imputed plots count as data of the covariances here. Every `REFRESH` sweeps the covariances
    are also drawn given the effects as in Gibbs: that leaves a corner (a residual variance near zero) in which the
    step of the trajectories is too long. Structures other than the paper's have no such draws.
    """
    if kind == COLLAPSED:
        if not call_move_covariances(w.steps[MOVE], (rng, p, s, w, h)):
            return PAIR
        if p.proportional:
            draw_unseen_variances(rng, p, s)
    elif not call_factor_pair(w.steps[FACTOR], (p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)):
        return PAIR
    for inner in range(p.inner):
        if inner > 0 and not call_refill(w.steps[REFILL], (rng, p, s, w, False)):
            return R_E
        if not draw_block(rng, p, s, w):
            return MEANS
    if p.proportional and not split_effects(rng, p, s, w):
        return SIGMA_T
    refresh = kind == COLLAPSED and p.native and h.outcome.swept[0] % REFRESH == 0
    given_effects = kind == GIBBS or refresh
    if given_effects:
        code = call_draw_covariances(w.steps[COVARIANCES], (rng, p, s, w, refresh))
        if code != FINE:
            return code
        if refresh and not pack_state(p, s, h):
            return SIGMA_T
    h.outcome.swept[0] += 1.0
    draw_mean_scales(rng, p, s)
    return FINE if call_refill(w.steps[REFILL], (rng, p, s, w, given_effects)) else R_E


@compiled()
def settle(rng, p, s, w, h, times):
    """Means, effects, their scales and what is imputed, drawn `times` times given the covariances of the state.

    Afterwards `evaluate` is ready for the data as completed. Returns 0 or the code of what failed.
    """
    complete_data(p, s, w)
    for _ in range(times):
        if not factor_state(p, s, w, h):
            return PAIR
        if not draw_block(rng, p, s, w):
            return MEANS
        draw_mean_scales(rng, p, s)
        if not call_refill(w.steps[REFILL], (rng, p, s, w, False)):
            return R_E
    prepare_mean_prior(p, s, w)
    sum_within(p, s, h)
    return FINE


@compiled()
def run_sweeps(rng, kind, p, s, w, h, start, stop, keep, out, trail):
    """Sweeps start .. stop - 1 of a kind, written to their rows of the draws where `keep`.

    All arguments are heap records: one compiled entry serves both samplers. Sweeps that are not kept leave the
    parameters of their Hamiltonian moves in `trail` (stop, q).

    Returns the sweep that failed (or stop) and the code of the failure (or 0).
    """
    complete_data(p, s, w)
    for t in range(start, stop):
        code = sweep(rng, kind, p, s, w, h)
        if code == FINE and keep:
            measure_completed_density(p, s, w)
            code = call_record_draw(w.steps[RECORD], (rng, p, s, w, h.theta, t, out))
        if code != FINE:
            return t, code
        if kind == COLLAPSED:
            if keep:
                out.acceptance[t], out.step_size[t] = h.outcome.acceptance[0], h.outcome.step[0]
                out.diverging[t] = h.outcome.diverging[0] > 0.0
            else:
                trail[t] = h.theta
    return stop, FINE
