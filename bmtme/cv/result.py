"""A finished cross-validation: predictions of hidden cells, scores, summary; saved to a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bmtme.cv.scores import score, summarise
from bmtme.results.docstrings import document
from bmtme.results.folder import save_result
from bmtme.results.quantities import list_comparison, list_hidden, list_scores
from bmtme.results.record import write_record
from bmtme.results.storage import describe_columns


@document(predictions=list_hidden(), scores=list_scores())
@dataclass(eq=False, repr=False)
class CrossValidation:
    """Result of `bmtme.cross_validate`.

    Attributes
    ----------
    predictions : DataFrame
        Hidden line x env x trait cells with a recorded value.

        {predictions}
    scores : DataFrame
        By model, partition, environment and trait (see `bmtme.cv.score`).

        {scores}
    failures : list of (model, partition, message)
        Fits that broke down; they have no predictions and no scores.
    warnings : list of str
        What to bear in mind, in sentences: failures, chains that disagree, large Monte Carlo errors.
    run : dict
        Settings, scheme, data, diagnostics of the fits, versions and timings, as written to ``run.json``.
    envs, traits : tuple of str
        Order of the tables.
    """

    predictions: pd.DataFrame
    failures: list[tuple[str, str, str]]
    warnings: list[str]
    run: dict[str, Any]
    envs: tuple[str, ...]
    traits: tuple[str, ...]
    scores: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self.scores = score(self.predictions, envs=self.envs, traits=self.traits)

    def __repr__(self) -> str:
        settings = self.run["settings"]
        failed = f"; {len(self.failures)} fits failed" if self.failures else ""
        return (
            f"CrossValidation({settings['scheme']['name']}; {len(settings['models'])} models x "
            f"{len(self.run['data']['partitions'])} partitions; {settings['chains']} chains of {settings['draws']} "
            f"draws{failed})"
        )

    @document(columns=list_comparison())
    def summary(self) -> pd.DataFrame:
        """Scores averaged over partitions, with the models ranked in each environment x trait.

        Returns
        -------
        DataFrame
            {columns}

            Partitions share most of their lines, so that the standard errors are too small.
        """
        return summarise(self.scores, envs=self.envs, traits=self.traits)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write scores.csv, predictions.csv, summary.csv and run.json to a new or empty folder.

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
        failures = [dict(zip(("model", "partition", "message"), entry, strict=True)) for entry in self.failures]
        run = {**self.run, "failures": failures, "warnings": self.warnings}
        tables = {"scores.csv": self.scores, "predictions.csv": self.predictions, "summary.csv": self.summary()}
        for name, table in tables.items():
            table.to_csv(folder / name, index=False, lineterminator="\n")
        columns = {name: describe_columns(table) for name, table in tables.items()}
        write_record(folder, run, "cross-validation", columns)
