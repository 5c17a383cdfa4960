"""Trials of a given pattern of records, shuffled trials, and masks by name."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chisquare

from bmtme.cv.partitions import Partition, tabulate_partitions
from bmtme.data.trial import Trial

TRAITS = ["Yield", "ASI"]


def trial_of_pattern(pattern: npt.ArrayLike, values: np.ndarray | None = None, reps: int = 1) -> Trial:
    """Trial with a record wherever the line x env pattern is true; traits all recorded unless values are given."""
    there = np.asarray(pattern, dtype=bool)
    rng = np.random.default_rng(0)
    rows = []
    for j, i in itertools.product(*map(range, there.shape)):
        for rep in range(reps):
            row = {"line": f"L{j:03d}", "env": f"E{i}", "rep": str(rep)}
            drawn = rng.normal(size=2) if values is None else values[j, i]
            if not there[j, i]:
                drawn = [np.nan, np.nan]
            rows.append(row | dict(zip(TRAITS, drawn, strict=True)))
    return Trial.from_frame(pd.DataFrame(rows), line="line", env="env", rep="rep", traits=TRAITS)


def incomplete(seed: int, lines: int = 40, envs: int = 4) -> np.ndarray:
    """Random pattern in which every line has two environments or more."""
    rng = np.random.default_rng(seed)
    pattern = rng.random((lines, envs)) < 0.6
    for row in pattern:
        row[rng.choice(envs, 2, replace=False)] = True
    return pattern


def shuffle(trial: Trial, seed: int = 0) -> Trial:
    """The same records in another order, so that lines and environments are in another order, too."""
    frame = trial.to_frame().sample(frac=1.0, random_state=seed)
    rep = "rep" if "rep" in frame else None
    return Trial.from_frame(frame, line="line", env="env", traits=trial.traits, rep=rep)


def by_name(partitions: Sequence[Partition], trial: Trial) -> list[tuple[str, frozenset[tuple[object, ...]]]]:
    """Labels, each with its hidden and recorded cells by name and whether they are scored."""
    table = tabulate_partitions(partitions, trial)
    return [
        (partition.label, frozenset(table[table["partition"] == partition.label].itertuples(index=False, name=None)))
        for partition in partitions
    ]


def hidden_lines(partition: Partition, trial: Trial) -> list[str]:
    """Lines with a record that lose all of them, by name."""
    recorded = trial.counts() > 0
    lost = recorded.any(axis=(1, 2)) & ~(recorded & ~partition.hidden).any(axis=(1, 2))
    return sorted(np.array(trial.lines)[lost].tolist())


def is_uniform(found: Iterable[Hashable], outcomes: int) -> bool:
    """Whether outcomes are equally frequent, by a chi-square test at one in a million."""
    counts = Counter(found)
    if len(counts) != outcomes:
        return False
    return bool(chisquare(list(counts.values())).pvalue > 1e-6)
