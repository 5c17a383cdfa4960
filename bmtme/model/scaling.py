"""From the user's units to the scaled ones of the sampler and back; priors in scaled units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.data.tables.cells import HUGE
from bmtme.errors import DataError, UsageError
from bmtme.model.codes import (
    DIAGONAL,
    EXCHANGEABLE,
    FLAT,
    FULL,
    HALF_T,
    INVERSE_WISHART,
    PAPER,
    SCALAR,
    CovariancePrior,
)
from bmtme.model.structure import BMTME, HalfT, InverseWishart, Prior, scale_matrix, spread_by_name

SHAPES = {"unstructured": (FULL, DIAGONAL, FULL), "diagonal": (DIAGONAL,) * 3, "standard": (SCALAR,) * 3}
MEAN_KINDS = {"flat": FLAT, "exchangeable": EXCHANGEABLE, "paper": PAPER}

DEFAULT_T = HalfT(nu=2.0)
DEFAULT_E = HalfT(nu=4.0)
#: Default half-t scale of a genetic or residual standard deviation, in standard deviations of the trait; of a root
#: of Sigma_E, unitless.
DEFAULT_SCALE, DEFAULT_SCALE_E = 5.0, 1.0
TAU_NU = 4.0
PAPER_NU, PAPER_SCALE = 2.0, 1e5


@dataclass(frozen=True)
class Scaling:
    """y_user = scale y + centre per trait; G_user = m G."""

    centre: np.ndarray  # (L,)
    scale: np.ndarray  # (L,)
    m: float

    def restore_genetic(self, Sigma_t: np.ndarray) -> np.ndarray:
        """Sigma_t (..., L, L) for the user's G and units."""
        return self.restore_residual(Sigma_t) / self.m

    def restore_residual(self, R_e: np.ndarray) -> np.ndarray:
        """R_e (..., L, L) in the user's units."""
        return R_e * np.outer(self.scale, self.scale)

    def take(self, traits: np.ndarray | int) -> Scaling:
        """That of one trait, or of several in this order."""
        return Scaling(self.centre[traits], self.scale[traits], self.m)


def measure_traits(values: np.ndarray, traits: Sequence[str], pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each trait over its recorded values.

    pooled : one standard deviation for all traits (root mean square), for a model in raw units

    Raises
    ------
    DataError
        For a trait without a value or with one value only, or the same value throughout.
    """
    centre, scale = np.empty(len(traits)), np.empty(len(traits))
    for l, trait in enumerate(traits):
        seen = values[~np.isnan(values[:, l]), l]
        if len(seen) == 0:
            raise DataError(f"trait {trait!r} has no value: leave it out or check its column.")
        centre[l] = seen.mean()
        scale[l] = seen.std(ddof=1) if len(seen) > 1 else 0.0
        if not scale[l] > 1e-12 * max(abs(seen.min()), abs(seen.max())):
            raise DataError(
                f"trait {trait!r} has the same value ({seen[0]:g}) in all of its {len(seen)} records: there is no "
                "variation to explain. Leave the trait out."
            )
        if scale[l] < 1 / HUGE:
            raise DataError(
                f"trait {trait!r} has a standard deviation of {scale[l]:.3g}, too small to compute with: give it in "
                "another unit."
            )
    if pooled:
        scale = np.full(len(traits), np.sqrt(np.mean(scale**2)))
    return centre, scale


def scale_covariance_prior(
    prior: Prior, shape: int, names: Sequence[str], units: np.ndarray, unitless: bool, default: float, what: str
) -> CovariancePrior:
    """A covariance prior in scaled units.

    default : half-t scale, in scaled units, where the prior leaves it out
    units : (p,) user's standard deviation for one scaled unit; not used where the prior is unitless
    """
    p = len(names)
    if isinstance(prior, HalfT):
        if prior.scale is None:
            scale = np.full(p, default)
        elif shape == SCALAR and isinstance(prior.scale, Mapping):
            raise UsageError(f"the scale of {what} must be one number in the standard model, which has one variance.")
        else:
            scale = spread_by_name(prior.scale, names, f"the scale of {what}")
            scale = scale if unitless else scale / units
        return CovariancePrior(HALF_T, shape, float(prior.nu), scale, 0.0, np.eye(p))
    assert isinstance(prior, InverseWishart)
    matrix = scale_matrix(prior, names, what, free=shape == FULL)
    if shape == SCALAR and np.ptp(np.diag(matrix)) > 0:
        raise UsageError(f"the scale of {what} must be one number in the standard model, which has one variance.")
    if not unitless:
        matrix = matrix / units[:, None] / units[None, :]
    return CovariancePrior(INVERSE_WISHART, shape, 0.0, np.ones(p), float(prior.df), np.ascontiguousarray(matrix))


def scale_priors(
    model: BMTME, traits: Sequence[str], envs: Sequence[str], scaling: Scaling
) -> tuple[CovariancePrior, CovariancePrior, CovariancePrior]:
    """Priors of Sigma_t, Sigma_E and R_e in scaled units."""
    shape_t, shape_E, shape_e = SHAPES[model.structure]
    unitless = model.structure == "standard" and model.units == "scaled"
    genetic = scaling.scale / np.sqrt(scaling.m)
    t, E, e = model.prior_t or DEFAULT_T, model.prior_E or DEFAULT_E, model.prior_e or DEFAULT_T
    return (
        scale_covariance_prior(t, shape_t, traits, genetic, unitless, DEFAULT_SCALE, "prior_t"),
        scale_covariance_prior(E, shape_E, envs, np.ones(len(envs)), True, DEFAULT_SCALE_E, "prior_E"),
        scale_covariance_prior(e, shape_e, traits, scaling.scale, unitless, DEFAULT_SCALE, "prior_e"),
    )
