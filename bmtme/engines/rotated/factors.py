"""Effects of factors of records nested in environments, such as replicates: what a fit holds of them.

A record n of line j in environment i is y_n = beta_i + u_ij + sum_f b_f(n) + e_n, f(n) its level of factor f. Levels of
all factors stand one below the other, by environment, then factor, then name; a plot that is imputed whole belongs to
no level, which is an average one. `factor_effects` draws them; everything else of a sweep sees y less their effects.
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

    A record counts as many times as the plots of which it is the mean.
    """

    random: np.ndarray  # (F,) bool
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
    part_level: np.ndarray  # (P, F) those of partly seen ones
    # data
    total: np.ndarray  # (K, L) sums of the complete records of each level
    around: np.ndarray  # (K, L) sums of their deviations from the means of cells


def lay_factors(layout: Layout, basis: Eigenbasis, factors: Sequence[Factor], precision: float = 0.0) -> Factors:
    """Constants of the effects of some factors; `load_factors` fills in the data.

    precision : of fixed effects, for tests that need a proper prior
    """
    I, L = layout.recorded.shape
    N, J = len(layout.rec_line), layout.n_line
    of = np.repeat(np.arange(len(factors)), [len(factor.env) for factor in factors])
    env = np.concatenate([np.zeros(0, np.int64), *(factor.env for factor in factors)])
    active = np.concatenate([np.zeros((0, L), bool), *(factor.active for factor in factors)])
    order = np.lexsort((of, env))  # stable: names stay in order
    K = len(order)
    place = np.append(np.argsort(order), -1)
    level = np.full((N, len(factors)), -1)
    for f, factor in enumerate(factors):
        start = int(np.count_nonzero(of < f))
        level[:, f] = place[np.where(factor.level < 0, K, start + factor.level)]
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
        marks = (level[here, :, None] == np.arange(first[i], first[i + 1])).any(axis=1).astype(float)
        weighted = marks * layout.rec_plots[here, None]
        together.append(marks.T @ weighted)
        for mark, j in zip(weighted, layout.rec_line[here], strict=True):
            counts[first[i] : first[i + 1], j] += mark
    shares = counts / np.maximum(cells, 1.0)[env]
    own = [slice(first[i], first[i + 1]) for i in range(I)]
    within = [both - counts[mine] @ shares[mine].T for both, mine in zip(together, own, strict=True)]
    touched = np.zeros((I, J), bool)
    cell_env = np.repeat(np.arange(I), np.diff(layout.cell_offset))
    touched[cell_env, layout.cell_line] = True
    entries = [
        [(k, shares[k, j]) for k in range(first[i], first[i + 1]) if shares[k, j] > 0.0]
        for i, j in zip(cell_env.tolist(), layout.cell_line.tolist(), strict=True)
    ]
    flat = [entry for cell in entries for entry in cell]
    root = np.sqrt(layout.multiples)
    plots, untouched = counts / root, np.where(touched[env], 0.0, shares) * root
    if basis.vectors is not None:
        plots, untouched = plots @ basis.vectors, untouched @ basis.vectors
    return Factors(
        random=np.array([factor.random for factor in factors], bool),
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
        part_level=level[layout.part_record].astype(np.int64),
        total=np.zeros((K, L)),
        around=np.zeros((K, L)),
    )


def load_factors(f: Factors, layout: Layout, values: np.ndarray, deviations: np.ndarray) -> None:
    """Put recorded values (N, L), scaled, and their deviations from the means of their cells into the data of f."""
    f.total[:] = f.around[:] = 0.0
    for level in f.level.T:
        here = np.flatnonzero(layout.rec_complete & (level >= 0))
        plots = layout.rec_plots[here, None]
        np.add.at(f.total, level[here], plots * np.nan_to_num(values[here]))
        np.add.at(f.around, level[here], plots * np.nan_to_num(deviations[here]))
