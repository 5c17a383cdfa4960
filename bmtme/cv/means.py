"""The baseline that predicts every line by the mean of its environment."""

from __future__ import annotations

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
#: As good as normal.
MANY = 10_000


def predict_by_means(training: Trial, trial: Trial, cells: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of hidden cells by `bmtme.EnvironmentMeans`, and of lines' means over environments.

    Parameters
    ----------
    training, trial : without and with the hidden values, in computing order
    cells : (J, I, L) bool
        All with a value.
    """
    counts, observed = trial.counts(), trial.cell_means()
    known, within = training.cell_means(), measure_within(training)
    centre = centre_envs(training)
    plots = training.counts()
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
            mean, between, nodes = laws[i]
            residual = within[l] * nodes
            seen, k = observed[rows, i, l], counts[rows, i, l]
            cell = Cells(
                expected=np.full(len(rows), mean),
                fitted=np.full((len(rows), NODES), mean),
                extra=np.tile(between * nodes, (len(rows), 1)),
                noise=residual / k[:, None],
                observed=seen,
                target=seen,
                residual=residual,
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
        shift = np.array([mean for mean, _, _ in laws]) - centre[:, l]
        spread = np.array([between for _, between, _ in laws])
        nodes = np.mean([laws[i][2] for i in np.flatnonzero(inside.any(axis=0))], axis=0)
        # A line's values in several environments go together, in which this baseline sees nothing but their spread.
        alone = (share**2) @ spread
        together = relate_envs(known[:, :, l]) * (1.0 - (share**2).sum(axis=1))
        noise = (share**2 / np.maximum(counts[rows, :, l], 1)).sum(axis=1) * within[l]
        seen = (share * np.nan_to_num(observed[rows, :, l] - centre[:, l])).sum(axis=1)
        line = LineMeans(
            expected=share @ shift,
            fitted=np.tile((share @ shift)[:, None], (1, NODES)),
            extra=(alone + together)[:, None] * nodes,
            noise=noise[:, None] * nodes,
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


def find_law(known: np.ndarray, plots: np.ndarray, within: float, i: int) -> tuple[float, float, np.ndarray]:
    """Of a new line in environment i: its expected value, the variance beside that within cells, and nodes for both.

    Parameters
    ----------
    known, plots : (J, I) means of the training cells of a trait, NaN where there is none, and their plots
    within : variance of a plot within its cell

    Returns
    -------
    mean, between : float
    nodes : (NODES,) factors of the variances: n / chi2_n at evenly spaced probabilities
    """
    here = ~np.isnan(known[:, i])
    if here.any():
        values = known[here, i]
        n, shrunk = len(values), within * float((1.0 / plots[here, i]).mean())
        total = values.var(ddof=1) if n > 1 else pool_variance(known)
        return float(values.mean()), max(total - shrunk, 0.0) + total / n, find_nodes(n - 1 if n > 1 else MANY)
    centres = average(known)
    centres = centres[~np.isnan(centres)]
    shrunk = within * float((1.0 / plots[plots > 0]).mean())
    envs = centres.var(ddof=1) if len(centres) > 1 else 0.0
    between = max(pool_variance(known) - shrunk, 0.0) + envs * (1.0 + 1.0 / len(centres))
    return float(centres.mean()), between, find_nodes(len(centres) - 1 if len(centres) > 1 else MANY)


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
    degrees = np.maximum(counts - 1, 0).sum(axis=(0, 1))
    order = np.sort(left**2, axis=0)  # no digit depends on the order of the records
    return np.divide(np.nansum(order, axis=0), degrees, out=np.zeros(len(degrees)), where=degrees > 0)
