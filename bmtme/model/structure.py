"""The model a user asks for: which covariances are free, their priors, the prior of the environment means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bmtme.arguments import is_one_of, show
from bmtme.choices import MEANS, REP_EFFECTS, RESIDUALS, STRUCTURES, UNITS
from bmtme.errors import UsageError
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.structures.structure import Genetic, Residual

__all__ = ["BMTME", "HalfT", "InverseWishart"]


def _positive(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if isinstance(value, bool) or not (np.isfinite(number) and number > 0):
        raise UsageError(f"{name} must be a positive finite number, got {show(value)}.")
    return number


@dataclass(frozen=True)
class HalfT:
    """Half-t prior of every standard deviation of a covariance (Huang & Wand 2013).

    Density of a standard deviation s: proportional to (1 + s^2 / (nu A^2))^(-(nu + 1) / 2), s > 0. Of an
    unstructured covariance, each correlation r has density proportional to (1 - r^2)^(nu/2 - 1): uniform at nu = 2.

    Parameters
    ----------
    nu : float
        Degrees of freedom.
    scale : float or dict, optional
        A. Of Sigma_t and R_e: for the standard deviation as reported, in units of the data (a number, or one per
        trait by name); of Sigma_E and of the standard model in scaled units: unitless. By default weak: 5 standard
        deviations of the trait, 1 for Sigma_E.

    Notes
    -----
    One variance alone is s2 | a ~ IG(nu/2, nu/a), a ~ IG(1/2, 1/A^2); a p x p covariance is
    IW(2 nu diag(1/a), nu + p - 1) given a_k ~ IG(1/2, 1/A_k^2).
    """

    nu: float = 2.0
    scale: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _positive(self.nu, "nu of HalfT")
        if isinstance(self.scale, Mapping):
            for name, value in self.scale.items():
                _positive(value, f"scale of HalfT for {name!r}")
        elif self.scale is not None:
            _positive(self.scale, "scale of HalfT")


@dataclass(frozen=True, eq=False)
class InverseWishart:
    """Inverse-Wishart prior, density proportional to \\|M\\|^(-(df+p+1)/2) exp(-tr(scale M^-1)/2).

    Its mean is scale / (df - p - 1); for p = 1 it is IG(df/2, scale/2). On a diagonal covariance every entry is
    IG(df/2, scale_ii/2); on a single variance (standard model) IG(df/2, scale/2).

    Parameters
    ----------
    df : float
        Degrees of freedom, above p - 1.
    scale : float, dict, DataFrame or (p, p) array
        A number stands for that number times the identity, a dict for a diagonal by name, a DataFrame is matched by
        name; an array is in the order of the trial's traits or environments, so that names are safer. Units of the
        covariance as reported.
    """

    df: float
    scale: Any

    def __post_init__(self) -> None:
        _positive(self.df, "df of InverseWishart")


Prior = HalfT | InverseWishart


def _make_proportional() -> Genetic:
    from bmtme.structures.proportional import Proportional

    return Proportional()


@dataclass(frozen=True)
class BMTME:
    """Bayesian multi-trait multi-environment model (Montesinos-Lopez et al. 2016, G3 6:2725-2744).

    y_ijl = beta_il + b1_jl + b2_ijl + e_ijl for line j, environment i and trait l, with b1 ~ N(0, G (x) Sigma_t),
    b2 ~ N(0, Sigma_E (x) G (x) Sigma_t), Sigma_E diagonal, and e ~ N(0, R_e) of a plot.

    Parameters
    ----------
    structure : {"unstructured", "diagonal", "standard"}
        Sigma_t and R_e free; both diagonal; or Sigma_t = s2_t D, R_e = s2_e D, Sigma_E = s2_E I with D the diagonal
        of the traits' variances.
    prior_t, prior_E, prior_e : HalfT or InverseWishart, optional
        Of Sigma_t (default HalfT(2), scale 5 standard deviations of the trait), Sigma_E (default HalfT(4, 1)) and
        R_e (as Sigma_t).
    means : {"exchangeable", "flat", "paper"}
        Environment means of a trait: beta_il ~ N(mu_l, tau_l^2) with mu_l flat and tau_l ~ HalfT(4, s_l), s_l the
        trait's standard deviation; a flat prior (with one environment always); or the paper's N(0, s2_b) in the
        data's units with sqrt(s2_b) ~ HalfT(2, 1e5), which pulls an unrecorded mean towards zero.
    units : {"scaled", "raw"}
        Of the standard model: D as above, or D = I (the paper's, sensible for traits in one unit only).
    genetic : Genetic
        Structure of the covariance of a line's genetic effects over environments and traits, by default
        `Proportional`, (1 1' + Sigma_E) (x) Sigma_t as above; `MainAndInteraction`, `EnvironmentsByTrait`,
        `Separable`, `FactorAnalytic`, `Free`. Any other than `Proportional` needs the sampler ``collapsed``.
    residual : {"shared", "scaled", "common_correlation", "by_env"} or Residual
        Structure of the residual covariance: one R_e in every environment (default); one, larger or smaller in each
        (its geometric mean has the prior `prior_e`); standard deviations of its own in every environment, with one
        correlation of the traits, or with correlations of its own. In these two, standard deviations have the prior
        of `bmtme.structures.spreads` in place of `prior_e`. Only ``shared`` goes with the standard model.
    line_effect : bool
        Whether lines differ beyond what the relationship says: an effect r_jl of line j, the same in every environment
        and independent between lines, r_j ~ N(0, Sigma_r), whose standard deviations are half-t with 2 degrees of
        freedom and a scale of 2.5 standard deviations of the trait. Predictions of lines with records contain it. Needs
        related lines, and a second environment or replicates; not with the standard model.
    rep_effect : {"auto", "none", "fixed", "random"}
        Effects of the replicates of each environment on each trait, where the trial knows them (``rep=``). ``fixed``:
        they sum to zero within the environment, with a flat prior. ``random``: b ~ N(0, sigma_rep^2), sigma_rep of each
        trait half-t with 2 degrees of freedom and a scale of 2.5 standard deviations of the trait. ``auto``: fixed in
        every environment where two replicates or more hold the trait, each on at least five lines; otherwise, as where
        the labels tell plots apart, none. Without them, differences between replicates go into the residual or the
        genetic variance. Predictions are for an average replicate. Blocks belong to the trial (`Trial.from_frame`).

    Raises
    ------
    UsageError
        For an unknown name or a prior that is none.
    """

    structure: Literal["unstructured", "diagonal", "standard"] = "unstructured"
    prior_t: Prior | None = None
    prior_E: Prior | None = None
    prior_e: Prior | None = None
    means: Literal["exchangeable", "flat", "paper"] = "exchangeable"
    units: Literal["scaled", "raw"] = "scaled"
    genetic: Genetic = field(default_factory=_make_proportional)
    residual: Literal["shared", "scaled", "common_correlation", "by_env"] | Residual = "shared"
    line_effect: bool = False
    rep_effect: Literal["auto", "none", "fixed", "random"] = "auto"

    def __post_init__(self) -> None:
        words = ("structure", STRUCTURES), ("means", MEANS), ("units", UNITS), ("rep_effect", REP_EFFECTS)
        for name, allowed in words:
            value = getattr(self, name)
            if not is_one_of(value, allowed):
                close = suggest(value, allowed) if isinstance(value, str) else ""
                raise UsageError(f"{name} of a model must be one of {list_names(allowed)}, got {show(value)}.{close}")
        if self.units == "raw" and self.structure != "standard":
            raise UsageError("units='raw' belongs to the standard model only: the others have a variance per trait.")
        for name in ("prior_t", "prior_E", "prior_e"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (HalfT, InverseWishart)):
                raise UsageError(f"{name} must be a HalfT or an InverseWishart, got {show(value)}.")
        if not isinstance(self.line_effect, bool):
            raise UsageError(f"line_effect of a model must be True or False, got {show(self.line_effect)}.")
        if self.line_effect and self.structure == "standard":
            raise UsageError(
                "line_effect=True does not go with structure='standard', which has one variance for all traits: use "
                "'unstructured' or 'diagonal'."
            )
        self._check_structures()

    def _check_structures(self) -> None:
        from bmtme.structures.structure import Genetic, Residual

        if not isinstance(self.genetic, Genetic):
            raise UsageError(
                f"genetic of a model must be a structure as a value, such as bmtme.Proportional(), got "
                f"{show(self.genetic)}."
            )
        if self.structure not in self.genetic.shapes:
            raise UsageError(
                f"structure={self.structure!r} does not go with the genetic structure {self.genetic.name}, which takes "
                f"{list_names(self.genetic.shapes)}."
            )
        if self.prior_t is not None and not self.genetic.takes_prior_t:
            raise UsageError(
                f"prior_t is no prior of the genetic structure {self.genetic.name}, which has no Sigma_t. Leave "
                "prior_t out."
            )
        if isinstance(self.prior_t, InverseWishart) and not self.genetic.takes_wishart:
            raise UsageError(
                f"prior_t of the genetic structure {self.genetic.name} must be a HalfT, of which it takes nu "
                "and the scale of each trait."
            )
        if self.prior_E is not None and not self.genetic.takes_prior_E:
            raise UsageError(
                f"prior_E belongs to genetic=bmtme.Proportional(): {self.genetic.name} has no Sigma_E. Leave prior_E "
                "out."
            )
        if isinstance(self.residual, str) and not is_one_of(self.residual, RESIDUALS):
            raise UsageError(
                f"residual of a model must be one of {list_names(RESIDUALS)}, got {show(self.residual)}."
                f"{suggest(self.residual, RESIDUALS)}"
            )
        if not isinstance(self.residual, (str, Residual)):
            raise UsageError(
                f"residual of a model must be one of {list_names(RESIDUALS)}, or a residual structure as a value, got "
                f"{show(self.residual)}."
            )
        residual = self.structures[1]
        if self.structure not in residual.shapes:
            raise UsageError(
                f"structure={self.structure!r} does not go with residual={residual.name!r}, which takes "
                f"{list_names(residual.shapes)}."
            )
        if self.prior_e is not None and not residual.takes_prior:
            raise UsageError(
                f"prior_e belongs to residual='shared' or 'scaled': with residual={residual.name!r} standard "
                "deviations of environments have a prior in common. Leave prior_e out."
            )

    @property
    def structures(self) -> tuple[Genetic, Residual]:
        """The genetic and the residual structure as values."""
        from bmtme.structures.residuals import RESIDUAL_STRUCTURES

        residual = RESIDUAL_STRUCTURES[self.residual] if isinstance(self.residual, str) else self.residual
        return self.genetic.settle(residual), residual

    def describe(self) -> dict[str, Any]:
        """The model in plain values, for records of a run."""

        def values(scale: Any) -> Any:
            if isinstance(scale, Mapping):
                return {str(name): float(value) for name, value in scale.items()}
            return np.asarray(scale, dtype=float).tolist()

        def plain(prior: Prior | None) -> Any:
            if prior is None:
                return "default"
            if isinstance(prior, HalfT):
                scale = None if prior.scale is None else values(prior.scale)
                return {"HalfT": {"nu": float(prior.nu), "scale": scale}}
            return {"InverseWishart": {"df": float(prior.df), "scale": values(prior.scale)}}

        return {
            "structure": self.structure,
            "means": self.means,
            "units": self.units,
            "genetic": describe_structure(self.structures[0]),
            "residual": describe_structure(self.structures[1]),
            "line_effect": self.line_effect,
            "rep_effect": self.rep_effect,
            "prior_t": plain(self.prior_t),
            "prior_E": plain(self.prior_E),
            "prior_e": plain(self.prior_e),
        }


def describe_structure(structure: Genetic | Residual) -> Any:
    """A structure in plain values: its name, with its settings if it has any."""
    settings: dict[str, Any] = asdict(structure) if is_dataclass(structure) else {}
    return {structure.name: settings} if settings else structure.name


def spread_by_name(value: Any, names: Sequence[str], what: str) -> np.ndarray:
    """A number or a dict by name as one positive number per name."""
    if isinstance(value, Mapping):
        unknown = [name for name in value if name not in names]
        lacking = [name for name in names if name not in value]
        if unknown or lacking:
            raise UsageError(
                f"{what} needs one number for each of {list_names(names)}"
                + (f"; missing: {list_names(lacking)}" if lacking else "")
                + (f"; unknown: {list_names(unknown)}" if unknown else "")
                + "."
            )
        return np.array([_positive(value[name], what) for name in names])
    return np.full(len(names), _positive(value, what))


def scale_matrix(prior: InverseWishart, names: Sequence[str], what: str, free: bool) -> np.ndarray:
    """The (p, p) scale of an inverse-Wishart prior in the order of `names`, checked."""
    p = len(names)
    given = prior.scale
    if hasattr(given, "loc") and hasattr(given, "index"):
        if set(map(str, given.index)) != set(names) or set(map(str, given.columns)) != set(names):
            raise UsageError(f"the scale of {what} must have rows and columns named {list_names(names)}.")
        given = given.set_axis(list(map(str, given.index)), axis=0).set_axis(list(map(str, given.columns)), axis=1)
        given = given.loc[list(names), list(names)].to_numpy()
    if isinstance(given, Mapping) or np.isscalar(given):
        matrix = np.diag(spread_by_name(given, names, f"the scale of {what}"))
    else:
        try:
            matrix = np.array(given, dtype=float)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(
                f"the scale of {what} must be a {p} x {p} matrix of numbers, got {show(given)}."
            ) from error
        if matrix.ndim == 0:
            matrix = np.diag(spread_by_name(float(matrix), names, f"the scale of {what}"))
    if matrix.shape != (p, p):
        raise UsageError(f"the scale of {what} must be {p} x {p} ({list_names(names)}), got shape {matrix.shape}.")
    if not np.all(np.isfinite(matrix)) or np.abs(matrix - matrix.T).max() > 1e-8 * np.abs(matrix).max():
        raise UsageError(f"the scale of {what} must be symmetric and finite.")
    if np.linalg.eigvalsh(matrix)[0] <= 0:
        raise UsageError(f"the scale of {what} must be positive definite.")
    if free and prior.df <= p - 1:
        raise UsageError(f"the degrees of freedom of {what} must be above {p - 1} for {p} names, got {prior.df:g}.")
    return (matrix + matrix.T) / 2
