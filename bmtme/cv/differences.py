"""Paired differences between the scores of models: what they are averaged over, and their error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
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
        Whether environments are the replicates: every partition hides a whole one, or scores one alone, each of its
        traits once (`CV2`).
    env_ratio : float
        n_test / n_train in environments.
    """

    unit: str
    ratio: float
    alone: bool
    env_ratio: float

    @classmethod
    def of(cls, partitions: Sequence[Mapping[str, Any]], scores: pd.DataFrame) -> Design:
        """From the record of the partitions: lines where lines are hidden whole, else environments, else cells.

        scores : of a cross-validation, to see which environments and traits a partition scores
        """
        count = {
            unit: (
                np.array([entry[f"{unit}_hidden"] for entry in partitions], dtype=np.float64),
                np.array([entry[f"{unit}_kept"] for entry in partitions], dtype=np.float64),
            )
            for unit in ("lines", "envs", "cells")
        }
        unit = next((name for name in ("lines", "envs") if (count[name][0] > 0).all()), "cells")
        ratio = {name: float(hidden.sum() / max(kept.sum(), 1.0)) for name, (hidden, kept) in count.items()}
        scored = scores[["partition", "env", "trait"]].drop_duplicates()
        alone = bool((count["envs"][0] == 1).all())
        if unit == "cells" and _stand_alone(scored):
            alone, ratio["envs"] = True, 1.0 / max(scored["env"].nunique() - 1, 1)
        return cls(unit, ratio[unit], alone, ratio["envs"])


def _stand_alone(scored: pd.DataFrame) -> bool:
    """Whether every partition scores one environment alone, and every environment and trait is scored once."""
    once = not scored.duplicated(["env", "trait"]).any()
    return once and len(scored) > 0 and bool((scored.groupby("partition")["env"].nunique() == 1).all())


def number_folds(predictions: pd.DataFrame, partitions: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """(P,) number of the fold of lines that each partition scores; None where all of them share lines.

    Partitions that share a line are of one fold, as those of `NewLinesNewEnvironments` in its environments.
    """
    place = {label: k for k, label in enumerate(partitions)}
    pairs = predictions[["partition", "line"]].drop_duplicates()
    pairs = pairs[pairs["partition"].isin(place)]
    if set(pairs["partition"]) != set(partitions):
        return None
    lines, line = np.unique(pairs["line"].to_numpy(dtype=object).astype(str), return_inverse=True)
    size = len(partitions) + len(lines)
    at = pairs["partition"].map(place).to_numpy(), len(partitions) + line
    number, label = connected_components(coo_matrix((np.ones(len(pairs)), at), shape=(size, size)), directed=False)
    return np.unique(label[: len(partitions)], return_inverse=True)[1] if number > 1 else None


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
        if alone:
            place = {env: k for k, env in enumerate(sorted({env for env, _ in self.cells}))}
            return np.broadcast_to([place[env] for env, _ in self.cells], self.values.shape[1:])
        return self.spread(np.arange(len(self.partitions)))

    def spread(self, number: np.ndarray) -> np.ndarray:
        """(P,) numbers of the partitions for each of their cells (P, C)."""
        return np.broadcast_to(number[:, None], self.values.shape[1:])


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


def judge_both(values: np.ndarray, ratio: float, others: np.ndarray | None, other_ratio: float) -> dict[str, float]:
    """The same by replicates of two kinds, of which the one with the wider interval is told; None for no others."""
    found = judge_difference(values, ratio)
    if others is None or not len(values):
        return found
    other = judge_difference(others + (values.mean() - others.mean()), other_ratio)
    if np.isnan(other["p"]):
        return found | dict.fromkeys(("lower", "upper", "p"), np.nan)
    return other if other["upper"] > found["upper"] else found


def adjust_holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p of those that are not missing."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
