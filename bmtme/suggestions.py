"""The handful of models worth comparing for a trial, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bmtme.checkup.spreads import find_unequal_spreads
from bmtme.cv.models import Model
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.model.baselines import EnvironmentMeans, SingleTrait
from bmtme.model.structure import BMTME
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.structure import Genetic
from bmtme.words import count_noun, list_names

__all__ = ["Suggestions", "suggest_models"]

#: Columns (environment x trait) of a free covariance at most, and lines with a record for each of its columns at least.
MOST_COLUMNS, LINES_PER_COLUMN = 20, 5


@dataclass(frozen=True)
class Sizes:
    """What the suggestions depend on."""

    lines: int  # with a record
    recorded: np.ndarray  # (I, L) which columns have one, of environments with any
    envs: tuple[str, ...]  # these environments
    replicated: bool  # whether a line has two plots in an environment
    missing: float  # share of values that lines x columns with a record lack
    related: bool
    uneven: tuple[str, ...]  # traits whose standard deviation differs between environments


class Suggestions(Mapping[str, Model]):
    """Models by label, ready for `bmtme.cross_validate`, with a reason for each; printed, they are words.

    Attributes
    ----------
    data : str
        What was seen of the data.
    reasons : dict of str
        By label.
    """

    def __init__(self, data: str) -> None:
        self.data = data
        self.reasons: dict[str, str] = {}
        self._models: dict[str, Model] = {}

    def add(self, label: str, model: Model, reason: str) -> None:
        """One model more."""
        self._models[label], self.reasons[label] = model, reason

    def __getitem__(self, label: str) -> Model:
        return self._models[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __str__(self) -> str:
        return "\n".join([self.data, *(f"- {label}: {reason}" for label, reason in self.reasons.items())])

    __repr__ = __str__


def suggest_models(trial: Trial, relationship: Relationship) -> Suggestions:
    """The models worth comparing for these data, the first one the first to trust.

    The rules look at the sizes, replicates, missing values, standard deviations by environment and the relationship,
    never at how well a model does: that is for `bmtme.cross_validate`, which takes what is returned as it is. They come
    from cross-validations of six trials of 250 to 776 lines in three to five environments, where one trait at a time
    with free covariances of the environments, a residual variance for each and a line effect outside the relationship
    was the choice that never fell behind.

    Parameters
    ----------
    trial : Trial
    relationship : Relationship
        Of its lines, and perhaps others.

    Returns
    -------
    Suggestions
        Models by label.

    Raises
    ------
    UsageError
        If either is none.
    DataError
        If the trial has no record of a line of the relationship.

    Examples
    --------
    >>> models = bmtme.suggest_models(trial, relationship)  # doctest: +SKIP
    >>> print(models)  # doctest: +SKIP
    >>> cv = bmtme.cross_validate(trial, relationship, models)  # doctest: +SKIP
    """
    if not isinstance(trial, Trial):
        raise UsageError(f"trial must be a bmtme.Trial, as read_trial gives it, got {type(trial).__name__}.")
    if not isinstance(relationship, Relationship):
        raise UsageError(
            "relationship must be a bmtme.Relationship, as read_relationship gives it, got "
            f"{type(relationship).__name__}."
        )
    sizes = measure_sizes(trial, relationship)
    several, many = len(sizes.envs) > 1, len(trial.traits) > 1
    found = Suggestions(describe_sizes(sizes, trial.traits))
    line_effect = sizes.related and (several or sizes.replicated)
    beside = " and a line effect outside the relationship" if line_effect else ""
    if several:
        genetic, how = choose_single(sizes)
        own = BMTME(genetic=genetic, residual="by_env", line_effect=line_effect)
        found.add(
            "single" if many else "own",
            SingleTrait(own) if many else own,
            f"{'one trait at a time, ' if many else ''}with {how} of its environments, a residual variance for "
            f"each{beside}: the safest first choice",
        )
        found.add(
            "main",
            BMTME(genetic=MainAndInteraction("equal")),
            "main effects and an interaction of the same size everywhere: few parameters, to fall back on where chains "
            "of the others disagree",
        )
    if several and many:
        add_joint(found, sizes)
    found.add("unstructured", BMTME(), name_first(several, many))
    if many and not several:
        found.add(
            "single",
            SingleTrait(BMTME(line_effect=line_effect)),
            f"one trait at a time{beside}: whether the traits help each other at all",
        )
    elif line_effect and not several:
        found.add("line effect", BMTME(line_effect=True), "the same with a line effect outside the relationship")
    found.add("mean", EnvironmentMeans(), "the means of the environments: what nothing but the environments predicts")
    return found


def add_joint(found: Suggestions, sizes: Sizes) -> None:
    """Models of all traits together with covariances of their own in every environment."""
    M = int(sizes.recorded.sum())
    if sizes.recorded.all() and M <= MOST_COLUMNS and sizes.lines >= LINES_PER_COLUMN * M:
        found.add(
            "free",
            BMTME(genetic=Free(), residual="common_correlation"),
            f"all traits together, a free covariance of the {M} environment x trait columns: pays where traits help "
            "each other; trust it only where its chains agree",
        )
        return
    why = f"{M} columns are too many for {sizes.lines} lines" if sizes.recorded.all() else "some columns have no record"
    found.add(
        "factors",
        BMTME(genetic=FactorAnalytic(factors=2), residual="common_correlation"),
        f"all traits together, two factors in place of a free covariance, as {why}",
    )


def choose_single(sizes: Sizes) -> tuple[Genetic, str]:
    """Structure of one trait's environments, and how to call it."""
    I = len(sizes.envs)
    if sizes.recorded.all() and I <= MOST_COLUMNS and sizes.lines >= LINES_PER_COLUMN * I:
        return Free(), "free covariances"
    if I > 2:
        return FactorAnalytic(factors=1 if I == 3 else 2), "a factor-analytic covariance"
    return MainAndInteraction("free"), "main effects and interaction"


def name_first(several: bool, many: bool) -> str:
    """What the paper's model is for these data."""
    if several:
        return "the model of the paper, as the reference: one genetic correlation between all environments"
    return "free covariances of the traits" if many else "one genetic and one residual variance"


def measure_sizes(trial: Trial, relationship: Relationship) -> Sizes:
    """Sizes of the part of the trial whose lines the relationship has."""
    known = set(relationship.lines)
    strangers = [line for line in trial.lines if line not in known]
    trial = trial if len(strangers) in (0, len(trial.lines)) else trial.drop_lines(strangers)
    counts = trial.counts()
    if len(strangers) == len(trial.lines) or not counts.any():
        raise DataError("no line of the trial with a record is in the relationship: check how both write the names.")
    seen = np.asarray(counts.any(axis=(0, 2)))
    counts = counts[:, seen]
    recorded = np.asarray(counts.any(axis=0))
    lines = int(counts.any(axis=(1, 2)).sum())
    return Sizes(
        lines,
        recorded,
        tuple(env for env, here in zip(trial.envs, seen, strict=True) if here),
        bool(counts.max() > 1),
        1.0 - float((counts[:, recorded] > 0).sum()) / (lines * int(recorded.sum())),
        not relationship.is_identity,
        tuple(sorted({item["trait"] for finding in find_unequal_spreads(trial) for item in finding.items})),
    )


def describe_sizes(sizes: Sizes, traits: tuple[str, ...]) -> str:
    """What was seen of the data, in words."""
    text = f"{count_noun(sizes.lines, 'line')} in {count_noun(len(sizes.envs), 'environment')}, "
    text += f"{count_noun(len(traits), 'trait')}, {'replicated' if sizes.replicated else 'one plot a cell'}"
    if sizes.missing > 0.005:
        text += f", {100 * sizes.missing:.0f}% of the values missing"
    if (absent := int((~sizes.recorded).sum())) > 0:
        text += f", {count_noun(absent, 'environment x trait column')} without a record"
    text += "."
    if sizes.uneven:
        text += f" Standard deviations differ between environments: {list_names(sizes.uneven)}."
    if not sizes.related:
        text += " The lines count as unrelated: lines without a record cannot be told apart."
        if not sizes.replicated:
            text += " With single plots the prior alone says how much is genetic."
    return text
