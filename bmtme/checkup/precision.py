"""Numbers of plots behind records, and standard errors, that may be mistakes or say nothing."""

from __future__ import annotations

import numpy as np

from bmtme.checkup.coverage import place_record
from bmtme.checkup.findings import Finding
from bmtme.data.trial import Trial
from bmtme.model.errors import find_dependence
from bmtme.words import count_noun, some_names

__all__ = ["NO_EFFECTS", "describe_plots", "find_odd_errors", "find_odd_plots"]

#: A record of so many times the usual number of plots is odd, or an error that is so much larger or smaller.
TIMES = 10
KIND, ERRORS_KIND = "number of plots", "standard errors"
#: Why records with standard errors have no effects of blocks and covariates.
NO_EFFECTS = (
    "blocks and covariates do not go with standard errors (se): records that have some are adjusted means, from which "
    "such effects are taken. Leave blocks= and covariates= out, or give the plots themselves."
)


def find_odd_plots(trial: Trial) -> list[Finding]:
    """Records of far more plots than the others, and numbers that are all the same."""
    if trial.n_plots is None:
        return []
    records = np.flatnonzero(~np.isnan(trial.values).all(axis=1))
    number = trial.n_plots[records]
    usual = float(np.median(number))
    if np.ptp(number) == 0:
        plots = count_noun(int(usual), "plot")
        text = f"Every record is the mean of {plots}: none counts for more than another, and R_e is that of one plot."
        return [Finding.of("note", KIND, text)]
    odd = records[number >= TIMES * usual]
    if not len(odd):
        return []
    items = [place_record(trial, n) | {"value": float(trial.n_plots[n])} for n in odd.tolist()]
    names = some_names([f"{item['line']} in {item['env']} ({item['value']:g})" for item in items], 5)
    return [
        Finding.of(
            "warning",
            KIND,
            f"{count_noun(len(odd), 'record')} of {TIMES} times the usual number ({usual:g}) of plots or more: "
            f"{names}. Records count by their plots: look for typing mistakes.",
            items,
        )
    ]


def describe_plots(fewest: int, most: int, **_: int) -> str:
    """Plots behind a record, in words."""
    return f"means of {count_noun(most, 'plot') if fewest == most else f'{fewest} to {most} plots'}"


def find_odd_errors(trial: Trial) -> list[Finding]:
    """Standard errors that look like standard deviations, that are far from the others, or that nothing relates."""
    if trial.se is None:
        return []
    found = []
    if trial.blocks or trial.covariates:
        found.append(Finding.of("stop", ERRORS_KIND, NO_EFFECTS[0].upper() + NO_EFFECTS[1:]))
    there = np.flatnonzero(trial.has_se).tolist()
    own = np.sqrt(trial.own_errors())
    for l in there:
        trait, errors = trial.traits[l], own[:, l]
        seen = np.flatnonzero(~np.isnan(trial.values[:, l]))
        spread = np.sqrt(_pool_variance(trial.values[seen, l], trial.env_index[seen]))
        size = float(np.sqrt(np.mean(errors[seen] ** 2)))
        if size >= spread:
            found.append(
                Finding.of(
                    "warning",
                    ERRORS_KIND,
                    f"The standard errors of {trait} ({size:.3g} on average) are as large as the standard deviation of "
                    f"its values within environments ({spread:.3g}), which contains them: are they standard deviations "
                    "of plots, or in another unit?",
                    [{"trait": trait, "value": size, "median": spread}],
                )
            )
        usual = float(np.median(errors[seen]))
        odd = seen[(errors[seen] >= TIMES * usual) | (errors[seen] * TIMES <= usual)]
        if len(odd) and usual > 0.0:
            items = [place_record(trial, n) | {"trait": trait, "value": float(errors[n])} for n in odd.tolist()]
            names = some_names([f"{item['line']} in {item['env']} ({item['value']:.3g})" for item in items], 5)
            found.append(
                Finding.of(
                    "warning",
                    ERRORS_KIND,
                    f"{count_noun(len(odd), 'standard error')} of {trait} {TIMES} times as large or as small as usual "
                    f"({usual:.3g}): {names}. Look for typing mistakes.",
                    items,
                )
            )
    if trial.error_covariances is not None:
        seen = ~np.isnan(trial.values)
        dependent = find_dependence(trial.error_covariances, seen, trial.env_index, trial.envs)
        if dependent:
            found.append(
                Finding.of(
                    "note",
                    ERRORS_KIND,
                    f"Errors of adjusted means follow from those of other traits exactly in {some_names(dependent)}: "
                    "fits of all traits together are refused, and those of one trait at a time (--model single) are "
                    "not.",
                )
            )
        return found
    if len(trial.traits) > 1 and (len(there) < len(trial.traits) or trial.se_correlation is None):
        every = len(there) == len(trial.traits)
        lacking = "nothing tells how those of traits correlate" if every else "other traits lack them"
        found.append(
            Finding.of(
                "note",
                ERRORS_KIND,
                f"Standard errors of {some_names([trial.traits[l] for l in there])}, but {lacking}: fits of all traits "
                "together are refused, and those of one trait at a time (--model single) are not.",
            )
        )
    return found


def _pool_variance(values: np.ndarray, env: np.ndarray) -> float:
    """Variance within environments."""
    groups = [values[env == i] for i in np.unique(env)]
    degrees = sum(len(own) - 1 for own in groups)
    return float(sum(((own - own.mean()) ** 2).sum() for own in groups) / degrees) if degrees else float("inf")
