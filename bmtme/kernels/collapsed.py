"""Passes over the transformed data for the log likelihood of (C, R) with means and effects integrated out.

With z = T' y, D_j = diag(1 / (1 + d_j lam)), posterior mean b~ = T' b of the means and K = T' P^-1 T the
transformed covariance of theirs (P = H + P0), the derivative of the log likelihood in V_j is
-1/2 T [D_j - D_j (z_j - x_j b~)(z_j - x_j b~)' D_j - x_j^2 D_j K D_j] T', so that with q = D (z - x b~) and
p = D x everything needed is sums over j of q_m q_n and p_m p_n, plain for R and weighted with d_j for C.
"""

from __future__ import annotations

from bmtme.kernels.compile import compiled
from bmtme.kernels.lanes import WIDTH, add_up, load, spread, store


@compiled()
def sum_density_terms(z, x, d, lam, weight, product):
    """(sxx, sxz, szz) of one transformed column; fills D and multiplies 1 + d lam into `product`."""
    end = x.shape[0] // WIDTH * WIDTH
    one, lams = spread(1.0), spread(lam)
    xx = spread(0.0)
    xz = spread(0.0)
    zz = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = one + load(d, j) * lams
        ts = one / vs
        store(weight, j, ts)
        store(product, j, load(product, j) * vs)
        xs, zs = load(x, j), load(z, j)
        xt = xs * ts
        xx += xs * xt
        xz += zs * xt
        zz += zs * zs * ts
    sxx, sxz, szz = add_up(xx), add_up(xz), add_up(zz)
    for j in range(end, x.shape[0]):
        v = 1.0 + d[j] * lam
        t = 1.0 / v
        weight[j] = t
        product[j] *= v
        sxx += x[j] * (x[j] * t)
        sxz += z[j] * (x[j] * t)
        szz += z[j] * z[j] * t
    return sxx, sxz, szz


@compiled()
def turn_to_scores(z, p, x, d, weight, mean):
    """z becomes q = D (z - x mean), p becomes D x; returns the sums of D and of d D."""
    end = x.shape[0] // WIDTH * WIDTH
    means = spread(mean)
    plain = spread(0.0)
    weighted = spread(0.0)
    for j in range(0, end, WIDTH):
        vs = load(weight, j)
        plain += vs
        weighted += load(d, j) * vs
        ps = vs * load(x, j)
        store(p, j, ps)
        store(z, j, vs * load(z, j) - ps * means)
    s, t = add_up(plain), add_up(weighted)
    for j in range(end, x.shape[0]):
        v = weight[j]
        s += v
        t += d[j] * v
        p[j] = v * x[j]
        z[j] = v * z[j] - p[j] * mean
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
