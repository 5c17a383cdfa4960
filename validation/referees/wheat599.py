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
    RULES,
    THEIRS,
    Estimate,
    compare,
    describe_size,
    estimate,
    is_settled,
    name_triangle,
    take_triangle,
    tell_agreement,
)
from validation.referees.wheatpriors import (
    DF_RESIDUAL,
    PARTS,
    PRIOR_DRAWS,
    READ,
    describe_prior,
    draw_bglr_prior,
    draw_default_prior,
    set_scales,
)
from validation.registry import LEVEL, Options, Row, make_table, register, write_figure, write_report
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
    entries = write_figure(options, "wheat599", draw_entries(names, ours, theirs, default))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short chains of many partitions, meant so
        both = measure_environments(wheat.trial, wheat.turned, wheat.relationship, options)
    environments = write_figure(options, "wheat599-environments", draw_environments(both))
    tables = []
    for part in PARTS:
        other = np.array(PRINTED[part]) if theirs is None else theirs[part]
        tables.append(f"### {part.capitalize()} covariance\n\n"
                      f"{tabulate_entries(names, ours[part], other, default[part])}")  # fmt: skip
    text = [
        describe_design(wheat, bglr),
        "\n\n".join(tables),
        f"![Genetic and residual covariances of the four environments by both programs]({entries})",
        describe_result(rows, ours, documented, default, bglr, seconds),
        describe_priors(wheat, ours, default, options.seed),
        both.describe(environments),
    ]
    write_report(options, "wheat599", "Wheat, 599 lines: BGLR as a referee", "\n\n".join(text),
                 time.perf_counter() - began)  # fmt: skip
    return rows


def describe_design(wheat: Wheat, bglr: Bglr | None) -> str:
    """The question, the data and the two programs."""
    p = len(wheat.envs)
    if bglr is None:
        other = ("R or its package BGLR was not found, so BGLR's column holds the posterior means of an earlier run, "
                 "without Monte Carlo errors.")  # fmt: skip
    else:
        other = (f"BGLR: {describe_r('BGLR')}, function `Multitrait`, {CHAINS} chains of {SWEEPS:,} sweeps after "
                 f"{DROPPED:,} dropped ones.")  # fmt: skip
    G = np.asarray(wheat.relationship.matrix)
    found = find_version("BGLR")
    doubt = "" if found in (None, READ) else f" (the version run here is {found}, whose source was not read)"
    return f"""\
**Question.** Does bmtme give the posterior that an established program gives, where both can fit the same model?

**Data.** Grain yield of {len(wheat.trial.lines)} wheat lines of CIMMYT in {p} mega-environments, one value each,
standardised in every environment (the set `wheat` of BGLR, which names the environments 1, 2, 4 and 5; here
{", ".join(wheat.envs)}). G is the product of its 1,279 DArT markers, centred and scaled, with mean diagonal
{np.diag(G).mean():.2f}: not BGLR's pedigree matrix `wheat.A`.

**Model.** The four yields are four *traits* on one record: `y = mu + u + e`. The genetic effects u are normal: rows
(lines) covary by G, columns (traits) by `Sigma_t`. The residuals e of a line are `N(0, R_e)`. Both covariances are
unstructured, `mu` is flat. In bmtme that is one environment with four traits (no interaction, no `Sigma_E`), in BGLR
one `RKHS` term.

**Prior.** BGLR's own, in both: inverse-Wishart for `R_e` with {DF_RESIDUAL} degrees of freedom and scale
`V ({DF_RESIDUAL} + {p} + 1) / 2`, V the covariance of the yields; for `Sigma_t` with {2 * p + 1} degrees of freedom and
scale `V ({p + 1} + {p} + 1) / 2`, divided by the mean diagonal of G less its mean entry. BGLR's documentation, and the
way in which it chooses that scale, mean df0 = {p + 1} degrees of freedom of `Sigma_t`; its sampler of unstructured
effects uses df0 plus the number of traits, {2 * p + 1}, in the source of version {READ}{doubt}. bmtme was told what
that sampler does. Beside it: bmtme with its default prior (half-t).

**Runs.** bmtme: 2 chains of {DRAWS:,} sweeps after {TUNE:,} of warm-up. {other} `±`: Monte Carlo error of a mean."""


def describe_result(rows: list[Row], ours: dict[str, Estimate], documented: dict[str, Estimate],
                    default: dict[str, Estimate], bglr: Bglr | None, seconds: float) -> str:  # fmt: skip
    """What agrees, chosen by what was found."""
    lines = ["## Do they agree?", ""]
    table = make_table(("check", "size", "statistic", "figure", "verdict"),
                       [(r.check, r.size, r.statistic, r.figure, r.verdict) for r in rows])  # fmt: skip
    lines += [
        table,
        "",
        f"{RULES} *Earlier run*: BGLR's means kept from another run, without errors; ours must be "
        f"within {CLOSE:g} posterior SDs of them. *Told apart*: here the p-value must be below {LEVEL:g}.",
        "",
    ]
    all_ = join(ours)
    if bglr is not None:
        theirs = join(bglr.estimates)
        same = tell_agreement(compare(all_, theirs)[1], is_settled(all_, theirs))
        lines.append(
            f"With the same prior the {len(all_.mean)} means {same}: they are apart by at most {tell(all_, theirs)} "
            "posterior SDs. The documented degrees of freedom "
            + ("are told apart from those of the sampler" if rows[3].ok else "are NOT told apart from the sampler's")
            + f": with them means are off by up to {tell(join(documented), theirs)} SDs."
        )
        rate = theirs.effective.min() / (CHAINS * (SWEEPS + DROPPED) * bglr.seconds)
        own = all_.effective.min() / seconds
        lines.append(
            f"\n**Speed.** Worst entry, effective draws of its mean per second of processor time: {rate:.0f} from BGLR "
            f"({1e3 * bglr.seconds:.2f} ms a sweep, warm-up included), {own:,.0f} from bmtme (decomposition and "
            "warm-up included, compilation not). Timed once, on a machine that may have been shared: trust ratios to "
            "a factor of two."
        )
    else:
        lines.append(
            f"The means of the earlier run are off by at most {rows[0].figure} posterior SDs; with the "
            f"documented degrees of freedom bmtme's means would move by up to {tell(all_, join(documented))} SDs. "
            "Without Monte Carlo errors of BGLR that is all that can be said."
        )
    return "\n".join(lines)


def describe_priors(wheat: Wheat, ours: dict[str, Estimate], default: dict[str, Estimate], seed: int) -> str:
    """What the two priors expect, and what that does here."""
    p = len(wheat.envs)
    matrix, values = np.asarray(wheat.relationship.matrix), wheat.turned.values
    sampler, documented = (
        describe_prior(draw_bglr_prior(df, values, matrix, seed)) for df in (2 * p + 1, p + 1)
    )  # fmt: skip
    return f"""\
## What do the priors do?

BGLR's prior, as its sampler uses it, has a heritability of {sampler} before data, and its scale V pulls genetic
correlations towards those of the records; with the documented degrees of freedom the heritability would be
{documented}. The half-t prior, bmtme's default, has {describe_prior(draw_default_prior(seed))}, and correlations that
are uniform between -1 and 1. ({PRIOR_DRAWS:,} draws of each prior.) From one prior to the other the posterior means
move by up to {tell(join(ours), join(default))} posterior SDs. The two are compared here; neither is known to be nearer
the truth."""


register("wheat599", run_quick, run_full)
