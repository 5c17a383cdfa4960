"""Passes over the transformed data for the log likelihood of (C, R) with means and effects integrated out.

With z = T' y, D_j = diag(1 / (1 + d_j lam)), posterior mean b~ = T' b of the means and K = T' P^-1 T the
transformed covariance of theirs (P = H + P0), the derivative of the log likelihood in V_j is
-1/2 T [D_j - D_j (z_j - x_j b~)(z_j - x_j b~)' D_j - x_j^2 D_j K D_j] T', so that with q = D (z - x b~) and
p = D x everything needed is sums over j of q_m q_n and p_m p_n, plain for R and weighted with d_j for C.
"""

from __future__ import annotations

import math

from bmtme.linalg.compile import compiled
from bmtme.linalg.lanes import WIDTH, add_up, load, load_row, multiply_add, spread, store, store_row


@compiled(inline=True)
def sum_density_terms(Z, m, x, d, lam, weight, product):
    """(sxx, sxz, szz) of transformed column m; fills D (row m of `weight`) and multiplies 1 + d lam into `product`."""
    end = x.shape[0] // WIDTH * WIDTH
    one, lams = spread(1.0), spread(lam)
    xx = spread(0.0)
    xz = spread(0.0)
    zz = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = multiply_add(load(d, j), lams, one)
        ts = one / vs
        store_row(weight, m, j, ts)
        store(product, j, load(product, j) * vs)
        xs, zs = load(x, j), load_row(Z, m, j)
        xt = xs * ts
        xx = multiply_add(xs, xt, xx)
        xz = multiply_add(zs, xt, xz)
        zz = multiply_add(zs * zs, ts, zz)
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


@compiled(inline=True)
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
    minus = spread(-mean)
    plain = spread(0.0)
    weighted = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = load_row(weight, m, j)
        plain += vs
        weighted = multiply_add(load(d, j), vs, weighted)
        ps = vs * load(x, j)
        store_row(P, m, j, ps)
        store_row(Z, m, j, multiply_add(ps, minus, vs * load_row(Z, m, j)))
    s, t = add_up(plain), add_up(weighted)
    for j in range(end, x.shape[0]):
        v = weight[m, j]
        s += v
        t += d[j] * v
        P[m, j] = v * x[j]
        Z[m, j] = v * Z[m, j] - P[m, j] * mean
    return s, t


@compiled()
def sum_pair(Z, m, n, d):
    """sum_j Z_mj Z_nj, and the same weighted with d_j."""
    step = 2 * WIDTH
    end = d.shape[0] // step * step
    plain = spread(0.0)
    weighted = spread(0.0)
    plain_odd = spread(0.0)
    weighted_odd = spread(0.0)
    for j in range(0, end, step):
        vs = load_row(Z, m, j) * load_row(Z, n, j)
        plain += vs
        weighted = multiply_add(vs, load(d, j), weighted)
        vs = load_row(Z, m, j + WIDTH) * load_row(Z, n, j + WIDTH)
        plain_odd += vs
        weighted_odd = multiply_add(vs, load(d, j + WIDTH), weighted_odd)
    s, t = add_up(plain + plain_odd), add_up(weighted + weighted_odd)
    for j in range(end, d.shape[0]):
        v = Z[m, j] * Z[n, j]
        s += v
        t += v * d[j]
    return s, t


@compiled()
def sum_two_pairs(Z, P, m, n, weight, d):
    """sum_j (Z_mj Z_nj + weight P_mj P_nj), and the same weighted with d_j."""
    step = 2 * WIDTH
    end = d.shape[0] // step * step
    weights = spread(weight)
    plain = spread(0.0)
    weighted = spread(0.0)
    plain_odd = spread(0.0)
    weighted_odd = spread(0.0)
    for j in range(0, end, step):
        vs = load_row(P, m, j) * load_row(P, n, j)
        vs = multiply_add(load_row(Z, m, j), load_row(Z, n, j), vs * weights)
        plain += vs
        weighted = multiply_add(vs, load(d, j), weighted)
        k = j + WIDTH
        vs = load_row(P, m, k) * load_row(P, n, k)
        vs = multiply_add(load_row(Z, m, k), load_row(Z, n, k), vs * weights)
        plain_odd += vs
        weighted_odd = multiply_add(vs, load(d, k), weighted_odd)
    s, t = add_up(plain + plain_odd), add_up(weighted + weighted_odd)
    for j in range(end, d.shape[0]):
        v = Z[m, j] * Z[n, j] + weight * (P[m, j] * P[n, j])
        s += v
        t += v * d[j]
    return s, t
