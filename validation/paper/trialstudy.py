"""What the studies of maize and wheat have in common: computing, figures, tables, rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bmtme.results.summary import GOOD_R_HAT
from validation.paper.crossvalidation import CV1, CV2, run_cv1, run_cv2
from validation.paper.estimates import (
    MODELS,
    Pair,
    draw_correlations,
    list_pairs,
    sample_quantities,
    tabulate_correlations,
    tabulate_interaction,
    tabulate_variances,
)
from validation.paper.figures import draw_differences, draw_split
from validation.paper.hidden_means import HiddenMean, measure_means
from validation.paper.kept import Data
from validation.paper.trialtables import (
    Orders,
    count_decided,
    tabulate_averages,
    tabulate_cells,
    tabulate_hidden,
    tabulate_orders,
    tabulate_residuals,
    tabulate_split,
    tabulate_steps,
    tabulate_wins,
)
from validation.registry import Options, Row, write_figure, write_tables

#: Random partitions of CV1, and sets of chains of CV2.
PARTITIONS, SEEDS = 20, 2


@dataclass(frozen=True)
class Results:
    """Everything that was computed on a trial; `samples`, `summaries` by priors, the default ones first."""

    data: Data
    samples: Mapping[str, Mapping[str, np.ndarray]]
    summaries: Mapping[str, pd.DataFrame]
    cv1: CV1
    cv2: CV2
    means: list[HiddenMean]


@dataclass(frozen=True)
class TrialStudy:
    """A trial of the paper.

    Attributes
    ----------
    name : of the study
    trait, unit : what CV2 hides
    correlations : printed genetic correlations
    first : printed MSEP in the first environment in CV2, by model
    wins : printed counts of best cells in CV1, by score and model
    orders : printed orders of the models in CV2
    """

    name: str
    trait: str
    unit: str
    correlations: Mapping[Pair, float]
    first: Mapping[str, float]
    wins: Mapping[str, Mapping[str, int]]
    orders: Orders

    def compute(self, options: Options, data: Data) -> Results:
        """Estimates and both cross-validations."""
        sampled = {
            label: sample_quantities(data, model, options.seed, options.cores) for label, model in MODELS.items()
        }
        samples, summaries = ({label: pair[k] for label, pair in sampled.items()} for k in range(2))
        cv1 = run_cv1(options, self.name, data, PARTITIONS)
        cv2 = run_cv2(options, self.name, data, self.trait, SEEDS)
        return Results(data, samples, summaries, cv1, cv2, measure_means(data, cv2, options.seed, options.cores))

    def run(self, options: Options, data: Data, checked: list[Row]) -> list[Row]:
        """Compute, write figures and tables, and return the rows, those of other checks first."""
        # An interrupted run that goes on says nothing of how long it takes.
        fresh = not any(options.replicates.glob(f"{self.name}-cv*.csv"))
        began = time.perf_counter()
        r = self.compute(options, data)
        summary, traits = next(iter(r.summaries.values())), data[0].traits
        write_figure(options, f"{self.name}-correlations", draw_correlations(summary, self.correlations, traits))
        write_figure(options, f"{self.name}-cv1", draw_differences(r.cv1))
        write_figure(options, f"{self.name}-cv2", draw_split(r.cv2, self.unit, self.first))
        rows = [*checked, self.check_convergence(r.summaries)]
        seconds = time.perf_counter() - began if fresh else None
        write_tables(options, self.name, rows, self.list_tables(r, options.seed), seconds)
        return rows

    def check_convergence(self, summaries: Mapping[str, pd.DataFrame]) -> Row:
        """R-hat of all estimates under all priors."""
        worst = max(float(summary["r_hat"].max()) for summary in summaries.values())
        least = min(float(summary["ess_bulk"].min()) for summary in summaries.values())
        figure = f"{worst:.4f}; least effective draws {least:.0f}"
        size = f"estimates under {len(summaries)} prior{'s' if len(summaries) > 1 else ''}"
        return Row(f"{self.name}: chains agree", size, "largest R-hat", figure, worst <= GOOD_R_HAT)

    def list_tables(self, r: Results, seed: int) -> dict[str, str]:
        """All tables by their headings."""
        traits, envs = r.data[0].traits, r.data[0].envs
        default, pairs = next(iter(r.summaries)), list(list_pairs(traits))
        return {
            "Correlations": tabulate_correlations(r.summaries, self.correlations, traits),
            "Residual correlation smaller than the genetic one": tabulate_residuals(r.samples[default], pairs),
            "Variances, heritabilities and means": tabulate_variances(r.summaries[default], traits, envs),
            "Sigma_E": tabulate_interaction(r.summaries[default], envs),
            "CV1: cells in which a model is the best": tabulate_wins(r.cv1, self.wins, seed),
            "CV1: means of the cells": tabulate_averages(r.cv1, seed),
            "CV1: cells in which a model differs from the diagonal one": count_decided(r.cv1),
            "CV1: Pearson's correlation": tabulate_cells(r.cv1, "pearson"),
            "CV1: MSEP": tabulate_cells(r.cv1, "msep"),
            f"CV2, {self.trait}: orders of the models": tabulate_orders(r.cv2, self.orders),
            f"CV2, {self.trait}: steps of the printed orders": tabulate_steps(r.cv2, self.orders),
            f"CV2, {self.trait}: scores": tabulate_split(r.cv2),
            f"CV2, {self.trait}: when no line is told from another": tabulate_hidden(r.means),
        }
