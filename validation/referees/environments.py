"""Two models of one trait in several environments: a common main effect, or a free covariance between environments.

The model of the paper gives every line a main effect that all environments share, and deviations from it that are
independent between environments: the genetic covariance of any two environments is the same, s2_t, and positive. With
environments as traits it is free. Estimates of both on one trial, and how well they predict hidden cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

import bmtme
from bmtme.cv.schemes import Partition
from validation.referees.estimates import Estimate, estimate
from validation.registry import Options, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS, TUNE = 5000, 1000
#: Of each fit of the cross-validation.
CV_DRAWS, CV_TUNE = 800, 500
PARTITIONS, FRACTION = 10, 0.2

MAIN = "common main effect"
FREE = "environments as traits"
ALONE = "each environment alone"
COLOURS = {MAIN: ("#0072B2", "o"), FREE: ("#D55E00", "s"), ALONE: ("#009E73", "^")}


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
    accuracy : of each model, (partition, environment) correlations of hidden and predicted values
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

    def missed(self) -> list[str]:
        """Pairs whose genetic correlation under the common main effect lies above the free model's 90% interval."""
        main, free = self.correlations[MAIN], self.correlations[FREE]
        return [pair for k, pair in enumerate(self.pairs) if main.mean[k] > free.upper[k]]

    def gain(self, model: str, other: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean difference in accuracy by environment, and its naive standard error over the partitions."""
        difference = self.accuracy[model] - self.accuracy[other]
        return difference.mean(axis=0), difference.std(axis=0, ddof=1) / np.sqrt(len(difference))

    def describe(self, figure: str) -> str:
        """The section of the report."""
        rows = []
        for k, pair in enumerate(self.pairs):
            cells = [self.correlations[model].show(k) for model in (FREE, MAIN)]
            rows.append((pair, f"{self.phenotypic[k]:.2f}", *cells, self.residual.show(k)))
        head = ("environments", "records", f"genetic: {FREE}", f"genetic: {MAIN}", f"residual: {FREE}")
        accuracy = []
        for model, values in self.accuracy.items():
            error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
            means = [f"{m:.3f} ± {e:.3f}" for m, e in zip(values.mean(axis=0), error, strict=True)]
            accuracy.append((model, *means))
        shares = [(model, *[e.show(i) for i in range(len(self.envs))]) for model, e in self.shares.items()]
        return "\n\n".join([
            "## Four environments, one trait: where the paper's model does not fit",
            "The same yields in the paper's model, as one trait in several environments. Each line has a main effect "
            "that all environments share, and deviations that are independent between environments, so that *any two "
            "environments have the same genetic covariance, and it is positive*: environments differ only in how much "
            "each deviates. Residuals are independent between environments and have one variance. With environments "
            "as traits both covariances are free, and predictions lean on both. Default priors.",
            "Correlations between environments (genetic and residual: posterior means and 90% intervals):",
            make_table(head, rows),
            f"![Genetic correlations by both models, and accuracy of predictions]({figure})",
            "Heritability in each environment:",
            make_table(("model", *self.envs), shares),
            f"Prediction of hidden yields: {PARTITIONS} partitions, in each a fifth of the lines hidden in every "
            "environment, each seen in another one at least (`CV1`); correlation with the hidden values, mean over "
            "the partitions ± naive standard error:",
            make_table(("model", *self.envs), accuracy),
            self.conclude(),
        ])  # fmt: skip

    def conclude(self) -> str:
        """What breeders should know, as far as it was found."""
        parts = []
        missed = self.missed()
        if missed:
            parts.append(
                f"**The common main effect does not fit here.** For {len(missed)} of {len(self.pairs)} pairs "
                f"({', '.join(missed)}) it makes the genetic correlation larger than the free model's 90% interval "
                "allows."
            )
        else:
            parts.append("No genetic correlation of the common main effect lies above the free model's 90% interval.")
        odd = [env for i, env in enumerate(self.envs) if self.opposes(i)]
        for env in odd:
            parts.append(
                f"{env} ranks the lines otherwise than the other environments: all of its genetic correlations are "
                "below zero in the free model, and a model that can only say \"less alike\" has no place for that."
            )
        free, single = self.gain(FREE, MAIN), self.gain(ALONE, MAIN)
        for model, (mean, error) in ((FREE, free), (ALONE, single)):
            better = [e for e, m, s in zip(self.envs, mean, error, strict=True) if m > 2 * s]
            worse = [e for e, m, s in zip(self.envs, mean, error, strict=True) if m < -2 * s]
            parts.append(
                f"Against the common main effect, \"{model}\" predicts better in {', '.join(better) or 'none'} and "
                f"worse in {', '.join(worse) or 'none'} (by more than two standard errors)."
            )
        if any(env in odd and m > 2 * s for env, m, s in zip(self.envs, *single, strict=True)):
            parts.append(
                "There the other environments do harm: an analysis of that environment alone is better than one that "
                "borrows from the others by a common main effect."
            )
        parts.append(
            "Advice: look at the correlations between environments first; where one is negative or near zero while "
            "others are high, analyse that environment apart, or take environments as traits, as here (one trait, one "
            "record a line, every line in the same table)."
        )
        return " ".join(parts)

    def opposes(self, i: int) -> bool:
        """Whether all genetic correlations of an environment are negative in the free model, by their means."""
        mine = [k for k, pair in enumerate(combinations(range(len(self.envs)), 2)) if i in pair]
        return bool((self.correlations[FREE].mean[mine] < 0).all())


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
    m = float(np.diag(np.asarray(relationship.matrix)).mean())
    s2_t = main["Sigma_t"].values
    genetic = {MAIN: s2_t * (1.0 + main["Sigma_E"].values), FREE: free["Sigma_t"].values}
    residual = {MAIN: main["R_e"].values * np.eye(len(trial.envs)), FREE: free["R_e"].values}
    shares = {}
    for model in (MAIN, FREE):
        G, R = (np.diagonal(part[model], axis1=2, axis2=3) for part in (genetic, residual))
        shares[model] = estimate(m * G / (m * G + R))
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
    """Of each model, (partition, environment) correlations of hidden and predicted values."""
    lines, envs = list(trial.lines), list(trial.envs)
    observed = trial.cell_means()[:, :, 0]
    # Lines of `turned` are in the order of the trial's, one record each.
    assert list(turned.lines) == lines
    assert np.array_equal(turned.line_index, np.arange(len(lines)))

    def fit(part: bmtme.Trial, column: str) -> np.ndarray:
        table = bmtme.fit(
            part, relationship, draws=CV_DRAWS, tune=CV_TUNE, chains=2, seed=options.seed, cores=options.cores,
            progress=False,
        ).predictions()  # fmt: skip
        names = list(part.envs if column == "env" else part.traits)
        return table.pivot(index="line", columns=column, values="mean").loc[lines, names].to_numpy()

    def predict_main(partition: Partition) -> np.ndarray:
        return fit(trial.hide(partition.record_mask(trial)), "env")

    def predict_free(partition: Partition) -> np.ndarray:
        return fit(turned.hide(partition.hidden[:, :, 0]), "trait")

    def predict_alone(partition: Partition) -> np.ndarray:
        frame = trial.hide(partition.record_mask(trial)).to_frame()
        parts = [frame[(frame["env"] == env) & frame[trial.traits[0]].notna()] for env in envs]
        trials = [bmtme.Trial.from_frame(f, line="line", env="env", traits=list(trial.traits)) for f in parts]
        return np.hstack([fit(one, "env") for one in trials])

    ways: dict[str, Callable[[Partition], np.ndarray]] = {MAIN: predict_main, FREE: predict_free, ALONE: predict_alone}
    accuracy: dict[str, list[list[float]]] = {model: [] for model in ways}
    for partition in bmtme.CV1(PARTITIONS, FRACTION).masks(trial, options.seed):
        hidden = partition.scored(trial)[:, :, 0]
        for model, way in ways.items():
            predicted = way(partition)
            accuracy[model].append([
                float(np.corrcoef(predicted[hidden[:, i], i], observed[hidden[:, i], i])[0, 1])
                for i in range(len(envs))
            ])  # fmt: skip
    return {model: np.array(values) for model, values in accuracy.items()}


def draw_environments(both: Comparison) -> Figure:
    """Genetic correlations by both models; accuracy of the three analyses."""
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
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        right.errorbar(np.arange(len(both.envs)) + 0.16 * (k - 1), values.mean(axis=0), yerr=error, fmt=mark,
                       color=colour, linewidth=1.2, label=model)  # fmt: skip
    right.set_xticks(np.arange(len(both.envs)), both.envs)
    right.set_ylim(0, None)
    right.set_ylabel("correlation with hidden yields (± SE)")
    right.set_title("Accuracy of predicted grain yield")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
