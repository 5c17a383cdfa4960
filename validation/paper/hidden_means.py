"""The mean of a trait in an environment where it was not recorded, which CV2 asks for: what each prior makes of it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

import bmtme
from validation.paper.crossvalidation import CV2
from validation.paper.findings import PAPER
from validation.paper.kept import Data
from validation.paper.published import DRAWS
from validation.paper.simulated import join_words
from validation.registry import make_table


@dataclass(frozen=True)
class HiddenMean:
    """The environment mean of the hidden trait.

    Attributes
    ----------
    env : name
    observed : mean of the hidden values
    square, centred : mean of their squares around zero and around their mean
    elsewhere : mean of the trait in the other environments
    spread : posterior standard deviation of the unrecorded mean under the paper's prior, unstructured model
    """

    env: str
    observed: float
    square: float
    centred: float
    elsewhere: float
    spread: float

    @property
    def wobble(self) -> float:
        """Standard error of an MSEP whose predictions average as many independent draws as the paper keeps."""
        error = self.spread / math.sqrt(DRAWS)
        return math.hypot(2 * self.observed * error, math.sqrt(2) * error**2)


def measure_means(data: Data, cv: CV2, seed: int, cores: int) -> list[HiddenMean]:
    """One for every environment; needs a fit for each."""
    trial, relationship = data
    l = trial.traits.index(cv.trait)
    out = []
    for i, env in enumerate(trial.envs):
        mask = np.zeros(trial.values.shape, bool)
        mask[trial.env_index == i, l] = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that the mean is not recorded
            fit = bmtme.fit(
                trial.hide(mask), relationship, bmtme.BMTME(means="paper"), draws=2000, tune=500, chains=2, seed=seed,
                cores=cores, keep_effects="none", progress=False,
            )  # fmt: skip
        draws = fit.idata.posterior["beta"].values[:, :, i, l]
        y = cv.observed[:, i]
        others = np.delete(cv.observed, i, axis=1)
        out.append(HiddenMean(env, y.mean(), float(np.mean(y**2)), y.var(), others.mean(), float(draws.std(ddof=1))))
    return out


def warn_of_draws(means: list[HiddenMean], cv: CV2, unit: str) -> str:
    """What the paper's MSEP would be worth if raw draws of the unrecorded mean had been averaged."""
    errors = ", ".join(f"{m.wobble:.2g} ({m.env})" for m in means)
    spread = np.ptp(cv.scores["msep"][[cv.models.index(label) for label in PAPER]], axis=0)
    drowned = [m.env for m, size in zip(means, spread, strict=True) if size < 2 * math.sqrt(2) * m.wobble]
    if len(drowned) == len(means):
        worth = "mean nothing"
    elif drowned:
        worth = f"mean nothing in {join_words(drowned)} (models that differ as here)"
    else:
        worth = "may still stand"
    return (
        "If the paper averaged raw draws under one variance for all means, its own MSEP in CV2 had a Monte Carlo error "
        f"of {errors} {unit} and its orders by MSEP {worth}"
    )


def tabulate_means(means: list[HiddenMean]) -> str:
    """What can be said of MSEP without any line."""
    head = (
        "environment", "observed mean", "MSEP of 0 for all", "MSEP of the other environments' mean",
        "MSEP of the observed mean", "posterior SD of the unrecorded mean, the paper's prior",
        f"standard error of MSEP, {DRAWS:,} draws",
    )  # fmt: skip
    lines = [
        (
            m.env, f"{m.observed:.3g}", f"{m.square:.3g}", f"{(m.observed - m.elsewhere) ** 2 + m.centred:.3g}",
            f"{m.centred:.3g}", f"{m.spread:.3g}", f"{m.wobble:.2g}",
        )
        for m in means
    ]  # fmt: skip
    return make_table(head, lines)


def tabulate_split(cv: CV2) -> str:
    """Scores of every model and prior in every environment."""
    lines = []
    for i, env in enumerate(cv.envs):
        for k, label in enumerate(cv.models):
            name, means = label.split("; ")
            error = cv.resampled["pearson"][:, k, i].std(ddof=1)
            f = cv.predicted[k].mean(axis=0)[:, i].mean()
            figures = [f"{cv.scores[key][k, i]:.3g}" for key in ("mean", "lines")]
            lines.append(
                (
                    env, means, name, f"{cv.scores['pearson'][k, i]:.3f} ({error:.3f})",
                    f"{cv.scores['msep'][k, i]:.4g} ({cv.noise['msep'][k, i]:.1g})", *figures, f"{f:.3g}",
                )
            )  # fmt: skip
    head = (
        "environment", "prior of the means", "model", "Pearson (SE over lines)", "MSEP (Monte Carlo error)",
        "of it mean", "of it lines", "mean prediction",
    )  # fmt: skip
    return make_table(head, lines)
