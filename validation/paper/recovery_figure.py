"""The figure of the study `recovery`."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bmtme.report.plots import COLOURS
from validation.paper.recovery_sets import DEFAULT, READINGS, VAGUE, Recovery, label_entry


def draw_recovery(results: dict[tuple[str, str], Recovery]) -> Figure:
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
