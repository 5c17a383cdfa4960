"""How chains are run: one checked value for `fit`, `cross_validate` and the shell."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.arguments import is_one_of, show, whole_number
from bmtme.choices import SAMPLERS
from bmtme.data.trial import Trial
from bmtme.errors import UsageError
from bmtme.model.baselines import EnvironmentMeans, SingleTrait
from bmtme.model.structure import BMTME
from bmtme.results.predictions import KEPT, take_every
from bmtme.structures.proportional import PAPER_PAIR, Proportional, is_paper_pair
from bmtme.words import list_names

#: Above this many bytes of effects, keep_effects="auto" thins, and above as many says so in a warning.
LARGE, VERY_LARGE = 64 * 2**20, 512 * 2**20


@dataclass(frozen=True)
class Sampling:
    """Length, number, seed and kind of the chains of a fit."""

    draws: int
    tune: int
    chains: int
    seed: int
    sampler: str

    @classmethod
    def checked(
        cls, draws: Any, tune: Any, chains: Any, seed: Any, sampler: Any = None, *, warn: bool = True
    ) -> Sampling:
        """The value of what a user gave.

        Parameters
        ----------
        sampler : one of `SAMPLERS`, or None for the first
        warn : whether to warn at once; otherwise `warn_short` is for the caller

        Raises
        ------
        UsageError

        Warns
        -----
        UserWarning
            Where the run is too short to lean on.
        """
        draws, tune = whole_number(draws, "draws", 1), whole_number(tune, "tune", 0)
        chains, seed = whole_number(chains, "chains", 1), whole_number(seed, "seed", 0)
        sampler = SAMPLERS[0] if sampler is None else sampler
        if not is_one_of(sampler, SAMPLERS):
            raise UsageError(f"sampler must be one of {list_names(SAMPLERS)}, got {show(sampler)}.")
        sampling = cls(draws, tune, chains, seed, sampler)
        if warn:
            sampling.warn_short(stacklevel=3)
        return sampling

    def refuse(self, model: BMTME | SingleTrait, trial: Trial) -> None:
        """Refuse what is no model, or one that the sampler does not serve, or data that it does not.

        Raises
        ------
        UsageError
        """
        if isinstance(model, EnvironmentMeans):
            raise UsageError(
                "bmtme.EnvironmentMeans is a baseline of bmtme.cross_validate, and there is nothing in it to be fitted."
            )
        model = model.model if isinstance(model, SingleTrait) else model
        if not isinstance(model, BMTME):
            raise UsageError(f"expected a bmtme.BMTME model, got {type(model).__name__}.")
        genetic, residual = model.structures
        if self.sampler != SAMPLERS[0] and getattr(trial, "se", None) is not None:
            raise UsageError(
                f"sampler={self.sampler!r} does not serve standard errors (se), whose variance is added to that of the "
                f"residuals: leave sampler out, which is {SAMPLERS[0]!r}, or give numbers of plots (n_plots) instead."
            )
        if self.sampler != SAMPLERS[0] and (model.line_effect or not is_paper_pair(genetic, residual)):
            papers = type(genetic) is Proportional
            other = f"residual {residual.name!r}" if papers else f"genetic structure {genetic.name!r}"
            if is_paper_pair(genetic, residual):
                other = "line effect"
            raise UsageError(
                f"sampler={self.sampler!r} draws the covariances of the paper's model only, and this one has the "
                f"{other}: leave sampler out, which is {SAMPLERS[0]!r}."
            )

    def refuse_covariates(self, trial: Trial) -> None:
        """Refuse covariates where the sampler does not draw their slopes.

        Raises
        ------
        UsageError
        """
        if trial.covariates and self.sampler == "stepwise":
            raise UsageError(
                "sampler='stepwise' draws the means given the effects of lines, and covariates are drawn beside the "
                f"means in one block with them: leave sampler out, which is {SAMPLERS[0]!r}, or leave covariates out."
            )

    @property
    def sweeps(self) -> int:
        """Sweeps of one chain."""
        return self.tune + self.draws

    @property
    def kept(self) -> int:
        """Draws of all chains."""
        return self.draws * self.chains

    def describe(self) -> dict[str, Any]:
        """For the record of a run."""
        names = ("draws", "tune", "chains", "seed", "sampler")
        return {name: getattr(self, name) for name in names}

    def warn_short(self, stacklevel: int) -> None:
        """Warn where the run is too short to lean on; `stacklevel` as of `warnings.warn`, from the caller."""
        warm_up = f"{self.tune} warm-up sweeps may not reach the posterior (use 1000)"
        warn_short(self.draws, self.chains, stacklevel + 1, [warm_up] if self.tune < 200 else [])


class ChainClock:
    """How the time of chains divides into warm-up and sampling, by the sweeps that they report.

    Attributes
    ----------
    warm_up, sample : float
        Seconds, of all chains.
    """

    def __init__(self, tune: int) -> None:
        self.tune = tune
        self.warm_up = self.sample = 0.0
        self._last: dict[int, float] = {}

    def begin(self, chain: int) -> None:
        """Told that a chain starts."""
        self._last[chain] = time.perf_counter()

    def update(self, chain: int, sweeps: int) -> None:
        """Told the sweeps that a chain has done; no report spans both parts."""
        now = time.perf_counter()
        spent = now - self._last.get(chain, now)
        self._last[chain] = now
        if sweeps <= self.tune:
            self.warm_up += spent
        else:
            self.sample += spent

    def divide(self, seconds: float) -> float:
        """The part of so many seconds that was warm-up."""
        whole = self.warm_up + self.sample
        return seconds * self.warm_up / whole if whole > 0.0 else 0.0


def warn_short(draws: int, chains: int, stacklevel: int, others: Sequence[str] = ()) -> None:
    """Warn where so many draws of so many chains are too few to lean on, or for other reasons."""
    reasons = []
    if chains < 2:
        reasons.append("one chain cannot show whether it converged (use 4)")
    if draws * chains < 1000:
        reasons.append(f"{draws * chains} draws in all leave large Monte Carlo errors (use some thousands)")
    reasons += others
    if reasons:
        warnings.warn("a short run: " + "; ".join(reasons) + ".", UserWarning, stacklevel=stacklevel + 1)


def spawn_seeds(seed: int, chains: int, *key: int) -> list[np.random.SeedSequence]:
    """One independent stream a chain, known by its key alone."""
    return [np.random.SeedSequence(seed, spawn_key=(*key, chain)) for chain in range(chains)]


def plan_slots(draws: int, chains: int, keep: str) -> list[np.ndarray]:
    """Where each chain keeps effects: every draw; every 2^k-th, `KEPT` at most over all chains; or none.

    What a longer run keeps of its first draws, a shorter one keeps too, so that it can go on.
    """
    slots = np.full(draws, -1)
    if keep != "none":
        places = take_every(draws, draws if keep == "all" else max(1, KEPT // chains))
        slots[places] = np.arange(len(places))
    return [slots] * chains


def count_kept(draws: int, chains: int, keep: str) -> int:
    """Draws of all chains of which effects are kept, as of `plan_slots`."""
    if keep == "thin":
        return chains * len(take_every(draws, max(1, KEPT // chains)))
    return chains * draws if keep == "all" else 0


def count_draw_bytes(I: int, L: int, sweeps: int, model: BMTME | None = None, levels: int = 0) -> int:
    """Size of all draws of the means and the covariances of I environments and L traits, in bytes.

    model : default one with the paper's structures
    levels : of factors of the records
    """
    genetic, residual = PAPER_PAIR if model is None else model.structures
    size = (3 * I + levels) * L + L * L * (I if residual.by_env else 1)
    size += L * L + I * I if type(genetic) is Proportional else 2 * L * L + (I * L) ** 2
    return 8 * sweeps * size


def count_effect_bytes(J: int, I: int, L: int, sweeps: int, line_effect: bool = False) -> int:
    """Size of all draws of b1 and b2 of J lines, and of a line effect outside the relationship, in bytes."""
    return 8 * sweeps * J * L * (1 + (I if I > 1 else 0) + line_effect)


def choose_keep(keep: str, effect_bytes: int) -> str:
    """What is kept of effects of this size: ``auto`` is all or thin."""
    if keep != "auto":
        return keep
    return "all" if effect_bytes <= LARGE else "thin"
