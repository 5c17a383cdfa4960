"""Predictions of lines' means over the environments in which they are hidden, from joint draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bmtme.engines.rotated.problem import Problem
from bmtme.model.scaling import Scaling
from bmtme.results.entries import Column
from bmtme.results.predictions import Mixture, Predictor, allocate


@dataclass(frozen=True)
class LineMeans(Mixture):
    """The n lines' means over environments for one trait, each value less a constant of its environment.

    Attributes
    ----------
    n_envs : (n,) number of the environments
    """

    n_envs: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def predict_line_means(
    predictor: Predictor,
    problem: Problem,
    scaling: Scaling,
    columns: Sequence[Column],
    cells: np.ndarray,
    n_obs: np.ndarray,
    observed: np.ndarray,
    centre: np.ndarray,
) -> dict[str, np.ndarray]:
    """Columns of the lines' means that are no keys, in the user's units, by name.

    With k environments of a line, the mean of its values in draw s has the variance ``v 1'C_s 1 / k^2 + sum_i R_s,i /
    (n_i k^2)``, v what the relationship leaves to a line without a record (0 for others), C_s the genetic covariance of
    the environments for the trait, n_i the plots; of a line without a record, Sigma_r,ll of a line effect is added, and
    what replicates and blocks without a record add to each environment.

    Parameters
    ----------
    cells : (n, I, L) bool
        Over which to take means; others do not count.
    n_obs, observed : (n, I, L) number of plots and mean of them, at least one in the cells wanted
    centre : (I, L)
        Taken off predicted and observed values alike, so that lines in different environments can be compared.

    Returns
    -------
    dict of (n, L) arrays
    """
    n, _, n_trait = cells.shape
    made = [column for column in columns if column.make is not None]
    out = {column.name: allocate(column, (n, n_trait)) for column in made}
    for l in range(n_trait):
        rows = np.flatnonzero(cells[:, :, l].any(axis=1))
        if len(rows) == 0:
            continue
        inside = cells[rows, :, l]
        share = inside / inside.sum(axis=1, keepdims=True)
        shape = (len(rows), len(predictor.beta))
        expected, seen = np.zeros(shape[0]), np.zeros(shape[0])
        fitted, noise, error = np.zeros((3, *shape))
        for i in np.flatnonzero(inside.any(axis=0)).tolist():
            here = np.flatnonzero(inside[:, i])
            part, weight = rows[here], share[here, i]
            constant = (centre[i, l] - scaling.centre[l]) / scaling.scale[l]
            told, reps, known = predictor.tell(i, l, part), predictor.shift(i, l, part), predictor.err(i, l, part)
            shift = told.shift + reps.shift
            expected[here] += weight * (predictor.expect(i, l, part) + shift.mean(axis=1) - constant)
            fitted[here] += weight[:, None] * (predictor.draw(i, l, part) + shift - constant)
            noise[here] += (weight**2 / n_obs[part, i, l])[:, None] * told.variance
            noise[here] += (weight**2)[:, None] * (reps.variance + known.variance)
            error[here] += weight[:, None] * known.shift
            seen[here] += weight * (observed[part, i, l] - centre[i, l])
        extra = np.zeros(shape)
        new = np.flatnonzero(predictor.targets.recorded[rows] < 0)
        if len(new):
            C = relate_envs(predictor, problem, l)
            patterns, which = np.unique(share[new], axis=0, return_inverse=True)
            variances = np.einsum("ai,sij,aj->as", patterns, C, patterns)
            extra[new] = predictor.add(rows[new], variances[which.ravel()], l)
        told_of = seen, seen / scaling.scale[l], error
        line = LineMeans(expected, fitted, extra, noise, *told_of, inside.sum(axis=1))
        for column in made:
            out[column.name][rows, l] = column.unit.restore(column.of(line), scaling.take(l))
    return out


def relate_envs(predictor: Predictor, problem: Problem, l: int) -> np.ndarray:
    """Genetic covariance of all environments for a trait, (S, I, I), in the draws that the predictor looks at."""
    n_env, n_trait = problem.n_env, problem.n_trait
    if problem.proportional:
        return predictor.join("Sigma_t")[:, l, l][:, None, None] * (
            1.0 + predictor.join("s2_E")[:, :, None] * np.eye(n_env)
        )
    from bmtme.structures.part import build_matrices

    shape = (n_env * n_trait, n_env * n_trait)
    C = build_matrices(problem.whole_genetic, predictor.join("theta"), shape)
    return np.asarray(C[:, l::n_trait, l::n_trait])
