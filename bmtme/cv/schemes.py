"""The paper's schemes of cross-validation: lines that are known elsewhere, traits of an environment.

A scheme is a value that only makes masks. It sees the pattern of the records and a seed, never a phenotypic value or a
model, so that every model compared is asked about the very same cells. Schemes and what others call them:

============================  =============================================================  =========================
here                          predicted                                                      elsewhere
============================  =============================================================  =========================
`CV1`                         lines in environments where they were not grown, but others    CV2
`CV2`                         a trait in an environment where it was not measured            CV0, for one trait
`NewLines`                    lines never grown, in known environments                       CV1
`NewEnvironments`             known lines in environments never seen                         CV0
`NewLinesNewEnvironments`     lines never grown, in environments never seen                  CV00
============================  =============================================================  =========================

The first two are of Montesinos-Lopez et al. (2016), G3 6:2725-2744. The other names: CV1 and CV2 of Burgueno et al.
(2012), Crop Science 52:707-719; CV0 and CV00 of Jarquin et al. (2017), The Plant Genome 10(2),
doi 10.3835/plantgenome2016.12.0130.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bmtme.arguments import check_memory, check_predicted, whole_number
from bmtme.choices import GENETIC
from bmtme.cv.arguments import (
    advise,
    as_fraction,
    as_unique_names,
    check_trial,
    find_places,
    refuse_empty,
    spawn_stream,
)
from bmtme.cv.groups import Grouped, Groups, GroupTable, draw_units
from bmtme.cv.new_environments import NewEnvironments
from bmtme.cv.new_lines import NewLines
from bmtme.cv.partitions import BoolArray, Partition, Tabulated, check_partition, label_apart
from bmtme.data.order import sort_names
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.results.agreement import FEWEST_LINES
from bmtme.words import list_names

IntArray = npt.NDArray[np.int64]

RESTARTS = 100
"""How often CV1 starts a partition again before it gives up."""


@dataclass(frozen=True, repr=False)
class CV1(Grouped):
    """Lines lose all their traits in some environments but are seen in others (sparse testing).

    Environments are taken in random order. In an environment where n lines have a record,
    ``floor(test_fraction * n + 0.5)`` of them lose all traits, drawn uniformly among the lines that keep a
    record in another environment. Where too few such lines are left, the partition starts again, at most 100
    times. Partition k depends on the seed, on k, on the names of lines and environments and on which line x env
    cells hold a record, and on nothing else: neither on values, nor on the order of records or names, nor on the
    number of partitions.

    Source: Montesinos-Lopez et al. (2016), where random partitions of 80% training and 20% testing are made ten
    times. Breeders often call this scheme CV2 ("tested lines in incomplete trials").

    Parameters
    ----------
    partitions : int, default 10
        Number of random partitions.
    test_fraction : float, default 0.2
        Share of the recorded lines hidden in every environment, between 0 and 1.
    groups : dict or pandas.Series, optional
        Of lines, by name, their group, such as that of their clones (`bmtme.find_clones`). Those of a group's lines
        that are recorded in an environment lose it together, if each of them keeps another one; the number hidden is
        then as near to that above as whole groups allow.

    Raises
    ------
    UsageError
        If ``partitions`` is not a whole number of at least 1, or ``test_fraction`` not strictly between 0 and 1.
    DataError
        If a line is in two groups, or a name is neither text nor a whole number.
    """

    partitions: int = 10
    test_fraction: float = 0.2
    groups: Groups | GroupTable | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "partitions", whole_number(self.partitions, "partitions", least=1))
        fraction = as_fraction(self.test_fraction, "0.2 hides a fifth of the lines of every environment")
        object.__setattr__(self, "test_fraction", fraction)
        object.__setattr__(self, "groups", Groups.of(self.groups))

    def __repr__(self) -> str:
        groups = "" if self.groups is None else f", groups={self.groups!r}"
        return f"CV1(partitions={self.partitions}, test_fraction={self.test_fraction}{groups})"

    def describe(self) -> dict[str, Any]:
        """Its settings, for the record of a run; groups only where there are some."""
        groups = {} if self.groups is None else {"groups": self.groups}
        return {"partitions": self.partitions, "test_fraction": self.test_fraction, **groups}

    def masks(self, trial: Trial, seed: int = 0) -> list[Partition]:
        """Draw the partitions.

        `bmtme.cross_validate` first joins clones to the scheme (`join`); ``cv.partitions`` is what it hid.

        Parameters
        ----------
        trial : Trial
            Only the pattern of its records is looked at.
        seed : int
            Seed of the masks, 0 or more.

        Returns
        -------
        list of Partition
            Labelled ``"1"``, ``"2"``, ... in this order.

        Raises
        ------
        DataError
            If an environment never has enough lines which are also seen elsewhere, or if a partition would leave
            nothing to score, a line without any record or a trait without any training value.
        UsageError
            If the seed is not a whole number of at least 0.
        """
        seed = whole_number(seed, "seed", least=0)
        counts = check_trial(trial).counts()
        check_memory(self.partitions * counts.size, f"the masks of partitions={self.partitions}")
        recorded = np.asarray((counts > 0).any(axis=2))
        needed = np.array([math.floor(self.test_fraction * n + 0.5) for n in recorded.sum(axis=0)], dtype=np.int64)
        if not needed.any():
            raise DataError(
                f"A test fraction of {self.test_fraction:g} hides less than half a line in every environment "
                f"(the largest has {recorded.sum(axis=0).max(initial=0)} lines with a record), so nothing would be "
                "scored: use a larger test fraction."
            )
        # Drawn in the order of the names; environments without a record take no part.
        envs = [i for i in sort_names(trial.envs) if recorded[:, i].any()]
        lines = sort_names(trial.lines)
        places = np.ix_(lines, envs)
        units = self._find_units(trial, lines)
        made = []
        for number in range(1, self.partitions + 1):
            rng = spawn_stream(seed, number)
            drawn = _draw_cells(recorded[places], units, needed[envs], rng)
            if isinstance(drawn, _Shortage):
                i = envs[drawn.env]
                raise DataError(
                    f"CV1, partition {number}, environment {trial.envs[i]!r}: {needed[i]} of its "
                    f"{recorded[:, i].sum()} lines should be hidden (test fraction {self.test_fraction:g}), but only "
                    f"{drawn.found} of them could be found that keep a record in another environment, in spite of "
                    f"{RESTARTS} restarts. {_advise_cv1(trial, i, drawn.found)}"
                )
            lost = np.zeros(recorded.shape, dtype=bool)
            lost[places] = drawn
            partition = Partition(str(number), np.repeat(lost[:, :, None], len(trial.traits), axis=2))
            try:
                _check_seen_lines(partition, trial, counts)
            except DataError as error:
                raise DataError(f"{error} A smaller test fraction or another seed may help, too.") from None
            made.append(partition)
        return made

    def _find_units(self, trial: Trial, order: IntArray) -> IntArray:
        """Of every line in this order, the place in it of the first line of its group."""
        place, units = np.argsort(order), np.arange(len(order))
        for block in self.gather(trial):
            rows = place[list(block.lines)]
            units[rows] = rows.min()
        return units


def _draw_cells(
    recorded: BoolArray, units: IntArray, needed: IntArray, rng: np.random.Generator
) -> BoolArray | _Shortage:
    """Line x env cells which lose their records, shape (J, I); or where there are too few lines for that."""
    failures = np.zeros(len(needed), dtype=np.int64)
    most = np.zeros(len(needed), dtype=np.int64)
    for _ in range(1 + RESTARTS):
        kept = recorded.copy()
        for i in rng.permutation(len(needed)):
            elsewhere = kept.sum(axis=1) - kept[:, i]
            # A line that would lose its last record keeps its whole group.
            last = units[kept[:, i] & (elsewhere == 0)]
            candidates = np.flatnonzero(kept[:, i] & ~np.isin(units, last))
            if candidates.size < needed[i]:
                failures[i] += 1
                most[i] = max(most[i], candidates.size)
                break
            kept[candidates[draw_units(units[candidates], needed[i], rng)], i] = False
        else:
            return recorded & ~kept
    worst = int(failures.argmax())
    return _Shortage(worst, int(most[worst]))


@dataclass(frozen=True)
class _Shortage:
    """An environment where CV1 finds too few lines to hide, and how many it finds at most."""

    env: int
    found: int


def _advise_cv1(trial: Trial, env: int, found: int) -> str:
    """What can be done where CV1 finds too few lines to hide in an environment: sentences."""
    recorded = trial.counts() > 0
    n = int(recorded[:, env].any(axis=1).sum())
    # Of two environments, one alone is no trial for this scheme.
    leave = ", or leave this environment out" if recorded.any(axis=(0, 2)).sum() > 2 else ""
    largest = math.floor(100 * found / n) / 100
    if math.floor(largest * n + 0.5) >= FEWEST_LINES:
        return f"Use a test fraction of at most {largest:g}{leave}."
    others = advise(trial, CV2(envs=(trial.envs[env],)), NewLines())
    return (
        "No test fraction helps, as this scheme hides lines that are seen in other environments, too. "
        f"{others or f'Record lines in more environments{leave}.'}"
    )


def _check_seen_lines(partition: Partition, trial: Trial, counts: npt.NDArray[np.integer]) -> None:
    """Refuse a partition that cannot be fitted or scored, or hides all of a line, which these schemes never do."""
    check_partition(partition, trial, counts)
    recorded = counts > 0
    nowhere = np.flatnonzero(recorded.any(axis=(1, 2)) & ~(recorded & ~partition.hidden).any(axis=(1, 2)))
    if nowhere.size:
        raise DataError(
            f"Partition {partition.label!r} hides every recorded value of line "
            f"{list_names(trial.lines[j] for j in nowhere)}: a line must also be recorded outside the hidden "
            "cells. Choose other cells or leave the line out."
        )


@dataclass(frozen=True)
class CV2(Tabulated):
    """One trait is hidden for all lines in one environment; one partition for every env x trait chosen.

    The trait is seen in other environments, and other traits are seen in this one. Source: Montesinos-Lopez et
    al. (2016); not the scheme which breeders call CV2. There is nothing random in it.

    Parameters
    ----------
    traits : sequence of str, optional
        Traits to hide; by default all.
    envs : sequence of str, optional
        Environments to hide them in; by default all.
    of : {"genetic", "record"}
        What is predicted: the genetic value, or the hidden record, with what the other traits of the same plot tell of
        its residual, E[residual | the plot's other residuals]. The second is a prediction for whoever has the other
        traits of the plot at hand, and says nothing of the line beyond it. Models of one trait at a time, and means,
        cannot use them.

    Notes
    -----
    A combination of env and trait without any recorded value has nothing to hide. It is an error where both
    names were given, and no partition where one of them stands for "all".

    Raises
    ------
    UsageError
        If a list is empty or holds a name twice.
    """

    traits: tuple[str, ...] | None = None
    envs: tuple[str, ...] | None = None
    of: str = GENETIC

    def __post_init__(self) -> None:
        check_predicted(self.of)
        object.__setattr__(self, "traits", as_unique_names(self.traits, "traits", "CV2"))
        object.__setattr__(self, "envs", as_unique_names(self.envs, "envs", "CV2"))

    def masks(self, trial: Trial, seed: int = 0) -> list[Partition]:
        """List the partitions: environments in the order asked for, in each the traits in theirs.

        Parameters
        ----------
        trial : Trial
            Only the pattern of its records is looked at.
        seed : int
            Not used; all schemes are called alike.

        Returns
        -------
        list of Partition
            Labelled ``"env:trait"``, with ``" (2)"`` where colons in the names make two labels the same.

        Raises
        ------
        DataError
            If a name is not in the trial, or if a partition would leave nothing to score, a line without any
            record or a trait without any training value.
        """
        check_trial(trial)
        traits = find_places(self.traits, trial.traits, "trait", "CV2")
        envs = find_places(self.envs, trial.envs, "environment", "CV2")
        counts = trial.counts()
        recorded = np.asarray((counts > 0).any(axis=0))
        explicit = self.traits is not None and self.envs is not None
        pairs = [(i, k) for i in envs for k in traits if explicit or recorded[i, k]]
        if self.traits is not None:
            refuse_empty(traits, {k for _, k in pairs}, trial.traits, "trait", "any environment", "CV2")
        if self.envs is not None:
            refuse_empty(envs, {i for i, _ in pairs}, trial.envs, "environment", "any trait", "CV2")
        if not pairs:
            raise DataError("CV2: no trait has a recorded value in any environment, so there is nothing to score.")
        labels = label_apart([(trial.envs[i], trial.traits[k]) for i, k in pairs])
        made = []
        for label, (i, k) in zip(labels, pairs, strict=True):
            hidden = np.zeros(counts.shape, dtype=bool)
            hidden[:, i, k] = True
            partition = Partition(label, hidden, of=self.of)
            try:
                _check_seen_lines(partition, trial, counts)
            except DataError as error:
                others = advise(trial, NewEnvironments(envs=(trial.envs[i],)), NewLines())
                raise DataError(f"{error} {others}".strip()) from None
            made.append(partition)
        return made
