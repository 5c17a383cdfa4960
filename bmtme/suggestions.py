"""The handful of models worth comparing for a trial, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bmtme.checkup.line_effect import FEWEST_CONTRASTS, count_contrasts, describe_weakness
from bmtme.checkup.spreads import find_unequal_spreads
from bmtme.cv.clones import CloneChoice, choose_clones
from bmtme.cv.models import Model
from bmtme.cv.partitions import Scheme, check_scheme, draw_partitions
from bmtme.cv.training import take_training
from bmtme.data.adjusted import AdjustedMeans
from bmtme.data.relationship.clones import CLONES
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.selection import take_trait
from bmtme.data.trial import Trial, as_trial
from bmtme.errors import DataError, UsageError
from bmtme.model.baselines import EnvironmentMeans, SingleTrait
from bmtme.model.structure import BMTME
from bmtme.preparation import Prepared, count_records, prepare, refuse_model, stand_in
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.proportional import Proportional
from bmtme.structures.structure import Genetic
from bmtme.words import count_noun, list_names

__all__ = ["Suggestions", "suggest_models"]

#: What a line effect is, in a reason.
BESIDE = " and a line effect outside the relationship"
#: Columns of one trait above which two factors are assumed, not one.
MANY_COLUMNS = 3
#: Columns (environment x trait) of a free covariance at most, and lines with a record for each of its columns at least.
MOST_COLUMNS, LINES_PER_COLUMN = 20, 5


@dataclass(frozen=True)
class Sizes:
    """What the suggestions depend on."""

    lines: int  # with a record
    recorded: np.ndarray  # (I, L) which columns have one, of environments with any
    envs: tuple[str, ...]  # these environments
    replicated: bool  # whether a line has two records in an environment
    alike: bool  # whether all records are of as many plots
    missing: float  # share of values that lines x columns with a record lack
    related: bool  # unequally, so that their relationship tells them apart
    uneven: tuple[str, ...]  # traits whose standard deviation differs between environments


@dataclass(frozen=True)
class Parts:
    """What models are fitted to: the whole trial, or the training part of every partition of a scheme.

    Attributes
    ----------
    joint : of all traits together
    alone : of each trait
    hiding : whether a scheme hides something
    """

    joint: tuple[Prepared, ...]
    alone: tuple[Prepared, ...]
    hiding: bool

    def take(self, model: Model) -> bool:
        """Whether a model takes all of them."""
        inner = model.model if isinstance(model, SingleTrait) else model
        try:
            for part in self.alone if isinstance(model, SingleTrait) else self.joint:
                if isinstance(inner, BMTME):
                    refuse_model(part, inner)
        except (DataError, UsageError):
            return False
        return True

    def tell_line_effect(self, single: bool) -> bool:
        """Whether a line effect is told from others well enough in all of them."""
        model = BMTME(line_effect=True)
        parts = self.alone if single else self.joint
        return self.take(SingleTrait(model) if single else model) and not any(
            describe_weakness(part.trial.traits, count_records(part)) for part in parts
        )

    def bear_free(self, single: bool) -> bool:
        """Whether all have a record in every column, few columns, and lines enough for free covariances of these."""
        for part in self.alone if single else self.joint:
            recorded, count = part.layout.recorded, int(part.layout.recorded.sum())
            if not recorded.all() or count > MOST_COLUMNS or len(part.lines) < LINES_PER_COLUMN * count:
                return False
        return True


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


def suggest_models(
    trial: Trial | AdjustedMeans,
    relationship: Relationship,
    scheme: Scheme | None = None,
    *,
    seed: int = 1,
    clones: CloneChoice = CLONES,
) -> Suggestions:
    """The models worth comparing for these data, the first one the first to trust.

    The rules look at the sizes, replicates, missing values, standard deviations by environment and the relationship,
    never at how well a model does: that is for `bmtme.cross_validate`. They come from cross-validations of six trials
    of 250 to 776 lines in three to five environments, where one trait at a time with free covariances of the
    environments, a residual variance for each and a line effect outside the relationship was the choice that never
    fell behind.

    Every model suggested takes the data it is for: of one trait at a time, those of the trait with the fewest; with a
    scheme, the training part of each of its partitions. Free covariances say nothing of a column that a scheme hides
    whole, and other models stand in then.

    Parameters
    ----------
    trial : Trial or AdjustedMeans
    relationship : Relationship
        Of its lines, and perhaps others.
    scheme : scheme of `bmtme.cross_validate`, optional
        What is to be hidden from the models. Without, they are for `bmtme.fit`, where nothing is.
    seed : int
        Of the partitions, as of `bmtme.cross_validate`.
    clones : float, dict, pandas.Series, or None
        As of `bmtme.cross_validate`.

    Returns
    -------
    Suggestions
        Models by label.

    Raises
    ------
    UsageError
        If either is none.
    DataError
        If the trial has no record of a line of the relationship, or if no model takes its data, or what the scheme
        leaves of them.

    Examples
    --------
    >>> scheme = bmtme.NewLines(folds=5)  # doctest: +SKIP
    >>> models = bmtme.suggest_models(trial, relationship, scheme)  # doctest: +SKIP
    >>> print(models)  # doctest: +SKIP
    >>> cv = bmtme.cross_validate(trial, relationship, models, scheme)  # doctest: +SKIP
    """
    trial = as_trial(trial)
    if not isinstance(relationship, Relationship):
        raise UsageError(
            "relationship must be a bmtme.Relationship, as read_relationship gives it, got "
            f"{type(relationship).__name__}."
        )
    trial = take_known(trial, relationship)
    parts = lay_parts(trial, relationship, scheme, seed, clones)
    sizes = measure_sizes(trial, relationship)
    several, many = len(sizes.envs) > 1, len(trial.traits) > 1
    found = Suggestions(describe_sizes(sizes, trial.traits))
    if several:
        model, reason = choose_first(parts, many)
        found.add("single" if many else "own", model, reason)
        main = BMTME(genetic=MainAndInteraction("equal"))
        if parts.take(main):
            found.add(
                "main",
                main,
                "main effects and an interaction of the same size everywhere: few parameters, to fall back on where "
                "chains of the others disagree",
            )
    if several and many:
        add_joint(found, parts, sizes)
    if parts.take(BMTME()):
        found.add("unstructured", BMTME(), name_first(several, many))
    single = many and not several
    line_effect = not several and parts.tell_line_effect(single)
    if single:
        found.add(
            "single",
            SingleTrait(BMTME(line_effect=line_effect)),
            f"one trait at a time{BESIDE * line_effect}: whether the traits help each other at all",
        )
    elif line_effect:
        found.add("line effect", BMTME(line_effect=True), "the same with a line effect outside the relationship")
    found.add("mean", EnvironmentMeans(), "the means of the environments: what nothing but the environments predicts")
    return found


def choose_first(parts: Parts, many: bool) -> tuple[Model, str]:
    """The first model to trust for several environments, and why: the first that all parts take."""
    own: list[tuple[Genetic, str]] = [(Free(), "free covariances")] if parts.bear_free(many) else []
    factors = "a factor-analytic covariance"
    own += [(FactorAnalytic(factors=2), factors)] if min_columns(parts.alone) > MANY_COLUMNS else []
    own += [(FactorAnalytic(factors=1), factors)] if min_columns(parts.alone) > 2 else []
    own += [(MainAndInteraction("free"), "main effects and interaction"), (Proportional(), "the paper's covariance")]
    line_effect = parts.tell_line_effect(many)
    made = [(BMTME(genetic=genetic, residual="by_env", line_effect=line_effect), how) for genetic, how in own]
    models = [(SingleTrait(one) if many else one, how) for one, how in made]
    model, how = next(((model, how) for model, how in models if parts.take(model)), models[-1])
    return model, (
        f"{'one trait at a time, ' if many else ''}with {how} of its environments, a residual variance for "
        f"each{BESIDE * line_effect}: the safest first choice"
    )


def min_columns(parts: tuple[Prepared, ...]) -> int:
    """Columns with a record in the part that has the fewest."""
    return min(int(part.layout.recorded.sum()) for part in parts)


def add_joint(found: Suggestions, parts: Parts, sizes: Sizes) -> None:
    """Models of all traits together with covariances of their own in every environment."""
    M = int(sizes.recorded.sum())
    if parts.bear_free(single=False):
        found.add(
            "free",
            BMTME(genetic=Free(), residual="common_correlation"),
            f"all traits together, a free covariance of the {M} environment x trait columns: pays where traits help "
            "each other; trust it only where its chains agree",
        )
        return
    model = BMTME(genetic=FactorAnalytic(factors=2), residual="common_correlation")
    if not parts.take(model):
        return
    lines = min(len(part.lines) for part in parts.joint)
    why = f"{M} columns are too many for {lines} lines"
    if not all(part.layout.recorded.all() for part in parts.joint):
        why = (
            "the scheme hides whole columns" if parts.hiding and sizes.recorded.all() else "some columns have no record"
        )
    found.add("factors", model, f"all traits together, two factors in place of a free covariance, as {why}")


def name_first(several: bool, many: bool) -> str:
    """What the paper's model is for these data."""
    if several:
        return "the model of the paper, as the reference: one genetic correlation between all environments"
    return "free covariances of the traits" if many else "one genetic and one residual variance"


def take_known(trial: Trial, relationship: Relationship) -> Trial:
    """The part of the trial whose lines the relationship has.

    Raises
    ------
    DataError
        If that is nothing.
    """
    known = set(relationship.lines)
    strangers = [line for line in trial.lines if line not in known]
    if len(strangers) < len(trial.lines):
        trial = trial.drop_lines(strangers) if strangers else trial
        if trial.counts().any():
            return trial
    raise DataError("no line of the trial with a record is in the relationship: check how both write the names.")


def lay_parts(trial: Trial, relationship: Relationship, scheme: Scheme | None, seed: int, clones: CloneChoice) -> Parts:
    """What models are fitted to, parameters as of `suggest_models`."""
    traits = range(len(trial.traits))
    if scheme is None:
        whole = prepare(trial, relationship, "drop", stand_in)
        alone = (prepare(take_trait(whole.given, l), relationship, "error", stand_in) for l in traits)
        return Parts((whole,), tuple(alone), False)
    scheme = check_scheme(scheme)
    same, _ = choose_clones(clones, trial, relationship)
    if same and callable(getattr(scheme, "join", None)):
        scheme = scheme.join(same)  # type: ignore[attr-defined]
    partitions = draw_partitions(scheme, trial, seed)

    def take(l: int | None) -> list[Prepared]:
        parts = (take_training(trial, relationship, partition, stand_in, l) for partition in partitions)
        return [part.outline for part in parts if part is not None]

    return Parts(tuple(take(None)), tuple(part for l in traits for part in take(l)), True)


def measure_sizes(trial: Trial, relationship: Relationship) -> Sizes:
    """Sizes of a trial whose lines the relationship has."""
    counts = trial.counts()
    seen = np.asarray(counts.any(axis=(0, 2)))
    counts = counts[:, seen]
    recorded = np.asarray(counts.any(axis=0))
    here = counts.any(axis=(1, 2))
    lines = int(here.sum())
    return Sizes(
        lines,
        recorded,
        tuple(env for env, is_seen in zip(trial.envs, seen, strict=True) if is_seen),
        bool(counts.max() > 1),
        trial.n_plots is None or np.ptp(trial.n_plots[~np.isnan(trial.values).all(axis=1)]) == 0,
        1.0 - float((counts[:, recorded] > 0).sum()) / (lines * int(recorded.sum())),
        not count_contrasts(relationship, [trial.lines[j] for j in np.flatnonzero(here)]) < FEWEST_CONTRASTS,
        tuple(sorted({item["trait"] for finding in find_unequal_spreads(trial) for item in finding.items})),
    )


def describe_sizes(sizes: Sizes, traits: tuple[str, ...]) -> str:
    """What was seen of the data, in words."""
    text = f"{count_noun(sizes.lines, 'line')} in {count_noun(len(sizes.envs), 'environment')}, "
    text += f"{count_noun(len(traits), 'trait')}, {'replicated' if sizes.replicated else 'one record a cell'}"
    if sizes.missing > 0.005:
        text += f", {100 * sizes.missing:.0f}% of the values missing"
    if (absent := int((~sizes.recorded).sum())) > 0:
        text += f", {count_noun(absent, 'environment x trait column')} without a record"
    text += "."
    if sizes.uneven:
        text += f" Standard deviations differ between environments: {list_names(sizes.uneven)}."
    if not sizes.related:
        text += " The lines count as unrelated, or as related alike: lines without a record cannot be told apart."
        if not sizes.replicated and sizes.alike:
            text += " With single plots the prior alone says how much is genetic."
    return text
