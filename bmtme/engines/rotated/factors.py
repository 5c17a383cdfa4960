"""Effects of factors of records nested in environments, replicates and blocks: what a fit holds of them.

A record n of line j in environment i is y_n = beta_i + u_ij + sum_f b_f(n) + e_n, f(n) its level of factor f. Levels of
all factors stand one below the other, by environment, then factor, then name; a plot that is imputed whole belongs to
no level, which is an average one. `factor_effects` draws them; everything else of a sweep sees y less their effects.

A covariate is a factor with one level in each environment, all of one effect, which counts by the covariate's value:
marks of levels are 1 for factors and this value for covariates. `slopes` draws their effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bmtme.model.eigenbasis import Eigenbasis
from bmtme.model.factors import Factor
from bmtme.model.layout import Layout

#: Of the half-t prior of the standard deviations of random effects, in scaled units.
NU, SCALE = 2.0, 2.5


class Factors(NamedTuple):
    """K levels of F factors; "complete" records have every recorded trait of their environment.

    Sums over records of a level are of its marks. A record counts as many times as the plots of which it is the mean.
    """

    random: np.ndarray  # (F,) bool
    slope: np.ndarray  # (F,) bool, whether it is a covariate
    precision: np.ndarray  # (F,) prior precision of fixed effects before they sum to zero; zero: flat
    nu: float
    scale: np.ndarray  # (F, L) half-t scales of random effects
    first: np.ndarray  # (I + 1,) first level of each environment
    factor: np.ndarray  # (K,)
    active: np.ndarray  # (K, L) which levels have an effect on which trait
    table: np.ndarray  # (I,) where the table of an environment's levels begins in the next two, row after row
    together: np.ndarray  # complete records that two levels have in common
    within: np.ndarray  # cross-products of their indicators around the means of cells, over complete records
    plots: np.ndarray  # (K, J) U' n / sqrt(c), n the level's complete records of each line
    share: np.ndarray  # (K, J) U' sqrt(c) times the level's share in complete records, of untouched cells
    cell_first: np.ndarray  # (S + 1,) where the entries of a touched cell begin in the next two
    cell_level: np.ndarray  # its levels with complete records
    cell_share: np.ndarray  # and their shares
    level: np.ndarray  # (N, F) levels of the records, -1 for none
    mark: np.ndarray  # (N, F) 1, or the value of a covariate
    part_level: np.ndarray  # (P, F) those of partly seen ones
    part_mark: np.ndarray  # (P, F)
    slopes: np.ndarray  # (C,) factors that are covariates
    design: np.ndarray  # (C, M, J) of covariates: U' sqrt(c) times the sum over records that have the trait / (k c)
    around_means: np.ndarray  # (I Q, Q) cross-products of plots' covariates, Q = C L, less those of cells' means
    # data
    total: np.ndarray  # (K, L) sums of the complete records of each level
    around: np.ndarray  # (K, L) sums of their deviations from the means of cells


def lay_factors(
    layout: Layout, basis: Eigenbasis, observed: np.ndarray, factors: Sequence[Factor], precision: float = 0.0
) -> Factors:
    """Constants of the effects of some factors; `load_factors` fills in the data.

    observed : (N, L) bool, what is recorded
    precision : of fixed effects and slopes, for tests that need a proper prior
    """
    I, L = layout.recorded.shape
    N, J = len(layout.rec_line), layout.n_line
    of = np.repeat(np.arange(len(factors)), [len(factor.env) for factor in factors])
    env = np.concatenate([np.zeros(0, np.int64), *(factor.env for factor in factors)])
    active = np.concatenate([np.zeros((0, L), bool), *(factor.active for factor in factors)])
    places = order_levels(factors)
    order = np.argsort(np.concatenate([np.zeros(0, np.int64), *places]))
    K = len(order)
    level, mark = np.full((N, len(factors)), -1), np.ones((N, len(factors)))
    for f, factor in enumerate(factors):
        level[:, f] = np.append(places[f], -1)[factor.level]
        if factor.weight is not None:
            mark[:, f] = factor.weight
        assert not factor.random or np.isin(layout.rec_env[factor.level < 0], factor.env).sum() == 0
    env = env[order]
    first = np.concatenate([[0], np.cumsum(np.bincount(env, minlength=I))]).astype(np.int64)
    # Complete records of each level and line, of each cell, and of each two levels.
    counts, cells = np.zeros((K, J)), np.zeros((I, J))
    complete = layout.rec_complete
    np.add.at(cells, (layout.rec_env[complete], layout.rec_line[complete]), layout.rec_plots[complete])
    together = []
    for i in range(I):
        here = np.flatnonzero(complete & (layout.rec_env == i))
        own = level[here, :, None] == np.arange(first[i], first[i + 1])
        marks = (own * mark[here, :, None]).sum(axis=1)
        weighted = marks * layout.rec_plots[here, None]
        together.append(marks.T @ weighted)
        for row, j in zip(weighted, layout.rec_line[here], strict=True):
            counts[first[i] : first[i + 1], j] += row
    shares = counts / np.maximum(cells, 1.0)[env]
    spans = [slice(first[i], first[i + 1]) for i in range(I)]
    within = [both - counts[span] @ shares[span].T for both, span in zip(together, spans, strict=True)]
    touched = np.zeros((I, J), bool)
    cell_env = np.repeat(np.arange(I), np.diff(layout.cell_offset))
    touched[cell_env, layout.cell_line] = True
    entries = [
        [(k, shares[k, j]) for k in range(first[i], first[i + 1]) if shares[k, j] != 0.0]
        for i, j in zip(cell_env.tolist(), layout.cell_line.tolist(), strict=True)
    ]
    flat = [entry for cell in entries for entry in cell]
    root = np.sqrt(layout.multiples)
    plots, untouched = counts / root, np.where(touched[env], 0.0, shares) * root
    if basis.vectors is not None:
        plots, untouched = plots @ basis.vectors, untouched @ basis.vectors
    slope = np.array([factor.weight is not None for factor in factors], bool)
    design = lay_design(layout, basis, observed, mark[:, slope])
    return Factors(
        random=np.array([factor.random for factor in factors], bool),
        slope=slope,
        precision=np.full(len(factors), precision),
        nu=NU,
        scale=np.full((len(factors), L), SCALE),
        first=first,
        factor=of[order].astype(np.int64),
        active=active[order],
        table=np.concatenate([[0], np.cumsum(np.diff(first) ** 2)[:-1]]).astype(np.int64),
        together=np.concatenate([both.ravel() for both in together]),
        within=np.concatenate([products.ravel() for products in within]),
        plots=np.ascontiguousarray(plots),
        share=np.ascontiguousarray(untouched),
        cell_first=np.concatenate([[0], np.cumsum([len(cell) for cell in entries])]).astype(np.int64),
        cell_level=np.array([k for k, _ in flat], np.int64),
        cell_share=np.array([share for _, share in flat], float),
        level=level.astype(np.int64),
        mark=mark,
        part_level=level[layout.part_record].astype(np.int64),
        part_mark=mark[layout.part_record],
        slopes=np.flatnonzero(slope),
        design=design,
        around_means=sum_around_means(layout, observed, mark[:, slope], design),
        total=np.zeros((K, L)),
        around=np.zeros((K, L)),
    )


def lay_design(layout: Layout, basis: Eigenbasis, observed: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(C, M, J) what slopes of covariates (N, C) are multiplied by in the rotated completed data.

    An unseen plot has a value of zero, and what is imputed of a record stays the same less the effects.
    """
    col_env, col_trait = np.nonzero(layout.recorded)
    out = np.zeros((values.shape[1], len(col_env), layout.n_line))
    for m, (i, l) in enumerate(zip(col_env, col_trait, strict=True)):
        here = np.flatnonzero((layout.rec_env == i) & observed[:, l])
        for c in range(len(out)):
            np.add.at(out[c, m], layout.rec_line[here], layout.rec_plots[here] * values[here, c])
        out[:, m] /= layout.plots[i] * np.sqrt(layout.multiples)
    return np.ascontiguousarray(out if basis.vectors is None else out @ basis.vectors)


def sum_around_means(layout: Layout, observed: np.ndarray, values: np.ndarray, design: np.ndarray) -> np.ndarray:
    """(I Q, Q) of every environment, sum_n x_n x_n' - k sum_j X_j X_j', x_n (Q,) zero for traits that a plot lacks."""
    (I, L), C = layout.recorded.shape, values.shape[1]
    col_env, col_trait = np.nonzero(layout.recorded)
    each = (values[:, :, None] * observed[:, None, :]).reshape(len(values), C * L)
    out = np.zeros((I, C * L, C * L))
    for i in range(I):
        here = layout.rec_env == i
        means = np.zeros((C, L, layout.n_line))
        means[:, col_trait[col_env == i]] = design[:, col_env == i]
        flat = means.reshape(C * L, layout.n_line)
        weighted = layout.rec_plots[here, None] * each[here]
        out[i] = weighted.T @ each[here] - layout.plots[i] * flat @ flat.T
    return out.reshape(I * C * L, C * L)


def order_levels(factors: Sequence[Factor]) -> list[np.ndarray]:
    """Of each factor, the places of its levels among those of all: by environment, factor and name."""
    of = np.repeat(np.arange(len(factors)), [len(factor.env) for factor in factors])
    env = np.concatenate([np.zeros(0, np.int64), *(factor.env for factor in factors)])
    place = np.argsort(np.lexsort((of, env)))  # stable: names stay in order
    return [place[of == f] for f in range(len(factors))]


def load_factors(f: Factors, layout: Layout, values: np.ndarray, deviations: np.ndarray) -> None:
    """Put recorded values (N, L), scaled, and their deviations from the means of their cells into the data of f."""
    f.total[:] = f.around[:] = 0.0
    for level, mark in zip(f.level.T, f.mark.T, strict=True):
        here = np.flatnonzero(layout.rec_complete & (level >= 0))
        weight = (mark * layout.rec_plots)[here, None]
        np.add.at(f.total, level[here], weight * np.nan_to_num(values[here]))
        np.add.at(f.around, level[here], weight * np.nan_to_num(deviations[here]))
