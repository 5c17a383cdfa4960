"""Traits that do not vary: altogether, in an environment, or among the plots of a line; and traits of few classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bmtme.checkup.coverage import describe_range
from bmtme.checkup.findings import Finding, Severity, join_texts
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.words import count_noun, some_names

__all__ = ["deviate_within", "find_constants", "list_columns", "refuse_constants"]

#: A trait with at most this many different values, all whole, is a score.
SCORE_LEVELS = 10
#: A standard deviation below this part of the trait's in the other environments is none: rounding, another unit.
NO_SPREAD = 1e-3
#: Equal values less one, over the environments where a trait is constant, from which on a fit is refused. Density of
#: a residual variance R near 0 grows as R^(-freedom/2) there, which the priors make up for while it is small (tried
#: with 24 lines: two to four equal values move a heritability no more than others do, five by 0.1, six by 0.2, and
#: eight drive it to 1).
FREEDOM = 4
#: Plots that only repeat their line's value, less one for each line: fewer may be chance.
FREEDOM_WITHIN = 5
#: Share of equal values, and least number of values, of a trait that hardly varies in an environment.
MOST_EQUAL, FEWEST = 0.9, 10


def list_columns(trial: Trial) -> Iterator[tuple[int, int, np.ndarray]]:
    """Environment, trait and records with a value, of every environment x trait column with one."""
    for i in range(len(trial.envs)):
        here = np.flatnonzero(trial.env_index == i)
        for l in range(len(trial.traits)):
            records = here[~np.isnan(trial.values[here, l])]
            if len(records):
                yield i, l, records


def find_constants(trial: Trial) -> list[Finding]:
    """Traits without variation, altogether or in a part of the trial, and traits that are scores."""
    found: list[Finding] = []
    for l, trait in enumerate(trial.traits):
        seen = trial.values[~np.isnan(trial.values[:, l]), l]
        if not len(seen):
            found.append(_of_trait("stop", "empty trait", trait, f"{trait} has no value: a fit is refused with it."))
            continue
        if _is_constant(seen):
            text = f"{trait} has the same value, {seen[0]:g}, in all of its {count_noun(len(seen), 'record')}"
            found.append(_of_trait("stop", "constant trait", trait, f"{text}: a fit is refused with it."))
            continue
        levels = np.unique(seen)
        whole = bool((levels == np.round(levels)).all())
        if len(seen) >= 3 * len(levels) and (len(levels) == 2 or (len(levels) <= SCORE_LEVELS and whole)):
            values = f"{len(levels)} different whole numbers ({describe_range(levels)})" if whole else "2 values"
            text = f"{trait} takes {values}: a score or a class. The model takes traits as normal; with so few "
            text += "classes, intervals are rough."
            found.append(_of_trait("warning" if len(levels) == 2 else "note", "score", trait, text))
    return found + _find_constant_envs(trial) + _find_rare_values(trial) + _find_alike_plots(trial)


def refuse_constants(trial: Trial) -> None:
    """Refuse a trait that is constant within environments or within lines.

    A trait constant altogether is refused by `bmtme.model.scaling.measure_traits`.

    Raises
    ------
    DataError
    """
    for finding in (*_find_constant_envs(trial), *_find_alike_plots(trial)):
        if finding.severity == "stop":
            raise DataError(finding.summary)


def _of_trait(severity: Severity, kind: str, trait: str, text: str) -> Finding:
    return Finding.of(severity, kind, text, [{"trait": trait, "message": text}])


def _is_constant(values: np.ndarray) -> bool:
    return not len(values) > 1 or not values.std() > 1e-12 * np.abs(values).max()


def _measure_bulk(values: np.ndarray) -> float:
    """Standard deviation by the quartiles, which an outlier does not reach; the usual one where these coincide."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) / 1.349 or float(values.std(ddof=1))


def _find_constant_envs(trial: Trial) -> list[Finding]:
    """Environments where a trait has one value, or varies by less than a thousandth of what it does elsewhere."""
    columns: dict[int, dict[int, np.ndarray]] = {}
    for i, l, records in list_columns(trial):
        columns.setdefault(l, {})[i] = trial.values[records, l]
    cases: dict[Severity, list[dict[str, Any]]] = {"stop": [], "note": []}
    for l, groups in columns.items():
        spreads = {i: float(values.std(ddof=1)) for i, values in groups.items() if len(values) > 1}
        constant = {i for i in spreads if _is_constant(groups[i])}
        # The median of robust ones, as a code for missing values or an outlier may blow one of them up.
        usual = float(np.median([_measure_bulk(groups[i]) for i in spreads if i not in constant] or [0.0]))
        flat = [i for i, spread in spreads.items() if i in constant or spread < NO_SPREAD * usual]
        if not flat or _is_constant(np.concatenate(list(groups.values()))):
            continue
        severity: Severity = "stop" if sum(len(groups[i]) - 1 for i in flat) >= FREEDOM else "note"
        for i in flat:
            values, trait, env = groups[i], trial.traits[l], trial.envs[i]
            if severity == "note" and len(values) < 3:
                continue
            text = f"{trait} is {values[0]:g} in all {len(values)} records of {env}"
            if not _is_constant(values):
                text = f"{trait} varies in {env} by {spreads[i] / usual:.1g} of what it does elsewhere (another unit?)"
            cases[severity].append({"trait": trait, "env": env, "value": float(values[0]), "message": text})
    found = []
    for severity, listed in cases.items():
        if not listed:
            continue
        text = f"No variation within an environment: {join_texts([case['message'] for case in listed])}. "
        if severity == "stop":
            text += (
                "All environments share one residual variance, which such values draw to zero; then the heritabilities "
                "of all traits are wrong. A fit is refused: leave these values out (as missing; a trait may be absent "
                "from an environment), or correct them."
            )
        else:
            text += "Is that measured, or filled in? So few values do no harm to a fit."
        found.append(Finding.of(severity, "constant in an environment", text, listed))
    return found


def _find_rare_values(trial: Trial) -> list[Finding]:
    """Environments where nearly all values of a trait are the same."""
    cases: list[dict[str, Any]] = []
    for i, l, records in list_columns(trial):
        values = trial.values[records, l]
        levels, times = np.unique(values, return_counts=True)
        most = int(times.max())
        if len(values) < FEWEST or len(levels) < 2 or most < MOST_EQUAL * len(values):
            continue
        trait, env, value = trial.traits[l], trial.envs[i], float(levels[times.argmax()])
        text = f"{trait} is {value:g} in {most} of {len(values)} records of {env}"
        cases.append({"trait": trait, "env": env, "value": value, "message": text})
    if not cases:
        return []
    text = (
        f"Hardly any variation within an environment: {join_texts([case['message'] for case in cases])}. The "
        "residual variance that all environments share comes out too small for the others, and heritabilities there "
        "too high. Unless that is what you mean, leave these values out."
    )
    return [Finding.of("warning", "nearly constant in an environment", text, cases)]


def deviate_within(trial: Trial, records: np.ndarray, l: int) -> tuple[np.ndarray, int]:
    r"""Deviations of a trait's plots from the means of their lines, and how many of them are free.

    Parameters
    ----------
    records : of one environment, all with a value of the trait
    l : place of the trait

    Returns
    -------
    (n,) float array
        Of the plots of lines with several, n_j in number, times :math:`\sqrt{n_j / (n_j - 1)}`: with the variance of
        a plot.
    int
        Plots less lines.
    """
    _, lines = np.unique(trial.line_index[records], return_inverse=True)
    values = trial.values[records, l]
    plots = np.bincount(lines)
    # From the first plot of the line: equal values leave zero exactly.
    first = np.empty(len(plots))
    first[lines[::-1]] = values[::-1]
    values = values - first[lines]
    values -= (np.bincount(lines, weights=values) / plots)[lines]
    several = plots[lines] > 1
    n = plots[lines][several]
    return values[several] * np.sqrt(n / (n - 1)), len(records) - len(plots)


def _find_alike_plots(trial: Trial) -> list[Finding]:
    """Traits whose plots all repeat the value of their line in the environment."""
    totals: dict[int, dict[int, tuple[float, int]]] = {}
    for i, l, records in list_columns(trial):
        around, freedom = deviate_within(trial, records, l)
        if freedom:
            totals.setdefault(l, {})[i] = float((around**2).mean()), freedom
    found = []
    for l, parts in totals.items():
        trait = trial.traits[l]
        seen = trial.values[~np.isnan(trial.values[:, l]), l]
        if _is_constant(seen):
            continue
        scale = _measure_bulk(seen)
        alike = [i for i, (square, _) in parts.items() if square <= (NO_SPREAD * scale) ** 2]
        freedom = sum(parts[i][1] for i in alike)
        if freedom < FREEDOM_WITHIN:
            continue
        text = f"The plots of a line in an environment all have the same value of {trait}"
        advice = "Were the lines' means copied to their plots? Give one record for each line and environment."
        if len(alike) == len(parts):
            text += f" ({freedom + sum(_count_lines(trial, l, i) for i in alike):,} plots): with them no residual "
            text += f"variance is left, and every heritability would be 1. A fit is refused. {advice}"
            found.append(_of_trait("stop", "plots alike", trait, text))
        else:
            envs = [trial.envs[i] for i in alike if parts[i][1] >= 2 * FREEDOM_WITHIN]
            if envs:
                text += f" in {some_names(envs, 6)}, and not elsewhere: the residual variance comes out too small. "
                items = [{"trait": trait, "env": env, "message": "plots of a line all alike"} for env in envs]
                found.append(Finding.of("warning", "plots alike", text + advice, items))
    return found


def _count_lines(trial: Trial, l: int, i: int) -> int:
    here = (trial.env_index == i) & ~np.isnan(trial.values[:, l])
    return len(np.unique(trial.line_index[here]))
