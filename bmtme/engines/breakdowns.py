"""What is said of a sweep that broke down: the matrix, the entry that looks worst, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bmtme.engines.rotated.failures import FAILURES, R_E, SIGMA_E, SIGMA_T
from bmtme.errors import NumericalError

__all__ = ["Breakdown", "describe_failure", "refuse_gaps"]

#: A correlation beyond this is what makes a matrix of covariances singular.
ALIKE = 1.0 - 1e-6
LOOK = (
    "Look for a trait that is constant or a copy of another, and for a prior many orders of magnitude away from the "
    "data."
)
PART = (
    "Leave one of the two traits out, put their difference in the place of one, or fit one trait at a time "
    "(SingleTrait; in the shell --model single)."
)


class Breakdown(NumericalError):
    """A sweep that broke down, with the entry of a matrix that looks worst, by its place until `name` is told names.

    Attributes
    ----------
    where : when it was, such as ``sweep 12``
    what : what is wrong
    matrix : in which the entry stands, empty where none is odd
    env : place of the environment, or None
    traits : places of one trait or two, or none
    value : of the entry; of two traits their correlation
    """

    def __init__(
        self,
        where: str,
        what: str,
        matrix: str = "",
        env: int | None = None,
        traits: Sequence[int] = (),
        value: float = np.nan,
    ) -> None:
        self.where, self.what, self.matrix, self.env = where, what, matrix, env
        self.traits, self.value = tuple(traits), value
        super().__init__(self._write([f"trait {t + 1}" for t in self.traits], f"environment {(env or 0) + 1}"))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.what, self.matrix, self.env, self.traits, self.value)

    def name(self, traits: Sequence[str], envs: Sequence[str]) -> NumericalError:
        """The same with names."""
        env = "" if self.env is None else f"environment {envs[self.env]!r}"
        return NumericalError(self._write([repr(traits[t]) for t in self.traits], env))

    def _write(self, traits: Sequence[str], env: str) -> str:
        if not self.matrix:
            return f"{self.where}: {self.what}. {LOOK}"
        there = self.matrix if self.env is None else f"{self.matrix} of {env}"
        if len(traits) == 2:
            entry = f"the correlation of {traits[0]} and {traits[1]} in {there} has come to {self.value:.12g}"
            return f"{self.where}: {self.what}: {entry}. {PART}"
        entry = f"the entry of {traits[0]} in {there}" if traits else f"the entry in {there}"
        return f"{self.where}: {self.what}: {entry} has come to {self.value:.3g} (in standard deviations). {LOOK}"


def describe_failure(where: str, code: int, Sigma_t: np.ndarray, s2_E: np.ndarray, R_e: np.ndarray) -> Breakdown:
    """The breakdown of a sweep, with the entry that looks worst in the covariances from before it.

    Parameters
    ----------
    Sigma_t : (L, L)
    s2_E : (I,)
    R_e : (L, L), or (I L, L) of all environments below each other
    """
    what = f"{FAILURES[code]} is not positive definite"
    L = R_e.shape[1]
    blocks = R_e.reshape(-1, L, L)
    several = len(blocks) > 1
    found: list[tuple[str, int | None, tuple[int, ...], float, float]]
    found = [] if code in (R_E, SIGMA_E) else [("Sigma_t", None, *find_worst(Sigma_t))]
    if code not in (SIGMA_T, SIGMA_E):
        found += [("R_e", i if several else None, *find_worst(block)) for i, block in enumerate(blocks)]
    if code != R_E and not (np.isfinite(s2_E).all() and (s2_E >= 0.0).all()):
        i = int(np.argmin(np.where(np.isfinite(s2_E), s2_E, -np.inf)))
        return Breakdown(where, what, "Sigma_E", i, (), float(s2_E[i]))
    worst = max(found, key=lambda each: each[-1], default=None)
    if worst is None or worst[-1] < ALIKE:
        return Breakdown(where, what)
    return Breakdown(where, what, *worst[:-1])


def find_worst(matrix: np.ndarray) -> tuple[tuple[int, ...], float, float]:
    """Places and value of the entry of a covariance that looks worst, and how bad it is; a correlation is at most 1."""
    spread = np.diagonal(matrix)
    odd = ~np.isfinite(matrix).all(axis=1) | ~(spread > 0.0)
    if odd.any():
        k = int(np.argmax(odd))
        row = matrix[k]
        value = row[~np.isfinite(row)][0] if not np.isfinite(row).all() else spread[k]
        return (k,), float(value), np.inf
    root = np.sqrt(spread)
    correlation = matrix / np.multiply.outer(root, root)
    np.fill_diagonal(correlation, 0.0)
    k, l = divmod(int(np.argmax(np.abs(correlation))), len(matrix))
    value = float(correlation[k, l])
    return (min(k, l), max(k, l)), value, abs(value)


def refuse_gaps(sweep: int, draws: dict[str, np.ndarray]) -> None:
    """Refuse draws, (n, I, L) by what they are of, that are no finite numbers; the first is that of `sweep`.

    Raises
    ------
    Breakdown
    """
    for what, values in draws.items():
        if not np.isfinite(values).all():
            t, i, l = (int(place) for place in np.argwhere(~np.isfinite(values))[0])
            raise Breakdown(f"sweep {sweep + t}", f"{what} is no finite number", what, i, (l,), float(values[t, i, l]))
