"""Pictures of the residuals of a mixed model, of a fit or of its folder."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.results.mixed.field import Grid

#: Two columns with positions, the first across.
Axes = tuple[str, str] | None


class ResidualPictures:
    """What draws the residuals, where they are known."""

    @abstractmethod
    def residuals(self) -> pd.DataFrame:
        """As of `bmtme.results.mixed.fit.MixedFit.residuals`."""

    @abstractmethod
    def grids(self, axes: Axes = None) -> list[Grid]:
        """Residuals on the field of each section."""

    def plot_field(self, axes: Axes = None) -> Figure:
        """The residuals where they lie in the field, a panel for each section.

        Parameters
        ----------
        axes : (str, str), optional
            Columns with the positions, the first across; by default those of the residual.

        Raises
        ------
        UsageError
            If there are no positions.
        """
        from bmtme.report.field_plots import plot_residual_field

        return plot_residual_field(self.grids(axes))

    def plot_variogram(self, axes: Axes = None) -> Figure:
        """The variogram of the residuals of each section: over both distances, and along each axis alone.

        Parameters
        ----------
        axes : (str, str), optional
            As for `plot_field`.

        Raises
        ------
        UsageError
            If there are no positions.
        """
        from bmtme.report.field_plots import plot_residual_variogram

        return plot_residual_variogram(self.grids(axes))

    def plot_residuals(self) -> Figure:
        """Residuals against fitted values, and standardised ones against normal quantiles, for each trait."""
        from bmtme.report.field_plots import plot_residuals

        return plot_residuals(self.residuals())
