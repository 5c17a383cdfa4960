"""Figure and tables of the study `recovery`."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bmtme.report.palette import COLOURS
from validation.paper.published import TABLE_1_SETS
from validation.paper.recovery_sets import (
    COVARIANCES,
    DEFAULT,
    GROUPS,
    PRIORS,
    READINGS,
    VAGUE,
    Recovery,
    label_entry,
    line_average,
)
from validation.paper.simulated import compare_zero, mean_error, write_mean, write_number
from validation.registry import make_table

Results = dict[tuple[str, str], Recovery]

#: Groups looked at in batches as large as the paper's study.
BATCHED = ("Sigma_t", "Sigma_E")


def draw_recovery(results: Results) -> Figure:
    """Posterior means over the sets against the truth, by parameter."""
    figure = Figure(figsize=(11.0, 10.0), layout="constrained")
    left, right = figure.subfigures(1, 2)
    vague = {reading: results[reading, VAGUE] for reading in READINGS}
    default = {reading: results[reading, DEFAULT] for reading in READINGS}
    panels = [
        *zip(left.subplots(2, 1, sharex=True), ("beta", "beta"), (default, vague), strict=True),
        *zip(
            right.subplots(5, 1, sharex=True, height_ratios=(6, 6, 3, 3, 6)),
            ("Sigma_t", "Sigma_t", "Sigma_E", "Sigma_E", "R_e"),
            (default, vague, default, vague, default),
            strict=True,
        ),
    ]
    for panel, group, by_reading in panels:
        names = []
        for m, (reading, r) in enumerate(by_reading.items()):
            here = r.of(group)
            names = [label_entry(r.names[k]) for k in here]
            off, middle = r.mean[:, here] - r.truth[here], r.median[:, here] - r.truth[here]
            if group != "beta":
                off, middle = 100 * off / r.truth[here], 100 * middle / r.truth[here]
            place = np.arange(len(here)) + 0.36 * (m - 0.5)
            colour = COLOURS[m]
            low, q1, q3, high = np.quantile(off, (0.05, 0.25, 0.75, 0.95), axis=0)
            panel.hlines(place, low, high, color=colour, linewidth=1.0)
            panel.hlines(place, q1, q3, color=colour, linewidth=3.5, alpha=0.55)
            panel.plot(
                off.mean(axis=0), place, "o", color=colour, markersize=4.5, label=f"{reading}: mean of posterior means"
            )
            # Below the line, as most medians are next to their mean.
            panel.plot(
                middle.mean(axis=0), place + 0.12, "D", color="white", markeredgecolor=colour, markersize=2.8,
                markeredgewidth=0.8, label=f"{reading}: mean of posterior medians",
            )  # fmt: skip
        panel.axvline(0, color="0.4", linewidth=0.9, zorder=0)
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.grid(axis="x", color="0.92")
        panel.set_axisbelow(True)
        panel.set_title(f"{group}, {DEFAULT if by_reading is default else VAGUE} priors", fontsize=10, loc="left")
    left.supxlabel("estimate - truth (units of the trait)", fontsize=10)
    right.supxlabel("estimate - truth (% of the truth)", fontsize=10)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9, title_fontsize=9,
        title="lines: posterior means of 90% of the sets (thin) and of half of them (thick)",
    )  # fmt: skip
    return figure


def list_tables(results: Results) -> dict[str, str]:
    """All tables by their headings; in brackets standard errors over sets."""
    tables = {
        "% above the truth, mean over the group": tabulate_excess(results),
        f"The same of posterior means in batches of {TABLE_1_SETS} sets": tabulate_batches(results),
        "% of true values inside their 90% intervals": tabulate_coverage(results),
        "Bias of posterior medians in posterior standard deviations": tabulate_shifts(results),
        "Chains": tabulate_chains(results),
    }
    for reading in READINGS:
        both = results[reading, DEFAULT], results[reading, VAGUE]
        tables[f"Relationship {reading}: covariances"] = tabulate_covariances(*both)
        tables[f"Relationship {reading}: environment means"] = tabulate_means(*both, line_average(reading).ravel())
    return tables


def pool_excess(results: Results, priors: str, group: str) -> list[np.ndarray]:
    """Percentages by which a group is above the truth, of all sets: posterior means, medians, and their difference."""
    by_reading = [results[reading, priors] for reading in READINGS]
    means, medians = (
        np.concatenate([r.excess(group, getattr(r, name)) for r in by_reading]) for name in ("mean", "median")
    )
    return [means, medians, means - medians]


def tabulate_excess(results: Results) -> str:
    """Means (beta) and variances (the others): posterior means, medians, and their difference."""
    rows = []
    for (reading, priors), r in results.items():
        for group in GROUPS:
            means, medians = r.excess(group, r.mean), r.excess(group, r.median)
            rows.append((reading, priors, group, *[write_mean(x, 1, "+") for x in (means, medians, means - medians)]))
    for priors in PRIORS:
        for group in GROUPS:
            pooled = pool_excess(results, priors, group)
            rows.append(("both", priors, group, *[write_mean(values, 1, "+") for values in pooled]))
    head = ("relationship", "priors", "group", "posterior means", "posterior medians", "means - medians")
    return make_table(head, rows)


def split_batches(r: Recovery, group: str) -> list[np.ndarray]:
    """Percentages by which posterior means are above the truth, in batches of as many sets as the paper has."""
    means = r.excess(group, r.mean)
    return [means[start : start + TABLE_1_SETS] for start in range(0, r.sets - TABLE_1_SETS + 1, TABLE_1_SETS)]


def count_high(batches: list[np.ndarray]) -> int:
    """Batches that are too high by more than two standard errors of their own."""
    return sum(compare_zero(*mean_error(batch)) > 0 for batch in batches)


def tabulate_batches(results: Results) -> str:
    """One column a batch, and how many are too high."""
    rows, batches = [], []
    for (reading, priors), r in results.items():
        for group in BATCHED:
            batches = split_batches(r, group)
            told = [write_mean(batch, 1, "+") for batch in batches]
            rows.append((reading, priors, group, *told, f"{count_high(batches)} of {len(batches)}"))
    head = [f"batch {k + 1}" for k in range(len(batches))]
    return make_table(("relationship", "priors", "group", *head, "too high"), rows)


def tabulate_coverage(results: Results) -> str:
    """By group; the standard error is that of the share in a set, over the sets."""
    rows = [
        (reading, priors, *[f"{100 * share:.1f} ({100 * error:.1f})" for share, error in map(r.coverage, GROUPS)])
        for (reading, priors), r in results.items()
    ]
    return make_table(("relationship", "priors", *GROUPS), rows)


def tabulate_shifts(results: Results) -> str:
    """By group: in the posterior standard deviation of each set, and in the mean one."""
    rows = []
    for (reading, priors), r in results.items():
        both = [measure(group) for measure in (r.shift, r.shift_by_mean) for group in COVARIANCES]
        rows.append((reading, priors, *[f"{write_number(shift, 2, '+')} ({error:.2f})" for shift, error in both]))
    return make_table(
        ("relationship", "priors", *COVARIANCES, *[f"{group}, by the mean SD" for group in COVARIANCES]), rows
    )


def tabulate_chains(results: Results) -> str:
    """Of all fits."""
    rows = [
        (reading, priors, f"{r.sets}", f"{r.effective:.0f}", f"{r.r_hat.max():.3f}")
        for (reading, priors), r in results.items()
    ]
    return make_table(("relationship", "priors", "sets", "least effective draws", "largest R-hat"), rows)


def tabulate_covariances(*both: Recovery) -> str:
    """Every entry, with default priors and with vague ones; a star marks a bias of more than two standard errors."""
    r = both[0]
    rows = [
        (r.names[k], f"{r.truth[k]:g}", *[cell for part in both for cell in tell(part, k, medians=True)])
        for group in COVARIANCES
        for k in r.of(group)
    ]
    head = ("mean", "SD", "bias (SE)", "medians: bias (SE)", "inside")
    return make_table(("covariance", "truth", *head, *[f"vague: {word}" for word in head]), rows)


def tabulate_means(default: Recovery, vague: Recovery, spread: np.ndarray) -> str:
    """Every environment mean; `spread` is the SD of the average of all plots by formula."""
    rows = [
        (default.names[k], f"{default.truth[k]:g}", *tell(default, k), *tell(vague, k), f"{sd:.2f}")
        for k, sd in zip(default.of("beta"), spread, strict=True)
    ]
    head = ("mean", "SD", "bias (SE)", "inside")
    return make_table(("beta", "truth", *head, *[f"vague: {word}" for word in head], "SD by formula"), rows)


def tell(r: Recovery, k: int, medians: bool = False) -> tuple[str, ...]:
    """Mean and SD of the posterior means, their bias, perhaps that of the medians, and coverage (%)."""
    digits = 3 if r.sd[:, k].mean() < 0.1 else 2
    told = (f"{r.mean[:, k].mean():.{digits}f}", f"{r.mean[:, k].std(ddof=1):.{digits}f}", tell_bias(r, r.mean, k))
    return (*told, *([tell_bias(r, r.median, k)] if medians else []), f"{100 * r.inside[:, k].mean():.0f}")


def tell_bias(r: Recovery, estimates: np.ndarray, k: int) -> str:
    """Bias with its standard error, and a star."""
    bias, error = (part[k] for part in r.bias(estimates))
    return f"{write_number(bias, 3, '+')} ({error:.3f}){'*' if compare_zero(bias, error) else ''}"
