"""Figure and tables of the study `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bmtme.report.palette import COLOURS, MARKS
from validation.paper.accuracy_known import Known
from validation.paper.accuracy_sets import ALONE, BD, KNOWN, MODELS, PREDICTORS, SCORES, ST, UN, Accuracy
from validation.paper.published import TABLE_2_MEANS, TABLE_2_WINS
from validation.paper.simulated import write_mean
from validation.registry import make_table

WORDS = {"pearson": "Pearson", "msep": "MSEP"}
#: The trait correlations, high and low.
HIGH, LOW = TABLE_2_MEANS
#: Of the unstructured model's correlation in the paper's table, from the low trait correlation to the high one.
RISE = TABLE_2_MEANS[HIGH]["pearson"] - TABLE_2_MEANS[LOW]["pearson"]
PAIRS = {"gain of the unstructured model over the diagonal one": (UN, BD), "the same over the standard one": (UN, ST)}
PANELS = {"msep": "MSEP saved (%)", "pearson": "gain in Pearson's correlation"}


def draw_gains(results: Sequence[Accuracy]) -> Figure:
    """Gains of the unstructured model by design and trait, with intervals."""
    figure = Figure(figsize=(11.0, 2.0 + 1.5 * len(results)), layout="constrained")
    axes = figure.subplots(len(results), len(PANELS), sharex="col", sharey="row", squeeze=False)
    for panels, r in zip(axes, results, strict=True):
        labels = [f"{trait} (heritability {h2:g})" for trait, h2 in zip(r.traits, r.design.heritability, strict=True)]
        place = np.arange(len(labels) + 1)
        for panel, score in zip(panels, PANELS, strict=True):
            for m, (label, (one, other)) in enumerate(PAIRS.items()):
                gains = r.gain(one, other, score)
                error = gains.std(axis=0, ddof=1) / np.sqrt(r.sets)
                panel.errorbar(
                    gains.mean(axis=0), place + 0.3 * (m - 0.5), xerr=2 * error, color=COLOURS[m], marker=MARKS[m],
                    linestyle="none", capsize=2, markersize=5, label=label,
                )  # fmt: skip
            panel.plot(
                r.gain(KNOWN, ALONE, score).mean(axis=0), place, "x", color="black", markersize=6,
                label="correlations used against not used, covariances known",
            )  # fmt: skip
            panel.axvline(0, color="0.4", linewidth=0.9, zorder=0)
            panel.set_yticks(place, [*labels, "all traits"], fontsize=8)
            panel.set_ylim(len(labels) + 0.6, -0.6)
            panel.grid(axis="x", color="0.92")
            panel.set_axisbelow(True)
            panel.tick_params(labelbottom=True, labelsize=8)
        panels[0].set_title(r.design.name, fontsize=10, loc="left")
    for panel, label in zip(axes[-1], PANELS.values(), strict=True):
        panel.set_xlabel(label, fontsize=10)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        [*handles[1:], handles[0]], [*names[1:], names[0]], loc="outside upper center", ncols=3, frameon=False,
        fontsize=9, title_fontsize=9,
        title=f"right of zero: the unstructured model is better; bars: two standard errors over {results[0].sets} sets",
    )  # fmt: skip
    return figure


def find(results: Sequence[Accuracy], proportional: bool, correlation: float) -> Accuracy:
    """The sets of a design."""
    return next(r for r in results if (r.design.proportional, r.design.correlation) == (proportional, correlation))


def find_rise(results: Sequence[Accuracy], proportional: bool, predictor: str, score: str = "pearson") -> np.ndarray:
    """(sets,) mean score at the high trait correlation less that at the low one, on the same random numbers."""
    high, low = (find(results, proportional, rho) for rho in (HIGH, LOW))
    return high.average(predictor, score) - low.average(predictor, score)


def pair_sets(results: Sequence[Accuracy], proportional: bool, predictor: str) -> tuple[np.ndarray, float]:
    """Rises of Pearson's correlation in all pairs of different sets, one of each trait correlation, and their SD."""
    high, low = (find(results, proportional, rho).average(predictor, "pearson") for rho in (HIGH, LOW))
    steps = high[:, None] - low[None, :]
    return steps[~np.eye(len(steps), dtype=bool)], float(np.sqrt(high.var(ddof=1) + low.var(ddof=1)))


def list_tables(results: Sequence[Accuracy], known: Sequence[Known]) -> dict[str, str]:
    """All tables by their headings; in brackets standard errors over sets, where nothing else is said."""
    least = np.min([r.effective.min(axis=0) for r in results], axis=0)
    return {
        "Means of the nine environments x traits": tabulate_means(results),
        "Known covariances, Sigma_E = I: Pearson's correlation": tabulate_known(known),
        "Gains of the unstructured model": tabulate_gains(results),
        f"Trait correlation {HIGH:g} less {LOW:g}": tabulate_rises(results),
        "Environments x traits (of nine) in which a model is the best": tabulate_wins(results),
        **{f"{r.design.name.capitalize()}: mean and rank of every cell": tabulate_cells(r) for r in results},
        "Least effective draws of the median prediction": make_table(tuple(MODELS), [[f"{n:.0f}" for n in least]]),
    }


def tabulate_means(results: Sequence[Accuracy]) -> str:
    """By design and predictor, and the paper's."""
    rows = [
        (r.design.name, name, *[write_mean(r.average(name, score), 3) for score in SCORES])
        for r in results
        for name in PREDICTORS
    ]
    for rho, means in TABLE_2_MEANS.items():
        rows.append((f"the paper, correlation {rho:g}", UN, *[f"{means[score]:.2f}" for score in WORDS], "", ""))
    return make_table(("design", "predictions", "Pearson", "MSEP", "Pearson, plots", "MSEP, plots"), rows)


def tabulate_known(known: Sequence[Known]) -> str:
    """By relationship; last the largest difference that the correlations of the traits make to a prediction."""
    rows = [(r.reading, write_mean(r.best, 2), write_mean(r.pure, 2), f"{r.gain:.0e}") for r in known]
    return make_table(("relationship", "R_e = 2 Sigma_t", "no residual", "largest difference"), rows)


def tabulate_gains(results: Sequence[Accuracy]) -> str:
    """Over each of the others, mean of all environments and traits, paired by set."""
    pairs = [(UN, BD, BD), (UN, ST, ST), (KNOWN, ALONE, f"{BD}, with known covariances")]
    rows = [
        (
            r.design.name, label, write_mean(r.gain(one, other, "msep")[:, -1], 2, "+"),
            write_mean(r.gain(one, other, "pearson")[:, -1], 4, "+"),
        )
        for r in results
        for one, other, label in pairs
    ]  # fmt: skip
    return make_table(("design", "against", "MSEP saved, % (SE)", "gain in Pearson (SE)"), rows)


def tabulate_rises(results: Sequence[Accuracy]) -> str:
    """Paired by set; then the spread over pairs of different sets, as the paper's two columns may be."""
    rows = []
    for word, proportional in (("equal", True), ("unequal", False)):
        for predictor in PREDICTORS:
            pairs, spread = pair_sets(results, proportional, predictor)
            steps = [write_mean(find_rise(results, proportional, predictor, score), 3, "+") for score in WORDS]
            count = f"{(pairs >= RISE).sum()} of {pairs.size}"
            rows.append((f"{word} heritabilities", predictor, *steps, f"{spread:.3f}", count))
    head = (
        "design", "predictions", *[f"{word}, {HIGH:g} less {LOW:g} (SE)" for word in WORDS.values()],
        "Pearson: SD of that difference, two different sets", f"pairs that rise by {RISE:.2f} or more",
    )  # fmt: skip
    return make_table(head, rows)


def tabulate_wins(results: Sequence[Accuracy]) -> str:
    """Mean (SD) of the counts over the sets; % of the sets with the majority; the paper's, and how often reached."""
    rows = []
    for r in results:
        for score, word in WORDS.items():
            wins = r.count_wins(score)
            paper = TABLE_2_WINS[r.design.correlation][score]
            spread = wins.std(axis=0, ddof=1)
            best = [f"{mean:.1f} ({sd:.1f})" for mean, sd in zip(wins.mean(axis=0), spread, strict=True)]
            majority = [f"{share:.0f}" for share in 100 * (wins >= 5).mean(axis=0)]
            printed = ", ".join(str(paper[name]) for name in MODELS)
            many = f"{100 * (wins[:, 0] >= paper[UN]).mean():.0f}"
            rows.append((r.design.name, word, *best, *majority, printed, many))
    counted = [f"{word}: {name}" for word in ("best", "majority") for name in MODELS]
    head = ("design", "score", *counted, "the paper's counts", f"{UN} best as often as in the paper, or more")
    return make_table(head, rows)


def tabulate_cells(r: Accuracy) -> str:
    """Scores by environment and trait, and the rank of each model."""
    rows = []
    for i, l in np.ndindex(len(r.envs), len(r.traits)):
        row = [r.envs[i], r.traits[l]]
        for score in WORDS:
            values = np.stack([r.of(name, score)[:, i, l] for name in MODELS])
            order = -values.mean(axis=1) if score == "pearson" else values.mean(axis=1)
            ranks = order.argsort().argsort() + 1
            row += [f"{write_mean(value, 3)} {rank}" for value, rank in zip(values, ranks, strict=True)]
        rows.append(row)
    return make_table(
        ("environment", "trait", *[f"{word}: {name}" for word in WORDS.values() for name in MODELS]), rows
    )
