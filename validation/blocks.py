"""Blocks within environments: what they change on a real trial, whether they are found, and how chains mix with them.

Winter wheat (273 unrelated lines in eight environments, ten blocks in each, three checks in every block; needs
BMTME_DATA) with blocks and replicates, with blocks within replicates, and without either: variances, ranking of lines,
and cells hidden where their lines are seen elsewhere. Scores count the effects of the hidden plots' own blocks, which
are a part of what is observed; accuracy *within blocks*, the correlation of deviations from the mean of the hidden
plots of a block, is of genetic values alone. Whole lines cannot be predicted, as none is related to another.

Simulated trials (309 lines x 3 environments x 3 traits, blocks of ten plots) of which the truth is known: the standard
deviation of the blocks, accuracy of genetic values with and without them, and effective draws.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

import bmtme
from validation.paper.kept import Data
from validation.registry import Options, Row, make_table, register, report_progress, write_tables
from validation.trials import find_trial, skip

WHEAT = "belamkar_augmented"
#: How the wheat is read.
READ: dict[str, dict[str, Any]] = {
    "neither": {"rep": ["rep", "row", "col"]},
    "blocks, replicates": {"rep": ["rep", "row", "col"], "blocks": ["block"]},
    "blocks within replicates": {"rep": ["rep", "row", "col"], "blocks": ["rep:block"]},
}
#: Replicates, and variance of the blocks in residual variances.
SIMULATED = ((2, 0.3), (2, 0.03), (1, 0.3))
CHAINS = {"draws": 2000, "tune": 1000, "chains": 2}
#: Hidden cells of single plots from which on a correlation within blocks is told of an environment.
FEWEST = 50
#: Fewest effective draws for each draw of a standard deviation of blocks, in the prototype 0.065 to 0.30.
LEAST = 0.05


def read_wheat(label: str) -> bmtme.Trial | None:
    """The trial with what is named of blocks."""
    folder = find_trial(WHEAT)
    if folder is None:
        return None
    return bmtme.read_trial(folder / "pheno.csv", line="line", env="env", traits=["yield"], **READ[label])


def choose_model(label: str) -> bmtme.BMTME:
    """Own residual variances in each environment; without effects of replicates where there are no blocks."""
    return bmtme.BMTME(residual="by_env", rep_effect="none" if label == "neither" else "auto")


def run(data: Data, model: bmtme.BMTME, options: Options, **chains: int) -> tuple[bmtme.Fit, float]:
    """A fit, and its processor seconds, once all is compiled."""
    settings: dict[str, Any] = {"seed": options.seed, "cores": options.cores, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        bmtme.fit(*data, model, **settings | {"draws": 2, "tune": 10, "chains": 1})
        began = time.process_time()
        fit = bmtme.fit(*data, model, **settings | chains)
    return fit, time.process_time() - began


def list_effective(fit: bmtme.Fit, start: str) -> float:
    """Fewest effective draws, in bulk, of rows that start so, for each draw."""
    summary = fit.summary()
    rows = summary[summary.index.str.startswith(start)]
    draws = fit.run["settings"]["draws"] * fit.run["settings"]["chains"]
    return float(rows["ess_bulk"].min()) / draws if len(rows) else np.nan


# --- simulated --------------------------------------------------------------------------------------------------------


def simulate(reps: int, share: float, seed: int, lines: int = 309) -> tuple[pd.DataFrame, Any, np.ndarray]:
    """Plots in blocks of ten within replicates, with effects of blocks; the simulation; their SDs."""
    sim = bmtme.simulate(lines=lines, reps=reps, heritability=0.5, relationship="markers", seed=seed)
    frame = sim.frame.copy()
    rng = np.random.default_rng(seed)
    names = [name for name in frame if name.startswith("T")]
    frame["block"] = ""
    sd = np.sqrt(share * np.diag(np.asarray(sim.truth["R_e"])))
    for _, here in frame.groupby(["env", "rep"], sort=False).groups.items():
        block = rng.permutation(len(here)) * max(1, len(here) // 10) // len(here)
        frame.loc[here, "block"] = block.astype(str)
        frame.loc[here, names] += (rng.standard_normal((block.max() + 1, len(names))) * sd)[block]
    return frame, sim, sd


def judge_simulated(options: Options, cases: Any, **settings: int) -> tuple[list[Row], list[tuple[str, ...]]]:
    """A row and a line of the table for each case."""
    rows, lines = [], []
    for reps, share in cases:
        frame, sim, sd = simulate(reps, share, options.seed, settings.get("lines", 309))
        chains = {name: settings.get(name, value) for name, value in CHAINS.items()}
        columns = {"line": "line", "env": "env", "traits": ["T1", "T2", "T3"], "rep": "rep"}
        found = {}
        for label, blocks in (("without", None), ("with", ["rep:block"])):
            trial = bmtme.Trial.from_frame(frame, **columns, blocks=blocks)
            fit, seconds = run((trial, sim.relationship), bmtme.BMTME(), options, **chains)
            found[label] = fit, seconds, measure_accuracy(fit, sim)
        fit, seconds, accuracy = found["with"]
        table = fit.summary()
        own = table[table.index.str.startswith("sigma_b")]
        inside = ((own["lower"] <= sd) & (sd <= own["upper"])).sum()
        effective = {start: list_effective(fit, start) for start in ("sigma_b", "Sigma_", "R_e")}
        plain = {start: list_effective(found["without"][0], start) for start in ("Sigma_", "R_e")}
        draws = chains["draws"] * chains["chains"]
        name = f"309 x 3 x 3, {reps} plots, blocks {share:g} of R_e"
        ok = effective["sigma_b"] > LEAST and inside >= 2 and accuracy > found["without"][2] - 0.01
        figure = f"{effective['sigma_b']:.2f}; {inside} of 3; {accuracy - found['without'][2]:+.3f}"
        rows.append(Row(name, f"{draws} draws", "draws of sigma_b, in 90%, accuracy gained", figure, bool(ok)))
        lines.append((
            str(reps), f"{share:g}", " ".join(f"{m / s:.2f}" for m, s in zip(own["mean"], sd, strict=True)),
            f"{found['without'][2]:.3f}", f"{accuracy:.3f}", *(f"{effective[key]:.2f}" for key in effective),
            *(f"{plain[key]:.2f}" for key in plain), f"{effective['sigma_b'] * draws / seconds:.0f}",
            f"{effective['Sigma_'] * draws / seconds:.0f}", f"{plain['Sigma_'] * draws / found['without'][1]:.0f}",
        ))  # fmt: skip
    return rows, lines


def measure_accuracy(fit: bmtme.Fit, sim: Any) -> float:
    """Mean correlation, over environments and traits, of predicted and true genetic values of the lines."""
    table = fit.predictions()
    b1, b2 = sim.truth["b1"], sim.truth["b2"]
    found = []
    for (env, trait), here in table.groupby(["env", "trait"], sort=False):
        truth = [float(b1.loc[line, trait]) + float(b2.loc[(env, line), trait]) for line in here["line"]]
        found.append(np.corrcoef(truth, here["mean"])[0, 1])
    return float(np.mean(found))


# --- the wheat --------------------------------------------------------------------------------------------------------


def describe_fit(label: str, fit: bmtme.Fit, seconds: float, best: pd.Series) -> tuple[str, ...]:
    """Variances, heritability, effective draws, and agreement of the ranking with `best`, that without blocks."""
    summary = fit.summary()

    def mean(start: str, square: bool = False) -> str:
        rows = summary.loc[summary.index.str.startswith(start), "mean"].to_numpy(dtype=float)
        return " ".join(f"{value**2 if square else value:.1f}" for value in rows)

    heritability = summary.loc[summary.index.str.startswith("heritability"), "mean"].astype(float)
    ranking = rank_lines(fit)
    top = set(ranking.index[:27])
    draws = fit.run["settings"]["draws"] * fit.run["settings"]["chains"]
    return (
        label, mean("Sigma_t"), mean("R_e"), mean("sigma_b", True), f"{heritability.mean():.2f}",
        f"{ranking.corr(best, 'spearman'):.3f}", f"{len(top & set(best.index[:27]))} of 27",
        *(f"{list_effective(fit, start):.2f}" for start in ("sigma_b", "Sigma_", "R_e")),
        f"{list_effective(fit, 'Sigma_') * draws / seconds:.0f}",
    )  # fmt: skip


def rank_lines(fit: bmtme.Fit) -> pd.Series:
    """Means of the lines over environments, the best first."""
    return fit.predictions().groupby("line")["mean"].mean().sort_values(ascending=False)


def score(cv: Any, trial: bmtme.Trial) -> tuple[float, ...]:
    """Pearson, error of prediction over the variance, coverage, and the correlation within blocks, of single plots."""
    scores = cv.scores
    frame = trial.to_frame().dropna(subset=["yield"])
    single = frame.groupby(["line", "env"])["block"].agg(["size", "first"])
    table = cv.predictions.join(single[single["size"] == 1]["first"], on=["line", "env"]).dropna(subset=["first"])
    keys = [table["partition"], table["env"], table["first"]]
    deviations = table[["observed", "mean"]] - table[["observed", "mean"]].groupby(keys).transform("mean")
    within = [here.corr().iloc[0, 1] for _, here in deviations.groupby(table["env"]) if len(here) >= FEWEST]
    variance = cv.predictions.groupby(["partition", "env"])["observed"].var().mean()
    return (
        float(scores["pearson"].mean()), float(scores["msep"].mean() / variance), float(scores["coverage_90"].mean()),
        float(np.mean(within)),
    )  # fmt: skip


def run_wheat(options: Options) -> tuple[list[Row], dict[str, str]]:
    """Fits and cross-validations of the three readings."""
    blocked = read_wheat("blocks, replicates")
    if blocked is None:
        return [skip("blocks of a real trial", WHEAT)], {}
    report = report_progress("blocks, wheat")
    fits, scored, lines = {}, {}, []
    for k, label in enumerate(READ):
        trial = read_wheat(label)
        assert trial is not None
        relationship, model = bmtme.Relationship.identity(trial.lines), choose_model(label)
        fits[label] = run((trial, relationship), model, options, **CHAINS)
        lines.append(describe_fit(label, *fits[label], rank_lines(fits["neither"][0])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            cv = bmtme.cross_validate(
                trial, relationship, model, bmtme.CV1(5, 0.2), seed=options.seed, workers=options.cores,
                progress=False, draws=1000, tune=500, chains=2,
            )  # fmt: skip
        scored[label] = score(cv, blocked)
        report(k + 1, len(READ))
    found, without = scored["blocks, replicates"], scored["neither"]
    residual = [
        fit.summary().filter(like="R_e", axis=0)["mean"].astype(float).mean()
        for fit in (fits["neither"][0], fits["blocks, replicates"][0])
    ]
    effective = list_effective(fits["blocks, replicates"][0], "sigma_b")
    checks = (
        ("residual variance, with over without", residual[1] / residual[0], residual[1] < residual[0]),
        ("Pearson gained, hidden cells", found[0] - without[0], found[0] > without[0]),
        ("within blocks, gained", found[3] - without[3], found[3] > without[3] - 0.02),
        ("in 90% intervals", found[2], abs(found[2] - 0.9) < 0.03),
        ("effective draws of sigma_b for each", effective, effective > LEAST),
    )
    rows = [Row(f"{WHEAT}: {what}", "", "", f"{figure:.3f}", bool(ok)) for what, figure, ok in checks]
    head = (
        "fit", "Sigma_t", "R_e by environment", "sigma_b^2", "mean heritability", "Spearman with the first",
        "best tenth in common", "sigma_b/draw", "Sigma/draw", "R_e/draw", "Sigma/s",
    )  # fmt: skip
    scores = [(label, *(f"{value:.3f}" for value in values)) for label, values in scored.items()]
    titles = ("fit", "Pearson", "MSEP / variance", "in 90%", "within blocks")
    return rows, {"Wheat: fits": make_table(head, lines), "Wheat: hidden cells": make_table(titles, scores)}


def run_quick(options: Options) -> list[Row]:
    """A small simulated trial."""
    return judge_simulated(options, SIMULATED[:1], lines=80, draws=500, tune=400)[0]


def run_full(options: Options) -> list[Row]:
    """The wheat and the simulated trials, with tables that are written after each."""
    began = time.perf_counter()
    rows, tables = run_wheat(options)
    write_tables(options, "blocks", rows, tables, time.perf_counter() - began)
    more, lines = judge_simulated(options, SIMULATED)
    head = (
        "plots", "sigma_b^2 / R_e", "estimate / truth", "accuracy without", "accuracy with", "sigma_b/draw",
        "Sigma/draw", "R_e/draw", "Sigma/draw without", "R_e/draw without", "sigma_b/s", "Sigma/s", "Sigma/s without",
    )  # fmt: skip
    rows += more
    tables["Simulated"] = make_table(head, lines)
    write_tables(options, "blocks", rows, tables, time.perf_counter() - began)
    return rows


register("blocks", run_quick, run_full)
