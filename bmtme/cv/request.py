"""What a cross-validation is asked for, checked: all that its numbers follow from, which a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bmtme.cv.clones import CloneChoice
from bmtme.cv.models import Model, label_models, list_fitted
from bmtme.cv.partitions import Scheme, check_scheme
from bmtme.cv.schemes import CV1
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial, as_trial
from bmtme.sampling import Sampling


@dataclass(frozen=True)
class CVRequest:
    """All that the numbers of a cross-validation follow from: arguments of `cross_validate`."""

    trial: Trial
    relationship: Relationship
    models: dict[str, Model]
    scheme: Scheme
    sampling: Sampling
    unrelated: Literal["error", "drop"]
    top: float
    lowest: Sequence[str]
    clones: CloneChoice

    @classmethod
    def checked(
        cls, trial: Any, relationship: Any, models: Any, scheme: Any, draws: Any, tune: Any, chains: Any, seed: Any,
        sampler: Any, unrelated: Any, top: Any, lowest: Any, clones: Any,
    ) -> CVRequest:  # fmt: skip
        """The value of what a user gave; the best and the clones are checked when the lines and traits are known.

        Raises
        ------
        DataError, UsageError
        """
        trial = as_trial(trial)
        named = label_models(models)
        scheme = check_scheme(CV1() if scheme is None else scheme)
        sampling = Sampling.checked(draws, tune, chains, seed, sampler, warn=False)
        for model in list_fitted(named):
            sampling.refuse(model, trial)
        return cls(trial, relationship, named, scheme, sampling, unrelated, top, lowest, clones)
