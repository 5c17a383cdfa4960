"""Tables and figures of the study on BMTME's example sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from validation.referees.estimates import OURS, THEIRS, compare
from validation.referees.toyruns import (
    DEFAULT,
    DOCUMENTED,
    REPAIRED,
    TWIN,
    Found,
    Pair,
    Toy,
    set_priors,
    unscramble,
)
from validation.registry import make_table
from validation.rscript import describe_r

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = {DOCUMENTED: ("#CC79A7", "^"), REPAIRED: (THEIRS, "D"), TWIN: ("#56B4E9", "v"), DEFAULT: (OURS, "o")}
#: Heritabilities of a chain that rest on fewer effective draws are indicative only, and marked.
FEW = 100


def list_tables(results: Sequence[Found], pairs: Sequence[Pair]) -> dict[str, str]:
    """All tables by their headings."""
    return {
        **{f"{one.toy.name}, main effects only": tabulate_pair(one) for one in pairs},
        "Main effects only: worst effective draws per second of processor time": tabulate_rates(pairs),
        "Sigma_E as returned and as used": tabulate_interaction(results),
        "Priors and the variance of all records": tabulate_variances(results),
        "Prior of Sigma_t and the scale of G": tabulate_scales(results),
        "Offset of the fitted values": tabulate_offsets(results),
        "Heritability of a plot": tabulate_heritability(results),
        "Heritability of a plot: distances between programs and priors": tabulate_distances(results),
        "Heritability of a plot: effective draws and Monte Carlo errors": tabulate_effective(results),
        "Genetic values of the cells: correlation with those of bmtme": tabulate_genetic(results),
        "Programs": describe_r("BMTME"),
    }


def tabulate_pair(one: Pair) -> str:
    """Both covariances by both programs, where they have one model."""
    z, _ = compare(one.ours, one.theirs)
    rows = [
        (name, one.theirs.show_error(k), one.ours.show_error(k), f"{one.ours.sd[k]:.3f}", f"{z[k]:+.1f}")
        for k, name in enumerate(one.names)
    ]
    return make_table(("entry", "BMTME", "bmtme", "posterior SD", "difference / error"), rows)


def tabulate_rates(pairs: Sequence[Pair]) -> str:
    """Timed once."""
    return make_table(
        ("set", "BMTME", "bmtme"), [(one.toy.name, f"{one.rates[0]:.1f}", f"{one.rates[1]:,.0f}") for one in pairs]
    )


def tabulate_interaction(results: Sequence[Found]) -> str:
    """Posterior means as documented; rows separated by semicolons."""
    rows = [
        (r.toy.name, show_matrix(r.documented.Sigma_E.mean(axis=0)),
         show_matrix(unscramble(r.toy, r.documented).mean(axis=0)))
        for r in results
    ]  # fmt: skip
    head = ("set", "Sigma_E as returned", "covariance of environments under that design, on average over the lines")
    return make_table(head, rows)


def tabulate_variances(results: Sequence[Found]) -> str:
    """In units of the variance within environments."""
    rows = []
    for r in results:
        total = r.toy.trial.values.var(axis=0, ddof=1)
        for l, trait in enumerate(r.toy.trial.traits):
            rows.append((
                r.toy.name, trait, f"{total[l] / r.toy.spread[l] ** 2:.1f}",
                f"{r.documented.R_e[:, l, l].mean() / r.toy.spread[l] ** 2:.2f}",
                f"{r.repaired.R_e[:, l, l].mean():.2f}", f"{np.sqrt(10.0) / square_error(r.toy)[l]:.1f}",
            ))  # fmt: skip
    head = ("set", "trait", "variance of all records", "R_e as documented", "R_e repaired", "prior SD / SE of a mean")
    return make_table(head, rows)


def tabulate_scales(results: Sequence[Found]) -> str:
    """Median of the heritability of a plot before data, in units and centring as repaired."""
    rows = []
    for r in results:
        m = np.diag(r.toy.G).mean()
        medians = [np.median(set_priors(r.toy).draw_heritability(scale, 1)) for scale in (m, 1.0)]
        rows.append((r.toy.name, f"{m:.2f}", *[f"{median:.2f}" for median in medians], f"{spread_lines(r.toy):.2f}"))
    head = ("set", "mean diagonal of G", "prior median, G as it is", "prior median, G of mean diagonal one",
            "SD of the correlations of lines in G")  # fmt: skip
    return make_table(head, rows)


def tabulate_offsets(results: Sequence[Found]) -> str:
    """Largest difference of the fitted values from the sum of their parts, as documented, in units of the traits."""
    return make_table(("set", "offset"), [(r.toy.name, f"{r.documented.measure_offset()[0]:.2g}") for r in results])


def tabulate_heritability(results: Sequence[Found]) -> str:
    """Posterior means and 90% intervals; a dagger marks fewer than `FEW` effective draws."""
    rows = []
    for r in results:
        marks = mark_thin(r)
        for k, name in enumerate(r.names):
            rows.append((r.toy.name, name, *[r.heritability[way].show(k) + marks[way] for way in STYLES]))
    return make_table(("set", "trait and environment", *STYLES), rows)


def mark_thin(r: Found) -> dict[str, str]:
    """A dagger for ways that rest on few effective draws."""
    return {way: "" if r.count_effective(way) >= FEW else " †" for way in STYLES}


def tabulate_distances(results: Sequence[Found]) -> str:
    """Mean and largest absolute differences, and widths of the intervals, of sets with enough effective draws."""
    complete = [r for r in results if not any(mark_thin(r).values())]
    if not complete:
        return f"No set has {FEW} effective draws in every way."
    rows = []
    for way in STYLES:
        away = [np.concatenate([np.abs(r.heritability[way].mean - r.heritability[other].mean) for r in complete])
                for other in (DEFAULT, REPAIRED)]  # fmt: skip
        width = np.concatenate([r.heritability[way].upper - r.heritability[way].lower for r in complete]).mean()
        rows.append((way, *[f"{gap.mean():.2f}, {gap.max():.2f}" for gap in away], f"{width:.2f}"))
    names = ", ".join(r.toy.name for r in complete)
    head = (f"way ({names})", f"from {DEFAULT}", f"from {REPAIRED}", "mean width of the intervals")
    return make_table(head, rows)


def tabulate_effective(results: Sequence[Found]) -> str:
    """Least effective draws of each set; the largest Monte Carlo error of all."""
    rows = [
        (way, *[f"{r.count_effective(way):.0f}" for r in results],
         f"{max(r.heritability[way].error.max() for r in results):.3f}")
        for way in STYLES
    ]  # fmt: skip
    return make_table(("way", *[r.toy.name for r in results], "largest Monte Carlo error"), rows)


def tabulate_genetic(results: Sequence[Found]) -> str:
    """Of the posterior means."""
    rows = []
    for r in results:
        marks = mark_thin(r)
        for l, trait in enumerate(r.toy.trial.traits):
            ours = r.genetic[DEFAULT][:, l]
            cells = [
                f"{np.corrcoef(r.genetic[way][:, l], ours)[0, 1]:.3f}{marks[way]}" for way in (DOCUMENTED, REPAIRED)
            ]
            rows.append((r.toy.name, trait, *cells))
    return make_table(("set", "trait", DOCUMENTED, REPAIRED), rows)


def spread_lines(toy: Toy) -> float:
    """Standard deviation of the correlations of different lines in G."""
    sd = np.sqrt(np.diag(toy.G))
    return float((toy.G / np.outer(sd, sd))[np.triu_indices(len(sd), 1)].std(ddof=1))


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
