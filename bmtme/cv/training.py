"""What is fitted and scored: the training part of a partition, of all traits or of one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from bmtme.arguments import measure_memory
from bmtme.cv.partitions import Partition
from bmtme.data.order import sort_names, sort_trial
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.preparation import Decompose, Prepared, decompose_lines, prepare

#: Of the memory, for decompositions that nobody uses at the moment.
KEPT_SHARE = 0.1


class DecompositionCache:
    """Decompositions of one relationship by what they depend on: the lines with a record, and their plot multiples.

    Training parts of the same lines share one. The last ones used are kept, as many as fit into a share of the memory;
    others live as long as somebody uses them. Where a partition hides whole lines, theirs is made from scratch: taking
    a row and a column off a decomposition costs a product of J x J matrices for each, more than a new one from a
    handful of lines on.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[Any, ...], Eigenbasis] = OrderedDict()
        self._alive: WeakValueDictionary[tuple[Any, ...], Eigenbasis] = WeakValueDictionary()
        self._locks: dict[tuple[Any, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, relationship: Relationship, lines: tuple[str, ...], multiples: np.ndarray) -> Eigenbasis:
        key = (lines, multiples.tobytes())
        with self._lock:
            own = self._locks.setdefault(key, threading.Lock())
        with own:  # one is made once, and others at the same time
            basis = self._alive.get(key)
            if basis is None:
                basis = decompose_lines(relationship, lines, multiples)
        with self._lock:
            self._alive[key] = self._last[key] = basis
            self._last.move_to_end(key)
            while len(self._last) > max(1, int(KEPT_SHARE * measure_memory() / (8 * len(lines) ** 2))):
                self._last.popitem(last=False)
        return basis


def stand_in(relationship: Relationship, lines: tuple[str, ...], multiples: np.ndarray) -> Eigenbasis:
    """In place of a decomposition where nothing but its scale is asked for: whether a model can be fitted at all."""
    if relationship.is_identity:
        return decompose_lines(relationship, lines, multiples)
    scale = float(np.mean(relationship.matrix.diagonal()[relationship.index(lines)]))
    return Eigenbasis(None, np.ones(len(lines)), len(lines), scale, multiples)


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
    """

    def __init__(self, outline: Prepared, trial: Trial, cells: np.ndarray, decompose: Decompose) -> None:
        self.outline, self.trial, self.cells = outline, trial, cells
        self._decompose = decompose

    def prepare(self) -> Prepared:
        """The training part with its decomposition."""
        outline = self.outline
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
        trial, records, envs = take_trait(trial, hidden, scored, trait)
        hidden, scored = hidden[records][:, [trait]], scored[:, envs][:, :, [trait]]
    try:
        outline = prepare(trial.hide(hidden), relationship, "error", stand_in)
    except DataError as error:
        raise DataError(f"partition {partition.label!r}, training part: {error}") from error
    order = np.ix_(sort_names(trial.lines), sort_names(trial.envs))
    return Training(outline, sort_trial(trial)[0], scored[order], decompose)


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
