"""Whether a matrix given as a relationship is the inverse of one, as programs for mixed models take it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from bmtme.errors import DataError

__all__ = ["describe_inverse", "invert", "warn_of_inverse", "warn_of_no_inverse"]

#: Fewer lines tell nothing; of a sparse inverse of a pedigree's, fewer do.
_FEWEST, _FEWEST_SPARSE = 10, 5
#: Rows worked on at once.
_BLOCK = 256
#: An entry, as a correlation, below this is zero.
_ZERO = 1e-10
#: Relative SD of the sums of rows below which they are the same, in spite of rounding in a file.
_SAME_SUMS = 1e-4
#: Skewness off the diagonal below which the strong entries are negative, and above which, in the inverse, positive. Of
#: relationships (maize, wheat, barley, potato, animals, and 250 simulated populations; from markers and pedigrees) the
#: least was -0.1; of their inverses, where lines are related more closely than in one cross, -0.3 was the largest.
_NEGATIVE_SKEW, _POSITIVE_SKEW = -0.25, 0.5
#: By how much nearer to 1, on the log scale, the mean diagonal of the inverse must be.
_NEARER = 0.4


def warn_of_inverse(matrix: np.ndarray | None, source: str, stacklevel: int) -> None:
    """Warn of a matrix that seems to be the inverse of a relationship; None is the identity."""
    text = None if matrix is None else describe_inverse(matrix)
    if text is not None:
        warnings.warn(f"{source}: {text}", UserWarning, stacklevel=stacklevel + 1)


def invert(matrix: np.ndarray, lines: Sequence[str], source: str, reason: str) -> tuple[np.ndarray, str]:
    """The relationship of which a matrix is the inverse, and a note on what was done.

    Parameters
    ----------
    matrix : (n, n) array
        Symmetric.
    lines : sequence of str
    source : str
        Name of the file.
    reason : str
        Why it is taken as an inverse, such as ``by its ending``.

    Raises
    ------
    DataError
        If the matrix is not positive definite, so that it is the inverse of no relationship.
    """
    try:
        factor, lower = cho_factor(matrix, lower=True)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
        line = lines[int(np.abs(vectors[:, 0]).argmax())]
        raise DataError(
            f"{source} is the inverse of a relationship {reason}, but not positive definite (smallest eigenvalue "
            f"{values[0]:.3g}, where line {line!r} has the largest part): it is the inverse of none. If it is the "
            "relationship itself, say inverse=False, or give its file another ending (.grm)."
        ) from None
    inverse = cho_solve((factor, lower), np.eye(len(matrix)))
    inverse = (inverse + inverse.T) / 2
    before, after = float(matrix.diagonal().mean()), float(inverse.diagonal().mean())
    return inverse, (
        f"inverted: {source} holds the inverse of a relationship {reason}; mean diagonal {before:.6g} before, "
        f"{after:.6g} after"
    )


def warn_of_no_inverse(inverted: np.ndarray, source: str, reason: str, stacklevel: int) -> None:
    """Warn where a matrix that was taken as an inverse, and inverted, was none, as far as can be told."""
    if describe_inverse(inverted) is not None:
        warnings.warn(
            f"{source} was taken as the inverse of a relationship {reason} and was inverted, but what came of that "
            f"looks like an inverse itself (mean diagonal {float(inverted.diagonal().mean()):.3g}): if the file holds "
            "the relationship, say inverse=False, or give it another ending (.grm).",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def describe_inverse(matrix: np.ndarray) -> str | None:
    """Why a matrix seems to be the inverse of a relationship, as a sentence, or None.

    Parameters
    ----------
    matrix : (n, n) array
        Symmetric with a positive diagonal.

    Notes
    -----
    Close relatives have large positive entries in a relationship K, and as each tells of the other given all the rest,
    large negative ones in :math:`K^{-1}` (its entries, scaled, are partial correlations with the sign turned). Three
    marks are looked for, and the matrix is inverted only where one is there: (a) most entries off the diagonal zero,
    many of the others negative, and an inverse without negative ones: Henderson's :math:`A^{-1}` of a pedigree; (b)
    strong entries, after centring, that are negative, and positive in the inverse; (c) the same large sum in every row,
    as has the inverse of a centred genomic relationship with something added to its diagonal, and an inverse with a
    mean diagonal nearer to 1.
    """
    n = len(matrix)
    if n < _FEWEST_SPARSE:
        return None
    mean = float(matrix.diagonal().mean())
    others = int(np.count_nonzero(matrix)) - n
    negative = int(np.count_nonzero(matrix < 0)) / max(others, 1)
    sums = matrix.sum(axis=1)
    sparse = others <= 0.5 * n * (n - 1) and negative >= 0.3
    even = n >= _FEWEST and bool(sums.std() < _SAME_SUMS * sums.mean()) and sums.mean() > 1.5 * mean
    # An additive relationship has no negative entries; its few founders may stand apart from all others.
    skewed = n >= _FEWEST and (negative >= 0.15 or even) and _is_skewed(_measure(matrix), n)
    # With few different entries, a few kinds of relatives are all there is.
    balanced = even and mean > 1.3 and len(np.unique(np.round(matrix[0] / mean, 6))) > n / 2
    if not (sparse or skewed or balanced):
        return None
    try:
        np.linalg.cholesky(matrix)
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:  # what has no inverse is none
        return None
    diagonal = inverse.diagonal()
    if diagonal.min() <= 0:
        return None
    if sparse and diagonal.min() > 0.9 and diagonal.max() < 2.1 and inverse.min() > -1e-6:
        found = "most entries off its diagonal are zero or negative, and its inverse has none below zero"
    elif skewed and _measure(inverse).skewness > _POSITIVE_SKEW:
        found = "the strong entries off its diagonal are negative, as they are in an inverse where lines are related"
    elif balanced and abs(np.log(diagonal.mean())) < abs(np.log(mean)) - _NEARER:
        found = "all its rows have the same large sum, as in the inverse of a centred genomic relationship"
    else:
        return None
    return (
        "the matrix looks like the inverse of a relationship (such as Ainverse, Ginv or .giv, for programs that take "
        f"this): {found}; its mean diagonal is {mean:.3g}, that of its inverse {float(diagonal.mean()):.3g}. A fit "
        "needs the relationship itself, in which close relatives have large entries: if it is the inverse, have it "
        "inverted (bmtme grm FILE --matrix --inverse; read_relationship(inverse=True)); if not, nothing is to be done."
    )


@dataclass(frozen=True)
class _Shape:
    """What the entries off the diagonal of a centred matrix look like, as correlations."""

    skewness: float
    most: float
    far: int  # number below -most, each pair twice


def _is_skewed(shape: _Shape, n: int) -> bool:
    """Whether strong negative entries prevail, and not of some odd pair alone, as of the parents of one cross."""
    return shape.skewness < _NEGATIVE_SKEW and shape.most > 0 and shape.far >= max(6, n // 5)


def _measure(matrix: np.ndarray) -> _Shape:
    """The shape of a matrix, in blocks of rows: thousands of lines fill memory."""
    n = len(matrix)
    means = matrix.mean(axis=1)
    diagonal = matrix.diagonal() - 2 * means + means.mean()
    if diagonal.min() <= _ZERO * diagonal.max():
        return _Shape(0.0, 0.0, 0)
    root = np.sqrt(diagonal)
    powers = np.zeros(3)
    most = -np.inf
    lowest: list[np.ndarray] = []
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        entries = matrix[rows] - (means - means.mean())
        entries -= means[rows, None]
        entries /= root
        entries /= root[rows, None]
        places = np.arange(len(entries))
        entries[places, start + places] = 0.0
        squares = entries * entries
        powers += [entries.sum(), squares.sum(), np.vdot(squares, entries)]
        entries[places, start + places] = -np.inf
        most = max(most, float(entries.max()))
        lowest.append(np.sort(entries[(entries < -max(most, 0.0)) & (entries > -np.inf)]))
    mean, square, cube = powers / (n * (n - 1))
    variance = square - mean**2
    skewness = float((cube - 3 * mean * square + 2 * mean**3) / variance**1.5) if variance > _ZERO else 0.0
    return _Shape(skewness, most, sum(int(np.searchsorted(part, -max(most, 0.0))) for part in lowest))
