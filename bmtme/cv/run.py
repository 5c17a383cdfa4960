"""Cross-validation of models on common partitions."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import check_memory, show, whole_number
from bmtme.checkup.cautions import warn_of_values
from bmtme.collection import describe_data, find_versions
from bmtme.cv.diagnostics import describe_diagnoses
from bmtme.cv.heritability import measure_heritability
from bmtme.cv.leaks import refuse_leaks
from bmtme.cv.models import Models, describe_twins, find_twins, label_models
from bmtme.cv.partitions import Partition, Scheme, tabulate_partitions
from bmtme.cv.precision import ENOUGH, MOST_NOISE
from bmtme.cv.result import CrossValidation
from bmtme.cv.schemes import CV1
from bmtme.cv.tasks import Job, run_jobs
from bmtme.data.order import sort_names
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.engines.rotated.chains import count_cores
from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.errors import DataError, NumericalError, UsageError
from bmtme.model.eigenbasis import Eigenbasis, decompose_relationship
from bmtme.model.structure import BMTME
from bmtme.pipeline import announce_compilation
from bmtme.preparation import Prepared, build, prepare
from bmtme.progress import Progress
from bmtme.results.entries import name_columns
from bmtme.results.predictions import arrange_predictions
from bmtme.results.quantities import list_hidden
from bmtme.sampling import Sampling, count_draw_bytes, spawn_seeds
from bmtme.words import first_repeat, list_names

#: First word of the spawn keys of the chains, (STREAM, model, partition, chain); those of a fit are (chain,).
STREAM = 1


class DecompositionCache:
    """Decompositions by what they depend on: the relationship of the lines with a record, and their plot multiples.

    Filled while the partitions are prepared, in one thread; afterwards the decompositions are only read.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], Eigenbasis] = {}

    def __call__(
        self, matrix: np.ndarray, multiples: np.ndarray, is_identity: bool, overwrite: bool = False
    ) -> Eigenbasis:
        digest = hashlib.blake2b(np.ascontiguousarray(matrix).data).digest()
        key = (is_identity, len(matrix), digest, multiples.tobytes())
        if key not in self.known:
            self.known[key] = decompose_relationship(matrix, multiples, is_identity, overwrite)
        return self.known[key]


def cross_validate(
    trial: Trial,
    relationship: Relationship,
    models: Models | None = None,
    scheme: Scheme | None = None,
    *,
    draws: int = 2000,
    tune: int = 1000,
    chains: int = 2,
    seed: int = 1,
    workers: int | None = None,
    progress: bool | None = None,
    unrelated: Literal["error", "drop"] = "error",
    sampler: str | None = None,
) -> CrossValidation:
    """Hide recorded values, fit every model to the rest and compare its predictions with what was hidden.

    All models get the same partitions. Whatever is learnt from the data (scales, layout, parameters) is learnt from
    the training part of the partition alone.

    Parameters
    ----------
    trial : Trial
        Phenotypes; any order, replicates, missing plots and traits.
    relationship : Relationship
        Of all lines with records, matched by name.
    models : dict of BMTME by label, sequence of BMTME, or BMTME, optional
        Without labels they are called by their structure. Default ``BMTME("unstructured")``.
    scheme : CV1 or CV2, optional
        Default ``CV1(partitions=10, test_fraction=0.2)``.
    draws, tune, chains : int
        Kept sweeps and warm-up sweeps of each chain, and chains of each model on each partition.
    seed : int
        Of the partitions and the chains. The same seed gives the same numbers to the last digit, whatever `workers`
        and the order of the trial's records and the relationship's lines; a model's numbers depend on its place among
        the models, not on the others. Models that are one and the same (as with one trait the unstructured and the
        diagonal one) are fitted once.
    workers : int, optional
        Chains run at a time, in threads; default all processors.
    progress : bool, optional
        Progress on stderr; default where it is a terminal.
    unrelated : {"error", "drop"}
        What to do about lines with records but no relationship.
    sampler : {"collapsed", "gibbs", "stepwise"}, optional
        As for `bmtme.fit`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    DataError
        If the data, or the training part of a partition, do not do for a model, or if a partition hides values that
        follow exactly from others that it shows; before anything is sampled.
    UsageError
        For arguments that make no sense.
    NumericalError
        If every fit breaks down. If some do, they are listed in ``failures`` and the others go on.
    KeyboardInterrupt
        Within about a second of the signal; nothing runs on.

    Warns
    -----
    UserWarning
        For short runs, values that may give wrong numbers, failures, models that are one and the same, chains that
        disagree, divergent moves, and few effective draws behind the predictions.
    """
    named = label_models(models)
    scheme = check_scheme(CV1() if scheme is None else scheme)
    sampling = Sampling.checked(draws, tune, chains, seed, sampler)
    for model in named.values():
        sampling.refuse(model)
    workers = count_cores() if workers is None else whole_number(workers, "workers", 1)
    clock = [time.perf_counter()]
    decompose = DecompositionCache()
    with threadpool_limits(1):
        whole = prepare(trial, relationship, unrelated, decompose)
        I, L = whole.layout.recorded.shape
        most = max(count_draw_bytes(I, L, sampling.kept, model) for model in named.values())
        check_memory(most, f"draws={sampling.draws}, chains={sampling.chains}")
        trial = whole.given
        partitions = draw_partitions(scheme, trial, sampling.seed)
        refuse_leaks(trial, partitions)
        trained = [prepare_training(trial, relationship, partition, decompose) for partition in partitions]
        for partition, prepared in zip(partitions, trained, strict=True):
            check_models(named, partition, prepared)
        twins = find_twins(named, trial)
        own = [m for m, (label, first) in enumerate(twins.items()) if label == first]
        order = np.ix_(sort_names(trial.lines), sort_names(trial.envs))
        tested = [partition.scored(trial)[order] for partition in partitions]
        streams = rank_labels([partition.label for partition in partitions])
        fitted = list(named.values())
        # Partition by partition, so that fast and slow models take turns and the rate tells the time left.
        jobs = {
            (m, k): Job(
                fitted[m],
                prepared,
                whole.trial,
                cells,
                sampling,
                spawn_seeds(sampling.seed, sampling.chains, STREAM, m, streams[k]),
            )
            for k, (prepared, cells) in enumerate(zip(trained, tested, strict=True))
            for m in own
        }
        warn_of_values(trial, all(model.structures[1].by_env for model in fitted), stacklevel=2)
        clock.append(time.perf_counter())
        bar = Progress(len(jobs) * sampling.chains * sampling.sweeps, f"cross-validation, {len(jobs)} fits", progress)
        try:
            announce_compilation(sampling.sampler, bar)
            rehearse(sampling.sampler)
            clock.append(time.perf_counter())
            run_jobs(list(jobs.values()), workers, bar)
        finally:
            bar.close()
    clock.append(time.perf_counter())
    place = {name: m for m, name in enumerate(named)}
    labels = [
        (name, partition.label, jobs[place[first], k])
        for name, first in twins.items()
        for k, partition in enumerate(partitions)
    ]
    failures = [(name, label, job.failure) for name, label, job in labels if job.failure is not None]
    if len(failures) == len(labels):
        name, label, message = failures[0]
        raise NumericalError(
            f"all {len(labels)} fits failed; the first, model {name!r} on partition {label!r}: {message}"
        )
    noise = share_noise(labels, trial.traits)
    diagnoses = {
        name: {label: job.diagnosis for key, label, job in labels if key == name and job.diagnosis is not None}
        for name in named
    }
    sentences = (
        describe_failures(failures, len(labels)),
        describe_twins(twins, trial),
        *describe_diagnoses(diagnoses),
        describe_precision(labels),
        describe_noise(noise),
    )
    found = [text for text in sentences if text]
    for text in found:
        warnings.warn(text, UserWarning, stacklevel=2)
    run = {
        "settings": {
            "models": {name: model.describe() for name, model in named.items()},
            "scheme": describe_scheme(scheme),
            **sampling.describe(),
            "unrelated": unrelated,
        },
        "data": describe_data(whole)
        | {
            "partitions": [
                {"partition": partition.label, "test_cells": int(cells.sum())}
                for partition, cells in zip(partitions, tested, strict=True)
            ]
        },
        "diagnostics": {
            name: {label: diagnosis.describe() for label, diagnosis in entries.items()}
            for name, entries in diagnoses.items()
        },
        "effective_draws": {
            name: {label: round(job.effective, 1) for key, label, job in labels if key == name and not job.failure}
            for name in named
        },
        "monte_carlo_noise": {
            name: {trait: round(share, 5) for trait, share in shares.items()} for name, shares in noise.items()
        },
        "versions": find_versions(),
        "workers": workers,
        "seconds": dict(zip(("prepare", "compile", "sample"), np.round(np.diff(clock), 3).tolist(), strict=True)),
        "thread_seconds": {
            name: round(sum(job.seconds for key, _, job in labels if key == name), 3)
            for name, first in twins.items()
            if name == first
        },
    }
    return CrossValidation(
        tabulate(labels, trial),
        pd.DataFrame(columns=["model", "partition", "line", "trait", "n_envs", "observed", "mean"]),
        tabulate_partitions(partitions, trial).assign(scored=True),
        measure_heritability(trial, relationship),
        failures,
        found,
        run,
        trial.envs,
        trial.traits,
    )


def check_scheme(scheme: Any) -> Scheme:
    """Refuse what makes no masks."""
    if isinstance(scheme, type) or not callable(getattr(scheme, "masks", None)):
        raise UsageError(f"scheme must be a scheme such as bmtme.CV1() or bmtme.CV2(), got {show(scheme)}.")
    checked: Scheme = scheme
    return checked


def draw_partitions(scheme: Scheme, trial: Trial, seed: int) -> list[Partition]:
    """The partitions of a scheme, checked: it may be a user's own."""
    partitions = list(scheme.masks(trial, seed))
    if not partitions:
        raise UsageError(f"{scheme!r} made no partition: there is nothing to compare.")
    repeat = first_repeat(partition.label for partition in partitions)
    if repeat is not None:
        raise UsageError(f"{scheme!r} made two partitions called {partitions[repeat[1]].label!r}: label them apart.")
    return partitions


def prepare_training(
    trial: Trial, relationship: Relationship, partition: Partition, decompose: DecompositionCache
) -> Prepared:
    """The training part of a partition."""
    try:
        return prepare(trial.hide(partition.record_mask(trial)), relationship, "error", decompose)
    except DataError as error:
        raise DataError(f"partition {partition.label!r}, training part: {error}") from error


def check_models(models: Mapping[str, BMTME], partition: Partition, prepared: Prepared) -> None:
    """Refuse a partition that a model cannot be fitted to, before any is."""
    for label, model in models.items():
        try:
            # Not kept: the constants of all fits together may not fit into memory.
            build(prepared, model)
        except (DataError, UsageError) as error:
            where = f"model {label!r}, partition {partition.label!r}, training part"
            raise type(error)(f"{where}: {error}") from error


def rank_labels(labels: Sequence[str]) -> list[int]:
    """Places of the labels in computing order: whole numbers, of random partitions, by number, others by name."""

    def key(k: int) -> tuple[bool, int, str]:
        number = labels[k].isascii() and labels[k].isdecimal()
        return not number, int(labels[k]) if number else 0, labels[k]

    order = sorted(range(len(labels)), key=key)
    return np.argsort(order).tolist()


def tabulate(labels: Sequence[tuple[str, str, Job]], trial: Trial) -> pd.DataFrame:
    """All predictions, by model and partition, then line, environment and trait in the orders of the trial."""
    tables = []
    for name, label, job in labels:
        if job.predictions is not None:
            table = arrange_predictions(job.predictions, trial.lines, trial.envs, trial.traits)
            table.insert(0, "model", name)
            table.insert(1, "partition", label)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)[name_columns(list_hidden())]


def describe_scheme(scheme: Scheme) -> dict[str, Any]:
    """Name and settings of a scheme."""
    name, settings = type(scheme).__name__, getattr(scheme, "__dict__", {})
    return {"name": name, **{key: value for key, value in settings.items() if not key.startswith("_")}}


def describe_failures(failures: Sequence[tuple[str, str, str]], fits: int) -> str:
    """A sentence on fits that broke down, empty if none did."""
    if not failures:
        return ""
    name, label, message = failures[0]
    which = list_names(f"{name} on {label}" for name, label, _ in failures)
    return (
        f"{len(failures)} of {fits} fits failed and have no scores ({which}); compare models on the partitions they "
        f"share. The first, model {name!r} on partition {label!r}: {message}"
    )


def describe_precision(labels: Sequence[tuple[str, str, Job]]) -> str:
    """A sentence on predictions with a large Monte Carlo error, empty if there are none."""
    parts = []
    for name in dict.fromkeys(name for name, _, _ in labels):
        found = [(job.effective, label) for key, label, job in labels if key == name and np.isfinite(job.effective)]
        few = [entry for entry in found if entry[0] < ENOUGH]
        if few:
            least, label = min(few)
            where = f"partition {label!r}"
            if len(found) > 1:
                where += f", {len(few)} of {len(found)} partitions below {ENOUGH}"
            parts.append(f"model {name!r} about {max(1, round(least))} ({where})")
    if not parts:
        return ""
    return (
        f"few effective draws behind the predictions: {'; '.join(parts)}. The Monte Carlo error of a predicted mean is "
        "then above 10% of its posterior standard deviation (1 / sqrt(effective draws)), and scores that are close "
        "cannot be told apart: use more draws."
    )


def share_noise(labels: Sequence[tuple[str, str, Job]], traits: Sequence[str]) -> dict[str, dict[str, float]]:
    """By model and trait, the share of the variance between predicted lines that is Monte Carlo noise.

    Both variances are averaged over partitions; traits without anything to tell are left out.
    """
    shares: dict[str, dict[str, float]] = {name: {} for name, _, _ in labels}
    for name, held in shares.items():
        noise, spread = np.nansum([job.noise for key, _, job in labels if key == name], axis=0)
        for trait, part, whole in zip(traits, noise, spread, strict=True):
            if whole > 0:
                held[trait] = float(min(1.0, part / whole))
    return shares


def describe_noise(noise: Mapping[str, Mapping[str, float]]) -> str:
    """A sentence on differences between lines that are Monte Carlo noise, empty if there are none."""
    parts = []
    for name, shares in noise.items():
        much = [f"{trait} {share:.0%}" for trait, share in shares.items() if share > MOST_NOISE]
        if much:
            parts.append(f"model {name!r}: {', '.join(much)}")
    if not parts:
        return ""
    return (
        f"the differences between predicted lines are in good part Monte Carlo noise ({'; '.join(parts)} of their "
        "variance); their scores are worse for it: use more draws."
    )
