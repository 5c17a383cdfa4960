"""Fits of simulated sets with known parameters, for the study `recovery`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import bmtme
from bmtme.results.rows import derive_rows, list_values
from validation.paper.kept import keep
from validation.paper.simulated import mean_error, simulate
from validation.registry import Options, report_progress

CHAINS = {"draws": 1000, "tune": 500, "chains": 2}
DESIGN: dict[str, Any] = {
    "genetic_correlation": 0.85,
    "residual_correlation": 0.85,
    "heritability": (0.2, 0.5, 0.8),
    "interaction": (0.5, 1.0, 1.5),
}
#: Readings of the paper's relationship matrix.
READINGS = ("compound", "blocks")
DEFAULT, VAGUE = "default", "vague"
#: Without a prior of the means, and with the usual half-t prior of Huang & Wand (2013) for the roots of Sigma_E.
PRIORS = {DEFAULT: bmtme.BMTME(), VAGUE: bmtme.BMTME(means="flat", prior_E=bmtme.HalfT(2.0, 1e5))}
GROUPS = ("beta", "Sigma_t", "R_e", "Sigma_E")
COVARIANCES = GROUPS[1:]
NUMBERS = ("truth", "median", "mean", "sd", "lower", "upper", "ess_bulk", "r_hat")


def estimate(reading: str, priors: str, seed: int, cores: int) -> pd.DataFrame:
    """One set: parameter, group, and `NUMBERS` (all but the truth of the posterior)."""
    simulation, trial = simulate(seed, **DESIGN, relationship=reading)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit = bmtme.fit(
            trial, simulation.relationship, PRIORS[priors], seed=seed, keep_effects="none", cores=cores,
            progress=False, **CHAINS,
        )  # fmt: skip
    rows = []
    for row in derive_rows(*list_values(fit.idata.posterior), 1.0):
        group = row.quantity.name
        if group in GROUPS:
            truth = float(simulation.truth[group].iloc[row.places])
            rows.append((row.name, group, truth, float(np.median(row.draws))))
    table = pd.DataFrame(rows, columns=["parameter", "group", "truth", "median"])
    told = fit.summary().loc[table["parameter"], list(NUMBERS[2:])]
    return table.join(told.reset_index(drop=True))


@dataclass(frozen=True)
class Recovery:
    """The sets of one reading and choice of priors; `names`, `groups`, `truth` by parameter, the rest by set too.

    Attributes
    ----------
    mean, median, sd : of the posteriors
    inside : whether the 90% interval holds the truth
    effective : the least effective draws of a parameter in a set
    r_hat : (sets,) the largest
    """

    names: tuple[str, ...]
    groups: np.ndarray
    truth: np.ndarray
    mean: np.ndarray
    median: np.ndarray
    sd: np.ndarray
    inside: np.ndarray
    effective: float
    r_hat: np.ndarray

    @property
    def sets(self) -> int:
        """Their number."""
        return len(self.mean)

    def of(self, group: str) -> np.ndarray:
        """Places of a group's parameters."""
        return np.flatnonzero(self.groups == group)

    def bias(self, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean over the sets of estimate - truth, and its standard error, by parameter."""
        off = estimates - self.truth
        return off.mean(axis=0), off.std(axis=0, ddof=1) / np.sqrt(self.sets)

    def coverage(self, group: str) -> tuple[float, float]:
        """Share of a group's true values inside their intervals; entries of a set are correlated, sets are not."""
        return mean_error(self.inside[:, self.of(group)].mean(axis=1))

    def shift(self, group: str) -> tuple[float, float]:
        """Median - truth in posterior standard deviations, mean over a group."""
        return mean_error(((self.median - self.truth) / self.sd)[:, self.of(group)].mean(axis=1))

    def shift_by_mean(self, group: str) -> tuple[float, float]:
        """The same in mean posterior standard deviations, over the sets, so that all sets weigh alike."""
        return mean_error(((self.median - self.truth) / self.sd.mean(axis=0))[:, self.of(group)].mean(axis=1))

    def excess(self, group: str, estimates: np.ndarray) -> np.ndarray:
        """(sets,) percentage above the truth, mean over the means of a group or, of a covariance, the variances."""
        here = [k for k in self.of(group) if group == "beta" or is_variance(self.names[k])]
        return 100 * (estimates[:, here] / self.truth[here] - 1.0).mean(axis=1)


def is_variance(name: str) -> bool:
    """Whether an entry, named such as ``R_e[T1, T1]``, is on the diagonal."""
    first, second = label_entry(name).split(", ")
    return first == second


def label_entry(name: str) -> str:
    """``E1, T2`` of ``beta[E1, T2]``."""
    return name[name.index("[") + 1 : -1]


def collect(tables: Sequence[pd.DataFrame]) -> Recovery:
    """Sets side by side."""
    first = tables[0]

    def stack(column: str) -> np.ndarray:
        return np.stack([table[column].to_numpy() for table in tables])

    truth = first["truth"].to_numpy()
    return Recovery(
        names=tuple(first["parameter"]),
        groups=first["group"].to_numpy(),
        truth=truth,
        mean=stack("mean"),
        median=stack("median"),
        sd=stack("sd"),
        inside=(stack("lower") <= truth) & (truth <= stack("upper")),
        effective=float(stack("ess_bulk").min()),
        r_hat=stack("r_hat").max(axis=1),
    )


def run_sets(options: Options, readings: Sequence[str], sets: int, kept: bool) -> dict[tuple[str, str], Recovery]:
    """All sets, by reading and priors."""
    results = {}
    done, report = 0, report_progress("recovery, fits")
    for n, reading in enumerate(readings):
        for priors, model in PRIORS.items():
            tables = []
            for k in range(sets):
                # Other random numbers for each reading, so that the readings can be pooled.
                seed = 1000 * (len(READINGS) * options.seed + n) + k
                path = options.replicates / "recovery" / f"{reading}-{priors}-{seed}.csv" if kept else None
                settings = {"design": DESIGN, "reading": reading, "model": model.describe(), "seed": seed, **CHAINS}

                def make(reading: str = reading, priors: str = priors, seed: int = seed) -> pd.DataFrame:
                    return estimate(reading, priors, seed, options.cores)

                tables.append(keep(path, settings, make, NUMBERS))
                done += 1
                report(done, len(readings) * len(PRIORS) * sets)
            results[reading, priors] = collect(tables)
    return results


def line_average(reading: str) -> np.ndarray:
    """Standard deviation of the plain average of all plots about beta, (env, trait).

    ``sqrt(1'G1 / J^2 Sigma_t[l,l] (1 + Sigma_E[i,i]) + R_e[l,l] / (J K))`` for J lines with K plots each.
    """
    simulation, trial = simulate(0, **DESIGN, relationship=reading)
    t, e = (np.diag(simulation.truth[name]) for name in ("Sigma_t", "R_e"))
    plots = len(trial.values) / len(trial.envs)
    shared = np.asarray(simulation.relationship.matrix).mean()
    return np.sqrt(shared * np.outer(1.0 + np.diag(simulation.truth["Sigma_E"]), t) + e / plots)
