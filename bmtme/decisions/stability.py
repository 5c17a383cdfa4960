"""How a line's values change from environment to environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.data.order import sort_names
from bmtme.decisions.covariances import find_recorded, list_names_along, list_recorded_lines
from bmtme.decisions.response import digest
from bmtme.decisions.targets import check_best, choose_target, choose_traits
from bmtme.errors import UsageError
from bmtme.results.decided import STABILITY
from bmtme.results.entries import name_columns

if TYPE_CHECKING:
    from bmtme.results.fit import Fit


def tabulate_stability(fit: Fit, trait: Any, env: Any, best: Any, draws: int = 1000) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.stability`."""
    sign = check_best(best)
    traits = choose_traits(trait, list_names_along(fit, "trait"))
    if len(traits) > 1:
        raise UsageError("stability is of one trait: name one.")
    names, l = list_names_along(fit, "env"), list_names_along(fit, "trait").index(traits[0])
    chosen = choose_places(fit, env, l)
    if len(chosen) < 2:
        raise UsageError(
            f"stability needs two environments at least, and there is one: {chosen[0]!r}"
            f"{'' if env is not None else f' is the only one with a record of {traits[0]!r}'}."
        )
    places = [names.index(name) for name in chosen]
    places = [places[k] for k in sort_names(chosen)]
    lines = sorted(dict.fromkeys(fit._look_at_predictions("there are no draws of the lines")["line"]))
    u = fit.line_effects(draws)
    beta = fit._groups["posterior"]["beta"].sel(draw=u["draw"]).transpose("chain", "draw", "env", "trait").values
    row = {name: n for n, name in enumerate(u["line"].values.tolist())}
    known = [row[name] for name in list_recorded_lines(fit)[l]]
    means = (beta[:, :, places, l] + u.values[:, :, known][:, :, :, places, l].mean(axis=2)).reshape(-1, len(places))
    value, spread, slope, above = [], [], [], []
    for name in lines:
        effects = u.values[:, :, row[name]][:, :, places, l]
        values = (effects + beta[:, :, places, l]).reshape(means.shape)
        value.append(values.mean())
        spread.append(effects.reshape(means.shape).std(axis=1, ddof=1))
        slope.append(regress(values, means))
        above.append((sign * (values - means) > 0).all(axis=1).mean())
    columns: list[Any] = [np.array(lines, dtype=object), np.array(value)]
    for draws_of in (spread, slope):
        mean, _, low, high = digest(np.stack(draws_of, axis=1))
        columns += [mean, low, high]
    table = pd.DataFrame(dict(zip(name_columns(STABILITY), [*columns, np.array(above)], strict=True)))
    table = table.iloc[np.argsort(-sign * table["value"].to_numpy(), kind="stable")].reset_index(drop=True)
    table.attrs = {"trait": traits[0], "envs": chosen, "best": best}
    return table


def choose_places(fit: Fit, env: Any, l: int) -> list[str]:
    """Names of the environments that an ``env=`` names, or those with a record of the trait of this place.

    Raises
    ------
    UsageError, DataError
    """
    names = list_names_along(fit, "env")
    if env is not None:
        return list(choose_target(env, names).shares)
    return [name for name, there in zip(names, find_recorded(fit)[:, l], strict=True) if there]


def regress(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(S,) slopes over environments of a line's values (S, I) on the environments' means."""
    x = means - means.mean(axis=1, keepdims=True)
    return np.asarray((x * values).sum(axis=1) / (x**2).sum(axis=1))
