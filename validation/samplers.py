"""The samplers have the same posterior: means of every covariance entry and environment mean, collapsed against gibbs.

On two simulated sets, and on the maize trial of 309 lines where it is there (see `validation.trials`).
"""

from __future__ import annotations

import time
import warnings

import numpy as np

import bmtme
from bmtme.results.summary import diagnose
from bmtme.testing.uniformity import combine_z
from validation.registry import LEVEL, Options, Row, make_table, register, write_tables
from validation.trials import read_trial

#: Draws of four chains; `gibbs` mixes a hundred times more slowly.
DRAWS = {"collapsed": (1000, 3000), "gibbs": (5000, 60_000)}
#: Fewer effective draws than this give no Monte Carlo error to speak of.
ENOUGH = 50

Set = tuple[bmtme.Trial, bmtme.Relationship]


def simulate(lines: int, heritability: float, seed: int) -> Set:
    """Three environments, three traits, 20% of the cells and 10% of the values in the others missing."""
    sim = bmtme.simulate(
        lines=lines, envs=3, traits=3, missing=0.2, missing_traits=0.1, heritability=heritability,
        relationship="markers", seed=seed,
    )  # fmt: skip
    names = ["T1", "T2", "T3"]
    return bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=names), sim.relationship


def collect(data: Set, sampler: str, share: float, seed: int) -> tuple[list[str], np.ndarray]:
    """Names, and draws (parameter, chain, draw) of the covariances and environment means."""
    tune, draws = (int(share * n) for n in DRAWS[sampler])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = bmtme.fit(*data, draws=draws, tune=tune, chains=4, seed=seed, sampler=sampler, keep_effects="none")
    posterior = fit.idata.posterior
    names, columns = [], []
    for name in ("Sigma_t", "R_e", "Sigma_E", "beta"):
        values = posterior[name].values
        for a in range(values.shape[2]):
            for b in range(values.shape[3]):
                if name == "beta" or a == b or (name != "Sigma_E" and a > b):
                    column = values[:, :, a, b]
                    # Sigma_E is skewed: its root has a mean with a smaller error
                    columns.append(np.sqrt(column) if name == "Sigma_E" else column)
                    names.append(f"{name}[{a + 1}, {b + 1}]")
    return names, np.array(columns)


def compare(label: str, data: Set, share: float, seed: int) -> tuple[Row, list[tuple[str, ...]]]:
    """Difference of the means in Monte Carlo standard errors."""
    results = {}
    for sampler in DRAWS:
        names, draws = collect(data, sampler, share, seed)
        effective = diagnose(draws)[0]
        error = draws.std(axis=(1, 2)) / np.sqrt(effective)
        results[sampler] = (draws.mean(axis=(1, 2)), error, effective)
    (m1, e1, n1), (m2, e2, n2) = results["collapsed"], results["gibbs"]
    z = (m1 - m2) / np.hypot(e1, e2)
    p = combine_z(z)
    few = min(n1.min(), n2.min())
    table = []
    for k, name in enumerate(names):
        cells = [(f"{m[k]:.4g} +- {e[k]:.2g}", f"{n[k]:.0f}") for m, e, n in results.values()]
        table.append((name, *cells[0], *cells[1], f"{z[k]:.1f}"))
    ok = bool(p > LEVEL and few >= ENOUGH)
    figure = f"{np.abs(z).max():.1f}; p (x {len(z)}) {p:.2g}; least effective draws {few:.0f}"
    return Row(f"collapsed and gibbs: {label}", f"{len(z)} means", "largest difference, in errors", figure, ok), table


def run_quick(options: Options) -> list[Row]:
    """One small set, a fifth of the draws."""
    return [compare("80 lines", simulate(80, 0.5, options.seed), 0.4, options.seed)[0]]


def run_full(options: Options) -> list[Row]:
    """Two simulated sets and, where it is there, the maize trial."""
    began = time.perf_counter()
    sets = {
        "150 lines, heritability 0.5": simulate(150, 0.5, options.seed),
        "309 lines, heritability 0.3": simulate(309, 0.3, options.seed + 1),
    }
    maize = read_trial("maize309_mtme")
    if maize is not None:
        sets["maize, 309 lines"] = maize
    rows, tables = [], {}
    head = ("parameter", "collapsed", "effective", "gibbs", "effective", "difference / error")
    for label, data in sets.items():
        row, table = compare(label, data, 1.0, options.seed)
        rows.append(row)
        tables[label] = make_table(head, table)
    write_tables(options, "samplers", rows, tables, time.perf_counter() - began)
    return rows


register("samplers", run_quick, run_full)
