"""What has chains of its own in a fit: all traits of a trial together, or each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.data.selection import take_trait
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import DataError, NumericalError, UsageError
from bmtme.estimates import Part
from bmtme.model.baselines import SingleTrait
from bmtme.model.scaling import Scaling
from bmtme.model.structure import BMTME
from bmtme.preparation import Decompose, DecompositionCache, Prepared, build, lay_model, prepare
from bmtme.results.predictions import Targets
from bmtme.results.targets import choose_targets
from bmtme.results.unrecorded import relate_unrecorded
from bmtme.sampling import Sampling, spawn_seeds

#: First word of the spawn keys of chains of one trait, (ALONE, trait, chain); see `bmtme.cv.plan.STREAM`.
ALONE = 2


@dataclass(frozen=True)
class TraitSet:
    """What has chains of its own: all traits together, or one of them.

    Attributes
    ----------
    trait : empty for all
    model, prepared : of these traits
    whole : of all traits
    place : of the trait among those of the trial
    """

    trait: str
    model: BMTME
    prepared: Prepared
    whole: Prepared
    place: int = 0

    def build(self) -> tuple[Problem, Scaling]:
        """As `bmtme.preparation.build`; complaints name the trait."""
        with naming(self.trait):
            return build(self.prepared, self.model)

    @property
    def part(self) -> Part:
        """By its sizes."""
        return Part.of(self.prepared, self.model)

    def list_traits(self) -> tuple[str, ...]:
        """Which traits."""
        return (self.trait,) if self.trait else self.whole.trial.traits

    def spawn_seeds(self, sampling: Sampling) -> list[np.random.SeedSequence]:
        """One stream a chain; of chains of one trait, known by its place too, so that traits have independent draws."""
        return spawn_seeds(sampling.seed, sampling.chains, *([ALONE, self.place] if self.trait else []))


def list_sets(prepared: Prepared, model: BMTME | SingleTrait, decompose: Decompose | None = None) -> list[TraitSet]:
    """All traits together; or each by itself, with all environments: one without a record of it is an absent column.

    prepared : all traits, perhaps with a `bmtme.preparation.stand_in` where each is by itself
    decompose : as of `bmtme.preparation.prepare`
    """
    if decompose is None:
        decompose = DecompositionCache()  # traits recorded for the same lines have one decomposition
    if not isinstance(model, SingleTrait):
        return [TraitSet("", model, lay_model(prepared, model, decompose), prepared)]
    sets = []
    for l, trait in enumerate(prepared.given.traits):
        with naming(trait):
            own = prepare(take_trait(prepared.given, l), prepared.relationship, "error", decompose)
            alone = model.take_trait(trait)
            sets.append(TraitSet(trait, alone, lay_model(own, alone, decompose), prepared, l))
    return sets


@contextmanager
def naming(trait: str) -> Iterator[None]:
    """Put the trait before the messages of what does not do for its fit."""
    try:
        yield
    except (DataError, UsageError, NumericalError) as error:
        if not trait:
            raise
        raise type(error)(f"trait {trait!r}: {error}") from error


def choose_all_targets(sets: Sequence[TraitSet], lines: tuple[str, ...]) -> list[Targets]:
    """As `choose_targets`, once for traits that have one decomposition."""
    known: dict[int, Targets] = {}
    for part in sets:
        if id(part.prepared.basis) not in known:
            known[id(part.prepared.basis)] = choose_targets(part.prepared, lines)
    return [known[id(part.prepared.basis)] for part in sets]


def relate_all_unrecorded(sets: Sequence[TraitSet], targets: Sequence[Targets]) -> list[dict[str, Any]]:
    """As `relate_unrecorded`, once for traits that have one decomposition."""
    known: dict[int, dict[str, Any]] = {}
    for part, own in zip(sets, targets, strict=True):
        if id(own) not in known:
            known[id(own)] = relate_unrecorded(part.prepared, own)
    return [known[id(own)] for own in targets]
