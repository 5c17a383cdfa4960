"""What a fit is asked for, checked: all that its numbers follow from, which a checkpoint keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from bmtme.arguments import is_one_of, show
from bmtme.choices import KEEP
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial, as_trial
from bmtme.errors import UsageError
from bmtme.model.baselines import SingleTrait
from bmtme.model.structure import BMTME
from bmtme.results.checkpoint import Checkpoint
from bmtme.results.summary import GOOD_ESS
from bmtme.sampling import Sampling
from bmtme.sufficiency import FIRST, MOST, Until
from bmtme.words import list_names


@dataclass(frozen=True)
class Request:
    """All that the numbers of a fit follow from: arguments of `fit`, checked. `until` where draws are to suffice."""

    trial: Trial
    relationship: Relationship
    model: BMTME | SingleTrait
    sampling: Sampling
    unrelated: Literal["error", "drop"]
    keep_effects: str
    until: Until | None = None

    @classmethod
    def checked(
        cls, trial: Any, relationship: Any, model: Any, draws: Any, tune: Any, chains: Any, seed: Any, sampler: Any,
        unrelated: Any, keep_effects: Any, ess: Any = GOOD_ESS, time_limit: Any = None,
    ) -> Request:  # fmt: skip
        """The value of what a user gave.

        Raises
        ------
        DataError, UsageError

        Warns
        -----
        UserWarning
            Of a short run.
        """
        trial = as_trial(trial)
        model = BMTME() if model is None else model
        until = Until.asked(draws, ess, time_limit)
        sampling = Sampling.checked(draws if until is None else FIRST, tune, chains, seed, sampler, warn=False)
        # How many draws there will be is not known.
        (sampling if until is None else replace(sampling, draws=MOST)).warn_short(stacklevel=3)
        if not is_one_of(keep_effects, KEEP):
            raise UsageError(f"keep_effects must be one of {list_names(KEEP)}, got {show(keep_effects)}.")
        return cls(trial, relationship, model, sampling, unrelated, keep_effects, until)

    def take_up(self, checkpoint: Checkpoint) -> Request:
        """The same for the draws that are wanted now."""
        if checkpoint.goal is None:
            return self
        sampling = replace(self.sampling, draws=checkpoint.goal)
        until = None if self.until is None else replace(self.until, extended=checkpoint.extended)
        return replace(self, sampling=sampling, until=until)
