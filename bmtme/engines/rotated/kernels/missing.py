"""What is not recorded: imputed plots and traits, and whole columns (env, trait) without any record.

Columns without a record are never imputed (they would not mix). Where the covariance updates want full
rows, the cross-products of the absent part are drawn given those of the recorded part, which is the same
as drawing the rows and costs O(L^3).
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.engines.rotated.kernels.interaction import add_row
from bmtme.engines.rotated.kernels.pair import combine_rows
from bmtme.linalg.compile import compiled
from bmtme.linalg.small import decompose_jacobi, factor_cholesky, solve_lower, solve_lower_transposed
from bmtme.model.codes import MISSING, OBSERVED


@compiled()
def regress(S, given, wanted, B, K):
    """Regression of `wanted` on `given` rows of N(0, S): coefficients B, Cholesky factor K of the rest.

    B (L, L) holds S_wg S_gg^-1 at [wanted, given]; K (L, L) the factor at [wanted, wanted], in order.
    """
    L = S.shape[0]
    g = np.empty(L, np.int64)
    w = np.empty(L, np.int64)
    ng = 0
    nw = 0
    for l in range(L):
        if given[l]:
            g[ng] = l
            ng += 1
        elif wanted[l]:
            w[nw] = l
            nw += 1
    B[:] = 0.0
    K[:] = 0.0
    Sg = np.empty((ng, ng))
    Kg = np.empty((ng, ng))
    for a in range(ng):
        for b in range(ng):
            Sg[a, b] = S[g[a], g[b]]
    if not factor_cholesky(Sg, Kg):
        return False
    row = np.empty(ng)
    for a in range(nw):
        for b in range(ng):
            row[b] = S[w[a], g[b]]
        solve_lower(Kg, row)
        solve_lower_transposed(Kg, row)
        for b in range(ng):
            B[w[a], g[b]] = row[b]
    rest = np.empty((nw, nw))
    Kr = np.empty((nw, nw))
    for a in range(nw):
        for b in range(nw):
            s = S[w[a], w[b]]
            for c in range(ng):
                s -= B[w[a], g[c]] * S[g[c], w[b]]
            rest[a, b] = s
    if not factor_cholesky(rest, Kr):
        return False
    for a in range(nw):
        for b in range(a + 1):
            K[w[a], w[b]] = Kr[a, b]
    return True


@compiled(inline=True)
def fill_regressions(R_e, patterns, block, B, K):
    """`regress` of the missing on the observed traits of each pattern of a record, by its block of R_e (B L, L)."""
    L = R_e.shape[1]
    for p in range(patterns.shape[0]):
        R = R_e[block[p] * L : (block[p] + 1) * L]
        if not regress(R, patterns[p] == OBSERVED, patterns[p] == MISSING, B[p], K[p]):
            return False
    return True


@compiled()
def draw_missing(rng, patterns, B, K, t, fitted, spread, e, values, row):
    """Impute the missing traits of one record (or one mean of unseen plots), a row of `values`, of pattern t.

    y_m | y_o ~ N(fitted_m + B (y_o - fitted_o), spread^2 K K').
    """
    L = patterns.shape[1]
    for l in range(L):
        if patterns[t, l] == MISSING:
            e[l] = rng.standard_normal()
    for l in range(L):
        if patterns[t, l] == MISSING:
            s = 0.0
            for q in range(L):
                if patterns[t, q] == MISSING:
                    s += K[t, l, q] * e[q] * spread
                elif patterns[t, q] == OBSERVED:
                    s += B[t, l, q] * (values[row, q] - fitted[q])
            values[row, l] = fitted[l] + s


@compiled(inline=True)
def draw_cells(
    rng, start, stop, traits, fitted, patterns, B, K, cell_pad, cell_pattern, part_offset, part_pattern, part_plots,
    pad, part,
):  # fmt: skip
    """Impute cells start .. stop - 1 of one environment: their means of unseen plots, and their partly seen records.

    fitted (S, width) at the environment's recorded `traits`; pad (S, L) and part (P, L) are changed in place.
    """
    L = patterns.shape[1]
    values = np.zeros(L)
    e = np.empty(L)
    for c in range(start, stop):
        for a in range(traits.shape[0]):
            values[traits[a]] = fitted[c, a]
        if cell_pad[c] > 0.0:
            spread = 1.0 / math.sqrt(cell_pad[c])
            draw_missing(rng, patterns, B, K, cell_pattern[c], values, spread, e, pad, c)
        for q in range(part_offset[c], part_offset[c + 1]):
            draw_missing(rng, patterns, B, K, part_pattern[q], values, 1.0 / math.sqrt(part_plots[q]), e, part, q)


@compiled(inline=True)
def average_cells(
    start, stop, traits, cell_count, cell_mean, cell_pad, pad, cell_parts, part_offset, part_plots, part, cell_root, out
):  # fmt: skip
    """Completed means of cells over their k_i c_j plots, seen and imputed, times sqrt(c_j), into (S, width) `out`."""
    for c in range(start, stop):
        first, last = part_offset[c], part_offset[c + 1]
        plots = cell_count[c] + cell_pad[c] + cell_parts[c]
        weight = cell_root[c] / plots
        for a in range(traits.shape[0]):
            l = traits[a]
            t = cell_pad[c] * pad[c, l]
            if cell_count[c] > 0.0:
                t += cell_count[c] * cell_mean[c, l]
            for q in range(first, last):
                t += part_plots[q] * part[q, l]
            out[c, a] = t * weight


@compiled()
def complete_cross_products(rng, n, given, Sigma, S):
    """Draw the cross-products of the absent columns of n rows N(0, Sigma), given those recorded, in place.

    S_gg = F F' holds what is recorded; X_a = X_g B' + E with E ~ N(0, Sigma_a|g). In a frame whose first
    rows span X_g, E's cross-product with X_g is F Z and the rest of E'E is Wishart with the remaining
    degrees of freedom.
    """
    L = Sigma.shape[0]
    g = np.empty(L, np.int64)
    w = np.empty(L, np.int64)
    ng = 0
    nw = 0
    for l in range(L):
        if given[l]:
            g[ng] = l
            ng += 1
        else:
            w[nw] = l
            nw += 1
    if nw == 0:
        return True
    B = np.empty((L, L))
    K = np.empty((L, L))
    if not regress(Sigma, given, ~given, B, K):
        return False
    Sg = np.empty((ng, ng))
    values = np.empty(ng)
    F = np.empty((ng, ng))
    for a in range(ng):
        for b in range(ng):
            Sg[a, b] = S[g[a], g[b]]
    decompose_jacobi(Sg, values, F)
    order = np.argsort(-values)
    span = min(n, ng)
    Z = np.zeros((ng, nw))
    for a in range(span):
        for b in range(nw):
            Z[order[a], b] = rng.standard_normal()
    for a in range(ng):
        root = math.sqrt(max(values[a], 0.0))
        for b in range(ng):
            F[b, a] *= root
    inner = np.zeros((nw, nw))  # E'E in whitened coordinates
    for a in range(nw):
        for b in range(nw):
            for c in range(ng):
                inner[a, b] += Z[c, a] * Z[c, b]
    rest = n - span
    T = np.zeros((nw, nw))
    if rest >= nw:
        for a in range(nw):
            T[a, a] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (rest - a)))
            for b in range(a):
                T[a, b] = rng.standard_normal()
        for a in range(nw):
            for b in range(nw):
                for c in range(nw):
                    inner[a, b] += T[a, c] * T[b, c]
    else:
        for _ in range(rest):
            for a in range(nw):
                T[a, 0] = rng.standard_normal()
            for a in range(nw):
                for b in range(nw):
                    inner[a, b] += T[a, 0] * T[b, 0]
    cross = np.zeros((ng, nw))  # X_g' E
    for a in range(ng):
        for b in range(nw):
            for c in range(ng):
                for q in range(b + 1):
                    cross[a, b] += F[a, c] * Z[c, q] * K[w[b], w[q]]
    for b in range(nw):  # X_g' X_a = S_gg B' + X_g' E
        for a in range(ng):
            s = cross[a, b]
            for c in range(ng):
                s += S[g[a], g[c]] * B[w[b], g[c]]
            S[g[a], w[b]] = s
            S[w[b], g[a]] = s
    for a in range(nw):  # X_a' X_a = B (X_g' X_a) + (X_g' E)' B' + E'E
        for b in range(a + 1):
            s = 0.0
            for c in range(ng):
                s += B[w[a], g[c]] * S[g[c], w[b]] + cross[c, a] * B[w[b], g[c]]
            for c in range(a + 1):
                for q in range(b + 1):
                    s += K[w[a], w[c]] * inner[c, q] * K[w[b], w[q]]
            S[w[a], w[b]] = s
            S[w[b], w[a]] = s
    return True


@compiled(inline=True)
def complete_interaction(rng, Sigma_t, s2_E, recorded, col_env, col_trait, rank, W2, noise, full):
    """b2 of every (env, trait), recorded or not, in the eigenbasis: absent traits given the recorded ones.

    W2 (M, J) recorded columns; full (I L, J), row i L + l.
    """
    I, L = recorded.shape
    B = np.empty((L, L))
    K = np.empty((L, L))
    full[:] = 0.0
    for m in range(W2.shape[0]):
        full[col_env[m] * L + col_trait[m]] = W2[m]
    for i in range(I):
        if recorded[i].all():
            continue
        if not regress(Sigma_t, recorded[i], ~recorded[i], B, K):
            return False
        root = math.sqrt(s2_E[i])
        for q in range(L):
            if recorded[i, q]:
                continue
            for j in range(rank):
                noise[j] = root * rng.standard_normal()
            for l in range(q, L):
                if not recorded[i, l] and K[l, q] != 0.0:
                    add_row(K[l, q], noise, full[i * L + l])
        for l in range(L):
            if not recorded[i, l]:
                for q in range(L):
                    if recorded[i, q]:
                        add_row(B[l, q], full[i * L + q], full[i * L + l])
    return True


@compiled(inline=True)
def expect_genetic(Sigma_t, recorded, col_env, col_trait, W, A, main, full):
    """w of every (env, trait): recorded columns as they are, absent ones as E[w_absent | w_recorded].

    E[w1 | w] = A w, and the interaction of an absent trait is regressed on that of the recorded ones.
    main (L, J) is workspace; full (I L, J).
    """
    I, L = recorded.shape
    B = np.empty((L, L))
    K = np.empty((L, L))
    for l in range(L):
        combine_rows(A[l], W, 0, 1, main, l)
    for m in range(W.shape[0]):
        full[col_env[m] * L + col_trait[m]] = W[m]
    for i in range(I):
        if recorded[i].all():
            continue
        if not regress(Sigma_t, recorded[i], ~recorded[i], B, K):
            return False
        for l in range(L):
            if recorded[i, l]:
                continue
            out = full[i * L + l]
            out[:] = main[l]
            for q in range(L):
                if recorded[i, q]:
                    add_row(B[l, q], full[i * L + q], out)
                    add_row(-B[l, q], main[q], out)
    return True
