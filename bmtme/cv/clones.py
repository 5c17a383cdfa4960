"""Scored cells whose value a clone shows in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bmtme.cv.partitions import Partition
from bmtme.data.trial import Trial
from bmtme.words import count_noun

__all__ = ["describe_clone_leaks", "find_clone_leaks"]


def find_clone_leaks(partitions: Sequence[Partition], trial: Trial, clones: Mapping[str, str]) -> dict[str, int]:
    """Scored cells of each partition whose line has a clone that is seen in the same environment and trait.

    Parameters
    ----------
    partitions : sequence of Partition
    trial : Trial
    clones : mapping of str to str
        Of each line with a clone, what its clones have in common, as of `bmtme.find_clones`.

    Returns
    -------
    dict of str to int
        Number of such cells by the partition's label; partitions without one are left out.
    """
    groups: dict[str, list[int]] = {}
    for j, line in enumerate(trial.lines):
        if line in clones:
            groups.setdefault(clones[line], []).append(j)
    several = [np.array(group) for group in groups.values() if len(group) > 1]
    if not several:
        return {}
    recorded = trial.counts() > 0
    found = {}
    for partition in partitions:
        tested, training = partition.test_cells(trial), recorded & ~partition.hidden
        # A scored cell is no training cell, so that what is seen in its group is another line's.
        cells = sum(int((tested[group] & training[group].any(axis=0)).sum()) for group in several)
        if cells:
            found[partition.label] = cells
    return found


def describe_clone_leaks(partitions: Sequence[Partition], trial: Trial, clones: Mapping[str, str]) -> str:
    """Sentences on what `find_clone_leaks` finds, empty if there is nothing."""
    found = find_clone_leaks(partitions, trial, clones)
    if not found:
        return ""
    scored = {partition.label: partition for partition in partitions}
    label = max(found, key=lambda label: found[label] / scored[label].test_cells(trial).sum())
    share = f"{found[label]:,} of {count_noun(int(scored[label].test_cells(trial).sum()), 'scored cell')}"
    return (
        f"clones tell what is hidden: in {len(found):,} of {count_noun(len(partitions), 'partition')} a line is scored "
        "whose clone (the same genotype by the relationship) is seen in training in the same environment and trait; "
        f"most in partition {label!r}, {share}. There scores tell how well a value is repeated, not how well it is "
        "predicted. bmtme.NewLines() keeps clones together; for other schemes, leave one line of each clone."
    )
