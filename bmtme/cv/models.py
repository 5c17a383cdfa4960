"""The models of a cross-validation: by label, checked, and which of them are one and the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import show
from bmtme.data.trial import Trial
from bmtme.errors import UsageError
from bmtme.model.codes import DIAGONAL, FULL, CovariancePrior
from bmtme.model.scaling import Scaling, scale_priors
from bmtme.model.structure import BMTME
from bmtme.words import first_repeat, list_names

Models = Mapping[str, BMTME] | Sequence[BMTME] | BMTME


def label_models(models: Models | None) -> dict[str, BMTME]:
    """Models by label, checked."""
    if models is None:
        models = BMTME()
    pairs: list[tuple[Any, Any]]
    if isinstance(models, BMTME):
        pairs = [(models.structure, models)]
    elif isinstance(models, Mapping):
        pairs = list(models.items())
    elif isinstance(models, (list, tuple)):
        pairs = [(getattr(model, "structure", None), model) for model in models]
    else:
        raise UsageError(f"models must be a BMTME, a list of them, or a dict of them by label, got {show(models)}.")
    if not pairs:
        raise UsageError("models is empty: name at least one, such as {'un': BMTME('unstructured')}.")
    for label, model in pairs:
        if not isinstance(model, BMTME):
            where = f" under {show(label)}" if isinstance(models, Mapping) else ""
            raise UsageError(f"models must hold BMTME models, got {show(model)}{where}.")
        if not isinstance(label, str) or not label.strip():
            raise UsageError(f"the label of a model must be a text and not empty, got {show(label)}.")
    labels = [label.strip() for label, _ in pairs]
    repeat = first_repeat(labels)
    if repeat is not None:
        raise UsageError(
            f"two models are called {labels[repeat[1]]!r}: give a dict with a label of its own for each, such as "
            "{'a': BMTME(...), 'b': BMTME(...)}."
        )
    return dict(zip(labels, (model for _, model in pairs), strict=True))


def find_twins(models: Mapping[str, BMTME], trial: Trial) -> dict[str, str]:
    """Of each model, the label of the first one that is the same model for this trial: its own as a rule.

    With one trait, a free and a diagonal covariance between traits are the same. Two fits of one model differ by Monte
    Carlo error only, which a comparison must not show as a difference between models.
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


def _identify(model: BMTME, trial: Trial) -> tuple[Any, ...]:
    """What a model is for a trial, in values that compare."""
    L = len(trial.traits)
    # In units of one: what a scale is worth in the user's units is the same for all models.
    priors = scale_priors(model, trial.traits, trial.envs, Scaling(np.zeros(L), np.ones(L), 1.0))
    structures = model.structures
    return (
        model.means,
        model.structure == "standard",
        model.units,
        structures,
        *(_list_values(prior) for prior in priors),
    )


def _list_values(prior: CovariancePrior) -> tuple[Any, ...]:
    shape = FULL if len(prior.scale) == 1 and prior.shape == DIAGONAL else prior.shape
    return prior.family, shape, prior.nu, prior.scale.tobytes(), prior.df, prior.matrix.tobytes()
