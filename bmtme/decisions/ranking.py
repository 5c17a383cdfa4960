"""Lines in order of a criterion: values, reliabilities, ranks, and probabilities to be among the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from bmtme.decisions.candidates import Candidates, draw_candidates
from bmtme.decisions.covariances import list_names_along
from bmtme.decisions.targets import HIGH, check_best, choose_traits, count_top
from bmtme.errors import UsageError
from bmtme.results.decided import RANKING
from bmtme.results.entries import name_columns
from bmtme.results.summary import INTERVAL

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

#: Of a standard deviation: clones differ by no more, which is rounding, and none of them is above another.
CLONES = 1e-5


def rank_lines(
    fit: Fit, trait: Any, env: Any, top: Any, best: Any, check: Any, lines: Any = None, draws: int = 1000
) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.ranking`."""
    check_best(best)
    traits = choose_traits(trait, list_names_along(fit, "trait"))
    if len(traits) > 1:
        raise UsageError("a ranking is of one trait: for several, take fit.index or fit.joint_probabilities.")
    candidates = draw_candidates(fit, traits, env, lines, check, draws)
    table = tabulate_ranking(candidates, np.ones(1), top, best)
    table.attrs |= {"trait": traits[0], "check": check}
    return table


def rank_traits(fit: Fit, top: int, draws: int) -> dict[str, pd.DataFrame]:
    """The rankings of all traits, over all environments and with high values wanted, from one set of draws."""
    traits = list_names_along(fit, "trait")
    candidates = draw_candidates(fit, traits, None, draws=draws)
    tables = {}
    for trait, alone in zip(traits, np.eye(len(traits)), strict=True):
        tables[trait] = tabulate_ranking(candidates, alone, top, HIGH)
        tables[trait].attrs |= {"trait": trait, "check": None}
    return tables


def tabulate_ranking(candidates: Candidates, a: np.ndarray, top: Any, best: str) -> pd.DataFrame:
    """The columns of `RANKING` for a'u, best first, those of equal value by name.

    a : (L,) weights of the traits
    """
    sign, k = check_best(best), count_top(top, len(candidates.lines))
    effects = candidates.effects @ a
    values = effects + (candidates.means @ a)[:, None]
    ranks = rank_draws(sign * effects)
    low, high = np.quantile(values, INTERVAL, axis=0)
    rank_low, rank_high = np.quantile(ranks, INTERVAL, axis=0, method="inverted_cdf").astype(np.int64)
    above = np.full(len(candidates.lines), np.nan)
    if candidates.check is not None:
        above = find_above(sign * effects, sign * (candidates.check @ a)).mean(axis=0)
    columns = (
        np.array(candidates.lines, dtype=object), values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1)),
        low, high, candidates.measure_reliability(a), ranks.mean(axis=0), rank_low, rank_high,
        (ranks <= k).mean(axis=0), above,
    )  # fmt: skip
    table = pd.DataFrame(dict(zip(name_columns(RANKING), columns, strict=True)))
    order = np.argsort(-sign * table["value"].to_numpy(), kind="stable")
    table = table.iloc[order].reset_index(drop=True)
    table.attrs = {"env": candidates.target.shares, "top": k, "best": best}
    return table


def rank_draws(values: np.ndarray) -> np.ndarray:
    """Ranks of the lines in each draw (S, n), 1 for the highest; equal ones share the better rank."""
    return np.asarray(rankdata(-values, method="min", axis=1), np.int64)


def find_above(values: np.ndarray, check: np.ndarray) -> np.ndarray:
    """(S, n) whether a line is above the check (S,) in a draw; a clone of it is not."""
    least = CLONES * values.std(axis=0, ddof=0).mean()
    return np.asarray(values - check[:, None] > least)
