"""Figures that notebooks show without being told to."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A matplotlib figure that pyplot does not know of, so that none has to be closed."""

    def _repr_png_(self) -> bytes:
        """What a notebook shows, also where nothing has set it up for matplotlib."""
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
