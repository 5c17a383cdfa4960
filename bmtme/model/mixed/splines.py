"""Two-dimensional P-splines of a field as random terms.

Cubic B-splines with a penalty on second differences of their coefficients (Eilers and Marx 1996, Statistical Science
11:89-121) are a straight line, which nothing penalises, and a smooth deviation. With D'D = U diag(d) U', of which the
two zeros of d belong to the line, the deviation is B U_s a with a ~ N(0, s2 diag(1 / d_s)). Over rows x columns there
are five variances (PS-ANOVA; Lee, Durban and Eilers 2013, Computational Statistics & Data Analysis 61:22-37;
Rodriguez-Alvarez, Boer, van Eeuwijk and Eilers 2018, Spatial Statistics 23:52-71): of a smooth deviation along each,
of one whose size changes linearly along the other, and of the product of both, whose precision is d_k + d_l over s2.
The straight lines and their product are the fixed part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import BSpline

from bmtme.model.mixed.design import AxisLevels, Design, Layout
from bmtme.model.mixed.terms import TRAIT, Axis, Term

__all__ = ["FEWEST", "Marginal", "Spline", "add_splines", "count_segments", "make_marginal", "make_splines"]

#: Positions along an axis with a smooth deviation, at least.
FEWEST = 5
#: Segments of an axis at most, and of how many of them the product of both axes takes one.
MOST, NESTED = 20, 2
DEGREE = 3


@dataclass(frozen=True, eq=False)
class Marginal:
    """A P-spline along one axis.

    Attributes
    ----------
    line : (n,) float array
        The position, from -1 to 1 along the field.
    smooth : (n, k) float array
        B U_s.
    roots : (k,) float array
        d_s.
    """

    line: np.ndarray
    smooth: np.ndarray
    roots: np.ndarray


@dataclass(frozen=True, eq=False)
class Spline:
    """A random term of independent effects with one variance.

    Attributes
    ----------
    name : str
    matrix : (n, q) float array
    """

    name: str
    matrix: np.ndarray


def count_segments(positions: int) -> int:
    """Segments along an axis with so many positions: one between each two, an even number, at most 20."""
    return min(positions - 1, MOST) // NESTED * NESTED


def make_marginal(positions: np.ndarray, ends: tuple[float, float], segments: int) -> Marginal:
    """The P-spline at some positions of an axis that has these ends."""
    low, high = ends
    step = (high - low) / segments
    knots = low + step * np.arange(-DEGREE, segments + DEGREE + 1)
    # Rounding must not put the last position behind the last segment.
    inside = np.clip(positions, knots[DEGREE], knots[-DEGREE - 1])
    B = BSpline.design_matrix(inside, knots, DEGREE).toarray()
    D = np.diff(np.eye(B.shape[1]), 2, axis=0)
    values, vectors = np.linalg.eigh(D.T @ D)
    line = 2.0 * (positions - low) / (high - low) - 1.0
    return Marginal(line, B @ vectors[:, 2:], values[2:])


def make_splines(
    names: Sequence[str], positions: Sequence[np.ndarray], ends: Sequence[tuple[int, int]], segments: Sequence[int]
) -> list[Spline]:
    """The random terms of a field.

    Parameters
    ----------
    names : (str, str)
        Of the two axes.
    positions : two (n,) arrays
    ends : two pairs of int
    segments : (int, int)
        Zero for an axis with too few positions, which has a line alone.
    """
    full = [make_marginal(*axis) if axis[2] else None for axis in zip(positions, ends, segments, strict=True)]
    found = []
    for a, own in enumerate(full):
        b = 1 - a
        if own is None:
            continue
        Z = own.smooth / np.sqrt(own.roots)
        found.append(Spline(f"s({names[a]})", Z))
        low, high = ends[b]
        if high > low:
            line = 2.0 * (positions[b] - low) / (high - low) - 1.0
            found.append(Spline(f"s({names[a]}) x {names[b]}", Z * line[:, None]))
    if all(segments):
        one, two = (make_marginal(*axis) for axis in zip(positions, ends, (k // NESTED for k in segments), strict=True))
        Z = one.smooth[:, :, None] * two.smooth[:, None, :] / np.sqrt(one.roots[:, None] + two.roots)
        found.append(Spline(f"s({names[0]}) x s({names[1]})", Z.reshape(len(Z), -1)))
    return found


def add_splines(layout: Layout, splines: Sequence[Spline], weights: np.ndarray) -> Layout:
    """A layout with splines as random terms, with several traits for each its variances.

    Parameters
    ----------
    layout : Layout
    splines : sequence of Spline
        At its records.
    weights : (n,) float array
        Of the records, adding up to one for each trait: over the records so weighed every spline is zero, and so are
        means of the field with it (the fixed part has a mean, so that this changes nothing else). Its variance is that
        of the trend, on average over them.
    """
    traits = layout.trait
    made = []
    for spline in splines:
        codes = np.zeros(len(layout.y), dtype=np.int64) if traits is None else traits.codes
        Z, n = spline.matrix.copy(), spline.matrix.shape[1]
        for t in range(int(codes.max()) + 1):
            own = codes == t
            Z[own] -= weights[own] @ Z[own]
            Z[own] /= np.sqrt(weights[own] @ (Z[own] ** 2).sum(axis=1))
        rows, columns = np.indices(Z.shape)
        matrix = sp.csr_array(
            (Z.ravel(), (rows.ravel(), (columns + n * codes[:, None]).ravel())), shape=(len(Z), n * (codes.max() + 1))
        )
        axis = Axis(spline.name)
        axes = [AxisLevels(axis, tuple(map(str, range(1, n + 1))))]
        if traits is not None:
            axes.insert(0, AxisLevels(Axis(TRAIT, "diag"), traits.levels))
        term = Term(tuple(levels.axis for levels in axes))
        name = ":".join(axis.name if str(axis) == f"`{axis.name}`" else str(axis) for axis in term.axes)
        made.append(Design(name, tuple(axes), np.full(len(Z), -1, dtype=np.int64), (), term, matrix))
    return replace(layout, random=(*layout.random, *made))
