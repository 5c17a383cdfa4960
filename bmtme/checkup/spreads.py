"""Standard deviations of a trait that differ between environments, where the model has one residual variance."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from scipy.special import fdtrc

from bmtme.checkup.constants import deviate_within, list_columns
from bmtme.checkup.findings import Finding, Severity, join_texts
from bmtme.checkup.oddities import robust_z
from bmtme.data.trial import Trial

__all__ = ["KIND", "find_unequal_spreads"]

#: Kind of its findings.
KIND = "unequal spread"

#: Values (or degrees of freedom within lines) from which on an environment's standard deviation is compared.
FEWEST = 15
#: Largest over smallest that is said; a standard deviation so many times the usual, or its inverse, that is warned of.
UNEQUAL, FAR = 1.5, 2.0
#: The chance that one trait's standard deviations seem to differ by more.
CHANCE = 0.001
#: Robust z to which values are drawn in before a standard deviation is taken.
OUTLIER = 3.5


def find_unequal_spreads(trial: Trial, known: Collection[tuple[str, str]] = ()) -> list[Finding]:
    r"""Traits whose records, or plots around their lines' means, vary more in one environment than in another.

    Where two environments or more have replicates, the standard deviation is that of plots around the means of their
    lines; else of the records. Outliers are drawn in to a robust z of 3.5. The largest ratio of a trait has to be more
    than chance makes in one of a thousand traits, by an F test with :math:`2 (n - 1) / (k - 1)` degrees of freedom for
    n values with kurtosis k (at least 3: normal).

    Parameters
    ----------
    known : environments and traits that are of another magnitude, and are left out
    """
    spreads: dict[int, dict[int, tuple[float, float]]] = {}
    errors: dict[int, dict[int, tuple[float, float]]] = {}
    for i, l, records in list_columns(trial):
        if (trial.envs[i], trial.traits[l]) in known:
            continue
        values = trial.values[records, l]
        if len(values) >= FEWEST:
            spreads.setdefault(l, {})[i] = _measure_spread(values, len(values))
        around, freedom = deviate_within(trial, records, l)
        if freedom >= FEWEST:
            errors.setdefault(l, {})[i] = _measure_spread(around, freedom + 1)
    cases: dict[Severity, list[dict[str, Any]]] = {"warning": [], "note": []}
    for l, trait in enumerate(trial.traits):
        within = len(errors.get(l, {})) > 1
        measured = {i: pair for i, pair in (errors if within else spreads).get(l, {}).items() if pair[0] > 0}
        if len(measured) < 2:
            continue
        low, high = (choose(measured, key=lambda i: measured[i][0]) for choose in (min, max))
        (least, freedom_least), (most, freedom_most) = measured[low], measured[high]
        ratio = most / least
        # Of all pairs of environments, the largest ratio is looked at.
        chance = CHANCE / (len(measured) * (len(measured) - 1))
        if ratio < UNEQUAL or fdtrc(freedom_most, freedom_least, ratio**2) > chance:
            continue
        usual = float(np.sqrt(np.mean([(size / most) ** 2 for size, _ in measured.values()]))) * most
        far = max(most / usual, usual / least) > FAR
        far = far and fdtrc(freedom_most, freedom_least, (ratio / UNEQUAL) ** 2) < chance
        text = f"{trait} {least:.3g} in {trial.envs[low]} and {most:.3g} in {trial.envs[high]}"
        text += " (plots around their line's mean)" if within else ""
        severity: Severity = "warning" if far else "note"
        item = {"trait": trait, "env": trial.envs[low], "other": trial.envs[high], "value": ratio}
        cases[severity].append(item | {"message": text})
    found = []
    for severity, listed in cases.items():
        if listed:
            text = (
                "Standard deviations that differ between environments: "
                f"{join_texts([case['message'] for case in listed])}. The model has one residual variance for all "
                "environments: where more is left than that, it counts as genetic, and heritabilities come out too "
                "high and intervals too narrow; where less is left, intervals come out too wide. With "
                "residual='common_correlation' every environment has its own."
            )
            if severity == "warning":
                text += " Fit such environments apart, or divide the values of each by its standard deviation."
            found.append(Finding.of(severity, KIND, text, listed))
    return found


def _measure_spread(values: np.ndarray, n: int) -> tuple[float, float]:
    """Standard deviation without outliers, and its degrees of freedom; n is one more than these for normal values."""
    middle = np.median(values)
    z = robust_z(values)
    far = np.abs(z) > OUTLIER
    if far.all() or not far.size:
        return 0.0, 0.0
    reach = float(np.abs(values - middle)[~far].max())
    drawn = np.clip(values - middle, -reach, reach)
    if not reach > 0:
        return 0.0, 0.0
    drawn = drawn / reach - (drawn / reach).mean()
    variance = float((drawn**2).sum() / (len(drawn) - 1))
    if not variance > 0:
        return 0.0, 0.0
    kurtosis = max(float((drawn**4).mean()) / variance**2, 3.0)
    return reach * float(np.sqrt(variance)), 2 * (n - 1) / (kurtosis - 1)
