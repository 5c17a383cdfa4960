"""Figure of the study of the priors' scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bmtme.report.plots import COLOURS
from validation.paper.estimates import list_pairs
from validation.paper.sensitivity_sweeps import GAMMA_E, HALF_T, HALF_T_E, WISHART, Sweep, Swept

#: Where the axis of Sigma_E is cut.
LOW, HIGH = 1e-2, 1e2


def draw_sweeps(swept: Swept) -> Figure:
    """Posterior means and 95% intervals against the prior scale; families side by side."""
    trial = swept.data[0]
    pairs = list(list_pairs(trial.traits))
    env = trial.envs[0]
    shown_here, cells = len(trial.traits), len(trial.traits) * len(trial.envs)
    correlations = [(f"genetic_correlation[{a}, {b}]", f"{a}, {b}") for a, b in pairs]
    columns = {
        HALF_T: "half-t of Sigma_t and R_e",
        WISHART: "inverse-Wishart, p + 1 df,\nof Sigma_t and R_e",
        HALF_T_E: "half-t of the roots of Sigma_E",
        GAMMA_E: "inverse gamma of Sigma_E",
    }
    rows = [
        ("genetic correlation", correlations, find_limits(swept, list(columns), [name for name, _ in correlations])),
        (
            f"heritability of a plot, {env}\n({shown_here} of {cells} traits x environments)",
            [(f"heritability[{env}, {t}]", t) for t in trial.traits],
            (0.0, 1.0),
        ),
        (
            f"Sigma_E (axis cut at {LOW:g} and {HIGH:g};\nsee table)",
            [(f"Sigma_E[{e}, {e}]", e) for e in trial.envs],
            (LOW, HIGH),
        ),
    ]
    figure = Figure(figsize=(14.5, 8.8), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
    for r, (title, shown, limits) in enumerate(rows):
        for c, (sweep, heading) in enumerate(columns.items()):
            panel = axes[r, c]
            for k, (name, label) in enumerate(shown):
                table = pd.DataFrame([summary.loc[name] for summary in swept.found[sweep]])
                place = np.array(swept.scales) * 1.09 ** (k - 1)
                ends = [table["mean"] - table["lower"], table["upper"] - table["mean"]]
                panel.errorbar(
                    place, table["mean"], yerr=ends, color=COLOURS[k], marker="osD^v"[k], markersize=4, capsize=2,
                    linewidth=1, elinewidth=0.8, label=label,
                )  # fmt: skip
                panel.axhline(swept.reference.loc[name, "mean"], color=COLOURS[k], linewidth=0.7, linestyle=":")
            panel.set_xscale("log")
            if r == len(rows) - 1:
                panel.set_yscale("log")
            panel.set_ylim(*limits)
            panel.grid(color="0.93")
            panel.set_axisbelow(True)
            if r == 0:
                panel.set_title(heading, fontsize=10)
        axes[r, 0].set_ylabel(title)
        axes[r, -1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.supxlabel(
        "scale A of the prior, in standard deviations of the trait (of Sigma_E: no unit)\n"
        "posterior means with 95% intervals; dotted: under the default priors",
        fontsize=10,
    )
    return figure


def find_limits(swept: Swept, sweeps: Sequence[Sweep], names: Sequence[str]) -> tuple[float, float]:
    """Axis that holds all intervals, and no more."""
    tables = [summary.loc[list(names)] for sweep in sweeps for summary in swept.found[sweep]]
    low, high = min(table["lower"].min() for table in tables), max(table["upper"].max() for table in tables)
    margin = 0.05 * (high - low)
    return max(low - margin, -1.0), min(high + margin, 1.0)
