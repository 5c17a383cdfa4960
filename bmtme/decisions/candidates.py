"""Joint draws of the candidates' values in the target environments, and what their reliability is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import whole_number
from bmtme.data.order import sort_names
from bmtme.decisions.covariances import (
    average_genetic,
    find_spread,
    is_alone,
    list_names_along,
    list_recorded_lines,
    take_constant,
    take_outside,
)
from bmtme.decisions.targets import Target, choose_lines, choose_target, find_name

if TYPE_CHECKING:
    from bmtme.results.fit import Fit


@dataclass(frozen=True)
class Candidates:
    """Lines to choose from, in the order of their names, in S joint draws.

    Attributes
    ----------
    lines : (n,) their names
    traits : (L,)
    target : Target
    effects : (S, n, L) sum_i w_i u_ij, without the means of the environments
    means : (S, L) sum_i w_i beta_i
    check : (S, L) effects of the check, or None
    averages : (S, L) mean effect of the trial's lines with a record
    genetic, outside : (L, L) posterior means of the covariance of the traits over the target, w'Cw and Sigma_r
    contrasts, own : (n, L) prior variance of a line's effect less that mean, per unit of these
    spread : (L,) expected sample variance of the effects of the trial's lines per unit of `genetic`
    """

    lines: tuple[str, ...]
    traits: tuple[str, ...]
    target: Target
    effects: np.ndarray
    means: np.ndarray
    check: np.ndarray | None
    averages: np.ndarray
    genetic: np.ndarray
    outside: np.ndarray
    contrasts: np.ndarray
    own: np.ndarray
    spread: np.ndarray

    @property
    def genetic_sd(self) -> np.ndarray:
        """(L,) genetic standard deviation among the trial's lines over the target environments."""
        return np.asarray(np.sqrt(self.spread * self.genetic.diagonal() + self.outside.diagonal()))

    def measure_reliability(self, a: np.ndarray) -> np.ndarray:
        """(n,) reliability of a'u: 1 - Var(u_j - ubar | y) / Var(u_j - ubar), at least 0; u without the means.

        ubar is the mean of the trial's lines with a record. With K = I - 11'/n over them, Var(u_j - ubar) = sigma2
        [K G K]_jj, sigma2 the posterior mean of a' w'Cw a; a line effect outside the relationship adds
        a' Sigma_r a (1 - 1/n), of lines without a record (1 + 1/n). (Henderson 1975, Biometrics 31:423-447; Mrode
        2014, Linear models for the prediction of animal breeding values, ch. 3.)

        a : (L,) weights of the traits
        """
        prior = np.zeros(len(self.lines))
        for covariance, factor in ((self.genetic, self.contrasts), (self.outside, self.own)):
            root = np.sqrt(np.maximum(factor, 0.0)) * a
            prior += np.einsum("jl,lk,jk->j", root, covariance, root)
        if len(self.effects) < 2:
            return np.full(len(prior), np.nan)
        left = (self.effects @ a - (self.averages @ a)[:, None]).var(axis=0, ddof=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(prior > 0, np.maximum(1.0 - left / prior, 0.0), np.nan)


def tabulate_values(fit: Fit, traits: Sequence[str], env: Any) -> pd.DataFrame:
    """Posterior means of the values of all candidates in the target environments, as a ranking has them: by line."""
    candidates = draw_candidates(fit, traits, env)
    values = candidates.effects.mean(axis=0) + candidates.means.mean(axis=0)
    return pd.DataFrame(values, list(candidates.lines), list(candidates.traits))


def draw_candidates(
    fit: Fit, traits: Sequence[str], env: Any, lines: Any = None, check: Any = None, draws: int = 1000
) -> Candidates:
    """The draws of some traits of the candidates; see `bmtme.results.fit.Fit.line_effects`.

    Parameters
    ----------
    traits : of the fit
    env : target environments as of `choose_target`
    lines : names of the candidates; default every line of the relationship
    check : name of a line, which need not be a candidate

    Raises
    ------
    UsageError, DataError
    """
    whole_number(draws, "draws", 1)
    target = choose_target(env, list_names_along(fit, "env"))
    known = list(dict.fromkeys(fit._look_at_predictions("there are no draws of the lines")["line"]))
    chosen = sorted(choose_lines(lines, known))
    if check is not None:
        find_name(check, known, "line")
    u = fit.line_effects(draws)
    places = [list_names_along(fit, "trait").index(trait) for trait in traits]
    position = {name: n for n, name in enumerate(known)}

    def take(names: Sequence[str]) -> np.ndarray:
        """(S, names, L) over the target, environments in the order of their names."""
        rows = [position[name] for name in names]
        total = 0.0
        for i in sort_names(target.envs):
            if target.weights[i] > 0:
                total = total + target.weights[i] * u.values[:, :, rows, i][..., places]
        values = np.asarray(total)
        return values.reshape(-1, *values.shape[2:])

    recorded = list_recorded_lines(fit)
    averages = [take(recorded[place])[:, :, k].mean(axis=1) for k, place in enumerate(places)]
    beta = fit._groups["posterior"]["beta"].sel(draw=u["draw"])
    beta = beta.transpose("chain", "draw", "env", "trait").values[..., places]
    genetic = np.einsum("i,iakb,k->ab", target.weights, average_genetic(fit), target.weights)
    contrasts = take_constant(fit, "relationship_contrast").sel(predicted_line=chosen)
    if is_alone(fit):
        contrast = contrasts.transpose("predicted_line", "trait").values[:, places]
    else:
        contrast = np.repeat(contrasts.values[:, None], len(places), axis=1)
    there = [set(recorded[place]) for place in places]
    sign = np.array([[-1.0 if line in names else 1.0 for names in there] for line in chosen])
    square = np.ix_(places, places)
    return Candidates(
        lines=tuple(chosen),
        traits=tuple(traits),
        target=target,
        effects=take(chosen),
        means=np.einsum("cdil,i->cdl", beta, target.weights).reshape(-1, len(places)),
        check=None if check is None else take([check])[:, 0],
        averages=np.stack(averages, axis=1),
        genetic=genetic[square],
        outside=take_outside(fit).mean(axis=(0, 1))[square],
        contrasts=contrast,
        own=1.0 + sign / np.array([len(names) for names in there]),
        spread=find_spread(fit)[places],
    )
