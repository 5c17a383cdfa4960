"""Recorded values predicted from all others, with the covariances held: leave-one-out without fitting again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtri

from bmtme.arguments import check_memory, is_one_of, show
from bmtme.data.order import sort_names
from bmtme.decisions.covariances import (
    average_genetic,
    average_residual,
    is_alone,
    list_names_along,
    take_outside,
)
from bmtme.errors import NumericalError, UsageError
from bmtme.results.decided import LEFT_OUT
from bmtme.results.entries import name_columns
from bmtme.results.levels import EFFECTS, REPLICATE, number_levels
from bmtme.results.residuals import refuse_correlated, take_errors, take_numbers
from bmtme.results.summary import INTERVAL
from bmtme.results.traits import BY_TRAIT
from bmtme.results.unrecorded import MOST_RELATED, take_relationship
from bmtme.words import list_names

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

RECORD, CELL, LINE = BLOCKS = ("record", "cell", "line")
#: Of a value's variance: where its prediction is worse by 1 / UNKNOWN, the others say nothing of it.
UNKNOWN = 1e-8
#: Share of an eigenvector by which a value is taken to have a part in it.
PART = 1e-6
#: Eigenvalue, relative to the largest, below which fixed effects cannot be told apart.
ALIKE = 1e-10


@dataclass(frozen=True)
class Values:
    """The n recorded values of some traits: where each belongs.

    Attributes
    ----------
    y : (n,)
    record, line, env, trait : (n,) places
    level : (n,) replicate that has an effect on the value, -1 for none
    blocks : (n, F) block of each factor that has an effect on the value, -1 for none
    covariates : (n, C) of the record
    number : (n,) plots of which it is the mean
    errors : (N, L, L) known error covariances of the records; None for none
    """

    y: np.ndarray
    record: np.ndarray
    line: np.ndarray
    env: np.ndarray
    trait: np.ndarray
    level: np.ndarray
    blocks: np.ndarray
    covariates: np.ndarray
    number: np.ndarray
    errors: np.ndarray | None = None

    def group(self, by: str) -> np.ndarray:
        """(n,) number of the block that a value is left out with."""
        if by == RECORD:
            return self.record
        return self.line if by == LINE else self.line * (self.env.max() + 1) + self.env


def tabulate_left_out(fit: Fit, by: Any) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.leave_one_out`."""
    if not is_one_of(by, BLOCKS):
        raise UsageError(f"by must be one of {list_names(BLOCKS)}, got {show(by)}.")
    traits, envs = list_names_along(fit, "trait"), list_names_along(fit, "env")
    observed = fit._groups["observed_data"]
    refuse_correlated(observed, "leave_one_out")
    Y = observed["Y"].transpose("record", "trait").values
    alone = is_alone(fit)
    sets = [[l] for l in range(len(traits))] if alone else [list(range(len(traits)))]
    count = max(int((~np.isnan(Y[:, places])).sum()) for places in sets)
    if count > MOST_RELATED:
        raise UsageError(
            f"leave_one_out inverts the covariance matrix of all recorded values, of which this fit has {count:,}: "
            f"more than {MOST_RELATED:,} are not taken. Use bmtme.cross_validate, which fits anew."
        )
    check_memory(6 * 8 * count**2, f"leave_one_out of {count:,} values")
    names, kin = take_relationship(fit._groups)
    G = np.eye(len(names)) if kin is None else kin
    # Computed in the order of the names, so that the digits do not depend on that of the rows.
    order = sort_names(envs)
    envs = [envs[i] for i in order]
    line = pd.Index(names).get_indexer(observed["record_line"].values)
    env = pd.Index(envs).get_indexer(observed["record_env"].values)
    C, R = average_genetic(fit)[order][:, :, order], average_residual(fit)[order]
    outside = take_outside(fit).mean(axis=(0, 1))
    (levels, active), (blocks, blocked) = find_levels(fit)
    beside = np.zeros((len(Y), 0))
    if "covariate_effects" in fit._groups["posterior"]:
        beside = observed["record_covariate"].transpose("record", "covariate").values
    number = take_numbers(observed)
    tables = []
    for places in sets:
        n, l = np.nonzero(~np.isnan(Y[:, places]))
        l = np.array(places)[l]
        sorting = np.lexsort((l, *beside[n].T, number[n], *Y[n].T, *blocks[n, l].T, levels[n, l, 0], env[n], line[n]))
        n, l = n[sorting], l[sorting]
        level = np.where(active[levels[n, l, 0], l], levels[n, l, 0], -1)
        block = np.where(blocked[blocks[n, l], l[:, None]], blocks[n, l], -1)
        values = Values(Y[n, l], n, line[n], env[n], l, level, block, beside[n], number[n], take_errors(observed))
        V = relate_values(values, G, C, outside, R)
        facts = fit.run["facts"][BY_TRAIT][traits[places[0]]] if alone else fit.run["facts"]
        X = add_effects(fit, values, facts["means"], V)
        mean, sd = leave_out(V, X, values.y, values.group(by))
        lower, upper = mean + ndtri(INTERVAL[0]) * sd, mean + ndtri(INTERVAL[1]) * sd
        columns = (
            n, np.array(names, dtype=object)[values.line], np.array(envs, dtype=object)[values.env],
            np.array(traits, dtype=object)[l], values.y, mean, sd, lower, upper,
        )  # fmt: skip
        tables.append(pd.DataFrame(dict(zip(name_columns(LEFT_OUT), columns, strict=True))))
    table = pd.concat(tables)
    table["place"] = [traits.index(trait) for trait in table["trait"]]
    table = table.sort_values(["record", "place"]).drop(columns="place").reset_index(drop=True)
    table.attrs = {"by": by}
    return table


def find_levels(fit: Fit) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of replicates and of blocks, levels of each value (N, L, F), -1 for none; on which traits each has effects.

    The latter (K + 1, L), the last of them none.
    """
    posterior, observed = fit._groups["posterior"], fit._groups["observed_data"]
    shape = observed["Y"].transpose("record", "trait").shape
    found = []
    for dim, name in EFFECTS.items():
        if name not in posterior:
            found.append((np.full((*shape, int(dim == REPLICATE)), -1), np.zeros((1, shape[1]), bool)))
            continue
        names = sorted(posterior[dim].values.tolist())
        effects = posterior[name].sel({dim: names}).transpose(..., dim, "trait").values
        active = np.vstack([effects.any(axis=(0, 1)), np.zeros(effects.shape[-1], bool)])
        found.append((number_levels(observed, {dim: names})[dim], active))
    return found


def relate_values(values: Values, G: np.ndarray, C: np.ndarray, outside: np.ndarray, R: np.ndarray) -> np.ndarray:
    """V (n, n) of genetic effects, effects outside the relationship and residuals.

    Parameters
    ----------
    G : (J, J)
    C : (I, L, I, L)
    outside : (L, L) Sigma_r
    R : (I, L, L)
    """
    column = values.env * len(outside) + values.trait
    C = C.reshape(len(R) * len(outside), -1)
    trait = np.ix_(values.trait, values.trait)
    V = G[np.ix_(values.line, values.line)] * C[np.ix_(column, column)]
    if outside.any():
        V += np.equal.outer(values.line, values.line) * outside[trait]
    V += np.equal.outer(values.record, values.record) * R[values.env[:, None], trait[0], trait[1]] / values.number
    if values.errors is not None:
        errors = values.errors[values.record[:, None], trait[0], trait[1]]
        V += np.equal.outer(values.record, values.record) * errors
    return V


def add_effects(fit: Fit, values: Values, means: str, V: np.ndarray) -> np.ndarray:
    """X (n, p) of what has a flat prior; the variance of other means, of random replicates and blocks is added to V.

    Exchangeable means are mu_l, flat, and deviations of variance tau_l^2, at its posterior mean. The variance of the
    paper's means, which are centred at zero, is the posterior mean of their square.
    """
    posterior = fit._groups["posterior"]
    traits = posterior.sizes["trait"]
    column = values.env * traits + values.trait
    if posterior.sizes["env"] == 1:
        means = "flat"  # there is nothing to learn from other environments
    if means == "exchangeable":
        V += np.equal.outer(column, column) * average_square(posterior["tau"])[values.trait]
    elif means == "paper":
        order = sort_names(list_names_along(fit, "env"))
        squares = average_square(posterior["beta"].isel(env=order).transpose(..., "env", "trait")).ravel()
        V += np.equal.outer(column, column) * squares[np.unique(column)].mean()
    parts = [np.zeros((len(column), 0))]
    if means != "paper":
        own = values.trait if means == "exchangeable" else column
        parts.append(np.equal.outer(own, np.unique(own)).astype(float))
    there = values.level >= 0
    if "sigma_rep" in posterior:
        V += share_level(values.level, values.trait) * average_square(posterior["sigma_rep"])[values.trait]
    elif there.any():  # fixed: zero in sum over the replicates of an environment
        for key in np.unique(column[there]):
            first, *others = np.unique(values.level[there & (column == key)])
            here = [np.where(column == key, values.level, -1) == k for k in (first, *others)]
            parts += [(own.astype(float) - here[0])[:, None] for own in here[1:]]
    own = np.equal.outer(values.trait, np.unique(values.trait)).astype(float)
    parts += [column[:, None] * own for column in values.covariates.T]
    if "sigma_b" in posterior:
        squares = average_square(posterior["sigma_b"].transpose(..., "factor", "trait"))
        for own, level in zip(squares, values.blocks.T, strict=True):
            V += share_level(level, values.trait) * own[values.trait]
    return np.hstack(parts)


def share_level(level: np.ndarray, trait: np.ndarray) -> np.ndarray:
    """(n, n) whether two values of a trait are of one level of a factor; levels (n,), -1 for none."""
    return np.asarray(np.equal.outer(level, level) & np.equal.outer(trait, trait) & (level >= 0))


def average_square(array: Any) -> np.ndarray:
    """Posterior mean of the square."""
    return np.asarray((array**2).mean(("chain", "draw")).values)


def leave_out(V: np.ndarray, X: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n,) of each value given those of other blocks, by one inversion.

    y_b - E[y_b | y_-b] = P_bb^-1 (P y)_b and Var(y_b | y_-b) = P_bb^-1, with P = V^-1 - V^-1 X (X' V^-1 X)^-1 X' V^-1.
    V^-1 in place of P would be wrong, as the means have learnt from y_b. (Cook & Weisberg 1982, Residuals and influence
    in regression, ch. 2; Rasmussen & Williams 2006, Gaussian processes for machine learning, eq. 5.10 to 5.12.)

    Parameters
    ----------
    V : (n, n) covariance of the values; used up
    X : (n, p) design of what has a flat prior
    y : (n,)
    blocks : (n,) number of the block of each value

    Returns
    -------
    NaN for a value of which the others say nothing, as of the only one of an environment whose mean is free.

    Raises
    ------
    NumericalError
    """
    scale = np.sqrt(V.diagonal())  # traits may be in any units
    V /= scale
    V /= scale[:, None]
    X, y = X / scale[:, None], y / scale
    try:
        factor = cho_factor(V, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError as singular:
        raise NumericalError(
            "leave_one_out: the covariance matrix of the records is singular at the posterior means, as where a "
            "residual variance is nearly zero."
        ) from singular
    P = cho_solve(factor, np.eye(len(y)), overwrite_b=True, check_finite=False)
    if X.shape[1]:
        A = P @ X
        P -= A @ np.linalg.pinv(X.T @ A, rcond=ALIKE, hermitian=True) @ A.T
    q = P @ y
    error, variance = np.empty(len(y)), np.empty(len(y))
    order = np.argsort(blocks, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1):
        values, vectors = np.linalg.eigh(P[np.ix_(rows, rows)])
        known = values > UNKNOWN
        told = vectors[:, known] / values[known]
        error[rows] = told @ (vectors[:, known].T @ q[rows])
        variance[rows] = (told * vectors[:, known]).sum(axis=1)
        lost = rows[(vectors[:, ~known] ** 2).sum(axis=1) > PART]
        error[lost] = variance[lost] = np.nan
    return scale * (y - error), scale * np.sqrt(variance)
