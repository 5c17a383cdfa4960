"""Adjusted means of a first stage against the plots they come from: what a second stage needs to know of their errors.

Three questions, each on one simulated series of trials:

- blocks of a resolvable kind, unequal numbers of plots and variances: does the covariance of the errors give what one
  stage gives, and what do standard errors, or nothing, lose?
- errors of two traits that correlate by 0.8, genetic values that do not: what comes out as the genetic correlation?
- means of 1 to 4 and of 1 to 20 plots, by their numbers or their standard errors: the same as from the plots?
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bmtme import BMTME, AdjustedMeans, Relationship, Trial, fit
from bmtme.mixed import Model
from bmtme.results.fit import Fit
from validation.registry import LEVEL, Options, Row, make_table, register, write_tables

#: Lines and environments of the first question, and of the others.
SERIES, SMALL = (150, 6), (120, 3)
BLOCK = 8
#: Of the errors of two traits.
CORRELATION = 0.8
#: Their variance in a plot, and that of residuals where numbers of plots count.
ERROR = 2.0


@dataclass(frozen=True)
class Length:
    """Sweeps of the chains."""

    draws: int
    tune: int
    chains: int = 4

    def run(self, trial: Trial | AdjustedMeans, relationship: Relationship, options: Options) -> Fit:
        """A fit of the paper's model."""
        settings = {"draws": self.draws, "tune": self.tune, "chains": self.chains, "seed": options.seed}
        model = BMTME(rep_effect="none")
        return fit(trial, relationship, model, **settings, cores=options.cores, progress=False)  # type: ignore[arg-type]


#: Of the second question, with many sets.
PAIR = Length(1000, 500, 2)


def make_relationship(rng: np.random.Generator, lines: int) -> tuple[Relationship, np.ndarray]:
    """G of 600 markers, a little of it diagonal, and its Cholesky factor."""
    markers = rng.binomial(2, rng.uniform(0.1, 0.9, 600), (lines, 600)).astype(float)
    markers -= markers.mean(axis=0)
    G = markers @ markers.T
    G = G / np.diag(G).mean() + 0.02 * np.eye(lines)
    return Relationship(G, [f"L{j:03d}" for j in range(lines)]), np.linalg.cholesky(G)


# --- blocks ---------------------------------------------------------------------------------------------------------


def simulate_series(rng: np.random.Generator) -> tuple[pd.DataFrame, Relationship, np.ndarray]:
    """Plots of lines in blocks, some environments without some lines, some with one to three plots a line; g."""
    lines, envs = SERIES
    relationship, root = make_relationship(rng, lines)
    g = root @ rng.standard_normal(lines)
    tables = []
    residual, between = rng.uniform(0.5, 6.0, envs), rng.uniform(0.2, 4.0, envs)
    for i in range(envs):
        there = rng.choice(lines, int(lines * rng.uniform(0.5, 1.0)), replace=False)
        own = g + rng.normal(0.0, np.sqrt(0.5), lines)
        plots = np.where(rng.random(len(there)) < 0.25, 3, 1) if i % 2 else np.full(len(there), 2)
        line = rng.permutation(np.repeat(there, plots))
        block = np.arange(len(line)) // BLOCK
        effects = rng.normal(0.0, np.sqrt(between[i]), block.max() + 1)
        y = 5.0 + i + own[line] + effects[block] + rng.normal(0.0, np.sqrt(residual[i]), len(line))
        names = [relationship.lines[j] for j in line]
        tables.append(pd.DataFrame({"line": names, "env": f"E{i + 1}", "block": [f"B{b}" for b in block], "Y": y}))
    return pd.concat(tables, ignore_index=True), relationship, g


def adjust(plots: pd.DataFrame) -> AdjustedMeans:
    """A first stage of each environment: lines fixed, blocks random, variances by REML."""
    tables, covariances = [], {}
    for env, own in plots.groupby("env"):
        found, V = Model("Y ~ line", random="block").fit(own, progress=False).predict("line", cov=True)
        index = pd.MultiIndex.from_product([found["line"], ["Y"]])
        covariances[str(env)] = pd.DataFrame(V, index=index, columns=index)
        number = own["line"].value_counts().reindex(found["line"]).to_numpy()
        tables.append(found[["line", "mean"]].assign(env=str(env), trait="Y", n_plots=number))
    return AdjustedMeans(pd.concat(tables, ignore_index=True), covariances)


def fit_one_stage(plots: pd.DataFrame, relationship: Relationship) -> pd.Series:
    """Genetic values of the lines from the plots, all variances by REML."""
    model = Model("Y ~ env", "known(line) + line:env + at(env):block", "units | env", known={"line": relationship})
    return model.fit(plots, progress=False).blup("line").set_index("line")["blup"]


def tell_lines(found: Fit) -> pd.Series:
    """Means over the environments of what is predicted for the lines."""
    return found.predictions().groupby("line")["mean"].mean()


def measure_speed(found: Fit) -> tuple[float, float]:
    """Effective draws a second of the worst variance, and seconds of sampling."""
    table = found.summary()
    table = table[table.index.str.startswith(("Sigma_t", "Sigma_E", "R_e"))]
    seconds = float(found.run["seconds"]["warm_up"] + found.run["seconds"]["sample"])
    return float(table["ess_bulk"].min()) / seconds, seconds


def compare_stages(options: Options, length: Length) -> tuple[list[Row], str]:
    """The first question."""
    plots, relationship, g = simulate_series(np.random.default_rng(5))
    truth = pd.Series(g, index=list(relationship.lines))
    one = fit_one_stage(plots, relationship).reindex(truth.index)
    means = adjust(plots)
    names = {"line": "line", "env": "env", "traits": "Y"}
    wide = means.table.rename(columns={"mean": "Y"})
    ways = {
        "covariance": Trial.from_means(means),
        "se_stage2": Trial.from_frame(wide, se="se_stage2", **names),  # type: ignore[arg-type]
        "se": Trial.from_frame(wide, se="se", **names),  # type: ignore[arg-type]
        "nothing": Trial.from_frame(wide, **names),  # type: ignore[arg-type]
    }
    rows = [["one stage, REML", f"{np.corrcoef(one, truth)[0, 1]:.4f}", "1", "1", "", "", ""]]
    like = {}
    for name, trial in ways.items():
        found = length.run(trial, relationship, options)
        own = tell_lines(found).reindex(truth.index)
        like[name] = float(np.corrcoef(own, one)[0, 1])
        speed, seconds = measure_speed(found)
        slope, accuracy = np.polyfit(one, own, 1)[0], np.corrcoef(own, truth)[0, 1]
        told = f"{accuracy:.4f}", f"{like[name]:.4f}", f"{slope:.3f}", f"{speed:.0f}", f"{seconds:.0f}"
        rows.append([name, *told, f"{found.summary()['r_hat'].max():.3f}"])
    checks = [
        Row("lines as of one stage", f"{SERIES[0]} x {SERIES[1]}", "correlation", f"{like['covariance']:.4f}",
            like["covariance"] > 0.995),
        Row("covariance, se_stage2, nothing: in this order", "the same", "correlations",
            ", ".join(f"{like[name]:.4f}" for name in ("covariance", "se_stage2", "nothing")),
            like["covariance"] > like["se_stage2"] > like["nothing"]),
    ]  # fmt: skip
    head = ["known of errors", "accuracy", "correlation with one stage", "slope on it", "ESS/s", "seconds", "R-hat"]
    return checks, make_table(head, rows)


# --- two traits -----------------------------------------------------------------------------------------------------


def simulate_pair(rng: np.random.Generator) -> tuple[AdjustedMeans, Relationship]:
    """Means of two traits without a genetic correlation, whose plots' errors and blocks correlate.

    The first stage knows the variances; the errors of a line's two means then correlate as those of its plots.
    """
    lines, envs = SMALL
    relationship, root = make_relationship(rng, lines)
    u = root @ rng.standard_normal((lines, 2))
    P = np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
    half = np.linalg.cholesky(P)
    tables, covariances = [], {}
    for i in range(envs):
        own = u + np.sqrt(0.3) * rng.standard_normal((lines, 2))
        line = rng.permutation(np.repeat(np.arange(lines), np.where(rng.random(lines) < 0.25, 3, 1)))
        block = np.arange(len(line)) // BLOCK
        y = own[line] + rng.standard_normal((block.max() + 1, 2))[block] @ half.T * 0.7
        y = y + rng.standard_normal((len(line), 2)) @ half.T * np.sqrt(ERROR)
        X, Z = np.eye(lines)[line], np.eye(block.max() + 1)[block]
        W = np.linalg.inv(ERROR * np.eye(len(line)) + 0.49 * Z @ Z.T)
        V = np.linalg.inv(X.T @ W @ X)  # of one trait; of both, P times it
        mean = V @ X.T @ W @ y
        index = pd.MultiIndex.from_product([relationship.lines, ["A", "B"]])
        whole = pd.DataFrame(np.kron(V, P), index=index, columns=index)
        covariances[f"E{i + 1}"] = whole
        tables.append(
            pd.DataFrame({"line": np.repeat(relationship.lines, 2), "trait": ["A", "B"] * lines, "mean": mean.ravel()})
            .assign(env=f"E{i + 1}", n_plots=np.repeat(np.bincount(line), 2))
        )  # fmt: skip
    return AdjustedMeans(pd.concat(tables, ignore_index=True), covariances), relationship


def compare_pair(options: Options, length: Length, sets: int) -> tuple[list[Row], str]:
    """The second question, of some sets."""
    settings = {"line": "line", "env": "env", "trait": "trait", "value": "mean"}
    found: dict[str, list[tuple[float, ...]]] = {}
    for k in range(sets):
        means, relationship = simulate_pair(np.random.default_rng(100 + k))

        def read(means: AdjustedMeans = means, **columns: object) -> Trial:
            return Trial.from_frame(means.table, **settings, **columns)  # type: ignore[arg-type]

        ways = {
            "covariance": Trial.from_means(means),
            "se_stage2 and their correlation": read(se="se_stage2", se_correlation=CORRELATION),
            "se_stage2, as if uncorrelated": read(se="se_stage2", se_correlation=0.0),
            "nothing": read(),
        }
        for name, trial in ways.items():
            own = length.run(trial, relationship, options)
            genetic, residual = (own.correlations(kind=kind).iloc[0] for kind in ("genetic", "residual"))
            covers = genetic["lower"] < 0.0 < genetic["upper"]
            speed, seconds = measure_speed(own)
            told = genetic["mean"], covers, residual["mean"], speed, seconds, own.summary()["r_hat"].max()
            found.setdefault(name, []).append(told)
    rows, checks = [], []
    for name, told in found.items():
        values = np.array(told, float)
        means_of, error = values[:, 0].mean(), values[:, 0].std(ddof=1) / np.sqrt(sets)
        covered = int(values[:, 1].sum())
        rows.append(
            [name, f"{means_of:.3f} ± {error:.3f}", f"{covered} of {sets}", f"{values[:, 2].mean():.3f}",
             f"{np.median(values[:, 3]):.0f}", f"{np.median(values[:, 4]):.1f}", f"{values[:, 5].max():.3f}"]
        )  # fmt: skip
        if name in list(found)[:2]:
            few = float(stats.binom.cdf(covered, sets, 0.9))
            apart = float(2.0 * stats.t.sf(abs(means_of / error), sets - 1))
            size = f"{sets} sets of {SMALL[0]} x {SMALL[1]} x 2"
            checks += [
                Row(f"{name}: 90% intervals cover no genetic correlation", size, "p", f"{few:.2g}", few > LEVEL),
                Row(f"{name}: posterior means around it", size, "p", f"{apart:.2g}", apart > LEVEL),
            ]
    head = ["known of errors", "genetic correlation (true: 0)", "90% intervals that cover it", "residual correlation",
            "ESS/s (median)", "seconds (median)", "worst R-hat"]  # fmt: skip
    return checks, make_table(head, rows)


# --- numbers of plots -----------------------------------------------------------------------------------------------


def compare_numbers(options: Options, length: Length, most: int) -> tuple[list[Row], str]:
    """The third question, for 1 to `most` plots of a line in an environment, without blocks."""
    rng = np.random.default_rng(20 + most)
    lines, envs = SMALL
    relationship, root = make_relationship(rng, lines)
    u = (root @ rng.standard_normal(lines))[:, None] + 0.5 * (root @ rng.standard_normal((lines, envs)))
    number = np.round(np.exp(rng.uniform(0.0, np.log(most), (lines, envs)))).astype(int)
    j, i = (np.repeat(index.ravel(), number.ravel()) for index in np.indices((lines, envs)))
    y = u[j, i] + rng.normal(0.0, np.sqrt(ERROR), len(j))
    plots = pd.DataFrame({"line": [relationship.lines[k] for k in j], "env": [f"E{k + 1}" for k in i], "Y": y})
    means = plots.groupby(["line", "env"])["Y"].agg(["mean", "size"]).reset_index().rename(columns={"mean": "Y"})
    means["se"] = np.sqrt(ERROR / means["size"])
    names = {"line": "line", "env": "env", "traits": "Y"}
    ways = {
        "plots": Trial.from_frame(plots, **names),  # type: ignore[arg-type]
        "n_plots": Trial.from_frame(means, n_plots="size", **names),  # type: ignore[arg-type]
        "se": Trial.from_frame(means, se="se", **names),  # type: ignore[arg-type]
    }
    found = {name: length.run(trial, relationship, options) for name, trial in ways.items()}
    tables = {name: own.predictions() for name, own in found.items()}
    rows, checks = [], []
    for name, own in found.items():
        table, base = tables[name], tables["plots"]
        apart = (table["mean"] - base["mean"]) / base["sd"]
        like = float(np.corrcoef(table["mean"], base["mean"])[0, 1])
        spread = float((table["sd"] / base["sd"]).mean())
        residual = own.summary().filter(like="R_e", axis=0).iloc[0]
        speed, seconds = measure_speed(own)
        rows.append(
            [f"1 to {most}: {name}", f"{like:.4f}", f"{np.abs(apart).max():.2f}", f"{spread:.3f}",
             f"{residual['mean']:.2f} ({residual['sd']:.2f})", f"{speed:.0f}", f"{seconds:.0f}"]
        )  # fmt: skip
        if name != "plots":
            figure = f"{like:.4f}, {spread:.3f}"
            checks.append(
                Row(f"1 to {most} plots by {name}", f"{lines} x {envs}", "correlation, ratio of SD", figure,
                    like > 0.99 and 0.9 < spread < 1.1)
            )  # fmt: skip
    return checks, make_table(
        ["plots, given as", "correlation of predictions", "largest difference, in SD", "SD to SD of plots", "R_e (SD)",
         "ESS/s", "seconds"],
        rows,
    )  # fmt: skip


def study(options: Options, length: Length, sets: int, write: bool) -> list[Row]:
    """All three questions."""
    began = time.perf_counter()
    blocks, pair = compare_stages(options, length), compare_pair(options, PAIR, sets)
    numbers = [compare_numbers(options, length, most) for most in (4, 20)]
    rows = [*blocks[0], *pair[0], *(row for checks, _ in numbers for row in checks)]
    tables = {
        "Blocks, unequal numbers of plots": blocks[1],
        "Two traits whose errors correlate": pair[1],
        **{f"Means of 1 to {most} plots": table for most, (_, table) in zip((4, 20), numbers, strict=True)},
    }
    if write:
        write_tables(options, "two_stages", rows, tables, time.perf_counter() - began)
    return rows


register(
    "two_stages",
    quick=lambda options: study(options, Length(500, 500, 2), 4, write=False),
    full=lambda options: study(options, Length(2000, 1000), 20, write=True),
)
