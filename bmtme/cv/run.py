"""Cross-validation of models on common partitions."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import is_number, show, whole_number
from bmtme.checkup.blocks import refuse_effects
from bmtme.checkup.cautions import warn_of_values
from bmtme.collection import describe_data
from bmtme.cv.clones import CloneChoice, choose_clones, describe_clone_leaks, describe_nearly_clones
from bmtme.cv.diagnostics import describe_diagnoses
from bmtme.cv.executors import Elsewhere, check_executor
from bmtme.cv.heritability import measure_heritability
from bmtme.cv.leaks import refuse_leaks
from bmtme.cv.means import predict_by_means
from bmtme.cv.models import Model, Models, describe_twins, find_twins, list_fitted, name_fitted
from bmtme.cv.partitions import (
    Scheme,
    count_units,
    describe_scheme,
    draw_partitions,
    tabulate_partitions,
)
from bmtme.cv.plan import ALL, list_parts, plan_jobs, train
from bmtme.cv.remarks import (
    Length,
    Outcomes,
    describe_equal,
    describe_failures,
    describe_few,
    describe_noise,
    describe_precision,
    share_noise,
)
from bmtme.cv.request import CVRequest
from bmtme.cv.result import KIND, CrossValidation
from bmtme.cv.scores import TOP
from bmtme.cv.strangers import describe_strangers
from bmtme.cv.tasks import Job, Keeper, Outcome, join_outcomes, run_jobs
from bmtme.cv.training import Training
from bmtme.data.adjusted import AdjustedMeans
from bmtme.data.digests import digest_data
from bmtme.data.records import as_names
from bmtme.data.relationship.clones import CLONES
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.engines.rotated.held import Needs
from bmtme.errors import NumericalError, UsageError
from bmtme.estimates import Estimate, Part, check_estimate, estimate_cv
from bmtme.machine import count_cores, describe_machine, find_versions
from bmtme.memory import measure_peak_memory
from bmtme.model.baselines import EnvironmentMeans
from bmtme.model.structure import BMTME
from bmtme.preparation import DecompositionCache, describe_line_effect, lay_model, prepare, stand_in
from bmtme.progress import Progress
from bmtme.results.checkpoint import Checkpoint, keep_checkpoint
from bmtme.results.entries import Column, name_columns
from bmtme.results.folder import check_new_folder
from bmtme.results.levels import describe_blocks, describe_replicates
from bmtme.results.predictions import arrange_predictions
from bmtme.results.quantities import list_hidden, list_line_means
from bmtme.running import compile_sampler
from bmtme.sampling import Sampling
from bmtme.structures.proportional import Proportional
from bmtme.words import count_noun, list_names, suggest


def cross_validate(
    trial: Trial | AdjustedMeans,
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
    top: float = TOP,
    lowest: Sequence[str] = (),
    clones: CloneChoice = CLONES,
    executor: Executor | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> CrossValidation:
    """Hide recorded values, fit every model to the rest and compare its predictions with what was hidden.

    All models get the same partitions. Whatever is learnt from the data (scales, layout, parameters) is learnt from
    the training part of the partition alone.

    Parameters
    ----------
    trial : Trial or AdjustedMeans
        Phenotypes; any order, replicates, missing plots and traits. Of adjusted means with the covariance of their
        errors, a training part has the part of the covariance that is over its means.
    relationship : Relationship
        Of all lines with records, matched by name.
    models : dict of models by label, sequence of models, or model, optional
        `BMTME`, and the baselines `SingleTrait` and `EnvironmentMeans`. Without labels they are called by their
        structure, ``single`` and ``mean``. Default ``BMTME("unstructured")``.
    scheme : CV1, CV2, NewLines, NewEnvironments, NewLinesNewEnvironments, Partitions or object with ``masks``, optional
        Default ``CV1(partitions=10, test_fraction=0.2)``. Clones do not tell what is hidden of each other: a scheme
        with a method ``join`` is handed them before it draws, and hides them together.
    draws, tune, chains : int
        Kept sweeps and warm-up sweeps of each chain, and chains of each model on each partition.
    seed : int
        Of the partitions and the chains. The same seed gives the same numbers to the last digit, whatever `workers`
        and the order of the trial's records and the relationship's lines; a model's numbers depend on its place among
        the models, not on the others. Models that are one and the same (as with one trait the unstructured and the
        diagonal one) are fitted once.
    workers : int, optional
        Chains run at a time, in threads; default all processors. With an executor, fits under way at a time; default
        16, or more as long as all of them take less than 1 GB.
    progress : bool, optional
        Progress on stderr; default where it is a terminal.
    unrelated : {"error", "drop"}
        What to do about lines with records but no relationship.
    sampler : {"collapsed", "gibbs", "stepwise"}, optional
        As for `bmtme.fit`.
    top : float
        Share of the lines that counts as the best, for the score ``top_share``.
    lowest : sequence of str
        Traits of which the lowest values are the best.
    clones : float, dict, pandas.Series, or None
        Lines that count as one: those that correlate by so much in the relationship (`find_clones`), or groups of your
        own (line -> group); None or False for none. Duplicates whose markers have errors correlate by less than the
        default of 0.999: 0.5% of wrong calls make it some 0.99.
    executor : concurrent.futures.Executor, optional
        Where fits are run, one task each, in place of threads of this process: a ``ProcessPoolExecutor``, Dask's
        ``client.get_executor()``, ``MPIPoolExecutor`` of mpi4py. The numbers are the same where the machines are alike
        and have the same versions, which is looked after. A task that is lost with its worker is given away again.
    folder : str or path, optional
        A new or empty folder, into which the run is written while it is under way: what came out of each model on each
        partition, and each minute or so the chains at work. `bmtme.resume` goes on where it was stopped, with the
        numbers of a run that never was. At its end the folder is that of `CrossValidation.save`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    DataError
        If the data, or the training part of a partition, do not do for a model, or if a partition hides values that
        follow exactly from others that it shows, or lines of which the relationship tells nothing; before anything is
        sampled.
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
        disagree, divergent moves, and few effective draws behind the predictions. Before anything is sampled, for
        hidden cells of which a clone, or a line that may be one, is seen, partitions that are the same, and ones too
        small for a correlation.
    """
    request = CVRequest.checked(
        trial, relationship, models, scheme, draws, tune, chains, seed, sampler, unrelated, top, lowest, clones
    )
    check_executor(executor)
    place = None if folder is None else check_new_folder(folder)
    begin = None if place is None else partial(Checkpoint.begin, place, KIND, request)
    return compare_models(request, workers, progress, begin, executor)


def compare_models(
    request: CVRequest,
    workers: int | None,
    progress: bool | None,
    begin: Callable[[dict[str, Any]], Checkpoint] | None = None,
    executor: Executor | None = None,
) -> CrossValidation:
    """What was asked for.

    begin : as of `bmtme.pipeline.compute`
    executor : as of `cross_validate`
    """
    with ExitStack() as held:
        return _compare_models(request, workers, progress, begin, held, executor)


def _compare_models(
    request: CVRequest,
    workers: int | None,
    progress: bool | None,
    begin: Callable[[dict[str, Any]], Checkpoint] | None,
    held: ExitStack,
    executor: Executor | None,
) -> CrossValidation:
    trial, relationship, named, scheme = request.trial, request.relationship, request.models, request.scheme
    sampling, unrelated, clones = request.sampling, request.unrelated, request.clones
    workers = None if workers is None else whole_number(workers, "workers", 1)
    clock = [time.perf_counter()]
    decompose = DecompositionCache()
    with threadpool_limits(1):
        whole = prepare(trial, relationship, unrelated, decompose)
        trial = whole.given
        refuse_effects(trial)
        sampling.refuse_covariates(trial)
        top, lowest = check_best(request.top, request.lowest, trial.traits)
        same, chosen = choose_clones(clones, trial, relationship)
        if same and callable(getattr(scheme, "join", None)):
            scheme = scheme.join(same)  # type: ignore[attr-defined]
        partitions = draw_partitions(scheme, trial, sampling.seed)
        refuse_leaks(trial, partitions)
        units = [count_units(partition, trial) for partition in partitions]
        hidden = tabulate_partitions(partitions, trial)
        told = [
            describe_strangers(partitions, trial, relationship),
            describe_clone_leaks(partitions, trial, same),
            describe_nearly_clones(partitions, trial, relationship, same),
            describe_equal(hidden),
            describe_few(partitions, trial),
            *dict.fromkeys(text for model in list_fitted(named) for text in describe_line_effect(whole, model)),
        ]
        warn_of(told)
        described = describe_scheme(scheme)
        trained = train(named, trial, relationship, partitions, decompose)
        twins = find_twins(named, trial)
        estimate = foresee(named, twins, trained, trial.traits, sampling, workers, executor is None)
        fits = sum(twins[name] == name for name in name_fitted(named)) * len(partitions)
        what = f"{count_noun(fits, 'fit')} with draws={sampling.draws}, chains={sampling.chains}"
        check_estimate(estimate, what, progress, "cross-validation")
        jobs = plan_jobs(named, twins, trial.traits, partitions, trained, sampling)
        heritability = measure_heritability(trial, relationship)
        if list_fitted(named):
            sampling.warn_short(stacklevel=4)
            by_env = all(model.structures[1].by_env for model in list_fitted(named))
            alone = not any(isinstance(model, BMTME) for model in named.values())
            replicates = all(model.rep_effect in ("fixed", "random") for model in list_fitted(named))
            warn_of_values(trial, by_env, alone, replicates, stacklevel=4)
        clock.append(time.perf_counter())
    settings = {
        "models": {name: model.describe() for name, model in named.items()},
        "scheme": described,
        **sampling.describe(),
        "unrelated": unrelated,
        "top": top,
        "lowest": list(lowest),
        "clones": chosen,
    }
    checkpoint = held.enter_context(keep_checkpoint(begin, {"settings": settings, "versions": find_versions()}))
    with threadpool_limits(1):
        flat = [job for parts in jobs.values() for job in parts.values()]
        digests = digest_data(trial, relationship)
        elsewhere = None
        if executor is not None:
            elsewhere = Elsewhere(executor, flat, workers, digests["relationship_digest"])
        foretold = run_all(flat, sampling, workers, progress, clock, checkpoint, elsewhere)
        outcomes = {
            place: join_outcomes({job.training.trial.traits[0]: job.outcome for job in parts.values()})
            for place, parts in jobs.items()
        }
        outcomes |= predict_baselines(named, twins, trained)
    clock.append(time.perf_counter())
    place = {name: m for m, name in enumerate(named)}
    labels = [
        (name, partition.label, outcomes[place[first], k])
        for name, first in twins.items()
        for k, partition in enumerate(partitions)
    ]
    failures = [(name, label, outcome.failure) for name, label, outcome in labels if outcome.failure is not None]
    if len(failures) == len(labels):
        name, label, message = failures[0]
        raise NumericalError(
            f"all {len(labels)} fits failed; the first, model {name!r} on partition {label!r}: {message}"
        )
    noise = share_noise(labels, trial.traits)
    diagnoses = {
        name: {label: o.diagnosis for key, label, o in labels if key == name and o.diagnosis is not None}
        for name in named
    }
    spent = sum(outcome.seconds for name, _, outcome in labels if twins[name] == name)
    length = Length(
        sampling.draws, sampling.tune, spent / max(1, min(workers or count_cores(), len(flat) * sampling.chains))
    )
    sentences = (
        describe_failures(failures, len(labels)),
        describe_twins(twins, trial),
        *describe_diagnoses(diagnoses, length.advise(2.0, tune=True)),
        describe_precision(labels, length),
        describe_noise(noise, length),
    )
    warn_of(sentences)
    run = {
        "settings": settings,
        "data": describe_data(whole)
        | {
            # Of the whole trial; those of a training part go by its records.
            "rep_effects": {
                name: describe_replicates(lay_model(whole, model, stand_in), model)
                for name, model in name_fitted(named).items()
            },
            "blocks": describe_blocks(lay_model(whole, BMTME(), stand_in)),
            **digests,
            "partitions": [
                {"partition": partition.label, "test_cells": int(partition.test_cells(trial).sum()), **counted}
                for partition, counted in zip(partitions, units, strict=True)
            ],
        },
        "diagnostics": {
            name: {label: diagnosis.describe() for label, diagnosis in entries.items()}
            for name, entries in diagnoses.items()
        },
        "effective_draws": {
            name: {label: round(o.effective, 1) for key, label, o in labels if key == name and np.isfinite(o.effective)}
            for name in named
        },
        "monte_carlo_noise": {
            name: {trait: round(share, 5) for trait, share in shares.items()} for name, shares in noise.items()
        },
        "versions": find_versions(),
        "machine": describe_machine(),
        "workers": workers or (count_cores() if executor is None else None),
        "executor": None if executor is None else type(executor).__name__,
        "seconds": divide_time(clock, list(outcomes.values())),
        "estimate": estimate.describe(),
        "peak_memory_bytes": measure_peak_memory(),
        "seconds_foretold": None if np.isnan(foretold) else round(foretold, 3),
        "thread_seconds": {
            name: round(sum(outcome.seconds for key, _, outcome in labels if key == name), 3)
            for name, first in twins.items()
            if name == first
        },
    }
    result = CrossValidation(
        predictions=tabulate(labels, list_hidden(), trial, "predictions"),
        line_means=tabulate(labels, list_line_means(), trial, "line_means"),
        partitions=hidden,
        heritability=heritability,
        failures=failures,
        warnings=[text for text in (*told, *sentences) if text],
        run=run,
        envs=trial.envs,
        traits=trial.traits,
    )
    if checkpoint is not None:
        checkpoint.tell(result.run)
        checkpoint.finish(partial(result._write, **checkpoint.about.get("tables", {})), forget=True)
    return result


def foresee(
    models: Mapping[str, Model],
    twins: Mapping[str, str],
    trained: Sequence[Mapping[int, Training]],
    traits: Sequence[str],
    sampling: Sampling,
    workers: int | None,
    here: bool,
) -> Estimate:
    """What the work will take."""
    parts, bases = [], {}
    for training in trained:
        for label, model in models.items():
            for place, fitted in list_parts(model, traits, training) if twins[label] == label else ():
                outline = training[place].outline
                parts.append(Part.of(outline, fitted))
                if parts[-1].related:
                    bases[outline.lines, outline.layout.multiples.tobytes()] = len(outline.lines)
    hidden = len(models) * sum(int(part.cells.sum()) for training in trained for part in training.values())
    return estimate_cv(parts, list(bases.values()), hidden, sampling, workers or count_cores(), here)


def divide_time(clock: Sequence[float], outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Seconds of the parts of a run; chains spend those of sampling as all threads did, with search and predictions."""
    prepare, compiling, sample = np.diff(clock)
    spent = sum(outcome.seconds for outcome in outcomes)
    warm_up = sample * sum(outcome.warm_up for outcome in outcomes) / spent if spent > 0.0 else 0.0
    parts = {"prepare": prepare, "compile": compiling, "warm_up": warm_up, "sample": sample - warm_up}
    return {name: round(float(seconds), 3) for name, seconds in parts.items()}


def warn_of(sentences: Sequence[str]) -> None:
    """Warn whoever called `cross_validate` of what there is to say."""
    for text in sentences:
        if text:
            warnings.warn(text, UserWarning, stacklevel=5)


def check_best(top: Any, lowest: Any, traits: Sequence[str]) -> tuple[float, tuple[str, ...]]:
    """The share of the best lines, and the traits of which the lowest are the best, checked."""
    if not is_number(top) or not 0.0 < top < 1.0:
        raise UsageError(f"top must lie strictly between 0 and 1, got {show(top)}: 0.2 is the best fifth of the lines.")
    names = tuple(as_names(lowest, "lowest"))
    for name in names:
        if name not in traits:
            raise UsageError(
                f"lowest names {name!r}, which is no trait of the trial.{suggest(name, traits)} Its traits are "
                f"{list_names(traits)}."
            )
    return float(top), names


def run_all(
    jobs: Sequence[Job],
    sampling: Sampling,
    workers: int | None,
    progress: bool | None,
    clock: list[float],
    keeper: Keeper | None = None,
    elsewhere: Elsewhere | None = None,
) -> float:
    """Compile, and run the jobs that have not ended, here or elsewhere; the times of these go to the clock.

    keeper : of what has ended, and of the chains

    Returns
    -------
    float
        The seconds foretold.
    """
    if keeper is not None:
        for job in jobs:
            job.take_up(keeper)
    jobs = [job for job in jobs if not job.ended]
    bar = Progress(len(jobs) * sampling.chains * sampling.sweeps, f"cross-validation, {len(jobs)} fits", progress)
    try:
        if jobs:
            compile_sampler(sampling.sampler, foresee_needs(jobs), bar)
        clock.append(time.perf_counter())
        if elsewhere is None:
            return run_jobs(jobs, workers or count_cores(), bar)
        elsewhere.run(bar)
        return np.nan
    finally:
        bar.close()


def foresee_needs(jobs: Sequence[Job]) -> Needs:
    """Steps that the chains will call, so that none is compiled while they run: it would spoil the time foretold."""
    models, trials = [job.model for job in jobs], [job.training.trial for job in jobs]
    return Needs(
        any(model.line_effect for model in models),
        any(
            trial.blocks
            or trial.covariates
            or (rep_effect != "none" and trial.replicates is not None and trial.se is None)
            for trial, rep_effect in zip(trials, (model.rep_effect for model in models), strict=True)
        ),
        any(trial.covariates for trial in trials),
        any(type(model.structures[0]) is not Proportional for model in models),
        any(trial.se is not None and trial.error_covariances is None for trial in trials),
        any(trial.error_covariances is not None for trial in trials),
    )


def predict_baselines(
    models: Mapping[str, Model], twins: Mapping[str, str], trained: Sequence[Mapping[int, Training]]
) -> dict[tuple[int, int], Outcome]:
    """What nothing is sampled for, by place of model and partition."""
    out = {}
    for m, (label, model) in enumerate(models.items()):
        if isinstance(model, EnvironmentMeans) and twins[label] == label:
            for k, parts in enumerate(trained):
                part = parts[ALL]
                tables = predict_by_means(part.outline.trial, part.trial, part.cells)
                out[m, k] = Outcome(*tables)
    return out


def tabulate(labels: Outcomes, columns: Sequence[Column], trial: Trial, table: str) -> pd.DataFrame:
    """A table of all outcomes, by model and partition, then line, environment and trait in the orders of the trial."""
    tables = []
    for name, label, outcome in labels:
        rows = getattr(outcome, table)
        if rows is not None:
            rows = arrange_predictions(rows, trial.lines, trial.envs, trial.traits)
            rows.insert(0, "model", name)
            rows.insert(1, "partition", label)
            tables.append(rows)
    return pd.concat(tables, ignore_index=True)[name_columns(columns)]
