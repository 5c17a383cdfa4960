"""A fit in four stages that can be called one at a time: prepare, build, run, collect."""

from __future__ import annotations

import time
import warnings
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.arguments import check_memory, is_one_of, show, whole_number
from bmtme.checkup.cautions import warn_of_values
from bmtme.choices import KEEP
from bmtme.collection import collect, describe_data, describe_sampling, find_facts, find_versions
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.engines.rotated.chains import count_cores, run_chains
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode, branch_seed, choose_starts, find_modes
from bmtme.engines.rotated.observed import Observed
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.rehearsal import is_compiled, rehearse
from bmtme.errors import SamplingWarning, UsageError
from bmtme.model.structure import BMTME
from bmtme.preparation import Prepared, build, observe, prepare
from bmtme.progress import Progress
from bmtme.results.convergence import describe_divergences, describe_explanations
from bmtme.results.fit import Fit
from bmtme.results.predictions import arrange_predictions
from bmtme.results.targets import choose_targets, predict
from bmtme.sampling import (
    Sampling,
    choose_keep,
    count_draw_bytes,
    count_effect_bytes,
    plan_slots,
    spawn_seeds,
)
from bmtme.words import list_names

STAGES = ("prepare", "compile", "search", "sample", "collect")


def fit(
    trial: Trial,
    relationship: Relationship,
    model: BMTME | None = None,
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
    """Fit a Bayesian multi-trait multi-environment model.

    Parameters
    ----------
    trial : Trial
        Phenotypes; any order, replicates, missing plots and traits.
    relationship : Relationship
        Of all lines with records (matched by name), and of others to be predicted.
    model : BMTME, optional
        Default ``BMTME("unstructured")``.
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
        no predictions. "auto": all under 512 MB, else thin.
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
    model = BMTME() if model is None else model
    sampling = Sampling.checked(draws, tune, chains, seed, sampler)
    cores = count_cores() if cores is None else whole_number(cores, "cores", 1)
    if not is_one_of(keep_effects, KEEP):
        raise UsageError(f"keep_effects must be one of {list_names(KEEP)}, got {show(keep_effects)}.")
    clock = [time.perf_counter()]

    sampling.refuse(model)
    prepared = prepare(trial, relationship, unrelated)
    keep = plan_memory(prepared, model, sampling, keep_effects)
    warn_of_dropped(prepared)
    problem, scaling = build(prepared, model)
    warn_of_values(prepared.given, problem.by_env, stacklevel=2)
    targets = None if keep == "none" else choose_targets(prepared, tuple(sorted(relationship.lines)))
    clock.append(time.perf_counter())

    observed = observe(prepared, scaling)
    modes, sampled = run(problem, model, observed, sampling, keep, cores, progress, clock)

    with threadpool_limits(1):  # the same bits whatever the number of cores
        predictions = None
        if targets is not None:
            predictions = predict(prepared, scaling, sampled, prepared.trial, targets)
            predictions = arrange_predictions(predictions, relationship.lines, trial.envs, trial.traits)
        groups = collect(prepared, model, problem, scaling, sampled, keep)
        facts = find_facts(prepared, model, problem, scaling, groups["posterior"])
    clock.append(time.perf_counter())
    record = {
        "settings": {
            "model": model.describe(), **sampling.describe(), "unrelated": unrelated, "keep_effects": keep,
        },
        "data": describe_data(prepared),
        "facts": facts,
        "sampling": describe_sampling(prepared, sampled, modes if problem.native else []),
        "versions": find_versions(),
        "seconds": dict(zip(STAGES, np.round(np.diff(clock), 3).tolist(), strict=True)),
    }  # fmt: skip
    warn_of_chains(record, prepared)
    return Fit(groups, record, predictions)


def plan_memory(prepared: Prepared, model: BMTME, sampling: Sampling, keep_effects: str) -> str:
    """What is kept of the effects; refused where no memory holds it, and told where it is less than all."""
    I, L = prepared.layout.recorded.shape
    effect_bytes = count_effect_bytes(len(prepared.lines), I, L, sampling.kept)
    check_memory(
        count_draw_bytes(I, L, sampling.kept, model) + (effect_bytes if keep_effects == "all" else 0),
        f"draws={sampling.draws}, chains={sampling.chains}, keep_effects={keep_effects!r}",
    )
    keep = choose_keep(keep_effects, effect_bytes)
    if keep != keep_effects and keep == "thin":
        warnings.warn(
            f"the effects b1 and b2 of all draws would take {effect_bytes / 2**30:.1f} GB: kept are their mean, SD and "
            "at most 500 draws, in the group 'effects' (keep_effects='thin').",
            UserWarning,
            stacklevel=3,
        )
    return keep


def run(
    problem: Problem,
    model: BMTME,
    observed: Observed,
    sampling: Sampling,
    keep: str,
    cores: int,
    progress: bool | None,
    clock: list[float],
) -> tuple[list[Mode], list[Draws]]:
    """Compile, look for the modes, and run the chains from there; the times of these go to the clock."""
    bar = Progress(sampling.chains * sampling.sweeps, f"sampling, {sampling.chains} chains", progress)
    done = [0] * sampling.chains

    def report(chain: int, sweeps: int) -> None:
        done[chain] = sweeps
        bar.update(sum(done))

    try:
        announce_compilation(sampling.sampler, bar)
        rehearse(sampling.sampler)
        clock.append(time.perf_counter())
        slots = plan_slots(sampling.draws, sampling.chains, keep)
        seeds = spawn_seeds(sampling.seed, sampling.chains)
        with threadpool_limits(1):
            modes = find_modes(problem, observed, branch_seed(seeds[0]))
        clock.append(time.perf_counter())
        starts = choose_starts(modes, sampling.chains)
        sampled = run_chains(
            problem,
            sampling.sampler,
            sampling.tune,
            slots,
            keep != "none",
            seeds,
            cores,
            report,
            starts,
            model.structures,
        )
    finally:
        bar.close()
    clock.append(time.perf_counter())
    return modes, sampled


def announce_compilation(sampler: str, bar: Progress) -> None:
    """Say that the first start takes its time, also where stderr is a log."""
    if not is_compiled(sampler):
        bar.announce("compiling the sampler (once after an installation, a minute or two) ...")


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
    shown = prepared.given
    explanations = describe_explanations(sampling, settings, shown.envs, shown.traits)
    for text in (explanations, describe_divergences(sampling, settings)):
        if text:
            warnings.warn(text, SamplingWarning, stacklevel=3)
