"""Hidden values that follow exactly from values that are seen: scoring them would be no test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.checkup.dependences import Dependence, describe_dependence, find_dependences
from bmtme.cv.partitions import Partition
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.words import count_noun

__all__ = ["find_leaks", "refuse_leaks"]


def find_leaks(trial: Trial, hidden: np.ndarray, dependences: Sequence[Dependence]) -> list[tuple[Dependence, int]]:
    """Relations of which a partition hides one column only, in some lines, and shows the others.

    Parameters
    ----------
    hidden : (J, I, L) bool array
        Cells withheld from training.
    dependences : from `bmtme.checkup.dependences.find_dependences`

    Returns
    -------
    list of (Dependence, int)
        With the number of lines of which the hidden value follows from those seen.
    """
    recorded = trial.counts() > 0
    found = []
    for each in dependences:
        envs, traits = (list(places) for places in zip(*each.columns, strict=True))
        alone = hidden[:, envs, traits].sum(axis=1) == 1
        lines = int((alone & recorded[:, envs, traits].all(axis=1)).sum())
        if lines:
            found.append((each, lines))
    return found


def refuse_leaks(trial: Trial, partitions: Sequence[Partition]) -> None:
    """Refuse to hide what the rest tells.

    Raises
    ------
    DataError
        Naming the partition, the lines and the relation.
    """
    dependences = find_dependences(trial)
    for partition in partitions:
        for each, lines in find_leaks(trial, partition.hidden, dependences):
            raise DataError(
                f"partition {partition.label!r} hides values of {count_noun(lines, 'line')} that follow exactly from "
                f"others that it shows: {describe_dependence(trial, each)}. Their scores would tell nothing of a "
                "model. Leave one of these columns out of the trial (its values as missing, or the trait), or take a "
                "scheme that hides all of them together."
            )
