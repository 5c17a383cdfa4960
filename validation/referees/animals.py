"""Animal models of one environment: the analyses of the study `gryphon`, by REML, by bmtme, and exactly."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

import bmtme
from bmtme.testing.uniformity import combine_z
from validation.referees.estimates import count_effective
from validation.referees.reml import Maximum, Sample, Traits, integrate_posterior, sample_posterior, stack
from validation.trials import find_trial

CHAINS = 4
#: As flat as priors can be given: a constant density of every SD below some hundred units, and of every correlation.
NU, SCALE = 0.01, 1e4
FLAT = bmtme.HalfT(nu=NU, scale=SCALE)
#: Scale of the roots of Sigma_E where sexes stand for environments: no interaction to speak of.
NO_INTERACTION = bmtme.HalfT(nu=4, scale=1e-3)


@dataclass(frozen=True)
class Animals:
    """One record an animal (line, env, sex, traits; text and numbers), the pedigree, A of all animals in it."""

    frame: pd.DataFrame
    pedigree: pd.DataFrame
    relationship: bmtme.Relationship


@dataclass(frozen=True)
class Analysis:
    """Which traits, and whether the sexes have means of their own (of one trait)."""

    name: str
    traits: tuple[str, ...]
    by_sex: bool = False

    @property
    def labels(self) -> list[str]:
        """The entries of `theta`: lower triangles of the additive, then of the residual covariance, row by row."""
        p = len(self.traits)
        names = []
        for part in ("additive", "residual"):
            for a, b in zip(*np.tril_indices(p), strict=True):
                what = f"variance, {self.traits[a]}" if a == b else f"covariance, {self.traits[b]} and {self.traits[a]}"
                names.append(f"{part} {what}")
        return names

    @property
    def ratios(self) -> list[str]:
        """Labels of `divide`."""
        names = [f"heritability, {trait}" for trait in self.traits]
        return names + (["genetic correlation", "residual correlation"] if len(self.traits) == 2 else [])

    def divide(self, theta: np.ndarray) -> np.ndarray:
        """Heritabilities of the base population, VA / (VA + VR) as ASReml prints them, and correlations; theta (n, k).

        Not those of `bmtme.Fit.summary`, which are among the recorded animals (c VA in place of VA).
        """
        half = theta.shape[1] // 2
        S, R = theta[:, :half], theta[:, half:]
        variances = [0] if half == 1 else [0, 2]
        columns = [S[:, k] / (S[:, k] + R[:, k]) for k in variances]
        if half == 3:
            columns += [part[:, 1] / np.sqrt(part[:, 0] * part[:, 2]) for part in (S, R)]
        return np.column_stack(columns)

    def expand(self, theta: np.ndarray) -> np.ndarray:
        """theta and `divide` side by side."""
        return np.hstack([theta, self.divide(theta)])


def read_gryphon() -> Animals | None:
    """The data, or None where they are not."""
    folder = find_trial("gryphon")
    if folder is None:
        return None
    frame = pd.read_csv(folder / "pheno.csv", dtype={"line": str, "env": str, "sex": str, "mother": str})
    pedigree = bmtme.read_pedigree(folder / "pedigree.csv")
    return Animals(frame, pedigree, bmtme.pedigree_relationship(pedigree))


def simulate_animals(seed: int) -> Animals:
    """Founders, full-sib families of half-sibs, and inbred offspring of full sibs; two traits, sexes, gaps."""
    rng = np.random.default_rng(seed)
    sires, dams, each = 15, 45, 5
    rows = [(f"S{k}", "", "") for k in range(sires)] + [(f"D{k}", "", "") for k in range(dams)]
    rows += [(f"F{k}_{n}", f"S{k % sires}", f"D{k}") for k in range(dams) for n in range(each)]
    rows += [(f"I{k}_{n}", f"F{k}_0", f"F{k}_1") for k in range(dams // 3) for n in range(each)]
    pedigree = pd.DataFrame(rows, columns=["id", "sire", "dam"])
    relationship = bmtme.pedigree_relationship(pedigree)
    J = len(rows)
    S, R = np.array([[4.0, 3.0], [3.0, 14.0]]), np.array([[3.0, 2.0], [2.0, 9.0]])
    root = np.linalg.cholesky(relationship.matrix + 1e-10 * np.eye(J))
    sex = rng.integers(1, 3, J)
    values = root @ rng.standard_normal((J, 2)) @ np.linalg.cholesky(S).T
    values += rng.standard_normal((J, 2)) @ np.linalg.cholesky(R).T + [7.0, 20.0]
    values[:, 0] += 2.0 * (sex == 2)
    values[rng.random((J, 2)) < 0.25] = np.nan
    frame = pd.DataFrame({"line": pedigree["id"], "env": "all", "sex": sex.astype(str)})
    frame["BWT"], frame["TARSUS"] = values.T
    return Animals(frame, pedigree, relationship)


def set_up(animals: Animals, analysis: Analysis) -> Traits:
    """The records as REML takes them: only animals with a record, in the order of the frame."""
    values = animals.frame[list(analysis.traits)].to_numpy(float)
    seen = ~np.isnan(values).all(axis=1)
    sexes = animals.frame["sex"].to_numpy()[seen]
    ones = np.ones((len(sexes), 1))
    design = (sexes[:, None] == np.unique(sexes)).astype(float) if analysis.by_sex else ones
    A = animals.relationship.subset(animals.frame["line"][seen]).matrix
    return stack(values[seen], np.asarray(A), [design] * len(analysis.traits))


def find_posterior(analysis: Analysis, traits: Traits, maximum: Maximum, draws: int, seed: int, cores: int) -> Sample:
    """The posterior under the flat priors: on a grid for one trait, by importance sampling for two."""
    if len(analysis.traits) == 1:
        with threadpool_limits(1):
            return integrate_posterior(traits, maximum, NU, SCALE)
    scale = np.full(len(analysis.traits), SCALE)
    return sample_posterior(traits, maximum, NU, scale, draws, seed, cores)


def fit_animals(
    animals: Animals, analysis: Analysis, draws: int, seed: int, cores: int, prior: bmtme.HalfT | None = FLAT
) -> tuple[np.ndarray, np.ndarray]:
    """bmtme's draws of theta (chain, draw, k) and of the means (chain, draw, mean).

    With means by sex, the sexes stand for environments and Sigma_E is held at zero by its prior.
    """
    column = "sex" if analysis.by_sex else "env"
    frame = animals.frame[["line", column, *analysis.traits]]
    trial = bmtme.Trial.from_frame(frame, line="line", env=column, traits=list(analysis.traits))
    model = bmtme.BMTME(prior_t=prior, prior_e=prior, prior_E=NO_INTERACTION if analysis.by_sex else None, means="flat")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = bmtme.fit(
            trial, animals.relationship, model, draws=draws, tune=1000, chains=CHAINS, seed=seed, cores=cores,
            keep_effects="none", progress=False,
        )  # fmt: skip
    posterior = fit.idata.posterior
    rows, columns = np.tril_indices(len(analysis.traits))
    parts = [posterior[name].values[:, :, rows, columns] for name in ("Sigma_t", "R_e")]
    beta = posterior["beta"].values
    return np.concatenate(parts, axis=2), beta.reshape(*beta.shape[:2], -1)


@dataclass(frozen=True)
class Agreement:
    """Posterior moments by bmtme and exactly, with their Monte Carlo errors, and bmtme's least effective draws."""

    ours: np.ndarray
    our_errors: np.ndarray
    exact: np.ndarray
    exact_errors: np.ndarray
    effective: float

    @property
    def z(self) -> np.ndarray:
        """Differences in errors of both."""
        return (self.ours - self.exact) / np.hypot(self.our_errors, self.exact_errors)

    @property
    def p(self) -> float:
        """Smallest p-value, times the number of differences."""
        return combine_z(self.z)


def compare_moments(analysis: Analysis, draws: np.ndarray, exact: Sample, centre: np.ndarray) -> Agreement:
    """Means of entries and ratios, then of their squared distances from the REML estimates.

    draws : (chain, draw, k) of theta
    centre : (k,) REML estimates of theta
    """
    middle = analysis.expand(centre[None])

    def take_moments(theta: np.ndarray) -> np.ndarray:
        x = analysis.expand(theta)
        return np.hstack([x, (x - middle) ** 2])

    mean, error = exact.mean(take_moments)
    if len(analysis.traits) == 1:  # a grid has no Monte Carlo error
        error = np.zeros_like(error)
    found = take_moments(draws.reshape(-1, draws.shape[2]))
    effective = count_effective(np.moveaxis(found.reshape(*draws.shape[:2], -1), 2, 0))
    return Agreement(found.mean(axis=0), found.std(axis=0) / np.sqrt(effective), mean, error, float(effective.min()))
