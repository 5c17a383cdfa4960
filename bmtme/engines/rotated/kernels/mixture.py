"""Quantiles of equal mixtures of normals: predictive intervals without simulation noise."""

from __future__ import annotations

import math

import numpy as np

from bmtme.linalg.compile import compiled


@compiled()
def find_mixture_quantile(mean, variance, p):
    """The p quantile of (1/S) sum_s N(mean_s, variance_s), by bisection safeguarded Newton steps.

    mean, variance : (S,); the result is within 1e-6 of the mixture's standard deviation.
    """
    S = mean.shape[0]
    centre = 0.0
    square = 0.0
    low = np.inf
    high = -np.inf
    for s in range(S):
        centre += mean[s]
        square += mean[s] ** 2 + variance[s]
        low = min(low, mean[s] - 12.0 * math.sqrt(variance[s]))
        high = max(high, mean[s] + 12.0 * math.sqrt(variance[s]))
    centre /= S
    spread = math.sqrt(max(square / S - centre**2, 0.0))
    if spread == 0.0:
        return centre
    x = centre + spread * (1.6448536269514722 if p > 0.5 else -1.6448536269514722)
    x = min(max(x, low), high)
    for _ in range(200):
        F = 0.0
        f = 0.0
        for s in range(S):
            sd = math.sqrt(variance[s])
            if sd > 0.0:
                z = (x - mean[s]) / sd
                F += 0.5 * math.erfc(-z / math.sqrt(2.0))
                f += math.exp(-0.5 * z * z) / (sd * 2.5066282746310002)
            elif x >= mean[s]:
                F += 1.0
        F = F / S - p
        f /= S
        if F > 0.0:
            high = x
        else:
            low = x
        new = x - F / f if f > 0.0 else 0.5 * (low + high)
        if not (low < new < high):
            new = 0.5 * (low + high)
        if abs(new - x) <= 1e-6 * spread:
            return new
        x = new
    return x


@compiled()
def fill_mixture_quantiles(mean, variance, low, high, out):
    """Quantiles `low` and `high` of each row's mixture; mean, variance (n, S), out (n, 2)."""
    for n in range(mean.shape[0]):
        out[n, 0] = find_mixture_quantile(mean[n], variance[n], low)
        out[n, 1] = find_mixture_quantile(mean[n], variance[n], high)
