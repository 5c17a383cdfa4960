"""Slopes of covariates, drawn together with means and effects: means and effects integrated out.

The completed data less all effects of factors are y_j = x_j beta + X_j delta + sqrt(d_j) w_j + e_j, delta the change of
the slopes and X_j (M, Q) the rows of `Factors.design`, each in the columns of its trait. With z_j = T' y_j, D_j =
diag(1 / (1 + d_j lam)) and the prior precision P0 of beta (mu integrated out),

    H = T diag(sum x_j^2 D_j) T' + P0,   B = T sum x_j D_j T' X_j,   A = sum (T' X_j)' D_j T' X_j + A_w,
    delta ~ N(S^-1 r, S^-1),   S = A - B' H^-1 B,   r = h_g + h_w - B' H^-1 h_b,

h_b and h_g the linear terms of z. A_w and h_w are those of plots around the mean of their cell: with x_n (L, Q) of a
plot, sum_n x_n' R^-1 x_n and sum_n x_n' R^-1 y_n, less the same of the cells' means (a record counts as many times as
the plots of which it is the mean). What is imputed stays the same
less the effects, and x_n is zero for a trait that a plot lacks: so nothing imputed depends on a slope.
"""

from __future__ import annotations

import numpy as np

from bmtme.engines.rotated.factor_effects import adjust_data
from bmtme.engines.rotated.kernels.beta import sum_mean_information
from bmtme.engines.rotated.kernels.genetic import invert_observed
from bmtme.engines.rotated.kernels.interaction import add_row
from bmtme.engines.rotated.kernels.pair import transform_forward
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_bool
from bmtme.linalg.small import factor_cholesky, solve_lower, solve_lower_transposed
from bmtme.model.codes import OBSERVED


@compiled()
def draw_slopes(rng, p, s, w):
    """Slopes | covariances, completed data, other effects; Y and the data of the chain follow.

    The pair and the prior of the means must be current, and at once means and effects are to be redrawn. False where
    nothing tells a slope.
    """
    x = p.factors
    M, J = s.Y.shape
    C, L = x.slopes.shape[0], p.n_trait
    Q = C * L
    gamma, S, r = np.zeros(Q), np.zeros((Q, Q)), np.zeros(Q)
    read_slopes(p, s, gamma)
    if not add_plots(p, s, S, r):
        return False
    X = np.zeros((Q, M, J))
    for c in range(C):
        for m in range(M):
            for a in range(M):
                add_row(w.pair.T[m, a], x.design[c, m], X[c * L + p.col_trait[m], a])
    transform_forward(s.Y, p.product, len(p.seen), w.pair, w.temporary, w.Z)
    for a in range(M):
        w.sxx[a], w.sxz[a] = sum_mean_information(w.Z[a], p.x, p.d, w.pair.lam[a], w.weight[a])
    H, K = np.empty((M, M)), np.empty((M, M))
    B, h = np.zeros((Q, M)), np.empty(M)
    for m in range(M):
        h[m] = w.P0b0[m]
        for a in range(M):
            h[m] += w.pair.T[m, a] * w.sxz[a]
            H[m, a] = w.P0[m, a]
            for b in range(M):
                H[m, a] += w.pair.T[m, b] * w.sxx[b] * w.pair.T[a, b]
    if not factor_cholesky(H, K):
        return False
    solve_lower(K, h)
    for q in range(Q):
        r[q] -= x.precision[x.slopes[q // L]] * gamma[q]
        for a in range(M):
            t = 0.0
            for j in range(J):
                weighted = w.weight[a, j] * X[q, a, j]
                t += p.x[j] * weighted
                r[q] += weighted * w.Z[a, j]
            for m in range(M):
                B[q, m] += w.pair.T[m, a] * t
        solve_lower(K, B[q])
        for m in range(M):
            r[q] -= B[q, m] * h[m]
    for q in range(Q):
        S[q, q] += x.precision[x.slopes[q // L]]
        for g in range(q + 1):
            t = 0.0
            for a in range(M):
                for j in range(J):
                    t += w.weight[a, j] * X[q, a, j] * X[g, a, j]
                t -= B[q, a] * B[g, a]
            S[q, g] += t
            S[g, q] = S[q, g]
    F = np.empty((Q, Q))
    if not factor_cholesky(S, F):
        return False
    solve_lower(F, r)
    for q in range(Q):
        r[q] += rng.standard_normal()
    solve_lower_transposed(F, r)
    for m in range(M):
        for c in range(C):
            add_row(-r[c * L + p.col_trait[m]], x.design[c, m], s.Y[m])
    for q in range(Q):
        gamma[q] += r[q]
    write_slopes(p, s, gamma)
    adjust_data(p, s)
    return True


@compiled()
def add_plots(p, s, S, r):
    """A_w and h_w into S (Q, Q) and r (Q,); False where R_e fails."""
    x = p.factors
    C, L = x.slopes.shape[0], p.n_trait
    Ri, sums, own = np.empty((L, L)), np.empty((L, L)), np.empty(L)
    for i in p.seen:
        first, width = p.env_first[i], p.env_width[i]
        if not invert_observed(s.R_e[p.block[i] * L : (p.block[i] + 1) * L], p.recorded[i], Ri):
            return False
        start, stop = x.first[i], x.first[i + 1]
        for k in range(start, stop):
            if not x.slope[x.factor[k]]:
                continue
            c = np.searchsorted(x.slopes, x.factor[k])
            # sum_n x_n y_n of the plots that have trait l, in row l.
            row = x.table[i] + (k - start) * (stop - start) - start
            for b in range(width):
                g = p.col_trait[first + b]
                own[g] = x.total[k, g]
                for q in range(start, stop):
                    own[g] -= x.together[row + q] * s.level_effects[q, g]
            for a in range(width):
                l = p.col_trait[first + a]
                for b in range(width):
                    g = p.col_trait[first + b]
                    d = 0.0
                    for j in range(s.Y.shape[1]):
                        d += x.design[c, first + a, j] * s.Y[first + b, j]
                    sums[l, g] = own[g] - p.k[i] * d
            for q in range(p.part_offset[p.cell_offset[i]], p.part_offset[p.cell_offset[i + 1]]):
                mark = p.part_plots[q] * x.part_mark[q, x.factor[k]]
                for a in range(width):
                    l = p.col_trait[first + a]
                    if p.patterns[p.part_pattern[q], l] == OBSERVED:
                        for b in range(width):
                            sums[l, p.col_trait[first + b]] += mark * s.part[q, p.col_trait[first + b]]
            for a in range(width):
                l = p.col_trait[first + a]
                for b in range(width):
                    g = p.col_trait[first + b]
                    r[c * L + l] += Ri[l, g] * sums[l, g]
                    for e in range(C):
                        S[c * L + l, e * L + g] += Ri[l, g] * x.around_means[i * C * L + c * L + l, e * L + g]
    return True


@compiled()
def read_slopes(p, s, gamma):
    """(Q,) slopes, covariate by covariate, of the levels that have them."""
    x = p.factors
    for k in range(s.level_effects.shape[0]):
        if x.slope[x.factor[k]]:
            c = np.searchsorted(x.slopes, x.factor[k])
            for l in range(p.n_trait):
                if x.active[k, l]:
                    gamma[c * p.n_trait + l] = s.level_effects[k, l]


@compiled()
def write_slopes(p, s, gamma):
    """These slopes to all levels of their covariates."""
    x = p.factors
    for k in range(s.level_effects.shape[0]):
        if x.slope[x.factor[k]]:
            c = np.searchsorted(x.slopes, x.factor[k])
            for l in range(p.n_trait):
                s.level_effects[k, l] = gamma[c * p.n_trait + l] if x.active[k, l] else 0.0


#: `draw_slopes` at its address.
call_draw_slopes = call_apart(draw_slopes, call_bool)
