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

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import NumericalError, UsageError
from bmtme.linalg.compile import hash_sources
from bmtme.model.factors import Factor, find_blocks, find_covariate
from bmtme.model.scaling import Scaling
from bmtme.preparation import choose_inner
from bmtme.results.predictions import Predictor, predict_cells
from bmtme.results.quantities import PREDICTIONS
from bmtme.structures.structure import Genetic, Residual
from bmtme.testing.cases import Case, make_case
from bmtme.testing.dense import DenseModel
from bmtme.testing.pairs import make_errors, make_joint_errors
from bmtme.testing.ranked import Pair, Paper, Subject, choose_targets, fit_held
from bmtme.testing.uniformity import Calibration, effective_draws

#: Ten lines, three environments, two traits (written as in `bmtme.testing.cases`): cells without a plot, traits
#: missing within records, one to three plots a cell, the second trait not recorded in the last environment.
DESIGN = (
    ("01", "01", "01 0", "-", "1 01", "01", "0", "-", "01 01 01", "01"),
    ("-", "01", "01", "01", "-", "01 01", "01", "1 0", "01", "1"),
    ("0", "-", "0", "0 0", "0", "-", "0", "0", "0", "0"),
)
#: Twelve lines and four environments, one of them without any record, for structures that serve that. Less is imputed;
#: the last line has twice the plots of the others everywhere.
UNSEEN = (
    ("01", "01", "0", "-", "1", "01", "01", "0", "01", "01", "01", "01 01"),
    ("01 01", "01 1", "01 01", "-", "01 01", "01 0", "01 01", "01 01", "01", "01 01", "01 01", "01 01 01 01"),
    ("-",) * 12,
    ("0", "-", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0 0"),
)
#: The same with records that are means of several plots.
MEANS = (
    ("01x2", "01", "0x3", "-", "1", "01x4", "01", "0", "01x3", "01", "01x2", "01x2"),
    ("01 01", "01x3 1", "01x2", "-", "01x4", "01 0x2", "01 01", "01x2", "01", "01x5", "01 01", "01x4"),
    UNSEEN[2],
    ("0", "-", "0x2", "0", "0x4", "0", "0", "0x3", "0", "0", "0x2", "0x2"),
)
#: One record of each line in an environment, as adjusted means are.
SINGLE = (
    UNSEEN[0][:-1] + ("01",),
    ("01", "01", "1", "-", "01", "0", "01", "01", "01", "01", "01", "01"),
    UNSEEN[2],
    UNSEEN[3][:-1] + ("0",),
)
#: For structures that need a record in every environment, and for those that need one in every column.
ABSENT = (UNSEEN[0], UNSEEN[1], UNSEEN[3])
EVERY = (UNSEEN[0], UNSEEN[1], ("0", "-", "01", "01", "0", "01", "01", "01", "1", "01", "01", "01 01"))

#: Kept draws between two that are ranked: these show the autocorrelation and make the intervals.
BETWEEN = 5
#: A chain with fewer effective draws per ranked draw, of any quantity, has mixed slowly.
SLOW = 0.3
PATIENCE = 6


@dataclass(frozen=True)
class Study:
    """What one replicate does.

    Attributes
    ----------
    subject : the model and its design
    sampler, tune, ranked, thin : the chain; `ranked` draws, `thin` sweeps (a multiple of `BETWEEN`) apart
    settings : what else the numbers depend on
    distort : makes the sampler's problem a wrong one, to see whether that is noticed
    """

    subject: Subject
    sampler: str
    tune: int
    ranked: int
    thin: int
    settings: dict[str, Any]
    distort: Callable[[Problem], Problem] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.thin % BETWEEN:
            raise ValueError(f"thin must be a multiple of {BETWEEN}, got {self.thin}.")

    def describe(self) -> dict[str, Any]:
        """Settings that the numbers depend on."""
        chain = {"sampler": self.sampler, "tune": self.tune, "ranked": self.ranked, "thin": self.thin}
        chain |= {"slow": SLOW, "patience": PATIENCE}
        return {**self.settings, **self.subject.describe(), **chain, "sources": hash_sources()}


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
    """A study of the paper's model, with one line more than recorded, the offspring of the first two.

    Priors: HalfT(nu=4, scale=1) or inverse-Wishart with p + 4 degrees of freedom, mu_l ~ N(m, 1). The last two
    lines are clones.

    Parameters
    ----------
    options : ``shape``, ``family``, ``means`` of `bmtme.testing.cases.make_case`
    """
    case = make_case(design, mu_sd=1.0, nu=4.0, scale=1.0, **options)
    subject = Paper(case, add_offspring(case), choose_held(case))
    settings = {"design": [list(row) for row in design], **options}
    return Study(subject, sampler, tune, ranked, thin, settings, distort)


def make_pair_study(
    genetic: Genetic,
    residual: Residual,
    *,
    line_effect: bool = False,
    blocks: int = 0,
    covariates: int = 0,
    design: tuple[tuple[str, ...], ...] | None = None,
    errors: bool = False,
    joint: bool = False,
    tune: int = 500,
    ranked: int = 39,
    thin: int = 15,
    distort: Callable[[Problem], Problem] | None = None,
) -> Study:
    """A study of a pair of structures: the same lines and priors, where structures take these.

    Its sampler is ``collapsed``.

    Parameters
    ----------
    blocks : factors of three blocks in each environment, crossed
    covariates : with slopes of variance one
    design : default the one with most gaps that the genetic structure serves (`choose_design`)
    errors : whether records have errors of known covariance
    joint : whether these correlate between the records of an environment
    """
    genetic = genetic.settle(residual)
    design = choose_design(genetic) if design is None else design
    if line_effect:  # no line with a multiple of the plots
        design = tuple(row[:-1] for row in design)
    case = make_case(design, mu_sd=1.0, nu=4.0, scale=1.0, even=line_effect, uncertain=errors, joint=joint)
    genetic.check(case.recorded, [str(i) for i in range(len(case.recorded))], ["0", "1"])
    known = make_joint_errors(case)[1] if joint else make_errors(case)[2] if errors else None
    factors = (
        *(scatter_blocks(case, f) for f in range(blocks)),
        *(draw_covariate(case, f) for f in range(covariates)),
    )
    subject = Pair(case, add_offspring(case), choose_held(case), (genetic, residual), line_effect, factors, 1.0, known)
    return Study(subject, "collapsed", tune, ranked, thin, {"design": [list(row) for row in design]}, distort)


def scatter_blocks(case: Case, seed: int, count: int = 3) -> Factor:
    """Records of each environment in blocks of about one size, at random."""
    rng = np.random.default_rng(seed)
    labels = np.empty(len(case.model.env), dtype="U1")
    for i in range(case.model.n_env):
        here = np.flatnonzero(case.model.env == i)
        labels[here] = (rng.permutation(len(here)) % count).astype(str)
    return find_blocks(f"blocks {seed}", labels.tolist(), case.model.env, case.observed, case.model.n_env)


def draw_covariate(case: Case, seed: int) -> Factor:
    """Standard normal values of the records."""
    values = np.random.default_rng(100 + seed).standard_normal(len(case.model.env))
    envs = [str(i) for i in range(case.model.n_env)]
    return find_covariate(f"covariate {seed}", values, 1.0, case.model.env, case.observed, envs)


def choose_design(genetic: Genetic) -> tuple[tuple[str, ...], ...]:
    """`UNSEEN`, `ABSENT` or `EVERY`: the first that the structure does not refuse."""
    for design in (UNSEEN, ABSENT, EVERY):
        recorded = make_case(design).recorded
        try:
            genetic.check(recorded, [str(i) for i in range(len(recorded))], ["0", "1"])
        except UsageError:
            continue
        return design
    raise ValueError(f"{genetic.name} refuses every design")


def add_offspring(case: Case) -> DenseModel:
    """The model of a case with one line more, the offspring of its first two."""
    G = case.model.G
    parents = np.zeros(len(G))
    parents[:2] = 0.5
    row = G @ parents
    own = float(parents @ row) + 0.5
    return replace(case.model, G=np.block([[G, row[:, None]], [row[None], np.array([[own]])]]))


def choose_held(case: Case) -> dict[str, tuple[int, int]]:
    """(line, environment) of one new plot of each kind that the design has."""
    counts = case_counts(case)
    held = {"replicated": (int(np.argmax(counts[:, 0])), 0), "new line": (len(counts), 0)}
    recorded = case.recorded
    seen, whole = recorded.any(axis=1), recorded.all(axis=1)
    empty = np.argwhere((counts == 0) & seen)
    if len(empty):
        held["empty cell"] = (int(empty[0, 0]), int(empty[0, 1]))
    for word, envs in (("absent column", seen & ~whole), ("unseen environment", ~seen)):
        if envs.any():
            held[word] = (0, int(np.argmax(envs)))
    return held


def case_counts(case: Case) -> np.ndarray:
    """Recorded plots of each line and environment, (J, I)."""
    counts = np.zeros((len(case.model.G), case.model.n_env), dtype=np.int64)
    np.add.at(counts, (case.model.line, case.model.env), 1)
    return counts


def run_chain(
    study: Study, problem: Problem, longer: int, seed: np.random.SeedSequence, stop: threading.Event
) -> Draws:
    """Draws of one chain, effects kept where a draw is; `longer` multiplies warm-up and thinning."""
    every = study.thin * longer // BETWEEN
    slots = np.full(study.ranked * study.thin * longer, -1)
    slots[every - 1 :: every] = np.arange(study.ranked * BETWEEN)
    tune, structures = study.tune * longer, study.subject.structures
    chain = Chain(problem, study.sampler, tune, slots, True, seed, structures=structures)
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
    subject = study.subject
    values, plots, truth = subject.draw(rng)
    problem = subject.problem(values, choose_inner(subject.case.layout.imputed_share))
    if study.distort is not None:
        problem = study.distort(problem)
    targets = choose_targets(subject)
    for longer, chain_seed in zip((1, PATIENCE), chain_seeds, strict=True):
        try:
            draws = run_chain(study, problem, longer, chain_seed, stop)
        except NumericalError as error:
            return {"replicate": number, "error": str(error)}
        if stop.is_set():
            return None
        fitted, variance = fit_held(subject, targets, draws)
        new = fitted + np.sqrt(variance) * rng.standard_normal(fitted.shape)
        drawn = subject.read(draws, problem) + subject.name_plots(new)
        assert [name for name, _ in truth] == [name for name, _ in drawn]
        X = np.array([x for _, x in drawn])
        efficiency = effective_draws(X) / study.ranked
        if efficiency.min() >= SLOW:
            break
    ranks = (X[:, BETWEEN - 1 :: BETWEEN] < np.array([x for _, x in truth])[:, None]).sum(axis=1)
    line, env = (np.array(x) for x in zip(*subject.held.values(), strict=True))
    cells = np.zeros((len(targets.recorded), *subject.case.recorded.shape), bool)
    cells[line, env] = True
    L = values.shape[1]
    units = Scaling(np.zeros(L), np.ones(L), 1.0)
    ends = [column for column in PREDICTIONS if column.name in ("lower", "upper")]
    interval = predict_cells(Predictor([draws], subject.case.basis, targets), units, ends, cells)
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
    return [name for name, _ in study.subject.draw(np.random.default_rng(0))[2]]


def collect_replicates(study: Study, replicates: list[dict[str, Any]]) -> Calibration:
    """Ranks and coverage of replicates as arrays."""
    good = [r for r in replicates if "error" not in r]
    L = study.subject.case.recorded.shape[1]
    return Calibration(
        names=tuple(name_quantities(study)),
        plots=tuple(f"{word}, trait {l}" for word in study.subject.held for l in range(L)),
        values=study.ranked + 1,
        ranks=np.array([r["ranks"] for r in good]),
        efficiency=np.array([r["efficiency"] for r in good]),
        covered=np.array([r["covered"] for r in good]),
        failed=len(replicates) - len(good),
        diverging=float(np.mean([r["diverging"] for r in good])),
        again=sum(r["again"] for r in good),
    )
