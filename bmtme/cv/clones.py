"""Clones: lines that count as one, and those of scored cells that would show in training what is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import is_number, show
from bmtme.cv.groups import Groups, GroupTable, read_groups, refuse_strangers
from bmtme.cv.partitions import Partition
from bmtme.data.relationship.clones import NEARLY_CLONES, find_clones, find_nearly_clones
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import UsageError
from bmtme.words import count_noun

__all__ = ["CloneChoice", "choose_clones", "describe_clone_leaks", "describe_nearly_clones", "find_clone_leaks"]

#: What users give: a least correlation, groups of lines, or no clones at all.
CloneChoice = float | GroupTable | None


def choose_clones(clones: CloneChoice, trial: Trial, relationship: Relationship) -> tuple[dict[str, str], Any]:
    """The clones of a cross-validation, and the choice in plain values for its record.

    Parameters
    ----------
    clones : float, dict, pandas.Series, None or False
        The least correlation for `bmtme.find_clones`; or of each line with a clone its group, by name; or none.
    trial : Trial
    relationship : Relationship

    Returns
    -------
    clones : dict of str to str
        Line -> group.
    described : float, dict or None

    Raises
    ------
    UsageError
        If `clones` is something else, or a number that is no correlation above 0.
    DataError
        If a table puts a line into two groups or names no line of the trial.
    """
    if clones is None or clones is False:
        return {}, None
    if isinstance(clones, (Mapping, pd.Series)):
        given = read_groups(clones, "clones")
        refuse_strangers([line for line, _ in given], trial.lines, "clones")
        return dict(given), Groups(given).describe()
    if not is_number(clones) or not 0.0 < clones <= 1.0:
        raise UsageError(
            "clones must be the least correlation of clones by the relationship, above 0 and up to 1, a dict of line "
            f"-> group, or None for none, got {show(clones)}."
        )
    return find_clones(relationship, clones), float(clones)


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
        "predicted. bmtme.NewLines() and bmtme.CV1() keep clones together; for other schemes, leave one line of each "
        "clone."
    )


def describe_nearly_clones(
    partitions: Sequence[Partition], trial: Trial, relationship: Relationship, clones: Mapping[str, str]
) -> str:
    """A sentence on lines that may be clones and are apart in a partition, empty if there are none.

    One line of a pair is scored, and the other is seen in training: in the same environment and trait, or anywhere if
    nothing else is seen of the first.
    """
    place = {line: j for j, line in enumerate(trial.lines)}
    pairs = {
        pair: r
        for pair, r in find_nearly_clones(relationship).items()
        if set(pair) <= place.keys() and (pair[0] not in clones or clones[pair[0]] != clones.get(pair[1]))
    }
    if not pairs:
        return ""
    recorded = trial.counts() > 0
    apart = np.zeros(len(pairs), dtype=bool)
    a, b = np.array([[place[line] for line in pair] for pair in pairs]).T
    for partition in partitions:
        tested, training = partition.test_cells(trial), recorded & ~partition.hidden
        known = np.asarray(training.any(axis=(1, 2)))
        new = np.asarray(tested.any(axis=(1, 2)) & ~known)
        for one, other in ((a, b), (b, a)):
            apart |= (tested[one] & training[other]).any(axis=(1, 2)) | (new[one] & known[other])
    if not apart.any():
        return ""
    (one, other), r = [*pairs.items()][int(apart.argmax())]
    number = int(apart.sum())
    return (
        f"near-duplicates: {count_noun(number, 'pair')} of lines {'is' if number == 1 else 'are'} nearly one genotype "
        f"by the relationship (a correlation of {NEARLY_CLONES:g} or more), such as {one!r} and {other!r} ({r:.3f}); "
        "one is scored while the other is seen in training, which flatters all models. If they are samples of one "
        f"line, count them as clones, which are hidden together: clones={NEARLY_CLONES:g} or a table of them, in the "
        f"shell --clones {NEARLY_CLONES:g}."
    )
