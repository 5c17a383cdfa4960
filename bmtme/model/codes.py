"""Numbers that stand for words where compiled code reads them, and a prior as it reads it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: A trait of a record, or of an unseen plot: seen, to be imputed, or without any record in the environment.
OBSERVED, MISSING, ABSENT = 0, 1, 2
#: Priors of the environment means.
FLAT, EXCHANGEABLE, PAPER = 0, 1, 2
#: Families of priors of a covariance.
HALF_T, INVERSE_WISHART = 0, 1
#: Shapes of a covariance.
FULL, DIAGONAL, SCALAR = 0, 1, 2


class CovariancePrior(NamedTuple):
    """Prior of one p x p covariance: its family and the shape the matrix is held to."""

    family: int  # HALF_T or INVERSE_WISHART
    shape: int  # FULL, DIAGONAL or SCALAR (one variance times the identity)
    nu: float  # half-t degrees of freedom
    scale: np.ndarray  # (p,) half-t scales A
    df: float  # inverse-Wishart degrees of freedom
    matrix: np.ndarray  # (p, p) inverse-Wishart scale
