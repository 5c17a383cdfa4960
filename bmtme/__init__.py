"""Bayesian multi-trait multi-environment genomic prediction: fast, tested Gibbs samplers.

Names are loaded when they are first used, so that ``import bmtme`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "BMTME": "bmtme.model.structure",
    "HalfT": "bmtme.model.structure",
    "InverseWishart": "bmtme.model.structure",
    "Trial": "bmtme.model.trial",
    "read_trial": "bmtme.model.trial",
    "Relationship": "bmtme.model.relationship",
    "read_relationship": "bmtme.model.relationship",
    "vanraden": "bmtme.model.kinship",
    "pedigree_relationship": "bmtme.model.kinship",
    "fit": "bmtme.pipeline",
    "Fit": "bmtme.results.fit",
    "load": "bmtme.results.fit",
    "CV1": "bmtme.cv.schemes",
    "CV2": "bmtme.cv.schemes",
    "cross_validate": "bmtme.cv.run",
    "simulate": "bmtme.datasets",
    "BmtmeError": "bmtme.errors",
    "DataError": "bmtme.errors",
    "UsageError": "bmtme.errors",
    "NumericalError": "bmtme.errors",
}

__all__ = ["__version__", *_WHERE]

if TYPE_CHECKING:
    from bmtme.cv.run import cross_validate
    from bmtme.cv.schemes import CV1, CV2
    from bmtme.datasets import simulate
    from bmtme.errors import BmtmeError, DataError, NumericalError, UsageError
    from bmtme.model.kinship import pedigree_relationship, vanraden
    from bmtme.model.relationship import Relationship, read_relationship
    from bmtme.model.structure import BMTME, HalfT, InverseWishart
    from bmtme.model.trial import Trial, read_trial
    from bmtme.pipeline import fit
    from bmtme.results.fit import Fit, load


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bmtme' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
