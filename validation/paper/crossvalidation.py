"""Cross-validation of the models on one trial, with the errors of their differences.

Two errors of a difference between models:

- *over partitions*: the standard deviation over random partitions / sqrt(partitions). Given the data the partitions
  are independent draws, so it says how far the mean is from that over all possible partitions of this very trial.
- *over lines*: lines are drawn again with replacement and their predictions scored again. It says what another sample
  of as many lines would change, with the training as it is. Another trial, other seasons, would change more.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bmtme
from validation.paper.kept import Data, digest_data, keep
from validation.paper.rawstandard import VARIANCES, predict_partition
from validation.registry import Options, report_progress

#: Partitions of a call of `cross_validate`, kept together.
BLOCK = 10
#: Samples of lines, and of partitions.
RESAMPLED = 400
DRAWN = 4000
SHORT = {"draws": 1000, "tune": 500, "chains": 2}
COLUMNS = ["model", "partition", "line", "env", "trait", "mean"]

STRUCTURES = ("unstructured", "diagonal", "standard")
MODELS = {name: bmtme.BMTME(name) for name in STRUCTURES}
#: The paper's standard model: one variance for all traits in the units of the data.
RAW = "standard, raw units"
CV1_MODELS = (*STRUCTURES, RAW)
#: The three models as the paper has them: what its statements are compared with.
PAPER_MODELS = (*STRUCTURES[:2], RAW)


def label_means(name: str, means: str) -> str:
    """Label of a model under a prior of the means."""
    return f"{name}; {means}"


#: Every model under the default prior of the means and under the paper's.
CV2_FITTED = {
    label_means(name, means): bmtme.BMTME(name, means=means)
    for means in ("exchangeable", "paper")
    for name in STRUCTURES
}
#: And the standard model in raw units under the latter.
CV2_MODELS = (*CV2_FITTED, label_means(RAW, "paper"))
#: The three models of CV2 as the paper has them, with `standard` in scaled units, and under our defaults.
PAPER = tuple(label_means(name, "paper") for name in PAPER_MODELS)
SCALED = tuple(label_means(name, "paper") for name in STRUCTURES)
DEFAULTS = tuple(label_means(name, "exchangeable") for name in STRUCTURES)


def run_models(
    data: Data, models: Mapping[str, bmtme.BMTME], scheme: Any, seed: int, cores: int, chains: Mapping[str, int]
) -> bmtme.cv.CrossValidation:
    """`bmtme.cross_validate` with short chains, and without a word on that.

    Raises
    ------
    RuntimeError
        Where a fit fails.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short chains, meant so
        cv = bmtme.cross_validate(
            *data, models=models, scheme=scheme, seed=seed, workers=cores, progress=False, **chains
        )
    if cv.failures:
        raise RuntimeError(f"{len(cv.failures)} fits failed; the first: {cv.failures[0]}")
    return cv


def predict(
    data: Data, models: Mapping[str, bmtme.BMTME], scheme: Any, seed: int, cores: int, path: Path | None
) -> pd.DataFrame:
    """Predictions of the hidden cells (`COLUMNS`)."""

    def run() -> pd.DataFrame:
        return run_models(data, models, scheme, seed, cores, SHORT).predictions[COLUMNS]

    described = {name: model.describe() for name, model in models.items()}
    return keep(path, {**describe_run(data, scheme, seed), "models": described}, run)


def describe_run(data: Data, scheme: Any, seed: int) -> dict[str, Any]:
    """What predictions depend on, beside the models."""
    return {"data": digest_data(data), "scheme": repr(scheme), "seed": seed, **SHORT}


def predict_raw(
    data: Data, scheme: bmtme.CV1 | bmtme.CV2, label: str, means: str, seed: int, cores: int, path: Path | None
) -> pd.DataFrame:
    """The same for the standard model in raw units, which is called `label`."""

    def run() -> pd.DataFrame:
        parts = [
            predict_partition(data, partition, means, seed, cores, SHORT["tune"], SHORT["draws"]).assign(
                model=label, partition=partition.label
            )
            for partition in scheme.masks(data[0], seed)
        ]
        return pd.concat(parts, ignore_index=True)[COLUMNS]

    return keep(path, {**describe_run(data, scheme, seed), "models": label, "variances": VARIANCES}, run)


def place_predictions(table: pd.DataFrame, trial: bmtme.Trial, models: Sequence[str]) -> np.ndarray:
    """(model, partition, line, env, trait), NaN where nothing was hidden; partitions in the order of the table."""
    partitions = list(dict.fromkeys(table["partition"]))
    keys = (models, partitions, trial.lines, trial.envs, trial.traits)
    out = np.full([len(key) for key in keys], np.nan)
    places = [
        table[column].map({name: k for k, name in enumerate(key)}).to_numpy()
        for column, key in zip(COLUMNS[:-1], keys, strict=True)
    ]
    out[tuple(places)] = table["mean"].to_numpy()
    return out


def weigh_scores(observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of predictions with lines counted `weights` times.

    Parameters
    ----------
    observed : (J,)
    predicted : (P, J), NaN where a line is not asked for
    weights : (B, J)

    Returns
    -------
    dict of (B, P)
        ``pearson``, ``msep``; and of the latter ``mean``, the squared difference of the means, and ``lines``, the rest.
    """
    asked = (~np.isnan(predicted)).astype(float)
    y = observed - observed.mean()  # no figures are lost in sums of squares
    f = np.nan_to_num(predicted - observed.mean(), nan=0.0)
    n = weights @ asked.T

    def average(values: np.ndarray) -> np.ndarray:
        return (weights @ (asked * values).T) / n

    my, mf = average(y[None, :]), average(f)
    yy, ff, yf = average(y[None, :] ** 2) - my**2, average(f**2) - mf**2, average(y[None, :] * f) - my * mf
    mean, lines = (my - mf) ** 2, yy - 2 * yf + ff
    return {"pearson": yf / np.sqrt(yy * ff), "msep": mean + lines, "mean": mean, "lines": lines}


def resample_lines(lines: int, seed: int) -> np.ndarray:
    """(B, J) how often each line is in a sample of J lines with replacement."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0x6C696E65,)))
    return rng.multinomial(lines, np.full(lines, 1 / lines), size=RESAMPLED).astype(float)


@dataclass(frozen=True)
class CV1:
    """Scores of random partitions.

    Attributes
    ----------
    models, envs, traits : names
    scores : score -> (model, partition, env, trait); ``msep`` as it is, ``relative`` divided by the variance of the
        observed values of the environment and trait
    resampled : score -> (sample of lines, model, env, trait), means over partitions
    """

    models: tuple[str, ...]
    envs: tuple[str, ...]
    traits: tuple[str, ...]
    scores: dict[str, np.ndarray]
    resampled: dict[str, np.ndarray]

    @property
    def partitions(self) -> int:
        """Their number."""
        return self.scores["pearson"].shape[1]

    def cell_means(self, score: str) -> np.ndarray:
        """(model, env, trait) means over partitions."""
        return self.scores[score].mean(axis=1)

    def compare(self, one: str, other: str, score: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Difference of two models, its errors over partitions and over lines; (cells + 1) each, last of the mean."""
        a, b = self.models.index(one), self.models.index(other)
        by_partition = with_mean(self.scores[score][a] - self.scores[score][b])
        by_sample = with_mean(self.resampled[score][:, a] - self.resampled[score][:, b])
        error = by_partition.std(axis=0, ddof=1) / np.sqrt(len(by_partition))
        return by_partition.mean(axis=0), error, by_sample.std(axis=0, ddof=1)

    def draw_others(self, models: Sequence[str], score: str, size: int, seed: int) -> np.ndarray:
        """(draw, model, env, trait) means over `size` other partitions.

        In two stages, as those of the paper are others than ours: all of ours drawn again with replacement, which
        stands for our mean being no more exact than it is, and from these `size` with replacement.
        """
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0x70617274,)))
        n = self.partitions
        again = rng.multinomial(n, np.full(n, 1 / n), size=DRAWN)
        share = rng.multinomial(size, again / n) / size
        places = [self.models.index(name) for name in models]
        return np.einsum("rp,mpil->rmil", share, self.scores[score][places])


def with_mean(values: np.ndarray) -> np.ndarray:
    """(n, env, trait) as (n, cells + 1), the last the mean of the cells."""
    flat = values.reshape(len(values), -1)
    return np.column_stack([flat, flat.mean(axis=1)])


def run_cv1(options: Options, name: str, data: Data, partitions: int) -> CV1:
    """Random partitions in blocks, each with its own seed."""
    blocks, report = -(-partitions // BLOCK), report_progress(f"{name}, CV1, blocks of partitions")
    tables = []
    for block in range(blocks):
        size = min(BLOCK, partitions - block * BLOCK)
        scheme, seed = bmtme.CV1(partitions=size, test_fraction=0.2), 1000 * options.seed + block
        path, raw = (options.replicates / f"{name}-{kind}-{block + 1}.csv" for kind in ("cv1", "cv1-raw"))
        for table in (
            predict(data, MODELS, scheme, seed, options.cores, path),
            predict_raw(data, scheme, RAW, "exchangeable", seed, options.cores, raw),
        ):
            tables.append(table.assign(partition=f"{block}:" + table["partition"]))
        report(block + 1, blocks)
    trial = data[0]
    predicted = place_predictions(pd.concat(tables), trial, CV1_MODELS)
    observed = trial.cell_means()
    weights = resample_lines(len(trial.lines), options.seed)
    scores = {key: np.empty((*predicted.shape[:2], *predicted.shape[3:])) for key in ("pearson", "msep", "relative")}
    again = {key: np.empty((RESAMPLED, len(predicted), *predicted.shape[3:])) for key in scores}
    for m, i, l in np.ndindex(len(predicted), len(trial.envs), len(trial.traits)):
        y, f = observed[:, i, l], predicted[m, :, :, i, l]
        once, often = weigh_scores(y, f, np.ones((1, len(y)))), weigh_scores(y, f, weights)
        for key in ("pearson", "msep"):
            scores[key][m, :, i, l] = once[key][0]
            again[key][:, m, i, l] = often[key].mean(axis=1)
        scores["relative"][m, :, i, l] = once["msep"][0] / y.var()
        again["relative"][:, m, i, l] = often["msep"].mean(axis=1) / y.var()
    return CV1(CV1_MODELS, trial.envs, trial.traits, scores, again)


@dataclass(frozen=True)
class CV2:
    """One trait hidden in one environment after the other.

    Attributes
    ----------
    trait : hidden one
    models, envs : names
    observed : (line, env)
    predicted : (model, seed, line, env), chains of their own for every seed
    scores : score -> (model, env), of the mean prediction over seeds
    noise : score -> (model, env), Monte Carlo error of the chains
    resampled : score -> (sample of lines, model, env)
    """

    trait: str
    models: tuple[str, ...]
    envs: tuple[str, ...]
    observed: np.ndarray
    predicted: np.ndarray
    scores: dict[str, np.ndarray]
    noise: dict[str, np.ndarray]
    resampled: dict[str, np.ndarray]

    def compare(self, one: str, other: str, score: str, env: int) -> tuple[float, float]:
        """Difference of two models and its error, over lines and of the chains."""
        a, b = self.models.index(one), self.models.index(other)
        by_sample = self.resampled[score][:, a, env] - self.resampled[score][:, b, env]
        error = np.hypot(by_sample.std(ddof=1), np.hypot(*self.noise[score][[a, b], env]))
        return float(self.scores[score][a, env] - self.scores[score][b, env]), float(error)


def run_cv2(options: Options, name: str, data: Data, trait: str, seeds: int) -> CV2:
    """All models and priors of the means, with `seeds` (at least two) sets of chains."""
    trial, report = data[0], report_progress(f"{name}, CV2, sets of chains")
    l = trial.traits.index(trait)
    sets = []
    for k in range(seeds):
        path, raw = (options.replicates / f"{name}-{kind}-{k + 1}.csv" for kind in ("cv2", "cv2-raw"))
        scheme, seed = bmtme.CV2(traits=(trait,)), 1000 * options.seed + k
        table = pd.concat(
            [
                predict(data, CV2_FITTED, scheme, seed, options.cores, path),
                predict_raw(data, scheme, label_means(RAW, "paper"), "paper", seed, options.cores, raw),
            ]
        )
        # Every environment is a partition of its own.
        sets.append(place_predictions(table.assign(partition="all"), trial, CV2_MODELS)[:, 0, :, :, l])
        report(k + 1, seeds)
    predicted, observed = np.stack(sets, axis=1), trial.cell_means()[:, :, l]
    weights = resample_lines(len(trial.lines), options.seed)
    shape = (len(predicted), len(trial.envs))
    keys = ("pearson", "msep", "mean", "lines")
    scores, noise = ({key: np.empty(shape) for key in keys} for _ in range(2))
    again = {key: np.empty((RESAMPLED, *shape)) for key in keys}
    for m, i in np.ndindex(*shape):
        f = predicted[m, :, :, i]
        middle = f.mean(axis=0, keepdims=True)
        one = np.ones((1, f.shape[1]))
        whole, apart = weigh_scores(observed[:, i], middle, one), weigh_scores(observed[:, i], f, one)
        often = weigh_scores(observed[:, i], middle, weights)
        for key in keys:
            scores[key][m, i] = whole[key][0, 0]
            noise[key][m, i] = apart[key][0].std(ddof=1) / np.sqrt(seeds)
            again[key][:, m, i] = often[key][:, 0]
    return CV2(trait, CV2_MODELS, trial.envs, observed, predicted, scores, noise, again)


def score_hidden(
    data: Data, models: Mapping[str, bmtme.BMTME], trait: str, env: str, seed: int, cores: int
) -> dict[str, dict[str, float]]:
    """Scores of models where one trait is hidden in one environment; nothing is kept."""
    trial = data[0]
    i, l = trial.envs.index(env), trial.traits.index(trait)
    table = predict(data, models, bmtme.CV2((trait,), (env,)), seed, cores, None)
    predicted = place_predictions(table, trial, tuple(models))[:, :, :, i, l]
    one = np.ones((1, len(trial.lines)))
    found = (weigh_scores(trial.cell_means()[:, i, l], f, one) for f in predicted)
    return {
        name: {key: float(values[0, 0]) for key, values in scores.items()}
        for name, scores in zip(models, found, strict=True)
    }
