"""What the paper prints beside what comes out here, with a verdict that the figures choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from validation.paper.crossvalidation import CV1, CV2, RAW, STRUCTURES, label_means
from validation.paper.estimates import Pair
from validation.registry import make_table

AGREE, NEARLY, OTHERWISE, DISAGREE, UNKNOWN = (
    "agree", "agree within error", "differ within error", "do not agree", "cannot be compared"
)  # fmt: skip
WORDS = (AGREE, NEARLY, OTHERWISE, DISAGREE, UNKNOWN)
SCORES = {"pearson": "Pearson", "msep": "MSEP"}
#: The models that are ranked against each other, with the standard model in either units.
RANKED = {"standard in scaled units": STRUCTURES, "standard in raw units": (*STRUCTURES[:2], RAW)}
#: A pattern that fewer draws of ten partitions show is one that ten partitions do not give.
RARE = 0.05
VERDICTS = f"""\
Verdicts are chosen by the figures.

- *{AGREE}*: a printed estimate lies inside our 95% interval; the printed order of the models (or the printed best one)
  is found, with every step above two standard errors; a count of best cells lies inside the 5% to 95% range of our
  draws of ten partitions, as many as the paper has; a pattern is shown by more than {100 - 100 * RARE:.0f}% of these.
- *{NEARLY}*: found, but with differences (or shares of the draws) below that.
- *{OTHERWISE}*: not found, but what is found instead is no further away than that.
- *{DISAGREE}*: not found, and further away.
- *{UNKNOWN}*: the paper's figure is not known here.

The errors of orders in CV2 are over lines, and with the paper's prior also the Monte Carlo error that the paper's own
MSEP may have. An exact repetition on the same data would give the same order even within them: where we differ, the
paper's priors, chains or data were not quite ours, but no choice of a model should hang on it."""


class Finding(NamedTuple):
    """One statement of a table of the paper, and what comes out here."""

    table: str
    statement: str
    paper: str
    here: str
    verdict: str


def tabulate_findings(findings: Sequence[Finding], table: str) -> str:
    """The statements of one table."""
    return make_table(("statement", "the paper", "here", "verdict"), [f[1:] for f in findings if f.table == table])


def judge_table(verdicts: Sequence[str]) -> str:
    """All verdicts on a table in one."""
    good, bad = (sum(verdicts.count(word) for word in words) for words in ((AGREE, NEARLY), (OTHERWISE, DISAGREE)))
    if not good + bad:
        return UNKNOWN
    if DISAGREE in verdicts:
        return f"{AGREE} in part" if good > bad else DISAGREE
    return AGREE if good > bad else OTHERWISE


def tabulate_verdicts(findings: Sequence[Finding], tables: Mapping[str, str]) -> str:
    """One row for every table of the paper."""
    lines = []
    for table, what in tables.items():
        verdicts = [finding.verdict for finding in findings if finding.table == table]
        lines.append((f"Table {table}: {what}", judge_table(verdicts), *[str(verdicts.count(word)) for word in WORDS]))
    return make_table(("the paper", "in all", f"statements: {AGREE}", *WORDS[1:]), lines)


def check_correlations(summary: pd.DataFrame, printed: Mapping[Pair, float], table: str) -> list[Finding]:
    """Whether printed genetic correlations lie inside the 95% intervals."""
    found = []
    for (a, b), value in printed.items():
        row = summary.loc[f"genetic_correlation[{a}, {b}]"]
        inside = row["lower"] <= value <= row["upper"]
        here = f"{row['mean']:.2f}, 95% interval {row['lower']:.2f} to {row['upper']:.2f}"
        verdict = AGREE if inside else DISAGREE
        found.append(Finding(table, f"genetic correlation of {a} and {b}", f"{value:.2f}", here, verdict))
    return found


def check_residuals(samples: Mapping[str, np.ndarray], pairs: Sequence[Pair], table: str) -> Finding:
    """Whether the residual correlations are smaller than the genetic ones, in absolute value."""
    shares, smaller = [], []
    for a, b in pairs:
        genetic, residual = (samples[f"{kind}_correlation[{a}, {b}]"] for kind in ("genetic", "residual"))
        shares.append(f"{a}, {b} {np.mean(np.abs(residual) < np.abs(genetic)):.2f}")
        smaller.append(abs(residual.mean()) < abs(genetic.mean()))
    here = f"{sum(smaller)} of {len(pairs)} posterior means are; posterior probability: {'; '.join(shares)}"
    statement = "residual correlations smaller than the genetic ones"
    return Finding(table, statement, "yes", here, AGREE if all(smaller) else DISAGREE)


def count_wins(means: np.ndarray, score: str) -> np.ndarray:
    """(..., model) cells in which each model is the best, from (..., model, env, trait)."""
    flat = means.reshape(*means.shape[:-2], -1) * (1 if score == "pearson" else -1)
    best = flat.argmax(axis=-2)
    return np.stack([(best == m).sum(axis=-1) for m in range(flat.shape[-2])], axis=-1)


def check_wins(cv: CV1, score: str, printed: Mapping[str, int], table: str, size: int, seed: int) -> list[Finding]:
    """Cells in which each model is the best; the range is that of draws of `size` of the partitions."""
    found = []
    for label, models in RANKED.items():
        wins = count_wins(cv.cell_means(score)[[cv.models.index(name) for name in models]], score)
        low, high = np.quantile(count_wins(cv.draw_small(models, score, size, seed), score), (0.05, 0.95), axis=0)
        here = [f"{name} {wins[m]} ({low[m]:.0f} to {high[m]:.0f})" for m, name in enumerate(STRUCTURES)]
        # Counts that are printed for all models but leave cells over: these may belong to any of them.
        cells = len(cv.envs) * len(cv.traits)
        over = cells - sum(printed.values()) if len(printed) == len(STRUCTURES) else 0
        inside = [
            low[m] <= printed[name] + over and printed[name] <= high[m]
            for m, name in enumerate(STRUCTURES)
            if name in printed
        ]
        paper = ", ".join(f"{name} {count}" for name, count in printed.items())
        paper += f" ({over} for none)" if over else ""
        statement = f"{SCORES[score]}: best in how many of {cells} cells; {label}"
        found.append(Finding(table, statement, paper, ", ".join(here), AGREE if all(inside) else DISAGREE))
    return found


def check_average(
    cv: CV1, score: str, best: str, worst: str | None, table: str, size: int, seed: int
) -> list[Finding]:
    """Whether models are the best and, if given, the worst on average over the cells."""
    found = []
    sign = 1 if score == "pearson" else -1
    first, last = STRUCTURES.index(best), STRUCTURES.index(worst) if worst else None

    def matches(values: np.ndarray) -> np.ndarray:
        """(...,) from (..., model)."""
        right = (sign * values).argmax(axis=-1) == first
        return right if last is None else right & ((sign * values).argmin(axis=-1) == last)

    for label, models in RANKED.items():
        means = cv.cell_means(score)[[cv.models.index(name) for name in models]].mean(axis=(1, 2))
        share = float(matches(cv.draw_small(models, score, size, seed).mean(axis=(2, 3))).mean())
        rare, common = share < RARE, share > 1 - RARE
        verdict = (AGREE if common else NEARLY) if matches(means) else (DISAGREE if rare else OTHERWISE)
        figures = ", ".join(f"{name} {mean:.4g}" for name, mean in zip(STRUCTURES, means, strict=True))
        here = f"{figures}; so in {100 * share:.0f}% of the draws of {size} partitions"
        paper = f"best {best}" + (f", worst {worst}" if worst else "")
        found.append(Finding(table, f"{SCORES[score]}, mean of the cells; {label}", paper, here, verdict))
    return found


def order_models(cv: CV2, env: int, score: str, means: str) -> str:
    """The models, the best first."""
    values = cv.scores[score][[cv.models.index(label_means(name, means)) for name in STRUCTURES], env]
    return " > ".join(STRUCTURES[k] for k in np.argsort(-values if score == "pearson" else values))


def check_order(
    cv: CV2, env: int, score: str, means: str, printed: Sequence[str], table: str, place: str, extra: float = 0.0
) -> Finding:
    """Whether the models have the printed order (or the printed best one) in one environment.

    extra : error of a difference between two of the paper's figures, beside that over lines
    """
    sign = 1 if score == "pearson" else -1
    steps = list(pairwise(printed)) or [(printed[0], name) for name in STRUCTURES if name != printed[0]]
    sizes, told = [], []
    for better, worse in steps:
        step, error = cv.compare(label_means(better, means), label_means(worse, means), score, env)
        error = float(np.hypot(error, extra))
        sizes.append(sign * step / error)
        told.append(f"{better} - {worse} {step:+.3g} (SE {error:.2g})")
    least = min(sizes)
    verdict = AGREE if least > 2 else NEARLY if least > 0 else OTHERWISE if least > -2 else DISAGREE
    paper = " > ".join(printed) if len(printed) > 1 else f"{printed[0]} best"
    here = f"{order_models(cv, env, score, means)}; {', '.join(told)}"
    if score == "msep":
        here += f"; under exchangeable means {order_models(cv, env, score, 'exchangeable')}"
        here += f"; by the lines' part {order_models(cv, env, 'lines', 'exchangeable')}"
    what = SCORES[score] + (", the paper's prior of the means" if score == "msep" else "")
    return Finding(table, f"{place}: {what}", paper, here, verdict)
