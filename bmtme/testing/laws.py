"""Draws of the parameters of structures from their priors, for every column and environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from bmtme.engines.rotated.problem import Problem
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, INVERSE_WISHART, SCALAR, CovariancePrior
from bmtme.structures.by_env import ByEnv, pack_correlations
from bmtme.structures.common_correlation import CommonCorrelation
from bmtme.structures.environments_by_trait import EnvironmentsByTrait
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.parameters import count_parameters, count_roots, pack_covariance
from bmtme.structures.part import Part, build_matrices
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.scaled import Scaled, gather_deviations, spread_deviations
from bmtme.structures.separable import Separable
from bmtme.structures.structure import Genetic, Residual
from bmtme.structures.tied import Tied
from bmtme.testing.dense import CovarianceLaw
from bmtme.testing.pairs import DrawPrior, Restrict

FAMILY_NAMES = {HALF_T: "half-t", INVERSE_WISHART: "inverse-wishart"}
SHAPE_NAMES = {FULL: "full", DIAGONAL: "diagonal", SCALAR: "scalar"}


def draw_covariance_parameters(rng: np.random.Generator, prior: CovariancePrior) -> np.ndarray:
    """Parameters of a covariance from its prior, every sign as likely as the other."""
    p = len(prior.scale)
    law = CovarianceLaw(
        SHAPE_NAMES[prior.shape], FAMILY_NAMES[prior.family], prior.nu, prior.scale, prior.df, prior.matrix
    )
    theta = rng.choice([-1.0, 1.0], int(count_parameters(prior.shape, p)))
    pack_covariance(prior.shape, np.linalg.cholesky(law.draw(rng)[0]), theta)
    return theta


def draw_correlation_parameters(rng: np.random.Generator, p: int, shape: int) -> np.ndarray:
    """The t of a correlation matrix with the margins of Huang & Wand: those of IW(I, p + 1)."""
    if shape != FULL or p < 2:
        return np.zeros(0)
    return pack_correlations(stats.invwishart.rvs(p + 1, np.eye(p), random_state=rng), shape)


def draw_spreads(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Log residual standard deviations (I L,): mean N(log 0.6, 2^2), deviations of variance IG(2, 0.18)."""
    deviations = rng.standard_normal((p.n_trait, p.n_env)) * np.sqrt(0.18 / rng.gamma(2.0, size=(p.n_trait, 1)))
    mean = np.log(0.6) + 2.0 * rng.standard_normal(p.n_trait)
    return (mean + (deviations - deviations.mean(axis=1, keepdims=True)).T).ravel()


def draw_proportional(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `Proportional`, Sigma_E diagonal or one variance."""
    theta = draw_covariance_parameters(rng, p.genetic.prior)
    if not p.interaction:
        return theta
    roots = np.abs(draw_covariance_parameters(rng, p.genetic.prior_env)) * rng.choice([-1.0, 1.0])
    theta[: count_roots(p.genetic.prior.shape, p.n_trait)] *= np.sqrt(1.0 + np.mean(roots**2))
    return np.concatenate([theta, np.arcsinh(roots)])


def draw_free(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `Free`."""
    prior = p.genetic.prior
    scale = np.tile(prior.scale, p.n_env)
    return draw_covariance_parameters(rng, CovariancePrior(HALF_T, FULL, prior.nu, scale, 0.0, np.eye(len(scale))))


def find_triangle(M: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (k,) of the triangle, spread evenly, and which entries (M, k) of the loadings are not zero."""
    pivots = np.arange(k) * (M - 1) // max(k - 1, 1)
    wanted = np.ones((M, k), bool)
    wanted[pivots] = np.tri(k, dtype=bool)
    return pivots, wanted


def pack_loadings(Lambda: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Parameters of any loadings (M, k): their rotation, by QR, with a lower triangle in rows spread evenly."""
    pivots, wanted = find_triangle(*Lambda.shape)
    turned = Lambda @ np.linalg.qr(Lambda[pivots].T)[0]
    return np.concatenate([turned[wanted], psi])


def draw_factor_analytic(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `FactorAnalytic`: free loadings, half of their variance shared by the environments of a trait."""
    I, L, M = p.n_env, p.n_trait, p.n_env * p.n_trait
    k = count_factors_of(p.whole_genetic)
    shared = np.tile(rng.standard_normal((L, k)), (I, 1))
    Lambda = (shared + rng.standard_normal((M, k))) / np.sqrt(2.0)
    return pack_loadings(Lambda, stats.t.rvs(4, size=M, random_state=rng))


def count_factors_of(part: Part) -> int:
    """Number of factors of a part: M k - k (k - 1) / 2 loadings, and M variances."""
    M = len(part.col_env)
    return next(k for k in range(1, M + 1) if M * k - k * (k - 1) // 2 + M == part.size)


def draw_main_and_interaction(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `MainAndInteraction`."""
    part = p.whole_genetic
    found = [draw_covariance_parameters(rng, part.prior) for _ in range(2)]
    a = rng.standard_normal(part.size - sum(map(len, found)))
    if len(a):
        size = np.exp(a)
        found[1][: len(part.prior.scale)] *= np.sqrt(size.mean() / size[p.genetic.seen].mean())
    return np.concatenate([*found, a])


def draw_environments_by_trait(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `EnvironmentsByTrait`."""
    prior, I = p.genetic.prior, p.n_env
    priors = [CovariancePrior(HALF_T, FULL, prior.nu, np.full(I, A), 0.0, np.eye(I)) for A in prior.scale]
    own = [draw_covariance_parameters(rng, each) for each in priors]
    return np.concatenate([*own, draw_correlation_parameters(rng, p.n_trait, FULL)])


def draw_separable(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `Separable`."""
    own = draw_covariance_parameters(rng, p.genetic.prior)
    return np.concatenate([own, rng.standard_normal(p.n_env), draw_correlation_parameters(rng, p.n_env, FULL)])


def draw_shared(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `Shared`."""
    return draw_covariance_parameters(rng, p.residual.prior)


def draw_by_env(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `ByEnv`."""
    pairs = [draw_correlation_parameters(rng, p.n_trait, p.residual.prior.shape) for _ in range(p.n_env)]
    return np.concatenate([draw_spreads(rng, p), *pairs])


def draw_common_correlation(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `CommonCorrelation`."""
    return np.concatenate([draw_spreads(rng, p), draw_correlation_parameters(rng, p.n_trait, p.residual.prior.shape)])


def draw_scaled(rng: np.random.Generator, p: Problem) -> np.ndarray:
    """Of `Scaled`: deviations of variance IG(2, 0.18), R_e on average over the environments with a record."""
    theta = draw_covariance_parameters(rng, p.residual.prior)
    deviations = np.sqrt(0.18 / rng.gamma(2.0)) * rng.standard_normal(p.n_env)
    theta[: p.n_trait] *= np.exp(deviations.mean() - deviations[p.residual.seen].mean())
    return np.concatenate([theta, contrast(deviations)])


def contrast(deviations: np.ndarray) -> np.ndarray:
    """The z of `Scaled` (n - 1,) of deviations from their mean."""
    z = np.empty(len(deviations) - 1)
    gather_deviations(deviations - deviations.mean(), z)
    return z


#: The prior of each structure.
LAWS: dict[type, DrawPrior] = {
    Proportional: draw_proportional,
    FactorAnalytic: draw_factor_analytic,
    Free: draw_free,
    MainAndInteraction: draw_main_and_interaction,
    EnvironmentsByTrait: draw_environments_by_trait,
    Separable: draw_separable,
    Shared: draw_shared,
    Tied: draw_shared,
    Scaled: draw_scaled,
    ByEnv: draw_by_env,
    CommonCorrelation: draw_common_correlation,
}


def restrict_main_and_interaction(part: Part, whole: Part, theta: np.ndarray) -> np.ndarray:
    """Of `MainAndInteraction`."""
    if part.size == whole.size:
        return theta
    L, size = part.n_trait, np.exp(theta[-part.n_env :])
    t, gt = np.array_split(theta[: -part.n_env].copy(), 2)
    gt[:L] *= np.sqrt(size[part.seen].mean() / size.mean())
    return np.concatenate([t, gt, theta[-part.n_env :][part.seen]])


def restrict_factor_analytic(part: Part, whole: Part, theta: np.ndarray) -> np.ndarray:
    """Of `FactorAnalytic`: the rows of recorded columns, turned to their own triangle."""
    M, k = len(whole.col_env), count_factors_of(whole)
    Lambda = np.zeros((M, k))
    Lambda[find_triangle(M, k)[1]] = theta[:-M]
    here = part.col_env * part.n_trait + part.col_trait
    return pack_loadings(Lambda[here], theta[-M:][here])


def restrict_by_env(part: Part, whole: Part, theta: np.ndarray) -> np.ndarray:
    """Of `ByEnv`."""
    L, sizes = part.n_trait, (part.n_env * part.n_trait, part.n_trait)
    R = build_matrices(whole, theta[None], sizes)[0].reshape(-1, L, L)
    groups = [part.col_trait[part.col_env == i] for i in range(part.n_env)]
    own = [pack_correlations(R[i][np.ix_(traits, traits)], part.prior.shape) for i, traits in enumerate(groups)]
    return np.concatenate([theta[part.col_env * L + part.col_trait], *own])


def restrict_common_correlation(part: Part, whole: Part, theta: np.ndarray) -> np.ndarray:
    """Of `CommonCorrelation`."""
    return np.concatenate([theta[part.col_env * part.n_trait + part.col_trait], theta[part.n_env * part.n_trait :]])


def restrict_scaled(part: Part, whole: Part, theta: np.ndarray) -> np.ndarray:
    """Of `Scaled`."""
    n = int(count_parameters(part.prior.shape, part.n_trait))
    g, own = np.empty(part.n_env), theta[:n].copy()
    spread_deviations(theta[n:], g)
    own[: part.n_trait] *= np.exp(g[part.seen].mean())
    return np.concatenate([own, contrast(g[part.seen])])


RESTRICTIONS: dict[type, Callable[[Part, Part, np.ndarray], np.ndarray]] = {
    MainAndInteraction: restrict_main_and_interaction,
    FactorAnalytic: restrict_factor_analytic,
    ByEnv: restrict_by_env,
    Scaled: restrict_scaled,
    CommonCorrelation: restrict_common_correlation,
}


def join_restrictions(genetic: Genetic, residual: Residual) -> Restrict:
    """Parameters of the columns with a record from those of all; the same where a structure has no other."""

    def restrict(p: Problem, theta: np.ndarray) -> np.ndarray:
        first = p.whole_residual.first
        found = []
        for structure, part, whole, values in (
            (genetic, p.genetic, p.whole_genetic, theta[:first]),
            (residual, p.residual, p.whole_residual, theta[first:]),
        ):
            change = RESTRICTIONS.get(type(structure))
            assert change is not None or part.size == whole.size
            found.append(values if change is None else change(part, whole, values))
        return np.concatenate(found)

    return restrict


def join_laws(genetic: Genetic, residual: Residual) -> DrawPrior:
    """Parameters of a pair of structures from their priors."""

    def draw(rng: np.random.Generator, p: Problem) -> np.ndarray:
        return np.concatenate([LAWS[type(genetic)](rng, p), LAWS[type(residual)](rng, p)])

    return draw
