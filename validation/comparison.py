"""How often does a comparison of two models reject where they are exchangeable, and where one is better?

Lines from ten founders, a trait made of all chromosomes, two models: GBLUP on the odd and on the even chromosomes, the
variances known, so that predictions of hidden values are exact and in closed form, (P_TT)^-1 (P y)_T away from what was
observed (P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1). Where both halves make up the same share of the genetic variance the
models are exchangeable and every rejection is false; where one makes up more, it predicts better.

- lines hidden whole, 200 lines: 5 and 10 folds, 10 random partitions of a fifth;
- cells hidden, 100 lines in 3 environments: 10 random partitions of a fifth of the lines of each environment, scored in
  each environment;
- environments hidden in turn, 4, 6 and 10 of them with 100 lines, for lines seen in the others and for folds of lines
  that are hidden everywhere: compared over environments.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.cv.compare import MEASURED_FOLDS, SIZES
from bmtme.cv.differences import judge_both, judge_difference
from bmtme.cv.resampling import Rows, resample_lines
from bmtme.results.scores import SCORES
from validation.registry import Options, Row, make_table, register, report_progress, write_tables

CHROMOSOMES, MARKERS, FOUNDERS = 10, 50, 10
HERITABILITY, ENVS = 0.5, 3
#: Share of the genetic variance that the first model's chromosomes make up.
ALIKE, BETTER = 0.5, 0.8
TESTS = ("naive", "Nadeau-Bengio", "bootstrap")
#: Of environments: each with its own ratio alone, and the wider of both.
TURN_TESTS = ("naive", "environments", "environments and folds")
MEASURED = {score.name: score for score in SCORES if score.name in ("pearson", "msep")}


@dataclass(frozen=True)
class Design:
    """What is hidden: `kind` and `number` as in `bmtme.cv.compare.SIZES`, and n_test / n_train."""

    kind: str
    number: int
    ratio: float

    @property
    def name(self) -> str:
        """In words."""
        if self.kind in TURNS:
            return f"{self.number} environments in turn{' x 5 folds of lines' if self.kind == TURNS[1] else ''}"
        if self.kind == "folds":
            return f"{self.number} folds of lines"
        return f"{self.number} x 20% of the lines{' of each environment' if self.kind == 'cells' else ''}"

    def draw(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Test cells (line x env) of the partitions."""
        lines, envs = (100, ENVS) if self.kind == "cells" else (200, 1)
        if self.kind == "folds":
            fold = rng.permutation(lines) % self.number
            return [(fold == k)[:, None] for k in range(self.number)]
        return [rng.permuted(np.tile(np.arange(lines) < lines // 5, (envs, 1)), axis=1).T for _ in range(self.number)]


TURNS = ("envs", "envs and lines")
DESIGNS = (
    Design("folds", 5, 1 / 4),
    Design("folds", 10, 1 / 9),
    Design("random", 10, 1 / 4),
    Design("cells", 10, 1 / 4),
    *(Design(kind, number, 1 / (number - 1)) for kind in TURNS for number in (4, 6, 10)),
)


def draw_kernels(rng: np.random.Generator, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Relationships (2, J, J), of expected sample variance one, and roots: doubled haploids of two founders each."""
    alleles = rng.integers(2, size=(FOUNDERS, CHROMOSOMES, MARKERS)).astype(float)
    parents = np.array([rng.choice(FOUNDERS, 2, replace=False) for _ in range(lines)])
    switch = rng.random((lines, CHROMOSOMES, MARKERS)) < 1.0 / MARKERS
    switch[:, :, 0] = rng.random((lines, CHROMOSOMES)) < 0.5
    phase = np.cumsum(switch, axis=2) % 2 == 1
    genotypes = np.where(phase, alleles[parents[:, 0]], alleles[parents[:, 1]])
    genotypes -= genotypes.mean(axis=0)
    roots = np.stack([genotypes[:, half::2].reshape(lines, -1) for half in (0, 1)])
    roots /= np.sqrt((roots**2).sum(axis=(1, 2)) / (lines - 1))[:, None, None]
    return roots @ roots.transpose(0, 2, 1), roots


def draw_values(rng: np.random.Generator, roots: np.ndarray, share: float, envs: int) -> np.ndarray:
    """Records (J, I): half of the genetic variance is common to all environments, where there are several."""
    parts = []
    for root, part in zip(roots, (share, 1.0 - share), strict=True):
        effects = root @ rng.standard_normal((root.shape[1], envs + 1))
        genetic = np.sqrt(0.5) * (effects[:, :1] + effects[:, 1:]) if envs > 1 else effects[:, 1:]
        parts.append(np.sqrt(HERITABILITY * part) * genetic)
    return sum(parts) + np.sqrt(1.0 - HERITABILITY) * rng.standard_normal((len(roots[0]), envs))


def project(kernel: np.ndarray, envs: int) -> np.ndarray:
    """P (J I, J I) of the model of one kernel, cells by line and environment; the other half is taken for unrelated."""
    lines = len(kernel)
    between = 0.5 * (np.ones((envs, envs)) + np.eye(envs)) if envs > 1 else np.eye(1)
    total = 0.5 * HERITABILITY * np.kron(kernel + np.eye(lines), between)
    inverse = np.linalg.inv(total + (1.0 - HERITABILITY) * np.eye(lines * envs))
    X = np.tile(np.eye(envs), (lines, 1))
    weighed = inverse @ X
    return inverse - weighed @ np.linalg.solve(X.T @ weighed, weighed.T)


def predict(P: np.ndarray, y: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Best linear unbiased predictions of the tested cells from the others."""
    cells = np.flatnonzero(tested)
    return y.ravel()[cells] - np.linalg.solve(P[np.ix_(cells, cells)], (P @ y.ravel())[cells])


def compare_set(design: Design, share: float, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Of one set, (score, test, env): +1 where the first model is found better, -1 worse, 0 where nothing is told."""
    if design.kind in TURNS:
        return compare_turns(design, share, rng)
    envs = ENVS if design.kind == "cells" else 1
    kernels, roots = draw_kernels(rng, 100 if envs > 1 else 200)
    y = draw_values(rng, roots, share, envs)
    masks = design.draw(rng)
    predicted = np.full((2, len(masks), *y.shape), np.nan)
    for m, kernel in enumerate(kernels):
        P = project(kernel, envs)
        for k, mask in enumerate(masks):
            predicted[m, k][mask] = predict(P, y, mask)
    found = np.zeros((len(MEASURED), len(TESTS), envs))
    for i in range(envs):
        tested = [np.flatnonzero(mask[:, i]) for mask in masks]
        for s, score in enumerate(MEASURED.values()):
            found[s, :, i] = list(judge(score, design, y[:, i], predicted[..., i], tested, draws))
    return found


def judge(score, design: Design, y: np.ndarray, predicted: np.ndarray, tested, draws: int) -> Iterator[float]:
    """The sign of the difference by each test, 0 where it is not told from none."""
    one, other = ([score.make(Pair(y[j], f[k][j])) for k, j in enumerate(tested)] for f in predicted)
    difference = score.sign * (np.array(one) - np.array(other))
    for ratio in (0.0, design.ratio):
        found = judge_difference(difference, ratio)
        yield np.sign(found["difference"]) * (found["p"] < 0.05)
    limits, values, lines, start = {}, [], [], 0
    for m, f in enumerate(predicted):
        for k, j in enumerate(tested):
            limits["ab"[m], str(k), "E", "T"] = (start, start := start + len(j))
            values.append(f[k][j])
            lines.append(j)
    line = np.concatenate(lines)
    rows = Rows({"observed": y[line], "mean": np.concatenate(values)}, line, len(y), limits)
    weight = np.full((len(tested), 1), 1.0 / len(tested))
    labels = (["a", "b"], [str(k) for k in range(len(tested))], [("E", "T")])
    ((lower, upper, _),) = resample_lines(rows, score, labels, [(0, 1, weight)], draws)
    yield score.sign * (float(lower > 0) - float(upper < 0))


def compare_turns(design: Design, share: float, rng: np.random.Generator) -> np.ndarray:
    """The same with environments hidden in turn, (score, test, 1)."""
    lines, envs = 100, design.number
    kernels, roots = draw_kernels(rng, lines)
    y = draw_values(rng, roots, share, envs) + rng.standard_normal(envs)
    fold = rng.permutation(lines) % MEASURED_FOLDS if design.kind == "envs and lines" else np.full(lines, -1)
    difference = np.zeros((len(MEASURED), envs, fold.max() + 1 or 1))
    for k in sorted(set(fold)):
        seen, tested = fold != k if k >= 0 else np.ones(lines, dtype=bool), np.flatnonzero(fold == k)
        weights = [weigh(kernel, seen, tested, envs - 1) for kernel in kernels]
        for i in range(envs):
            others = np.delete(y[seen], i, axis=1).mean(axis=1)
            pairs = [Pair(y[tested, i], W @ others) for W in weights]
            for s, score in enumerate(MEASURED.values()):
                difference[s, i, max(k, 0)] = score.sign * (score.make(pairs[0]) - score.make(pairs[1]))
    found = np.zeros((len(MEASURED), len(TURN_TESTS), 1))
    for s, values in enumerate(difference):
        by_env, by_fold = values.mean(axis=1), values.mean(axis=0) if len(set(fold)) > 1 else None
        for t, result in enumerate(
            (
                judge_difference(by_env, 0.0),
                judge_difference(by_env, design.ratio),
                judge_both(by_env, design.ratio, by_fold, 1.0 / (MEASURED_FOLDS - 1)),
            )
        ):
            found[s, t] = np.sign(result["difference"]) * (result["p"] < 0.05)
    return found


def weigh(kernel: np.ndarray, seen: np.ndarray, tested: np.ndarray, envs: int) -> np.ndarray:
    """Weights of the means over `envs` environments of the lines seen in the predictions of others in a new one.

    The records are balanced, so that nothing else is needed. The mean of the new environment is taken for that of the
    others.
    """
    total = 0.5 * HERITABILITY * (kernel + np.eye(len(kernel)))
    V = total[np.ix_(seen, seen)] * (0.5 + 0.5 / envs) + np.eye(seen.sum()) * (1.0 - HERITABILITY) / envs
    inverse = np.linalg.inv(V)
    mean = inverse.sum(axis=0) / inverse.sum()
    return mean + 0.5 * total[np.ix_(tested, seen)] @ (inverse - np.outer(inverse.sum(axis=1), mean))


class Pair:
    """What the two scores are made of."""

    def __init__(self, observed: np.ndarray, predicted: np.ndarray) -> None:
        self.pair = observed, predicted


def measure(options: Options, sets: int, better: int, draws: int) -> tuple[list[Row], dict[str, str]]:
    """Rejection rates where models are exchangeable (on `sets` sets) and where one is better."""
    rows = []
    sizes, powers = (([], []) for _ in range(2))
    report = report_progress("comparison")
    total = len(DESIGNS) * (sets + better)
    done = 0
    for d, design in enumerate(DESIGNS):
        name, turn = design.name, design.kind in TURNS
        for share, number, table in ((ALIKE, sets, sizes[turn]), (BETTER, better, powers[turn])):
            found = []
            for n in range(number):
                stream = np.random.SeedSequence(options.seed, spawn_key=(d, int(100 * share), n))
                found.append(compare_set(design, share, np.random.default_rng(stream), draws))
                done += 1
                report(done, total)
            # Environments of a set are not independent: errors are those over sets.
            rejected = (np.array(found) > 0 if share == BETTER else np.abs(found)).mean(axis=3)
            mean = rejected.mean(axis=0)
            error = np.maximum(rejected.std(axis=0, ddof=1), 1.0 / number) / np.sqrt(number)
            for s, score in enumerate(MEASURED):
                cells = [f"{100 * m:.1f}% ({100 * e:.1f})" for m, e in zip(mean[s], error[s], strict=True)]
                table.append((name, score, *cells))
                if share == ALIKE:
                    rows += check_sizes(design, name, score, sets, mean[s], error[s])
                elif design.kind != "envs":  # lines with records elsewhere: the models hardly differ
                    test = 2 if turn else 1
                    least = dict(SIZES[design.kind, score])[design.number]
                    ok = bool(mean[s][test] > least)
                    figure = f"{mean[s][test]:.3f} (SE {error[s][test]:.3f})"
                    rows.append(Row(f"power, {name}, {score}", f"{better} sets", "found better", figure, ok))
    titles = (
        "Rejections at 5%, exchangeable models (binomial errors)",
        f"The better model found, {100 * BETTER:.0f}% of the genetic variance against the rest",
    )
    return rows, {
        title + ("; compared over environments" if turn else ""): make_table(
            ("partitions", "score", *(TURN_TESTS if turn else TESTS)), table[turn]
        )
        for turn in (False, True)
        for title, table in zip(titles, (sizes, powers), strict=True)
    }


def check_sizes(design: Design, name: str, score: str, sets: int, mean: np.ndarray, error: np.ndarray) -> list[Row]:
    """Is the size that `compare` tells the one measured, and is the correction one?"""
    told = dict(SIZES[design.kind, score])[design.number]
    test = 2 if design.kind in TURNS else 1
    gap = abs(mean[test] - told)
    # The size told was measured on as many sets as the full study has; no rejection in few sets is no error of zero.
    chance = np.sqrt(told * (1 - told) / np.array([sets, 2000]))
    ok = bool(gap < 4.0 * np.hypot(max(error[test], chance[0]), chance[1]))
    figure = f"{mean[test]:.3f} (SE {error[test]:.3f}), told {told}"
    return [
        Row(f"size, {name}, {score}", f"{sets} sets", "rejections at 5%", figure, ok),
        Row(
            f"naive t, {name}, {score}", f"{sets} sets", "rejections at 5%", f"{mean[0]:.3f} (SE {error[0]:.3f})",
            bool(mean[0] > mean[test]),
        ),
    ]  # fmt: skip


def run_quick(options: Options) -> list[Row]:
    """Enough sets to see a size that is far off."""
    with threadpool_limits(1):
        return measure(options, 150, 50, 200)[0]


def run_full(options: Options) -> list[Row]:
    """2,000 exchangeable sets and 500 others of each design."""
    began = time.perf_counter()
    with threadpool_limits(1):
        rows, tables = measure(options, 2000, 500, 1000)
    write_tables(options, "comparison", rows, tables, time.perf_counter() - began)
    return rows


register("comparison", run_quick, run_full)
