"""What a fit says about its data too: values that would give wrong numbers without a sign of it."""

from __future__ import annotations

import warnings

from bmtme.checkup.alikeness import KIND as ALIKE_KIND
from bmtme.checkup.alikeness import find_alike_traits
from bmtme.checkup.constants import find_constants
from bmtme.checkup.dependences import describe_dependences, find_dependences, list_pairs
from bmtme.checkup.findings import Finding
from bmtme.checkup.oddities import (
    find_copied_columns,
    find_gross_outliers,
    find_missing_codes,
    find_scale_mixes,
    find_unit_mixes,
)
from bmtme.checkup.replicates import KIND as REP_KIND
from bmtme.checkup.replicates import find_replicate_differences
from bmtme.checkup.spreads import KIND, find_unequal_spreads
from bmtme.data.trial import Trial

__all__ = ["find_cautions", "list_settled", "warn_of_values"]


def find_cautions(trial: Trial) -> list[Finding]:
    """Findings about values that concern a fit: it refuses what says ``stop``, and passes on warnings.

    Each cause is told once: what is a copy is no further relation, what is a relation is no further likeness, and what
    is in another unit has no standard deviation to be compared.
    """
    copied = find_copied_columns(trial)
    copies = list_pairs(copied, trial)
    dependences = [each for each in find_dependences(trial) if frozenset(each.columns) not in copies]
    units = find_unit_mixes(trial)
    elsewhere = {(item["env"], item["trait"]) for each in units for item in each.items}
    return [
        *find_missing_codes(trial),
        *find_gross_outliers(trial),
        *units,
        *find_scale_mixes(trial),
        *find_constants(trial),
        *copied,
        *describe_dependences(trial, dependences),
        *find_alike_traits(trial, copies.union(frozenset(each.columns) for each in dependences)),
        *find_replicate_differences(trial),
        *find_unequal_spreads(trial, elsewhere),
    ]


def list_settled(by_env: bool, alone: bool, replicates: bool) -> list[str]:
    """Kinds of findings that do not matter to models; see `warn_of_values`."""
    return [KIND] * by_env + [ALIKE_KIND] * alone + [REP_KIND] * replicates


def warn_of_values(trial: Trial, by_env: bool, alone: bool, replicates: bool, stacklevel: int) -> None:
    """Warn of what `find_cautions` finds worth a warning, each once.

    by_env : whether every model has residual variances of its own in each environment, which may then differ
    alone : whether every model is fitted to one trait at a time, so that traits may be alike
    replicates : whether every model has effects of all replicates, which may then differ
    stacklevel : as of `warnings.warn`, counted from the caller
    """
    fine = list_settled(by_env, alone, replicates)
    for finding in find_cautions(trial):
        if finding.severity == "warning" and finding.kind not in fine:
            warnings.warn(finding.summary, UserWarning, stacklevel=stacklevel + 1)
