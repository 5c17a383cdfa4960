"""The scores of a cross-validation: one entry of the register for each, and the columns of the tables made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bmtme.results.agreement import (
    FEWEST_LINES,
    average,
    bias,
    is_constant,
    msep,
    pearson,
    share_top,
    slope,
    spearman,
)
from bmtme.results.entries import GIVEN, NONE, NUMBER, SQUARE, TEXT, WHOLE, Column
from bmtme.results.quantities import ENV, MODEL, PARTITION, TRAIT

FloatArray = npt.NDArray[np.float64]

#: Below this heritability a correlation says nothing of the accuracy.
LEAST_HERITABILITY = 0.05


@dataclass(frozen=True, eq=False)
class Tested:
    """The n scored lines of a model, partition, environment and trait: what a score is made of.

    Attributes
    ----------
    columns : (n,) arrays by name
        Of the predictions, `observed` and `mean` among them.
    top : float
        Share of the lines taken for the best.
    lowest : bool
        Whether low values of the trait are the best.
    heritability : float
        Of the observed means; NaN where it is unknown.
    reason : str
        Why it is unknown, or how little is known of it; empty where nobody asked for it.
    """

    columns: Mapping[str, FloatArray]
    top: float = 0.2
    lowest: bool = False
    heritability: float = np.nan
    reason: str = ""

    def __len__(self) -> int:
        return len(self.columns["observed"])

    def __getitem__(self, name: str) -> FloatArray:
        return self.columns[name]

    @property
    def pair(self) -> tuple[FloatArray, FloatArray]:
        """Observed and predicted values."""
        return self.columns["observed"], self.columns["mean"]


@dataclass(frozen=True, kw_only=True)
class Score(Column):
    """A column of the scores: how well predictions of hidden cells agree with them.

    Attributes
    ----------
    best : {"highest", "lowest"} or float
        Which score is the best; a number is a target, and the nearest score is the best.
    title, heading : str
        In figures and sentences; above its column of the printed comparison, empty for none.
    needs : tuple of str
        Columns of the predictions beside `observed` and `mean`; where one is absent, the score is missing.
    """

    best: Literal["highest", "lowest"] | float
    title: str
    heading: str = ""
    needs: tuple[str, ...] = ()

    def of(self, source: Any) -> Any:
        """What `make` makes, NaN where a column is absent."""
        return super().of(source) if all(name in source.columns for name in self.needs) else np.nan

    @property
    def sign(self) -> float:
        """1 if the highest of what `measure` gives is the best, else -1."""
        return 1.0 if self.best == "highest" else -1.0

    def measure(self, values: Any) -> Any:
        """What is compared: the scores, or their distances from the target."""
        return values if isinstance(self.best, str) else np.abs(values - self.best)

    @property
    def words(self) -> str:
        """Which is the best, in words."""
        return f"the {self.best}" if isinstance(self.best, str) else f"the nearest to {self.best:g}"


def cover(tested: Tested, end: str) -> float:
    """Share of the observed values within an interval, its ends included; NaN where an end is missing."""
    y, low, high = tested["observed"], tested[f"mean_lower{end}"], tested[f"mean_upper{end}"]
    return float(((low <= y) & (y <= high)).mean()) if np.isfinite([low, high]).all() and len(y) else np.nan


def correct(tested: Tested) -> float:
    """Pearson correlation over the root of the heritability of what was observed."""
    h2 = tested.heritability
    return pearson(*tested.pair) / math.sqrt(h2) if h2 >= LEAST_HERITABILITY else np.nan


def explain(tested: Tested) -> str:
    """Why a score is missing, or how little the accuracy says; empty if there is nothing of its own to tell."""
    y, f = tested.pair
    reasons = []
    if not np.isfinite(f).all():
        reasons.append("a prediction is missing")
    if len(y) < FEWEST_LINES:
        reasons.append(f"fewer than {FEWEST_LINES} lines")
    elif not reasons:
        if is_constant(y):
            reasons.append("the observed values are constant")
        if is_constant(f, y):
            reasons.append("the predictions are constant")
    if tested.heritability < LEAST_HERITABILITY:
        reasons.append(f"heritability below {LEAST_HERITABILITY}")
    elif tested.reason and np.isnan(tested.heritability):
        reasons.append(f"heritability unknown: {tested.reason}")
    elif np.isfinite(accuracy := correct(tested)):
        if tested.reason:
            reasons.append(f"heritability {tested.reason}")
        if accuracy > 1:
            reasons.append("accuracy above 1: chance among few lines, or the heritability is too low")
    return "; ".join(reasons)


SCORES: tuple[Score, ...] = (
    Score(
        name="pearson", kind=NUMBER, unit=NONE, meaning="correlation of predicted and observed values",
        make=lambda tested: pearson(*tested.pair),
        best="highest", title="Pearson correlation", heading="Pearson",
    ),
    Score(
        name="spearman", kind=NUMBER, unit=NONE, meaning="correlation of their ranks",
        make=lambda tested: spearman(*tested.pair),
        best="highest", title="Spearman correlation",
    ),
    Score(
        name="msep", kind=NUMBER, unit=SQUARE, meaning="mean squared error of prediction",
        make=lambda tested: msep(*tested.pair),
        best="lowest", title="mean squared error of prediction", heading="MSEP",
    ),
    Score(
        name="rmse", kind=NUMBER, unit=GIVEN, meaning="root of `msep`",
        make=lambda tested: math.sqrt(msep(*tested.pair)),
        best="lowest", title="root mean squared error",
    ),
    Score(
        name="bias", kind=NUMBER, unit=GIVEN, meaning="mean of predicted - observed",
        make=lambda tested: bias(*tested.pair),
        best=0.0, title="bias",
    ),
    Score(
        name="slope", kind=NUMBER, unit=NONE,
        meaning="slope of observed on predicted values, below 1 where predictions spread too much",
        make=lambda tested: slope(*tested.pair),
        best=1.0, title="slope of observed on predicted values",
    ),
    Score(
        name="crps", kind=NUMBER, unit=GIVEN, needs=("crps",),
        meaning="continuous ranked probability score of the predictive distributions, an error that minds their width",
        make=lambda tested: average(tested["crps"]),
        best="lowest", title="continuous ranked probability score",
    ),
    Score(
        name="log_score", kind=NUMBER, unit=NONE, needs=("log_score",),
        meaning="log predictive density of the observed values; differences are free of units",
        make=lambda tested: average(tested["log_score"]),
        best="highest", title="log score",
    ),
    *(
        Score(
            name=f"coverage_{level}", kind=NUMBER, unit=NONE, needs=(f"mean_lower{end}", f"mean_upper{end}"),
            meaning=f"share of the observed values within their {level}% intervals",
            make=partial(cover, end=end),
            best=level / 100, title=f"coverage of {level}% intervals",
        )
        for level, end in ((50, "_50"), (90, ""))
    ),
    Score(
        name="top_share", kind=NUMBER, unit=NONE,
        meaning="share of the best observed lines that are among as many best predicted ones",
        make=lambda tested: share_top(tested["observed"], tested["mean"], tested.top, tested.lowest),
        best="highest", title="share of the best lines found",
    ),
    Score(
        name="accuracy", kind=NUMBER, unit=NONE,
        meaning="`pearson` over the root of the heritability of the observed means: correlation with genetic values",
        make=correct, best="highest", title="accuracy",
    ),
)  # fmt: skip

N_TEST = Column("n_test", WHOLE, NONE, "number of lines scored", len)
NOTE = Column("note", TEXT, NONE, "why a score is missing, or how little the accuracy says", explain)


def list_scores() -> list[Column]:
    """Columns of the scores of a cross-validation."""
    return [MODEL, PARTITION, ENV, TRAIT, N_TEST, *SCORES, NOTE]


def list_overall() -> list[Column]:
    """Columns of the scores of means over environments."""
    return [MODEL, PARTITION, TRAIT, N_TEST, *SCORES, NOTE]


def list_comparison() -> list[Column]:
    """Columns of the summary of a cross-validation: means and errors of all scores, then ranks."""
    columns = [MODEL, ENV, TRAIT, N_PARTITIONS]
    for score in SCORES:
        columns += [
            Column(f"{score.name}_mean", NUMBER, score.unit, f"mean of `{score.name}` over the partitions"),
            Column(f"{score.name}_se", NUMBER, score.unit, NAIVE),
        ]
    return columns + [
        Column(f"{score.name}_rank", NUMBER, NONE, f"rank of the model by `{score.name}_mean`, 1 for {score.words}")
        for score in SCORES
    ]


N_PARTITIONS = Column("n_partitions", WHOLE, NONE, "number of partitions with a hidden value")
NAIVE = "naive standard error of that mean, SD over partitions / sqrt(partitions)"


def outline_comparison() -> list[Column]:
    """What there is to say of the columns of `list_comparison`, each score's three at once."""
    return [
        MODEL,
        ENV,
        TRAIT,
        N_PARTITIONS,
        Column("pearson_mean", NUMBER, NONE, "mean of `pearson` over the partitions; every score has these columns"),
        Column("pearson_se", NUMBER, NONE, NAIVE),
        Column(
            "pearson_rank", NUMBER, NONE,
            "rank of the model by that mean, 1 for the best: the highest (of errors the lowest; of bias, slope and "
            "coverage the nearest to 0, 1 and the share of the interval)",
        ),
    ]  # fmt: skip
