"""Residuals where they lie in the field."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bmtme.report.palette import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.results.mixed.field import Grid

__all__ = ["plot_field"]

#: Panels beside each other at most; inches of a panel.
MOST_BESIDE, INCHES = 3, 4.0


def plot_field(grids: list[Grid]) -> Figure:
    """Residuals of each section by position, in one scale of colours around zero; plots without a value stay empty."""
    import matplotlib.pyplot as plt

    beside = min(len(grids), MOST_BESIDE)
    below = math.ceil(len(grids) / beside)
    figure, axes = plt.subplots(
        below, beside, squeeze=False, figsize=(INCHES * beside + 0.8, INCHES * below), layout="constrained"
    )
    most = max((float(np.nanmax(np.abs(grid.values))) for grid in grids), default=1.0) or 1.0
    image = None
    for panel, grid in zip(axes.flat, grids, strict=False):
        n, m = grid.values.shape
        extent = (grid.starts[0] - 0.5, grid.starts[0] + n - 0.5, grid.starts[1] + m - 0.5, grid.starts[1] - 0.5)
        image = panel.imshow(
            grid.values.T, cmap="RdBu_r", vmin=-most, vmax=most, extent=extent, aspect="auto", interpolation="nearest"
        )
        panel.set_facecolor("#DDDDDD")
        panel.set_xlabel(plain(grid.names[0]))
        panel.set_ylabel(plain(grid.names[1]))
        panel.set_title(plain(grid.section), loc="left")
    for panel in axes.flat[len(grids) :]:
        panel.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=axes, label="residual", shrink=0.8)
    return figure
