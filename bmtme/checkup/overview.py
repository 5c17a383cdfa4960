"""A trial looked over: sizes, gaps, names, strange values, and how it fits a relationship. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from bmtme.arguments import is_number, is_one_of, show
from bmtme.checkup.blocks import count_blocks, find_block_faults, find_covariate_faults
from bmtme.checkup.cautions import find_cautions
from bmtme.checkup.coverage import (
    count_common_lines,
    find_checks,
    find_gaps,
    find_sparse_parts,
    tabulate_columns,
    tabulate_lines,
)
from bmtme.checkup.findings import SEVERITIES, Finding, tabulate_findings
from bmtme.checkup.inverses import find_inverse
from bmtme.checkup.kin import describe_centring, find_identical_lines, find_rank, find_unmatched
from bmtme.checkup.naming import find_look_alikes, find_odd_names
from bmtme.checkup.oddities import find_outliers, find_repeated_records
from bmtme.checkup.precision import find_odd_errors, find_odd_plots
from bmtme.checkup.replicates import tabulate_replicates
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import UsageError

__all__ = ["OUTLIER", "Checkup", "look_over"]

#: Robust z from which on a value is listed (Iglewicz and Hoaglin 1993).
OUTLIER = 3.5


@dataclass(frozen=True, eq=False, repr=False)
class Checkup:
    """What a look at a trial found; ``print`` it for the text.

    Attributes
    ----------
    sizes : dict
        Numbers of lines, environments, traits, records and values, and so on.
    notes : tuple of Finding
        What was found, the most important first.
    columns : pandas.DataFrame
        One row per environment and trait; see `bmtme.checkup.coverage.tabulate_columns`.
    lines : pandas.DataFrame
        One row per line: records, environments, traits, and (given a relationship) whether it is in that.
    common_lines : pandas.DataFrame
        Lines with a value in both of two environments.
    replicates : pandas.DataFrame
        Means of replicates; see `bmtme.checkup.replicates.tabulate_replicates`.
    """

    sizes: dict[str, Any]
    notes: tuple[Finding, ...]
    columns: pd.DataFrame
    lines: pd.DataFrame
    common_lines: pd.DataFrame = field(default_factory=pd.DataFrame)
    replicates: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def findings(self) -> pd.DataFrame:
        """Every case found as a row.

        Returns
        -------
        DataFrame
            severity (``stop``: a fit would be refused; ``warning``: may be a mistake; ``note``), kind, trait, env,
            line, other (the second of a pair), rep, row (of the file), value, median and z (of outliers), message.
        """
        return tabulate_findings(self.notes)

    @property
    def ok(self) -> bool:
        """Whether nothing was found for which a fit would be refused."""
        return not any(note.severity == "stop" for note in self.notes)

    def __str__(self) -> str:
        # The text belongs to the reports, above this layer; printing is for people at a prompt.
        from bmtme.checkup.text import describe_checkup

        return describe_checkup(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{sum(n.severity == severity for n in self.notes)} {severity}" for severity in SEVERITIES)
        return f"Checkup({self.sizes['records']} records; findings: {counts}; print() shows them)"


def look_over(
    trial: Trial,
    relationship: Relationship | None = None,
    outlier: float = OUTLIER,
    unrelated: Literal["error", "drop"] = "error",
    before: Sequence[Finding] = (),
) -> Checkup:
    """Look a trial over; see `Trial.check`.

    Parameters
    ----------
    trial, relationship, outlier, unrelated
        As for `Trial.check`.
    before : sequence of Finding
        What was found when the trial was read.
    """
    if relationship is not None and not isinstance(relationship, Relationship):
        raise UsageError(
            "expected a Relationship (bmtme.read_relationship or bmtme.Relationship), got "
            f"{type(relationship).__name__}."
        )
    if not is_number(outlier) or outlier <= 0:
        raise UsageError(f"outlier must be a positive number, got {show(outlier)}.")
    if not is_one_of(unrelated, ("error", "drop")):
        raise UsageError(f"unrelated must be 'error' or 'drop', got {show(unrelated)}.")
    found = list(before)
    fitted = trial
    if relationship is not None:
        found += find_unmatched(trial, relationship, unrelated)
        found += find_rank(trial, relationship) + find_inverse(relationship)
        strangers = set(trial.lines).difference(relationship.lines)
        if unrelated == "drop" and len(strangers) < len(trial.lines):
            fitted = trial.drop_lines(strangers)
    for names, noun in ((trial.lines, "line"), (trial.envs, "environment"), (trial.traits, "trait")):
        found += find_look_alikes(names, noun) + find_odd_names(names, noun)
    found += find_cautions(fitted) + find_repeated_records(trial) + find_odd_plots(trial) + find_odd_errors(trial)
    found += find_outliers(trial, outlier) + find_block_faults(fitted) + find_covariate_faults(fitted)
    found += find_gaps(trial) + find_sparse_parts(trial) + find_checks(trial)
    if relationship is not None:
        found += find_identical_lines(relationship)
    lines = tabulate_lines(trial)
    if relationship is not None:
        lines["related"] = lines["line"].isin(set(relationship.lines))
    return Checkup(
        _measure(trial, relationship),
        tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))),
        tabulate_columns(trial),
        lines,
        count_common_lines(trial),
        tabulate_replicates(trial),
    )


def _measure(trial: Trial, relationship: Relationship | None) -> dict[str, Any]:
    """Sizes of the trial, for the head of the text."""
    counts = trial.counts()
    plots = counts.max(axis=2)
    filled = plots > 0
    sizes: dict[str, Any] = {
        "lines": len(trial.lines),
        "lines_with_values": len(trial.recorded_lines),
        "envs": list(trial.envs),
        "traits": list(trial.traits),
        "records": trial.n_records,
        "values": int(counts.sum()),
        "missing_values": int(np.isnan(trial.values).sum()),
        "cells": int(filled.size),
        "filled_cells": int(filled.sum()),
        "absent_columns": int((counts.sum(axis=0) == 0).sum()),
        "fewest_plots": int(plots[filled].min()) if filled.any() else 0,
        "most_plots": int(plots.max()) if plots.size else 0,
        "replicated_cells": int((plots > 1).sum()),
        "reps": None if trial.reps is None else len(set(trial.reps)),
        "blocks": count_blocks(trial),
        "covariates": list(trial.covariates),
        "plots": None,
    }
    if trial.n_plots is not None:
        number = trial.n_plots[~np.isnan(trial.values).all(axis=1)]
        sizes["plots"] = {"fewest": int(number.min()), "most": int(number.max())}
    if relationship is not None:
        related = set(relationship.lines)
        matched = [line for line in trial.recorded_lines if line in related]
        centring = ""
        if not relationship.is_identity:
            index = relationship.index(matched)
            centring = describe_centring(relationship.matrix[np.ix_(index, index)])
        sizes["relationship"] = {
            "lines": len(relationship),
            "identity": relationship.is_identity,
            "matched": len(matched),
            "centring": centring,
        }
    return sizes
