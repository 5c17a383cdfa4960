"""The trial of one trait."""

from __future__ import annotations

import numpy as np

from bmtme.data.covariances import take_covariances, take_traits
from bmtme.data.trial import Trial

__all__ = ["take_trait"]


def take_trait(trial: Trial, trait: int, envs: np.ndarray | None = None) -> Trial:
    """The trial of one trait, by its place; lines and records stay, also those without a value of it.

    Parameters
    ----------
    envs : (I,) bool array, optional
        The environments that stay, with their records; default all.
    """
    envs = np.ones(len(trial.envs), bool) if envs is None else envs
    kept = np.flatnonzero(envs[trial.env_index])
    covariances = trial.error_covariances
    if covariances is not None:
        covariances = take_traits(take_covariances(covariances, trial.envs, trial.env_index, kept), [trait])
    return trial.take_records(
        kept,
        envs=tuple(name for name, keep in zip(trial.envs, envs, strict=True) if keep),
        traits=(trial.traits[trait],),
        env_index=(np.cumsum(envs) - 1)[trial.env_index[kept]],
        values=trial.values[kept][:, [trait]],
        se=trial.se[kept][:, [trait]] if trial.se is not None and trial.has_se[trait] else None,
        se_correlation=None,
        error_covariances=covariances,
    )
