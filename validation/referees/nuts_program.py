"""The posterior of the model by NUTS: a program for an environment that holds numpyro and knows nothing of bmtme.

    python nuts_program.py sample PROBLEM.npz DRAWS.npz
    python nuts_program.py compare PROBLEM.npz DIFFERENCES.npz

`validation.referees.nuts_sets` writes the problem (`write_problem` says what is in it) and reads what comes out: the
draws, or how far the two forms of the covariance below are from each other. Written from the model's formulas, in the
units of the data, with nothing rescaled:

    y_n = beta_i + b1_j + b2_ij + e_n       record n of line j in environment i; L traits, any of them missing
    b1 ~ N(0, G (x) Sigma_t),  b2_i ~ N(0, s2_Ei G (x) Sigma_t),  e_n ~ N(0, R_e)
    beta_il ~ N(mu_l, tau_l^2),  mu_l flat,  tau_l ~ half-t(nu_tau, A_tau,l)

The effects are summed into the covariance of the recorded values,

    V = G[j, j'] (1 + [i = i'] s2_Ei) Sigma_t[l, l'] + [n = n'] R_e[l, l'],

a dense matrix; or, with every line recorded once in every environment, into one block d_k C + R for each eigenvalue
d_k of G. beta and mu are integrated out too and drawn afterwards. A free p x p covariance S has the prior of Huang
and Wand (2013, Bayesian Analysis 8:439-452) with its auxiliaries integrated out,

    p(S) prop. |S|^(-(nu + 2 p) / 2)  prod_k (nu (S^-1)_kk + 1 / A_k^2)^(-(nu + p) / 2),

under which every standard deviation is half-t(nu, A_k) and every correlation uniform for nu = 2, not independently.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve_triangular
from numpyro.infer import MCMC, NUTS

numpyro.enable_x64()


def sample_root(name, nu, scale):
    """A standard deviation with a half-t prior, as the size of a t: chains may pass through zero and come back."""
    return jnp.abs(numpyro.sample(name, dist.StudentT(nu, 0.0, scale)))


def sample_covariance(name, structure, nu, scale, sizes, independent):
    """A covariance with half-t standard deviations, in units of the data.

    scale : A in units of the sizes
    sizes : (L,) of the standard deviations; of the standard structure, the variance is a multiple of their squares
    independent : whether standard deviations and correlations are independent of each other, which they are not in
        the model
    """
    p = len(sizes)
    if structure == "standard":
        return sample_root(name, nu, scale) ** 2 * jnp.diag(sizes**2)
    with numpyro.plate(f"{name}_traits", p):
        s = sample_root(name, nu, scale)
    if structure == "diagonal":
        return jnp.diag((s * sizes) ** 2)
    # Uniform on correlation matrices, independent of s; then weighed by the density of the model over this one.
    K = numpyro.sample(f"{name}_correlation", dist.LKJCholesky(p, 1.0))
    if not independent:
        numpyro.factor(f"{name}_prior", weigh_prior(s, K, nu, scale))
    K = (s * sizes)[:, None] * K
    return K @ K.T


@jax.jit
def weigh_prior(s, K, nu, scale):
    """Log density of SDs and correlations by Huang and Wand's prior over that of independent ones, up to a constant.

    With S = diag(s) r diag(s), r = K K', the powers of s in p(S) dS cancel, and the density of (s, r) is proportional
    to |r|^(-(nu + 2 p) / 2) prod_k (nu (r^-1)_kk + s_k^2 / A^2)^(-(nu + p) / 2).
    """
    p = len(s)
    inverse = cho_solve((K, True), jnp.eye(p))
    log_density = -(nu + 2 * p) * jnp.sum(jnp.log(jnp.diag(K)))
    log_density -= (nu + p) / 2 * jnp.sum(jnp.log(nu * jnp.diag(inverse) + (s / scale) ** 2))
    return log_density + (nu + 1) / 2 * jnp.sum(jnp.log1p((s / scale) ** 2 / nu))


def invert_one(V):
    """Inverse and log determinant of one large matrix."""
    K = jnp.linalg.cholesky(V)
    return cho_solve((K, True), jnp.eye(len(V))), 2 * jnp.sum(jnp.log(jnp.diag(K)))


def invert_many(V):
    """Inverses and the sum of the log determinants of many small matrices (m, m, K), by sweeping out each row."""
    log_det = 0.0
    for k in range(len(V)):
        pivot, row, column = V[k, k], V[k], V[:, k]
        log_det += jnp.sum(jnp.log(pivot))
        V = V - column[:, None] * (row / pivot)
        V = V.at[k].set(row / pivot).at[:, k].set(column / pivot).at[k, k].set(-1 / pivot)
    return -V, log_det


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def condense(invert, products, V, Z):
    """log |V| and Z'V^-1 Z, one matrix or sums over many; derivatives in V by hand, which saves most of the time.

    products : of einsum, for V^-1 Z, Z'(V^-1 Z) and (V^-1 Z) S (V^-1 Z)'
    """
    return condense_forward(invert, products, V, Z)[0]


def condense_forward(invert, products, V, Z):
    inverse, log_det = invert(V)
    W = jnp.einsum(products[0], inverse, Z)
    return (log_det, jnp.einsum(products[1], Z, W)), (inverse, W)


def condense_backward(invert, products, held, cotangents):
    (inverse, W), (of_log_det, of_S) = held, cotangents
    return of_log_det * inverse - jnp.einsum(products[2], W, of_S, W), None


condense.defvjp(condense_forward, condense_backward)

ONE = ("ab,bq->aq", "aq,ar->qr", "aq,qr,br->ab")
MANY = ("abk,bqk->aqk", "aqk,ark->qr", "aqk,qr,brk->abk")


class Dense:
    """Any records; arrays over the n recorded values."""

    def __init__(self, values, line, env, G):
        record, trait = np.nonzero(~np.isnan(values))
        self.I, self.L = int(env.max()) + 1, values.shape[1]
        self.T, self.E = np.eye(self.L)[trait], np.eye(self.I)[env[record]]
        self.G = G[np.ix_(line[record], line[record])]
        self.same = (record[:, None] == record[None, :]).astype(float)
        self.Z = np.column_stack([np.eye(self.I * self.L)[env[record] * self.L + trait], values[record, trait]])

    def summarise(self, Sigma_t, s2_E, R_e):
        """log |V|, X'V^-1 X, X'V^-1 y, y'V^-1 y."""
        across = 1 + (self.E * s2_E) @ self.E.T
        V = self.G * across * (self.T @ Sigma_t @ self.T.T) + self.same * (self.T @ R_e @ self.T.T)
        log_det, S = condense(invert_one, ONE, V, self.Z)
        return log_det, S[:-1, :-1], S[:-1, -1], S[-1, -1]


class Rotated:
    """Every line once in every environment, every trait: rows of U'Y are independent, G = U diag(d) U'."""

    def __init__(self, values, line, env, G):
        J, self.I, self.L = len(G), int(env.max()) + 1, values.shape[1]
        table = np.full((J, self.I, self.L), np.nan)
        table[line, env] = values
        if np.isnan(table).any() or len(values) != J * self.I:
            raise ValueError("the rotated form needs every line once in every environment, with every trait")
        d, U = np.linalg.eigh(G)
        self.d = np.maximum(d, 0.0)
        y = (U.T @ table.reshape(J, -1)).T
        self.Z = np.concatenate([np.eye(len(y))[:, :, None] * U.sum(axis=0), y[:, None]], axis=1)

    def summarise(self, Sigma_t, s2_E, R_e):
        """log |V|, X'V^-1 X, X'V^-1 y, y'V^-1 y."""
        C = jnp.kron(1 + jnp.diag(s2_E), Sigma_t)
        R = jnp.kron(jnp.eye(self.I), R_e)
        log_det, S = condense(invert_many, MANY, C[:, :, None] * self.d + R[:, :, None], self.Z)
        return log_det, S[:-1, :-1], S[:-1, -1], S[-1, -1]


def join_means(XX, Xy, tau, I):
    """Precision A and A x (mean) of (beta, mu) given the data and the covariances."""
    L = len(tau)
    P = jnp.tile(1 / tau**2, I)
    K = jnp.tile(jnp.eye(L), (I, 1))
    corner = K.T @ (P[:, None] * K)
    A = jnp.block([[XX + jnp.diag(P), -P[:, None] * K], [-(P[:, None] * K).T, corner]])
    return A, jnp.concatenate([Xy, jnp.zeros(L)])


def make_model(problem):
    """The numpyro model, its log likelihood, and the function that draws beta from its states."""
    structure, independent = str(problem["structure"]), bool(problem["independent"])
    values, line, env, G = (problem[name] for name in ("values", "line", "env", "G"))
    nu_t, nu_E, nu_e, nu_tau = (float(problem[f"nu_{name}"]) for name in ("t", "E", "e", "tau"))
    A_t, A_E, A_e, A_tau = (float(problem[f"scale_{name}"]) for name in ("t", "E", "e", "tau"))
    data = (Rotated if str(problem["form"]) == "rotated" else Dense)(values, line, env, G)
    # Scales are given in standard deviations of a trait over its records, that of Sigma_t for G of mean diagonal one.
    sizes = np.nanstd(values, axis=0, ddof=1)
    sizes_t = sizes / np.sqrt(np.mean(np.diag(G)))

    def draw_unknowns():
        Sigma_t = sample_covariance("t", structure, nu_t, A_t, sizes_t, independent)
        R_e = sample_covariance("e", structure, nu_e, A_e, sizes, independent)
        if structure == "standard":
            root = jnp.full(data.I, sample_root("E", nu_E, A_E))
        else:
            with numpyro.plate("environments", data.I):
                root = sample_root("E", nu_E, A_E)
        with numpyro.plate("traits", data.L):
            tau = numpyro.sample("tau", dist.FoldedDistribution(dist.StudentT(nu_tau, 0.0, A_tau * sizes)))
        return Sigma_t, root**2, R_e, tau

    @jax.jit
    def log_likelihood(Sigma_t, s2_E, R_e, tau):
        log_det, XX, Xy, yy = data.summarise(Sigma_t, s2_E, R_e)
        A, a = join_means(XX, Xy, tau, data.I)
        K = jnp.linalg.cholesky(A)
        z = solve_triangular(K, a, lower=True)
        prior = data.I * jnp.sum(jnp.log(tau)) + jnp.sum(jnp.log(jnp.diag(K)))
        return -0.5 * log_det - prior + 0.5 * (z @ z - yy)

    def model():
        Sigma_t, s2_E, R_e, tau = draw_unknowns()
        numpyro.factor("likelihood", log_likelihood(Sigma_t, s2_E, R_e, tau))
        numpyro.deterministic("Sigma_t", Sigma_t)
        numpyro.deterministic("s2_E", s2_E)
        numpyro.deterministic("R_e", R_e)

    def draw_beta(key, Sigma_t, s2_E, R_e, tau):
        _, XX, Xy, _ = data.summarise(Sigma_t, s2_E, R_e)
        A, a = join_means(XX, Xy, tau, data.I)
        K = jnp.linalg.cholesky(A)
        noise = solve_triangular(K, jax.random.normal(key, a.shape), lower=True, trans=1)
        return (cho_solve((K, True), a) + noise)[: data.I * data.L].reshape(data.I, data.L)

    return model, log_likelihood, draw_beta


def run(problem):
    """Sample, one chain after the other; arrays (chain, draw, ...)."""
    model, _, draw_beta = make_model(problem)
    chains, tune, draws = (int(problem[name]) for name in ("chains", "tune", "draws"))
    key, key_beta = jax.random.split(jax.random.PRNGKey(int(problem["seed"])))
    mcmc = MCMC(
        NUTS(model, target_accept_prob=0.95), num_warmup=tune, num_samples=draws, num_chains=chains,
        chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    mcmc.run(key, extra_fields=("diverging", "num_steps"))
    out = mcmc.get_samples(group_by_chain=True)
    kept = [out[name].reshape(chains * draws, *out[name].shape[2:]) for name in ("Sigma_t", "s2_E", "R_e", "tau")]
    keys = jax.random.split(key_beta, chains * draws)
    beta = jax.lax.map(lambda state: draw_beta(*state), (keys, *kept))
    extra = mcmc.get_extra_fields()
    return {
        **{name: np.asarray(out[name]) for name in ("Sigma_t", "s2_E", "R_e", "tau")},
        "beta": np.asarray(beta).reshape(chains, draws, *beta.shape[1:]),
        "divergent": np.asarray(extra["diverging"]).sum(),
        "steps": np.asarray(extra["num_steps"]).mean(),
        "versions": np.array([f"numpyro {numpyro.__version__}", f"jax {jax.__version__}"]),
    }


def compare(problem, points=5):
    """Dense and rotated form at random covariances: largest differences, as shares of the largest value of each kind.

    Compared are the log likelihood, its gradient, and draws of beta with the same key.
    """
    rng = np.random.default_rng(int(problem["seed"]))
    values, envs = problem["values"], int(problem["env"].max()) + 1
    L, sizes = values.shape[1], np.nanstd(values, axis=0)

    def draw_covariance(scale):
        K = rng.standard_normal((L, 2 * L)) * scale[:, None]
        return K @ K.T / (2 * L)

    scale = sizes / np.sqrt(np.mean(np.diag(problem["G"])))
    states = [
        (draw_covariance(scale), rng.gamma(2.0, 0.5, envs), draw_covariance(sizes), sizes * rng.gamma(2.0, 0.5, L))
        for _ in range(points)
    ]
    found = []
    for form in ("dense", "rotated"):
        _, log_likelihood, draw_beta = make_model(problem | {"form": form})
        look = jax.jit(jax.value_and_grad(log_likelihood, argnums=(0, 1, 2, 3)))
        draw = jax.jit(draw_beta)
        rows = []
        for k, state in enumerate(states):
            height, gradient = look(*state)
            # Per relative change: entries of the gradient have different units.
            slopes = [np.ravel(part * slope) for part, slope in zip(state, gradient, strict=True)]
            rows.append([np.ravel(height), np.concatenate(slopes), np.ravel(draw(jax.random.PRNGKey(k), *state))])
        found.append([np.array(part) for part in zip(*rows, strict=True)])
    shares = [np.abs(one - other).max() / np.abs(one).max() for one, other in zip(*found, strict=True)]
    return {"shares": np.array(shares)}


if __name__ == "__main__":
    # Chains are compiled one by one: all after the first find it done.
    task, source, target = sys.argv[1:]
    jax.config.update("jax_compilation_cache_dir", str(Path(target).parent / "compiled"))
    with np.load(source) as held:
        found = {"sample": run, "compare": compare}[task](dict(held))
    np.savez(target, **found)
