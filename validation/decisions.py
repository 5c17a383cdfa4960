"""Are probabilities, rank intervals, reliabilities and responses what they say, when truths are from the model's prior?

Sets are simulated as in `validation.coverage`, covariances from the priors that the model is given, by which traits go
together; a fifth of the lines has no record. Of the lines to which a fit gives a probability of p to be among the best,
a share of p is truly there; 90% rank intervals hold 90% of the true ranks; among lines of one reliability it is the
share of the variance of true deviations from the mean of the trial's lines, as the model has it, that predictions
explain; the response of the best by posterior means is in its 90% interval in 90% of the sets.

Of desired gains another design tells: two traits with heritabilities 0.8 and 0.2, equal gains wanted, in trials that
tell the variances well or badly.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import bmtme
from bmtme.testing.dense import CovarianceLaw
from validation.coverage import MORE, NU, SCALE, SPREAD, draw_effects, draw_variances, estimate_share, fix_scales
from validation.paper.kept import keep
from validation.registry import Options, Row, make_table, register, report_progress, write_tables

LINES, ENVS, TRAITS, PLOTS = 60, 2, 2, 2
#: Share of the lines without a record; of the lines, what counts as the best, of one trait and of two at once.
NEW, TOP, TOP_BOTH = 0.2, 0.1, 0.3
SHORT: dict[str, Any] = {"draws": 500, "tune": 300, "chains": 2}
SETS, BLOCK = 200, 10
#: Scales of the inverse Wishart priors: traits that go together, so that two events are not independent, and plots that
#: leave doubts.
GENETIC, RESIDUAL = SPREAD * (0.1 * np.eye(TRAITS) + 0.9), 3.0 * SPREAD * np.eye(TRAITS)
TENTHS = np.linspace(0.0, 1.0, 11)
GROUPS = {"1": "recorded", "0": "without a record"}
NUMBERS = (
    "p_top", "top", "in_rank", "reliability", "predicted", "true", "p_both", "p_product", "both", "in_response",
    "response", "true_response", "n",
)  # fmt: skip
#: Desired gains: lines and plots of a trial that hardly tells the lesser variance and of one that does, sets,
#: heritabilities of a plot, share selected.
GAIN_TRIALS, GAIN_SETS, GAIN_H2, GAIN_TOP = ((150, 1), (400, 2)), 30, (0.8, 0.2), 0.2
#: How far, in standard errors, a share may be from what it must be.
FAR = 3.5


# --- sets -------------------------------------------------------------------------------------------------------


def run_set(seed: int, number: int, cores: int) -> pd.DataFrame:
    """What a fit of one set says of its lines, beside the truth."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    kin = bmtme.simulate(lines=LINES, relationship="markers", seed=int(rng.integers(2**31))).relationship
    G = kin.matrix / kin.matrix.diagonal().mean()
    df = TRAITS + MORE
    laws = [CovarianceLaw("full", "inverse-wishart", 0.0, np.ones(TRAITS), df, scale) for scale in (GENETIC, RESIDUAL)]
    Sigma_t, R_e = (law.draw(rng)[0] for law in laws)
    s2_E = draw_variances(rng, NU, ENVS)
    effects = draw_effects(rng, G, Sigma_t, s2_E)  # (I, J, L)
    known = np.sort(rng.choice(LINES, int(LINES * (1 - NEW)), replace=False))
    env, line = (index.ravel() for index in np.meshgrid(np.arange(ENVS), np.repeat(known, PLOTS), indexing="ij"))
    noise = rng.standard_normal((len(env), TRAITS)) @ np.linalg.cholesky(R_e).T
    names = tuple(f"E{i + 1}" for i in range(ENVS)), tuple(f"T{l + 1}" for l in range(TRAITS))
    place = np.searchsorted(known, line)
    values = rng.standard_normal((ENVS, TRAITS))[env] + effects[env, line] + noise
    trial = bmtme.Trial(tuple(kin.lines[j] for j in known), *names, place, env, values)
    prior = bmtme.HalfT(NU, SCALE)
    prior_t, prior_e = (bmtme.InverseWishart(df, scale) for scale in (GENETIC, RESIDUAL))
    model = bmtme.BMTME(prior_t=prior_t, prior_E=prior, prior_e=prior_e)
    with fix_scales(TRAITS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit = bmtme.fit(trial, bmtme.Relationship(G, lines=kin.lines), model, seed=seed, cores=cores, **SHORT)
    return judge_lines(fit, kin.lines, effects.mean(axis=0), known, G).assign(set=str(number))


def judge_lines(
    fit: Any,
    lines: Sequence[str],
    u: np.ndarray,
    known: np.ndarray,
    G: np.ndarray,
) -> pd.DataFrame:
    """A row for each line: predictions of the first trait, joint ones of both, and the true effects u (J, L)."""
    table = fit.ranking("T1", top=TOP)
    response = fit.response(table).iloc[0]
    chosen = [lines.index(name) for name in table["line"][: table.attrs["top"]]]
    both = fit.joint_probabilities(top=TOP_BOTH).set_index("line").loc[list(lines)]
    product = np.prod([
        fit.ranking(trait, top=TOP_BOTH).set_index("line").loc[list(lines), "p_top"] for trait in ("T1", "T2")
    ], axis=0)  # fmt: skip
    table = table.set_index("line").loc[list(lines)]
    ranks = 1 + (u[:, None, :] < u[None, :, :]).sum(axis=1)  # (J, L)
    contrast = np.eye(len(lines))
    contrast[:, known] -= 1.0 / len(known)
    # In the model's own units: by the true variance, sets in which that is nearly zero would count for all others.
    p = fit.idata.posterior
    E = np.diagonal(p["Sigma_E"].values, axis1=-2, axis2=-1).sum(axis=-1)
    sigma2 = (p["Sigma_t"].values[..., 0, 0] * (1 + E / ENVS**2)).mean()
    scale = np.sqrt(sigma2 * np.einsum("jk,kl,jl->j", contrast, G, contrast))
    effects = fit.line_effects().sel(trait="T1").mean("env").stack(sample=("chain", "draw"))
    left = (contrast @ effects.sel(line=list(lines)).values).var(axis=1) / scale**2
    # As the ranking has it, but not cut at zero: what is cut off would be missing in the mean of the least reliable.
    reliability = np.where(table["reliability"] > 0.0, table["reliability"], np.minimum(1.0 - left, 0.0))
    predicted = contrast @ table["value"].to_numpy()
    true_response = u[chosen, 0].mean() - u[:, 0].mean()
    count, count_both = max(1, int(TOP * len(lines) + 0.5)), max(1, int(TOP_BOTH * len(lines) + 0.5))
    return pd.DataFrame({
        "recorded": np.where(np.isin(np.arange(len(lines)), known), "1", "0"),
        "p_top": table["p_top"], "top": ranks[:, 0] <= count,
        "in_rank": (table["rank_lower"] <= ranks[:, 0]) & (ranks[:, 0] <= table["rank_upper"]),
        "reliability": reliability, "predicted": predicted / scale, "true": contrast @ u[:, 0] / scale,
        "p_both": both["p_top"], "p_product": product, "both": (ranks <= count_both).all(axis=1),
        "in_response": response["lower"] <= true_response <= response["upper"],
        "response": response["mean"], "true_response": true_response, "n": 1,
    }).astype(dict.fromkeys(NUMBERS, float)).reset_index(drop=True)  # fmt: skip


def run_sets(options: Options, sets: int, kept: bool) -> pd.DataFrame:
    """All sets, in blocks that are kept."""
    report = report_progress("decisions")
    blocks = []
    for first in range(0, sets, BLOCK):
        numbers = range(first, min(first + BLOCK, sets))

        def run(numbers: range = numbers) -> pd.DataFrame:
            return pd.concat([run_set(options.seed, k, options.cores) for k in numbers], ignore_index=True)

        path = options.replicates / f"decisions-{first}.csv" if kept else None
        settings = {"sizes": [LINES, ENVS, TRAITS, PLOTS, NEW, TOP, TOP_BOTH], "short": SHORT, "seed": options.seed}
        blocks.append(keep(path, settings | {"sets": len(numbers)}, run, NUMBERS))
        report(numbers.stop, sets)
    return pd.concat(blocks, ignore_index=True)


def run_gains(options: Options, sets: int, lines: int, plots: int) -> np.ndarray:
    """(sets, 2 indices, 2 traits) true gains in genetic SDs: by S^-1 d, and by C^-1 d, which counts no reliability."""
    gains = []
    for k in range(sets):
        sim = bmtme.simulate(
            lines=lines, reps=plots, envs=1, traits=2, heritability=GAIN_H2, genetic_correlation=0.3,
            residual_correlation=0.0, relationship="markers", seed=options.seed * 1000 + k,
        )  # fmt: skip
        trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            fit = bmtme.fit(trial, sim.relationship, seed=options.seed, cores=options.cores, **SHORT)
        truth = sim.truth["b1"].loc[list(sim.relationship.lines)]
        sd = truth.std()
        C = fit.idata.posterior["Sigma_t"].mean(("chain", "draw")).values
        plain = np.linalg.solve(C, np.sqrt(C.diagonal()))
        tables = (
            fit.index(gains={"T1": 1.0, "T2": 1.0}, units="sd", top=GAIN_TOP),
            fit.index({"T1": plain[0], "T2": plain[1]}, top=GAIN_TOP),
        )
        chosen = [table["line"][: table.attrs["top"]] for table in tables]
        gains.append([((truth.loc[names].mean() - truth.mean()) / sd).to_numpy() for names in chosen])
    return np.array(gains)


# --- verdicts ---------------------------------------------------------------------------------------------------


def judge_shares(name: str, table: pd.DataFrame, p: str, truth: str) -> tuple[Row, list[tuple[str, ...]]]:
    """Whether in each tenth of a probability the share that is true is its mean; and a table of that."""
    lines, worst, count = [], 0.0, 0
    for low, high in pairwise(TENTHS):
        part = table[(table[p] >= low) & ((table[p] < high) | (high == 1.0))]
        if len(part) < 20 or part["set"].nunique() < 5:
            continue
        share, error = estimate_share(part, truth, ["set"])
        mean = part[p].mean()
        # By chance alone the share of rare events may be none.
        least = np.sqrt(max(mean * (1 - mean), 1e-4) / len(part))
        z = abs(share - mean) / max(error, least)
        worst, count = max(worst, z), count + 1
        lines.append((name, f"{low:.1f} to {high:.1f}", f"{len(part):,}", f"{mean:.3f}", f"{share:.3f} ({error:.3f})"))
    size = f"{table['set'].nunique()} sets, {count} tenths"
    return Row(name, size, f"largest deviation, below {FAR} standard errors", f"{worst:.1f}", worst < FAR), lines


def discount(z: float, part: pd.DataFrame) -> float:
    """A deviation in standard errors as of a normal: where few sets hold most of the lines, the error is uncertain."""
    n = part.groupby("set").size()
    freedom = max(n.sum() ** 2 / (n**2).sum() - 1.0, 1.0)
    return float(stats.norm.isf(stats.t.sf(z, freedom)))


def judge_reliability(table: pd.DataFrame) -> tuple[list[Row], list[tuple[str, ...]]]:
    """Share of the variance that predictions explain among lines of about one reliability, recorded or not."""
    rows, lines = [], []
    for code, name in GROUPS.items():
        part = table[table["recorded"] == code].copy()
        part["explained"] = 1.0 - (part["predicted"] - part["true"]) ** 2
        part["bin"] = pd.qcut(part["reliability"].rank(method="first"), 5, labels=False)
        off = []
        for _, own in part.groupby("bin"):
            found, error = estimate_share(own, "explained", ["set"])
            mean = own["reliability"].mean()
            off.append(discount(abs(found - mean) / error, own))
            lines.append((name, f"{len(own):,}", f"{mean:.3f}", f"{found:.3f} ({error:.3f})"))
        size = f"{part['set'].nunique()} sets, {len(part):,} lines"
        rows.append(Row(
            f"reliability, lines {name}", size, f"largest deviation of five groups, below {FAR} standard errors",
            f"{max(off):.1f}", max(off) < FAR,
        ))  # fmt: skip
    return rows, lines


def judge_product(table: pd.DataFrame) -> list[Row]:
    """Where the joint probability and the product of the traits' differ, the share that is truly good in both."""
    apart = table["p_both"] - table["p_product"]
    far = table[apart.abs() > apart.abs().quantile(0.95)]
    above = far[far["p_both"] > far["p_product"]]
    share, error = estimate_share(above, "both", ["set"])
    size, figure = f"{above['set'].nunique()} sets, {len(above):,} lines", f"{share:.3f} +- {error:.3f}"
    rows = []
    for name, column in (("joint probability", "p_both"), ("planted: product of probabilities", "p_product")):
        mean = above[column].mean()
        ok = abs(share - mean) < FAR * error if column == "p_both" else share - mean > FAR * error
        where = "within" if column == "p_both" else "beyond"
        words = f"share that is true, {mean:.3f} said, {where} {FAR} standard errors"
        rows.append(Row(f"{name}, both traits", size, words, figure, bool(ok)))
    return rows


def judge_gains(each: Sequence[np.ndarray]) -> tuple[list[Row], list[tuple[str, ...]]]:
    """Whether gains are equal in the last of the trials, which tells the variances; and a table of all."""
    rows: list[Row] = []
    lines = []
    for (n, plots), gains in zip(GAIN_TRIALS, each, strict=True):
        size = f"{len(gains)} sets, {n} lines, {plots} plots"
        mean, error_of = gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        apart = gains[:, :, 0] - gains[:, :, 1]
        z = apart.mean(axis=0) / (apart.std(axis=0, ddof=1) / np.sqrt(len(gains)))
        rows = []  # of the last trial
        for k, (name, ok) in enumerate((
            ("desired gains, S of predicted values", abs(z[0]) < FAR), ("planted: desired gains by C", z[1] > FAR),
        )):  # fmt: skip
            figures = [f"{m:.2f} ({e:.2f})" for m, e in zip(mean[k], error_of[k], strict=True)]
            words = "true gains in SDs at h2 0.8 and 0.2, equal"
            rows.append(Row(name, size, words, " and ".join(figures), bool(ok)))
            lines.append((name, size, *figures, f"{z[k]:.1f}"))
    return rows, lines


def judge_all(table: pd.DataFrame, gains: Sequence[np.ndarray]) -> tuple[list[Row], dict[str, str]]:
    """Rows of the study, and its tables."""
    rows, shares = [], []
    for code, name in GROUPS.items():
        part = table[table["recorded"] == code]
        row, lines = judge_shares(f"P(top {TOP:.0%}), lines {name}", part, "p_top", "top")
        rows.append(row)
        shares += lines
        share, error = estimate_share(part, "in_rank", ["set"])
        rows.append(Row(
            f"rank intervals, lines {name}", f"{part['set'].nunique()} sets, {len(part):,} lines",
            "true ranks in 90% intervals (of whole numbers: 90% or more)", f"{100 * share:.1f} +- {100 * error:.1f}%",
            0.9 - FAR * error < share < 0.96 + FAR * error,
        ))  # fmt: skip
    row, lines = judge_shares(f"P(top {TOP_BOTH:.0%} of both traits)", table, "p_both", "both")
    rows += [row, *judge_product(table)]
    shares += lines
    reliable, groups = judge_reliability(table)
    rows += reliable
    sets = table.groupby("set").first().reset_index()
    share, error = estimate_share(sets, "in_response", ["set"])
    error = max(error, np.sqrt(0.09 / len(sets)))
    rows.append(Row(
        "response to selection", f"{len(sets)} sets", "true response in its 90% interval",
        f"{100 * share:.1f} +- {100 * error:.1f}%", abs(share - 0.9) < FAR * error,
    ))  # fmt: skip
    off = sets["response"] - sets["true_response"]
    z = abs(off.mean()) / (off.std() / np.sqrt(len(off)))
    rows.append(Row("response, mean error", f"{len(sets)} sets", f"below {FAR} standard errors", f"{z:.1f}", z < FAR))
    own, each = judge_gains(gains)
    rows += own
    tables = {
        "Probabilities": make_table(("of", "probability", "lines", "mean", "share that is true"), shares),
        "Reliability": make_table(("lines", "number", "mean reliability", "explained"), groups),
        "Desired gains": make_table(("index", "size", "at h2 0.8", "at h2 0.2", "apart, in standard errors"), each),
    }  # fmt: skip
    return rows, tables


def run_quick(options: Options) -> list[Row]:
    """Few sets: gross errors; planted ones need more."""
    rows, _ = judge_all(run_sets(options, 12, kept=False), [run_gains(options, 6, *trial) for trial in GAIN_TRIALS])
    return [row for row in rows if "planted" not in row.check + row.statistic]


def run_full(options: Options) -> list[Row]:
    """All sets, with tables."""
    began = time.perf_counter()
    fresh = not any(options.replicates.glob("decisions-*.csv"))
    rows, tables = judge_all(
        run_sets(options, SETS, kept=True), [run_gains(options, GAIN_SETS, *trial) for trial in GAIN_TRIALS]
    )
    write_tables(options, "decisions", rows, tables, time.perf_counter() - began if fresh else None)
    return rows


register("decisions", run_quick, run_full)
