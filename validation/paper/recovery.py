"""Known parameters recovered from simulated data, in the spirit of the paper's Table 1.

Three environments, three traits, 80 lines, 20 replicates, all correlations 0.85. What the paper's text leaves open (the
variances, and how its relationship combines the identity and a matrix of ones) is chosen here, and said.
"""

from __future__ import annotations

import time

import numpy as np

from bmtme.datasets.simulated import PAPER_MEANS
from bmtme.results.summary import GOOD_R_HAT
from validation.paper.published import TABLE_1_SETS
from validation.paper.recovery_figure import draw_recovery
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
    run_sets,
)
from validation.paper.simulated import SIZES, mean_error
from validation.registry import Options, Row, make_table, register, write_figure, write_report

Results = dict[tuple[str, str], Recovery]

#: Sets of each reading; more than the paper's, as its bias of Sigma_E is small.
FULL = 4 * TABLE_1_SETS
QUICK = 20
COVARIANCES = GROUPS[1:]
#: 90% intervals cover 90% of truths drawn from the prior, which the study `sbc` tests. These truths are fixed, so that
#: a prior may help or harm: what intervals an eighth too narrow, or off by half a posterior SD, would do is let pass.
SLACK = 0.05
#: By so many posterior standard deviations may the medians of a group be off in the mean.
SHIFT = 0.25
#: A bias of a covariance below this share of the truth is called close.
CLOSE = 0.1
WORDS = {
    "compound": "All lines alike: 0.3 I + 0.7 J, with J the matrix of ones.",
    "blocks": "Eight unrelated families of ten lines, 0.3 I + 0.7 J in each.",
}


def judge(results: Results) -> list[Row]:
    """Coverage of every group, and bias of the covariances' medians."""
    rows = []
    for (reading, priors), r in results.items():
        size = f"{r.sets} sets"
        for group in GROUPS:
            share, error = r.coverage(group)
            rows.append(
                Row(
                    f"recovery, {reading}, {priors} priors: {group}",
                    size,
                    f"90% intervals cover; 90 +- {100 * SLACK:g}% and 3 SE",
                    f"{100 * share:.1f}% (SE {100 * error:.1f})",
                    bool(abs(share - 0.9) <= SLACK + 3 * error),
                )
            )
        shifts = [r.shift(group) for group in COVARIANCES]
        rows.append(
            Row(
                f"recovery, {reading}, {priors} priors: medians of {', '.join(COVARIANCES)}",
                size,
                f"bias in posterior SDs; {SHIFT:g} and 3 SE",
                "; ".join(f"{shift:+.2f} (SE {error:.2f})" for shift, error in shifts),
                all(abs(shift) <= SHIFT + 3 * error for shift, error in shifts),
            )
        )
    return rows


def run_quick(options: Options) -> list[Row]:
    """One reading, few sets: enough for an estimate that is far off."""
    return judge(run_sets(options, READINGS[:1], QUICK, kept=False))


def run_full(options: Options) -> list[Row]:
    """All sets under both readings, written to ``recovery.md``."""
    return write_sets(options, FULL)


def write_sets(options: Options, sets: int) -> list[Row]:
    """Run a number of sets, and write the page."""
    began = time.perf_counter()
    results = run_sets(options, READINGS, sets, kept=True)
    figure = write_figure(options, "recovery", draw_recovery(results))
    text = describe(results, figure)
    title = "Known parameters recovered: Table 1 of the paper"
    write_report(options, "recovery", title, text, time.perf_counter() - began)
    return judge(results)


def describe(results: Results, figure: str) -> str:
    """The page."""
    sets = results[READINGS[0], DEFAULT].sets
    fits = sum(r.sets for r in results.values())
    disagreeing = sum(int((r.r_hat > GOOD_R_HAT).sum()) for r in results.values())
    effective = min(r.effective for r in results.values())
    highest = max(float(r.r_hat.max()) for r in results.values())
    sections = "\n\n".join(describe_reading(results, reading) for reading in READINGS)
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

Unit variances in Sigma_t are no restriction: another unit of a trait changes nothing but that unit.

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
    residual = (1 + s2.mean()) * (1 / h2 - 1)  # as `bmtme.simulate` makes it
    size = f"{SIZES['envs']} environments, {SIZES['traits']} traits, {SIZES['lines']} lines, {SIZES['reps']} replicates"
    return [
        ("size", size, paper),
        ("beta, environment after environment", "; ".join(map(list_numbers, PAPER_MEANS)), paper),
        ("correlations in Sigma_t and in R_e", f"{DESIGN['genetic_correlation']:g}", paper),
        ("variances in Sigma_t", "1, 1, 1", chosen),
        ("variances in R_e", f"{list_numbers(residual)} (heritability of a plot {list_numbers(h2)})", chosen),
        ("diagonal of Sigma_E", list_numbers(s2), chosen),
        *[(f"relationship *{name}*", WORDS[name], "a reading of the paper's") for name in READINGS],
        ("data sets", f"{sets} under each relationship", f"the paper has {TABLE_1_SETS}"),
    ]


def list_numbers(values: np.ndarray) -> str:
    """Numbers with commas."""
    return ", ".join(f"{value:g}" for value in values)


def pool_excess(results: Results, priors: str) -> list[np.ndarray]:
    """Percentages by which Sigma_E is above the truth, of all sets: posterior means, medians, and their difference."""
    by_reading = [results[reading, priors] for reading in READINGS]
    means, medians = (
        np.concatenate([r.excess("Sigma_E", getattr(r, name)) for r in by_reading]) for name in ("mean", "median")
    )
    return [means, medians, means - medians]


def summarise(results: Results) -> str:
    """Sentences chosen by the results."""
    worst, name = 0.0, ""
    for reading in READINGS:
        r = results[reading, DEFAULT]
        share = np.abs(r.bias(r.mean)[0] / r.truth)
        k = max((k for group in COVARIANCES for k in r.of(group)), key=lambda k: share[k])
        if share[k] > worst:
            worst, name = float(share[k]), f"{r.names[k]}, {reading}"
    close = "are close to the truth, as in the paper" if worst < CLOSE else "are NOT all close to the truth"
    lines = [
        f"- *Covariances*: posterior means of Sigma_t, R_e and Sigma_E {close}. The largest bias is {100 * worst:.1f}% "
        f"of the true value ({name})."
    ]
    return "\n".join([*lines, summarise_excess(results), *[summarise_means(results, reading) for reading in READINGS]])


def summarise_excess(results: Results) -> str:
    """Whether Sigma_E is overestimated, and why."""
    pooled = {priors: pool_excess(results, priors) for priors in PRIORS}
    told = [
        f"with {priors} priors posterior means {tell_percentage(means)}, medians {tell_percentage(medians)}"
        for priors, (means, medians, _) in pooled.items()
    ]
    text = f"- *Sigma_E*, % above the truth (SE), both relationships together: {'; '.join(told)}. "
    high = {priors: compare_zero(*mean_error(means)) > 0 for priors, (means, _, _) in pooled.items()}
    skew, skew_se = mean_error(pooled[VAGUE][2])
    step, step_se = mean_error(pooled[VAGUE][0] - pooled[DEFAULT][0])
    causes = (
        f"Posteriors are skewed: with vague priors the mean is above the median by {skew:.1f}% (SE {skew_se:.1f}). And "
        f"vague priors move the means by {step:+.1f}% (SE {step_se:.1f}) from those of the default ones, set by set."
    )
    if all(high.values()):
        return text + f"The paper's slight overestimation is there under both. {causes}"
    if any(high.values()):
        here, other = (VAGUE, DEFAULT) if high[VAGUE] else (DEFAULT, VAGUE)
        return text + f"The paper's slight overestimation is there with {here} priors, not with {other} ones. {causes}"
    return text + f"The paper's slight overestimation is not found: no mean is above the truth by two SE. {causes}"


def summarise_means(results: Results, reading: str) -> str:
    """What the prior of the means does to beta."""
    told, counts = [], []
    for priors in (DEFAULT, VAGUE):
        r = results[reading, priors]
        here = r.of("beta")
        bias, error = (part[here] for part in r.bias(r.mean))
        counts.append(sum(compare_zero(b, e) != 0 for b, e in zip(bias, error, strict=True)))
        k = int(np.abs(bias).argmax())
        told.append(
            f"with {priors} priors {counts[-1]} of {len(here)} are off by more than two standard errors, "
            f"{r.names[here[k]]} most, by {bias[k]:+.2f} (SE {error[k]:.2f}), "
            f"{100 * abs(bias[k]) / r.truth[here[k]]:.0f}% of the truth"
        )
    text = f"- *beta*, {reading}: {'; '.join(told)}."
    if counts[0] > counts[1]:
        spread = line_average(reading)
        text += (
            " The default prior of the means draws the environments of a trait together, as their means are uncertain: "
            f"averages of all plots have standard deviations of {spread.min():.2f} to {spread.max():.2f} about them."
        )
    return text


def compare_zero(value: float, error: float) -> int:
    """Sign of a mean that is more than two standard errors from zero; else zero."""
    return int(np.sign(value)) if abs(value) > 2 * error else 0


def describe_excess(results: Results) -> str:
    """Means and medians of the variances against the truth."""
    table = []
    for (reading, priors), r in results.items():
        for group in COVARIANCES:
            means, medians = r.excess(group, r.mean), r.excess(group, r.median)
            table.append((reading, priors, group, *map(tell_percentage, (means, medians, means - medians))))
    for priors in PRIORS:
        table.append(("both", priors, "Sigma_E", *map(tell_percentage, pool_excess(results, priors))))
    head = ("relationship", "priors", "variances", "posterior means", "posterior medians", "means - medians")
    text = f"""\
Percentage by which the variances (the diagonal) are above the truth, mean over the entries. The last column, posterior
mean less posterior median, is what the skewness of the posterior adds to the mean.

{make_table(head, table)}"""
    for priors in PRIORS:
        means = pool_excess(results, priors)[0]
        starts = range(0, len(means) - TABLE_1_SETS + 1, TABLE_1_SETS)
        batches = ", ".join(tell_percentage(means[start : start + TABLE_1_SETS]) for start in starts)
        if batches:
            text += f"\n\nPosterior means of Sigma_E, {priors} priors, in batches of {TABLE_1_SETS} sets: {batches}."
    return text


def tell_percentage(values: np.ndarray) -> str:
    """Mean and standard error."""
    mean, error = mean_error(values)
    return f"{mean:+.1f} ({error:.1f})"


def describe_coverage(results: Results) -> str:
    """Coverage by group, and the bias of medians in posterior standard deviations."""
    coverage = [
        (reading, priors, *[f"{100 * share:.1f} ({100 * error:.1f})" for share, error in map(r.coverage, GROUPS)])
        for (reading, priors), r in results.items()
    ]
    shifts = [
        (reading, priors, *[f"{shift:+.2f} ({error:.2f})" for shift, error in map(r.shift, COVARIANCES)])
        for (reading, priors), r in results.items()
    ]
    low, high = 100 * (0.9 - SLACK), 100 * (0.9 + SLACK)
    return f"""\
Share of true values (%) inside their 90% intervals, by group of parameters. Entries of a set are correlated: the
standard error is that of the share in a set, over the sets.

{make_table(("relationship", "priors", *GROUPS), coverage)}

A Bayesian interval covers 90% of truths that are drawn from its prior (see [sbc.md](sbc.md)). At one fixed truth it may
cover more or less, as the prior pulls to or from that truth. The check of this study fails more than three standard
errors outside {low:.0f} to {high:.0f}%. Intervals an eighth too narrow, or off by half a posterior standard deviation,
cover {low:.0f}%.

Bias of posterior medians in posterior standard deviations, mean over the entries; the check fails more than three
standard errors beyond {SHIFT:g}:

{make_table(("relationship", "priors", *COVARIANCES), shifts)}"""


def describe_reading(results: Results, reading: str) -> str:
    """Tables of one reading of the relationship."""
    r, vague = results[reading, DEFAULT], results[reading, VAGUE]
    covariances = [
        (r.names[k], f"{r.truth[k]:g}", *tell(r, k), tell_bias(r, r.median, k), tell_inside(r, k))
        for group in COVARIANCES
        for k in r.of(group)
    ]
    spread = line_average(reading).ravel()
    means = []
    for k, sd in zip(r.of("beta"), spread, strict=True):
        both = (cell for part in (r, vague) for cell in (*tell(part, k), tell_inside(part, k)))
        means.append((r.names[k], f"{r.truth[k]:g}", *both, f"{sd:.2f}"))
    told = ("mean", "SD", "bias (SE)")
    head = ("beta", "truth", *told, "inside", *[f"vague: {word}" for word in (*told, "inside")], "SD by formula")
    error = 100 * np.sqrt(0.09 / r.sets)
    return f"""\
## Relationship {reading}

{WORDS[reading]}
*Mean* and *SD* are of the posterior means, over {r.sets} sets. *Inside*: % of the sets whose 90% interval holds the
truth (binomial standard error {error:.1f}%). Default priors.

{make_table(("covariance", "truth", *told, "bias of medians (SE)", "inside"), covariances)}

Environment means, with both choices of priors. With the vague ones the posterior mean of beta is the plain average of
the plots of all lines. Its standard deviation, by the formula
sqrt(1'G1 / J^2 Sigma_t[l, l] (1 + Sigma_E[i, i]) + R_e[l, l] / (J K)) for J lines with K plots each, comes nearly all
from the average genetic value of the lines: more plots do not help.

{make_table(head, means)}"""


def tell(r: Recovery, k: int) -> tuple[str, str, str]:
    """Mean and SD of the posterior means, and their bias."""
    digits = 3 if r.sd[:, k].mean() < 0.1 else 2
    return f"{r.mean[:, k].mean():.{digits}f}", f"{r.mean[:, k].std(ddof=1):.{digits}f}", tell_bias(r, r.mean, k)


def tell_bias(r: Recovery, estimates: np.ndarray, k: int) -> str:
    """Bias with its standard error, and a star."""
    bias, error = (part[k] for part in r.bias(estimates))
    return f"{bias:+.3f} ({error:.3f}){'*' if compare_zero(bias, error) else ''}"


def tell_inside(r: Recovery, k: int) -> str:
    """Percentage of the sets whose interval holds the truth."""
    return f"{100 * r.inside[:, k].mean():.0f}"


register("recovery", run_quick, run_full)
