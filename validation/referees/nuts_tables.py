"""Both programs of the study `nuts` on one set; figures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde, halfnorm

from validation.referees.estimates import OURS, THEIRS
from validation.referees.nuts_sets import CHAINS, Planted, Run, Set
from validation.referees.posteriors import STATISTICS, Comparison, measure, show_p, take_entries
from validation.registry import LEVEL, make_table

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


def list_tables(pairs: list[Pair], wrong: list[tuple[Planted, Pair]]) -> dict[str, str]:
    """All tables by their headings: sets and effort, planted errors, then every figure of every set."""
    return {
        "Sets": tabulate_sets(pairs),
        "Effort": tabulate_effort(pairs),
        "Planted errors": tabulate_planted(wrong),
        **{
            f"{pair.data.label}: bmtme / NUTS": make_table(("entry", *STATISTICS, COLUMN), pair.comparison.tabulate())
            for pair in pairs
        },
        "Programs": ", ".join(str(name) for name in pairs[0].theirs.notes["versions"]),
    }


def tabulate_sets(pairs: list[Pair]) -> str:
    """What is compared, the largest difference, and what would not be seen."""
    rows = []
    for pair in pairs:
        c = pair.comparison
        blind = " to ".join(f"{shift:.2f}" for shift in c.blind)
        rows.append((
            pair.data.label, pair.data.what, pair.data.structure, pair.data.size, f"{c.z.size}", c.largest, show_p(c.p),
            f"{c.shift:.2f}", blind, "yes" if pair.agrees else "NO",
        ))  # fmt: skip
    head = ("set", "what", "structure", "lines x envs x traits", "figures", "largest difference, in errors",
            "p (x figures)", "largest shift, posterior SDs", "shift of a mean that just fails", "agrees")  # fmt: skip
    return make_table(head, rows)


def tabulate_effort(pairs: list[Pair]) -> str:
    """Draws, effective draws, R-hat, seconds."""
    rows = [
        (pair.data.label,
         *[f"{CHAINS} x ({tune:,} + {draws:,})" for tune, draws in (pair.data.bmtme, pair.data.nuts)],
         *[f"{m.effective.min():.0f}" for m in (pair.comparison.one, pair.comparison.other)],
         *[f"{m.r_hat.max():.3f}" for m in (pair.comparison.one, pair.comparison.other)],
         f"{float(pair.theirs.notes['steps']):.0f}", f"{pair.divergent}",
         *[f"{run.seconds:.0f}" for run in (pair.ours, pair.theirs)])
        for pair in pairs
    ]  # fmt: skip
    head = ("set", "bmtme: draws", "NUTS: draws", "bmtme: least effective", "NUTS", "bmtme: largest R-hat", "NUTS",
            "NUTS: gradients a draw", "divergent", "bmtme: seconds", "NUTS: seconds")  # fmt: skip
    return make_table(head, rows)


def tabulate_planted(wrong: list[tuple[Planted, Pair]]) -> str:
    """Whether the comparison finds errors in the referee's priors."""
    rows = [
        (what.what, pair.comparison.largest, show_p(pair.comparison.p), f"{pair.comparison.shift:.2f}",
         f"{pair.divergent}", f"{pair.comparison.fewest:.0f}", "yes" if pair.differs else "NO")
        for what, pair in wrong
    ]  # fmt: skip
    head = ("planted in the referee", "largest difference, in errors", "p (x figures)", "largest shift, posterior SDs",
            "divergent", "least effective draws", "found")  # fmt: skip
    return make_table(head, rows)
