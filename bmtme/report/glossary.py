"""What words and symbols mean, once: for what is printed, the report and the README."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bmtme.columns import fixed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GLOSSARY", "explain_interaction", "name_record"]

#: By word or symbol, in the order in which one meets them.
GLOSSARY: dict[str, str] = {
    "line": "genotype, entry: what is grown and chosen",
    "cell": "a line in an environment",
    "record": "a row of the data: a plot, or a mean of plots",
    "value": "what a line is expected to show: the mean of the environment and its genetic effect",
    "90% interval": (
        "given model and data, the number lies in it with a probability of 0.9, and is below or above it with 0.05 each"
    ),
    "reliability": (
        "squared correlation of predicted and true deviations from the mean of the trial's lines, as the "
        "model expects: 0 nothing is known, 1 all"
    ),
    "rank 90%": "the 90% interval of the line's place among all candidates, 1 for the best",
    "P(top k)": "probability to be among the best k, counted in the draws",
    "P(> check)": "probability to be better than the check",
    "heritability": (
        "genetic share of the variance, among the lines of the trial: of a record, or of a line's mean over "
        "its plots and environments"
    ),
    "genetic correlation": (
        "of the lines' genetic values for two traits, or in two environments: 1 they go together, 0 neither "
        "tells of the other"
    ),
    "main effect": "the part of a genetic value that is the same in every environment",
    "interaction": "what comes to it in one environment: lines change places from environment to environment",
    "Sigma_t": "variances and covariances of the traits in the main effect",
    "Sigma_E": (
        "variance of the interaction relative to the main effect: with 0.6 in both, two environments have a "
        "genetic correlation of 1 / (1 + 0.6) = 0.62"
    ),
    "R_e": "variances and covariances of the traits' residuals on one record: of what is not genetic",
    "beta": "mean of a trait in an environment",
    "prior only": "the data say nothing of this number; it shows what was assumed before",
    "bounds only": "the data say between which ends this number lies, and not where",
    "chain, draw": "draws are values that are possible given the data; a chain is one run that makes them",
    "sweep, warm-up": "one round of a sampler makes one draw; those of the warm-up (tune) are thrown away",
    "R-hat": "whether the chains agree: 1 they do, above 1.01 they should run longer",
    "effective draws, ESS": "so many independent draws would be as precise: 400 are enough for means and intervals",
    "partition": "one division of a cross-validation into records that are hidden and those that models learn from",
    "Pearson": "correlation of predicted and observed values in an environment, its accuracy as a breeder sees it",
    "MSEP": "mean squared error of prediction, in the trait's unit squared: lower is better",
    "slope": "regression of observed on predicted values: 1 is right, below 1 predictions spread too much",
    "coverage": "share of the observed values within their intervals: 90% of them should be in those of 90%",
}


def name_record(data: Mapping[str, Any], plots: bool = False) -> str:
    """What a heritability of single values is of, among data as of ``Fit.run["data"]``.

    plots : whether records are known to be plots, as lines have several in an environment
    """
    if data.get("standard_errors"):  # whose variance is not counted
        return "value without error"
    return "plot" if plots else "record"


def explain_interaction(summary: pd.DataFrame) -> str:
    """What the interaction variances of a summary mean for two of its environments; empty where it has none.

    C = (11' + Sigma_E) (x) Sigma_t, so that environments i and j correlate 1 / sqrt((1 + s_i) (1 + s_j)).

    Parameters
    ----------
    summary : DataFrame
        As of `Fit.summary`, or a part of it.
    """
    rows = [str(name) for name in summary.index if str(name).startswith("Sigma_E[")]
    if not rows:
        return ""
    inner = [name[len("Sigma_E[") : -1] for name in rows]
    # Of traits fitted one at a time each environment has a row for each.
    if len(rows) < 2 or any(text != f"{text[: len(text) // 2 - 1]}, {text[: len(text) // 2 - 1]}" for text in inner):
        return f"Sigma_E: {GLOSSARY['Sigma_E']}."
    a, b = (float(value) for value in summary.loc[rows[:2], "mean"])
    r = 1.0 / math.sqrt((1.0 + a) * (1.0 + b))
    return (
        "Sigma_E: variance of the interaction relative to the main effect. As an example, "
        f"{fixed(a, 2)} and {fixed(b, 2)} in its first two rows make the genetic correlation of these environments "
        f"about 1 / sqrt({fixed(1 + a, 2)} x {fixed(1 + b, 2)}) = {fixed(r, 2)}."
    )
