"""The models of a cross-validation: by label, checked, and which of them are one and the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import as_label, show
from bmtme.data.trial import Trial
from bmtme.errors import UsageError
from bmtme.model.baselines import EnvironmentMeans, SingleTrait
from bmtme.model.codes import DIAGONAL, FULL, CovariancePrior
from bmtme.model.scaling import Scaling, scale_priors
from bmtme.model.structure import BMTME
from bmtme.words import first_repeat, list_names

Model = BMTME | SingleTrait | EnvironmentMeans
Models = Mapping[str, Model] | Sequence[Model] | Model


def name_model(model: Any) -> str | None:
    """The label of a model that was given none."""
    if isinstance(model, SingleTrait):
        return "single"
    return "mean" if isinstance(model, EnvironmentMeans) else getattr(model, "structure", None)


def label_models(models: Models | None) -> dict[str, Model]:
    """Models by label, checked."""
    if models is None:
        models = BMTME()
    pairs: list[tuple[Any, Any]]
    if isinstance(models, Model):
        pairs = [(name_model(models), models)]
    elif isinstance(models, Mapping):
        pairs = list(models.items())
    elif isinstance(models, (list, tuple)):
        pairs = [(name_model(model), model) for model in models]
    else:
        raise UsageError(f"models must be a model, a list of them, or a dict of them by label, got {show(models)}.")
    if not pairs:
        raise UsageError("models is empty: name at least one, such as {'un': BMTME('unstructured')}.")
    for label, model in pairs:
        if not isinstance(model, Model):
            where = f" under {show(label)}" if isinstance(models, Mapping) else ""
            raise UsageError(
                "models must hold models (bmtme.BMTME, bmtme.SingleTrait or bmtme.EnvironmentMeans, made as in "
                f"bmtme.EnvironmentMeans()), got {show(model)}{where}."
            )
        if not isinstance(label, str) or not label.strip():
            raise UsageError(f"the label of a model must be a text and not empty, got {show(label)}.")
    labels = [as_label(label, "the label of a model") for label, _ in pairs]
    repeat = first_repeat(labels)
    if repeat is not None:
        raise UsageError(
            f"two models are called {labels[repeat[1]]!r}: give a dict with a label of its own for each, such as "
            "{'a': BMTME(...), 'b': BMTME(...)}."
        )
    return dict(zip(labels, (model for _, model in pairs), strict=True))


def name_fitted(models: Mapping[str, Model]) -> dict[str, BMTME]:
    """The models that are sampled by label, those of `SingleTrait` as they are for all traits."""
    inner = {label: model.model if isinstance(model, SingleTrait) else model for label, model in models.items()}
    return {label: model for label, model in inner.items() if isinstance(model, BMTME)}


def list_fitted(models: Mapping[str, Model]) -> list[BMTME]:
    """The same without labels."""
    return list(name_fitted(models).values())


def find_twins(models: Mapping[str, Model], trial: Trial) -> dict[str, str]:
    """Of each model, the label of the first one that is the same model for this trial: its own as a rule.

    With one trait, a free and a diagonal covariance between traits are the same, and one trait at a time is nothing
    else. Two fits of one model differ by Monte Carlo error only, which a comparison must not show as a difference
    between models.
    """
    first: dict[tuple[Any, ...], str] = {}
    return {label: first.setdefault(_identify(model, trial), label) for label, model in models.items()}


def describe_twins(twins: Mapping[str, str], trial: Trial) -> str:
    """A sentence on models that are the same, empty if there are none."""
    groups: dict[str, list[str]] = {}
    for label, first in twins.items():
        groups.setdefault(first, []).append(label)
    same = [list_names(labels) for labels in groups.values() if len(labels) > 1]
    if not same:
        return ""
    why = f"with {trial.traits[0]!r} as the only trait, " if len(trial.traits) == 1 else ""
    return (
        f"{why}the models {' and '.join(same)} are one model: it was fitted once and stands under each of these names, "
        "with the same scores."
    )


def _identify(model: Model, trial: Trial) -> tuple[Any, ...]:
    """What a model is for a trial, in values that compare."""
    if isinstance(model, EnvironmentMeans):
        return ("means",)
    if isinstance(model, SingleTrait):
        alone = tuple(_list_settings(model.take_trait(trait), (trait,), trial) for trait in trial.traits)
        return alone[0] if len(alone) == 1 else alone
    return _list_settings(model, trial.traits, trial)


def _list_settings(model: BMTME, traits: Sequence[str], trial: Trial) -> tuple[Any, ...]:
    L = len(traits)
    # In units of one: what a scale is worth in the user's units is the same for all models.
    priors = scale_priors(model, traits, trial.envs, Scaling(np.zeros(L), np.ones(L), 1.0))
    return (
        model.means,
        model.structure == "standard",
        model.units,
        model.structures,
        model.line_effect,
        "none" if trial.replicates is None or trial.se is not None else model.rep_effect,
        *(_list_values(prior) for prior in priors),
    )


def _list_values(prior: CovariancePrior) -> tuple[Any, ...]:
    shape = FULL if len(prior.scale) == 1 and prior.shape == DIAGONAL else prior.shape
    return prior.family, shape, prior.nu, prior.scale.tobytes(), prior.df, prior.matrix.tobytes()
