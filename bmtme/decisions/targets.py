"""What is asked of lines: in which environments, of which traits, how many are the best, and against which check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bmtme.arguments import as_list, is_number, is_one_of, show
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names, suggest

__all__ = ["Target", "check_best", "choose_target", "choose_traits", "count_top", "find_name"]

HIGH, LOW = BEST = ("high", "low")


@dataclass(frozen=True)
class Target:
    """Environments for which lines are chosen.

    Attributes
    ----------
    envs : of the fit
    weights : (I,) share of each, sum 1
    """

    envs: tuple[str, ...]
    weights: np.ndarray

    @property
    def shares(self) -> dict[str, float]:
        """The environments with a weight, and it."""
        return {env: float(w) for env, w in zip(self.envs, self.weights, strict=True) if w > 0}

    @property
    def name(self) -> str | None:
        """Of a single environment."""
        return next(iter(self.shares)) if len(self.shares) == 1 else None


def choose_target(env: Any, envs: Sequence[str]) -> Target:
    """The environments that an ``env=`` names: None for all, a name, a list, or weights by name.

    Raises
    ------
    DataError
        For an environment that the fit does not have.
    UsageError
        For a name given twice, or weights that are no shares.
    """
    if env is None:
        given = dict.fromkeys(envs, 1.0)
    elif isinstance(env, Mapping) or hasattr(env, "to_dict"):
        given = dict(env)
        for name, weight in given.items():
            if not is_number(weight) or weight < 0:
                raise UsageError(f"env: the weight of {show(name)} must be a number of at least 0, got {show(weight)}.")
        if not sum(given.values()) > 0:
            raise UsageError("env: no environment has a weight above 0.")
    else:
        names = as_list(env, "env")
        if not names:
            raise UsageError("env names no environment: leave it out for the mean over all of them.")
        given = dict.fromkeys(names, 1.0)
        if len(given) < len(names):
            raise UsageError(
                f"env names an environment twice: {list_names(names)}. Give weights by name, in the shell as E1=2,E2=1."
            )
    weights = np.zeros(len(envs))
    for name, weight in given.items():
        weights[envs.index(find_name(name, envs, "environment"))] = weight
    return Target(tuple(envs), weights / weights.sum())


def find_name(name: Any, known: Sequence[str], noun: str) -> str:
    """The name, if the fit has it.

    Raises
    ------
    UsageError, DataError
    """
    if not isinstance(name, str):
        raise UsageError(f"the name of the {noun} must be a text, got {show(name)}.")
    if name not in known:
        kinds = f"Its {noun}s are {list_names(known)}." if noun != "line" else f"It has {len(known):,} lines."
        raise DataError(f"this fit has no {noun} {show(name)}.{suggest(name, known)} {kinds}")
    return name


def choose_traits(trait: Any, traits: Sequence[str]) -> tuple[str, ...]:
    """The traits that are named, or the only one of the fit.

    Raises
    ------
    UsageError, DataError
    """
    if trait is None:
        if len(traits) > 1:
            raise UsageError(f"trait must be named, as this fit has several: {list_names(traits)}.")
        return tuple(traits)
    names = as_list(trait, "trait")
    found = tuple(find_name(name, traits, "trait") for name in names)
    if not found or len(set(found)) < len(found):
        raise UsageError(f"trait must name traits, each once, got {show(trait)}.")
    return found


def choose_lines(lines: Any, known: Sequence[str]) -> list[str]:
    """The candidates that are named, each once, or all lines.

    Raises
    ------
    UsageError, DataError
    """
    if lines is None:
        return list(known)
    there = set(known)
    names = as_list(lines, "lines")
    for name in names:
        if not isinstance(name, str) or name not in there:
            find_name(name, known, "line")
    if not names:
        raise UsageError("lines names no line: leave it out for all of them.")
    return list(dict.fromkeys(names))


def check_best(best: Any) -> float:
    """1 where high values are wanted, -1 where low ones are.

    Raises
    ------
    UsageError
    """
    if not is_one_of(best, BEST):
        raise UsageError(f"best must be 'high' or 'low', got {show(best)}.")
    return 1.0 if best == HIGH else -1.0


def count_top(top: Any, n: int) -> int:
    """How many lines are the best: a share of the n lines below 1, floor(top n + 0.5) and one at least, else a number.

    Raises
    ------
    UsageError
    """
    if not is_number(top) or not top > 0 or (top >= 1 and top != math.floor(top)):
        raise UsageError(f"top must be a share between 0 and 1 or a whole number of lines, got {show(top)}.")
    k = max(1, math.floor(top * n + 0.5)) if top < 1 else int(top)
    if k > n:
        raise UsageError(f"top is {k:,} lines, and there are {n:,} candidates.")
    return k
