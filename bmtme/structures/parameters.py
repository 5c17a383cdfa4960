"""Unconstrained parameters of the covariances: values, priors with Jacobians, gradients carried back.

With a half-t prior a standard deviation has mass at zero. In logs that is a long, narrow tail in which chains lose
themselves (seen: 12 effective draws in 10,000 for the residual covariance of 29 lines), in a Cholesky factor a spike
(a row of it goes to zero as a whole). So a free p x p covariance has signed standard deviations d_a, in which the
marginal prior is smooth and flat at zero, and t_ac, c < a, for its correlations: row a of the Cholesky factor is
K_a = d_a (sinh t_a1, ..., sinh t_a,a-1, 1) / n_a with n_a^2 = 1 + sum_c sinh^2 t_ac; for two traits t is Fisher's z.
A diagonal covariance has its standard deviations, a single variance its root. Turning the sign of d_a and of the t
of trait a changes no covariance.

Sigma_t and Sigma_E are walked together. The data tell the total genetic covariance of a trial, (1 + mean s_i^2)
Sigma_t with sigma2_Ei = s_i^2, better than either: where main effects are small the posterior runs along a hyperbola,
Sigma_t to zero and Sigma_E far into the tail of its prior. The parameters are therefore the standard deviations
q d_a of that total, q^2 = 1 + mean s_i^2, and asinh s_i, linear near zero and a logarithm far out.

The marginal of the half-t hierarchy (auxiliaries integrated, Huang & Wand 2013) is
log p(M) = -(nu + 2p)/2 log|M| - (nu + p)/2 sum_k log(nu (M^-1)_kk + 1/A_k^2) + constant.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.small import invert_factored
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, SCALAR

#: Parameters beyond these bounds (data have size one; asinh of a root) are taken for a diverging trajectory.
SMALLEST, LARGEST, LARGEST_ASINH = 1e-100, 1e100, 200.0


@compiled()
def count_parameters(shape, p):
    """Number of parameters of a p x p covariance of this shape."""
    if shape == FULL:
        return p * (p + 1) // 2
    return p if shape == DIAGONAL else 1


@compiled()
def count_roots(shape, p):
    """How many of these, the first ones, are standard deviations."""
    return 1 if shape == SCALAR else p


@compiled()
def unpack_covariance(theta, shape, K, M):
    """Cholesky factor K (its diagonal signed) and covariance M of the parameters; False where out of bounds."""
    p = M.shape[0]
    K[:] = 0.0
    M[:] = 0.0
    for a in range(count_roots(shape, p)):
        if not (SMALLEST < abs(theta[a]) < LARGEST):
            return False
    t = p
    for a in range(p):
        K[a, a] = theta[0 if shape == SCALAR else a]
        if shape == FULL:
            n = 1.0
            for c in range(a):
                if not (abs(theta[t]) < LARGEST_ASINH):
                    return False
                K[a, c] = math.sinh(theta[t])
                n += K[a, c] ** 2
                t += 1
            K[a, a] /= math.sqrt(n)
            for c in range(a):
                K[a, c] *= K[a, a]
    for a in range(p):
        for b in range(a + 1):
            s = 0.0
            for k in range(b + 1):
                s += K[a, k] * K[b, k]
            M[a, b] = s
            M[b, a] = s
    return True


@compiled()
def pack_covariance(shape, K, theta):
    """Parameters of a covariance with Cholesky factor K (positive diagonal); standard deviations keep their signs.

    Given these, a draw of the covariance is a draw of the parameters.
    """
    p = K.shape[0]
    t = p
    for a in range(count_roots(shape, p)):
        squares = 0.0
        for c in range(a + 1):
            squares += K[a, c] ** 2
        theta[a] = math.copysign(math.sqrt(squares), theta[a])
        if shape == FULL:
            for c in range(a):
                sign = math.copysign(1.0, theta[a]) * math.copysign(1.0, theta[c])
                theta[t] = sign * math.asinh(K[a, c] / K[a, a])
                t += 1


def list_covariance_flips(shape: int, p: int, first: int = 0) -> list[tuple[int, tuple[int, ...]]]:
    """Of each standard deviation its place, and those of the t that change sign with it, counted on from `first`."""
    if shape != FULL:
        return [(first + a, ()) for a in range(int(count_roots(shape, p)))]
    places: list[list[int]] = [[] for _ in range(p)]
    t = p
    for a in range(p):
        for c in range(a):
            places[a].append(first + t)
            places[c].append(first + t)
            t += 1
    return [(first + a, tuple(places[a])) for a in range(p)]


@compiled(inline=True)
def exchange(theta, flags):
    """Let the flagged parameters of Sigma_t, the first ones, and those of R_e, the last ones, change places."""
    last = theta.shape[0] - flags.shape[0]
    for k in range(flags.shape[0]):
        if flags[k]:
            theta[k], theta[last + k] = theta[last + k], theta[k]


@compiled(inline=True)
def flag_traits(chosen, shape, flags):
    """Flag the parameters of the chosen traits: their standard deviations, and the t between two of them.

    A single variance is flagged where the first trait is chosen.
    """
    roots = count_roots(shape, chosen.shape[0])
    flags[:roots] = chosen[:roots]
    if shape == FULL:
        t = roots
        for a in range(roots):
            for c in range(a):
                flags[t] = chosen[a] and chosen[c]
                t += 1


@compiled()
def finish_covariance(prior, K, M, G, gradient):
    """Log prior with Jacobian; the gradient of everything in the parameters into `gradient`.

    G (p, p) holds d/dM of the log likelihood, dl = tr(G dM), symmetric; it is used up. From M to K the Jacobian is
    2^p prod_a |K_aa|^(p - a), from row a of K to (d_a, sinh t_a) it is |d_a|^a n_a^-(a + 1), a counted from zero.
    """
    p = M.shape[0]
    if prior.shape != FULL:
        return finish_roots(prior, np.diag(K), np.arange(p), np.diag(G), gradient)
    lp = 0.0
    Mi = np.empty((p, p))
    invert_factored(K, Mi)
    log_root = 0.0
    for a in range(p):
        log_root += math.log(abs(K[a, a]))
    if prior.family == HALF_T:
        lp -= (prior.nu + 2.0 * p) * log_root
        weight = np.empty(p)
        for k in range(p):
            t = prior.nu * Mi[k, k] + 1.0 / prior.scale[k] ** 2
            lp -= 0.5 * (prior.nu + p) * math.log(t)
            weight[k] = 0.5 * (prior.nu + p) * prior.nu / t
        for a in range(p):
            for b in range(p):
                s = -0.5 * (prior.nu + 2.0 * p) * Mi[a, b]
                for k in range(p):
                    s += weight[k] * Mi[a, k] * Mi[k, b]
                G[a, b] += s
    else:
        lp -= (prior.df + p + 1.0) * log_root
        SMi = np.zeros((p, p))
        for a in range(p):
            for b in range(p):
                for k in range(p):
                    SMi[a, b] += prior.matrix[a, k] * Mi[k, b]
            lp -= 0.5 * SMi[a, a]
        for a in range(p):
            for b in range(p):
                s = -0.5 * (prior.df + p + 1.0) * Mi[a, b]
                for k in range(p):
                    s += 0.5 * Mi[a, k] * SMi[k, b]
                G[a, b] += s
    slope = np.empty(p)  # d/dK of one row
    t = p
    for a in range(p):
        along = 0.0
        for b in range(a + 1):
            s = 0.0
            for k in range(b, p):
                s += (G[a, k] + G[k, a]) * K[k, b]
            slope[b] = s
            along += s * K[a, b]
        d = math.copysign(math.sqrt(M[a, a]), K[a, a])
        n = d / K[a, a]
        lp += p * math.log(abs(d)) - (p + 1.0) * math.log(n)
        gradient[a] = (along + p) / d
        for c in range(a):
            ratio = K[a, c] / K[a, a]
            cosh = math.sqrt(1.0 + ratio**2)
            lp += math.log(cosh)
            gradient[t] = (slope[c] * K[a, a] - ratio * (along + p + 1.0) / n**2) * cosh + ratio / cosh
            t += 1
    return lp


@compiled()
def finish_roots(prior, roots, index, g, gradient):
    """Log prior of signed roots, and the gradient of everything in them.

    index : places of the roots in the prior and in g; g holds d/d s_k^2 of the log likelihood
    """
    lp = 0.0
    if prior.shape == SCALAR:
        total = 0.0
        for k in index:
            total += g[k]
        part, slope = prior_of_root(prior, roots[0], 0)
        gradient[0] = 2.0 * roots[0] * total + slope
        return part
    for a in range(index.shape[0]):
        k = index[a]
        part, slope = prior_of_root(prior, roots[a], k)
        lp += part
        gradient[a] = 2.0 * roots[a] * g[k] + slope
    return lp


@compiled()
def spread_roots(theta, roots):
    """s_i = sinh(theta_i) into `roots`; returns q = sqrt(1 + mean s_i^2)."""
    squares = 0.0
    for a in range(theta.shape[0]):
        roots[a] = math.sinh(theta[a])
        squares += roots[a] ** 2
    return math.sqrt(1.0 + squares / theta.shape[0])


@compiled(inline=True)
def finish_total(total, theta, roots, q, gradient_total, gradient_roots):
    """Log Jacobian from (q d, asinh s) to (d, s), gradients turned from the latter to the former.

    total : (n,) q d; gradients are those in d and s when the function is called
    """
    n, m = total.shape[0], theta.shape[0]
    slope = n / q**2
    for a in range(n):
        slope += gradient_total[a] * total[a] / q**3
        gradient_total[a] /= q
    lp = -n * math.log(q)
    for a in range(m):
        lp += math.log(math.cosh(theta[a]))
        gradient_roots[a] = (gradient_roots[a] - slope * roots[a] / m) * math.cosh(theta[a]) + math.tanh(theta[a])
    return lp


@compiled()
def prior_of_root(prior, s, k):
    """Log density of a signed root, symmetric, and its slope."""
    if prior.family == HALF_T:
        r = s * s / (prior.nu * prior.scale[k] ** 2)
        slope = -(prior.nu + 1.0) * s / (prior.nu * prior.scale[k] ** 2) / (1.0 + r)
        return -0.5 * (prior.nu + 1.0) * math.log1p(r), slope
    s2 = s * s
    if s2 < 1e-290:
        return -np.inf, 0.0
    return (
        -0.5 * (prior.df + 1.0) * math.log(s2) - 0.5 * prior.matrix[k, k] / s2,
        -(prior.df + 1.0) / s + prior.matrix[k, k] / (s2 * s),
    )
