"""Fits without a sampler: exact draws of means and effects at known covariances, by dense algebra."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray

from bmtme.results.fit import Fit
from bmtme.results.traits import BY_TRAIT, join_groups

#: Prior variance of a mean: as good as flat.
WIDE = 1e6


@dataclass
class Setting:
    """A trial and its covariances: all lines of the relationship, of which those without a plot come last.

    Attributes
    ----------
    G : (J, J)
    plots : (N, 2) places of line and environment
    C : (I, L, I, L)
    R : (I, L, L)
    Sigma_r : (L, L)
    y : (N, L), NaN where missing
    """

    G: np.ndarray
    plots: np.ndarray
    C: np.ndarray
    R: np.ndarray
    Sigma_r: np.ndarray
    y: np.ndarray
    lines: list[str] = field(default_factory=list)
    envs: list[str] = field(default_factory=list)
    traits: list[str] = field(default_factory=list)

    @property
    def known(self) -> np.ndarray:
        """Places of the lines with a plot."""
        return np.unique(self.plots[~np.isnan(self.y).all(axis=1), 0])

    def take_trait(self, l: int) -> Setting:
        """The same of one trait alone."""
        one = slice(l, l + 1)
        C, R, Sigma_r = self.C[:, one][:, :, :, one], self.R[:, one, one], self.Sigma_r[one, one]
        return Setting(self.G, self.plots, C, R, Sigma_r, self.y[:, one], self.lines, self.envs, [self.traits[l]])


def make_setting(
    lines: int = 12,
    new: int = 2,
    envs: int = 3,
    traits: int = 2,
    reps: int = 2,
    outside: float = 0.0,
    paper: bool = False,
    seed: int = 1,
) -> Setting:
    """A small trial with gaps, data drawn from its own covariances.

    outside : variance of a line effect outside the relationship
    paper : whether C = (11' + Sigma_E) (x) Sigma_t, and residuals are the same in every environment
    """
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(lines, 2 * lines))
    G = Z @ Z.T / (2 * lines) + 0.2
    M = envs * traits
    A = rng.normal(size=(M, 2 * M)) + 0.8
    C = A @ A.T / (2 * M)
    if paper:
        C = np.kron(1.0 + np.diag(rng.uniform(0.2, 0.9, envs)), C[:traits, :traits])
    R = np.stack([np.cov(rng.normal(size=(traits, 3 * traits))) * (1 + i) for i in range(envs)])
    R = R.reshape(envs, traits, traits)
    R = np.broadcast_to(R[0], R.shape).copy() if paper else R
    Sigma_r = outside * np.eye(traits)
    plots = np.array([(j, i) for j in range(lines - new) for i in range(envs) for _ in range(reps)])
    plots = plots[rng.random(len(plots)) < 0.85]
    u = np.linalg.cholesky(G) @ rng.normal(size=(lines, M)) @ np.linalg.cholesky(C).T
    u = u.reshape(lines, envs, traits) + rng.normal(size=(lines, 1, traits)) * np.sqrt(outside)
    beta = rng.normal(size=(envs, traits)) * 3 + 10
    noise = np.stack([np.linalg.cholesky(R[i]) @ rng.normal(size=traits) for _, i in plots])
    y = beta[plots[:, 1]] + u[plots[:, 0], plots[:, 1]] + noise
    y[rng.random(y.shape) < 0.1] = np.nan
    names = [f"L{j:02d}" for j in range(lines)]
    return Setting(
        G, plots, C.reshape(envs, traits, envs, traits), R, Sigma_r, y, names, [f"E{i + 1}" for i in range(envs)],
        [f"T{l + 1}" for l in range(traits)],
    )  # fmt: skip


def condition(s: Setting, tau: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and covariance of (beta (I L), u (J I L), r (J L)) by one dense normal distribution.

    tau : (L,) standard deviation of the means around one of their own; default free means
    """
    J, (I, L) = len(s.G), s.C.shape[:2]
    M = I * L
    prior = np.zeros((M + J * M + J * L,) * 2)
    prior[:M, :M] = WIDE * np.eye(M)
    if tau is not None:
        prior[:M, :M] = np.kron(np.ones((I, I)), WIDE * np.eye(L)) + np.kron(np.eye(I), np.diag(tau**2))
    prior[M : M + J * M, M : M + J * M] = np.kron(s.G, s.C.reshape(M, M))
    prior[M + J * M :, M + J * M :] = np.kron(np.eye(J), s.Sigma_r)
    values = [(n, l) for n, l in np.argwhere(~np.isnan(s.y))]
    centre = np.nanmean(s.y, axis=0)
    y = np.array([s.y[n, l] - centre[l] for n, l in values])
    Z, N = np.zeros((len(values), len(prior))), np.zeros((len(values), len(values)))
    for a, (n, l) in enumerate(values):
        j, i = s.plots[n]
        Z[a, [i * L + l, M + j * M + i * L + l, M + J * M + j * L + l]] = 1.0
        for b, (m, q) in enumerate(values):
            N[a, b] = s.R[i, l, q] if n == m else 0.0
    gain = prior @ Z.T @ np.linalg.inv(Z @ prior @ Z.T + N)
    mean = gain @ y
    mean[:M] += np.tile(centre, I)
    return mean, prior - gain @ Z @ prior


def make_groups(
    s: Setting, structure: str, draws: int, chains: int, thin: bool, whole: bool, spread: float, seed: int
) -> dict[str, Any]:
    """Groups as a fit has them, covariances held at their values times a factor of each draw, near one."""
    rng = np.random.default_rng(seed)
    J, (I, L) = len(s.G), s.C.shape[:2]
    M, S = I * L, draws * chains
    mean, covariance = condition(s)
    values, vectors = np.linalg.eigh(covariance)
    drawn = mean + rng.standard_normal((S, len(mean))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    lead, known = (chains, draws), s.known
    beta = drawn[:, :M].reshape(*lead, I, L)
    u = drawn[:, M : M + J * M].reshape(*lead, J, I, L)[:, :, known]
    r = drawn[:, M + J * M :].reshape(*lead, J, L)[:, :, known]
    factor = np.exp(spread * rng.standard_normal(lead))
    names = {"env": s.envs, "trait": s.traits, "line": [s.lines[j] for j in known]}
    cells = [f"{env} x {trait}" for env in s.envs for trait in s.traits]
    coords: dict[str, Any] = {"chain": range(chains), "draw": range(draws)} | names
    coords |= {"env_bis": s.envs, "trait_bis": s.traits, "cell": cells, "cell_bis": cells}
    variables: dict[str, Any] = {"beta": (("env", "trait"), beta)}
    scaled = factor[..., None, None]
    if structure == "paper":
        Sigma_t = s.C[0, :, 1, :]
        E = np.array([s.C[i, 0, i, 0] / Sigma_t[0, 0] - 1.0 for i in range(I)])
        variables["Sigma_t"] = ("trait", "trait_bis"), scaled * Sigma_t
        variables["Sigma_E"] = ("env", "env_bis"), np.broadcast_to(np.diag(E), (*lead, I, I)).copy()
        R = np.broadcast_to(s.R[0], (*lead, L, L)).copy()
        variables["R_e"] = ("trait", "trait_bis"), R
        effects = {"b1": (("line", "trait"), 0.5 * u[:, :, :, 0]), "b2": (("env", "line", "trait"), None)}
        effects["b2"] = ("env", "line", "trait"), np.swapaxes(u - effects["b1"][1][:, :, :, None], 2, 3)
    else:
        there = np.arange(M)
        recorded = find_recorded(s).ravel()
        there = there if whole else there[recorded]
        C = scaled * s.C.reshape(M, M)[np.ix_(there, there)]
        coords |= {name: [cells[m] for m in there] for name in ("cell", "cell_bis")}
        variables["C"] = ("cell", "cell_bis"), C
        variables["genetic_variance"] = ("env", "trait"), scaled * s.C.reshape(M, M).diagonal().reshape(I, L)
        variables["R_e"] = ("env", "trait", "trait_bis"), np.broadcast_to(s.R, (*lead, I, L, L)).copy()
        effects = {"u": (("env", "line", "trait"), np.swapaxes(u, 2, 3))}
    if s.Sigma_r.any():
        variables["Sigma_r"] = ("trait", "trait_bis"), np.broadcast_to(s.Sigma_r, (*lead, L, L)).copy()
        effects["r"] = ("line", "trait"), r
    groups = {}
    if not thin:
        variables |= effects
    posterior = {name: (("chain", "draw", *dims), array) for name, (dims, array) in variables.items()}
    groups["posterior"] = label(posterior, coords)
    if thin:
        every = np.arange(0, draws, 2)
        kept = {name: (("effect_draw", *d), a[:, every].reshape(-1, *a.shape[2:])) for name, (d, a) in effects.items()}
        kept["effect_chain"] = "effect_draw", np.repeat(np.arange(chains), len(every))
        kept["effect_draw_index"] = "effect_draw", np.tile(every, chains)
        groups["effects"] = label(kept, coords)
    new = [j for j in range(J) if j not in known]
    B = s.G[np.ix_(new, known)] @ np.linalg.inv(s.G[np.ix_(known, known)])
    left = s.G[np.ix_(new, new)] - B @ s.G[np.ix_(known, new)]
    contrast = np.array([measure_contrast(s.G, known, j) for j in range(J)])
    groups["constant_data"] = label(
        {
            "recorded": (("env", "trait"), find_recorded(s).astype(np.int8)),
            "relationship_contrast": ("predicted_line", contrast),
        },
        coords | {"predicted_line": s.lines},
    )
    if new:
        groups["unrecorded"] = label(
            {
                "weights": (("unrecorded_line", "line"), B),
                "factor": (("unrecorded_line", "direction"), take_root(left)),
                "about": ("trait", np.zeros(L)),
            },
            coords | {"unrecorded_line": [s.lines[j] for j in new]},
        ).drop_vars("about")
    if structure != "paper" and not whole and not recorded.all():
        dims = "env", "trait", "env_bis", "trait_bis"
        C = factor[..., None, None, None, None] * s.C
        groups["columns"] = label({"C": (("chain", "draw", *dims), C)}, coords)
    return groups


def take_root(matrix: np.ndarray) -> np.ndarray:
    """F with F F' = matrix, which may be singular."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def label(variables: dict[str, Any], coords: dict[str, Any]) -> xarray.Dataset:
    """A Dataset with the coordinates that its variables need; lines without records need a trait."""
    used = {dim for dims, _ in variables.values() for dim in ([dims] if isinstance(dims, str) else dims)}
    told = {name: (dims, array, {"meaning": ""}) for name, (dims, array) in variables.items()}
    return xarray.Dataset(told, {name: list(names) for name, names in coords.items() if name in used})


def measure_contrast(G: np.ndarray, known: np.ndarray, j: int) -> float:
    """Variance of u_j less the mean of the known lines, by the contrast written out."""
    t = np.zeros(len(G))
    t[known] -= 1.0 / len(known)
    t[j] += 1.0
    return float(t @ G @ t)


def measure_spread(G: np.ndarray, known: np.ndarray) -> float:
    """Expected sample variance of the known lines: half the mean of G_jj + G_kk - 2 G_jk over pairs."""
    pairs = [G[j, j] + G[k, k] - 2 * G[j, k] for j in known for k in known if j < k]
    return float(np.mean(pairs) / 2)


def find_recorded(s: Setting) -> np.ndarray:
    """(I, L) columns with a record."""
    seen = np.zeros(s.C.shape[:2], bool)
    for (_, i), y in zip(s.plots, s.y, strict=True):
        seen[i] |= ~np.isnan(y)
    return seen


def state_facts(s: Setting) -> dict[str, Any]:
    """What notes of a summary go by."""
    (I, L), recorded = s.C.shape[:2], find_recorded(s)
    return {
        "spread": measure_spread(s.G, s.known), "envs": s.envs, "recorded": recorded.tolist(), "prior_only": {},
        "bounds_only": {},
        "together": np.ones((L, L), bool).tolist(), "together_here": np.ones((I, L, L), bool).tolist(),
        "residual_here": recorded.tolist(), "apart": np.ones((L, L), bool).tolist(),
        "single_alike": False, "shared_variance": False, "alike": [],
        "records": np.zeros((I, L), int).tolist(), "observed_sd": np.ones((I, L)).tolist(), "means": "exchangeable",
    }  # fmt: skip


def make_fit(
    s: Setting,
    structure: str = "general",
    *,
    draws: int = 60,
    chains: int = 2,
    alone: bool = False,
    thin: bool = False,
    keep: bool = True,
    spread: float = 0.05,
    seed: int = 1,
    order: list[int] | None = None,
) -> Fit:
    """A fit of a setting with exact draws of means and effects.

    Parameters
    ----------
    structure : "paper", or "general" with C and residuals by environment
    alone : whether traits are fitted one at a time
    thin : whether half of the effects are kept
    keep : whether any are
    spread : of the logarithm of a factor by which covariances vary from draw to draw
    order : of the lines of the relationship
    """
    traits = range(len(s.traits))
    if alone:
        parts = [s.take_trait(l) for l in traits]
        made = {
            part.traits[0]: make_groups(part, structure, draws, chains, thin, True, spread, seed + l)
            for l, part in enumerate(parts)
        }
        own = {trait: groups.pop("unrecorded") for trait, groups in made.items() if "unrecorded" in groups}
        groups = join_groups(made, [s.lines[j] for j in s.known])
        for k, (trait, dataset) in enumerate(own.items()):
            groups["unrecorded" if k == 0 else f"unrecorded_{k + 1}"] = dataset.assign_coords(trait=[trait])
        facts: dict[str, Any] = {"envs": s.envs, BY_TRAIT: {p.traits[0]: state_facts(p) for p in parts}}
    else:
        groups, facts = make_groups(s, structure, draws, chains, thin, False, spread, seed), state_facts(s)
        if "unrecorded" in groups:
            groups["unrecorded"] = groups["unrecorded"].assign_coords(trait=s.traits)
    there = ~np.isnan(s.y).all(axis=1)
    known = [s.lines[j] for j in s.known]
    G = {"G": (("line", "line_bis"), s.G[np.ix_(s.known, s.known)])}
    groups["relationship"] = label(G, {"line": known, "line_bis": known})
    record = {
        "Y": (("record", "trait"), s.y[there]),
        "record_line": ("record", [s.lines[j] for j in s.plots[there, 0]]),
        "record_env": ("record", [s.envs[i] for i in s.plots[there, 1]]),
    }
    groups["observed_data"] = xarray.Dataset(record, {"trait": s.traits}).set_coords(["record_line", "record_env"])
    lines = s.lines if order is None else [s.lines[j] for j in order]
    table = pd.DataFrame({"line": lines}) if keep else None
    if not keep:
        effects = [name for name in ("b1", "b2", "u", "r") if name in groups["posterior"]]
        groups["posterior"] = groups["posterior"].drop_vars(effects)
    settings = {"model": {"structure": "unstructured"}, "chains": chains, "draws": draws, "seed": 1}
    data = {"lines": len(s.known), "envs": len(s.envs), "traits": len(s.traits)}
    return Fit(groups, {"settings": settings, "data": data, "facts": facts}, table)
