"""Wald tests of the fixed terms, incremental and conditional, with denominator degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse as sp
from scipy.special import fdtrc

from bmtme.model.mixed.design import Layout
from bmtme.model.mixed.fixed import name_term

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = ["tabulate_wald"]

#: Differences of log standard deviations and the like.
STEP = 1e-3
#: Operations up to which degrees of freedom are computed: a matter of seconds.
AFFORDABLE = 2e9
METHODS = ("moments", "containment")


@dataclass(frozen=True, eq=False)
class _Fixed:
    """Fixed effects that are kept: estimates (r,), covariance (r, r), information (r, r), and their terms."""

    estimates: np.ndarray
    covariance: np.ndarray
    information: np.ndarray
    terms: dict[str, np.ndarray]
    factors: dict[str, frozenset[str]]


def tabulate_wald(layout: Layout, result: REML) -> pd.DataFrame:
    r"""Tests of the fixed terms.

    Returns
    -------
    DataFrame
        term, df, wald and f (incremental: each term after those before it), f_conditional (after all others but those
        that contain it), den_df and den_df_conditional, p and p_conditional, method of the denominator's degrees of
        freedom.

    Notes
    -----
    With b the fixed effects, A = Cov(b)^-1 = LL' in the order of the terms and z = L'b, the incremental sum of squares
    of a term is that of its z. Denominator degrees of freedom and the scale of F match the mean and the variance of F
    (Kenward and Roger 1997, Biometrics 53:983-997, without their correction of the covariance; of one column that is
    Satterthwaite's method), from the slopes of Cov(b) in the parameters by differences. Where that is too dear,
    ``containment``: levels of the random term within which the fixed one is constant, less the fixed columns that are.
    """
    fixed = _read_fixed(layout, result)
    moments = _find_moments(result) if _count_operations(result) <= AFFORDABLE else None
    strata = _list_strata(layout, result) if moments is None else []
    rows = []
    names = list(fixed.terms)
    for k, name in enumerate(names):
        own = fixed.terms[name]
        if not len(own):
            rows.append({"term": name, "df": 0})
            continue
        before = [other for other in names[:k]]
        beside = [other for other in names if other != name and not _contains(fixed, other, name)]
        row: dict[str, object] = {"term": name, "df": len(own)}
        for ending, others in (("", before), ("_conditional", beside)):
            H = _make_hypothesis(fixed, others, own)
            wald = float(np.sum((H @ fixed.estimates) ** 2))
            if moments is not None:
                den, scale = _match_moments(H, *moments)
            else:
                den, scale = min(den for constant, den in strata if constant[own].all()), 1.0
            if not ending:
                row["wald"] = wald
            row |= {f"f{ending}": wald / len(own), f"den_df{ending}": den}
            row[f"p{ending}"] = float(fdtrc(len(own), den, scale * wald / len(own))) if wald > 0 else 1.0
        rows.append(row | {"method": METHODS[moments is None]})
    order = ["term", "df", "wald", "f", "den_df", "p", "f_conditional", "den_df_conditional", "p_conditional", "method"]
    return pd.DataFrame(rows, columns=order)


def _read_fixed(layout: Layout, result: REML) -> _Fixed:
    problem = result.problem
    kept = problem.kept
    covariance = result.fixed_covariance
    terms = {}
    for name, part in layout.columns.terms.items():
        terms[name] = np.flatnonzero((kept >= part.start) & (kept < part.stop))
    return _Fixed(result.fixed[kept], covariance, np.linalg.inv(covariance), terms, _list_factors(layout))


def _list_factors(layout: Layout) -> dict[str, frozenset[str]]:
    return {
        name_term(term): frozenset(str(factor) for factor in term.factors if str(factor) != "1")
        for term in layout.columns.spec.term_slices
    }


def _contains(fixed: _Fixed, other: str, name: str) -> bool:
    """Whether a term contains another, as site:check does site; all contain the intercept but covariates."""
    return fixed.factors[name] < fixed.factors[other]


def _make_hypothesis(fixed: _Fixed, others: Sequence[str], own: np.ndarray) -> np.ndarray:
    """Rows H with H Cov(b) H' = I, of a term after others: its sum of squares is |H b|^2."""
    before = np.concatenate([fixed.terms[other] for other in others]) if others else np.zeros(0, dtype=int)
    rest = np.setdiff1d(np.arange(len(fixed.estimates)), np.concatenate([before, own]))
    order = np.concatenate([before, own, rest])
    L = scipy.linalg.cholesky(fixed.information[np.ix_(order, order)], lower=True)
    H = np.zeros((len(own), len(order)))
    H[:, order] = L.T[len(before) : len(before) + len(own)]
    return H


# --- degrees of freedom -----------------------------------------------------------------------------------------


def _count_operations(result: REML) -> float:
    """About what it takes to factor the equations anew, and solve them for the fixed columns, at both sides of phi."""
    equations, problem = result.equations, result.problem
    fill = float(equations.factor.fill)
    return 2.0 * len(result.phi) * fill * (fill / max(equations.n, 1) + 4.0 * problem.rank)


def _find_moments(result: REML) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (k, r, r) of Cov(b) in the parameters that are free, and the covariance (k, k) of these."""
    equations = result.equations
    problem = result.problem
    free = np.flatnonzero(np.diag(result.information) > 1e-6)
    spread = np.linalg.pinv(result.information[np.ix_(free, free)], hermitian=True)
    kept = problem.kept
    slopes = []
    for k in free:
        pair = []
        for sign in (1.0, -1.0):
            phi = result.phi.copy()
            phi[k] += sign * STEP
            equations.evaluate(phi, order=0)
            pair.append(equations.find_fixed_covariance())
        slopes.append((pair[0] - pair[1]) / (2 * STEP))
    return np.array(slopes).reshape(len(free), len(kept), len(kept)), spread


def _match_moments(H: np.ndarray, slopes: np.ndarray, spread: np.ndarray) -> tuple[float, float]:
    """Denominator degrees of freedom, and the scale of F."""
    q = len(H)
    M = H @ slopes @ H.T
    traces = np.trace(M, axis1=1, axis2=2)
    a1 = float(traces @ spread @ traces)
    a2 = float(np.einsum("kij,kl,lji->", M, spread, M))
    if not a2 > 0 or not len(M):
        return np.inf, 1.0
    if q == 1:
        return 2.0 / a2, 1.0
    b = (a1 + 6 * a2) / (2 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    bottom = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / bottom, (q - g) / bottom, (q + 2 - g) / bottom
    mean = 1 / (1 - a2 / q)
    variance = 2 / q * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
    rho = variance / (2 * mean**2)
    den = 4 + (q + 2) / (q * rho - 1)
    if not np.isfinite(den) or den <= 2 or a2 >= q:
        return max(2.0 * q / a2, 1.0), 1.0
    return den, den / (mean * (den - 2))


def _list_strata(layout: Layout, result: REML) -> list[tuple[np.ndarray, float]]:
    """Of the residual and each random term of all records: the fixed columns (r,) that are constant within its levels.

    Beside them its degrees of freedom, the levels less these columns.
    """
    problem = result.problem
    X = sp.csc_matrix(problem.X[:, problem.kept])
    found = [(np.ones(problem.rank, dtype=bool), float(problem.n - problem.rank))]
    for design in layout.random:
        if (design.cells >= 0).all():
            levels, codes = np.unique(design.cells, return_inverse=True)
            constant = _find_constant(X, codes, len(levels))
            found.append((constant, max(float(len(levels) - constant.sum()), 1.0)))
    return found


def _find_constant(X: sp.csc_matrix, codes: np.ndarray, n: int) -> np.ndarray:
    """Which columns are constant within each level."""
    Z = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n, len(codes)))
    counts = np.asarray(Z.sum(axis=1)).ravel()
    sums = Z @ X
    squares = Z @ X.multiply(X)
    spread = squares - sp.diags(1 / counts) @ sums.multiply(sums)
    size = np.asarray(X.multiply(X).sum(axis=0)).ravel()
    return np.asarray(np.asarray(abs(spread).sum(axis=0)).ravel() <= 1e-9 * np.maximum(size, 1e-300))
