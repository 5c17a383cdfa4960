"""Do the intervals of a cross-validation hold what was hidden, when truths are drawn from the model's own prior?

Sets are simulated: covariances from the priors that the model is given, means of environments from N(mu, tau^2) with
tau from its half-t prior, effects of lines by a relationship from markers, one or two plots a cell,
cells and traits missing. Over such sets a 90% interval holds 90% of the hidden values. For mu, flat in the model, any
number does: intervals move with it.

What the model takes from the data is the scale of tau's prior, the standard deviation of the trait over all training
values, in which the differences between environments are contained. For truths from the prior itself this scale is
fixed (`fix_scales`); schemes that hide environments are run a second time as users run them.

The residual covariance has an inverse-Wishart prior. Under a half-t prior, whose density does not vanish at zero, some
sets have residuals a thousandth of the genetic effects; there chains mix too slowly, and say so (`VAGUE`). Whether
chains agree is seen from the data: intervals are right among the sets where they do as among all sets.

The mean of an environment is one draw for all of its lines, and environments of a set share their tau: errors are those
of means over environments, and over sets.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

import bmtme
from bmtme.cv.diagnostics import MOST_R_HAT
from bmtme.engines.rotated.problem import MeanPrior
from bmtme.model.scaling import TAU_NU
from bmtme.testing.dense import CovarianceLaw
from validation.paper.kept import keep
from validation.registry import Options, Row, make_table, register, report_progress, write_tables

#: Of the half-t priors of covariances: degrees of freedom, and scale of a standard deviation; tau has the same scale.
NU, SCALE = 4.0, 1.0
#: Of the inverse-Wishart prior of R_e: degrees of freedom beyond the number of traits, and a diagonal scale.
MORE, SPREAD = 4, 2.0
#: Shares of hidden values that must be in 90% and in 50% intervals.
BOUNDS = {"90": (0.88, 0.92), "50": (0.47, 0.53)}
#: A 90% interval in standard deviations of a normal distribution.
WIDTH = 1.6449
#: In place of the prior scale of tau, a planted error.
NARROW = 0.1
BLOCK = 10
#: Cells that lose their second plot, or their only one; values that are missing.
ONE_PLOT, NO_PLOT, NO_VALUE = 0.5, 0.05, 0.05
LEVELS = "cells", "lines' means"
FORGOTTEN = "residual variance forgotten"
COUNTS = ["n", "in_90", "in_50", "without_residual"]


@dataclass(frozen=True)
class Design:
    """Simulated sets, what is hidden of them, and the chains that are run.

    Attributes
    ----------
    known : whether scales are fixed, so that truths are from the prior itself
    narrow : factor of tau's prior scale in the model, 1 unless an error is planted
    vague : whether R_e has the half-t prior
    """

    lines: int
    envs: int
    schemes: tuple[Any, ...]
    chains: int
    known: bool = True
    narrow: float = 1.0
    vague: bool = False
    traits: int = 2
    draws: int = 1000
    tune: int = 500


#: Lines hidden: a set has many.
LINES = Design(100, 3, (bmtme.CV1(3, 0.2), bmtme.NewLines(5)), 2)
#: Environments hidden: many small sets.
ENVS = Design(24, 4, (bmtme.NewEnvironments(), bmtme.NewLinesNewEnvironments(2)), 1, draws=500, tune=300)
VAGUE = replace(LINES, vague=True)
AS_USED = replace(ENVS, known=False)
PLANTED = replace(ENVS, schemes=ENVS.schemes[:1], narrow=NARROW)


# --- sets -------------------------------------------------------------------------------------------------------


def draw_set(design: Design, rng: np.random.Generator) -> tuple[bmtme.Trial, bmtme.Relationship]:
    """A trial whose truths are drawn from the prior, and its relationship, of mean diagonal 1."""
    J, I, L = design.lines, design.envs, design.traits
    markers = bmtme.simulate(lines=J, relationship="markers", seed=int(rng.integers(2**31))).relationship
    G = markers.matrix / markers.matrix.diagonal().mean()
    half_t = CovarianceLaw("full", "half-t", NU, np.full(L, SCALE), 0.0, np.eye(L))
    wishart = CovarianceLaw("full", "inverse-wishart", 0.0, np.ones(L), L + MORE, SPREAD * np.eye(L))
    Sigma_t, R_e = (law.draw(rng)[0] for law in (half_t, half_t if design.vague else wishart))
    s2_E = draw_variances(rng, NU, I)
    beta = rng.standard_normal((I, L)) * np.sqrt(draw_variances(rng, TAU_NU, L))
    effects = draw_effects(rng, G, Sigma_t, s2_E)
    plots = rng.choice(3, (I, J), p=[NO_PLOT, ONE_PLOT, 1.0 - NO_PLOT - ONE_PLOT])
    env, line = np.nonzero(plots)
    env, line = (np.repeat(index, plots[plots > 0]) for index in (env, line))
    noise = rng.standard_normal((len(env), L)) @ np.linalg.cholesky(R_e).T
    seen = beta[env] + effects[env, line] + noise
    seen[rng.random(seen.shape) < NO_VALUE] = np.nan
    names = tuple(f"E{i + 1}" for i in range(I)), tuple(f"T{l + 1}" for l in range(L))
    return bmtme.Trial(markers.lines, *names, line, env, seen), bmtme.Relationship(G, lines=markers.lines)


def draw_effects(rng: np.random.Generator, G: np.ndarray, Sigma_t: np.ndarray, s2_E: np.ndarray) -> np.ndarray:
    """(I, J, L) effects of lines in the environments: common to all, N(0, G, Sigma_t), and each one's own."""
    values, vectors = np.linalg.eigh(G)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    standard = rng.standard_normal((len(s2_E) + 1, len(G), len(Sigma_t)))
    effects = root @ standard @ np.linalg.cholesky(Sigma_t).T
    return np.asarray(effects[0] + np.sqrt(s2_E)[:, None, None] * effects[1:])


def draw_variances(rng: np.random.Generator, nu: float, size: int) -> np.ndarray:
    """(size,) squares of half-t draws."""
    law = CovarianceLaw("diagonal", "half-t", nu, np.full(size, SCALE), 0.0, np.eye(size))
    return np.diag(law.draw(rng)[0])


@contextmanager
def fix_scales(traits: int) -> Iterator[None]:
    """Units of the model are those of the data, so that no prior depends on the values."""
    with patch("bmtme.preparation.measure_traits", lambda *_, **__: (np.zeros(traits), np.full(traits, SCALE))):
        yield


@contextmanager
def narrow_tau(factor: float) -> Iterator[None]:
    """A planted error: another scale of tau's prior."""

    def make(*arguments: Any) -> MeanPrior:
        prior = MeanPrior(*arguments)
        return prior._replace(tau_scale=factor * prior.tau_scale)

    with patch("bmtme.preparation.MeanPrior", make):
        yield


# --- counts -----------------------------------------------------------------------------------------------------


def count_covered(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Numbers of hidden values, and of those in the intervals, by columns of the table (`COUNTS`).

    ``without_residual`` counts those in an interval that forgets the residual variance, a planted error.
    """
    off = (table["observed"] - table["mean"]).abs()
    inside = pd.DataFrame({
        "n": 1,
        "in_90": table["observed"].between(table["mean_lower"], table["mean_upper"]),
        "in_50": table["observed"].between(table["mean_lower_50"], table["mean_upper_50"]),
        "without_residual": off <= WIDTH * table["sd"],
    }).astype(float)  # fmt: skip
    return inside.groupby([table[name] for name in by], sort=False).sum().reset_index()


def run_set(design: Design, seed: int, number: int, cores: int) -> pd.DataFrame:
    """Counts of one set by scheme, level (`LEVELS`) and environment, with the largest R-hat of its fits."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    data = draw_set(design, rng)
    prior = bmtme.HalfT(NU, SCALE)
    residual = prior if design.vague else bmtme.InverseWishart(design.traits + MORE, SPREAD)
    model = bmtme.BMTME(prior_t=prior, prior_E=prior, prior_e=residual)
    found = []
    for scheme in design.schemes:
        with ExitStack() as stack:
            if design.known:
                stack.enter_context(fix_scales(design.traits))
            if design.narrow != 1.0:
                stack.enter_context(narrow_tau(design.narrow))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", UserWarning)  # short chains, and whatever a prior may draw
            cv = bmtme.cross_validate(
                *data, model, scheme, draws=design.draws, tune=design.tune, chains=design.chains, seed=seed,
                workers=cores, progress=False,
            )  # fmt: skip
        known = [fit["r_hat"] for fits in cv.run["diagnostics"].values() for fit in fits.values()]
        r_hat = max((value for value in known if value is not None), default=np.inf)  # of one chain none is known
        # A mean over one environment is a cell again.
        several = cv.line_means[cv.line_means["n_envs"] > 1].assign(env="several")
        for level, table in zip(LEVELS, (cv.predictions, several), strict=True):
            counts = count_covered(table, ["env"])
            found.append(counts.assign(set=str(number), scheme=type(scheme).__name__, level=level, r_hat=r_hat))
    return pd.concat(found, ignore_index=True)


def run_sets(options: Options, name: str, design: Design, sets: int, kept: bool = True) -> pd.DataFrame:
    """Counts of all sets, in blocks that are kept."""
    report = report_progress(f"coverage, {name}")
    blocks = []
    for first in range(0, sets, BLOCK):
        numbers = range(first, min(first + BLOCK, sets))

        def run(numbers: range = numbers) -> pd.DataFrame:
            return pd.concat([run_set(design, options.seed, k, options.cores) for k in numbers], ignore_index=True)

        path = options.replicates / f"coverage-{name}-{first}.csv" if kept else None
        settings = {"design": repr(design), "sets": len(numbers), "seed": options.seed}
        blocks.append(keep(path, settings, run, [*COUNTS, "r_hat"]))
        report(numbers.stop, sets)
    return pd.concat(blocks, ignore_index=True)


def estimate_share(counts: pd.DataFrame, column: str, by: Sequence[str]) -> tuple[float, float]:
    """Share of the values that are in an interval, and its standard error with clusters.

    A ratio of sums over K independent clusters, inside_k of n_k: with p the share, the squared error is
    K / (K - 1) sum (inside_k - p n_k)^2 / (sum n_k)^2 (Cochran 1977, Sampling Techniques, section 6.3).
    """
    sums = counts.groupby(list(by))[["n", column]].sum()
    n, inside = sums["n"].to_numpy(), sums[column].to_numpy()
    share, k = inside.sum() / n.sum(), len(n)
    return float(share), float(np.sqrt(k / (k - 1) * ((inside - share * n) ** 2).sum()) / n.sum())


# --- the study --------------------------------------------------------------------------------------------------


def judge(name: str, counts: pd.DataFrame, far: float = 0.0) -> list[Row]:
    """Whether 90% and 50% intervals hold what they must.

    far : standard errors by which a bound may be missed: in small runs the bounds are not told from the figures
    """
    rows = []
    for (scheme, level), part in counts.groupby(["scheme", "level"], sort=False):
        size = f"{part['set'].nunique()} sets, {int(part['n'].sum()):,} values"
        for percent, (low, high) in BOUNDS.items():
            share, error = estimate_share(part, f"in_{percent}", ["set"])
            rows.append(Row(
                f"{name}: {scheme}, {level}", size, f"in {percent}% intervals, {100 * low:.0f} to {100 * high:.0f}%",
                f"{100 * share:.1f} +- {100 * error:.1f}%", low - far * error <= share <= high + far * error,
            ))  # fmt: skip
    return rows


def tabulate_shares(found: dict[str, pd.DataFrame]) -> str:
    """All shares, with errors by set and by environment of a set."""
    lines = []
    for name, counts in found.items():
        for (scheme, level), part in counts.groupby(["scheme", "level"], sort=False):
            cells = []
            for column in ("in_90", "in_50", "without_residual"):
                share, error = estimate_share(part, column, ["set"])
                within = estimate_share(part, column, ["set", "env"])[1]
                cells.append(f"{100 * share:.1f} ({100 * error:.1f}; {100 * within:.1f})")
            lines.append((name, scheme, level, str(part["set"].nunique()), f"{int(part['n'].sum()):,}", *cells))
    head = ("sets", "scheme", "of", "number", "values", "in 90%", "in 50%", f"in 90%, {FORGOTTEN}")
    return make_table(head, lines)


def judge_planted(what: str, counts: pd.DataFrame, column: str = "in_90") -> list[Row]:
    """Whether a planted error is noticed in the cells of every scheme."""
    rows = []
    for scheme, part in counts[counts["level"] == LEVELS[0]].groupby("scheme", sort=False):
        share, error = estimate_share(part, column, ["set"])
        rows.append(Row(
            f"planted, {what}: {scheme}", f"{part['set'].nunique()} sets", "in 90% intervals, noticed",
            f"{100 * share:.1f} +- {100 * error:.1f}%", share < BOUNDS["90"][0],
        ))  # fmt: skip
    return rows


def run_quick(options: Options) -> list[Row]:
    """A few sets: gross errors."""
    lines, envs = (run_sets(options, "quick", design, n, kept=False) for design, n in ((LINES, 2), (ENVS, 3)))
    return [
        *judge("lines hidden", lines, far=4.0),
        *judge("environments hidden", envs, far=4.0),
        *judge_planted(FORGOTTEN, lines, "without_residual"),
    ]


def run_full(options: Options) -> list[Row]:
    """Everything, with tables."""
    began = time.perf_counter()
    fresh = not any(options.replicates.glob("coverage-*.csv"))
    sizes = {
        "lines": (LINES, 40), "envs": (ENVS, 300), "as-used": (AS_USED, 100), "planted": (PLANTED, 60),
        "vague": (VAGUE, 40),
    }  # fmt: skip
    found = {name: run_sets(options, name, design, sets) for name, (design, sets) in sizes.items()}
    lines, envs, as_used, planted, vague = found.values()
    agree = vague[vague["r_hat"] < MOST_R_HAT]
    rows = [*judge("lines hidden", lines), *judge("environments hidden", envs)]
    rows += judge_planted(FORGOTTEN, lines, "without_residual")
    rows += judge_planted(f"prior scale of tau times {NARROW}", planted)
    tables = tabulate_shares({
        "lines hidden": lines,
        "environments hidden": envs,
        "the same, scale of tau from the data": as_used,
        f"prior scale of tau times {NARROW}": planted,
        "lines hidden, half-t prior of R_e": vague,
        f"of these, R-hat below {MOST_R_HAT}": agree,
    })  # fmt: skip
    seconds = time.perf_counter() - began if fresh else None
    write_tables(options, "coverage", rows, {"Hidden values in intervals": tables}, seconds)
    return rows


register("coverage", run_quick, run_full)
