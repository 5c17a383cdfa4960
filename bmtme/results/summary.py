"""Summary of a posterior by name: moments, 90% intervals, effective sample sizes, R-hat, warnings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.mapped import SLAB
from bmtme.results import quantities
from bmtme.results.entries import type_columns
from bmtme.results.notes import HARDLY
from bmtme.results.traits import Entry, rank_entry, walk_entries

#: Below these, numbers are not to be leaned on; the note says so.
GOOD_R_HAT = 1.01
GOOD_ESS = 400
HIGH_R_HAT, LOW_ESS = f"R-hat above {GOOD_R_HAT}", f"fewer than {GOOD_ESS} effective draws"
#: Quantiles of the interval, and of the tail ESS.
INTERVAL = (0.05, 0.95)
#: A 90% interval over more than this part of what is possible says next to nothing (that of a uniform one: 0.9).
ALMOST_ALL = 0.85


def stretch_draws(worst: float) -> int:
    """How many times as many draws should give `GOOD_ESS` where so many give `worst` effective ones; at least twice."""
    return max(2, math.ceil(1.2 * GOOD_ESS / max(worst, 1.0)))


@dataclass(frozen=True)
class Digest:
    """What the columns of a summary are made of: the draws of one row, their diagnostics and notes."""

    flat: np.ndarray  # of all chains
    interval: np.ndarray  # 90%, equal-tailed
    ess_bulk: float
    ess_tail: float
    r_hat: float
    note: str

    @property
    def mean(self) -> float:
        """Mean."""
        return float(self.flat.mean())

    @property
    def sd(self) -> float:
        """Standard deviation."""
        return float(self.flat.std(ddof=1)) if self.flat.size > 1 else 0.0


def diagnose(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bulk ESS, tail ESS and rank-normalised R-hat of (parameter, chain, draw), by ArviZ; NaN below four draws.

    By ArviZ's functions of arrays: all of ArviZ takes a second to import, and its tail ESS is of other quantiles from
    one release to the next.
    """
    n = len(draws)
    if draws.shape[2] < 4:
        return np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    draws = np.ascontiguousarray(draws)  # a view, as of one entry of many matrices, would take several times as long
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from arviz_stats.base import array_stats

        bulk = array_stats.ess(draws, method="bulk")
        tail = array_stats.ess(draws, method="tail", prob=INTERVAL)
        r_hat = array_stats.rhat(draws, method="rank") if draws.shape[1] > 1 else np.full(n, np.nan)
    return bulk, tail, r_hat


def summarise_posterior(posterior: Any, facts: dict[str, Any]) -> pd.DataFrame:
    """Summary table of a posterior.

    Parameters
    ----------
    posterior : xarray.Dataset
    facts : what the data say about each entry, as of `bmtme.results.traits.list_entries`
    """
    rows, ranks, some = [], [], []
    columns = quantities.SUMMARY
    for entry in walk_entries(posterior, facts):
        some.append(entry)
        ranks.append(rank_entry(entry))
        if len(some) * entry.row.draws.nbytes >= SLAB:
            rows += summarise_entries(some)
            some = []
    rows += summarise_entries(some)
    rows = [rows[k] for k in sorted(range(len(rows)), key=ranks.__getitem__)]
    names = pd.Index([name for name, _ in rows], name="parameter")
    table = pd.DataFrame([values for _, values in rows], names, [column.name for column in columns])
    return table.astype(type_columns(columns))


def summarise_entries(entries: Sequence[Entry]) -> list[tuple[str, list[Any]]]:
    """Name and columns of some rows."""
    if not entries:
        return []
    draws = np.stack([entry.row.draws for entry in entries])
    bulk, tail, r_hat = diagnose(draws)
    constant = np.ptp(draws.reshape(len(draws), -1), axis=1) == 0
    for diagnostic in (bulk, tail, r_hat):
        diagnostic[constant] = np.nan
    rows = []
    for k, entry in enumerate(entries):
        row = entry.row
        flat = row.draws.ravel()
        interval = np.quantile(flat, INTERVAL)
        notes = [text for note in row.quantity.notes for text in note(row, entry.facts, entry.values)]
        notes += note_width(row.quantity.range, interval[1] - interval[0])
        notes += note_diagnostics(row.draws.shape, bool(constant[k]), bulk[k], tail[k], r_hat[k])
        digest = Digest(flat, interval, bulk[k], tail[k], r_hat[k], "; ".join(notes))
        rows.append((entry.name, [column.of(digest) for column in quantities.SUMMARY]))
    return rows


def note_width(limits: tuple[float, float] | None, width: float) -> list[str]:
    """A number of which hardly more is known than that it is between its limits."""
    if limits is None:
        return []
    low, high = limits
    part = width / (high - low)
    return [f"{HARDLY}: the interval covers {part:.2f} of ({low:g}, {high:g})"] if part > ALMOST_ALL else []


def note_diagnostics(shape: tuple[int, ...], constant: bool, bulk: float, tail: float, r_hat: float) -> list[str]:
    """What the diagnostics say, and why where they say nothing."""
    if shape[1] < 4:
        return ["too few draws to judge"]
    if constant:
        return ["does not vary: R-hat and effective draws unknown"]
    notes = []
    if shape[0] == 1:
        notes.append("one chain: R-hat unknown")
    if not np.isfinite([bulk, tail, r_hat if shape[0] > 1 else 1.0]).all():
        notes.append("R-hat or effective draws could not be computed")
    if r_hat > GOOD_R_HAT:
        notes.append(HIGH_R_HAT)
    if min(bulk, tail) < GOOD_ESS:
        notes.append(LOW_ESS)
    return notes
