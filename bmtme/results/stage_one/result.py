"""What stage one gives: adjusted means with the covariance of their errors, and what it knows of every environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.arguments import as_text
from bmtme.data.adjusted import AdjustedMeans
from bmtme.errors import UsageError
from bmtme.results.mixed.field import Grid, tabulate_variogram
from bmtme.results.mixed.fit import MixedFit
from bmtme.results.reported import Reported
from bmtme.results.stage_one.field import lay_grid
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Adjustment"]


@dataclass(frozen=True, eq=False, repr=False)
class Adjustment(AdjustedMeans, Reported):
    """Adjusted means from plots. `bmtme.fit` and `bmtme.cross_validate` take it as it is.

    A copy in another process has the means and their covariances alone.

    Attributes
    ----------
    table, covariances
        As of `AdjustedMeans`.
    candidates : DataFrame
        env, model, log_likelihood, parameters, aic, difference (from the least of the environment), converged, chosen,
        note (what stands at a bound; of a model that was not fitted, why).
    heritability : DataFrame
        env, trait, n_lines, n_plots; cullis, the heritability by Cullis, with lines random in the model that was
        chosen; sed, the root of the mean error variance of a difference between two adjusted means; note.
    outliers : DataFrame
        env, trait, line, row_of_table, row, col, value, expected, standardised, p: plots that differ from what the
        others predict by more than chance (Holm's test at 5%). None is left out.
    plots : DataFrame
        env, trait, line, row_of_table, row, col, value, trend, residual, expected, standardised of every value.
    fits : dict of MixedFit
        The model that was chosen, by environment; none where it was read from a folder.
    axes : tuple of str
        Columns with rows and columns of the field.
    notes : tuple of str
        What has been left out of a design, and why.
    """

    candidates: pd.DataFrame
    heritability: pd.DataFrame
    outliers: pd.DataFrame
    plots: pd.DataFrame
    fits: Mapping[str, MixedFit]
    axes: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        from bmtme.report.stage_one import describe_adjustment
        from bmtme.results.frames import WIDTH

        return describe_adjustment(self, WIDTH)

    def select(self, env: str, trait: str | None = None) -> pd.DataFrame:
        """The plots of an environment, of one trait where it is named.

        Raises
        ------
        UsageError
            If there is no such environment or trait.
        """
        found = self.plots
        for name, value in (("env", env), ("trait", trait)):
            if value is None:
                continue
            text = as_text(value, name)
            there = list(dict.fromkeys(found[name]))
            if text not in there:
                raise UsageError(f"There are no plots of {name} {text!r}.{suggest(text, there)} {list_names(there)}.")
            found = found[found[name] == text]
        return found

    def has_field(self, env: str) -> bool:
        """Whether the plots of an environment have rows and columns."""
        return not self.select(env)[["row", "col"]].isna().to_numpy().any()

    def grids(self, env: str, column: str) -> list[Grid]:
        """A column of `plots` on the field of an environment, one grid of rows x columns for each trait.

        Raises
        ------
        UsageError
            If its plots have no rows and columns.
        """
        found = []
        own = self.select(env)
        if not self.has_field(env):
            raise UsageError(f"The plots of environment {env!r} have no rows and columns: name them as row= and col=.")
        for trait, plots in own.groupby("trait", sort=False):
            found.append(lay_grid(plots, column, ("row", "col"), str(trait)))
        return found

    def variogram(self, env: str) -> pd.DataFrame:
        """Sample variogram of the residuals of an environment: trait, row, col (distances), n (pairs), gamma.

        Half the mean square of the differences between plots that lie so far apart (Gilmour, Cullis and Verbyla 1997,
        Journal of Agricultural, Biological, and Environmental Statistics 2:269-293).

        Raises
        ------
        UsageError
            If its plots have no rows and columns.
        """
        return tabulate_variogram(self.grids(env, "residual")).rename(columns={"section": "trait"})

    def plot_field(self, env: str) -> Figure:
        """Values, trend and residuals of an environment where they lie in the field, a row of panels for each trait.

        Raises
        ------
        UsageError
            If its plots have no rows and columns.
        """
        from bmtme.report.field_plots import plot_field

        return plot_field(self, env)

    def plot_variogram(self, env: str) -> Figure:
        """The variogram of an environment's residuals: over both distances, and along rows and columns.

        Raises
        ------
        UsageError
            If its plots have no rows and columns.
        """
        from bmtme.report.field_plots import plot_variogram

        return plot_variogram(self, env)

    def plot_quantiles(self, env: str) -> Figure:
        """Standardised residuals of an environment against normal quantiles, outliers named.

        Raises
        ------
        UsageError
        """
        from bmtme.report.field_plots import plot_quantiles

        return plot_quantiles(self, env)

    def tables(self) -> dict[str, pd.DataFrame]:
        """What is written beside the means: candidates, heritability, outliers and plots."""
        return {
            "candidates": self.candidates,
            "heritability": self.heritability,
            "outliers": self.outliers,
            "plots": self.plots,
        }

    def record(self) -> dict[str, Any]:
        """Facts of the run, for run.json: the model of each environment, columns of the field, notes."""
        models = {env: fit.record() for env, fit in self.fits.items()}
        return {"models": models, "axes": list(self.axes), "notes": list(self.notes)}

    def save(
        self, folder: str | os.PathLike[str], *, safe_text: bool = False, xlsx: bool = False, figures: bool = False
    ) -> None:
        """Write the means as `AdjustedMeans.save` does, with `tables`, and pictures of each environment if wanted.

        Parameters
        ----------
        folder : str or path
            Must be empty or not be there.
        safe_text, xlsx : bool
            As for `Fit.save`.
        figures : bool
            Whether to draw field-ENV.png, variogram-ENV.png (where there are rows and columns) and quantiles-ENV.png.

        Raises
        ------
        UsageError
            If the folder holds something already.
        MachineError
        """
        from bmtme.results.stage_one.storage import save_adjustment

        save_adjustment(folder, self, {}, safe_text, xlsx, figures)
