"""The paper's separate steps for means and effects (A.1, A.4, A.5), and a sweep made of them.

Slower to mix than the block draw, and the same posterior: there to be compared with.
"""

from __future__ import annotations

import numpy as np

from bmtme.engines.rotated.draws import call_record_draw
from bmtme.engines.rotated.factor_effects import call_refill
from bmtme.engines.rotated.failures import FINE, MEANS, PAIR, R_E, SIGMA_T
from bmtme.engines.rotated.kernels.beta import draw_beta_given_effects, draw_mu
from bmtme.engines.rotated.kernels.genetic import draw_effect, invert_observed
from bmtme.engines.rotated.state import COVARIANCES, FACTOR, RECORD, REFILL
from bmtme.engines.rotated.steps import (
    call_draw_covariances,
    call_factor_pair,
    complete_data,
    draw_mean_scales,
    measure_completed_density,
    prepare_mean_prior,
)
from bmtme.linalg.compile import compiled
from bmtme.model.codes import EXCHANGEABLE


@compiled()
def draw_means_given_effects(rng, p, s, w):
    """beta | b1, b2 (A.1), then mu | beta: the paper's separate step."""
    prepare_mean_prior(p, s, w)
    if not draw_beta_given_effects(rng, s.Y, s.W, p.x, p.root_d, w.pair.T, w.P0, w.P0b0, s.beta):
        return False
    if p.means.kind == EXCHANGEABLE:
        draw_mu(rng, s.beta, p.col_trait, p.n_trait, p.means.mu_mean, p.means.mu_precision, s.tau2, s.mu)
    return True


@compiled()
def draw_main_given_interaction(rng, p, s, w):
    """b1 | beta, b2 (A.4); w.W2 must be current."""
    L, J = p.n_trait, p.d.shape[0]
    P = np.zeros((L, L))
    B = np.zeros((L, J))
    Ri = np.empty((L, L))
    for i in p.seen:
        if not invert_observed(s.R_e, p.recorded[i], Ri):
            return False
        P += p.k[i] * Ri
        add_weighted_residuals(p, s, w.W2, i, Ri, B)
    if not draw_effect(rng, s.Sigma_t, P, B, p.d, p.root_d, p.rank, s.W1):
        return False
    for m in range(s.W.shape[0]):
        s.W[m] = s.W1[p.col_trait[m]] + w.W2[m]
    return True


@compiled()
def add_weighted_residuals(p, s, effect, i, Ri, B):
    """B += k_i R_i^-1 (y - x beta - sqrt(d) effect) over an environment's columns."""
    first = p.env_first[i]
    for a in range(p.env_width[i]):
        m = first + a
        e = s.Y[m] - p.x * s.beta[m] - p.root_d * effect[m]
        for l in range(p.n_trait):
            B[l] += p.k[i] * Ri[l, p.col_trait[m]] * e


@compiled()
def draw_interaction_given_main(rng, p, s, w):
    """Each b2_i | beta, b1 (A.5), over its recorded traits."""
    L, J = p.n_trait, p.d.shape[0]
    Ri = np.empty((L, L))
    for i in p.seen:
        first, width = p.env_first[i], p.env_width[i]
        traits = p.col_trait[first : first + width]
        if not invert_observed(s.R_e, p.recorded[i], Ri):
            return False
        main = np.empty((s.W.shape[0], J))
        for m in range(s.W.shape[0]):
            main[m] = s.W1[p.col_trait[m]]
        B = np.zeros((L, J))
        add_weighted_residuals(p, s, main, i, Ri, B)
        Sigma = np.empty((width, width))
        P = np.empty((width, width))
        Bi = np.empty((width, J))
        for a in range(width):
            Bi[a] = B[traits[a]]
            for b in range(width):
                Sigma[a, b] = s.s2_E[i] * s.Sigma_t[traits[a], traits[b]]
                P[a, b] = p.k[i] * Ri[traits[a], traits[b]]
        if not draw_effect(rng, Sigma, P, Bi, p.d, p.root_d, p.rank, w.W2[first : first + width]):
            return False
        for m in range(first, first + width):
            s.W[m] = s.W1[p.col_trait[m]] + w.W2[m]
    return True


@compiled()
def sweep_stepwise(rng, p, s, w):
    """The paper's separate steps A.1, A.4, A.5 in place of the block draw: slower to mix, for comparison."""
    if not call_factor_pair(w.steps[FACTOR], (p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)):
        return PAIR
    for m in range(s.W.shape[0]):
        w.W2[m] = s.W[m] - s.W1[p.col_trait[m]]
    if not draw_means_given_effects(rng, p, s, w):
        return MEANS
    if not draw_main_given_interaction(rng, p, s, w):
        return SIGMA_T
    if p.interaction and not draw_interaction_given_main(rng, p, s, w):
        return SIGMA_T
    code = call_draw_covariances(w.steps[COVARIANCES], (rng, p, s, w, False))
    if code != FINE:
        return code
    draw_mean_scales(rng, p, s)
    if not call_refill(w.steps[REFILL], (rng, p, s, w, True)):
        return R_E
    return FINE


@compiled()
def run_stepwise(rng, p, s, w, start, stop, keep, out):
    """`run_sweeps` for `sweep_stepwise`, compiled only where it is asked for."""
    complete_data(p, s, w)
    for t in range(start, stop):
        code = sweep_stepwise(rng, p, s, w)
        if code == FINE and keep:
            measure_completed_density(p, s, w)
            code = call_record_draw(w.steps[RECORD], (rng, p, s, w, np.empty(0), t, out))
        if code != FINE:
            return t, code
    return stop, FINE
