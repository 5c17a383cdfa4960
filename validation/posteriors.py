"""Posteriors of mixed models: are they right, are both engines' the same, and how many draws a second are they worth?

``posterior-sbc``: truths from the priors, standard deviations near zero among them, in a field (lines, a nugget, an
autoregression along both sides, plots lost) and in families of a pedigree (two traits with gaps, and mothers); is the
truth uniformly ranked among the draws (Talts et al. 2018)? ``posterior-engines``: one environment, records of lines of
one relationship, the same priors: two samplers that share no code. ``posterior-speed``: effective draws a second of
published fits; ``posterior-trees``: of the 34 variances of 189,976 trees. The engines and the speed need BMTME_DATA.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

import bmtme
from bmtme import mixed
from bmtme.data.relationship.pedigree import PedigreeInverse, pedigree_inverse
from bmtme.engines.mixed.axes import AR1, Identity, Known, Unstructured, Variance
from bmtme.engines.mixed.equations import Equations
from bmtme.engines.mixed.posterior import Target
from bmtme.engines.mixed.priors import AxisPrior
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.engines.mixed.reml import fit_reml
from bmtme.results.mixed.sample import METROPOLIS, Sampled, sample_posterior
from bmtme.results.summary import diagnose
from bmtme.testing.dense_mixed import DenseMixed
from bmtme.testing.field_trials import PUBLISHED
from bmtme.testing.uniformity import combine_p, combine_z, find_chi_square_p, find_ecdf_p
from validation.registry import LEVEL, Options, Row, make_table, register, report_progress, write_tables
from validation.trees import MODELS, MOTHERS, TREES, make_problem, simulate
from validation.trials import find_trial, skip

RANKED, THIN, PILOT = 99, 5, 300
REPLICATES = {True: 60, False: 500}
#: The scales of half-t priors are those of the data's by a share, as by default.
SCALE = 5.0

# --- calibration ----------------------------------------------------------------------------------------------------


def make_field(rng: np.random.Generator) -> tuple[Problem, list[AxisPrior]]:
    """A field of 6 x 6 plots, 31 of them harvested, 10 lines; its design is the same in all replicates."""
    n_row, n_col, n = 6, 6, 31
    cells = rng.permutation(n_row * n_col)[:n]
    terms = (
        Term("line", (Variance(), Identity(10)), rng.permutation(np.arange(n) % 10)),
        Term("nugget", (Variance(), Identity(n)), np.arange(n)),
    )
    sections = (Section("field", np.arange(n), (Variance(), AR1(n_col), AR1(n_row)), cells),)
    # Half of the nuggets are below 0.15 of the field's standard deviation.
    priors = [AxisPrior(4.0, np.array([1.0])), AxisPrior(4.0, np.array([0.7])), AxisPrior(4.0, np.array([0.2]))]
    return Problem(rng.standard_normal(n), np.ones((n, 1)), terms, sections), priors


def make_families(rng: np.random.Generator) -> tuple[Problem, list[AxisPrior]]:
    """Two traits of 18 animals of 4 sires and 6 dams, seen three times, with gaps; mothers, whose variance is small."""
    n_animals, times = 18, 3
    names = [f"s{k}" for k in range(4)] + [f"d{k}" for k in range(6)] + [f"o{k:02}" for k in range(n_animals)]
    sires, dams = rng.integers(0, 4, n_animals), np.arange(n_animals) % 6
    pedigree = pd.DataFrame(
        {
            "id": names,
            "sire": [""] * 10 + [f"s{k}" for k in sires],
            "dam": [""] * 10 + [f"d{k}" for k in dams],
        }
    )
    inverse = pedigree_inverse(pedigree)
    known = Known(sp.csr_matrix(inverse.matrix), inverse.log_determinant)
    place = np.array([list(inverse.lines).index(name) for name in names])
    seen = n_animals * times
    trait, occasion = np.divmod(np.sort(rng.permutation(2 * seen)[: 2 * seen - 10]), seen)
    animal, n = occasion // times, len(trait)
    terms = (
        Term("genetic", (Unstructured(2), known), trait * known.n + place[10 + animal]),
        Term("mother", (Variance(), Identity(6)), dams[animal]),
    )
    sections = (Section("units", np.arange(n), (Unstructured(2), Identity(seen)), trait * seen + occasion),)
    X = np.eye(2)[trait]
    # Half of the mothers' standard deviations are below 0.23, and of the genetic ones some are as near to zero.
    scales = (2.0, [1.0, 1.5]), (2.0, [0.8, 0.3]), (4.0, [0.3])
    priors = [AxisPrior(nu, np.array(scale)) for nu, scale in scales]
    return Problem(rng.standard_normal(n), X, terms, sections), priors


DESIGNS: dict[str, Callable[[np.random.Generator], tuple[Problem, list[AxisPrior]]]] = {
    "field": make_field,
    "families": make_families,
}


def draw_prior(axis: Any, prior: AxisPrior, rng: np.random.Generator) -> np.ndarray:
    """phi of an axis from its prior: hierarchies as they are defined, no density."""
    if isinstance(axis, AR1):
        return np.arctanh(rng.uniform(-1, 1, 1))
    if isinstance(axis, Variance):
        return np.log(np.abs(prior.scale * rng.standard_t(prior.nu, 1)))
    p, A = axis.n, prior.scale
    a = (1 / A**2) / rng.standard_gamma(0.5, p)
    # An inverse Wishart is the inverse of a Wishart: of n standard normal vectors, n = nu + p - 1 whole here.
    W = rng.standard_normal((p, int(prior.nu) + p - 1)) / np.sqrt(2 * prior.nu / a)[:, None]
    L = np.linalg.cholesky(np.linalg.inv(W @ W.T))
    i, j = axis.cells
    return np.where(i == j, np.log(np.maximum(L[i, j], 1e-300)), L[i, j])


def run_replicate(design: str, seed: int, number: int) -> dict[str, Any]:
    """Ranks of the truth among draws: every reported parameter, and the first effect of each term."""
    problem, priors = DESIGNS[design](np.random.default_rng(7))
    source, *seeds = np.random.SeedSequence(seed, spawn_key=(number,)).spawn(2)
    rng = np.random.default_rng(source)
    phi = np.concatenate(
        [
            draw_prior(axis, prior, rng)
            for block, prior in zip(problem.blocks, priors, strict=True)
            for axis in block.axes
            if axis.count
        ]
    )
    blocks = DenseMixed(problem).build_blocks(phi)
    drawn = [draw_normal(S, rng) for S in blocks]
    y = np.zeros(problem.n)
    for section, e in zip(problem.sections, drawn, strict=False):
        y[section.rows] += e
    effects = drawn[len(problem.sections) :]
    for Z, u in zip(problem.designs, effects, strict=True):
        y = y + Z @ u
    problem = Problem(y, problem.X, problem.terms, problem.sections)
    target = Target(Equations(problem), priors)
    start = fit_reml(problem).phi
    slots = np.arange(THIN - 1, RANKED * THIN, THIN)
    sampled = sample_posterior(target, start, RANKED * THIN, slots, seeds, 1, False, PILOT)
    chain = sampled.chains[0]
    ends = np.cumsum([0, *(term.q for term in problem.terms)])[:-1]
    values = np.hstack([chain.parameters[slots], chain.effects[:, ends]])
    truth = np.concatenate([target.report(target.coordinates.find_theta(phi)), [u[0] for u in effects]])
    return {
        "replicate": number,
        "ranks": (values < truth).sum(axis=0).tolist(),
        "metropolis": sampled.facts["method"] == METROPOLIS,
        "divergences": sum(sampled.facts["divergences"]),
    }


def draw_normal(S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """N(0, S), also of an S that is singular to rounding."""
    values, vectors = np.linalg.eigh(S)
    return np.asarray(vectors @ (np.sqrt(np.maximum(values, 0)) * rng.standard_normal(len(S))))


def name_ranked(design: str) -> list[str]:
    """What is ranked."""
    problem, _ = DESIGNS[design](np.random.default_rng(7))
    names = []
    for block in problem.blocks:
        for place, axis in enumerate(block.axes, start=1):
            which = f", axis {place}" if isinstance(axis, AR1) else ""
            for each in axis.parameters:
                levels = ", ".join(str(k + 1) for k in each.levels)
                names.append(f"{block.name}: {each.kind}{f' ({levels})' if levels else ''}{which}")
    return names + [f"{term.name}: first effect" for term in problem.terms]


def calibrate(options: Options, design: str, n: int, keep: bool) -> tuple[Row, str]:
    """Replicates of a design, going on with those that are kept: the verdict, and a table."""
    path = options.replicates / f"posterior-{design}-{options.seed}.jsonl"
    found: list[dict[str, Any]] = []
    if keep and path.is_file():
        found = [json.loads(line) for line in path.read_text().splitlines()][:n]
    report = report_progress(f"posterior-sbc, {design}")
    for number in range(len(found), n):
        found.append(run_replicate(design, options.seed, number))
        if keep:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps(found[-1]) + "\n")
        report(len(found), n)
    ranks = np.array([each["ranks"] for each in found])
    lines, p = [], []
    for name, column in zip(name_ranked(design), ranks.T, strict=True):
        own = find_ecdf_p(column, RANKED + 1), find_chi_square_p(column, RANKED + 1)
        p += own
        lines.append((name, f"{own[0]:.3f}", f"{own[1]:.3f}", f"{column.mean() / RANKED:.3f}"))
    worst = combine_p(p)
    share = np.mean([each["metropolis"] for each in found])
    row = Row(
        f"posterior-sbc: {design}",
        f"{n} replicates, {100 * share:.0f}% by {METROPOLIS}",
        f"smallest p of {len(p)} (x {len(p)})",
        f"{worst:.2g}",
        bool(worst > LEVEL),
    )
    return row, make_table(("quantity", "p ECDF", "p chi2", "mean rank"), lines)


def run_calibration(options: Options, quick: bool) -> list[Row]:
    """Both designs."""
    start = time.monotonic()
    found = {design: calibrate(options, design, REPLICATES[quick], not quick) for design in DESIGNS}
    rows = [row for row, _ in found.values()]
    if not quick:
        tables = {design: table for design, (_, table) in found.items()}
        write_tables(options, "posterior-sbc", rows, tables, time.monotonic() - start)
    return rows


# --- two engines ----------------------------------------------------------------------------------------------------

#: Trial, environment and traits.
ANALYSES = {
    True: (("gryphon", None, ("BWT",)), ("maize309_mtme", "EBU", ("Yield",))),
    False: (
        ("gryphon", None, ("BWT", "TARSUS")),
        ("maize309_mtme", "EBU", ("Yield", "ASI")),
        ("maize309_mtme", "EBU", ("Yield", "ASI", "PH")),
    ),
}


def read_frame(name: str, env: str | None) -> pd.DataFrame:
    """Records of a trial in one environment."""
    folder = find_trial(name)
    assert folder is not None
    frame = pd.read_csv(folder / "pheno.csv", dtype={"line": str, "env": str})
    return frame if env is None else frame[frame["env"] == env].reset_index(drop=True)


def compare_engines(
    frame: pd.DataFrame,
    relationship: bmtme.Relationship,
    known: bmtme.Relationship | PedigreeInverse,
    traits: Sequence[str],
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Means and standard deviations of all variances and covariances by both engines, with errors, and z.

    known : for the mixed model, the relationship again or the sparse inverse of its pedigree
    """
    frame = frame[["line", *traits]].dropna(how="all", subset=list(traits)).assign(env="1")
    trial = bmtme.Trial.from_frame(frame, line="line", env="env", traits=list(traits))
    trial = trial.drop_lines([line for line in trial.lines if line not in set(relationship.lines)])
    kept = frame[frame["line"].isin(set(relationship.lines))]
    words = {"draws": draws, "chains": 4, "seed": seed, "progress": False, "keep_effects": "none"}
    rotated = bmtme.fit(trial, relationship, bmtme.BMTME(means="flat", rep_effect="none"), tune=1000, **words)
    one = traits[0] if len(traits) == 1 else None
    fixed = f"{one} ~ 1" if one else f"{' + '.join(traits)} ~ trait"
    structure = ("known(line)", "units") if one else ("us(trait):known(line)", "us(trait):units")
    model = mixed.Model(fixed, *structure, known={"line": known})
    posterior = model.posterior(kept, **words)
    rows = []
    for name, term in (("Sigma_t", structure[0]), ("R_e", structure[1])):
        ours = rotated.idata["posterior"][name]
        for a, first in enumerate(traits):
            for second in traits[: a + 1]:
                x = ours.sel(trait=first, trait_bis=second).values
                pair = {f"covariance {first}, {second}", f"covariance {second}, {first}"}
                wanted = {"variance"} if one else {f"variance {first}"} if first == second else pair
                named = enumerate(posterior.fit.named) if posterior.fit is not None else ()
                (at,) = (k for k, each in named if each.term == term and each.parameter in wanted)
                z = posterior.idata["posterior"]["components"].values[:, :, at]
                for what, f in (("mean", lambda v: v), ("spread", lambda v: np.abs(v - np.median(v)))):
                    u, v = f(x), f(z)
                    errors = [w.std() / np.sqrt(diagnose(w[None])[0][0]) for w in (u, v)]
                    gap = u.mean() - v.mean()
                    label = f"{name}[{first}, {second}]" if first != second else f"{name}[{first}]"
                    rows.append((label, what, u.mean(), v.mean(), np.hypot(*errors), gap / np.hypot(*errors)))
    table = pd.DataFrame(rows, columns=["entry", "of", "rotated", "mixed", "error", "z"])
    table.attrs = {"sampling": posterior.run["sampling"], "seconds": posterior.run["seconds"]}
    return table


def judge_engines(label: str, table: pd.DataFrame) -> tuple[Row, str]:
    """The verdict on a comparison, and its table."""
    p = combine_z(table["z"].to_numpy())
    sampling = table.attrs["sampling"]
    size = f"{len(table)} moments, {sampling['method']}, k-hat {sampling['k_hat']}"
    row = Row(label, size, "largest z; p", f"{table['z'].abs().max():.1f}; {p:.2g}", bool(p > LEVEL))
    lines = [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in line] for line in table.values]
    return row, make_table(list(table.columns), lines)


def run_engines(options: Options, quick: bool) -> list[Row]:
    """All analyses of a size."""
    start = time.monotonic()
    rows, tables = [], {}
    for name, env, traits in ANALYSES[quick]:
        label = f"posterior-engines: {name}{'' if env is None else f' {env}'}, {', '.join(traits)}"
        folder = find_trial(name)
        if folder is None:
            rows.append(skip(label, name))
            continue
        frame = read_frame(name, env)
        if (folder / "pedigree.csv").is_file():
            pedigree = bmtme.read_pedigree(folder / "pedigree.csv")
            relationship, known = bmtme.pedigree_relationship(pedigree), pedigree_inverse(pedigree)
        else:
            relationship = known = bmtme.read_relationship(folder / "grm.csv.gz")
        table = compare_engines(frame, relationship, known, traits, 500 if quick else 2000, options.seed)
        row, tables[label] = judge_engines(label, table)
        rows.append(row)
    if not quick and tables:
        write_tables(options, "posterior-engines", rows, tables, time.monotonic() - start)
    return rows


# --- speed ----------------------------------------------------------------------------------------------------------


HEAD = ("fit", "parameters", "method", "k-hat", "accepted", "evaluations", "CPU s", "fewest effective", "a second")


def measure(problem: Problem, draws: int, seed: int) -> tuple[Sampled, dict[str, float]]:
    """A chain with the default priors: how many draws it is worth, and processor time."""
    scale = SCALE * float(problem.y.std(ddof=1))
    priors = [
        AxisPrior(2.0, np.full(max((axis.n for axis in block.axes if axis.has_scale), default=1), scale))
        for block in problem.blocks
    ]
    found = fit_reml(problem)
    target = Target(found.equations, priors)
    begun = time.process_time()
    sampled = sample_posterior(target, found.phi, draws, np.zeros(0, int), [np.random.SeedSequence(seed)], 1, False)
    seconds = time.process_time() - begun
    bulk, _, _ = diagnose(np.moveaxis(sampled.chains[0].parameters, 1, 0)[:, None])
    return sampled, {"parameters": target.count, "seconds": seconds, "least": float(bulk.min())}


def list_speed(name: str, s: dict[str, Any], facts: dict[str, float], draws: int) -> tuple[list[str], Row]:
    """A line of the table, and the verdict: enough effective draws, of draws that are not one and the same."""
    k = "-" if s["k_hat"] is None else f"{s['k_hat']:.2f}"
    rate = facts["least"] / facts["seconds"]
    line = [
        name, f"{facts['parameters']:.0f}", s["method"], k, f"{s['acceptance'][0]:.2f}", f"{s['evaluations']:,}",
        f"{facts['seconds']:.1f}", f"{facts['least']:.0f} of {draws:,}", f"{rate:.3g}",
    ]  # fmt: skip
    row = Row(
        f"posterior-speed: {name}", f"{draws:,} draws, {s['method']}, k-hat {k}", "fewest effective draws; a second",
        f"{facts['least']:.0f}; {rate:.3g}", facts["least"] > 0.01 * draws,
    )  # fmt: skip
    return line, row


def run_speed(options: Options) -> list[Row]:
    """The first published fits."""
    folder = find_trial("field_trials")
    if folder is None or find_trial("gryphon") is None:
        return [skip("posterior-speed", "field_trials and gryphon")]
    rows = []
    for published in PUBLISHED[:3]:
        sampled, facts = measure(published.make(folder.parent), 300, options.seed)
        rows.append(list_speed(published.name, sampled.facts, facts, 300)[1])
    return rows


def run_trees(options: Options, quick: bool) -> list[Row]:
    """Three variances and 31 residual ones of trees, few or all."""
    start = time.monotonic()
    trees, mothers, draws = (4000, 300, 200) if quick else (TREES, MOTHERS, 600)
    sampled, facts = measure(make_problem(simulate(options.seed, trees, mothers), 1), draws, options.seed)
    line, row = list_speed(f"{trees:,} trees, {MODELS[1]}", sampled.facts, facts, draws)
    if not quick:
        write_tables(options, "posterior-trees", [row], {"Fit": make_table(HEAD, [line])}, time.monotonic() - start)
    return [row]


register(
    "posterior-sbc",
    quick=lambda options: run_calibration(options, True),
    full=lambda options: run_calibration(options, False),
)
register(
    "posterior-engines",
    quick=lambda options: run_engines(options, True),
    full=lambda options: run_engines(options, False),
)
register("posterior-speed", run_speed)
register(
    "posterior-trees", quick=lambda options: run_trees(options, True), full=lambda options: run_trees(options, False)
)
