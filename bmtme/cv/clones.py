"""Clones: of the lines of scored cells, those that would show in training what is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bmtme.cv.partitions import Partition, check_partition
from bmtme.data.trial import Trial
from bmtme.words import count_noun

__all__ = ["describe_clone_leaks", "find_clone_leaks", "hide_clones"]


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
    several = gather_clones(trial, clones)
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


def hide_clones(partitions: Sequence[Partition], trial: Trial, clones: Mapping[str, str]) -> list[Partition]:
    """The partitions with the clones of scored cells hidden, too, in the same environment and trait, and not scored."""
    several = gather_clones(trial, clones)
    counts = trial.counts()
    made = []
    for partition in partitions:
        tested, hidden = partition.test_cells(trial), partition.hidden.copy()
        for group in several:
            hidden[group] |= tested[group].any(axis=0)
        more = Partition(partition.label, hidden, partition.scored)
        check_partition(more, trial, counts)
        made.append(more)
    return made


def gather_clones(trial: Trial, clones: Mapping[str, str]) -> list[np.ndarray]:
    """Places of the lines of the trial that are clones of each other, two or more in each."""
    groups: dict[str, list[int]] = {}
    for j, line in enumerate(trial.lines):
        if line in clones:
            groups.setdefault(clones[line], []).append(j)
    return [np.array(group) for group in groups.values() if len(group) > 1]


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
