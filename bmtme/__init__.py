"""Bayesian multi-trait multi-environment genomic prediction: fast, tested Gibbs samplers.

Names are loaded when they are first used, so that ``import bmtme`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "BMTME": "bmtme.model.structure",
    "SingleTrait": "bmtme.model.baselines",
    "EnvironmentMeans": "bmtme.model.baselines",
    "HalfT": "bmtme.model.structure",
    "Proportional": "bmtme.structures.proportional",
    "MainAndInteraction": "bmtme.structures.main_and_interaction",
    "EnvironmentsByTrait": "bmtme.structures.environments_by_trait",
    "Separable": "bmtme.structures.separable",
    "FactorAnalytic": "bmtme.structures.factor_analytic",
    "Free": "bmtme.structures.free",
    "InverseWishart": "bmtme.model.structure",
    "Trial": "bmtme.data.trial",
    "read_trial": "bmtme.data.trial",
    "AdjustedMeans": "bmtme.data.adjusted",
    "read_means": "bmtme.data.adjusted",
    "Relationship": "bmtme.data.relationship.matrix",
    "read_relationship": "bmtme.data.relationship.files",
    "write_relationship": "bmtme.data.relationship.files",
    "Markers": "bmtme.data.markers.genotypes",
    "read_markers": "bmtme.data.markers.files",
    "filter_markers": "bmtme.data.markers.quality",
    "duplicated_lines": "bmtme.data.markers.quality",
    "vanraden": "bmtme.data.relationship.genomic",
    "gaussian_kernel": "bmtme.data.relationship.genomic",
    "pedigree_relationship": "bmtme.data.relationship.pedigree",
    "pedigree_inverse": "bmtme.data.relationship.pedigree",
    "read_pedigree": "bmtme.data.relationship.pedigree_table",
    "find_families": "bmtme.data.relationship.pedigree_table",
    "find_clones": "bmtme.data.relationship.clones",
    "adjust": "bmtme.stage_one",
    "Adjustment": "bmtme.results.stage_one.result",
    "deregress": "bmtme.data.deregression",
    "fit": "bmtme.pipeline",
    "resume": "bmtme.resumption",
    "extend": "bmtme.resumption",
    "Fit": "bmtme.results.fit",
    "load": "bmtme.results.fit",
    "CV1": "bmtme.cv.schemes",
    "CV2": "bmtme.cv.schemes",
    "NewLines": "bmtme.cv.new_lines",
    "NewEnvironments": "bmtme.cv.new_environments",
    "NewLinesNewEnvironments": "bmtme.cv.new_environments",
    "Partition": "bmtme.cv.partitions",
    "Partitions": "bmtme.cv.given",
    "cross_validate": "bmtme.cv.run",
    "suggest_models": "bmtme.suggestions",
    "simulate": "bmtme.datasets",
    "simulate_selection": "bmtme.datasets",
    "BmtmeError": "bmtme.errors",
    "DataError": "bmtme.errors",
    "UsageError": "bmtme.errors",
    "MachineError": "bmtme.errors",
    "NumericalError": "bmtme.errors",
}

#: Parts that are modules themselves.
_MODULES = ("datasets", "mixed")

__all__ = ["__version__", *_MODULES, *_WHERE]

if TYPE_CHECKING:
    from bmtme import datasets, mixed
    from bmtme.cv.given import Partitions
    from bmtme.cv.new_environments import NewEnvironments, NewLinesNewEnvironments
    from bmtme.cv.new_lines import NewLines
    from bmtme.cv.partitions import Partition
    from bmtme.cv.run import cross_validate
    from bmtme.cv.schemes import CV1, CV2
    from bmtme.data.adjusted import AdjustedMeans, read_means
    from bmtme.data.deregression import deregress
    from bmtme.data.markers.files import read_markers
    from bmtme.data.markers.genotypes import Markers
    from bmtme.data.markers.quality import duplicated_lines, filter_markers
    from bmtme.data.relationship.clones import find_clones
    from bmtme.data.relationship.files import read_relationship, write_relationship
    from bmtme.data.relationship.genomic import gaussian_kernel, vanraden
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.relationship.pedigree import pedigree_inverse, pedigree_relationship
    from bmtme.data.relationship.pedigree_table import find_families, read_pedigree
    from bmtme.data.trial import Trial, read_trial
    from bmtme.datasets import simulate, simulate_selection
    from bmtme.errors import BmtmeError, DataError, MachineError, NumericalError, UsageError
    from bmtme.model.baselines import EnvironmentMeans, SingleTrait
    from bmtme.model.structure import BMTME, HalfT, InverseWishart
    from bmtme.pipeline import fit
    from bmtme.results.fit import Fit, load
    from bmtme.results.stage_one.result import Adjustment
    from bmtme.resumption import extend, resume
    from bmtme.stage_one import adjust
    from bmtme.structures.environments_by_trait import EnvironmentsByTrait
    from bmtme.structures.factor_analytic import FactorAnalytic
    from bmtme.structures.free import Free
    from bmtme.structures.main_and_interaction import MainAndInteraction
    from bmtme.structures.proportional import Proportional
    from bmtme.structures.separable import Separable
    from bmtme.suggestions import suggest_models


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"bmtme.{name}")
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bmtme' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_WHERE})
