"""Markers as arrays, and relationships from them by the plain formulas."""

from __future__ import annotations

import numpy as np

from bmtme.data.markers.genotypes import Markers

LINES = ("001", "1", "NA", "L 4", "é", "x6", "x7", "x8")


def codes_of(markers: Markers) -> np.ndarray:
    return np.hstack([codes for _, codes in markers.blocks()])


def naive(codes: np.ndarray, method: int) -> np.ndarray:
    """VanRaden's formulas marker by marker, missing genotypes at the mean, one allele left out."""
    n = len(codes)
    total, scale = np.zeros((n, n)), 0.0
    for column in codes.T:
        p = np.nanmean(column) / 2
        if not 0 < p < 1:
            continue
        z = np.where(np.isnan(column), 2 * p, column) - 2 * p
        variance = 2 * p * (1 - p)
        total += np.outer(z, z) / (1 if method == 1 else variance)
        scale += variance if method == 1 else 1
    return total / scale
