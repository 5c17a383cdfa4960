"""The blocks of a sweep: each draws one group of unknowns given the rest, from problem, state and workspace.

A step returns True, or False where a matrix was not positive definite; the sweep says which.
"""

from __future__ import annotations

import numpy as np

from bmtme.engines.rotated.failures import FINE, R_E, SIGMA_E, SIGMA_T
from bmtme.engines.rotated.joint_errors import call_draw_joint_values
from bmtme.engines.rotated.kernels.beta import (
    draw_beta,
    draw_mu,
    draw_paper_scale,
    draw_tau,
    fill_mean_prior,
    sum_mean_information,
)
from bmtme.engines.rotated.kernels.covariance import (
    draw_auxiliaries,
    draw_covariance,
    draw_environment_variances,
)
from bmtme.engines.rotated.kernels.genetic import fill_normals, shrink_column
from bmtme.engines.rotated.kernels.interaction import (
    draw_main,
    fill_split,
    subtract_main,
    sum_cross_products,
    trace_product,
)
from bmtme.engines.rotated.kernels.missing import average_cells, complete_cross_products, draw_cells, fill_regressions
from bmtme.engines.rotated.kernels.pair import factor_product, fill_residual, transform_back, transform_forward, whiten
from bmtme.engines.rotated.kernels.residual import exchange_cells, sum_log_density, sum_rotated_residuals
from bmtme.engines.rotated.known_errors import call_draw_true_values
from bmtme.engines.rotated.line_effect import add_line_covariance, add_line_rows, draw_line, subtract_line_rows
from bmtme.engines.rotated.state import ERRORS, JOINT, LINE, WHITEN
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_bool, call_int
from bmtme.linalg.rotation import copy_rows, count_stretch, rotate_back, rotate_forward, scale_rows
from bmtme.linalg.small import invert_spd
from bmtme.model.codes import DIAGONAL, EXCHANGEABLE, HALF_T, PAPER, SCALAR
from bmtme.structures.priors import draw_inverse_gamma, draw_variance_from_prior
from bmtme.structures.proportional import fill_proportional

#: `whiten` at its address.
call_whiten = call_apart(whiten, call_bool)


@compiled()
def factor_pair(p, Sigma_t, s2_E, R_e, Sigma_r, w):
    """Diagonalise the pair (C, R) that the paper's covariances make, with that of a line effect, if there is one."""
    if p.product:
        return factor_product(Sigma_t, s2_E, R_e, p.k, p.seen, w.pair)
    fill_proportional(Sigma_t, s2_E, p.col_env, p.col_trait, w.C)
    return factor_general(p, w.C, R_e, Sigma_r, w)


#: `factor_pair` at its address.
call_factor_pair = call_apart(factor_pair, call_bool)


@compiled(inline=True)
def factor_general(p, C, R_e, Sigma_r, w):
    """The same of any C (M, M) and blocks of R_e (B L, L)."""
    fill_residual(R_e, p.block, p.k, p.col_env, p.col_trait, w.R)
    if p.line_effect:
        add_line_covariance(p, Sigma_r, w.R)
    pair = w.pair
    return call_whiten(w.steps[WHITEN], (C, w.R, pair.lam, pair.T, pair.Ti, pair.V, pair.log_R))


#: `draw_line` at its address.
call_draw_line = call_apart(draw_line, call_bool)


@compiled()
def prepare_mean_prior(p, s, w):
    """P0 and P0 b0 for the current tau or s2_b, mu integrated out."""
    q = p.means
    fill_mean_prior(
        q.kind, p.col_trait, p.n_trait, q.mu_mean, q.mu_precision, s.tau2, s.s2_b[0], q.scale, q.centre, w.P0, w.P0b0
    )


@compiled()
def draw_means_and_genetic(rng, p, s, w):
    """(mu, beta, u) | covariances, tau, completed data: one block, and the line effect with it.

    `factor_pair` must be current.
    """
    M = s.Y.shape[0]
    transform_forward(s.Y, p.product, len(p.seen), w.pair, w.temporary, w.Z)
    for m in range(M):
        w.sxx[m], w.sxz[m] = sum_mean_information(w.Z[m], p.x, p.d, w.pair.lam[m], w.weight[m])
    prepare_mean_prior(p, s, w)
    if not draw_beta(rng, w.pair.T, w.sxx, w.sxz, w.P0, w.P0b0, s.beta):
        return False
    if p.means.kind == EXCHANGEABLE:
        draw_mu(rng, s.beta, p.col_trait, p.n_trait, p.means.mu_mean, p.means.mu_precision, s.tau2, s.mu)
    for c in range(M):
        t = 0.0
        for m in range(M):
            t += w.pair.T[m, c] * s.beta[m]
        w.tilde[c] = t
    if p.product:
        for m in range(M):
            fill_normals(rng, p.rank, w.noise)
            shrink_column(w.Z[m], p.x, p.root_d, w.pair.lam[m], w.weight[m], w.tilde[m], w.noise, p.rank)
    else:
        # Noise turned by V: the draw then does not depend on which eigenvectors a repeated eigenvalue got.
        for m in range(M):
            fill_normals(rng, p.rank, w.W2[m])
        np.dot(w.pair.V.T, w.W2, w.temporary)
        for m in range(M):
            shrink_column(w.Z[m], p.x, p.root_d, w.pair.lam[m], w.weight[m], w.tilde[m], w.temporary[m], p.rank)
    transform_back(w.Z, p.product, len(p.seen), w.pair, w.temporary, s.W)
    return call_draw_line(w.steps[LINE], (rng, p, s, w)) if p.line_effect else True


#: `draw_means_and_genetic` at its address.
call_draw_means_and_genetic = call_apart(draw_means_and_genetic, call_bool)


@compiled(inline=True)
def split_effects(rng, p, s, w):
    """(b1, b2) | u, by way of b1 | u; without an interaction b1 is u."""
    if not p.interaction:
        s.W1[:] = s.W
        return True
    if not fill_split(s.Sigma_t, s.s2_E, p.recorded, p.seen, p.col_env, p.col_trait, w.A, w.K):
        return False
    draw_main(rng, s.W, w.A, w.K, p.rank, w.noise, s.W1)
    subtract_main(s.W, s.W1, p.col_trait, w.W2)
    return True


@compiled()
def scale_effects(p, s, w, i):
    """sqrt(d) w, and a line effect beside it, of one environment's columns into w.temporary."""
    scale_rows(s.W, p.env_first[i], p.env_width[i], p.root_d, p.rank, w.temporary)
    if p.line_effect:
        add_line_rows(p, s, i, w.temporary)


@compiled()
def fit_cells(p, s, w, i, start, stop):
    """beta + u of touched cells of one environment, in the original space; `scale_effects` must be current."""
    first, width = p.env_first[i], p.env_width[i]
    if p.rotated:
        rotate_back(p.U, p.cell_line, start, stop, w.temporary, first, width, w.fitted)
    fitted, scaled, beta, lines, roots, rotated = w.fitted, w.temporary, s.beta, p.cell_line, p.cell_root, p.rotated
    for c in range(start, stop):
        for a in range(width):
            u = fitted[c, a] if rotated else scaled[first + a, lines[c]]
            fitted[c, a] = beta[first + a] + u / roots[c]


@compiled()
def fill_fitted(p, s, w):
    """beta + u of all touched cells."""
    for i in p.seen:
        if p.cell_offset[i] < p.cell_offset[i + 1]:
            scale_effects(p, s, w, i)
            fit_cells(p, s, w, i, p.cell_offset[i], p.cell_offset[i + 1])


@compiled(inline=True)
def fill_cell(p, s, c, mean):
    """Completed mean of touched cell c over its k_i c_j plots, seen and imputed."""
    L = p.n_trait
    plots = p.cell_count[c] + p.cell_pad[c] + p.cell_parts[c]
    for l in range(L):
        t = p.cell_pad[c] * s.pad[c, l]
        if p.cell_count[c] > 0.0:
            t += p.cell_count[c] * s.cell_mean[c, l]
        for q in range(p.part_offset[c], p.part_offset[c + 1]):
            t += p.part_plots[q] * s.part[q, l]
        mean[l] = t / plots
    return plots


@compiled()
def add_cells(p, s, w, i, start, stop):
    """Add touched cells of one environment, as completed, to Y."""
    first, width = p.env_first[i], p.env_width[i]
    average_cells(
        start, stop, p.col_trait[first : first + width], p.cell_count, s.cell_mean, p.cell_pad, s.pad, p.cell_parts,
        p.part_offset, p.part_plots, s.part, p.cell_root, w.cell_y,
    )  # fmt: skip
    if p.rotated:
        rotate_forward(p.U, p.cell_line, start, stop, w.cell_y, s.Y, first, width)
    else:
        for c in range(start, stop):
            for a in range(width):
                s.Y[first + a, p.cell_line[c]] += w.cell_y[c, a]


@compiled()
def complete_data(p, s, w):
    """Rotate the completed touched cells into Y."""
    for i in p.seen:
        if p.cell_offset[i] < p.cell_offset[i + 1]:
            copy_rows(s.fixed, p.env_first[i], p.env_width[i], s.Y)
            add_cells(p, s, w, i, p.cell_offset[i], p.cell_offset[i + 1])


@compiled(inline=True)
def impute(rng, p, s, w, known):
    """Unseen plots and missing traits | beta, u, R_e, and Y with them; true values of records with known errors.

    known : whether `fill_fitted` is current; otherwise it is done on the way, some cells at a time, so that the
        eigenvectors are read from memory once
    """
    if len(p.cell_line) == 0:
        return True
    if not fill_regressions(s.R_e, p.patterns, p.pattern_block, w.B, w.Kp):
        return False
    step = p.cell_line.shape[0] if p.joint else count_stretch(p.d.shape[0])
    for i in p.seen:
        if p.cell_offset[i] == p.cell_offset[i + 1]:
            continue
        first, width = p.env_first[i], p.env_width[i]
        copy_rows(s.fixed, first, width, s.Y)
        if not known:
            scale_effects(p, s, w, i)
        for start in range(p.cell_offset[i], p.cell_offset[i + 1], step):
            stop = min(start + step, p.cell_offset[i + 1])
            if not known:
                fit_cells(p, s, w, i, start, stop)
            if p.joint and not call_draw_joint_values(w.steps[JOINT], (rng, p, s, w, i)):
                return False
            draw_cells(
                rng, start, stop, p.col_trait[first : first + width], w.fitted, p.patterns, w.B, w.Kp, p.cell_pad,
                p.cell_pattern, p.part_offset, p.part_pattern, p.part_plots, s.pad, s.part,
            )  # fmt: skip
            if p.known and not p.joint and not call_draw_true_values(w.steps[ERRORS], (rng, p, s, w, i, start, stop)):
                return False
            add_cells(p, s, w, i, start, stop)
    return True


@compiled()
def sum_residuals(p, s, w, i, out):
    """Cross-products of the records' residuals in one environment, by their plots, into (L, L) `out`."""
    first, width = p.env_first[i], p.env_width[i]
    traits = p.col_trait[first : first + width]
    Y = s.Y
    if p.line_effect:
        subtract_line_rows(p, s, i, w.Z)
        Y = w.Z
    sum_rotated_residuals(Y, s.W, p.x, p.root_d, s.beta, first, traits, p.k[i], w.temporary[first : first + width], out)
    exchange_cells(
        p.cell_offset[i], p.cell_offset[i + 1], traits, w.fitted, p.cell_count, s.cell_mean, p.cell_pad, s.pad,
        p.cell_parts, p.part_offset, p.part_plots, s.part, out,
    )  # fmt: skip
    for a in traits:
        for b in traits:
            out[a, b] += s.within[i, a, b]


@compiled(inline=True)
def measure_completed_density(p, s, w):
    """Log density of the records given means, effects and R_e; `fill_fitted` must be current.

    Missing traits of partly seen records count with their imputed values: a trace to look at, not for WAIC or LOO.
    """
    s.completed_log_density[0] = 0.0
    one = np.empty((p.n_trait, p.n_trait))
    for i in p.seen:
        sum_residuals(p, s, w, i, one)
        first = p.block[i] * p.n_trait
        R_e = s.R_e[first : first + p.n_trait]
        s.completed_log_density[0] += sum_log_density(one, p.n_recorded[i], p.recorded[i], R_e)
        s.completed_log_density[0] += 0.5 * p.env_width[i] * p.log_plots[i]


@compiled(inline=True)
def draw_residual(rng, p, s, w):
    """R_e | residuals of the records (A.10), and its auxiliaries (A.11)."""
    w.scatter_e[:] = 0.0
    n = 0.0
    one = np.empty((p.n_trait, p.n_trait))
    for i in p.seen:
        sum_residuals(p, s, w, i, one)
        if not complete_cross_products(rng, int(p.n_recorded[i]), p.recorded[i], s.R_e, one):
            return False
        w.scatter_e[:] += one
        n += p.n_recorded[i]
    if not draw_covariance(rng, w.scatter_e, n, p.residual.prior, s.aux_e, s.R_e):
        return False
    return draw_auxiliaries(rng, s.R_e, p.residual.prior, s.aux_e)


@compiled(inline=True)
def draw_genetic_covariances(rng, p, s, w):
    """Sigma_t (A.6, A.7), then Sigma_E (A.8, A.9) | b1, b2. Returns 0, or 1 / 2 for the matrix that failed.

    Absent traits of b2 are drawn (as cross-products) given the recorded ones first, so that degrees of
    freedom are full: r rows for b1 and r for each environment with a record.
    """
    L = p.n_trait
    sum_cross_products(s.W1, np.arange(L), p.rank, w.scatter_1)
    n = float(p.rank)
    if p.interaction:
        for i in p.seen:
            first, width = p.env_first[i], p.env_width[i]
            traits = p.col_trait[first : first + width]
            sum_cross_products(w.W2[first : first + width], traits, p.rank, w.scatter_2[i])
            S = w.scatter_2[i]
            for a in traits:
                for b in traits:
                    S[a, b] /= s.s2_E[i]
            if not complete_cross_products(rng, p.rank, p.recorded[i], s.Sigma_t, S):
                return SIGMA_T
            w.scatter_1[:] += S
            S *= s.s2_E[i]
            n += p.rank
    if not draw_covariance(rng, w.scatter_1, n, p.genetic.prior, s.aux_t, s.Sigma_t):
        return SIGMA_T
    if not draw_auxiliaries(rng, s.Sigma_t, p.genetic.prior, s.aux_t):
        return SIGMA_T
    if p.interaction:
        Ti = np.empty((L, L))
        squares = np.zeros(p.n_env)
        if not invert_spd(s.Sigma_t, Ti):
            return SIGMA_T
        for i in p.seen:
            squares[i] = trace_product(Ti, w.scatter_2[i])
        if not draw_environment_variances(
            rng, squares, float(p.rank * L), p.is_seen, p.genetic.prior_env, s.aux_E, s.s2_E
        ):
            return SIGMA_E
    return FINE


@compiled()
def draw_covariances(rng, p, s, w, stale):
    """Covariances given the effects, which are split; afterwards `fill_fitted` is current. Returns 0 or a code.

    stale : whether the covariances were moved without their auxiliaries
    """
    fill_fitted(p, s, w)
    if stale and not draw_all_auxiliaries(rng, p, s):
        return SIGMA_T
    code = draw_genetic_covariances(rng, p, s, w)
    if code != FINE:
        return code
    return FINE if draw_residual(rng, p, s, w) else R_E


#: `draw_covariances` at its address.
call_draw_covariances = call_apart(draw_covariances, call_int)


@compiled(inline=True)
def draw_all_auxiliaries(rng, p, s):
    """Auxiliaries of the half-t priors | covariances (A.7, A.9, A.11), for covariances that were moved without them."""
    if not draw_auxiliaries(rng, s.Sigma_t, p.genetic.prior, s.aux_t) or not draw_auxiliaries(
        rng, s.R_e, p.residual.prior, s.aux_e
    ):
        return False
    if p.interaction and p.genetic.prior_env.family == HALF_T:
        for i in p.seen[: 1 if p.genetic.prior_env.shape == SCALAR else p.seen.shape[0]]:
            k = 0 if p.genetic.prior_env.shape == SCALAR else i
            rate = p.genetic.prior_env.nu / s.s2_E[i] + 1.0 / p.genetic.prior_env.scale[k] ** 2
            s.aux_E[k] = draw_inverse_gamma(rng, 0.5 * (p.genetic.prior_env.nu + 1.0), rate)
    return True


@compiled(inline=True)
def draw_unseen_variances(rng, p, s):
    """Sigma_E of environments without any record, from the prior (entries of one shared variance excepted)."""
    if p.interaction and p.genetic.prior_env.shape == DIAGONAL:
        for i in range(p.n_env):
            if not p.is_seen[i]:
                s.s2_E[i] = draw_variance_from_prior(rng, p.genetic.prior_env, i)


@compiled(inline=True)
def draw_mean_scales(rng, p, s):
    """tau | beta, mu, or the paper's s2_b | beta."""
    q = p.means
    if q.kind == EXCHANGEABLE:
        draw_tau(rng, s.beta, s.mu, p.col_trait, p.n_trait, q.tau_nu, q.tau_scale, s.tau2, s.aux_tau)
    elif q.kind == PAPER:
        draw_paper_scale(rng, s.beta, p.col_trait, q.scale, q.centre, q.s2_nu, q.s2_scale, s.s2_b, s.aux_b)
