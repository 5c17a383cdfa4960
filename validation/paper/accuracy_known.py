"""Predictions with known covariances under both readings of the paper's relationship, for the study `accuracy`.

Nothing is fitted: this is how well the best predictions do, and what they would do without any residual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bmtme
from bmtme.datasets.simulated import Simulation
from bmtme.results.agreement import Pair
from validation.paper.accuracy_sets import ALONE, DESIGNS, FRACTION, KNOWN, predict_both, predict_known
from validation.paper.simulated import simulate
from validation.registry import Options, report_progress

READINGS = ("compound", "blocks")
#: The design with R_e a multiple of Sigma_t; by its correlation nothing changes.
DESIGN = next(design for design in DESIGNS if design.proportional)
SETS, PARTITIONS = 40, 3


@dataclass(frozen=True)
class Known:
    """The sets of one relationship.

    Attributes
    ----------
    reading : its name
    best : (sets,) Pearson's correlation of hidden means with their best predictions, mean of environments x traits
    pure : (sets,) the same of genetic values, predicted from genetic values: no residual at all
    gain : the largest difference that the correlations of the traits make to any prediction
    """

    reading: str
    best: np.ndarray
    pure: np.ndarray
    gain: float


def bound_prediction(interaction: float, others: int) -> float:
    """Correlation of a genetic value with its best prediction from those in other environments, lines unrelated.

    The mean of n others has covariance 1 with it and variance 1 + s / n, its own variance is 1 + s, in units of the
    main effect: ``1 / sqrt((1 + s) (1 + s / n))``, s = Sigma_E[i, i], the same in all environments.
    """
    return float(1 / np.sqrt((1 + interaction) * (1 + interaction / others)))


def list_genetic(simulation: Simulation) -> np.ndarray:
    """Expected values of the cells, (line, env, trait)."""
    beta, b1, b2 = (simulation.truth[name].to_numpy() for name in ("beta", "b1", "b2"))
    return beta[None] + b1[:, None] + b2.reshape(len(beta), *b1.shape).transpose(1, 0, 2)


def correlate(y: np.ndarray, f: np.ndarray, hidden: np.ndarray) -> float:
    """Mean of Pearson's correlations of the hidden lines over environments x traits."""
    cells = np.ndindex(y.shape[1:])
    return float(np.mean([Pair(y[hidden[:, i, l], i, l], f[hidden[:, i, l], i, l]).pearson for i, l in cells]))


def run_known(options: Options, sets: int = SETS, partitions: int = PARTITIONS) -> list[Known]:
    """All sets under both relationships."""
    found = []
    report = report_progress("accuracy, known covariances")
    rho, scheme = DESIGN.correlation, bmtme.CV1(partitions=partitions, test_fraction=FRACTION)
    for n, reading in enumerate(READINGS):
        best, pure, gain = np.zeros((sets, partitions)), np.zeros((sets, partitions)), 0.0
        for k in range(sets):
            seed = 1000 * options.seed + k
            simulation, trial = simulate(
                seed, genetic_correlation=rho, residual_correlation=rho, heritability=DESIGN.heritability,
                interaction=1.0, relationship=reading,
            )  # fmt: skip
            means, genetic = trial.cell_means(), list_genetic(simulation)
            Sigma_t = simulation.truth["Sigma_t"].to_numpy()
            for p, partition in enumerate(scheme.masks(trial, seed)):
                both = predict_both(simulation, means, partition)
                gain = max(gain, float(np.abs(both[KNOWN] - both[ALONE])[partition.hidden].max()))
                best[k, p] = correlate(means, both[KNOWN], partition.hidden)
                clean = predict_known(simulation, genetic, ~partition.hidden, Sigma_t, np.zeros_like(Sigma_t))
                pure[k, p] = correlate(genetic, clean, partition.hidden)
            report(n * sets + k + 1, len(READINGS) * sets)
        found.append(Known(reading, best.mean(axis=1), pure.mean(axis=1), gain))
    return found
