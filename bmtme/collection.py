"""What a fit leaves: its draws with their labels, and the record of the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bmtme import __version__
from bmtme.checkup.alikeness import find_alike_traits
from bmtme.checkup.line_effect import FEWEST_CONTRASTS, count_contrasts
from bmtme.data.effects import centre_covariate
from bmtme.engines.rotated.draws import Draws, walk_draws
from bmtme.engines.rotated.modes import Mode, share_draws
from bmtme.engines.rotated.problem import Problem
from bmtme.mapped import Allocate
from bmtme.model.contrasts import measure_contrasts
from bmtme.model.scaling import Scaling
from bmtme.model.structure import BMTME
from bmtme.preparation import Prepared, count_records
from bmtme.results.convergence import count_corners, measure_sampling
from bmtme.results.derivations import share_genetic
from bmtme.results.information import find_prior_only
from bmtme.results.levels import (
    BLOCK,
    COVARIATE,
    REPLICATE,
    list_levels,
    name_blocks_of,
    name_replicates_of,
    show_levels,
)
from bmtme.results.posterior import arrange_dataset, collect_effects, collect_variables, make_dataset
from bmtme.results.predictions import take_every
from bmtme.results.quantities import BLOCK_EFFECTS, REP_EFFECTS, choose_stored
from bmtme.results.residuals import RECORD_OWN_SE, RECORD_PLOTS, RECORD_SE, SE_CORRELATION
from bmtme.results.trait_variances import find_prior_only_variances
from bmtme.results.unrecorded import MOST_RELATED, RELATIONSHIP

#: Draws of covariances that are looked at to find which of them the prior alone informs: bytes of all, at most, and
#: draws of each chain, at least.
MOST_FACTS, FEWEST_FACTS = 2**27, 250
#: Of every group of the result.
ATTRS = {"inference_library": "bmtme", "inference_library_version": __version__}


def list_labels(prepared: Prepared, columns: np.ndarray | None = None) -> dict[str, list[str]]:
    """Names along the dimensions of what is drawn, in computing order.

    columns : (I, L) bool, which columns environment x trait are cells; default those with a record
    """
    envs, traits = prepared.trial.envs, prepared.trial.traits
    cells = [
        f"{envs[i]} x {traits[l]}" for i, l in np.argwhere(prepared.layout.recorded if columns is None else columns)
    ]
    named = {
        dim: [factor.name for factor in prepared.factors if factor.kind == kind]
        for dim, kind in (("factor", BLOCK), (COVARIATE, COVARIATE))
    }
    return {"env": list(envs), "trait": list(traits), "cell": cells, **named, **list_levels(prepared)}


def collect(
    prepared: Prepared,
    model: BMTME,
    problem: Problem,
    scaling: Scaling,
    sampled: list[Draws],
    keep: str,
    columns: np.ndarray | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    allocate: Allocate = np.zeros,
) -> dict[str, Any]:
    """Labelled groups of the result, as xarray Datasets, in the order in which they are shown.

    columns : (I, L) bool, of which columns C is kept; default those with a record
    levels : of `show_levels`, where other parts have more than this one
    allocate : makes what grows with the draws
    """
    trial, layout = prepared.trial, prepared.layout
    columns = layout.recorded if columns is None else columns
    labels = list_labels(prepared, columns)
    cell_env, cell_trait = np.nonzero(columns)
    shown = {"env": prepared.shown_envs, "cell": np.argsort(np.argsort(prepared.shown_envs)[cell_env], kind="stable")}
    places = {"line": prepared.shown_lines} | shown | {f"{dim}_bis": order for dim, order in shown.items()}
    coords: dict[str, Any] = {twin: names for dim, names in labels.items() for twin in (dim, f"{dim}_bis")}
    coords["line"] = list(prepared.lines)
    coords |= {dim: [coords[dim][k] for k in order] for dim, order in places.items()}
    sizes = {dim: len(names) for dim, names in labels.items()}
    stored = choose_stored(problem, model.structures, columns, prepared.factors)
    drawn = [quantity for quantity in stored if quantity.is_effect]
    levels = show_levels([prepared]) if levels is None else levels
    for quantity in (REP_EFFECTS, BLOCK_EFFECTS):
        dim = quantity.dims[0]
        if levels[dim]:
            own = {each.name: each for each in stored}.get(quantity.name, quantity)
            at = [levels[dim].index(name) for name in labels[dim]]
            whole = partial(place_levels, own.draws, at, (len(levels[dim]), len(trial.traits)))
            stored = list(({each.name: each for each in stored} | {own.name: replace(own, draws=whole)}).values())
            coords[dim] = list(levels[dim])
    along = {"trait": np.arange(len(trial.traits)), "cell": cell_trait}
    posterior = collect_variables(sampled, stored, scaling, along, places, allocate)
    of = drawn, prepared.basis, scaling, sizes
    if keep == "all":
        posterior |= collect_effects(sampled, *of, False, places, allocate)
    index = {"chain": np.arange(len(sampled)), "draw": np.arange(len(sampled[0].slot))}
    groups = {"posterior": make_dataset(posterior, stored, coords | index, ("chain", "draw"), ATTRS)}
    if keep == "thin":
        effects = collect_effects(sampled, *of, True, places, allocate)
        kept = {"effect_draw": np.arange(len(effects["effect_chain"]))}
        groups["effects"] = make_dataset(effects, stored, coords | kept, ("effect_draw",), ATTRS)
    import xarray

    stats = ("completed_log_density", "acceptance", "step_size", "diverging")
    groups["sample_stats"] = xarray.Dataset(
        {name: (("chain", "draw"), np.stack([getattr(chain, name) for chain in sampled])) for name in stats},
        index,
        ATTRS,
    )
    groups["observed_data"] = collect_observed(prepared, levels)
    constants = xarray.Dataset(
        {
            "relationship_eigenvalues": ("eigenvector", prepared.basis.values * scaling.m),
            "relationship_mean_diagonal": ((), scaling.m),
            "relationship_contrast": ("predicted_line", measure_contrasts(prepared.relationship, prepared.lines)),
            "recorded": (("env", "trait"), layout.recorded.astype(np.int8)),
            "trait_mean": ("trait", scaling.centre),
            "trait_sd": ("trait", scaling.scale),
        },
        {"env": list(trial.envs), "trait": list(trial.traits), "predicted_line": list(prepared.relationship.lines)},
        ATTRS,
    )
    return groups | {"constant_data": arrange_dataset(constants, places)}


def place_levels(
    draws: Callable[[Draws], np.ndarray] | None, at: Sequence[int], shape: tuple[int, ...], chain: Draws
) -> np.ndarray:
    """Effects of levels of a factor (draw, levels, L) among those of a result (draw, *shape), zero for others.

    at : places of the levels there
    """
    out = np.zeros((len(chain.slot), *shape))
    if draws is not None:
        out[:, at] = draws(chain)
    return out


def collect_observed(prepared: Prepared, levels: Mapping[str, Sequence[str]], parts: Sequence[Prepared] = ()) -> Any:
    """The records with a value, as they are shown.

    levels : that have effects, as of `show_levels`; the records tell theirs, empty for none
    parts : the same of each trait, where they are fitted one at a time: replicates are told by trait
    """
    import xarray

    trial, layout, order, given = prepared.trial, prepared.layout, prepared.shown_records, prepared.given
    lines = np.array(prepared.lines, dtype=object)[layout.rec_line].astype(str)
    envs = np.array(trial.envs, dtype=object)[layout.rec_env].astype(str)
    record: dict[str, Any] = {"record_line": ("record", lines), "record_env": ("record", envs)}
    record["trait"] = list(trial.traits)
    if trial.n_plots is not None:
        record[RECORD_PLOTS] = ("record", layout.rec_plots.astype(np.int64))
    if levels[BLOCK]:
        record["factor"] = list(given.blocks)
        record["record_block"] = (("record", "factor"), name_blocks_of(prepared, levels[BLOCK]))
    if given.covariates:
        centred = [centre_covariate(values, given.env_index) for values in given.covariates.values()]
        record[COVARIATE] = list(given.covariates)
        record["record_covariate"] = (("record", COVARIATE), np.column_stack(centred)[prepared.records])
    if levels[REPLICATE]:
        own = [name_replicates_of(part, prepared.records) for part in parts or [prepared]]
        record["record_replicate"] = (("record", "trait"), np.stack(own, axis=1)) if parts else ("record", own[0])
    if prepared.given.se is not None:
        record[RECORD_SE] = (("record", "trait"), prepared.given.se[prepared.records])
    if prepared.given.error_covariances is not None:
        record[RECORD_OWN_SE] = (("record", "trait"), np.sqrt(prepared.given.own_errors()[prepared.records]))
    if trial.se_correlation is not None and not parts:
        record[SE_CORRELATION] = (("trait", "trait_bis"), trial.se_correlation)
    return arrange_dataset(
        xarray.Dataset({"Y": (("record", "trait"), prepared.values)}, record, ATTRS), {"record": order}
    )


def collect_relationship(prepared: Prepared, alone: bool) -> dict[str, Any]:
    """The relationship among the lines with a record, as shown, where leaving records out may ask for it.

    A group of the result by its name: ``G (line, line_bis)``, left out for an identity. None where there are more
    values than `bmtme.decisions.leave_one_out` takes: of all traits, or of each where they are fitted one at a time.
    """
    import xarray

    counts = prepared.observed.sum(axis=0)
    if (counts.max() if alone else counts.sum()) > MOST_RELATED:
        return {}
    lines = [prepared.lines[j] for j in prepared.shown_lines]
    coords: dict[str, Any] = {"line": lines}
    variables = {}
    if not prepared.relationship.is_identity:
        index = prepared.relationship.index(lines)
        variables["G"] = ("line", "line_bis"), prepared.relationship.matrix[np.ix_(index, index)]
        coords["line_bis"] = lines
    return {RELATIONSHIP: xarray.Dataset(variables, coords, ATTRS)}


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
        "covariates": list(trial.covariates),
        "missing_values": int(np.isnan(prepared.values).sum()),
        "plots": None if trial.n_plots is None else describe_plots(layout.rec_plots),
        "standard_errors": [trait for trait, there in zip(trial.traits, trial.has_se, strict=True) if there],
        "error_covariances": trial.error_covariances is not None,
        "absent_columns": [
            f"{trial.envs[i]} x {trial.traits[l]}" for i, l in np.argwhere(~layout.recorded[prepared.shown_envs])
        ],
        "relationship_rank": prepared.basis.rank,
        "imputed_share": round(layout.imputed_share, 6),
    }


def describe_plots(number: np.ndarray) -> dict[str, int]:
    """Fewest and most plots behind a record, and all."""
    return {"fewest": int(number.min()), "most": int(number.max()), "all": int(number.sum())}


def find_facts(prepared: Prepared, model: BMTME, problem: Problem, scaling: Scaling, posterior: Any) -> dict[str, Any]:
    """What a summary needs to know about the data; environments in the order in which they are shown.

    ``recorded`` (env x trait), whether a column has records; ``together`` (trait x trait), whether two traits stand on
    one record, and ``together_here`` (env x trait x trait) in an environment, or in any where the model has one
    residual correlation; ``residual_here`` (env x trait), whether records there tell the residual variance;
    ``apart`` (trait x trait), whether a line has two traits on different records; ``single_alike``, whether lines are
    unrelated, or all related alike, and have one plot in each environment at most; ``spread``, the
    expected sample variance of the lines' effects per unit of their covariance; ``records``, ``observed_sd`` (env x
    trait), number of records and their standard deviation, of means of plots what that of a plot would be at most;
    ``prior_only``, what the likelihood is flat in, by name, and ``bounds_only``, within narrow bounds; ``alike``,
    traits that are nearly copies; ``blocks`` (factor x trait), whether any has an effect; ``means``,
    ``shared_variance``, of the model.
    """
    observed, env, shown = prepared.observed, prepared.layout.rec_env, prepared.shown_envs
    recorded, residual = prepared.layout.recorded[shown], model.structures[1]
    number = prepared.layout.rec_plots
    plots = np.bincount(env * len(prepared.lines) + prepared.layout.rec_line)
    counts = np.array([observed[env == i].sum(axis=0) for i in range(len(prepared.trial.envs))])
    sd = np.zeros(counts.shape)
    for i, l in np.argwhere(counts > 1):
        seen = (env == i) & observed[:, l]
        sd[i, l] = prepared.values[seen, l].std(ddof=1) / np.sqrt((1.0 / number[seen]).mean())
    names = ("Sigma_t", "Sigma_E", "genetic_variance", "C", "R_e", "Sigma_r")
    covariances = thin_draws(posterior[[name for name in names if name in posterior]])
    computed = {dim: list(prepared.trial.envs) for dim in ("env", "env_bis") if dim in covariances.dims}
    prior_only: dict[str, str] = {}
    bounds_only: dict[str, str] = {}
    try:
        with np.errstate(all="ignore"):
            covariances = covariances.sel(computed)
            prior_only, bounds_only = (
                find_prior_only(prepared, problem, scaling, covariances)
                if problem.native
                else find_prior_only_variances(
                    prepared, covariances, not problem.by_env, problem.proportional, problem.line_effect
                )
            )
    except (np.linalg.LinAlgError, MemoryError) as error:  # a finished fit is not lost for that
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
        "recorded": recorded.tolist(),
        "together": find_together(observed),
        "together_here": [
            find_together(observed if residual.common_correlation else observed[env == i]) for i in shown
        ],
        "residual_here": (recorded | (recorded.any(axis=1, keepdims=True) & residual.common_scale)).tolist(),
        "apart": find_apart(prepared),
        "single_alike": bool(
            plots.max(initial=0) <= 1
            and np.ptp(number) == 0.0
            and count_contrasts(prepared.relationship, prepared.lines) < FEWEST_CONTRASTS
        ),
        "records": counts[shown].tolist(),
        "observed_sd": sd[shown].tolist(),
        "shared_variance": model.structure == "standard" or model.structures[0].alike,
        "means": model.means,
        "prior_only": prior_only,
        "bounds_only": bounds_only,
        "alike": list_alike(prepared),
        "blocks": [factor.active.any(axis=0).tolist() for factor in prepared.factors if factor.kind == BLOCK],
    }


def thin_draws(posterior: Any) -> Any:
    """Every 2^k-th draw, so that all take `MOST_FACTS` bytes at most: enough to say what the data inform."""
    n = posterior.sizes["draw"]
    most = max(FEWEST_FACTS, MOST_FACTS * n // max(1, sum(array.nbytes for array in posterior.values())))
    return posterior.isel(draw=take_every(n, most)) if n > most else posterior


def find_together(observed: np.ndarray) -> list[list[bool]]:
    """(trait x trait) whether two traits stand on one record, of those (N, L) that are observed."""
    together: list[list[bool]] = (observed.T.astype(int) @ observed.astype(int) > 0).tolist()
    return together


def find_apart(prepared: Prepared) -> list[list[bool]]:
    """(trait x trait) whether a line has one trait on one record and the other on another one."""
    line, observed = prepared.layout.rec_line, prepared.observed.astype(np.int64)
    counts = count_records(prepared)
    apart = np.zeros((counts.shape[1],) * 2, bool)
    for l, q in np.ndindex(apart.shape):
        both = np.bincount(line, observed[:, l] * observed[:, q], minlength=len(counts))
        apart[l, q] = bool((counts[:, l] * counts[:, q] > both).any())
    return apart.tolist()


def list_alike(prepared: Prepared) -> list[dict[str, Any]]:
    """Pairs of traits that are nearly copies: places of the traits, of the environment (None: in all), correlation."""
    trial = prepared.given
    return [
        {
            "traits": [trial.traits.index(item["trait"]), trial.traits.index(item["other"])],
            "env": trial.envs.index(item["env"]) if "env" in item else None,
            "r": round(float(item["value"]), 4),
        }
        for finding in find_alike_traits(trial)
        for item in finding.items
    ]


def describe_sampling(prepared: Prepared, sampled: list[Draws], modes: list[Mode]) -> dict[str, Any]:
    """How the chains went (see `bmtme.results.convergence.measure_sampling`)."""
    shares = share_draws(modes, sampled)
    spread = prepared.basis.spread / prepared.basis.scale
    order = prepared.shown_envs

    def share(Sigma_t: np.ndarray, s2_E: np.ndarray, R_e: np.ndarray) -> np.ndarray:
        E = s2_E[..., order, None] * np.eye(s2_E.shape[-1])
        return share_genetic({"Sigma_t": Sigma_t, "Sigma_E": E, "R_e": R_e}, spread)

    found = [
        {
            "height": None if np.isnan(mode.height) else round(mode.height, 3),
            "weight": round(mode.weight, 5),
            "heritability": share(*mode.start).round(4).tolist(),
            "chains": shares[:, k].round(4).tolist(),
        }
        for k, mode in enumerate(modes)
    ]
    corners = np.zeros((2, len(order), len(prepared.trial.traits)))
    for chain in sampled:
        for _, part in walk_draws(chain):
            genetic, residual = spread * part.genetic[:, order], part.residual[:, order]
            genetic += np.diagonal(part.Sigma_r, axis1=-2, axis2=-1)[:, None, :]
            corners += count_corners(genetic / (genetic + residual))
    corners /= sum(len(chain.slot) for chain in sampled)
    diverging, acceptance = (
        np.stack([getattr(chain, name) for chain in sampled]) for name in ("diverging", "acceptance")
    )
    return measure_sampling(corners, diverging, acceptance, found)
