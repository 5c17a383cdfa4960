"""Reaction norms: the lines' values in every environment, with what is known of their deviations from its mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.arguments import is_number
from bmtme.data.order import sort_names
from bmtme.decisions.covariances import list_names_along, list_recorded_lines
from bmtme.decisions.stability import choose_places
from bmtme.decisions.targets import check_best, choose_traits, count_top, find_name
from bmtme.errors import UsageError
from bmtme.results.summary import INTERVAL

if TYPE_CHECKING:
    from bmtme.results.fit import Fit


@dataclass(frozen=True)
class Norms:
    """Lines (n) in environments (I), those with the lowest mean of the trial's lines first.

    Attributes
    ----------
    trait, best : what they are of, and which values are wanted
    envs : (I,)
    lines : (n,) every line of the relationship
    values : (n, I) posterior means of beta_i + u_ij
    deviations, lower, upper : (n, I) u_ij less its mean over the trial's lines, with 90% interval
    chosen : places of the best lines by the mean of their deviations over the environments, the best first
    check : place of the check, or None
    """

    trait: str
    best: str
    envs: list[str]
    lines: list[str]
    values: np.ndarray
    deviations: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    chosen: list[int]
    check: int | None


def draw_norms(fit: Fit, trait: Any, env: Any, top: Any, best: Any, check: Any, draws: int = 1000) -> Norms:
    """The norms of one trait, over the environments that are named, or those with a record of the trait.

    Raises
    ------
    UsageError, DataError
    """
    sign = check_best(best)
    traits = choose_traits(trait, list_names_along(fit, "trait"))
    if len(traits) > 1:
        raise UsageError("reaction norms are of one trait: name one.")
    names, l = list_names_along(fit, "env"), list_names_along(fit, "trait").index(traits[0])
    chosen = choose_places(fit, env, l)
    if len(chosen) < 2:
        raise UsageError(f"reaction norms need two environments at least, and there is one: {chosen[0]!r}.")
    known = list(dict.fromkeys(fit._look_at_predictions("there are no draws of the lines")["line"]))
    lines = sorted(known)
    place = None if check is None else lines.index(find_name(check, known, "line"))
    k = count_top(min(top, len(lines)) if is_number(top) else top, len(lines))
    u = fit.line_effects(draws)
    beta = fit._groups["posterior"]["beta"].sel(draw=u["draw"]).transpose("chain", "draw", "env", "trait").values
    position = {name: n for n, name in enumerate(u["line"].values.tolist())}
    order = [position[name] for name in lines]
    own = [position[name] for name in list_recorded_lines(fit)[l]]
    columns = []
    for name in (chosen[n] for n in sort_names(chosen)):
        i = names.index(name)
        effects = u.values[:, :, :, i, l].reshape(-1, len(position))
        means = beta[:, :, i, l].ravel()
        middle = effects[:, own].mean(axis=1)
        off = effects[:, order] - middle[:, None]
        values = effects[:, order].mean(axis=0) + means.mean()
        level = float((means + middle).mean())
        columns.append((level, name, values, off.mean(axis=0), *np.quantile(off, INTERVAL, axis=0)))
    columns.sort(key=lambda column: column[:2])
    values, deviations, lower, upper = (np.stack([column[n] for column in columns], axis=1) for n in range(2, 6))
    ranks = np.argsort(-sign * deviations.mean(axis=1), kind="stable")
    return Norms(
        traits[0], best, [str(column[1]) for column in columns], lines, values, deviations, lower, upper,
        [int(j) for j in ranks[:k] if j != place], place,
    )  # fmt: skip
