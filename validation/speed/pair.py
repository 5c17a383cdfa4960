"""How fast are the structures of the family: one density with gradient, a sweep, and effective draws of C a second?

Complete simulated sets, one thread, medians. Where BMTME_PROTOTYPE names a file ``collapsed.py`` and
BMTME_PAIR_PROTOTYPE a file ``pair_models.py``, these programs do the same work on the same data in turns in the same
process, so that ratios hold where single times do not: the first has the Kronecker form alone, the second any pair
(C, R). Their means are flat, ours exchangeable, which takes twice the matrix products.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import arviz
import numba
import numpy as np
from threadpoolctl import threadpool_limits

import bmtme
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.engines.rotated.sweep import COLLAPSED
from bmtme.preparation import build, lay_level, prepare
from bmtme.structures.part import build_matrices
from validation.registry import Options, Row, make_table, register, report_progress, write_tables
from validation.speed.problems import Data, simulate
from validation.speed.programs import find_prototype, time_sweeps

#: Lines, environments and traits of the sets whose density and sweeps are timed.
SIZES = (309, 3, 3), (309, 5, 4), (309, 15, 3), (309, 30, 3), (150, 3, 6), (150, 48, 3)
#: Turns of the programs, and about how many seconds each takes.
TURNS, SECONDS, MOST = 7, 0.05, 2000
#: Leapfrogs of a sweep that is timed, and their length: all are made, and next to all accepted.
LEAPFROGS, LENGTH = 4, 0.05
#: Draws of a chain whose effective draws are counted, and sets.
DRAWS, SETS = 3000, 3
#: Of the other program's effective draws a second that ours should have.
AIM = 0.8
#: Names of the other program's structures: C, R, factors.
Names = tuple[str, str, int]


class Case(NamedTuple):
    """A model by both programs."""

    model: bmtme.BMTME
    other: Names | None  # None: the program with the Kronecker form


OWN = "common_correlation"
#: Forms of the pair (C, R) that cost differently.
FORMS = {
    "Kronecker (paper's)": Case(bmtme.BMTME(), None),
    "general, paper's C": Case(bmtme.BMTME(residual="by_env"), ("PAPER", "TBLK", 0)),
    "general, two factors": Case(
        bmtme.BMTME(genetic=bmtme.FactorAnalytic(factors=2), residual="by_env"), ("FAL", "TBLK", 2)
    ),
}
#: Models whose effective draws are counted.
MODELS = {
    "paper's": FORMS["Kronecker (paper's)"],
    "paper's C, scaled": Case(bmtme.BMTME(residual="scaled"), ("PAPER", "FACTOR", 0)),
    "paper's C, common correlation": Case(bmtme.BMTME(residual=OWN), ("PAPER", "TCOM", 0)),
    "paper's C, by environment": FORMS["general, paper's C"],
    "main and interaction": Case(
        bmtme.BMTME(genetic=bmtme.MainAndInteraction("free"), residual=OWN), ("OWN", "TCOM", 0)
    ),
    "separable": Case(bmtme.BMTME(genetic=bmtme.Separable(), residual=OWN), ("SEP", "TCOM", 0)),
    "free": Case(bmtme.BMTME(genetic=bmtme.Free(), residual=OWN), ("UN", "TCOM", 0)),
    "two factors": Case(bmtme.BMTME(genetic=bmtme.FactorAnalytic(factors=2), residual=OWN), ("FAL", "TCOM", 2)),
    "free, line effect": Case(
        bmtme.BMTME(genetic=bmtme.Free(), residual=OWN, line_effect=True), ("UN", "TLIN", 0)
    ),
}  # fmt: skip


@numba.njit
def repeat_density(times, theta, p, s, w, h, gradient):
    """Our density and gradient, so many times."""
    total = 0.0
    for _ in range(times):
        total += evaluate(theta, p, s, w, h, gradient)
    return total


def make_repeat(function: Any) -> Any:
    """The same of another program's compiled function."""

    @numba.njit
    def repeat(times, arguments):
        total = 0.0
        for _ in range(times):
            total += function(*arguments)
        return total

    return repeat


def make_problem(data: Data, model: bmtme.BMTME) -> Problem:
    """Constants of the sampler for a model."""
    return build(lay_level(prepare(data.trial, data.relationship), model), model)[0]


def arrange(data: Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (J, M), eigenvalues and eigenvectors for the other programs."""
    values, _, G = data.arrays
    d, vectors = np.linalg.eigh(G)
    return values.reshape(len(values), -1), np.maximum(d, 0.0), np.ascontiguousarray(vectors)


def make_other(program: Any, data: Data, names: Names) -> Any:
    """A model of the program with general pairs."""
    values, d, vectors = arrange(data)
    _, I, L = data.arrays[0].shape
    C, R, factors = names
    return program.Model(values, d, vectors, I, L, getattr(program, C), getattr(program, R), kf=factors)


def start_chain(problem: Problem, model: bmtme.BMTME, seed: int) -> Chain:
    """A chain that is ready for collapsed sweeps of `LEAPFROGS` without a warm-up."""
    stream = np.random.SeedSequence(seed)
    chain = Chain(problem, "collapsed", 0, np.full(MOST, -1), False, stream, structures=model.structures)
    chain._enter()
    chain._prepare_call()(0, 10)
    chain._start_walk()
    tuning = chain.walk.tuning
    tuning.centre[:] = chain.walk.theta
    tuning.step[0], tuning.leapfrogs[0] = LENGTH, LEAPFROGS
    return chain


def sweep(chain: Chain, times: int) -> None:
    """So many kept sweeps."""
    reached, code = chain._run(COLLAPSED, 0, times, True)
    if code:
        raise RuntimeError(f"sweep {reached} failed with code {code}")


def time_run(run: Any, times: int) -> float:
    """Milliseconds of one run."""
    began = time.thread_time()
    run(times)
    return 1e3 * (time.thread_time() - began) / times


def time_in_turns(runs: dict[str, Any]) -> dict[str, float]:
    """Median milliseconds of each program's work, all in turns."""
    counts = {}
    for name, run in runs.items():
        run(1)  # compiles
        counts[name] = int(np.clip(1e3 * SECONDS / time_run(run, 2), 1, MOST))
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            found[name].append(time_run(run, counts[name]))
    return {name: float(np.median(times)) for name, times in found.items()}


def find_arguments(data: Data, names: Names | None, programs: dict[str, Any]) -> Any:
    """What the other program's density with gradient takes for these data; None where it is not there."""
    I, L = data.arrays[0].shape[1:]
    if names is None and programs["kronecker"] is not None:
        program = programs["kronecker"]
        values, d, vectors = arrange(data)
        theta = program.pack(0.5 * np.eye(L), np.full(I, 0.5), 0.5 * np.eye(L))
        Y, x = np.ascontiguousarray(values.T @ vectors), np.ascontiguousarray(vectors.sum(0))
        work = np.empty((4, max(I * L, 2), len(d)))
        return theta, Y, x, d, I, L, 5.0, 2.0, work, np.empty(len(theta)), True
    if names is not None and programs["pair"] is not None:
        model = make_other(programs["pair"], data, names)
        theta = model.start(1)
        return theta, model.Y, model.x, model.d, *model.args(), model.wk, np.empty(len(theta))
    return None


def time_sizes(options: Options, programs: dict[str, Any], sizes: tuple[tuple[int, int, int], ...]) -> str:
    """Table of density with gradient, ours and the others', and of our sweeps."""
    repeats = {name: make_repeat(program.lpg) for name, program in programs.items() if program is not None}
    lines = []
    for J, I, L in sizes:
        data = simulate(J, I, L, 0.0, options.seed, 0.3)
        for label, case in FORMS.items():
            chain = start_chain(make_problem(data, case.model), case.model, options.seed)
            held = chain._hold()
            gradient = np.empty(len(chain.walk.theta))
            runs: dict[str, Any] = {
                "ours": lambda times, c=chain, h=held, g=gradient: repeat_density(times, c.walk.theta, *h, g),
                "sweep": lambda times, c=chain: sweep(c, times),
            }
            other = find_arguments(data, case.other, programs)
            if other is not None:
                repeat = repeats["kronecker" if case.other is None else "pair"]
                runs["other"] = lambda times, repeat=repeat, arguments=other: repeat(times, arguments)
            found = time_in_turns(runs)
            beside = [f"{found['other']:.3f}", f"{found['ours'] / found['other']:.2f}"] if other else ["", ""]
            size = f"{J} x {I} x {L} (M = {I * L})"
            lines.append((size, label, str(len(gradient)), f"{found['ours']:.3f}", *beside, f"{found['sweep']:.2f}"))
    head = ("lines x environments x traits", "form", "parameters", "ms", "prototype, ms", "ratio", "ms a sweep")
    return make_table(head, lines)


def take_covariances(problem: Problem, chain: Chain) -> np.ndarray:
    """C of every draw, (n, M, M)."""
    draws, (I, L) = chain.draws, problem.recorded.shape
    if problem.proportional:
        E = 1.0 + draws.s2_E[:, :, None] * np.eye(I)
        return np.einsum("nih,nab->niahb", E, draws.Sigma_t).reshape(-1, I * L, I * L)
    return build_matrices(problem.whole_genetic, draws.theta, (I * L, I * L))


def count_effective(matrices: np.ndarray) -> float:
    """Effective draws of the worst entry of (n, M, M): of values or of squared deviations, the fewer."""
    M = matrices.shape[1]
    entries = np.array([matrices[:, a, b] for a in range(M) for b in range(a + 1)])
    squares = (entries - entries.mean(axis=1, keepdims=True)) ** 2
    return min(float(arviz.ess(values[None, :])) for values in (*entries, *squares))


def sample_other(programs: dict[str, Any], data: Data, names: Names | None, seed: int) -> tuple[float, float] | None:
    """Effective draws a draw, and milliseconds a draw, of the other program; None where it is not there or fails."""
    if names is None:
        program = programs["kronecker"]
        if program is None:
            return None
        values, mask, _ = data.arrays
        _, d, vectors = arrange(data)
        I, L = values.shape[1:]
        hidden = np.repeat(mask[:, :, None], L, axis=2)
        settings = {"A": 5.0, "nu": 2.0, "method": "hmc", "ns": 4, "eps_cap": 0.5, "seed": seed}
        result = program.sample(values, hidden, vectors, d, DRAWS, **settings)
        S, s2_E, _ = program.unpack(result["th"], I, L)
        E = 1.0 + s2_E[:, :, None] * np.eye(I)
        C = np.einsum("nih,nab->niahb", E, S).reshape(-1, I * L, I * L)
    else:
        program = programs["pair"]
        if program is None:
            return None
        model = make_other(program, data, names)
        try:
            result = model.sample(DRAWS, ns=8 if names[0] == "FAL" else 4, seed=seed)
        except np.linalg.LinAlgError:  # its warm-up breaks off at a singular matrix
            return None
        C = np.array([model.cov(theta)[0] for theta in result["th"]])
    return count_effective(C) / DRAWS, 1e3 * result["sec"] / DRAWS


def count_models(options: Options, programs: dict[str, Any], sets: int) -> tuple[list[Row], str]:
    """Effective draws of C of every model, medians over the sets, ours and the others' in turns."""
    rows, lines = [], []
    report = report_progress("pair")
    for k, (label, case) in enumerate(MODELS.items()):
        report(k, len(MODELS))
        ours, others = [], []
        for seed in range(options.seed, options.seed + sets):
            data = simulate(309, 3, 3, 0.0, seed, 0.3)
            problem = make_problem(data, case.model)
            seconds, chain = time_sweeps(problem, "collapsed", DRAWS, seed, structures=case.model.structures)
            ours.append((count_effective(take_covariances(problem, chain)) / DRAWS, 1e3 * seconds))
            other = sample_other(programs, data, case.other, seed)
            if other is not None:
                others.append(other)
        mine = np.array(ours)
        rate = float(np.median(1e3 * mine[:, 0] / mine[:, 1]))
        cells = [f"{np.median(mine[:, 1]):.3f}", f"{np.median(mine[:, 0]):.2f}", f"{rate:,.0f}"]
        if others:
            theirs = np.array(others)
            their_rate = float(np.median(1e3 * theirs[:, 0] / theirs[:, 1]))
            share = rate / their_rate
            cells += [f"{np.median(theirs[:, 1]):.3f}", f"{np.median(theirs[:, 0]):.2f}", f"{their_rate:,.0f}"]
            cells.append(f"{share:.2f}")
            rows.append(
                Row(f"{label}: effective draws of C a second", f"{sets} sets, 309 x 3 x 3", "share of the prototype's",
                    f"{share:.2f} (aim {AIM})", share >= AIM)
            )  # fmt: skip
        else:
            cells += [""] * 4
        lines.append((label, *cells))
    head = ("model", "ms a sweep", "worst a draw", "worst a second", "prototype: ms", "a draw", "a second", "ratio")
    return rows, make_table(head, lines)


def find_programs() -> dict[str, Any]:
    """The other programs that are there."""
    return {"kronecker": find_prototype(), "pair": find_prototype("BMTME_PAIR_PROTOTYPE")}


def run_quick(options: Options) -> list[Row]:
    """Every model samples, one set."""
    with threadpool_limits(1):
        rehearse("collapsed")
        return count_models(options, find_programs(), 1)[0] or [
            Row("structures beside a prototype", "", "", "set BMTME_PAIR_PROTOTYPE to a pair_models.py", None)
        ]


def run_full(options: Options) -> list[Row]:
    """All models and sizes, and the tables."""
    began = time.perf_counter()
    tables: dict[str, str] = {}
    with threadpool_limits(1):
        rehearse("collapsed")
        programs = find_programs()
        rows, tables["Effective draws of C"] = count_models(options, programs, SETS)
        tables["Density with gradient, and sweeps"] = time_sizes(options, programs, SIZES)
    write_tables(options, "pair", rows, tables, time.perf_counter() - began)
    return rows


register("pair", run_quick, run_full)
