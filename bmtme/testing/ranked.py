"""What simulation-based calibration ranks: unknowns drawn from the prior, data given them, and both as quantities.

Two kinds of models: the paper's, whose truths are those of the dense twin, and any other pair of structures, whose
truths are made by the structures' own `build` from parameters that `bmtme.testing.laws` draws from their priors.
Quantities have a name and a value; those of draws have a leading axis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bmtme.engines.rotated.draws import Draws, take_effects
from bmtme.engines.rotated.problem import Problem
from bmtme.model.errors import Errors
from bmtme.model.factors import Factor
from bmtme.model.structure import describe_structure
from bmtme.results.predictions import Targets
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.part import Part, build_matrices
from bmtme.structures.proportional import PAPER_PAIR, Proportional
from bmtme.structures.structure import Genetic, Structures
from bmtme.testing.cases import Case
from bmtme.testing.dense import DenseModel, Unknowns, log_normal
from bmtme.testing.laws import join_laws
from bmtme.testing.pairs import Truth, add_levels, build_pair_problem, draw_plots, draw_truth

Values = list[tuple[str, float | np.ndarray]]


@dataclass(frozen=True)
class Subject:
    """A model with a design.

    Attributes
    ----------
    case : the recorded lines, their records, and priors one can draw from
    model : the same with further lines that have a relationship but no record, from which truths are drawn
    held : (line, environment) of one new plot each, by a word that says what is special about it
    """

    case: Case
    model: DenseModel
    held: dict[str, tuple[int, int]]

    @property
    def structures(self) -> Structures:
        """Genetic and residual structure."""
        return PAPER_PAIR

    def describe(self) -> dict[str, Any]:
        """What else there is to say of the model in a record of a run."""
        return {}

    def problem(self, values: np.ndarray, inner: int) -> Problem:
        """The sampler's problem of values (N, L) of every trait."""
        return self.case.problem(values, inner)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Values]:
        """Values (N, L) of every trait of the records, those (held, L) of the new plots, and all true quantities."""
        raise NotImplementedError

    def read(self, draws: Draws, problem: Problem) -> Values:
        """The same quantities but for the new plots in the kept draws, in the same order."""
        raise NotImplementedError

    def new_plots(self) -> DenseModel:
        """The held-out plots, one a word."""
        line, env = (np.array(x) for x in zip(*self.held.values(), strict=True))
        return replace(self.model, line=line, env=env, plots=np.ones(len(line)))

    def name_plots(self, values: np.ndarray) -> Values:
        """Quantities of the held-out plots, (held, L) or (held, L, kept)."""
        return [(f"plot[{word},{l}]", values[h, l]) for h, word in enumerate(self.held) for l in range(values.shape[1])]


@dataclass(frozen=True)
class Paper(Subject):
    """The paper's model in all its variants, drawn by the dense twin."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Values]:
        t = self.model.draw(rng)
        values = self.model.draw_values(rng, t)
        plots = self.new_plots().draw_values(rng, t)
        return values, plots, self._list_truth(t, values) + self.name_plots(plots)

    def _list_truth(self, t: Unknowns, values: np.ndarray) -> Values:
        case, (I, L) = self.case, self.case.recorded.shape
        out = self._list(t.Sigma_t, t.s2_E, t.R_e, t.beta, t.mu, np.sqrt(t.tau2))
        completed = case.without_absent(case.model.env, values)
        out.append(("log likelihood", self.model.completed_log_density(t, completed)))
        for l in range(L):
            out += [(f"b1[{j},{l}]", t.b1[j, l]) for j in (0, len(case.model.G) - 1)]
            if case.model.interaction:
                out += [(f"b2[{i},0,{l}]", t.b2[i, 0, l]) for i in (0, I - 1)]
        return out

    def read(self, draws: Draws, problem: Problem) -> Values:
        case, (I, L) = self.case, self.case.recorded.shape
        kept = draws.slot >= 0
        small = (draws.Sigma_t, draws.s2_E, draws.R_e, draws.beta, draws.mu, draws.tau)
        out = self._list(*(x[kept] for x in small))
        out.append(("log likelihood", draws.completed_log_density[kept]))
        b1, b2 = (case.basis.rotate_back(w) for w in (draws.W1, draws.W2))
        for l in range(L):
            out += [(f"b1[{j},{l}]", b1[:, l, j]) for j in (0, len(case.model.G) - 1)]
            if case.model.interaction:
                out += [(f"b2[{i},0,{l}]", b2[:, i * L + l, 0]) for i in (0, I - 1)]
        return out

    def _list(self, Sigma_t: Any, s2_E: Any, R_e: Any, beta: Any, mu: Any, tau: Any) -> Values:
        m = self.case.model
        out: Values = []
        for name, law, M in (("Sigma_t", m.law_t, Sigma_t), ("R_e", m.law_e, R_e)):
            out += list_covariance(name, M, law.shape)
        if m.interaction:
            places = range(m.n_env if m.law_E.shape != "scalar" else 1)
            out += [(f"Sigma_E[{i},{i}]", s2_E[..., i]) for i in places]
        tau = tau if m.law_beta.kind == "exchangeable" else None
        return out + list_means(beta, mu, tau)


@dataclass(frozen=True)
class Pair(Subject):
    """Any genetic with any residual structure, perhaps with a line effect, blocks or known errors.

    Ranked are C and R whole, entries, correlations and determinants, and what the structures are made of.
    """

    pair: Structures
    line_effect: bool = False
    factors: tuple[Factor, ...] = ()
    precision: float = 0.0
    errors: Errors | None = None

    @property
    def structures(self) -> Structures:
        return self.pair

    def describe(self) -> dict[str, Any]:
        genetic, residual = (describe_structure(structure) for structure in self.pair)
        errors = None if self.errors is None else np.diagonal(self.errors.common, axis1=1, axis2=2).round(6).tolist()
        levels = {factor.name: factor.level.tolist() for factor in self.factors}
        rest = {"line_effect": self.line_effect, "blocks": levels, "errors": errors}
        return {"genetic": genetic, "residual": residual} | rest

    def problem(self, values: np.ndarray, inner: int) -> Problem:
        return build_pair_problem(
            self.case, self.pair, values, self.line_effect, self.factors, self.precision, inner, self.errors
        )

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Values]:
        p = self.problem(np.zeros(self.case.observed.shape), 1)
        truth = draw_truth(self.case, p, self.pair, join_laws(*self.pair), rng, self.model, self.errors)
        plots = draw_plots(truth, self.new_plots(), rng)
        return truth.values, plots, self._list_truth(p, truth) + self.name_plots(plots)

    def _list_truth(self, p: Problem, truth: Truth) -> Values:
        case, means = self.case, truth.means
        out = self._list_covariances(p, truth.C, truth.R, truth.theta[None, : p.whole_residual.first])
        out += list_means(means.beta, means.mu, np.sqrt(means.tau2))
        out.append(("log likelihood", measure_completed(case, truth, p)))
        out += list_levels(p, truth.b, truth.sd)
        ends = (0, len(case.model.G) - 1)
        out += [(f"u[{a},{j}]", truth.u[a, j]) for a in range(len(truth.u)) for j in ends]
        if self.line_effect:
            out += list_covariance("Sigma_r", truth.Sigma_r)
            out += [(f"r[{j},{l}]", truth.r[l, j]) for l in range(p.n_trait) for j in ends]
        return out

    def read(self, draws: Draws, problem: Problem) -> Values:
        case, (I, L) = self.case, self.case.recorded.shape
        kept = draws.slot >= 0
        theta = draws.theta[kept] if len(draws.theta) else np.zeros((0, 0))
        R = draws.R_e[kept].reshape(int(kept.sum()), -1, L, L)[:, np.zeros(I, int) if problem.tied else problem.block]
        out = self._list_covariances(problem, read_genetic(problem, draws)[kept], R, theta)
        out += list_means(draws.beta[kept], draws.mu[kept], draws.tau[kept])
        out.append(("log likelihood", draws.completed_log_density[kept]))
        out += list_levels(problem, draws.level_effects[kept], draws.level_sd[kept])
        ends = (0, len(case.model.G) - 1)
        for i, l in np.ndindex(I, L):
            u = case.basis.rotate_back(take_effects(draws, i, l))
            out += [(f"u[{i * L + l},{j}]", u[:, j]) for j in ends]
        if self.line_effect:
            out += list_covariance("Sigma_r", draws.Sigma_r[kept])
            r = case.basis.rotate_plain(draws.r)
            out += [(f"r[{j},{l}]", r[:, l, j]) for l in range(L) for j in ends]
        return out

    def _list_covariances(self, p: Problem, C: np.ndarray, R: np.ndarray, theta: np.ndarray) -> Values:
        """Of C (..., I L, I L), R (..., I, L, L), and of (n, size) parameters of the genetic structure."""
        genetic = self.pair[0]
        out = list_covariance("C", C)
        if type(genetic) is Proportional:
            out += list_proportional(C, p.n_trait)
        else:
            for name, values in list_own(genetic, p.whole_genetic, p.seen, theta).items():
                out += list_parameters(name, values, C.ndim == 3)
        if not p.by_env:
            return out + list_covariance("R_e", R[..., 0, :, :])
        for i in range(p.n_env):
            out += list_covariance(f"R_e[{i}]", R[..., i, :, :])
        logs = 0.5 * np.log(np.diagonal(R, axis1=-2, axis2=-1))
        spread = logs.std(axis=-2)
        return out + [(f"spread R_e[{l}]", spread[..., l]) for l in range(p.n_trait)]


def list_covariance(name: str, M: np.ndarray, shape: str = "full") -> Values:
    """Entries, correlations and log determinant of covariances (..., p, p)."""
    p = M.shape[-1]
    out: Values = []
    for a in range(p if shape != "scalar" else 1):
        out.append((f"{name}[{a},{a}]", M[..., a, a]))
        for b in range(a if shape == "full" else 0):
            out.append((f"{name}[{a},{b}]", M[..., a, b]))
            out.append((f"cor {name}[{a},{b}]", M[..., a, b] / np.sqrt(M[..., a, a] * M[..., b, b])))
    if shape != "scalar" and p > 1:
        out.append((f"log|{name}|", np.linalg.slogdet(M)[1]))
    return out


def list_means(beta: Any, mu: Any, tau: Any | None) -> Values:
    """Of environments and traits, and what they are drawn from where they are (tau is None where not)."""
    I, L = beta.shape[-2:]
    out: Values = [(f"beta[{i},{l}]", beta[..., i, l]) for i in range(I) for l in range(L)]
    if tau is not None:
        out += [(f"mu[{l}]", mu[..., l]) for l in range(L)] + [(f"tau[{l}]", tau[..., l]) for l in range(L)]
    return out


def list_proportional(C: np.ndarray, n_trait: int) -> Values:
    """Sigma_t and Sigma_E of (1 1' + Sigma_E) (x) Sigma_t with several environments: blocks beside the diagonal."""
    L = n_trait
    Sigma_t = C[..., :L, L : 2 * L]
    variances = np.diagonal(C, axis1=-2, axis2=-1)[..., ::L] / Sigma_t[..., :1, 0] - 1.0
    out = list_covariance("Sigma_t", Sigma_t)
    return out + [(f"Sigma_E[{i},{i}]", variances[..., i]) for i in range(variances.shape[-1])]


def list_own(genetic: Genetic, part: Part, seen: np.ndarray, theta: np.ndarray) -> dict[str, np.ndarray]:
    """What a genetic structure is made of beside C, at (n, size) parameters of every column."""
    if isinstance(genetic, FactorAnalytic):
        return {"psi": np.abs(theta[:, -len(part.col_env) :])}
    return dict(genetic.report(part, seen, theta))


def list_parameters(name: str, values: np.ndarray, drawn: bool) -> Values:
    """Of vectors (n, p), covariances or correlations (n, p, p), or one for each trait (n, p, p, L).

    drawn : whether the leading axis is that of draws; else there is one truth
    """
    each = values if drawn else values[0]
    if values.ndim == 2:
        return [(f"{name}[{a}]", each[..., a]) for a in range(each.shape[-1])]
    if values.ndim == 4:
        return [entry for l in range(values.shape[3]) for entry in list_covariance(f"{name}[{l}]", each[..., l])]
    if np.allclose(np.diagonal(values, axis1=1, axis2=2), 1.0, atol=1e-9):
        p = values.shape[1]
        return [(f"{name}[{a},{b}]", each[..., a, b]) for a in range(p) for b in range(a)]
    return list_covariance(name, each)


def read_genetic(p: Problem, draws: Draws) -> np.ndarray:
    """C (n, I L, I L) of every draw."""
    I, size = p.n_env, p.n_env * p.n_trait
    if not p.proportional:
        return build_matrices(p.whole_genetic, draws.theta, (size, size))
    env = np.ones((I, I)) + np.eye(I) * draws.s2_E[:, None, :]
    return np.asarray(np.einsum("nih,nlq->nilhq", env, draws.Sigma_t).reshape(-1, size, size))


def list_levels(p: Problem, b: np.ndarray, sd: np.ndarray) -> Values:
    """Effects (..., K, L) of the first and last level of random factors, their SDs (..., F, L), and slopes."""
    out: Values = []
    for f, l in np.ndindex(sd.shape[-2:]):
        mine = np.flatnonzero((p.factors.factor == f) & p.factors.active[:, l])
        if p.factors.slope[f]:
            out.append((f"slope[{f},{l}]", b[..., mine[0], l]))
            continue
        out.append((f"sd[{f},{l}]", sd[..., f, l]))
        out += [(f"b[{k},{l}]", b[..., k, l]) for k in mine[[0, -1]].tolist()]
    return out


def measure_completed(case: Case, truth: Truth, p: Problem) -> float:
    """log p(values | means, effects, R) of the records, every trait of them but those of columns without a record."""
    total, L = 0.0, truth.values.shape[1]
    R, levels = truth.R + p.common.reshape(-1, L, L)[p.block], add_levels(p.factors, truth.b)
    u = truth.u.reshape(len(truth.R), L, -1)
    for n, (j, i) in enumerate(zip(case.model.line, case.model.env, strict=True)):
        o = case.recorded[i]
        e = truth.true[n] - levels[n] - truth.means.beta[i] - u[i, :, j] - truth.r[:, j]
        total += log_normal(e[o], R[i][np.ix_(o, o)] / case.model.plots[n])
    return total


def choose_targets(subject: Subject) -> Targets:
    """All lines of the subject's model: those recorded, and the last by projection."""
    basis, G = subject.case.basis, subject.model.G
    J = len(subject.case.model.G)
    A, explained = basis.project(G[J:, :J] * basis.scale)
    return Targets(np.append(np.arange(J), -1), A, np.diag(G)[J:] - explained)


def fit_held(subject: Subject, targets: Targets, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Conditional mean and variance of each held-out plot in each kept draw, (held, L, kept)."""
    kept = draws.slot >= 0
    basis, L = subject.case.basis, subject.case.recorded.shape[1]
    fitted = np.empty((len(subject.held), L, int(kept.sum())))
    variance = np.empty(fitted.shape)
    r = draws.r if draws.r.shape[1] else None
    for h, (j, i) in enumerate(subject.held.values()):
        new = targets.recorded[j] < 0
        for l in range(L):
            w = take_effects(draws, i, l)
            fitted[h, l] = draws.beta[kept, i, l] + (w @ targets.A[0] if new else basis.rotate_back(w)[:, j])
            variance[h, l] = draws.residual[kept, i, l]
            if new:
                variance[h, l] += targets.spare[0] * draws.genetic[kept, i, l] + draws.Sigma_r[kept, l, l]
            elif r is not None:
                fitted[h, l] += basis.rotate_plain(r[:, l])[:, j]
    return fitted, variance
