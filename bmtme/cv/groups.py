"""Groups of lines that cross-validation hides together: families, clones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bmtme.arguments import show
from bmtme.data.tables.cells import identifier
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names, suggest

__all__ = ["Block", "GroupTable", "Groups"]

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


@dataclass(frozen=True)
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

    @classmethod
    def of(cls, groups: Groups | GroupTable | None) -> Groups | None:
        """Groups of a user's table; names and groups become text, and a missing group is none."""
        return groups if groups is None or isinstance(groups, Groups) else cls(_read(groups))

    def join(self, groups: GroupTable) -> Groups:
        """With one more table that ties lines together."""
        return Groups(self.given, (*self.joined, _read(groups)))

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
        if self.given and not any(line in place for line, _ in self.given):
            names = [line for line, _ in self.given]
            raise DataError(
                f"groups names no line of the trial: it has names such as {list_names(names[:3])}, the trial such as "
                f"{list_names(lines[:3])}.{suggest(names[0], lines)} Give a group by the line's name."
            )
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


def _read(groups: Any) -> tuple[tuple[str, str], ...]:
    """A user's table as pairs of text, by line; lines without a group are left out."""
    if not isinstance(groups, (Mapping, pd.Series)):
        raise UsageError(f"groups must be a dict or a pandas Series of line -> group, got {show(groups)}.")
    found: dict[str, str] = {}
    for key, value in groups.items():
        line, group = (_as_name(each, what) for each, what in ((key, "line"), (value, f"group of line {show(key)}")))
        if line is None:
            raise DataError(f"groups names no line for the group {show(value)}: give a group by the line's name.")
        if group is not None and found.setdefault(line, group) != group:
            raise DataError(
                f"groups has line {line!r} in the groups {found[line]!r} and {group!r}: a line belongs to one group."
            )
    return tuple(sorted(found.items()))


def _as_name(value: Any, what: str) -> str | None:
    try:
        return identifier(value)
    except DataError as error:
        raise DataError(f"groups holds as a {what} {error}.") from None
