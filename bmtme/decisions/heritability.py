"""Heritabilities: of a record, of an entry mean, and by the precision of differences between lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import is_one_of, show
from bmtme.choices import CULLIS, HERITABILITY_KINDS, OF_MEAN, OF_RECORD
from bmtme.decisions.covariances import (
    average_errors,
    average_genetic,
    count_plots,
    derive_genetic,
    find_recorded,
    find_spread,
    list_names_along,
    list_recorded_lines,
    take_outside,
    take_residual,
)
from bmtme.decisions.response import digest
from bmtme.decisions.targets import Target, choose_target
from bmtme.errors import UsageError
from bmtme.results.decided import HERITABILITIES
from bmtme.results.entries import name_columns
from bmtme.results.notes import BOUNDS_ONLY, PRIOR_ONLY
from bmtme.words import list_names, some_names

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

TRIAL, BASE = POPULATIONS = ("trial", "base")


@dataclass(frozen=True)
class Parts:
    """Variances of one trait in the draws, (chain, draw, ...), over the environments I that count.

    Attributes
    ----------
    between : (..., I, I) genetic covariance of the environments among the lines meant, outside effects included
    residual : (..., I) of a plot
    """

    between: np.ndarray
    residual: np.ndarray

    @property
    def genetic(self) -> np.ndarray:
        """V_g: mean covariance of two different environments; of one, its variance."""
        I = self.between.shape[-1]
        whole, own = self.between.sum(axis=(-2, -1)), self.own.sum(axis=-1)
        return np.asarray(own if I == 1 else (whole - own) / (I * (I - 1)))

    @property
    def own(self) -> np.ndarray:
        """(..., I) genetic variance in each environment."""
        return np.asarray(np.diagonal(self.between, axis1=-2, axis2=-1))

    @property
    def interaction(self) -> np.ndarray:
        """V_ge: mean variance in an environment less V_g."""
        return np.asarray(self.own.mean(axis=-1) - self.genetic)


def take_parts(fit: Fit, l: int, envs: np.ndarray, population: str) -> Parts:
    """The variances of trait l over some environments (places); see `Parts`.

    population : "trial" for the trial's lines, where a covariance counts c times; "base" for unrelated lines of the
        relationship's base
    """
    c = find_spread(fit)[l] if population == TRIAL else 1.0
    between = c * derive_genetic(fit, lambda C: C[:, :, envs, l][:, :, :, envs, l])
    between = between + take_outside(fit)[:, :, l, l][..., None, None]
    return Parts(between, take_residual(fit)[:, :, envs, l])


def tabulate_heritability(fit: Fit, kind: Any, population: Any, env: Any, draws: int = 1000) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.heritability`."""
    if not is_one_of(kind, HERITABILITY_KINDS):
        raise UsageError(f"kind must be one of {list_names(HERITABILITY_KINDS)}, got {show(kind)}.")
    if not is_one_of(population, POPULATIONS):
        raise UsageError(f"population must be 'trial' or 'base', got {show(population)}.")
    if kind == CULLIS and population == BASE:
        raise UsageError("the heritability of Cullis is of the lines of a trial: leave population= out.")
    names = list_names_along(fit, "env")
    target = None if env is None else choose_target(env, names)
    notes = {str(name): str(note) for name, note in fit.summary()["note"].items()}
    rows: list[tuple[Any, ...]] = []
    for l, trait in enumerate(list_names_along(fit, "trait")):
        if kind == OF_RECORD:
            parts = take_parts(fit, l, np.arange(len(names)), population)
            shares = parts.own / (parts.own + parts.residual)
            found = digest(shares.reshape(-1, len(names)))
            for i, name in enumerate(names):
                if target is None or target.weights[i] > 0:
                    rows.append((name, trait, *(column[i] for column in found), write_note(notes, trait, [name])))
            continue
        envs = choose_envs(fit, l, target)
        label = names[envs[0]] if target is not None and len(envs) == 1 else None
        note = write_note(notes, trait, [names[i] for i in envs])
        if kind == OF_MEAN:
            shares = share_mean(fit, l, envs, take_parts(fit, l, envs, population))
            rows.append((label, trait, *(column[0] for column in digest(shares.reshape(-1, 1))), note))
        else:
            rows.append((label, trait, measure_cullis(fit, l, trait, envs, draws), np.nan, np.nan, np.nan, note))
    order = {name: k for k, name in enumerate(names)}
    if kind == OF_RECORD:  # by environment, as in the summary
        rows.sort(key=lambda row: order[row[0]])
    return pd.DataFrame(rows, columns=name_columns(HERITABILITIES))


def write_note(notes: Mapping[str, str], trait: str, envs: Sequence[str]) -> str:
    """What the summary notes on the heritability in an environment; of several, where the prior alone speaks.

    notes : of the summary, by name
    """
    own = {env: notes.get(f"heritability[{env}, {trait}]", "") for env in envs}
    if len(own) == 1:
        return own[envs[0]]
    where: dict[str, list[str]] = {}
    for env, note in own.items():
        for part in note.split("; "):
            if part.startswith((PRIOR_ONLY, BOUNDS_ONLY)):
                where.setdefault(part, []).append(env)
    return "; ".join(f"{part} ({some_names(there)})" for part, there in where.items())


def choose_envs(fit: Fit, l: int, target: Target | None) -> np.ndarray:
    """Places of the target environments with a record of the trait.

    Raises
    ------
    UsageError
        If there is none, or weights differ.
    """
    recorded = find_recorded(fit)[:, l]
    if target is not None:
        weights = target.weights[target.weights > 0]
        if np.ptp(weights) > 0:
            raise UsageError("a heritability is of environments that count alike: give env= as a name or a list.")
        recorded = recorded & (target.weights > 0)
    if not recorded.any():
        trait = list_names_along(fit, "trait")[l]
        raise UsageError(f"trait {trait!r} has no record in these environments, so that there are no means of lines.")
    return np.flatnonzero(recorded)


def share_mean(fit: Fit, l: int, envs: np.ndarray, parts: Parts) -> np.ndarray:
    """V_g / (V_g + V_ge / I + R / (I r)), (chain, draw), with means over lines where plots differ in number.

    A line's mean is that of its means in I_j environments of n_ij plots: V_ge counts mean_j 1 / I_j, and residuals
    mean_j sum_i R_i / n_ij / I_j^2, which with one R is the harmonic mean of numbers of plots (Piepho & Moehring 2007,
    Genetics 177:1881-1888). Known error variances of the means count beside R_i / n_ij.
    """
    lines = list_recorded_lines(fit)[l]
    counts = count_plots(fit, lines)
    plots, errors = (array[:, envs, l] for array in (counts, average_errors(fit, lines, counts)))
    errors, plots = errors[plots.any(axis=1)], plots[plots.any(axis=1)]
    number = (plots > 0).sum(axis=1)
    inverse = np.where(plots > 0, 1.0 / np.maximum(plots, 1), 0.0)
    noise = parts.residual @ (inverse / number[:, None] ** 2).mean(axis=0)
    noise = noise + (errors.sum(axis=1) / number**2).mean()
    genetic = parts.genetic
    return np.asarray(genetic / (genetic + parts.interaction * (1.0 / number).mean() + noise))


def measure_cullis(fit: Fit, l: int, trait: str, envs: np.ndarray, draws: int) -> float:
    """1 - vbar / (2 sigma2_g), vbar the mean of Var(u_j - u_k | y) over pairs of the trial's lines.

    Over a relationship 2 sigma2_g becomes sigma2 times the mean of G_jj + G_kk - 2 G_jk, 2 c (Cullis, Smith & Coombes
    2006, J Agric Biol Environ Stat 11:381-393; Schmidt et al. 2019, Genetics 212:991-1008). u is the mean over the
    environments, sigma2 the posterior mean of its variance.
    """
    from bmtme.decisions.candidates import draw_candidates

    lines = list_recorded_lines(fit)[l]
    names = list_names_along(fit, "env")
    candidates = draw_candidates(fit, [trait], [names[i] for i in envs], lines, None, draws)
    u = candidates.effects[:, :, 0]
    left = u - u.mean(axis=0)
    # The mean squared difference of two lines is twice the sample variance.
    vbar = 2.0 * left.var(axis=1, ddof=1).sum() / max(len(u) - 1, 1)
    block = average_genetic(fit)[envs, l][:, envs, l]
    sigma2 = find_spread(fit)[l] * block.mean() + take_outside(fit)[:, :, l, l].mean()
    return float(1.0 - vbar / (2.0 * sigma2)) if len(u) > 1 and sigma2 > 0 else np.nan
