"""A fit in four stages that can be called one at a time: prepare, build, run, collect."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import check_memory, is_one_of, show, whole_number
from bmtme.checkup.blocks import refuse_effects
from bmtme.checkup.cautions import warn_of_values
from bmtme.choices import KEEP
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
from bmtme.data.trial import Trial, as_trial
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.held import Needs, list_needs
from bmtme.engines.rotated.modes import Mode, branch_seed, choose_starts, find_modes
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.rehearsal import EFFECTS_OF_LEVELS, is_compiled, rehearse
from bmtme.engines.threads import run_together
from bmtme.errors import SamplingWarning, UsageError
from bmtme.machine import count_cores, describe_machine, find_versions
from bmtme.model.baselines import SingleTrait
from bmtme.model.scaling import Scaling
from bmtme.model.structure import BMTME
from bmtme.preparation import (
    Prepared,
    decompose_lines,
    describe_line_effect,
    observe,
    prepare,
    stand_in,
)
from bmtme.progress import Progress
from bmtme.results.convergence import describe_all_divergences, describe_explanations, list_samplings
from bmtme.results.fit import Fit
from bmtme.results.levels import describe_blocks, describe_replicates, show_levels
from bmtme.results.predictions import arrange_predictions
from bmtme.results.targets import predict
from bmtme.results.traits import BY_TRAIT, join_groups
from bmtme.results.unrecorded import collect_unrecorded, cover_columns
from bmtme.sampling import (
    VERY_LARGE,
    ChainClock,
    Sampling,
    choose_keep,
    count_draw_bytes,
    count_effect_bytes,
    plan_slots,
)
from bmtme.trait_sets import TraitSet, choose_all_targets, list_sets, naming, relate_all_unrecorded
from bmtme.words import list_names

STAGES = ("prepare", "compile", "search", "warm_up", "sample", "collect")
#: What each trait that is fitted alone has of its own in the description of the data.
OF_DECOMPOSITION = ("relationship_rank", "imputed_share")


def fit(
    trial: Trial | AdjustedMeans,
    relationship: Relationship,
    model: BMTME | SingleTrait | None = None,
    *,
    draws: int = 2000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 1,
    sampler: str | None = None,
    unrelated: Literal["error", "drop"] = "error",
    keep_effects: Literal["auto", "all", "thin", "none"] = "auto",
    cores: int | None = None,
    progress: bool | None = None,
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
        Kept sweeps and warm-up sweeps of each chain.
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
    trial = as_trial(trial)
    model = BMTME() if model is None else model
    sampling = Sampling.checked(draws, tune, chains, seed, sampler)
    cores = count_cores() if cores is None else whole_number(cores, "cores", 1)
    if not is_one_of(keep_effects, KEEP):
        raise UsageError(f"keep_effects must be one of {list_names(KEEP)}, got {show(keep_effects)}.")
    clock = [time.perf_counter()]

    sampling.refuse(model, trial)
    alone = isinstance(model, SingleTrait)
    prepared = prepare(trial, relationship, unrelated, stand_in if alone else decompose_lines)
    refuse_effects(prepared.given)
    sampling.refuse_covariates(prepared.given)
    sets = list_sets(prepared, model)
    keep = plan_memory(sets, sampling, keep_effects)
    warn_of_dropped(prepared)
    built = [own.build() for own in sets]
    replicates = sets[0].model.rep_effect in ("fixed", "random")
    warn_of_values(prepared.given, built[0][0].by_env, alone, replicates, stacklevel=2)
    for text in describe_line_effect(prepared, model.model if isinstance(model, SingleTrait) else model):
        warnings.warn(text, UserWarning, stacklevel=2)
    targets = None if keep == "none" else choose_all_targets(sets, tuple(sorted(relationship.lines)))
    unrecorded = [] if targets is None else relate_all_unrecorded(sets, targets)
    clock.append(time.perf_counter())

    modes, sampled = run(sets, built, sampling, keep, cores, progress, clock)

    with threadpool_limits(1):  # the same bits whatever the number of cores
        groups, facts, went = collect_all(sets, built, modes, sampled, keep)
        predictions = None
        groups |= collect_relationship(prepared, alone)
        if not alone:
            groups |= cover_columns(prepared, *built[0], sampled[0], ATTRS)
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
        "settings": {
            "model": model.describe(), **sampling.describe(), "unrelated": unrelated, "keep_effects": keep,
        },
        "data": data,
        "facts": {"envs": list(prepared.given.envs), BY_TRAIT: facts} if alone else facts[""],
        "sampling": {BY_TRAIT: went} if alone else went[""],
        "versions": find_versions(),
        "machine": describe_machine(),
        "cores": cores,
        "seconds": dict(zip(STAGES, np.round(np.diff(clock), 3).tolist(), strict=True)),
    }  # fmt: skip
    warn_of_chains(record, prepared)
    return Fit(groups, record, predictions)


def plan_memory(sets: Sequence[TraitSet], sampling: Sampling, keep_effects: str) -> str:
    """What is kept of the effects; refused where no memory holds it, and told where it is less than all."""
    effect_bytes = draw_bytes = 0
    for own in sets:
        I, L = own.prepared.layout.recorded.shape
        effect_bytes += count_effect_bytes(len(own.prepared.lines), I, L, sampling.kept, own.model.line_effect)
        levels = sum(len(factor.env) for factor in own.prepared.factors)
        draw_bytes += count_draw_bytes(I, L, sampling.kept, own.model, levels)
    check_memory(
        draw_bytes + (effect_bytes if keep_effects == "all" else 0),
        f"draws={sampling.draws}, chains={sampling.chains}, keep_effects={keep_effects!r}",
    )
    keep = choose_keep(keep_effects, effect_bytes)
    if keep != keep_effects and keep == "thin" and effect_bytes > VERY_LARGE:
        warnings.warn(
            f"the effects of all lines in all draws would take {effect_bytes / 2**30:.1f} GB: kept are their mean, SD "
            "and at most 500 draws, in the group 'effects' (keep_effects='thin').",
            UserWarning,
            stacklevel=3,
        )
    return keep


def run(
    sets: Sequence[TraitSet],
    built: Sequence[tuple[Problem, Scaling]],
    sampling: Sampling,
    keep: str,
    cores: int,
    progress: bool | None,
    clock: list[float],
) -> tuple[list[list[Mode]], list[list[Draws]]]:
    """Compile, look for the modes, and run the chains from there; the times of these go to the clock.

    Chains of all sets share the threads.
    """
    n = sampling.chains
    each = f" of each of {len(sets)} traits" if len(sets) > 1 else ""
    bar = Progress(len(sets) * n * sampling.sweeps, f"sampling, {n} chains{each}", progress)
    done = [0] * (len(sets) * n)

    phases = ChainClock(sampling.tune)

    def report(chain: int, sweeps: int) -> None:
        done[chain] = sweeps
        phases.update(chain, sweeps)
        bar.update(sum(done))

    try:
        needs = Needs(*(any(each) for each in zip(*(list_needs(problem) for problem, _ in built), strict=True)))
        compile_sampler(sampling.sampler, needs, bar)
        clock.append(time.perf_counter())
        slots = plan_slots(sampling.draws, n, keep)
        seeds = [own.spawn_seeds(sampling) for own in sets]
        modes = []
        for own, (problem, scaling), streams in zip(sets, built, seeds, strict=True):
            with threadpool_limits(1), naming(own.trait):
                modes.append(find_modes(problem, observe(own.prepared, scaling), branch_seed(streams[0])))
        clock.append(time.perf_counter())
        makers = [
            partial(
                Chain, problem, sampling.sampler, sampling.tune, slots[c], keep != "none", streams[c], start,
                own.model.structures,
            )
            for own, (problem, _), streams, found in zip(sets, built, seeds, modes, strict=True)
            for c, start in enumerate(choose_starts(found, n))
        ]  # fmt: skip
        names = [f"trait {own.trait!r}" for own in sets for _ in range(n)] if sets[0].trait else None
        sampled = run_together(makers, cores, report, names)
    finally:
        bar.close()
    ended = time.perf_counter()
    clock += [clock[-1] + phases.divide(ended - clock[-1]), ended]
    return modes, [sampled[k : k + n] for k in range(0, len(sampled), n)]


def collect_all(
    sets: Sequence[TraitSet],
    built: Sequence[tuple[Problem, Scaling]],
    modes: Sequence[list[Mode]],
    sampled: Sequence[list[Draws]],
    keep: str,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The groups of the result, and by trait (empty: all together) the facts and how the chains went."""
    groups, facts, went = {}, {}, {}
    levels = show_levels([own.prepared for own in sets])
    for own, (problem, scaling), found, drawn in zip(sets, built, modes, sampled, strict=True):
        of = own.prepared, own.model, problem, scaling
        columns = np.ones_like(own.prepared.layout.recorded) if own.trait else None
        groups[own.trait] = collect(*of, drawn, keep, columns, levels)
        facts[own.trait] = find_facts(*of, groups[own.trait]["posterior"])
        went[own.trait] = describe_sampling(own.prepared, drawn, found if problem.native else [])
    if "" in groups:
        return groups[""], facts, went
    whole = sets[0].whole
    observed = collect_observed(whole, levels, [own.prepared for own in sets])
    lines = [whole.lines[j] for j in whole.shown_lines]
    return join_groups(groups, lines) | {"observed_data": observed}, facts, went


def compile_sampler(sampler: str, needs: Needs, bar: Progress) -> None:
    """Compile what chains call; that the first start takes its time is said, also where stderr is a log."""
    if not is_compiled(sampler):
        bar.announce("compiling the sampler (once after an installation, two or three minutes) ...")
    elif needs.levels and not is_compiled(EFFECTS_OF_LEVELS):
        bar.announce(
            "compiling the effects of replicates and blocks (once after an installation, less than a minute) ..."
        )
    rehearse(sampler, needs)


def warn_of_dropped(prepared: Prepared) -> None:
    """Warn of lines that are left out."""
    if prepared.dropped:
        warnings.warn(
            f"{len(prepared.dropped)} lines of the trial are not in the relationship and were left out: "
            f"{list_names(prepared.dropped)}.",
            UserWarning,
            stacklevel=3,
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
            warnings.warn(text, SamplingWarning, stacklevel=3)
