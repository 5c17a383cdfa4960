"""Digests of what models learn from, by which runs made apart are known to be of the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from bmtme.data.covariances import take_covariances, take_traits
from bmtme.data.order import sort_names, sort_trial
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial


def digest_data(trial: Trial, relationship: Relationship) -> dict[str, str]:
    """All of them, for the record of a run."""
    return {
        "trial_digest": digest_trial(trial),
        "effects_digest": digest_effects(trial),
        "relationship_digest": digest_relationship(relationship),
    }


def digest_trial(trial: Trial) -> str:
    """BLAKE2 digest of the recorded values with their names, numbers of plots and errors.

    Neither the order of rows and traits nor reps matter.
    """
    there = ~np.isnan(trial.values).all(axis=1)
    traits = sort_names(trial.traits)
    covariances = trial.error_covariances
    if covariances is not None:
        kept = take_covariances(covariances, trial.envs, trial.env_index, np.flatnonzero(there))
        covariances = take_traits(kept, traits)
    bare, _ = sort_trial(
        Trial(
            trial.lines,
            trial.envs,
            tuple(trial.traits[t] for t in traits),
            trial.line_index[there],
            trial.env_index[there],
            trial.values[there][:, traits],
            n_plots=None if trial.n_plots is None else trial.n_plots[there],
            se=None if trial.se is None else trial.se[there][:, traits],
            error_covariances=covariances,
        )
    )
    hashed = hashlib.blake2b(digest_size=16)
    # Lines and environments without a value tell nothing: the names of each record, not those listed.
    for names in (
        bare.traits,
        (bare.lines[j] for j in bare.line_index),
        (bare.envs[i] for i in bare.env_index),
    ):
        _add_names(hashed, names)
    # One NaN, one zero.
    hashed.update(np.where(np.isnan(bare.values), np.nan, bare.values + 0.0).tobytes())
    if bare.n_plots is not None:
        hashed.update(bare.n_plots.tobytes())
    if bare.se is not None:
        hashed.update(np.where(np.isnan(bare.se), np.nan, bare.se).tobytes())
    if bare.error_covariances is not None:
        for i, name in enumerate(bare.envs):
            seen = ~np.isnan(bare.values[bare.env_index == i])
            hashed.update((bare.error_covariances[name][seen][:, seen] + 0.0).tobytes())
    if trial.se_correlation is not None:
        hashed.update(trial.se_correlation[np.ix_(traits, traits)].tobytes())
    return hashed.hexdigest()


def digest_effects(trial: Trial) -> str:
    """BLAKE2 digest of what records have beside their values: replicates, blocks and covariates; empty for none.

    Not of the order of the records, nor of that of factors or covariates.
    """
    if trial.replicates is None and not trial.blocks and not trial.covariates:
        return ""
    ordered, _ = sort_trial(trial)
    hashed = hashlib.blake2b(digest_size=16)
    _add_names(hashed, ordered.replicates or ())
    for name in sorted(ordered.blocks):
        _add_names(hashed, (name, *ordered.blocks[name]))
    for name in sorted(ordered.covariates):
        _add_names(hashed, (name,))
        hashed.update((ordered.covariates[name] + 0.0).tobytes())
    return hashed.hexdigest()


def digest_relationship(relationship: Relationship) -> str:
    """BLAKE2 digest of the matrix and its names, in the order of these."""
    order = sort_names(relationship.lines)
    hashed = hashlib.blake2b(digest_size=16)
    _add_names(hashed, (relationship.lines[j] for j in order))
    if not relationship.is_identity:
        for j in order:  # by rows: no copy of thousands of lines
            hashed.update((relationship.matrix[j][order] + 0.0).tobytes())
    return hashed.hexdigest()


def _add_names(hashed: hashlib.blake2b, names: Iterable[str]) -> None:
    for name in names:
        text = name.encode()
        hashed.update(len(text).to_bytes(8, "little") + text)
    hashed.update(b"end of names")
