"""Chains that go on until their draws suffice: looked at after each round, and asked for more."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.collection import collect, find_facts
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode, share_draws
from bmtme.engines.rotated.problem import Problem
from bmtme.model.scaling import Scaling
from bmtme.results.convergence import list_stuck
from bmtme.results.summary import summarise_posterior
from bmtme.sufficiency import MOST, Reached, Until, describe, plan_step
from bmtme.trait_sets import TraitSet

#: Draws of a chain from which on modes that it does not leave are taken for such.
STUCK = 2000


class Judge:
    """Whether draws suffice, and how many more are asked for.

    Parameters
    ----------
    until, sets, built, modes : of the fit
    began : when the fit began, by `time.perf_counter`

    Attributes
    ----------
    ended : str
        What ended it, empty before; see `bmtme.sufficiency.describe`.
    """

    def __init__(
        self,
        until: Until,
        sets: Sequence[TraitSet],
        built: Sequence[tuple[Problem, Scaling]],
        modes: Sequence[list[Mode]],
        began: float,
    ) -> None:
        self.until, self.sets, self.built, self.modes = until, sets, built, modes
        self.began, self.ended = began, ""
        self._facts: list[dict[str, Any]] = []
        self._last: tuple[Reached, int, float] | None = None

    def plan(self, sampled: Sequence[list[Draws]], draws: int, each: float) -> int:
        """Draws of each chain to go on to; as many as there are where it has ended.

        each : seconds a draw of all chains
        """
        reached = self._measure(sampled)
        self._last = reached, draws, each
        limit = math.inf if self.until.time_limit is None else self.until.time_limit
        wanted = plan_step(reached, self.until, draws, limit - (time.perf_counter() - self.began), each)
        if reached.suffices(self.until):
            self.end("enough")
        elif draws >= STUCK and any(
            self._is_stuck(*each) for each in zip(self.built, self.modes, sampled, strict=True)
        ):
            self.end("explanations")
        elif self.until.extended:
            self.end("most" if draws >= MOST else "extended")
        elif wanted <= draws:
            self.end("most" if draws >= MOST else "time")
        return draws if self.ended else wanted

    def end(self, why: str) -> None:
        """Go on no further."""
        self.ended = why

    @property
    def verdict(self) -> dict[str, Any]:
        """For the record of the run."""
        assert self._last is not None
        reached, draws, each = self._last
        return describe(reached, self.until, draws, each, self.ended)

    def _measure(self, sampled: Sequence[list[Draws]]) -> Reached:
        summaries = []
        with threadpool_limits(1):
            for k, (own, (problem, scaling), drawn) in enumerate(zip(self.sets, self.built, sampled, strict=True)):
                columns = np.ones_like(own.prepared.layout.recorded) if own.trait else None
                posterior = collect(own.prepared, own.model, problem, scaling, drawn, "none", columns)["posterior"]
                if len(self._facts) == k:  # what it says of the prior need not be looked for anew
                    self._facts.append(find_facts(own.prepared, own.model, problem, scaling, posterior))
                summaries.append(summarise_posterior(posterior, self._facts[k]))
        return Reached.of(summaries)

    @staticmethod
    def _is_stuck(built: tuple[Problem, Scaling], modes: list[Mode], drawn: list[Draws]) -> bool:
        return bool(built[0].native and list_stuck(share_draws(modes, drawn).T))
