"""Figure and tables of the study of the priors' scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bmtme.report.palette import COLOURS
from validation.paper.estimates import list_pairs, tell
from validation.paper.sensitivity_sweeps import (
    DECADES,
    GAMMA_E,
    HALF_T,
    HALF_T_E,
    WISHART,
    Sweep,
    Swept,
    measure_changes,
)
from validation.registry import make_table

#: Where the axis of Sigma_E is cut.
LOW, HIGH = 1e-2, 1e2
#: Kinds of quantities, by how their names begin.
KINDS = {
    "correlations": ("genetic_correlation", "residual_correlation"),
    "variances": ("genetic_variance", "R_e"),
    "heritabilities": ("heritability",),
    "Sigma_E": ("Sigma_E",),
}


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


def list_tables(label: str, swept: Swept) -> dict[str, str]:
    """The tables of one set by their headings."""
    return {
        f"{label}: largest changes between scales, all / those from 1, in posterior SDs": tabulate_spans(swept),
        f"{label}: posterior means (95% intervals) at some of the scales": tabulate_means(swept),
        f"{label}: run again with more draws": "; ".join(swept.longer) or "none",
    }


def show(change: float) -> str:
    """A change in posterior standard deviations."""
    return f"{change:.2f}" if change < 100 else "above 100"


def tabulate_spans(swept: Swept) -> str:
    """One row a sweep, by kind of quantity; the changes against the default priors; R-hat and Monte Carlo errors."""
    rows = []
    for sweep, summaries in swept.found.items():
        told = []
        for starts in KINDS.values():
            part = [name for name in swept.reference.index if name.startswith(starts)]
            told.append(" / ".join(show(swept.measure(sweep, least, part).size) for least in (0.0, 1.0)))
        most = " / ".join(swept.measure(sweep, least).name for least in (0.0, 1.0))
        at_one = measure_changes(swept.reference, [swept.at(sweep, 1.0)]).abs().to_numpy().max()
        worst = max(float(summary["r_hat"].max()) for summary in summaries)
        noise = max(float((1 / np.sqrt(summary["ess_bulk"])).max()) for summary in summaries)
        rows.append((sweep.what, sweep.name, *told, most, show(at_one), f"{worst:.3f}", f"{noise:.2f}"))
    if swept.package is not None:
        changes = measure_changes(swept.reference, [swept.package]).abs().iloc[0]
        told = [show(max(changes[name] for name in changes.index if name.startswith(s))) for s in KINDS.values()]
        worst, noise = float(swept.package["r_hat"].max()), float((1 / np.sqrt(swept.package["ess_bulk"])).max())
        rows.append((
            "Sigma_t, R_e", "as the R package, against the default", *told, str(changes.idxmax()), "", f"{worst:.3f}",
            f"{noise:.2f}",
        ))  # fmt: skip
    head = (
        "prior of", "family", *KINDS, "largest of", "A = 1 against the default", "largest R-hat",
        "largest Monte Carlo error, SDs",
    )  # fmt: skip
    return make_table(head, rows)


def tabulate_means(swept: Swept) -> str:
    """Genetic correlations and heritabilities at some scales."""
    traits, env = swept.data[0].traits, swept.data[0].envs[0]
    names = [f"genetic_correlation[{a}, {b}]" for a, b in list_pairs(traits)]
    names += [f"heritability[{env}, {trait}]" for trait in traits] + [f"Sigma_E[{env}, {env}]"]
    rows = [("default priors", "", "", *[tell(swept.reference.loc[name], 2) for name in names])]
    if swept.package is not None:
        rows.append(("Sigma_t, R_e", "as the R package", "", *[tell(swept.package.loc[name], 2) for name in names]))
    for sweep, summaries in swept.found.items():
        for scale, summary in zip(swept.scales, summaries, strict=True):
            if scale in DECADES:
                rows.append((sweep.what, sweep.name, f"{scale:g}", *[tell(summary.loc[name], 2) for name in names]))
    return make_table(("prior of", "family", "scale", *names), rows)
