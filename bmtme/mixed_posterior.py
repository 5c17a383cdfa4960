"""The posterior of a mixed model: what is asked for, all that its numbers follow from, and how it is computed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import check_memory, is_one_of, show, whole_number
from bmtme.choices import AUTO, KEEP
from bmtme.collection import ATTRS
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.relationship.pedigree import PedigreeInverse
from bmtme.data.tables.files import Table
from bmtme.errors import UsageError
from bmtme.machine import count_cores, describe_machine, find_versions
from bmtme.model.mixed.design import lay_out
from bmtme.model.mixed.fixed import Fixed, parse_fixed
from bmtme.model.mixed.known import read_known
from bmtme.model.mixed.plots import Plots
from bmtme.model.mixed.priors import Prior, choose_priors, describe_prior, find_scales
from bmtme.model.mixed.terms import Random, Residual
from bmtme.results.checkpoint import Checkpoint, keep_checkpoint
from bmtme.results.mixed.asked import NOTHING, Asked
from bmtme.results.mixed.digest import count_contrasts, summarise
from bmtme.results.mixed.fit import MixedFit
from bmtme.results.mixed.groups import collect_groups, name_component
from bmtme.results.mixed.heritability import record_ratios
from bmtme.results.mixed.posterior import MixedPosterior
from bmtme.results.mixed.sample import make_target, sample_posterior
from bmtme.results.mixed.search import find_estimates
from bmtme.results.posterior import THINNED
from bmtme.results.predictions import take_every
from bmtme.results.record import BEFORE
from bmtme.results.summary import GOOD_ESS
from bmtme.rounds import Judge
from bmtme.sampling import choose_keep, spawn_seeds, warn_short
from bmtme.sufficiency import FIRST, MOST, Until

if TYPE_CHECKING:
    from bmtme.engines.mixed.draws import Walked
    from bmtme.engines.mixed.equations import Equations
    from bmtme.engines.mixed.reml import Climb

__all__ = ["PosteriorRequest", "compute_posterior"]

#: Of a checkpoint: how the search for the estimates ended.
ESTIMATES = "estimates"


@dataclass(frozen=True)
class PosteriorRequest:
    """All that the numbers follow from, checked. `until` where draws are to suffice.

    Attributes
    ----------
    fixed : str
    random : Random
    residual : Residual
    known : dict of Relationship or PedigreeInverse
    plots : Table
    weights, prior, draws, chains, seed, keep_effects
        As of `bmtme.mixed.Model.posterior`.
    asked : Asked
        What is made of the draws besides.
    until : Until or None
    """

    fixed: str
    random: Random
    residual: Residual
    known: dict[str, Relationship | PedigreeInverse]
    plots: Table
    weights: str | None
    prior: Prior | dict[str, Prior] | None
    draws: int
    chains: int
    seed: int
    keep_effects: str
    asked: Asked = NOTHING
    until: Until | None = None

    @classmethod
    def checked(
        cls, fixed: Fixed, random: Random, residual: Residual, known: Mapping[str, Any], plots: Any,
        weights: Any = None, prior: Any = None, draws: Any = 2000, chains: Any = 4, seed: Any = 1,
        keep_effects: Any = KEEP[0], ess: Any = GOOD_ESS, time_limit: Any = None, asked: Asked = NOTHING,
    ) -> PosteriorRequest:  # fmt: skip
        """The value of what a user gave.

        Raises
        ------
        DataError, UsageError

        Warns
        -----
        UserWarning
            Of a short run.
        """
        until = Until.asked(draws, ess, time_limit)
        draws = whole_number(draws if until is None else FIRST, "draws", 1)
        chains = whole_number(chains, "chains", 1)
        seed = whole_number(seed, "seed", 0)
        if not is_one_of(keep_effects, KEEP):
            raise UsageError(f"keep_effects must be one of {', '.join(map(repr, KEEP))}, got {show(keep_effects)}.")
        if asked.predict and keep_effects == "none":
            raise UsageError(
                f"means over {asked.predict[0]!r} are made of effects, of which keep_effects='none' keeps none: leave "
                "it out (in the shell --keep-effects), or ask for no means (--predict)."
            )
        warn_short(draws if until is None else MOST, chains, stacklevel=3)
        return cls(
            str(fixed), random, residual, {name: read_known(value, name) for name, value in known.items()},
            Plots.of(plots).table, weights, dict(prior) if isinstance(prior, Mapping) else prior, draws, chains, seed,
            keep_effects, asked, until,
        )  # fmt: skip

    def trim(self) -> PosteriorRequest:
        """The same with those columns of the plots that the model names."""
        terms = (*self.random.terms, *self.residual.terms)
        named = {*parse_fixed(self.fixed).columns, *(name for term in terms for name in term.columns), self.weights}
        frame = self.plots.frame
        return replace(self, plots=replace(self.plots, frame=frame.loc[:, [name in named for name in frame.columns]]))

    def take_up(self, checkpoint: Checkpoint) -> PosteriorRequest:
        """The same for the draws that are wanted now."""
        if checkpoint.goal is None:
            return self
        until = None if self.until is None else replace(self.until, extended=checkpoint.extended)
        return replace(self, draws=checkpoint.goal, until=until)


class _Size:
    """What so many draws take.

    Parameters
    ----------
    request : PosteriorRequest
    equations : Equations
    """

    def __init__(self, request: PosteriorRequest, equations: Equations) -> None:
        problem = equations.problem
        self.request, self.count, self.factor = request, equations.count, equations.factor.memory
        self.effects = 8 * request.chains * (problem.p + sum(term.q for term in problem.terms))

    def choose_keep(self, draws: int) -> str:
        """What is kept of the effects."""
        return choose_keep(self.request.keep_effects, draws * self.effects)

    def plan_slots(self, draws: int) -> np.ndarray:
        """Draws of each chain whose effects are kept: those of a longer run that are among them are so, too."""
        keep = self.choose_keep(draws)
        most = {"all": draws, "thin": max(1, THINNED // self.request.chains)}
        return take_every(draws, most[keep]) if keep in most else np.zeros(0, int)

    def check(self, draws: int, held: int = 0) -> None:
        """Refuse what the memory that is free could not hold.

        held : draws of each chain that are in memory already

        Raises
        ------
        UsageError
        """
        chains = self.request.chains
        # The draws are put together from those of the chains, of which each has a factor of the equations.
        needed = 2 * self._measure(draws) + chains * self.factor
        there = self._measure(held) + chains * self.factor if held else 0
        check_memory(needed - there, f"draws={draws}, chains={chains}, keep_effects={self.request.keep_effects!r}")

    def _measure(self, draws: int) -> int:
        """Bytes of so many draws of each chain, once."""
        chains = self.request.chains
        kept = {"all": draws, "thin": min(draws, max(1, THINNED // chains))}.get(self.choose_keep(draws), 0)
        return 8 * draws * chains * (self.count + 4) + kept * self.effects


def compute_posterior(
    request: PosteriorRequest,
    cores: int | None,
    progress: bool | None,
    begin: Callable[[dict[str, Any]], Checkpoint] | None = None,
) -> MixedPosterior:
    """What was asked for.

    begin : gives the checkpoint, once all is checked and before the equations are factored, for the record as far as it
        is known; the results are written to its folder
    """
    cores = count_cores() if cores is None else whole_number(cores, "cores", 1)
    began = time.perf_counter()
    fixed = parse_fixed(request.fixed)
    layout = lay_out(fixed, request.random, request.residual, request.known, Plots(request.plots), request.weights)
    designs = (*layout.residual, *layout.random)
    priors = choose_priors(request.prior, layout)
    scales = [find_scales(own, design, layout) for own, design in zip(priors, designs, strict=True)]
    settings = {
        "draws": request.draws,
        "chains": request.chains,
        "seed": request.seed,
        "keep_effects": request.keep_effects,
        "weights": request.weights,
        "priors": {
            design.name: describe_prior(own, scale) for design, own, scale in zip(designs, priors, scales, strict=True)
        },
    }
    with contextlib.ExitStack() as stack:
        checkpoint: Checkpoint | None = None

        def start(equations: Equations) -> None:
            nonlocal checkpoint
            _Size(request, equations).check(request.draws)
            record = {"settings": settings, "versions": find_versions()}
            checkpoint = stack.enter_context(keep_checkpoint(begin, record))

        def recall(search: Callable[[], Climb]) -> Climb:
            return search() if checkpoint is None else checkpoint.recall(ESTIMATES, search)

        result = find_estimates(layout, progress, begin=start, recall=recall)
        fit = MixedFit(fixed, request.random, request.residual, layout, result)
        searched = round(time.perf_counter() - began, 3)
        request.asked.refuse_unknown(fit)
        size, target = _Size(request, result.equations), make_target(fit, priors, scales)
        contrasts = count_contrasts(fit.named, layout, result.problem)
        order = [each.place for each in fit.named]
        nu = {design.name: float(own.nu) for design, own in zip(designs, priors, strict=True)}

        def summarise_all(walked: Sequence[Walked]) -> list[pd.DataFrame]:
            draws = np.stack([chain.parameters for chain in walked])[:, :, order]
            return [summarise(draws, fit.named, contrasts, nu).set_axis(list(map(name_component, fit.named)))]

        judge = None if request.until is None else Judge(request.until, began, summarise_all)

        def lengthen(judge: Judge, walked: list[Walked], each: float) -> tuple[int, np.ndarray] | None:
            held = len(walked[0])
            draws = judge.plan(walked, held, each)
            if judge.ended:
                return None
            try:
                size.check(draws, held)
            except UsageError:
                judge.end("memory")
                return None
            if checkpoint is not None:
                checkpoint.set_goal(draws)
            return draws, size.plan_slots(draws)

        slots, seeds = size.plan_slots(request.draws), spawn_seeds(request.seed, request.chains)
        sampled = sample_posterior(
            target, result.phi, request.draws, slots, seeds, cores, progress,
            checkpoint=checkpoint, lengthen=None if judge is None else partial(lengthen, judge),
        )  # fmt: skip
        draws = len(sampled.chains[0])
        keep = size.choose_keep(draws)
        seconds = {"reml": searched, **sampled.seconds}
        if checkpoint is not None and (before := checkpoint.sum_before()):
            seconds[BEFORE] = round(before / min(cores, request.chains), 3)
        run = {
            "model": {name: str(getattr(request, name)) for name in ("fixed", "random", "residual")},
            "settings": settings | {"draws": draws, "keep_effects": keep},
            "reml": fit.record(),
            "facts": {
                "components": fit.list_components(),
                "contrasts": contrasts,
                "heritabilities": record_ratios(request.random, layout, fit.named),
            },
            "sampling": sampled.facts,
            "effects": {},
            "predictions": {},
            "means": {},
            "versions": find_versions(),
            "machine": describe_machine(),
            "seconds": seconds,
            **({} if judge is None else {AUTO: judge.verdict}),
        }
        posterior = MixedPosterior(collect_groups(layout, fit.named, sampled, keep, ATTRS), run, fit)
        posterior.asked = request.asked.make_tables(posterior)
        if checkpoint is not None:
            checkpoint.tell(run)
            checkpoint.finish(partial(posterior._write, **checkpoint.about.get("tables", {})))
    return posterior
