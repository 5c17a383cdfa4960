"""Replicates within environments: their means, and whether they differ by more than their error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from bmtme.checkup.constants import list_columns
from bmtme.checkup.findings import Finding, Severity, join_texts
from bmtme.data.trial import Trial
from bmtme.model.factors import FEWEST_LINES, name_replicates

__all__ = ["KIND", "find_replicate_differences", "fit_replicates", "group_replicates", "tabulate_replicates"]

KIND = "replicates differ"
#: Degrees of freedom of the error below which nothing is compared.
FEWEST_FREEDOM = 5
#: The chance of such differences among replicates that are alike, and the share of the residual variance that they
#: would make up: to be said, and to be warned of.
CHANCE, SOME, MUCH = 1e-3, 0.05, 0.2


def tabulate_replicates(trial: Trial) -> pd.DataFrame:
    """Mean of each trait in each replicate of five or more lines, where an environment has two of them or more.

    Returns
    -------
    DataFrame
        env, rep, trait, lines, mean; empty where the trial has no replicates.
    """
    rows = []
    for i, l, records in list_columns(trial):
        for rep, mine in _list_replicates(trial, records).items():
            lines = len(np.unique(trial.line_index[mine]))
            rows.append((trial.envs[i], rep, trial.traits[l], lines, float(trial.values[mine, l].mean())))
    return pd.DataFrame(rows, columns=["env", "rep", "trait", "lines", "mean"])


def group_replicates(trial: Trial, records: np.ndarray) -> dict[str, np.ndarray]:
    """Records of each replicate among those of one environment x trait column; see `name_replicates`."""
    if trial.replicates is None:
        return {}
    found = name_replicates([trial.replicates[n] for n in records.tolist()], trial.line_index[records])
    return {rep: records[mine] for rep, mine in found.items()}


def _list_replicates(trial: Trial, records: np.ndarray) -> dict[str, np.ndarray]:
    """Those of five lines or more."""
    return {rep: mine for rep, mine in group_replicates(trial, records).items() if _is_large(trial, mine)}


def _is_large(trial: Trial, records: np.ndarray) -> bool:
    return len(np.unique(trial.line_index[records])) >= FEWEST_LINES


@dataclass(frozen=True, eq=False)
class Fitted:
    """Least squares of plots by line and replicate.

    Attributes
    ----------
    effects : (K,) array
        Of the replicates, as far as lines in several of them tell; otherwise zero.
    inverse : (K, K) array
        Their covariance over the error variance.
    around, explained : float
        Sum of squares around the lines' means, and that part of it which is due to replicates.
    freedom, rank : int
        Degrees of freedom of the two.
    """

    effects: np.ndarray
    inverse: np.ndarray
    around: float
    explained: float
    freedom: int
    rank: int

    @property
    def error(self) -> float:
        """Residual mean square; its degrees of freedom, `freedom` - `rank`, are to be above zero."""
        return max(self.around - self.explained, 0.0) / (self.freedom - self.rank)


def fit_replicates(values: np.ndarray, lines: np.ndarray, reps: np.ndarray) -> Fitted:
    """Least squares of line + replicate with unequal numbers (Searle 1971, Linear Models, section 7.2).

    Parameters
    ----------
    values : (n,) float array
    lines, reps : (n,) int arrays
    """
    n_line, n_rep = int(lines.max()) + 1, int(reps.max()) + 1
    plots = np.zeros((n_line, n_rep))
    np.add.at(plots, (lines, reps), 1.0)
    each = np.maximum(plots.sum(axis=1), 1.0)
    deviations = values - (np.bincount(lines, weights=values, minlength=n_line) / each)[lines]
    freedom = len(values) - int(np.count_nonzero(plots.sum(axis=1)))
    information = np.diag(plots.sum(axis=0)) - plots.T @ (plots / each[:, None])
    sums = np.bincount(reps, weights=deviations, minlength=n_rep)
    roots, vectors = np.linalg.eigh(information)
    used = roots > 1e-9 * max(roots.max(), 1.0)
    vectors = vectors[:, used] / np.sqrt(roots[used])
    inverse = vectors @ vectors.T
    effects = inverse @ sums
    return Fitted(
        effects, inverse, float(deviations @ deviations), float(effects @ sums), freedom, int(np.count_nonzero(used))
    )


def compare_replicates(values: np.ndarray, lines: np.ndarray, reps: np.ndarray) -> tuple[float, float] | None:
    r"""F test of replicates with lines as the other factor.

    With SSE and f the sum of squares and degrees of freedom left by lines and replicates, SSL and g those left by the
    lines alone, :math:`F = \frac{(SSL - SSE) / (g - f)}{SSE / f}` (Searle 1971, Linear Models, section 7.2). Lines in
    one replicate only say nothing of it.

    Parameters
    ----------
    values : (n,) float array
    lines, reps : (n,) int arrays

    Returns
    -------
    (float, float) or None
        The chance p of an F as large; the share :math:`1 - (SSE / f) / (SSL / g)` of the mean square around the lines'
        means that is due to replicates. None where the design does not tell.
    """
    fitted = fit_replicates(values / max(float(np.abs(values).max()), 1e-300), lines, reps)
    total, freedom, rank = fitted.around, fitted.freedom, fitted.rank
    rest = freedom - rank
    if rank == 0 or rest < FEWEST_FREEDOM or not total > 0:
        return None
    error = max(total - fitted.explained, 1e-12 * total)
    ratio = fitted.explained / rank / (error / rest)
    return float(fdtrc(rank, rest, ratio)), max(0.0, 1 - error / rest / (total / freedom))


def find_replicate_differences(trial: Trial) -> list[Finding]:
    """Environments where the replicates of a trait differ by much more than their error.

    A note where models have effects of them by default, and where these make up little.
    """
    cases: dict[tuple[Severity, bool], list[dict[str, Any]]] = {}
    for i, l, records in list_columns(trial):
        groups = _list_replicates(trial, records)
        if not groups:
            continue
        mine = np.concatenate(list(groups.values()))
        reps = np.repeat(np.arange(len(groups)), [len(group) for group in groups.values()])
        values = trial.values[mine, l]
        _, lines = np.unique(trial.line_index[mine], return_inverse=True)
        compared = compare_replicates(values - values.mean(), lines, reps)
        if compared is None or compared[0] >= CHANCE or compared[1] < SOME:
            continue
        means = np.bincount(reps, weights=values) / np.bincount(reps)
        trait, env = trial.traits[l], trial.envs[i]
        text = f"{trait} in {env} (means {means.min():.4g} to {means.max():.4g}; {100 * compared[1]:.0f}%)"
        usual = len(groups) == len(group_replicates(trial, records))
        severity: Severity = "warning" if compared[1] >= MUCH and not usual else "note"
        case = {"trait": trait, "env": env, "value": compared[1], "message": text}
        cases.setdefault((severity, usual), []).append(case)
    found = []
    for severity, usual in sorted(cases, key=lambda case: case[0], reverse=True):
        listed = sorted(cases[severity, usual], key=lambda case: -case["value"])
        text = (
            "Replicates of an environment differ by more than their error, with the share of the variance among a "
            f"line's plots that this makes up: {join_texts([case['message'] for case in listed])}. "
        )
        if usual:
            text += "Models have effects of these replicates by default (rep_effect), which take the differences up."
        else:
            text += (
                f"By default models have no effect of replicates there, as one holds fewer than {FEWEST_LINES} lines: "
                "their differences go into the residual variance and lower the heritability. Use rep_effect='fixed' "
                "or 'random' (in the shell --rep-effect)."
            )
        found.append(Finding.of(severity, KIND, text, listed))
    return found
