"""Where a chain of any engine is, as named arrays and plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

#: Draws of a chain, one after the other, by name.
Block = dict[str, np.ndarray]


class Snapshot(NamedTuple):
    """Where a chain is.

    Attributes
    ----------
    values : dict
        ``stage``, ``done``: its place; ``generator``: state of its random numbers, as of numpy.
    arrays : dict of arrays
        All else that its next moves follow from, such as parameters, imputed values, adaptation.
    """

    values: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Resumable(Protocol):
    """A chain that can be gone on with.

    Attributes
    ----------
    stage, done : its stage, and how far it is in that
    """

    stage: int
    done: int

    @property
    def drawn(self) -> int:
        """Draws that are complete."""
        ...

    def take(self) -> Snapshot:
        """Where it is."""
        ...

    def cut(self, first: int, last: int) -> Iterator[tuple[int, Block]]:
        """Draws first .. last - 1 in blocks: the number of draws in each, and the block."""
        ...

    def restore(self, snapshot: Snapshot, blocks: Iterable[Block]) -> None:
        """Go on from there, with the draws made so far; a ValueError says why they are not of such a chain."""
        ...


def fill_arrays(into: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Set arrays in place to those found by the same names.

    Raises
    ------
    ValueError
        If they are not of this chain.
    """
    if into.keys() != found.keys():
        raise ValueError(f"it has {', '.join(sorted(into.keys() ^ found.keys()))} too many or too few")
    for name, values in into.items():
        if values.shape != found[name].shape or values.dtype != found[name].dtype:
            raise ValueError(f"{name} is {found[name].dtype} {found[name].shape}, not {values.dtype} {values.shape}")
        values[...] = found[name]
