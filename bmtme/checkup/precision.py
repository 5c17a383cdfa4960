"""Numbers of plots behind records that may be mistakes, or say nothing."""

from __future__ import annotations

import numpy as np

from bmtme.checkup.coverage import place_record
from bmtme.checkup.findings import Finding
from bmtme.data.trial import Trial
from bmtme.words import count_noun, some_names

__all__ = ["describe_plots", "find_odd_plots"]

#: A record of so many times the usual number of plots is odd.
TIMES = 10
KIND = "number of plots"


def find_odd_plots(trial: Trial) -> list[Finding]:
    """Records of far more plots than the others, and numbers that are all the same."""
    if trial.n_plots is None:
        return []
    records = np.flatnonzero(~np.isnan(trial.values).all(axis=1))
    number = trial.n_plots[records]
    usual = float(np.median(number))
    if np.ptp(number) == 0:
        plots = count_noun(int(usual), "plot")
        text = f"Every record is the mean of {plots}: none counts for more than another, and R_e is that of one plot."
        return [Finding.of("note", KIND, text)]
    odd = records[number >= TIMES * usual]
    if not len(odd):
        return []
    items = [place_record(trial, n) | {"value": float(trial.n_plots[n])} for n in odd.tolist()]
    names = some_names([f"{item['line']} in {item['env']} ({item['value']:g})" for item in items], 5)
    return [
        Finding.of(
            "warning",
            KIND,
            f"{count_noun(len(odd), 'record')} of {TIMES} times the usual number ({usual:g}) of plots or more: "
            f"{names}. Records count by their plots: look for typing mistakes.",
            items,
        )
    ]


def describe_plots(fewest: int, most: int, **_: int) -> str:
    """Plots behind a record, in words."""
    return f"means of {count_noun(most, 'plot') if fewest == most else f'{fewest} to {most} plots'}"
