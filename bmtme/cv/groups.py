"""Groups of lines that cross-validation hides together: families, clones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from bmtme.arguments import show
from bmtme.cv.partitions import Tabulated
from bmtme.data.tables.cells import identifier
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, list_names, suggest

__all__ = ["Block", "GroupTable", "Grouped", "Groups", "draw_units", "read_groups", "refuse_strangers"]

#: What users give: the group of each line.
GroupTable = Mapping[Any, Any] | pd.Series


@dataclass(frozen=True)
class Block:
    """Lines that are never split.

    Attributes
    ----------
    lines : tuple of int
        Their places in the trial, by name.
    name : str
        Of the group that the user gave, or of all that joined groups tie together, with a plus between; empty where
        none of the lines has one.
    """

    lines: tuple[int, ...]
    name: str


@dataclass(frozen=True, repr=False)
class Groups:
    """Tables of line -> group. Lines that share a group in any of them belong together, directly or by others.

    Attributes
    ----------
    given : tuple of (line, group)
        The user's table, by name.
    joined : tuple of such tables
        Others that tie lines together without naming them, as clones do.
    """

    given: tuple[tuple[str, str], ...] = ()
    joined: tuple[tuple[tuple[str, str], ...], ...] = ()

    def __repr__(self) -> str:
        # Tables of all lines would hide the rest of a scheme.
        told = self.describe()
        texts = [f"{told['groups']} of {count_noun(told['lines'], 'line')}"] if self.given else []
        texts += [f"{count_noun(lines, 'line')} joined" for lines in told["joined"]]
        return f"Groups({'; '.join(texts)})"

    @classmethod
    def of(cls, groups: Groups | GroupTable | None) -> Groups | None:
        """Groups of a user's table; names and groups become text, and a missing group is none."""
        return groups if groups is None or isinstance(groups, Groups) else cls(read_groups(groups))

    def join(self, groups: GroupTable) -> Groups:
        """With one more table that ties lines together."""
        return Groups(self.given, (*self.joined, read_groups(groups)))

    def describe(self) -> dict[str, Any]:
        """In plain values, for the record of a run: numbers, and a digest that tells tables apart."""
        tables = (self.given, *self.joined)
        return {
            "groups": len({group for _, group in self.given}),
            "lines": len(self.given),
            "joined": [len(table) for table in self.joined],
            "digest": hashlib.blake2b(repr(tables).encode(), digest_size=16).hexdigest(),
        }

    def gather(self, lines: Sequence[str], known: Iterable[str]) -> list[Block]:
        """Blocks of the lines, in the order of the first name of each.

        Parameters
        ----------
        lines : sequence of str
            Of the trial.
        known : iterable of str
            Those with a record, which alone are gathered; others tie nothing together.

        Raises
        ------
        DataError
            If the user's table names none of the trial's lines.
        """
        place = {line: j for j, line in enumerate(lines)}
        refuse_strangers([line for line, _ in self.given], lines, "groups")
        ordered = sorted(known)
        # Of every line the first one of its block: ties are followed up to it.
        first = {line: line for line in ordered}

        def find(line: str) -> str:
            while first[line] != line:
                first[line] = line = first[first[line]]
            return line

        for table in (self.given, *self.joined):
            seen: dict[str, str] = {}
            for line, group in table:
                if line in first:
                    one, other = sorted((find(line), find(seen.setdefault(group, line))))
                    first[other] = one
        members: dict[str, list[str]] = {}
        for line in ordered:
            members.setdefault(find(line), []).append(line)
        named = dict(self.given)
        return [
            Block(
                tuple(place[line] for line in block),
                "+".join(sorted({named[line] for line in block if line in named})),
            )
            for block in members.values()
        ]


class Grouped(Tabulated):
    """A scheme, a dataclass, that keeps groups of lines together."""

    groups: Groups | GroupTable | None

    def join(self, groups: GroupTable) -> Self:
        """The scheme with further lines kept together.

        Parameters
        ----------
        groups : dict or pandas.Series
            Line -> group. Groups that share a line of the trial with one of the scheme's become one with it.
        """
        return replace(self, groups=self._tables.join(groups))  # type: ignore[type-var]  # as its subclasses are

    def gather(self, trial: Trial) -> list[Block]:
        """Blocks of the trial's lines with a record, by name."""
        return self._tables.gather(trial.lines, trial.recorded_lines)

    @property
    def _tables(self) -> Groups:
        return Groups.of(self.groups) or Groups()


def draw_units(units: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Lines drawn at random, all or none of a unit.

    Parameters
    ----------
    units : (n,) array
        Of each line, its unit.
    wanted : int
        How many lines to draw, n at most. Where no choice of units has as many, the nearest number above zero is drawn,
        of two the smaller one.
    rng : numpy.random.Generator

    Returns
    -------
    (m,) int array
        Places of the lines. Units come in random order, and each is taken if later ones can make up the rest; without
        units of several lines, all choices are equally likely.
    """
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if wanted == 0 or len(sizes) == len(units):
        return np.asarray(rng.choice(len(units), size=wanted, replace=False))
    order = rng.permutation(len(sizes)).tolist()
    counts = sizes.tolist()
    # Bit s of a number tells whether s lines can be made up of the units from this place in the order on.
    reach = [1]
    for k in reversed(order):
        reach.append(reach[-1] | reach[-1] << counts[k])
    reach.reverse()
    sums = [s for s in range(1, len(units) + 1) if reach[0] >> s & 1]
    left = min(sums, key=lambda s: (abs(s - wanted), s))
    taken = np.zeros(len(sizes), dtype=bool)
    for k, rest in zip(order, reach[1:], strict=True):
        if counts[k] <= left and rest >> (left - counts[k]) & 1:
            taken[k] = True
            left -= counts[k]
    return np.flatnonzero(taken[unit])


def refuse_strangers(names: Sequence[str], lines: Sequence[str], what: str) -> None:
    """Refuse a table of groups of which no name is that of a line of the trial."""
    if names and set(lines).isdisjoint(names):
        raise DataError(
            f"{what} names no line of the trial: it has names such as {list_names(names[:3])}, the trial such as "
            f"{list_names(lines[:3])}.{suggest(names[0], lines)} Give a group by the line's name."
        )


def read_groups(groups: Any, what: str = "groups") -> tuple[tuple[str, str], ...]:
    """A user's table as pairs of text, by line; lines without a group are left out."""
    if not isinstance(groups, (Mapping, pd.Series)):
        raise UsageError(f"{what} must be a dict or a pandas Series of line -> group, got {show(groups)}.")
    found: dict[str, str] = {}
    for key, value in groups.items():
        line = _as_name(key, what, "line")
        group = _as_name(value, what, f"group of line {show(key)}")
        if line is None:
            raise DataError(f"{what} names no line for the group {show(value)}: give a group by the line's name.")
        if group is not None and found.setdefault(line, group) != group:
            raise DataError(
                f"{what} has line {line!r} in the groups {found[line]!r} and {group!r}: a line belongs to one group."
            )
    return tuple(sorted(found.items()))


def _as_name(value: Any, table: str, what: str) -> str | None:
    try:
        return identifier(value)
    except DataError as error:
        raise DataError(f"{table} holds as a {what} {error}.") from None
