"""A fit in four stages that can be called one at a time: prepare, build, run, collect."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import show, whole_number
from bmtme.checkup.blocks import refuse_effects
from bmtme.checkup.cautions import warn_of_values
from bmtme.choices import AUTO
from bmtme.collection import (
    ATTRS,
    collect,
    collect_observed,
    collect_relationship,
    describe_data,
    describe_sampling,
    find_facts,
)
from bmtme.data.adjusted import AdjustedMeans
from bmtme.data.digests import digest_data
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import SamplingWarning, UsageError
from bmtme.estimates import list_parts
from bmtme.machine import count_cores, describe_machine, find_versions
from bmtme.mapped import Allocate
from bmtme.memory import measure_peak_memory
from bmtme.model.baselines import SingleTrait
from bmtme.model.scaling import Scaling
from bmtme.model.structure import BMTME
from bmtme.preparation import (
    Prepared,
    decompose_lines,
    describe_line_effect,
    prepare,
    stand_in,
)
from bmtme.request import Request
from bmtme.results.checkpoint import Checkpoint, keep_checkpoint
from bmtme.results.convergence import EXTENDABLE, describe_all_divergences, describe_explanations, list_samplings
from bmtme.results.fit import Fit
from bmtme.results.folder import check_new_folder
from bmtme.results.levels import describe_blocks, describe_replicates, show_levels
from bmtme.results.predictions import Targets, arrange_predictions
from bmtme.results.record import BEFORE
from bmtme.results.storage import KIND, read_fit
from bmtme.results.summary import GOOD_ESS
from bmtme.results.targets import predict
from bmtme.results.traits import BY_TRAIT, join_groups
from bmtme.results.unrecorded import collect_unrecorded, cover_columns
from bmtme.running import Ran, plan_memory, refuse_large, run
from bmtme.trait_sets import TraitSet, choose_all_targets, list_sets, relate_all_unrecorded
from bmtme.words import count_noun, list_names

STAGES = ("prepare", "compile", "search", "warm_up", "sample", "collect")
#: What each trait that is fitted alone has of its own in the description of the data.
OF_DECOMPOSITION = ("relationship_rank", "imputed_share")


def fit(
    trial: Trial | AdjustedMeans,
    relationship: Relationship,
    model: BMTME | SingleTrait | None = None,
    *,
    draws: int | Literal["auto"] = 2000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 1,
    sampler: str | None = None,
    unrelated: Literal["error", "drop"] = "error",
    keep_effects: Literal["auto", "all", "thin", "none"] = "auto",
    cores: int | None = None,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    stream: bool = False,
    ess: int = GOOD_ESS,
    time_limit: float | None = None,
) -> Fit:
    """Fit a Bayesian multi-trait multi-environment model, or a model to one trait at a time.

    Parameters
    ----------
    trial : Trial or AdjustedMeans
        Phenotypes; any order, replicates, missing plots and traits. Or adjusted means with the covariance of their
        errors (`Trial.from_means`).
    relationship : Relationship
        Of all lines with records (matched by name), and of others to be predicted.
    model : BMTME or SingleTrait, optional
        Default ``BMTME("unstructured")``. `SingleTrait` has chains of its own for every trait, and one `Fit` of them
        all, of which `bmtme.results.traits` says how it is laid out.
    draws, tune, chains : int
        Kept sweeps and warm-up sweeps of each chain. ``draws="auto"`` goes on until they suffice: until R-hat is at
        most 1.01 and there are `ess` effective draws, in bulk and tails, of every row of the summary, or until
        `time_limit`. ``run["auto"]`` says what was reached, and ``run["settings"]["draws"]`` the number, with which the
        run repeats exactly.
    seed : int
        Same seed, same numbers, whatever `cores`.
    sampler : {"collapsed", "gibbs", "stepwise"}, optional
        ``collapsed`` moves the covariances with means and effects integrated out; ``gibbs`` draws them given the
        effects; ``stepwise`` takes the paper's separate steps for means and effects too. The posterior is the same.
        Default ``collapsed``: it needs far fewer sweeps.
    unrelated : {"error", "drop"}
        What to do about lines with records but no relationship.
    keep_effects : {"auto", "all", "thin", "none"}
        Draws of b1 and b2: all in ``posterior``; a group ``effects`` with mean, SD and at most 500 draws; none, and
        no predictions. "auto": all under 64 MB, else thin.
    cores : int, optional
        Chains run at a time; default all processors.
    progress : bool, optional
        Progress on stderr; default where it is a terminal. That the sampler is compiled first is said there as a
        line of its own elsewhere, if not False.
    checkpoint : str or path, optional
        A new or empty folder, into which the run is written while it is under way, each minute or so: `bmtme.resume`
        goes on where it was stopped, with the numbers of a run that never was. At its end the folder is that of
        `Fit.save`, and `bmtme.extend` gives it more draws.
    stream : bool
        Whether draws go to the disc, into the folder of `checkpoint`, and not to memory, which then does not limit
        their number. The numbers are the same. Arrays of the fit are in its files, and cannot be changed.
    ess, time_limit : int, float, optional
        With ``draws="auto"``: effective draws that are wanted, and seconds from the start after which no more draws are
        asked for.

    Returns
    -------
    Fit

    Notes
    -----
    Lines, environments and plots are computed in the order of their names (plots by rep, then values) and shown in
    that of the trial or the relationship: rows shuffled give the same numbers to the last digit. Traits are computed
    in the order given; in another, the draws differ.

    Raises
    ------
    DataError, UsageError, NumericalError

    Warns
    -----
    UserWarning
        For short runs, lines left out, and values that may give wrong numbers: see
        `bmtme.checkup.cautions.find_cautions`.
    """
    request = Request.checked(
        trial, relationship, model, draws, tune, chains, seed, sampler, unrelated, keep_effects, ess, time_limit
    )
    if not isinstance(stream, bool):
        raise UsageError(f"stream must be True or False, got {show(stream)}.")
    if checkpoint is None:
        if stream:
            raise UsageError("stream=True writes draws to the folder of the run: name one, as in checkpoint='run'.")
        return compute(request, cores, progress)
    begin = partial(Checkpoint.begin, check_new_folder(checkpoint), KIND, request, stream=stream)
    return compute(request, cores, progress, begin, stream)


def compute(
    request: Request,
    cores: int | None,
    progress: bool | None,
    begin: Callable[[dict[str, Any]], Checkpoint] | None = None,
    stream: bool = False,
) -> Fit:
    """What was asked for.

    Parameters
    ----------
    begin : gives the checkpoint, once all is checked and before anything is compiled, for the record as far as it is
        known; the results are written to its folder
    stream : whether that has draws on the disc alone
    """
    trial, relationship, model = request.trial, request.relationship, request.model
    sampling, unrelated = request.sampling, request.unrelated
    cores = count_cores() if cores is None else whole_number(cores, "cores", 1)
    clock = [time.perf_counter()]

    sampling.refuse(model, trial)
    alone = isinstance(model, SingleTrait)
    prepared = prepare(trial, relationship, unrelated, stand_in)
    refuse_effects(prepared.given)
    sampling.refuse_covariates(prepared.given)
    parts, streamed = list_parts(prepared, model), None if begin is None else stream
    estimate = refuse_large(parts, sampling, request.keep_effects, cores, progress, streamed)
    if not alone:
        basis = decompose_lines(relationship, prepared.lines, prepared.layout.multiples)
        prepared = replace(prepared, basis=basis)
    sets = list_sets(prepared, model)
    keep = plan_memory([own.part for own in sets], sampling, request.keep_effects)
    warn_of_dropped(prepared)
    built = [own.build() for own in sets]
    replicates = sets[0].model.rep_effect in ("fixed", "random")
    warn_of_values(prepared.given, built[0][0].by_env, alone, replicates, stacklevel=3)
    for text in describe_line_effect(prepared, model.model if isinstance(model, SingleTrait) else model):
        warnings.warn(text, UserWarning, stacklevel=3)
    targets = None if keep == "none" else choose_all_targets(sets, tuple(sorted(relationship.lines)))
    unrecorded = [] if targets is None else relate_all_unrecorded(sets, targets)
    clock.append(time.perf_counter())

    settings = {"model": model.describe(), **sampling.describe(), "unrelated": unrelated, "keep_effects": keep}
    known = {"settings": settings, "versions": find_versions(), "estimate": estimate.describe()}
    with keep_checkpoint(begin, known) as checkpoint:
        ran = run(sets, built, request, keep, cores, progress, clock, checkpoint)
        settings |= {"draws": ran.draws, "keep_effects": ran.keep}
        allocate: Allocate = np.zeros if checkpoint is None else checkpoint.allocate
        result = collect_fit(request, prepared, sets, built, targets, unrecorded, ran, settings, clock, allocate)
        result.run |= {"estimate": estimate.describe(), "peak_memory_bytes": measure_peak_memory()}
        result.run[EXTENDABLE] = checkpoint is not None
        if checkpoint is not None:
            checkpoint.tell(result.run)
            ran.sampled.clear()  # their files make room for the results
            checkpoint.finish(partial(result._write, **checkpoint.about.get("tables", {})))
            if stream:
                result = Fit(*read_fit(checkpoint.folder, leave=True))
    return result


def collect_fit(
    request: Request,
    prepared: Prepared,
    sets: Sequence[TraitSet],
    built: Sequence[tuple[Problem, Scaling]],
    targets: Sequence[Targets] | None,
    unrecorded: Sequence[dict[str, Any]],
    ran: Ran,
    settings: dict[str, Any],
    clock: list[float],
    allocate: Allocate,
) -> Fit:
    """What the draws say, and the record of the run."""
    trial, relationship, alone = request.trial, request.relationship, isinstance(request.model, SingleTrait)
    sampled = ran.sampled
    with threadpool_limits(1):  # the same bits whatever the number of cores
        groups, facts, went = collect_all(sets, built, ran.modes, sampled, ran.keep, allocate)
        predictions = None
        groups |= collect_relationship(prepared, alone)
        if not alone:
            groups |= cover_columns(prepared, *built[0], sampled[0], ATTRS, allocate)
        if targets is not None:
            tables = [
                predict(own.prepared, scaling, drawn, own.prepared.trial, wanted)
                for own, (_, scaling), drawn, wanted in zip(sets, built, sampled, targets, strict=True)
            ]
            predictions = arrange_predictions(pd.concat(tables), relationship.lines, trial.envs, trial.traits)
            traits = [own.list_traits() for own in sets]
            groups |= collect_unrecorded(list(zip(traits, unrecorded, strict=True)), ATTRS)
    clock.append(time.perf_counter())
    data = describe_data(prepared if alone else sets[0].prepared)
    data |= digest_data(prepared.given, relationship)
    data["rep_effects"] = describe_replicates(sets[0].prepared, sets[0].model)
    data["blocks"] = describe_blocks(sets[0].prepared)
    if alone:
        data["rep_effects"] = {own.trait: describe_replicates(own.prepared, own.model) for own in sets}
        data["blocks"] = {own.trait: describe_blocks(own.prepared) for own in sets}
        own_data = {own.trait: describe_data(own.prepared) for own in sets}
        data |= {name: {t: each[name] for t, each in own_data.items()} for name in OF_DECOMPOSITION}
    record = {
        "settings": settings,
        "data": data,
        "facts": {"envs": list(prepared.given.envs), BY_TRAIT: facts} if alone else facts[""],
        "sampling": {BY_TRAIT: went} if alone else went[""],
        "versions": find_versions(),
        "machine": describe_machine(),
        "cores": ran.cores,
        "seconds": dict(zip(STAGES, np.round(np.diff(clock), 3).tolist(), strict=True))
        | ({BEFORE: round(ran.before, 3)} if ran.before > 0.0 else {}),
        **({AUTO: ran.verdict} if ran.verdict else {}),
    }  # fmt: skip
    warn_of_chains(record, prepared)
    return Fit(groups, record, predictions)


def collect_all(
    sets: Sequence[TraitSet],
    built: Sequence[tuple[Problem, Scaling]],
    modes: Sequence[list[Mode]],
    sampled: Sequence[list[Draws]],
    keep: str,
    allocate: Allocate,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The groups of the result, and by trait (empty: all together) the facts and how the chains went."""
    groups, facts, went = {}, {}, {}
    levels = show_levels([own.prepared for own in sets])
    for own, (problem, scaling), found, drawn in zip(sets, built, modes, sampled, strict=True):
        of = own.prepared, own.model, problem, scaling
        columns = np.ones_like(own.prepared.layout.recorded) if own.trait else None
        groups[own.trait] = collect(*of, drawn, keep, columns, levels, allocate)
        facts[own.trait] = find_facts(*of, groups[own.trait]["posterior"])
        went[own.trait] = describe_sampling(own.prepared, drawn, found if problem.native else [])
    if "" in groups:
        return groups[""], facts, went
    whole = sets[0].whole
    observed = collect_observed(whole, levels, [own.prepared for own in sets])
    lines = [whole.lines[j] for j in whole.shown_lines]
    return join_groups(groups, lines, allocate) | {"observed_data": observed}, facts, went


def warn_of_dropped(prepared: Prepared) -> None:
    """Warn of lines that are left out."""
    if prepared.dropped:
        warnings.warn(
            f"left out, as not in the relationship: {count_noun(len(prepared.dropped), 'line')} of the trial, "
            f"{list_names(prepared.dropped)}.",
            UserWarning,
            stacklevel=4,
        )


def warn_of_chains(record: dict[str, Any], prepared: Prepared) -> None:
    """Warn of chains that stay in different modes, and of divergent moves."""
    sampling, settings = record["sampling"], record["settings"]
    explanations = [
        describe_explanations(own, settings, prepared.given.envs, traits)
        for own, traits in list_samplings(sampling, prepared.given.traits)
    ]
    for text in (*explanations, *describe_all_divergences(sampling, settings)):
        if text:
            warnings.warn(text, SamplingWarning, stacklevel=5)
