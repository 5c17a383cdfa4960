"""Errors of known covariance that correlate between the records of an environment, as of adjusted means of one design.

As in `known_errors`, what all records have in common of their errors is a part of the residual,

t_n | u ~ N(beta_i + u_ij, R_i + S_i),    y | t ~ N(t, E_i - I (x) S_i) for all records of an environment together.

Traits are drawn in turn. Given the others, the true values t_l of a trait have residuals of one variance, r, and errors
y_l - t_l around a regression on those of the other traits with a covariance Q diag(v) Q' that stays the same: in its
eigenbasis every value is a scalar. The mean of the environment goes with them: where errors have much in common, as
those of replicates or rows, t_l given the mean and the mean given t_l would hardly move.

(beta_il, t_l) | rest:  with g = Q'(y_l - E[e_l | e_o] - E[t_l | t_o]), o = Q'1, all given the old mean,
delta ~ N(sum o g / (r + v) and the prior, ...),   t_l = E[t_l | t_o] + delta + Q (r / (r + v) (g - o delta) + noise),
noise of variance r v / (r + v). Values that are missing, and unseen plots, are integrated out of the mean and drawn
afterwards. A sweep costs products of the matrices Q with vectors.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.engines.rotated.kernels.missing import regress
from bmtme.linalg.compile import compiled
from bmtme.linalg.pointers import call_apart, call_bool
from bmtme.model.codes import EXCHANGEABLE, OBSERVED, PAPER


@compiled()
def draw_joint_values(rng, p, s, w, i):
    """(beta_i, t) of the records of an environment, of which `fit_cells` is current and stays so; t into s.part."""
    L = p.n_trait
    column, width = p.env_first[i], p.env_width[i]
    traits = p.col_trait[column : column + width]
    R, B, K = np.empty((width, width)), np.empty((width, width)), np.empty((width, width))
    for a in range(width):
        for b in range(width):
            R[a, b] = s.R_e[p.block[i] * L + traits[a], traits[b]]
    start, stop = p.cell_offset[i], p.cell_offset[i + 1]
    others = np.empty(width, np.bool_)
    for a in range(width):
        l = traits[a]
        others[:] = True
        others[a] = False
        if not regress(R, others, ~others, B, K):
            return False
        if p.groups.first[i * L + l] < p.groups.first[i * L + l + 1]:
            draw_trait(rng, p, s, w, i, a, B[a], K[a, a])
        for c in range(start, stop):
            for q in range(p.part_offset[c], p.part_offset[c + 1]):
                if p.patterns[p.part_pattern[q], l] != OBSERVED:
                    s.part[q, l] = tell_value(p, s, w, i, a, B[a], q, c) + K[a, a] * rng.standard_normal()
    return True


@compiled()
def tell_value(p, s, w, i, a, weights, q, c):
    """E[t_l | t_o] of a record q in cell c, l the trait at place a of an environment, by a regression on the others."""
    first, width = p.env_first[i], p.env_width[i]
    told = w.fitted[c, a]
    for b in range(width):
        if b != a:
            told += weights[b] * (s.part[q, p.col_trait[first + b]] - w.fitted[c, b])
    return told


@compiled()
def draw_trait(rng, p, s, w, i, a, weights, sd):
    """(beta_il, t_l) given the other traits; sd^2 is the residual variance given them."""
    x, q, L = p.groups, p.means, p.n_trait
    m = p.env_first[i] + a
    l = p.col_trait[m]
    k = i * L + l
    first, last = x.first[k], x.first[k + 1]
    n = last - first
    told, X = np.empty(n), np.empty((n, 2))
    for v in range(n):
        part = x.part[first + v]
        told[v] = tell_value(p, s, w, i, a, weights, part, x.cell[first + v])
        X[v, 0] = p.part_values[part, l] - told[v]
        X[v, 1] = rng.standard_normal()
    count = x.first[(i + 1) * L] - x.first[i * L] - n
    if count > 0:
        e = np.empty(count)
        u = 0
        for v in range(x.first[i * L], x.first[(i + 1) * L]):
            if v < first or v >= last:
                trait = x.trait[v]
                e[u] = p.part_values[x.part[v], trait] - s.part[x.part[v], trait]
                u += 1
        X[:, 0] -= np.dot(x.gain[x.gain_first[k] : x.gain_first[k + 1]].reshape((n, count)), e)
    Q = x.turn[x.turn_first[k] : x.turn_first[k + 1]].reshape((n, n))
    turned = np.dot(Q.T, X)
    # The mean, which shifts all t_l; its prior given mu, tau.
    centre, precision = 0.0, 0.0
    if q.kind == EXCHANGEABLE:
        centre, precision = s.mu[l], 1.0 / s.tau2[l]
    elif q.kind == PAPER:
        centre, precision = -q.centre[l] / q.scale[l], q.scale[l] ** 2 / s.s2_b[0]
    r = sd * sd
    total = precision * (centre - s.beta[m])
    for v in range(n):
        weight = x.ones[first + v] / (r + x.spread[first + v])
        precision += weight * x.ones[first + v]
        total += weight * turned[v, 0]
    delta = total / precision + rng.standard_normal() / math.sqrt(precision)
    s.beta[m] += delta
    for c in range(p.cell_offset[i], p.cell_offset[i + 1]):
        w.fitted[c, a] += delta
    for v in range(n):
        share = r / (r + x.spread[first + v])
        noise = math.sqrt(share * x.spread[first + v])
        turned[v, 0] = share * (turned[v, 0] - delta * x.ones[first + v]) + noise * turned[v, 1]
    moved = np.dot(Q, turned[:, 0].copy())
    for v in range(n):
        s.part[x.part[first + v], l] = told[v] + delta + moved[v]


#: `draw_joint_values` at its address.
call_draw_joint_values = call_apart(draw_joint_values, call_bool)
