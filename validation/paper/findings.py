"""What the paper prints beside what comes out here, with a verdict that the figures choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from validation.paper.crossvalidation import CV1, CV2, PAPER_MODELS, RAW, STRUCTURES, label_means
from validation.paper.estimates import Pair
from validation.registry import make_table

AGREE, NEARLY, COMPATIBLE, OTHERWISE, DISAGREE, UNKNOWN = (
    "agree", "agree within error", "compatible", "differ within error", "do not agree", "cannot be compared"
)  # fmt: skip
WORDS = (AGREE, NEARLY, COMPATIBLE, OTHERWISE, DISAGREE, UNKNOWN)
SCORES = {"pearson": "Pearson", "msep": "MSEP"}
#: The three models of CV2 as the paper has them, with `standard` in scaled units, and under our defaults.
PAPER = tuple(label_means(name, "paper") for name in PAPER_MODELS)
SCALED = tuple(label_means(name, "paper") for name in STRUCTURES)
DEFAULTS = tuple(label_means(name, "exchangeable") for name in STRUCTURES)
#: A pattern that fewer draws of ten partitions show is one that ten partitions do not give.
RARE = 0.05
VERDICTS = f"""\
Verdicts are chosen by the figures.

- *{AGREE}*: a printed estimate lies inside our 95% interval; each residual correlation is smaller than the genetic one
  with a posterior probability above {100 - 100 * RARE:.0f}%; the printed order of the models (or the printed best one)
  is found, with every step above two standard errors; every printed count of best cells lies inside the 5% to 95% range
  for ten other random partitions; more than {100 - 100 * RARE:.0f}% of draws of ten other partitions show a pattern.
- *{NEARLY}*: found, but with differences (or shares, or probabilities) below that.
- *{COMPATIBLE}*: of counts of best cells: inside only if the cells that the printed counts leave out are given to this
  model.
- *{OTHERWISE}*: not found, but what is found instead is no further away than that.
- *{DISAGREE}*: not found, and further away.
- *{UNKNOWN}*: the paper's figure is not known here.

'A > B': A is better than B (higher correlation, smaller MSEP); 'by the lines' part': ranked by MSEP after the
difference of the two means is taken out. What the paper says of `standard` is compared with the model as the paper
writes it, in raw units (`{RAW}`); what comes out with scaled units stands beside it.

Ten other partitions (ten partitions are our reading of the paper's "10-fold") stand for those of the paper, which are
not ours: ours drawn again with replacement, and ten of these drawn with replacement.

The errors of orders in CV2 are over lines and of our chains: they are of another sample of lines. On the same data an
exact repetition would give the paper's order, however small the differences. This one is not exact: the paper's priors
and chains are not known here, and its data may not quite be ours. No choice of a model should hang on a difference
within these errors."""


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


def tabulate_verdicts(findings: Sequence[Finding], tables: Mapping[str, str]) -> str:
    """One row for every table of the paper."""
    lines = []
    for table, what in tables.items():
        verdicts = [finding.verdict for finding in findings if finding.table == table]
        lines.append((f"Table {table}: {what}", *[str(verdicts.count(word)) for word in WORDS]))
    return make_table(("the paper", f"statements: {AGREE}", *WORDS[1:]), lines)


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
    told, shares, smaller = [], [], []
    for a, b in pairs:
        genetic, residual = (samples[f"{kind}_correlation[{a}, {b}]"] for kind in ("genetic", "residual"))
        shares.append(float(np.mean(np.abs(residual) < np.abs(genetic))))
        told.append(f"{a}, {b} {shares[-1]:.2f}")
        smaller.append(abs(residual.mean()) < abs(genetic.mean()))
    here = f"{sum(smaller)} of {len(pairs)} posterior means are; posterior probability: {'; '.join(told)}"
    if all(smaller):
        verdict = AGREE if min(shares) > 1 - RARE else NEARLY
    else:
        verdict = DISAGREE if min(shares) < RARE else OTHERWISE
    return Finding(table, "residual correlations smaller than the genetic ones", "yes", here, verdict)


def count_wins(means: np.ndarray, score: str) -> np.ndarray:
    """(..., model) cells in which each model is the best, from (..., model, env, trait)."""
    flat = means.reshape(*means.shape[:-2], -1) * (1 if score == "pearson" else -1)
    best = flat.argmax(axis=-2)
    return np.stack([(best == m).sum(axis=-1) for m in range(flat.shape[-2])], axis=-1)


def name_models(values: Sequence[str]) -> str:
    """One word or figure for each of the three models."""
    return ", ".join(f"{name} {value}" for name, value in zip(STRUCTURES, values, strict=True))


def check_wins(cv: CV1, score: str, printed: Mapping[str, int], table: str, size: int, seed: int) -> Finding:
    """Cells in which each model is the best; the range is that for `size` other partitions."""
    scaled, wins = (
        count_wins(cv.cell_means(score)[[cv.models.index(name) for name in models]], score)
        for models in (STRUCTURES, PAPER_MODELS)
    )
    drawn = count_wins(cv.draw_others(PAPER_MODELS, score, size, seed), score)
    low, high = np.rint(np.quantile(drawn, (0.05, 0.95), axis=0)).astype(int)
    ranges = name_models([f"{wins[m]} ({low[m]} to {high[m]})" for m in range(len(STRUCTURES))])
    # Counts that are printed for all models but leave cells over: these may belong to any of them.
    cells = len(cv.envs) * len(cv.traits)
    over = cells - sum(printed.values()) if len(printed) == len(STRUCTURES) else 0
    below, above = (
        np.array([max(sign * (count - ends[STRUCTURES.index(name)]), 0) for name, count in printed.items()])
        for sign, ends in ((-1, low), (1, high))
    )
    if above.any() or below.sum() > over:
        verdict = DISAGREE
    else:
        verdict = COMPATIBLE if below.any() else AGREE
    paper = ", ".join(f"{name} {count}" for name, count in printed.items())
    if over:
        paper += f" (sum {cells - over} of {cells}: {over} cells not accounted for)"
    here = f"{ranges}; with `standard` in scaled units {name_models([str(count) for count in scaled])}"
    return Finding(table, f"{SCORES[score]}: best in how many of {cells} cells", paper, here, verdict)


def check_average(cv: CV1, score: str, best: str, worst: str | None, table: str, size: int, seed: int) -> Finding:
    """Whether models are the best and, if given, the worst on average over the cells."""
    sign = 1 if score == "pearson" else -1
    first, last = STRUCTURES.index(best), STRUCTURES.index(worst) if worst else None

    def matches(values: np.ndarray) -> np.ndarray:
        """(...,) from (..., model)."""
        right = (sign * values).argmax(axis=-1) == first
        return right if last is None else right & ((sign * values).argmin(axis=-1) == last)

    scaled, means = (
        cv.cell_means(score)[[cv.models.index(name) for name in models]].mean(axis=(1, 2))
        for models in (STRUCTURES, PAPER_MODELS)
    )
    share = float(matches(cv.draw_others(PAPER_MODELS, score, size, seed).mean(axis=(2, 3))).mean())
    rare, common = share < RARE, share > 1 - RARE
    verdict = (AGREE if common else NEARLY) if matches(means) else (DISAGREE if rare else OTHERWISE)
    here = (
        f"{name_models([f'{mean:.4g}' for mean in means])}; so in {100 * share:.0f}% of the draws of {size} other "
        f"partitions; `standard` in scaled units {scaled[STRUCTURES.index('standard')]:.4g}"
    )
    paper = f"best {best}" + (f", worst {worst}" if worst else "")
    return Finding(table, f"{SCORES[score]}, mean of the cells", paper, here, verdict)


def order_models(cv: CV2, env: int, score: str, labels: Sequence[str] = PAPER) -> list[str]:
    """The models, the best first; `labels` are theirs in the order of `STRUCTURES`."""
    values = cv.scores[score][[cv.models.index(label) for label in labels], env]
    return [STRUCTURES[k] for k in np.argsort(-values if score == "pearson" else values)]


def find_steps(cv: CV2, env: int, score: str, printed: Sequence[str]) -> list[tuple[str, str, float, float]]:
    """Pairs of models, the better one by the paper first, their difference here and its error."""
    pairs = list(pairwise(printed)) or [(printed[0], name) for name in STRUCTURES if name != printed[0]]
    labels = dict(zip(STRUCTURES, PAPER, strict=True))
    return [(one, other, *cv.compare(labels[one], labels[other], score, env)) for one, other in pairs]


def check_order(cv: CV2, env: int, score: str, printed: Sequence[str], table: str, place: str) -> Finding:
    """Whether the models of the paper have the printed order (or the printed best one) in one environment."""
    sign = 1 if score == "pearson" else -1
    steps = find_steps(cv, env, score, printed)
    least = min(sign * step / error for _, _, step, error in steps)
    verdict = AGREE if least > 2 else NEARLY if least > 0 else OTHERWISE if least > -2 else DISAGREE
    told = [f"{one} - {other} {step:+.3g} (SE {error:.2g})" for one, other, step, error in steps]
    paper = " > ".join(printed) if len(printed) > 1 else f"{printed[0]} best"
    here = f"{' > '.join(order_models(cv, env, score))}; {', '.join(told)}"
    here += f"; with `standard` in scaled units {' > '.join(order_models(cv, env, score, SCALED))}"
    if score == "msep":
        here += f"; by the lines' part {' > '.join(order_models(cv, env, 'lines'))}"
        here += f"; under exchangeable means {' > '.join(order_models(cv, env, score, DEFAULTS))}"
    return Finding(table, f"{place}: {SCORES[score]}", paper, here, verdict)
