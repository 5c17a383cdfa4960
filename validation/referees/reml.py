"""Restricted maximum likelihood, and the posterior that goes with it, by dense algebra: for validation only.

y ~ N(X b, V) with b flat and V = sum_k theta_k V_k over known matrices V_k. With
P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1,

    l(theta) = -(log |V| + log |X'V^-1 X| + y'P y) / 2,
    dl / dtheta_k = -(tr(P V_k) - y'P V_k P y) / 2,        average information: y'P V_k P V_q P y / 2

(Gilmour, Thompson and Cullis 1995, Biometrics 51:1440-1450). Nothing of bmtme is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from threadpoolctl import threadpool_limits

#: Newton steps stop where all entries move by less than this share of the largest variance.
PRECISION = 1e-9
#: Degrees of freedom of the t that importance sampling draws from.
TAILS = 8.0


@dataclass(frozen=True)
class Maximum:
    """REML estimates (k,), their covariance by the inverse average information, and the Newton steps taken."""

    theta: np.ndarray
    covariance: np.ndarray
    steps: int

    @property
    def errors(self) -> np.ndarray:
        """Standard errors."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class Traits:
    """Records of p traits on related individuals: V[n, n'] = A[i, i'] S[l, l'] + [i = i'] R[l, l'].

    theta holds the lower triangles of S and R, row by row.

    Attributes
    ----------
    values : (n,) recorded values
    design : (n, q) X
    trait : (n,) which trait a value is of
    individual : (n,) place of the individual in A
    A : relationship
    """

    values: np.ndarray
    design: np.ndarray
    trait: np.ndarray
    individual: np.ndarray
    A: np.ndarray

    @property
    def p(self) -> int:
        """Number of traits."""
        return int(self.trait.max()) + 1

    def parts(self) -> list[np.ndarray]:
        """The matrices V_k."""
        related = self.A[np.ix_(self.individual, self.individual)]
        same = (self.individual[:, None] == self.individual[None, :]).astype(float)
        out = []
        for matrix in (related, same):
            for a, b in zip(*np.tril_indices(self.p), strict=True):
                is_a, is_b = (self.trait == a).astype(float), (self.trait == b).astype(float)
                mask = np.outer(is_a, is_b)
                out.append(matrix * (mask if a == b else mask + mask.T))
        return out

    def spread(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S and R (p, p) of theta."""
        half = len(theta) // 2
        return fill(theta[:half]), fill(theta[half:])

    def log_likelihood(self, theta: np.ndarray) -> float:
        """l(theta); minus infinity where V is not positive definite."""
        S, R = self.spread(theta)
        V = self.A[np.ix_(self.individual, self.individual)] * S[np.ix_(self.trait, self.trait)]
        V += (self.individual[:, None] == self.individual[None, :]) * R[np.ix_(self.trait, self.trait)]
        try:
            K = cholesky(V, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            return -np.inf
        z = solve_triangular(K, np.column_stack([self.design, self.values]), lower=True, check_finite=False)
        X, y = z[:, :-1], z[:, -1]
        C = X.T @ X
        left = y @ y - (y @ X) @ np.linalg.solve(C, X.T @ y)
        return float(-np.log(np.diag(K)).sum() - 0.5 * np.linalg.slogdet(C)[1] - 0.5 * left)

    def maximise(self, most: int = 50) -> Maximum:
        """Newton steps by the average information, halved where the likelihood would fall.

        Raises
        ------
        RuntimeError
            Where `most` steps do not reach the maximum.
        """
        parts = self.parts()
        theta = self.start()
        height = self.log_likelihood(theta)
        for step in range(1, most + 1):
            V = sum(t * part for t, part in zip(theta, parts, strict=True))
            inverse = invert(np.asarray(V))
            W = inverse @ self.design
            C = self.design.T @ W
            P = inverse - W @ np.linalg.solve(C, W.T)
            Py = P @ self.values
            Q = np.column_stack([part @ Py for part in parts])
            gradient = -0.5 * np.array([np.vdot(P, part) for part in parts]) + 0.5 * Q.T @ Py
            information = 0.5 * Q.T @ P @ Q
            move = np.linalg.solve(information, gradient)
            while self.log_likelihood(theta + move) < height - 1e-9 * abs(height):
                move = move / 2
            theta = theta + move
            height = self.log_likelihood(theta)
            if np.abs(move).max() < PRECISION * np.abs(theta).max():
                return Maximum(theta, np.linalg.inv(information), step)
        raise RuntimeError(f"REML has not converged in {most} steps")

    def start(self) -> np.ndarray:
        """Half of each trait's variance is additive; no covariances."""
        half = [
            0.5 * float(np.var(self.values[self.trait == a])) if a == b else 0.0
            for a, b in zip(*np.tril_indices(self.p), strict=True)
        ]
        return np.array(half + half)


def fill(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix of a lower triangle, row by row."""
    p = int(np.sqrt(2 * len(triangle)))
    out = np.zeros((p, p))
    out[np.tril_indices(p)] = triangle
    return out + np.tril(out, -1).T


def invert(V: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix."""
    K = cholesky(V, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = dpotri(K, lower=1)
    lower = np.tril(inverse)
    return lower + np.tril(lower, -1).T


def log_half_t_prior(S: np.ndarray, nu: float, scale: np.ndarray) -> float:
    """Log density of Huang and Wand's prior of a covariance (2013, Bayesian Analysis 8:439-452), auxiliaries out."""
    p = len(S)
    diagonal = np.diag(np.linalg.inv(S))
    return float(-(nu + 2 * p) / 2 * np.linalg.slogdet(S)[1] - (nu + p) / 2 * np.log(nu * diagonal + scale**-2.0).sum())


@dataclass(frozen=True)
class Sample:
    """Weighted draws of theta (n, k); the weights sum to one."""

    theta: np.ndarray
    weights: np.ndarray

    @property
    def effective(self) -> float:
        """How many unweighted draws they are worth."""
        return float(1 / (self.weights**2).sum())

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means of functions of theta, (n, k) to (n, q), and their Monte Carlo errors."""
        x = function(self.theta)
        mean = self.weights @ x
        return mean, np.sqrt((self.weights**2) @ (x - mean) ** 2)


def to_theta(phi: np.ndarray) -> np.ndarray:
    """Lower triangles, row by row, of K K', K lower triangular with the rows phi; signs of columns do not matter."""
    K = np.tril(fill(phi))
    return (K @ K.T)[np.tril_indices(len(K))]


def log_jacobian(phi: np.ndarray) -> float:
    """log |d to_theta / d phi|, up to a constant: prod_k |K_kk|^(p - k), k = 0 ... p - 1."""
    diagonal = np.abs(np.diag(fill(phi)))
    return float(((len(diagonal) - np.arange(len(diagonal))) * np.log(diagonal)).sum())


def sample_posterior(
    traits: Traits, maximum: Maximum, nu: float, scale: np.ndarray, draws: int, seed: int, cores: int
) -> Sample:
    """Importance sampling in the Cholesky factors of S and R: a t, weighted by likelihood x prior.

    A quarter of the draws from a t about the REML estimates adapts its mean and covariance; the others are kept.

    Parameters
    ----------
    nu, scale : of the half-t priors of S and R; (p,) scales in the units of the data
    """
    half = len(maximum.theta) // 2
    lower = np.tril_indices(traits.p)

    def unfold(phi: np.ndarray) -> np.ndarray:
        return np.concatenate([to_theta(phi[:half]), to_theta(phi[half:])])

    def log_posterior(phi: np.ndarray) -> float:
        theta = unfold(phi)
        S, R = traits.spread(theta)
        log_p = traits.log_likelihood(theta) + log_half_t_prior(S, nu, scale) + log_half_t_prior(R, nu, scale)
        return log_p + log_jacobian(phi[:half]) + log_jacobian(phi[half:])

    centre = np.concatenate([np.linalg.cholesky(part)[lower] for part in traits.spread(maximum.theta)])
    moves = 1e-5 * np.abs(centre).max() * np.eye(2 * half)
    slopes = np.column_stack([(unfold(centre + e) - unfold(centre - e)) / (2 * e.max()) for e in moves])
    inverse = np.linalg.inv(slopes)
    spread = inverse @ maximum.covariance @ inverse.T
    rng = np.random.default_rng(seed)
    for n in (draws // 4, draws - draws // 4):
        z = rng.standard_normal((n, 2 * half)) / np.sqrt(rng.chisquare(TAILS, (n, 1)) / TAILS)
        phi = centre + z @ np.linalg.cholesky(1.2 * spread).T
        with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
            log_p = np.array(list(pool.map(log_posterior, phi)))
        log_weights = log_p + (TAILS + 2 * half) / 2 * np.log1p((z**2).sum(axis=1) / TAILS)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        centre = weights @ phi
        spread = (phi - centre).T @ (weights[:, None] * (phi - centre))
    return Sample(np.array([unfold(x) for x in phi]), weights)


def integrate_posterior(
    traits: Traits, maximum: Maximum, nu: float, scale: float, points: int = 81, reach: float = 7.0
) -> Sample:
    """One trait: the posterior on a grid over the logarithms of both SDs, `reach` standard errors to either side.

    Rotated by the eigenvectors of A, V is diagonal: one record of each individual.
    """
    order = traits.individual
    d, U = np.linalg.eigh(traits.A[np.ix_(order, order)])
    X, y = U.T @ traits.design, U.T @ traits.values
    centre = np.log(maximum.theta) / 2
    errors = np.maximum(maximum.errors / maximum.theta / 2, 0.02)
    axes = [c + reach * e * np.linspace(-1, 1, points) for c, e in zip(centre, errors, strict=True)]
    phi = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = np.empty(len(phi))
    for k, (a, e) in enumerate(np.exp(2 * phi)):
        v = a * d + e
        C, c = X.T @ (X / v[:, None]), X.T @ (y / v)
        left = (y**2 / v).sum() - c @ np.linalg.solve(C, c)
        log_p[k] = -0.5 * (np.log(v).sum() + np.linalg.slogdet(C)[1] + left)
    # half-t in the logarithm of the SD
    log_p += (phi - (nu + 1) / 2 * np.log1p(np.exp(2 * phi) / (nu * scale**2))).sum(axis=1)
    weights = np.exp(log_p - log_p.max())
    return Sample(np.exp(2 * phi), weights / weights.sum())


def stack(values: np.ndarray, A: np.ndarray, designs: Sequence[np.ndarray]) -> Traits:
    """Traits in columns, NaN where not recorded, with fixed effects of each trait's own.

    Parameters
    ----------
    values : (J, p), rows in the order of A
    designs : of each trait (J, q)
    """
    trait, individual = np.nonzero(~np.isnan(values).T)
    blocks = [designs[l][~np.isnan(values[:, l])] for l in range(values.shape[1])]
    width = np.cumsum([0, *[block.shape[1] for block in blocks]])
    X = np.zeros((len(trait), width[-1]))
    for l, block in enumerate(blocks):
        X[np.ix_(trait == l, np.arange(width[l], width[l + 1]))] = block
    return Traits(values[individual, trait], X, trait, individual, A)
