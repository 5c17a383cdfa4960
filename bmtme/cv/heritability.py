"""Heritability of what is scored, one for all models: the ceiling of a correlation with observed means is its root."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from threadpoolctl import threadpool_limits

from bmtme.cv.replicates import FEWEST_FREEDOM, Plots, average_means, divide_variance, fit_plots
from bmtme.data.order import sort_trial
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import UsageError
from bmtme.model.eigenbasis import measure_spread
from bmtme.results.docstrings import document
from bmtme.results.entries import NONE, NUMBER, TEXT, Column, bound

FloatArray = npt.NDArray[np.float64]

#: Lines from which on anything is estimated, and the most of them whose relationship is decomposed.
FEWEST_LINES, MOST_LINES = 10, 1000
#: Heritabilities where the likelihood is first looked at; at 1 it has no bound where relatives are clones.
GRID = np.linspace(0.0, 0.999, 101)
#: Half the 95% point of chi-square with one degree of freedom: the fall of a log likelihood to the ends of an interval.
FALL = 1.9207
#: An interval of a heritability that is wider is told.
WIDE = 0.5
SCARCE = f"replicates leave fewer than {FEWEST_FREEDOM} degrees of freedom for the error"
#: Eigenvalues of the centred relationship this close together do not tell genetic from residual variance.
ALIKE = 1e-6

REPLICATES, RELATIONSHIP = "replicates", "relationship"
HERITABILITY: tuple[Column, ...] = (
    Column("env", TEXT, NONE, "name of the environment, None for means over environments"),
    Column("trait", TEXT, NONE, "name of the trait"),
    Column("heritability", NUMBER, NONE, "share of the variance of observed means that is genetic"),
    *bound(NONE, "its 95% interval"),
    Column("source", TEXT, NONE, f"what it is estimated from: {REPLICATES} or {RELATIONSHIP}, empty for neither"),
    Column("note", TEXT, NONE, "why it is missing, or how little is known"),
)


@dataclass(frozen=True)
class Found:
    """A heritability with its interval, what it is estimated from, and a note."""

    heritability: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    source: str = ""
    note: str = ""

    @classmethod
    def of(cls, heritability: float, lower: float, upper: float, source: str) -> Found:
        """With a note where the interval is wide."""
        vague = f"uncertain, 95% interval {lower:.2f} to {upper:.2f}" if upper - lower > WIDE else ""
        return cls(heritability, lower, upper, source, vague)


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
    Where plots of a line leave ten degrees of freedom or more for the error: s2_g / (s2_g + s2_e / n), n the harmonic
    mean of the lines' plots. s2_e is the residual mean square of line + replicate (Searle 1971, Linear Models, section
    7.2), s2_g the variance of all lines' means, less the effects of replicates, minus its error. A replicate is a label
    `reps` that stands for lines, where two of an environment stand for five lines or more. The effects cancel in the
    means of lines that are in all replicates; what they add to the variance of others is in the denominator. Of means
    over environments, where every environment has such plots, likewise, with the mean of the lines' error variances.
    The interval is by F of that variance over its error (Thomas and Hultquist 1978, Ann. Stat. 6:582-587; degrees of
    freedom of several environments by Satterthwaite 1946, Biometrics Bull. 2:110-114), exact for equal numbers of plots
    and approximate else, and takes lines for unrelated.

    Elsewhere by maximum restricted likelihood of y = mean + u + e, Var u = s2_g G, at most 1,000 lines evenly taken by
    name: c s2_g / (c s2_g + s2_e), c = (tr G - 1'G1 / J) / (J - 1), its interval by the profile of the likelihood.
    Unrelated lines tell nothing. So it is for records that are means of several plots (`n_plots`), too.

    The two correct for different things. With replicates, error is what differs between plots of a line, and the
    accuracy is that for the genetic value in this environment. With the relationship, what markers miss counts with the
    error: the accuracy is that for the part which follows the relationship, and higher. Compare models within an
    environment and trait by it, not places of different sources.

    All lines of the trial count. Where whole groups, such as families, are the folds, a correlation is among the lines
    of few groups, which differ less: the heritability there is lower, and the accuracy comes out too low.
    """
    if not isinstance(trial, Trial) or not isinstance(relationship, Relationship):
        raise UsageError(
            f"expected a bmtme.Trial and a bmtme.Relationship, got {type(trial).__name__} and "
            f"{type(relationship).__name__}."
        )
    given, (trial, _) = trial, sort_trial(trial)
    known = set(relationship.lines)
    lines = np.array([line in known for line in trial.lines], dtype=bool)
    counts = trial.counts() * lines[:, None, None]
    means = np.where(counts > 0, trial.cell_means(), np.nan)
    replicated = trial.n_plots is None
    spectra = Spectra(relationship, trial.lines)
    cells: dict[tuple[str, str], Plots] = {}
    with threadpool_limits(1):  # the same digits whatever the number of cores
        for i, l in np.argwhere(counts.any(axis=0)).tolist():
            cells[trial.envs[i], trial.traits[l]] = fit_plots(trial, i, l, counts[:, i, l], means[:, i, l])
        rows = {place: _measure([plots], spectra, replicated) for place, plots in cells.items()}
        overall = [
            (
                None,
                trait,
                _measure([plots for (_, other), plots in cells.items() if other == trait], spectra, replicated),
            )
            for trait in trial.traits
        ]
    listed = [(env, trait, rows[env, trait]) for env in given.envs for trait in given.traits if (env, trait) in rows]
    made = [(env, trait, *astuple(found)) for env, trait, found in [*listed, *overall]]
    return pd.DataFrame(
        {
            column.name: pd.Series([row[k] for row in made], dtype="object" if column.kind == TEXT else column.kind)
            for k, column in enumerate(HERITABILITY)
        }
    )


def _measure(envs: list[Plots], spectra: Spectra, replicated: bool) -> Found:
    """Of the lines' means over environments, each environment less its mean.

    replicated : whether records are plots, which tell the error
    """
    averages = average_means(envs)
    lines = np.flatnonzero(~np.isnan(averages))
    if len(lines) < FEWEST_LINES:
        return Found(note=f"fewer than {FEWEST_LINES} lines")
    y = averages[lines]
    if np.ptp(y) <= 1e-12 * max(np.nanmax(np.abs(each.means)) for each in envs):
        return Found(note="the values do not vary")
    if replicated and all(plots.freedom >= FEWEST_FREEDOM for plots in envs):
        shares = divide_variance(envs)
        return Found.of(shares.measure(), *shares.bound(), REPLICATES)
    return _estimate(y, lines, spectra)


def _estimate(y: FloatArray, lines: npt.NDArray[np.int64], spectra: Spectra) -> Found:
    """By restricted likelihood over the relationship, of the values of lines."""
    if spectra.relationship.is_identity:
        return Found(note=f"unrelated lines, and {SCARCE}")
    some = np.unique(np.linspace(0, len(lines) - 1, min(len(lines), MOST_LINES)).round().astype(np.int64))
    d, vectors = spectra.decompose(lines[some])
    if np.ptp(d) <= ALIKE * d.max(initial=0.0) or not d.any():
        return Found(note=f"all lines are related alike, and {SCARCE}")
    return Found.of(*maximise_likelihood(d, vectors.T @ (y[some] - y[some].mean())), RELATIONSHIP)


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
