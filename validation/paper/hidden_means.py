"""The mean of a trait in an environment where it was not recorded, which CV2 asks for: what each prior makes of it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

import bmtme
from validation.paper.crossvalidation import CV2
from validation.paper.kept import Data
from validation.paper.published import DRAWS


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
