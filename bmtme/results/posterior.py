"""Draws to a labelled tree of groups: posterior, effects, sample_stats, observed_data, constant_data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from bmtme.engines.rotated.draws import Draws, cut_rows, walk_draws
from bmtme.mapped import SLAB, Allocate, release
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.scaling import Scaling
from bmtme.results.entries import Quantity
from bmtme.results.predictions import take_every
from bmtme.results.rows import untwin

#: Draws of the effects kept by keep_effects="thin", at most.
THINNED = 500
#: By dimension, from which places its entries are taken.
Places: TypeAlias = Mapping[str, np.ndarray]


def collect_draws(
    chains: Sequence[Draws], take: Callable[[Draws], np.ndarray], allocate: Allocate = np.zeros
) -> np.ndarray:
    """What is made of all draws, (chain, draw, ...), of some draws at a time.

    take : rows of a chain to (rows, ...)
    """
    shape = take(cut_rows(chains[0], slice(0, 1))).shape[1:]
    out = allocate((len(chains), len(chains[0].slot), *shape))
    for c, chain in enumerate(chains):
        for rows, part in walk_draws(chain, 8 * int(np.prod(shape))):
            out[c, rows] = take(part)
            release(out)
    return out


def collect_variables(
    chains: Sequence[Draws],
    stored: Sequence[Quantity],
    scaling: Scaling,
    traits: Mapping[str, np.ndarray],
    places: Places,
    allocate: Allocate = np.zeros,
) -> dict[str, np.ndarray]:
    """All draws of what is stored beside the effects, in the user's units, (chain, draw, ...).

    Parameters
    ----------
    stored : as of `bmtme.results.quantities.choose_stored`
    traits : places of the traits along the dimensions that go by trait, ``trait`` and ``cell``
    places : in which order the entries are shown, by dimension
    """

    def take(quantity: Quantity, part: Draws) -> np.ndarray:
        assert quantity.draws is not None
        along = traits.get(untwin(quantity.dims[-1]))
        units = scaling if along is None else scaling.take(along)
        return arrange(quantity.unit.restore(quantity.draws(part), units), quantity.dims, places)

    return {
        quantity.name: collect_draws(chains, partial(take, quantity), allocate)
        for quantity in stored
        if quantity.draws is not None and not quantity.is_effect
    }


def rotate_effects(
    chain: Draws,
    slots: slice,
    effects: Sequence[Quantity],
    basis: Eigenbasis,
    scaling: Scaling,
    sizes: Mapping[str, int],
    places: Places,
) -> dict[str, np.ndarray]:
    """Some kept draws of the effects, (draws, *dims), in the user's units.

    Parameters
    ----------
    sizes : of the dimensions but that of the lines
    places : in which order the entries are shown, by dimension
    """
    rotated = {}
    for quantity in effects:
        assert quantity.draws is not None
        rotate = basis.rotate_plain if quantity.name == "r" else basis.rotate_back
        values = rotate(quantity.draws(chain)[slots])
        values = values.reshape(len(values), *(sizes[dim] for dim in quantity.dims if dim != "line"), -1)
        values = np.moveaxis(values, -1, 1 + quantity.dims.index("line"))
        rotated[quantity.name] = arrange(quantity.unit.restore(values, scaling), quantity.dims, places)
    release(*chain)
    return rotated


def collect_effects(
    chains: Sequence[Draws],
    effects: Sequence[Quantity],
    basis: Eigenbasis,
    scaling: Scaling,
    sizes: Mapping[str, int],
    thin: bool,
    places: Places,
    allocate: Allocate = np.zeros,
) -> dict[str, np.ndarray]:
    """Effects for storage: all draws (chain, draw, ...), or the thinned group's mean, SD and draws.

    Thinned: ``b1`` (effect_draw, line, trait) with at most `THINNED` draws, ``b1_mean``, ``b1_sd`` over all kept
    draws, and the chain and draw each kept one came from.
    """
    of = effects, basis, scaling, sizes, places
    held: dict[str, np.ndarray] = {}
    if not thin:
        kept = len(chains[0].W2)
        largest = max(8 * int(np.prod(quantity.draws(chains[0]).shape[1:])) for quantity in effects if quantity.draws)
        step = max(1, SLAB // largest)
        for c, chain in enumerate(chains):
            for start in range(0, kept, step):
                some = slice(start, min(start + step, kept))
                for name, values in rotate_effects(chain, some, *of).items():
                    if name not in held:
                        held[name] = allocate((len(chains), kept, *values.shape[1:]))
                    held[name][c, some] = values
                    release(held[name])
        return held
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    count = done = 0
    sweeps = [np.flatnonzero(chain.slot >= 0) for chain in chains]
    wanted = [take_every(len(own), max(1, THINNED // len(chains))) for own in sweeps]
    for c, chain in enumerate(chains):
        for start in range(0, len(sweeps[c]), 50):
            block = np.arange(start, min(start + 50, len(sweeps[c])))
            chosen = np.isin(block, wanted[c])
            for name, values in rotate_effects(chain, slice(start, start + len(block)), *of).items():
                # Sums around zero: effects are centred there by the model, so that nothing cancels.
                sums[name] = sums.get(name, 0.0) + values.sum(axis=0)
                squares[name] = squares.get(name, 0.0) + (values**2).sum(axis=0)
                if name not in held:
                    held[name] = allocate((sum(map(len, wanted)), *values.shape[1:]))
                held[name][done : done + chosen.sum()] = values[chosen]
                release(held[name])
            count, done = count + len(block), done + int(chosen.sum())
    stored: dict[str, np.ndarray] = {
        "effect_chain": np.repeat(np.arange(len(chains)), [len(own) for own in wanted]),
        "effect_draw_index": np.concatenate([own[at] for own, at in zip(sweeps, wanted, strict=True)]),
    }
    for name in sums:
        mean = sums[name] / count
        stored[name] = held[name]
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


def arrange(values: np.ndarray, dims: Sequence[str], places: Places) -> np.ndarray:
    """Values (..., *dims) with the entries of these dimensions taken from these places."""
    for axis, dim in enumerate(dims, values.ndim - len(dims)):
        if dim in places and not np.array_equal(places[dim], np.arange(len(places[dim]))):
            values = values.take(places[dim], axis)
    return values


def arrange_dataset(dataset: Any, places: Places) -> Any:
    """The dataset with the entries of these dimensions taken from these places; those that it does not have, passed."""
    return dataset.isel({name: places[name] for name in dataset.sizes if name in places})


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
