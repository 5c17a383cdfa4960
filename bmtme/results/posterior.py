"""Draws to a labelled tree of groups: posterior, effects, sample_stats, observed_data, constant_data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.engines.rotated.draws import Draws
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.scaling import Scaling
from bmtme.results.predictions import spread_evenly
from bmtme.results.variables import VARIABLES

#: Draws of the effects kept by keep_effects="thin", at most.
THINNED = 500


def collect_variables(
    chains: Sequence[Draws], scaling: Scaling, interaction: bool, exchangeable: bool
) -> dict[str, np.ndarray]:
    """Means and covariances of all draws in the user's units, (chain, draw, ...)."""

    def stack(name: str) -> np.ndarray:
        return np.stack([getattr(chain, name) for chain in chains])

    posterior = {
        "beta": stack("beta") * scaling.scale + scaling.centre,
        "Sigma_t": scaling.restore_genetic(stack("Sigma_t")),
        "R_e": scaling.restore_residual(stack("R_e")),
    }
    if interaction:
        s2 = stack("s2_E")
        posterior["Sigma_E"] = s2[..., None] * np.eye(s2.shape[-1])
    if exchangeable:
        posterior["mu"] = stack("mu") * scaling.scale + scaling.centre
        posterior["tau"] = stack("tau") * scaling.scale
    return posterior


def rotate_effects(
    chain: Draws, slots: np.ndarray, basis: Eigenbasis, scaling: Scaling, n_env: int
) -> dict[str, np.ndarray]:
    """b1 (draws, J, L) and b2 (draws, I, J, L) of some kept draws, in the user's units."""
    b1 = basis.rotate_back(chain.W1[slots])
    effects = {"b1": np.moveaxis(b1, 1, 2) * scaling.scale}
    if chain.W2.shape[1]:
        L = chain.W1.shape[1]
        b2 = basis.rotate_back(chain.W2[slots]).reshape(len(slots), n_env, L, -1)
        effects["b2"] = np.moveaxis(b2, 2, 3) * scaling.scale
    return effects


def collect_effects(
    chains: Sequence[Draws], basis: Eigenbasis, scaling: Scaling, n_env: int, thin: bool
) -> dict[str, np.ndarray]:
    """Effects for storage: all draws (chain, draw, ...), or the thinned group's mean, SD and draws.

    Thinned: ``b1`` (effect_draw, line, trait) with at most `THINNED` draws, ``b1_mean``, ``b1_sd`` over all kept
    draws, and the chain and draw each kept one came from.
    """
    if not thin:
        parts = [rotate_effects(chain, np.arange(len(chain.W1)), basis, scaling, n_env) for chain in chains]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    kept: dict[str, list[np.ndarray]] = {}
    chain_of, draw_of = [], []
    count = 0
    for c, chain in enumerate(chains):
        sweeps = np.flatnonzero(chain.slot >= 0)
        wanted = spread_evenly(len(sweeps), max(1, THINNED // len(chains)))
        chain_of += [c] * len(wanted)
        draw_of += sweeps[wanted].tolist()
        for start in range(0, len(sweeps), 50):
            block = np.arange(start, min(start + 50, len(sweeps)))
            for name, values in rotate_effects(chain, block, basis, scaling, n_env).items():
                # Sums around zero: effects are centred there by the model, so that nothing cancels.
                sums[name] = sums.get(name, 0.0) + values.sum(axis=0)
                squares[name] = squares.get(name, 0.0) + (values**2).sum(axis=0)
                chosen = np.isin(block, wanted)
                kept.setdefault(name, []).append(values[chosen])
            count += len(block)
    stored: dict[str, np.ndarray] = {"effect_chain": np.array(chain_of), "effect_draw_index": np.array(draw_of)}
    for name in sums:
        mean = sums[name] / count
        stored[name] = np.concatenate(kept[name])
        stored[f"{name}_mean"] = mean
        stored[f"{name}_sd"] = np.sqrt(np.maximum(squares[name] / count - mean**2, 0.0) * count / max(count - 1, 1))
    return stored


def make_dataset(
    arrays: dict[str, np.ndarray], coords: dict[str, Any], lead: tuple[str, ...], attrs: dict[str, Any]
) -> Any:
    """An xarray Dataset of registered variables with `lead` dimensions in front."""
    import xarray

    variables = {}
    for name, values in arrays.items():
        base = name.removesuffix("_mean").removesuffix("_sd")
        if base in VARIABLES:
            front = () if base != name else lead
            dims = (*front, *VARIABLES[base].dims)
            variables[name] = (dims, values, {"meaning": VARIABLES[base].meaning})
        else:
            variables[name] = (lead, values, {})
    used = {dim for dims, _, _ in variables.values() for dim in dims}
    return xarray.Dataset(variables, {name: coords[name] for name in coords if name in used}, attrs)


def arrange_dataset(dataset: Any, places: Mapping[str, np.ndarray]) -> Any:
    """The dataset with the entries of these dimensions taken from these places.

    Dimensions that it does not have, or that stay as they are, are passed over: effects fill much memory.
    """
    moved = {
        name: places[name]
        for name in dataset.sizes
        if name in places and not np.array_equal(places[name], np.arange(len(places[name])))
    }
    return dataset.isel(moved) if moved else dataset


def import_arviz() -> Any:
    """ArviZ, without its announcements to developers (both lines make one, at import or at first use)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz
    return arviz


def make_tree(groups: dict[str, Any]) -> Any:
    """What users get: InferenceData with ArviZ 0.x, an xarray DataTree with ArviZ 1.x."""
    import xarray

    tree = xarray.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    arviz = import_arviz()
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData.from_datatree(tree)
    return tree
