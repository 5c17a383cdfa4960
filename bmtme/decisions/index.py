"""A selection index of several traits, from joint draws."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.decisions.candidates import draw_candidates
from bmtme.decisions.covariances import is_alone
from bmtme.decisions.ranking import tabulate_ranking
from bmtme.decisions.targets import HIGH
from bmtme.decisions.weights import read_weights, weigh_gains
from bmtme.errors import UsageError

if TYPE_CHECKING:
    from bmtme.results.fit import Fit


def rank_by_index(
    fit: Fit,
    weights: Any,
    gains: Any,
    top: Any,
    check: Any,
    env: Any,
    units: Any = "trait",
    lines: Any = None,
    draws: int = 1000,
) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.index`."""
    if (weights is None) == (gains is None):
        raise UsageError("an index takes either weights= or gains=, a dict with a number for each trait that counts.")
    name, given = ("weights", weights) if gains is None else ("gains", gains)
    numbers = read_weights(fit, given, name, units)
    warn_of_independence(fit, len(numbers), "an index")
    candidates = draw_candidates(fit, list(numbers), env, lines, check, draws)
    a = np.array(list(numbers.values()))
    if gains is not None:
        a = weigh_gains(candidates, a * candidates.genetic_sd if units == "sd" else a)
    elif units == "sd":
        a = a / candidates.genetic_sd
    table = tabulate_ranking(candidates, a, top, HIGH)
    table.attrs |= {"weights": dict(zip(candidates.traits, a.tolist(), strict=True)), "check": check}
    table.attrs |= {"asked": {name: numbers, "units": units}}
    return table


def warn_of_independence(fit: Fit, traits: int, what: str) -> None:
    """Say that traits which were fitted one at a time count as unrelated."""
    if traits > 1 and is_alone(fit):
        warnings.warn(
            f"traits were fitted one at a time, so that their draws are independent: sd, interval, ranks, reliability "
            f"and probabilities of {what} take them for unrelated. For these fit a model of several traits.",
            UserWarning,
            stacklevel=4,
        )
