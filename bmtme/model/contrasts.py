"""How far a line is from the mean of the trial's lines: variances of such contrasts by the relationship."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.data.relationship.matrix import Relationship

#: Rows of the relationship that are summed at a time.
BLOCK = 256


def measure_contrasts(relationship: Relationship, lines: Sequence[str]) -> np.ndarray:
    """Prior variance of u_j - ubar per unit of genetic variance, ubar the mean of these lines: (n,) of every line.

    Of one of the lines [K G K]_jj, K = I - 11'/n over them; of another G_jj - 2 mean_k G_jk + mean_kl G_kl, with k and
    l among them. Both are the same whether G is centred or not (Henderson 1975, Biometrics 31:423-447).

    Parameters
    ----------
    relationship : Relationship
    lines : with a record, in the order of their names
    """
    n = len(lines)
    place = {name: k for k, name in enumerate(relationship.lines)}
    known = np.array([place[name] for name in lines], np.int64)
    if relationship.is_identity:
        values = np.full(len(place), 1.0 + 1.0 / n)
        values[known] = 1.0 - 1.0 / n
        return values
    matrix = relationship.matrix
    means = np.empty(len(place))
    for start in range(0, len(place), BLOCK):
        # Summed in the order of the names, so that the digits do not depend on that of the relationship.
        means[start : start + BLOCK] = matrix[start : start + BLOCK][:, known].sum(axis=1) / n
    return np.asarray(matrix.diagonal() - 2.0 * means + means[known].sum() / n)
