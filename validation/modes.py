"""Posteriors of several modes: are the right ones found, and in the right proportions?

Copies: two traits that are nearly copies of each other, single plots of lines that hardly differ in relationship. The
posterior has a corner where all is genetic and one where all is residual. The share of each, over many seeds, beside
that by parallel tempering of a density written down anew (Geyer 1991, Computing Science and Statistics 23:156-163).

Tight: two traits that are nearly copies in one environment and not in the others, where the model has one residual
covariance. The modes that a fit starts its chains in, beside the best of many climbs from random starts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

import bmtme
from bmtme.engines.rotated.modes import Climber, find_modes
from bmtme.preparation import Prepared, build, observe, prepare
from bmtme.results.convergence import list_stuck
from bmtme.results.fit import Fit
from bmtme.structures.part import Start
from bmtme.testing.uniformity import combine_z
from validation.registry import LEVEL, Options, Row, make_table, register, write_tables
from validation.trials import read_trial

#: Heritabilities in the corners.
LOW, HIGH = 0.05, 0.95
#: Inverse temperatures of the likelihood.
LADDER = np.geomspace(1.0, 0.01, 12)
#: Independent ladders: their spread tells the error.
RUNS = 12
#: Of the set of copies: one in which both corners have a share to speak of.
SEED = 4
#: A height of a mode is told from another by more than this.
APART = 1.0

Set = tuple[bmtme.Trial, bmtme.Relationship]


def simulate_copies(seed: int, envs: int = 1, lines: int = 24) -> Set:
    """Two traits with a correlation above 0.99; single plots."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((lines, 60))
    G = Z @ Z.T / 60
    K = np.linalg.cholesky(G)
    names, rows = [f"L{j:02d}" for j in range(lines)], []
    main = K @ rng.standard_normal(lines)
    for i in range(envs):
        y = 0.6 * main + 0.4 * K @ rng.standard_normal(lines) + 0.7 * rng.standard_normal(lines)
        other = 100 + 15 * y + rng.standard_normal(lines)
        rows += [(names[j], f"E{i}", 8 + y[j], other[j]) for j in range(lines)]
    frame = pd.DataFrame(rows, columns=["line", "env", "A", "B"])
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["A", "B"]), bmtme.Relationship(G, names)


def simulate_tight(seed: int, lines: int = 318, envs: int = 4, missing: float = 0.0, tight: float = 0.99) -> Set:
    """Two traits, residual correlation `tight` in the first environment and 0.5 in the others; families of lines."""
    rng = np.random.default_rng(seed)
    Z = rng.binomial(2, 0.3, (lines, 200)) + 0.8 * rng.standard_normal((8, 200))[rng.integers(0, 8, lines)]
    Z = Z - Z.mean(axis=0)
    G = Z @ Z.T + 1e-6 * np.eye(lines)
    G /= np.diag(G).mean()
    K = np.linalg.cholesky(G)
    genetic = np.linalg.cholesky(0.4 * np.array([[1, 0.99], [0.99, 1]]))
    main = K @ rng.standard_normal((lines, 2)) @ genetic.T
    names, rows = [f"L{j:03d}" for j in range(lines)], []
    for i in range(envs):
        r = tight if i == 0 else 0.5
        noise = rng.standard_normal((lines, 2)) @ np.linalg.cholesky(0.6 * np.array([[1, r], [r, 1]])).T
        y = main + 0.5 * K @ rng.standard_normal((lines, 2)) @ genetic.T + noise
        y[rng.random(y.shape) < missing] = np.nan
        rows += [(names[j], f"E{i}", *y[j]) for j in range(lines)]
    frame = pd.DataFrame(rows, columns=["line", "env", "A", "B"])
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["A", "B"]), bmtme.Relationship(G, names)


def write_density(data: Set) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Log likelihood and log prior of (K, 6) parameters: log SDs and atanh of the correlation, genetic and residual.

    One environment, two traits, a flat mean; the default priors: for a covariance M of p traits, nu = 2 and A = 5
    (Huang & Wand 2013), log p(M) = -(nu + 2p)/2 log|M| - (nu + p)/2 sum_k log(nu (M^-1)_kk + A^-2).
    """
    trial, relationship = data
    G = relationship.subset(trial.lines).matrix
    d, U = np.linalg.eigh(G / np.mean(np.diag(G)))
    values = trial.values[np.argsort(trial.line_index)]
    Y = U.T @ ((values - values.mean(axis=0)) / values.std(axis=0, ddof=1))
    x = U.sum(axis=0)

    def unpack(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        a, b = np.exp(theta[:, 0]), np.exp(theta[:, 1])
        r = np.tanh(theta[:, 2])
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            determinant = (a * b) ** 2 / np.cosh(theta[:, 2]) ** 2
            inverse = np.log(2.0 * b**2 / determinant + 1 / 25) + np.log(2.0 * a**2 / determinant + 1 / 25)
            prior = -3.0 * np.log(determinant) - 2.0 * inverse
        # From M to the parameters: 2 a^2 2 b^2 a b (1 - r^2).
        jacobian = 3.0 * (theta[:, 0] + theta[:, 1]) - 2.0 * np.log(np.cosh(theta[:, 2]))
        return a**2, b**2, a * b * r, prior + jacobian

    def density(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c1, c2, c12, prior_c = unpack(theta[:, :3])
        r1, r2, r12, prior_r = unpack(theta[:, 3:])
        v1, v2, v12 = (np.outer(c, d) + r[:, None] for c, r in ((c1, r1), (c2, r2), (c12, r12)))
        determinant = v1 * v2 - v12**2
        with np.errstate(divide="ignore", invalid="ignore"):
            i1, i2, i12 = v2 / determinant, v1 / determinant, -v12 / determinant
            squares = (i1 * Y[:, 0] ** 2 + i2 * Y[:, 1] ** 2 + 2 * i12 * Y[:, 0] * Y[:, 1]).sum(axis=1)
            h1, h2, h12 = ((i * x**2).sum(axis=1) for i in (i1, i2, i12))
            b1 = ((i1 * Y[:, 0] + i12 * Y[:, 1]) * x).sum(axis=1)
            b2 = ((i12 * Y[:, 0] + i2 * Y[:, 1]) * x).sum(axis=1)
            H = h1 * h2 - h12**2
            fit = (h2 * b1**2 + h1 * b2**2 - 2 * h12 * b1 * b2) / H
            likelihood = -0.5 * (np.log(determinant).sum(axis=1) + squares - fit + np.log(H))
        prior = prior_c + prior_r
        good = np.isfinite(likelihood) & np.isfinite(prior) & (determinant > 0).all(axis=1)
        return np.where(good, likelihood, -np.inf), np.where(good, prior, -np.inf)

    return density


def temper(data: Set, sweeps: int, seed: int) -> np.ndarray:
    """(`RUNS`, sweeps) heritability of the first trait (on the scale of the mean diagonal) by parallel tempering."""
    rng = np.random.default_rng(seed)
    density = write_density(data)
    K = len(LADDER)
    n = RUNS * K
    beta = np.tile(LADDER, RUNS)
    cold = np.arange(0, n, K)
    theta = np.tile([-0.5, -0.5, 1.0, -0.5, -0.5, 1.0], (n, 1)) + rng.standard_normal((n, 6))
    likelihood, prior = density(theta)
    step, accepted = np.full((n, 6), 0.5), np.zeros((n, 6))
    out = np.empty((RUNS, sweeps))
    burn = sweeps // 5
    for t in range(-burn, sweeps):
        for p in range(6):
            trial = theta.copy()
            trial[:, p] += step[:, p] * rng.standard_normal(n)
            new_likelihood, new_prior = density(trial)
            with np.errstate(invalid="ignore"):
                change = beta * (new_likelihood - likelihood) + new_prior - prior
            taken = np.log(rng.random(n)) < change
            theta[taken], likelihood[taken], prior[taken] = trial[taken], new_likelihood[taken], new_prior[taken]
            accepted[:, p] += taken
        k = (cold[:, None] + np.arange(t % 2, K - 1, 2)).ravel()
        k = k[np.log(rng.random(len(k))) < (beta[k] - beta[k + 1]) * (likelihood[k + 1] - likelihood[k])]
        for values in (theta, likelihood, prior):
            values[k], values[k + 1] = values[k + 1].copy(), values[k].copy()
        if t < 0 and (t + burn) % 100 == 99:
            step *= np.exp(accepted / 100 - 0.4)
            accepted[:] = 0.0
        if t >= 0:
            out[:, t] = 1.0 / (1.0 + np.exp(2.0 * (theta[cold, 3] - theta[cold, 0])))
    return out


def average(indicator: np.ndarray) -> tuple[float, float]:
    """Mean over runs (run, sweep), and its error from their spread."""
    runs = indicator.mean(axis=1)
    return float(runs.mean()), float(runs.std(ddof=1) / np.sqrt(len(runs)))


def fit_quietly(data: Set, seed: int, **settings: int) -> Fit:
    """A fit without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bmtme.fit(*data, seed=seed, keep_effects="none", **settings)


def share_genetic(fit: Fit) -> np.ndarray:
    """(chain, draw) heritability of the first trait in the first environment, as of `temper`."""
    posterior = fit.idata.posterior
    genetic = posterior["Sigma_t"].values[..., 0, 0] * fit.run["facts"]["mean_diagonal"]
    if "Sigma_E" in posterior:
        genetic = genetic * (1.0 + posterior["Sigma_E"].values[..., 0, 0])
    return np.asarray(genetic / (genetic + posterior["R_e"].values[..., 0, 0]))


def check_copies(label: str, data: Set, seeds: int, sweeps: int, options: Options) -> tuple[list[Row], list[list[str]]]:
    """Corners over many seeds; beside parallel tempering where `sweeps` is not zero."""
    shares, table, both = [], [], 0
    for seed in range(1, seeds + 1):
        fit = fit_quietly(data, options.seed + seed)
        h = share_genetic(fit)
        low, high = (h < LOW).mean(axis=1), (h > HIGH).mean(axis=1)
        both += bool(low.min() > 0 and high.min() > 0)
        shares.append((low.mean(), high.mean()))
        summary = fit.summary()
        words = "two explanations" if fit.run["sampling"]["corners"] else "-"
        figures = [f"{x:.2f}" for x in (low.mean(), high.mean(), h.mean())]
        table.append([str(seed), *figures, f"{summary['r_hat'].max():.3f}", words])
    found = np.array(shares)
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(seeds)
    told = sum(row[-1] != "-" for row in table)
    rows = [
        Row(f"{label}: {what}", f"{seeds} fits", "fits", f"{count} of {seeds}", count == seeds)
        for what, count in (("every chain in both corners", both), ("two explanations are said", told))
    ]
    if sweeps:
        draws = temper(data, sweeps, options.seed)
        other = [average(draws < LOW), average(draws > HIGH)]
        z = np.array([(m - o[0]) / np.hypot(e, o[1]) for m, e, o in zip(mean, error, other, strict=True)])
        figure = "; ".join(
            f"{name} {m:.3f} +- {e:.3f} ({o[0]:.3f} +- {o[1]:.3f})"
            for name, m, e, o in zip(("low", "high"), mean, error, other, strict=True)
        )
        size = f"{seeds} fits, {sweeps:,} tempered sweeps"
        rows.append(Row(f"{label}: shares of the corners", size, "bmtme (tempering)", figure, combine_z(z) > LEVEL))
    return rows, table


def climb_at_random(prepared: Prepared, climbs: int, seed: int) -> float:
    """The best height of many climbs from random covariances."""
    problem, scaling = build(prepared, bmtme.BMTME())
    climber = Climber(problem, observe(prepared, scaling), np.random.SeedSequence(seed))
    rng = np.random.default_rng(seed)
    L, I = problem.n_trait, problem.n_env
    tops = []
    for _ in range(climbs):
        matrices = []
        for _ in range(2):
            A = rng.standard_normal((L, L + 1))
            M = A @ A.T
            root = np.sqrt(rng.uniform(0.02, 1.0, L) / np.diag(M))
            matrices.append(M * np.outer(root, root))
        top = climber.climb(Start(matrices[0], rng.choice([0.01, 0.5, 4.0], I), matrices[1]))
        if top is not None:
            tops.append(top)
    heights, _ = climber.compare(tops)
    return float(np.nanmax(heights))


def check_tight(sets: int, climbs: int, options: Options) -> tuple[list[Row], list[list[str]]]:
    """The likelier mode is found, and chains are in it, or several are told."""
    found, right, table = 0, 0, []
    for seed in range(sets):
        data = simulate_tight(options.seed + seed)
        prepared = prepare(*data)
        problem, scaling = build(prepared, bmtme.BMTME())
        modes = find_modes(problem, observe(prepared, scaling), np.random.SeedSequence(seed))
        best = climb_at_random(prepared, climbs, seed)
        # One mode is not compared with others; it is, then, with the best of the random climbs.
        height = modes[0].height
        if np.isnan(height):
            climber = Climber(problem, observe(prepared, scaling), np.random.SeedSequence(seed))
            top = climber.climb(modes[0].start)
            height = climber.compare([top])[0][0] if top is not None else np.nan
        fit = fit_quietly(data, options.seed + seed)
        stuck = list_stuck([mode["chains"] for mode in fit.run["sampling"]["modes"]])
        heavy = fit.run["sampling"]["modes"][0]["chains"] if len(fit.run["sampling"]["modes"]) > 1 else [1.0]
        found += bool(height > best - APART)
        right += bool(stuck or min(heavy) > 0.9)
        residual = fit.summary().loc["residual_correlation[A, B]", "mean"]
        said = "several told" if stuck else "-"
        table.append([str(seed), f"{height:.1f}", f"{best:.1f}", f"{len(modes)}", said, f"{residual:.3f}"])
    verdicts = (("the likelier mode is found", found), ("chains are in it, or several are told", right))
    return [
        Row(f"tight: {what}", f"{sets} sets", "sets", f"{count} of {sets}", count == sets) for what, count in verdicts
    ], table


def measure_cost(name: str, data: Set) -> list[str]:
    """Seconds of the search beside those of sampling."""
    fit = fit_quietly(data, 1)
    seconds = fit.run["seconds"]
    return [
        name,
        f"{seconds['search']:.2f}",
        f"{seconds['warm_up'] + seconds['sample']:.2f}",
        str(len(fit.run["sampling"]["modes"])),
    ]


def run_quick(options: Options) -> list[Row]:
    """A few seeds."""
    rows = check_copies("copies, one environment", simulate_copies(SEED), 4, 2_000, options)[0]
    return rows + check_tight(2, 20, options)[0]


def run_full(options: Options) -> list[Row]:
    """Twenty seeds of everything."""
    began = time.perf_counter()
    rows, tables = [], {}
    head = ["seed", "share below 0.05", "share above 0.95", "mean", "largest R-hat", "said"]
    for label, envs, sweeps in (("copies, one environment", 1, 40_000), ("copies, two environments", 2, 0)):
        found, table = check_copies(label, simulate_copies(SEED, envs), 20, sweeps, options)
        rows += found
        tables[f"{label.capitalize()}: heritability of the first trait"] = make_table(head, table)
    found, table = check_tight(20, 60, options)
    rows += found
    head = ["set", "height of the best mode", "best of 60 random climbs", "modes", "said", "residual correlation"]
    tables["Tight in one environment"] = make_table(head, table)
    sets = {name: read_trial(name) for name in ("maize309_mtme", "wheat250_mtme", "wheat599")}
    sets["simulated, tight"] = simulate_tight(1)
    cost = [measure_cost(name, data) for name, data in sets.items() if data is not None]
    tables["Cost"] = make_table(["set", "search, s", "sampling, s", "modes"], cost)
    write_tables(options, "modes", rows, tables, time.perf_counter() - began)
    return rows


register("modes", run_quick, run_full)
