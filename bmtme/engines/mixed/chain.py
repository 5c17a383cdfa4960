"""A chain of a mixed model's posterior, whatever its moves: run, stopped, gone on with, given more draws."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bmtme.engines.mixed.draws import ROWS, Walked
from bmtme.engines.mixed.equations import Evaluation
from bmtme.engines.mixed.posterior import Proposal, Target
from bmtme.engines.mixed.trades import Trades
from bmtme.engines.snapshots import Block, Snapshot, fill_arrays

#: Draws that wait for their effects at most, which share the factor of the equations where the chain stays.
AT_ONCE = 64
#: Of the streams of a chain: its Hamiltonian moves, its effects.
MOVES, EFFECTS = 0, 1


class Halted(Exception):
    """A move was asked to stop on its way."""


class Chain:
    """One chain: its own stream of random numbers, equations and draws.

    Parameters
    ----------
    target : Target
        Of this chain alone: `Target.fork`.
    proposal : Proposal
    draws : int
    slots : (kept,) array of int
        Draws whose effects are kept, ascending.
    seed : numpy.random.SeedSequence
    keep : told the chain after each move, and whether it ends there: it may `take` it

    Attributes
    ----------
    here : array or Evaluation
        Its place; replaced by each move, never changed.
    stage, done : int
        0 in the moves before those that count, 1 in these; and moves of the stage.
    drawn : int
        Draws that have their effects.

    Notes
    -----
    The effects of a draw come from a stream of their own, known by the chain's seed and the number of the draw: they
    are the same whichever other ones are kept, and however long the chain is.
    """

    #: Moves before those that count.
    tune = 0
    here: Any

    def __init__(
        self,
        target: Target,
        proposal: Proposal,
        draws: int,
        slots: np.ndarray,
        seed: np.random.SeedSequence,
        keep: Callable[[Chain, bool], None] | None = None,
    ) -> None:
        self.target, self.proposal, self.seed, self.keep = target, proposal, seed, keep
        self.rng = np.random.default_rng(seed)
        self.trades = Trades(target.blocks)
        self.draws = self._allocate(draws, slots)
        self.stage = self.done = self.drawn = 0
        self._stop = threading.Event()

    def _allocate(self, draws: int, slots: np.ndarray) -> Walked:
        target = self.target
        problem = target.equations.problem
        q = int(target.equations.offsets[-1]) - problem.rank
        return Walked.allocate(draws, slots, target.count, len(target.report(self.proposal.mode)), problem.p, q)

    # --- running ------------------------------------------------------------------------------------------------

    @property
    def lengths(self) -> tuple[int, int]:
        """Moves of each stage."""
        return self.tune, len(self.draws)

    @property
    def sweeps(self) -> int:
        """Moves of all stages."""
        return sum(self.lengths)

    @property
    def swept(self) -> int:
        """Moves that it has made."""
        return self.done + (self.tune if self.stage else 0)

    def advance(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """Run the chain to its end, or until `stop` is set; `report` is told what is done of `sweeps`."""
        if self.stage == 0 and self._run(report, stop):
            self.stage, self.done = 1, 0
        if self.stage == 1:
            self._run(report, stop)
        if self.keep is not None:
            self.keep(self, True)

    def warm_up(self, report: Callable[[int], None], stop: threading.Event) -> None:
        """The same of the moves before those that count."""
        if self.stage == 0:
            self._run(report, stop)
        if self.keep is not None:
            self.keep(self, True)

    def _run(self, report: Callable[[int], None], stop: threading.Event) -> bool:
        """Make the moves of the stage that are left; False where it was stopped before."""
        self._stop = stop
        move = self._move if self.stage else self._tune
        length = self.lengths[self.stage]
        while self.done < length and not stop.is_set():
            if not self._try(move, self.done):
                break
            self.done += 1
            if self.stage and self.done - self.drawn >= AT_ONCE:
                self._complete()
            report(self.swept)
            if self.keep is not None:
                self.keep(self, False)
        if self.stage and self.done == length:
            self._complete()
        return self.done == length

    def _try(self, move: Callable[[int], None], t: int) -> bool:
        """Make a move; where it is stopped on its way, all is as before it."""
        here, generator, evaluations = self.here, self.rng.bit_generator.state, self.target.evaluations
        try:
            move(t)
        except Halted:
            self.here, self.rng.bit_generator.state, self.target.evaluations = here, generator, evaluations
            return False
        return True

    def _evaluate(self, phi: np.ndarray, order: int) -> Evaluation:
        """The density, unless the chain is to stop."""
        if self._stop.is_set():
            raise Halted
        return self.target.evaluate(phi, order)

    def _tune(self, t: int) -> None:
        """A move before those that count."""
        raise NotImplementedError

    def _move(self, t: int) -> None:
        """The move to a draw."""
        raise NotImplementedError

    def _complete(self) -> None:
        """Parameters and effects of the draws that lack them; the equations are factored once where the chain stays."""
        draws, target = self.draws, self.target
        phi = draws.phi[self.drawn : self.done]
        moved = np.flatnonzero((phi[1:] != phi[:-1]).any(axis=1)) + 1 + self.drawn
        for end in (*moved, self.done):
            begin = self.drawn
            if begin == end or self._stop.is_set():
                return
            phi = target.turn(draws.phi[begin], self.proposal.mode)
            draws.phi[begin:end] = phi
            draws.parameters[begin:end] = target.report(phi)
            a, b = np.searchsorted(draws.slots, [begin, end])
            if a < b:
                self._draw_effects(phi, a, b)
            self.drawn = end

    def _draw_effects(self, phi: np.ndarray, a: int, b: int) -> None:
        """Those of some of the draws that are kept, of one phi."""
        equations, draws = self.target.equations, self.draws
        z = np.empty((equations.n, b - a))
        for k, draw in enumerate(draws.slots[a:b].tolist()):
            own = np.random.SeedSequence(self.seed.entropy, spawn_key=(*self.seed.spawn_key, EFFECTS, draw))
            z[:, k] = np.random.default_rng(own).standard_normal(equations.n)
        for place, solution in zip(range(a, b), self.target.draw(phi, z).T, strict=True):
            draws.fixed[place], effects = equations.find_effects(solution)
            draws.effects[place] = np.concatenate([*effects, np.zeros(0)])

    # --- going on -----------------------------------------------------------------------------------------------

    def _list_place(self) -> dict[str, np.ndarray]:
        """Where the chain is, and its adaptation: all that moves follow from, beside the random numbers."""
        raise NotImplementedError

    def _set_place(self, arrays: dict[str, np.ndarray]) -> None:
        """Put it there."""
        raise NotImplementedError

    def take(self) -> Snapshot:
        """Where the chain is, from which another one made alike goes on as this one would."""
        values = {
            "stage": self.stage, "done": self.done, "drawn": self.drawn,
            "evaluations": self.target.evaluations, "generator": self.rng.bit_generator.state,
        }  # fmt: skip
        return Snapshot(values, self._list_place() | self._list_rows())

    def _list_rows(self) -> dict[str, np.ndarray]:
        """Draws that lack their effects."""
        made = self.done if self.stage else 0
        return {f"draws.{name}": getattr(self.draws, name)[self.drawn : made] for name in ROWS}

    def cut(self, first: int, last: int) -> Iterator[tuple[int, Block]]:
        """Draws first .. last - 1 in one block, as of `Walked.cut`."""
        if last > first:
            yield last - first, self.draws.cut(first, last)

    def restore(self, snapshot: Snapshot, blocks: Iterable[Block]) -> None:
        """Go on from there, with blocks of the draws made so far.

        Raises
        ------
        ValueError
            If they are not of such a chain.
        """
        stage, done, drawn = (snapshot.values[name] for name in ("stage", "done", "drawn"))
        if stage not in (0, 1) or not 0 <= drawn <= done <= self.lengths[stage]:
            raise ValueError(f"it is at move {done} of stage {stage}")
        self.stage, self.done, self.drawn = stage, done, drawn
        place = {name: values.copy() for name, values in self._list_place().items()}
        fill_arrays(place | self._list_rows(), snapshot.arrays)
        self._set_place(place)
        self.rng.bit_generator.state = snapshot.values["generator"]
        self.target.evaluations = snapshot.values["evaluations"]
        row = 0
        for block in blocks:
            row = self.draws.paste(row, block)
        if row != drawn:
            raise ValueError(f"its draws are {row}, not {drawn}")

    def lengthen(self, draws: int, slots: np.ndarray) -> None:
        """Ask for more draws; effects that were kept and are no longer wanted go."""
        before, self.draws = self.draws, self._allocate(draws, slots)
        self.draws.paste(0, before.cut(0, self.drawn))
