"""Residual standard deviations by environment and trait that learn from each other: a hierarchy integrated out.

In scaled units, with I_l the environments in which trait l is recorded: mean_i log sd_il ~ N(log 0.6, 2^2), and the
deviations from that mean are N(0, s_l^2) with s_l^2 ~ IG(2, 0.18). With SS_l their sum of squares

    log p = -(mean - log 0.6)^2 / 8 - (2 + (I_l - 1) / 2) log(0.18 + SS_l / 2) + constant.

As parameters, s_l and the mean would mix many times worse. The mean needs its proper prior: with a flat one and a
relationship of full rank, standard deviations of zero would have infinite posterior mass.
"""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.structures.priors import draw_inverse_gamma

CENTRE, CENTRE_SD = math.log(0.6), 2.0
SHAPE, RATE = 2.0, 0.18


@compiled()
def place_columns(part):
    """(I, L) places of the log sd of each column among the parameters, -1 for none."""
    places = np.full((part.n_env, part.n_trait), -1)
    for m in range(part.col_env.shape[0]):
        places[part.col_env[m], part.col_trait[m]] = m
    return places


@compiled()
def finish_spreads(theta, places, gradient):
    """Log prior of log sd at `places` (I, L) of theta (-1: none); adds its slopes to the gradient."""
    lp = 0.0
    for l in range(places.shape[1]):
        n = 0
        mean = 0.0
        for i in range(places.shape[0]):
            if places[i, l] >= 0:
                n += 1
                mean += theta[places[i, l]]
        if n == 0:
            continue
        mean /= n
        squares = 0.0
        for i in range(places.shape[0]):
            if places[i, l] >= 0:
                squares += (theta[places[i, l]] - mean) ** 2
        lp -= 0.5 * ((mean - CENTRE) / CENTRE_SD) ** 2
        power = SHAPE + 0.5 * (n - 1)
        lp -= power * math.log(RATE + 0.5 * squares)
        for i in range(places.shape[0]):
            if places[i, l] >= 0:
                gradient[places[i, l]] -= (mean - CENTRE) / CENTRE_SD**2 / n
                gradient[places[i, l]] -= power / (RATE + 0.5 * squares) * (theta[places[i, l]] - mean)
    return lp


@compiled()
def complete_logs(rng, known, logs):
    """Log sd (I,) of environments of which they are not known: N(mean, s^2 (1 + 1 / n)), n, mean of those known.

    s^2 is drawn given the known ones, of which there is one at least. That is as if the mean of all environments had a
    flat prior, which N(log 0.6, 2^2) is beside s / sqrt(n). The standard deviation itself has no mean: log sd is
    Student's t.
    """
    n = np.sum(known)
    if n == known.shape[0]:
        return
    mean = 0.0
    for i in range(known.shape[0]):
        if known[i]:
            mean += logs[i]
    mean /= n
    squares = 0.0
    for i in range(known.shape[0]):
        if known[i]:
            squares += (logs[i] - mean) ** 2
    variance = draw_inverse_gamma(rng, SHAPE + 0.5 * (n - 1), RATE + 0.5 * squares)
    centre = mean + math.sqrt(variance / n) * rng.standard_normal()  # of all environments
    for i in range(known.shape[0]):
        if not known[i]:
            logs[i] = centre + math.sqrt(variance) * rng.standard_normal()


@compiled()
def complete_spreads(rng, part, theta, logs):
    """Log sd of every column into logs (I, L), each trait's by `complete_logs`; every trait is known somewhere."""
    for m in range(part.col_env.shape[0]):
        logs[part.col_env[m], part.col_trait[m]] = theta[m]
    known = place_columns(part) >= 0
    for l in range(part.n_trait):
        complete_logs(rng, known[:, l], logs[:, l])
