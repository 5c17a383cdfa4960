"""How much the posterior depends on the scale of the priors: half-t and inverse-Wishart over four orders of magnitude.

The paper says that half-t priors of the standard deviations make the results insensitive to what is chosen for them.
The scale A is varied from 0.1 to 1000 standard deviations of the trait, for Sigma_t (for a relationship of mean
diagonal one) and R_e together; then that of the roots of Sigma_E, which has no unit. An inverse-Wishart prior with p
+ 1 degrees of freedom and scale A^2 on its diagonal has uniform correlations, as the half-t prior with two degrees of
freedom, and nearly its median of every standard deviation (0.85 A and 0.82 A): they differ in the tails alone.
"""

from __future__ import annotations

import time

from validation.paper.sensitivity_sweeps import DECADES, HALF_T, SCALES, SWEEPS, WISHART, Swept, run_sweeps, simulate
from validation.paper.sensitivity_tables import draw_sweeps, list_tables, show
from validation.registry import Options, Row, register, write_figure, write_tables
from validation.trials import read_trial, skip

NAME = "maize309_mtme"
QUICK = (1.0, 30.0, 1000.0)
#: Posterior standard deviations by which half-t priors may move a posterior mean.
LARGE = 1.0


def make_rows(label: str, swept: Swept) -> list[Row]:
    """Half-t from one on moves nothing by a posterior SD, inverse-Wishart moves more."""
    half, wishart = (swept.measure(sweep, 1.0) for sweep in (HALF_T, WISHART))
    wide = [scale for scale in swept.scales if scale >= 1]
    size = f"{len(wide)} scales, 1 to {wide[-1]:g}"
    summaries = (swept.reference, *(swept.at(HALF_T, scale) for scale in wide))
    worst = max(float(summary["r_hat"].max()) for summary in summaries)
    what = "largest change, posterior SDs"
    return [
        Row(f"{label}: half-t", size, what, f"{show(half.size)} ({half.name})", half.size < LARGE),
        Row(
            f"{label}: inverse-Wishart",
            size,
            what,
            f"{show(wishart.size)} ({wishart.name})",
            wishart.size > 2 * half.size,
        ),
        Row(f"{label}: chains agree, half-t", size, "largest R-hat", f"{worst:.4f}", worst < 1.02),
    ]


def run_quick(options: Options) -> list[Row]:
    """The simulated set at three scales."""
    swept = run_sweeps(simulate(options.seed), (HALF_T, WISHART), QUICK, options, "simulated", others=False)
    return make_rows("simulated, 80 lines", swept)


def run_full(options: Options) -> list[Row]:
    """Maize, where it is there, and the simulated set: every family at every scale."""
    began = time.perf_counter()
    maize = read_trial(NAME)
    data = {} if maize is None else {"Maize, 309 lines": (maize, "sensitivity", SCALES)}
    data["Simulated, 80 lines"] = (simulate(options.seed), "sensitivity-simulated", DECADES)
    sets = {label: run_sweeps(one, SWEEPS, scales, options, label) for label, (one, _, scales) in data.items()}
    for label, (_, name, _) in data.items():
        write_figure(options, name, draw_sweeps(sets[label]))
    tables = {key: text for label, swept in sets.items() for key, text in list_tables(label, swept).items()}
    rows = [row for label, swept in sets.items() for row in make_rows(label.lower(), swept)]
    write_tables(options, "sensitivity", rows, tables, time.perf_counter() - began)
    return rows if maize is not None else [*rows, skip("maize: sensitivity", NAME)]


register("sensitivity", run_quick, run_full)
