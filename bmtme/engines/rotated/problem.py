"""What stays constant while a chain runs, as named arrays that compiled code can hold.

Everything is in scaled units: traits centred and divided by their standard deviation, the relationship
divided by its mean diagonal, so that data in other units give the same numbers here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bmtme.engines.rotated.factors import Factors, lay_factors, load_factors
from bmtme.engines.rotated.groups import Groups, lay_groups
from bmtme.engines.rotated.kernels.residual import sum_records
from bmtme.engines.rotated.line_effect import make_prior
from bmtme.linalg.compile import compiled
from bmtme.linalg.record import define_record
from bmtme.model.codes import CovariancePrior
from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.errors import Errors
from bmtme.model.factors import Factor
from bmtme.model.layout import Layout
from bmtme.structures.part import Part
from bmtme.structures.proportional import PAPER_PAIR, Proportional, Shared
from bmtme.structures.structure import Genetic, Residual, make_part
from bmtme.structures.tied import Tied


class MeanPrior(NamedTuple):
    """Prior of the environment means; kinds are in `kernels.beta`."""

    kind: int
    mu_mean: np.ndarray  # (L,)
    mu_precision: np.ndarray  # (L,) zero: flat
    tau_nu: float
    tau_scale: np.ndarray  # (L,)
    scale: np.ndarray  # (L,) standard deviation of each trait, user's units
    centre: np.ndarray  # (L,) its mean, user's units
    s2_nu: float  # the paper's prior of sqrt(s2_b)
    s2_scale: float


class Problem(NamedTuple):
    """Constants of one fit; the arrays under "data" are refilled by `load_values`."""

    # eigenbasis
    d: np.ndarray  # (J,)
    root_d: np.ndarray  # (J,)
    x: np.ndarray  # (J,)
    d_top: float  # largest eigenvalue
    rank: int
    rotated: bool  # False: identity relationship, rows are lines
    U: np.ndarray  # (J, J) eigenvectors, shared with the basis (0 x J where not rotated)
    # columns
    n_env: int
    n_trait: int
    recorded: np.ndarray  # (I, L)
    seen: np.ndarray  # environments with a record
    is_seen: np.ndarray  # (I,) bool
    col_env: np.ndarray  # (M,)
    col_trait: np.ndarray  # (M,)
    env_first: np.ndarray  # (I,) first column of each environment
    env_width: np.ndarray  # (I,) its number of recorded traits
    proportional: bool  # C is made of Sigma_t and Sigma_E, effects are split into b1 and b2
    shared: bool  # R is made of one R_e
    by_env: bool  # R has a covariance for each environment
    native: bool  # both and no line effect: the paper's model, which has Gibbs steps
    product: bool  # and every seen environment records every trait: T is a Kronecker product
    interaction: bool  # more than one environment: b2 and Sigma_E exist
    line_effect: bool  # lines have an effect outside the relationship (`line_effect`)
    known: bool  # records have errors of known covariance (`known_errors`)
    joint: bool  # which correlate between records (`joint_errors`)
    tied: bool  # blocks of R, for these, are of one R_e
    # plots
    k: np.ndarray  # (I,)
    n_recorded: np.ndarray  # (I,) records
    log_plots: np.ndarray  # (I,) sums of the logarithms of the plots of which they are means
    n_cells: np.ndarray  # (I,) lines with a record
    patterns: np.ndarray
    cell_offset: np.ndarray
    cell_line: np.ndarray
    cell_pad: np.ndarray
    cell_pattern: np.ndarray
    cell_root: np.ndarray  # (S,) sqrt(c)
    cell_parts: np.ndarray  # (S,) plots of its partly seen records
    part_offset: np.ndarray
    part_pattern: np.ndarray
    part_plots: np.ndarray  # (P,)
    part_error: np.ndarray  # (P, L, L) known covariance of their errors beyond the common one
    part_root: np.ndarray  # (P, L, L) of which this is a root
    common: np.ndarray  # (B L, L) known covariance common to the errors of an environment
    groups: Groups  # values whose errors correlate between records (`joint_errors`)
    block: np.ndarray  # (I,) block of the residual covariance of each environment
    pattern_block: np.ndarray  # (Q,) and of each pattern
    # data
    fixed: np.ndarray  # (M, J) rotated cell means, zero in touched cells
    cell_count: np.ndarray  # (S,) plots of complete records
    cell_mean: np.ndarray  # (S, L) their mean
    part_values: np.ndarray  # (P, L) partly seen records, NaN where missing
    within: np.ndarray  # (I, L, L)
    # structures; the whole ones are laid over every column, recorded or not
    genetic: Part
    residual: Part
    whole_genetic: Part
    whole_residual: Part
    line_first: int  # place of the first parameter of Sigma_r, the last ones
    line_prior: CovariancePrior
    means: MeanPrior
    factors: Factors  # effects of records, such as those of replicates
    inner: int  # augmentation sweeps (effects, imputation) per sweep


ProblemType, ProblemRecord = define_record(Problem)


@compiled()
def hold_problem(problem):
    """The same arrays as one pointer."""
    return ProblemRecord(*problem)


def build_problem(
    layout: Layout,
    basis: Eigenbasis,
    values: np.ndarray,
    prior_t: CovariancePrior,
    prior_E: CovariancePrior,
    prior_e: CovariancePrior,
    means: MeanPrior,
    inner: int = 1,
    genetic: Genetic = PAPER_PAIR[0],
    residual: Residual = PAPER_PAIR[1],
    line_effect: bool = False,
    factors: Sequence[Factor] = (),
    precision: float = 0.0,
    errors: Errors | None = None,
) -> Problem:
    """Assemble the constants of a fit.

    Parameters
    ----------
    line_effect : needs a layout without multiples
    factors, precision : of the records of the layout; see `lay_factors`
    errors : of the records, scaled; the layout knows which are uncertain
    prior_t, prior_E, prior_e : of covariances of traits in C, of environments, of the residuals' covariances of traits
    values : (N, L) records in scaled units, NaN where missing, in the order of the layout's records
    """
    J = layout.n_line
    I, L = layout.recorded.shape
    assert not line_effect or np.all(layout.multiples == 1.0), "lines with a multiple of the plots"
    col_env, col_trait = (index.astype(np.int64) for index in np.nonzero(layout.recorded))
    width = layout.recorded.sum(axis=1).astype(np.int64)
    seen = np.flatnonzero(width).astype(np.int64)
    S, P, M = len(layout.cell_line), len(layout.part_record), len(col_env)
    assert errors is None or (np.all(layout.rec_plots == 1.0) and not factors), "means of plots, or levels, with errors"
    if errors is not None and type(residual) is Shared:
        residual = Tied()
    patterns, block, pattern_block, cell_pattern, part_pattern = split_patterns(layout, residual.by_env)
    known = Errors(np.zeros((I, L, L)), *np.zeros((2, len(layout.rec_line), L, L))) if errors is None else errors
    common = known.common if residual.by_env else np.zeros((1, L, L))
    part_plots, part_cell = layout.rec_plots[layout.part_record], np.repeat(np.arange(S), np.diff(layout.part_offset))
    problem = Problem(
        d=np.ascontiguousarray(basis.values),
        root_d=np.sqrt(basis.values),
        x=np.ascontiguousarray(basis.rotated_ones),
        d_top=float(basis.values.max()),
        rank=basis.rank,
        rotated=basis.vectors is not None,
        U=np.zeros((0, J)) if basis.vectors is None else np.ascontiguousarray(basis.vectors),
        n_env=I,
        n_trait=L,
        recorded=layout.recorded,
        seen=seen,
        is_seen=width > 0,
        col_env=col_env,
        col_trait=col_trait,
        env_first=np.concatenate([[0], np.cumsum(width)[:-1]]).astype(np.int64),
        env_width=width,
        interaction=I > 1,
        k=layout.plots.astype(float),
        n_recorded=layout.n_recorded,
        log_plots=np.bincount(layout.rec_env, np.log(layout.rec_plots), minlength=I),
        n_cells=layout.n_cells,
        patterns=patterns,
        cell_offset=layout.cell_offset,
        cell_line=layout.cell_line,
        cell_pad=layout.cell_pad,
        cell_pattern=cell_pattern,
        cell_root=np.sqrt(layout.multiples[layout.cell_line]),
        cell_parts=np.bincount(part_cell, part_plots, minlength=S).astype(np.float64),  # of none it counts integers
        part_offset=layout.part_offset,
        part_pattern=part_pattern,
        part_plots=part_plots,
        part_error=known.rest[layout.part_record],
        part_root=known.root[layout.part_record],
        common=common.reshape(-1, L).copy(),
        groups=lay_groups(layout, L, known.groups),
        joint=len(known.groups) > 0,
        block=block,
        pattern_block=pattern_block,
        fixed=np.empty((M, J)),
        cell_count=np.empty(S),
        cell_mean=np.empty((S, L)),
        part_values=np.empty((P, L)),
        within=np.empty((I, L, L)),
        **lay_structures(
            genetic, residual, layout.recorded, prior_t, prior_E, prior_e, line_effect, errors is not None
        ),
        means=means,
        factors=lay_factors(layout, basis, ~np.isnan(values), factors, precision),
        inner=inner,
    )
    load_values(problem, layout, basis, values)
    return problem


def take_paper_pair(p: Problem) -> Problem:
    """The same data and priors with the paper's pair, from whose draws and modes other structures start.

    Errors are a part of its residuals.
    """
    if p.native:
        return p
    priors = p.genetic.prior, p.genetic.prior_env, p.residual.prior
    return p._replace(
        **lay_structures(*PAPER_PAIR, p.recorded, *priors, False, False),
        block=np.zeros_like(p.block),
        pattern_block=np.zeros_like(p.pattern_block),
        common=np.zeros((p.n_trait, p.n_trait)),
        joint=False,
    )


def lay_structures(
    genetic: Genetic,
    residual: Residual,
    recorded: np.ndarray,
    prior_t: CovariancePrior,
    prior_E: CovariancePrior,
    prior_e: CovariancePrior,
    line_effect: bool,
    known: bool,
) -> dict[str, Any]:
    """What a `Problem` says of its structures: which they are, and their parts over recorded and over all columns."""
    proportional, shared = type(genetic) is Proportional, type(residual) is Shared
    tied = type(residual) is Tied
    parts = []
    for columns in (recorded, np.ones_like(recorded)):
        first = make_part(genetic, 0, columns, prior_t, prior_E, not proportional)
        parts.append((first, make_part(residual, first.size, columns, prior_e, prior_E, not shared)))
    complete = recorded[recorded.any(axis=1)].all()
    return {
        "genetic": parts[0][0],
        "residual": parts[0][1],
        "whole_genetic": parts[1][0],
        "whole_residual": parts[1][1],
        "proportional": proportional,
        "shared": shared,
        "by_env": residual.by_env and not tied,
        "native": proportional and shared and not line_effect,
        "known": known,
        "tied": tied,
        "product": bool(proportional and shared and complete and not line_effect),
        "line_effect": line_effect,
        "line_first": parts[0][1].first + parts[0][1].size,
        "line_prior": make_prior(prior_t.shape, recorded.shape[1]),
    }


def split_patterns(layout: Layout, by_env: bool) -> tuple[np.ndarray, ...]:
    """Patterns of missing traits, a set for each block of the residual covariance.

    Returns
    -------
    patterns : (Q, L)
    block : (I,) block of each environment
    pattern_block : (Q,)
    cell_pattern, part_pattern : (S,), (P,)
    """
    I = len(layout.recorded)
    if not by_env:
        none = np.zeros(len(layout.patterns), np.int64)
        return layout.patterns, np.zeros(I, np.int64), none, layout.cell_pattern, layout.part_pattern
    Q = len(layout.patterns)
    cell_env = np.repeat(np.arange(I), np.diff(layout.cell_offset))
    part_env = np.repeat(cell_env, np.diff(layout.part_offset))
    return (
        np.ascontiguousarray(np.tile(layout.patterns, (I, 1))),
        np.arange(I),
        np.repeat(np.arange(I), Q),
        cell_env * Q + layout.cell_pattern,
        part_env * Q + layout.part_pattern,
    )


def load_values(problem: Problem, layout: Layout, basis: Eigenbasis, values: np.ndarray) -> None:
    """Put recorded values (N, L), scaled, into the data arrays of a problem, in place."""
    J = layout.n_line
    I, L = layout.recorded.shape
    mean, count = np.empty((I * J, L)), np.empty(I * J)
    sum_records(
        np.ascontiguousarray(values),
        layout.rec_env * J + layout.rec_line,
        layout.rec_env,
        layout.rec_complete,
        layout.rec_plots,
        mean,
        count,
        problem.within,
    )
    load_factors(problem.factors, layout, values, values - mean[layout.rec_env * J + layout.rec_line])
    cell_env = np.repeat(np.arange(I), np.diff(layout.cell_offset))
    cell = cell_env * J + layout.cell_line
    problem.cell_count[:] = count[cell]
    problem.cell_mean[:] = mean[cell]
    problem.part_values[:] = values[layout.part_record]
    mean[cell] = 0.0
    dense = mean.reshape(I, J, L) * np.sqrt(layout.multiples)[None, :, None]
    columns = dense[problem.col_env, :, problem.col_trait]
    problem.fixed[:] = columns if basis.vectors is None else columns @ basis.vectors
