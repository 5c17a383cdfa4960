"""What is to be borne in mind of a cross-validation: its partitions, failures and Monte Carlo errors, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bmtme.cv.partitions import Partition, find_equal
from bmtme.cv.precision import ENOUGH, MOST_NOISE
from bmtme.cv.tasks import Outcome
from bmtme.data.trial import Trial
from bmtme.progress import write_duration
from bmtme.results.agreement import FEWEST_LINES
from bmtme.words import count_noun, list_names

#: Advice is a whole multiple of the run, and of more than this many times nothing is foretold.
LONGEST = 100
#: Of each model and partition: its labels, and what came out.
Outcomes = Sequence[tuple[str, str, Outcome]]


class Length(NamedTuple):
    """How long the chains were, and the seconds of all on these workers."""

    draws: int
    tune: int
    seconds: float

    def advise(self, factor: float, tune: bool = False) -> str:
        """A longer run in numbers, at least twice as long: its length, and its time.

        tune : whether the warm-up should be longer too
        """
        times = max(2, math.ceil(factor))
        if times > LONGEST:
            return f"even {LONGEST} times as many draws would not do"
        words = f"tune={times * self.tune}, " if tune else ""
        return f"{words}draws={times * self.draws} would take about {write_duration(max(1.0, times * self.seconds))}"


def describe_equal(partitions: pd.DataFrame) -> str:
    """A sentence on partitions of the table that are the same, empty if there are none."""
    found = find_equal(partitions)
    if not found:
        return ""
    number = partitions["partition"].nunique()
    distinct = number - sum(len(labels) - 1 for labels in found)
    which = "; ".join(list_names(labels, 5) for labels in found[:3])
    more = f" and {len(found) - 3:,} more sets" if len(found) > 3 else ""
    return (
        f"{count_noun(number, 'partition')} hide only {count_noun(distinct, 'different set')} of values: those called "
        f"{which}{more} are the same. Partitions that repeat others tell nothing new, and differences between models "
        "look surer for them than they are: keep one of each."
    )


def describe_few(partitions: Sequence[Partition], trial: Trial) -> str:
    """A sentence on partitions that are all too small for a correlation, empty if one is not."""
    most = max(int(partition.test_cells(trial).sum(axis=0).max()) for partition in partitions)
    if most >= FEWEST_LINES:
        return ""
    return (
        f"no partition scores more than {count_noun(most, 'line')} of a trait in an environment; no correlation can be "
        f"computed within partitions of so few lines ({FEWEST_LINES} are the fewest); errors such as msep can. Hide "
        "more lines at a time: a larger test_fraction, or fewer folds, such as folds=5."
    )


def describe_failures(failures: Sequence[tuple[str, str, str]], fits: int) -> str:
    """A sentence on fits that broke down, empty if none did."""
    if not failures:
        return ""
    name, label, message = failures[0]
    which = list_names(f"{name} on {label}" for name, label, _ in failures)
    return (
        f"{len(failures)} of {fits} fits failed and have no scores ({which}); compare models on the partitions they "
        f"share. The first, model {name!r} on partition {label!r}: {message}"
    )


def describe_precision(labels: Outcomes, length: Length) -> str:
    """A sentence on predictions with a large Monte Carlo error, empty if there are none."""
    parts, fewest = [], float(ENOUGH)
    for name in dict.fromkeys(name for name, _, _ in labels):
        told = [(outcome.effective, label) for key, label, outcome in labels if key == name]
        found = [entry for entry in told if np.isfinite(entry[0])]
        few = [entry for entry in found if entry[0] < ENOUGH]
        if few:
            least, label = min(few)
            fewest = min(fewest, least)
            where = f"partition {label!r}"
            if len(found) > 1:
                where += f", {len(few)} of {len(found)} partitions below {ENOUGH}"
            parts.append(f"model {name!r} about {max(1, round(least))} ({where})")
    if not parts:
        return ""
    return (
        f"few effective draws behind the predictions: {'; '.join(parts)}. The Monte Carlo error of a predicted mean is "
        "then above 10% of its posterior standard deviation (1 / sqrt(effective draws)), and scores that are close "
        f"cannot be told apart: use more draws ({length.advise(ENOUGH / max(fewest, 1.0))})."
    )


def share_noise(labels: Outcomes, traits: Sequence[str]) -> dict[str, dict[str, float]]:
    """By model and trait, the share of the variance between predicted lines that is Monte Carlo noise.

    Both variances are averaged over partitions; traits without anything to tell are left out.
    """
    shares: dict[str, dict[str, float]] = {name: {} for name, _, _ in labels}
    for name, held in shares.items():
        found = [outcome.noise for key, _, outcome in labels if key == name]
        for trait in traits:
            measured = [noise[trait] for noise in found if trait in noise]
            part, whole = np.nansum(measured, axis=0) if measured else (0.0, 0.0)
            if whole > 0:
                held[trait] = float(min(1.0, part / whole))
    return shares


def describe_noise(noise: Mapping[str, Mapping[str, float]], length: Length) -> str:
    """A sentence on differences between lines that are Monte Carlo noise, empty if there are none."""
    parts = []
    for name, shares in noise.items():
        much = [f"{trait} {share:.0%}" for trait, share in shares.items() if share > MOST_NOISE]
        if much:
            parts.append(f"model {name!r}: {', '.join(much)}")
    if not parts:
        return ""
    most = max(share for shares in noise.values() for share in shares.values())
    return (
        f"the differences between predicted lines are in good part Monte Carlo noise ({'; '.join(parts)} of their "
        f"variance); their scores are worse for it: use more draws ({length.advise(most / MOST_NOISE)})."
    )
