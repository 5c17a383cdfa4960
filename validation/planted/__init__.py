"""Planted errors, and for each the tests that must find it (run by `validation.mutants`).

Every mutant replaces a piece of source text that occurs exactly once in its file, so that the list cannot rot:
where the source moves on, ``tests/project/test_mutant_list.py`` says which entry to bring up to date.
"""

from validation.planted import (
    compared,
    conditionals,
    data,
    decided,
    instruments,
    mixed,
    pointwise,
    readers,
    replicates,
    reported,
    sparse,
    structures,
    sweeps,
    told,
)
from validation.planted.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS = (
    *conditionals.MEANS,
    *conditionals.EFFECTS,
    *conditionals.COVARIANCES,
    *sweeps.UNRECORDED,
    *sweeps.INTEGRATED,
    *sweeps.ORDER,
    *sweeps.MIRROR,
    *structures.STRUCTURE,
    *replicates.REPLICATES,
    *data.DATA,
    *data.PREDICTED,
    *readers.READERS,
    *reported.REPORTED,
    *compared.COMPARED,
    *pointwise.POINTWISE,
    *told.TOLD,
    *instruments.INSTRUMENTS,
    *decided.DECIDED,
    *mixed.MIXED,
    *sparse.SPARSE,
)
