"""The state of a chain as named arrays and plain values, from which it goes on bit for bit, and blocks of its draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bmtme.engines.rotated.draws import KEPT, ROWS, SUMS, Draws, allocate_draws
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.state import State
from bmtme.engines.snapshots import fill_arrays
from bmtme.mapped import Allocate, release

#: Bytes of a block of draws, about.
BLOCK = 2**26


def list_arrays(name: str, record: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a record, and of those in it, by name."""
    for field in record._fields:
        value = getattr(record, field)
        if isinstance(value, np.ndarray):
            yield f"{name}.{field}", value
        elif hasattr(value, "_fields"):
            yield from list_arrays(f"{name}.{field}", value)


def list_state(p: Problem, s: State) -> dict[str, np.ndarray]:
    """Those of a state, but for data of the problem that nothing moves."""
    constant = {f"state.{name}" for name in ("fixed", "cell_mean", "within") if getattr(s, name) is getattr(p, name)}
    return {name: values for name, values in list_arrays("state", s) if name not in constant}


def cut_draws(draws: Draws, first: int, last: int) -> dict[str, np.ndarray]:
    """Draws first .. last - 1 as a block of their own, with the effects that are kept of them; views."""
    slot = draws.slot[first:last]
    places = slot[slot >= 0]
    block = {name: getattr(draws, name)[first:last] for name in ROWS}
    block |= {name: getattr(draws, name)[places[0] : places[-1] + 1] if len(places) else getattr(draws, name)[:0]
              for name in KEPT}  # fmt: skip
    return block | {"slot": np.where(slot >= 0, slot - (places[0] if len(places) else 0), -1)}


def cut_blocks(draws: Draws, first: int, last: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The same in blocks of about `BLOCK` bytes at most: the number of draws in each, and the block."""
    whole = sum(array.nbytes for array in cut_draws(draws, first, last).values())
    step = max(1, (last - first) * BLOCK // max(whole, BLOCK))
    for start in range(first, last, step):
        end = min(start + step, last)
        yield end - start, cut_draws(draws, start, end)
        release(*draws)


def paste_draws(draws: Draws, first: int, block: dict[str, np.ndarray]) -> int:
    """Write a block to the rows from `first` on; effects where both keep them. Returns the row after its last.

    Raises
    ------
    ValueError
        If it is no block of these draws, or lacks effects that are to be kept.
    """
    if block.keys() != {*ROWS, *KEPT, "slot"}:
        raise ValueError("it is no block of draws")
    slot = block["slot"]
    last = first + len(slot)
    if last > len(draws.slot):
        raise ValueError(f"it goes on to draw {last} of {len(draws.slot)}")
    fill_arrays({name: getattr(draws, name)[first:last] for name in ROWS}, {name: block[name] for name in ROWS})
    wanted = draws.slot[first:last]
    kept = wanted >= 0
    if (slot[kept] < 0).any():
        raise ValueError("it lacks effects that are to be kept")
    for name in KEPT:
        getattr(draws, name)[wanted[kept]] = block[name][slot[kept]]
    release(*draws)
    return last


def lengthen(p: Problem, draws: Draws, done: int, slots: np.ndarray, allocate: Allocate = np.zeros) -> Draws:
    """Room for len(slots) draws, of which the first `done` are there; effects are kept where `slots` says.

    Raises
    ------
    ValueError
        If effects are to be kept of a draw that were not.
    """
    longer, row = allocate_draws(p, len(slots), slots, draws.track, allocate), 0
    for _, block in cut_blocks(draws, 0, done):
        row = paste_draws(longer, row, block)
    for name in SUMS:
        getattr(longer, name)[:] = getattr(draws, name)
    return longer
