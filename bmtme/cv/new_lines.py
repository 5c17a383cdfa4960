"""Whole lines hidden in all environments, to be predicted by their relatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.arguments import check_memory, whole_number
from bmtme.cv.arguments import as_fraction, check_trial, spawn_stream
from bmtme.cv.groups import Block, Grouped, Groups, GroupTable
from bmtme.cv.partitions import Partition, check_partition
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun

__all__ = ["FOLDS", "NewLines", "deal_folds", "gather_blocks"]

#: Folds where none are named.
FOLDS = 5
#: How often a random partition is drawn again before it is given up.
RESTARTS = 100


@dataclass(frozen=True)
class NewLines(Grouped):
    """Lines are hidden in all environments and for all traits, and predicted by their relatives.

    The most used scheme of genomic selection, called CV1 elsewhere (Burgueno et al. 2012, Crop Science 52:707-719), not
    the `CV1` of this package, where hidden lines are known from other environments. Either every line is hidden once,
    in one of several folds, or random partitions are drawn. Groups of lines are never split.

    Parameters
    ----------
    folds : int, optional
        Number of folds, 2 or more; default 5 unless `partitions` is given. Groups are put in random order, then in that
        of their numbers of lines, the largest first, and each goes into the fold that has fewest lines, the first one
        of several.
    partitions : int, optional
        Number of random partitions instead, each another set of lines. Groups are hidden in random order until
        ``floor(test_fraction * n + 0.5)`` of n lines are (at least one). A last group that goes beyond is hidden with
        the probability (lines wanted - lines hidden before it) / (its lines), so that on average as many lines are
        hidden as are wanted and large groups have their turn; where it comes first, always, as something is to be
        hidden. Never are all groups.
    test_fraction : float, optional
        Share of the lines hidden in a random partition, strictly between 0 and 1; default 0.2.
    groups : dict or pandas.Series, optional
        Of each line, by name, its group, such as its family (see `bmtme.find_families`). A line without one is a group
        of its own; lines that the trial does not have are passed over.

    Raises
    ------
    UsageError
        If both folds and partitions are given, a fraction without partitions, or numbers out of range.
    DataError
        If a line is in two groups, or a name is neither text nor a whole number.

    Notes
    -----
    Lines without a recorded value do not count. What is drawn depends on the seed, on names and on which lines have a
    record, not on values or on the order of lines or rows; nor does a random partition depend on how many there are: a
    set of lines that an earlier one hides is drawn again.

    Lines alike in the relationship (clones, one line under two names) predict each other all too well:
    `bmtme.find_clones` finds them, and `join` keeps them together.
    """

    folds: int | None = None
    partitions: int | None = None
    test_fraction: float | None = None
    groups: Groups | GroupTable | None = None

    def __post_init__(self) -> None:
        folds, partitions, fraction = self.folds, self.partitions, self.test_fraction
        if folds is not None and partitions is not None:
            raise UsageError(
                "NewLines makes folds, each line hidden once, or random partitions: give folds= or partitions=, not "
                "both."
            )
        if partitions is None:
            if fraction is not None:
                raise UsageError(
                    "test_fraction goes with random partitions: give partitions=, their number, or leave it out, as of "
                    "k folds each hides a share of 1/k."
                )
            folds = whole_number(FOLDS if folds is None else folds, "folds", least=2)
        else:
            partitions = whole_number(partitions, "partitions", least=1)
            fraction = as_fraction(0.2 if fraction is None else fraction, "0.2 hides a fifth of the lines")
        for name, value in (("folds", folds), ("partitions", partitions), ("test_fraction", fraction)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "groups", Groups.of(self.groups))

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
            Labelled ``"1"``, ``"2"``, ... or, where every fold is one of the groups given, by their names and in the
            order of these.

        Raises
        ------
        DataError
            If there are fewer than two groups or fewer groups than folds, fewer sets of groups come out than
            partitions are asked for, or a partition leaves fewer than two lines or no value of a trait for training.
        UsageError
            If the seed is not a whole number of at least 0.
        """
        seed = whole_number(seed, "seed", least=0)
        counts = check_trial(trial).counts()
        blocks = gather_blocks(self, trial)
        if self.partitions is not None and self.test_fraction is not None:
            check_memory(self.partitions * counts.size, f"the masks of partitions={self.partitions}")
            parts = _draw_parts(blocks, self.partitions, self.test_fraction, seed)
            advice = "Other groups, another seed or a smaller test fraction may help."
        else:
            parts = deal_folds(blocks, self.folds or FOLDS, seed, "NewLines")
            check_memory(len(parts) * counts.size, f"the masks of folds={self.folds}")
            advice = "Other groups, another seed or more folds may help."
        made = []
        for label, lines in parts.items():
            hidden = np.zeros(counts.shape, dtype=bool)
            hidden[lines] = True
            partition = Partition(label, hidden)
            try:
                check_partition(partition, trial, counts)
            except DataError as error:
                raise DataError(f"{error} {advice}") from None
            made.append(partition)
        return made


def gather_blocks(scheme: Grouped, trial: Trial) -> list[Block]:
    """Groups of the trial's lines with a record, by name; fewer than two are refused."""
    blocks = scheme.gather(trial)
    if len(blocks) < 2:
        several = (trial.counts() > 0).any(axis=(0, 2)).sum() > 1
        raise DataError(
            f"{type(scheme).__name__} needs lines to learn from and others to predict, and the trial has "
            f"{'one group of lines' if blocks else 'no line'} with a record: give finer groups, or leave groups out."
            f"{' bmtme.CV1() can serve, which hides lines in some environments only.' if several else ''}"
        )
    return blocks


def deal_folds(blocks: Sequence[Block], folds: int, seed: int, scheme: str) -> dict[str, list[int]]:
    """Lines of each fold by label: groups' names where every fold is one of those given, otherwise numbers."""
    if len(blocks) < folds:
        one = max(len(block.lines) for block in blocks) == 1
        raise DataError(
            f"{scheme}: {len(blocks):,} {'lines' if one else 'groups of lines'} with a record cannot make "
            f"folds={folds}, as none is split. Use folds={len(blocks)}, which hides one at a time"
            f"{'.' if one else ', or finer groups.'}"
        )
    names = [block.name for block in blocks]
    if len(blocks) == folds and all(names) and len(set(names)) == folds:
        return {block.name: list(block.lines) for block in sorted(blocks, key=lambda block: block.name)}
    order = spawn_stream(seed, 0).permutation(len(blocks))
    order = order[np.argsort([-len(blocks[k].lines) for k in order], kind="stable")]
    made: list[list[int]] = [[] for _ in range(folds)]
    for k in order:
        min(made, key=len).extend(blocks[k].lines)
    return {str(number): lines for number, lines in enumerate(made, start=1)}


def _draw_parts(blocks: Sequence[Block], partitions: int, fraction: float, seed: int) -> dict[str, list[int]]:
    """Lines of each random partition by label, no two of them the same, which would count twice."""
    made: dict[str, list[int]] = {}
    seen: set[frozenset[int]] = set()
    for number in range(1, partitions + 1):
        rng = spawn_stream(seed, number)
        for _ in range(1 + RESTARTS):
            lines = _draw_part(blocks, fraction, rng)
            if frozenset(lines) not in seen:
                break
        else:
            one = max(len(block.lines) for block in blocks) == 1
            raise DataError(
                f"NewLines cannot make partitions={partitions:,} of {len(blocks):,} {'lines' if one else 'groups'}: at "
                f"test_fraction={fraction:g} only {count_noun(len(seen), 'different set')} of lines came out, and the "
                f"same set again is no further partition. Use folds={min(len(blocks), FOLDS)}, which hides every "
                f"{'line' if one else 'group'} once, or partitions={len(seen)}."
            )
        made[str(number)] = lines
        seen.add(frozenset(lines))
    return made


def _draw_part(blocks: Sequence[Block], fraction: float, rng: np.random.Generator) -> list[int]:
    """Lines of a random partition."""
    n = sum(len(block.lines) for block in blocks)
    wanted = max(1, math.floor(fraction * n + 0.5))
    lines: list[int] = []
    for k in rng.permutation(len(blocks)):
        more, before = blocks[k].lines, len(lines)
        beyond = before + len(more) > wanted
        if before + len(more) == n or (beyond and before and rng.random() * len(more) >= wanted - before):
            break
        lines.extend(more)
        if len(lines) >= wanted:
            break
    return lines
