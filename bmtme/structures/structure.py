"""What a covariance structure is: a value that says how many parameters it has and how they make a covariance.

A new structure is one file: a subclass of `Genetic` or `Residual` with its compiled functions. Samplers, summaries and
predictions see nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bmtme.errors import UsageError
from bmtme.linalg.pointers import find_address
from bmtme.model.codes import CovariancePrior
from bmtme.structures.part import Flip, Part, Start, describe_columns
from bmtme.words import list_names


class Structure:
    """Common to genetic and residual structures; subclasses are frozen dataclasses.

    Attributes
    ----------
    name : as on the command line
    build, back, complete : compiled functions, see `bmtme.structures.part`
    """

    name: ClassVar[str]
    build: ClassVar[Any]
    back: ClassVar[Any]
    complete: ClassVar[Any]

    def count(self, part: Part) -> int:
        """Number of parameters for the columns of a part."""
        raise NotImplementedError

    def start(self, part: Part, start: Start) -> np.ndarray:
        """Parameters (size,) of about these covariances."""
        raise NotImplementedError

    def list_flips(self, part: Part) -> list[Flip]:
        """Changes of sign that leave the covariance as it is; places count from the part's first parameter."""
        return []


class Genetic(Structure):
    """Structure of C, the covariance of a line's genetic effects over the columns (env, trait).

    Attributes
    ----------
    shapes : of the model's ``structure`` that go with it
    takes_prior_t : whether the model's ``prior_t`` is a prior of it
    takes_wishart : whether ``prior_t`` may be an inverse-Wishart
    takes_prior_E : whether the model's ``prior_E`` is a prior of it
    alike : whether genetic variances are the same in every environment, with records or without
    """

    shapes: ClassVar[tuple[str, ...]] = ("unstructured",)
    takes_prior_t: ClassVar[bool] = True
    takes_wishart: ClassVar[bool] = True
    takes_prior_E: ClassVar[bool] = True

    @property
    def alike(self) -> bool:
        return False

    def settle(self, residual: Residual) -> Genetic:
        """The structure beside this residual one, where a default depends on it."""
        return self

    def check(self, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str]) -> None:
        """Refuse data that the structure cannot serve.

        recorded : (I, L) which columns have a record

        Raises
        ------
        UsageError
        """

    def report(self, part: Part, seen: np.ndarray, thetas: np.ndarray) -> Mapping[str, np.ndarray]:
        """Its own parameters by name of the posterior variable, in scaled units, from (n, size) parameters.

        part : for every column, recorded or not
        seen : environments with a record
        """
        return {}


def refuse_absent(genetic: Genetic, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str], why: str) -> None:
    """Refuse columns without a record; parameters as of `Genetic.check`, and the reason."""
    absent = [f"{envs[i]} x {traits[l]}" for i, l in np.argwhere(~recorded)]
    if absent:
        raise UsageError(
            f"the genetic structure {genetic.name} cannot serve environment x trait columns without any record "
            f"({list_names(absent)}): {why}. Use bmtme.FactorAnalytic(), bmtme.Proportional() or "
            "bmtme.MainAndInteraction(), or leave these environments or traits out."
        )


def refuse_single(genetic: Genetic, recorded: np.ndarray) -> None:
    """Refuse one environment or one trait to a structure that has a covariance of either."""
    if recorded.shape[0] < 2:
        raise UsageError(
            f"the genetic structure {genetic.name} needs records in two environments at least: in one there is no "
            "covariance of environments. Use bmtme.Proportional(), of which Sigma_t is left then."
        )
    if recorded.shape[1] < 2:
        raise UsageError(
            f"the genetic structure {genetic.name} needs two traits at least: with one it is a free covariance of the "
            "environments. Use bmtme.Free()."
        )


class Residual(Structure):
    """Structure of R, the residual covariance of a plot: one block (L, L), or one for each environment.

    Attributes
    ----------
    by_env : whether every environment has a block of its own
    common_correlation, common_scale : whether, of these, correlations are the same in all, and ratios of variances
    shapes : of the model's ``structure`` that go with it
    takes_prior : whether the model's ``prior_e`` is its prior
    """

    by_env: ClassVar[bool] = False
    common_correlation: ClassVar[bool] = False
    common_scale: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("unstructured", "diagonal")
    takes_prior: ClassVar[bool] = False


#: A genetic and a residual structure.
Structures = tuple[Genetic, Residual]


def make_part(
    structure: Structure,
    first: int,
    recorded: np.ndarray,
    prior: CovariancePrior,
    prior_env: CovariancePrior,
    pointed: bool,
) -> Part:
    """The part of a structure.

    Parameters
    ----------
    first : place of its first parameter
    recorded : (I, L) the columns it is laid over
    pointed : whether its functions are wanted at addresses, which compiles them
    """
    part = Part(
        first=first,
        size=0,
        build=0,
        back=0,
        complete=0,
        **describe_columns(recorded),
        prior=prior,
        prior_env=prior_env,
    )
    part = part._replace(size=int(structure.count(part)))
    return point_part(structure, part) if pointed else part


def point_part(structure: Structure, part: Part) -> Part:
    """The part with the addresses of its structure's functions, which are compiled for that."""
    vector, matrix = np.zeros(1), np.zeros((1, 1))
    return part._replace(
        build=find_address(structure.build, True, part, vector, matrix),
        back=find_address(structure.back, 0.0, part, vector, matrix, vector),
        complete=find_address(structure.complete, True, np.random.default_rng(0), part, vector, vector),
    )
