"""What is given of the truth of a simulation: by the names of the posterior, read by labels or in order, checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import show
from bmtme.errors import UsageError
from bmtme.results.entries import Quantity
from bmtme.results.quantities import QUANTITIES
from bmtme.results.rows import untwin
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.structures.structure import Residual

FloatArray = npt.NDArray[np.float64]
Values = dict[str, FloatArray]

#: Asymmetry, eigenvalues below zero, and what must be alike, in proportion.
TOLERANCE = 1e-6
#: What arguments say that is given in their place.
REPLACED = {
    "genetic_correlation": ("Sigma_t", "C"),
    "interaction": ("Sigma_E", "C"),
    "residual_correlation": ("R_e",),
    "heritability": ("R_e",),
}


@dataclass(frozen=True)
class Labels:
    """Names of environments and traits, and what follows from them."""

    envs: Sequence[str]
    traits: Sequence[str]

    def along(self, dim: str) -> list[str]:
        """Names along a dimension of the posterior."""
        cells = [f"{env} x {trait}" for env in self.envs for trait in self.traits]
        return {"env": list(self.envs), "trait": list(self.traits), "cell": cells}[untwin(dim)]

    def index(self, quantity: Quantity) -> tuple[pd.Index, pd.Index | None]:
        """Rows and columns of a table of a quantity: the last of several dimensions along the columns."""
        *rows, last = (pd.Index(self.along(dim), name=dim) for dim in quantity.dims)
        if not rows:
            return last, None
        return (rows[0] if len(rows) == 1 else pd.MultiIndex.from_product(rows)), last.rename(None)

    def label(self, name: str, values: FloatArray) -> pd.DataFrame | pd.Series:
        """Values of a quantity as a table."""
        rows, columns = self.index(find_entry(name, values.ndim))
        if columns is None:
            return pd.Series(values, index=rows, name=name)
        return pd.DataFrame(values.reshape(len(rows), -1), index=rows, columns=columns)


def find_entry(name: str, n_dims: int) -> Quantity:
    """The entry of the register with this name and number of dimensions."""
    found = [q for q in QUANTITIES if q.name == name and len(q.dims) == n_dims and q.derive is None]
    if not found:
        raise LookupError(f"the register has no quantity {name!r} with {n_dims} dimensions")
    return found[0]


def read_given(given: Mapping[str, Any], known: Mapping[str, Quantity], labels: Labels) -> Values:
    """What is given as arrays, checked: by labels where there are any, else in the order of environments and traits."""
    if not isinstance(given, Mapping):
        raise UsageError(f"truth must map names such as 'R_e' to values, got {show(given)}.")
    found = {}
    for name, value in given.items():
        if name not in known:
            raise UsageError(
                f"truth: the model has no {name!r} to be given, but {list_names(known)}.{suggest(str(name), known)}"
            )
        found[name] = read_values(name, value, known[name], labels)
        check_values(name, found[name], known[name])
    return found


def read_values(name: str, value: Any, quantity: Quantity, labels: Labels) -> FloatArray:
    """An array of the shape of a quantity."""
    shape = tuple(len(labels.along(dim)) for dim in quantity.dims)
    dims = " x ".join(untwin(dim) for dim in quantity.dims)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        rows, columns = labels.index(quantity)
        own = [value.index] + ([value.columns] if isinstance(value, pd.DataFrame) else [])
        wanted = [rows] + ([] if columns is None else [columns])
        if [(len(names), set(names)) for names in own] != [(len(names), set(names)) for names in wanted]:
            raise UsageError(
                f"truth: {name} must have the labels of the simulation, {list_names(list(map(str, rows[:4])))}..., "
                f"along {dims}; take .to_numpy() of it to have it in their order."
            )
        value = value.loc[rows] if columns is None else value.loc[rows, columns]
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"truth: {name} must be made of numbers, got {show(value)}.") from None
    if isinstance(value, pd.DataFrame):
        array = array.reshape(shape)
    if array.shape != shape or not np.isfinite(array).all():
        raise UsageError(f"truth: {name} must be {dims}, {shape}, of finite numbers; got {array.shape}, {show(value)}.")
    return np.array(array)


def check_values(name: str, values: FloatArray, quantity: Quantity) -> None:
    """Refuse what is no covariance, or has a size that belongs to another."""
    if name == "Sigma_E" and (np.diag(np.diag(values)) != values).any():
        raise UsageError("truth: Sigma_E must be diagonal, with a variance of the interaction for each environment.")
    if name == "k" and not (values > 0).all():
        raise UsageError(f"truth: k must be positive, got {show(values.tolist())}.")
    size = values.mean() if name == "k" else np.diag(values).mean() if name == "K" else 1.0
    if abs(size - 1.0) > TOLERANCE:
        other = {"k": "k must be 1 on average: divide it, and multiply Sigma_gt", "K": "the diagonal of K must be 1 on "
                 "average: divide it, and multiply Sigma_t"}  # fmt: skip
        raise UsageError(f"truth: {other[name]}, by {size:.6g}.")
    if quantity.dims[-1].endswith("_bis"):
        for matrix in values.reshape(-1, *values.shape[-2:]):
            check_covariance(name, matrix)


def check_covariance(name: str, matrix: FloatArray) -> None:
    """Refuse a matrix that is none: R_e and Sigma_t are positive definite, others may be singular."""
    largest = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > TOLERANCE * largest:
        raise UsageError(f"truth: {name} must be symmetric.")
    definite = name in ("R_e", "Sigma_t")
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < -TOLERANCE * largest or (definite and least <= 0):
        kind = "positive definite" if definite else "positive semi-definite"
        raise UsageError(f"truth: {name} must be {kind}, and has the eigenvalue {least:.3g}.")


def check_residuals(residual: Residual | None, R_e: FloatArray, labels: Labels) -> None:
    """Refuse residual covariances of environments that are not what their structure says."""
    if residual is None or not residual.by_env:
        return
    sd = np.sqrt(np.diagonal(R_e, axis1=1, axis2=2))
    alike = {}
    if residual.common_correlation:
        alike["residual correlations"] = R_e / (sd[:, :, None] * sd[:, None, :])
    if residual.common_scale:
        alike["ratios of residual variances"] = (sd / sd[:, :1]) ** 2
    for what, values in alike.items():
        if np.abs(values - values[0]).max() > TOLERANCE * max(1.0, np.abs(values).max()):
            raise UsageError(
                f"truth: with residual={residual.name!r} {what} are the same in {list_names(labels.envs)}, and those "
                "of the R_e given are not. Use residual='by_env'."
            )


def refuse_replaced(given: Mapping[str, Any], function: Callable[..., Any], **arguments: Any) -> None:
    """Refuse arguments that something given stands in place of."""
    usual = inspect.signature(function).parameters
    for name, value in arguments.items():
        both = [other for other in REPLACED[name] if other in given]
        if both and value is not None and not np.array_equal(value, usual[name].default):
            raise UsageError(f"truth has {both[0]}, which stands in place of {name}={show(value)}: leave one out.")
