"""Any genetic with any residual structure against dense algebra, and in the joint distribution: C and R are enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bmtme.engines.rotated.collapsed import Walk, allocate_walk, resume_walk
from bmtme.engines.rotated.density import sum_within
from bmtme.engines.rotated.draws import Draws, allocate_draws, hold_draws, take_effects
from bmtme.engines.rotated.factor_effects import adjust_data
from bmtme.engines.rotated.factors import Factors
from bmtme.engines.rotated.held import hold
from bmtme.engines.rotated.line_effect import count_line_parameters
from bmtme.engines.rotated.problem import Problem, build_problem, hold_problem, load_values
from bmtme.engines.rotated.state import State, allocate_work, hold_state
from bmtme.engines.rotated.steps import complete_data, prepare_mean_prior
from bmtme.engines.rotated.sweep import COLLAPSED, run_sweeps
from bmtme.model.codes import FULL
from bmtme.model.errors import Errors, share_covariances, share_errors
from bmtme.model.factors import Factor
from bmtme.structures.parameters import pack_covariance, unpack_covariance
from bmtme.structures.part import build_matrices
from bmtme.structures.structure import Structures, point_part
from bmtme.testing.cases import Case
from bmtme.testing.dense import CovarianceLaw, DenseModel, Unknowns
from bmtme.testing.geweke import Arrays, Comparison, compare_ranks

#: Draws parameters of every column and environment from their prior.
DrawPrior = Callable[[np.random.Generator, Problem], np.ndarray]
#: Parameters of the columns with a record from those of all.
Restrict = Callable[[Problem, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Truth:
    """Unknowns and data of one replicate."""

    theta: np.ndarray  # (q,) of every column and environment, without those of a line effect
    C: np.ndarray  # (I L, I L)
    R: np.ndarray  # (I, L, L)
    means: Unknowns  # of which the means count
    u: np.ndarray  # (I L, J)
    line: np.ndarray  # parameters of the line effect outside the relationship, none where there is none
    Sigma_r: np.ndarray  # (L, L) zero where there is none, like the effects
    r: np.ndarray  # (L, J)
    b: np.ndarray  # (K, L) effects of the levels of factors of records
    sd: np.ndarray  # (F, L) standard deviations of random ones
    values: np.ndarray  # (N, L)
    true: np.ndarray  # (N, L) the same without errors of known covariance, but for what these have in common
    pads: np.ndarray  # (pads, L)


def build_pair_problem(
    case: Case,
    structures: Structures,
    values: np.ndarray,
    line_effect: bool = False,
    factors: Sequence[Factor] = (),
    precision: float = 0.0,
    inner: int = 1,
    errors: Errors | None = None,
) -> Problem:
    """The problem of a case with other structures than the paper's, its priors serving these.

    line_effect : needs a case without multiples
    factors, precision : of its records; see `bmtme.engines.rotated.factors.lay_factors`
    errors : of its records, which its layout knows of
    """
    p = case.problem(values)
    priors = p.genetic.prior, p.genetic.prior_env, p.residual.prior
    data = case.layout, case.basis, case.hide(values)
    return build_problem(*data, *priors, p.means, inner, *structures, line_effect, factors, precision, errors)


def make_errors(case: Case, seed: int = 4) -> tuple[np.ndarray, np.ndarray, Errors]:
    """Standard errors (N, L), their correlation, and the errors; an environment's first record has the common one."""
    rng = np.random.default_rng(seed)
    L = case.observed.shape[1]
    correlation = 0.6 + 0.4 * np.eye(L)
    factor = rng.uniform(1.2, 3.0, case.observed.shape)
    factor[np.unique(case.model.env, return_index=True)[1]] = 1.0
    se = np.where(case.observed, rng.uniform(0.2, 0.8, L) * factor, np.nan)
    return se, correlation, share_errors(se, correlation, case.model.env, case.model.n_env)


def make_joint_errors(case: Case, seed: int = 4) -> tuple[dict[str, np.ndarray], Errors]:
    """Error covariances by environment, of records that share errors with a neighbour and all of one, and the errors.

    All of an environment are as if partly seen: the layout of the case has to know.
    """
    rng = np.random.default_rng(seed)
    L, covariances = case.observed.shape[1], {}
    P = 0.6 + 0.4 * np.eye(L)
    for i in range(case.model.n_env):
        n = int((case.model.env == i).sum())
        sd = rng.uniform(0.4, 1.2, (n, L))
        pairs = np.equal.outer(np.arange(n) // 2, np.arange(n) // 2)
        V = np.einsum("nl,mk,nm,lk->nlmk", sd, sd, np.eye(n) + 0.7 * pairs + 0.8, P)
        covariances[str(i)] = V + 0.1 * np.eye(n * L).reshape(n, L, n, L)
    names = list(map(str, range(case.model.n_env)))
    return covariances, share_covariances(covariances, case.observed, case.model.env, names)


def find_rest(errors: Errors, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records, traits and covariance of what is left of the errors in an environment, put together of its groups."""
    groups = [group for group in errors.groups if group.env == i]
    records = np.concatenate([group.records for group in groups])
    traits = np.concatenate([np.full(len(group.records), group.trait) for group in groups])
    if len(groups) == 1:  # may be singular
        return records, traits, (groups[0].turn * groups[0].values) @ groups[0].turn.T
    inverse = np.zeros((len(records), len(records)))
    for group in groups:
        own = traits == group.trait
        P = (group.turn / group.values) @ group.turn.T
        inverse[np.ix_(own, own)], inverse[np.ix_(own, ~own)] = P, -P @ group.gain
    return records, traits, np.linalg.inv(0.5 * (inverse + inverse.T))


def draw_errors(rng: np.random.Generator, errors: Errors) -> np.ndarray:
    """(N, L) what is left of the errors beyond the common part."""
    drawn = np.einsum("nlk,nk->nl", errors.root, rng.standard_normal(errors.root.shape[:2]))
    for i in sorted({group.env for group in errors.groups}):
        records, traits, V = find_rest(errors, i)
        values, vectors = np.linalg.eigh(V)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn[records, traits] = root @ rng.standard_normal(len(records))
    return drawn


def open_walk(p: Problem, s: State) -> tuple[Walk, tuple[Any, ...]]:
    """The walk of a problem, and what `evaluate` takes, ready for the data of a state."""
    walk = allocate_walk(p)
    held = hold(p, s, allocate_work(p), walk)
    complete_data(*held[:3])
    prepare_mean_prior(*held[:3])
    sum_within(held[0], held[1], held[3])
    return walk, held


def read_covariances(p: Problem, structures: Structures, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """C (n, I L, I L) and R (n, I, L, L) at (n, q) parameters of every column and environment."""
    n, size, L = len(theta), p.n_env * p.n_trait, p.n_trait
    first, last = p.whole_residual.first, p.whole_residual.first + p.whole_residual.size
    shapes = (size, size), ((p.block.max() + 1) * L, L)
    parts = p.whole_genetic, p.whole_residual
    pointed = [point_part(structure, part) for structure, part in zip(structures, parts, strict=True)]
    C, R = (
        build_matrices(part, values, shape)
        for part, values, shape in zip(pointed, (theta[:, :first], theta[:, first:last]), shapes, strict=True)
    )
    return C, R.reshape(n, -1, L, L)[:, p.block]


def measure_marginal(
    case: Case, C: np.ndarray, R: np.ndarray, t: Unknowns, values: np.ndarray, Sigma_r: np.ndarray | None = None
) -> float:
    """log p(values | C, R, tau or s2_b) of the completed model by one dense covariance, up to a constant.

    values : (N + pads, L), NaN in columns without a record
    Sigma_r : (L, L) of a line effect outside the relationship
    """
    m = case.completed()
    L = values.shape[1]
    record, trait = np.divmod(np.arange(values.size), L)
    line, column = m.line[record], m.env[record] * L + trait
    V = m.G[np.ix_(line, line)] * C[np.ix_(column, column)]
    if Sigma_r is not None:
        V += np.equal.outer(line, line) * Sigma_r[np.ix_(trait, trait)]
    for n, i in enumerate(m.env):
        V[n * L : (n + 1) * L, n * L : (n + 1) * L] += R[i] / m.plots[n]
    return m.integrate_means(V, t, values)


def draw_truth(
    case: Case,
    p: Problem,
    structures: Structures,
    draw: DrawPrior,
    rng: np.random.Generator,
    model: DenseModel | None = None,
    errors: Errors | None = None,
) -> Truth:
    """Everything from the prior.

    model : that of the case with further lines, without a record; default its own
    errors : of its records, of the problem
    """
    model = case.model if model is None else model
    theta = draw(rng, p)
    C, R = (values[0] for values in read_covariances(p, structures, theta[None]))
    t = model.draw(rng)
    roots, vectors = np.linalg.eigh(model.G)
    F = vectors * np.sqrt(np.where(roots > 1e-8 * roots.max(), roots, 0.0))
    u = np.linalg.cholesky(C) @ rng.standard_normal((len(C), len(F))) @ F.T
    line, Sigma_r, r = np.zeros(0), np.zeros((p.n_trait, p.n_trait)), np.zeros((p.n_trait, len(F)))
    if p.line_effect:
        line = draw_line_parameters(rng, p)
        assert unpack_covariance(line, FULL, np.empty(Sigma_r.shape), Sigma_r)
        r = np.linalg.cholesky(Sigma_r) @ rng.standard_normal(r.shape)
    empty = np.zeros((0, p.n_trait))
    truth = Truth(theta, C, R, t, u, line, Sigma_r, r, empty, empty, empty, empty, empty)
    pads = case.pads()
    whole = replace(truth, R=R + p.common.reshape(-1, p.n_trait, p.n_trait)[p.block])
    seen = draw_plots(whole, model, rng)
    unseen = draw_plots(whole, pads, rng) if len(pads.line) else empty
    b, sd = draw_levels(rng, p.factors)
    true = seen + add_levels(p.factors, b)
    values = true.copy()
    if errors is not None:
        values += draw_errors(rng, errors)
    return replace(truth, b=b, sd=sd, values=values, true=true, pads=unseen)


def draw_plots(truth: Truth, m: DenseModel, rng: np.random.Generator) -> np.ndarray:
    """(N, L) values of the plots of a model, of which line, environment and plots count, given the unknowns."""
    L = len(truth.Sigma_r)
    noise = np.stack([np.linalg.cholesky(truth.R[i]) @ rng.standard_normal(L) for i in m.env])
    fitted = truth.means.beta[m.env] + truth.u.reshape(len(truth.R), L, -1)[m.env, :, m.line] + truth.r.T[m.line]
    return np.asarray(fitted + noise / np.sqrt(m.plots)[:, None])


def draw_levels(rng: np.random.Generator, f: Factors) -> tuple[np.ndarray, np.ndarray]:
    """Effects of levels (K, L), and standard deviations (F, L) of random ones, from their prior."""
    sd = f.scale * np.abs(rng.standard_t(f.nu, f.scale.shape))
    for k in np.flatnonzero(~f.random):
        sd[k] = f.precision[k] ** -0.5
    b = np.where(f.active, sd[f.factor] * rng.standard_normal(f.active.shape), 0.0)
    env = np.repeat(np.arange(len(f.table)), np.diff(f.first))
    for i, k in np.ndindex(len(f.table), len(f.random)):
        here = (env == i) & (f.factor == k)
        if here.any() and not f.random[k] and not f.slope[k]:  # independent normals that are to sum to zero
            own = f.active[here]
            b[here] -= own * b[here].sum(axis=0) / np.maximum(own.sum(axis=0), 1)
    for k in f.slopes:  # one for all environments
        b[f.factor == k] = f.active[f.factor == k] * sd[k] * rng.standard_normal(sd.shape[1])
    return b, sd


def add_levels(f: Factors, b: np.ndarray) -> np.ndarray:
    """(N, L) effects of the levels and covariates of each record, of b (..., K, L)."""
    total = np.zeros((*b.shape[:-2], len(f.level), b.shape[-1]))
    for level, mark in zip(f.level.T, f.mark.T, strict=True):
        total += np.where((level >= 0)[:, None], b[..., level, :], 0.0) * mark[:, None]
    return total


def draw_line_parameters(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Parameters of Sigma_r from its prior."""
    prior = p.line_prior
    law = CovarianceLaw("full", "half-t", prior.nu, prior.scale, prior.df, prior.matrix)
    theta = rng.choice([-1.0, 1.0], count_line_parameters(prior))
    pack_covariance(FULL, np.linalg.cholesky(law.draw(rng)[0]), theta)
    return theta


def pack_truth(case: Case, p: Problem, truth: Truth) -> State:
    """The sampler's state at a truth; its covariances are the walk's."""
    s = case.pack(p, truth.means, truth.true - add_levels(p.factors, truth.b), truth.pads)
    s.level_effects[:], s.level_sd[:] = truth.b, truth.sd
    adjust_data(hold_problem(p), hold_state(s))
    s.R_e[:] = truth.R[np.unique(p.block, return_index=True)[1]].reshape(s.R_e.shape) + p.common
    s.W[:] = case.standardise(truth.u)[case.recorded.ravel()]
    s.Sigma_r[:] = truth.Sigma_r
    if p.line_effect:
        s.r[:] = truth.r if case.basis.vectors is None else truth.r @ case.basis.vectors
    return s


def compare_pair(
    case: Case,
    structures: Structures,
    draw: DrawPrior,
    restrict: Restrict,
    size: int,
    sweeps: int,
    seed: int,
    line_effect: bool = False,
    factors: Sequence[Factor] = (),
    precision: float = 0.0,
    errors: Errors | None = None,
) -> Comparison:
    """Joint distribution before and after a few sweeps (see `bmtme.testing.geweke`).

    Parameters
    ----------
    draw : parameters of every column and environment from the prior
    restrict : those of the columns with a record
    size, sweeps : replicates, and sweeps of each
    """
    rng = np.random.default_rng(seed)
    p = build_pair_problem(
        case, structures, np.zeros(case.observed.shape), line_effect, factors, precision, errors=errors
    )
    work, walk = allocate_work(p), allocate_walk(p)
    walk.tuning.step[0], walk.tuning.leapfrogs[0], walk.tuning.mirror_every[0] = 0.15, 5, 1
    slots = np.full(sweeps, -1)
    slots[-1] = 0
    draws = allocate_draws(p, sweeps, slots, False)
    has_pad = case.layout.cell_pad > 0
    before: list[tuple[np.ndarray, ...]] = []
    after: list[tuple[np.ndarray, ...]] = []
    for _ in range(size):
        truth = draw_truth(case, p, structures, draw, rng, errors=errors)
        load_values(p, case.layout, case.basis, case.hide(truth.values))
        s = pack_truth(case, p, truth)
        walk.theta[:] = np.concatenate([restrict(p, truth.theta), truth.line])
        held = hold(p, s, work, walk)
        resume_walk(*held)
        code = run_sweeps(rng, COLLAPSED, *held, 0, sweeps, True, hold_draws(draws), np.empty((0, len(walk.theta))))[1]
        if code:
            raise ArithmeticError(f"a sweep failed with code {code}")
        values = truth.true.copy()
        values[case.layout.part_record] = s.part + add_levels(p.factors, s.level_effects)[case.layout.part_record]
        line = truth.Sigma_r, truth.r
        means = truth.means
        before.append((truth.C, truth.R, means.beta, means.mu, means.tau2, truth.u, truth.true, truth.pads, *line))
        before[-1] = *before[-1], truth.b, truth.sd, truth.values
        I, L = case.recorded.shape
        u = case.basis.rotate_back(np.array([take_effects(draws, i, l)[0] for i in range(I) for l in range(L)]))
        R = draws.R_e[-1].reshape(-1, L, L)[np.zeros(I, int) if p.tied else p.block]
        line = draws.Sigma_r[-1], case.basis.rotate_plain(draws.r[0]) if line_effect else truth.r
        C, tau2 = read_genetic(p, draws), draws.tau[-1] ** 2
        after.append((C, R, draws.beta[-1], draws.mu[-1], tau2, u, values, s.pad[has_pad], *line))
        after[-1] = *(np.array(part) for part in after[-1]), draws.level_effects[-1].copy(), draws.level_sd[-1].copy()
        after[-1] = *after[-1], truth.values
    return compare_ranks(
        *(summarise_pair(case, p, [np.array(x) for x in zip(*rows, strict=True)]) for rows in (before, after))
    )


def read_genetic(p: Problem, draws: Draws) -> np.ndarray:
    """C (I L, I L) of the last draw."""
    if p.proportional:
        return np.asarray(np.kron(np.ones((p.n_env, p.n_env)) + np.diag(draws.s2_E[-1]), draws.Sigma_t[-1]))
    size = p.n_env * p.n_trait
    return build_matrices(p.whole_genetic, draws.theta[-1:], (size, size))[0]


def summarise_pair(case: Case, p: Problem, columns: list[np.ndarray]) -> Arrays:
    """Statistics of the joint distribution, each (n,): unknowns, and how they, data and imputed values go together."""
    C, R, beta, mu, tau2, u, values, pads, Sigma_r, r, effects, sd, given = columns
    I, L = case.recorded.shape
    errors = np.where(case.observed, given - values, 0.0)
    values = values - add_levels(p.factors, effects)
    # Values less r are those of a model without it: what goes together with u and beta there does so here.
    values, pads = values - np.swapaxes(r, 1, 2)[:, case.model.line], pads - np.swapaxes(r, 1, 2)[:, case.pads().line]
    m = case.model
    out: Arrays = {}
    scale, noise = np.sqrt(np.diagonal(C, axis1=1, axis2=2)), np.sqrt(np.diagonal(R, axis1=2, axis2=3))
    for l in range(L):
        out[f"mu[{l}]"], out[f"tau[{l}]"] = mu[:, l], tau2[:, l]
        out[f"(beta - mu) / tau[{l}]"] = (beta[:, :, l].mean(axis=1) - mu[:, l]) / np.sqrt(tau2[:, l])
    w = case.standardise(u) / scale[:, :, None]
    for a in range(I * L):
        out[f"C[{a},{a}]"] = C[:, a, a]
        out[f"u[{a}]"] = u[:, a, 0]
        for b in range(a + 1):
            out[f"u'u[{a},{b}]"] = (w[:, a] * w[:, b]).sum(axis=1)
            if b < a:
                out[f"cor C[{a},{b}]"] = C[:, a, b] / (scale[:, a] * scale[:, b])
    for i in range(I):
        here = np.flatnonzero(m.env == i)
        line = m.line[here]
        for l in range(L):
            a = i * L + l
            out[f"R[{i},{l},{l}]"], out[f"beta[{i},{l}]"] = R[:, i, l, l], beta[:, i, l]
            if not case.recorded[i, l]:
                continue
            y, g = values[:, here, l], u[:, a][:, line]
            e = (y - beta[:, i, None, l] - g) / noise[:, i, l, None]
            out[f"y'beta[{a}]"] = y.mean(axis=1) * beta[:, i, l]
            out[f"y'u[{a}]"], out[f"e'u[{a}]"] = (y * g).sum(axis=1), (e * g).sum(axis=1) / scale[:, a]
            out[f"e[{a}]"] = e.sum(axis=1)
            for k in range(l + 1):
                if case.recorded[i, k]:
                    other = values[:, here, k] - beta[:, i, None, k] - u[:, i * L + k][:, line]
                    out[f"e'e[{a},{k}]"] = (e * other / noise[:, i, k, None]).sum(axis=1)
                    if k < l:
                        out[f"cor R[{i},{l},{k}]"] = R[:, i, l, k] / (noise[:, i, l] * noise[:, i, k])
    if Sigma_r.any():
        for l in range(L):
            out[f"Sigma_r[{l}]"] = Sigma_r[:, l, l]
            standard = r[:, l] / np.sqrt(Sigma_r[:, l, l])[:, None]
            out[f"r'r[{l}]"], out[f"r[{l}]"] = (standard**2).sum(axis=1), standard[:, 0]
            out[f"r'r[{l},0]"] = (standard * r[:, 0]).sum(axis=1) / np.sqrt(Sigma_r[:, 0, 0])
            for i in np.flatnonzero(case.recorded[:, l]).tolist():
                here = np.flatnonzero(m.env == i)
                e = values[:, here, l] - beta[:, i, None, l] - u[:, i * L + l][:, m.line[here]]
                out[f"e'r[{i},{l}]"] = (e * standard[:, m.line[here]]).sum(axis=1) / noise[:, i, l]
                out[f"u'r[{i},{l}]"] = (u[:, i * L + l] * standard).sum(axis=1) / scale[:, i * L + l]
                out[f"beta r[{i},{l}]"] = (beta[:, i, l] - mu[:, l]) / np.sqrt(tau2[:, l]) * standard.sum(axis=1)
    summarise_levels(case, p.factors, out, (beta - mu[:, None]) / np.sqrt(tau2)[:, None], u, values, noise, effects, sd)
    for l in range(L if p.known else 0):  # without, the difference is rounding
        out[f"error[{l}]"] = (errors[:, :, l] * u[:, l, m.line]).sum(axis=1)
        for k in range(l + 1):
            out[f"error'error[{l},{k}]"] = (errors[:, :, l] * errors[:, :, k]).sum(axis=1)
    unseen = case.pads()
    for i in range(I):
        here = np.flatnonzero(unseen.env == i)
        for l in range(L):
            if len(here) and case.recorded[i, l]:
                e = pads[:, here, l] - beta[:, i, None, l] - u[:, i * L + l][:, unseen.line[here]]
                out[f"unseen e[{i},{l}]"] = (e / noise[:, i, l, None]).sum(axis=1)
                out[f"unseen e'e[{i},{l}]"] = (e**2 / noise[:, i, l, None] ** 2).sum(axis=1)
    return out


def summarise_levels(
    case: Case,
    f: Factors,
    out: Arrays,
    beta: np.ndarray,
    u: np.ndarray,
    values: np.ndarray,
    noise: np.ndarray,
    b: np.ndarray,
    sd: np.ndarray,
) -> None:
    """Statistics of the effects of levels: alone, and with means, u and residuals.

    beta : (n, I, L) standardised; values : less all other effects than u and the means
    """
    env = np.repeat(np.arange(len(f.table)), np.diff(f.first))
    for k, l in np.argwhere(f.active).tolist():
        i, factor = int(env[k]), int(f.factor[k])
        own = b[:, k, l] / sd[:, factor, l]
        out[f"b[{k},{l}]"], out[f"b beta[{k},{l}]"] = own, own * beta[:, i, l]
        here = np.flatnonzero((f.level == k).any(axis=1) & case.observed[:, l])
        line = case.model.line[here]
        g = u[:, i * case.recorded.shape[1] + l][:, line]
        mark = f.mark[here, factor]
        rest = (mark * (values[:, here, l] - g)).mean(axis=1)
        out[f"b y[{k},{l}]"], out[f"b u[{k},{l}]"] = own * rest / noise[:, i, l], own * (mark * g).sum(axis=1)
        if f.random[factor]:
            out[f"sd[{factor},{l}]"] = sd[:, factor, l]
            out[f"b b[{factor},{l}]"] = ((b[:, f.factor == factor, l] / sd[:, factor, None, l]) ** 2).sum(axis=1)
    for i, l in np.argwhere(case.recorded).tolist():
        own = b[:, (env == i) & f.active[:, l], l] / noise[:, i, l, None]
        if own.shape[1] > 1:
            out[f"b between[{i},{l}]"] = own.std(axis=1)
