"""Draws to a labelled tree of groups: posterior, effects, sample_stats, observed_data, constant_data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.engines.rotated.draws import Draws
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.scaling import Scaling
from bmtme.results.entries import Quantity
from bmtme.results.predictions import take_every
from bmtme.results.rows import untwin

#: Draws of the effects kept by keep_effects="thin", at most.
THINNED = 500


def collect_variables(
    chains: Sequence[Draws], stored: Sequence[Quantity], scaling: Scaling, traits: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """All draws of what is stored beside the effects, in the user's units, (chain, draw, ...).

    Parameters
    ----------
    stored : as of `bmtme.results.quantities.choose_stored`
    traits : places of the traits along the dimensions that go by trait, ``trait`` and ``cell``
    """
    posterior = {}
    for quantity in stored:
        if quantity.draws is not None and not quantity.is_effect:
            values = np.stack([quantity.draws(chain) for chain in chains])
            along = traits.get(untwin(quantity.dims[-1]))
            units = scaling if along is None else scaling.take(along)
            posterior[quantity.name] = quantity.unit.restore(values, units)
    return posterior


def rotate_effects(
    chain: Draws,
    slots: np.ndarray,
    effects: Sequence[Quantity],
    basis: Eigenbasis,
    scaling: Scaling,
    sizes: Mapping[str, int],
) -> dict[str, np.ndarray]:
    """Some kept draws of the effects, (draws, *dims), in the user's units.

    sizes : of the dimensions but that of the lines
    """
    rotated = {}
    for quantity in effects:
        assert quantity.draws is not None
        rotate = basis.rotate_plain if quantity.name == "r" else basis.rotate_back
        values = rotate(quantity.draws(chain)[slots])
        values = values.reshape(len(slots), *(sizes[dim] for dim in quantity.dims if dim != "line"), -1)
        values = np.moveaxis(values, -1, 1 + quantity.dims.index("line"))
        rotated[quantity.name] = quantity.unit.restore(values, scaling)
    return rotated


def collect_effects(
    chains: Sequence[Draws],
    effects: Sequence[Quantity],
    basis: Eigenbasis,
    scaling: Scaling,
    sizes: Mapping[str, int],
    thin: bool,
) -> dict[str, np.ndarray]:
    """Effects for storage: all draws (chain, draw, ...), or the thinned group's mean, SD and draws.

    Thinned: ``b1`` (effect_draw, line, trait) with at most `THINNED` draws, ``b1_mean``, ``b1_sd`` over all kept
    draws, and the chain and draw each kept one came from.
    """
    if not thin:
        whole: dict[str, np.ndarray] = {}
        for c, chain in enumerate(chains):  # one at a time: they may fill half of the memory
            for name, values in rotate_effects(chain, np.arange(len(chain.W2)), effects, basis, scaling, sizes).items():
                whole.setdefault(name, np.empty((len(chains), *values.shape)))[c] = values
        return whole
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    kept: dict[str, list[np.ndarray]] = {}
    chain_of, draw_of = [], []
    count = 0
    for c, chain in enumerate(chains):
        sweeps = np.flatnonzero(chain.slot >= 0)
        wanted = take_every(len(sweeps), max(1, THINNED // len(chains)))
        chain_of += [c] * len(wanted)
        draw_of += sweeps[wanted].tolist()
        for start in range(0, len(sweeps), 50):
            block = np.arange(start, min(start + 50, len(sweeps)))
            for name, values in rotate_effects(chain, block, effects, basis, scaling, sizes).items():
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
    arrays: dict[str, np.ndarray],
    stored: Sequence[Quantity],
    coords: dict[str, Any],
    lead: tuple[str, ...],
    attrs: dict[str, Any],
) -> Any:
    """An xarray Dataset of stored quantities, and what goes with them, with `lead` dimensions in front."""
    import xarray

    entries = {quantity.name: quantity for quantity in stored}
    variables = {}
    for name, values in arrays.items():
        base = name.removesuffix("_mean").removesuffix("_sd")
        if base in entries:
            front = () if base != name else lead
            about = {"meaning": entries[base].meaning, "unit": entries[base].unit.words}
            variables[name] = ((*front, *entries[base].dims), values, about)
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
