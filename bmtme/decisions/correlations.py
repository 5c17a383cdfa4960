"""Correlations of traits and of environments, from the covariances in the draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import is_one_of, show
from bmtme.decisions.covariances import derive_genetic, find_recorded, is_alone, list_names_along
from bmtme.decisions.targets import find_name
from bmtme.errors import UsageError
from bmtme.results.decided import CORRELATIONS
from bmtme.results.derivations import correlate
from bmtme.results.entries import name_columns
from bmtme.results.summary import INTERVAL, diagnose, note_diagnostics, note_width
from bmtme.words import list_names

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

GENETIC, RESIDUAL, INTERACTION = KINDS = ("genetic", "residual", "interaction")
TRAIT, ENV = OVER = ("trait", "env")
#: Correlations that differ by no more are the same in every environment.
SAME, DIGITS = 1e-9, 9
ZERO = "zero by the model"


@dataclass(frozen=True)
class Pair:
    """A row of the table.

    Attributes
    ----------
    label : environment or trait in which it is, None for no single one
    a, b : what is correlated
    draws : (chain, draw)
    names : rows of the summary with the same number, whose notes it takes
    notes : of its own
    """

    label: str | None
    a: str
    b: str
    draws: np.ndarray
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def tabulate_correlations(fit: Fit, kind: Any, over: Any) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.correlations`."""
    check_kind(fit, kind, over)
    if kind == RESIDUAL:
        pairs = list(list_residual(fit))
    elif over == ENV:
        pairs = list(list_envs(fit))
    else:
        pairs = list(list_interaction(fit) if kind == INTERACTION else list_traits(fit))
    columns = CORRELATIONS[over]
    draws = np.stack([pair.draws for pair in pairs])
    constant = np.ptp(draws.reshape(len(draws), -1), axis=1) == 0
    known = fit.summary()["note"].to_dict()
    measured = measure_once(draws, [not any(name in known for name in pair.names) for pair in pairs])
    rows = []
    for k, pair in enumerate(pairs):
        flat = pair.draws.ravel()
        low, high = np.quantile(flat, INTERVAL)
        notes = list(pair.notes)
        name = next((name for name in pair.names if name in known), None)
        if constant[k] and not flat.any():
            notes.append(ZERO)
        elif name is not None:
            notes += [known[name]] if known[name] else []
        else:
            notes += note_width((-1.0, 1.0), high - low)
            notes += note_diagnostics(pair.draws.shape, bool(constant[k]), *(each[k] for each in measured))
        sd = flat.std(ddof=min(1, flat.size - 1))
        rows.append((pair.label, pair.a, pair.b, flat.mean(), sd, low, high, "; ".join(notes)))
    return pd.DataFrame(rows, columns=name_columns(columns))


def measure_once(draws: np.ndarray, wanted: Sequence[bool]) -> tuple[np.ndarray, ...]:
    """As `diagnose`, of the pairs that have no row of the summary, and once for pairs with the same draws.

    draws : (pair, chain, draw)
    """
    first: dict[bytes, int] = {}
    place = [
        first.setdefault(own.tobytes(), k) if asked else k
        for k, (own, asked) in enumerate(zip(draws.round(DIGITS), wanted, strict=True))
    ]
    told = sorted(first.values())
    found = tuple(np.full(len(draws), np.nan) for _ in range(3))
    if told:
        for values, own in zip(found, diagnose(draws[told]), strict=True):
            values[told] = own
    return tuple(values[place] for values in found)


def check_kind(fit: Fit, kind: Any, over: Any) -> None:
    """Refuse correlations that there are not.

    Raises
    ------
    UsageError
    """
    if not is_one_of(kind, KINDS):
        raise UsageError(f"kind must be one of {list_names(KINDS)}, got {show(kind)}.")
    if not is_one_of(over, OVER):
        raise UsageError(f"over must be 'trait' or 'env', got {show(over)}.")
    names = list_names_along(fit, over)
    if len(names) < 2:
        noun = "trait" if over == TRAIT else "environment"
        raise UsageError(f"this fit has one {noun}, {names[0]!r}: there is no correlation over {noun}s.")
    if over == TRAIT and is_alone(fit):
        raise UsageError(
            "traits were fitted one at a time, which says nothing of how they correlate: fit a model of several "
            "traits, without bmtme.SingleTrait."
        )
    if over == ENV and kind == RESIDUAL:
        raise UsageError("residuals of two environments are of different plots: they have no correlation.")
    if over == ENV and kind == INTERACTION:
        raise UsageError(
            "interactions are deviations from the mean over environments, which are negatively correlated whatever "
            "the lines do: ask for kind='genetic'."
        )
    if kind == INTERACTION and len(list_names_along(fit, ENV)) < 2:
        raise UsageError("this fit has one environment, and so no interaction.")


def list_traits(fit: Fit) -> Iterator[Pair]:
    """Genetic correlations of traits: of their means over environments, and within each where these differ."""
    traits, envs, recorded = list_names_along(fit, TRAIT), list_names_along(fit, ENV), find_recorded(fit)
    overall = derive_genetic(fit, lambda C: correlate(C.mean(axis=(2, 4))))
    within = derive_genetic(fit, lambda C: correlate(np.moveaxis(np.diagonal(C, axis1=2, axis2=4), -1, 2)))
    same = bool(np.nanmax(np.abs(within - overall[:, :, None]), initial=0.0) < SAME)
    for k, l in combinations(range(len(traits)), 2):
        a, b = traits[k], traits[l]
        names = (f"genetic_correlation[{a}, {b}]",) if same else ()
        yield Pair(None, a, b, overall[:, :, k, l], names)
        for i, env in enumerate(() if same else envs):
            cells = f"genetic_correlation[{env} x {a}, {env} x {b}]"
            notes = note_absent(recorded, [(i, k), (i, l)], envs, traits)
            yield Pair(env, a, b, within[:, :, i, k, l], (cells,), notes)


def list_interaction(fit: Fit) -> Iterator[Pair]:
    """Correlations of traits in the deviations of u_ij from its mean over environments, over all of these."""
    traits = list_names_along(fit, TRAIT)

    def centre(C: np.ndarray) -> np.ndarray:
        return correlate(np.diagonal(C, axis1=2, axis2=4).mean(axis=-1) - C.mean(axis=(2, 4)))

    R = derive_genetic(fit, centre)
    for k, l in combinations(range(len(traits)), 2):
        yield Pair(None, traits[k], traits[l], R[:, :, k, l])


def list_envs(fit: Fit) -> Iterator[Pair]:
    """Genetic correlations of environments, of each trait."""
    traits, envs, recorded = list_names_along(fit, TRAIT), list_names_along(fit, ENV), find_recorded(fit)
    R = derive_genetic(fit, lambda C: correlate(np.moveaxis(np.diagonal(C, axis1=3, axis2=5), -1, 2)))
    for l, trait in enumerate(traits):
        for i, j in combinations(range(len(envs)), 2):
            a, b = envs[i], envs[j]
            cells = f"genetic_correlation[{a} x {trait}, {b} x {trait}]"
            names = (cells, f"env_correlation[{a}, {b}, {trait}]", f"env_correlation[{a}, {b}]")
            yield Pair(trait, a, b, R[:, :, l, i, j], names, note_absent(recorded, [(i, l), (j, l)], envs, traits))


def list_residual(fit: Fit) -> Iterator[Pair]:
    """Residual correlations of traits, in each environment where the model has one in each."""
    traits = list_names_along(fit, TRAIT)
    array = fit._groups["posterior"]["R_e"]
    R = correlate(array.values)
    shared = "env" not in array.dims
    for k, l in combinations(range(len(traits)), 2):
        a, b = traits[k], traits[l]
        if shared:
            yield Pair(None, a, b, R[:, :, k, l], (f"residual_correlation[{a}, {b}]",))
        for i, env in enumerate(() if shared else list_names_along(fit, ENV)):
            yield Pair(env, a, b, R[:, :, i, k, l], (f"residual_correlation[{env}, {a}, {b}]",))


def note_absent(
    recorded: np.ndarray, columns: list[tuple[int, int]], envs: list[str], traits: list[str]
) -> tuple[str, ...]:
    """Columns without a record, whose correlations the model fills in from the others and its prior."""
    return tuple(f"no record of {traits[l]} in {envs[i]}" for i, l in columns if not recorded[i, l])


def make_matrix(fit: Fit, kind: Any, over: Any, trait: Any, env: Any) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.correlation_matrix`."""
    table = tabulate_correlations(fit, kind, over)
    label, asked, other = ("env", env, trait) if over == TRAIT else ("trait", trait, env)
    if other is not None:
        raise UsageError(f"a matrix over {over}s is of one {label}: leave {over}= out.")
    if asked is not None:
        noun = "environment" if label == "env" else "trait"
        find_name(asked, list_names_along(fit, label), noun)
        here = table[table[label] == asked]
        # The same in every environment, and listed once.
        table = here if len(here) else table
    else:
        there = table[label].isna()
        if not there.any():
            own = [part["mean"].to_numpy() for _, part in table.groupby(label, sort=False)]
            if any(np.abs(values - own[0]).max() > SAME for values in own):
                each = list_names(table[label].unique())
                raise UsageError(f"correlations differ by {label}: name one of them with {label}=, of {each}.")
            table = table[table[label] == table[label].iloc[0]]
        else:
            table = table[there]
    names = list_names_along(fit, over)
    matrix = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for a, b, mean in zip(table["a"], table["b"], table["mean"], strict=True):
        matrix.loc[a, b] = matrix.loc[b, a] = mean
    return matrix
