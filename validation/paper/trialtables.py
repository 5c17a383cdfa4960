"""Tables of the studies of the paper's two trials: what is printed beside what comes out here, and all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from validation.paper.crossvalidation import CV1, CV2, DEFAULTS, PAPER, PAPER_MODELS, RAW, SCALED, STRUCTURES
from validation.paper.estimates import Pair
from validation.paper.hidden_means import HiddenMean
from validation.paper.published import CV1_PARTITIONS, DRAWS
from validation.registry import make_table

SCORES = {"pearson": "Pearson", "msep": "MSEP"}
#: What the other models are compared with.
COMPARED = ("unstructured", "standard", RAW)
#: Printed orders of the models, the best first, by environment (named as in the data) and score.
Orders = Mapping[tuple[str, str], Sequence[str]]


def tabulate_residuals(samples: Mapping[str, np.ndarray], pairs: Sequence[Pair]) -> str:
    """How probable it is that a residual correlation is smaller than the genetic one, in absolute value."""
    rows = []
    for a, b in pairs:
        genetic, residual = (samples[f"{kind}_correlation[{a}, {b}]"] for kind in ("genetic", "residual"))
        rows.append((f"{a}, {b}", f"{np.mean(np.abs(residual) < np.abs(genetic)):.2f}"))
    return make_table(("traits", "posterior probability"), rows)


def count_wins(means: np.ndarray, score: str) -> np.ndarray:
    """(..., model) cells in which each model is the best, from (..., model, env, trait)."""
    flat = means.reshape(*means.shape[:-2], -1) * (1 if score == "pearson" else -1)
    best = flat.argmax(axis=-2)
    return np.stack([(best == m).sum(axis=-1) for m in range(flat.shape[-2])], axis=-1)


def take_means(cv: CV1, score: str, models: Sequence[str]) -> np.ndarray:
    """(model, env, trait) means over partitions of some of the models."""
    return cv.cell_means(score)[[cv.models.index(name) for name in models]]


def range_wins(cv: CV1, score: str, seed: int) -> np.ndarray:
    """(2, model) 5% and 95% of the counts for as many other partitions as the paper has."""
    drawn = count_wins(cv.draw_others(PAPER_MODELS, score, CV1_PARTITIONS, seed), score)
    return np.rint(np.quantile(drawn, (0.05, 0.95), axis=0)).astype(int)


def tabulate_wins(cv: CV1, printed: Mapping[str, Mapping[str, int]], seed: int) -> str:
    """Cells in which each model is the best: as printed, here, and with `standard` in scaled units."""
    rows = []
    for score, word in SCORES.items():
        wins, scaled = (count_wins(take_means(cv, score, models), score) for models in (PAPER_MODELS, STRUCTURES))
        low, high = range_wins(cv, score, seed)
        for m, name in enumerate(STRUCTURES):
            paper = str(printed.get(score, {}).get(name, "not known"))
            rows.append((word, name, paper, f"{wins[m]} ({low[m]} to {high[m]})", f"{scaled[m]}"))
    head = (
        "score", "model", "the paper", "here (5% to 95% of ten other partitions)", "`standard` in scaled units",
    )  # fmt: skip
    return make_table(head, rows)


def tabulate_averages(cv: CV1, seed: int) -> str:
    """Means of all cells, and in how many draws of as many other partitions as the paper's a model has the best one."""
    rows = []
    for score, word in SCORES.items():
        means, scaled = (take_means(cv, score, models).mean(axis=(1, 2)) for models in (PAPER_MODELS, STRUCTURES))
        drawn = cv.draw_others(PAPER_MODELS, score, CV1_PARTITIONS, seed).mean(axis=(2, 3))
        best, worst = drawn.argmax(axis=1), drawn.argmin(axis=1)
        if score == "msep":
            best, worst = worst, best
        for m, name in enumerate(STRUCTURES):
            shares = [f"{100 * np.mean(chosen == m):.0f}" for chosen in (best, worst)]
            rows.append((word, name, f"{means[m]:.4g}", *shares, f"{scaled[m]:.4g}"))
    head = ("score", "model", "mean of the cells", "best in % of draws", "worst in % of draws", "in scaled units")
    return make_table(head, rows)


def count_decided(cv: CV1) -> str:
    """In how many cells each model differs from the diagonal one by more than two errors over lines."""
    rows = []
    for name in COMPARED:
        told = []
        for score, sign in (("pearson", 1), ("relative", -1)):
            step, _, error = (part[:-1] for part in cv.compare(name, "diagonal", score))
            told += [str(int((sign * step > 2 * error).sum())), str(int((-sign * step > 2 * error).sum()))]
        rows.append((name, *told))
    head = ("beyond two errors over lines", "Pearson: better", "Pearson: worse", "MSEP: better", "MSEP: worse")
    return make_table(head, rows)


def tabulate_cells(cv: CV1, score: str) -> str:
    """Means of each model in every environment x trait, and differences to the diagonal model.

    In brackets the errors of the differences, over partitions and over lines; differences of MSEP are divided by the
    variance of the observed values of the cell.
    """
    means = cv.cell_means(score)
    steps = [cv.compare(name, "diagonal", "pearson" if score == "pearson" else "relative") for name in COMPARED]
    digits = ".3f" if score == "pearson" else ".4g"
    sign = 1 if score == "pearson" else -1

    def write(trait: str, env: str, values: list[float], place: int) -> tuple[str, ...]:
        best = max(range(len(values)), key=lambda m: sign * values[m])
        told = [f"{d[place]:+.3f} ({p[place]:.3f}; {s[place]:.3f})" for d, p, s in steps]
        return (trait, env, *[f"{value:{digits}}" for value in values], cv.models[best], *told)

    rows = [
        write(trait, env, list(means[:, i, l]), i * len(cv.traits) + l)
        for l, trait in enumerate(cv.traits)
        for i, env in enumerate(cv.envs)
    ]
    if score == "pearson":
        rows.append(write("mean", "all", list(means.mean(axis=(1, 2))), -1))
    else:
        rows.append((*write("mean", "all", list(means.mean(axis=(1, 2))), -1)[: -len(steps)], *[""] * len(steps)))
        relative = list(cv.cell_means("relative").mean(axis=(1, 2)))
        rows.append(write("mean of MSEP / variance", "all", relative, -1))
    return make_table(("trait", "environment", *cv.models, "best", *[f"{n} - diagonal" for n in COMPARED]), rows)


def order_models(cv: CV2, env: int, score: str, labels: Sequence[str] = PAPER) -> list[str]:
    """The models, the best first; `labels` are theirs in the order of `STRUCTURES`."""
    values = cv.scores[score][[cv.models.index(label) for label in labels], env]
    return [STRUCTURES[k] for k in np.argsort(-values if score == "pearson" else values)]


def find_steps(cv: CV2, env: int, score: str, printed: Sequence[str]) -> list[tuple[str, str, float, float]]:
    """Pairs of models, the better one by the paper first, their difference here and its error."""
    pairs = list(pairwise(printed)) or [(printed[0], name) for name in STRUCTURES if name != printed[0]]
    labels = dict(zip(STRUCTURES, PAPER, strict=True))
    return [(one, other, *cv.compare(labels[one], labels[other], score, env)) for one, other in pairs]


def tabulate_orders(cv: CV2, orders: Orders) -> str:
    """Printed orders beside those here: the paper's models, `standard` scaled, by the lines' part, our defaults."""
    rows = []
    for (name, score), printed in orders.items():
        env = cv.envs.index(name)
        found = [order_models(cv, env, score), order_models(cv, env, score, SCALED)]
        if score == "msep":
            found += [order_models(cv, env, "lines"), order_models(cv, env, score, DEFAULTS)]
        told = [" > ".join(order) for order in found] + [""] * (4 - len(found))
        rows.append((name, SCORES[score], " > ".join(printed) if len(printed) > 1 else f"{printed[0]} best", *told))
    head = (
        "environment", "score", "the paper", "here", "`standard` in scaled units", "by the lines' part of MSEP",
        "exchangeable means",
    )  # fmt: skip
    return make_table(head, rows)


def tabulate_steps(cv: CV2, orders: Orders) -> str:
    """Differences between models that the paper orders, the better one by the paper first."""
    rows = [
        (name, SCORES[score], f"{one} - {other}", f"{step:+.3g}", f"{error:.2g}")
        for (name, score), printed in orders.items()
        for one, other, step, error in find_steps(cv, cv.envs.index(name), score, printed)
    ]
    return make_table(("environment", "score", "models", "difference", "SE"), rows)


def tabulate_split(cv: CV2) -> str:
    """Scores of every model and prior in every environment."""
    rows = []
    for i, env in enumerate(cv.envs):
        for k, label in enumerate(cv.models):
            name, means = label.split("; ")
            error = cv.resampled["pearson"][:, k, i].std(ddof=1)
            f = cv.predicted[k].mean(axis=0)[:, i].mean()
            figures = [f"{cv.scores[key][k, i]:.3g}" for key in ("mean", "lines")]
            rows.append((
                env, means, name, f"{cv.scores['pearson'][k, i]:.3f} ({error:.3f})",
                f"{cv.scores['msep'][k, i]:.4g} ({cv.noise['msep'][k, i]:.1g})", *figures, f"{f:.3g}",
            ))  # fmt: skip
    head = (
        "environment", "prior of the means", "model", "Pearson (SE over lines)", "MSEP (Monte Carlo error)",
        "of it mean", "of it lines", "mean prediction",
    )  # fmt: skip
    return make_table(head, rows)


def tabulate_hidden(means: Sequence[HiddenMean]) -> str:
    """What MSEP comes to when no line is told from another."""
    head = (
        "environment", "observed mean", "MSEP of 0 for all", "MSEP of the other environments' mean",
        "MSEP of the observed mean", "posterior SD of the unrecorded mean, the paper's prior",
        f"standard error of MSEP, {DRAWS:,} draws",
    )  # fmt: skip
    return make_table(head, [
        (
            m.env, f"{m.observed:.3g}", f"{m.square:.3g}", f"{(m.observed - m.elsewhere) ** 2 + m.centred:.3g}",
            f"{m.centred:.3g}", f"{m.spread:.3g}", f"{m.wobble:.2g}",
        )
        for m in means
    ])  # fmt: skip
