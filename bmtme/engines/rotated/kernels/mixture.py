"""Equal mixtures of normals: predictive intervals and scores without simulation noise."""

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
    start = 1.6448536269514722 if abs(p - 0.5) > 0.35 else 0.6744897501960817
    x = centre + spread * (start if p > 0.5 else -start)
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


@compiled()
def expect_distance(mean, variance):
    """E|X| of X ~ N(mean, variance)."""
    if variance <= 0.0:
        return abs(mean)
    sd = math.sqrt(variance)
    z = mean / sd
    return mean * math.erf(z / math.sqrt(2.0)) + sd * 0.7978845608028654 * math.exp(-0.5 * z * z)


@compiled()
def expect_apart(mean, variance, groups):
    """E|X - X'| of X, X' independent from the mixture (1/S) sum_s N(mean_s, variance_s), over all pairs of components.

    With fewer `groups` than S over some S * groups / 2 pairs. The components are put into groups of neighbours by their
    means, and each pair of groups is met by pairing their members, shifted from pair to pair; with itself a group is
    met by its members each with itself, 1/n of its pairs, and with the next but some. However different the variances
    are, the largest meets all groups.
    """
    S = mean.shape[0]
    groups = min(groups, S)
    order = np.argsort(mean)
    apart = 0.0
    shift = 0
    for g in range(groups):
        first = g * S // groups
        n = (g + 1) * S // groups - first
        alone = 0.0
        within = 0.0
        away = max(1, n // 3)
        for k in range(n):
            s = order[first + k]
            alone += expect_distance(0.0, 2.0 * variance[s])
            t = order[first + (k + away) % n]
            within += expect_distance(mean[s] - mean[t], variance[s] + variance[t])
        apart += alone / S**2 + within * (n - 1) / S**2
        for h in range(g):
            start = h * S // groups
            m = (h + 1) * S // groups - start
            shift += 1
            between = 0.0
            for k in range(max(n, m)):
                s = order[first + k % n]
                t = order[start + (k + shift) % m]
                between += expect_distance(mean[s] - mean[t], variance[s] + variance[t])
            apart += 2.0 * between / max(n, m) * n * m / S**2
    return apart


@compiled()
def fill_mixture_scores(mean, variance, observed, groups, out):
    """Log density and CRPS of what was observed under each row's mixture; mean, variance (n, S), out (n, 2).

    CRPS = E|X - y| - E|X - X'| / 2 with X, X' independent from the mixture (Gneiting & Raftery 2007, Journal of the
    American Statistical Association 102:359-378, eq. 21); `groups` as of `expect_apart`.
    """
    S = mean.shape[1]
    for n in range(mean.shape[0]):
        largest = -np.inf
        away = 0.0
        for s in range(S):
            v = variance[n, s]
            gap = observed[n] - mean[n, s]
            away += expect_distance(gap, v)
            if v > 0.0:
                largest = max(largest, -0.5 * (gap * gap / v + math.log(v)))
        total = 0.0
        for s in range(S):
            v = variance[n, s]
            if v > 0.0:
                gap = observed[n] - mean[n, s]
                total += math.exp(-0.5 * (gap * gap / v + math.log(v)) - largest)
        out[n, 0] = largest + math.log(total / S) - 0.9189385332046727 if total > 0.0 else -np.inf
        out[n, 1] = away / S - 0.5 * expect_apart(mean[n], variance[n], groups)
