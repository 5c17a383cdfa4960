"""Covariances of the errors of a trial's records: checked, and taken along with records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmtme.arguments import as_array, show
from bmtme.errors import DataError, UsageError
from bmtme.words import suggest

__all__ = ["check_covariances", "find_errors", "separate_errors", "take_covariances", "take_traits"]

#: By environment, (n, L, n, L) over its records, in their order, and traits.
Covariances = Mapping[str, np.ndarray]


def check_covariances(
    given: Any, envs: Sequence[str], line_index: np.ndarray, env_index: np.ndarray, seen: np.ndarray
) -> Covariances:
    """The same with an array for each environment, read-only, checked.

    seen : (N, L) bool, which values there are

    Raises
    ------
    DataError
        If a line has two records in an environment, shapes disagree, or a value has no positive variance.
    UsageError
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"error_covariances must be a dict of arrays by environment, got {show(given)}.")
    unknown = [env for env in given if env not in envs]
    if unknown:
        raise DataError(f"error_covariances holds environment {unknown[0]!r}.{suggest(str(unknown[0]), envs)}")
    cells = env_index * (line_index.max(initial=0) + 1) + line_index
    if len(np.unique(cells)) < len(cells):
        raise DataError("error_covariances needs one record for each line in an environment, as of adjusted means.")
    checked = {}
    for i, env in enumerate(envs):
        here = np.flatnonzero(env_index == i)
        shape = (len(here), seen.shape[1]) * 2
        V = as_array(given.get(env, np.zeros(shape)), "error_covariances")
        if V.dtype != np.float64 or V.flags.writeable:  # large ones that were checked are not copied again
            V = np.array(V, dtype=np.float64)
        if V.shape != shape:
            raise DataError(
                f"error_covariances of environment {env!r} must be over its records and the traits, twice: expected "
                f"{shape}, got {V.shape}."
            )
        variances = np.einsum("nlnl->nl", V)
        if not np.isfinite(V).all() or not (variances[seen[here]] > 0.0).all():
            raise DataError(
                f"error_covariances of environment {env!r} must be finite, with a positive variance for every value."
            )
        V.setflags(write=False)
        checked[env] = V
    return checked


def find_errors(
    covariances: Covariances, envs: Sequence[str], env_index: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """(N, L) standard errors, NaN where there is none."""
    variances = np.zeros(shape)
    for i, env in enumerate(envs):
        variances[env_index == i] = np.einsum("nlnl->nl", covariances[env])
    return np.sqrt(np.where(variances > 0.0, variances, np.nan))


def separate_errors(
    covariances: Covariances, envs: Sequence[str], env_index: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """(N, L) variance of the error of each value, less its mean covariance with those of its environment and trait.

    On average half the variance of the difference of two errors: what they have in common tells no lines apart.
    """
    own = np.zeros(seen.shape)
    for i, env in enumerate(envs):
        here = np.flatnonzero(env_index == i)
        for l in range(seen.shape[1]):
            n = np.flatnonzero(seen[here, l])
            V = covariances[env][n[:, None], l, n, l]
            common = (V.sum(axis=1) - V.diagonal()) / max(len(n) - 1, 1)
            own[here[n], l] = np.maximum(V.diagonal() - common, 0.0)
    return own


def take_covariances(
    covariances: Covariances, envs: Sequence[str], env_index: np.ndarray, records: np.ndarray
) -> Covariances:
    """Of some records, by their places and in that order; environments without one are left out."""
    taken = {}
    of = env_index[records]
    for i in np.unique(of).tolist():
        place = np.searchsorted(np.flatnonzero(env_index == i), records[of == i])
        taken[envs[i]] = covariances[envs[i]][place][:, :, place]
    return taken


def take_traits(covariances: Covariances, traits: Sequence[int] | np.ndarray) -> Covariances:
    """Of some traits, by their places and in that order."""
    return {env: V[:, traits][:, :, :, traits] for env, V in covariances.items()}
