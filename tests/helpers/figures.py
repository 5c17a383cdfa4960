"""Where the texts of a figure stand, once it is drawn."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

#: Dots by which the boxes of two texts may touch.
TOUCH = 1.5


def list_texts(figure: Figure) -> list[tuple[str, Any]]:
    """Texts that are seen, each with its box (corners (4, 2) in dots, turned as the text is)."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    hidden = set()
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9 or not axis.get_visible():
                    hidden |= {tick.label1, tick.label2}
        if not panel.axison:
            for axis in (panel.xaxis, panel.yaxis):
                hidden |= set(axis.findobj(Text))
    found = []
    for text in figure.findobj(Text):
        if text in hidden or not text.get_visible() or not text.get_text().strip():
            continue
        angle = text.get_rotation()
        if angle in (0, 90):
            box = text.get_window_extent(renderer)
            corners = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]])
        else:
            corners = turn_box(text, renderer, angle)
        found.append((text.get_text(), corners))
    return found


def turn_box(text: Text, renderer: Any, angle: float) -> np.ndarray:
    """Corners of a text that leans, and ends where it is anchored: on the right, above."""
    end = text.get_transform().transform(text.get_position())
    text.set_rotation(0)
    box = text.get_window_extent(renderer)
    text.set_rotation(angle)
    t = np.deg2rad(angle)
    along, up = np.array([np.cos(t), np.sin(t)]), np.array([-np.sin(t), np.cos(t)])
    corners = [end, end - box.width * along, end - box.width * along - box.height * up, end - box.height * up]
    return np.array(corners)


def do_overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two rectangles overlap by more than a touch: no side of either parts them."""
    for box in (one, other):
        for k in range(2):
            side = box[k + 1] - box[k]
            side = side / max(float(np.hypot(*side)), 1e-9)
            a, b = one @ side, other @ side
            if a.max() <= b.min() + TOUCH or b.max() <= a.min() + TOUCH:
                return False
    return True


def find_overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie over each other, and (text, "edge") for those that leave the figure."""
    texts = list_texts(figure)
    width, height = figure.canvas.get_width_height()
    found = [(a, b) for (a, one), (b, other) in combinations(texts, 2) if do_overlap(one, other)]
    for text, box in texts:
        low, high = box.min(axis=0), box.max(axis=0)
        if (low < -2).any() or high[0] > width + 2 or high[1] > height + 2:
            found.append((text, "edge"))
    return found
