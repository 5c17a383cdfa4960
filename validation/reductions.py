"""Where the model reduces to one that can be integrated: exact posteriors by quadrature against every sampler.

One trait in one environment, y = beta + b + e: given the two variances everything is normal, so the posterior is a
two-dimensional integral. The three structures are one model there. Priors: HalfT(4, 1) of both standard
deviations, beta flat.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from scipy import stats

from bmtme.engines.rotated.chains import run_chains
from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.testing.cases import Case, make_case
from bmtme.testing.dense import Unknowns
from bmtme.testing.uniformity import combine_z, effective_draws
from validation.registry import LEVEL, Options, Row, make_table, register, write_tables

DESIGN = (("0", "0 0", "0", "0", "0", "0 0 0", "0", "0", "0", "0"),)
#: The same with records that are means of several plots.
MEANS = (("0x3", "0 0x2", "0", "0x4", "0", "0x2 0 0", "0x6", "0", "0", "0x2"),)
SAMPLERS = ("collapsed", "gibbs", "stepwise")
SCENES = {
    "unstructured": ("full", DESIGN),
    "diagonal": ("diagonal", DESIGN),
    "standard": ("scalar", DESIGN),
    "unstructured, means of plots": ("full", MEANS),
}
#: Logarithms of a standard deviation, and their number. None of the functions compared dwells on what lies outside.
RANGE, POINTS = (-6.0, 4.0), 51


def make_data(shape: str, design: tuple[tuple[str, ...], ...]) -> tuple[Case, np.ndarray]:
    """The case, and values (N, 1) with genetic and residual variance near one."""
    case = make_case(design, shape=shape, means="flat", nu=4.0, scale=1.0, seed=3)
    m = case.model
    proper = replace(m.law_beta, kind="exchangeable", mu_sd=np.ones(1))
    rng = np.random.default_rng(4)
    t = replace(replace(m, law_beta=proper).draw(rng), Sigma_t=np.eye(1), R_e=np.eye(1))
    F = np.linalg.cholesky(m.G + 1e-10 * np.eye(len(m.G)))
    t = replace(t, b1=F @ rng.standard_normal((len(m.G), 1)))
    return case, m.draw_values(rng, t)


def name_statistics(
    genetic: np.ndarray, residual: np.ndarray, beta: np.ndarray, b1: np.ndarray
) -> dict[str, np.ndarray]:
    """Functions of the unknowns whose posterior means are compared; beta and b1 may be conditional means."""
    share = genetic / (genetic + residual)
    return {
        "Sigma_t": genetic,
        "R_e": residual,
        "root of Sigma_t": np.sqrt(genetic),
        "root of R_e": np.sqrt(residual),
        "heritability": share,
        "beta": beta,
        "b1 of the first line": b1,
    }


def integrate(case: Case, values: np.ndarray) -> dict[str, float]:
    """Posterior means by the trapezoidal rule over the logarithms of both standard deviations."""
    m = case.model
    t = draw_unknowns(case)
    grid = np.linspace(*RANGE, POINTS)
    log_p, beta, b1 = (np.empty((POINTS, POINTS)) for _ in range(3))
    log_prior = stats.t.logpdf(np.exp(grid), 4.0) + grid  # half-t, in the logarithm
    blocks = m.blocks()
    for a in range(POINTS):
        for b in range(POINTS):
            here = replace(t, Sigma_t=np.exp(2 * grid[a]) * np.eye(1), R_e=np.exp(2 * grid[b]) * np.eye(1))
            log_p[a, b] = m.log_marginal(here, values) + log_prior[a] + log_prior[b]
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    for a, b in np.argwhere(weight > 1e-9):
        here = replace(t, Sigma_t=np.exp(2 * grid[a]) * np.eye(1), R_e=np.exp(2 * grid[b]) * np.eye(1))
        mean, _ = m.condition(here, values, ("mu", "beta", "b1"))
        beta[a, b], b1[a, b] = mean[blocks["beta"]][0], mean[blocks["b1"]][0]
    genetic, residual = np.meshgrid(np.exp(2 * grid), np.exp(2 * grid), indexing="ij")
    kept = weight > 1e-9
    functions = name_statistics(genetic[kept], residual[kept], beta[kept], b1[kept])
    return {name: float((weight[kept] * f).sum() / weight[kept].sum()) for name, f in functions.items()}


def draw_unknowns(case: Case) -> Unknowns:
    """Any unknowns of the right sizes."""
    proper = replace(case.model.law_beta, kind="exchangeable", mu_sd=np.ones(1))
    return replace(case.model, law_beta=proper).draw(np.random.default_rng(0))


def sample(
    case: Case, values: np.ndarray, sampler: str, draws: int, options: Options
) -> dict[str, tuple[float, float]]:
    """Posterior means and their Monte Carlo errors, from four chains."""
    rehearse(sampler)
    slots = np.arange(draws)
    seeds = np.random.SeedSequence(options.seed, spawn_key=(SAMPLERS.index(sampler),)).spawn(4)
    chains = run_chains(case.problem(values), sampler, 1000, [slots] * 4, False, seeds, options.cores)
    means, variances = [], []
    for chain in chains:
        b1 = case.basis.rotate_back(chain.W1)[:, 0, 0]
        found = name_statistics(chain.Sigma_t[:, 0, 0], chain.R_e[:, 0, 0], chain.beta[:, 0, 0], b1)
        means.append([x.mean() for x in found.values()])
        variances.append([x.var() / effective_draws(x) for x in found.values()])
    mean, error = np.mean(means, axis=0), np.sqrt(np.sum(variances, axis=0)) / len(chains)
    return {name: (float(mean[k]), float(error[k])) for k, name in enumerate(found)}


def compare(options: Options, draws: int) -> tuple[list[Row], list[tuple[str, ...]]]:
    """Checks, and lines of the table."""
    rows, lines = [], []
    known = {design: integrate(*make_data("full", design)) for design in (DESIGN, MEANS)}
    for structure, (shape, design) in SCENES.items():
        exact = known[design]
        case, values = make_data(shape, design)
        for sampler in SAMPLERS:
            found = sample(case, values, sampler, draws, options)
            z = {name: (mean - exact[name]) / error for name, (mean, error) in found.items()}
            p = combine_z(np.array(list(z.values())))
            rows.append(
                Row(
                    f"exact posterior, one trait: {structure}, {sampler}",
                    f"4 x {draws} draws",
                    f"smallest p of {len(z)} (x {len(z)})",
                    f"{p:.2g}",
                    p > LEVEL,
                )
            )
            lines += [
                (structure, sampler, name, f"{exact[name]:.4f}", f"{mean:.4f}", f"{error:.4f}", f"{z[name]:+.1f}")
                for name, (mean, error) in found.items()
            ]
    return rows, lines


def run_quick(options: Options) -> list[Row]:
    """Short chains."""
    return compare(options, 5000)[0]


def run_full(options: Options) -> list[Row]:
    """Long chains."""
    began = time.perf_counter()
    rows, lines = compare(options, 50000)
    head = ("structure", "sampler", "posterior mean of", "exact", "sampled", "Monte Carlo error", "z")
    tables = {"Posterior means": make_table(head, lines)}
    write_tables(options, "reductions", rows, tables, time.perf_counter() - began)
    return rows


register("reductions", run_quick, run_full)
