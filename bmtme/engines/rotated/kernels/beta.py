"""Environment means beta and the parameters of their prior: steps A.1 to A.3 of the paper.

With the genetic effects integrated out, y_j ~ N(x_j beta, V_j), so the data give beta the precision
H = sum_j x_j^2 V_j^-1 = T diag(sxx) T' with sxx_m = sum_j x_j^2 / (1 + d_j lam_m), and the linear term
T sxz with sxz_m = sum_j x_j z_mj / (1 + d_j lam_m). The prior adds a precision P0 and P0 b0.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.lanes import WIDTH, add_up, load, multiply_add, spread, store
from bmtme.linalg.small import factor_cholesky, solve_lower, solve_lower_transposed
from bmtme.model.codes import EXCHANGEABLE, PAPER
from bmtme.structures.priors import draw_inverse_gamma


@compiled(inline=True)
def sum_mean_information(z, x, d, lam, weight):
    """(sxx, sxz) of one transformed column; leaves 1 / (1 + d lam) in `weight`."""
    end = x.shape[0] // WIDTH * WIDTH
    one, lams = spread(1.0), spread(lam)
    xx = spread(0.0)
    xz = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = one / multiply_add(load(d, j), lams, one)
        store(weight, j, vs)
        xs = load(x, j)
        xv = xs * vs
        xx = multiply_add(xs, xv, xx)
        xz = multiply_add(load(z, j), xv, xz)
    sxx, sxz = add_up(xx), add_up(xz)
    for j in range(end, x.shape[0]):
        v = 1.0 / (1.0 + d[j] * lam)
        weight[j] = v
        sxx += x[j] * (x[j] * v)
        sxz += z[j] * (x[j] * v)
    return sxx, sxz


@compiled(inline=True)
def solve_beta(T, sxx, sxz, P0, P0b0, K, mean):
    """Cholesky factor K of the posterior precision of beta, and its mean; False where it fails."""
    M = T.shape[0]
    P = np.empty((M, M))
    for a in range(M):
        for b in range(a + 1):
            s = P0[a, b]
            for c in range(M):
                s += T[a, c] * sxx[c] * T[b, c]
            P[a, b] = s
            P[b, a] = s
        s = P0b0[a]
        for c in range(M):
            s += T[a, c] * sxz[c]
        mean[a] = s
    if not factor_cholesky(P, K):
        return False
    solve_lower(K, mean)
    solve_lower_transposed(K, mean)
    return True


@compiled()
def draw_beta(rng, T, sxx, sxz, P0, P0b0, out):
    """Draw beta from N(P^-1 h, P^-1), P = T diag(sxx) T' + P0, h = T sxz + P0 b0."""
    M = T.shape[0]
    K = np.empty((M, M))
    mean = np.empty(M)
    if not solve_beta(T, sxx, sxz, P0, P0b0, K, mean):
        return False
    noise = np.empty(M)
    for a in range(M):
        noise[a] = rng.standard_normal()
    solve_lower_transposed(K, noise)
    for a in range(M):
        out[a] = mean[a] + noise[a]
    return True


@compiled()
def sum_residual_products(y, w, x, root_d):
    """sum_j x_j (y_j - sqrt(d_j) w_j) of one column."""
    end = x.shape[0] // WIDTH * WIDTH
    total = spread(0.0)
    for j in range(0, end, WIDTH):
        total += load(x, j) * (load(y, j) - load(root_d, j) * load(w, j))
    s = add_up(total)
    for j in range(end, x.shape[0]):
        s += x[j] * (y[j] - root_d[j] * w[j])
    return s


@compiled()
def draw_beta_given_effects(rng, Y, W, x, root_d, T, P0, P0b0, out):
    """beta | b1, b2 (A.1): the information is x'x R^-1 and R^-1 x'(Y - u), R^-1 = T T'."""
    M = Y.shape[0]
    r = np.empty(M)
    for m in range(M):
        r[m] = sum_residual_products(Y[m], W[m], x, root_d)
    sxz = np.empty(M)
    for c in range(M):
        s = 0.0
        for m in range(M):
            s += T[m, c] * r[m]
        sxz[c] = s
    xx = 0.0
    for j in range(x.shape[0]):
        xx += x[j] * x[j]
    return draw_beta(rng, T, np.full(M, xx), sxz, P0, P0b0, out)


@compiled(inline=True)
def fill_mean_prior(kind, col_trait, n_trait, mu_mean, mu_precision, tau2, s2_b, scale, centre, P0, P0b0):
    """Prior precision P0 and P0 b0 of beta with mu integrated out (in centred, scaled units).

    Exchangeable: the n recorded means of a trait are N(m 1, tau^2 I + 11'/p) with p the precision of mu
    (0: flat); by Sherman-Morrison the inverse is (I - 11' / (n + p tau^2)) / tau^2.
    Paper: beta ~ N(0, s2_b I) in the user's units, where beta_user = scale beta + centre.
    """
    M = col_trait.shape[0]
    for a in range(M):
        P0b0[a] = 0.0
        for b in range(M):
            P0[a, b] = 0.0
    if kind == EXCHANGEABLE:
        count = np.zeros(n_trait)
        for a in range(M):
            count[col_trait[a]] += 1.0
        for a in range(M):
            l = col_trait[a]
            shared = 1.0 / (count[l] + mu_precision[l] * tau2[l])
            for b in range(M):
                if col_trait[b] == l:
                    P0[a, b] = -shared / tau2[l]
            P0[a, a] += 1.0 / tau2[l]
            P0b0[a] = mu_mean[l] * (1.0 - count[l] * shared) / tau2[l]
    elif kind == PAPER:
        for a in range(M):
            l = col_trait[a]
            P0[a, a] = scale[l] ** 2 / s2_b
            P0b0[a] = -centre[l] * scale[l] / s2_b


@compiled()
def draw_mu(rng, beta, col_trait, n_trait, mu_mean, mu_precision, tau2, mu):
    """mu_l | beta, tau: closes the joint draw of (mu, beta, u) begun with mu integrated out."""
    for l in range(n_trait):
        n = 0.0
        s = 0.0
        for m in range(beta.shape[0]):
            if col_trait[m] == l:
                n += 1.0
                s += beta[m]
        precision = n / tau2[l] + mu_precision[l]
        mean = (s / tau2[l] + mu_precision[l] * mu_mean[l]) / precision
        mu[l] = mean + rng.standard_normal() / math.sqrt(precision)


@compiled(inline=True)
def draw_tau(rng, beta, mu, col_trait, n_trait, nu, A, tau2, aux):
    """tau_l^2 | beta, mu and its auxiliary, tau_l ~ HalfT(nu, A_l); recorded columns only."""
    for l in range(n_trait):
        n = 0.0
        s = 0.0
        for m in range(beta.shape[0]):
            if col_trait[m] == l:
                n += 1.0
                s += (beta[m] - mu[l]) ** 2
        tau2[l] = draw_inverse_gamma(rng, 0.5 * (nu + n), nu / aux[l] + 0.5 * s)
        aux[l] = draw_inverse_gamma(rng, 0.5 * (nu + 1.0), nu / tau2[l] + 1.0 / A[l] ** 2)


@compiled(inline=True)
def draw_paper_scale(rng, beta, col_trait, scale, centre, nu, A, s2_b, aux):
    """s2_b | beta and its auxiliary (A.2, A.3), beta in the user's units; both in one-element arrays."""
    s = 0.0
    for m in range(beta.shape[0]):
        l = col_trait[m]
        s += (scale[l] * beta[m] + centre[l]) ** 2
    s2_b[0] = draw_inverse_gamma(rng, 0.5 * (nu + beta.shape[0]), nu / aux[0] + 0.5 * s)
    aux[0] = draw_inverse_gamma(rng, 0.5 * (nu + 1.0), nu / s2_b[0] + 1.0 / A**2)
