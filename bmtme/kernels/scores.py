"""Passes over the transformed data for the log likelihood of (C, R) with means and effects integrated out.

With z = T' y, D_j = diag(1 / (1 + d_j lam)), posterior mean b~ = T' b of the means and K = T' P^-1 T the
transformed covariance of theirs (P = H + P0), the derivative of the log likelihood in V_j is
-1/2 T [D_j - D_j (z_j - x_j b~)(z_j - x_j b~)' D_j - x_j^2 D_j K D_j] T', so that with q = D (z - x b~) and
p = D x everything needed is sums over j of q_m q_n and p_m p_n, plain for R and weighted with d_j for C.
"""

from __future__ import annotations

import math

from bmtme.kernels.compile import compiled
from bmtme.kernels.lanes import WIDTH, add_up, load, load_row, spread, store, store_row


@compiled()
def sum_density_terms(Z, m, x, d, lam, weight, product):
    """(sxx, sxz, szz) of transformed column m; fills D (row m of `weight`) and multiplies 1 + d lam into `product`."""
    end = x.shape[0] // WIDTH * WIDTH
    one, lams = spread(1.0), spread(lam)
    xx = spread(0.0)
    xz = spread(0.0)
    zz = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = one + load(d, j) * lams
        ts = one / vs
        store_row(weight, m, j, ts)
        store(product, j, load(product, j) * vs)
        xs, zs = load(x, j), load_row(Z, m, j)
        xt = xs * ts
        xx += xs * xt
        xz += zs * xt
        zz += zs * zs * ts
    sxx, sxz, szz = add_up(xx), add_up(xz), add_up(zz)
    for j in range(end, x.shape[0]):
        v = 1.0 + d[j] * lam
        t = 1.0 / v
        weight[m, j] = t
        product[j] *= v
        sxx += x[j] * (x[j] * t)
        sxz += Z[m, j] * (x[j] * t)
        szz += Z[m, j] * Z[m, j] * t
    return sxx, sxz, szz


@compiled()
def sum_logs(product):
    """sum_j log product_j of numbers between 1 and 1e150: one logarithm for as many as fit into one number."""
    logs = 0.0
    running = 1.0
    for j in range(product.shape[0]):
        running *= product[j]
        if not (running < 1e150):
            logs += math.log(running)
            running = 1.0
    return logs + math.log(running)


@compiled()
def turn_to_scores(Z, P, m, x, d, weight, mean):
    """Row m of Z becomes q = D (z - x mean), that of P becomes D x; returns the sums of D and of d D."""
    end = x.shape[0] // WIDTH * WIDTH
    means = spread(mean)
    plain = spread(0.0)
    weighted = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = load_row(weight, m, j)
        plain += vs
        weighted += load(d, j) * vs
        ps = vs * load(x, j)
        store_row(P, m, j, ps)
        store_row(Z, m, j, vs * load_row(Z, m, j) - ps * means)
    s, t = add_up(plain), add_up(weighted)
    for j in range(end, x.shape[0]):
        v = weight[m, j]
        s += v
        t += d[j] * v
        P[m, j] = v * x[j]
        Z[m, j] = v * Z[m, j] - P[m, j] * mean
    return s, t


@compiled()
def sum_pair(a, b, d):
    """sum_j a_j b_j, and the same weighted with d_j."""
    end = d.shape[0] // WIDTH * WIDTH
    plain = spread(0.0)
    weighted = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = load(a, j) * load(b, j)
        plain += vs
        weighted += vs * load(d, j)
    s, t = add_up(plain), add_up(weighted)
    for j in range(end, d.shape[0]):
        v = a[j] * b[j]
        s += v
        t += v * d[j]
    return s, t


@compiled()
def sum_two_pairs(a, b, weight, p, q, d):
    """sum_j (a_j b_j + weight p_j q_j), and the same weighted with d_j."""
    end = d.shape[0] // WIDTH * WIDTH
    weights = spread(weight)
    plain = spread(0.0)
    weighted = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = load(a, j) * load(b, j) + weights * (load(p, j) * load(q, j))
        plain += vs
        weighted += vs * load(d, j)
    s, t = add_up(plain), add_up(weighted)
    for j in range(end, d.shape[0]):
        v = a[j] * b[j] + weight * (p[j] * q[j])
        s += v
        t += v * d[j]
    return s, t
