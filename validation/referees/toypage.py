"""The page and the figures of the study on BMTME's example sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from validation.referees.estimates import compare
from validation.referees.toyruns import (
    DF,
    DOCUMENTED,
    DRAWS,
    OURS,
    REPAIRED,
    SHARE_E,
    SHARE_T,
    START,
    TUNE,
    Found,
    Pair,
    Toy,
    unscramble,
)
from validation.registry import Row, make_table
from validation.rscript import describe_r, find_version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = {DOCUMENTED: ("#CC79A7", "^"), REPAIRED: ("#000000", "D"), OURS: ("#D55E00", "s")}


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
the paper, and it has errors. On the sets that it ships: where do the two programs agree, and where must they differ?

**Data.** {sizes}; {len(results[0].toy.trial.lines)} lines each, every line in every environment, no gaps.

**Programs.** {describe_r("BMTME")}. It returns posterior means only; its draws were read as they pass its
inverse-Wishart function. bmtme: 2 chains of {DRAWS:,} sweeps after {TUNE:,} of warm-up.

1. *{DOCUMENTED}*: data as they are, designs by the recipe of its help page; {spans["documented"]}.
2. *{REPAIRED}*: every trait centred in each environment and scaled to unit variance, the interaction's design made
   environment by environment (`I (x) L`, `L L' = G`), and {START} times the row sums of the main effects' design taken
   off the data (see below); {spans["repaired"]}.
3. *Main effects only*: as 2, with a zero design of the interaction; {chains} chains of {spans["main"]}.
   Here both programs can have one model.""",
        describe_pairs(rows, pairs, results, entries),
        describe_faults(results, pairs),
        describe_differences(results, heritability),
    ])  # fmt: skip


def describe_pairs(rows: Sequence[Row], pairs: Sequence[Pair], results: Sequence[Found], figure: str) -> str:
    """Main effects only: where both have one model."""
    parts = [
        "## One model: main effects only",
        f"BMTME's priors in both: inverse-Wishart, {DF} + number of traits - 1 degrees of freedom, scales {DF + 2} V "
        f"{SHARE_T:g} for `Sigma_t` and {DF + 2} V {SHARE_E:g} for `R_e`, V the covariance of all records given. "
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
    agree = all(row.ok for row in rows[::2])
    parts.append(
        ("The means agree within Monte Carlo error" if agree else "The means do NOT agree within Monte Carlo error")
        + ". Worst entry, effective draws per second, warm-up included: "
        + "; ".join(f"{one.toy.name} {one.rates[0]:.1f} (BMTME, a core), {one.rates[1]:,.0f} (bmtme, the cores given)"
                    for one in pairs)
        + "."
    )  # fmt: skip
    out = [r for r in results if r.toy.name not in [one.toy.name for one in pairs]]
    for r in out:
        worst = r.effective.min()
        parts.append(
            f"{r.toy.name} is left out here: with inputs repaired its worst entry has {worst:.0f} effective draws in "
            f"{len(r.repaired.R_e):,} sweeps ({1e3 * r.repaired.sweep:.0f} ms each)."
        )
    return "\n\n".join(parts)


def describe_faults(results: Sequence[Found], pairs: Sequence[Pair]) -> str:
    """The errors of BMTME, with their size on these sets."""
    table = []
    for r in results:
        total = r.toy.trial.values.var(axis=0, ddof=1)
        for l, trait in enumerate(r.toy.trial.traits):
            table.append((
                r.toy.name, trait, f"{total[l] / r.toy.spread[l] ** 2:.1f}",
                f"{r.documented.R_e[:, l, l].mean() / r.toy.spread[l] ** 2:.2f}",
                f"{r.repaired.R_e[:, l, l].mean():.2f}", f"{np.sqrt(10.0) / square_error(r.toy)[l]:.1f}",
            ))  # fmt: skip
    head = ("set", "trait", "variance of all records", "R_e as documented", "R_e repaired", "prior SD / SE of a mean")
    scrambled = []
    for r in results:
        nominal, effective = r.documented.Sigma_E.mean(axis=0), unscramble(r.toy, r.documented).mean(axis=0)
        scrambled.append((r.toy.name, show_matrix(nominal), show_matrix(effective)))
    off = max(one.offset[0] for one in pairs), max(r.documented.measure_offset()[0] for r in results)
    explained = all(one.offset[1] < 1e-9 for one in pairs)
    return "\n\n".join([
        f"## What is wrong with BMTME {find_version('BMTME')}, as far as it was found",
        f"1. **Fitted values are off.** The main effects start at {START} and the start is never taken off the data: "
        f"the package analyses `y + {START} Z1 1`, and returns as fitted values `X beta + Z1 b1 + Z2 b2` less "
        f"`{START} Z1 1`. In the runs without interaction fitted values are off by up to {off[0]:.2f} SDs of a trait; "
        + ("nothing else is left of the difference" if explained else "this does NOT explain all of it")
        + f". As documented they are off by up to {off[1]:.2g}, in the units of every trait alike: as much for one "
        "in tonnes as for one in centimetres.",
        "2. **The interaction's design of the help page mixes environments.** It takes an eigenvalue root of "
        "`I (x) G`, whose columns are sorted by eigenvalue, while the sampler takes them to be sorted by environment. "
        "What `Sigma_E` says then is not what it does (posterior means; rows separated by semicolons):",
        make_table(("set", "Sigma_E as returned", "what it stands for"), scrambled),
        "3. **The priors take differences between environments for variation.** Their scales are shares of the "
        "variance of all records, environment means included. The first column below, in units of the variance within "
        "environments, is the factor by which that widens the priors of `Sigma_t` and `R_e`; beside it are the "
        "residual variances found. `Sigma_E` is a ratio without unit, but the scale of its prior has that of a squared "
        "trait: it comes from the values of all traits together, and from equal parts of the table, which are "
        "environments only where it is sorted by them. Hence its size as documented (above).",
        make_table(head, table),
        "4. **A covariance is used as a precision.** The prior of the environment means is centred at least squares, "
        "with a precision of a tenth of the estimates' *covariance*. Its strength depends on the unit: the last column "
        "has the prior's standard deviation in standard errors of a mean (small: the data hardly count).",
        "5. **Scores.** Its cross-validation gives Pearson's correlation and MAAPE, the mean of "
        "`arctan(abs(error / observed))`, which changes with the zero of a scale and has little meaning for a trait "
        "of deviations around zero. There is no MSEP, so nothing is compared here.",
        "Harmless in way 2: the data are shifted beforehand (1), the design is right (2), traits are centred in "
        "environments and of one unit (3), and of unit variance, where the false precision is weak (4).",
    ])  # fmt: skip


def describe_differences(results: Sequence[Found], figure: str) -> str:
    """What remains different, and what it means for heritabilities and genetic values."""
    table, values = [], []
    for r in results:
        for k, name in enumerate(r.names):
            table.append((r.toy.name, name, *[r.heritability[way].show(k) for way in STYLES]))
        for l, trait in enumerate(r.toy.trial.traits):
            ours = r.genetic[OURS][:, l]
            cells = [f"{np.corrcoef(r.genetic[way][:, l], ours)[0, 1]:.3f}" for way in (DOCUMENTED, REPAIRED)]
            values.append((r.toy.name, trait, *cells))
    inside = {way: [r.heritability[way].mean[k] for r in results for k in range(len(r.names))] for way in STYLES}
    apart = {way: np.abs(np.subtract(inside[way], inside[OURS])) for way in (DOCUMENTED, REPAIRED)}
    return "\n\n".join([
        "## What cannot agree: models and priors",
        "With an interaction the models differ. BMTME's `Sigma_E` is a full matrix beside a main effect, which says "
        "the same thing twice (a covariance common to all environments can stand in either); bmtme's, as the paper's, "
        "is diagonal. BMTME's inverse-Wishart priors on scales of the data pull variances towards the shares that they "
        "were given; bmtme's half-t priors hardly pull. With few lines that matters. Heritability of a plot, posterior "
        "mean and 90% interval, bmtme with its default priors:",
        make_table(("set", "trait and environment", *STYLES), table),
        f"![Heritabilities by BMTME as documented, BMTME with inputs repaired, and bmtme]({figure})",
        f"On average heritabilities differ from bmtme's by {apart[DOCUMENTED].mean():.2f} as documented (at most "
        f"{apart[DOCUMENTED].max():.2f}) and by {apart[REPAIRED].mean():.2f} with inputs repaired (at most "
        f"{apart[REPAIRED].max():.2f}). Mean width of the intervals: {tell_widths(results)}. Largest Monte Carlo error "
        f"of a heritability: {tell_errors(results)}.",
        "Genetic values of the cells (line x environment), correlation with those of bmtme:",
        make_table(("set", "trait", DOCUMENTED, REPAIRED), values),
        "Not known: which of the priors is nearer the truth on these sets. Nothing here is a test of prediction.",
    ])  # fmt: skip


def tell_widths(results: Sequence[Found]) -> str:
    """Mean widths of the 90% intervals of heritabilities, by way."""
    parts = []
    for way in STYLES:
        widths = np.concatenate([r.heritability[way].upper - r.heritability[way].lower for r in results])
        parts.append(f"{widths.mean():.2f} ({way})")
    return ", ".join(parts)


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
            (0.13, "BMTME", "#000000", "D", one.theirs), (-0.13, "bmtme", "#0072B2", "o", one.ours),
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
    """Heritabilities of every set, trait and environment by the three ways."""
    import matplotlib.pyplot as plt

    counts = [len(r.names) for r in results]
    figure, axes = plt.subplots(len(results), 1, figsize=(7.5, 1.6 + 0.42 * sum(counts)), layout="constrained",
                                sharex=True, squeeze=False, height_ratios=counts)  # fmt: skip
    for panel, r in zip(axes.flat, results, strict=True):
        places = np.arange(len(r.names))[::-1]
        for shift, (way, (colour, mark)) in zip((0.25, 0.0, -0.25), STYLES.items(), strict=True):
            e = r.heritability[way]
            panel.errorbar(e.mean, places + shift, xerr=[e.mean - e.lower, e.upper - e.mean], fmt=mark, color=colour,
                           markersize=5, linewidth=1.2, label=way)  # fmt: skip
        panel.set_yticks(places, r.names)
        panel.set_title(r.toy.name, fontsize="medium")
    axes.flat[-1].set_xlim(0, 1)
    axes.flat[-1].set_xlabel("heritability of a plot (posterior mean, 90% interval)")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
