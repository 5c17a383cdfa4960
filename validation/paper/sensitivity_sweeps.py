"""Families of priors over scales, and what the posterior means do under them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bmtme
from bmtme.results.summary import GOOD_R_HAT
from validation.paper.estimates import list_pairs, sample_quantities
from validation.paper.kept import Data
from validation.registry import Options, report_progress

SCALES: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
DECADES: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
TUNE, DRAWS = 500, 2000
#: Chains that disagree (`GOOD_R_HAT`) run again, so many times longer; those that still do are pointed out.
LONGER = 4


@dataclass(frozen=True)
class Sweep:
    """A family of priors over the scales."""

    name: str
    what: str
    make: Callable[[Data, float], bmtme.BMTME]


@dataclass(frozen=True)
class Swept:
    """Summaries of one data set.

    Attributes
    ----------
    data : trial and relationship
    scales : of the priors
    reference : under the default priors
    package : under those of the R package BMTME, None where it was not asked for
    found : at every scale of every sweep
    longer : what ran again with more draws
    """

    data: Data
    scales: Sequence[float]
    reference: pd.DataFrame
    package: pd.DataFrame | None
    found: Mapping[Sweep, list[pd.DataFrame]]
    longer: list[str]

    def measure(self, sweep: Sweep, least: float = 0.0, names: Sequence[str] | None = None) -> Span:
        """Largest difference between the posterior means of a quantity at two of the scales from `least` on."""
        chosen = [table for scale, table in zip(self.scales, self.found[sweep], strict=True) if scale >= least]
        names = list(self.reference.index) if names is None else names
        return measure_span(self.reference.loc[names], [table.loc[names] for table in chosen])

    def at(self, sweep: Sweep, scale: float) -> pd.DataFrame:
        """The summary at one scale."""
        return self.found[sweep][self.scales.index(scale)]


@dataclass(frozen=True)
class Span:
    """A change in posterior standard deviations, its Monte Carlo error, and of what it is."""

    size: float
    error: float
    name: str


def measure_changes(reference: pd.DataFrame, summaries: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """(scale, quantity) posterior means less those under the default priors, in posterior SDs of the latter."""
    means = pd.DataFrame([summary["mean"] for summary in summaries]).reset_index(drop=True)
    return (means - reference["mean"]) / reference["sd"]


def measure_span(reference: pd.DataFrame, summaries: Sequence[pd.DataFrame]) -> Span:
    """Largest difference between the posterior means of a quantity at any two of the scales."""
    changes = measure_changes(reference, summaries)
    sizes = changes.max() - changes.min()
    name = str(sizes.idxmax())
    ends = [summaries[changes[name].argmax()].loc[name], summaries[changes[name].argmin()].loc[name]]
    errors = [end["sd"] / np.sqrt(end["ess_bulk"]) / reference.loc[name, "sd"] for end in ends]
    return Span(float(sizes[name]), float(np.hypot(*errors)), name)


def measure_scales(data: Data) -> tuple[dict[str, float], float]:
    """Standard deviation of each trait, and mean diagonal of the relationship among the trial's lines."""
    trial, relationship = data
    spread = {trait: float(np.nanstd(trial.values[:, l], ddof=1)) for l, trait in enumerate(trial.traits)}
    place = [relationship.lines.index(line) for line in trial.lines]
    return spread, float(np.diag(relationship.matrix)[place].mean())


def half_t(data: Data, scale: float) -> bmtme.BMTME:
    """Sigma_t and R_e half-t with two degrees of freedom."""
    spread, m = measure_scales(data)
    return bmtme.BMTME(
        prior_t=bmtme.HalfT(2.0, {trait: scale * s / np.sqrt(m) for trait, s in spread.items()}),
        prior_e=bmtme.HalfT(2.0, {trait: scale * s for trait, s in spread.items()}),
    )


def inverse_wishart(extra: int) -> Callable[[Data, float], bmtme.BMTME]:
    """Sigma_t and R_e inverse-Wishart with p + `extra` degrees of freedom."""

    def make(data: Data, scale: float) -> bmtme.BMTME:
        spread, m = measure_scales(data)
        df = len(spread) + extra
        return bmtme.BMTME(
            prior_t=bmtme.InverseWishart(df, {trait: (scale * s) ** 2 / m for trait, s in spread.items()}),
            prior_e=bmtme.InverseWishart(df, {trait: (scale * s) ** 2 for trait, s in spread.items()}),
        )

    return make


def interaction_half_t(data: Data, scale: float) -> bmtme.BMTME:
    """Roots of Sigma_E half-t with two degrees of freedom."""
    return bmtme.BMTME(prior_E=bmtme.HalfT(2.0, scale))


def interaction_gamma(data: Data, scale: float) -> bmtme.BMTME:
    """Entries of Sigma_E inverse gamma, IG(1, scale^2 / 2)."""
    return bmtme.BMTME(prior_E=bmtme.InverseWishart(2.0, scale**2))


#: Scale matrices of the R package BMTME 1.0.19 for Sigma_t and R_e, in covariance matrices of the records.
PACKAGE_T, PACKAGE_E = 0.25 * 7, 0.5 * 7


def package(data: Data) -> bmtme.BMTME:
    """Sigma_t (for the relationship as given) and R_e as in the R package BMTME: 5 + p - 1 degrees of freedom."""
    values = data[0].values
    spread = np.cov(values[~np.isnan(values).any(axis=1)], rowvar=False)
    df = values.shape[1] + 4.0
    return bmtme.BMTME(
        prior_t=bmtme.InverseWishart(df, PACKAGE_T * spread), prior_e=bmtme.InverseWishart(df, PACKAGE_E * spread)
    )


HALF_T = Sweep("half-t", "Sigma_t, R_e", half_t)
WISHART = Sweep("inverse-Wishart, p + 1 df", "Sigma_t, R_e", inverse_wishart(1))
TIGHT = Sweep("inverse-Wishart, p + 4 df", "Sigma_t, R_e", inverse_wishart(4))
HALF_T_E = Sweep("half-t", "Sigma_E", interaction_half_t)
GAMMA_E = Sweep("inverse gamma", "Sigma_E", interaction_gamma)
SWEEPS = (HALF_T, WISHART, TIGHT, HALF_T_E, GAMMA_E)


def list_quantities(data: Data) -> list[str]:
    """What is looked at: correlations, variances, heritabilities, Sigma_E."""
    trial = data[0]
    return [
        *[f"{kind}_correlation[{a}, {b}]" for kind in ("genetic", "residual") for a, b in list_pairs(trial.traits)],
        *[f"genetic_variance[{trait}]" for trait in trial.traits],
        *[f"R_e[{trait}, {trait}]" for trait in trial.traits],
        *[f"heritability[{env}, {trait}]" for env in trial.envs for trait in trial.traits],
        *[f"Sigma_E[{env}, {env}]" for env in trial.envs],
    ]


def run_sweeps(
    data: Data, sweeps: Sequence[Sweep], scales: Sequence[float], options: Options, label: str, others: bool = True
) -> Swept:
    """Summary under the default priors, those of the R package (`others`), and of every sweep at every scale."""
    names = list_quantities(data)
    report, total = report_progress(f"sensitivity, {label}"), 1 + others + len(sweeps) * len(scales)
    longer: list[str] = []

    def summarise(model: bmtme.BMTME, what: str) -> pd.DataFrame:
        table = sample_quantities(data, model, options.seed, options.cores, TUNE, DRAWS)[1].loc[names]
        if not float(table["r_hat"].max()) <= GOOD_R_HAT:
            longer.append(what)
            table = sample_quantities(data, model, options.seed, options.cores, LONGER * TUNE, LONGER * DRAWS)[1]
        return table.loc[names]

    reference = summarise(bmtme.BMTME(), "the default priors")
    of_package = summarise(package(data), "the priors of the R package") if others else None
    found: dict[Sweep, list[pd.DataFrame]] = {}
    for sweep in sweeps:
        found[sweep] = []
        for scale in scales:
            found[sweep].append(summarise(sweep.make(data, scale), name_point(sweep, scale)))
            report(1 + others + sum(map(len, found.values())), total)
    return Swept(data, scales, reference, of_package, found, longer)


def name_point(sweep: Sweep, scale: float) -> str:
    """A family at a scale."""
    return f"{sweep.name} of {sweep.what} at {scale:g}"


def simulate(seed: int) -> Data:
    """80 lines, 3 environments, 3 traits, one plot a cell; correlations 0.5."""
    sim = bmtme.simulate(
        lines=80, genetic_correlation=0.5, residual_correlation=0.3, heritability=0.5, relationship="markers", seed=seed
    )
    traits = ["T1", "T2", "T3"]
    return bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=traits), sim.relationship
