"""What the figures share: colours, marks, and names as they are."""

from __future__ import annotations

import unicodedata
from typing import Any

__all__ = ["COLOURS", "MARKS", "plain", "style"]

#: Colours that the colour-blind can tell apart (Okabe and Ito), and marks for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def style(number: int) -> dict[str, Any]:
    """Colour and mark of the series of this number; from the eighth on, colours come again with other marks."""
    return {"color": COLOURS[number % 7], "marker": MARKS[(number + number // 7) % 7]}


def plain(name: object) -> str:
    """A user's name for a figure as it is: no formula where it has a dollar, no hidden entry where it begins with _.

    Signs that cannot be seen, such as those that begin a command to a terminal or turn the direction of a text, are
    written out.
    """
    text = "".join(_write_out(sign) for sign in str(name)).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _write_out(sign: str) -> str:
    """A sign, or its number where it is a control sign, half of a pair, or of private use."""
    unseen = unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return ascii(sign)[1:-1] if unseen else sign
