"""The baseline that predicts every line by the mean of its environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from bmtme.data.trial import Trial
from bmtme.model.scaling import Scaling
from bmtme.results.linemeans import LineMeans
from bmtme.results.predictions import Cells, allocate, tabulate_predictions
from bmtme.results.quantities import LINE_MEANS, list_predictions
from bmtme.results.targets import average, centre_envs

#: Nodes of a Student t as a mixture of normals, at evenly spaced probabilities of their variances.
NODES = 100


def predict_by_means(training: Trial, trial: Trial, cells: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of hidden cells by `bmtme.EnvironmentMeans`, and of lines' means over environments.

    Parameters
    ----------
    training, trial : without and with the hidden values, in computing order
    cells : (J, I, L) bool
        All with a value.
    """
    counts, observed = trial.plots(), trial.cell_means()
    known, within = training.cell_means(), measure_within(training)
    centre = centre_envs(training)
    plots = training.plots()
    columns = list_predictions(hidden=True)
    made = [column for column in columns if column.make is not None]
    totals = [column for column in LINE_MEANS if column.make is not None]
    J, I, L = cells.shape
    out = {column.name: allocate(column, cells.shape) for column in made}
    means = {column.name: allocate(column, (J, L)) for column in totals}
    as_given = Scaling(np.zeros(1), np.ones(1), 1.0).take(0)
    for l in range(L):
        laws = [find_law(known[:, :, l], plots[:, :, l], within[l], i) for i in range(I)]
        for i in np.flatnonzero(cells[:, :, l].any(axis=0)):
            rows = np.flatnonzero(cells[:, i, l])
            seen, k, law = observed[rows, i, l], counts[rows, i, l], laws[i]
            cell = Cells(
                expected=np.full(len(rows), law.mean),
                fitted=np.full((len(rows), NODES), law.mean),
                extra=np.tile(law.between, (len(rows), 1)),
                noise=law.residual / k[:, None],
                observed=seen,
                target=seen,
                residual=law.residual,
                n_obs=k,
            )
            for column in made:
                out[column.name][rows, i, l] = column.unit.restore(column.of(cell), as_given)
        rows = np.flatnonzero(cells[:, :, l].any(axis=1))
        if len(rows) == 0:
            continue
        inside = cells[rows, :, l]
        k = inside.sum(axis=1)
        share = inside / k[:, None]
        shift = np.array([law.mean for law in laws]) - centre[:, l]
        between, residual = (np.array([getattr(law, name) for law in laws]) for name in ("between", "residual"))
        # A line's values in several environments go together, in which this baseline sees nothing but their spread.
        together = relate_envs(known[:, :, l]) * (1.0 - (share**2).sum(axis=1))
        there = np.where(counts[rows, :, l] > 0, counts[rows, :, l], 1)
        seen = (share * np.nan_to_num(observed[rows, :, l] - centre[:, l])).sum(axis=1)
        line = LineMeans(
            expected=share @ shift,
            fitted=np.tile((share @ shift)[:, None], (1, NODES)),
            extra=combine(share**2, between) + together[:, None],
            noise=combine(share**2 / there, residual),
            observed=seen,
            target=seen,
            n_envs=k,
        )
        for column in totals:
            means[column.name][rows, l] = column.unit.restore(column.of(line), as_given)
    labels = {"line": trial.lines, "env": trial.envs, "trait": trial.traits}
    table = tabulate_predictions(columns, labels, out, cells)
    del labels["env"]
    return table, tabulate_predictions(LINE_MEANS, labels, means, np.asarray(cells.any(axis=1)))


@dataclass(frozen=True)
class Law:
    """What a new line of an environment may have: its mean, and at the nodes of Student's t variances beside it.

    Attributes
    ----------
    mean : expected value
    between, residual : (NODES,) variance of a line's value, and of a plot within it
    """

    mean: float
    between: np.ndarray
    residual: np.ndarray


def find_law(known: np.ndarray, plots: np.ndarray, within: float, i: int) -> Law:
    """The law of a new line in environment i.

    With a record, from its n lines: the mean, s^2 (1 + 1/n), n - 1 degrees of freedom for all of it. Without one, from
    the k others: the mean of theirs, their variance s^2 (1 + 1/k) with k - 1 degrees of freedom, and that of lines
    within environments as if known. From a single other one nothing is known of the spread of environments.

    Parameters
    ----------
    known, plots : (J, I) means of the training cells of a trait, NaN where there is none, and their plots
    within : variance of a plot within its cell
    """
    here = ~np.isnan(known[:, i])
    if here.any():
        values = known[here, i]
        n, shrunk = len(values), within * float((1.0 / plots[here, i]).mean())
        total = values.var(ddof=1) if n > 1 else pool_variance(known)
        nodes = find_nodes(n - 1) if n > 1 else np.ones(NODES)
        return Law(float(values.mean()), (max(total - shrunk, 0.0) + total / n) * nodes, within * nodes)
    centres = average(known)
    centres = centres[~np.isnan(centres)]
    shrunk = within * float((1.0 / plots[plots > 0]).mean())
    k = len(centres)
    envs = centres.var(ddof=1) * (1.0 + 1.0 / k) * find_nodes(k - 1) if k > 1 else np.full(NODES, np.nan)
    return Law(float(centres.mean()), max(pool_variance(known) - shrunk, 0.0) + envs, np.full(NODES, within))


def combine(weights: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """(n, NODES) of weights (n, I) and variances (I, NODES); what has no weight counts for nothing, be it missing."""
    return np.asarray(weights @ np.nan_to_num(variances)) + np.where(
        ((weights > 0) @ np.isnan(variances)) > 0, np.nan, 0.0
    )


def find_nodes(degrees: int) -> np.ndarray:
    """(NODES,) degrees / chi2: N(0, v times these) is in the mean v^(1/2) times Student's t."""
    return np.asarray(degrees / chi2.isf((np.arange(NODES) + 0.5) / NODES, degrees))


def pool_variance(known: np.ndarray) -> float:
    """Variance of the cells within environments, pooled; of all cells where no environment has two."""
    left = known - average(known)
    degrees = (~np.isnan(known)).sum(axis=0) - 1
    degrees = degrees[degrees > 0].sum()
    return float(np.nansum(left**2) / degrees) if degrees else float(np.nanvar(known))


def relate_envs(known: np.ndarray) -> float:
    """One covariance of a line's values in two environments, over all pairs of these; at least zero."""
    left = known - average(known)
    there = (~np.isnan(left)).sum(axis=1)
    pairs = (there * (there - 1)).sum()
    left = np.nan_to_num(left)
    products = left.sum(axis=1) ** 2 - (left**2).sum(axis=1)
    return max(float(products.sum() / pairs), 0.0) if pairs else 0.0


def measure_within(trial: Trial) -> np.ndarray:
    """(L,) variance of a plot within its cell, pooled over cells; zero where no cell has two plots."""
    means, counts = trial.cell_means(), trial.counts()
    left = trial.values - means[trial.line_index, trial.env_index]
    if trial.n_plots is not None:
        left *= np.sqrt(trial.n_plots)[:, None]
    degrees = np.maximum(counts - 1, 0).sum(axis=(0, 1))
    order = np.sort(left**2, axis=0)  # no digit depends on the order of the records
    return np.divide(np.nansum(order, axis=0), degrees, out=np.zeros(len(degrees)), where=degrees > 0)
