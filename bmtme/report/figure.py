"""Figures that notebooks show without being told to."""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from typing import Any

import matplotlib.figure
from matplotlib.backends.backend_agg import FigureCanvasAgg

__all__ = ["Figure", "MissingSigns"]

#: What matplotlib says of a sign that its font does not have.
_MISSING = re.compile(r"Glyph (\d+) .* missing from")
#: Signs that are named.
_MOST_NAMED = 10


class MissingSigns(UserWarning):
    """A font lacks signs of names."""


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that pyplot does not know of, so that none has to be closed.

    Attributes
    ----------
    lacking : set of str
        Signs that the font did not have when it was saved last.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        FigureCanvasAgg(self)  # which can draw, and needs no screen
        self.lacking: set[str] = set()

    def savefig(self, *given: Any, **options: Any) -> None:
        """As of matplotlib, with one warning of all signs that the font does not have.

        Warns
        -----
        MissingSigns
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            super().savefig(*given, **options)
        self.lacking = set()
        for each in caught:
            found = _MISSING.match(str(each.message))
            if found:
                self.lacking.add(chr(int(found[1])))
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        if self.lacking:
            signs = ", ".join(sorted(self.lacking)[:_MOST_NAMED])
            warnings.warn(
                f"the font has no picture of {signs}, which stand as boxes in names.", MissingSigns, stacklevel=2
            )

    def _repr_png_(self) -> bytes:
        """What a notebook shows, also where nothing has set it up for matplotlib."""
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
