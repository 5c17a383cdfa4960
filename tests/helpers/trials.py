"""Small trials."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bmtme import Relationship, Trial, simulate
from bmtme.datasets.simulated import Simulation


def trial_of(frame: pd.DataFrame, traits: Iterable[str] | None = None) -> Trial:
    """Trial of a frame with the columns line, env and perhaps rep; the traits are T1, T2, ..., or those named."""
    if traits is None:
        traits = [name for name in frame if name.startswith("T")]
    return Trial.from_frame(frame, line="line", env="env", traits=list(traits), rep="rep" if "rep" in frame else None)


def make_trial(**settings: object) -> tuple[Trial, Relationship]:
    """A small simulated trial of two traits with gaps, and its relationship; settings as for `simulate`."""
    usual = {"lines": 14, "envs": 3, "traits": 2, "missing": 0.1, "missing_traits": 0.05, "relationship": "blocks"}
    simulation = simulate(**usual | {"seed": 3} | settings)
    return trial_of(simulation.frame), simulation.relationship


def simulate_small(**settings: object) -> Simulation:
    """Twelve lines in three environments, three traits, some gaps; settings as for `simulate`."""
    return simulate(**{"lines": 12, "missing": 0.1, "relationship": "markers", "seed": 2} | settings)


def same(a: Trial, b: Trial) -> bool:
    """Labels, order and values are the same."""
    return (
        (a.lines, a.envs, a.traits, a.reps) == (b.lines, b.envs, b.traits, b.reps)
        and np.array_equal(a.line_index, b.line_index)
        and np.array_equal(a.env_index, b.env_index)
        and np.array_equal(a.values, b.values, equal_nan=True)
    )


def cells(trial: Trial) -> dict[tuple[str, str, str], tuple[int, float]]:
    """Count and mean of every recorded cell by name: the content of a trial without its order."""
    counts, means = trial.counts(), trial.cell_means()
    return {
        (trial.lines[j], trial.envs[i], trial.traits[t]): (int(counts[j, i, t]), round(float(means[j, i, t]), 10))
        for j, i, t in np.argwhere(counts > 0)
    }


def values(trial: Trial) -> list[float]:
    """Values of the first trait, record by record."""
    return trial.values[:, 0].tolist()
