"""The table of means, covariances and what breeders derive from them, with diagnostics and plain warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaincinv

#: Below these, numbers are not to be leaned on; the note says so.
GOOD_R_HAT = 1.01
GOOD_ESS = 400
#: Quantiles of the interval, and of the tail ESS.
INTERVAL = (0.05, 0.95)
COLUMNS = ("mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note")

PRIOR_ONLY = "prior only"
HARDLY = "the data hardly say"
#: A 90% interval over more than this part of what is possible says next to nothing (that of a uniform one: 0.9).
ALMOST_ALL = 0.85
#: A standard deviation of records below the residual one is told where chance brings it less often than this.
CHANCE = 1e-3


@dataclass(frozen=True)
class Quantity:
    """One row of a summary: its name, draws (chain, draw), kind, and places (env or trait, trait)."""

    name: str
    draws: np.ndarray
    kind: str
    first: int
    second: int


def derive_quantities(posterior: Any, spread: float) -> Iterator[Quantity]:
    """Every summarised quantity of a posterior; `spread` as in `derive_covariances`."""
    traits = [str(name) for name in posterior["trait"].values]
    envs = [str(name) for name in posterior["env"].values]
    for i, env in enumerate(envs):
        for l, trait in enumerate(traits):
            yield Quantity(f"beta[{env}, {trait}]", posterior["beta"].values[:, :, i, l], "beta", i, l)
    E = posterior["Sigma_E"].values if "Sigma_E" in posterior else None
    yield from derive_covariances(envs, traits, posterior["Sigma_t"].values, E, posterior["R_e"].values, spread)


def derive_covariances(
    envs: Sequence[str], traits: Sequence[str], S: np.ndarray, E: np.ndarray | None, R: np.ndarray, spread: float
) -> Iterator[Quantity]:
    """Covariances, correlations and heritabilities from draws (chain, draw, p, p) of Sigma_t, Sigma_E and R_e.

    Heritability of a record, among the lines of the trial: V / (V + R_e,ll), V = c Sigma_t,ll (1 + Sigma_E,ii).

    Parameters
    ----------
    spread : c, the expected sample variance of the lines' effects per unit of their covariance
    """
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
            genetic = spread * S[:, :, l, l] * (1.0 + (E[:, :, i, i] if E is not None else 0.0))
            yield Quantity(f"heritability[{env}, {trait}]", genetic / (genetic + R[:, :, l, l]), "heritability", i, l)


def diagnose(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bulk ESS, tail ESS and rank-normalised R-hat of (parameter, chain, draw), by ArviZ; NaN below four draws.

    By ArviZ's functions of arrays: all of ArviZ takes a second to import, and its tail ESS is of other quantiles from
    one release to the next.
    """
    n = len(draws)
    if draws.shape[2] < 4:
        return np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    draws = np.ascontiguousarray(draws)  # a view, as of one entry of many matrices, would take several times as long
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from arviz_stats.base import array_stats

        bulk = array_stats.ess(draws, method="bulk")
        tail = array_stats.ess(draws, method="tail", prob=INTERVAL)
        r_hat = array_stats.rhat(draws, method="rank") if draws.shape[1] > 1 else np.full(n, np.nan)
    return bulk, tail, r_hat


def summarise_posterior(posterior: Any, facts: dict[str, Any]) -> pd.DataFrame:
    """Summary table of a posterior.

    Parameters
    ----------
    posterior : xarray.Dataset
    facts : what the data say about each entry, as of `bmtme.collection.find_facts`
    """
    quantities = list(derive_quantities(posterior, facts["spread"]))
    draws = np.stack([quantity.draws for quantity in quantities])
    bulk, tail, r_hat = diagnose(draws)
    constant = np.ptp(draws.reshape(len(draws), -1), axis=1) == 0
    for diagnostic in (bulk, tail, r_hat):
        diagnostic[constant] = np.nan
    # Residual SDs by trait, beside which those of the records stand.
    residual = [float(np.median(np.sqrt(q.draws))) for q in quantities if q.kind == "R_e" and q.first == q.second]
    rows = []
    for k, quantity in enumerate(quantities):
        notes = [*note_information(quantity, facts), *note_spread(quantity, residual, facts)]
        notes += note_likeness(quantity, facts)
        flat = quantity.draws.ravel()
        spread = flat.std(ddof=1) if flat.size > 1 else 0.0
        low, high = np.quantile(flat, INTERVAL)
        notes += note_width(quantity, high - low)
        notes += note_diagnostics(quantity.draws.shape, bool(constant[k]), bulk[k], tail[k], r_hat[k])
        rows.append((flat.mean(), spread, low, high, bulk[k], tail[k], r_hat[k], "; ".join(notes)))
    names = pd.Index([quantity.name for quantity in quantities], name="parameter")
    return pd.DataFrame(rows, columns=list(COLUMNS), index=names)


def note_information(quantity: Quantity, facts: dict[str, Any]) -> list[str]:
    """What is known of a quantity from elsewhere, or from the prior only."""
    recorded = np.array(facts["recorded"], bool)
    if quantity.kind == "beta":
        if recorded[quantity.first, quantity.second]:
            return []
        if facts["means"] == "paper":
            return ["no record: from the prior around zero"]
        if recorded[:, quantity.second].sum() == 1:
            return [f"{PRIOR_ONLY}: no record, and one other environment cannot say how far apart means are"]
        return ["no record: from the other environments"]
    if quantity.kind == "heritability" and not facts["spread"] > 0:
        return ["no genetic variance: by the relationship all lines are clones of one"]
    # One variance of all environments is informed by those with records.
    if quantity.kind in ("Sigma_E", "heritability") and not facts["shared_variance"]:
        if not recorded[quantity.first].any():
            return [f"{PRIOR_ONLY}: nothing was recorded in this environment"]
    if quantity.kind in ("R_e", "residual_correlation") and not facts["together"][quantity.first][quantity.second]:
        return [f"{PRIOR_ONLY}: never on one record"]
    reason = facts["prior_only"].get(quantity.name)
    return [f"{PRIOR_ONLY}: {reason}"] if reason else []


def note_spread(quantity: Quantity, residual: Sequence[float], facts: dict[str, Any]) -> list[str]:
    """Residual SDs (by trait) that are more than all that an environment's records vary.

    Told where chance cannot be the reason: (n - 1) s^2 of n records with residual variance R_e at least exceeds
    R_e times the `CHANCE` quantile of chi-squared with n - 1 degrees of freedom in all but `CHANCE` of cases.
    """
    if quantity.kind == "heritability":
        envs, l = [quantity.first], quantity.second
    elif quantity.kind == "R_e" and quantity.first == quantity.second:
        envs, l = list(range(len(facts["envs"]))), quantity.first
    else:
        return []
    few = []
    for i in envs:
        count, sd = facts["records"][i][l], facts["observed_sd"][i][l]
        if count > 2 and (count - 1) * sd**2 < 2 * gammaincinv((count - 1) / 2, CHANCE) * residual[l] ** 2:
            few.append(f"{sd:.3g} in {facts['envs'][i]}")
    if not few:
        return []
    where = ", ".join(few[:4]) + (f" and {len(few) - 4} more" if len(few) > 4 else "")
    return [f"residual SD {residual[l]:.3g} above the observed SD {where}: residual variances differ by environment"]


def note_likeness(quantity: Quantity, facts: dict[str, Any]) -> list[str]:
    """Traits that are nearly copies of each other, in whose variances and heritabilities little can be trusted."""
    notes = []
    for each in facts["alike"]:
        pair, env = set(each["traits"]), each["env"]
        if quantity.kind == "heritability":
            here = quantity.second in pair and env in (None, quantity.first)
        elif quantity.kind == "Sigma_E":
            here = env == quantity.first
        else:
            here = quantity.kind != "beta" and {quantity.first, quantity.second} <= pair
        if here:
            where = "" if env is None else f" in {facts['envs'][env]}"
            notes.append(f"traits that are nearly copies{where} (r {each['r']:.3f}): see `bmtme check`")
    return notes


def note_width(quantity: Quantity, width: float) -> list[str]:
    """A heritability or correlation of which hardly more is known than that it is one."""
    if quantity.kind == "heritability" and width > ALMOST_ALL:
        return [f"{HARDLY}: the interval covers {width:.2f} of (0, 1)"]
    if quantity.kind in ("genetic_correlation", "residual_correlation") and width > 2 * ALMOST_ALL:
        return [f"{HARDLY}: the interval covers {width / 2:.2f} of (-1, 1)"]
    return []


def note_diagnostics(shape: tuple[int, ...], constant: bool, bulk: float, tail: float, r_hat: float) -> list[str]:
    """What the diagnostics say, and why where they say nothing."""
    if shape[1] < 4:
        return ["too few draws to judge"]
    if constant:
        return ["does not vary: R-hat and effective draws unknown"]
    notes = []
    if shape[0] == 1:
        notes.append("one chain: R-hat unknown")
    if not np.isfinite([bulk, tail, r_hat if shape[0] > 1 else 1.0]).all():
        notes.append("R-hat or effective draws could not be computed")
    if r_hat > GOOD_R_HAT:
        notes.append(f"R-hat above {GOOD_R_HAT}")
    if min(bulk, tail) < GOOD_ESS:
        notes.append(f"fewer than {GOOD_ESS} effective draws")
    return notes
