"""How much the posterior depends on the scale of the priors: half-t and inverse-Wishart over four orders of magnitude.

The paper says that half-t priors of the standard deviations make the results insensitive to what is chosen for them.
The scale A is varied from 0.1 to 1000 standard deviations of the trait, for Sigma_t (for a relationship of mean
diagonal one) and R_e together; then that of the roots of Sigma_E, which has no unit. An inverse-Wishart prior with p
+ 1 degrees of freedom and scale A^2 on its diagonal has uniform correlations, as the half-t prior with two degrees of
freedom, and nearly its median of every standard deviation (0.85 A and 0.82 A): they differ in the tails alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bmtme
from bmtme.report.plots import COLOURS
from validation.paper.estimates import list_pairs, sample_quantities, tell
from validation.paper.kept import Data
from validation.paper.pages import reflow
from validation.registry import Options, Row, make_table, register, report_progress, write_figure, write_report
from validation.trials import read_trial, skip

NAME = "maize309_mtme"
SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
DECADES = (0.1, 1.0, 10.0, 100.0, 1000.0)
QUICK = (1.0, 30.0, 1000.0)
TUNE, DRAWS = 500, 2000
#: Changes of a posterior mean, in posterior standard deviations, that are called small and large.
SMALL, LARGE = 0.25, 1.0
#: Kinds of quantities, by how their names begin.
KINDS = {
    "correlations": ("genetic_correlation", "residual_correlation"),
    "variances": ("genetic_variance", "R_e"),
    "heritabilities": ("heritability",),
    "Sigma_E": ("Sigma_E",),
}
#: Chains that disagree more than this are pointed out.
GOOD = 1.01


@dataclass(frozen=True)
class Sweep:
    """A family of priors over the scales."""

    name: str
    what: str
    make: Callable[[Data, float], bmtme.BMTME]


def measure_scales(data: Data) -> tuple[dict[str, float], float]:
    """Standard deviation of each trait, and mean diagonal of the relationship among the trial's lines."""
    trial, relationship = data
    spread = {trait: float(np.nanstd(trial.values[:, l], ddof=1)) for l, trait in enumerate(trial.traits)}
    place = [relationship.lines.index(line) for line in trial.lines]
    return spread, float(np.diag(relationship.matrix)[place].mean())


def half_t(data: Data, scale: float) -> bmtme.BMTME:
    """Sigma_t and R_e half-t with two degrees of freedom."""
    spread, m = measure_scales(data)
    return bmtme.BMTME(
        prior_t=bmtme.HalfT(2.0, {trait: scale * s / np.sqrt(m) for trait, s in spread.items()}),
        prior_e=bmtme.HalfT(2.0, {trait: scale * s for trait, s in spread.items()}),
    )


def inverse_wishart(extra: int) -> Callable[[Data, float], bmtme.BMTME]:
    """Sigma_t and R_e inverse-Wishart with p + `extra` degrees of freedom."""

    def make(data: Data, scale: float) -> bmtme.BMTME:
        spread, m = measure_scales(data)
        df = len(spread) + extra
        return bmtme.BMTME(
            prior_t=bmtme.InverseWishart(df, {trait: (scale * s) ** 2 / m for trait, s in spread.items()}),
            prior_e=bmtme.InverseWishart(df, {trait: (scale * s) ** 2 for trait, s in spread.items()}),
        )

    return make


def interaction_half_t(data: Data, scale: float) -> bmtme.BMTME:
    """Roots of Sigma_E half-t with two degrees of freedom."""
    return bmtme.BMTME(prior_E=bmtme.HalfT(2.0, scale))


def interaction_gamma(data: Data, scale: float) -> bmtme.BMTME:
    """Entries of Sigma_E inverse gamma, IG(1, scale^2 / 2)."""
    return bmtme.BMTME(prior_E=bmtme.InverseWishart(2.0, scale**2))


HALF_T = Sweep("half-t", "Sigma_t, R_e", half_t)
WISHART = Sweep("inverse-Wishart, p + 1 df", "Sigma_t, R_e", inverse_wishart(1))
TIGHT = Sweep("inverse-Wishart, p + 4 df", "Sigma_t, R_e", inverse_wishart(4))
HALF_T_E = Sweep("half-t", "Sigma_E", interaction_half_t)
GAMMA_E = Sweep("inverse gamma", "Sigma_E", interaction_gamma)
SWEEPS = (HALF_T, WISHART, TIGHT, HALF_T_E, GAMMA_E)

Summaries = dict[Sweep, list[pd.DataFrame]]


def list_quantities(data: Data) -> list[str]:
    """What is looked at: correlations, heritabilities, Sigma_E."""
    trial = data[0]
    return [
        *[f"{kind}_correlation[{a}, {b}]" for kind in ("genetic", "residual") for a, b in list_pairs(trial.traits)],
        *[f"genetic_variance[{trait}]" for trait in trial.traits],
        *[f"R_e[{trait}, {trait}]" for trait in trial.traits],
        *[f"heritability[{env}, {trait}]" for env in trial.envs for trait in trial.traits],
        *[f"Sigma_E[{env}, {env}]" for env in trial.envs],
    ]


def run_sweeps(
    data: Data, sweeps: Sequence[Sweep], scales: Sequence[float], options: Options, label: str
) -> tuple[pd.DataFrame, Summaries]:
    """Summary under the default priors, and of every sweep at every scale."""
    names = list_quantities(data)
    report, total = report_progress(f"sensitivity, {label}"), 1 + len(sweeps) * len(scales)

    def summarise(model: bmtme.BMTME) -> pd.DataFrame:
        return sample_quantities(data, model, options.seed, options.cores, TUNE, DRAWS)[1].loc[names]

    reference = summarise(bmtme.BMTME())
    out: Summaries = {}
    for sweep in sweeps:
        out[sweep] = []
        for scale in scales:
            out[sweep].append(summarise(sweep.make(data, scale)))
            report(1 + sum(map(len, out.values())), total)
    return reference, out


def measure_changes(reference: pd.DataFrame, summaries: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """(scale, quantity) posterior means less those under the default priors, in posterior SDs of the latter."""
    means = pd.DataFrame([summary["mean"] for summary in summaries]).reset_index(drop=True)
    return (means - reference["mean"]) / reference["sd"]


def measure_span(reference: pd.DataFrame, summaries: Sequence[pd.DataFrame]) -> tuple[float, str]:
    """Largest difference between the posterior means at two of the scales, in SDs, and of what."""
    changes = measure_changes(reference, summaries)
    span = changes.max() - changes.min()
    return float(span.max()), str(span.idxmax())


def judge(span: float) -> str:
    """In a word."""
    return "insensitive" if span < SMALL else "sensitive" if span > LARGE else "somewhat sensitive"


def show(span: float) -> str:
    """A change in posterior standard deviations."""
    return f"{span:.2f}" if span < 100 else "above 100"


def tabulate_spans(reference: pd.DataFrame, found: Summaries, scales: Sequence[float]) -> str:
    """One row a sweep: the largest changes over all scales / over those from one on, by kind of quantity."""
    one = scales.index(1.0)
    lines = []
    for sweep, summaries in found.items():
        told = []
        for starts in KINDS.values():
            part = [name for name in reference.index if name.startswith(starts)]
            spans = [
                measure_span(reference.loc[part], [summary.loc[part] for summary in some])[0]
                for some in (summaries, summaries[one:])
            ]
            told.append(" / ".join(show(span) for span in spans))
        at_one = show(float(measure_changes(reference, [summaries[one]]).abs().to_numpy().max()))
        verdicts = [judge(measure_span(reference, some)[0]) for some in (summaries, summaries[one:])]
        worst = max(float(summary["r_hat"].max()) for summary in summaries)
        lines.append((sweep.what, sweep.name, *told, at_one, f"{worst:.3f}", " / ".join(verdicts)))
    head = ("prior of", "family", *KINDS, "A = 1 against the default", "largest R-hat", "verdict")
    return make_table(head, lines)


def tabulate_means(data: Data, reference: pd.DataFrame, found: Summaries, scales: Sequence[float]) -> str:
    """Genetic correlations and heritabilities at some scales."""
    traits, env = data[0].traits, data[0].envs[0]
    names = [f"genetic_correlation[{a}, {b}]" for a, b in list_pairs(traits)]
    names += [f"heritability[{env}, {trait}]" for trait in traits] + [f"Sigma_E[{env}, {env}]"]
    lines = [("default priors", "", "", *[tell(reference.loc[name], 2) for name in names])]
    for sweep, summaries in found.items():
        for scale, summary in zip(scales, summaries, strict=True):
            if scale in DECADES:
                lines.append((sweep.what, sweep.name, f"{scale:g}", *[tell(summary.loc[name], 2) for name in names]))
    return make_table(("prior of", "family", "scale", *names), lines)


def draw_sweeps(data: Data, reference: pd.DataFrame, found: Summaries, scales: Sequence[float]) -> Figure:
    """Posterior means and 95% intervals against the prior scale; families side by side."""
    trial = data[0]
    pairs = list(list_pairs(trial.traits))
    env = trial.envs[0]
    rows = [
        ("genetic correlation", [(f"genetic_correlation[{a}, {b}]", f"{a}, {b}") for a, b in pairs], (-1, 1), False),
        (f"heritability of a plot, {env}", [(f"heritability[{env}, {t}]", t) for t in trial.traits], (0, 1), False),
        ("Sigma_E", [(f"Sigma_E[{e}, {e}]", e) for e in trial.envs], (1e-2, 1e2), True),
    ]
    columns = [(HALF_T, "half-t of Sigma_t and R_e"), (WISHART, "inverse-Wishart of Sigma_t and R_e")]
    columns += [(HALF_T_E, "half-t of Sigma_E"), (GAMMA_E, "inverse gamma of Sigma_E")]
    figure = Figure(figsize=(14.0, 8.6), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
    for r, (title, shown, limits, log) in enumerate(rows):
        for c, (sweep, heading) in enumerate(columns):
            panel = axes[r, c]
            for k, (name, label) in enumerate(shown):
                table = pd.DataFrame([summary.loc[name] for summary in found[sweep]])
                place = np.array(scales) * 1.09 ** (k - 1)
                ends = [table["mean"] - table["lower"], table["upper"] - table["mean"]]
                panel.errorbar(
                    place, table["mean"], yerr=ends, color=COLOURS[k], marker="osD^v"[k], markersize=4, capsize=2,
                    linewidth=1, elinewidth=0.8, label=label,
                )  # fmt: skip
                panel.axhline(reference.loc[name, "mean"], color=COLOURS[k], linewidth=0.7, linestyle=":")
            panel.set_xscale("log")
            if log:
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


def simulate(seed: int) -> Data:
    """80 lines, 3 environments, 3 traits, one plot a cell; correlations 0.5."""
    sim = bmtme.simulate(
        lines=80, genetic_correlation=0.5, residual_correlation=0.3, heritability=0.5, relationship="markers", seed=seed
    )
    traits = ["T1", "T2", "T3"]
    return bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=traits), sim.relationship


def make_rows(label: str, reference: pd.DataFrame, found: Summaries, scales: Sequence[float]) -> list[Row]:
    """Half-t from one on moves nothing by a posterior SD, inverse-Wishart moves more."""
    wide = [k for k, scale in enumerate(scales) if scale >= 1]
    spans = [measure_span(reference, [found[sweep][k] for k in wide]) for sweep in (HALF_T, WISHART)]
    size = f"{len(wide)} scales, 1 to {scales[-1]:g}"
    worst = max(float(summary["r_hat"].max()) for summary in (reference, *(found[HALF_T][k] for k in wide)))
    return [
        Row(
            f"{label}: half-t", size, "largest change, posterior SDs", f"{show(spans[0][0])} ({spans[0][1]})",
            spans[0][0] < LARGE,
        ),
        Row(
            f"{label}: inverse-Wishart", size, "largest change, posterior SDs", f"{show(spans[1][0])} ({spans[1][1]})",
            spans[1][0] > 2 * spans[0][0],
        ),
        Row(f"{label}: chains agree, half-t", size, "largest R-hat", f"{worst:.4f}", worst < 1.02),
    ]  # fmt: skip


def run_quick(options: Options) -> list[Row]:
    """The simulated set at three scales."""
    data = simulate(options.seed)
    reference, found = run_sweeps(data, (HALF_T, WISHART), QUICK, options, "simulated")
    return make_rows("simulated, 80 lines", reference, found, QUICK)


def describe(
    data: Data, reference: pd.DataFrame, found: Summaries, scales: Sequence[float], label: str, figure: str
) -> str:
    """The section of one set."""
    one = scales.index(1.0)
    span, where = measure_span(reference, found[HALF_T])
    above, _ = measure_span(reference, found[HALF_T][one:])
    other, _ = measure_span(reference, found[WISHART][one:])
    at_one = float(measure_changes(reference, [found[WISHART][one]]).abs().to_numpy().max())
    spread = {
        sweep: [measure_span(reference, some)[0] for some in (summaries, summaries[one:])]
        for sweep, summaries in found.items()
    }
    bad = [
        f"{sweep.name} of {sweep.what} at {scale:g} ({float(summary['r_hat'].max()):.2f})"
        for sweep, summaries in found.items()
        for scale, summary in zip(scales, summaries, strict=True)
        if not float(summary["r_hat"].max()) <= GOOD
    ]
    chains = (
        f"R-hat is above {GOOD} for: {', '.join(bad)}; those points are not to be leaned on."
        if bad
        else f"R-hat is at most {GOOD} everywhere."
    )
    holds = {"insensitive": "holds", "somewhat sensitive": "holds in the main", "sensitive": "does not hold"}
    claim = (
        f"To the scale of half-t priors of Sigma_t and R_e the posterior is {judge(span)} over all four orders of "
        f"magnitude, {judge(above)} over the three from one standard deviation of the trait on, which are vague: for "
        f"vague priors the paper's claim {holds[judge(above)]} here"
    )
    drawn = (reference, *found[HALF_T], *found[HALF_T_E])
    noise = max(float((1 / np.sqrt(summary["ess_bulk"])).max()) for summary in drawn)
    return f"""\
## {label}

{claim}. Largest changes of a posterior mean, in posterior standard deviations: under these priors
{show(span)} over scales from {scales[0]:g} to {scales[-1]:g} (of {where}), {show(above)} over scales from 1; under
inverse-Wishart priors {show(other)} over scales from 1. With A = 1, the size of the data, no posterior
mean under the latter is more than {show(at_one)} away from the default. Under half-t priors of the roots of Sigma_E
{show(spread[HALF_T_E][0])} over all scales and {show(spread[HALF_T_E][1])} from 1; under inverse gamma priors of its
entries {show(spread[GAMMA_E][0])} and {show(spread[GAMMA_E][1])}. {chains}
The Monte Carlo error of a mean under half-t priors is at most {noise:.2f}.

![Posterior means and intervals against the scale of the prior]({figure})

Largest difference between the posterior means of a quantity at any two of the scales, in its posterior standard
deviations under the default priors: over all scales / over those from 1.

{tabulate_spans(reference, found, scales)}

Posterior means with 95% intervals at some of the scales:

{tabulate_means(data, reference, found, scales)}"""


def run_full(options: Options) -> list[Row]:
    """Maize, where it is there, and the simulated set: every family at every scale."""
    began = time.perf_counter()
    maize = read_trial(NAME)
    sets = {} if maize is None else {"Maize, 309 lines": (maize, "sensitivity", SCALES)}
    sets["Simulated, 80 lines"] = (simulate(options.seed), "sensitivity-simulated", DECADES)
    rows, parts = [], []
    for label, (data, name, scales) in sets.items():
        reference, found = run_sweeps(data, SWEEPS, scales, options, label)
        rows += make_rows(label.lower(), reference, found, scales)
        figure = write_figure(options, name, draw_sweeps(data, reference, found, scales))
        parts.append(describe(data, reference, found, scales, label, figure))
    sections = "\n\n".join(parts)
    text = f"""\
Huang and Wand's priors give every standard deviation a half-t distribution and every correlation a uniform one. The
paper (Montesinos-López et al. 2016, *G3* 6:2725-2744) takes them because the results then hardly depend on the values
chosen for them, unlike with inverse-Wishart priors. Is that so?

- Half-t: 2 degrees of freedom, scale A from {SCALES[0]:g} to {SCALES[-1]:g} standard deviations of the trait, for
  Sigma_t (of a relationship with mean diagonal 1) and R_e together; the default of this package is 5.
- Inverse-Wishart: the same A, scale matrix A² on the diagonal, p + 1 degrees of freedom for p traits. Correlations are
  uniform and the median of every standard deviation is nearly that of the half-t (0.85 A against 0.82 A): the tails are
  what differs. And p + 4 degrees of freedom, as the R package BMTME has them.
- Sigma_E (the roots of its entries, which have no unit): half-t with 2 degrees of freedom, and inverse gamma
  IG(1, A²/2), with Sigma_t and R_e at their defaults.
- The simulated set: 80 lines, 3 environments, 3 traits, one plot a cell, heritability 0.5, genetic correlations 0.5,
  residual ones 0.3, relationship from markers.
- Unstructured model; each fit 4 chains of {DRAWS:,} draws after {TUNE:,} of warm-up. A change below {SMALL:g}
  posterior standard deviations between any two scales is called insensitive, above {LARGE:g} sensitive.

A prior scale far below the standard deviation of a trait (0.1) is no vague prior but a statement that the trait hardly
varies: half-t has tails with which the data can overrule it.

{sections}"""
    title = "How much the scale of the priors matters"
    write_report(options, "sensitivity", title, reflow(text), time.perf_counter() - began)
    return rows if maize is not None else [*rows, skip("maize: sensitivity", NAME)]


register("sensitivity", run_quick, run_full)
