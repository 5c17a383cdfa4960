"""What the study `recovery` found, in sentences chosen by its results, and its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from validation.paper.published import TABLE_1_SETS
from validation.paper.recovery_sets import DEFAULT, GROUPS, PRIORS, READINGS, VAGUE, Recovery, line_average
from validation.paper.simulated import compare_zero, join_words, mean_error, write_mean, write_number

Results = dict[tuple[str, str], Recovery]

COVARIANCES = GROUPS[1:]
#: 90% intervals cover 90% of truths drawn from the prior, which the study `sbc` tests. These truths are fixed, so that
#: a prior may help or harm: what intervals an eighth too narrow, or off by half a posterior SD, would do is let pass.
SLACK = 0.05
#: By so many posterior standard deviations may the medians of a group be off in the mean.
SHIFT = 0.25
#: A group with a single entry further off than this share of the truth is not called close,
CLOSE = 0.1
#: and none whose mean is off by more than so many standard errors: there are four groups under two priors.
ERRORS = 3.0
#: Groups looked at in batches as large as the paper's study.
BATCHED = ("Sigma_t", "Sigma_E")
#: So many single entries are named where intervals cover least.
NAMED = 3


@dataclass(frozen=True)
class Finding:
    """How far the posterior means of a group are from the truth, in % of it, both readings together.

    Attributes
    ----------
    excess, error : mean over the group and its standard error
    worst, entry : the largest bias of a single entry, and which one
    """

    group: str
    excess: float
    error: float
    worst: float
    entry: str

    @property
    def side(self) -> int:
        """1 where too high, -1 where too low, 0 where neither, as a group."""
        return compare_zero(self.excess, self.error, ERRORS)

    @property
    def close(self) -> bool:
        """Neither off as a group, nor in a single entry."""
        return self.side == 0 and abs(self.worst) <= 100 * CLOSE

    @property
    def slightly_high(self) -> bool:
        """Too high, by less than what makes a single entry not close."""
        return self.side > 0 and self.excess <= 100 * CLOSE

    def __str__(self) -> str:
        verdict = {1: "too high", -1: "too low", 0: "close" if self.close else "not close in single entries"}[self.side]
        text = f"{self.group} {write_number(self.excess, 1, '+')} ({self.error:.1f}), {verdict}"
        if abs(self.worst) > 100 * CLOSE:
            text += f" ({self.entry} is off by {write_number(self.worst, 1, '+')}%)"
        return text


def find_group(results: Results, priors: str, group: str) -> Finding:
    """One group under one choice of priors."""
    excess, error = mean_error(pool_excess(results, priors, group)[0])
    worst, entry = max((find_worst(results[reading, priors], reading, group) for reading in READINGS), key=by_size)
    return Finding(group, excess, error, worst, entry)


def find_worst(r: Recovery, reading: str, group: str) -> tuple[float, str]:
    """The largest bias of a single entry in % of the truth, and which one."""
    share = 100 * r.bias(r.mean)[0] / r.truth
    k = max(r.of(group), key=lambda k: abs(share[k]))
    return float(share[k]), f"{r.names[k]}, {reading},"


def by_size(pair: tuple[float, str]) -> float:
    """Order of `find_worst`."""
    return abs(pair[0])


def pool_excess(results: Results, priors: str, group: str) -> list[np.ndarray]:
    """Percentages by which a group is above the truth, of all sets: posterior means, medians, and their difference."""
    by_reading = [results[reading, priors] for reading in READINGS]
    means, medians = (
        np.concatenate([r.excess(group, getattr(r, name)) for r in by_reading]) for name in ("mean", "median")
    )
    return [means, medians, means - medians]


def split_batches(r: Recovery, group: str) -> list[np.ndarray]:
    """Percentages by which posterior means are above the truth, in batches of as many sets as the paper has."""
    means = r.excess(group, r.mean)
    return [means[start : start + TABLE_1_SETS] for start in range(0, r.sets - TABLE_1_SETS + 1, TABLE_1_SETS)]


def count_high(batches: list[np.ndarray]) -> int:
    """Batches that are too high by more than two standard errors of their own."""
    return sum(compare_zero(*mean_error(batch)) > 0 for batch in batches)


def summarise(results: Results) -> str:
    """Sentences chosen by the results."""
    findings = {priors: [find_group(results, priors, group) for group in GROUPS] for priors in PRIORS}
    return "\n".join(
        [
            answer(findings),
            *[
                f"- *{priors.capitalize()} priors*, posterior means, % above the truth (SE): "
                f"{'; '.join(map(str, told))}."
                for priors, told in findings.items()
            ],
            explain_words(findings),
            explain_excess(results),
            *tell_batches(results),
            tell_coverage(results),
            *[tell_means(results, reading) for reading in READINGS],
        ]
    )


def has_pattern(findings: list[Finding]) -> bool:
    """Whether all is close but Sigma_E, and this slightly too high, as the paper says."""
    return all(f.slightly_high if f.group == "Sigma_E" else f.close for f in findings)


def answer(findings: dict[str, list[Finding]]) -> str:
    """Whether the paper's pattern is there."""
    there = [priors for priors in PRIORS if has_pattern(findings[priors])]
    what = "- *Answer*: the paper's pattern (beta, Sigma_t and R_e close to the truth, Sigma_E slightly above it) is"
    if not there:
        return f"{what} NOT found, with neither choice of priors."
    if len(there) == len(PRIORS):
        return f"{what} found with both choices of priors."
    other = next(priors for priors in PRIORS if priors not in there)
    return f"{what} found with {there[0]} priors, not with {other} ones."


def explain_words(findings: dict[str, list[Finding]]) -> str:
    """The rule behind the words."""
    text = (
        "- *Too high* or *too low*, the same for all groups, means by more than "
        f"{ERRORS:g} standard errors, both relationships together; *close* that neither is so, nor a single entry "
        f"more than {100 * CLOSE:g}% off. These words are ours: the paper's *very close* and *slightly* are known here "
        "without figures."
    )
    high = [
        f"{f.group} with {priors} priors ({write_number(f.excess, 1, '+')}%)"
        for priors, told in findings.items()
        for f in told
        if f.slightly_high
    ]
    if len(high) > 1:
        text += f" By this rule {join_words(high)} are alike, slightly too high; the paper says so of Sigma_E only."
    return text


def explain_excess(results: Results) -> str:
    """What makes Sigma_E higher or lower."""
    pooled = {priors: pool_excess(results, priors, "Sigma_E") for priors in PRIORS}
    skew, step = write_mean(pooled[VAGUE][2], 1), write_mean(pooled[VAGUE][0] - pooled[DEFAULT][0], 1, "+")
    medians = "; ".join(f"{priors} {write_mean(medians, 1, '+')}%" for priors, (_, medians, _) in pooled.items())
    return (
        "- *Why Sigma_E is high or not*: posteriors are skewed, with vague priors the mean is above the median by "
        f"{skew}% (medians: {medians}). And vague priors move the means by {step}% from those of the default ones, set "
        "by set: the priors of Sigma_E and of the environment means both differ; their parts are not separated here."
    )


def tell_batches(results: Results) -> list[str]:
    """Whether as many sets as the paper's would show a bias."""
    told, shares = [], []
    for priors in PRIORS:
        counts = []
        for group in BATCHED:
            batches = [batch for reading in READINGS for batch in split_batches(results[reading, priors], group)]
            if not batches:
                return []
            counts.append(f"{group} in {count_high(batches)} of {len(batches)}")
            if find_group(results, priors, group).side > 0:
                shares.append(count_high(batches) / len(batches))
        told.append(f"{join_words(counts)} with {priors} priors")
    text = (
        f"- *In batches of {TABLE_1_SETS} sets*, as many as the paper has, the mean is more than two standard errors "
        f"of the batch too high for {'; for '.join(told)}."
    )
    if shares:
        text += (
            f" {TABLE_1_SETS} sets show such a bias each time."
            if min(shares) == 1
            else f" {TABLE_1_SETS} sets need not show a bias that all sets together show."
        )
    return [text]


def tell_coverage(results: Results) -> str:
    """Shares of truths inside the intervals, and the single entries where they are least."""
    told, worst = [], 0.0
    for group in GROUPS:
        shares, errors = zip(*[r.coverage(group) for r in results.values()], strict=True)
        told.append(f"{group} in {100 * min(shares):.0f} to {100 * max(shares):.0f}%")
        worst = max(worst, *errors)
    entries = sorted(
        (float(share), f"{r.names[k]} ({reading}, {priors} priors, {100 * share:.0f}%)")
        for (reading, priors), r in results.items()
        for k, share in enumerate(r.inside.mean(axis=0))
    )
    sets = min(r.sets for r in results.values())
    chance = binom.ppf(1 - 0.5 ** (1 / len(entries)), sets, 0.9) / sets
    return (
        "- *90% intervals* hold the truth, by relationship and priors, for "
        f"{join_words(told)} of all entries and sets (SE at most {100 * worst:.1f}%). Of the {len(entries)} single "
        f"entries least for {join_words([words for _, words in entries[:NAMED]])}; of as many that are held in 90%, "
        f"each by itself, the least would be held in about {100 * chance:.0f}% of {sets} sets."
    )


def tell_means(results: Results, reading: str) -> str:
    """What the prior of the means does to beta."""
    told, counts = [], []
    for priors in (DEFAULT, VAGUE):
        r = results[reading, priors]
        here = r.of("beta")
        bias, error = r.bias(r.mean)
        off = [k for k in here if compare_zero(bias[k], error[k])]
        counts.append(len(off))
        k = max(off or here, key=lambda k: abs(bias[k] / r.truth[k]))
        told.append(
            f"with {priors} priors {len(off)} of {len(here)} are off by more than two standard errors, "
            f"{'of these' if off else 'of all'} {r.names[k]} most, by {write_number(bias[k], 3, '+')} "
            f"(SE {error[k]:.3f}), {100 * abs(bias[k]) / r.truth[k]:.1f}% of the truth"
        )
    text = f"- *beta*, {reading}: {'; '.join(told)}."
    if counts[0] > counts[1]:
        spread = line_average(reading)
        text += (
            " The default prior of the means draws the environments of a trait together, as their means are uncertain: "
            f"averages of all plots have standard deviations of {spread.min():.2f} to {spread.max():.2f} about them."
        )
    return text


def explain_shifts(results: Results) -> str:
    """What is said of shifts beyond the limit."""
    beyond = [
        (r, reading, priors, group)
        for (reading, priors), r in results.items()
        for group in COVARIANCES
        if abs(r.shift(group)[0]) > SHIFT
    ]
    if not beyond:
        return f"None is beyond {SHIFT:g}."
    told, failed = [], 0
    for r, reading, priors, group in beyond:
        shift, error = r.shift(group)
        told.append(f"{group} under *{reading}* with {priors} priors ({shift:+.2f}, SE {error:.2f})")
        failed += abs(shift) > SHIFT + 3 * error
    verdict = (
        f"{failed} of them by more than three standard errors, so that the check fails"
        if failed
        else "but not by three standard errors, so that the check passes: it does not show that the limit is kept"
    )
    text = f"Beyond {SHIFT:g} {'is' if len(beyond) == 1 else 'are'} {join_words(told)}, {verdict}."
    least = min(r.follow(group) for r, _, _, group in beyond)
    largest = max((r.shift_by_mean(group)[0] for r, _, _, group in beyond), key=abs)
    if least > 0.5 and abs(largest) <= SHIFT:
        text += (
            " A set with a low estimate also has a small posterior standard deviation (over the sets, median and "
            f"standard deviation have a correlation of {least:.2f} or more there), so that its deviation, divided by "
            "it, counts for more than that of a set with a high estimate. In mean posterior standard deviations, the "
            f"same for all sets (right-hand columns), the largest of these is {largest:+.2f}."
        )
    return text
