"""The register: one entry for everything that comes out, and whatever stores, tabulates or describes it goes by that.

`QUANTITIES` have draws: what the posterior stores, and what is derived from that; those that are `listed` are rows of
the summary, in this order. `SUMMARY` and `PREDICTIONS` are columns of tables; those of scores are in
`bmtme.results.scores`. What an entry says is in `bmtme.results.entries`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from bmtme.results.derivations import (
    correlate,
    has_interaction,
    has_line_effect,
    has_spread_means,
    is_by_env,
    is_other,
    is_proportional,
    is_shared,
    share_genetic,
    spread_interaction,
    stack_blocks,
)
from bmtme.results.entries import (
    COVARIANCE,
    DENSITY,
    DIFFERENCE,
    GENETIC,
    GIVEN,
    NONE,
    NUMBER,
    OWN,
    SLOPE,
    TEXT,
    VALUE,
    VARIANCE,
    WHOLE,
    Column,
    Mark,
    Quantity,
    bound,
)
from bmtme.results.notes import (
    HARDLY,
    SPREAD,
    first_of,
    note_absent_here,
    note_absent_mean,
    note_apart,
    note_apart_here,
    note_clones,
    note_likeness,
    note_line_apart,
    note_no_blocks,
    note_no_replicates,
    note_prior_only,
    note_single,
    note_spread,
    note_unseen,
)

if TYPE_CHECKING:
    from bmtme.engines.rotated.draws import Draws
    from bmtme.engines.rotated.problem import Problem
    from bmtme.model.factors import Factor
    from bmtme.structures.structure import Structures

# --- quantities with draws ------------------------------------------------------------------------------------------

BETA = Quantity(
    "beta", ("env", "trait"), VALUE, "mean of the environment", attrgetter("beta"),
    checked=False, notes=(note_absent_mean,),
)  # fmt: skip
SIGMA_T = Quantity(
    "Sigma_t", ("trait", "trait_bis"), GENETIC,
    "genetic covariance of the traits across environments, for the relationship as given", attrgetter("Sigma_t"),
    is_proportional, mark=Mark(pairs="genetic_correlation"), reported=True,
)  # fmt: skip
SIGMA_GT = Quantity(
    "Sigma_gt", ("trait", "trait_bis"), GENETIC,
    "genetic covariance of the traits in the interaction, on average over environments, for the relationship as given",
    reported=True, notes=(first_of(note_single, note_prior_only), note_likeness),
)  # fmt: skip
K = Quantity(
    "k", ("env",), NONE, "size of the interaction in the environment, 1 on average", reported=True,
    notes=(first_of(note_unseen, note_prior_only), note_likeness),
)  # fmt: skip
ENV_K = Quantity(
    "K", ("env", "env_bis"), NONE,
    "genetic covariance of the environments, the same for every trait, its diagonal 1 on average", reported=True,
    notes=(note_single, note_likeness),
)  # fmt: skip
ENV_COVARIANCE = Quantity(
    "env_covariance", ("env", "env_bis", "trait"), VARIANCE,
    "genetic covariance of the environments in the trait, for the relationship as given, where each trait has its own",
    reported=True, notes=(first_of(note_clones, note_single), note_likeness),
)  # fmt: skip
P = Quantity(
    "P", ("trait", "trait_bis"), NONE,
    "correlation of the traits in C made of these, the same in every environment: genetic correlations within an "
    "environment are as large at most",
    reported=True, range=(-1.0, 1.0), diagonal=False, notes=(note_single, note_likeness),
    title="Correlation P of the traits",
)  # fmt: skip
R_E = Quantity(
    "R_e", ("trait", "trait_bis"), COVARIANCE, "residual covariance of the traits on one plot", attrgetter("R_e"),
    is_shared, notes=(first_of(note_apart, note_prior_only), note_spread, note_likeness),
    mark=Mark(pairs="residual_correlation"), told=SPREAD,
)  # fmt: skip
SIGMA_E = Quantity(
    "Sigma_E", ("env", "env_bis"), NONE, "variance of the interaction relative to the main effect, a diagonal matrix",
    spread_interaction, has_interaction,
    notes=(first_of(note_unseen, note_prior_only), note_likeness), mark=Mark(along="R_e"),
)  # fmt: skip

GENETIC_VARIANCE = Quantity(
    "genetic_variance", ("env", "trait"), VARIANCE,
    "genetic variance, for the relationship as given, where it is not made of Sigma_t and Sigma_E",
    attrgetter("genetic"), is_other, notes=(first_of(note_clones, note_single, note_prior_only), note_likeness),
)  # fmt: skip
C = Quantity(
    "C", ("cell", "cell_bis"), GENETIC,
    "genetic covariance of environment x trait columns with a record, where it is not made of Sigma_t and Sigma_E",
    reported=True, listed=False,
)  # fmt: skip
R_BY_ENV = Quantity(
    "R_e", ("env", "trait", "trait_bis"), COVARIANCE,
    "residual covariance of the traits on one plot, where the model has one in each environment",
    stack_blocks, is_by_env,
    notes=(first_of(note_apart_here, note_absent_here, note_single, note_prior_only), note_likeness),
)  # fmt: skip

SIGMA_R = Quantity(
    "Sigma_r", ("trait", "trait_bis"), COVARIANCE,
    "covariance of the traits in the effect of lines outside the relationship", attrgetter("Sigma_r"), has_line_effect,
    notes=(first_of(note_line_apart, note_prior_only), note_likeness),
)  # fmt: skip

REP_EFFECTS = Quantity(
    "rep_effects", ("replicate", "trait"), DIFFERENCE, "effect of the replicate of an environment, where it has one",
    reported=True, checked=False, sparse=True,
)  # fmt: skip
BLOCK_EFFECTS = Quantity(
    "block_effects", ("block", "trait"), DIFFERENCE, "effect of the block of an environment, where it has one",
    reported=True, checked=False, sparse=True, listed=False,
)  # fmt: skip

QUANTITIES: tuple[Quantity, ...] = (
    BETA,
    SIGMA_T,
    SIGMA_GT,
    K,
    ENV_K,
    ENV_COVARIANCE,
    P,
    GENETIC_VARIANCE,
    C,
    R_E,
    R_BY_ENV,
    SIGMA_E,
    SIGMA_R,
    REP_EFFECTS,
    Quantity(
        "sigma_rep", ("trait",), DIFFERENCE, "standard deviation of the effects of replicates, where they are random",
        reported=True, notes=(note_no_replicates,),
    ),
    BLOCK_EFFECTS,
    Quantity(
        "sigma_b", ("factor", "trait"), DIFFERENCE, "standard deviation of the effects of the blocks of a factor",
        reported=True, notes=(note_no_blocks,),
    ),
    Quantity(
        "covariate_effects", ("covariate", "trait"), SLOPE, "slope of the trait on the covariate", reported=True,
        notes=(),
    ),
    Quantity(
        "mu", ("trait",), VALUE, "mean over environments, under exchangeable means", attrgetter("mu"),
        has_spread_means, listed=False,
    ),
    Quantity(
        "tau", ("trait",), DIFFERENCE, "standard deviation between environment means, under exchangeable means",
        attrgetter("tau"), has_spread_means, listed=False,
    ),
    Quantity(
        "b1", ("line", "trait"), DIFFERENCE, "genetic effect of the line across environments", attrgetter("W1"),
        is_proportional, listed=False,
    ),
    Quantity(
        "b2", ("env", "line", "trait"), DIFFERENCE, "genetic effect of the line in one environment beside b1",
        attrgetter("W2"), has_interaction, listed=False,
    ),
    Quantity(
        "u", ("env", "line", "trait"), DIFFERENCE, "genetic effect of the line, where it is not split into b1 and b2",
        attrgetter("W2"),
        is_other, listed=False,
    ),
    Quantity(
        "r", ("line", "trait"), DIFFERENCE, "effect of the line outside the relationship", attrgetter("r"),
        has_line_effect, listed=False,
    ),
    Quantity(
        "genetic_correlation", ("cell", "cell_bis"), NONE, "correlation of C",
        needs=(C,), derive=lambda values, spread: correlate(values["C"]), range=(-1.0, 1.0),
        diagonal=False, notes=(note_likeness,),
    ),
    Quantity(
        "genetic_correlation", ("trait", "trait_bis"), NONE, "correlation of Sigma_t",
        needs=(SIGMA_T,), derive=lambda values, spread: correlate(values["Sigma_t"]), range=(-1.0, 1.0),
        diagonal=False, mark=Mark(slopes="Sigma_t"), title="Genetic correlation",
    ),
    Quantity(
        "env_correlation", ("env", "env_bis"), NONE, "genetic correlation of the environments, of K",
        needs=(ENV_K,), derive=lambda values, spread: correlate(values["K"]), range=(-1.0, 1.0),
        diagonal=False, notes=(note_likeness,), title="Genetic correlation of the environments",
    ),
    Quantity(
        "residual_correlation", ("trait", "trait_bis"), NONE, "correlation of R_e",
        needs=(R_E,), derive=lambda values, spread: correlate(values["R_e"]), range=(-1.0, 1.0),
        diagonal=False, notes=(first_of(note_apart, note_prior_only), note_likeness), mark=Mark(slopes="R_e"),
        title="Residual correlation",
    ),
    Quantity(
        "residual_correlation", ("env", "trait", "trait_bis"), NONE, "correlation of R_e in each environment",
        needs=(R_BY_ENV,), derive=lambda values, spread: correlate(values["R_e"]), range=(-1.0, 1.0),
        diagonal=False, notes=(note_apart_here, note_likeness),
    ),
    *(
        Quantity(
            "heritability", ("env", "trait"), NONE,
            "genetic share of the variance of a record among the lines of the trial",
            needs=needs, derive=share_genetic, range=(0.0, 1.0),
            notes=(first_of(note_clones, note_unseen, note_prior_only, *alone), *beside, note_likeness),
            mark=Mark(along="R_e", far="Sigma_t"), title="Heritability of a {record}", told=HARDLY,
        )
        for needs, alone, beside in (
            ((GENETIC_VARIANCE, R_E), (note_single,), (note_spread,)),
            ((GENETIC_VARIANCE, R_BY_ENV), (note_single,), ()),
            ((SIGMA_T, R_E), (), (note_spread,)),
            ((SIGMA_T, R_BY_ENV), (note_single,), ()),
        )
    ),
)  # fmt: skip


def choose_stored(
    problem: Problem, structures: Structures, columns: np.ndarray | None = None, factors: Sequence[Factor] = ()
) -> list[Quantity]:
    """What a model stores; what its genetic structure reports itself is read from that.

    columns : (I, L) bool, of which columns C is stored; default those with a record
    factors : of the records, with effects in the model
    """
    from bmtme.structures.part import build_matrices  # compiled: scores need none of it

    genetic, _ = structures
    part = problem.whole_genetic
    here = np.flatnonzero((problem.recorded if columns is None else columns).ravel())
    reported: dict[str, Callable[[Draws], np.ndarray]] = {
        name: lambda chain, name=name: genetic.report(part, problem.seen, chain.theta)[name]  # type: ignore[misc]
        for name in genetic.report(part, problem.seen, np.empty((0, part.size)))
    }
    known = {quantity.name for quantity in QUANTITIES if quantity.reported}
    if unknown := [name for name in reported if name not in known]:
        raise LookupError(f"the register has no reported quantity {unknown[0]!r}, of the structure {genetic.name}")
    reported |= take_levels(factors)
    if not problem.proportional:
        shape = (problem.recorded.size, problem.recorded.size)
        reported["C"] = lambda chain: build_matrices(part, chain.theta, shape)[:, here[:, None], here]
    stored = []
    for quantity in QUANTITIES:
        if quantity.name in reported and quantity.reported:
            stored.append(replace(quantity, draws=reported[quantity.name]))
        elif quantity.draws is not None and quantity.when(problem):
            stored.append(quantity)
    return stored


def take_levels(factors: Sequence[Factor]) -> dict[str, Callable[[Draws], np.ndarray]]:
    """What is stored of factors of records, by name of the quantity."""
    from bmtme.engines.rotated.factors import order_levels

    made: dict[str, Callable[[Draws], np.ndarray]] = {}
    places = order_levels(factors)
    for f, factor in enumerate(factors):
        if factor.kind == "replicate":
            made["rep_effects"] = lambda chain, f=f: chain.level_effects[:, places[f]]  # type: ignore[misc]
            if factor.random:
                made["sigma_rep"] = lambda chain, f=f: chain.level_sd[:, f]  # type: ignore[misc]
    blocks = [f for f, factor in enumerate(factors) if factor.kind == "block"]
    if blocks:
        of_blocks = np.concatenate([places[f] for f in blocks])
        made["block_effects"] = lambda chain: chain.level_effects[:, of_blocks]
        made["sigma_b"] = lambda chain: chain.level_sd[:, blocks]
    slopes = [f for f, factor in enumerate(factors) if factor.kind == "covariate"]
    if slopes:  # the same at every level that has one
        at = np.array([places[f][factors[f].active.argmax(axis=0)] for f in slopes])
        units = np.array([factors[f].unit for f in slopes])[:, None]
        made["covariate_effects"] = lambda chain: chain.level_effects[:, at, np.arange(at.shape[1])] / units
    return made


# --- columns of tables ----------------------------------------------------------------------------------------------

SUMMARY: tuple[Column, ...] = (
    Column("mean", NUMBER, OWN, "posterior mean", lambda row: row.mean),
    Column("sd", NUMBER, OWN, "posterior standard deviation", lambda row: row.sd),
    Column("lower", NUMBER, OWN, "5% quantile: lower end of the 90% interval", lambda row: row.interval[0]),
    Column("upper", NUMBER, OWN, "95% quantile: upper end of the 90% interval", lambda row: row.interval[1]),
    Column("ess_bulk", NUMBER, NONE, "how many independent draws the mean is worth", attrgetter("ess_bulk")),
    Column(
        "ess_tail", NUMBER, NONE, "how many independent draws the ends of the interval are worth",
        attrgetter("ess_tail"),
    ),
    Column("r_hat", NUMBER, NONE, "1 if the chains agree (rank-normalised, split)", attrgetter("r_hat")),
    Column("note", TEXT, NONE, "empty if all is well", attrgetter("note")),
)  # fmt: skip

LINE = Column("line", TEXT, NONE, "name of the line")
ENV = Column("env", TEXT, NONE, "name of the environment")
TRAIT = Column("trait", TEXT, NONE, "name of the trait")
MODEL = Column("model", TEXT, NONE, "label of the model")
PARTITION = Column("partition", TEXT, NONE, "label of the partition")

PREDICTIONS: tuple[Column, ...] = (
    LINE,
    ENV,
    TRAIT,
    Column(
        "n_obs", WHOLE, NONE, "number of recorded plots of the cell; in a cross-validation, of hidden ones",
        attrgetter("n_obs"),
    ),
    Column("observed", NUMBER, GIVEN, "mean of these plots", attrgetter("observed")),
    Column(
        "mean", NUMBER, VALUE, "posterior mean of the cell's genetic value, `beta + b1 + b2`", attrgetter("expected")
    ),
    Column("sd", NUMBER, DIFFERENCE, "its posterior standard deviation", attrgetter("sd")),
    *bound(VALUE, "the 90% interval for one new plot", make=attrgetter("interval")),
    *bound(VALUE, "the 90% interval for `observed`", "mean_", make=attrgetter("mean_interval"), hidden=True),
    *bound(VALUE, "the 50% interval for `observed`", "mean_", "_50", make=attrgetter("mean_half"), hidden=True),
    Column(
        "log_score", NUMBER, DENSITY, "logarithm of the predictive density at `observed`",
        lambda cells: cells.scores[:, 0], hidden=True,
    ),
    Column(
        "crps", NUMBER, DIFFERENCE, "continuous ranked probability score of `observed`: 0 where it was known exactly",
        lambda cells: cells.scores[:, 1], hidden=True,
    ),
)  # fmt: skip

#: Of a line's mean over environments; what is predicted of it has the columns that a cell's hidden plots have.
LINE_MEANS: tuple[Column, ...] = (
    LINE,
    TRAIT,
    Column("n_envs", WHOLE, NONE, "number of environments in which the line is scored", attrgetter("n_envs")),
    Column(
        "observed", NUMBER, GIVEN,
        "mean over these environments of its observed values, each less the mean of the environment's training values",
        attrgetter("observed"),
    ),
    Column("mean", NUMBER, DIFFERENCE, "posterior mean of the same", attrgetter("expected")),
    Column("sd", NUMBER, DIFFERENCE, "standard deviation of its genetic part", attrgetter("sd")),
    *(
        replace(column, unit=DIFFERENCE if column.unit is VALUE else column.unit, hidden=False)
        for column in PREDICTIONS
        if column.hidden
    ),
)  # fmt: skip


def list_predictions(hidden: bool = False) -> list[Column]:
    """Columns of the predictions of a fit or of hidden cells."""
    return [column for column in PREDICTIONS if hidden or not column.hidden]


def list_hidden() -> list[Column]:
    """Columns of the predictions of a cross-validation."""
    return [MODEL, PARTITION, *PREDICTIONS]


def list_line_means() -> list[Column]:
    """Columns of the lines' means over environments in a cross-validation."""
    return [MODEL, PARTITION, *LINE_MEANS]
