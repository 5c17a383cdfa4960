"""Simulation-based calibration of a whole sampler: start, warm-up, draws, predictions.

After Talts, Betancourt, Simpson, Vehtari & Gelman (2018, arXiv:1804.06788).

Unknowns are drawn from the prior, data given them; a chain that knows nothing of the truth is run on these data.
Then the rank of the truth among L independent draws is uniform on 0 .. L, for every quantity, and a 90% interval of
a plot that was held out covers it in 90% of the replicates. Unlike the joint-distribution test of
`bmtme.testing.geweke` this sees a chain that has not converged, and the predictions that a user reads. One of the
quantities is the log likelihood, which depends on data and unknowns together (Modrak et al. 2023, Bayesian Analysis).

Replicates are independent, so uniformity is tested over replicates; draws within a chain are thinned. A chain that
mixed slowly all the same is thrown away, and a fresh one is run `PATIENCE` times as long and as much thinned, which
counts whatever it looks like. What autocorrelation is left widens the distribution of the rank: with tau the
integrated autocorrelation time of the ranked draws, the variance of rank / L grows from 1/12 by (tau - 1) / (6 L).

Needs proper priors. Replicates go to a file, one line each, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.problem import Problem
from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.errors import NumericalError
from bmtme.linalg.compile import hash_sources
from bmtme.model.scaling import Scaling
from bmtme.preparation import choose_inner
from bmtme.results.predictions import Predictor, Targets, predict_cells
from bmtme.results.quantities import PREDICTIONS
from bmtme.testing.cases import Case, make_case
from bmtme.testing.dense import DenseModel, Unknowns
from bmtme.testing.uniformity import Calibration, effective_draws

#: Ten lines, three environments, two traits (written as in `bmtme.testing.cases`): cells without a plot, traits
#: missing within records, one to three plots a cell, the second trait not recorded in the last environment.
DESIGN = (
    ("01", "01", "01 0", "-", "1 01", "01", "0", "-", "01 01 01", "01"),
    ("-", "01", "01", "01", "-", "01 01", "01", "1 0", "01", "1"),
    ("0", "-", "0", "0 0", "0", "-", "0", "0", "0", "0"),
)

#: Kept draws between two that are ranked: these show the autocorrelation and make the intervals.
BETWEEN = 5
#: A chain with fewer effective draws per ranked draw, of any quantity, has mixed slowly.
SLOW = 0.3
PATIENCE = 6

Values = list[tuple[str, float | np.ndarray]]


@dataclass(frozen=True)
class Study:
    """What one replicate does.

    Attributes
    ----------
    case : the recorded lines, their records, and priors one can draw from
    model : the same with further lines that have a relationship but no record, from which truths are drawn
    held : (line, environment) of one new plot each, by a word that says what is special about it
    sampler, tune, ranked, thin : the chain; `ranked` draws, `thin` sweeps (a multiple of `BETWEEN`) apart
    distort : makes the sampler's problem a wrong one, to see whether that is noticed
    """

    case: Case
    model: DenseModel
    held: dict[str, tuple[int, int]]
    sampler: str
    tune: int
    ranked: int
    thin: int
    settings: dict[str, Any]
    distort: Callable[[Problem], Problem] | None = field(default=None, repr=False)

    def describe(self) -> dict[str, Any]:
        """Settings that the numbers depend on."""
        chain = {"sampler": self.sampler, "tune": self.tune, "ranked": self.ranked, "thin": self.thin}
        chain |= {"slow": SLOW, "patience": PATIENCE}
        return {**self.settings, **chain, "sources": hash_sources()}


def make_study(
    sampler: str = "collapsed",
    *,
    tune: int = 600,
    ranked: int = 59,
    thin: int = 25,
    design: tuple[tuple[str, ...], ...] = DESIGN,
    distort: Callable[[Problem], Problem] | None = None,
    **options: Any,
) -> Study:
    """A study of a design with one line more than recorded, the offspring of the first two.

    Priors: HalfT(nu=4, scale=1) or inverse-Wishart with p + 4 degrees of freedom, mu_l ~ N(m, 1). The last two
    lines are clones.

    Parameters
    ----------
    options : ``shape``, ``family``, ``means`` of `bmtme.testing.cases.make_case`
    """
    if thin % BETWEEN:
        raise ValueError(f"thin must be a multiple of {BETWEEN}, got {thin}.")
    case = make_case(design, mu_sd=1.0, nu=4.0, scale=1.0, **options)
    G = case.model.G
    parents = np.zeros(len(G))
    parents[:2] = 0.5
    row = G @ parents
    own = float(parents @ row) + 0.5
    model = replace(case.model, G=np.block([[G, row[:, None]], [row[None], np.array([[own]])]]))
    counts = case_counts(case)
    held = {"replicated": (int(np.argmax(counts[:, 0])), 0), "new line": (len(G), 0)}
    empty = np.argwhere(counts == 0)
    if len(empty):
        held["empty cell"] = (int(empty[0, 0]), int(empty[0, 1]))
    absent = np.flatnonzero(~case.recorded.all(axis=1))
    if len(absent):
        held["absent column"] = (0, int(absent[0]))
    settings = {"design": [list(row) for row in design], **options}
    return Study(case, model, held, sampler, tune, ranked, thin, settings, distort)


def case_counts(case: Case) -> np.ndarray:
    """Recorded plots of each line and environment, (J, I)."""
    counts = np.zeros((len(case.model.G), case.model.n_env), dtype=np.int64)
    np.add.at(counts, (case.model.line, case.model.env), 1)
    return counts


def list_quantities(study: Study, Sigma_t: Any, s2_E: Any, R_e: Any, beta: Any, mu: Any, tau: Any) -> Values:
    """Every covariance entry, correlation, log determinant and mean by name; arrays may have a leading draws axis."""
    m = study.case.model
    L, I = len(m.law_t.scale), m.n_env
    out: Values = []
    for name, law, M in (("Sigma_t", m.law_t, Sigma_t), ("R_e", m.law_e, R_e)):
        for l in range(L if law.shape != "scalar" else 1):
            out.append((f"{name}[{l},{l}]", M[..., l, l]))
            for k in range(l if law.shape == "full" else 0):
                out.append((f"{name}[{l},{k}]", M[..., l, k]))
                out.append((f"cor {name}[{l},{k}]", M[..., l, k] / np.sqrt(M[..., l, l] * M[..., k, k])))
        if law.shape != "scalar":
            out.append((f"log|{name}|", np.linalg.slogdet(M)[1]))
    if m.interaction:
        out += [(f"Sigma_E[{i},{i}]", s2_E[..., i]) for i in range(I if m.law_E.shape != "scalar" else 1)]
    out += [(f"beta[{i},{l}]", beta[..., i, l]) for i in range(I) for l in range(L)]
    if m.law_beta.kind == "exchangeable":
        out += [(f"mu[{l}]", mu[..., l]) for l in range(L)] + [(f"tau[{l}]", tau[..., l]) for l in range(L)]
    return out


def true_quantities(study: Study, t: Unknowns, values: np.ndarray, plots: np.ndarray) -> Values:
    """The truth of each quantity; `values` (N, L) of every trait, `plots` (held, L)."""
    case, L = study.case, values.shape[1]
    out = list_quantities(study, t.Sigma_t, t.s2_E, t.R_e, t.beta, t.mu, np.sqrt(t.tau2))
    out.append(("log likelihood", study.model.completed_log_density(t, case.without_absent(case.model.env, values))))
    for l in range(L):
        out += [(f"b1[{j},{l}]", t.b1[j, l]) for j in (0, len(case.model.G) - 1)]
        if case.model.interaction:
            out += [(f"b2[{i},0,{l}]", t.b2[i, 0, l]) for i in (0, case.model.n_env - 1)]
    return out + [(f"plot[{word},{l}]", plots[h, l]) for h, word in enumerate(study.held) for l in range(L)]


def drawn_quantities(study: Study, draws: Draws, fitted: np.ndarray, extra: np.ndarray, noise: np.ndarray) -> Values:
    """The kept draws of each quantity, in the order of `true_quantities`.

    fitted, extra, noise : (held, L, kept) means and spare variances of the held plots, and standard normals
    """
    case = study.case
    kept = draws.slot >= 0
    small = (draws.Sigma_t, draws.s2_E, draws.R_e, draws.beta, draws.mu, draws.tau)
    out = list_quantities(study, *(x[kept] for x in small))
    out.append(("log likelihood", draws.completed_log_density[kept]))
    L, I = draws.R_e.shape[1], case.model.n_env
    b1 = case.basis.rotate_back(draws.W1)
    b2 = case.basis.rotate_back(draws.W2)
    for l in range(L):
        out += [(f"b1[{j},{l}]", b1[:, l, j]) for j in (0, len(case.model.G) - 1)]
        if case.model.interaction:
            out += [(f"b2[{i},0,{l}]", b2[:, i * L + l, 0]) for i in (0, I - 1)]
    for h, word in enumerate(study.held):
        for l in range(L):
            spread = np.sqrt(extra[h, l] + draws.R_e[kept, l, l])
            out.append((f"plot[{word},{l}]", fitted[h, l] + spread * noise[h, l]))
    return out


def choose_targets(study: Study) -> Targets:
    """All lines of the study's model: those recorded, and the last by projection."""
    basis, G = study.case.basis, study.model.G
    J = len(study.case.model.G)
    A, explained = basis.project(G[J:, :J] * basis.scale)
    return Targets(np.append(np.arange(J), -1), A, np.diag(G)[J:] - explained)


def fit_held(study: Study, targets: Targets, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Conditional mean and spare variance of each held plot in each kept draw, (held, L, kept)."""
    kept = draws.slot >= 0
    L = draws.R_e.shape[1]
    shape = len(study.held), L, int(kept.sum())
    fitted, extra = np.empty(shape), np.zeros(shape)
    for h, (j, i) in enumerate(study.held.values()):
        for l in range(L):
            w = draws.W1[:, l] + (draws.W2[:, i * L + l] if study.case.model.interaction else 0.0)
            new = targets.recorded[j] < 0
            u = w @ targets.A[0] if new else study.case.basis.rotate_back(w)[:, j]
            fitted[h, l] = draws.beta[kept, i, l] + u
            if new:
                extra[h, l] = targets.spare[0] * draws.Sigma_t[kept, l, l] * (1.0 + draws.s2_E[kept, i])
    return fitted, extra


def run_chain(
    study: Study, problem: Problem, longer: int, seed: np.random.SeedSequence, stop: threading.Event
) -> Draws:
    """Draws of one chain, effects kept where a draw is; `longer` multiplies warm-up and thinning."""
    every = study.thin * longer // BETWEEN
    slots = np.full(study.ranked * study.thin * longer, -1)
    slots[every - 1 :: every] = np.arange(study.ranked * BETWEEN)
    chain = Chain(problem, study.sampler, study.tune * longer, slots, True, seed)
    chain.advance(lambda done: None, stop)
    return chain.draws


def run_replicate(study: Study, seed: int, number: int, stop: threading.Event | None = None) -> dict[str, Any] | None:
    """One replicate: ranks of the truth, whether each held plot was covered, effective draws per ranked draw.

    Returns
    -------
    dict
        ``replicate``, ``ranks``, ``covered`` (held x L), ``efficiency``, ``diverging`` (share of the draws), ``again``
        (whether the first chain mixed slowly); or ``error`` with the message of a sampler that failed. None where
        `stop` was set on the way.
    """
    stop = stop or threading.Event()
    source, *chain_seeds = np.random.SeedSequence(seed, spawn_key=(number,)).spawn(3)
    rng = np.random.default_rng(source)
    t = study.model.draw(rng)
    values = study.model.draw_values(rng, t)
    line, env = (np.array(x) for x in zip(*study.held.values(), strict=True))
    new_plots = replace(study.model, line=line, env=env, plots=np.ones(len(line)))
    plots = new_plots.draw_values(rng, t)
    truth = true_quantities(study, t, values, plots)
    problem = study.case.problem(values, choose_inner(study.case.layout.imputed_share))
    if study.distort is not None:
        problem = study.distort(problem)
    targets = choose_targets(study)
    for longer, chain_seed in zip((1, PATIENCE), chain_seeds, strict=True):
        try:
            draws = run_chain(study, problem, longer, chain_seed, stop)
        except NumericalError as error:
            return {"replicate": number, "error": str(error)}
        if stop.is_set():
            return None
        fitted, extra = fit_held(study, targets, draws)
        drawn = drawn_quantities(study, draws, fitted, extra, rng.standard_normal(fitted.shape))
        assert [name for name, _ in truth] == [name for name, _ in drawn]
        X = np.array([x for _, x in drawn])
        efficiency = np.array([effective_draws(x) for x in X]) / study.ranked
        if efficiency.min() >= SLOW:
            break
    ranks = (X[:, BETWEEN - 1 :: BETWEEN] < np.array([x for _, x in truth])[:, None]).sum(axis=1)
    cells = np.zeros((len(targets.recorded), *study.case.recorded.shape), bool)
    cells[line, env] = True
    L = values.shape[1]
    units = Scaling(np.zeros(L), np.ones(L), 1.0)
    ends = [column for column in PREDICTIONS if column.name in ("lower", "upper")]
    interval = predict_cells(Predictor([draws], study.case.basis, targets), units, ends, cells)
    lower, upper = interval["lower"], interval["upper"]
    covered = (lower[line, env] <= plots) & (plots <= upper[line, env])
    return {
        "replicate": number,
        "ranks": ranks.tolist(),
        "covered": covered.astype(int).ravel().tolist(),
        "efficiency": np.round(efficiency, 2).tolist(),
        "diverging": float(draws.diverging.mean().round(5)),
        "again": longer > 1,
    }


def name_quantities(study: Study) -> list[str]:
    """Names of the ranked quantities, in order."""
    rng = np.random.default_rng(0)
    t = study.model.draw(rng)
    plots = np.zeros((len(study.held), len(t.R_e)))
    return [name for name, _ in true_quantities(study, t, study.model.draw_values(rng, t), plots)]


def read_replicates(path: Path, header: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Replicates of a file by number; a line cut short by an interruption is taken off the file.

    Raises
    ------
    ValueError
        Where the file was made with other settings.
    """
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    lines = [json.loads(line) for line in whole.decode().splitlines()]
    if not lines:
        return {}
    old = lines[0]
    differing = [key for key in {**old, **header} if old.get(key) != header.get(key)]
    if differing:
        raise ValueError(f"{path} was made with other {', '.join(differing)}: remove it or choose another folder.")
    return {line["replicate"]: line for line in lines[1:]}


def run_study(
    study: Study,
    replicates: int,
    path: Path | None = None,
    *,
    seed: int = 1,
    cores: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the replicates that a file does not hold yet, in threads; each goes to the file when it is done.

    Parameters
    ----------
    path : JSON lines, the first with the settings; None keeps nothing
    report : told (replicates done, of how many)

    Returns
    -------
    list
        One dictionary a replicate (see `run_replicate`), in order, whatever the number of cores.
    """
    header: dict[str, Any] = json.loads(json.dumps({**study.describe(), "seed": seed}))
    done = read_replicates(path, header) if path else {}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not path.stat().st_size:
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
    rehearse(study.sampler)
    stop, lock = threading.Event(), threading.Lock()

    def run(number: int) -> None:
        result = None if stop.is_set() else run_replicate(study, seed, number, stop)
        if result is None:
            return
        with lock:
            if path:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
            done[number] = result
            if report:
                report(len(done), replicates)

    missing = [number for number in range(replicates) if number not in done]
    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        tasks = [pool.submit(run, number) for number in missing]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [done[number] for number in range(replicates)]


def collect_replicates(study: Study, replicates: list[dict[str, Any]]) -> Calibration:
    """Ranks and coverage of replicates as arrays."""
    good = [r for r in replicates if "error" not in r]
    L = len(study.case.model.law_t.scale)
    return Calibration(
        names=tuple(name_quantities(study)),
        plots=tuple(f"{word}, trait {l}" for word in study.held for l in range(L)),
        values=study.ranked + 1,
        ranks=np.array([r["ranks"] for r in good]),
        efficiency=np.array([r["efficiency"] for r in good]),
        covered=np.array([r["covered"] for r in good]),
        failed=len(replicates) - len(good),
        diverging=float(np.mean([r["diverging"] for r in good])),
        again=sum(r["again"] for r in good),
    )
