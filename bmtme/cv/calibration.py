"""Whether predictions are on the scale of what is observed, and their intervals as wide as they say, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bmtme.cv.differences import FEWEST_PARTITIONS, Design, judge_both, number_folds

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation

#: The coverage that is looked at.
NOMINAL = 0.9
#: How far from it a coverage, and how far from 1 a slope must be to be told; and the p of chance.
FAR_COVERAGE, FAR_SLOPE, FAR_CHANCE = 0.03, 0.2, 0.01


def describe_coverage(cv: CrossValidation, design: Design) -> list[str]:
    """Models and traits whose 90% intervals do not cover 90%, beyond chance between lines (or environments)."""
    table = cv.predictions
    if not {"mean_lower", "mean_upper"} <= set(table.columns):
        return []
    table = table[table["mean_lower"].notna() & table["mean_upper"].notna() & table["observed"].notna()]
    inside = (table["mean_lower"] <= table["observed"]) & (table["observed"] <= table["mean_upper"])
    table = table.assign(inside=inside)
    level = FAR_CHANCE / max(table["trait"].nunique(), 1)
    parts = []
    for model, mine in table.groupby("model", sort=False):
        texts = []
        for trait in cv.traits:
            rows = mine[mine["trait"] == trait]
            covered = float(rows["inside"].mean()) if len(rows) else np.nan
            if abs(covered - NOMINAL) > max(FAR_COVERAGE, find_chance(rows, design, level)):
                side = "narrow" if covered < NOMINAL else "wide"
                texts.append(f"{100 * covered:.0f}% for {trait} (too {side})")
        if texts:
            parts.append(f"those of {model!r} hold {', '.join(texts)}")
    return [f"90% intervals do not hold 90% of the observed values: {'; '.join(parts)}."] if parts else []


def find_chance(rows: pd.DataFrame, design: Design, level: float) -> float:
    """How far chance may take the coverage of a model and trait from what it is; infinite where nothing can be told.

    Values of a line miss together; so do those of an environment whose mean is not known, and those of a fold of lines
    that are relatives. The widest of these is taken, by t on as many clusters, whose error is at least that of so many
    values that miss by themselves.
    """
    cells = len(rows[["line", "env"]].drop_duplicates())
    apart = len(rows) == cells and rows["partition"].nunique() >= FEWEST_PARTITIONS
    clusters = ["env"] if design.alone else ["line", "partition"] if apart else ["line"]
    widest = 0.0
    for name in clusters:
        excess = (rows["inside"] - rows["inside"].mean()).groupby(rows[name]).sum()
        G = len(excess)
        if G < FEWEST_PARTITIONS:
            return math.inf
        error = math.sqrt(float((excess**2).sum()) * G / (G - 1)) / len(rows)
        least = math.sqrt(NOMINAL * (1.0 - NOMINAL) / (G if name == "env" else cells))
        widest = max(widest, float(stdtrit(G - 1, 1.0 - level / 2.0)) * max(error, least))
    return widest


def describe_slopes(cv: CrossValidation, design: Design) -> list[str]:
    """Models whose predictions spread too much or too little."""
    labels = sorted(set(cv.scores["partition"]))
    folds = number_folds(cv.predictions, labels) if design.alone and design.unit == "lines" else None
    parts = []
    for model, rows in cv.scores.groupby("model", sort=False):
        slopes = rows.loc[rows["slope"].notna(), ["partition", "env", "slope"]]
        values = _average(slopes, slopes["env" if design.alone else "partition"])
        others = None
        if folds is not None:
            others = _average(slopes, slopes["partition"].map(dict(zip(labels, folds, strict=True))))
        found = judge_both(values, design.env_ratio if design.alone else design.ratio, others, design.ratio)
        if abs(found["difference"]) > FAR_SLOPE and found["p"] < FAR_CHANCE:
            much = "much (inflated)" if found["difference"] < 0 else "little"
            parts.append(f"those of {model!r} spread too {much}, slope {1.0 + found['difference']:.2f}")
    return [f"Predictions are not on the scale of what is observed: {'; '.join(parts)}."] if parts else []


def _average(slopes: pd.DataFrame, replicate: pd.Series) -> np.ndarray:
    """Mean distances from 1 in each replicate, by size, so that no digit depends on the order of rows."""
    return slopes["slope"].groupby(replicate).mean().sort_values().to_numpy() - 1.0
