"""What a chain of a mixed model's posterior has drawn: a row for each draw, effects of some of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bmtme.engines.snapshots import Block, fill_arrays

#: What has a row for each draw, and what for each draw whose effects are kept.
ROWS = ("phi", "parameters", "log_density", "accepted", "steps", "diverging", "log_weights")
KEPT = ("fixed", "effects")


@dataclass(eq=False)
class Walked:
    """Draws of a chain.

    Attributes
    ----------
    phi : (draws, k) array
        As the chain walks.
    parameters : (draws, r) array
        As reported.
    log_density : (draws,) array
        Of phi, up to a constant.
    accepted : (draws,) array
        Acceptance probability of the move to each draw.
    steps : (draws,) array of int
        Evaluations that it took.
    diverging : (draws,) bool array
    log_weights : (draws,) array
        Of the proposals of independence Metropolis; zero of Hamiltonian moves.
    slots : (kept,) array of int
        Draws whose effects are kept, ascending.
    fixed : (kept, p) array
        Fixed effects of these, NaN of columns left out.
    effects : (kept, q) array
        Random effects, term after term.
    """

    phi: np.ndarray
    parameters: np.ndarray
    log_density: np.ndarray
    accepted: np.ndarray
    steps: np.ndarray
    diverging: np.ndarray
    log_weights: np.ndarray
    slots: np.ndarray
    fixed: np.ndarray
    effects: np.ndarray

    def __len__(self) -> int:
        return len(self.phi)

    @classmethod
    def allocate(cls, draws: int, slots: np.ndarray, k: int, r: int, p: int, q: int) -> Walked:
        """Room for so many draws of k coordinates, r parameters, p fixed and q random effects."""
        rows = {name: np.zeros(draws) for name in ROWS} | {"phi": np.zeros((draws, k))}
        rows |= {"parameters": np.zeros((draws, r)), "steps": np.zeros(draws, int), "diverging": np.zeros(draws, bool)}
        slots = np.asarray(slots, int)
        return cls(**rows, slots=slots, fixed=np.full((len(slots), p), np.nan), effects=np.zeros((len(slots), q)))

    def cut(self, first: int, last: int) -> Block:
        """Draws first .. last - 1, with the effects that are kept of them; views."""
        a, b = np.searchsorted(self.slots, [first, last])
        block = {name: getattr(self, name)[first:last] for name in ROWS}
        return block | {name: getattr(self, name)[a:b] for name in (*KEPT, "slots")}

    def paste(self, first: int, block: Block) -> int:
        """Write a block to the rows from `first` on; effects where both keep them. Returns the row after its last.

        Raises
        ------
        ValueError
            If it is no block of these draws, or lacks effects that are to be kept.
        """
        if block.keys() != {*ROWS, *KEPT, "slots"}:
            raise ValueError("it is no block of draws")
        last = first + len(block["phi"])
        if last > len(self):
            raise ValueError(f"it goes on to draw {last} of {len(self)}")
        fill_arrays({name: getattr(self, name)[first:last] for name in ROWS}, {name: block[name] for name in ROWS})
        a, b = np.searchsorted(self.slots, [first, last])
        wanted = np.isin(block["slots"], self.slots[a:b])
        if wanted.sum() < b - a:
            raise ValueError("it lacks effects that are to be kept")
        fill_arrays({name: getattr(self, name)[a:b] for name in KEPT}, {name: block[name][wanted] for name in KEPT})
        return last
