"""What is fitted and scored: the training part of a partition, of all traits or of one."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.cv.partitions import Partition
from bmtme.data.order import sort_names, sort_trial
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.model.eigenbasis import Eigenbasis, decompose_relationship
from bmtme.preparation import Prepared, prepare


class DecompositionCache:
    """Decompositions by what they depend on: the relationship of the lines with a record, and their plot multiples.

    Partitions that train on the same lines share one. Where a partition hides whole lines, theirs is made from scratch:
    taking a row and a column off a decomposition costs a product of J x J matrices for each, more than a new one from a
    handful of lines on.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], Future[Eigenbasis]] = {}
        self._lock = threading.Lock()

    def __call__(
        self, matrix: np.ndarray, multiples: np.ndarray, is_identity: bool, overwrite: bool = False
    ) -> Eigenbasis:
        digest = hashlib.blake2b(np.ascontiguousarray(matrix).data).digest()
        key = (is_identity, len(matrix), digest, multiples.tobytes())
        with self._lock:
            first = key not in self.known
            made = self.known.setdefault(key, Future())
        if first:
            try:
                made.set_result(decompose_relationship(matrix, multiples, is_identity, overwrite))
            except BaseException as error:
                made.set_exception(error)
        return made.result()


@dataclass(frozen=True)
class Training:
    """What a model is fitted to on a partition, and what its predictions are held against.

    Attributes
    ----------
    prepared : Prepared
        The training part.
    trial : Trial
        With all values, in computing order; only those of `cells` are looked at, to stand beside their predictions.
    cells : (J, I, L) bool array
        Cells of the trial to be predicted.
    """

    prepared: Prepared
    trial: Trial
    cells: np.ndarray


def take_training(
    trial: Trial, relationship: Relationship, partition: Partition, decompose: DecompositionCache, trait: int | None
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
        trial, records, envs = take_trait(trial, hidden, scored, trait)
        hidden, scored = hidden[records][:, [trait]], scored[:, envs][:, :, [trait]]
    try:
        prepared = prepare(trial.hide(hidden), relationship, "error", decompose)
    except DataError as error:
        raise DataError(f"partition {partition.label!r}, training part: {error}") from error
    order = np.ix_(sort_names(trial.lines), sort_names(trial.envs))
    return Training(prepared, sort_trial(trial)[0], scored[order])


def take_trait(
    trial: Trial, hidden: np.ndarray, scored: np.ndarray, trait: int
) -> tuple[Trial, np.ndarray, np.ndarray]:
    """The trial of one trait in the environments where it has a training value or is scored.

    Returns
    -------
    trial : Trial
    records, envs : (N,) and (I,) bool arrays
        What is kept.
    """
    there = ~np.isnan(trial.values[:, trait]) & ~hidden[:, trait]
    envs = np.bincount(trial.env_index[there], minlength=len(trial.envs)) > 0
    envs |= scored[:, :, trait].any(axis=0)
    records = envs[trial.env_index]
    place = np.cumsum(envs) - 1
    kept = np.flatnonzero(records)
    return (
        Trial(
            trial.lines,
            tuple(name for name, keep in zip(trial.envs, envs, strict=True) if keep),
            (trial.traits[trait],),
            trial.line_index[kept],
            place[trial.env_index[kept]],
            trial.values[kept][:, [trait]],
            None if trial.reps is None else tuple(trial.reps[n] for n in kept),
        ),
        records,
        envs,
    )
