"""Passes over the transformed data for the log likelihood of (C, R) with means and effects integrated out.

With z = T' y, D_j = diag(1 / (1 + d_j lam)), posterior mean b~ = T' b of the means and K = T' P^-1 T the
transformed covariance of theirs (P = H + P0), the derivative of the log likelihood in V_j is
-1/2 T [D_j - D_j (z_j - x_j b~)(z_j - x_j b~)' D_j - x_j^2 D_j K D_j] T', so that with q = D (z - x b~) and
p = D x everything needed is sums over j of q_m q_n and p_m p_n, plain for R and weighted with d_j for C.
"""

from __future__ import annotations

from bmtme.kernels.compile import compiled


@compiled(relaxed=True)
def sum_density_terms(z, x, d, lam, weight, product):
    """(sxx, sxz, szz) of one transformed column; fills D and multiplies 1 + d lam into `product`."""
    sxx = 0.0
    sxz = 0.0
    szz = 0.0
    for j in range(x.shape[0]):
        v = 1.0 + d[j] * lam
        t = 1.0 / v
        weight[j] = t
        product[j] *= v
        xt = x[j] * t
        sxx += x[j] * xt
        sxz += z[j] * xt
        szz += z[j] * z[j] * t
    return sxx, sxz, szz


@compiled(relaxed=True)
def turn_to_scores(z, p, x, d, weight, mean):
    """z becomes q = D (z - x mean), p becomes D x; returns the sums of D and of d D."""
    s = 0.0
    t = 0.0
    for j in range(x.shape[0]):
        v = weight[j]
        s += v
        t += d[j] * v
        p[j] = v * x[j]
        z[j] = v * z[j] - p[j] * mean
    return s, t


@compiled(relaxed=True)
def sum_pair(a, b, d):
    """sum_j a_j b_j, and the same weighted with d_j."""
    s = 0.0
    t = 0.0
    for j in range(d.shape[0]):
        v = a[j] * b[j]
        s += v
        t += v * d[j]
    return s, t


@compiled(relaxed=True)
def sum_two_pairs(a, b, weight, p, q, d):
    """sum_j (a_j b_j + weight p_j q_j), and the same weighted with d_j."""
    s = 0.0
    t = 0.0
    for j in range(d.shape[0]):
        v = a[j] * b[j] + weight * (p[j] * q[j])
        s += v
        t += v * d[j]
    return s, t
