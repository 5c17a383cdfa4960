"""Docstrings that say what the register says."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from bmtme.results.entries import Column, Quantity

T = TypeVar("T", bound=Callable[..., Any])


def document(**tables: Iterable[Column | Quantity]) -> Callable[[T], T]:
    """Put entries of the register into a docstring, as a list, where a name in braces stands on a line of its own.

    Parameters
    ----------
    tables : entries by the name in braces
    """

    def fill(documented: T) -> T:
        for name, entries in tables.items() if documented.__doc__ else ():  # python -OO leaves none
            place = re.search(rf"^( *)\{{{name}\}}$", documented.__doc__ or "", re.MULTILINE)
            assert place is not None, name
            items = (textwrap.fill(describe_entry(entry), 100, subsequent_indent="  ") for entry in entries)
            text = textwrap.indent("\n".join(items), place[1])
            documented.__doc__ = (documented.__doc__ or "").replace(place[0], text)
        return documented

    return fill


def describe_entry(entry: Column | Quantity) -> str:
    """Name, meaning and unit."""
    unit = f" ({entry.unit.words})" if entry.unit.words else ""
    return f"* ``{entry.name}``: {entry.meaning}{unit}"
