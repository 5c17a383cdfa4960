"""Hidden lines of which a partition's training part tells nothing, as they are related to none of its lines."""

from __future__ import annotations

import numpy as np

from bmtme.cv.partitions import Partition
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial

__all__ = ["find_strangers"]

#: A relationship below this, as a share of the root of the two diagonal entries, is zero up to rounding.
NOTHING = 1e-9


def find_strangers(relationship: Relationship, partition: Partition, trial: Trial) -> list[str]:
    """Lines that are scored, keep no training value, and have zero relationship with every line that keeps one.

    Their predicted genetic values are the prior's mean, the same for all: the expectation of a normal effect given the
    others is that without them where all covariances are zero, whatever it has in common with lines that are hidden,
    too.

    Parameters
    ----------
    relationship : Relationship
        Of all lines with records, matched by name.
    partition : Partition
    trial : Trial
        The trial the partition was made for.

    Returns
    -------
    list of str
        In the order of their names; empty where every such line has a relative to learn from.

    Raises
    ------
    DataError
        If the relationship lacks one of the lines.
    """
    tested = partition.test_cells(trial).any(axis=(1, 2))
    trained = ((trial.counts() > 0) & ~partition.hidden).any(axis=(1, 2))
    names = np.array(trial.lines, dtype=object)
    hidden = sorted(names[tested & ~trained])
    if not hidden or relationship.is_identity:
        return hidden
    rows, columns = relationship.index(hidden), relationship.index(names[trained])
    matrix = relationship.matrix
    # A relationship that is positive semi-definite up to rounding may have a diagonal entry just below zero.
    size = np.sqrt(np.maximum(matrix.diagonal(), 0.0))
    nearest = np.abs(matrix[np.ix_(rows, columns)]) > NOTHING * np.outer(size[rows], size[columns])
    return [line for line, related in zip(hidden, nearest.any(axis=1), strict=True) if not related]
