"""The table of means, covariances and what breeders derive from them, with diagnostics and plain warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.results.posterior import import_arviz

#: Below these, numbers are not to be leaned on; the note says so.
GOOD_R_HAT = 1.01
GOOD_ESS = 400
COLUMNS = ("mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note")

PRIOR_ONLY = "prior only"


@dataclass(frozen=True)
class Quantity:
    """One row of a summary: its name, draws (chain, draw), kind, and places (env or trait, trait)."""

    name: str
    draws: np.ndarray
    kind: str
    first: int
    second: int


def derive_quantities(posterior: Any, mean_diagonal: float) -> Iterator[Quantity]:
    """Every summarised quantity.

    Heritability of a plot: m Sigma_t,ll (1 + Sigma_E,ii) / (m Sigma_t,ll (1 + Sigma_E,ii) + R_e,ll), with m the mean
    diagonal of the relationship among the trial's lines.
    """
    traits = [str(name) for name in posterior["trait"].values]
    envs = [str(name) for name in posterior["env"].values]
    S, R = posterior["Sigma_t"].values, posterior["R_e"].values
    E = posterior["Sigma_E"].values if "Sigma_E" in posterior else None
    for i, env in enumerate(envs):
        for l, trait in enumerate(traits):
            yield Quantity(f"beta[{env}, {trait}]", posterior["beta"].values[:, :, i, l], "beta", i, l)
    for name, values in (("Sigma_t", S), ("R_e", R)):
        for l, trait in enumerate(traits):
            for q in range(l, len(traits)):
                if l == q or np.any(values[:, :, l, q] != 0):
                    yield Quantity(f"{name}[{trait}, {traits[q]}]", values[:, :, l, q], name, l, q)
    if E is not None:
        for i, env in enumerate(envs):
            yield Quantity(f"Sigma_E[{env}, {env}]", E[:, :, i, i], "Sigma_E", i, i)
    for name, values in (("genetic_correlation", S), ("residual_correlation", R)):
        for l, trait in enumerate(traits):
            for q in range(l + 1, len(traits)):
                if np.any(values[:, :, l, q] != 0):
                    scale = np.sqrt(values[:, :, l, l] * values[:, :, q, q])
                    yield Quantity(f"{name}[{trait}, {traits[q]}]", values[:, :, l, q] / scale, name, l, q)
    for i, env in enumerate(envs):
        for l, trait in enumerate(traits):
            genetic = mean_diagonal * S[:, :, l, l] * (1.0 + (E[:, :, i, i] if E is not None else 0.0))
            yield Quantity(f"heritability[{env}, {trait}]", genetic / (genetic + R[:, :, l, l]), "heritability", i, l)


def diagnose(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bulk ESS, tail ESS and rank-normalised R-hat of (parameter, chain, draw), by ArviZ; NaN below four draws."""
    n = len(draws)
    if draws.shape[2] < 4:
        return np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    import xarray

    arviz = import_arviz()

    data = xarray.Dataset({"x": (("chain", "draw", "parameter"), np.moveaxis(draws, 0, 2))})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        bulk = arviz.ess(data, method="bulk")["x"].values
        tail = arviz.ess(data, method="tail")["x"].values
        r_hat = arviz.rhat(data, method="rank")["x"].values if draws.shape[1] > 1 else np.full(n, np.nan)
    return bulk, tail, r_hat


def summarise_posterior(posterior: Any, facts: dict[str, Any]) -> pd.DataFrame:
    """Summary table of a posterior.

    Parameters
    ----------
    posterior : xarray.Dataset
    facts : what the data say about each entry: ``mean_diagonal``; ``recorded`` (env x trait), whether a column has
        records; ``together`` (trait x trait), whether two traits stand on one record
    """
    recorded, together = np.array(facts["recorded"], bool), np.array(facts["together"], bool)
    # One variance of all environments is informed by those with records.
    unseen = np.array([not facts["shared_variance"] and not row.any() for row in recorded])
    quantities = list(derive_quantities(posterior, facts["mean_diagonal"]))
    draws = np.stack([quantity.draws for quantity in quantities])
    constant = np.ptp(draws.reshape(len(draws), -1), axis=1) == 0
    bulk, tail, r_hat = diagnose(draws)
    for diagnostic in (bulk, tail, r_hat):
        diagnostic[constant] = np.nan
    rows = []
    for k, quantity in enumerate(quantities):
        notes = []
        if quantity.kind in ("Sigma_E", "heritability") and unseen[quantity.first]:
            notes.append(PRIOR_ONLY)
        if quantity.kind in ("R_e", "residual_correlation") and not together[quantity.first, quantity.second]:
            notes.append(f"{PRIOR_ONLY}: never on one record")
        if quantity.kind == "beta" and not recorded[quantity.first, quantity.second]:
            notes.append("no record: from the other environments")
        if r_hat[k] > GOOD_R_HAT:
            notes.append(f"R-hat above {GOOD_R_HAT}")
        if min(bulk[k], tail[k]) < GOOD_ESS:
            notes.append(f"fewer than {GOOD_ESS} effective draws")
        flat = quantity.draws.ravel()
        spread = flat.std(ddof=1) if flat.size > 1 else 0.0
        low, high = np.quantile(flat, (0.05, 0.95))
        rows.append((flat.mean(), spread, low, high, bulk[k], tail[k], r_hat[k], "; ".join(notes)))
    names = pd.Index([quantity.name for quantity in quantities], name="parameter")
    return pd.DataFrame(rows, columns=list(COLUMNS), index=names)
