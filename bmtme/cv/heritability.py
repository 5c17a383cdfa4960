"""Heritability of what is scored, one for all models: the ceiling of a correlation with observed means is its root."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from threadpoolctl import threadpool_limits

from bmtme.data.order import sort_trial
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.model.eigenbasis import measure_spread
from bmtme.results.docstrings import document
from bmtme.results.entries import NONE, NUMBER, TEXT, Column

FloatArray = npt.NDArray[np.float64]

#: Lines from which on anything is estimated, and the most of them whose relationship is decomposed.
FEWEST_LINES, MOST_LINES = 10, 1000
#: Heritabilities where the likelihood is first looked at; at 1 it has no bound where relatives are clones.
GRID = np.linspace(0.0, 0.999, 101)
#: Half the 95% point of chi-square with one degree of freedom: the fall of a log likelihood to the ends of an interval.
FALL = 1.9207
#: An interval of a heritability that is wider is told.
WIDE = 0.5
#: Eigenvalues of the centred relationship this close together do not tell genetic from residual variance.
ALIKE = 1e-6

REPLICATES, RELATIONSHIP = "replicates", "relationship"
HERITABILITY: tuple[Column, ...] = (
    Column("env", TEXT, NONE, "name of the environment, None for means over environments"),
    Column("trait", TEXT, NONE, "name of the trait"),
    Column("heritability", NUMBER, NONE, "share of the variance of observed means that is genetic"),
    Column("source", TEXT, NONE, f"what it is estimated from: {REPLICATES} or {RELATIONSHIP}, empty for neither"),
    Column("note", TEXT, NONE, "why it is missing, or how little is known"),
)


@dataclass(frozen=True)
class Found:
    """A heritability, what it is estimated from, and a note."""

    heritability: float
    source: str
    note: str = ""


@document(columns=HERITABILITY)
def measure_heritability(trial: Trial, relationship: Relationship) -> pd.DataFrame:
    """Heritability of observed means of lines, in every environment and over environments, for every trait.

    The correlation of predictions with observed means, divided by its root, estimates that with true genetic values.
    It is estimated from the whole trial, so that it depends neither on a model nor on a partition.

    Parameters
    ----------
    trial : Trial
    relationship : Relationship
        Of the lines with records; other lines are left out.

    Returns
    -------
    DataFrame
        {columns}

        By environment and trait in the order of the trial, where the trait is recorded; then, for every trait, of the
        lines' means over environments, each environment less its mean. No digit depends on the order of the records.

    Notes
    -----
    Where ten or more lines have replicates: s2_g / (s2_g + s2_e / n), from the one-way analysis of variance of plots
    within lines with unequal numbers (Searle, Casella and McCulloch 1992, Variance Components, section 3.6), n the
    harmonic mean of the lines' plots. Of means over environments, where every environment has such replicates, one
    minus the mean of their error variances over their variance.

    Elsewhere by maximum restricted likelihood of y = mean + u + e, Var u = s2_g G, at most 1,000 lines evenly taken by
    name: c s2_g / (c s2_g + s2_e), c = (tr G - 1'G1 / J) / (J - 1). What markers miss counts with the error then: the
    accuracy is that of the part of the genetic value which follows the relationship. Unrelated lines tell nothing.
    """
    given, (trial, _) = trial, sort_trial(trial)
    known = set(relationship.lines)
    lines = np.array([line in known for line in trial.lines], dtype=bool)
    counts = trial.counts() * lines[:, None, None]
    means = np.where(counts > 0, trial.cell_means(), np.nan)
    spectra = Spectra(relationship, trial.lines)
    cells = {
        (env, trait): _measure_cell(trial, i, l, counts[:, i, l], means[:, i, l], spectra)
        for i, env in enumerate(trial.envs)
        for l, trait in enumerate(trial.traits)
        if counts[:, i, l].any()
    }
    rows = [(env, trait, cells[env, trait]) for env in given.envs for trait in given.traits if (env, trait) in cells]
    overall = [
        (None, trait, _measure_means(trial, l, counts[:, :, l], means[:, :, l], spectra))
        for l, trait in enumerate(trial.traits)
    ]
    made = [(env, trait, found.heritability, found.source, found.note) for env, trait, found in [*rows, *overall]]
    return pd.DataFrame(
        {
            column.name: pd.Series([row[k] for row in made], dtype="object" if column.kind == TEXT else column.kind)
            for k, column in enumerate(HERITABILITY)
        }
    )


def _measure_cell(trial: Trial, i: int, l: int, counts: np.ndarray, means: FloatArray, spectra: Spectra) -> Found:
    """Of the lines' means in one environment."""
    there = counts > 0
    if (counts > 1).sum() >= FEWEST_LINES:
        n, y = counts[there], means[there]
        within = _measure_within(trial, i, l, counts, means)
        between = (n * (y - (n @ y) / n.sum()) ** 2).sum() / (len(n) - 1)
        typical = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
        genetic = max(0.0, (between - within) / typical)
        return _share(genetic, within * float((1.0 / n).mean()), REPLICATES)
    return _estimate(means, there, spectra)


def _measure_means(trial: Trial, l: int, counts: np.ndarray, means: FloatArray, spectra: Spectra) -> Found:
    """Of the lines' means over environments, each environment less its mean."""
    used = np.flatnonzero((counts > 0).any(axis=0))
    counts, means = counts[:, used], means[:, used]
    there = counts > 0
    n_envs = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.where(there, means - np.nanmean(means, axis=0), 0.0)
        y = centred.sum(axis=1) / n_envs
        if ((counts > 1).sum(axis=0) >= FEWEST_LINES).all():
            within = np.array(
                [_measure_within(trial, i, l, counts[:, k], means[:, k]) for k, i in enumerate(used.tolist())]
            )
            error = (np.where(there, within / counts, 0.0).sum(axis=1) / n_envs**2)[n_envs > 0].mean()
            total = y[n_envs > 0].var(ddof=1)
            return _share(max(0.0, total - error), float(error), REPLICATES)
    return _estimate(y, n_envs > 0, spectra)


def _measure_within(trial: Trial, i: int, l: int, counts: np.ndarray, means: FloatArray) -> float:
    """Mean square of the plots of an environment within lines."""
    records = np.flatnonzero((trial.env_index == i) & ~np.isnan(trial.values[:, l]))
    records = records[counts[trial.line_index[records]] > 0]
    deviations = trial.values[records, l] - means[trial.line_index[records]]
    return float((deviations**2).sum() / (counts.sum() - (counts > 0).sum()))


def _share(genetic: float, error: float, source: str) -> Found:
    if genetic + error <= 0:
        return Found(np.nan, "", "the values do not vary")
    return Found(float(genetic / (genetic + error)), source)


def _estimate(values: FloatArray, there: np.ndarray, spectra: Spectra) -> Found:
    """By restricted likelihood over the relationship."""
    lines = np.flatnonzero(there)
    if len(lines) < FEWEST_LINES:
        return Found(np.nan, "", f"fewer than {FEWEST_LINES} lines")
    if spectra.relationship.is_identity:
        return Found(np.nan, "", f"unrelated lines, and fewer than {FEWEST_LINES} of them with replicates")
    lines = lines[np.unique(np.linspace(0, len(lines) - 1, min(len(lines), MOST_LINES)).round().astype(np.int64))]
    y = values[lines]
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        return Found(np.nan, "", "the values do not vary")
    d, vectors = spectra.decompose(lines)
    if np.ptp(d) <= ALIKE * d.max(initial=0.0) or not d.any():
        return Found(np.nan, "", "all lines are related alike, and few have replicates")
    h2, low, high = maximise_likelihood(d, vectors.T @ (y - y.mean()))
    vague = f"uncertain, 95% interval {low:.2f} to {high:.2f}" if high - low > WIDE else ""
    return Found(h2, RELATIONSHIP, vague)


class Spectra:
    """Decompositions of the centred relationship, kept for the last set of lines: most columns have the same ones."""

    def __init__(self, relationship: Relationship, names: tuple[str, ...]) -> None:
        self.relationship, self.names = relationship, names
        self._lines = np.empty(0, dtype=np.int64)
        self._known: tuple[FloatArray, FloatArray] = (np.empty(0), np.empty((0, 0)))

    def decompose(self, lines: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """(J - 1,) eigenvalues over c, and (J, J - 1) vectors, of K G K in the space orthogonal to 1."""
        if not np.array_equal(lines, self._lines):
            index = self.relationship.index(self.names[j] for j in lines)
            G = self.relationship.matrix[np.ix_(index, index)]
            J = len(G)
            spread = measure_spread(float(np.trace(G)), float(G.sum()), J)
            centred = G - G.mean(axis=0) - G.mean(axis=1)[:, None] + G.mean()
            # The vector 1 has the eigenvalue zero, and is moved to the end of the spectrum to be left out.
            with threadpool_limits(1):  # the same digits whatever the number of cores
                values, vectors = np.linalg.eigh(centred + (2.0 * np.trace(G)) / J)
            d = np.maximum(values[:-1], 0.0) / spread if spread > 0 else np.zeros(J - 1)
            self._lines, self._known = lines, (d, vectors[:, :-1])
        return self._known


def maximise_likelihood(d: FloatArray, z: FloatArray) -> tuple[float, float, float]:
    """The heritability with the highest restricted likelihood, and the ends of its 95% profile interval.

    Parameters
    ----------
    d : (J - 1,) array
        Eigenvalues of the centred relationship, one on average.
    z : (J - 1,) array
        The values in the directions of their vectors, of variance s2 (h2 d + 1 - h2).
    """
    squares = z**2

    def fall(h2: float) -> float:
        variance = h2 * d + (1.0 - h2)
        return float(0.5 * (len(d) * np.log((squares / variance).mean()) + np.log(variance).sum()))

    falls = np.array([fall(h2) for h2 in GRID])
    k = int(falls.argmin())
    ends = GRID[max(k - 1, 0)], GRID[min(k + 1, len(GRID) - 1)]
    refined = minimize_scalar(fall, bounds=ends, method="bounded", options={"xatol": 1e-7})
    best, least = (float(refined.x), float(refined.fun)) if refined.fun < falls[k] else (float(GRID[k]), falls[k])
    within = GRID[falls <= least + FALL]
    return best, float(min(best, within.min(initial=1.0))), float(max(best, within.max(initial=0.0)))
