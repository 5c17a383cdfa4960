"""Which variances of a trait are the prior's alone, in models with other structures than the paper's.

The same question as of `bmtme.results.information`, asked of one trait at a time and of variances alone: what of a
trait's own records tells its genetic variances (what environments have in common, and what each has of its own), its
residual variances and the variance of a line effect outside the relationship from each other. Structures assume more
than that, and traits inform each other, so that the data may say somewhat more than is counted here. The share of the
data in what is known about a variance is that of `bmtme.results.information`, each direction in units of `SHARE_SD` of
all that it could be: of the variance of a record, or, for what records of a line have in common, of their covariance.
Where that share is small, a number is the prior's if much of its interval is what it may be along the flat
direction, until a variance would be negative; where all that it may be is little, the data know its bounds. An interval
that is short by the prior alone says nothing of that (`part_left`). A number that only moves a little along it is
known. Scores are simulated as in `bmtme.results.fisher`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from bmtme.preparation import Prepared
from bmtme.results.fisher import HELD, SCORES, SCORES_EACH, deal_lines, relate
from bmtme.results.information import (
    FARTHEST,
    FLAT,
    NEARLY,
    PART,
    SHARE,
    SHARE_SD,
    centre_covariance,
    part_left,
    rests_on,
)
from bmtme.results.rows import Labels, Row, derive_rows

#: What a direction changes, in words.
GENETIC, RESIDUAL, LINE = "genetic variance", "R_e", "Sigma_r"
#: Why neither of these is known where one environment alone has records.
TOGETHER = "the data do not tell Sigma_t and Sigma_E apart"
#: Of the variance, kept between a residual one and zero, where the computation would break down.
LEAST = 1e-8


@dataclass(frozen=True)
class Variances:
    """Variances of one trait over its I environments with a record, user's units."""

    C: np.ndarray  # (I, I) of genetic effects, per unit of the relationship
    R: np.ndarray  # (I,) of residuals
    r: float  # of effects outside the relationship
    spread: float  # expected sample variance of lines' effects per unit of C

    @property
    def total(self) -> np.ndarray:
        """(I,) of a record."""
        return self.spread * np.diag(self.C) + self.r + self.R

    @property
    def shared(self) -> float:
        """What records of a line in different environments have in common; in one, replicates."""
        I = len(self.R)
        common = (self.C.sum() - np.trace(self.C)) / (I * (I - 1)) if I > 1 else self.C[0, 0]
        return max(self.spread * float(common) + self.r, LEAST * float(self.total.mean()))


@dataclass(frozen=True)
class Directions:
    """Free variances of one trait: rows of `common`, `own`, `residual`, `line` say what a unit of each adds.

    ``common`` (p,) to all genetic covariances of two environments, ``own`` (p, I) to the genetic variance in each,
    ``residual`` (p, I) and ``line`` (p,) to the others.
    """

    kinds: tuple[str, ...]
    common: np.ndarray
    own: np.ndarray
    residual: np.ndarray
    line: np.ndarray

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        """All of them, the kinds aside."""
        return self.common, self.own, self.residual, self.line


@dataclass(frozen=True)
class Cells:
    """The n cells (line, environment) of one trait with a record: places, number of plots, and of records."""

    line: np.ndarray
    env: np.ndarray  # among those with a record of the trait
    plots: np.ndarray
    records: np.ndarray
    errors: np.ndarray  # known error variance of their mean


def list_directions(at: Variances, shared: bool, line_effect: bool) -> Directions:
    """Each in units of `SHARE_SD` of all that it could be."""
    I, total = len(at.R), at.total
    rows: list[tuple[str, float, np.ndarray, np.ndarray, float]] = []
    none, mean, both = np.zeros(I), SHARE_SD * float(total.mean()), SHARE_SD * at.shared
    if I > 1:
        rows.append((GENETIC, both / at.spread, none, none, 0.0))
    rows += [(GENETIC, 0.0, SHARE_SD * total[i] / at.spread * row, none, 0.0) for i, row in enumerate(np.eye(I))]
    if shared:
        rows.append((RESIDUAL, 0.0, none, np.full(I, mean), 0.0))
    else:
        rows += [(RESIDUAL, 0.0, none, SHARE_SD * total[i] * row, 0.0) for i, row in enumerate(np.eye(I))]
    if line_effect:
        rows.append((LINE, 0.0, none, none, both))
    kinds, *parts = zip(*rows, strict=True)
    return Directions(tuple(kinds), *(np.array(part) for part in parts))


def measure(prepared: Prepared, cells: Cells, at: Variances, directions: Directions) -> np.ndarray:
    """Information (p, p) of the values of one trait, means integrated out.

    Raises
    ------
    numpy.linalg.LinAlgError
    """
    I, p = len(at.R), len(directions.kinds)
    K = max(SCORES, SCORES_EACH * p)
    rng = np.random.default_rng(20163)
    sizes = np.bincount(cells.line, minlength=prepared.layout.n_line)
    blocks, share = deal_lines(sizes, prepared.basis.vectors is None)
    H, t, held = np.zeros((I, I)), np.zeros((I, K)), []
    for block in blocks:
        chosen = np.flatnonzero(np.isin(cells.line, block))
        row, env, plots = np.searchsorted(block, cells.line[chosen]), cells.env[chosen], cells.plots[chosen]
        own = at.R[env] / plots + cells.errors[chosen]
        G = relate(prepared, block)
        V = G[np.ix_(row, row)] * at.C[np.ix_(env, env)] + at.r * np.equal.outer(row, row) + np.diag(own)
        factor = cholesky(V, lower=True, check_finite=False)
        noise = rng.standard_normal((len(V), K))
        half = solve_triangular(factor, np.eye(I)[env], lower=True, check_finite=False)
        H += half.T @ half
        t += half.T @ noise
        back = solve_triangular(factor, np.hstack([noise, half]), lower=True, trans="T", check_finite=False)
        held.append((G, row, env, plots, back[:, :K], back[:, K:]))
    shift = np.linalg.pinv(H, hermitian=True) @ t
    scores = np.zeros((p, K))
    for G, row, env, plots, z, means in held:
        z = z - means @ shift
        by_env = np.zeros((I, len(G), K))
        np.add.at(by_env, (env, row), z)
        of_line = by_env.sum(axis=0)
        own = np.array([square(G, each) for each in by_env])
        residual = np.zeros((I, K))
        np.add.at(residual, env, z**2 / plots[:, None])
        scores += directions.own @ own + directions.residual @ residual
        scores += np.outer(directions.common, square(G, of_line)) + np.outer(directions.line, (of_line**2).sum(axis=0))
    within = np.bincount(cells.env, cells.records - 1, minlength=I) / at.R**2
    twice = np.atleast_2d(np.cov(scores)) / 2.0 / share + (directions.residual * within) @ directions.residual.T
    return np.asarray(twice / 2.0)


def square(G: np.ndarray, z: np.ndarray) -> np.ndarray:
    """z'G z of each column, a part of them at a time."""
    step = max(1, HELD // len(G))
    parts = [z[:, first : first + step] for first in range(0, z.shape[1], step)]
    return np.concatenate([np.einsum("jk,jk->k", part, G @ part) for part in parts])


def find_prior_only_variances(
    prepared: Prepared, posterior: Any, shared: bool, proportional: bool, line_effect: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Which variances and heritabilities of a posterior are the prior's alone, and why; by their names in a summary.

    Beside them those of which the data know the bounds alone, as of `bmtme.results.information.find_prior_only`.

    Parameters
    ----------
    posterior : xarray.Dataset with its environments in computing order
    shared : whether all environments have one residual covariance
    proportional : whether the genetic structure is the paper's
    line_effect : whether lines have an effect outside the relationship

    Raises
    ------
    numpy.linalg.LinAlgError
    """
    spread = prepared.basis.spread
    if not spread > 0.0:
        return {}, {}
    labels: Labels = {"env": prepared.trial.envs, "trait": prepared.trial.traits}
    values = {str(name): array.values for name, array in posterior.data_vars.items() if "cell" not in array.dims}
    rows = [row for row in derive_rows(values, labels, spread) if not row.is_pair]
    found: dict[str, list[tuple[float, float, str]]] = {}
    for l in range(len(prepared.trial.traits)):
        envs = np.flatnonzero(prepared.layout.recorded[:, l])
        at = find_variances(prepared, posterior, l, envs)
        directions = list_directions(at, shared, line_effect)
        information = measure(prepared, list_cells(prepared, l, envs), at, directions)
        inverse = np.linalg.inv(information + FLAT * np.eye(len(information)))
        for row in rows:
            if row.at("trait") and set(row.at("trait")) != {l}:
                continue
            here = np.searchsorted(envs, row.at("env")[0]) if row.at("env") else 0
            if row.at("env") and row.at("env")[0] not in envs:
                continue
            if len(envs) == 1 and "Sigma_E" in values and row.quantity.name in ("Sigma_t", "Sigma_E"):
                # Of several traits, another one may say what Sigma_E is.
                said = [(0.0, np.inf, TOGETHER)] if len(prepared.trial.traits) == 1 else []
                found.setdefault(row.name, []).extend(said)
                continue
            slope = slope_of(row, int(here), at, directions, proportional)
            if slope is None:
                continue
            x = inverse @ slope
            data = float(x @ information @ x)
            reach = find_reach(row, int(here), at, directions, x, proportional)
            found.setdefault(row.name, []).append((data / (data + float(x @ x)), reach, tell_reason(directions, x)))
    reasons: dict[str, str] = {}
    bounded: dict[str, str] = {}
    for row in rows:
        if found.get(row.name):
            share, reach, reason = max(found[row.name])  # of what traits have in common, by the trait that says most
            if share < SHARE and reason and rests_on(row, reach):
                (reasons if part_left(row, reach=reach) >= PART else bounded)[row.name] = reason
    return reasons, bounded


def find_variances(prepared: Prepared, posterior: Any, l: int, envs: np.ndarray) -> Variances:
    """Centres of a trait's variances in the environments with a record."""
    trial = prepared.trial
    if "C" in posterior:
        names = [f"{trial.envs[i]} x {trial.traits[l]}" for i in envs]
        C = centre_covariance(posterior["C"].sel(cell=names, cell_bis=names).values)
    else:
        S = float(np.median(posterior["Sigma_t"].values[..., l, l]))
        E = np.zeros(len(envs))
        if "Sigma_E" in posterior:
            E = np.median(np.diagonal(posterior["Sigma_E"].values, axis1=-2, axis2=-1), axis=(0, 1))[envs]
        C = S * (1.0 + np.diag(E))
    R = np.median(posterior["R_e"].values[..., l, l], axis=(0, 1))
    R = np.broadcast_to(R, len(envs)) if R.ndim == 0 else R[envs]
    r = float(np.median(posterior["Sigma_r"].values[..., l, l])) if "Sigma_r" in posterior else 0.0
    at = Variances(C, R, r, prepared.basis.spread)
    return Variances(C, R + LEAST * at.total, r, at.spread)


def list_cells(prepared: Prepared, l: int, envs: np.ndarray) -> Cells:
    """The cells of a trait."""
    seen = prepared.observed[:, l]
    table = np.column_stack([prepared.layout.rec_line[seen], np.searchsorted(envs, prepared.layout.rec_env[seen])])
    cells, cell, records = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    plots = np.bincount(cell.ravel(), prepared.layout.rec_plots[seen])
    errors = np.zeros(len(cells))
    if prepared.given.se is not None:
        errors = np.bincount(cell.ravel(), prepared.given.own_errors()[prepared.records[seen], l]) / records**2
    return Cells(cells[:, 0], cells[:, 1], plots, records, errors)


def slope_of(row: Row, i: int, at: Variances, directions: Directions, proportional: bool) -> np.ndarray | None:
    """How a quantity of the environment with this place changes along the directions; None for one not looked at."""
    several = len(at.R) > 1
    common = directions.common if several else directions.own[:, 0]
    genetic = (directions.common + directions.own[:, i]) if several else common
    name = row.quantity.name
    if name == "Sigma_r":
        return directions.line
    if name == "R_e":
        return directions.residual[:, i]
    if name == "genetic_variance":
        return np.asarray(genetic)
    if name == "Sigma_t" and proportional:
        return common
    if name == "Sigma_E":
        S = at.C[0, 1]
        return np.asarray((directions.own[:, i] - (at.C[i, i] / S - 1.0) * common) / S)
    if name == "heritability":
        total = at.total[i]
        h2 = 1.0 - at.R[i] / total
        return np.asarray(
            ((1.0 - h2) * (at.spread * genetic + directions.line) - h2 * directions.residual[:, i]) / total
        )
    return None


def find_reach(row: Row, i: int, at: Variances, directions: Directions, x: np.ndarray, proportional: bool) -> float:
    """How far apart a quantity is at the ends of the way along x, where a variance would be negative beyond.

    i : place of its environment
    x : (p,) where the likelihood is flat
    """
    common, own, residual, line = (part.T @ x for part in directions.parts)
    C = common + np.diag(own)
    genetic = eigh(C, at.C, eigvals_only=True)
    if proportional and len(at.R) > 1:  # where an interaction's variance is none, which C would bear
        shared = at.C[0, 1]
        genetic = np.array([common / shared, *(own / np.maximum(np.diag(at.C) - shared, LEAST * shared))])
    slopes = np.concatenate([genetic, residual / at.R, [line / at.r if at.r else 0.0]])
    most, ends = float(np.abs(slopes).max()), []
    for sign in (1.0, -1.0):
        least = float((sign * slopes).min())
        step = -sign * NEARLY / least if least < -1e-6 * most else sign * FARTHEST / most
        end = Variances(at.C + step * C, at.R + step * residual, at.r + step * float(line), at.spread)
        ends.append(value_of(row.quantity.name, i, end))
    return abs(ends[1] - ends[0])


def value_of(name: str, i: int, at: Variances) -> float:
    """A quantity that `slope_of` has a slope of."""
    shared = at.C[0, 1] if len(at.R) > 1 else at.C[0, 0]
    values = {
        "Sigma_r": at.r,
        "R_e": at.R[i],
        "genetic_variance": at.C[i, i],
        "Sigma_t": shared,
        "Sigma_E": at.C[i, i] / shared - 1.0,
        "heritability": 1.0 - at.R[i] / at.total[i],
    }
    return float(values[name])


def tell_reason(directions: Directions, x: np.ndarray) -> str:
    """What the data cannot tell apart; empty where a quantity is uncertain by itself, within what the data leave it."""
    mixed: Mapping[str, None] = dict.fromkeys(
        kind for kind, part in zip(directions.kinds, np.abs(x), strict=True) if part > 0.3 * np.abs(x).max()
    )
    *first, last = mixed
    return f"the data do not tell {', '.join(first)} and {last} apart" if first else ""
