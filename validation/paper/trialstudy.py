"""What the studies of maize and wheat have in common: computing, the page, the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bmtme.results.summary import GOOD_R_HAT
from validation.paper.crossvalidation import CV1, CV2, run_cv1, run_cv2
from validation.paper.estimates import (
    MODELS,
    Pair,
    draw_correlations,
    sample_quantities,
    tabulate_correlations,
    tabulate_variances,
)
from validation.paper.figures import draw_differences, draw_split
from validation.paper.findings import DEFAULTS, SCALED, VERDICTS, Finding, tabulate_findings, tabulate_verdicts
from validation.paper.hidden_means import HiddenMean, measure_means, tabulate_means, tabulate_split
from validation.paper.kept import Data
from validation.paper.pages import SOURCE, describe_cv1, describe_models, reflow
from validation.registry import Options, Row, write_figure, write_report

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

    @property
    def default(self) -> str:
        """Label of the default priors."""
        return next(iter(self.summaries))


@dataclass(frozen=True)
class TrialStudy:
    """A trial of the paper and how its page is written.

    Attributes
    ----------
    name, title : of the study and its page
    trait, unit : what CV2 hides
    tables : numbers of the paper's tables of estimates, CV1 and CV2
    correlations : printed genetic correlations
    first : printed MSEP in the first environment in CV2, by model
    about : what the data are, and which names are not certain
    compare : all statements of the paper beside the results, given those and a seed
    short : the page in a breeder's words
    legend : what verdicts on this trial need to be understood
    why : what the page says of estimates that differ from the paper's; empty where there are none
    remark : what the page says of CV2
    """

    name: str
    title: str
    trait: str
    unit: str
    tables: tuple[str, str, str]
    correlations: Mapping[Pair, float]
    first: Mapping[str, float]
    about: str
    compare: Callable[[Results, int], list[Finding]]
    short: Callable[[Results], str]
    legend: Callable[[Results], str]
    why: Callable[[Results], str]
    remark: Callable[[Results], str]

    def compute(self, options: Options, data: Data) -> Results:
        """Estimates and both cross-validations."""
        sampled = {
            label: sample_quantities(data, model, options.seed, options.cores) for label, model in MODELS.items()
        }
        samples, summaries = ({label: pair[k] for label, pair in sampled.items()} for k in range(2))
        cv1 = run_cv1(options, self.name, data, PARTITIONS)
        cv2 = run_cv2(options, self.name, data, self.trait, SEEDS)
        return Results(data, samples, summaries, cv1, cv2, measure_means(data, cv2, options.seed, options.cores))

    def run(self, options: Options, data: Data) -> list[Row]:
        """Compute, write the page, and return the rows."""
        # An interrupted run that goes on says nothing of how long it takes.
        fresh = not any(options.replicates.glob(f"{self.name}-cv*.csv"))
        began = time.perf_counter()
        results = self.compute(options, data)
        text = reflow(self.describe(options, results).strip())
        write_report(options, self.name, self.title, text, time.perf_counter() - began if fresh else None)
        return [self.check_convergence(results.summaries)]

    def check_convergence(self, summaries: Mapping[str, pd.DataFrame]) -> Row:
        """R-hat of all estimates under all priors."""
        worst = max(float(summary["r_hat"].max()) for summary in summaries.values())
        least = min(float(summary["ess_bulk"].min()) for summary in summaries.values())
        figure = f"{worst:.4f}; least effective draws {least:.0f}"
        size = f"estimates under {len(summaries)} prior{'s' if len(summaries) > 1 else ''}"
        return Row(f"{self.name}: chains agree", size, "largest R-hat", figure, worst <= GOOD_R_HAT)

    @staticmethod
    def measure_prior(cv: CV2) -> float:
        """Largest difference that the prior of the means makes to a correlation."""
        scores = [cv.scores["pearson"][[cv.models.index(label) for label in labels]] for labels in (SCALED, DEFAULTS)]
        return float(np.abs(np.subtract(*scores)).max())

    def describe(self, options: Options, r: Results) -> str:
        """The page."""
        traits, envs = r.data[0].traits, r.data[0].envs
        summary = r.summaries[r.default]
        findings = self.compare(r, options.seed)
        estimates, first, second = self.tables
        what = dict(zip(self.tables, ("estimates", "CV1", f"CV2, {self.trait}"), strict=True))
        correlations = write_figure(
            options, f"{self.name}-correlations", draw_correlations(summary, self.correlations, traits)
        )
        differences = write_figure(options, f"{self.name}-cv1", draw_differences(r.cv1))
        split = write_figure(options, f"{self.name}-cv2", draw_split(r.cv2, self.unit, self.first))
        return f"""\
Do users of this package get what the paper got from this trial? {SOURCE}

## In short

{self.short(r)}

## Data and models

The study needs the data: set `BMTME_DATA` to the folder that holds them (`validation/trials.py` says which files;
`bmtme.datasets.fetch` downloads the same sets).

{self.about}

{describe_models()}

## What agrees with the paper

{tabulate_verdicts(findings, what)}

The statements themselves stand in the sections below.

{VERDICTS}

{self.legend(r)}

## Table {estimates} of the paper: estimates

{tabulate_findings(findings, estimates)}

{self.why(r)}

Posterior means with 95% intervals, unstructured model (largest R-hat {self.check_convergence(r.summaries).figure}).
`default priors` are those of this package; `scales of 100,000` has every half-t prior with 2 degrees of freedom and a
scale of 100,000, which Huang and Wand (2013), who proposed it, call weak, and the paper's prior of the means.

![Correlations of the traits]({correlations})

{tabulate_correlations(r.summaries, self.correlations, traits)}

Variances in the traits' units, squared, default priors. The genetic variance is for an average line of the trial
(mean diagonal of its relationship); `Sigma_t` is for the relationship as given, and the scale of the paper's is not
known here.

{tabulate_variances(summary, traits, envs)}

## Table {first} of the paper: CV1

{tabulate_findings(findings, first)}

`standard`: in raw units, as the paper's, where it is not said otherwise. In brackets: 5% to 95% range for ten other
random partitions (ours drawn again with replacement).

{describe_cv1(r.cv1, differences)}

## Table {second} of the paper: CV2

{tabulate_findings(findings, second)}

All models as the paper has them, with its prior of the means and `standard` in raw units, where it is not said
otherwise; `under exchangeable means`: with the defaults of this package, `standard` in scaled units. The prior of the
means changes a correlation by {self.measure_prior(r.cv2):.3f} at most.

{self.trait} is hidden for all lines in one environment; its values in the other environments and the other traits in
this one are seen. There is one such partition for each environment, so that there is no error over partitions: the
standard errors are over lines (as above). The Monte Carlo errors are from {r.cv2.predicted.shape[1]} independent sets
of chains. MSEP is the squared difference between the mean prediction and the mean of the hidden values (`mean`) plus
what is left when both are centred (`lines`); selection within an environment needs the second only.

![MSEP in CV2 and its parts; observed against predicted values]({split})

{self.remark(r)}

{tabulate_split(r.cv2)}

What MSEP comes to when no line is told from another:

{tabulate_means(r.means)}
"""
