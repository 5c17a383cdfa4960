"""The trial of one trait."""

from __future__ import annotations

import numpy as np

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
    return trial.take_records(
        kept,
        envs=tuple(name for name, keep in zip(trial.envs, envs, strict=True) if keep),
        traits=(trial.traits[trait],),
        env_index=(np.cumsum(envs) - 1)[trial.env_index[kept]],
        values=trial.values[kept][:, [trait]],
        se=take_errors(trial, kept, trait),
        se_correlation=None,
    )


def take_errors(trial: Trial, kept: np.ndarray, trait: int) -> np.ndarray | None:
    """Standard errors (n, 1) of a trait in some records, None where it has none."""
    if trial.se is None or np.isnan(trial.se[:, trait]).all():
        return None
    return trial.se[kept][:, [trait]]
