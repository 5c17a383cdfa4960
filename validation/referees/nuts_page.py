"""The page and the figures of the study `nuts`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde, halfnorm

from validation.referees.estimates import LEVEL
from validation.referees.nuts_sets import CHAINS, MEAN_DIAGONAL, Planted, Run, Set
from validation.referees.posteriors import (
    ENOUGH,
    MOST_R_HAT,
    STATISTICS,
    Comparison,
    measure,
    take_entries,
)
from validation.registry import Row, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, THEIRS = "#56B4E9", "#D55E00"
#: A larger share of divergent transitions says that NUTS may have missed a corner.
MOST_DIVERGENT = 0.001


@dataclass(frozen=True)
class Pair:
    """Both programs on one set."""

    data: Set
    ours: Run
    theirs: Run

    def take(self, run: Run) -> tuple[list[str], np.ndarray]:
        """Names and draws (entry, chain, draw) of one of them."""
        return take_entries(run.draws, self.data.structure, self.data.trial.envs, self.data.trial.traits)

    @cached_property
    def comparison(self) -> Comparison:
        """Of every entry: bmtme's figures, then the referee's."""
        names, ours = self.take(self.ours)
        return Comparison(names, measure(ours), measure(self.take(self.theirs)[1]))

    @property
    def converged(self) -> bool:
        """Whether the chains of both programs allow a verdict."""
        divergent = int(self.theirs.notes["divergent"]) / self.theirs.draws["tau"][..., 0].size
        return self.comparison.converged and divergent <= MOST_DIVERGENT


def draw_densities(pair: Pair) -> Figure:
    """Marginal densities of the covariances by both programs."""
    import matplotlib.pyplot as plt

    names, ours = pair.take(pair.ours)
    theirs = pair.take(pair.theirs)[1]
    shown = [k for k, name in enumerate(names) if not name.startswith(("beta", "log tau"))]
    columns = 5
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.6 * columns, 2.2 * rows + 0.6), squeeze=False, layout="constrained"
    )
    for panel in axes.flat[len(shown) :]:
        panel.axis("off")
    for panel, k in zip(axes.flat, shown, strict=False):
        one, other = ours[k].ravel(), theirs[k].ravel()
        low, high = np.quantile(other, (0.002, 0.998))
        grid = np.linspace(low, high, 200)
        # One bandwidth for both: the smoothing is not what is compared.
        width = 0.25
        panel.fill_between(grid, gaussian_kde(one[:: max(1, len(one) // 8000)], width)(grid), color=OURS, alpha=0.6,
                           linewidth=0, label="bmtme")  # fmt: skip
        panel.plot(grid, gaussian_kde(other, width)(grid), color=THEIRS, linewidth=1.2, label="NUTS")
        panel.set_ylim(0, None)
        panel.set_yticks([])
        panel.set_title(names[k], fontsize=9)
        panel.tick_params(labelsize=8)
        panel.locator_params(axis="x", nbins=4)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"{pair.data.what}: posterior densities", fontsize=11)
    return figure


def draw_differences(pairs: list[Pair], wrong: list[tuple[Planted, Pair]]) -> Figure:
    """Sizes of all differences, in Monte Carlo errors, against those that chance makes."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    marks = ("o", "s", "^", "D", "v", "P")
    for panel, rows in (
        (left, [(pair.data.label, pair) for pair in pairs]),
        (right, [("no error", pairs[0]), *[(planted.what, pair) for planted, pair in wrong]]),
    ):
        most = 0.0
        for k, (label, pair) in enumerate(rows):
            z = np.sort(np.abs(pair.comparison.z).ravel())
            expected = halfnorm.ppf((np.arange(len(z)) + 0.5) / len(z))
            panel.plot(expected, z, marks[k % len(marks)], markersize=3.5, alpha=0.8, label=label)
            most = max(most, expected[-1])
        panel.plot([0, most], [0, most], color="0.5", linewidth=0.8)
        panel.set_xlabel("difference that chance makes, in errors")
        panel.set_ylabel("difference found, in errors")
        panel.legend(fontsize=8, loc="lower right" if panel is right else "upper left")
    left.set_title("All sets")
    right.set_title(f"Errors planted in the referee (set: {pairs[0].data.label})")
    right.set_yscale("symlog", linthresh=2)
    right.set_ylim(0, None)
    return figure


def describe(pairs: list[Pair], wrong: list[tuple[Planted, Pair]], rows: list[Row], figures: list[str]) -> str:
    """The page."""
    failed = [pair.data.label for pair, row in zip(pairs, rows, strict=True) if not row.ok]
    shift = max(pair.comparison.shift for pair in pairs)
    total = sum(pair.comparison.z.size for pair in pairs)
    largest = max(float(np.abs(pair.comparison.z).max()) for pair in pairs)
    if failed:
        verdict = f"**The posteriors differ, or the chains do not allow a verdict**, on: {', '.join(failed)}."
    else:
        verdict = (
            f"**The same posterior on all {len(pairs)} sets.** Of {total} figures compared (mean, SD and three "
            f"quantiles of every covariance entry, environment mean and tau) none differs by more than {largest:.1f} "
            f"Monte Carlo errors; no mean or quantile by more than {shift:.2f} posterior SDs, which is what the number "
            "of draws allows."
        )
    seen = [planted.what for planted, pair in wrong if pair.comparison.p < LEVEL]
    missed = [planted.what for planted, pair in wrong if pair.comparison.p >= LEVEL]
    found = f"Found of the errors planted in the referee: {'; '.join(seen) or 'none'}."
    if missed:
        found += f" NOT found: {'; '.join(missed)}."
    summary = [
        (pair.data.label, pair.data.what, pair.data.structure, pair.data.size, row.figure, row.verdict)
        for pair, row in zip(pairs, rows, strict=True)
    ]
    effort = [
        (pair.data.label,
         *[f"{CHAINS} x ({tune:,} + {draws:,})" for tune, draws in (pair.data.bmtme, pair.data.nuts)],
         *[f"{m.effective.min():.0f}" for m in (pair.comparison.one, pair.comparison.other)],
         *[f"{m.r_hat.max():.3f}" for m in (pair.comparison.one, pair.comparison.other)],
         f"{float(pair.theirs.notes['steps']):.0f}", f"{int(pair.theirs.notes['divergent'])}",
         *[f"{run.seconds:.0f}" for run in (pair.ours, pair.theirs)])
        for pair in pairs
    ]  # fmt: skip
    planted = [
        (what.what, pair.comparison.largest, f"{pair.comparison.p:.2g}", f"{pair.comparison.shift:.2f}",
         "yes" if pair.comparison.p < LEVEL else "no")
        for what, pair in wrong
    ]  # fmt: skip
    tables = "\n\n".join(
        f"### {pair.data.label}: {pair.data.what} ({pair.data.structure})\n\n"
        + make_table(("entry", *STATISTICS, "largest / error"), pair.comparison.tabulate())
        for pair in pairs
    )
    versions = ", ".join(str(name) for name in pairs[0].theirs.notes["versions"])
    return f"""
bmtme's sampler is fast because of its algebra: eigenvectors of the relationship, effects integrated out in rotated
coordinates, imputation of what is missing, columns without records kept aside, everything scaled inside. Is what comes
out the posterior of the model that the documentation states? Here that model is written down a second time, without any
of this, and sampled by another program: the No-U-Turn sampler of numpyro ({versions}).

{verdict}

{found}

![Sizes of all differences against chance]({figures[1]})

![Posterior densities by both programs]({figures[0]})

## The referee

Record n of line j in environment i has the traits y_n = beta_i + b1_j + b2_ij + e_n, with b1 ~ N(0, G (x) Sigma_t),
b2_i ~ N(0, s2_Ei G (x) Sigma_t), e_n ~ N(0, R_e). The referee sums the effects into one covariance of all recorded
values,

    V = G[j, j'] (1 + [i = i'] s2_Ei) Sigma_t[l, l'] + [n = n'] R_e[l, l'],

a dense matrix over the values that were recorded: what is missing is simply not there, nothing is imputed. For the
complete maize trial, V is one 9 x 9 block for each eigenvalue of G. Environment means and their prior are integrated
out and drawn afterwards. All is in the units of the data and for G as given.

Priors are those that bmtme's documentation states, at their defaults. With s_l the standard deviation of trait l over
all of its records (all environments together) and m the mean diagonal of G over the lines with a record:

| of                             | prior                                                                           |
|--------------------------------|---------------------------------------------------------------------------------|
| SD of Sigma_t, trait l         | half-t, 2 degrees of freedom, scale 5 s_l / sqrt(m)                             |
| SD of R_e, trait l             | half-t, 2 degrees of freedom, scale 5 s_l                                       |
| root of Sigma_E, environment i | half-t, 4 degrees of freedom, scale 1 (no unit)                                 |
| beta of environment i, trait l | N(mu_l, tau_l^2), mu_l flat, tau_l half-t with 4 degrees of freedom, scale s_l  |
| standard: s2_t, s2_e           | Sigma_t = s2_t diag(s_l^2) / m, R_e = s2_e diag(s_l^2); roots half-t(2, 5)      |

A free covariance has Huang and Wand's prior (2013, Bayesian Analysis 8:439-452). Its correlations are uniform and its
standard deviations half-t, *but not independent of each other*: with the auxiliary variables integrated out, p(S) is
proportional to |S|^(-(nu + 2p)/2) prod_k (nu (S^-1)_kk + 1/A_k^2)^(-(nu + p)/2). A referee with independent half-t SDs
and uniform correlation matrices has another posterior; that is one of the errors planted below.

## Sets

In simulated sets a quarter of the values is missing (12% of the records, 15% of the values in the others), the second
trait is in another unit (30 times as large, shifted by 100), G comes from markers and is scaled to a mean diagonal of
{MEAN_DIAGONAL:g}, so that forgotten conversions show. They are small because the referee is slow; small
sets also leave the priors a part in the posterior, so that an error there shows. Four of them have a heritability of
0.8, which keeps the genetic variances of the third trait away from zero: NUTS with the formulas below needs very small
steps there, and misses that corner where it does not take them (its divergent transitions say so).

{make_table(("set", "what", "structure", "lines x envs x traits", "largest difference", "verdict"), summary)}

Differences are in Monte Carlo errors of both programs together. A set fails where its smallest p-value times the number
of figures is below {LEVEL:g}, where either program has fewer than {ENOUGH} effective draws of an entry or an R-hat
above {MOST_R_HAT:g}, or where more than {MOST_DIVERGENT:.1%} of the referee's
transitions diverge. Errors come from effective draws of the values, of their squared distances from the mean, and of
being below the quantile.

{make_table(("set", "bmtme: draws", "NUTS: draws", "bmtme: least effective", "NUTS", "bmtme: largest R-hat", "NUTS",
             "NUTS: gradients a draw", "divergent", "bmtme: seconds", "NUTS: seconds"), effort)}

Seconds are those of this run: bmtme's chains side by side, NUTS one chain after the other on one thread with its
compilation. They are not a contest: the referee is written to be plain.

## Planted errors

The referee with a wrong prior, on the set "{pairs[0].data.label}": does the comparison see it?

{make_table(("planted in the referee", "largest difference, in errors", "p (Bonferroni)",
             "largest shift, posterior SDs", "seen"), planted)}

## What this does not show

Both are Markov chains; errors smaller than the shifts above would pass. The sets are small, apart from the maize. The
default sampler (`collapsed`) and default priors are compared; that the other samplers agree with it is shown by the
studies `samplers`, `sbc` and `geweke`. Effects of lines and predictions are not compared here.

## All figures

bmtme / NUTS, in the units of the data; Sigma_E as roots, tau as logarithms.

{tables}
"""
