"""Joint draws of the genetic effects of every line of the relationship, recorded or not."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.arguments import check_memory
from bmtme.data.order import sort_names
from bmtme.errors import UsageError
from bmtme.mapped import take_some
from bmtme.results.predictions import KEPT, spread_evenly
from bmtme.results.residuals import RECORD_SE, predict_records
from bmtme.results.unrecorded import BLOCK, COLUMNS, GROUP, list_blocks

#: What makes up an effect of a line, where it is in the posterior.
EFFECTS = ("b1", "b2", "u")
#: First word of the spawn keys of what lines without a record differ in, (STREAM, group, chain, draw): the same draw of
#: the run has the same numbers, whatever else is asked for. See `bmtme.cv.plan.STREAM`.
STREAM = 3
#: From so many bytes on it is said how much memory the draws take.
ANNOUNCED = 2**30


def take_kept(groups: Mapping[str, Any], draws: int) -> tuple[Any, Any, Any]:
    """Evenly kept draws of the effects of the lines with a record, and the posterior's other variables in these draws.

    Parameters
    ----------
    groups : of a fit that kept effects
    draws : over all chains, at most; one of each chain at least

    Returns
    -------
    u : DataArray (chain, draw, line, env, trait), b1 + b2
    r : DataArray (chain, draw, line, trait), effects outside the relationship, or 0
    posterior : Dataset
    """
    posterior = groups["posterior"]
    chains = posterior.sizes["chain"]
    rest = leave_lines(posterior)
    each = max(1, draws // chains)
    if "effects" in groups:
        kept = groups["effects"]
        first = kept["effect_draw_index"].values.reshape(chains, -1)[0]  # the same draws of every chain
        places = spread_evenly(len(first), each)
        rest = rest.sel(draw=first[places])
        kept = kept.isel(effect_draw=(np.arange(chains)[:, None] * len(first) + places).ravel())
        parts = {name: unstack(kept[name], rest) for name in (*EFFECTS, "r") if name in kept}
    else:
        places = spread_evenly(posterior.sizes["draw"], each)
        rest = rest.map(pick_draws, places=places)
        parts = {name: pick_draws(posterior[name], places) for name in (*EFFECTS, "r") if name in posterior}
    r = parts.pop("r", 0.0)
    first, *others = parts.values()
    u = sum(others, first)
    if "env" not in u.dims:
        u = u.expand_dims(env=rest["env"])
    return u.transpose("chain", "draw", "line", "env", "trait"), r, rest


def pick_draws(array: Any, places: np.ndarray) -> Any:
    """Some draws (chain, draw, ...) of a variable, of which the others may be in a file."""
    import xarray

    coords = {name: array[name].values for name in array.coords} | {"draw": array["draw"].values[places]}
    return xarray.DataArray(take_some(array.values, places, 1), coords, array.dims, array.name, array.attrs)


def leave_lines(posterior: Any) -> Any:
    """A posterior without the effects of lines."""
    return posterior[[name for name in posterior.data_vars if "line" not in posterior[name].dims]]


def unstack(array: Any, rest: Any) -> Any:
    """A thinned effect with chain and draw for effect_draw."""
    import xarray

    dims = array.dims[1:]
    values = array.values.reshape(rest.sizes["chain"], -1, *array.shape[1:])
    coords = {name: rest[name].values for name in ("chain", "draw")} | {name: array[name].values for name in dims}
    return xarray.DataArray(values, coords, ("chain", "draw", *dims))


def relate_columns(posterior: Any, whole: Any | None, traits: Sequence[str]) -> np.ndarray:
    """Genetic covariance of all columns of some traits, (chain, draw, I L, I L), environment by environment.

    Parameters
    ----------
    posterior : Dataset of the draws wanted
    whole : DataArray (chain, draw, env, trait, env_bis, trait_bis) of C, if the posterior's lacks columns
    traits : all, or some of those that were fitted one at a time
    """
    chains, draws, I, L = (*(posterior.sizes[name] for name in ("chain", "draw", "env")), len(traits))
    shape = chains, draws, I * L, I * L
    if whole is not None:
        return np.asarray(whole.sel(draw=posterior["draw"]).values.reshape(shape))
    alone = "trait_bis" not in posterior.dims
    if "C" in posterior and not alone:
        return np.asarray(posterior["C"].values.reshape(shape))
    if "C" in posterior:
        C = posterior["C"].sel(trait=list(traits)).values  # chain, draw, env, env_bis, trait
        return np.einsum("cdabl,lk->cdalbk", C, np.eye(L)).reshape(shape)
    E = posterior["Sigma_E"] if "Sigma_E" in posterior else None
    if not alone:
        between = np.ones((I, I)) + (0.0 if E is None else E.values)
        return np.einsum("cdab,cdlk->cdalbk", np.broadcast_to(between, (chains, draws, I, I)),
                         posterior["Sigma_t"].values).reshape(shape)  # fmt: skip
    within = posterior["Sigma_t"].sel(trait=list(traits)).values
    between = np.ones((chains, draws, I, I, L))
    if E is not None:
        between = between + E.sel(trait=list(traits)).values
    return np.einsum("cdabl,cdl,lk->cdalbk", between, within, np.eye(L)).reshape(shape)


def factor_singular(C: np.ndarray) -> np.ndarray:
    """K with K K' = C, also of a covariance that is singular up to rounding."""
    try:
        return np.asarray(np.linalg.cholesky(C))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(C)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def relate_lines(posterior: Any, traits: Sequence[str]) -> np.ndarray | None:
    """Sigma_r of some traits, (chain, draw, L, L), or None where there is no effect outside the relationship."""
    if "Sigma_r" not in posterior:
        return None
    if "trait_bis" in posterior.dims:
        return np.asarray(posterior["Sigma_r"].values)
    return np.asarray(posterior["Sigma_r"].sel(trait=list(traits)).values[..., None] * np.eye(len(traits)))


def draw_unrecorded(
    group: Any,
    u: np.ndarray,
    C: np.ndarray,
    key: tuple[int, int],
    draw: np.ndarray,
    Sigma_r: np.ndarray | None = None,
) -> np.ndarray:
    """Draws of the lines without a record given the others, (chain, draw, lines, I L): B u + F Z K', C = K K'.

    An effect outside the relationship is added, of each line by itself.

    Parameters
    ----------
    group : Dataset of `bmtme.results.unrecorded`
    u : (chain, draw, J, I L) effects of the lines with a record, in the order of the group
    C : (chain, draw, I L, I L)
    key : seed, and number of the group
    draw : (draw,) which draws of the run these are
    Sigma_r : (chain, draw, L, L), optional
    """
    count, M = group.sizes["unrecorded_line"], C.shape[-1]
    out = np.zeros((*u.shape[:2], count, M))
    weights, factor = (group[name].values if name in group else None for name in ("weights", "factor"))
    for c, d in np.ndindex(u.shape[:2]):
        rng = np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=(STREAM, key[1], c, int(draw[d]))))
        root = factor_singular(C[c, d])
        if weights is None or factor is None:
            out[c, d] = rng.standard_normal((count, M)) @ root.T
            continue
        out[c, d] = weights @ u[c, d]
        for block in list_blocks(count):
            noise = rng.standard_normal((factor.shape[1], M))
            out[c, d, block] += factor[block] @ noise @ root.T
        if Sigma_r is not None:
            r = rng.standard_normal((count, Sigma_r.shape[-1])) @ factor_singular(Sigma_r[c, d]).T
            out[c, d] += np.tile(r, (1, M // r.shape[1]))
    return out


def check_size(groups: Mapping[str, Any], what: str, lines: int, draws: int) -> None:
    """Refuse draws of so many lines that no memory holds, and say how much they take where it is much."""
    sizes = groups["posterior"].sizes
    chains = sizes["chain"]
    there = groups["effects"].sizes["effect_draw"] // chains if "effects" in groups else sizes["draw"]
    kept = chains * min(max(1, draws // chains), there)
    size = 8 * kept * lines * sizes["env"] * sizes["trait"]
    check_memory(
        2 * size,
        f"{what} of {lines:,} lines x {sizes['env']} environments x {sizes['trait']} traits (fewer draws take less, in "
        "proportion)",
    )
    if size > ANNOUNCED:
        warnings.warn(
            f"the draws of {lines:,} lines take {size / 2**30:.1f} GB of memory; fewer draws= take less.",
            UserWarning,
            stacklevel=4,
        )


def add_records(table: pd.DataFrame, groups: Mapping[str, Any]) -> None:
    """Put predictions of records into those of genetic values; see `bmtme.results.fit.Fit.predictions`."""
    if RECORD_SE in groups["observed_data"].coords:
        raise UsageError(
            "predictions(of='record') do not serve records with standard errors (se), which traits of a record "
            "share in part: use predictions() of genetic values."
        )
    lines = groups["effects" if "effects" in groups else "posterior"].sizes["line"]
    check_size(groups, "predictions(of='record')", lines, KEPT)
    u, r, posterior = take_kept(groups, KEPT)
    found = predict_records(posterior, (u + r).transpose(*u.dims), groups["observed_data"])
    keys = list(zip(table["line"], table["env"], table["trait"], strict=True))
    rows = np.array([n for n, key in enumerate(keys) if key in found], np.int64)
    table.insert(table.columns.tolist().index("observed"), "n_plots", 0)
    if len(rows):
        numbers = np.array([found[keys[n]] for n in rows])
        table.loc[rows, "n_plots"] = numbers[:, 0].astype(np.int64)
        table.loc[rows, "mean"] += numbers[:, 1]
        table.loc[rows, ["sd", "lower", "upper"]] = numbers[:, 2:]


def draw_line_effects(groups: Mapping[str, Any], lines: Sequence[str], seed: int, draws: int) -> Any:
    """See `bmtme.results.fit.Fit.line_effects`; lines: of the relationship, in its order."""
    import xarray

    check_size(groups, f"line_effects(draws={draws})", len(lines), draws)
    u, r, posterior = take_kept(groups, draws)
    whole = groups[COLUMNS]["C"] if COLUMNS in groups else None
    found = [groups[name] for name in groups if name.split("_")[0] == GROUP]
    most = max((group.sizes["unrecorded_line"] for group in found if "factor" in group), default=0)
    if most > BLOCK:
        warnings.warn(
            f"{most:,} lines without a record are drawn in blocks of {BLOCK:,}, in the order of their names: jointly "
            "within a block; lines of different blocks are alike only through their relatives with a record.",
            UserWarning,
            stacklevel=3,
        )
    place = {name: n for n, name in enumerate(lines)}
    shape = (*u.shape[:2], len(lines), *u.shape[3:])
    out = np.full(shape, np.nan)
    out[:, :, [place[name] for name in u["line"].values.tolist()]] = (u + r).transpose(*u.dims).values
    with threadpool_limits(1):  # the same bits whatever the number of cores
        for k, group in enumerate(found):
            traits = group["trait"].values.tolist()
            C = relate_columns(posterior, whole, traits)
            known = u.sel(line=group["line"], trait=traits).values
            known = known.reshape(*known.shape[:3], -1)
            # In the order of the names, so that the numbers do not depend on which environment is shown first.
            order = (sort_names(posterior["env"].values.tolist())[:, None] * len(traits) + range(len(traits))).ravel()
            C, known = C[..., order, :][..., order], known[..., order]
            Sigma_r = relate_lines(posterior, traits)
            drawn = draw_unrecorded(group, known, C, (seed, k), posterior["draw"].values, Sigma_r)
            drawn = drawn[..., np.argsort(order)]
            rows = [place[name] for name in group["unrecorded_line"].values.tolist()]
            columns = [posterior["trait"].values.tolist().index(trait) for trait in traits]
            where = np.ix_(*(range(n) for n in shape[:2]), rows, range(shape[3]), columns)
            out[where] = drawn.reshape(*drawn.shape[:3], shape[3], len(traits))
    coords = {name: posterior[name].values for name in ("chain", "draw", "env", "trait")} | {"line": list(lines)}
    about = {"meaning": "genetic effect of the line, without the mean of the environment", "unit": "trait's unit"}
    return xarray.DataArray(out, coords, u.dims, "line_effects", about)
