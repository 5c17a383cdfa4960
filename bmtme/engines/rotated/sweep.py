"""The order of the steps, and many sweeps per compiled call."""

from __future__ import annotations

from bmtme.engines.rotated.collapsed import measure_curvature, move_covariances, pack_state
from bmtme.engines.rotated.density import sum_within
from bmtme.engines.rotated.draws import record_draw
from bmtme.engines.rotated.steps import (
    complete_data,
    draw_all_auxiliaries,
    draw_genetic_covariances,
    draw_mean_scales,
    draw_means_and_genetic,
    draw_residual,
    draw_unseen_variances,
    factor_pair,
    fill_fitted,
    impute,
    measure_completed_density,
    prepare_mean_prior,
    split_effects,
)
from bmtme.linalg.compile import compiled

GIBBS, COLLAPSED, CURVATURE, START = 0, 1, 2, 3
#: Sweeps of `COLLAPSED` between draws of the covariances given the effects.
REFRESH = 4

#: What a sweep's return code says: the matrix that was not positive definite.
FAILURES = {
    1: "Sigma_t (genetic covariance of the traits)",
    2: "Sigma_E (variance of the trait x genotype x environment effects)",
    3: "R_e (residual covariance of the traits)",
    4: "the pair (C, R) of genetic and residual covariance over environments and traits",
    5: "the posterior precision of the environment means (beta)",
}


@compiled(inline=True)
def sweep(rng, kind, p, s, w, h):
    """One sweep of `GIBBS` or `COLLAPSED`. Returns 0 or the code of what failed.

    Gibbs: (mu, beta, u) in one block; b1, b2; the covariances given these; tau; imputation. R_e counts recorded
    plots only and the imputed ones are redrawn directly after (with only tau, which reads neither, between):
    (R_e, unseen plots) is one block. Every other step is a full conditional.

    Collapsed: the covariances with (mu, beta, u) integrated out and tau held; then at once (mu, beta, u) in one
    block, and the rest. Imputed plots count as data of the covariances here. Every `REFRESH` sweeps the covariances
    are also drawn given the effects as in Gibbs: that leaves a corner (a residual variance near zero) in which the
    step of the trajectories is too long.
    """
    if kind == COLLAPSED:
        if not move_covariances(rng, p, s, w, h):
            return 4
        draw_unseen_variances(rng, p, s)
    elif not factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, w):
        return 4
    for inner in range(p.inner):
        if inner > 0 and not impute(rng, p, s, w, inner == 0):
            return 3
        if not draw_means_and_genetic(rng, p, s, w):
            return 5
    if not split_effects(rng, p, s, w):
        return 1
    refresh = kind == COLLAPSED and h.swept[0] % REFRESH == 0
    given_effects = kind == GIBBS or refresh
    if given_effects:
        fill_fitted(p, s, w)
        if refresh and not draw_all_auxiliaries(rng, p, s):
            return 1
        code = draw_genetic_covariances(rng, p, s, w)
        if code != 0:
            return code
        if not draw_residual(rng, p, s, w):
            return 3
        if refresh and not pack_state(p, s, h):
            return 1
    h.swept[0] += 1.0
    draw_mean_scales(rng, p, s)
    return 0 if impute(rng, p, s, w, given_effects) else 3


@compiled()
def settle(rng, p, s, w, h, times):
    """Means, effects, their scales and what is imputed, drawn `times` times given the covariances of the state.

    Afterwards `evaluate` is ready for the data as completed. Returns 0 or the code of what failed.
    """
    complete_data(p, s, w)
    for _ in range(times):
        if not factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, w):
            return 4
        if not draw_means_and_genetic(rng, p, s, w):
            return 5
        draw_mean_scales(rng, p, s)
        if not impute(rng, p, s, w, False):
            return 3
    prepare_mean_prior(p, s, w)
    sum_within(p, s, h)
    return 0


@compiled()
def run_sweeps(rng, kind, p, s, w, h, start, stop, keep, out, trail):
    """Sweeps start .. stop - 1 of a kind, written to their rows of the draws where `keep`.

    All arguments are heap records: one compiled entry serves both samplers. Sweeps that are not kept leave the
    parameters of their Hamiltonian moves in `trail` (stop, q). No sweep: CURVATURE puts minus the Hessian at the
    walk's centre into `trail` (q, q), START the state's covariances into the walk.

    Returns the sweep that failed (or stop) and the code of the failure (or 0).
    """
    complete_data(p, s, w)
    if kind == START:
        return 0, 0 if pack_state(p, s, h) else 4
    if kind == CURVATURE:
        return 0, 0 if measure_curvature(p, s, w, h, trail) else 4
    for t in range(start, stop):
        code = sweep(rng, kind, p, s, w, h)
        if code == 0 and keep:
            measure_completed_density(p, s, w)
            code = record_draw(rng, p, s, w, t, out)
        if code != 0:
            return t, code
        if kind == COLLAPSED:
            if keep:
                out.acceptance[t], out.step_size[t] = h.outcome[0], h.outcome[1]
                out.diverging[t] = h.outcome[2] > 0.0
            else:
                trail[t] = h.theta
    return stop, 0
