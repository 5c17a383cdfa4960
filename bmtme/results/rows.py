"""Rows of a summary: the entries of the register's quantities, with their draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from bmtme.mapped import SLAB, release
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


def is_told(quantity: Quantity, values: Values, lead: int = 2) -> bool:
    """Whether a quantity can be told from the values; parameters as of `work_out`."""
    needed = quantity.needs if quantity.derive is not None else (quantity,)
    return all(need.name in values and values[need.name].ndim == lead + len(need.dims) for need in needed)


def work_out(quantity: Quantity, values: Values, spread: float, lead: int = 2) -> np.ndarray | None:
    """Array (..., *dims) of a quantity; None where it cannot be told from the values.

    Parameters
    ----------
    values : arrays (..., *dims) of stored quantities
    spread : expected sample variance of the lines' effects per unit of their covariance
    lead : number of dimensions in front, chain and draw as a rule
    """
    if not is_told(quantity, values, lead):
        return None
    return values[quantity.name] if quantity.derive is None else quantity.derive(values, spread)


def gather_rows(quantity: Quantity, values: Values, spread: float, places: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Draws (row, chain, draw) of some entries of a quantity, of which no more is worked out at a time than a slab."""
    chains, n = next(iter(values.values())).shape[:2]
    out = np.empty((len(places), chains, n))
    index: tuple[Any, ...] = (..., *np.array(places).T)
    step = max(1, SLAB // max(array[:, :1].nbytes for array in values.values()))
    for start in range(0, n, step):
        some = slice(start, start + step)
        whole = work_out(quantity, {name: array[:, some] for name, array in values.items()}, spread)
        assert whole is not None, quantity.name
        out[:, :, some] = np.moveaxis(whole[index], -1, 0)
        release(*values.values())
    return out


def find_quantity(name: str, values: Values, lead: int = 2) -> Quantity:
    """The entry of this name; of several, the first that the values give; parameters as of `work_out`."""
    return next(
        quantity
        for quantity in quantities.QUANTITIES
        if quantity.name == name and work_out(quantity, values, 1.0, lead) is not None
    )


def derive_rows(values: Values, labels: Labels, spread: float) -> Iterator[Row]:
    """Every row that the values give, in the order of the register; parameters as of `work_out`.

    Of several entries with one name and the same dimensions, the first that can be told. Of many draws, no more rows
    than `SLAB` holds are there at a time, so that who takes them one by one needs no memory for all.
    """
    told = set()
    for quantity in quantities.QUANTITIES:
        key = quantity.name, quantity.dims
        if not quantity.listed or key in told or not is_told(quantity, values):
            continue
        told.add(key)
        names = [labels[untwin(dim)] for dim in quantity.dims]
        places = [each for each in product(*(range(len(own)) for own in names)) if has_place(quantity, each)]
        step = max(1, SLAB // (8 * int(np.prod(next(iter(values.values())).shape[:2]))))
        for start in range(0, len(places), step):
            some = places[start : start + step]
            for each, draws in zip(some, gather_rows(quantity, values, spread, some), strict=True):
                name = name_row(quantity, *(own[k] for k, own in zip(each, names, strict=True)))
                row = Row(name, quantity, each, draws)
                if (quantity.sparse or row.is_pair) and not np.any(draws != 0):
                    continue
                yield row


def has_place(quantity: Quantity, places: tuple[int, ...]) -> bool:
    """Not below a diagonal, nor on it where that says nothing."""
    dims = quantity.dims
    twins = [(places[dims.index(untwin(dim))], places[k]) for k, dim in enumerate(dims) if dim != untwin(dim)]
    if any(first > second for first, second in twins):
        return False
    return quantity.diagonal or not twins or any(first != second for first, second in twins)
