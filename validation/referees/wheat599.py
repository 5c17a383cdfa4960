"""Four environments as four traits, by bmtme and by Multitrait of the R package BGLR: have they the same posterior?

599 wheat lines, grain yield in four environments. With one environment and the four yields as its traits there is no
interaction, and the model is y = mu + u + e, u ~ MN(0, G, Sigma_t), e ~ N(0, R_e) in both programs. Beside it the
model of four environments and one trait (`validation.referees.environments`). Needs the trial (BMTME_DATA); BGLR is run
where R has it (see `validation.rscript`), otherwise means of an earlier run stand for it.
"""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import bmtme
from validation.referees.environments import draw_environments, measure_environments
from validation.referees.estimates import (
    ENOUGH,
    ENOUGH_QUICK,
    OURS,
    THEIRS,
    Estimate,
    compare,
    describe_size,
    estimate,
    is_settled,
    name_triangle,
    take_triangle,
)
from validation.referees.wheatpriors import (
    DF_RESIDUAL,
    PARTS,
    describe_prior,
    draw_bglr_prior,
    draw_default_prior,
    set_scales,
)
from validation.registry import LEVEL, Options, Row, make_table, register, write_figure, write_tables
from validation.rscript import describe_r, find_version, run_r, skip_r
from validation.trials import read_trial, skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHECK = "wheat599: bmtme and BGLR"
SCRIPT = Path(__file__).with_name("bglr.R")
#: Kept and dropped sweeps of a chain of BGLR, and chains.
SWEEPS, DROPPED, CHAINS = 40_000, 1000, 2
#: Of bmtme: two chains.
DRAWS, TUNE = 10_000, 1000

#: Posterior means of BGLR's Multitrait on this trial with its own priors, from an earlier run: lower triangles by
#: columns, three decimals, Monte Carlo errors not kept.
PRINTED = {
    "genetic": (0.571, -0.116, -0.120, -0.212, 0.505, 0.405, 0.255, 0.485, 0.275, 0.491),
    "residual": (0.534, 0.079, -0.107, 0.056, 0.580, 0.309, 0.169, 0.627, 0.124, 0.599),
}
#: These must not be further off than this share of a posterior SD.
CLOSE = 0.2


@dataclass(frozen=True)
class Wheat:
    """The trial as it is (four environments, one trait), and with environments as traits; lines in the same order."""

    trial: bmtme.Trial
    relationship: bmtme.Relationship
    turned: bmtme.Trial

    @property
    def envs(self) -> list[str]:
        """Names of the environments."""
        return list(self.trial.envs)


def read_wheat() -> Wheat | None:
    """The trial, or None where it is not."""
    found = read_trial("wheat599")
    if found is None:
        return None
    trial, relationship = found
    relationship = relationship.subset(trial.lines)
    table = pd.DataFrame(trial.cell_means()[:, :, 0], columns=list(trial.envs))
    table.insert(0, "line", list(trial.lines))
    table.insert(1, "env", "all")
    turned = bmtme.Trial.from_frame(table, line="line", env="env", traits=list(trial.envs))
    return Wheat(trial, relationship, turned)


def fit_traits(wheat: Wheat, df_genetic: float | None, options: Options, draws: int) -> dict[str, Estimate]:
    """The four yields as traits: with inverse-Wishart priors on BGLR's scales, or (None) with the default priors."""
    model = bmtme.BMTME("unstructured")
    if df_genetic is not None:
        scales = set_scales(wheat.turned.values, np.asarray(wheat.relationship.matrix))
        model = bmtme.BMTME(
            "unstructured",
            prior_t=bmtme.InverseWishart(df_genetic, scales["genetic"]),
            prior_e=bmtme.InverseWishart(DF_RESIDUAL, scales["residual"]),
        )
    fit = bmtme.fit(
        wheat.turned, wheat.relationship, model, draws=draws, tune=TUNE, chains=2, seed=options.seed,
        cores=options.cores, keep_effects="none", progress=False,
    )  # fmt: skip
    posterior = fit.idata.posterior
    matrices = dict(zip(PARTS, (posterior["Sigma_t"].values, posterior["R_e"].values), strict=True))
    return {part: estimate(take_triangle(values)) for part, values in matrices.items()}


@dataclass(frozen=True)
class Bglr:
    """What BGLR says: draws summarised, the priors that it set, processor seconds of a sweep."""

    estimates: dict[str, Estimate]
    df: dict[str, float]
    scales: dict[str, np.ndarray]
    seconds: float


def run_bglr(wheat: Wheat, options: Options, chains: int, sweeps: int) -> Bglr:
    """Chains of BGLR, each a process of its own."""
    matrices = {"y": wheat.turned.values, "k1": np.asarray(wheat.relationship.matrix)}
    with ThreadPoolExecutor(options.cores) as pool:
        seeds = [100 * options.seed + chain for chain in range(chains)]
        runs = list(pool.map(lambda seed: run_r(SCRIPT, matrices, DROPPED + sweeps, DROPPED, seed), seeds))
    names = {"genetic": "effect1", "residual": "residual"}
    return Bglr(
        {part: estimate(np.stack([run[name] for run in runs])) for part, name in names.items()},
        {part: runs[0][f"df_{name}"].item() for part, name in names.items()},
        {part: runs[0][f"scale_{name}"] for part, name in names.items()},
        float(np.mean([run["seconds"].item() for run in runs])) / (DROPPED + sweeps),
    )


def join(estimates: dict[str, Estimate]) -> Estimate:
    """Genetic and residual entries as one."""
    parts = [estimates[part] for part in PARTS]
    return Estimate(*(np.concatenate([getattr(p, name) for p in parts]) for name in Estimate.__dataclass_fields__))


def judge_printed(ours: dict[str, Estimate]) -> Row:
    """Against the means of the earlier run."""
    printed = np.concatenate([PRINTED[part] for part in PARTS])
    all_ = join(ours)
    distance = float(np.abs((all_.mean - printed) / all_.sd).max())
    return Row(f"{CHECK}, earlier run", "20 means", "largest difference, in posterior SDs", f"{distance:.2f}",
               distance < CLOSE)  # fmt: skip


def judge_run(ours: dict[str, Estimate], other: dict[str, Estimate], bglr: Bglr, wheat: Wheat,
              enough: float = ENOUGH) -> list[Row]:  # fmt: skip
    """Against chains of BGLR: the priors as supposed, the means the same, and a slightly wrong prior found out."""
    scales = set_scales(wheat.turned.values, np.asarray(wheat.relationship.matrix))
    df = {"genetic": len(wheat.envs) + 1, "residual": DF_RESIDUAL}
    off = max(float(np.abs(bglr.scales[part] / scales[part] - 1).max()) for part in PARTS)
    off = max(off, *(abs(bglr.df[part] / df[part] - 1) for part in PARTS))
    mine, wrong, theirs = join(ours), join(other), join(bglr.estimates)
    z, p = compare(mine, theirs)
    far, low = compare(wrong, theirs)
    what = "largest difference, in errors"
    return [
        Row(f"{CHECK}: its prior scales and df0", "2 matrices, 2 numbers", "largest relative difference", f"{off:.1g}",
            off < 1e-6),
        Row(f"{CHECK}, same prior", describe_size(mine, theirs), what, f"{np.abs(z).max():.1f}; p (x {len(z)}) {p:.2g}",
            bool(p > LEVEL and is_settled(mine, theirs, enough=enough))),
        Row(f"{CHECK}, documented degrees of freedom: told apart", describe_size(wrong, theirs), what,
            f"{np.abs(far).max():.1f}; p (x {len(z)}) {low:.2g}",
            bool(low < LEVEL and is_settled(wrong, theirs, enough=enough))),
    ]  # fmt: skip


def tell(one: Estimate, other: Estimate) -> str:
    """The largest difference of two sets of means, in posterior SDs of the first."""
    return f"{np.abs((one.mean - other.mean) / one.sd).max():.2f}"


def tabulate_entries(names: list[str], ours: Estimate, theirs: Estimate | np.ndarray, default: Estimate) -> str:
    """Every entry by both programs."""
    rows = []
    known = isinstance(theirs, Estimate)
    z = compare(ours, theirs)[0] if known else None
    for k, name in enumerate(names):
        cells = [theirs.show_error(k) if known else f"{theirs[k]:.3f}"]
        cells += [ours.show_error(k), f"{ours.sd[k]:.3f}"]
        cells += [f"{z[k]:+.1f}"] if z is not None else []
        rows.append((name, *cells, default.show(k, 3)))
    head = ("entry", "BGLR", "bmtme, same prior", "posterior SD", *(("difference / error",) if known else ()),
            "bmtme, default prior (90% interval)")  # fmt: skip
    return make_table(head, rows)


def draw_entries(names: list[str], ours: dict[str, Estimate], theirs: dict[str, Estimate] | None,
                 default: dict[str, Estimate]) -> Figure:  # fmt: skip
    """Both covariances, entry by entry, as means with 90% intervals."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 5), sharey=True, layout="constrained")
    places = np.arange(len(names))[::-1]
    for panel, part in zip(axes, PARTS, strict=True):
        sets: list[tuple[str, str, str, Estimate | None]] = [
            ("BGLR", THEIRS, "D", None if theirs is None else theirs[part]),
            ("bmtme, the same prior", OURS, "o", ours[part]),
            ("bmtme, its default prior (half-t)", "#56B4E9", "s", default[part]),
        ]
        for shift, (label, colour, mark, e) in zip((0.22, 0.0, -0.22), sets, strict=True):
            if e is None:
                panel.plot(PRINTED[part], places + shift, mark, color=colour, markersize=5, label=f"{label} (means)")
            else:
                panel.errorbar(e.mean, places + shift, xerr=[e.mean - e.lower, e.upper - e.mean], fmt=mark,
                               color=colour, markersize=5, linewidth=1.2, label=label)  # fmt: skip
        panel.axvline(0, color="0.7", linewidth=0.8, zorder=0)
        panel.set_title("Genetic covariance (Sigma_t)" if part == "genetic" else "Residual covariance (R_e)")
        panel.set_xlabel("grain yield, in variances of an environment")
    axes[0].set_yticks(places, [f"variance in {n}" if "," not in n else n.replace(",", " and") for n in names])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def run_quick(options: Options) -> list[Row]:
    """The printed means, and a short chain of BGLR."""
    wheat = read_wheat()
    if wheat is None:
        return [skip(CHECK, "wheat599")]
    p = len(wheat.envs)
    ours = fit_traits(wheat, 2 * p + 1, options, 3000)
    rows = [judge_printed(ours)]
    if find_version("BGLR") is None:
        return [*rows, skip_r(f"{CHECK}, same prior", "BGLR")]
    bglr = run_bglr(wheat, options, 1, 8000)
    other = fit_traits(wheat, p + 1, options, 3000)
    return rows + judge_run(ours, other, bglr, wheat, ENOUGH_QUICK)[:2]


def run_full(options: Options) -> list[Row]:
    """Long chains of both programs, and the other model."""
    wheat = read_wheat()
    if wheat is None:
        return [skip(CHECK, "wheat599")]
    began = time.perf_counter()
    p = len(wheat.envs)
    documented = fit_traits(wheat, p + 1, options, DRAWS)
    default = fit_traits(wheat, None, options, DRAWS)
    start = time.process_time()  # once everything is compiled
    ours = fit_traits(wheat, 2 * p + 1, options, DRAWS)
    seconds = time.process_time() - start
    rows = [judge_printed(ours)]
    bglr = None
    if find_version("BGLR") is None:
        rows.append(skip_r(f"{CHECK}, same prior", "BGLR"))
    else:
        bglr = run_bglr(wheat, options, CHAINS, SWEEPS)
        rows += judge_run(ours, documented, bglr, wheat)
    theirs = None if bglr is None else bglr.estimates
    names = name_triangle(wheat.envs)
    write_figure(options, "wheat599", draw_entries(names, ours, theirs, default))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short chains of many partitions, meant so
        both = measure_environments(wheat.trial, wheat.turned, wheat.relationship, options)
    write_figure(options, "wheat599-environments", draw_environments(both))
    tables = {}
    for part in PARTS:
        other = np.array(PRINTED[part]) if theirs is None else theirs[part]
        tables[f"{part.capitalize()} covariance"] = tabulate_entries(names, ours[part], other, default[part])
    others = {"bmtme, documented degrees of freedom": documented, "bmtme, default prior": default}
    tables["Distances"] = tabulate_shifts(ours, others if theirs is None else {"BGLR": theirs, **others})
    tables["Heritability before data"] = tabulate_priors(wheat, options.seed)
    if bglr is not None:
        tables["Speed"] = tabulate_speed(ours, bglr, seconds)
        tables["Programs"] = describe_r("BGLR")
    write_tables(options, "wheat599", rows, tables | both.list_tables(), time.perf_counter() - began)
    return rows


def tabulate_priors(wheat: Wheat, seed: int) -> str:
    """Heritabilities that the priors expect before data."""
    p = len(wheat.envs)
    matrix, values = np.asarray(wheat.relationship.matrix), wheat.turned.values
    rows = [
        (f"BGLR, {df} degrees of freedom of Sigma_t", describe_prior(draw_bglr_prior(df, values, matrix, seed)))
        for df in (2 * p + 1, p + 1)
    ]
    rows.append(("bmtme, default", describe_prior(draw_default_prior(seed))))
    return make_table(("prior", "median"), rows)


def tabulate_shifts(ours: dict[str, Estimate], others: dict[str, dict[str, Estimate]]) -> str:
    """How far other means are from those with BGLR's prior."""
    rows = [(name, tell(join(ours), join(other))) for name, other in others.items()]
    return make_table(("means", "largest distance, posterior SDs"), rows)


def tabulate_speed(ours: dict[str, Estimate], bglr: Bglr, seconds: float) -> str:
    """Effective draws of the worst mean per second of processor time; timed once."""
    theirs = join(bglr.estimates).effective.min() / (CHAINS * (SWEEPS + DROPPED) * bglr.seconds)
    rows = [
        ("BGLR", f"{theirs:.0f}", f"{1e3 * bglr.seconds:.2f}"),
        ("bmtme", f"{join(ours).effective.min() / seconds:,.0f}", ""),
    ]
    return make_table(("program", "effective draws of the worst mean per second", "ms a sweep"), rows)


register("wheat599", run_quick, run_full)
