"""Two models of one trait in several environments: a common main effect, or a free covariance between environments.

The model of the paper gives every line a main effect that all environments share, and deviations from it that are
independent between environments: the genetic covariance of any two environments is the same, s2_t, and positive. With
environments as traits it is free. Estimates of both on one trial, and how well they predict hidden cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

import bmtme
from bmtme.cv.partitions import Partition
from bmtme.model.eigenbasis import measure_spread
from validation.referees.estimates import OURS, Estimate, estimate
from validation.registry import Options, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS, TUNE = 5000, 1000
#: Of each fit of the cross-validation.
CV_DRAWS, CV_TUNE = 800, 500
PARTITIONS, FRACTION = 20, 0.2
#: Of all comparisons of accuracies together.
SIGNIFICANCE = 0.05

MAIN = "common main effect"
FREE = "environments as traits"
LEANING = "environments as traits, with what the residuals say"
ALONE = "each environment alone"
COLOURS = {MAIN: (OURS, "o"), FREE: ("#009E73", "s"), LEANING: ("#56B4E9", "D"), ALONE: ("#CC79A7", "^")}


@dataclass(frozen=True)
class Comparison:
    """Both models on one trial.

    Attributes
    ----------
    envs : names of the environments
    correlations : of each model, genetic correlations of the pairs of environments
    residual : correlations of the residuals of the pairs, of the free model
    shares : of each model, heritability in each environment
    phenotypic : (pair,) correlation of the records
    accuracy : of each way of predicting, (partition, environment) correlations of hidden and predicted values
    """

    envs: list[str]
    correlations: dict[str, Estimate]
    residual: Estimate
    shares: dict[str, Estimate]
    phenotypic: np.ndarray
    accuracy: dict[str, np.ndarray]

    @property
    def pairs(self) -> list[str]:
        """Names of the pairs of environments."""
        return [f"{a} and {b}" for a, b in combinations(self.envs, 2)]

    @property
    def limit(self) -> float:
        """Errors by which an accuracy must differ from that of the common main effect, for all comparisons together."""
        df = len(self.accuracy[MAIN]) - 1
        return float(stats.t.ppf(1 - SIGNIFICANCE / (2 * self.count_comparisons()), df))

    def count_comparisons(self) -> int:
        """Every other way with the common main effect, in every environment."""
        return (len(self.accuracy) - 1) * len(self.envs)

    def list_tables(self) -> dict[str, str]:
        """All tables by their headings."""
        head = ("environments", "correlation of the yields", f"genetic: {FREE}", f"genetic: {MAIN}",
                f"residual: {FREE}")  # fmt: skip
        pairs = [
            (pair, f"{self.phenotypic[k]:.2f}", *[self.correlations[model].show(k) for model in (FREE, MAIN)],
             self.residual.show(k))
            for k, pair in enumerate(self.pairs)
        ]  # fmt: skip
        accuracy = [(model, *show_average(values)) for model, values in self.accuracy.items()]
        gains = [(model, *show_average(values - self.accuracy[MAIN], "+"))
                 for model, values in self.accuracy.items() if model != MAIN]  # fmt: skip
        shares = [(model, *[e.show(i) for i in range(len(self.envs))]) for model, e in self.shares.items()]
        way = ("way of predicting", *self.envs)
        less = f'Accuracy less that of "{MAIN}" (a difference counts from {self.limit:.1f} errors)'
        return {
            "Correlations between environments": make_table(head, pairs),
            "Heritability in each environment": make_table(("model", *self.envs), shares),
            "Accuracy of hidden yields": make_table(way, accuracy),
            less: make_table(way, gains),
        }


def average(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over overlapping partitions (partition, environment) and their corrected errors (Nadeau & Bengio 2003)."""
    factor = np.sqrt(1 / len(scores) + FRACTION / (1 - FRACTION))
    return scores.mean(axis=0), scores.std(axis=0, ddof=1) * factor


def show_average(scores: np.ndarray, sign: str = "") -> list[str]:
    """Of each environment."""
    return [f"{mean:{sign}.3f} ± {error:.3f}" for mean, error in zip(*average(scores), strict=True)]


def correlate(matrices: np.ndarray) -> np.ndarray:
    """Correlations of the pairs, (..., pair), of covariances (..., I, I)."""
    sd = np.sqrt(np.diagonal(matrices, axis1=-2, axis2=-1))
    correlations = matrices / sd[..., :, None] / sd[..., None, :]
    first, second = np.triu_indices(matrices.shape[-1], 1)
    return correlations[..., first, second]


def measure_environments(
    trial: bmtme.Trial, turned: bmtme.Trial, relationship: bmtme.Relationship, options: Options
) -> Comparison:
    """Fit and predict.

    Parameters
    ----------
    trial : of one trait, every line in every environment
    turned : the same with environments as traits
    """
    settings = {"draws": DRAWS, "tune": TUNE, "chains": 2, "seed": options.seed, "cores": options.cores,
                "keep_effects": "none", "progress": False}  # fmt: skip
    main = bmtme.fit(trial, relationship, **settings).idata.posterior
    free = bmtme.fit(turned, relationship, **settings).idata.posterior
    matrix = np.asarray(relationship.subset(trial.lines).matrix)
    c = measure_spread(float(np.trace(matrix)), float(matrix.sum()), len(matrix))
    s2_t = main["Sigma_t"].values
    genetic = {MAIN: s2_t * (1.0 + main["Sigma_E"].values), FREE: free["Sigma_t"].values}
    residual = {MAIN: main["R_e"].values * np.eye(len(trial.envs)), FREE: free["R_e"].values}
    shares = {}
    for model in (MAIN, FREE):
        G, R = (np.diagonal(part[model], axis1=2, axis2=3) for part in (genetic, residual))
        shares[model] = estimate(c * G / (c * G + R))
    return Comparison(
        list(trial.envs),
        {model: estimate(correlate(values)) for model, values in genetic.items()},
        estimate(correlate(residual[FREE])),
        shares,
        correlate(np.cov(trial.cell_means()[:, :, 0].T)),
        predict(trial, turned, relationship, options),
    )


def predict(
    trial: bmtme.Trial, turned: bmtme.Trial, relationship: bmtme.Relationship, options: Options
) -> dict[str, np.ndarray]:
    """Of each way of predicting, (partition, environment) correlations of hidden and predicted values."""
    lines, envs = list(trial.lines), list(trial.envs)
    observed = trial.cell_means()[:, :, 0]
    # Lines of `turned` are in the order of the trial's, one record each.
    assert list(turned.lines) == lines
    assert np.array_equal(turned.line_index, np.arange(len(lines)))

    def fit(part: bmtme.Trial) -> bmtme.Fit:
        return bmtme.fit(
            part, relationship, draws=CV_DRAWS, tune=CV_TUNE, chains=2, seed=options.seed, cores=options.cores,
            progress=False,
        )  # fmt: skip

    def tabulate(done: bmtme.Fit, column: str, names: Sequence[str]) -> np.ndarray:
        table = done.predictions().pivot(index="line", columns=column, values="mean")
        return table.loc[lines, list(names)].to_numpy()

    def predict_all(partition: Partition) -> dict[str, np.ndarray]:
        part = trial.hide(partition.record_mask(trial))
        main = tabulate(fit(part), "env", envs)
        done = fit(turned.hide(partition.hidden[:, :, 0]))
        free = tabulate(done, "trait", envs)
        R = done.idata.posterior["R_e"].mean(("chain", "draw")).values
        leaning = add_residuals(free, np.where(partition.hidden[:, :, 0], np.nan, observed), R)
        frame = part.to_frame()
        seen = [frame[(frame["env"] == env) & frame[trial.traits[0]].notna()] for env in envs]
        alone = [
            tabulate(fit(bmtme.Trial.from_frame(f, line="line", env="env", traits=list(trial.traits))), "env", [env])
            for env, f in zip(envs, seen, strict=True)
        ]
        return {MAIN: main, FREE: free, LEANING: leaning, ALONE: np.hstack(alone)}

    accuracy: dict[str, list[list[float]]] = {}
    for partition in bmtme.CV1(PARTITIONS, FRACTION).masks(trial, options.seed):
        hidden = partition.test_cells(trial)[:, :, 0]
        for model, predicted in predict_all(partition).items():
            accuracy.setdefault(model, []).append([
                float(np.corrcoef(predicted[hidden[:, i], i], observed[hidden[:, i], i])[0, 1])
                for i in range(len(envs))
            ])  # fmt: skip
    return {model: np.array(values) for model, values in accuracy.items()}


def add_residuals(fitted: np.ndarray, seen: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Fitted values (J, I), with what the residuals of the seen ones (NaN: hidden) say of those of the hidden ones.

    R : (I, I) covariance of the residuals; hidden ones have mean R_hs R_ss^-1 e_s.
    """
    out = fitted.copy()
    residuals = seen - fitted
    for j, e in enumerate(residuals):
        s = ~np.isnan(e)
        out[j, ~s] += R[np.ix_(~s, s)] @ np.linalg.solve(R[np.ix_(s, s)], e[s])
    return out


def draw_environments(both: Comparison) -> Figure:
    """Genetic correlations by both models; accuracy of each way of predicting."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    places = np.arange(len(both.pairs))[::-1]
    for shift, model in ((0.12, FREE), (-0.12, MAIN)):
        e, (colour, mark) = both.correlations[model], COLOURS[model]
        left.errorbar(e.mean, places + shift, xerr=[e.mean - e.lower, e.upper - e.mean], fmt=mark, color=colour,
                      linewidth=1.2, label=model)  # fmt: skip
    left.axvline(0, color="0.7", linewidth=0.8, zorder=0)
    left.set_yticks(places, both.pairs)
    left.set_xlim(-1, 1)
    left.set_xlabel("genetic correlation (mean, 90% interval)")
    left.set_title("Genetic correlations of environments")
    for k, (model, values) in enumerate(both.accuracy.items()):
        colour, mark = COLOURS[model]
        mean, error = average(values)
        place = np.arange(len(both.envs)) + 0.16 * (k - (len(both.accuracy) - 1) / 2)
        right.errorbar(place, mean, yerr=error, fmt=mark, color=colour, linewidth=1.2, label=model)
    right.set_xticks(np.arange(len(both.envs)), both.envs)
    right.set_ylim(0, None)
    right.set_ylabel("correlation with hidden yields\n(mean ± corrected standard error)")
    right.set_title("Accuracy of predicted grain yield")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
