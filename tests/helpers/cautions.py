"""Plots with or without something strange, and what a fit says of them before it samples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import bmtme
from bmtme.checkup.cautions import find_cautions
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial

SHORT = {"draws": 20, "tune": 10, "chains": 1, "seed": 1, "progress": False}


def simulate_cells(J: int, I: int, L: int, seed: int = 0, digits: int = 2, spread: float = 5.0) -> np.ndarray:
    """Values (J, I, L) of ordinary lines: alike between environments and traits, with errors, rounded."""
    rng = np.random.default_rng(seed)
    genetic = rng.normal(size=(J, 1, 1)) + 0.5 * rng.normal(size=(J, 1, L)) + 0.5 * rng.normal(size=(J, I, L))
    return np.round(50 + spread * (genetic + rng.normal(size=(J, I, L))), digits)


def stack_plots(*plots: np.ndarray, reps: tuple[str, ...] | None = None) -> Trial:
    """A trial with one or more values (J, I, L) of each cell, replicates one after the other."""
    J, I, L = plots[0].shape
    line, env = (index.ravel() for index in np.meshgrid(np.arange(J), np.arange(I), indexing="ij"))
    labels = None if reps is None else tuple(rep for rep in reps for _ in range(J * I))
    return Trial(
        tuple(f"g{j}" for j in range(J)),
        tuple(str(2018 + i) for i in range(I)),
        tuple("ABCDEFGHIJKL"[:L]),
        np.tile(line, len(plots)),
        np.tile(env, len(plots)),
        np.concatenate([each.reshape(-1, L) for each in plots]),
        labels,
    )


def caution(trial: Trial, kind: str) -> object:
    """The one finding of a kind, in the check-up as in what a fit looks at."""
    (finding,) = (each for each in find_cautions(trial) if each.kind == kind)
    assert finding in trial.check().notes
    return finding


def list_cautions(trial: Trial) -> set[str]:
    return {finding.kind for finding in find_cautions(trial)}


def said_by_fit(trial: Trial, sampled: type[Exception]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(sampled):
            bmtme.fit(trial, Relationship.identity(trial.lines), **SHORT)
    return [str(each.message) for each in caught if not str(each.message).startswith("a short run")]
