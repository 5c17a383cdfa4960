"""The order of the steps, and many sweeps per compiled call."""

from __future__ import annotations

import numpy as np

from bmtme.gibbs.collapsed import WalkRecord, evaluate, move_covariances, sum_within
from bmtme.gibbs.draws import DrawsRecord, record_draw
from bmtme.gibbs.problem import ProblemRecord
from bmtme.gibbs.state import StateRecord, WorkRecord
from bmtme.gibbs.steps import (
    complete_data,
    draw_genetic_covariances,
    draw_interaction_given_main,
    draw_main_given_interaction,
    draw_mean_scales,
    draw_means_and_genetic,
    draw_means_given_effects,
    draw_residual,
    draw_unseen_variances,
    factor_pair,
    fill_fitted,
    impute,
    measure_likelihood,
    prepare_mean_prior,
    split_effects,
)
from bmtme.kernels.compile import compiled

#: What a sweep's return code says: the matrix that was not positive definite.
FAILURES = {
    1: "Sigma_t (genetic covariance of the traits)",
    2: "Sigma_E (variance of the trait x genotype x environment effects)",
    3: "R_e (residual covariance of the traits)",
    4: "the pair (C, R) of genetic and residual covariance over environments and traits",
    5: "the posterior precision of the environment means (beta)",
}


@compiled()
def sweep_gibbs(rng, p, s, w):
    """One sweep: (mu, beta, u) in one block, b1 and b2, the covariances, tau, imputation.

    R_e counts recorded plots only and the imputed ones are redrawn directly after (with only tau, which reads
    neither, between): (R_e, unseen plots) is one block. Every other step is a full conditional.
    """
    if not factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, w):
        return 4
    for inner in range(p.inner):
        if inner > 0 and not impute(rng, p, s, w):
            return 3
        if not draw_means_and_genetic(rng, p, s, w):
            return 5
        if len(p.cell_line) > 0:
            fill_fitted(p, s, w)
    if not split_effects(rng, p, s, w):
        return 1
    code = draw_genetic_covariances(rng, p, s, w)
    if code != 0:
        return code
    if not draw_residual(rng, p, s, w):
        return 3
    draw_mean_scales(rng, p, s)
    if not impute(rng, p, s, w):
        return 3
    return 0


@compiled()
def sweep_stepwise(rng, p, s, w):
    """The paper's separate steps A.1, A.4, A.5 in place of the block draw: slower to mix, for comparison."""
    if not factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, w):
        return 4
    for m in range(s.W.shape[0]):
        w.W2[m] = s.W[m] - s.W1[p.col_trait[m]]
    if not draw_means_given_effects(rng, p, s, w):
        return 5
    if not draw_main_given_interaction(rng, p, s, w):
        return 1
    if p.interaction and not draw_interaction_given_main(rng, p, s, w):
        return 1
    if len(p.cell_line) > 0:
        fill_fitted(p, s, w)
    code = draw_genetic_covariances(rng, p, s, w)
    if code != 0:
        return code
    if not draw_residual(rng, p, s, w):
        return 3
    draw_mean_scales(rng, p, s)
    if not impute(rng, p, s, w):
        return 3
    return 0


@compiled()
def sweep_collapsed(rng, p, s, w, h):
    """One sweep with covariances moved while (mu, beta, u) are integrated out and tau is held.

    Order: covariances -> (mu, beta, u) in one block -> b1, b2 -> tau -> imputation. Nothing that conditions on
    the effects stands between the first two. Imputed plots count as data of the covariances here.
    """
    if not move_covariances(rng, p, s, w, h):
        return 4
    draw_unseen_variances(rng, p, s)
    for inner in range(p.inner):
        if inner > 0 and not impute(rng, p, s, w):
            return 3
        if not draw_means_and_genetic(rng, p, s, w):
            return 5
        if len(p.cell_line) > 0:
            fill_fitted(p, s, w)
    if not split_effects(rng, p, s, w):
        return 1
    draw_mean_scales(rng, p, s)
    if not impute(rng, p, s, w):
        return 3
    return 0


@compiled()
def run_gibbs(rng, problem, state, work, start, stop, keep, draws):
    """Sweeps start .. stop - 1 of `sweep_gibbs`, written to their rows of the draws where `keep`.

    Returns the sweep that failed (or stop) and the code of the failure (or 0).
    """
    p, s, w, out = ProblemRecord(*problem), StateRecord(*state), WorkRecord(*work), DrawsRecord(*draws)
    complete_data(p, s, w)
    for t in range(start, stop):
        code = sweep_gibbs(rng, p, s, w)
        if code == 0 and keep:
            measure_likelihood(p, s, w)
            code = record_draw(rng, p, s, w, t, out)
        if code != 0:
            return t, code
    return stop, 0


@compiled()
def run_stepwise(rng, problem, state, work, start, stop, keep, draws):
    """The same for `sweep_stepwise`."""
    p, s, w, out = ProblemRecord(*problem), StateRecord(*state), WorkRecord(*work), DrawsRecord(*draws)
    complete_data(p, s, w)
    for t in range(start, stop):
        code = sweep_stepwise(rng, p, s, w)
        if code == 0 and keep:
            measure_likelihood(p, s, w)
            code = record_draw(rng, p, s, w, t, out)
        if code != 0:
            return t, code
    return stop, 0


@compiled()
def run_collapsed(rng, problem, state, work, walk, start, stop, keep, draws, trail):
    """The same for `sweep_collapsed`; `trail` (stop, q) gets the parameters of each sweep that is not kept."""
    p, s, w, out = ProblemRecord(*problem), StateRecord(*state), WorkRecord(*work), DrawsRecord(*draws)
    h = WalkRecord(*walk)
    complete_data(p, s, w)
    for t in range(start, stop):
        code = sweep_collapsed(rng, p, s, w, h)
        if code != 0:
            return t, code
        if keep:
            measure_likelihood(p, s, w)
            out.acceptance[t], out.step_size[t], out.diverging[t] = h.outcome
            code = record_draw(rng, p, s, w, t, out)
            if code != 0:
                return t, code
        else:
            trail[t] = h.theta
    return stop, 0


@compiled()
def measure_curvature(problem, state, work, walk, theta, out):
    """Minus the Hessian of the log density of the covariances at theta, by central differences of the gradient.

    False where the density is not defined nearby.
    """
    p, s, w, h = ProblemRecord(*problem), StateRecord(*state), WorkRecord(*work), WalkRecord(*walk)
    complete_data(p, s, w)
    prepare_mean_prior(p, s, w)
    sum_within(p, s, h)
    q = theta.shape[0]
    point = theta.copy()
    up = np.empty(q)
    down = np.empty(q)
    for a in range(q):
        point[a] = theta[a] + 1e-4
        good = evaluate(point, p, s, w, h, up) > -np.inf
        point[a] = theta[a] - 1e-4
        good = good and evaluate(point, p, s, w, h, down) > -np.inf
        point[a] = theta[a]
        if not good:
            return False
        for b in range(q):
            out[a, b] = (down[b] - up[b]) / 2e-4
    return True
