"""What is fitted and scored: the training part of a partition, of all traits or of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bmtme.choices import RECORD
from bmtme.cv.partitions import Partition
from bmtme.data.order import sort_names, sort_trial
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.selection import take_trait
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.model.structure import BMTME
from bmtme.preparation import Decompose, Prepared, lay_model, prepare, stand_in
from bmtme.results.residuals import Plots


class Training:
    """What a model is fitted to on a partition, and what its predictions are held against.

    Attributes
    ----------
    outline : Prepared
        The training part, with a `stand_in` for its decomposition.
    trial : Trial
        With all values, in computing order; only those of `cells` are looked at, to stand beside their predictions.
    cells : (J, I, L) bool array
        Cells of the trial to be predicted.
    plots : Plots or None
        The hidden plots with the training values of their other traits, where these are used.
    """

    def __init__(
        self, outline: Prepared, trial: Trial, cells: np.ndarray, decompose: Decompose, plots: Plots | None = None
    ) -> None:
        self.outline, self.trial, self.cells, self.plots = outline, trial, cells, plots
        self._decompose = decompose

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: without decompositions, which `use` brings there."""
        return self.__dict__ | {"_decompose": None}

    def use(self, decompose: Decompose) -> None:
        """Take decompositions from there."""
        self._decompose = decompose

    def prepare(self, model: BMTME) -> Prepared:
        """The training part with its decomposition, laid out as the model needs it."""
        outline = lay_model(self.outline, model, stand_in)
        basis = self._decompose(outline.relationship, outline.lines, outline.layout.multiples)
        return replace(outline, basis=basis)


def take_training(
    trial: Trial, relationship: Relationship, partition: Partition, decompose: Decompose, trait: int | None
) -> Training | None:
    """The training part of a partition for all traits, or for one by its place; None where nothing of it is scored.

    Raises
    ------
    DataError
        Naming the partition.
    """
    hidden, scored = partition.record_mask(trial), partition.test_cells(trial)
    if trait is not None:
        if not scored[:, :, trait].any():
            return None
        # In the environments where it has a training value or is scored.
        there = ~np.isnan(trial.values[:, trait]) & ~hidden[:, trait]
        envs = np.bincount(trial.env_index[there], minlength=len(trial.envs)) > 0
        envs |= scored[:, :, trait].any(axis=0)
        hidden, scored = hidden[envs[trial.env_index]][:, [trait]], scored[:, envs][:, :, [trait]]
        trial = take_trait(trial, trait, envs)
    try:
        outline = prepare(trial.hide(hidden), relationship, "error", stand_in)
    except DataError as error:
        raise DataError(f"partition {partition.label!r}, training part: {error}") from error
    if partition.of == RECORD and trial.se is not None:
        raise UsageError(
            "of='record' does not serve records with standard errors (se), which traits of a record share in part: use "
            "of='genetic'."
        )
    order = np.ix_(sort_names(trial.lines), sort_names(trial.envs))
    plots = take_plots(trial, hidden) if partition.of == RECORD else None
    return Training(outline, sort_trial(trial)[0], scored[order], decompose, plots)


def take_plots(trial: Trial, hidden: np.ndarray) -> Plots:
    """The plots with their training values, in computing order; what is hidden of them is wanted, not looked at."""
    training, places = sort_trial(trial.hide(hidden))
    wanted = (hidden & ~np.isnan(trial.values))[places]
    return Plots(training.line_index, training.env_index, training.values, wanted, number=training.n_plots)
