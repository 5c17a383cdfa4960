"""Draws of the effects of factors of records, given means, line effects and R_e: what is imputed is integrated out.

With P_n = R_oo^-1 over the traits seen of record n, and e_n what means, line effects and other factors leave of it,

b_k | e ~ N((A_k + P0)^-1 h_k, (A_k + P0)^-1),  A_k = sum_n P_n,  h_k = sum_n P_n e_n  (n of level k).

P_n is as many times that of a plot as the record is a mean of.

**Fixed** effects (P0 = 0) sum to zero over the levels of an environment. With V_k = A_k^-1, V = sum_k V_k and free
draws b~_k, the draw under that condition is b_k = b~_k - V_k V^-1 sum_k b~_k.

**Random** effects are b_kl = s_l eta_kl, eta standard normal, s_l half-t. Three moves, as each alone mixes slowly: s_l
given b; s given eta, a normal draw, as s_l ~ N(0, A_l^2 g), g ~ IG(nu/2, nu/2), of either sign (Yu & Meng 2011, JCGS
20:531-570, interweave the two); and a shift between all effects of an environment and its mean.

Afterwards the data of the chain are the records less the effects (`adjust_data`), and what is imputed is to be
redrawn at once: effects and imputed values are one block.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.engines.rotated.kernels.genetic import invert_observed
from bmtme.engines.rotated.state import LEVELS
from bmtme.engines.rotated.steps import fill_fitted, impute, scale_effects
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_bool
from bmtme.linalg.rotation import copy_rows
from bmtme.linalg.small import factor_cholesky, invert_factored, solve_lower, solve_lower_transposed
from bmtme.model.codes import EXCHANGEABLE, OBSERVED, PAPER
from bmtme.structures.priors import draw_inverse_gamma


@compiled()
def draw_factors(rng, p, s, w):
    """The effects of each factor given those of the others, but for slopes of covariates (`slopes`).

    `fill_fitted` must be current, and stays so.
    """
    K, L = s.level_effects.shape
    A, h = np.empty((K, L, L)), np.empty((K, L))
    for f in range(p.factors.random.shape[0]):
        if p.factors.slope[f]:
            continue
        if not sum_level_information(p, s, w, f, A, h):
            return False
        if p.factors.random[f]:
            if not draw_random(rng, p, s, f, A, h):
                return False
            draw_sd_given_effects(rng, p, s, f)
            if not draw_sd_given_standard(rng, p, s, f, A, h):
                return False
            shift_means(rng, p, s, w, f)
        elif not draw_fixed(rng, p, s, f, A, h):
            return False
    adjust_data(p, s)
    return True


@compiled()
def sum_level_information(p, s, w, f, A, h):
    """A (K, L, L) and h (K, L) of the levels of factor f; False where R_e fails."""
    x = p.factors
    L = p.n_trait
    A[:] = 0.0
    h[:] = 0.0
    Ri, e = np.empty((L, L)), np.empty(L)
    P = np.empty((p.patterns.shape[0], L, L))
    for t in range(p.patterns.shape[0]):
        first = p.pattern_block[t] * L
        if not invert_observed(s.R_e[first : first + L], p.patterns[t] == OBSERVED, P[t]):
            return False
    for i in p.seen:
        start, stop = x.first[i], x.first[i + 1]
        if start == stop:
            continue
        first, width = p.env_first[i], p.env_width[i]
        if not invert_observed(s.R_e[p.block[i] * L : (p.block[i] + 1) * L], p.recorded[i], Ri):
            return False
        scale_effects(p, s, w, i)
        K = stop - start
        together = x.together[x.table[i] : x.table[i] + K * K].reshape((K, K))
        others = s.level_effects[start:stop].copy()
        for k in range(K):
            if x.factor[start + k] == f:
                others[k] = 0.0
        others = np.dot(together, others)
        effects = np.dot(x.plots[start:stop], w.temporary[first : first + width].T)
        for k in range(start, stop):
            if x.factor[k] != f:
                continue
            n = together[k - start, k - start]
            e[:] = 0.0
            for a in range(width):
                l = p.col_trait[first + a]
                t = x.total[k, l] - n * s.beta[first + a]
                e[l] = t - effects[k - start, a] - others[k - start, l]
            add_information(n, Ri, e, A[k], h[k])
        for c in range(p.cell_offset[i], p.cell_offset[i + 1]):
            for q in range(p.part_offset[c], p.part_offset[c + 1]):
                k = x.part_level[q, f]
                if k < 0:
                    continue
                e[:] = 0.0
                for a in range(width):
                    l = p.col_trait[first + a]
                    if p.patterns[p.part_pattern[q], l] == OBSERVED:
                        e[l] = p.part_values[q, l] - w.fitted[c, a]
                        for g in range(x.part_level.shape[1]):
                            if g != f and x.part_level[q, g] >= 0:
                                e[l] -= x.part_mark[q, g] * s.level_effects[x.part_level[q, g], l]
                e *= p.part_plots[q]
                add_information(p.part_plots[q], P[p.part_pattern[q]], e, A[k], h[k])
    return True


@compiled()
def add_information(n, P, e, A, h):
    """A += n P, h += P e, e the sum over n plots."""
    for a in range(e.shape[0]):
        for b in range(e.shape[0]):
            A[a, b] += n * P[a, b]
            h[a] += P[a, b] * e[b]


@compiled()
def draw_active(rng, A, h, active, V, out):
    """N(V h, V) into `out`, V = A^-1 on the rows and columns marked in `active`, zero elsewhere."""
    L = active.shape[0]
    n = 0
    index = np.empty(L, np.int64)
    for l in range(L):
        out[l] = 0.0
        if active[l]:
            index[n] = l
            n += 1
    V[:] = 0.0
    B, K, inverse, x = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty(n)
    for a in range(n):
        x[a] = h[index[a]]
        for b in range(n):
            B[a, b] = A[index[a], index[b]]
    if not factor_cholesky(B, K):
        return False
    invert_factored(K, inverse)
    solve_lower(K, x)
    for a in range(n):
        x[a] += rng.standard_normal()
    solve_lower_transposed(K, x)
    for a in range(n):
        out[index[a]] = x[a]
        for b in range(n):
            V[index[a], index[b]] = inverse[a, b]
    return True


@compiled()
def draw_fixed(rng, p, s, f, A, h):
    """Fixed effects of factor f, summing to zero in every environment; A is used up."""
    x = p.factors
    L = p.n_trait
    Vi, V = np.empty((L, L)), np.empty((L, L))
    for i in p.seen:
        sum_V, sum_b, t = np.zeros((L, L)), np.zeros(L), np.zeros(L)
        there = np.zeros(L, np.bool_)
        for k in range(x.first[i], x.first[i + 1]):
            if x.factor[k] != f:
                continue
            for l in range(L):
                A[k, l, l] += x.precision[f]
            if not draw_active(rng, A[k], h[k], x.active[k], V, s.level_effects[k]):
                return False
            for l in range(L):
                there[l] = there[l] or x.active[k, l]
                sum_b[l] += s.level_effects[k, l]
                for q in range(L):
                    A[k, l, q] = V[l, q]
                    sum_V[l, q] += V[l, q]
        if not invert_observed(sum_V, there, Vi):
            return False
        for l in range(L):
            for q in range(L):
                t[l] += Vi[l, q] * sum_b[q]
        for k in range(x.first[i], x.first[i + 1]):
            if x.factor[k] == f:
                for l in range(L):
                    for q in range(L):
                        s.level_effects[k, l] -= A[k, l, q] * t[q]
    return True


@compiled()
def draw_random(rng, p, s, f, A, h):
    """Random effects of factor f given their standard deviations, however small these are."""
    x = p.factors
    K, L = s.level_effects.shape
    sd = s.level_sd[f]
    S, V, one = np.empty((L, L)), np.empty((L, L)), np.empty(L)
    for k in range(K):
        if x.factor[k] != f:
            continue
        for l in range(L):
            one[l] = sd[l] * h[k, l]
            for q in range(L):
                S[l, q] = sd[l] * A[k, l, q] * sd[q] + (1.0 if l == q else 0.0)
        if not draw_active(rng, S, one, x.active[k], V, s.level_effects[k]):
            return False
        for l in range(L):
            s.level_effects[k, l] *= sd[l]
    return True


@compiled()
def draw_sd_given_effects(rng, p, s, f):
    """s_l^2 | b ~ IG((nu + n) / 2, nu / a + sum b^2 / 2) with a ~ IG((nu + 1) / 2, nu / s_l^2 + 1 / A_l^2)."""
    x = p.factors
    for l in range(p.n_trait):
        n, squares = 0, 0.0
        for k in range(s.level_effects.shape[0]):
            if x.factor[k] == f and x.active[k, l]:
                n += 1
                squares += s.level_effects[k, l] ** 2
        rate = x.nu / s.level_sd[f, l] ** 2 + 1.0 / x.scale[f, l] ** 2
        a = draw_inverse_gamma(rng, 0.5 * (x.nu + 1.0), rate)
        s.level_sd[f, l] = math.sqrt(draw_inverse_gamma(rng, 0.5 * (x.nu + n), x.nu / a + 0.5 * squares))


@compiled()
def draw_sd_given_standard(rng, p, s, f, A, h):
    """s | eta = b / s, which moves b along: N(Q^-1 c, Q^-1), Q = diag(1 / (A_l^2 g_l)) + sum_k (eta_k eta_k') o A_k."""
    x = p.factors
    K, L = s.level_effects.shape
    sd, b = s.level_sd[f], s.level_effects
    Q, V, c = np.zeros((L, L)), np.empty((L, L)), np.zeros(L)
    for l in range(L):
        rate = 0.5 * (x.nu + (sd[l] / x.scale[f, l]) ** 2)
        Q[l, l] = 1.0 / (x.scale[f, l] ** 2 * draw_inverse_gamma(rng, 0.5 * (x.nu + 1.0), rate))
    for k in range(K):
        if x.factor[k] == f:
            for l in range(L):
                b[k, l] /= sd[l]
            for l in range(L):
                c[l] += b[k, l] * h[k, l]
                for q in range(L):
                    Q[l, q] += b[k, l] * A[k, l, q] * b[k, q]
    if not draw_active(rng, Q, c, np.ones(L, np.bool_), V, sd):
        return False
    for k in range(K):
        if x.factor[k] == f:
            for l in range(L):
                b[k, l] *= sd[l]
    for l in range(L):
        sd[l] = abs(sd[l])
    return True


@compiled()
def shift_means(rng, p, s, w, f):
    """Move what all effects of an environment have in common between them and its mean, which leaves the data alone.

    With n effects b_k ~ N(0, s^2) and beta ~ N(m, 1/q): b_k + t and beta - t, t ~ N((q (beta - m) - sum b / s^2) / P,
    1 / P), P = n / s^2 + q.
    """
    x = p.factors
    q = p.means
    for i in p.seen:
        for a in range(p.env_width[i]):
            m = p.env_first[i] + a
            l = p.col_trait[m]
            n, total = 0, 0.0
            for k in range(x.first[i], x.first[i + 1]):
                if x.factor[k] == f and x.active[k, l]:
                    n += 1
                    total += s.level_effects[k, l]
            if n == 0:
                continue
            centre, precision = 0.0, 0.0
            if q.kind == EXCHANGEABLE:
                centre, precision = s.mu[l], 1.0 / s.tau2[l]
            elif q.kind == PAPER:
                centre, precision = -q.centre[l] / q.scale[l], q.scale[l] ** 2 / s.s2_b[0]
            inverse = 1.0 / s.level_sd[f, l] ** 2
            P = n * inverse + precision
            t = (precision * (s.beta[m] - centre) - total * inverse) / P + rng.standard_normal() / math.sqrt(P)
            s.beta[m] -= t
            for k in range(x.first[i], x.first[i + 1]):
                if x.factor[k] == f and x.active[k, l]:
                    s.level_effects[k, l] += t
            for c in range(p.cell_offset[i], p.cell_offset[i + 1]):
                w.fitted[c, a] -= t


@compiled()
def adjust_data(p, s):
    """The records less the effects of their levels, into the data of the chain.

    Cross-products within cells are sum (y - b - mean)(y - b - mean)', a polynomial of the effects.
    """
    x = p.factors
    b = s.level_effects
    for i in p.seen:
        start, stop = x.first[i], x.first[i + 1]
        if start == stop:
            continue
        first, width = p.env_first[i], p.env_width[i]
        copy_rows(p.fixed, first, width, s.fixed)
        for m in range(first, first + width):
            for k in range(start, stop):
                t = b[k, p.col_trait[m]]
                for j in range(s.fixed.shape[1]):
                    s.fixed[m, j] -= t * x.share[k, j]
        K = stop - start
        crossed = np.dot(x.within[x.table[i] : x.table[i] + K * K].reshape((K, K)), b[start:stop])
        for l in range(p.n_trait):
            for g in range(p.n_trait):
                t = p.within[i, l, g]
                for k in range(start, stop):
                    t += b[k, l] * (crossed[k - start, g] - x.around[k, g]) - x.around[k, l] * b[k, g]
                s.within[i, l, g] = t
        for c in range(p.cell_offset[i], p.cell_offset[i + 1]):
            for l in range(p.n_trait):
                s.cell_mean[c, l] = p.cell_mean[c, l]
                for n in range(x.cell_first[c], x.cell_first[c + 1]):
                    s.cell_mean[c, l] -= x.cell_share[n] * b[x.cell_level[n], l]
            for q in range(p.part_offset[c], p.part_offset[c + 1]):
                for l in range(p.n_trait):
                    if p.patterns[p.part_pattern[q], l] == OBSERVED:
                        s.part[q, l] = p.part_values[q, l]
                        for g in range(x.part_level.shape[1]):
                            if x.part_level[q, g] >= 0:
                                s.part[q, l] -= x.part_mark[q, g] * b[x.part_level[q, g], l]
        if p.cell_offset[i] == p.cell_offset[i + 1]:
            copy_rows(s.fixed, first, width, s.Y)


#: `draw_factors` at its address.
call_draw_factors = call_apart(draw_factors, call_bool)


@compiled()
def refill(rng, p, s, w, known):
    """The effects of factors, if there are any, and what is imputed, as one block; `known` as of `impute`."""
    if p.factors.random.shape[0] > 0:
        if not known:
            fill_fitted(p, s, w)
            known = True
        if not call_draw_factors(w.steps[LEVELS], (rng, p, s, w)):
            return False
    return impute(rng, p, s, w, known)


#: `refill` at its address.
call_refill = call_apart(refill, call_bool)
