"""Partitions of a trial's line x env x trait cells: what is hidden, and what a scheme has to make of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names

__all__ = ["BoolArray", "Partition", "Scheme", "check_partition", "tabulate_partitions"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Partition:
    """One split into training and test cells.

    Attributes
    ----------
    label : str
        ``"1"``, ``"2"``, ... for CV1, ``"env:trait"`` for CV2.
    hidden : numpy.ndarray of bool, shape (J, I, L)
        Cells of line x env x trait withheld from training, in the order of the trial's labels. A hidden
        cell hides all its plots. A hidden cell without a recorded value changes nothing and is not scored.
    """

    label: str
    hidden: BoolArray

    def __post_init__(self) -> None:
        hidden = np.array(self.hidden, dtype=bool)
        hidden.setflags(write=False)
        object.__setattr__(self, "hidden", hidden)

    def record_mask(self, trial: Trial) -> BoolArray:
        """Mask of the values of every record, for ``Trial.hide``.

        Parameters
        ----------
        trial : Trial
            The trial the partition was made for.

        Returns
        -------
        numpy.ndarray of bool, shape (N, L)
        """
        self._fits(trial)
        return np.asarray(self.hidden[trial.line_index, trial.env_index], dtype=bool)

    def scored(self, trial: Trial) -> BoolArray:
        """The test cells: hidden and with a recorded value, shape (J, I, L)."""
        self._fits(trial)
        return np.asarray(self.hidden & (trial.counts() > 0), dtype=bool)

    def _fits(self, trial: Trial) -> None:
        shape = (len(trial.lines), len(trial.envs), len(trial.traits))
        if self.hidden.shape != shape:
            raise UsageError(
                f"partition {self.label} was made for a trial of (lines, environments, traits) = "
                f"{self.hidden.shape}, this one has {shape}: make the masks from this trial."
            )


class Scheme(Protocol):
    """What cross-validation asks of a scheme."""

    def masks(self, trial: Trial, seed: int) -> list[Partition]:
        """All partitions of the trial."""
        ...

    def table(self, trial: Trial, seed: int) -> pd.DataFrame:
        """The test cells of all partitions as a table."""
        ...


def check_partition(partition: Partition, trial: Trial, counts: npt.NDArray[np.integer]) -> None:
    """Refuse a partition that cannot be fitted or scored."""
    recorded = counts > 0
    training = recorded & ~partition.hidden
    if not (recorded & partition.hidden).any():
        raise DataError(
            f"Partition {partition.label!r} hides no recorded value, so there is nothing to score: "
            "choose an environment and a trait with records."
        )
    untrained = np.flatnonzero(~training.any(axis=(0, 1)))
    if untrained.size:
        raise DataError(
            f"Partition {partition.label!r} leaves no training value of trait "
            f"{list_names(trial.traits[k] for k in untrained)}: a trait must also be recorded outside the hidden "
            "cells. Choose other cells or leave the trait out."
        )
    nowhere = np.flatnonzero(recorded.any(axis=(1, 2)) & ~training.any(axis=(1, 2)))
    if nowhere.size:
        raise DataError(
            f"Partition {partition.label!r} hides every recorded value of line "
            f"{list_names(trial.lines[j] for j in nowhere)}: a line must also be recorded outside the hidden "
            "cells. Choose other cells or leave the line out."
        )


def tabulate_partitions(partitions: Sequence[Partition], trial: Trial) -> pd.DataFrame:
    """Test cells of all partitions; in each by line, environment, trait in the trial's order."""
    lines, envs, traits = (np.array(names, dtype=object) for names in (trial.lines, trial.envs, trial.traits))
    recorded = trial.counts() > 0
    cells = [np.nonzero(partition.hidden & recorded) for partition in partitions]
    labels = np.array([partition.label for partition in partitions], dtype=object)
    j, i, k = (np.concatenate([cell[axis] for cell in cells]) for axis in range(3))
    return pd.DataFrame(
        {
            "partition": np.repeat(labels, [cell[0].size for cell in cells]),
            "line": lines[j],
            "env": envs[i],
            "trait": traits[k],
        }
    )
