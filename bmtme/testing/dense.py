"""The model written out in full: records, lines, an explicit G, incidence matrices, Kronecker products.

Slow, readable, and independent of the sampler's algebra: no eigenbasis of the data, no reduction of records,
no code of the kernels. For records n of line j(n) in environment i(n), and traits l,

    Y = X B + Z1 B1 + Z2 B2 + E,    B1 ~ MN(0, G, Sigma_t),   B2_i ~ MN(0, sigma2_Ei G, Sigma_t),
    rows of E ~ N(0, R_e / plots),

with B (I x L) the means beta. ``plots`` is one for a recorded plot; a record may also stand for the mean of
several plots. **NaN means integrated out**, everywhere: in a value (a trait not seen, or one nobody wants to
augment), in beta, in a column of b2. Vectors stack traits fastest: v(M) = M.ravel().

Densities of covariances: IW(S, n) prop. |M|^{-(n+p+1)/2} exp(-tr(S M^-1)/2); IG(a, b) prop. x^{-a-1} exp(-b/x).
Half-t priors with their auxiliaries: Huang & Wand (2013, Bayesian Analysis 8:439-452).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.linalg import block_diag

#: Eigenvalues below this share of the largest are zero: densities are taken on the support of G.
ZERO = 1e-8


def log_inverse_gamma(x: float, a: float, b: float) -> float:
    """Log density of IG(a, b)."""
    return a * math.log(b) - math.lgamma(a) - (a + 1.0) * math.log(x) - b / x


def log_inverse_wishart(M: np.ndarray, S: np.ndarray, n: float) -> float:
    """Log density of IW(S, n)."""
    return float(stats.invwishart.logpdf(M, n, S)) if len(M) > 1 else log_inverse_gamma(M[0, 0], n / 2, S[0, 0] / 2)


def log_normal(x: np.ndarray, covariance: np.ndarray) -> float:
    """Log density of N(0, covariance), on its support where the covariance is singular."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > ZERO * values.max()
    z = vectors[:, kept].T @ x / np.sqrt(values[kept])
    return float(-0.5 * (z @ z + np.log(values[kept]).sum() + kept.sum() * math.log(2 * math.pi)))


@dataclass(frozen=True)
class CovarianceLaw:
    """Prior of a p x p covariance, with the auxiliaries that make half-t priors conditionally conjugate."""

    shape: str  # "full", "diagonal" or "scalar" (one variance times the identity)
    family: str  # "half-t" or "inverse-wishart"
    nu: float
    scale: np.ndarray  # (p,) half-t scales A
    df: float
    matrix: np.ndarray  # (p, p)

    def log_density(self, M: np.ndarray, a: np.ndarray) -> float:
        """log p(M, a); of a scalar law only the first entries count."""
        p = len(M)
        if self.family == "inverse-wishart":
            if self.shape == "full":
                return log_inverse_wishart(M, self.matrix, self.df)
            entries = range(p if self.shape == "diagonal" else 1)
            return sum(log_inverse_gamma(M[k, k], self.df / 2, self.matrix[k, k] / 2) for k in entries)
        entries = range(1 if self.shape == "scalar" else p)
        result = sum(log_inverse_gamma(a[k], 0.5, 1 / self.scale[k] ** 2) for k in entries)
        if self.shape == "full":
            return result + log_inverse_wishart(M, 2 * self.nu * np.diag(1 / a), self.nu + p - 1)
        return result + sum(log_inverse_gamma(M[k, k], self.nu / 2, self.nu / a[k]) for k in entries)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(M, a) from the prior."""
        p = len(self.scale)
        a = 1 / self.scale**2 / rng.standard_gamma(0.5, p)
        if self.shape == "full":
            half_t = self.family == "half-t"
            S, n = (2 * self.nu * np.diag(1 / a), self.nu + p - 1) if half_t else (self.matrix, self.df)
            return np.atleast_2d(stats.invwishart.rvs(n, S, random_state=rng)), a
        if self.family == "half-t":
            v = self.nu / a / rng.standard_gamma(self.nu / 2, p)
        else:
            v = np.diag(self.matrix) / 2 / rng.standard_gamma(self.df / 2, p)
        return np.diag(v if self.shape == "diagonal" else np.full(p, v[0])), a


@dataclass(frozen=True)
class MeanLaw:
    """Prior of the means beta.

    ``flat``: constant. ``exchangeable``: beta_il ~ N(mu_l, tau_l^2), mu_l ~ N(mu_mean, mu_sd^2) (infinite: flat),
    tau_l ~ HalfT(tau_nu, tau_scale). ``paper``: scale beta + centre ~ N(0, s2_b), sqrt(s2_b) ~ HalfT.
    """

    kind: str
    mu_mean: np.ndarray  # (L,)
    mu_sd: np.ndarray  # (L,)
    tau_nu: float
    tau_scale: np.ndarray  # (L,)
    scale: np.ndarray  # (L,) of the user's units
    centre: np.ndarray  # (L,)
    s2_nu: float
    s2_scale: float

    def log_density(self, t: Unknowns) -> float:
        """log p(beta, mu, tau2, s2_b, auxiliaries) of the means' part of the unknowns."""
        here = ~np.isnan(t.beta)
        result = 0.0
        if self.kind == "exchangeable":
            for l in range(t.beta.shape[1]):
                b = t.beta[here[:, l], l]
                result += stats.norm.logpdf(b, t.mu[l], math.sqrt(t.tau2[l])).sum()
                result += log_inverse_gamma(t.tau2[l], self.tau_nu / 2, self.tau_nu / t.aux_tau[l])
                result += log_inverse_gamma(t.aux_tau[l], 0.5, 1 / self.tau_scale[l] ** 2)
                if np.isfinite(self.mu_sd[l]):
                    result += stats.norm.logpdf(t.mu[l], self.mu_mean[l], self.mu_sd[l])
        elif self.kind == "paper":
            user = (self.scale * t.beta + self.centre)[here]
            result += stats.norm.logpdf(user, 0.0, math.sqrt(t.s2_b)).sum()
            result += log_inverse_gamma(t.s2_b, self.s2_nu / 2, self.s2_nu / t.aux_b)
            result += log_inverse_gamma(t.aux_b, 0.5, 1 / self.s2_scale**2)
        return float(result)

    def precision(self, t: Unknowns) -> tuple[np.ndarray, np.ndarray]:
        """Precision P and P x (mean) of (mu, v(beta)), all columns; mu has no part in the flat and paper's priors."""
        I, L = t.beta.shape
        P, h = np.zeros((L + I * L, L + I * L)), np.zeros(L + I * L)
        P[:L, :L] = np.eye(L)
        for i in range(I):
            for l in range(L):
                m = L + i * L + l
                if self.kind == "exchangeable":
                    contrast = np.zeros(len(h))
                    contrast[m], contrast[l] = 1.0, -1.0
                    P += np.outer(contrast, contrast) / t.tau2[l]
                elif self.kind == "paper":
                    P[m, m] = self.scale[l] ** 2 / t.s2_b
                    h[m] = -self.scale[l] * self.centre[l] / t.s2_b
        if self.kind == "exchangeable":
            P[:L, :L] += np.diag(1 / self.mu_sd**2) - np.eye(L)
            h[:L] = self.mu_mean / self.mu_sd**2
        return P, h

    def draw(self, rng: np.random.Generator, n_env: int) -> dict[str, np.ndarray | float]:
        """The means' part of the unknowns from the prior, which must be proper."""
        L = len(self.mu_mean)
        aux_tau = 1 / self.tau_scale**2 / rng.standard_gamma(0.5, L)
        tau2 = self.tau_nu / aux_tau / rng.standard_gamma(self.tau_nu / 2, L)
        aux_b = 1 / self.s2_scale**2 / rng.standard_gamma(0.5)
        s2_b = self.s2_nu / aux_b / rng.standard_gamma(self.s2_nu / 2)
        mu = np.zeros(L)
        noise = rng.standard_normal((n_env, L))
        if self.kind == "exchangeable":
            mu = self.mu_mean + self.mu_sd * rng.standard_normal(L)
            beta = mu + np.sqrt(tau2) * noise
        elif self.kind == "paper":
            beta = (math.sqrt(s2_b) * noise - self.centre) / self.scale
        else:
            raise ValueError("a flat prior has no draws")
        return {"beta": beta, "mu": mu, "tau2": tau2, "aux_tau": aux_tau, "s2_b": s2_b, "aux_b": aux_b}


@dataclass(frozen=True)
class Unknowns:
    """Everything that is not given, in the original space."""

    Sigma_t: np.ndarray  # (L, L)
    s2_E: np.ndarray  # (I,)
    R_e: np.ndarray  # (L, L)
    aux_t: np.ndarray  # (L,)
    aux_E: np.ndarray  # (I,)
    aux_e: np.ndarray  # (L,)
    beta: np.ndarray  # (I, L)
    mu: np.ndarray  # (L,)
    tau2: np.ndarray  # (L,)
    aux_tau: np.ndarray  # (L,)
    s2_b: float
    aux_b: float
    b1: np.ndarray  # (J, L)
    b2: np.ndarray  # (I, J, L); zero where there is one environment


@dataclass(frozen=True)
class DenseModel:
    """The model of N records; ``G`` is (J, J), ``line`` and ``env`` (N,) say where a record stands."""

    G: np.ndarray
    line: np.ndarray
    env: np.ndarray
    plots: np.ndarray  # (N,) plots that a record stands for: one, or those behind a mean
    n_env: int
    law_t: CovarianceLaw
    law_E: CovarianceLaw
    law_e: CovarianceLaw
    law_beta: MeanLaw

    @property
    def interaction(self) -> bool:
        """One environment has no b2 and no Sigma_E."""
        return self.n_env > 1

    def incidence(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X (N x I), Z1 (N x J), Z2 (N x I J, environment-major)."""
        J = len(self.G)
        return np.eye(self.n_env)[self.env], np.eye(J)[self.line], np.eye(self.n_env * J)[self.env * J + self.line]

    def residuals(self, t: Unknowns, values: np.ndarray) -> np.ndarray:
        """E = Y - X B - Z1 B1 - Z2 B2, (N, L)."""
        X, Z1, Z2 = self.incidence()
        beta, b2 = np.nan_to_num(t.beta), np.nan_to_num(t.b2)
        return values - X @ beta - Z1 @ t.b1 - Z2 @ b2.reshape(-1, values.shape[1])

    def completed_log_density(self, t: Unknowns, values: np.ndarray) -> float:
        """log p(values | means, effects, R_e), values that are NaN integrated out."""
        result = 0.0
        for e, plots in zip(self.residuals(t, values), self.plots, strict=True):
            o = ~np.isnan(e)
            if o.any():
                result += log_normal(e[o], t.R_e[np.ix_(o, o)] / plots)
        return result

    def log_effects(self, t: Unknowns) -> float:
        """log p(b1, b2 | Sigma_t, Sigma_E) on the support of G, columns of b2 that are NaN integrated out."""
        result = log_normal(t.b1.ravel(), np.kron(self.G, t.Sigma_t))
        if self.interaction:
            for s2, b2 in zip(t.s2_E, t.b2, strict=True):
                o = ~np.isnan(b2).any(axis=0)
                if o.any():
                    result += log_normal(b2[:, o].ravel(), s2 * np.kron(self.G, t.Sigma_t[np.ix_(o, o)]))
        return result

    def log_joint(self, t: Unknowns, values: np.ndarray) -> float:
        """log p(values, means, effects, covariances, auxiliaries), up to the constants of flat priors."""
        result = self.completed_log_density(t, values) + self.log_effects(t) + self.law_beta.log_density(t)
        result += self.law_t.log_density(t.Sigma_t, t.aux_t) + self.law_e.log_density(t.R_e, t.aux_e)
        if self.interaction:
            result += self.law_E.log_density(np.diag(t.s2_E), t.aux_E)
        return result

    def blocks(self) -> dict[str, slice]:
        """Places of mu, v(beta), v(b1), v(b2) (environment-major) in their stacked vector."""
        J, I, L = len(self.G), self.n_env, len(self.law_t.scale)
        sizes = {"mu": L, "beta": I * L, "b1": J * L, "b2": I * J * L if self.interaction else 0}
        stops = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(stop - n, stop) for (name, n), stop in zip(sizes.items(), stops, strict=True)}

    def condition(self, t: Unknowns, values: np.ndarray, free: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the ``free`` blocks given values, covariances and the other blocks.

        The stacked vector (mu, v(beta), v(b1), v(b2)) is S q with q of full rank: effects are
        (F (x) I) q with F F' = G. Its precision is that of the prior plus D' V^-1 D of the data, D the explicit
        design; held blocks enter by their values in ``t`` (NaN counts as zero).

        Returns
        -------
        mean, covariance : of the full stacked vector, places as in `blocks`, zero in held blocks' covariance
        """
        I, L = self.n_env, values.shape[1]
        roots, vectors = np.linalg.eigh(self.G)
        kept = roots > ZERO * roots.max()
        F = vectors[:, kept] * np.sqrt(roots[kept])
        r, eye = F.shape[1], np.eye(L)
        P0, h0 = self.law_beta.precision(t)
        Ti = np.linalg.inv(t.Sigma_t)
        support = [np.eye(L + I * L), np.kron(F, eye)]
        prior = [P0, np.kron(np.eye(r), Ti)]
        X, Z1, Z2 = self.incidence()
        design = [np.zeros((len(values) * L, L)), np.kron(X, eye), np.kron(Z1, eye)]
        if self.interaction:
            support.append(np.kron(np.eye(I), np.kron(F, eye)))
            prior.append(np.kron(np.diag(1 / t.s2_E), np.kron(np.eye(r), Ti)))
            design.append(np.kron(Z2, eye))
        S, P = block_diag(*support), block_diag(*prior)
        h = np.concatenate([h0, np.zeros(len(P) - len(h0))])
        seen = ~np.isnan(values)
        D = (np.hstack(design) @ S)[seen.ravel()]
        weights = block_diag(
            *(np.linalg.inv(t.R_e[np.ix_(o, o)] / c) for o, c in zip(seen, self.plots, strict=True) if o.any())
        )
        P = P + D.T @ weights @ D
        h = h + D.T @ weights @ values[seen]
        x = np.concatenate([np.ravel(np.nan_to_num(v)) for v in (t.mu, t.beta, t.b1, t.b2)])[: len(S)]
        is_free = np.zeros(len(S), bool)
        for name in free:
            is_free[self.blocks()[name]] = True
        a = (np.abs(S[is_free]).sum(axis=0)) > 0
        q = np.linalg.lstsq(S, x, rcond=None)[0]
        covariance = np.linalg.inv(P[np.ix_(a, a)])
        q[a] = covariance @ (h[a] - P[np.ix_(a, ~a)] @ q[~a])
        return S @ q, S[:, a] @ covariance @ S[:, a].T

    def log_marginal(self, t: Unknowns, values: np.ndarray) -> float:
        """log p(values | covariances, tau or s2_b), means, mu and effects integrated out, up to a constant.

        See `integrate_means`.
        """
        _, Z1, Z2 = self.incidence()
        V = np.kron(Z1 @ self.G @ Z1.T, t.Sigma_t) + np.kron(np.diag(1 / self.plots), t.R_e)
        if self.interaction:
            V += np.kron(Z2 @ np.kron(np.diag(t.s2_E), self.G) @ Z2.T, t.Sigma_t)
        return self.integrate_means(V, t, values)

    def integrate_means(self, V: np.ndarray, t: Unknowns, values: np.ndarray) -> float:
        """log p(values) with means and mu integrated out, V (N L, N L) the covariance of v(Y) given these.

        With v(Y) ~ N(D b, V) and p(b) prop. exp(-b'P b/2 + h'b), P singular for a flat prior,
        log p = log N(v(Y); 0, V) - log|A|/2 + a'A^-1 a/2, A = P + D'V^-1 D, a = h + D'V^-1 v(Y).
        """
        X, _, _ = self.incidence()
        eye = np.eye(values.shape[1])
        seen = ~np.isnan(values).ravel()
        V, y = V[np.ix_(seen, seen)], values.ravel()[seen]
        P, h = self.law_beta.precision(t)
        D = np.hstack([np.zeros((values.size, len(eye))), np.kron(X, eye)])[seen]
        Vi = np.linalg.inv(V)
        A, a = P + D.T @ Vi @ D, h + D.T @ Vi @ y
        return float(log_normal(y, V) - 0.5 * np.linalg.slogdet(A)[1] + 0.5 * a @ np.linalg.solve(A, a))

    def draw(self, rng: np.random.Generator) -> Unknowns:
        """Every unknown from the prior."""
        Sigma_t, aux_t = self.law_t.draw(rng)
        Sigma_E, aux_E = self.law_E.draw(rng)
        R_e, aux_e = self.law_e.draw(rng)
        J, I, L = len(self.G), self.n_env, len(R_e)
        values, vectors = np.linalg.eigh(self.G)
        F = vectors * np.sqrt(np.where(values > ZERO * values.max(), values, 0.0))
        K = np.linalg.cholesky(Sigma_t)
        s2_E = np.diag(Sigma_E) * self.interaction
        effects = F @ rng.standard_normal((1 + I, J, L)) @ K.T
        return Unknowns(
            Sigma_t=Sigma_t, s2_E=s2_E, R_e=R_e, aux_t=aux_t, aux_E=aux_E, aux_e=aux_e,
            b1=effects[0], b2=np.sqrt(s2_E)[:, None, None] * effects[1:],
            **self.law_beta.draw(rng, I),  # type: ignore[arg-type]
        )  # fmt: skip

    def draw_values(self, rng: np.random.Generator, t: Unknowns) -> np.ndarray:
        """Values of every trait of every record given the unknowns, (N, L)."""
        noise = rng.standard_normal((len(self.line), len(t.R_e))) @ np.linalg.cholesky(t.R_e).T
        return t.beta[self.env] + t.b1[self.line] + t.b2[self.env, self.line] + noise / np.sqrt(self.plots)[:, None]
