"""What a page is made of: texts, tables, matrices and pictures. All of it is plain, and escaped by the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

__all__ = [
    "Block",
    "Column",
    "Facts",
    "Figure",
    "Fold",
    "Matrix",
    "Notice",
    "Page",
    "Prose",
    "Section",
    "Shade",
    "Table",
    "split_paragraphs",
]

Tone = Literal["good", "caution", "bad", "plain"]
#: Letters of a row on a sheet of paper, and of one with so many columns that it is printed smaller.
LETTERS, WIDE_LETTERS = 100, 130


@dataclass(frozen=True)
class Prose:
    """Paragraphs.

    Attributes
    ----------
    copied : whether they are there to be copied, and get a button for it
    """

    template: ClassVar[str] = "prose"
    texts: Sequence[str]
    copied: bool = False


@dataclass(frozen=True)
class Notice:
    """Paragraphs beside a bar of colour, the first of them the message."""

    template: ClassVar[str] = "notice"
    tone: Tone
    title: str
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """Labels and texts, side by side."""

    template: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    number : whether its cells are flush right and sorted as numbers
    about : what it is, shown where the pointer rests, and below the table
    """

    name: str
    number: bool = False
    about: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts, the first column of which heads its row.

    Attributes
    ----------
    title : of the table, also a place that the contents lead to
    note : below it
    long : whether it is shown in a window of its own, with sorting and a filter
    printed : rows on paper at most, of one that is long
    marked : rows to be seen at once
    kept : rows that are printed wherever they stand
    """

    template: ClassVar[str] = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""
    long: bool = False
    printed: int = 25
    marked: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()

    @property
    def fits(self) -> bool:
        """Whether it fits a sheet of paper without a break within a word; numbers stand in one line."""
        letters = 0
        for k, column in enumerate(self.columns):
            cells = [row[k] for row in self.rows[: self.printed if self.long else None]]
            words = [*cells, *column.name.split()] if column.number else " ".join([column.name, *cells]).split()
            letters += max(map(len, words), default=0) + 2
        return letters <= (WIDE_LETTERS if len(self.columns) > 10 else LETTERS)


@dataclass(frozen=True)
class Shade:
    """A cell of a matrix: a number in words, what is said below it, and how dark it is, -1 to 1.

    Attributes
    ----------
    about : shown where the pointer rests
    """

    text: str
    below: str = ""
    dark: float = 0.0
    about: str = ""


@dataclass(frozen=True)
class Matrix:
    """Shaded numbers by row and column."""

    template: ClassVar[str] = "matrix"
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Shade | None]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture: markup made by `bmtme.report.html.figures`, and what it shows in words.

    half : whether it takes half a sheet of paper at most
    """

    template: ClassVar[str] = "figure"
    markup: str
    caption: str
    half: bool = False


@dataclass(frozen=True)
class Fold:
    """What is shown on a click."""

    template: ClassVar[str] = "fold"
    title: str
    blocks: Sequence[Block]


Block = Prose | Notice | Facts | Table | Matrix | Figure | Fold


@dataclass(frozen=True)
class Section:
    """A part of a page, which its contents name."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes
    ----------
    kind, name : what it is of, such as a fit, and its name, such as that of its folder
    lead : a sentence on the data
    verdict : what can be trusted, before all else
    check : the line that others are compared with, if any
    """

    kind: str
    name: str
    lead: str
    verdict: Sequence[Notice]
    sections: Sequence[Section] = field(default_factory=tuple)
    version: str = ""
    check: str | None = None


def split_paragraphs(text: str) -> list[str]:
    """Paragraphs of a text that was laid out for a terminal, each in one line."""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
