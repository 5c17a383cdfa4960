"""Planted errors, and for each the tests that must find it (run by `validation.mutants`).

Every mutant replaces a piece of source text that occurs exactly once in its file, so that the list cannot rot:
where the source moves on, ``tests/project/test_mutant_list.py`` says which entry to bring up to date.
"""

from validation.planted import (
    blocks,
    compared,
    conditionals,
    data,
    decided,
    fields,
    instruments,
    kept,
    mixed,
    pointwise,
    precision,
    readers,
    replicates,
    reported,
    sparse,
    stage_one,
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
    *kept.GOING_ON,
    *structures.STRUCTURE,
    *replicates.REPLICATES,
    *precision.PRECISION,
    *blocks.BLOCKS,
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
    *fields.FIELDS,
    *sparse.SPARSE,
    *stage_one.STAGE_ONE,
)
