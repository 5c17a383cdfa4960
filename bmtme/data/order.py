"""The computing order: by name, so that numbers do not depend on the order of a file.

Floating point sums, random numbers and eigenvectors all depend on an order. Lines and environments are computed in
the order of their names (as text, by code point), the plots of a cell in that of their reps, blocks, covariates and
then values; results are shown in the order given. Traits keep the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.data.trial import Trial

__all__ = ["sort_names", "sort_trial"]


def sort_names(names: Sequence[str]) -> np.ndarray:
    """Places of the names in computing order: int64 array."""
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)


def sort_trial(trial: Trial) -> tuple[Trial, np.ndarray]:
    """The same records, with lines, environments and plots in computing order.

    Returns
    -------
    trial : Trial
    records : (N,) int64 array
        Of each record of the sorted trial, its place in the one given.
    """
    lines, envs = sort_names(trial.lines), sort_names(trial.envs)
    line, env = np.argsort(lines)[trial.line_index], np.argsort(envs)[trial.env_index]
    # The first key is the last to decide. Records alike in all of these are interchangeable.
    precision = [] if trial.n_plots is None else [trial.n_plots]
    precision += [] if trial.se is None else [*trial.se.T]
    labels = [*trial.blocks.values(), trial.reps or ("",) * trial.n_records]
    keys = [*precision, *trial.values.T[::-1], *trial.covariates.values(), *map(rank_labels, labels), env, line]
    records = np.lexsort(keys)
    ordered = trial.take_records(
        records,
        lines=tuple(trial.lines[j] for j in lines),
        envs=tuple(trial.envs[i] for i in envs),
        line_index=line[records],
        env_index=env[records],
    )
    return ordered, records


def rank_labels(labels: Sequence[str]) -> np.ndarray:
    """Places of labels, which may repeat, in the order of their names."""
    place = {label: position for position, label in enumerate(sorted(set(labels)))}
    return np.array([place[label] for label in labels], dtype=np.int64)
