"""The page and the figures of the study `nuts`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde, halfnorm

from bmtme.testing.uniformity import combine_z
from validation.referees.estimates import ENOUGH, MOST_R_HAT, OURS, THEIRS
from validation.referees.nuts_sets import CHAINS, MEAN_DIAGONAL, Planted, Run, Set
from validation.referees.posteriors import STATISTICS, Comparison, measure, show_p, take_entries
from validation.registry import LEVEL, Row, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A larger share of divergent transitions says that NUTS may have missed a corner.
MOST_DIVERGENT = 0.001
#: Head of the last column of the tables of all figures.
COLUMN = "largest of the five differences, in errors (bmtme less NUTS)"
#: Colours and marks of sets and of planted errors.
MARKS = ((OURS, "o"), (THEIRS, "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#000000", "P"))


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
    def divergent(self) -> int:
        """The referee's divergent transitions."""
        return int(self.theirs.notes["divergent"])

    @property
    def converged(self) -> bool:
        """Whether the chains of both programs allow a verdict."""
        share = self.divergent / self.theirs.draws["tau"][..., 0].size
        return self.comparison.converged and share <= MOST_DIVERGENT

    @property
    def agrees(self) -> bool:
        """The verdict on an honest referee."""
        return self.converged and self.comparison.p >= LEVEL

    @property
    def differs(self) -> bool:
        """The verdict on a referee with a planted error."""
        return self.converged and self.comparison.p < LEVEL


def draw_densities(pair: Pair) -> Figure:
    """Marginal densities of the covariances by both programs."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

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
        panel.fill_between(grid, gaussian_kde(one[:: max(1, len(one) // 8000)], width)(grid), color=OURS, alpha=0.35,
                           linewidth=0, label="bmtme")  # fmt: skip
        panel.plot(grid, gaussian_kde(other, width)(grid), color=THEIRS, linewidth=1.2, label="NUTS")
        panel.set_ylim(0, None)
        panel.set_yticks([])
        panel.set_title(names[k], fontsize=9)
        panel.tick_params(labelsize=7)
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    units = f" ({pair.data.units}; roots of Sigma_E have no unit)" if pair.data.units else ""
    figure.suptitle(f"Posterior densities, set {pair.data.label}{units}", fontsize=11)
    return figure


def draw_differences(pairs: list[Pair], wrong: list[tuple[Planted, Pair]]) -> Figure:
    """Sizes of all differences, in Monte Carlo errors, against those that chance makes."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.6), layout="constrained")
    for panel, rows in (
        (left, [(pair.data.label, pair) for pair in pairs]),
        (right, [("no error", pairs[0]), *[(planted.what, pair) for planted, pair in wrong]]),
    ):
        most, highest = 0.0, 0.0
        for k, (label, pair) in enumerate(rows):
            z = np.sort(np.abs(pair.comparison.z).ravel())
            expected = halfnorm.ppf((np.arange(len(z)) + 0.5) / len(z))
            colour, mark = MARKS[k % len(MARKS)]
            panel.plot(expected, z, mark, color=colour, markersize=3.5, alpha=0.8, label=label)
            most, highest = max(most, expected[-1]), max(highest, z[-1])
        line = np.linspace(0.01, most, 300)
        panel.plot(line, line, color="0.5", linewidth=0.8, label="chance alone")
        limits = [pair.comparison.limit for _, pair in rows]
        low, high = min(limits), max(limits)
        said = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}, by the number of figures"
        panel.axhspan(low, high, color="0.8", linewidth=1.5, zorder=0, label=f"limit of the verdict: {said}")
        panel.set_xlabel("expected of independent normal differences")
        panel.set_ylabel("difference found, in Monte Carlo errors")
        if panel is right:
            panel.set_yscale("log")
            panel.set_ylim(0.1, max(60.0, 1.5 * highest))
            panel.yaxis.set_major_formatter("{x:g}")
        else:
            panel.set_ylim(0, 1.08 * max(high, highest))
        panel.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    left.set_title("All sets")
    right.set_title(f"Errors planted in the referee (set: {pairs[0].data.label})")
    return figure


def describe_verdict(pairs: list[Pair]) -> str:
    """Whether the posteriors are the same."""
    failed = [pair.data.label for pair in pairs if not pair.agrees]
    if failed:
        return f"**The posteriors differ, or the chains do not allow a verdict**, on: {', '.join(failed)}."
    z = np.concatenate([pair.comparison.z.ravel() for pair in pairs])
    shift = max(pair.comparison.shift for pair in pairs)
    return (
        f"**No difference found on {len(pairs)} sets.** Compared are mean, SD and three quantiles of every covariance "
        f"entry, environment mean and tau. The largest of {z.size} differences is {np.abs(z).max():.1f} Monte Carlo "
        f"errors (p times {z.size}: {show_p(combine_z(z))}); no mean or quantile differs by more than "
        f"{shift:.2f} posterior SDs."
    )


def describe_planted(wrong: list[tuple[Planted, Pair]]) -> str:
    """Which of the planted errors were found."""
    found = [planted.what for planted, pair in wrong if pair.differs]
    missed = [planted.what for planted, pair in wrong if not pair.differs]
    if not missed:
        return f"All {len(found)} errors planted in the referee's priors were found: {'; '.join(found)}."
    return (
        f"Of {len(wrong)} errors planted in the referee's priors, found: {'; '.join(found) or 'none'}. "
        f"NOT found, or without a verdict: {'; '.join(missed)}."
    )


def describe_forms(pairs: list[Pair], forms: Row) -> str:
    """Why one set has another form of the referee, and whether that is the same."""
    rotated = [pair.data for pair in pairs if pair.data.form == "rotated"]
    if not rotated:
        return ""
    checked = "checked against" if forms.ok else "which FAILED the check against"
    names = " and ".join(data.label for data in rotated)
    return (
        f" The exception is the set {names}: too large for that, so its referee uses eigenvectors of G ({checked} the "
        f"dense form on a small complete set; largest relative differences of log likelihood, gradient and drawn "
        f"means: {forms.figure})."
    )


def describe_choice(pairs: list[Pair]) -> str:
    """Why the simulated sets are what they are."""
    simulated = [(pair.data, pair.data.heritability) for pair in pairs if pair.data.heritability is not None]
    most = max(h for _, h in simulated)
    low = [f"`{data.label}` ({h:g})" for data, h in simulated if h < most]
    divergent = sum(pair.divergent for pair in pairs)
    happened = f"; here, {divergent} transitions diverged all the same" if divergent else ""
    return (
        f"The sets were chosen so that NUTS does not diverge{happened}: near zero variances it needs very small steps "
        "and may miss that corner (seen while the study was made, not run here: two divergent transitions at a target "
        "acceptance of 0.8, and a 5% quantile of a genetic variance three times too large). Of the simulated sets, "
        f"{len(simulated) - len(low)} have a heritability of {most:g}; sets with less, where variances near zero are "
        f"likelier, are tested by {' and '.join(low)} alone."
    )


def describe(
    pairs: list[Pair], wrong: list[tuple[Planted, Pair]], rows: list[Row], forms: Row, figures: list[str]
) -> str:
    """The page."""
    blind = [pair.comparison.blind for pair in pairs]
    low, high = min(least for least, _ in blind), max(most for _, most in blind)
    tune, draws = wrong[0][1].data.nuts
    summary = [
        (pair.data.label, pair.data.what, pair.data.structure, pair.data.size, row.figure, row.verdict)
        for pair, row in zip(pairs, rows, strict=True)
    ]
    effort = [
        (pair.data.label,
         *[f"{CHAINS} x ({tune:,} + {draws:,})" for tune, draws in (pair.data.bmtme, pair.data.nuts)],
         *[f"{m.effective.min():.0f}" for m in (pair.comparison.one, pair.comparison.other)],
         *[f"{m.r_hat.max():.3f}" for m in (pair.comparison.one, pair.comparison.other)],
         f"{float(pair.theirs.notes['steps']):.0f}", f"{pair.divergent}",
         *[f"{run.seconds:.0f}" for run in (pair.ours, pair.theirs)])
        for pair in pairs
    ]  # fmt: skip
    planted = [
        (what.what, pair.comparison.largest, show_p(pair.comparison.p), f"{pair.comparison.shift:.2f}",
         f"{pair.divergent}", f"{pair.comparison.fewest:.0f}", "yes" if pair.differs else "no")
        for what, pair in wrong
    ]  # fmt: skip
    tables = "\n\n".join(
        f"### {pair.data.label}: {pair.data.what} ({pair.data.structure})\n\n"
        + make_table(("entry", *STATISTICS, COLUMN), pair.comparison.tabulate())
        for pair in pairs
    )
    versions = ", ".join(str(name) for name in pairs[0].theirs.notes["versions"])
    return f"""
bmtme's sampler is fast because of its algebra: eigenvectors of the relationship, effects integrated out in rotated
coordinates, imputation of what is missing, columns without records kept aside, everything scaled inside. Is what comes
out the posterior of the model that the documentation states? Here that model is written down a second time, in another
program, from one dense covariance of the recorded values: no eigenvectors, no imputation, no scaling. Effects are
integrated out here as well.{describe_forms(pairs, forms)} The referee's sampler is the No-U-Turn sampler of numpyro
({versions}).

{describe_verdict(pairs)}

{describe_planted(wrong)}

![Sizes of all differences against chance]({figures[1]})

The differences of a set in order of size, against those expected of as many independent normal ones. Figures of one
entry are correlated (mean and median, say), and so are entries: points of a set may wander from the line together.

![Posterior densities by both programs]({figures[0]})

## The referee

Record n of line j in environment i has the traits y_n = beta_i + b1_j + b2_ij + e_n, with b1 ~ N(0, G (x) Sigma_t),
b2_i ~ N(0, s2_Ei G (x) Sigma_t), e_n ~ N(0, R_e). The referee sums the effects into one covariance of all recorded
values,

    V = G[j, j'] (1 + [i = i'] s2_Ei) Sigma_t[l, l'] + [n = n'] R_e[l, l'],

a dense matrix over the values that were recorded: what is missing is simply not there, nothing is imputed. In the form
with eigenvectors, for complete trials alone, V is one block d C + R for each eigenvalue d of G. Environment means and
their prior are integrated out and drawn afterwards. All is in the units of the data and for G as given.

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
sets also leave the priors a part in the posterior, so that an error there shows. {describe_choice(pairs)}

{make_table(("set", "what", "structure", "lines x envs x traits", "largest difference", "verdict"), summary)}

Differences are in Monte Carlo errors of both programs together. p (x n): the smallest two-sided p-value of a set's n
differences, taken for normal ones, times n (at most 1). A set fails where it is below {LEVEL:g}, where either program
has fewer than {ENOUGH} effective draws for any figure of any entry, or an R-hat above {MOST_R_HAT:g}, or where more
than {MOST_DIVERGENT:.1%} of the referee's transitions diverge. The Monte Carlo error of each figure allows for the
autocorrelation of the chains, separately for means, SDs and quantiles; "least effective" is the smallest of those
numbers of effective draws.

{
        make_table(
            (
                "set",
                "bmtme: draws",
                "NUTS: draws",
                "bmtme: least effective",
                "NUTS",
                "bmtme: largest R-hat",
                "NUTS",
                "NUTS: gradients a draw",
                "divergent",
                "bmtme: seconds",
                "NUTS: seconds",
            ),
            effort,
        )
    }

Seconds are those of this run: bmtme's chains side by side, after its compilation; NUTS one chain after the other on one
thread, with its compilation. They are not a contest: the referee is written to be plain.

## Planted errors

The referee with a wrong prior, on the set "{pairs[0].data.label}" with fewer draws ({CHAINS} x ({tune:,} + {draws:,})):
does the comparison see it? "Found" needs p below {LEVEL:g} and chains that allow a verdict, by the rules above.

{
        make_table(
            (
                "planted in the referee",
                "largest difference, in errors",
                f"p (x {wrong[0][1].comparison.z.size})",
                "largest shift, posterior SDs",
                "divergent",
                "least effective draws",
                "found",
            ),
            planted,
        )
    }

## What this does not show

Both are Markov chains. With these draws a mean that is off by less than about {low:.2f} posterior SDs passes whatever
the entry, and for the entry with the fewest effective draws one that is off by less than about {high:.2f}. Only errors
in the priors were planted here; that errors in the algebra would be seen is shown by `make mutants`. The sets are
small, apart from the maize. The default sampler (`collapsed`) and default priors are compared; that the other samplers
agree with it is shown by the studies `samplers`, `sbc` and `geweke`. Effects of lines and predictions are not compared
here.

## All figures

bmtme / NUTS, in the units of the data; Sigma_E as roots, tau as logarithms.

{tables}
"""
