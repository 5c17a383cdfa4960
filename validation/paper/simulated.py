"""What the two studies on simulated data share: the paper's design, errors over independent sets, and how they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import bmtme
from bmtme.datasets.simulated import Simulation
from bmtme.model.eigenbasis import measure_spread

#: The paper's: 80 lines in 3 environments with 3 traits and 20 replicates; `bmtme.simulate` has its means.
SIZES = {"lines": 80, "envs": 3, "traits": 3, "reps": 20}


def simulate(seed: int, heritability: Sequence[float], **design: Any) -> tuple[Simulation, bmtme.Trial]:
    """A set of the paper's size, with the other arguments of `bmtme.simulate`.

    heritability : of a plot of one line, with the diagonal of one that G has: V / (V + R_e). `bmtme.simulate` takes
        that among lines, c V / (c V + R_e): c is 0.3 for G = 0.3 I + 0.7 11'.
    """
    shape = {name: design[name] for name in ("relationship",) if name in design}
    G = np.asarray(bmtme.simulate(SIZES["lines"], envs=1, traits=1, **shape).relationship.matrix)
    c = measure_spread(float(np.trace(G)), float(G.sum()), len(G))
    h2 = np.array(heritability)
    simulation = bmtme.simulate(**SIZES, **design, heritability=c * h2 / (c * h2 + 1.0 - h2), seed=seed)
    traits = list(simulation.truth["Sigma_t"].columns)
    return simulation, bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=traits)


def mean_error(values: np.ndarray) -> tuple[float, float]:
    """Mean over independent sets and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def compare_zero(mean: float, error: float) -> int:
    """Sign of a mean that is more than two standard errors from zero; else zero."""
    return int(np.sign(mean)) if abs(mean) > 2 * error else 0


def write_number(value: float, digits: int, sign: str = "") -> str:
    """A number with so many decimals; what rounds to zero has no sign."""
    rounded = round(value, digits)
    return f"{rounded:{sign}.{digits}f}" if rounded else f"{0:.{digits}f}"


def write_mean(values: np.ndarray, digits: int, sign: str = "") -> str:
    """Mean over independent sets, and in brackets its standard error."""
    mean, error = mean_error(values)
    return f"{write_number(mean, digits, sign)} ({error:.{digits}f})"
