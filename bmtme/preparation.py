"""Before a sampler runs: lines matched and laid out, G decomposed, data and priors scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bmtme.errors import DataError, UsageError
from bmtme.gibbs.problem import MeanPrior, Problem, build_problem
from bmtme.kernels.beta import FLAT
from bmtme.model.checkup.constants import refuse_constants
from bmtme.model.eigenbasis import Eigenbasis, decompose_relationship
from bmtme.model.layout import Layout, lay_out
from bmtme.model.relationship.matrix import Relationship, match_lines
from bmtme.model.scaling import (
    MEAN_KINDS,
    PAPER_NU,
    PAPER_SCALE,
    TAU_NU,
    Scaling,
    measure_traits,
    scale_priors,
)
from bmtme.model.structure import BMTME
from bmtme.model.tables.cells import list_names
from bmtme.model.trial import Trial

Decompose = Callable[[np.ndarray, np.ndarray, bool], Eigenbasis]


@dataclass(frozen=True)
class Prepared:
    """A trial matched to its relationship and laid out for the sampler; arrays cover records with a value."""

    trial: Trial  # as given, less the lines dropped
    relationship: Relationship
    dropped: tuple[str, ...]
    lines: tuple[str, ...]  # with a record, in the order of the trial
    values: np.ndarray  # (N, L) of the records with a value, user's units
    layout: Layout
    basis: Eigenbasis

    @property
    def observed(self) -> np.ndarray:
        """(N, L) whether a value was recorded."""
        return ~np.isnan(self.values)


def prepare(
    trial: Trial,
    relationship: Relationship,
    unrelated: Literal["error", "drop"] = "error",
    decompose: Decompose = decompose_relationship,
) -> Prepared:
    """Match lines by name, find what is recorded, lay the records out and decompose the relationship.

    decompose : stands in for `decompose_relationship` where the caller keeps decompositions

    Raises
    ------
    DataError
        For lines without a relationship, a trait without any value or without variation within an environment, fewer
        than two lines with a record, or a relationship that is not positive semi-definite.
    """
    if not isinstance(trial, Trial):
        raise UsageError(f"expected a Trial (bmtme.read_trial or Trial.from_frame), got {type(trial).__name__}.")
    if not isinstance(relationship, Relationship):
        raise UsageError(
            "expected a Relationship (bmtme.read_relationship or bmtme.Relationship), got "
            f"{type(relationship).__name__}."
        )
    trial, dropped = match_lines(trial, relationship, unrelated)
    observed = ~np.isnan(trial.values)
    for l, trait in enumerate(trial.traits):
        if not observed[:, l].any():
            raise DataError(f"trait {trait!r} has no value: leave it out or check its column.")
    refuse_constants(trial)
    records = np.flatnonzero(observed.any(axis=1))
    places, line_of = np.unique(trial.line_index[records], return_inverse=True)
    if len(places) < 2:
        raise DataError(f"only {len(places)} line has records; at least two are needed.")
    lines = tuple(trial.lines[j] for j in places)
    layout = lay_out(observed[records], line_of, trial.env_index[records], len(lines), len(trial.envs))
    if relationship.is_identity:
        basis = decompose(np.empty((len(lines), 0)), layout.multiples, True)
    else:
        index, matrix = relationship.index(lines), relationship.matrix
        if not np.array_equal(index, np.arange(len(matrix))):  # thousands of lines: no copy without need
            matrix = matrix[np.ix_(index, index)]
        basis = decompose(matrix, layout.multiples, False)
    return Prepared(trial, relationship, dropped, lines, trial.values[records], layout, basis)


def build(prepared: Prepared, model: BMTME) -> tuple[Problem, Scaling]:
    """Scale the data and the priors, and assemble the sampler's constants."""
    if not isinstance(model, BMTME):
        raise UsageError(f"expected a bmtme.BMTME model, got {type(model).__name__}.")
    trial = prepared.trial
    centre, scale = measure_traits(prepared.values, trial.traits, pooled=model.units == "raw")
    scaling = Scaling(centre, scale, prepared.basis.scale)
    prior_t, prior_E, prior_e = scale_priors(model, trial.traits, trial.envs, scaling)
    L = len(trial.traits)
    kind = MEAN_KINDS[model.means]
    if len(trial.envs) == 1:
        kind = FLAT
    recorded = prepared.layout.recorded
    if kind == FLAT and not recorded.all():
        absent = [f"{trial.envs[i]} x {trial.traits[l]}" for i, l in np.argwhere(~recorded)]
        raise DataError(
            f"means='flat' cannot serve environment x trait columns without any record ({list_names(absent)}): their "
            "means would be anything. Use means='exchangeable', or leave these environments or traits out."
        )
    means = MeanPrior(
        kind, np.zeros(L), np.zeros(L), TAU_NU, np.ones(L), scale, centre, PAPER_NU, PAPER_SCALE
    )
    values = (prepared.values - centre) / scale
    inner = choose_inner(prepared.layout.imputed_share)
    return build_problem(prepared.layout, prepared.basis, values, prior_t, prior_E, prior_e, means, inner), scaling


def choose_inner(imputed_share: float) -> int:
    """Augmentation sweeps (means and effects, then imputation) for each move of the covariances.

    What is imputed from the current effects, and the effects from it, mix slowly where much is missing and the
    residual variance is small; repeating these two steps costs less than repeating the whole sweep.
    """
    return 1 if imputed_share < 0.25 else 2 if imputed_share < 0.4 else 4
