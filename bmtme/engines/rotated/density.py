"""Log density of the covariances with means and effects integrated out, and its gradient.

Conditional on the completed data and tau (or s2_b). With H and h the information of the data on the means
(`kernels.beta`), P = H + P0 and b = P^-1 (h + P0 b0),

log p(y | C, R) = -1/2 [sum_j log|V_j| + sum_j y_j' V_j^-1 y_j - (h + P0 b0)' b + log|P|] + constant.
"""

from __future__ import annotations

import numpy as np

from bmtme.engines.rotated.kernels.genetic import invert_observed
from bmtme.engines.rotated.kernels.pair import transform_forward
from bmtme.engines.rotated.kernels.residual import sum_log_density
from bmtme.engines.rotated.kernels.scores import sum_density_terms, sum_logs, sum_pair, sum_two_pairs, turn_to_scores
from bmtme.engines.rotated.line_effect import gather_line
from bmtme.engines.rotated.means import solve_transformed_means
from bmtme.engines.rotated.state import FACTOR
from bmtme.engines.rotated.steps import call_factor_pair, factor_general, fill_cell
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_back, call_build, call_float
from bmtme.model.codes import FLAT
from bmtme.structures.parameters import finish_covariance, unpack_covariance
from bmtme.structures.proportional import finish_proportional, gather_proportional, unpack_proportional

#: Relative error of an eigenvalue against the largest, and what it may do to one term of the log density.
ROUNDING, RESOLUTION = 1e-15, 1e-6


@compiled()
def unpack_trial(theta, p, h):
    """Covariances of a trial point; False where it is out of bounds."""
    last = p.residual.first
    if p.proportional:
        if not unpack_proportional(p.genetic, theta[:last], h.KT, h.Sigma_t, h.roots, h.s2_E):
            return False
    elif not call_build(p.genetic.build, p.genetic, theta[:last], h.C):
        return False
    if p.line_effect and not unpack_covariance(theta[p.line_first :], p.line_prior.shape, h.Kr, h.Sigma_r):
        return False
    if p.shared:
        return unpack_covariance(theta[last : p.line_first], p.residual.prior.shape, h.KR, h.R_e)
    if not call_build(p.residual.build, p.residual, theta[last : p.line_first], h.R_e):
        return False
    if p.known:
        h.R_e[:] += p.common
    return True


@compiled(inline=True)
def factor_trial(p, h, w):
    """Diagonalise the pair (C, R) of the trial point."""
    if p.proportional:
        return call_factor_pair(w.steps[FACTOR], (p, h.Sigma_t, h.s2_E, h.R_e, h.Sigma_r, w))
    return factor_general(p, h.C, h.R_e, h.Sigma_r, w)


@compiled()
def sum_within(p, s, h):
    """Cross-products of plots around their completed cell mean, imputed plots counted: data for R_e alone.

    A cell of n records and one mean of unseen plots has n degrees of freedom within it; without unseen plots n - 1.
    """
    for i in range(p.n_env):
        h.within[i] = s.within[i]
        h.n_within[i] = p.n_recorded[i] - p.n_cells[i]
    mean = np.empty(p.n_trait)
    for i in p.seen:
        first = p.env_first[i]
        traits = p.col_trait[first : first + p.env_width[i]]
        for c in range(p.cell_offset[i], p.cell_offset[i + 1]):
            if p.cell_count[c] == 0.0 and p.part_offset[c + 1] == p.part_offset[c]:
                continue  # nothing recorded: the unseen plots are their own mean
            fill_cell(p, s, c, mean)
            if p.cell_pad[c] > 0.0:
                h.n_within[i] += 1.0
            for a in traits:
                for b in traits:
                    t = 0.0
                    if p.cell_pad[c] > 0.0:
                        t += p.cell_pad[c] * (s.pad[c, a] - mean[a]) * (s.pad[c, b] - mean[b])
                    if p.cell_count[c] > 0.0:
                        t += p.cell_count[c] * (s.cell_mean[c, a] - mean[a]) * (s.cell_mean[c, b] - mean[b])
                    for q in range(p.part_offset[c], p.part_offset[c + 1]):
                        t += p.part_plots[q] * (s.part[q, a] - mean[a]) * (s.part[q, b] - mean[b])
                    h.within[i, a, b] += t


@compiled(inline=True)
def add_within(p, h, G):
    """Log density of the cross-products within cells; adds its derivative in the blocks of R_e to G (B L, L)."""
    L = p.n_trait
    lp = 0.0
    Ri = np.empty((L, L))
    RW = np.empty((L, L))
    for i in p.seen:
        n = h.n_within[i]
        if n <= 0.0:
            continue
        first = p.block[i] * L
        R_e = h.R_e[first : first + L]
        lp += sum_log_density(h.within[i], n, p.recorded[i], R_e)
        if not invert_observed(R_e, p.recorded[i], Ri):
            return -np.inf
        for a in range(L):
            for b in range(L):
                t = 0.0
                for k in range(L):
                    t += Ri[a, k] * h.within[i, k, b]
                RW[a, b] = t
        for a in range(L):
            for b in range(L):
                t = -n * Ri[a, b]
                for k in range(L):
                    t += RW[a, k] * Ri[k, b]
                G[first + a, b] += 0.5 * t
    return lp


@compiled(inline=True)
def is_resolved(p, w):
    """Whether the eigenvalues of the pair carry the density: those near the rounding error of the largest would
    come out as zero, and a far-off point of a long trajectory would then look better than it is."""
    low = np.inf
    high = 0.0
    for value in w.pair.lam:
        low = min(low, value)
        high = max(high, value)
    return p.d_top * high * ROUNDING <= RESOLUTION * (1.0 + p.d_top * low)


@compiled(inline=True)
def finish_parameters(theta, p, h, GC, GS, gE, GR, Gr, gradient):
    """Log prior of the parameters, with Jacobian, at the trial point; the gradient of everything into `gradient`.

    GC : (M, M) d/dC of the log likelihood, for structures other than the paper's
    GS, gE : d/dSigma_t and d/dsigma2_E of it, for the paper's
    GR : (B L, L) d/dR_e
    Gr : (L, L) d/dSigma_r, of a line effect; all are used up
    """
    last, end = p.residual.first, p.line_first
    if p.proportional:
        lp = finish_proportional(p.genetic, theta[:last], h.KT, h.Sigma_t, h.roots, GS, gE, gradient[:last])
    else:
        lp = call_back(p.genetic.back, p.genetic, theta[:last], GC, gradient[:last])
    if p.line_effect:
        lp += finish_covariance(p.line_prior, h.Kr, h.Sigma_r, Gr, gradient[end:])
    if p.shared:
        return lp + finish_covariance(p.residual.prior, h.KR, h.R_e, GR, gradient[last:end])
    return lp + call_back(p.residual.back, p.residual, theta[last:end], GR, gradient[last:end])


@compiled()
def measure_prior(theta, p, h):
    """Log prior of the parameters, as `evaluate` counts it."""
    if not unpack_trial(theta, p, h):
        return -np.inf
    L = p.n_trait
    gradient = np.empty(theta.shape[0])
    GC, GR = np.zeros(h.C.shape), np.zeros(h.R_e.shape)
    GS, Gr = np.zeros((L, L)), np.zeros((L, L))
    return finish_parameters(theta, p, h, GC, GS, np.zeros(p.n_env), GR, Gr, gradient)


@compiled()
def evaluate(theta, p, s, w, h, gradient):
    """Log density of the parameters given the completed data, and its gradient; -inf where it is not defined."""
    if not unpack_trial(theta, p, h) or not factor_trial(p, h, w) or not is_resolved(p, w):
        return -np.inf
    M, J = s.Y.shape
    pair = w.pair
    transform_forward(s.Y, p.product, p.seen.shape[0], pair, w.temporary, w.Z)
    product = w.noise
    product[:] = 1.0
    logs = 0.0
    squares = 0.0
    for m in range(M):
        w.sxx[m], w.sxz[m], szz = sum_density_terms(w.Z, m, p.x, p.d, pair.lam[m], w.weight, product)
        squares += szz
        if m % 12 == 11 or m == M - 1:
            logs += sum_logs(product)
            product[:] = 1.0
    flat = p.means.kind == FLAT
    log_P = solve_transformed_means(p, w, flat)
    for m in range(M):
        squares -= w.sxz[m] * w.tilde[m]
    lp = -0.5 * (logs + squares + log_P + (J - 1.0) * pair.log_R[0])
    if not (lp > -np.inf and lp < np.inf):
        return -np.inf
    L = p.n_trait
    GS, Gr = np.zeros((L, L)), np.zeros((L, L))
    GR = np.zeros(h.R_e.shape)
    gE = np.zeros(p.n_env)
    if p.product:
        differentiate_product(p, w, h, flat, GS, GR, gE)
    else:
        differentiate_general(p, w, h, GR)
        if p.line_effect:
            gather_line(p, h.GR, Gr)
        if p.proportional:
            gather_proportional(p.genetic, h.Sigma_t, h.s2_E, h.GC, GS, gE)
    lp += add_within(p, h, GR)
    lp += finish_parameters(theta, p, h, h.GC, GS, gE, GR, Gr, gradient)
    return lp if lp < np.inf and lp > -np.inf else -np.inf


#: `evaluate` at its address.
call_evaluate = call_apart(evaluate, call_float)


@compiled(inline=True)
def differentiate_product(p, w, h, flat, GS, GR, gE):
    """d/dSigma_t, d/dR_e and d/dsigma2_E of the log likelihood, C and R being Kronecker products."""
    L = p.n_trait
    I = p.seen.shape[0]
    M = I * L
    pair = w.pair
    S = np.zeros((L, L))
    R = np.zeros((L, L))
    E = np.zeros((I, I))
    lam_E = np.empty(I)
    lam_t = np.empty(L)
    split_eigenvalues(p, w, h, lam_E, lam_t)
    # Held by name: each reading of a field of a record counts a reference.
    Z, P, K, d = w.Z, h.PZ, w.K_means, p.d
    for m in range(M):
        a = m // L
        l = m % L
        s, t = turn_to_scores(Z, P, m, p.x, d, w.weight, w.tilde[m])
        R[l, l] -= s
        S[l, l] -= lam_E[a] * t
        E[a, a] -= lam_t[l] * t
    for a in range(I):
        for l in range(L):
            m = a * L + l
            for k in range(l + 1):
                n = a * L + k
                if flat and k != l:
                    s, t = sum_pair(Z, m, n, d)
                else:
                    s, t = sum_two_pairs(Z, P, m, n, K[m, n], d)
                R[l, k] += s
                S[l, k] += lam_E[a] * t
                if k == l:
                    E[a, a] += lam_t[l] * t
            if p.interaction:
                for b in range(a):
                    n = b * L + l
                    if flat:
                        s, t = sum_pair(Z, m, n, d)
                    else:
                        s, t = sum_two_pairs(Z, P, m, n, K[m, n], d)
                    E[a, b] += lam_t[l] * t
    for l in range(L):
        for k in range(l):
            R[k, l] = R[l, k]
            S[k, l] = S[l, k]
    for a in range(I):
        for b in range(a):
            E[b, a] = E[a, b]
    for a in range(L):
        for b in range(L):
            s = 0.0
            t = 0.0
            for k in range(L):
                for l in range(L):
                    weight = 0.5 * pair.TL[a, k] * pair.TL[b, l]
                    s += weight * S[k, l]
                    t += weight * R[k, l]
            GS[a, b] = s
            GR[a, b] = t
    if p.interaction:
        for a in range(I):
            t = 0.0
            for b in range(I):
                for c in range(I):
                    t += pair.TE[a, b] * pair.TE[a, c] * E[b, c]
            gE[p.seen[a]] = 0.5 * t


@compiled(inline=True)
def split_eigenvalues(p, w, h, lam_E, lam_t):
    """The environment and trait factors of lam: diag(TE' (11' + Sigma_E) TE) and diag(TL' Sigma_t TL)."""
    pair = w.pair
    I = p.seen.shape[0]
    for a in range(I):
        s = 0.0
        t = 0.0
        for b in range(I):
            s += pair.TE[b, a]
            t += pair.TE[b, a] ** 2 * h.s2_E[p.seen[b]]
        lam_E[a] = s * s + t
    for l in range(p.n_trait):
        t = 0.0
        for a in range(p.n_trait):
            for b in range(p.n_trait):
                t += pair.TL[a, l] * h.Sigma_t[a, b] * pair.TL[b, l]
        lam_t[l] = t


@compiled(inline=True)
def differentiate_general(p, w, h, GR):
    """d/dC and d/dR of the log likelihood into h.GC and h.GR (M, M); sums for each block of R_e into GR (B L, L)."""
    M = w.sxx.shape[0]
    pair = w.pair
    plain = np.empty(M)
    weighted = np.empty(M)
    for m in range(M):
        plain[m], weighted[m] = turn_to_scores(w.Z, h.PZ, m, p.x, p.d, w.weight, w.tilde[m])
    np.dot(w.Z, w.Z.T, h.GR)
    inner = np.dot(h.PZ, h.PZ.T)
    for m in range(M):
        for n in range(M):
            h.GR[m, n] += w.K_means[m, n] * inner[m, n]
        h.GR[m, m] -= plain[m]
        for j in range(p.d.shape[0]):
            w.temporary[m, j] = p.d[j] * w.Z[m, j]
    np.dot(w.temporary, w.Z.T, h.GC)
    for m in range(M):
        for j in range(p.d.shape[0]):
            w.temporary[m, j] = p.d[j] * h.PZ[m, j]
    np.dot(w.temporary, h.PZ.T, inner)
    for m in range(M):
        for n in range(M):
            h.GC[m, n] += w.K_means[m, n] * inner[m, n]
        h.GC[m, m] -= weighted[m]
    inner = np.dot(pair.T, h.GC)
    np.dot(inner, pair.T.T, h.GC)
    inner = np.dot(pair.T, h.GR)
    np.dot(inner, pair.T.T, h.GR)
    for m in range(M):
        i = p.col_env[m]
        first = p.block[i] * p.n_trait
        for n in range(M):
            h.GC[m, n] *= 0.5
            h.GR[m, n] *= 0.5
            if p.col_env[n] == i:
                GR[first + p.col_trait[m], p.col_trait[n]] += h.GR[m, n] / p.k[i]
