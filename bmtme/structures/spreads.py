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
def complete_spreads(rng, logs, known):
    """Draw log sd (I, L) where it is not known: N(mean, s_l^2 (1 + 1 / I_l)), s_l^2 given the known ones of its trait.

    As if the mean of all environments had a flat prior, which N(log 0.6, 2^2) is beside s_l / sqrt(I_l). Every trait is
    known somewhere. The standard deviation itself has no mean: log sd is Student's t.
    """
    I, L = logs.shape
    for l in range(L):
        n = 0
        mean = 0.0
        for i in range(I):
            if known[i, l]:
                n += 1
                mean += logs[i, l]
        if n == I:
            continue
        mean /= n
        squares = 0.0
        for i in range(I):
            if known[i, l]:
                squares += (logs[i, l] - mean) ** 2
        variance = draw_inverse_gamma(rng, SHAPE + 0.5 * (n - 1), RATE + 0.5 * squares)
        centre = mean + math.sqrt(variance / n) * rng.standard_normal()  # of all environments
        for i in range(I):
            if not known[i, l]:
                logs[i, l] = centre + math.sqrt(variance) * rng.standard_normal()


def draw_spreads(rng: np.random.Generator, recorded: np.ndarray) -> np.ndarray:
    """Log sd (I, L) from the prior, NaN where there is no record."""
    out = np.full(recorded.shape, np.nan)
    for l in range(recorded.shape[1]):
        here = recorded[:, l]
        n = int(here.sum())
        deviations = np.sqrt(RATE / rng.gamma(SHAPE)) * rng.standard_normal(n)
        out[here, l] = CENTRE + CENTRE_SD * rng.standard_normal() + deviations - deviations.mean()
    return out
