"""Draws until they suffice: how long chains go on, by R-hat, effective draws and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import is_number, show, whole_number
from bmtme.choices import AUTO
from bmtme.errors import UsageError
from bmtme.results.convergence import describe_time
from bmtme.results.summary import GOOD_ESS, GOOD_R_HAT
from bmtme.words import count_noun

#: Draws of each chain at first; a step is at least a quarter of those there are and at most as many; in whole fifties.
FIRST, LEAST_STEP, MOST_STEP, WHOLE = 250, 0.25, 1.0, 50
#: Where R-hat does not come down, chains end with so many draws.
MOST = 100_000
#: More draws than should do, by effective draws so far.
MARGIN = 1.15


@dataclass(frozen=True)
class Until:
    """When draws suffice.

    Attributes
    ----------
    ess : int
        Effective draws that every row of the summary is to have, in bulk and tails, while R-hat is at most 1.01.
    time_limit : float or None
        Seconds after which no more draws are asked for.
    extended : bool
        Whether a number of draws was asked for in the end: then it is only looked at what they come to.
    """

    ess: int
    time_limit: float | None
    extended: bool = False

    @classmethod
    def asked(cls, draws: Any, ess: Any, time_limit: Any) -> Until | None:
        """The value of what a user gave; None where that is a number of draws.

        Raises
        ------
        UsageError
        """
        until = cls.checked(ess, time_limit)
        if isinstance(draws, str) and draws == AUTO:
            return until
        if until != cls(GOOD_ESS, None):
            raise UsageError(f"ess and time_limit go with draws={AUTO!r}, which goes on until the draws suffice.")
        return None

    @classmethod
    def checked(cls, ess: Any, time_limit: Any) -> Until:
        """The value of what a user gave.

        Raises
        ------
        UsageError
        """
        if time_limit is not None and (not is_number(time_limit) or time_limit <= 0.0):
            raise UsageError(f"time_limit must be a positive number of seconds, or None, got {show(time_limit)}.")
        return cls(whole_number(ess, "ess", 1), None if time_limit is None else float(time_limit))


@dataclass(frozen=True)
class Reached:
    """What draws have come to: the largest R-hat (NaN for one chain), the fewest effective draws, and of what."""

    r_hat: float
    r_hat_of: str
    ess: float
    ess_of: str

    @classmethod
    def of(cls, summaries: Sequence[pd.DataFrame]) -> Reached:
        """Over all rows of summaries that have these."""
        r_hat = pd.concat([summary["r_hat"] for summary in summaries]).dropna()
        ess = pd.concat([summary[["ess_bulk", "ess_tail"]].min(axis=1) for summary in summaries]).dropna()
        return cls(
            float(r_hat.max()) if len(r_hat) else math.nan,
            str(r_hat.idxmax()) if len(r_hat) else "",
            float(ess.min()) if len(ess) else math.nan,
            str(ess.idxmin()) if len(ess) else "",
        )

    def suffices(self, until: Until) -> bool:
        """Whether these do; of one chain, by effective draws alone."""
        return self.ess >= until.ess and not self.r_hat > GOOD_R_HAT

    def foresee(self, until: Until, draws: int) -> int:
        """Draws of each chain that should do; where R-hat is too large, twice as many at least."""
        wanted = draws * MARGIN * until.ess / max(self.ess, 1.0) if math.isfinite(self.ess) else 2.0 * draws
        if self.r_hat > GOOD_R_HAT:
            wanted = max(wanted, 2.0 * draws)
        return round_up(max(wanted, (1.0 + LEAST_STEP) * draws))


def round_up(draws: float) -> int:
    """To a whole number that is easily said."""
    return WHOLE * math.ceil(draws / WHOLE)


def plan_step(reached: Reached, until: Until, draws: int, left: float, each: float) -> int:
    """Draws of each chain to go on to; no more than there are where the time is up.

    left : seconds
    each : seconds a draw of all chains
    """
    wanted = min(reached.foresee(until, draws), round_up((1.0 + MOST_STEP) * draws), MOST)
    if math.isfinite(left):
        wanted = min(wanted, draws + WHOLE * math.floor(max(left, 0.0) / max(each, 1e-9) / WHOLE))
    return max(wanted, draws)


def describe(reached: Reached, until: Until, draws: int, each: float, why: str) -> dict[str, Any]:
    """For the record of a run.

    why : what ended it: ``enough``, ``time``, ``most`` draws, ``memory``, ``disc``, ``explanations``, ``extended``:
        their number
    """
    enough = why == "enough"
    more = 0 if enough else reached.foresee(until, draws) - draws
    numbers = {"r_hat": reached.r_hat, "ess": reached.ess}
    return {
        "wanted": {"ess": until.ess, "r_hat": GOOD_R_HAT, "time_limit": until.time_limit},
        "ended_by": why,
        **{name: None if np.isnan(value) else round(value, 4) for name, value in numbers.items()},
        "r_hat_of": reached.r_hat_of,
        "ess_of": reached.ess_of,
        "more": more,
        "more_seconds": round(more * each, 1),
    }


def describe_draws(run: dict[str, Any], folder: str | None = None) -> str:
    """In words, what chains of as many draws as suffice came to; empty where a number was asked for.

    folder : of a run that can be gone on with
    """
    found = run.get(AUTO)
    if not found:
        return ""
    draws, wanted, why = run["settings"]["draws"], found["wanted"], found["ended_by"]
    r_hat = "" if found["r_hat"] is None else f"; the largest R-hat is {found['r_hat']:.3f} ({found['r_hat_of']})"
    got = "" if found["ess"] is None else f"{found['ess_of']} has the fewest effective draws, {found['ess']:.0f}{r_hat}"
    each = f"{count_noun(draws, 'draw')} of each chain"
    if why == "enough":
        return f"{each} suffice: {got}. --draws {draws} gives them again."
    reason = {
        "time": f"the time limit of {(wanted['time_limit'] or 0.0):g} s was reached",
        "extended": "no more were asked for",
        "most": "more would hardly help",
        "memory": "more would not fit into the memory",
        "disc": "more would not fit on the disc",
        "explanations": "the data have explanations between which the chains do not cross, and more would not help",
    }[why]
    text = f"{each} do not suffice, and {reason}: {got}."
    if why in ("time", "extended"):
        time = describe_time(found["more_seconds"])
        how = f": bmtme extend {folder} --more {found['more']}" if folder else ""
        text += f" About {count_noun(found['more'], 'draw')} more of each chain would take some {time}{how}."
    return text
