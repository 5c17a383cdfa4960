"""Paired differences between the scores of models: what they are averaged over, and their error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from bmtme.results.scores import Score

By = Literal["cell", "trait", "all"]

#: Partitions from which on a difference is told from its error.
FEWEST_PARTITIONS = 3


@dataclass(frozen=True)
class Design:
    """What a scheme hides.

    Attributes
    ----------
    unit : {"lines", "envs", "cells"}
        What is hidden as a whole.
    ratio : float
        n_test / n_train in these units, from means over the partitions.
    alone : bool
        Whether every partition hides one whole environment.
    env_ratio : float
        The same in environments.
    """

    unit: str
    ratio: float
    alone: bool
    env_ratio: float

    @classmethod
    def of(cls, partitions: Sequence[Mapping[str, Any]]) -> Design:
        """From the record of the partitions: lines where lines are hidden whole, else environments, else cells."""
        count = {
            unit: (
                np.array([entry[f"{unit}_hidden"] for entry in partitions], dtype=np.float64),
                np.array([entry[f"{unit}_kept"] for entry in partitions], dtype=np.float64),
            )
            for unit in ("lines", "envs", "cells")
        }
        unit = next((name for name in ("lines", "envs") if (count[name][0] > 0).all()), "cells")
        ratio = {name: float(hidden.sum() / max(kept.sum(), 1.0)) for name, (hidden, kept) in count.items()}
        return cls(unit, ratio[unit], bool((count["envs"][0] == 1).all()), ratio["envs"])


@dataclass(frozen=True, eq=False)
class Grid:
    """What is compared, by model, partition and cell, in the order of the names of the latter two.

    Attributes
    ----------
    partitions : labels of the P partitions
    cells : names of environment and trait of the C cells
    values : (M, P, C) scores, or their distances from the best value; NaN where there is none
    """

    partitions: list[str]
    cells: list[tuple[str, str]]
    values: np.ndarray

    @classmethod
    def of(cls, scores: pd.DataFrame, score: Score, models: Sequence[str]) -> Grid:
        """From the scores of a cross-validation."""
        partitions = sorted(set(scores["partition"]))
        cells = sorted(set(zip(scores["env"], scores["trait"], strict=True)))
        places = [{name: k for k, name in enumerate(names)} for names in (models, partitions, cells)]
        values = np.full((len(models), len(partitions), len(cells)), np.nan)
        cell = [places[2][pair] for pair in zip(scores["env"], scores["trait"], strict=True)]
        values[scores["model"].map(places[0]), scores["partition"].map(places[1]), cell] = scores[score.name]
        return cls(partitions, cells, score.measure(values))

    def group(
        self, by: By, envs: Sequence[str] | None, traits: Sequence[str] | None
    ) -> Iterator[tuple[tuple[str | None, str | None], np.ndarray]]:
        """Environment and trait of each row of a comparison, and which of the C cells it is of."""
        there = [list(dict.fromkeys(names)) for names in zip(*self.cells, strict=True)] or [[], []]
        envs, traits = (given or sorted(found) for given, found in zip((envs, traits), there, strict=True))
        every = np.array(self.cells, dtype=object).reshape(-1, 2)
        if by == "cell":
            for env in envs:
                for trait in traits:
                    if (env, trait) in self.cells:
                        yield (env, trait), (every == (env, trait)).all(axis=1)
        elif by == "trait":
            for trait in traits:
                if trait in there[1]:
                    yield (None, trait), every[:, 1] == trait
        else:
            yield (None, None), np.ones(len(every), dtype=bool)

    def number_replicates(self, alone: bool) -> np.ndarray:
        """(P, C) number of the replicate that a score belongs to: its partition, or its environment."""
        shape = self.values.shape[1:]
        if alone:
            place = {env: k for k, env in enumerate(sorted({env for env, _ in self.cells}))}
            return np.broadcast_to([place[env] for env, _ in self.cells], shape)
        return np.broadcast_to(np.arange(shape[0])[:, None], shape)


def average_replicates(
    difference: np.ndarray, where: np.ndarray, replicate: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means (K,) of the differences within each replicate that has any, and the weights (P, C) of their mean."""
    number, member = np.unique(replicate[where], return_inverse=True)
    count = np.bincount(member, minlength=len(number))
    weight = np.zeros(where.shape)
    weight[where] = 1.0 / (len(number) * count[member]) if len(number) else 0.0
    return np.bincount(member, difference[where], minlength=len(number)) / np.maximum(count, 1), weight


def judge_difference(values: np.ndarray, ratio: float) -> dict[str, float]:
    """Mean of paired differences, standard error, 95% interval and p by Nadeau and Bengio; NaN where not to be told."""
    K = len(values)
    found = dict.fromkeys(("difference", "se", "lower", "upper", "p"), np.nan)
    if K:
        found["difference"] = mean = float(values.mean())
    if K > 1:
        found["se"] = se = float(np.sqrt((1.0 / K + ratio) * values.var(ddof=1)))
    if K >= FEWEST_PARTITIONS and values.any():
        half = float(stdtrit(K - 1, 0.975)) * se
        found |= {"lower": mean - half, "upper": mean + half}
        found["p"] = float(2.0 * stdtr(K - 1, -abs(mean) / se)) if se > 0 else float(mean == 0.0)
    return found


def adjust_holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p of those that are not missing."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
