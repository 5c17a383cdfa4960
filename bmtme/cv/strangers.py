"""Hidden lines of which a partition's training part tells nothing, as they are related to none of its lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.cv.partitions import Partition, count_units
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.words import count_noun, list_names

__all__ = ["describe_strangers", "find_strangers"]

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


def describe_strangers(partitions: Sequence[Partition], trial: Trial, relationship: Relationship) -> str:
    """A sentence on scored lines of which nothing is known, empty if there are none.

    Raises
    ------
    DataError
        If that is so of all lines that are hidden whole: all would be predicted alike.
    """
    found = {partition.label: find_strangers(relationship, partition, trial) for partition in partitions}
    strangers = {label: lines for label, lines in found.items() if lines}
    if not strangers:
        return ""
    whole = sum(count_units(partition, trial)["lines_hidden"] for partition in partitions)
    if sum(map(len, strangers.values())) == whole:
        alone = "as they are related to no other line"
        why = "with an identity relationship" if relationship.is_identity else alone
        first, lines = next(iter(strangers.items()))
        raise DataError(
            f"partition {first!r} hides every value of {count_noun(len(lines), 'line')}, and {why} nothing else "
            "tells of them: all would be predicted alike. Give a relationship from markers or a pedigree, or hide "
            "lines in some environments only, as bmtme.CV1() does."
        )
    label = max(strangers, key=lambda label: len(strangers[label]))
    return (
        f"nothing is known of some lines that are hidden whole, as they are related to none of the others: in "
        f"{len(strangers)} of {count_noun(len(partitions), 'partition')}, most in {label!r} "
        f"({list_names(strangers[label], 5)}). They are all predicted alike, which lowers the correlations."
    )
