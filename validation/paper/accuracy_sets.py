"""Simulated sets cross-validated by the paper's scheme CV1, for the study `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bmtme
from bmtme.cv.partitions import Partition
from bmtme.datasets.simulated import Simulation
from bmtme.results.agreement import Pair
from validation.paper.crossvalidation import place_predictions, run_models
from validation.paper.kept import keep
from validation.paper.simulated import SIZES, simulate
from validation.registry import Options, report_progress

CHAINS = {"draws": 1200, "tune": 300, "chains": 2}
#: 16 of the 80 lines lose all their plots in an environment.
FRACTION = 0.2
PARTITIONS = 10

UN, BD, ST = "unstructured", "diagonal", "standard"
#: The traits are in one unit, so that the standard model can be the paper's.
MODELS = {UN: bmtme.BMTME(UN), BD: bmtme.BMTME(BD), ST: bmtme.BMTME(ST, units="raw")}
#: Predictions with the true covariances, and with their diagonals in their place.
KNOWN, ALONE = "known covariances", "known variances, each trait alone"
PREDICTORS = (*MODELS, KNOWN, ALONE)
#: Scores of line means, and of single plots.
SCORES = ("pearson", "msep", "plot_pearson", "plot_msep")


@dataclass(frozen=True)
class Design:
    """What is simulated; Sigma_E is the identity, Sigma_t has unit variances."""

    name: str
    correlation: float
    heritability: tuple[float, ...]

    @property
    def proportional(self) -> bool:
        """Whether R_e is a multiple of Sigma_t."""
        return len(set(self.heritability)) == 1


EQUAL, UNEQUAL = (0.5, 0.5, 0.5), (0.05, 0.2, 0.5)
DESIGNS = tuple(
    Design(f"{word} heritabilities, correlation {rho:g}", rho, h2)
    for word, h2 in (("equal", EQUAL), ("unequal", UNEQUAL))
    for rho in (0.85, 0.2)
)


def predict_known(
    simulation: Simulation, means: np.ndarray, seen: np.ndarray, Sigma_t: np.ndarray, R: np.ndarray
) -> np.ndarray:
    """Best linear unbiased predictions of all cells from the means of the cells seen, covariances given.

    With C = G (x) (11' + Sigma_E) (x) Sigma_t, cells in the order line, environment, trait, and X their columns of
    means: ``X b + C V^-1 (y - X b)``, V = C + I (x) R, b by generalised least squares.

    Parameters
    ----------
    means : (J, I, L) array
        Of the plots of a cell.
    seen : (J, I, L) bool
        Whole records.
    R : (L, L) array
        Residual covariance of these means: R_e / plots.

    Returns
    -------
    (J, I, L) array
    """
    J, I, L = seen.shape
    y, here = means.ravel(), seen.ravel()
    between = np.ones((I, I)) + simulation.truth["Sigma_E"].to_numpy()
    C = np.kron(np.asarray(simulation.relationship.matrix), np.kron(between, Sigma_t))
    V = (C + np.kron(np.eye(J * I), R))[np.ix_(here, here)]
    X = np.tile(np.eye(I * L), (J, 1))
    solved = np.linalg.solve(V, np.column_stack([X, y])[here])
    b = np.linalg.solve(X[here].T @ solved[:, :-1], X[here].T @ solved[:, -1])
    return (X @ b + C[:, here] @ (solved[:, -1] - solved[:, :-1] @ b)).reshape(J, I, L)


def score_cell(y: np.ndarray, f: np.ndarray, within: np.ndarray) -> tuple[float, ...]:
    """`SCORES` of one environment x trait: means of lines, predictions, mean squares of plots about their line's mean.

    The deviations of plots from the mean of their line are orthogonal to all that is constant within the line.
    """
    pair = Pair(y, f)
    r, e, noise = pair.pearson, pair.msep, float(within.mean())
    return r, e, r * float(np.sqrt(y.var() / (y.var() + noise))), e + noise


def measure_within(trial: bmtme.Trial) -> np.ndarray:
    """Mean square of the plots about the mean of their cell, (J, I, L)."""
    deviations = trial.values - trial.cell_means()[trial.line_index, trial.env_index]
    total = np.zeros(trial.counts().shape)
    np.add.at(total, (trial.line_index, trial.env_index), deviations**2)
    return total / trial.counts()


def score_set(design: Design, seed: int, partitions: int, cores: int) -> pd.DataFrame:
    """One set: predictor, env, trait, `SCORES` as means over partitions; the least effective draws of its model."""
    rho = design.correlation
    simulation, trial = simulate(
        seed, genetic_correlation=rho, residual_correlation=rho, heritability=design.heritability, interaction=1.0
    )
    scheme = bmtme.CV1(partitions=partitions, test_fraction=FRACTION)
    cv = run_models((trial, simulation.relationship), MODELS, scheme, seed, cores, CHAINS)
    effective = {name: min(cv.run["effective_draws"][name].values()) for name in MODELS}
    cubes = place_predictions(cv.predictions, trial, tuple(MODELS))
    means, within = trial.cell_means(), measure_within(trial)
    scores: dict[tuple[str, int, int], list[tuple[float, ...]]] = {}
    for k, partition in enumerate(scheme.masks(trial, seed)):
        predicted = dict(zip(MODELS, cubes[:, k], strict=True))
        predicted |= predict_both(simulation, means, partition)
        for name in PREDICTORS:
            for i, l in np.ndindex(means.shape[1:]):
                lines = partition.hidden[:, i, l]
                told = score_cell(means[lines, i, l], predicted[name][lines, i, l], within[lines, i, l])
                scores.setdefault((name, i, l), []).append(told)
    rows = [
        (name, trial.envs[i], trial.traits[l], *np.mean(told, axis=0), effective.get(name, np.inf))
        for (name, i, l), told in scores.items()
    ]
    return pd.DataFrame(rows, columns=["predictor", "env", "trait", *SCORES, "effective"])


def predict_both(simulation: Simulation, means: np.ndarray, partition: Partition) -> dict[str, np.ndarray]:
    """Predictions with known covariances, and with their diagonals."""
    truth = [simulation.truth["Sigma_t"].to_numpy(), simulation.truth["R_e"].to_numpy() / SIZES["reps"]]
    alone = [np.diag(np.diag(value)) for value in truth]
    return {
        name: predict_known(simulation, means, ~partition.hidden, *given)
        for name, given in ((KNOWN, truth), (ALONE, alone))
    }


@dataclass(frozen=True)
class Accuracy:
    """The sets of one design.

    Attributes
    ----------
    scores : score -> (set, predictor, env, trait), means over partitions
    effective : (set, model) effective draws behind the median prediction, in the worst partition
    """

    design: Design
    envs: tuple[str, ...]
    traits: tuple[str, ...]
    scores: dict[str, np.ndarray]
    effective: np.ndarray

    @property
    def sets(self) -> int:
        """Their number."""
        return len(self.effective)

    def of(self, predictor: str, score: str) -> np.ndarray:
        """(set, env, trait)."""
        return self.scores[score][:, PREDICTORS.index(predictor)]

    def average(self, predictor: str, score: str) -> np.ndarray:
        """(set,) means of the nine environments x traits."""
        return self.of(predictor, score).mean(axis=(1, 2))

    def gain(self, one: str, other: str, score: str) -> np.ndarray:
        """(set, trait + 1) by how much the first predictor is the better; the last column of all traits together.

        Of Pearson's correlation the difference; of MSEP the percentage of the other's MSEP (mean over all sets) saved.
        """
        a, b = (self.of(name, score).mean(axis=1) for name in (one, other))
        a, b = (np.column_stack([x, x.mean(axis=1)]) for x in (a, b))
        return a - b if "pearson" in score else 100 * (b - a) / b.mean(axis=0)

    def count_wins(self, score: str) -> np.ndarray:
        """(set, model) environments x traits in which a model is the best of the three."""
        values = self.scores[score][:, : len(MODELS)].reshape(self.sets, len(MODELS), -1)
        best = values.argmax(axis=1) if "pearson" in score else values.argmin(axis=1)
        return np.stack([(best == m).sum(axis=1) for m in range(len(MODELS))], axis=1)


def collect(design: Design, tables: Sequence[pd.DataFrame]) -> Accuracy:
    """Sets side by side."""
    envs, traits = (tuple(dict.fromkeys(tables[0][column])) for column in ("env", "trait"))
    shape = (len(tables), len(PREDICTORS), len(envs), len(traits))
    scores = {score: np.stack([table[score] for table in tables]).reshape(shape) for score in SCORES}
    effective = np.stack([table["effective"] for table in tables]).reshape(shape)[:, : len(MODELS), 0, 0]
    return Accuracy(design, envs, traits, scores, effective)


def run_sets(options: Options, designs: Sequence[Design], sets: int, partitions: int, kept: bool) -> list[Accuracy]:
    """All sets of the designs; sets of the same number share their random numbers."""
    results = []
    report = report_progress("accuracy, sets")
    for n, design in enumerate(designs):
        tables = []
        for k in range(sets):
            seed = 1000 * options.seed + k
            word = "equal" if design.proportional else "unequal"
            name = f"{word}-{design.correlation:g}-{seed}.csv"
            path = options.replicates / "accuracy" / name if kept else None
            settings = {
                "correlation": design.correlation, "heritability": design.heritability, "partitions": partitions,
                "models": {name: model.describe() for name, model in MODELS.items()}, "seed": seed, **CHAINS,
            }  # fmt: skip

            def make(design: Design = design, seed: int = seed) -> pd.DataFrame:
                return score_set(design, seed, partitions, options.cores)

            tables.append(keep(path, settings, make, (*SCORES, "effective")))
            report(n * sets + k + 1, len(designs) * sets)
        results.append(collect(design, tables))
    return results
