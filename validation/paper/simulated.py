"""What the two studies on simulated data share: the paper's design, and errors over independent sets."""

from __future__ import annotations

from typing import Any

import numpy as np

import bmtme
from bmtme.datasets.simulated import Simulation

#: The paper's: 80 lines in 3 environments with 3 traits and 20 replicates; `bmtme.simulate` has its means.
SIZES = {"lines": 80, "envs": 3, "traits": 3, "reps": 20}


def simulate(seed: int, **design: Any) -> tuple[Simulation, bmtme.Trial]:
    """A set of the paper's size, with the other arguments of `bmtme.simulate`."""
    simulation = bmtme.simulate(**SIZES, **design, seed=seed)
    traits = list(simulation.truth["Sigma_t"].columns)
    return simulation, bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=traits, rep="rep")


def mean_error(values: np.ndarray) -> tuple[float, float]:
    """Mean over independent sets and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
