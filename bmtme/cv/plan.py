"""The work of a cross-validation, laid out and checked before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bmtme.cv.models import Model
from bmtme.cv.partitions import Partition
from bmtme.cv.tasks import Job
from bmtme.cv.training import Training, take_training
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.model.baselines import SingleTrait
from bmtme.model.structure import BMTME
from bmtme.preparation import Decompose, build, lay_model, stand_in
from bmtme.sampling import Sampling, spawn_seeds

#: First word of the spawn keys of the chains, (STREAM, model, partition, chain), of one trait at a time (STREAM, model,
#: partition, trait, chain); those of a fit are (chain,).
STREAM = 1
#: In place of a trait: all of them.
ALL = -1


def train(
    models: Mapping[str, Model],
    trial: Trial,
    relationship: Relationship,
    partitions: Sequence[Partition],
    decompose: Decompose,
) -> list[dict[int, Training]]:
    """Of each partition, the training parts that the models need: of all traits (`ALL`), and of each by its place.

    Raises
    ------
    DataError, UsageError
        For one that a model cannot be fitted to, before any is.
    """
    alone = any(isinstance(model, SingleTrait) for model in models.values())
    jointly = not all(isinstance(model, SingleTrait) for model in models.values())
    needed = [ALL] * jointly + list(range(len(trial.traits))) * alone

    trained = []
    for partition in partitions:
        parts = {t: take_training(trial, relationship, partition, decompose, None if t == ALL else t) for t in needed}
        here = {t: part for t, part in parts.items() if part is not None}
        for label, model in models.items():
            for part, fitted in list_parts(model, trial.traits, here):
                try:
                    build(lay_model(here[part].outline, fitted, stand_in), fitted)
                except (DataError, UsageError) as error:
                    where = f"model {label!r}, partition {partition.label!r}, training part"
                    raise type(error)(f"{where}: {error}") from error
        trained.append(here)
    return trained


def list_parts(model: Model, traits: Sequence[str], trained: Mapping[int, Training]) -> list[tuple[int, BMTME]]:
    """What is sampled of a model on a partition: on which training part, by which model."""
    if isinstance(model, SingleTrait):
        return [(t, model.take_trait(traits[t])) for t in trained if t != ALL]
    return [(ALL, model)] if isinstance(model, BMTME) else []


def plan_jobs(
    models: Mapping[str, Model],
    twins: Mapping[str, str],
    traits: Sequence[str],
    partitions: Sequence[Partition],
    trained: Sequence[Mapping[int, Training]],
    sampling: Sampling,
) -> dict[tuple[int, int], dict[int, Job]]:
    """What is sampled, by place of model and partition, in it by training part; of models that are one, the first.

    Partition by partition, so that fast and slow models take turns and the rate tells the time left.
    """
    streams = rank_labels([partition.label for partition in partitions])
    jobs: dict[tuple[int, int], dict[int, Job]] = {}
    for k, parts in enumerate(trained):
        for m, (label, model) in enumerate(models.items()):
            for part, fitted in list_parts(model, traits, parts) if twins[label] == label else ():
                key = (STREAM, m, streams[k]) if part == ALL else (STREAM, m, streams[k], part)
                seeds = spawn_seeds(sampling.seed, sampling.chains, *key)
                named = f"{m}-{k}" if part == ALL else f"{m}-{k}-{part}"
                job = Job(fitted, parts[part], sampling, seeds, kind=(m, part), key=named)
                jobs.setdefault((m, k), {})[part] = job
    return jobs


def rank_labels(labels: Sequence[str]) -> list[int]:
    """Places of the labels in computing order: whole numbers, of random partitions, by number, others by name."""

    def key(k: int) -> tuple[bool, int, str]:
        number = labels[k].isascii() and labels[k].isdecimal()
        return not number, int(labels[k]) if number else 0, labels[k]

    order = sorted(range(len(labels)), key=key)
    return np.argsort(order).tolist()
