"""The page and the figures of the study on BMTME's example sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from validation.referees.estimates import OURS, RULES, THEIRS, compare, is_settled, tell_agreement
from validation.referees.toyruns import (
    DEFAULT,
    DF,
    DOCUMENTED,
    DRAWS,
    READ,
    REPAIRED,
    SHARE_E,
    SHARE_G,
    START,
    TUNE,
    TWIN,
    Found,
    Pair,
    Toy,
    set_priors,
    unscramble,
)
from validation.registry import Row, make_table
from validation.rscript import describe_r, find_version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = {DOCUMENTED: ("#CC79A7", "^"), REPAIRED: (THEIRS, "D"), TWIN: ("#56B4E9", "v"), DEFAULT: (OURS, "o")}
#: Heritabilities of a chain that rest on fewer effective draws are indicative only, and left out of means.
FEW = 100
#: Lines whose correlations in G have a smaller standard deviation are called almost unrelated.
UNRELATED = 0.1


def describe(
    rows: Sequence[Row], results: Sequence[Found], pairs: Sequence[Pair], entries: str, heritability: str,
    lengths: Mapping[str, tuple[int, int]], chains: int,
) -> str:  # fmt: skip
    """The whole page."""
    sizes = ", ".join(
        f"{r.toy.name} ({len(r.toy.trial.envs)} environments; {', '.join(r.toy.trial.traits)})" for r in results
    )
    spans = {way: f"{kept:,} sweeps after {dropped:,} dropped ones" for way, (kept, dropped) in lengths.items()}
    return "\n\n".join([
        f"""\
**Question.** `BMTME` on CRAN is the package that users of the paper's method have. It does not quite fit the model of
the paper, and errors were found in it. On the sets that it ships: where do the two programs agree, and where must they
differ?

**Data.** {sizes}; {len(results[0].toy.trial.lines)} lines each, every line once in every environment, no gaps.

**Model.** `Y = X beta + Z1 b1 + Z2 b2 + e`, records x traits: beta the means of the environments, b1 main effects of
the lines, b2 their interaction with environments, e residuals. `Sigma_t` is the genetic and `R_e` the residual
covariance of the traits, `Sigma_E` the covariance of environments in the interaction, G the relationship of the lines.
With (x) for the Kronecker product, the main effects covary by `Sigma_t (x) G`, the interaction by
`Sigma_t (x) Sigma_E (x) G`, the residuals of a record by `R_e`. In the paper and in bmtme `Sigma_E` is diagonal, in
BMTME full. BMTME does not take G but *designs* Z1 and Z2 that carry a root of it. *Heritability of a plot*: genetic
variance, main effect and interaction, as a share of genetic and residual variance, among the lines of the set:
`c Sigma_t` with c the sample variance that G lets one expect of effects with variance one.

**Programs.** {describe_r("BMTME")}. It returns posterior means only; its draws were read as they pass its
inverse-Wishart function. bmtme: 2 chains of {DRAWS:,} sweeps after {TUNE:,} of warm-up.

- *{DOCUMENTED}*: data as they are, designs by the recipe of its help page; {spans["documented"]}.
- *{REPAIRED}*: every trait centred in each environment and scaled to unit variance, G divided by its mean diagonal,
  the interaction's design made environment by environment (`I (x) L`, `L L' = G`), and {START} times the row sums of
  the main effects' design taken off the data (reasons below); {spans["repaired"]}.
- *Main effects only*: inputs repaired, with a zero design of the interaction; {chains} chains of {spans["main"]}. Here
  both programs can have one model.
- *{DEFAULT}*: default priors, data and G as they are. *{TWIN}*: the repaired data and G, BMTME's priors of `Sigma_t`,
  `R_e` and of the diagonal of `Sigma_E`.""",
        describe_pairs(rows, pairs, results, entries),
        describe_faults(results, pairs) if find_version("BMTME") == READ else
        f"## Faults of BMTME\n\nThey were read in version {READ}; here is {find_version('BMTME')}, whose source was "
        f"not read. They are not listed, and what *{REPAIRED}* repairs may not be there.",
        describe_differences(results, heritability),
    ])  # fmt: skip


def describe_pairs(rows: Sequence[Row], pairs: Sequence[Pair], results: Sequence[Found], figure: str) -> str:
    """Main effects only: where both have one model."""
    parts = [
        "## One model: main effects only",
        f"BMTME's priors in both: inverse-Wishart, {DF} + number of traits - 1 degrees of freedom, scales {DF + 2} V "
        f"{SHARE_G:g} for `Sigma_t` and {DF + 2} V {SHARE_E:g} for `R_e`, V the covariance of all records given. "
        "bmtme's prior holds `Sigma_E` at a millionth. `±`: Monte Carlo error of a mean.",
    ]
    for one in pairs:
        z, _ = compare(one.ours, one.theirs)
        table = [
            (name, one.theirs.show_error(k), one.ours.show_error(k), f"{one.ours.sd[k]:.3f}", f"{z[k]:+.1f}")
            for k, name in enumerate(one.names)
        ]
        head = (one.toy.name, "BMTME", "bmtme", "posterior SD", "difference / error")
        parts.append(make_table(head, table))
    parts.append(f"![Covariances by both programs where they have one model]({figure})")
    parts.append(make_table(("check", "size", "statistic", "figure", "verdict"),
                            [(r.check, r.size, r.statistic, r.figure, r.verdict) for r in rows]))  # fmt: skip
    parts.append(RULES)
    for one in pairs:
        agreement = tell_agreement(compare(one.ours, one.theirs)[1], is_settled(one.ours, one.theirs))
        parts.append(f"{one.toy.name}: the means {agreement}.")
    parts.append(
        "**Speed.** Worst entry, effective draws of its mean per second of processor time, warm-up included: "
        + "; ".join(f"{one.toy.name} {one.rates[0]:.1f} (BMTME), {one.rates[1]:,.0f} (bmtme)" for one in pairs)
        + ". Timed once, on a machine that may have been shared: trust ratios to a factor of two."
    )
    for r in results:
        if r.toy.name not in [one.toy.name for one in pairs]:
            parts.append(
                f"{r.toy.name} is left out here: with an interaction and inputs repaired its worst heritability has "
                f"{r.count_effective(REPAIRED):.0f} effective draws in {len(r.repaired.R_e):,} sweeps of "
                f"{1e3 * r.repaired.sweep:.0f} ms each (processor time)."
            )
    return "\n\n".join(parts)


def describe_faults(results: Sequence[Found], pairs: Sequence[Pair]) -> str:
    """The errors of BMTME, with their size on these sets."""
    table, expected = [], []
    for r in results:
        total = r.toy.trial.values.var(axis=0, ddof=1)
        for l, trait in enumerate(r.toy.trial.traits):
            table.append((
                r.toy.name, trait, f"{total[l] / r.toy.spread[l] ** 2:.1f}",
                f"{r.documented.R_e[:, l, l].mean() / r.toy.spread[l] ** 2:.2f}",
                f"{r.repaired.R_e[:, l, l].mean():.2f}", f"{np.sqrt(10.0) / square_error(r.toy)[l]:.1f}",
            ))  # fmt: skip
        m = np.diag(r.toy.G).mean()
        medians = [np.median(set_priors(r.toy).draw_heritability(scale, 1)) for scale in (m, 1.0)]
        expected.append((r.toy.name, f"{m:.2f}", *[f"{median:.2f}" for median in medians]))
    head = ("set", "trait", "variance of all records", "R_e as documented", "R_e repaired", "prior SD / SE of a mean")
    scrambled = []
    for r in results:
        nominal, effective = r.documented.Sigma_E.mean(axis=0), unscramble(r.toy, r.documented).mean(axis=0)
        scrambled.append((r.toy.name, show_matrix(nominal), show_matrix(effective)))
    off = max(one.offset[0] for one in pairs), max(r.documented.measure_offset()[0] for r in results)
    explained = all(one.offset[1] < 1e-9 for one in pairs)
    return "\n\n".join([
        f"## What is wrong with BMTME {READ}, as far as it was found",
        f"1. **Fitted values are off.** The main effects start at {START} and the start is never taken off the data: "
        f"the package analyses `Y + {START} Z1 1`, and returns as fitted values `X beta + Z1 b1 + Z2 b2` less "
        f"`{START} Z1 1`. In the runs without interaction fitted values are off by up to {off[0]:.2f} SDs of a trait; "
        + ("nothing else is left of the difference" if explained else "this does NOT explain all of it")
        + f". As documented they are off by up to {off[1]:.2g}, in the units of every trait alike: as much for one "
        "in tonnes as for one in centimetres.",
        "2. **The interaction's design of the help page mixes environments.** It takes an eigenvalue root of "
        "`I (x) G`, whose columns are sorted by eigenvalue, while the sampler takes them to be sorted by environment. "
        "What `Sigma_E` says then is not what it does (posterior means; rows separated by semicolons). No single "
        "matrix describes what it does: under that design the covariance of environments differs between the "
        "eigenvectors of G, and the last column is an average:",
        make_table(
            ("set", "Sigma_E as returned",
             "covariance of environments under that design, on average over the lines"), scrambled),
        "3. **The priors take differences between environments for variation.** Their scales are shares of the "
        "variance of all records, environment means included. The first column below, in units of the variance within "
        "environments, is the factor by which that widens the priors of `Sigma_t` and `R_e`; beside it are the "
        "residual variances found. `Sigma_E` is a ratio without unit, but the scale of its prior has that of a squared "
        "trait: it comes from the values of all traits together, and from equal parts of the table, which are "
        "environments only where it is sorted by them. Hence its size as documented (above).",
        make_table(head, table),
        f"4. **The prior of `Sigma_t` ignores the scale of G.** It is centred at {SHARE_G:g} V whatever the diagonal "
        "of G is, though a line's genetic variance is that diagonal times `Sigma_t`. A relationship on another scale "
        "is another prior. Median of the heritability of a plot before data (of a line with the mean diagonal of G), "
        "in units and centring as repaired:",
        make_table(("set", "mean diagonal of G", "prior median, G as it is", "prior median, G of mean diagonal one"),
                   expected),
        "5. **A covariance is used as a precision.** The prior of the environment means is centred at least squares, "
        "with a precision of a tenth of the estimates' *covariance*. Its strength depends on the unit: the last column "
        "of the table under 3 has the prior's standard deviation in standard errors of a mean (small: the data hardly "
        "count).",
        "6. **Scores.** Its cross-validation gives Pearson's correlation and MAAPE (mean arctangent absolute "
        "percentage error), the mean of `arctan(abs(error / observed))`, which changes with the zero of a scale and "
        "has little meaning for a trait of deviations around zero. There is no MSEP (mean squared error of "
        "prediction), so nothing is compared here.",
        f"Harmless in *{REPAIRED}*: the data are shifted beforehand (1), the design is right (2), traits are centred "
        "in environments and of one unit (3), G has mean diagonal one (4), and traits have unit variance, where the "
        "false precision is weak (5).",
    ])  # fmt: skip


def describe_differences(results: Sequence[Found], figure: str) -> str:
    """What remains different, and what it means for heritabilities and genetic values."""
    table, values = [], []
    for r in results:
        marks = {way: "" if r.count_effective(way) >= FEW else " †" for way in STYLES}
        for k, name in enumerate(r.names):
            table.append((r.toy.name, name, *[r.heritability[way].show(k) + marks[way] for way in STYLES]))
        for l, trait in enumerate(r.toy.trial.traits):
            ours = r.genetic[DEFAULT][:, l]
            cells = [
                f"{np.corrcoef(r.genetic[way][:, l], ours)[0, 1]:.3f}{marks[way]}" for way in (DOCUMENTED, REPAIRED)
            ]
            values.append((r.toy.name, trait, *cells))
    thin = [
        f"{r.toy.name}, {way} ({r.count_effective(way):.0f} effective draws: indicative only)"
        for r in results for way in STYLES if r.count_effective(way) < FEW
    ]  # fmt: skip
    note = [f"† {'; '.join(thin)}. Not in the means below."] if thin else []
    complete = find_complete(results)
    return "\n\n".join([
        "## What cannot agree: models and priors",
        "With an interaction the models differ. BMTME's `Sigma_E` is a full matrix beside a main effect, which says "
        "the same thing twice (a covariance common to all environments can stand in either); bmtme's, as the paper's, "
        "is diagonal. The priors differ too: BMTME's are inverse-Wishart on scales of the data, and pull variances "
        "towards the shares that they were given; bmtme's half-t priors are wide and let a variance come close to "
        "zero. Heritability of a plot, posterior mean and 90% interval:",
        make_table(("set", "trait and environment", *STYLES), table),
        *note,
        f"![Heritabilities by BMTME as documented and with inputs repaired, and by bmtme with both priors]({figure})",
        tell_distances(complete) + f" Largest Monte Carlo error of a heritability, all sets: {tell_errors(results)}.",
        explain_differences(results, complete),
        "Genetic values of the cells (line x environment), correlation with those of bmtme:",
        make_table(("set", "trait", DOCUMENTED, REPAIRED), values),
        "Not known: which of the priors is nearer the truth on these sets. Nothing here is a test of prediction.",
    ])  # fmt: skip


def explain_differences(results: Sequence[Found], complete: Sequence[Found]) -> str:
    """Why plot heritabilities of both programs are far apart, as far as they are."""
    spreads = {r.toy.name: spread_relationship(r.toy) for r in results}
    alone = [name for name, spread in spreads.items() if spread < UNRELATED]
    parts = [
        "**Why heritabilities differ.** There is one record in a cell. Its interaction covaries between lines as G "
        "does, its residual does not, and little else tells the two apart. Standard deviation of the correlations of "
        f"lines in G: {', '.join(f'{name} {spread:.2f}' for name, spread in spreads.items())}."
    ]
    if alone:
        parts.append(
            f"In {' and '.join(alone)} lines are almost unrelated, so that interaction (`Sigma_E (x) G`) and residual "
            "(`I`) are hardly told apart, and the prior decides."
        )
    apart = []
    for r in complete:
        ours, theirs = r.heritability[DEFAULT], r.heritability[REPAIRED]
        apart += [
            f"{name} ({r.toy.name}: *{DEFAULT}* {ours.show(k)}, *{REPAIRED}* {theirs.show(k)}, "
            f"*{TWIN}* {r.heritability[TWIN].show(k)})"
            for k, name in enumerate(r.names)
            if ours.lower[k] > theirs.upper[k] or ours.upper[k] < theirs.lower[k]
        ]
    if apart:
        parts.append(f"Intervals that do not overlap: {'; '.join(apart)}.")
    if complete:
        same, own = (float(measure_distance(complete, way, REPAIRED).mean()) for way in (TWIN, DEFAULT))
        figures = f"With BMTME's priors bmtme is {same:.2f} from *{REPAIRED}* on average, with its own {own:.2f}: "
        if same < own / 2:
            parts.append(figures + "the priors make most of the difference.")
            if any((r.heritability[DEFAULT].mean > 0.9).any() for r in complete):
                parts.append(
                    "Where bmtme's plot heritability is near one, its prior lets the interaction take what BMTME's "
                    "prior keeps as residual. That is no finding about the trait, and a narrow interval there is "
                    "narrow under that prior only."
                )
        else:
            parts.append(figures + "the priors do NOT make most of the difference; a full `Sigma_E` may.")
    width = float(
        np.concatenate([r.heritability[DEFAULT].upper - r.heritability[DEFAULT].lower for r in results]).mean()
    )
    if width > 0.5:
        parts.append(
            f"Intervals of bmtme {width:.2f} wide on average say that the data decide little: replicates in the "
            "environments are needed, or a model with fewer variances (`standard`)."
        )
    return " ".join(parts)


def spread_relationship(toy: Toy) -> float:
    """Standard deviation of the correlations of different lines in G."""
    sd = np.sqrt(np.diag(toy.G))
    return float((toy.G / np.outer(sd, sd))[np.triu_indices(len(sd), 1)].std(ddof=1))


def find_complete(results: Sequence[Found]) -> list[Found]:
    """Sets where heritabilities rest on enough effective draws in every way."""
    return [r for r in results if all(r.count_effective(way) >= FEW for way in STYLES)]


def measure_distance(complete: Sequence[Found], way: str, other: str) -> np.ndarray:
    """Absolute differences of all heritabilities."""
    return np.concatenate([np.abs(r.heritability[way].mean - r.heritability[other].mean) for r in complete])


def tell_distances(complete: Sequence[Found]) -> str:
    """How far the ways are apart, and how wide their intervals are, where all have enough effective draws."""
    if not complete:
        return f"No set has {FEW} effective draws in every way: distances are not known."

    def tell(way: str, other: str) -> str:
        distance = measure_distance(complete, way, other)
        return f"{distance.mean():.2f} on average and {distance.max():.2f} at most (*{way}*)"

    def measure_width(way: str) -> float:
        return float(np.concatenate([r.heritability[way].upper - r.heritability[way].lower for r in complete]).mean())

    return (
        f"On {', '.join(r.toy.name for r in complete)}, where all have {FEW} effective draws, heritabilities differ "
        f"from those of *{DEFAULT}* by {'; '.join(tell(way, DEFAULT) for way in (DOCUMENTED, REPAIRED, TWIN))}. Those "
        f"of *{REPAIRED}* differ from those of bmtme with the same priors by {tell(TWIN, REPAIRED)}. Mean width of the "
        f"intervals: {', '.join(f'{measure_width(way):.2f} (*{way}*)' for way in STYLES)}."
    )


def tell_errors(results: Sequence[Found]) -> str:
    """Largest Monte Carlo errors of heritabilities, by way."""
    return ", ".join(f"{max(r.heritability[way].error.max() for r in results):.3f} ({way})" for way in STYLES)


def square_error(toy: Toy) -> np.ndarray:
    """(L,) squared standard errors of an environment's mean by least squares."""
    N, I = len(toy.scaled.values), len(toy.trial.envs)
    return toy.spread**2 * (N - 1) / (N - I) / len(toy.trial.lines)


def show_matrix(values: np.ndarray) -> str:
    """Rows of a small matrix, separated by semicolons."""
    return "; ".join(" ".join(f"{value:.2f}" for value in row) for row in np.round(values, 2) + 0.0)


def draw_pairs(pairs: Sequence[Pair]) -> Figure:
    """Entries of both covariances by both programs, a panel for each set."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(pairs), figsize=(4.8 * len(pairs), 3.6), layout="constrained", squeeze=False)
    for panel, one in zip(axes.flat, pairs, strict=True):
        places = np.arange(len(one.names))[::-1]
        for shift, label, colour, mark, e in (
            (0.13, "BMTME", THEIRS, "D", one.theirs), (-0.13, "bmtme", OURS, "o", one.ours),
        ):  # fmt: skip
            panel.errorbar(e.mean, places + shift, xerr=[e.mean - e.lower, e.upper - e.mean], fmt=mark, color=colour,
                           markersize=5, linewidth=1.2, label=label)  # fmt: skip
        panel.axvline(0, color="0.7", linewidth=0.8, zorder=0)
        panel.set_yticks(places, one.names)
        panel.set_title(one.toy.name)
        panel.set_xlabel("in variances of a trait within environments")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  title="Main effects only, the same priors: posterior means and 90% intervals")  # fmt: skip
    return figure


def draw_heritability(results: Sequence[Found]) -> Figure:
    """Heritabilities of every set, trait and environment, by way."""
    import matplotlib.pyplot as plt

    counts = [len(r.names) for r in results]
    figure, axes = plt.subplots(len(results), 1, figsize=(7.5, 1.8 + 0.5 * sum(counts)), layout="constrained",
                                sharex=True, squeeze=False, height_ratios=counts)  # fmt: skip
    for panel, r in zip(axes.flat, results, strict=True):
        places = np.arange(len(r.names))[::-1]
        for shift, (way, (colour, mark)) in zip((0.3, 0.1, -0.1, -0.3), STYLES.items(), strict=True):
            e = r.heritability[way]
            panel.errorbar(e.mean, places + shift, xerr=[e.mean - e.lower, e.upper - e.mean], fmt=mark, color=colour,
                           markersize=5, linewidth=1.2, label=way)  # fmt: skip
        panel.set_yticks(places, r.names)
        few = [f"{way}: {r.count_effective(way):.0f} effective draws" for way in STYLES if r.count_effective(way) < FEW]
        panel.set_title("\n".join([r.toy.name, *[f"(indicative only: {what})" for what in few]]), fontsize="medium")
    axes.flat[-1].set_xlim(0, 1.02)
    axes.flat[-1].set_xlabel("heritability of a plot (posterior mean, 90% interval)")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
