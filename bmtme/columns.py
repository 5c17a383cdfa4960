"""Text laid out for a terminal: columns, labelled facts, shares."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["MOST_ROWS", "align", "fixed", "label_facts", "share", "show_p"]

#: Rows of a table at most; the files hold all.
MOST_ROWS = 40
#: Decimals of a number at most.
MOST_DECIMALS = 7
#: A number from which on its digits are too many to be written out.
TOO_LARGE = 1e9


def align(rows: Sequence[Sequence[str]], header: Sequence[str], left: int, width: int) -> str:
    """Cells in columns; where they are wider than the terminal, blocks of columns one below the other.

    Parameters
    ----------
    rows, header : sequences of as many texts
    left : int
        How many columns stand on the left of every block, flush left; the others are flush right.
    width : int
        Columns of the terminal.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    margin = sum(widths[:left]) + 2 * (left - 1)
    blocks: list[list[int]] = [[]]
    used = margin
    for k in range(left, len(header)):
        if blocks[-1] and used + 2 + widths[k] > width:
            blocks.append([])
            used = margin
        blocks[-1].append(k)
        used += 2 + widths[k]
    texts = []
    for block in blocks:
        for cells in (header, *rows):
            fixed = [cells[k].ljust(widths[k]) for k in range(left)]
            texts.append("  ".join([*fixed, *(cells[k].rjust(widths[k]) for k in block)]).rstrip())
        texts.append("")
    return "\n".join(texts[:-1])


def label_facts(facts: Iterable[tuple[str, str]], width: int) -> str:
    """Lay out facts: short labels on the left, wrapped texts beside them."""
    lines = []
    for label, text in facts:
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=label.ljust(13),
            subsequent_indent=" " * 13,
            break_on_hyphens=False,
            break_long_words=False,
        )
    return "\n".join(lines)


def fixed(value: float, decimals: int) -> str:
    """A number without the sign of a rounded zero; in powers of ten where digits would be many."""
    if decimals > MOST_DECIMALS or abs(value) >= TOO_LARGE:
        return f"{value:.3g}"
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def share(part: int, whole: int) -> str:
    """Part of a whole in per cent, never rounded to none."""
    share = 100 * part / whole
    return f"{share:.1f}%" if share >= 0.05 else "less than 0.1%"


def show_p(p: float) -> str:
    """A probability with three decimals, never rounded to none."""
    if not math.isfinite(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
