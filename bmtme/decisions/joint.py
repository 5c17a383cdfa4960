"""Probabilities that a line is good in several traits or environments at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import show
from bmtme.decisions.candidates import draw_candidates
from bmtme.decisions.covariances import list_names_along
from bmtme.decisions.index import warn_of_independence
from bmtme.decisions.ranking import find_above, rank_draws
from bmtme.decisions.targets import HIGH, check_best, choose_target, choose_traits, count_top
from bmtme.errors import UsageError
from bmtme.results.decided import JOINT
from bmtme.results.entries import name_columns

if TYPE_CHECKING:
    from bmtme.results.fit import Fit


def find_joint_probabilities(
    fit: Fit,
    traits: Any,
    env: Any,
    each_env: Any,
    top: Any,
    best: Any,
    check: Any,
    lines: Any = None,
    draws: int = 1000,
) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.joint_probabilities`."""
    known = list_names_along(fit, "trait")
    names = choose_traits(known if traits is None else traits, known)
    if not isinstance(each_env, bool):
        raise UsageError(f"each_env must be True or False, got {show(each_env)}.")
    if isinstance(best, Mapping):
        if other := [trait for trait in best if trait not in names]:
            raise UsageError(f"best names {show(other[0])}, which is none of the traits chosen.")
        signs = [check_best(best.get(trait, HIGH)) for trait in names]
    else:
        signs = [check_best(best)] * len(names)
    warn_of_independence(fit, len(names), "several traits")
    target = choose_target(env, list_names_along(fit, "env"))
    targets = list(target.shares) if each_env else [target.shares]
    top_all: Any = True
    above_all: Any = True
    for one in targets:
        candidates = draw_candidates(fit, names, one, lines, check, draws)
        k = count_top(top, len(candidates.lines))
        for l, sign in enumerate(signs):
            values = sign * candidates.effects[:, :, l]
            top_all = top_all & (rank_draws(values) <= k)
            if candidates.check is not None:
                above_all = above_all & find_above(values, sign * candidates.check[:, l])
    p_above = np.full(len(candidates.lines), np.nan) if check is None else above_all.mean(axis=0)
    columns = np.array(candidates.lines, dtype=object), top_all.mean(axis=0), p_above
    table = pd.DataFrame(dict(zip(name_columns(JOINT), columns, strict=True)))
    order = np.lexsort((-np.nan_to_num(p_above), -top_all.mean(axis=0)))
    table = table.iloc[order].reset_index(drop=True)
    table.attrs = {"traits": list(names), "env": target.shares, "each_env": each_env, "top": k, "check": check}
    return table
