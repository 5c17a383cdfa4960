"""Names that may be mistakes: nearly the same as another, or a code for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bmtme.checkup.findings import Finding
from bmtme.data.tables.names import PLACEHOLDERS, describe_dates, find_dates, is_nothing
from bmtme.words import blur_name, count_noun, same_letters

__all__ = ["find_look_alikes", "find_odd_names"]

#: Names of plots that hold no line of their own, in lower case.
NO_LINE = frozenset("border filler fill guard buffer discard check checks control bulk mix mixture".split())


def find_look_alikes(names: Sequence[str], noun: str) -> list[Finding]:
    """Groups of names that differ in case, spaces, punctuation or leading zeros only."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(blur_name(name), []).append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    texts = [" and ".join(map(repr, group)) for group in alike]
    more = f"; and {len(alike) - 6} more" if len(alike) > 6 else ""
    column = {"line": "line", "environment": "env", "trait": "trait"}[noun]
    return [
        Finding.of(
            "warning",
            f"near-identical {noun}s",
            f"{count_noun(len(alike), 'group')} of {noun}s with nearly the same name (they differ in "
            f"{_differences(alike)}): {'; '.join(texts[:6])}{more}. If they are one {noun}, write one name; a fit "
            "takes them as different.",
            [
                {column: name, "other": group[0], "message": f"{name!r} is nearly {group[0]!r}"}
                for group in alike
                for name in group[1:]
            ],
        )
    ]


def _differences(groups: Iterable[Sequence[str]]) -> str:
    """In what the names of the groups differ."""
    kinds = dict.fromkeys(kind for group in groups for name in group[1:] for kind in [_difference(group[0], name)])
    return ", ".join(kinds)


def _difference(first: str, second: str) -> str:
    if first.casefold() == second.casefold():
        return "case"
    if "".join(first.split()).casefold() == "".join(second.split()).casefold():
        return "spaces"
    if same_letters(first, second):
        return "how Unicode writes a letter, such as one with an accent"
    if len({re.sub(r"\.0+$", "", name) for name in (first, second)}) == 1:
        return "a decimal"
    letters = ["".join(c for c in name.casefold() if c.isalnum()) for name in (first, second)]
    return "punctuation" if letters[0] == letters[1] else "leading zeros"


def find_odd_names(names: Sequence[str], noun: str) -> list[Finding]:
    """Names that look like a code for a missing one, a plot without a line of its own, or a date made of a name."""
    column = {"line": "line", "environment": "env", "trait": "trait"}[noun]
    # Where names are numbers, 999 is one of them.
    numbers = sum(name.isdigit() for name in names) > len(names) / 2
    nothing = [
        name
        for name in names
        if (is_nothing(name) or name.casefold() in PLACEHOLDERS) and not (numbers and name.isdigit())
    ]
    found = []
    if nothing:
        found.append(
            Finding.of(
                "warning",
                f"{noun} without a name",
                f"{count_noun(len(nothing), noun)} with a name that looks like a code for none: "
                f"{', '.join(map(repr, nothing[:8]))}. A fit takes it as the name of one {noun}.",
                [{column: name, "message": f"{name!r} looks like a code for a missing name"} for name in nothing],
            )
        )
    dates = [] if noun == "trait" else find_dates(names, dated=noun == "environment")
    if dates:
        text = describe_dates(dates, noun)
        items = [{column: name, "message": f"{name!r} looks like what a spreadsheet made of a name"} for name in dates]
        found.append(Finding.of("warning", "damaged name", text, items))
    fillers = [name for name in names if noun == "line" and name.casefold() in NO_LINE]
    if fillers:
        found.append(
            Finding.of(
                "warning",
                "no line",
                f"{count_noun(len(fillers), 'line')} with a name of plots that hold no line of their own: "
                f"{', '.join(map(repr, fillers[:8]))}. Leave such plots out, or name the line that grew there.",
                [{"line": name, "message": f"{name!r} looks like no line"} for name in fillers],
            )
        )
    return found
