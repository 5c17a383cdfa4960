"""Covariances of simulated trials: of any genetic and residual structure, drawn around the paper's, or given.

A structure is drawn by its own parameters: it is asked for those of about the paper's covariances
(`Structure.start`), normal deviates are added, and its `build` makes the covariance. So it needs no code of its own
here. Parameters are signed standard deviations, logarithms and inverse hyperbolic sines of correlations, on all of
which the same deviate is a change of about the same size.

What is given replaces what was drawn of the same name, and is what the posterior calls by it. Where a structure reports
what C is made of, that is given, and put together here; else C as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.data.relationship.matrix import Relationship
from bmtme.datasets.given import FloatArray, Labels, Values, check_residuals, find_entry, read_given
from bmtme.errors import UsageError
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, CovariancePrior

if TYPE_CHECKING:  # compiled: a simulation of the paper's model needs none of it
    from bmtme.structures.part import Part
    from bmtme.structures.structure import Genetic, Residual, Structure

#: Sigma_r in proportion to the genetic variance among the lines, on average over environments.
LINE_SHARE = 0.25
#: No structure is drawn around less interaction than this: parameters of none would not be finite.
LEAST = 0.01


@dataclass(frozen=True)
class Around:
    """Covariances of the paper's model around which those of a structure are drawn.

    Attributes
    ----------
    Sigma_t, P_e : (L, L) genetic and residual correlations of the traits
    s2_E : (I,) diagonal of Sigma_E, zero in one environment
    heritability : (L,) of a plot on average, which gives R_e
    lines : expected sample variance of an effect of the lines per unit of its variance
    spread : standard deviation of each parameter of a structure
    """

    Sigma_t: FloatArray
    P_e: FloatArray
    s2_E: FloatArray
    heritability: FloatArray
    lines: float
    spread: float


def draw_truth(
    structures: tuple[Genetic, Residual] | None,
    line_effect: bool,
    around: Around,
    given: Mapping[str, Any],
    labels: Labels,
    rng: np.random.Generator,
) -> tuple[FloatArray, Values]:
    """C (I L, I L), and by the names of the posterior what it and the residuals are made of.

    Parameters
    ----------
    structures : None for the paper's, of which nothing is drawn: they are those of `around`, like the shared R_e
    given : what replaces drawn values; ``beta`` is passed on

    Raises
    ------
    UsageError
        Where something given is not of this model, or cannot be what it is called.
    """
    I, L = len(labels.envs), len(labels.traits)
    genetic, residual = (None, None) if structures is None else structures
    name = "proportional" if genetic is None else genetic.name
    paper = name == "proportional"
    if genetic is None or paper:
        values = {"Sigma_t": around.Sigma_t} | ({"Sigma_E": np.diag(around.s2_E)} if I > 1 else {})
        C = compose_proportional(values)
    else:
        C, values = draw_genetic(genetic, around, rng)
    by_env = residual is not None and residual.by_env
    parts = {part: array.ndim for part, array in values.items()} if name in COMPOSE else {"C": 2}
    parts |= {"R_e": 3 if by_env else 2, "beta": 2} | ({"Sigma_r": 2} if line_effect else {})
    own = read_given(given, {part: find_entry(part, n_dims) for part, n_dims in parts.items()}, labels)
    if "C" in own:
        C, values = own["C"], {}
    elif any(part in values for part in own):
        values = {part: own.get(part, array) for part, array in values.items()}
        C = COMPOSE[name]({"k": np.ones(I), **values})
    variances = np.diag(C).reshape(I, L)
    mean = variances.mean(axis=0)
    if paper:
        mean = np.diag(values["Sigma_t"]) * ((1.0 + np.diag(values["Sigma_E"]).mean()) if I > 1 else 1.0)
    else:
        values |= {"genetic_variance": variances, "C": C}
    among = around.lines * mean
    if line_effect:
        sd = np.sqrt(LINE_SHARE * among)
        values["Sigma_r"] = own.get("Sigma_r", around.Sigma_t * np.outer(sd, sd))
        among = among + np.diag(values["Sigma_r"])
    if "R_e" in own:
        values["R_e"] = own["R_e"]
        check_residuals(residual, own["R_e"], labels)
    else:
        sd = np.sqrt(among * (1.0 - around.heritability) / around.heritability)
        values["R_e"] = around.P_e * np.outer(sd, sd)
        if residual is not None and by_env:
            values["R_e"] = draw_residual(residual, around, values["R_e"], rng)
    return C, values | ({"beta": own["beta"]} if "beta" in own else {})


def draw_genetic(genetic: Genetic, around: Around, rng: np.random.Generator) -> tuple[FloatArray, Values]:
    """C (I L, I L) of a structure, and what it reports."""
    part = lay_part(genetic, around)
    C = np.empty((len(part.col_env), len(part.col_env)))
    theta = draw_parameters(genetic, part, around, around.P_e, rng, C)
    reported = genetic.report(part, part.seen, theta[None])
    return C, {name: np.asarray(array[0]) for name, array in reported.items()}


def draw_residual(residual: Residual, around: Around, R_e: FloatArray, rng: np.random.Generator) -> FloatArray:
    """R_e (I, L, L) of a structure around one in all environments."""
    R = np.empty((len(around.s2_E), *R_e.shape))
    draw_parameters(residual, lay_part(residual, around), around, R_e, rng, R.reshape(-1, len(R_e)))
    return R


def lay_part(structure: Structure, around: Around) -> Part:
    """A structure over every environment and trait, with no prior that matters here."""
    from bmtme.structures.structure import make_part

    I, L = len(around.s2_E), len(around.Sigma_t)
    prior, of_envs = (
        CovariancePrior(HALF_T, shape, 2.0, np.ones(p), 0.0, np.eye(p)) for shape, p in ((FULL, L), (DIAGONAL, I))
    )
    return make_part(structure, 0, np.ones((I, L), bool), prior, of_envs, False)


def draw_parameters(
    structure: Structure, part: Part, around: Around, R_e: FloatArray, rng: np.random.Generator, matrix: FloatArray
) -> FloatArray:
    """Parameters of a structure around the paper's covariances; their covariance into `matrix`."""
    from bmtme.structures.part import Start

    s2_E = np.maximum(around.s2_E, LEAST) if part.n_env > 1 else around.s2_E
    theta = structure.start(part, Start(around.Sigma_t, s2_E, R_e)) + around.spread * rng.standard_normal(part.size)
    if not structure.build(part, theta, matrix) or not np.isfinite(matrix).all():
        raise UsageError(f"spread={around.spread:g} leads to covariances of {structure.name} that are none: use less.")
    return np.asarray(theta)


def compose_proportional(values: Values) -> FloatArray:
    """(1 1' + Sigma_E) (x) Sigma_t, without Sigma_E in one environment."""
    Sigma_E = values.get("Sigma_E", np.zeros((1, 1)))
    return np.asarray(np.kron(np.ones(Sigma_E.shape) + Sigma_E, values["Sigma_t"]))


def compose_main_and_interaction(values: Values) -> FloatArray:
    """1 1' (x) Sigma_t + diag(k) (x) Sigma_gt."""
    k = values["k"]
    return np.asarray(np.kron(np.ones((len(k), len(k))), values["Sigma_t"]) + np.kron(np.diag(k), values["Sigma_gt"]))


def compose_separable(values: Values) -> FloatArray:
    """K (x) Sigma_t."""
    return np.asarray(np.kron(values["K"], values["Sigma_t"]))


#: How C is made of what structures report, by their names.
COMPOSE: dict[str, Callable[[Values], FloatArray]] = {
    "proportional": compose_proportional,
    "main_and_interaction": compose_main_and_interaction,
    "separable": compose_separable,
}


def settle_structures(
    genetic: Genetic | None, residual: Any, line_effect: Any, labels: Labels
) -> tuple[Genetic, Residual] | None:
    """The structures, checked as `BMTME` does; None for the paper's model."""
    if genetic is None and residual == "shared" and line_effect is False:
        return None
    from bmtme.model.structure import BMTME
    from bmtme.structures.proportional import is_paper_pair

    chosen: dict[str, Any] = {} if genetic is None else {"genetic": genetic}
    structures = BMTME(residual=residual, line_effect=line_effect, **chosen).structures
    structures[0].check(np.ones((len(labels.envs), len(labels.traits)), bool), labels.envs, labels.traits)
    return None if is_paper_pair(*structures) and not line_effect else structures


def refuse_line_effect(relationship: Relationship, envs: int, reps: int) -> None:
    """Refuse a line effect that no fit could tell from other effects."""
    if relationship.is_identity:
        raise UsageError(
            "line_effect=True needs a relationship that says more than the identity: of unrelated lines, effects "
            "outside the relationship are the genetic effects themselves. Leave line_effect out."
        )
    if envs < 2 and reps < 2:
        raise UsageError(
            "line_effect=True needs two environments or replicates (envs, reps): with single plots in one environment "
            "nothing tells effects of lines from residuals."
        )
