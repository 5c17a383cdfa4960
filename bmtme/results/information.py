"""What the likelihood says about the covariances beside what the prior says: which numbers are the prior's alone.

Take the expected information I of the likelihood about the free parameters of Sigma_t, Sigma_E and R_e (see
`bmtme.results.fisher`), each parameter in units of how far its prior lets it range within what the data make possible
(a share of the trait's variance, a correlation between -1 and 1), so that the prior's own information is about the
identity. What remains uncertain in a quantity with gradient a lies along x = (I + f)^-1 a, with f a small part of the
prior (`FLAT`), that turns x to where the likelihood is flat, and

    x'I x / (x'I x + x'x)

is the share of the data in what is known along x: near one where the data speak, zero where the likelihood is flat,
however many parameters share the flat direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.linalg import eigh

from bmtme.engines.rotated.problem import Problem
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, SCALAR, CovariancePrior
from bmtme.model.scaling import Scaling
from bmtme.preparation import Prepared
from bmtme.results.entries import Quantity
from bmtme.results.fisher import Direction, Point, measure_information
from bmtme.results.rows import Labels, Row, derive_rows, find_quantity, untwin, work_out

#: A quantity is the prior's where the data's share in what is known about it is below this, and its 90% interval at
#: least this part of the prior's (`part_left`).
SHARE, PART = 0.1, 0.33
#: ... or all that the data leave possible is (`find_reach`), looked for up to so many times what is there where
#: nothing bounds it.
FARTHEST = 10.0
#: A narrow interval is that between the bounds of the data where these are at least this part of it apart.
MUCH = 0.33
#: A correlation with most of the prior's interval is so below a somewhat larger share, too.
LOW_SHARE, MOST = 0.2, 0.8
#: ... and a heritability with practically all of it if its Sigma_t is.
ALL = 0.9
#: Step of a slope, in units of how far a parameter ranges.
STEP = 1e-5
#: Part of the way to where a variance is zero that is gone.
NEARLY = 1.0 - 1e-9
#: Part of the prior's information that goes with the likelihood's in finding where that is flat.
FLAT = 0.2
#: Standard deviation of a share of a variance, a number between 0 and 1 of which little is known.
SHARE_SD = 0.35
PRIOR_DRAWS = 4000


def find_prior_only(
    prepared: Prepared, problem: Problem, scaling: Scaling, posterior: Any
) -> tuple[dict[str, str], dict[str, str]]:
    """Which variances, heritabilities and correlations of a posterior are the prior's alone, and why.

    Where the data's share (see the module) is below `SHARE` and the 90% interval is not much shorter than the prior's,
    or all that the data leave possible is not. What is known within narrow bounds of the data is known, even where the
    likelihood is flat between them: of these the data know the bounds alone.

    Parameters
    ----------
    posterior : xarray.Dataset

    Returns
    -------
    reasons, bounded : dict
        Of what is the prior's, and of what the data give bounds alone: the reason in words, by the name of the quantity
        as in a summary.

    Raises
    ------
    numpy.linalg.LinAlgError, MemoryError
        As of `measure_information`.
    """
    labels: Labels = {"env": prepared.trial.envs, "trait": prepared.trial.traits}
    spread = prepared.basis.spread
    S, R = posterior["Sigma_t"].values, posterior["R_e"].values
    E = posterior["Sigma_E"].values if problem.interaction else None
    found = list(derive_rows(name_parameters(S, E, R), labels, spread))
    prior = {
        row.name: np.nanquantile(row.draws, (0.05, 0.25, 0.75, 0.95))  # the widest priors reach infinity
        for row in derive_rows(name_parameters(*draw_prior(problem, scaling)), labels, spread)
    }
    genetic = spread if spread > 0 else scaling.m
    point = find_centre(S, E, R, genetic)
    directions = list_directions(problem, point, prior, labels["trait"], labels["env"], genetic)
    shares = share_of_data(prepared, point, directions, found, spread)
    reasons: dict[str, str] = {}
    bounded: dict[str, str] = {}
    for row, (share, x) in zip(found, shares, strict=True):
        left = part_left(row, prior)
        if share < SHARE and left < PART:  # narrow by the data, or by a prior where the data would bear much else?
            reach = find_reach(row, point, directions, x, spread)
            left = part_left(row, prior, reach)
            if left < PART and rests_on(row, reach):
                bounded[row.name] = tell_reason(list_mixed(directions, x))
        correlation = row.is_pair and row.quantity.range is not None
        if (share < SHARE and left >= PART) or (share < LOW_SHARE and left >= MOST and correlation):
            reasons[row.name] = tell_reason(list_mixed(directions, x))
    flat = [(row, x) for row, (_, x) in zip(found, shares, strict=True) if row.name in reasons]
    names = {(row.quantity.name, row.places): row.name for row in found}
    for row in found:
        mark = row.quantity.mark
        about = [(other, x) for other, x in flat if is_about(other, row)]
        for x in (x for other, x in about if other.quantity.name == mark.along):
            if part_of(find_reach(row, point, directions, x, spread), row, prior) >= PART:
                reasons.setdefault(row.name, tell_reason(list_mixed(directions, x)))
        for other in (other for other, _ in about if other.quantity.name == mark.far):
            if other.name in reasons and part_left(row, prior) >= ALL:
                reasons.setdefault(row.name, reasons[other.name])
        if mark.pairs and row.is_pair:  # a covariance is known as far as its correlation is
            reason = reasons.get(names[mark.pairs, row.places])
            reasons.pop(row.name, None)
            if reason:
                reasons[row.name] = reason
    return reasons, {name: reason for name, reason in bounded.items() if name not in reasons}


def rests_on(row: Row, reach: float) -> bool:
    """Whether much of a 90% interval is what the data leave possible (`find_reach`)."""
    return bool(reach >= MUCH * np.ptp(np.quantile(row.draws, (0.05, 0.95))))


def is_about(other: Row, row: Row) -> bool:
    """Whether both are of the same environment and trait, as far as both are of one."""
    dims = {untwin(dim) for dim in row.quantity.dims} & {untwin(dim) for dim in other.quantity.dims}
    return all(set(row.at(dim)) == set(other.at(dim)) for dim in dims)


def name_parameters(S: np.ndarray, E: np.ndarray | None, R: np.ndarray) -> dict[str, np.ndarray]:
    """The covariances by name."""
    return {"Sigma_t": S, "R_e": R} | ({} if E is None else {"Sigma_E": E})


def part_left(row: Row, prior: Mapping[str, np.ndarray] | None = None, reach: float = 0.0) -> float:
    """How long the 90% interval still is, or, if that is more, all that the data leave possible; of a covariance, one.

    Of what a prior alone made narrow the data would bear much else, which is no knowledge of theirs.

    prior : as of `part_of`
    reach : of `find_reach`
    """
    if row.is_pair and row.quantity.range is None:
        return 1.0
    return part_of(max(float(np.ptp(np.quantile(row.draws, (0.05, 0.95)))), reach), row, prior)


def part_of(length: float, row: Row, prior: Mapping[str, np.ndarray] | None = None) -> float:
    """A length beside that of the prior's 90% interval (without one, its range), or of a variance beside its median."""
    if row.quantity.range is not None:
        low, high = row.quantity.range if prior is None else prior[row.name][[0, 3]]
        whole = high - low
        return float(length / whole) if whole > 0 else 0.0
    return float(length / abs(np.median(row.draws)))


def find_reach(row: Row, point: Point, directions: list[Direction], x: np.ndarray, spread: float) -> float:
    """The length of all that a variance or heritability may be along x, until a variance would be negative.

    Priors of many environments together can make an interval narrow where the likelihood is flat; so can a sharp one.

    x : (p,) where the likelihood is flat, in units of the parameters' spreads
    """
    if row.is_pair:
        return 0.0
    S, E, R = (
        sum(weight * d.spread * getattr(d, name) for weight, d in zip(x, directions, strict=True)) for name in "SER"
    )
    slopes = np.concatenate([slopes_of(point.S, S), slopes_of(point.R, R), E / np.maximum(point.E, 1e-12)])
    ends = []
    most = float(np.abs(slopes).max())
    for sign in (1.0, -1.0):
        least = float((sign * slopes).min())
        step = -sign * NEARLY / least if least < -1e-6 * most else sign * FARTHEST / max(most, 1e-12)
        ends.append(value_at(row.quantity, point, S, E, R, step, spread)[row.places])
    return float(abs(ends[1] - ends[0]))


def value_at(
    quantity: Quantity, point: Point, S: np.ndarray, E: np.ndarray, R: np.ndarray, step: float, spread: float
) -> np.ndarray:
    """A quantity (*dims) where the covariances are a step from the point along a change of them."""
    values = name_parameters(point.S + step * S, np.diag(point.E + step * E), point.R + step * R)
    value = work_out(quantity, values, spread, lead=0)
    assert value is not None, quantity.name
    return value


def slopes_of(M: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Eigenvalues of a change relative to a covariance."""
    return np.asarray(eigh(change, M, eigvals_only=True))


def share_of_data(
    prepared: Prepared, point: Point, directions: list[Direction], rows: Sequence[Row], spread: float
) -> list[tuple[float, np.ndarray]]:
    """The share of the data in what is known about each quantity, and along which parameters it is uncertain.

    Returns
    -------
    list of (share, x)
        x (p,) in units of the parameters' spreads; one where a quantity depends on none of them.

    Raises
    ------
    numpy.linalg.LinAlgError
    """
    units = np.array([direction.spread for direction in directions])
    information = measure_information(prepared, point, directions) * units[:, None] * units
    if not np.isfinite(information).all():
        raise np.linalg.LinAlgError("information is not finite")
    inverse = np.linalg.inv(information + FLAT * np.eye(len(units)))
    slopes: dict[str, np.ndarray] = {}
    shares = []
    for row in rows:
        name = row.quantity.mark.slopes or row.quantity.name
        if name not in slopes:
            slopes[name] = slopes_along(name, point, directions, spread)
        index: tuple[Any, ...] = (slice(None), *row.places)
        x = inverse @ slopes[name][index]
        data = float(x @ information @ x)
        shares.append((data / (data + float(x @ x)) if x.any() else 1.0, x))
    return shares


def slopes_along(name: str, point: Point, directions: list[Direction], spread: float) -> np.ndarray:
    """(p, *dims) slopes of a quantity along the parameters, in units of their spreads."""
    quantity = find_quantity(name, name_parameters(point.S, np.diag(point.E), point.R), lead=0)
    up, down = (
        np.array([value_at(quantity, point, d.S, d.E, d.R, step * d.spread, spread) for d in directions])
        for step in (STEP, -STEP)
    )
    return np.asarray((up - down) / (2.0 * STEP))


def list_mixed(directions: list[Direction], x: np.ndarray) -> set[str]:
    """Which covariances change along x."""
    return {d.kind for d, part in zip(directions, np.abs(x), strict=True) if part > 0.3 * np.abs(x).max()}


def tell_reason(mixed: set[str]) -> str:
    """Why a quantity is the prior's: what the data cannot tell apart, if that is it."""
    names = [name for name in ("Sigma_t", "Sigma_E", "R_e") if name in mixed]
    if len(names) < 2:
        return "the data say next to nothing about it"
    return f"the data do not tell {', '.join(names[:-1])} and {names[-1]} apart"


def list_directions(
    problem: Problem,
    point: Point,
    prior: Mapping[str, np.ndarray],
    traits: Sequence[str],
    envs: Sequence[str],
    genetic: float,
) -> list[Direction]:
    """Free parameters, each with its range under the prior within what the data make possible.

    Parameters
    ----------
    prior : quantiles 0.05, 0.25, 0.75, 0.95 of each quantity under the prior
    genetic : variance of u per unit of Sigma_t
    """
    L, I = len(traits), len(envs)
    no_S, no_E = np.zeros((L, L)), np.zeros(I)
    share = 1.0 + point.E.mean()
    total = genetic * share * np.diag(point.S) + np.diag(point.R)

    def middle(name: str, value: float = 0.0) -> float:
        spread = float(prior[name][2] - prior[name][1]) / 1.35
        return spread if value <= prior[name][2] else max(spread, value)  # far out, a prior with a tail says little

    found = []
    laws = (("Sigma_t", point.S, problem.genetic.prior, genetic * share), ("R_e", point.R, problem.residual.prior, 1.0))
    for kind, M, law, unit in laws:
        quantity = find_quantity(kind, {kind: M}, lead=0)
        changes = []
        for l, trait in enumerate(traits):
            for q in range(l, L if law.shape == FULL else l + 1):
                change = no_S.copy()
                change[l, q] = change[q, l] = 1.0
                if l == q:
                    spread = min(SHARE_SD * total[l] / unit, middle(f"{kind}[{trait}, {trait}]", M[l, l]))
                else:
                    spread = middle(f"{quantity.mark.pairs}[{trait}, {traits[q]}]") * np.sqrt(M[l, l] * M[q, q])
                changes.append((change, spread))
        if law.shape == SCALAR:
            changes = [(M, min(spread / M[l, l] for l, (_, spread) in enumerate(changes)))]
        for change, spread in changes:
            one, other = (change, no_S) if kind == "Sigma_t" else (no_S, change)
            found.append(Direction(kind, one, no_E, other, spread))
    if problem.interaction:
        noise = float((np.diag(point.R) / (genetic * np.diag(point.S))).max())
        spreads = [
            min(SHARE_SD * (1.0 + e + noise), middle(f"Sigma_E[{env}, {env}]", e))
            for env, e in zip(envs, point.E, strict=True)
        ]
        if problem.genetic.prior_env.shape == DIAGONAL:
            found += [Direction("Sigma_E", no_S, row, no_S, s) for row, s in zip(np.eye(I), spreads, strict=True)]
        else:
            found.append(Direction("Sigma_E", no_S, np.ones(I), no_S, min(spreads)))
    return found


def find_centre(S: np.ndarray, E: np.ndarray | None, R: np.ndarray, genetic: float) -> Point:
    """Where the likelihood is looked at; R_e is kept off zero, where the computation would break down."""
    middle, noise = centre_covariance(S), centre_covariance(R)
    variances = np.zeros(1) if E is None else np.median(np.diagonal(E, axis1=2, axis2=3), axis=(0, 1))
    total = genetic * (1.0 + variances.mean()) * np.diag(middle) + np.diag(noise)
    return Point(middle, variances, noise + 1e-8 * np.diag(total))


def centre_covariance(draws: np.ndarray) -> np.ndarray:
    """A positive definite centre of covariances (chain, draw, p, p): medians of variances, means of correlations."""
    sd = np.sqrt(np.diagonal(draws, axis1=2, axis2=3))
    correlation = (draws / (sd[..., :, None] * sd[..., None, :])).mean(axis=(0, 1))
    middle = np.median(sd, axis=(0, 1))
    return correlation * middle[:, None] * middle


def draw_prior(problem: Problem, scaling: Scaling) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Sigma_t, Sigma_E and R_e (1, draw, p, p) from their priors, user's units."""
    rng = np.random.default_rng(20161)
    S, R = (draw_covariances(prior, rng)[None] for prior in (problem.genetic.prior, problem.residual.prior))
    E = draw_covariances(problem.genetic.prior_env, rng)[None] if problem.interaction else None
    return scaling.restore_genetic(S), E, scaling.restore_residual(R)


def draw_covariances(prior: CovariancePrior, rng: np.random.Generator, n: int = PRIOR_DRAWS) -> np.ndarray:
    """Draws (n, p, p) of a prior; formulas in `bmtme.engines.rotated.kernels.covariance`."""
    p = len(prior.scale)
    width = 1 if prior.shape == SCALAR else p
    if prior.family == HALF_T:
        a = 1.0 / (rng.gamma(0.5, size=(n, width)) * prior.scale[:width] ** 2)  # IG(1/2, 1/A^2)
        df, matrix = prior.nu, 2.0 * prior.nu / a[..., None] * np.eye(width)
        if prior.shape == FULL:
            df += p - 1
    else:
        df, matrix = prior.df, np.broadcast_to(prior.matrix[:width, :width], (n, width, width))
    if prior.shape != FULL:
        variances = np.diagonal(matrix, axis1=1, axis2=2) / 2.0 / rng.gamma(df / 2.0, size=(n, width))
        return np.broadcast_to(variances, (n, p))[..., None] * np.eye(p)
    # IW(matrix, df): K A^-T A^-1 K' with the Bartlett factor A of a Wishart.
    A = np.tril(rng.standard_normal((n, p, p)), -1)
    A[:, np.arange(p), np.arange(p)] = np.sqrt(2.0 * rng.gamma((df - np.arange(p)) / 2.0, size=(n, p)))
    F = np.linalg.cholesky(matrix) @ np.swapaxes(np.linalg.inv(A), 1, 2)
    return np.asarray(F @ np.swapaxes(F, 1, 2))
