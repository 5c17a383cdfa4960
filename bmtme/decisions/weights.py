"""Weights of the traits in an index: given, or such that selection brings gains in the proportions wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.arguments import is_number, is_one_of, show
from bmtme.decisions.covariances import list_names_along
from bmtme.decisions.targets import choose_traits
from bmtme.errors import NumericalError, UsageError

if TYPE_CHECKING:
    from bmtme.decisions.candidates import Candidates
    from bmtme.results.fit import Fit

UNITS = ("trait", "sd")
#: Smallest eigenvalue of the correlations of predicted values with which gains can be told apart.
LEAST = 1e-6


def read_weights(fit: Fit, given: Any, name: str, units: Any) -> dict[str, float]:
    """Numbers by trait, as given in ``weights=`` or ``gains=``.

    Raises
    ------
    UsageError, DataError
    """
    if not is_one_of(units, UNITS):
        raise UsageError(f"units must be 'trait' or 'sd', got {show(units)}.")
    if not (isinstance(given, Mapping) or hasattr(given, "to_dict")) or not len(given):
        raise UsageError(f"{name} must be a dict with a number for each trait that counts, got {show(given)}.")
    found = dict(given)
    choose_traits(list(found), list_names_along(fit, "trait"))
    for trait, number in found.items():
        if not is_number(number):
            raise UsageError(f"{name}: expected a number for trait {trait!r}, got {show(number)}.")
    if not any(found.values()):
        raise UsageError(f"{name}: every trait has 0, so that all lines are alike.")
    return {trait: float(number) for trait, number in found.items()}


def weigh_gains(candidates: Candidates, gains: np.ndarray) -> np.ndarray:
    """a = S^-1 d (Pesek & Baker 1969, Can J Plant Sci 49:803-804), S the covariance of the posterior means.

    Whatever lines are chosen by the data, their true values are expected to be on average what their posterior means
    are. Normal ones of lines chosen by a'm differ from those of all by i S a / sqrt(a'S a), so that S a = d. This is
    Pesek & Baker's rule: what is selected on are not phenotypes, with P^-1 and G, but predictions, with
    Cov(u, m) = Var(m) = S. The genetic covariance C in its place gives gains along S C^-1 d, too large in traits of
    high reliability. S is as good as the variances are known: where the data hardly tell that of a trait, gains in
    single trials are off to either side, and those of the other traits suffer more than this one's can win.

    Parameters
    ----------
    candidates : Candidates
    gains : (L,) d, in the traits' units

    Raises
    ------
    NumericalError
        Where predicted values of traits move together so that gains cannot be told apart.
    """
    predicted = candidates.effects.mean(axis=0)
    S = np.atleast_2d(np.cov(predicted, rowvar=False))
    scale = np.sqrt(S.diagonal())
    if len(candidates.lines) <= len(S) or not (scale > 0).all():
        raise NumericalError("gains: predicted values of too few candidates, or without differences, give no weights.")
    R = S / np.outer(scale, scale)
    if np.linalg.eigvalsh(R)[0] < LEAST:
        pairs = np.abs(np.tril(R, -1))
        k, l = np.unravel_index(int(pairs.argmax()), pairs.shape)
        raise NumericalError(
            f"gains: the predicted values of {candidates.traits[l]!r} and {candidates.traits[k]!r} have a correlation "
            f"of {R[k, l]:.6f} over the candidates, so that gains in both cannot be chosen: leave one of them out."
        )
    return np.asarray(np.linalg.solve(R, gains / scale) / scale)
