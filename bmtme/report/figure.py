"""Figures that notebooks show without being told to."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import matplotlib.figure
from matplotlib.backends.backend_agg import FigureCanvasAgg

__all__ = ["Figure"]


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that pyplot does not know of, so that none has to be closed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        FigureCanvasAgg(self)  # which can draw, and needs no screen

    def _repr_png_(self) -> bytes:
        """What a notebook shows, also where nothing has set it up for matplotlib."""
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
