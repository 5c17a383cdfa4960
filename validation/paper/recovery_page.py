"""The page of the study `recovery`."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from bmtme.datasets.simulated import PAPER_MEANS
from bmtme.results.summary import GOOD_R_HAT
from validation.paper.published import TABLE_1_SETS
from validation.paper.recovery_findings import (
    BATCHED,
    COVARIANCES,
    SHIFT,
    SLACK,
    Results,
    count_high,
    explain_shifts,
    pool_excess,
    split_batches,
    summarise,
)
from validation.paper.recovery_sets import (
    CHAINS,
    DEFAULT,
    DESIGN,
    GROUPS,
    PRIORS,
    READINGS,
    VAGUE,
    Recovery,
    line_average,
)
from validation.paper.simulated import SIZES, compare_zero, write_mean, write_number
from validation.registry import make_table

WORDS = {
    "compound": "All lines alike: 0.3 I + 0.7 11', with 11' the matrix of ones.",
    "blocks": "Eight unrelated families of ten lines, 0.3 I + 0.7 11' in each.",
}


def describe(results: Results, figure: str) -> str:
    """The page."""
    sets = results[READINGS[0], DEFAULT].sets
    fits = sum(r.sets for r in results.values())
    disagreeing = sum(int((r.r_hat > GOOD_R_HAT).sum()) for r in results.values())
    effective = min(r.effective for r in results.values())
    highest = max(float(r.r_hat.max()) for r in results.values())
    sections = "\n\n".join(describe_reading(results, reading) for reading in READINGS)
    apart = ", ".join(f"{value:g}" for value in np.ptp(PAPER_MEANS, axis=0))
    return f"""\
*The paper* is Montesinos-López et al. (2016), *G3* 6:2725-2744, doi 10.1534/g3.116.032359. Its Table 1 has means and
standard deviations of the estimates over {TABLE_1_SETS} simulated data sets beside the true values.
Known here is what its text says of that table: the estimates of beta, Sigma_t and R_e are very close to the truth, and
the diagonal of Sigma_E is slightly overestimated. Do the estimates of this package behave so, and do its 90% intervals
hold the truth?

## In short

{summarise(results)}

![Posterior means over the sets beside the truth]({figure})

## Design

{make_table(("what", "value", "from"), list_design(sets))}

Where no prior links the environments (below: *vague*), unit variances in Sigma_t are no restriction: another unit of a
trait changes nothing but that unit. Where one does (*default*), they are a choice. The true means are the paper's, and
how far environments stand apart in genetic standard deviations (here the highest from the lowest by {apart} for the
three traits) follows from the variances chosen: with others, that prior would bias beta more than here, or less.

Each set is fitted twice. With the *default* priors of this package, half-t as in the paper: standard deviations of
Sigma_t and R_e with 2 degrees of freedom and scale 5 standard deviations of the trait (correlations uniform), roots of
Sigma_E with 4 degrees of freedom and scale 1, environment means of a trait exchangeable. And with *vague* priors: roots
of Sigma_E with 2 degrees of freedom and scale 100,000 (a usual choice, Huang & Wand 2013), means flat, the others as
before. The paper calls its priors weakly informative; their scales are not known here.

Each fit: {CHAINS["chains"]} chains of {CHAINS["draws"]:,} draws after {CHAINS["tune"]} of warm-up.
The least effective draws of any parameter in any of the {fits} fits are {effective:.0f};
R-hat is above {GOOD_R_HAT} in {disagreeing} fits, at most {highest:.3f}.

Standard errors (SE, or in brackets) are over sets: SD / sqrt({sets}). A star marks a bias of more than two of them, as
about one entry in twenty shows by chance; the entries of a covariance are correlated, and so are those of beta.

## Is the diagonal of Sigma_E overestimated?

{describe_excess(results)}

## Do 90% intervals hold the truth?

{describe_coverage(results)}

{sections}

## What is not known

The paper's true Sigma_t, R_e and Sigma_E, the weights in its relationship, the scales of its priors, and the cells of
its Table 1: agreement is of the pattern, not of figures. Other truths, and smaller trials, are not studied here.
"""


def list_design(sets: int) -> list[tuple[str, str, str]]:
    """Every chosen value, and whether it is the paper's."""
    paper, chosen = "the paper", "chosen here"
    h2, s2 = (np.array(DESIGN[key]) for key in ("heritability", "interaction"))
    residual = (1 + s2.mean()) * (1 / h2 - 1)  # as `validation.paper.simulated.simulate` makes it
    told = f"heritability of a plot of one line, diagonal 1, {list_numbers(h2)} where Sigma_E = {s2.mean():g}"
    size = f"{SIZES['envs']} environments, {SIZES['traits']} traits, {SIZES['lines']} lines, {SIZES['reps']} replicates"
    return [
        ("size", size, paper),
        ("beta, environment after environment", "; ".join(map(list_numbers, PAPER_MEANS)), paper),
        ("correlations in Sigma_t and in R_e", f"{DESIGN['genetic_correlation']:g}", paper),
        ("variances in Sigma_t", "1, 1, 1", chosen),
        ("variances in R_e", f"{list_numbers(residual)} ({told})", chosen),
        ("diagonal of Sigma_E", list_numbers(s2), chosen),
        *[(f"relationship *{name}*", WORDS[name], "a reading of the paper's") for name in READINGS],
        ("data sets", f"{sets} under each relationship", f"the paper has {TABLE_1_SETS}"),
    ]


def list_numbers(values: np.ndarray) -> str:
    """Numbers with commas."""
    return ", ".join(f"{value:g}" for value in values)


def describe_excess(results: Results) -> str:
    """Means and medians against the truth, of all sets and in batches."""
    table = []
    for (reading, priors), r in results.items():
        for group in GROUPS:
            means, medians = r.excess(group, r.mean), r.excess(group, r.median)
            table.append((reading, priors, group, *[write_mean(x, 1, "+") for x in (means, medians, means - medians)]))
    for priors in PRIORS:
        for group in GROUPS:
            pooled = pool_excess(results, priors, group)
            table.append(("both", priors, group, *[write_mean(values, 1, "+") for values in pooled]))
    head = ("relationship", "priors", "group", "posterior means", "posterior medians", "means - medians")
    return f"""\
Percentage by which the means (beta) and the variances (the diagonal of the others) are above the truth, mean over the
group. The last column, posterior mean less posterior median, is what the skewness of the posterior adds to the mean.

{make_table(head, table)}

{describe_batches(results)}"""


def describe_batches(results: Results) -> str:
    """The same of posterior means in batches as large as the paper's study."""
    rows = []
    for (reading, priors), r in results.items():
        for group in BATCHED:
            batches = split_batches(r, group)
            if not batches:
                return f"There are too few sets for batches of {TABLE_1_SETS}, as many as the paper has."
            told = [write_mean(batch, 1, "+") for batch in batches]
            rows.append((reading, priors, group, *told, f"{count_high(batches)} of {len(batches)}"))
    head = [f"batch {k + 1}" for k in range(len(rows[0]) - 4)]
    return f"""\
The same of posterior means in batches of {TABLE_1_SETS} sets, as many as the paper has; the last column counts batches
that are too high by more than two standard errors of their own.

{make_table(("relationship", "priors", "group", *head, "too high"), rows)}"""


def describe_coverage(results: Results) -> str:
    """Coverage by group, and the bias of medians in posterior standard deviations."""
    coverage = [
        (reading, priors, *[f"{100 * share:.1f} ({100 * error:.1f})" for share, error in map(r.coverage, GROUPS)])
        for (reading, priors), r in results.items()
    ]
    shifts = []
    for (reading, priors), r in results.items():
        both = [measure(group) for measure in (r.shift, r.shift_by_mean) for group in COVARIANCES]
        shifts.append((reading, priors, *[f"{write_number(shift, 2, '+')} ({error:.2f})" for shift, error in both]))
    low, high = 100 * (0.9 - SLACK), 100 * (0.9 + SLACK)
    narrow, off = (f"{100 * value:.0f}%" for value in (cover_normal(7 / 8, 0), cover_normal(1, 0.5)))
    return f"""\
Share of true values (%) inside their 90% intervals, by group of parameters. Entries of a set are correlated: the
standard error is that of the share in a set, over the sets.

{make_table(("relationship", "priors", *GROUPS), coverage)}

A Bayesian interval covers 90% of truths that are drawn from its prior (see [sbc.md](sbc.md)). At one fixed truth it may
cover more or less, as the prior pulls to or from that truth. The check of this study fails more than three standard
errors outside {low:.0f} to {high:.0f}%. Intervals of a normal distribution that are an eighth too narrow cover
{narrow}, and such that are off by half a standard deviation {off}.

Bias of posterior medians in posterior standard deviations, mean over the entries; the check fails more than three
standard errors beyond {SHIFT:g}:

{make_table(("relationship", "priors", *COVARIANCES, *[f"{group}, by the mean SD" for group in COVARIANCES]), shifts)}

{explain_shifts(results)}"""


def cover_normal(width: float, off: float) -> float:
    """Coverage of a normal distribution's 90% interval of so many times its width, off by so many SDs."""
    normal = NormalDist()
    half = width * normal.inv_cdf(0.95)
    return normal.cdf(half - off) - normal.cdf(-half - off)


def describe_reading(results: Results, reading: str) -> str:
    """Tables of one reading of the relationship."""
    both = results[reading, DEFAULT], results[reading, VAGUE]
    r = both[0]
    covariances = [
        (r.names[k], f"{r.truth[k]:g}", *[cell for part in both for cell in tell(part, k, medians=True)])
        for group in COVARIANCES
        for k in r.of(group)
    ]
    spread = line_average(reading).ravel()
    means = [
        (r.names[k], f"{r.truth[k]:g}", *[cell for part in both for cell in tell(part, k)], f"{sd:.2f}")
        for k, sd in zip(r.of("beta"), spread, strict=True)
    ]
    head = ("mean", "SD", "bias (SE)", "inside")
    wide = (*head[:3], "medians: bias (SE)", "inside")
    error = 100 * np.sqrt(0.09 / r.sets)
    return f"""\
## Relationship {reading}

{WORDS[reading]}
*Mean* and *SD* are of the posterior means, over {r.sets} sets. *Inside*: % of the sets whose 90% interval holds the
truth (binomial standard error {error:.1f}%). First with default priors, then with vague ones.

{make_table(("covariance", "truth", *wide, *[f"vague: {word}" for word in wide]), covariances)}

Environment means. With vague priors the posterior mean of beta is the plain average of the plots of all lines. Its
standard deviation, by the formula sqrt(1'G1 / J^2 Sigma_t[l, l] (1 + Sigma_E[i, i]) + R_e[l, l] / (J K)) for J lines
with K plots each, comes nearly all from the average genetic value of the lines: more plots do not help.

{make_table(("beta", "truth", *head, *[f"vague: {word}" for word in head], "SD by formula"), means)}"""


def tell(r: Recovery, k: int, medians: bool = False) -> tuple[str, ...]:
    """Mean and SD of the posterior means, their bias, perhaps that of the medians, and coverage (%)."""
    digits = 3 if r.sd[:, k].mean() < 0.1 else 2
    told = (f"{r.mean[:, k].mean():.{digits}f}", f"{r.mean[:, k].std(ddof=1):.{digits}f}", tell_bias(r, r.mean, k))
    return (*told, *([tell_bias(r, r.median, k)] if medians else []), f"{100 * r.inside[:, k].mean():.0f}")


def tell_bias(r: Recovery, estimates: np.ndarray, k: int) -> str:
    """Bias with its standard error, and a star."""
    bias, error = (part[k] for part in r.bias(estimates))
    return f"{write_number(bias, 3, '+')} ({error:.3f}){'*' if compare_zero(bias, error) else ''}"
