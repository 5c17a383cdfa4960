"""Fits of one trait each as one: their posteriors joined along ``trait``, and taken apart again for the summary.

A model of one trait at a time has no covariance of two traits, so the joined posterior has no place for one. A matrix
of zeros off its diagonal would say that it is known to be zero; missing numbers there would spread into whatever is
computed of the matrix; and with a variable for each trait, nothing could be selected by name. So every variable has
the dimension ``trait`` once. A covariance of traits is the variance of each: ``Sigma_t (trait)``, ``R_e (trait)`` or
``(env, trait)``. What is shared by all traits in a model of several has a value for each: ``Sigma_E (env, env_bis,
trait)``, ``k (env, trait)``. The genetic covariance of a trait's columns is one of environments, ``C (env, env_bis,
trait)``, and whole: columns without a record are drawn given the others, as in ``genetic_variance``. So every number
has draws that ArviZ can judge. Missing are only the effects of lines without a record of the trait, which its fit does
not have. Of the groups beside, ``diverging (chain, draw)`` tells whether the move of any trait diverged.

Rows of the summary keep the names of a model of one trait, such as ``Sigma_t[Yield, Yield]``; those without a trait in
their name get it as the last one, ``k[E1, Yield]``. They are made by taking the joined posterior apart, so that they
are to the last digit those of the traits' own fits, also after a fit was loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.mapped import Allocate, release, walk_slabs
from bmtme.results import quantities
from bmtme.results.levels import COVARIATE, DIMS
from bmtme.results.notes import Values
from bmtme.results.rows import Labels, Row, derive_rows, list_values, untwin

#: Of which draws the effects were kept: the same for all traits.
SHARED = ("effect_chain", "effect_draw_index")
#: The word under which facts and other records of a run have an entry for each trait.
BY_TRAIT = "traits"


@dataclass(frozen=True)
class Entry:
    """A row of a summary, with what its notes are made of.

    Attributes
    ----------
    name : in the summary
    row : as of the trait's own fit where traits are fitted one at a time
    facts, values : of the same
    """

    name: str
    row: Row
    facts: Mapping[str, Any]
    values: Values


def list_entries(posterior: Any, facts: Mapping[str, Any]) -> list[Entry]:
    """The rows of a posterior in the order of the register, with traits fitted one at a time side by side.

    Parameters
    ----------
    posterior : xarray.Dataset
    facts : as of `bmtme.collection.find_facts`, or by trait under `BY_TRAIT`
    """
    return sorted(walk_entries(posterior, facts), key=rank_entry)


def walk_entries(posterior: Any, facts: Mapping[str, Any]) -> Iterator[Entry]:
    """The same one by one, which needs no memory for all of them; trait by trait, where they are fitted so."""
    if BY_TRAIT not in facts:
        values, labels = list_values(posterior)
        for row in derive_rows(values, labels, facts["spread"]):
            yield Entry(row.name, row, facts, values)
        return
    for l, (trait, own) in enumerate(facts[BY_TRAIT].items()):
        values, labels = take_trait(posterior, l, np.array(own["recorded"], bool)[:, 0])
        for row in derive_rows(values, labels, own["spread"]):
            yield Entry(name_entry(row, trait), row, own, values)


def rank_entry(entry: Entry) -> tuple[int, tuple[int, ...]]:
    """Traits beside each other in a place; of pairs of columns, trait by trait, as they stand."""
    quantity = entry.row.quantity
    order = next(k for k, each in enumerate(quantities.QUANTITIES) if each is quantity)
    return order, () if "cell" in quantity.dims else entry.row.places


def name_entry(row: Row, trait: str) -> str:
    """The name of a row of one trait's fit among those of others."""
    named = any(untwin(dim) in ("trait", "cell") for dim in row.quantity.dims)
    return row.name if named else f"{row.name.removesuffix(']')}, {trait}]"


def join_dims(dims: Sequence[str]) -> tuple[str, ...]:
    """Dimensions of a quantity where traits are fitted one at a time."""
    kept = tuple(dim.replace("cell", "env") for dim in dims if dim != "trait_bis")
    return kept if "trait" in kept else (*kept, "trait")


def take_trait(posterior: Any, l: int, recorded: np.ndarray) -> tuple[dict[str, np.ndarray], Labels]:
    """Arrays and labels of a trait's own fit, as of `list_values`, from a joined posterior.

    recorded : (I,) bool, whether the trait has a record in the environment
    """
    trait = str(posterior["trait"].values[l])
    envs = [str(env) for env in posterior["env"].values]
    cells = [f"{envs[i]} x {trait}" for i in np.flatnonzero(recorded)]
    arrays = {}
    for name, array in posterior.data_vars.items():
        if "line" in array.dims:
            continue
        dims = next(q.dims for q in quantities.QUANTITIES if q.name == name and join_dims(q.dims) == array.dims[2:])
        values = array.isel(trait=l).values
        if "cell" in dims:
            values = values[..., recorded, :][..., recorded]
        alone = tuple(axis for axis, dim in enumerate(dims, 2) if untwin(dim) == "trait")
        arrays[str(name)] = np.expand_dims(values, alone)
    others = {
        dim: [str(name) for name in posterior[dim].values]
        for dim in (*DIMS, "factor", COVARIATE)
        if dim in posterior.dims
    }
    return arrays, {"env": envs, "trait": [trait], "cell": cells, **others}


def join_groups(
    parts: Mapping[str, Mapping[str, Any]], lines: Sequence[str], allocate: Allocate = np.zeros
) -> dict[str, Any]:
    """Groups of one fit from those of each trait's own, by trait.

    Parameters
    ----------
    parts : groups as of `bmtme.collection.collect`, with C over all columns; observed data are left to the caller
    lines : all that have a record of some trait, as they are shown
    allocate : makes what grows with the draws
    """
    names = [name for name in next(iter(parts.values())) if name != "observed_data"]
    return {
        name: join_datasets({trait: groups[name] for trait, groups in parts.items()}, lines, allocate) for name in names
    }


def join_datasets(parts: Mapping[str, Any], lines: Sequence[str], allocate: Allocate) -> Any:
    """One Dataset of those of each trait."""
    import xarray

    first = next(iter(parts.values()))
    joined: dict[str, Any] = {}
    for name, array in first.data_vars.items():
        if name in SHARED:
            joined[name] = array.dims, array.values, array.attrs
        elif name == "diverging":  # which ArviZ marks as (chain, draw)
            joined[name] = array.dims, np.any([part[name].values for part in parts.values()], axis=0), array.attrs
        else:
            dims = join_dims(array.dims)
            columns = [lay_out(part[name]) for part in parts.values()]
            own = [part["line"].values.tolist() if "line" in dims else [] for part in parts.values()]
            columns = columns if "line" in dims else list(level(columns))
            joined[name] = dims, join_columns(columns, dims, own, lines, allocate), describe_joined(array)
    coords: dict[str, Any] = {str(name): first[name].values for name in first.coords}
    coords |= {"trait": list(parts), "line": list(lines)}
    if "env" in coords:
        coords["env_bis"] = coords["env"]
    used = {dim for dims, *_ in joined.values() for dim in dims}
    return xarray.Dataset(joined, {name: values for name, values in coords.items() if name in used}, first.attrs)


def join_columns(
    columns: Sequence[np.ndarray],
    dims: Sequence[str],
    own_lines: Sequence[Sequence[str]],
    lines: Sequence[str],
    allocate: Allocate,
) -> np.ndarray:
    """The traits' numbers along ``trait``, missing for lines that a trait's own fit does not have.

    own_lines : lines of each trait's own fit, empty where the numbers are not of lines
    """
    axis = dims.index("trait")
    if columns[0].dtype != float:
        return np.concatenate(columns, axis)
    place = {name: j for j, name in enumerate(lines)}
    rest = [dim for dim in dims if dim != "trait"]
    shape = [len(lines) if dim == "line" else size for dim, size in zip(dims, columns[0].shape, strict=True)]
    shape[axis] = len(columns)
    out, lead = allocate(tuple(shape)), sum(dim in ("chain", "draw", "effect_draw") for dim in dims)
    for l, (column, names) in enumerate(zip(columns, own_lines, strict=True)):
        into, given = np.moveaxis(out, axis, 0)[l, ...], column.squeeze(axis)
        for slab in walk_slabs(into.shape, lead) if lead else [...]:
            here, values = into[slab], given[slab]
            if "line" in rest:
                here[...] = np.nan
                at = rest.index("line") - len(rest)
                here, values = np.moveaxis(here, at, 0), np.moveaxis(values, at, 0)
                here[[place[name] for name in names]] = values
            else:
                here[...] = values
            release(out, column)
    return out


def lay_out(array: Any) -> np.ndarray:
    """A trait's numbers with the dimensions of `join_dims`."""
    if "trait_bis" in array.dims:
        array = array.isel(trait_bis=0)
    return np.asarray(array.values if "trait" in array.dims else array.values[..., None])


def level(columns: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Arrays of one size: traits may have eigenvalues in different numbers, those that there are not are missing."""
    most = max(len(column) for column in columns)
    if all(len(column) == most for column in columns):
        return columns
    return [np.concatenate([column, np.full((most - len(column), *column.shape[1:]), np.nan)]) for column in columns]


def describe_joined(array: Any) -> dict[str, Any]:
    """Attributes of a variable, which say what a covariance of traits has become."""
    attrs = dict(array.attrs)
    if "trait_bis" in array.dims:
        attrs["meaning"] += "; here the variance of each, as traits were fitted one at a time"
    return attrs
