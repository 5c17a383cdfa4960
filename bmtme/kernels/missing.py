"""What is not recorded: imputed plots and traits, and whole columns (env, trait) without any record.

Columns without a record are never imputed (they would not mix). Where the covariance updates want full
rows, the cross-products of the absent part are drawn given those of the recorded part, which is the same
as drawing the rows and costs O(L^3).
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.kernels.compile import compiled
from bmtme.kernels.interaction import add_row
from bmtme.kernels.lanes import WIDTH, add_up, load, spread
from bmtme.kernels.linalg import decompose_jacobi, dot, factor_cholesky, solve_lower, solve_lower_transposed
from bmtme.kernels.pair import combine_rows

OBSERVED, MISSING, ABSENT = 0, 1, 2


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


@compiled()
def fill_regressions(R_e, patterns, B, K):
    """`regress` of the missing on the observed traits of each pattern of a record."""
    for p in range(patterns.shape[0]):
        if not regress(R_e, patterns[p] == OBSERVED, patterns[p] == MISSING, B[p], K[p]):
            return False
    return True


@compiled()
def dot_four(u, a, b, c, e):
    """Four inner products with one row, read once."""
    end = u.shape[0] // WIDTH * WIDTH
    t0 = spread(0.0)
    t1 = spread(0.0)
    t2 = spread(0.0)
    t3 = spread(0.0)
    for j in range(0, end, WIDTH):
        us = load(u, j)
        t0 += us * load(a, j)
        t1 += us * load(b, j)
        t2 += us * load(c, j)
        t3 += us * load(e, j)
    s0, s1, s2, s3 = add_up(t0), add_up(t1), add_up(t2), add_up(t3)
    for j in range(end, u.shape[0]):
        s0 += u[j] * a[j]
        s1 += u[j] * b[j]
        s2 += u[j] * c[j]
        s3 += u[j] * e[j]
    return s0, s1, s2, s3


@compiled()
def dot_three(u, a, b, c):
    """Three inner products with one row, read once."""
    end = u.shape[0] // WIDTH * WIDTH
    t0 = spread(0.0)
    t1 = spread(0.0)
    t2 = spread(0.0)
    for j in range(0, end, WIDTH):
        us = load(u, j)
        t0 += us * load(a, j)
        t1 += us * load(b, j)
        t2 += us * load(c, j)
    s0, s1, s2 = add_up(t0), add_up(t1), add_up(t2)
    for j in range(end, u.shape[0]):
        s0 += u[j] * a[j]
        s1 += u[j] * b[j]
        s2 += u[j] * c[j]
    return s0, s1, s2


@compiled()
def dot_two(u, a, b):
    """Two inner products with one row, read once."""
    end = u.shape[0] // WIDTH * WIDTH
    t0 = spread(0.0)
    t1 = spread(0.0)
    for j in range(0, end, WIDTH):
        us = load(u, j)
        t0 += us * load(a, j)
        t1 += us * load(b, j)
    s0, s1 = add_up(t0), add_up(t1)
    for j in range(end, u.shape[0]):
        s0 += u[j] * a[j]
        s1 += u[j] * b[j]
    return s0, s1


@compiled()
def rotate_rows_back(U, lines, X, out):
    """out (S, p) = U[lines] X' of X (p, J): skinny, so by hand, each row read once per four columns."""
    p = X.shape[0]
    for s in range(lines.shape[0]):
        u = U[lines[s]]
        a = 0
        while a + 4 <= p:
            out[s, a], out[s, a + 1], out[s, a + 2], out[s, a + 3] = dot_four(u, X[a], X[a + 1], X[a + 2], X[a + 3])
            a += 4
        if a + 3 == p:
            out[s, a], out[s, a + 1], out[s, a + 2] = dot_three(u, X[a], X[a + 1], X[a + 2])
        elif a + 2 == p:
            out[s, a], out[s, a + 1] = dot_two(u, X[a], X[a + 1])
        elif a + 1 == p:
            out[s, a] = dot(u, X[a], u.shape[0])


@compiled()
def add_four_rows(w0, w1, w2, w3, r0, r1, r2, r3, out):
    """out += the weighted sum of four rows."""
    for j in range(out.shape[0]):
        out[j] += w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j]


@compiled()
def rotate_rows_forward(U, lines, y, out):
    """out (p, J) += y' U[lines] of y (S, p): four rows at a time, in stretches that stay in the fastest cache."""
    S = lines.shape[0]
    p, J = out.shape
    for start in range(0, J, 512):
        stop = min(start + 512, J)
        s = 0
        while s + 4 <= S:
            r0, r1 = U[lines[s], start:stop], U[lines[s + 1], start:stop]
            r2, r3 = U[lines[s + 2], start:stop], U[lines[s + 3], start:stop]
            for a in range(p):
                add_four_rows(y[s, a], y[s + 1, a], y[s + 2, a], y[s + 3, a], r0, r1, r2, r3, out[a, start:stop])
            s += 4
        while s < S:
            for a in range(p):
                add_row(y[s, a], U[lines[s], start:stop], out[a, start:stop])
            s += 1


@compiled()
def draw_missing(rng, pattern, B, K, fitted, spread, e, y):
    """Impute the missing traits of one record (or one mean of unseen plots) in place.

    y_m | y_o ~ N(fitted_m + B (y_o - fitted_o), spread^2 K K').
    """
    L = pattern.shape[0]
    for l in range(L):
        if pattern[l] == MISSING:
            e[l] = rng.standard_normal()
    for l in range(L):
        if pattern[l] == MISSING:
            s = 0.0
            for q in range(L):
                if pattern[q] == MISSING:
                    s += K[l, q] * e[q] * spread
                elif pattern[q] == OBSERVED:
                    s += B[l, q] * (y[q] - fitted[q])
            y[l] = fitted[l] + s


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


@compiled()
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


@compiled()
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
