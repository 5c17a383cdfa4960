"""Likelihood-ratio tests between two fits by REML, with the distribution that fits what is tested."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from bmtme.errors import UsageError
from bmtme.model.mixed.design import Design, Layout
from bmtme.model.mixed.terms import Axis, quote_name
from bmtme.words import list_names

if TYPE_CHECKING:
    from bmtme.results.mixed.fit import MixedFit

__all__ = ["Mixture", "compare_likelihoods", "find_mixture"]

UNKNOWN = "no mixture of chi-squares is known for it; p of the chi-square is too large rather than too small"


@dataclass(frozen=True)
class Mixture:
    """Weights of chi-squares by their degrees of freedom, and what was not known of them."""

    weights: dict[int, float]
    note: str = ""

    def __str__(self) -> str:
        if len(self.weights) == 1:
            return f"chi2({next(iter(self.weights))})"
        return " + ".join(f"{weight:.4g} chi2({df})" for df, weight in self.weights.items())

    def find_p(self, statistic: float) -> float:
        """Probability of a larger statistic."""
        tails = (w * (chdtrc(df, statistic) if df else statistic <= 0) for df, w in self.weights.items())
        return float(sum(tails))


def compare_likelihoods(fit: MixedFit, other: MixedFit) -> pd.DataFrame:
    """Test the smaller of two models against the larger.

    Returns
    -------
    DataFrame
        One row: statistic, df, p, p_plain, distribution, note.

    Raises
    ------
    UsageError
        If the fits are of different records or fixed parts, or have as many parameters.
    """
    _check_alike(fit, other)
    large, small = (fit, other) if fit.n_parameters > other.n_parameters else (other, fit)
    df = large.n_parameters - small.n_parameters
    if not df:
        raise UsageError(
            f"The two models have {fit.n_parameters} parameters of covariances each: neither is a part of the other. "
            "Compare them by fit.aic and fit.bic."
        )
    statistic = 2.0 * (large.log_likelihood - small.log_likelihood)
    mixture = find_mixture(small.layout, large.layout, df)
    notes = [mixture.note] if mixture.note else []
    if statistic < -1e-4:
        notes.append("the larger model fits worse: it is no extension of the other, or has not converged")
    if not (fit.converged and other.converged):
        notes.append("not both have converged")
    for one, what in ((large, "p is too large rather than too small"), (small, "p may be too small")):
        untold = one.list_untold()
        if untold:
            notes.append(
                f"the data do not tell {list_names(untold, 5)} apart, which the degrees of freedom count as parameters "
                f"of the {'larger' if one is large else 'smaller'} model: {what}"
            )
    statistic = max(statistic, 0.0)
    row = {
        "statistic": statistic,
        "df": df,
        "p": mixture.find_p(statistic),
        "p_plain": float(chdtrc(df, statistic)),
        "distribution": str(mixture),
        "note": "; ".join(notes),
    }
    return pd.DataFrame([row])


def _check_alike(fit: MixedFit, other: MixedFit) -> None:
    parts = []
    for layout in (fit.layout, other.layout):
        trait = np.zeros(len(layout.y)) if layout.trait is None else layout.trait.codes
        order = np.lexsort([layout.rows, trait])
        parts.append((layout.y[order], layout.columns.matrix.tocsr()[order]))
    (y, X), (other_y, other_X) = parts
    if not np.array_equal(y, other_y):
        raise UsageError(
            f"The two fits are of different records ({len(y):,} and {len(other_y):,} values): a likelihood-ratio test "
            "needs the same."
        )
    if X.shape != other_X.shape or abs(X - other_X).max() > 1e-9 * abs(X).max():
        raise UsageError(
            "The two fits have different fixed parts: their likelihoods by REML are of different contrasts of the data "
            "and cannot be compared. Test fixed effects by fit.wald()."
        )


# --- what is tested ---------------------------------------------------------------------------------------------


def find_mixture(small: Layout, large: Layout, df: int) -> Mixture:
    """The distribution of the statistic where the smaller model holds.

    A variance that is zero there lies on the boundary of the larger model, and its estimate is zero half of the time:
    k of them give binomial weights where their estimates are uncorrelated (Self and Liang 1987, J. Am. Stat. Assoc.
    82:605-610, cases 5 and 9); one more level in an unstructured covariance of k gives half each of k - 1 and k degrees
    of freedom (Stram and Lee 1994, Biometrics 50:1171-1177). Correlations, and variances that are split, are inside:
    the chi-square alone.

    Raises
    ------
    UsageError
        If the smaller model has a random term that the larger one has not, nor extends.
    """
    there = {design.name for design in small.random} & {design.name for design in large.random}
    old = [_Shape.of(design) for design in small.random if design.name not in there]
    variances = 0
    steps = []
    unknown = False
    for shape in (_Shape.of(design) for design in large.random if design.name not in there):
        parts = [one for one in old if shape.covers(one)]
        old = [one for one in old if one not in parts]
        if not parts and shape.structure in ("", "diag"):
            variances += shape.k
        elif (
            len(parts) == 1 and shape.structure == "us" and shape.k == 2 and (shape.other or parts[0].at == shape.over)
        ):
            steps.append(shape.k)
        elif not shape.is_regular(parts):
            unknown = True
    if old:
        raise UsageError(
            f"The model with fewer parameters has the random term {old[0].name}, which the other neither has nor "
            "extends: neither is a part of the other. Compare them by fit.aic and fit.bic."
        )
    inside = df - variances - sum(steps)
    if unknown or inside < 0 or len(steps) > 1 or (steps and variances):
        return Mixture({df: 1.0}, UNKNOWN)
    if steps:
        return Mixture({df - 1: 0.5, df: 0.5})
    weights = {inside + k: math.comb(variances, k) / 2.0**variances for k in range(variances + 1)}
    return Mixture(weights, "weights of variances whose estimates are uncorrelated" if variances > 1 else "")


@dataclass(frozen=True)
class _Shape:
    """A random term: its structure ("" of a single variance) over the k levels of a factor, and its other axes."""

    name: str
    structure: str
    over: str
    k: int
    rest: frozenset[str]
    at: str
    other: frozenset[str] = frozenset()  # the other axes of its part of a second column

    @classmethod
    def of(cls, design: Design) -> _Shape:
        levels = design.levels
        at = next(iter(levels)) if len(levels) == 1 else ""
        rest = frozenset(str(axis.axis) for axis in design.axes if not axis.axis.has_variance)
        for axis in design.axes:
            if axis.axis.has_variance:
                second = axis.axis.other
                other = frozenset() if second is None else frozenset({str(Axis(second, "known"))})
                return cls(design.name, axis.axis.structure, axis.axis.label, len(axis.levels), rest, at, other)
        return cls(design.name, "", "", 1, rest, at)

    def covers(self, part: _Shape) -> bool:
        """Whether another term is a special case of this one, or a part of a sum that is."""
        if not self.structure or (self.at and self.at != part.at):
            return False
        main = part.rest in (self.rest, self.rest | {quote_name(self.over)}, self.other or self.rest)
        return main and (part.over in ("", self.over)) and part.at in ("", self.at, self.over)

    def is_step(self, part: _Shape) -> bool:
        """Whether another term is this one, of two levels with any covariance, less a level."""
        return self.structure == "us" and self.k == 2 and (bool(self.other) or part.at == self.over)

    def is_regular(self, parts: list[_Shape]) -> bool:
        """Whether the sum of special cases lies inside this term: of full rank, and with factors that are told."""
        if self.structure == "fa" and any(part.structure == "fa" for part in parts):
            return False
        whole = any(part.structure or quote_name(self.over) in part.rest for part in parts)
        return whole or self.k == (len(parts) if self.other else sum(part.at == self.over for part in parts))
