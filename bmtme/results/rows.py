"""Rows of a summary: the entries of the register's quantities, with their draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from bmtme.results import quantities
from bmtme.results.entries import Quantity
from bmtme.results.notes import Values

Labels = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Row:
    """One entry of a quantity.

    Attributes
    ----------
    name : such as ``Sigma_t[Yield, ASI]``
    quantity : its entry in the register
    places : along the dims of the quantity
    draws : (chain, draw)
    """

    name: str
    quantity: Quantity
    places: tuple[int, ...]
    draws: np.ndarray

    def at(self, dim: str) -> tuple[int, ...]:
        """Its places along a dimension and its twin; empty if it has no such dimension."""
        return tuple(k for k, own in zip(self.places, self.quantity.dims, strict=True) if untwin(own) == dim)

    @property
    def is_pair(self) -> bool:
        """Whether it is of two different traits (environments, cells): off a diagonal."""
        return any(len(set(self.at(untwin(dim)))) > 1 for dim in self.quantity.dims)


def untwin(dim: str) -> str:
    """``trait`` of ``trait_bis``."""
    return dim.removesuffix("_bis")


def name_row(quantity: Quantity, *labels: str) -> str:
    """The name of a row of the summary."""
    return f"{quantity.name}[{', '.join(labels)}]"


def list_values(posterior: Any) -> tuple[dict[str, np.ndarray], Labels]:
    """Arrays (chain, draw, ...) of a posterior by name, effects left out, and the labels of its dimensions."""
    values = {str(name): array.values for name, array in posterior.data_vars.items() if "line" not in array.dims}
    return values, {str(dim): [str(label) for label in posterior[dim].values] for dim in posterior.sizes}


def work_out(quantity: Quantity, values: Values, spread: float, lead: int = 2) -> np.ndarray | None:
    """Array (..., *dims) of a quantity; None where it cannot be told from the values.

    Parameters
    ----------
    values : arrays (..., *dims) of stored quantities
    spread : expected sample variance of the lines' effects per unit of their covariance
    lead : number of dimensions in front, chain and draw as a rule
    """
    needed = quantity.needs if quantity.derive is not None else (quantity,)
    if any(need.name not in values or values[need.name].ndim != lead + len(need.dims) for need in needed):
        return None
    return values[quantity.name] if quantity.derive is None else quantity.derive(values, spread)


def find_quantity(name: str, values: Values, lead: int = 2) -> Quantity:
    """The entry of this name; of several, the first that the values give; parameters as of `work_out`."""
    return next(
        quantity
        for quantity in quantities.QUANTITIES
        if quantity.name == name and work_out(quantity, values, 1.0, lead) is not None
    )


def derive_rows(values: Values, labels: Labels, spread: float) -> Iterator[Row]:
    """Every row that the values give, in the order of the register; parameters as of `work_out`.

    Of several entries with one name and the same dimensions, the first that can be told.
    """
    told = set()
    for quantity in quantities.QUANTITIES:
        key = quantity.name, quantity.dims
        array = work_out(quantity, values, spread) if quantity.listed and key not in told else None
        if array is None:
            continue
        told.add(key)
        names = [labels[untwin(dim)] for dim in quantity.dims]
        for places in product(*(range(len(each)) for each in names)):
            name = name_row(quantity, *(each[k] for each, k in zip(names, places, strict=True)))
            index: tuple[Any, ...] = (..., *places)
            row = Row(name, quantity, places, array[index])
            if is_listed(row):
                yield row


def is_listed(row: Row) -> bool:
    """Not below a diagonal, nor on it where that says nothing; off it, and of what is sparse, if anything but zero."""
    dims = row.quantity.dims
    twins = [(row.places[dims.index(untwin(dim))], row.places[k]) for k, dim in enumerate(dims) if dim != untwin(dim)]
    if any(first > second for first, second in twins):
        return False
    if any(first != second for first, second in twins):
        return bool(np.any(row.draws != 0))
    if row.quantity.sparse and not np.any(row.draws != 0):
        return False
    return row.quantity.diagonal or not twins
