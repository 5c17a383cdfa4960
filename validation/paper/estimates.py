"""Covariances, correlations and heritabilities of one trial, with 95% intervals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bmtme
from bmtme.report.palette import COLOURS
from bmtme.results.rows import derive_rows, list_values
from validation.paper.kept import Data
from validation.registry import make_table

#: Of each of four chains.
TUNE, DRAWS = 1000, 4000
#: Every half-t as vague as Huang and Wand (2013) use it, and the paper's prior of the means.
VAGUE = bmtme.HalfT(2.0, 1e5)
MODELS = {
    "default priors": bmtme.BMTME(),
    "scales of 100,000": bmtme.BMTME(prior_t=VAGUE, prior_E=VAGUE, prior_e=VAGUE, means="paper"),
}
CORRELATIONS = ("genetic", "residual")

Pair = tuple[str, str]


def sample_quantities(
    data: Data, model: bmtme.BMTME, seed: int, cores: int, tune: int = TUNE, draws: int = DRAWS
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Draws of every summarised quantity by name, and the summary with 95% intervals.

    ``genetic_variance[trait]`` is c Sigma_t[l, l], c the expected sample variance of effects per unit of theirs: the
    variance of the main effect among the lines of the trial.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the diagnostics are looked at below
        fit = bmtme.fit(
            *data, model, draws=draws, tune=tune, chains=4, seed=seed, cores=cores, keep_effects="none", progress=False
        )
    c = fit.run["facts"]["spread"]
    samples = {row.name: row.draws.ravel() for row in derive_rows(*list_values(fit.idata.posterior), c)}
    summary = fit.summary().drop(columns=["lower", "upper", "note"])
    low, high = np.quantile(np.array([samples[name] for name in summary.index]), (0.025, 0.975), axis=1)
    summary = summary.assign(lower=low, upper=high)
    for trait in data[0].traits:
        samples[f"genetic_variance[{trait}]"] = c * samples[f"Sigma_t[{trait}, {trait}]"]
        row = summary.loc[f"Sigma_t[{trait}, {trait}]"].copy()
        row[["mean", "sd", "lower", "upper"]] *= c
        summary.loc[f"genetic_variance[{trait}]"] = row
    return samples, summary


def list_pairs(traits: tuple[str, ...]) -> Iterator[Pair]:
    """Pairs of traits in their order."""
    for a, one in enumerate(traits):
        for other in traits[a + 1 :]:
            yield one, other


def tell(row: pd.Series, digits: int = 3) -> str:
    """Mean and interval."""
    return f"{row['mean']:.{digits}g} ({row['lower']:.{digits}g}, {row['upper']:.{digits}g})"


def tabulate_correlations(
    summaries: Mapping[str, pd.DataFrame], printed: Mapping[Pair, float], traits: tuple[str, ...]
) -> str:
    """Genetic and residual correlations beside what the paper prints."""
    lines = []
    for kind in CORRELATIONS:
        for pair in list_pairs(traits):
            name = f"{kind}_correlation[{pair[0]}, {pair[1]}]"
            value = printed.get(pair) if kind == "genetic" else None
            lines.append(
                (
                    f"{kind}: {pair[0]}, {pair[1]}",
                    "not known" if value is None else f"{value:.2f}",
                    *[
                        f"{row['mean']:.2f} ({row['lower']:.2f}, {row['upper']:.2f})"
                        for row in (summary.loc[name] for summary in summaries.values())
                    ],
                )
            )
    return make_table(("correlation", "the paper", *summaries), lines)


def tabulate_variances(summary: pd.DataFrame, traits: tuple[str, ...], envs: tuple[str, ...]) -> str:
    """Variances, heritabilities and environment means by trait."""
    lines = [
        ("genetic variance, main effect", *[tell(summary.loc[f"genetic_variance[{t}]"]) for t in traits]),
        ("the same as Sigma_t, for G as given", *[tell(summary.loc[f"Sigma_t[{t}, {t}]"]) for t in traits]),
        ("residual variance R_e", *[tell(summary.loc[f"R_e[{t}, {t}]"]) for t in traits]),
        *[
            (f"heritability in {env}", *[tell(summary.loc[f"heritability[{env}, {t}]"], 2) for t in traits])
            for env in envs
        ],
        *[(f"mean of {env}", *[tell(summary.loc[f"beta[{env}, {t}]"]) for t in traits]) for env in envs],
    ]
    return make_table(("mean (95% interval)", *traits), lines)


def tabulate_interaction(summary: pd.DataFrame, envs: tuple[str, ...]) -> str:
    """Sigma_E."""
    lines = [(env, tell(summary.loc[f"Sigma_E[{env}, {env}]"], 2)) for env in envs]
    return make_table(("environment", "mean (95% interval)"), lines)


def draw_correlations(summary: pd.DataFrame, printed: Mapping[Pair, float], traits: tuple[str, ...]) -> Figure:
    """Genetic and residual correlations with 95% intervals; the paper's figures as crosses."""
    pairs = list(list_pairs(traits))
    figure = Figure(figsize=(7.0, 1.3 + 0.55 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for k, kind in enumerate(CORRELATIONS):
        rows = summary.loc[[f"{kind}_correlation[{a}, {b}]" for a, b in pairs]]
        place = np.arange(len(pairs)) + 0.16 * (1 if k else -1)
        ends = [rows["mean"] - rows["lower"], rows["upper"] - rows["mean"]]
        label = f"{kind}: mean, 95% interval"
        axes.errorbar(rows["mean"], place, xerr=ends, fmt="os"[k], color=COLOURS[k], capsize=3, label=label)
    known = [(value, pairs.index(pair) - 0.16) for pair, value in printed.items()]
    if known:
        axes.plot(
            *np.array(known).T, "x", color="black", markersize=9, markeredgewidth=2, zorder=3,
            label="genetic, as the paper prints it",
        )  # fmt: skip
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set_yticks(range(len(pairs)), [f"{a}, {b}" for a, b in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlim(-1, 1)
    axes.set_xlabel("correlation")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
