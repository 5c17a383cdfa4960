"""The page of the study `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.paper.accuracy_sets import (
    ALONE,
    BD,
    CHAINS,
    DESIGNS,
    FRACTION,
    KNOWN,
    MODELS,
    PARTITIONS,
    PREDICTORS,
    SCORES,
    ST,
    UN,
    Accuracy,
    Design,
)
from validation.paper.published import TABLE_2_MEANS, TABLE_2_WINS
from validation.paper.simulated import SIZES, mean_error
from validation.registry import make_table

WORDS = {"pearson": "Pearson", "msep": "MSEP"}
#: Of the unstructured model's correlation in the paper's table, between trait correlations 0.2 and 0.85.
RISE = TABLE_2_MEANS[0.85]["pearson"] - TABLE_2_MEANS[0.2]["pearson"]


def describe(results: Sequence[Accuracy], figure: str) -> str:
    """The page."""
    sections = "\n\n".join(describe_cells(r) for r in results)
    least = np.min([r.effective.min(axis=0) for r in results], axis=0)
    effective = ", ".join(f"{name} {n:.0f}" for name, n in zip(MODELS, least, strict=True))
    low, high = (show_mean(rho, "pearson") for rho in (0.2, 0.85))
    counted = [f"{word}: {name}" for word in ("best", "majority") for name in MODELS]
    wins = ("design", "score", *counted, "the paper's counts", "as many")
    hidden = round(FRACTION * SIZES["lines"])
    return f"""\
*The paper* is Montesinos-López et al. (2016), *G3* 6:2725-2744, doi 10.1534/g3.116.032359. Its Table 2 compares the
three models on simulated data with trait correlations of 0.85 and 0.2 by its cross-validation CV1. Known here of that
table are the means of the nine environments x traits for the unstructured model, and in how many of the nine each model
is best. Pearson's correlation of the unstructured model is {low} at 0.2 and {high} at 0.85: does the model gain so much
from correlated traits?

## In short

{summarise(results)}

![Gains of the unstructured model]({figure})

## Why correlated traits need not help

CV1 hides whole records: where a line is hidden in an environment, none of its traits is seen there, and each trait is
predicted from the same trait, and the others, in other environments. If R_e is a multiple of Sigma_t, all traits have
the same heritability, and the same correlations in both matrices. Then some mixtures of the traits are independent of
each other, have all the same heritability, and are predicted by the same weights; so each trait is, by its own records
alone, with nothing to gain from the others. With known covariances the predictions with and without correlations are
the same, whatever the correlation (below: *{KNOWN}* and *{ALONE}*). Models can then differ only in how well they
estimate the covariances. If heritabilities differ, records of a trait with a high one inform on a trait with a low one.

The paper's text gives the same correlations to both matrices, 0.85 or 0.2. Its variances are not known here; if they
are in the same proportion in both matrices, its design is that of equal heritabilities below.

## Design

{make_table(("what", "value", "from"), list_design(hidden, results[0].sets))}

The sets of all designs start from the same random numbers, so that designs can be compared set by set. Predictions are
scored per environment and trait on the {hidden} hidden lines, and averaged over partitions; one value a set goes into
means, and standard errors (SE, or in brackets) are over the {results[0].sets} sets. The traits are in one unit, so
`standard` has one genetic and one residual variance for all, as the paper's. Priors are the defaults of this package.

Each fit: {CHAINS["chains"]} chains of {CHAINS["draws"]:,} draws after {CHAINS["tune"]} of warm-up.
Effective draws behind the predicted mean of the median cell, in the worst partition: {effective}.
Monte Carlo error raises the genetic part of MSEP by about 1 / (effective draws), here at most {100 / least.min():.1f}%.

## Means of the nine environments x traits

{make_table(("design", "predictions", "Pearson", "MSEP", "Pearson, plots", "MSEP, plots"), list_means(results))}

The first two columns of scores are of the means of the {SIZES["reps"]} hidden plots of a line, the last two of single
plots. The paper does not say which it scored, and its variances are not known here: levels cannot be compared. With
this relationship, Sigma_E = I and no residual at all, genetic values correlate with their best predictions from two
other environments by sqrt(1/3) = {np.sqrt(1 / 3):.2f}.

## Gains of the unstructured model

MSEP saved (% of the other model's) and gain in Pearson's correlation, mean of all environments and traits, paired by
set.

{make_table(("design", "against", "MSEP saved, % (SE)", "gain in Pearson (SE)"), list_gains(results))}

## What can the paper's {low} and {high} mean?

{describe_rise(results)}

## How much do counts of best cells say?

Environments x traits, of nine, in which a model is the best in one simulated set, averaged over {PARTITIONS}
partitions; mean and SD over the sets. *Majority*: % of the sets in which a model is best in five cells or more (SE at
most {50 / np.sqrt(results[0].sets):.0f}%). The paper's counts are those of unstructured, diagonal, standard; *as many*:
% of the sets in which the unstructured model is best in as many cells as in the paper, or more.

{make_table(wins, list_wins(results))}

{sections}

## What is not known

The paper's variances, its relationship in full, its priors, whether its table is of one data set or of several, and the
other cells of its table. Other relationships, numbers of plots and shares of hidden lines are not studied here.
"""


def list_design(hidden: int, sets: int) -> list[tuple[str, str, str]]:
    """Every chosen value, and whether it is the paper's."""
    paper, chosen = "the paper", "chosen here"
    size = f"{SIZES['envs']} environments, {SIZES['traits']} traits, {SIZES['lines']} lines, {SIZES['reps']} replicates"
    rows = [
        ("size, environment means", size + "; means as in [recovery](recovery.md)", paper),
        ("correlations in Sigma_t and in R_e", "0.85, or 0.2", paper),
        ("Sigma_E", "the identity", paper),
        ("hidden", f"{hidden} lines in each environment, with all traits; each line is seen somewhere", paper),
        ("relationship", "0.3 I + 0.7 J, with J the matrix of ones", "a reading of the paper's"),
        ("variances in Sigma_t", "1, 1, 1", chosen),
    ]
    for design in DESIGNS[:: len(DESIGNS) // 2]:
        h2 = np.array(design.heritability)
        word = "R_e = 2 Sigma_t" if design.proportional else "R_e not proportional to Sigma_t"
        residual = ", ".join(f"{value:g}" for value in 2 * (1 / h2 - 1))
        told = f"{residual}: heritability of a plot {', '.join(f'{value:g}' for value in h2)}; {word}"
        rows.append((f"variances in R_e, {name_heritabilities(design)}", told, chosen))
    return [*rows, ("data sets; partitions of each", f"{sets}; {PARTITIONS}", "the paper: 10 splits into 80% and 20%")]


def name_heritabilities(design: Design) -> str:
    """The design without its correlation."""
    return design.name.split(",")[0]


def show_mean(correlation: float, score: str) -> str:
    """A mean of the paper's Table 2."""
    return f"{TABLE_2_MEANS[correlation][score]:.2f}"


def tell(values: np.ndarray, digits: int = 3, sign: str = "") -> str:
    """Mean over the sets and its standard error."""
    mean, error = mean_error(values)
    mean = 0.0 if abs(mean) < 1e-9 else mean  # what is left of rounding has no sign
    return f"{mean:{sign}.{digits}f} ({error:.{digits}f})"


def list_means(results: Sequence[Accuracy]) -> list[tuple[str, ...]]:
    """Means by design and predictor, and the paper's."""
    rows = []
    for r in results:
        for name in PREDICTORS:
            rows.append((r.design.name, name, *[tell(r.average(name, score)) for score in SCORES]))
    for rho in TABLE_2_MEANS:
        told = [show_mean(rho, score) for score in WORDS]
        rows.append((f"the paper, correlation {rho:g}", UN, *told, "", ""))
    return rows


def list_gains(results: Sequence[Accuracy]) -> list[tuple[str, ...]]:
    """Gains by design."""
    pairs = [(UN, BD, BD), (UN, ST, ST), (KNOWN, ALONE, f"{BD}, with known covariances")]
    return [
        (
            r.design.name,
            label,
            tell(r.gain(one, other, "msep")[:, -1], 2, "+"),
            tell(r.gain(one, other, "pearson")[:, -1], 4, "+"),
        )
        for r in results
        for one, other, label in pairs
    ]


def list_wins(results: Sequence[Accuracy]) -> list[tuple[str, ...]]:
    """Counts of best cells by design and score, and the paper's."""
    rows = []
    for r in results:
        for score, word in WORDS.items():
            wins = r.count_wins(score)
            paper = TABLE_2_WINS[r.design.correlation][score]
            spread = wins.std(axis=0, ddof=1)
            best = [f"{mean:.1f} ({sd:.1f})" for mean, sd in zip(wins.mean(axis=0), spread, strict=True)]
            majority = [f"{share:.0f}" for share in 100 * (wins >= 5).mean(axis=0)]
            printed = ", ".join(str(paper[name]) for name in MODELS)
            many = f"{100 * (wins[:, 0] >= paper[UN]).mean():.0f}"
            rows.append((r.design.name, word, *best, *majority, printed, many))
    return rows


def find(results: Sequence[Accuracy], proportional: bool, correlation: float) -> Accuracy:
    """The sets of a design."""
    return next(r for r in results if (r.design.proportional, r.design.correlation) == (proportional, correlation))


def compare_zero(values: np.ndarray) -> int:
    """Sign of a mean that is more than two standard errors from zero; else zero."""
    mean, error = mean_error(values)
    return int(np.sign(mean)) if abs(mean) > 2 * error else 0


def summarise(results: Sequence[Accuracy]) -> str:
    """Sentences chosen by the results."""
    lines = []
    for r in results:
        gain = r.gain(UN, BD, "msep")[:, -1]
        sign = compare_zero(gain)
        known = "nothing" if r.design.proportional else f"{tell(r.gain(KNOWN, ALONE, 'msep')[:, -1], 1, '+')}% of MSEP"
        verdict = {1: "a gain", 0: "not to be told from none", -1: "a loss"}[sign]
        if r.design.proportional and sign > 0:
            verdict = "a gain, which can come only from better estimates of the covariances"
        lines.append(
            f"- *{r.design.name}*: with known covariances, using the correlations saves {known}. The unstructured "
            f"model saves {tell(gain, 1, '+')}% of the diagonal one's MSEP ({verdict}), and gains "
            f"{tell(r.gain(UN, BD, 'pearson')[:, -1], 3, '+')} in Pearson's correlation."
        )
    equal, low = (find(results, True, rho) for rho in (0.85, 0.2))
    wins = equal.count_wins("pearson")[:, 0]
    lines.append(
        "- *Counts of best cells*: with equal heritabilities and correlation 0.85 the unstructured model, which has "
        f"nothing to gain there, is best by Pearson in {wins.min()} to {wins.max()} of nine cells, depending on the "
        f"set, and in the majority in {100 * (wins >= 5).mean():.0f}% of the sets."
    )
    lines.append(
        f"- *The paper's rise* of the unstructured model's correlation by {RISE:.2f} or more is seen in "
        f"{100 * (rise_pairs(equal, low, UN) >= RISE).mean():.0f}% of pairs of different sets with equal "
        "heritabilities, one of each trait correlation."
    )
    return "\n".join(lines)


def rise_pairs(high: Accuracy, low: Accuracy, predictor: str) -> np.ndarray:
    """Pearson at the high correlation less that at the low one, for all pairs of different sets."""
    steps = high.average(predictor, "pearson")[:, None] - low.average(predictor, "pearson")[None, :]
    return steps[~np.eye(len(steps), dtype=bool)]


def describe_rise(results: Sequence[Accuracy]) -> str:
    """The paper's two averages against ours."""
    table = []
    for proportional in (True, False):
        above, below = (find(results, proportional, rho) for rho in (0.85, 0.2))
        for name in PREDICTORS:
            pairs = rise_pairs(above, below, name)
            steps = [tell(above.average(name, score) - below.average(name, score), 3, "+") for score in WORDS]
            share = f"{100 * (pairs >= RISE).mean():.0f}"
            table.append((name_heritabilities(above.design), name, *steps, f"{pairs.std():.3f}", share))
    head = (
        "design", "predictions", *[f"{word}, 0.85 less 0.2 (SE)" for word in WORDS.values()],
        "SD of Pearson, sets apart", f"% of pairs that rise by {RISE:.2f}",
    )  # fmt: skip
    return f"""\
Differences between trait correlations 0.85 and 0.2, set by set on the same random numbers; then the spread of the
difference between two different sets, one of each correlation, as the paper's two columns may be, and how many of all
such pairs rise as much as the paper's.

{make_table(head, table)}

{explain_rise(results)}"""


def explain_rise(results: Sequence[Accuracy]) -> str:
    """What is said of the paper's figures, chosen by ours."""
    low, high = (TABLE_2_MEANS[rho] for rho in (0.2, 0.85))
    expected = low["msep"] * (1 - high["pearson"] ** 2) / (1 - low["pearson"] ** 2)
    equal, below = (find(results, True, rho) for rho in (0.85, 0.2))
    share = 100 * (rise_pairs(equal, below, UN) >= RISE).mean()
    spread = equal.average(UN, "pearson").std(ddof=1)
    points = [
        f"The paper's MSEP does not fall as the correlation rises: {low['msep']:.2f} at 0.2, {high['msep']:.2f} at "
        f"0.85. Better predictions of hidden values with the same variance would take it to about {expected:.2f}, in "
        "proportion to 1 - r^2. A correlation that rises while MSEP stays is what hidden values that vary more give.",
        f"From one set to another the mean of the nine correlations has an SD of {spread:.2f} (unstructured model, "
        "equal heritabilities, correlation 0.85): nine cells of the same few lines are no nine independent results. "
        + (
            f"A rise as the paper's is within what two sets can differ by: {share:.0f}% of pairs show it."
            if share >= 5
            else f"A rise as the paper's is more than two sets mostly differ by: {share:.0f}% of pairs show it."
        ),
    ]
    more, saved = (
        (find(results, False, 0.85).gain(UN, BD, score) - find(results, False, 0.2).gain(UN, BD, score))[:, -1]
        for score in WORDS
    )
    verdict = {1: "a true rise", 0: "not more than two standard errors from zero", -1: "a fall"}[compare_zero(more)]
    points.append(
        "With unequal heritabilities the unstructured model can gain. From 0.2 to 0.85 its gain over the diagonal one "
        f"changes by {tell(more, 3, '+')} in correlation ({verdict}), and by {tell(saved, 1, '+')}% of MSEP saved."
    )
    return "\n".join(f"- {point}" for point in points)


def describe_cells(r: Accuracy) -> str:
    """Scores and ranks by environment and trait."""
    rows = []
    for i, l in np.ndindex(len(r.envs), len(r.traits)):
        row = [r.envs[i], r.traits[l]]
        for score in WORDS:
            values = np.stack([r.of(name, score)[:, i, l] for name in MODELS])
            order = -values.mean(axis=1) if score == "pearson" else values.mean(axis=1)
            ranks = order.argsort().argsort() + 1
            row += [f"{tell(value)} {rank}" for value, rank in zip(values, ranks, strict=True)]
        rows.append(row)
    head = ("environment", "trait", *[f"{word}: {name}" for word in WORDS.values() for name in MODELS])
    return f"""\
## {r.design.name[0].upper() + r.design.name[1:]}

Means over the sets (SE), then the rank of the model by that mean. All models see the same sets: errors of differences
are smaller than those of the means (see the figure).

{make_table(head, rows)}"""
