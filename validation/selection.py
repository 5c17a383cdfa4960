"""One simulated population under selection, three programs: EM-REML, AI-REML and the posterior of the rotated engine.

Animals selected by their weight over generations (`bmtme.simulate_selection`: sex and age have effects, heritability
0.30 among the founders). EM-REML with full matrices (`bmtme.testing.em`) and `Model.animal` maximise one likelihood and
must give the same numbers; the posterior of `bmtme.fit`, with the relationship of the pedigree, sex and age as
covariates and one environment, must lie near them, and all must find the truth in spite of the selection.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

import bmtme
from bmtme import mixed
from bmtme.testing.em import fit_by_em
from validation.registry import Options, Row, make_table, register, write_tables

HERITABILITY = 0.30
ANIMALS, GENERATIONS = 80, 4
#: EM against AI, as a share: their four printed digits.
SAME = 5e-5
#: Of a posterior mean from the estimate by REML, in posterior standard deviations; and of breeding values, correlated.
NEAR, ALIKE = 0.5, 0.995
#: Of the truth from an estimate, in standard errors.
MOST_Z = 3.0
HEAD = ("seed", "", "genetic variance", "residual variance", "heritability", "sex, male less female", "age, a day")


def study(options: Options, replicates: int, draws: int) -> tuple[list[Row], str]:
    """Rows and lines of the table for some populations."""
    rows: list[Row] = []
    lines: list[tuple[str, ...]] = []
    gaps, off, places, alike = [], [], [], []
    for seed in range(options.seed, options.seed + replicates):
        pop = bmtme.simulate_selection(ANIMALS, GENERATIONS, heritability=HERITABILITY, seed=seed)
        frame, truth = pop.frame.assign(herd="all"), pop.truth
        frame["male"] = (frame["sex"] == "male").astype(float)
        A = bmtme.pedigree_relationship(pop.pedigree)
        full = pd.DataFrame(A.matrix, A.lines, A.lines).loc[frame["id"], frame["id"]].to_numpy()
        y, X = frame["weight"].to_numpy(), np.column_stack([np.ones(len(frame)), frame["male"], frame["age"] - 205])
        em = fit_by_em(y[:, None], X, np.arange(len(y)), full, 20_000, 1e-10)
        ai = mixed.Model.animal("weight ~ male + age", pop.pedigree, id="id").fit(frame)
        trial = bmtme.Trial.from_frame(frame, line="id", env="herd", traits=["weight"], covariates=["male", "age"])
        fit = bmtme.fit(
            trial, A, bmtme.BMTME("unstructured"), draws=draws, tune=draws // 2, chains=2, seed=seed, progress=False
        )
        posterior = fit.idata["posterior"]
        G, R = (posterior[name].to_numpy().ravel() for name in ("Sigma_t", "R_e"))
        slopes = posterior["covariate_effects"].to_numpy().reshape(-1, 2)
        sampled = np.column_stack([G, R, G / (G + R), slopes])
        h2 = ai.derive("known(id) / (known(id) + residual)")
        fixed = ai.fixed_effects["estimate"].to_numpy()[1:]
        by_em = np.array([em.genetic[0, 0], em.residual[0, 0]])
        by_em = np.concatenate([by_em, [by_em[0] / by_em.sum()], em.fixed[1:, 0]])
        by_ai = np.concatenate([ai.components["estimate"], [h2.estimate], fixed])
        gaps.append(np.abs(by_em / by_ai - 1).max())
        off.append(np.abs(sampled.mean(axis=0) - by_ai) / sampled.std(axis=0))
        places.append((h2.estimate - HERITABILITY) / h2.se)
        values = fit.line_effects(draws=1000).mean(("chain", "draw")).to_series().groupby("line").mean()
        blups = ai.blup("id").set_index("id")["blup"]
        alike.append(np.corrcoef(values[blups.index], blups)[0, 1])
        true = [truth["genetic_variance"], truth["residual_variance"], HERITABILITY, 50.0, truth["slope"]]
        spread = [f"{h:.4g}" for h in sampled.std(axis=0)]
        lines += [
            (str(seed), "simulated", *(f"{value:.4g}" for value in true)),
            ("", "EM-REML", *(f"{value:.4g}" for value in by_em)),
            ("", "AI-REML (SE of h2)", *(f"{value:.4g}" for value in by_ai[:2]), f"{h2.estimate:.4g} ({h2.se:.2g})",
             *(f"{value:.4g}" for value in by_ai[3:])),
            ("", "posterior mean (SD)",
             *(f"{m:.4g} ({s})" for m, s in zip(sampled.mean(axis=0), spread, strict=True))),
        ]  # fmt: skip
    size = f"{replicates} populations of {ANIMALS * (GENERATIONS + 1)}"
    z = float(np.mean(places)) * np.sqrt(replicates)
    rows += [
        Row("EM-REML and AI-REML", size, "largest difference", f"{max(gaps):.1e}", max(gaps) < SAME),
        Row("posterior and REML", size, "largest distance in SDs", f"{np.max(off):.2f}", bool(np.max(off) < NEAR)),
        Row("breeding values", size, "least correlation", f"{min(alike):.5f}", min(alike) > ALIKE),
        Row("heritability of 0.30", size, "z of the mean", f"{z:.2f}", abs(z) < MOST_Z),
    ]
    return rows, make_table(HEAD, lines)


def check_quickly(options: Options) -> list[Row]:
    """One population, few draws."""
    return study(options, 1, 1000)[0]


def check_fully(options: Options) -> list[Row]:
    """Five populations."""
    start = time.monotonic()
    rows, table = study(options, 5, 4000)
    write_tables(options, "selection", rows, {"Estimates": table}, time.monotonic() - start)
    return rows


register("selection", quick=check_quickly, full=check_fully)
