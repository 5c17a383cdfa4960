"""A fit in four stages that can be called one at a time: prepare, build, sample, collect."""

from __future__ import annotations

import time
import warnings
from typing import Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import check_memory, is_one_of, show, whole_number
from bmtme.checkup.cautions import warn_of_values
from bmtme.collection import collect, describe_data, describe_sampling, find_facts, find_versions
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.engines.rotated.chains import SAMPLERS, count_cores, run_chains
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import branch_seed, choose_starts, find_modes
from bmtme.engines.rotated.rehearsal import is_compiled, rehearse
from bmtme.errors import DataError, SamplingWarning, UsageError
from bmtme.model.eigenbasis import BENDING
from bmtme.model.scaling import (
    Scaling,
)
from bmtme.model.structure import BMTME
from bmtme.preparation import Prepared, build, observe, prepare
from bmtme.progress import Progress
from bmtme.results.convergence import describe_divergences, describe_explanations
from bmtme.results.fit import Fit
from bmtme.results.predictions import (
    KEPT,
    Targets,
    arrange_predictions,
    predict_cells,
    spread_evenly,
    tabulate_predictions,
)
from bmtme.words import list_names

DEFAULT_SAMPLER = "collapsed"
STAGES = ("prepare", "compile", "search", "sample", "collect")
KEEP = ("auto", "all", "thin", "none")
#: Above this many bytes of effects, keep_effects="auto" thins.
LARGE = 512 * 2**20


def plan_slots(draws: int, chains: int, keep: str) -> list[np.ndarray]:
    """Where each chain keeps effects: every draw, `KEPT` evenly spaced ones over all chains, or none."""
    slots = np.full(draws, -1)
    if keep == "all":
        slots = np.arange(draws)
    elif keep == "thin":
        places = spread_evenly(draws, max(1, KEPT // chains))
        slots[places] = np.arange(len(places))
    return [slots] * chains


def spawn_seeds(seed: int, chains: int, *key: int) -> list[np.random.SeedSequence]:
    """One independent stream a chain, known by its key alone."""
    return [np.random.SeedSequence(seed, spawn_key=(*key, chain)) for chain in range(chains)]


def choose_targets(prepared: Prepared, lines: tuple[str, ...]) -> Targets:
    """Where the lines to be predicted stand: among those with a record, or by projection from these."""
    place = {name: j for j, name in enumerate(prepared.lines)}
    recorded = np.array([place.get(name, -1) for name in lines], dtype=np.int64)
    new = [name for name in lines if name not in place]
    relationship, basis = prepared.relationship, prepared.basis
    if relationship.is_identity:
        return Targets(recorded, np.zeros((len(new), len(prepared.lines))), np.ones(len(new)))
    if not new:
        return Targets(recorded, np.zeros((0, len(prepared.lines))), np.zeros(0))
    others, known = relationship.index(new), relationship.index(prepared.lines)
    A, explained = basis.project(relationship.matrix[np.ix_(others, known)])
    total = relationship.matrix[others, others] / basis.scale
    spare = total - explained
    worst = int(np.argmin(spare / total))
    if spare[worst] < -1e-6 * total[worst]:
        raise DataError(
            f"the relationship of line {new[worst]!r} (without records) with the lines that have records cannot be: "
            f"they explain {100 * explained[worst] / total[worst]:.4g}% of its variance, so the matrix is not positive "
            f"semi-definite. Check how it was made, or {BENDING}."
        )
    return Targets(recorded, A, np.maximum(spare, 0.0))


def predict(
    prepared: Prepared,
    scaling: Scaling,
    chains: list[Draws],
    trial: Trial,
    targets: Targets,
    cells: np.ndarray | None = None,
) -> pd.DataFrame:
    """Predictions of all lines of the relationship, or of some cells of the trial's lines, in computing order.

    Parameters
    ----------
    trial : whose plots are described by ``n_obs`` and ``observed``; in computing order, as `Prepared.trial` is
    targets : from `choose_targets` for the sorted lines of the relationship, or of `trial` where `cells` are given
    cells : (J, I, L) bool over the lines of `trial`, optional; the rows have intervals of their means then, too
    """
    assert trial.envs == prepared.trial.envs, "the trial is not in computing order"
    lines = trial.lines if cells is not None else tuple(sorted(prepared.relationship.lines))
    place = {name: j for j, name in enumerate(trial.lines)}
    counts, means = trial.counts(), trial.cell_means()
    n_obs = np.zeros((len(lines), *counts.shape[1:]), dtype=np.int64)
    observed = np.full(n_obs.shape, np.nan)
    here = [(n, place[name]) for n, name in enumerate(lines) if name in place]
    if here:
        n, j = (np.array(index) for index in zip(*here, strict=True))
        n_obs[n], observed[n] = counts[j], means[j]
    plots = None if cells is None else n_obs
    predicted = predict_cells(chains, prepared.basis, scaling, targets, cells, plots)
    return tabulate_predictions(lines, trial.envs, trial.traits, n_obs, observed, predicted, cells)


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
    draws, tune = whole_number(draws, "draws", 1), whole_number(tune, "tune", 0)
    chains, seed = whole_number(chains, "chains", 1), whole_number(seed, "seed", 0)
    cores = count_cores() if cores is None else whole_number(cores, "cores", 1)
    sampler = DEFAULT_SAMPLER if sampler is None else sampler
    if not is_one_of(sampler, SAMPLERS):
        raise UsageError(f"sampler must be one of {list_names(SAMPLERS)}, got {show(sampler)}.")
    if not is_one_of(keep_effects, KEEP):
        raise UsageError(f"keep_effects must be one of {list_names(KEEP)}, got {show(keep_effects)}.")
    warn_short(draws, tune, chains)
    clock = [time.perf_counter()]
    prepared = prepare(trial, relationship, unrelated)
    I, L = prepared.layout.recorded.shape
    effect_bytes = count_effect_bytes(len(prepared.lines), I, L, draws * chains)
    check_memory(
        count_draw_bytes(I, L, draws * chains) + (effect_bytes if keep_effects == "all" else 0),
        f"draws={draws}, chains={chains}, keep_effects={keep_effects!r}",
    )
    if prepared.dropped:
        warnings.warn(
            f"{len(prepared.dropped)} lines of the trial are not in the relationship and were left out: "
            f"{list_names(prepared.dropped)}.",
            UserWarning,
            stacklevel=2,
        )
    problem, scaling = build(prepared, model)
    warn_of_values(prepared.given, stacklevel=2)
    targets = None if keep_effects == "none" else choose_targets(prepared, tuple(sorted(relationship.lines)))
    clock.append(time.perf_counter())
    keep = choose_keep(keep_effects, effect_bytes)
    if keep != keep_effects and keep == "thin":
        warnings.warn(
            f"the effects b1 and b2 of all draws would take {effect_bytes / 2**30:.1f} GB: kept are their mean, SD and "
            "at most 500 draws, in the group 'effects' (keep_effects='thin').",
            UserWarning,
            stacklevel=2,
        )
    bar = Progress(chains * (tune + draws), f"sampling, {chains} chains", progress)
    done = [0] * chains

    def report(chain: int, sweeps: int) -> None:
        done[chain] = sweeps
        bar.update(sum(done))

    try:
        announce_compilation(bar)
        rehearse(sampler)
        clock.append(time.perf_counter())
        slots, seeds = plan_slots(draws, chains, keep), spawn_seeds(seed, chains)
        with threadpool_limits(1):
            modes = find_modes(problem, observe(prepared, scaling), branch_seed(seeds[0]))
        clock.append(time.perf_counter())
        starts = choose_starts(modes, chains)
        sampled = run_chains(problem, sampler, tune, slots, keep != "none", seeds, cores, report, starts)
    finally:
        bar.close()
    clock.append(time.perf_counter())
    with threadpool_limits(1):  # the same bits whatever the number of cores
        predictions = None
        if targets is not None:
            predictions = predict(prepared, scaling, sampled, prepared.trial, targets)
            predictions = arrange_predictions(predictions, relationship.lines, trial.envs, trial.traits)
    settings = {
        "model": model.describe(),
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "seed": seed,
        "sampler": sampler,
        "unrelated": unrelated,
        "keep_effects": keep,
    }
    with threadpool_limits(1):
        groups = collect(prepared, problem, scaling, sampled, keep)
        facts = find_facts(prepared, model, problem, scaling, groups["posterior"])
    clock.append(time.perf_counter())
    sampling = describe_sampling(prepared, sampled, modes)
    shown = prepared.given
    explanations = describe_explanations(sampling, settings, shown.envs, shown.traits)
    for text in (explanations, describe_divergences(sampling, settings)):
        if text:
            warnings.warn(text, SamplingWarning, stacklevel=2)
    run = {
        "settings": settings,
        "data": describe_data(prepared),
        "facts": facts,
        "sampling": sampling,
        "versions": find_versions(),
        "seconds": dict(zip(STAGES, np.round(np.diff(clock), 3).tolist(), strict=True)),
    }
    return Fit(groups, run, predictions)


def announce_compilation(bar: Progress) -> None:
    """Say that the first start takes its time, also where stderr is a log."""
    if not is_compiled():
        bar.announce("compiling the sampler (once after an installation, a minute or two) ...")


def warn_short(draws: int, tune: int, chains: int) -> None:
    """Warn where a run is too short to lean on."""
    reasons = []
    if chains < 2:
        reasons.append("one chain cannot show whether it converged (use 4)")
    if draws * chains < 1000:
        reasons.append(f"{draws * chains} draws in all leave large Monte Carlo errors (use some thousands)")
    if tune < 200:
        reasons.append(f"{tune} warm-up sweeps may not reach the posterior (use 1000)")
    if reasons:
        warnings.warn("a short run: " + "; ".join(reasons) + ".", UserWarning, stacklevel=3)


def count_draw_bytes(I: int, L: int, sweeps: int) -> int:
    """Size of all draws of the means and the covariances of I environments and L traits, in bytes."""
    return 8 * sweeps * (I * L + 2 * L * L + I * I)


def count_effect_bytes(J: int, I: int, L: int, sweeps: int) -> int:
    """Size of all draws of b1 and b2 of J lines, in bytes."""
    return 8 * sweeps * J * L * (1 + (I if I > 1 else 0))


def choose_keep(keep: str, effect_bytes: int) -> str:
    """What is kept of effects of this size: ``auto`` is all or thin."""
    if keep != "auto":
        return keep
    return "all" if effect_bytes <= LARGE else "thin"
