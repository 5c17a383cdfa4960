"""Which lines are predicted from a fit, and the table of their predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bmtme.data.trial import Trial
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import DataError
from bmtme.model.eigenbasis import BENDING
from bmtme.model.scaling import Scaling
from bmtme.preparation import Prepared
from bmtme.results.known_errors import find_known_errors
from bmtme.results.linemeans import predict_line_means
from bmtme.results.predictions import Predictor, Targets, predict_cells, tabulate_predictions
from bmtme.results.quantities import LINE_MEANS, list_predictions
from bmtme.results.replicates import find_levels
from bmtme.results.residuals import Plots


def choose_targets(prepared: Prepared, lines: tuple[str, ...]) -> Targets:
    """Where the lines to be predicted stand: among those with a record, or by projection from these."""
    place = {name: j for j, name in enumerate(prepared.lines)}
    recorded = np.array([place.get(name, -1) for name in lines], dtype=np.int64)
    new = [name for name in lines if name not in place]
    relationship, basis = prepared.relationship, prepared.basis
    if relationship.is_identity:
        return Targets(recorded, np.zeros((len(new), len(prepared.lines))), np.ones(len(new)))
    if not new:
        return Targets(recorded, np.zeros((0, len(prepared.lines))), np.zeros(0))
    others, known = relationship.index(new), relationship.index(prepared.lines)
    A, explained = basis.project(relationship.matrix[np.ix_(others, known)])
    total = relationship.matrix[others, others] / basis.scale
    spare = total - explained
    worst = int(np.argmin(spare / total))
    if spare[worst] < -1e-6 * total[worst]:
        raise DataError(
            f"the relationship of line {new[worst]!r} (without records) with the lines that have records cannot be: "
            f"they explain {100 * explained[worst] / total[worst]:.4g}% of its variance, so the matrix is not positive "
            f"semi-definite. Check how it was made, or {BENDING}."
        )
    return Targets(recorded, A, np.maximum(spare, 0.0))


def predict(prepared: Prepared, scaling: Scaling, chains: list[Draws], trial: Trial, targets: Targets) -> pd.DataFrame:
    """Predictions of all lines of the relationship, in computing order.

    Parameters
    ----------
    trial : whose plots are described by ``n_obs`` and ``observed``; in computing order, as `Prepared.trial` is
    targets : from `choose_targets` for the sorted lines of the relationship
    """
    assert trial.envs == prepared.trial.envs, "the trial is not in computing order"
    lines = tuple(sorted(prepared.relationship.lines))
    place = {name: j for j, name in enumerate(trial.lines)}
    counts, means = trial.plots(), trial.cell_means()
    n_obs = np.zeros((len(lines), *counts.shape[1:]), dtype=np.int64)
    observed = np.full(n_obs.shape, np.nan)
    here = [(n, place[name]) for n, name in enumerate(lines) if name in place]
    if here:
        n, j = (np.array(index) for index in zip(*here, strict=True))
        n_obs[n], observed[n] = counts[j], means[j]
    columns = list_predictions()
    predictor = Predictor(chains, prepared.basis, targets)
    predicted = predict_cells(predictor, scaling, columns, None, n_obs, observed)
    return tabulate_predictions(columns, {"line": lines, "env": trial.envs, "trait": trial.traits}, predicted)


def predict_hidden(
    prepared: Prepared,
    problem: Problem,
    scaling: Scaling,
    chains: list[Draws],
    trial: Trial,
    cells: np.ndarray,
    plots: Plots | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of hidden cells, and of their lines' means over environments, in computing order.

    Parameters
    ----------
    prepared, problem, scaling, chains : of the training part
    trial : with the hidden values, in computing order
    cells : (J, I, L) bool over the lines of `trial`, all with a value
    plots : over the lines of `trial`, in the user's units, where records are predicted from their other traits
    """
    assert trial.envs == prepared.trial.envs, "the trial is not in computing order"
    counts, means = trial.plots(), trial.cell_means()
    if plots is not None:
        plots = replace(plots, values=(plots.values - scaling.centre) / scaling.scale)
    levels = find_levels(prepared, trial)
    errors = find_known_errors(prepared, scaling, trial, cells)
    predictor = Predictor(chains, prepared.basis, choose_targets(prepared, trial.lines), plots, levels, errors)
    columns = list_predictions(hidden=True)
    predicted = predict_cells(predictor, scaling, columns, cells, counts, means)
    labels = {"line": trial.lines, "env": trial.envs, "trait": trial.traits}
    table = tabulate_predictions(columns, labels, predicted, cells)
    centre = centre_envs(prepared.trial)
    predicted = predict_line_means(predictor, problem, scaling, LINE_MEANS, cells, counts, means, centre)
    del labels["env"]
    return table, tabulate_predictions(LINE_MEANS, labels, predicted, np.asarray(cells.any(axis=1)))


def centre_envs(training: Trial) -> np.ndarray:
    """(I, L) means of the lines of a training part; where an environment has no record, of the trait."""
    centre = average(training.cell_means())
    return np.where(np.isnan(centre), average(centre), centre)


def average(values: np.ndarray) -> np.ndarray:
    """Means along the first axis of what is there, NaN where nothing is."""
    there = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), there, out=np.full(there.shape, np.nan), where=there > 0)
