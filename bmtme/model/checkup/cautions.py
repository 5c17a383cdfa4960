"""What a fit says about its data too: values that would give wrong numbers without a sign of it."""

from __future__ import annotations

import warnings

from bmtme.model.checkup.alikeness import find_alike_traits
from bmtme.model.checkup.constants import find_constants
from bmtme.model.checkup.dependences import describe_dependences, find_dependences, list_pairs
from bmtme.model.checkup.findings import Finding
from bmtme.model.checkup.oddities import find_copied_columns, find_missing_codes, find_unit_mixes
from bmtme.model.checkup.replicates import find_replicate_differences
from bmtme.model.checkup.spreads import find_unequal_spreads
from bmtme.model.trial import Trial

__all__ = ["find_cautions", "warn_of_values"]


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
        *units,
        *find_constants(trial),
        *copied,
        *describe_dependences(trial, dependences),
        *find_alike_traits(trial, copies.union(frozenset(each.columns) for each in dependences)),
        *find_replicate_differences(trial),
        *find_unequal_spreads(trial, elsewhere),
    ]


def warn_of_values(trial: Trial, stacklevel: int) -> None:
    """Warn of what `find_cautions` finds worth a warning, each once.

    stacklevel : as of `warnings.warn`, counted from the caller
    """
    for finding in find_cautions(trial):
        if finding.severity == "warning":
            warnings.warn(finding.summary, UserWarning, stacklevel=stacklevel + 1)
