"""A finished fit: posterior, summary, predictions; saved to and loaded from a folder."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.arguments import file_path
from bmtme.errors import UsageError
from bmtme.results import quantities
from bmtme.results.convergence import describe_convergence
from bmtme.results.docstrings import document
from bmtme.results.folder import save_result
from bmtme.results.posterior import make_tree
from bmtme.results.record import read_kind
from bmtme.results.storage import read_fit, write_fit
from bmtme.results.summary import summarise_posterior
from bmtme.results.traits import BY_TRAIT

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation


class Fit:
    """Result of `bmtme.fit`.

    Attributes
    ----------
    idata : arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
        Groups posterior, sample_stats, observed_data, constant_data, and ``effects`` where they were thinned.
    run : dict
        Settings, seed, versions, timings and facts about the data: ``run.json``, which has a schema and the hashes of
        the files beside.
    """

    def __init__(self, groups: dict[str, Any], run: dict[str, Any], predictions: pd.DataFrame | None) -> None:
        self._groups = groups
        self._predictions = predictions
        self._idata: Any = None
        self._summary: pd.DataFrame | None = None
        self.run = run

    def __repr__(self) -> str:
        data, settings = self.run["data"], self.run["settings"]
        alone = ", one trait at a time" if BY_TRAIT in self.run["facts"] else ""
        return (
            f"Fit({settings['model']['structure']}{alone}; {data['lines']} lines x {data['envs']} environments x "
            f"{data['traits']} traits; {settings['chains']} chains of {settings['draws']} draws)"
        )

    def __str__(self) -> str:
        """What it is, and whether it can be leaned on: of a summary, narrow screens hide the diagnostics."""
        traits = [str(name) for name in self._groups["posterior"]["trait"].values]
        text = describe_convergence(self.summary(), self.run, self.run["facts"]["envs"], traits)
        return "\n".join([repr(self), *textwrap.wrap(text, 80, break_on_hyphens=False, break_long_words=False)])

    @property
    def idata(self) -> Any:
        if self._idata is None:
            self._idata = make_tree(self._groups)
        return self._idata

    @document(columns=quantities.SUMMARY, rows=[each for each in quantities.QUANTITIES if each.listed])
    def summary(self) -> pd.DataFrame:
        """Posterior summary by name, such as ``Sigma_t[Yield, ASI]``.

        Returns
        -------
        DataFrame
            {columns}

            The note says where an entry is informed by its prior only or the chains do not suffice. The rows are of
            (a record is a plot, or a mean where the records are such)

            {rows}

        Notes
        -----
        On a narrow screen pandas hides columns in the middle: ``print(fit)`` says how the chains went, and
        ``print(fit.summary().to_string())`` shows all.
        """
        if self._summary is None:
            self._summary = summarise_posterior(self._groups["posterior"], self.run["facts"])
        return self._summary.copy()

    @document(columns=quantities.list_predictions())
    def predictions(self) -> pd.DataFrame:
        """Predictions of every line of the relationship in every environment for every trait.

        Returns
        -------
        DataFrame
            {columns}

        Raises
        ------
        UsageError
            If the effects were not kept.
        """
        if self._predictions is None:
            raise UsageError(
                "this fit kept no effects (keep_effects='none'), so there are no predictions: fit again with "
                "keep_effects='auto', 'thin' or 'all'."
            )
        return self._predictions.copy()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write summary.csv, predictions.csv, idata.nc and run.json to a new or empty folder.

        Raises
        ------
        UsageError
            If the folder holds something already.
        MachineError
            If it cannot be written, as on a full disc; the message names a temporary folder with the files instead,
            where there is room for one.
        """
        save_result(folder, self._write)

    def _write(self, folder: Path) -> None:
        write_fit(folder, self._groups, self.run, self.summary(), self._predictions)


def load(folder: str | os.PathLike[str]) -> Fit | CrossValidation:
    """Load a fit saved by `Fit.save` or by ``bmtme fit``, or a cross-validation likewise.

    Raises
    ------
    DataError
        If the folder is not such a folder, is of a newer version, or a file of it is missing or not what was written
        (by its SHA-256 in run.json).
    """
    path = Path(file_path(folder, "folder"))
    if read_kind(path) == "cross-validation":
        # Imported here, as cross-validation is made of results.
        from bmtme.cv.result import load_cross_validation

        return load_cross_validation(path)
    return Fit(*read_fit(path))
