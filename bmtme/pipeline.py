"""A fit in four stages that can be called one at a time: prepare, build, sample, collect."""

from __future__ import annotations

import platform
import time
import warnings
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme import __version__
from bmtme.arguments import check_memory, is_one_of, show, whole_number
from bmtme.errors import DataError, UsageError
from bmtme.gibbs.chains import SAMPLERS, count_cores, run_chains
from bmtme.gibbs.draws import Draws
from bmtme.gibbs.modes import Mode, branch_seed, choose_starts, find_modes, share_draws
from bmtme.gibbs.problem import Problem
from bmtme.gibbs.rehearsal import is_compiled, rehearse
from bmtme.kernels.beta import EXCHANGEABLE
from bmtme.model.checkup.cautions import warn_of_values
from bmtme.model.eigenbasis import BENDING
from bmtme.model.relationship.matrix import Relationship
from bmtme.model.scaling import (
    Scaling,
)
from bmtme.model.structure import BMTME
from bmtme.model.tables.cells import list_names
from bmtme.model.trial import Trial
from bmtme.preparation import Prepared, build, observe, prepare
from bmtme.progress import Progress
from bmtme.results.convergence import describe_divergences, describe_explanations, measure_sampling
from bmtme.results.fit import Fit
from bmtme.results.information import find_prior_only
from bmtme.results.posterior import arrange_dataset, collect_effects, collect_variables, make_dataset
from bmtme.results.predictions import (
    KEPT,
    Targets,
    arrange_predictions,
    predict_cells,
    spread_evenly,
    tabulate_predictions,
)

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
        `bmtme.model.checkup.cautions.find_cautions`.
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
    effect_bytes = count_bytes(prepared, draws, chains) if keep_effects == "all" else 0
    check_memory(
        count_draw_bytes(prepared, draws, chains) + effect_bytes,
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
    keep = keep_effects
    if keep == "auto":
        keep = "all" if count_bytes(prepared, draws, chains) <= LARGE else "thin"
        if keep == "thin":
            warnings.warn(
                f"the effects b1 and b2 of all draws would take {count_bytes(prepared, draws, chains) / 2**30:.1f} GB: "
                "kept are their mean, SD and at most 500 draws, in the group 'effects' (keep_effects='thin').",
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
            warnings.warn(text, UserWarning, stacklevel=2)
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


def count_draw_bytes(prepared: Prepared, draws: int, chains: int) -> int:
    """Size of all draws of the means and the covariances."""
    I, L = prepared.layout.recorded.shape
    return 8 * draws * chains * (I * L + 2 * L * L + I * I)


def count_bytes(prepared: Prepared, draws: int, chains: int) -> int:
    """Size of all draws of b1 and b2."""
    I, L = prepared.layout.recorded.shape
    return 8 * draws * chains * len(prepared.lines) * L * (1 + (I if I > 1 else 0))


def collect(
    prepared: Prepared, problem: Problem, scaling: Scaling, sampled: list[Draws], keep: str
) -> dict[str, Any]:
    """Labelled groups of the result, as xarray Datasets, in the order in which they are shown."""
    trial = prepared.trial
    coords: dict[str, Any] = {
        "env": list(trial.envs),
        "env_bis": list(trial.envs),
        "trait": list(trial.traits),
        "trait_bis": list(trial.traits),
        "line": list(prepared.lines),
    }
    posterior = collect_variables(sampled, scaling, problem.interaction, problem.means.kind == EXCHANGEABLE)
    if keep == "all":
        posterior |= collect_effects(sampled, prepared.basis, scaling, len(trial.envs), thin=False)
    index = {"chain": np.arange(len(sampled)), "draw": np.arange(len(sampled[0].slot))}
    attrs = {"inference_library": "bmtme", "inference_library_version": __version__}
    groups = {"posterior": make_dataset(posterior, coords | index, ("chain", "draw"), attrs)}
    if keep == "thin":
        effects = collect_effects(sampled, prepared.basis, scaling, len(trial.envs), thin=True)
        places = {"effect_draw": np.arange(len(effects["effect_chain"]))}
        groups["effects"] = make_dataset(effects, coords | places, ("effect_draw",), attrs)
    import xarray

    layout = prepared.layout
    lines = np.array(prepared.lines, dtype=object)[layout.rec_line].astype(str)
    envs = np.array(trial.envs, dtype=object)[layout.rec_env].astype(str)
    record = {"record_line": ("record", lines), "record_env": ("record", envs), "trait": list(trial.traits)}
    stats = ("completed_log_density", "acceptance", "step_size", "diverging")
    groups["sample_stats"] = xarray.Dataset(
        {name: (("chain", "draw"), np.stack([getattr(chain, name) for chain in sampled])) for name in stats},
        index,
        attrs,
    )
    groups["observed_data"] = xarray.Dataset({"Y": (("record", "trait"), prepared.values)}, record, attrs)
    groups["constant_data"] = xarray.Dataset(
        {
            "relationship_eigenvalues": ("eigenvector", prepared.basis.values * scaling.m),
            "relationship_mean_diagonal": ((), scaling.m),
            "recorded": (("env", "trait"), layout.recorded.astype(np.int8)),
            "trait_mean": ("trait", scaling.centre),
            "trait_sd": ("trait", scaling.scale),
        },
        {"env": list(trial.envs), "trait": list(trial.traits)},
        attrs,
    )
    envs = prepared.shown_envs
    places = {"line": prepared.shown_lines, "env": envs, "env_bis": envs, "record": prepared.shown_records}
    return {name: arrange_dataset(dataset, places) for name, dataset in groups.items()}


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """Sizes and shares of the data, for the record of a run."""
    trial, layout = prepared.given, prepared.layout
    return {
        "lines": len(prepared.lines),
        "lines_predicted": len(prepared.relationship.lines),
        "lines_dropped": list(prepared.dropped),
        "envs": len(trial.envs),
        "traits": len(trial.traits),
        "records": len(prepared.values),
        "missing_values": int(np.isnan(prepared.values).sum()),
        "absent_columns": [
            f"{trial.envs[i]} x {trial.traits[l]}" for i, l in np.argwhere(~layout.recorded[prepared.shown_envs])
        ],
        "relationship_rank": prepared.basis.rank,
        "imputed_share": round(layout.imputed_share, 6),
    }


def find_facts(
    prepared: Prepared, model: BMTME, problem: Problem, scaling: Scaling, posterior: Any
) -> dict[str, Any]:
    """What a summary needs to know about the data; environments in the order in which they are shown.

    ``recorded`` (env x trait), whether a column has records; ``together`` (trait x trait), whether two traits stand on
    one record; ``spread``, the expected sample variance of the lines' effects per unit of their covariance;
    ``records``, ``observed_sd`` (env x trait), number of records and their standard deviation; ``prior_only``, what the
    likelihood is flat in, by name; ``means``, ``shared_variance``, of the model.
    """
    observed, env, shown = prepared.observed, prepared.layout.rec_env, prepared.shown_envs
    counts = np.array([observed[env == i].sum(axis=0) for i in range(len(prepared.trial.envs))])
    sd = np.zeros(counts.shape)
    for i, l in np.argwhere(counts > 1):
        sd[i, l] = np.nanstd(prepared.values[env == i, l], ddof=1)
    covariances = posterior[[name for name in ("Sigma_t", "Sigma_E", "R_e") if name in posterior]]
    computed = {dim: list(prepared.trial.envs) for dim in ("env", "env_bis") if dim in covariances.dims}
    try:
        with np.errstate(all="ignore"):
            prior_only = find_prior_only(prepared, problem, scaling, covariances.sel(computed))
    except (np.linalg.LinAlgError, MemoryError) as error:  # a finished fit is not lost for that
        prior_only = {}
        reason = "there are too many of them" if isinstance(error, MemoryError) else "they are nearly singular"
        warnings.warn(
            f"which of the covariances the prior alone informs could not be computed, as {reason}: the summary does "
            "not mark them.",
            UserWarning,
            stacklevel=3,
        )
    return {
        "mean_diagonal": prepared.basis.scale,
        "spread": prepared.basis.spread,
        "envs": list(prepared.given.envs),
        "recorded": prepared.layout.recorded[shown].tolist(),
        "together": (observed.T.astype(int) @ observed.astype(int) > 0).tolist(),
        "records": counts[shown].tolist(),
        "observed_sd": sd[shown].tolist(),
        "shared_variance": model.structure == "standard",
        "means": model.means,
        "prior_only": prior_only,
    }


def describe_sampling(prepared: Prepared, sampled: list[Draws], modes: list[Mode]) -> dict[str, Any]:
    """How the chains went (see `bmtme.results.convergence.measure_sampling`)."""
    shares = share_draws(modes, sampled)
    spread = prepared.basis.spread / prepared.basis.scale

    def share_genetic(Sigma_t: np.ndarray, s2_E: np.ndarray, R_e: np.ndarray) -> np.ndarray:
        variance = np.diagonal(Sigma_t, axis1=-2, axis2=-1)[..., None, :]
        genetic = spread * variance * (1.0 + s2_E[..., prepared.shown_envs, None])
        return np.asarray(genetic / (genetic + np.diagonal(R_e, axis1=-2, axis2=-1)[..., None, :]))

    def stack(name: str) -> np.ndarray:
        return np.stack([getattr(chain, name) for chain in sampled])

    found = [
        {
            "height": None if np.isnan(mode.height) else round(mode.height, 3),
            "weight": round(mode.weight, 5),
            "heritability": share_genetic(*mode.start).round(4).tolist(),
            "chains": shares[:, k].round(4).tolist(),
        }
        for k, mode in enumerate(modes)
    ]
    heritability = share_genetic(stack("Sigma_t"), stack("s2_E"), stack("R_e"))
    return measure_sampling(heritability, stack("diverging"), stack("acceptance"), found)


def find_versions() -> dict[str, str]:
    """Versions of Python and of the libraries behind the numbers."""
    names = ("numpy", "scipy", "numba", "pandas", "xarray", "arviz")
    return {"bmtme": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}
