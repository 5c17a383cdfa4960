"""The page of the study `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.paper.accuracy_findings import (
    HIGH,
    LOW,
    RISE,
    WORDS,
    count_pairs,
    explain_bound,
    explain_rise,
    find,
    find_rise,
    pair_sets,
    summarise,
)
from validation.paper.accuracy_known import PARTITIONS as KNOWN_PARTITIONS
from validation.paper.accuracy_known import Known
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
from validation.paper.simulated import SIZES, write_mean
from validation.registry import make_table


def describe(results: Sequence[Accuracy], known: Sequence[Known], figure: str) -> str:
    """The page."""
    sections = "\n\n".join(describe_cells(r) for r in results)
    least = np.min([r.effective.min(axis=0) for r in results], axis=0)
    effective = ", ".join(f"{name} {n:.0f}" for name, n in zip(MODELS, least, strict=True))
    low, high = (show_mean(rho, "pearson") for rho in (LOW, HIGH))
    counted = [f"{word}: {name}" for word in ("best", "majority") for name in MODELS]
    wins = ("design", "score", *counted, "the paper's counts", f"{UN} best as often as in the paper, or more")
    hidden = round(FRACTION * SIZES["lines"])
    return f"""\
*The paper* is Montesinos-López et al. (2016), *G3* 6:2725-2744, doi 10.1534/g3.116.032359. Its Table 2 compares the
three models on simulated data with trait correlations of {HIGH:g} and {LOW:g} by its cross-validation CV1. Known here
of that table are the means of the nine environments x traits for the unstructured model, and in how many of the nine
each model is best. Pearson's correlation of the unstructured model is {low} at {LOW:g} and {high} at {HIGH:g}: does the
model gain so much from correlated traits?

## In short

{summarise(results, known)}

![Gains of the unstructured model]({figure})

## Why correlated traits need not help

CV1 hides whole records: where a line is hidden in an environment, none of its traits is seen there, and each trait is
predicted from that line's other environments and from its relatives. If R_e is a multiple of Sigma_t, the traits can be
recombined into independent ones of equal heritability, all predicted with the same weights, so the best prediction of a
trait uses that trait's records only. With known covariances the predictions with and without correlations are then the
same, whatever the correlation (below: *{KNOWN}* and *{ALONE}*). Models can differ only in how
well they estimate the covariances. If heritabilities differ, records of a trait with a high one inform on a trait with
a low one.

The paper's text gives the same correlations to both matrices, {HIGH:g} or {LOW:g}. Its variances are not known here; if
they are in the same proportion in both matrices, its design is that of equal heritabilities below.

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
plots. The paper does not say which it scored, and its variances are not known here: levels cannot be compared, but for
what follows.

## How high can the correlations be?

Means of the nine correlations over {known[0].best.size} sets (SE), {KNOWN_PARTITIONS} partitions of each, with known
covariances and Sigma_E = I under two readings of the paper's relationship: all lines alike (*compound*), as in all that
is above and below, and eight unrelated families of ten lines (*blocks*), as in [recovery](recovery.md). Nothing is
fitted. First for the means of plots in the design of equal heritabilities, R_e = 2 Sigma_t; then for genetic values
predicted from genetic values. The last column is the largest difference that the correlations of the traits make to any
prediction.

{make_table(("relationship", "R_e = 2 Sigma_t", "no residual", "largest difference"), list_known(known))}

{explain_bound(known)}

## Gains of the unstructured model

MSEP saved (% of the other model's) and gain in Pearson's correlation, mean of all environments and traits, paired by
set.

{make_table(("design", "against", "MSEP saved, % (SE)", "gain in Pearson (SE)"), list_gains(results))}

## What can the paper's {low} and {high} mean?

{describe_rise(results)}

## How much do counts of best cells say?

Environments x traits, of nine, in which a model is the best in one simulated set, averaged over {PARTITIONS}
partitions; mean and SD over the sets. *Majority*: % of the sets in which a model is best in five cells or more (SE at
most {50 / np.sqrt(results[0].sets):.0f}%). The paper's counts are those of unstructured, diagonal, standard. Last: % of
the sets in which the unstructured model is best in as many cells as in the paper, or more.

{make_table(wins, list_wins(results))}

{sections}

## What is not known

The paper's variances, its relationship in full, its priors, whether its table is of one data set or of several, and the
other cells of its table. Fits under other relationships, other numbers of plots and shares of hidden lines are not
studied here.
"""


def list_design(hidden: int, sets: int) -> list[tuple[str, str, str]]:
    """Every chosen value, and whether it is the paper's."""
    paper, chosen = "the paper", "chosen here"
    splits = "a reading of the paper's 10-fold, 80% and 20%"
    size = f"{SIZES['envs']} environments, {SIZES['traits']} traits, {SIZES['lines']} lines, {SIZES['reps']} replicates"
    rows = [
        ("size, environment means", size + "; means as in [recovery](recovery.md)", paper),
        ("correlations in Sigma_t and in R_e", f"{HIGH:g}, or {LOW:g}", paper),
        ("Sigma_E", "the identity", paper),
        ("lines", f"{SIZES['lines'] - hidden} seen, {hidden} hidden with all traits, but seen elsewhere", paper),
        ("hidden where", "in each environment other lines, drawn at random", splits),
        ("relationship", "0.3 I + 0.7 11', with 11' the matrix of ones", "a reading of the paper's"),
        ("variances in Sigma_t", "1, 1, 1", chosen),
    ]
    for design in DESIGNS[:: len(DESIGNS) // 2]:
        h2 = np.array(design.heritability)
        word = "R_e = 2 Sigma_t" if design.proportional else "R_e not proportional to Sigma_t"
        residual = ", ".join(f"{value:g}" for value in 2 * (1 / h2 - 1))
        told = f"{residual}: heritability of a plot of one line {', '.join(f'{value:g}' for value in h2)}; {word}"
        rows.append((f"variances in R_e, {name_heritabilities(design)}", told, chosen))
    rows.append(("partitions of each set", f"{PARTITIONS}, drawn at random", splits))
    return [*rows, ("data sets of each design", f"{sets}", f"{chosen}; the paper's number is not known")]


def name_heritabilities(design: Design) -> str:
    """The design without its correlation."""
    return design.name.split(",")[0]


def show_mean(correlation: float, score: str) -> str:
    """A mean of the paper's Table 2."""
    return f"{TABLE_2_MEANS[correlation][score]:.2f}"


def list_known(known: Sequence[Known]) -> list[tuple[str, ...]]:
    """Correlations with known covariances, and the paper's beside them."""
    rows = [(r.reading, write_mean(r.best, 2), write_mean(r.pure, 2), f"{r.gain:.0e}") for r in known]
    return [*rows, *[(f"the paper, correlation {rho:g}", show_mean(rho, "pearson"), "", "") for rho in TABLE_2_MEANS]]


def list_means(results: Sequence[Accuracy]) -> list[tuple[str, ...]]:
    """Means by design and predictor, and the paper's."""
    rows = []
    for r in results:
        for name in PREDICTORS:
            rows.append((r.design.name, name, *[write_mean(r.average(name, score), 3) for score in SCORES]))
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
            write_mean(r.gain(one, other, "msep")[:, -1], 2, "+"),
            write_mean(r.gain(one, other, "pearson")[:, -1], 4, "+"),
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


def describe_rise(results: Sequence[Accuracy]) -> str:
    """The paper's two averages against ours."""
    table = []
    for proportional in (True, False):
        name = name_heritabilities(find(results, proportional, HIGH).design)
        for predictor in PREDICTORS:
            pairs, spread = pair_sets(results, proportional, predictor)
            steps = [write_mean(find_rise(results, proportional, predictor, score), 3, "+") for score in WORDS]
            table.append((name, predictor, *steps, f"{spread:.3f}", count_pairs(pairs)))
    head = (
        "design", "predictions", *[f"{word}, {HIGH:g} less {LOW:g} (SE)" for word in WORDS.values()],
        "Pearson: SD of that difference, two different sets", f"pairs that rise by {RISE:.2f} or more",
    )  # fmt: skip
    return f"""\
Differences between trait correlations {HIGH:g} and {LOW:g}, set by set on the same random numbers; then the spread of
the difference between two different sets, one of each correlation, as the paper's two columns may be, and how many of
all such pairs rise as much as the paper's.

{make_table(head, table)}

{explain_rise(results)}"""


def describe_cells(r: Accuracy) -> str:
    """Scores and ranks by environment and trait."""
    rows = []
    for i, l in np.ndindex(len(r.envs), len(r.traits)):
        row = [r.envs[i], r.traits[l]]
        for score in WORDS:
            values = np.stack([r.of(name, score)[:, i, l] for name in MODELS])
            order = -values.mean(axis=1) if score == "pearson" else values.mean(axis=1)
            ranks = order.argsort().argsort() + 1
            row += [f"{write_mean(value, 3)} {rank}" for value, rank in zip(values, ranks, strict=True)]
        rows.append(row)
    head = ("environment", "trait", *[f"{word}: {name}" for word in WORDS.values() for name in MODELS])
    return f"""\
## {r.design.name[0].upper() + r.design.name[1:]}

Means over the sets (SE), then the rank of the model by that mean. All models see the same sets: errors of differences
are smaller than those of the means (see the figure).

{make_table(head, rows)}"""
