"""Joint-distribution test of whole sweeps (after Geweke 2004, JASA 99:799-804), in its invariance form.

Unknowns are drawn from the prior, data given them; a correct sweep, started there and given those data, leaves the
joint distribution of (unknowns, data) as it was. So after a few sweeps every statistic must be distributed as
before. Replicates are independent and before is compared with after *within* a replicate, so that no
autocorrelation has to be estimated and the noise of the prior cancels where data say something. Statistics are
ranked among all values before and after, which bounds them whatever the tails of the prior; the first two
Legendre polynomials of the rank show shifts and changes of spread.

Needs proper priors. Seen are: wrong degrees of freedom, wrong orders of steps, wrong imputations, wrong
conditional means, data that count twice. Not seen is slow mixing, nor a sweep that leaves something unmoved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bmtme.engines.rotated.collapsed import Walk, allocate_walk, hold_walk, pack_state
from bmtme.engines.rotated.draws import Draws, allocate_draws, hold_draws
from bmtme.engines.rotated.held import hold
from bmtme.engines.rotated.problem import Problem, hold_problem, load_values
from bmtme.engines.rotated.state import State, Work, allocate_work, hold_state
from bmtme.engines.rotated.stepwise import run_stepwise
from bmtme.engines.rotated.sweep import COLLAPSED, GIBBS, run_sweeps
from bmtme.testing.cases import Case
from bmtme.testing.dense import Unknowns
from bmtme.testing.uniformity import combine_z

#: Runs n sweeps from a state and writes the last one to the draws; returns a failure code or 0.
Sweeps = Callable[[np.random.Generator, Problem, State, Work, int, Draws], int]

Arrays = dict[str, np.ndarray]

#: Eight lines, three environments, two traits (written as in `bmtme.testing.cases`): 10 of 24 cells have a record, some
#: have two, some records are means of several; traits missing within records; the second trait is not recorded in the
#: last environment.
SPARSE = (
    ("01x3", "-", "01 0x2", "-", "1 01", "-", "0", "-"),
    ("-", "01", "-", "01x2", "-", "01 01x4", "-", "1x2 0"),
    ("0", "-", "0", "0 0", "-", "-", "0", "-"),
)
#: Two environments that record both traits, the genetic and residual covariance then being Kronecker products.
DENSE = (
    ("01", "01", "01 0", "01", "1 01", "01", "0", "-"),
    ("01", "01", "01", "01", "-", "01 01", "01", "1 0"),
)


def sweep_gibbs(rng: np.random.Generator, p: Problem, s: State, w: Work, n: int, draws: Draws) -> int:
    """The block sampler."""
    return _run_sweeps(rng, GIBBS, p, s, w, allocate_walk(p), n, draws)


def sweep_collapsed(rng: np.random.Generator, p: Problem, s: State, w: Work, n: int, draws: Draws) -> int:
    """Hamiltonian moves of the covariances with a fixed metric, step and length: nothing adapts."""
    walk = allocate_walk(p)
    walk.tuning.step[0], walk.tuning.leapfrogs[0], walk.tuning.mirror_every[0] = 0.2, 5, 1
    pack_state(hold_problem(p), hold_state(s), hold_walk(walk))
    return _run_sweeps(rng, COLLAPSED, p, s, w, walk, n, draws)


def _run_sweeps(
    rng: np.random.Generator, kind: int, p: Problem, s: State, w: Work, walk: Walk, n: int, draws: Draws
) -> int:
    trail = np.empty((0, len(walk.theta)))
    held = hold(p, s, w, walk)
    return int(run_sweeps(rng, kind, *held, 0, n, True, hold_draws(draws), trail)[1])


def sweep_stepwise(rng: np.random.Generator, p: Problem, s: State, w: Work, n: int, draws: Draws) -> int:
    """The paper's separate steps."""
    return int(run_stepwise(rng, *hold(p, s, w), 0, n, True, hold_draws(draws))[1])


@dataclass(frozen=True)
class Replicates:
    """Draws from the joint distribution of unknowns and data: the same for every sampler under test."""

    case: Case
    unknowns: list[Unknowns]
    values: np.ndarray  # (n, N, L)
    pads: np.ndarray  # (n, pads, L)


@dataclass(frozen=True)
class Comparison:
    """z-scores of after against before, one a statistic and polynomial."""

    names: tuple[str, ...]
    z: np.ndarray

    @property
    def p_value(self) -> float:
        """Smallest two-sided p-value, times the number of comparisons (Bonferroni)."""
        return combine_z(self.z)

    def worst(self, n: int = 5) -> str:
        """The n largest z-scores, named."""
        order = np.argsort(-np.abs(self.z))[:n]
        return ", ".join(f"{self.names[k]}: {self.z[k]:+.1f}" for k in order)

    def __str__(self) -> str:
        return f"{len(self.z)} comparisons, p = {self.p_value:.2g}; {self.worst()}"


def draw_replicates(case: Case, n: int, seed: int) -> Replicates:
    """n independent draws of unknowns and data."""
    rng = np.random.default_rng(seed)
    pads = case.pads()
    unknowns = [case.model.draw(rng) for _ in range(n)]
    values = np.array([case.model.draw_values(rng, t) for t in unknowns])
    return Replicates(case, unknowns, values, np.array([pads.draw_values(rng, t) for t in unknowns]))


def compare_joint(replicates: Replicates, run: Sweeps, sweeps: int, seed: int) -> Comparison:
    """Run sweeps on every replicate and compare the joint distribution after with that before.

    Parameters
    ----------
    run : `sweep_gibbs`, `sweep_stepwise`, `sweep_collapsed`, or one with a planted error
    sweeps : sweeps per replicate; an error adds up over a few

    Raises
    ------
    ArithmeticError
        Where a sweep fails.
    """
    case = replicates.case
    rng = np.random.default_rng(seed)
    problem = case.problem(replicates.values[0])
    work = allocate_work(problem)
    slots = np.full(sweeps, -1)
    slots[-1] = 0
    draws = allocate_draws(problem, sweeps, slots, False)
    has_pad = case.layout.cell_pad > 0
    after: list[tuple[np.ndarray | float, ...]] = []
    for t, values, pads in zip(replicates.unknowns, replicates.values, replicates.pads, strict=True):
        load_values(problem, case.layout, case.basis, case.hide(values))
        state = case.pack(problem, t, values, pads)
        code = run(rng, problem, state, work, sweeps, draws)
        if code:
            raise ArithmeticError(f"a sweep failed with code {code}")
        completed = values.copy()
        completed[case.layout.part_record] = state.part
        last = (draws.Sigma_t, draws.s2_E, draws.R_e, draws.beta, draws.mu, draws.tau)
        small = tuple(x[-1].copy() for x in last)
        after.append(
            (*small, float(state.s2_b[0]), draws.W1[0].copy(), draws.W2[0].copy(), completed, state.pad[has_pad])
        )
    columns = [np.array(column) for column in zip(*after, strict=True)]
    Sigma_t, s2_E, R_e, beta, mu, tau, s2_b, W1, W2, values, pads = columns
    I, L = case.recorded.shape
    new = {
        "Sigma_t": Sigma_t, "s2_E": s2_E, "R_e": R_e, "beta": beta, "mu": mu, "tau2": tau**2, "s2_b": s2_b,
        "b1": case.basis.rotate_back(W1), "values": values, "pads": pads,
        "b2": case.basis.rotate_back(W2).reshape(len(W2), -1, L, len(case.model.G)),
    }  # fmt: skip
    kept = [name for name in new if hasattr(replicates.unknowns[0], name)]
    old: Arrays = {name: np.array([getattr(t, name) for t in replicates.unknowns]) for name in kept}
    old |= {"b1": np.swapaxes(old["b1"], 1, 2), "b2": np.swapaxes(old["b2"], 2, 3)}
    old |= {"values": replicates.values, "pads": replicates.pads}
    if I == 1:
        old["b2"] = old["b2"][:, :0]
    return compare_ranks(summarise(case, old), summarise(case, new))


def compare_ranks(before: Arrays, after: Arrays) -> Comparison:
    """Paired comparison of each statistic (n,); statistics that never change are left out."""
    names, z = [], []
    for name, x in before.items():
        n = len(x)
        ranks = stats.rankdata(np.concatenate([x, after[name]])) / n - (2 * n + 1) / (2 * n)  # in (-1, 1)
        for label, g in (("", ranks), (" spread", 1.5 * ranks**2 - 0.5)):
            change = g[n:] - g[:n]
            if np.abs(change).max() > 1e-9:
                names.append(name + label)
                z.append(change.mean() / (change.std(ddof=1) / math.sqrt(n)))
    return Comparison(tuple(names), np.array(z))


def summarise(case: Case, a: Arrays) -> Arrays:
    """Statistics of the joint distribution, each (n,): unknowns, and how they, the data and the imputed go together.

    a : unknowns of all replicates along the first axis; b1 (n, L, J), b2 (n, I, L, J), values (n, N, L)
    """
    m = case.model
    I, L = case.recorded.shape
    kind = m.law_beta.kind
    out: Arrays = {}
    beta, Sigma_t, R_e, b1, b2 = a["beta"], a["Sigma_t"], a["R_e"], a["b1"], a["b2"]
    for name in ("Sigma_t", "R_e"):
        M = a[name]
        out[f"log|{name}|"] = np.linalg.slogdet(M)[1]
        for l in range(L):
            out[f"{name}[{l},{l}]"] = M[:, l, l]
            for k in range(l):
                out[f"cor {name}[{l},{k}]"] = M[:, l, k] / np.sqrt(M[:, l, l] * M[:, k, k])
    scale = np.sqrt(np.diagonal(Sigma_t, axis1=1, axis2=2))
    noise = np.sqrt(np.diagonal(R_e, axis1=1, axis2=2))
    w1 = case.standardise(b1) / scale[:, :, None]
    w2 = case.standardise(b2) / scale[:, None, :, None]
    for l in range(L):
        if kind == "exchangeable":
            out[f"mu[{l}]"] = a["mu"][:, l]
            out[f"tau[{l}]"] = a["tau2"][:, l]
            out[f"(beta - mu) / tau[{l}]"] = (beta[:, :, l].mean(axis=1) - a["mu"][:, l]) / np.sqrt(a["tau2"][:, l])
        out[f"b1[0,{l}]"], out[f"b1[-1,{l}]"] = b1[:, l, 0], b1[:, l, -1]
        for k in range(l + 1):
            out[f"b1'b1[{l},{k}]"] = (w1[:, l] * w1[:, k]).sum(axis=1)
    if kind == "paper":
        out["s2_b"] = a["s2_b"]
    for i in range(I):
        here = m.env == i
        if I > 1:
            out[f"s2_E[{i}]"] = a["s2_E"][:, i]
        for l in range(L):
            out[f"beta[{i},{l}]"] = beta[:, i, l]
            if I > 1:
                out[f"b2[{i},0,{l}]"] = b2[:, i, l, 0]
                out[f"b1'b2[{i},{l}]"] = (w1[:, l] * w2[:, i, l]).sum(axis=1)
                for k in range(l + 1):
                    out[f"b2'b2[{i},{l},{k}]"] = (w2[:, i, l] * w2[:, i, k]).sum(axis=1) / a["s2_E"][:, i]
            if not (case.recorded[i, l] and here.any()):
                continue
            line = m.line[here]
            u = (b1 + b2[:, i] if I > 1 else b1)[:, :, line]  # (n, L, records)
            y = a["values"][:, here]
            e = (y - beta[:, i, None] - np.swapaxes(u, 1, 2)) / noise[:, None]
            out[f"y[{i},{l}]"] = y[:, 0, l]
            out[f"y'beta[{i},{l}]"] = y[:, :, l].mean(axis=1) * beta[:, i, l]
            out[f"y'u[{i},{l}]"] = (y[:, :, l] * u[:, l]).sum(axis=1)
            out[f"e[{i},{l}]"] = e[:, :, l].sum(axis=1)
            out[f"e'u[{i},{l}]"] = (e[:, :, l] * u[:, l]).sum(axis=1) / scale[:, l]
            for k in range(l + 1):
                if case.recorded[i, k]:
                    out[f"e'e[{i},{l},{k}]"] = (e[:, :, l] * e[:, :, k]).sum(axis=1)
            missing = case.recorded[i, l] & ~case.observed[here, l]
            if missing.any():
                for k in range(L):
                    both = missing & case.observed[here, k]
                    if both.any():
                        out[f"e missing'e seen[{i},{l},{k}]"] = (e[:, both, l] * e[:, both, k]).sum(axis=1)
    add_pads(case, a, noise, out)
    return out


def add_pads(case: Case, a: Arrays, noise: np.ndarray, out: Arrays) -> None:
    """Residuals of the unseen plots, over all environments."""
    pads = case.pads()
    if not len(pads.line):
        return
    u = a["b1"][:, :, pads.line]
    if a["b2"].shape[1]:
        u = u + np.moveaxis(a["b2"][:, pads.env, :, pads.line], 0, 2)
    fitted = a["beta"][:, pads.env] + np.swapaxes(u, 1, 2)
    e = (a["pads"] - fitted) / noise[:, None] * np.sqrt(pads.plots)[:, None]
    L = e.shape[2]
    for l in range(L):
        here = case.recorded[pads.env, l]
        out[f"unseen e[{l}]"] = e[:, here, l].sum(axis=1)
        out[f"unseen e'u[{l}]"] = (e[:, here, l] * u[:, l, here]).sum(axis=1)
        for k in range(l + 1):
            both = here & case.recorded[pads.env, k]
            if both.any():
                out[f"unseen e'e[{l},{k}]"] = (e[:, both, l] * e[:, both, k]).sum(axis=1)
