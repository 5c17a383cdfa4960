"""Chains that go on until their draws suffice: looked at after each round, and asked for more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bmtme.collection import collect, find_facts
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode, share_draws
from bmtme.engines.rotated.problem import Problem
from bmtme.mapped import Allocate
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
    until : Until
    began : when the run began, by `time.perf_counter`
    summarise : makes summaries of what chains have drawn
    is_stuck : whether they stay in different explanations of the data

    Attributes
    ----------
    ended : str
        What ended it, empty before; see `bmtme.sufficiency.describe`.
    """

    def __init__(
        self,
        until: Until,
        began: float,
        summarise: Callable[[Any], Sequence[pd.DataFrame]],
        is_stuck: Callable[[Any], bool] = lambda sampled: False,
    ) -> None:
        self.until, self.began, self.summarise, self.is_stuck, self.ended = until, began, summarise, is_stuck, ""
        self._last: tuple[Reached, int, float] | None = None

    def plan(self, sampled: Any, draws: int, each: float) -> int:
        """Draws of each chain to go on to; as many as there are where it has ended.

        each : seconds a draw of all chains
        """
        with threadpool_limits(1):
            reached = Reached.of(self.summarise(sampled))
        self._last = reached, draws, each
        limit = math.inf if self.until.time_limit is None else self.until.time_limit
        wanted = plan_step(reached, self.until, draws, limit - (time.perf_counter() - self.began), each)
        if reached.suffices(self.until):
            self.end("enough")
        elif draws >= STUCK and self.is_stuck(sampled):
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


class Looks:
    """What a `Judge` of a fit looks at.

    Parameters
    ----------
    sets, built, modes : of the fit
    allocate : makes what grows with the draws
    """

    def __init__(
        self,
        sets: Sequence[TraitSet],
        built: Sequence[tuple[Problem, Scaling]],
        modes: Sequence[list[Mode]],
        allocate: Allocate = np.zeros,
    ) -> None:
        self.sets, self.built, self.modes, self.allocate = sets, built, modes, allocate
        self._facts: list[dict[str, Any]] = []

    def summarise(self, sampled: Sequence[list[Draws]]) -> list[pd.DataFrame]:
        """The summary of each set."""
        summaries = []
        for k, (own, (problem, scaling), drawn) in enumerate(zip(self.sets, self.built, sampled, strict=True)):
            columns = np.ones_like(own.prepared.layout.recorded) if own.trait else None
            of = own.prepared, own.model, problem, scaling
            posterior = collect(*of, drawn, "none", columns, allocate=self.allocate)["posterior"]
            if len(self._facts) == k:  # what it says of the prior need not be looked for anew
                self._facts.append(find_facts(*of, posterior))
            summaries.append(summarise_posterior(posterior, self._facts[k]))
        return summaries

    def is_stuck(self, sampled: Sequence[list[Draws]]) -> bool:
        """Whether chains of a set stay in modes of their own."""
        return any(
            bool(problem.native and list_stuck(share_draws(modes, drawn).T))
            for (problem, _), modes, drawn in zip(self.built, self.modes, sampled, strict=True)
        )
