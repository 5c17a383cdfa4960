"""Example sets of the R package BMTME, and runs of BMTME and of bmtme on them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import bmtme
from bmtme.model.eigenbasis import measure_spread
from validation.referees.estimates import Estimate, estimate, name_triangle, take_triangle
from validation.registry import Options
from validation.rscript import run_r
from validation.trials import find_trial

SCRIPT = Path(__file__).with_name("bmtme_r.R")
#: The version of BMTME whose source was read: what is said of it below holds for this one.
READ = "1.0.19"
#: From the fewest unknowns to the most.
TRAITS = {"WheatIranianToy": ["DTH", "DTM"], "WheatToy": ["DTHD", "PTHT"], "MaizeToy": ["Yield", "ASI", "PH"]}
#: BMTME starts the main effects here, but does not take them off the data: it analyses y + START times the row sums of
#: their design.
START = 0.1
#: Its priors: inverse-Wishart, DF + order - 1, scale (DF + 2) times a share of the variance of all records: of Sigma_t
#: and Sigma_E the one, of R_e the other.
DF, SHARE_G, SHARE_E = 5, 0.25, 0.5
#: Of bmtme: two chains.
DRAWS, TUNE = 10_000, 1000
PRIOR_DRAWS = 50_000


@dataclass(frozen=True)
class Toy:
    """One set.

    Attributes
    ----------
    name : of the set
    trial : as it is, records in the order of the file
    scaled : every trait centred in each environment and of unit variance; sorted by environment, then line, both in
        the trial's order
    relationship : of the lines in the trial's order, as it is
    scaled_relationship : the same, divided by its mean diagonal
    spread : (L,) standard deviations of the traits within environments
    """

    name: str
    trial: bmtme.Trial
    scaled: bmtme.Trial
    relationship: bmtme.Relationship
    scaled_relationship: bmtme.Relationship
    spread: np.ndarray

    @property
    def G(self) -> np.ndarray:
        """The relationship as it is, as a matrix."""
        return np.asarray(self.relationship.matrix)

    @property
    def scaled_G(self) -> np.ndarray:
        """The relationship of mean diagonal one, as a matrix."""
        return np.asarray(self.scaled_relationship.matrix)


def read_toy(name: str) -> Toy | None:
    """A set, or None where it is not."""
    folder = find_trial("toys")
    if folder is None:
        return None
    traits = TRAITS[name]
    trial = bmtme.read_trial(folder / name / "pheno.csv", line="line", env="env", traits=traits)
    relationship = bmtme.read_relationship(folder / name / "grm.csv").subset(trial.lines)
    frame = trial.to_frame().iloc[np.argsort(place_cells(trial))]
    centred = frame[traits] - frame.groupby("env")[traits].transform("mean")
    spread = centred.std(ddof=1)
    frame[traits] = centred / spread
    scaled = bmtme.Trial.from_frame(frame, line="line", env="env", traits=traits)
    return Toy(name, trial, scaled, relationship, rescale(relationship), spread.to_numpy())


def rescale(relationship: bmtme.Relationship) -> bmtme.Relationship:
    """Divided by its mean diagonal."""
    G = np.asarray(relationship.matrix)
    return bmtme.Relationship(G / np.diag(G).mean(), lines=relationship.lines)


def place_cells(trial: bmtme.Trial) -> np.ndarray:
    """Of each record, the place of its cell, environment by environment."""
    return trial.env_index * len(trial.lines) + trial.line_index


@dataclass(frozen=True)
class Run:
    """One chain of BMTME: draws (draw, p, p) of its covariances, its means, the designs and data that it was given.

    `G` is the relationship in its designs, `seconds` its processor time, `sweep` that of one sweep.
    """

    Sigma_t: np.ndarray
    Sigma_E: np.ndarray
    R_e: np.ndarray
    means: dict[str, np.ndarray]
    given: dict[str, np.ndarray]
    G: np.ndarray
    seconds: float
    sweep: float

    @property
    def genetic(self) -> np.ndarray:
        """(N, L) genetic values of the records."""
        return self.given["z1"] @ self.means["b1"] + self.given["z2"] @ self.means["b2"]

    def measure_offset(self) -> tuple[float, float]:
        """Largest |fitted - X beta - Z1 b1 - Z2 b2|, and what is left of it with START times Z1's row sums added."""
        gap = self.means["yHat"] - self.given["x"] @ self.means["beta"] - self.genetic
        shift = START * self.given["z1"].sum(axis=1, keepdims=True)
        return float(np.abs(gap).max()), float(np.abs(gap + shift).max())


def fill(triangles: np.ndarray) -> np.ndarray:
    """Matrices (draw, p, p) of lower triangles by columns."""
    p = int((np.sqrt(8 * triangles.shape[1] + 1) - 1) / 2)
    out = np.empty((len(triangles), p, p))
    columns, rows = np.triu_indices(p)
    out[:, rows, columns] = triangles
    out[:, columns, rows] = triangles
    return out


def run_rival(given: dict[str, np.ndarray], G: np.ndarray, sweeps: int, dropped: int, seed: int, block: int) -> Run:
    """One chain of BMTME on these matrices, whose designs carry G."""
    out = run_r(SCRIPT, given, dropped + sweeps, dropped, seed, block)
    draws = [fill(out.pop(name)) for name in ("traits", "environments", "residual")]
    seconds = out.pop("seconds").item()
    designs = {name: out.pop(name) for name in ("z1", "z2") if name in out}
    return Run(*draws, out, given | designs, G, seconds, seconds / (dropped + sweeps))


def run_documented(toy: Toy, sweeps: int, dropped: int, seed: int) -> Run:
    """As the help page of BMTME does it: data as they are, designs by its function `cholesky`."""
    trial = toy.trial
    J, I = len(trial.lines), len(trial.envs)
    given = {"y": trial.values, "x": np.eye(I)[trial.env_index], "lines": np.eye(J)[trial.line_index],
             "cells": np.eye(I * J)[place_cells(trial)], "g": toy.G}  # fmt: skip
    return run_rival(given, toy.G, sweeps, dropped, seed, J)


def run_repaired(toy: Toy, sweeps: int, dropped: int, seed: int, interaction: bool) -> Run:
    """With inputs that keep the known defects from doing harm; without an interaction its design is zero."""
    J, I = len(toy.trial.lines), len(toy.trial.envs)
    root = np.linalg.cholesky(toy.scaled_G)
    z1 = np.tile(root, (I, 1))
    z2 = np.kron(np.eye(I), root) * interaction
    given = {"y": give_data(toy), "x": np.kron(np.eye(I), np.ones((J, 1))), "z1": z1, "z2": z2}
    return run_rival(given, toy.scaled_G, sweeps, dropped, seed, J)


def give_data(toy: Toy) -> np.ndarray:
    """What BMTME is given so that it analyses `toy.scaled`."""
    shift = START * np.linalg.cholesky(toy.scaled_G).sum(axis=1)
    return toy.scaled.values - np.tile(shift, len(toy.trial.envs))[:, None]


@dataclass(frozen=True)
class Priors:
    """BMTME's inverse-Wishart priors with inputs repaired: scales and degrees of freedom of the three covariances."""

    Sigma_t: np.ndarray
    Sigma_E: np.ndarray
    R_e: np.ndarray

    @property
    def df(self) -> dict[str, int]:
        """Of each covariance."""
        return {name: DF + len(getattr(self, name)) - 1 for name in ("Sigma_t", "Sigma_E", "R_e")}

    def draw_heritability(self, m: float, seed: int) -> np.ndarray:
        """Of a plot, from the prior, of all environments and traits; m: mean diagonal of the relationship."""
        rng = np.random.default_rng(seed)
        draws = [
            stats.invwishart.rvs(df, getattr(self, name), PRIOR_DRAWS, random_state=rng) for name, df in self.df.items()
        ]
        return share_genetic(m, *draws)


def set_priors(toy: Toy) -> Priors:
    """From the data that BMTME is given; that of Sigma_E from equal parts of the table, which are environments here."""
    values = give_data(toy)
    V, between = np.cov(values.T), np.cov(values.reshape(len(toy.trial.envs), -1))
    return Priors((DF + 2) * SHARE_G * V, (DF + 2) * SHARE_G * between, (DF + 2) * SHARE_E * V)


def fit_twin(toy: Toy, options: Options, interaction: bool) -> Any:
    """Posterior of bmtme on the scaled set with BMTME's priors.

    Its Sigma_E is diagonal: its entries have the prior of BMTME's diagonal. Without an interaction a prior holds it at
    a millionth.
    """
    priors = set_priors(toy)
    prior_E = bmtme.InverseWishart(DF, np.diag(np.diag(priors.Sigma_E))) if interaction else None
    model = bmtme.BMTME(
        "unstructured",
        prior_t=bmtme.InverseWishart(priors.df["Sigma_t"], priors.Sigma_t),
        prior_e=bmtme.InverseWishart(priors.df["R_e"], priors.R_e),
        prior_E=prior_E or bmtme.InverseWishart(1000.0, 1e-3),
        means="flat",
    )
    fit = bmtme.fit(
        toy.scaled, toy.scaled_relationship, model, draws=DRAWS, tune=TUNE, chains=2, seed=options.seed,
        cores=options.cores, keep_effects="none", progress=False,
    )  # fmt: skip
    return fit.idata.posterior


def unscramble(toy: Toy, run: Run) -> np.ndarray:
    """Covariances (draw, I, I) of the environments under the design that was given, on average over the lines.

    The effects of the cells are L b2, b2 ~ MN(0, Sigma_E (x) I, Sigma_t), where L holds a row for each cell. The
    covariance of environments i and k is the trace of G^-1 times their block of L (Sigma_E (x) I) L', over J.
    """
    J, I = len(toy.trial.lines), len(toy.trial.envs)
    rows = run.given["cells"].T @ run.given["z2"] if "cells" in run.given else run.given["z2"]
    white = np.linalg.solve(np.linalg.cholesky(run.G), rows.reshape(I, J, I, J).transpose(1, 0, 2, 3).reshape(J, -1))
    white = white.reshape(J, I, I, J)
    weights = np.einsum("jiaq,jkbq->ikab", white, white) / J
    return np.einsum("ikab,sab->sik", weights, run.Sigma_E)


def stack_entries(*matrices: np.ndarray) -> np.ndarray:
    """Lower triangles of several covariances side by side."""
    return np.concatenate([take_triangle(values) for values in matrices], axis=-1)


#: Ways of analysing a set.
DOCUMENTED, REPAIRED = "BMTME, as documented", "BMTME, inputs repaired"
TWIN, DEFAULT = "bmtme, BMTME's priors", "bmtme"


@dataclass(frozen=True)
class Found:
    """One set: two runs of BMTME; by way, heritabilities and genetic values (IJ, L), environment by environment."""

    toy: Toy
    documented: Run
    repaired: Run
    heritability: dict[str, Estimate]
    genetic: dict[str, np.ndarray]

    @property
    def names(self) -> list[str]:
        """Of the heritabilities."""
        return [f"{trait} in {env}" for env in self.toy.trial.envs for trait in self.toy.trial.traits]

    def count_effective(self, way: str) -> float:
        """Least effective draws of a heritability."""
        return float(self.heritability[way].effective.min())


@dataclass(frozen=True)
class Pair:
    """Both programs without an interaction on one set.

    Attributes
    ----------
    toy : the set
    theirs, ours : entries of Sigma_t and R_e
    rates : worst effective draws per second of processor time, theirs and ours
    offset : see `Run.measure_offset`
    """

    toy: Toy
    theirs: Estimate
    ours: Estimate
    rates: tuple[float, float]
    offset: tuple[float, float]

    @property
    def names(self) -> list[str]:
        """Of the entries."""
        inner = name_triangle(self.toy.trial.traits)
        return [f"{what}[{name}]" for what in ("Sigma_t", "R_e") for name in inner]


def share_genetic(m: float, Sigma_t: np.ndarray, Sigma_E: np.ndarray, R_e: np.ndarray) -> np.ndarray:
    """Heritability of a plot (..., I, L) in each environment and trait; m: variance of effects per unit of theirs."""
    S, E, R = (np.diagonal(values, axis1=-2, axis2=-1) for values in (Sigma_t, Sigma_E, R_e))
    genetic = m * S[..., None, :] * (1.0 + E[..., :, None])
    return genetic / (genetic + R[..., None, :])


def measure_heritability(G: np.ndarray, Sigma_t: np.ndarray, Sigma_E: np.ndarray, R_e: np.ndarray) -> Estimate:
    """Of a plot, among the lines of the trial, in each environment trait by trait; draws (chain, draw, p, p)."""
    share = share_genetic(measure_spread(np.trace(G), G.sum(), len(G)), Sigma_t, Sigma_E, R_e)
    return estimate(share.reshape(*share.shape[:2], -1))


def analyse(toy: Toy, documented: Run, repaired: Run, options: Options) -> Found:
    """Put the two runs beside bmtme with its default priors, and with those of BMTME."""
    fit = bmtme.fit(
        toy.trial, toy.relationship, draws=DRAWS, tune=TUNE, chains=2, seed=options.seed, cores=options.cores,
        progress=False,
    )  # fmt: skip
    p = fit.idata.posterior
    heritability = {
        way: measure_heritability(run.G, run.Sigma_t[None], unscramble(toy, run)[None], run.R_e[None])
        for way, run in ((DOCUMENTED, documented), (REPAIRED, repaired))
    }
    names = ("Sigma_t", "Sigma_E", "R_e")
    twin = fit_twin(toy, options, True)
    heritability[TWIN] = measure_heritability(toy.scaled_G, *(twin[name].values for name in names))
    heritability[DEFAULT] = measure_heritability(toy.G, *(p[name].values for name in names))
    table = fit.predictions().pivot(index=["env", "line"], columns="trait", values="mean")
    cells = [(env, line) for env in toy.trial.envs for line in toy.trial.lines]
    fitted = table.loc[cells, list(toy.trial.traits)].to_numpy()
    means = p["beta"].mean(("chain", "draw")).values
    genetic = {
        DOCUMENTED: documented.genetic[np.argsort(place_cells(toy.trial))],
        REPAIRED: repaired.genetic,
        DEFAULT: fitted - np.repeat(means, len(toy.trial.lines), axis=0),
    }
    return Found(toy, documented, repaired, heritability, genetic)


def pair(toy: Toy, runs: list[Run], options: Options) -> Pair:
    """BMTME's chains without interaction, and bmtme's with the same priors."""
    theirs = estimate(np.stack([stack_entries(run.Sigma_t, run.R_e) for run in runs]))
    began = time.process_time()
    posterior = fit_twin(toy, options, False)
    seconds = time.process_time() - began
    ours = estimate(stack_entries(posterior["Sigma_t"].values, posterior["R_e"].values))
    rates = float(theirs.effective.min()) / sum(run.seconds for run in runs), float(ours.effective.min()) / seconds
    offsets = [run.measure_offset() for run in runs]
    return Pair(toy, theirs, ours, rates, (max(a for a, _ in offsets), max(b for _, b in offsets)))
