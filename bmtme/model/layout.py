"""How the records of a trial lie on the balanced (line, environment, trait) layout that the sampler sweeps.

A record is one plot, or the mean of some, with at least one trait seen. Where n_ij plots of line j stand in
environment i, the layout has k_i c_j >= n_ij: then the cell mean, times sqrt(c_j), has residual covariance
R_e / k_i in every cell of the environment, and G's rows carry sqrt(c_j). What is short of k_i c_j is imputed
as one mean of unseen plots. A check with twenty plots among lines with one has c = 20 and nothing is imputed. A record
of several plots counts as so many in all of this; only within a cell, each record says one thing about R_e.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bmtme.model.codes import ABSENT, MISSING, OBSERVED


@dataclass(frozen=True)
class Layout:
    """Where the records go: constants of a fit that do not depend on the recorded values.

    ``J`` lines with a record, ``I`` environments, ``L`` traits, ``N`` records, ``S`` touched cells (those with
    imputed plots or traits), ``P`` partly seen records. All indices are into these lines and environments.
    """

    n_line: int
    recorded: np.ndarray  # (I, L) bool: does the column have a record
    plots: np.ndarray  # (I,) k
    multiples: np.ndarray  # (J,) c
    rec_line: np.ndarray  # (N,)
    rec_env: np.ndarray  # (N,)
    rec_complete: np.ndarray  # (N,) every recorded trait of the environment is seen, and without error
    rec_plots: np.ndarray  # (N,) plots of which it is the mean
    patterns: np.ndarray  # (Q, L) OBSERVED, MISSING or ABSENT
    cell_offset: np.ndarray  # (I + 1,) touched cells of each environment
    cell_line: np.ndarray  # (S,)
    cell_pad: np.ndarray  # (S,) imputed plots (a real number, zero where only traits are missing)
    cell_pattern: np.ndarray  # (S,) pattern of an unseen plot
    part_offset: np.ndarray  # (S + 1,) partly seen records of each touched cell
    part_record: np.ndarray  # (P,)
    part_pattern: np.ndarray  # (P,)

    @property
    def n_recorded(self) -> np.ndarray:
        """Records of each environment, (I,)."""
        return np.bincount(self.rec_env, minlength=len(self.recorded)).astype(float)

    @property
    def n_cells(self) -> np.ndarray:
        """Lines with a record in each environment, (I,)."""
        cells = np.unique(self.rec_env * self.n_line + self.rec_line)
        return np.bincount(cells // self.n_line, minlength=len(self.recorded)).astype(float)

    @property
    def imputed_share(self) -> float:
        """Share of the layout's plots that are imputed whole."""
        seen = self.recorded.any(axis=1)
        return float(self.cell_pad.sum() / (self.plots[seen].sum() * self.multiples.sum()))


def choose_plots(counts: np.ndarray, even: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Plots k_i and multiples c_j with k_i c_j >= n_ij that leave little to impute; where `even`, all c_j are 1.

    Tried: k_i = 1 and k_i at several quantiles of the environment's positive counts, c_j = max_i n_ij / k_i, then
    k_i shrunk to what is needed. Kept: the least mean share imputed.

    Parameters
    ----------
    counts : (J, I) recorded plots; every line has at least one
    """
    if even:
        return np.maximum(counts.max(axis=0), 1.0), np.ones(counts.shape[0])
    if counts.max() <= 1:
        return np.ones(counts.shape[1]), np.ones(counts.shape[0])
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    seen = counts.sum(axis=0) > 0
    starts = [np.ones(counts.shape[1])]
    for quantile in (0.0, 0.25, 0.5, 0.75, 1.0):
        starts.append(np.ones(counts.shape[1]))
        for i in np.flatnonzero(seen):
            starts[-1][i] = np.quantile(counts[counts[:, i] > 0, i], quantile, method="nearest")
    for k in starts:
        for _ in range(3):
            c = (counts / k).max(axis=1)
            k = np.where(seen, (counts / c[:, None]).max(axis=0), 1.0)
        scale = c.min()
        c, k = c / scale, k * scale
        share = float((1.0 - counts[:, seen] / (k[seen] * c[:, None])).mean())
        if best is None or share < best[0] - 1e-9:
            best = share, k, c
    assert best is not None
    return best[1], best[2]


def lay_out(
    observed: np.ndarray,
    rec_line: np.ndarray,
    rec_env: np.ndarray,
    n_line: int,
    n_env: int,
    even: bool = False,
    rec_plots: np.ndarray | None = None,
    uncertain: np.ndarray | None = None,
) -> Layout:
    """Lay records on the balanced layout.

    Parameters
    ----------
    observed : (N, L) bool, which traits of each record are seen; every record has at least one
    rec_line, rec_env : (N,) indices
    even : without multiples, as effects of lines outside the relationship need it
    rec_plots : (N,) plots of which each record is the mean, positive; default one
    uncertain : (N,) bool, records with an error beside that of plots, which are laid out as if partly seen
    """
    L = observed.shape[1]
    rec_plots = np.ones(len(rec_line)) if rec_plots is None else np.asarray(rec_plots, float)
    recorded = np.zeros((n_env, L), bool)
    for i in range(n_env):
        recorded[i] = observed[rec_env == i].any(axis=0)
    counts = np.zeros((n_line, n_env))
    np.add.at(counts, (rec_line, rec_env), rec_plots)
    k, c = choose_plots(counts, even)
    codes = np.where(observed, OBSERVED, np.where(recorded[rec_env], MISSING, ABSENT)).astype(np.int8)
    unseen = np.where(recorded, MISSING, ABSENT).astype(np.int8)
    patterns, identity = np.unique(np.vstack([codes, unseen]), axis=0, return_inverse=True)
    identity = identity.ravel()
    complete = ~(codes == MISSING).any(axis=1)
    if uncertain is not None:
        complete &= ~uncertain
    pad = k * c[:, None] - counts
    pad[pad < 1e-9 * k * c[:, None]] = 0.0
    touched = pad > 0
    touched[:, ~recorded.any(axis=1)] = False
    np.logical_or.at(touched, (rec_line[~complete], rec_env[~complete]), True)
    env, line = np.nonzero(touched.T)
    parts: list[np.ndarray] = []
    by_cell: dict[tuple[int, int], list[int]] = {}
    for n in np.flatnonzero(~complete):
        by_cell.setdefault((int(rec_env[n]), int(rec_line[n])), []).append(int(n))
    for cell in zip(env.tolist(), line.tolist(), strict=True):
        parts.append(np.asarray(by_cell.get(cell, []), np.int64))
    part_record = np.concatenate([*parts, np.zeros(0, np.int64)])
    return Layout(
        n_line=n_line,
        recorded=recorded,
        plots=k,
        multiples=c,
        rec_line=rec_line.astype(np.int64),
        rec_env=rec_env.astype(np.int64),
        rec_complete=complete,
        rec_plots=rec_plots,
        patterns=np.ascontiguousarray(patterns),
        cell_offset=np.concatenate([[0], np.cumsum(np.bincount(env, minlength=n_env))]).astype(np.int64),
        cell_line=line.astype(np.int64),
        cell_pad=pad[line, env],
        cell_pattern=identity[len(codes) + env].astype(np.int64),
        part_offset=np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64),
        part_record=part_record,
        part_pattern=identity[part_record].astype(np.int64),
    )
