"""One trait at a time, and the means of the environments: models in their own right, and to compare others with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bmtme.arguments import show
from bmtme.errors import UsageError
from bmtme.model.structure import BMTME, HalfT, InverseWishart, Prior

__all__ = ["EnvironmentMeans", "SingleTrait"]


@dataclass(frozen=True)
class SingleTrait:
    """A model fitted to one trait at a time: what it says of a trait owes nothing to the others.

    `bmtme.fit` and `bmtme.cross_validate` take it as they take a `BMTME`: one run, one `Fit` of all traits, without an
    entry for a correlation between them.

    Parameters
    ----------
    model : BMTME
        Of any structure, for each trait by itself: priors with a scale for each trait give it its own.

    Raises
    ------
    UsageError
        If it is no `BMTME`, or has a prior whose scale is a matrix of several traits.
    """

    model: BMTME = field(default_factory=BMTME)

    def __post_init__(self) -> None:
        if not isinstance(self.model, BMTME):
            raise UsageError(f"SingleTrait takes a bmtme.BMTME model, got {show(self.model)}.")
        for name in ("prior_t", "prior_e"):
            prior = getattr(self.model, name)
            scale = None if prior is None else prior.scale
            if scale is not None and not isinstance(scale, Mapping) and np.ndim(scale) > 0:
                raise UsageError(
                    f"SingleTrait: the scale of {name} is a matrix of several traits: give a number, or a dict with "
                    "one for each trait."
                )

    def take_trait(self, trait: str) -> BMTME:
        """The model of one trait: with the scales of that trait where priors have one for each."""

        def take(prior: Prior | None) -> Prior | None:
            if prior is None or not isinstance(prior.scale, Mapping):
                return prior
            if trait not in prior.scale:
                raise UsageError(f"SingleTrait: a prior has a scale for each trait, but none for {trait!r}.")
            kept = {trait: prior.scale[trait]}
            return HalfT(prior.nu, kept) if isinstance(prior, HalfT) else InverseWishart(prior.df, kept)

        return replace(self.model, prior_t=take(self.model.prior_t), prior_e=take(self.model.prior_e))

    def describe(self) -> dict[str, Any]:
        """In plain values, for records of a run."""
        return {"baseline": "single", **self.model.describe()}


@dataclass(frozen=True)
class EnvironmentMeans:
    """Every line is predicted by the mean of its environment, a new environment by the mean of the others.

    It knows nothing of lines, so that it has no correlation within an environment: compare by squared errors. Its
    intervals are those of normal values with unknown mean and variance (Gelman et al. 2013, Bayesian Data Analysis,
    section 3.2): with n lines of mean m and standard deviation s, another one is m + s sqrt(1 + 1/n) t, t Student's
    with n - 1 degrees of freedom.
    """

    def describe(self) -> dict[str, Any]:
        """In plain values, for records of a run."""
        return {"baseline": "means"}
