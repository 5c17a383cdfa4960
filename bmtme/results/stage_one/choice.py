"""The model of an environment: candidates fitted and compared by AIC, and heritabilities with lines random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.engines.mixed.problem import find_independent
from bmtme.errors import DataError, NumericalError, UsageError
from bmtme.model.mixed.terms import UNITS, quote_name
from bmtme.model.stage_one import Candidate, Environment, Laid, lay_candidate, list_candidates
from bmtme.results.mixed.fit import MixedFit
from bmtme.results.mixed.problem import make_problem
from bmtme.results.mixed.search import find_estimates
from bmtme.words import count_noun, list_names, some_names

__all__ = ["CANDIDATES", "HERITABILITY", "Choice", "choose_model", "refuse_unreplicated", "tabulate_heritability"]

#: Degrees of freedom that lines leave each trait, for a model of the field at least.
FEWEST_DF = 10
#: A larger model that gains less of log likelihood than this may not have found its best.
WORSE = 1e-4
#: Variance of a small nugget, as a share of the field's.
SMALL = 0.01
CANDIDATES = (
    "env", "model", "log_likelihood", "parameters", "aic", "difference", "converged", "chosen", "note",
)  # fmt: skip
HERITABILITY = ("env", "trait", "n_lines", "n_plots", "cullis", "sed", "note")

#: What is told of the work: environment, model.
Tell = Callable[[str, str], None]


@dataclass(frozen=True, eq=False)
class Choice:
    """The model of an environment.

    Attributes
    ----------
    candidate : Candidate
    fit : MixedFit
    table : DataFrame
        Columns `CANDIDATES`.
    fits : dict of MixedFit
        Of every candidate that has been fitted.
    """

    candidate: Candidate
    fit: MixedFit
    table: pd.DataFrame
    fits: dict[str, MixedFit]


def choose_model(environment: Environment, spatial: str, tell: Tell) -> Choice:
    """Fit what the field allows, and take the model with the least AIC.

    Raises
    ------
    DataError
        If the model that is asked for cannot be fitted.
    NumericalError
        If no model could be fitted.
    """
    candidates, reasons = _list_possible(environment, spatial)
    _refuse_explained(environment, candidates[0])
    fits: dict[str, MixedFit] = {}
    for candidate in candidates:
        tell(environment.name, candidate.name)
        try:
            laid = lay_candidate(environment, candidate, environment.traits)
            fits[candidate.name] = _fit(laid)
            if candidate.name == "ar1_nugget" and "ar1" in fits:
                fits[candidate.name] = _extend(fits["ar1"], laid, fits[candidate.name])
        except (DataError, UsageError, NumericalError) as error:
            if len(candidates) == 1 or isinstance(error, DataError):
                raise type(error)(f"Environment {environment.name!r}, model {candidate.name}: {error}") from error
            reasons[candidate.name] = str(error).rstrip(".")
    return _compare(environment, candidates, fits, reasons)


def refuse_unreplicated(environments: Sequence[Environment]) -> None:
    """Refuse environments in which no line has plots to spare, all of them at once.

    Raises
    ------
    DataError
    """
    plain = Candidate("none", has_trend=False)
    bad = {}
    for environment in environments:
        least, trait = _count_df(environment, plain)
        if least < 1:
            bad[environment.name] = trait
    if not bad:
        return
    others = [environment.name for environment in environments if environment.name not in bad]
    name, trait = next(iter(bad.items()))
    ways = ["take their plots into a fit in one stage (bmtme.fit with blocks=)"]
    if any(len(environment.traits) > 1 for environment in environments):
        ways.insert(0, "leave out the trait or its values there")
    if others:
        ways.insert(0, f"adjust the others with envs= (--envs): {list_names(others)}")
    where = f"environment {name!r}" if len(bad) == 1 else f"environments {list_names(bad)}"
    raise DataError(
        f"No line of {where} tells the error of a plot of the trait {trait!r}: after lines and replicates no degree of "
        f"freedom is left. Either {'; or '.join(ways)}."
    )


def _list_possible(environment: Environment, spatial: str) -> tuple[list[Candidate], dict[str, str]]:
    """What is to be fitted, and why not the rest."""
    name = environment.name
    plain = Candidate("none", has_trend=False)
    candidates, reasons = list_candidates(environment)
    candidates = [plain] if spatial == "none" else candidates
    least, _ = _count_df(environment, candidates[0])
    if least < FEWEST_DF and candidates[0].has_trend:
        reason = f"lines leave {count_noun(least, 'degree')} of freedom, and {FEWEST_DF} are needed"
        reasons = {candidate.name: reason for candidate in candidates} | reasons
        candidates = [plain]
    if spatial in ("auto", "none"):
        return candidates, reasons
    asked = [candidate for candidate in candidates if candidate.name == spatial]
    if not asked:
        raise DataError(
            f"spatial={spatial!r} cannot be fitted in environment {name!r}: {reasons.get(spatial, reasons)}. Choose "
            "another, such as 'auto', which takes what each field allows."
        )
    return asked, {}


def _refuse_explained(environment: Environment, candidate: Candidate) -> None:
    """Refuse a trait that fixed effects explain to the last digit, which a fit of several traits would not notice."""
    for trait in environment.traits if len(environment.traits) > 1 else ():
        try:
            make_problem(
                lay_candidate(environment, Candidate("linear", (), UNITS, candidate.has_trend), [trait]).layout
            )
        except UsageError:  # of a design that the fit refuses, too
            continue
        except DataError as error:
            raise DataError(
                f"Environment {environment.name!r}, trait {trait!r}: {str(error).rstrip('.')}. Empty the values of the "
                "trait there, or leave it out."
            ) from error


def _count_df(environment: Environment, candidate: Candidate) -> tuple[int, str]:
    """Values less fixed effects that can be told apart, of the trait with the least, and this trait."""
    least = []
    for trait in environment.traits:
        layout = lay_candidate(environment, replace(candidate, has_splines=False), [trait]).layout
        X = sp.csr_matrix(layout.columns.matrix)
        least.append((len(layout.y) - len(find_independent((X.T @ X).toarray())), trait))
    return min(least, key=lambda pair: pair[0])


def _fit(laid: Laid, start: np.ndarray | None = None) -> MixedFit:
    result = find_estimates(laid.layout, False, start)
    return MixedFit(laid.fixed, laid.random, laid.residual, laid.layout, result)


def _extend(smaller: MixedFit, laid: Laid, found: MixedFit) -> MixedFit:
    """The better of a fit with a nugget and of one that starts from the fit without, and a small one.

    There may be two hills, a field with little nugget and a nugget with little field. Of one trait, where the smaller
    model is a part of the larger.
    """
    if laid.layout.trait is not None or (found.converged and found.log_likelihood > smaller.log_likelihood + WORSE):
        return found
    n_field = sum(axis.count for axis in smaller.result.problem.blocks[0].axes)
    field, design = np.split(smaller.result.phi, [n_field])
    again = _fit(laid, np.concatenate([[field[0] + 0.5 * np.log(SMALL)], design, field]))
    return max(found, again, key=lambda fit: (fit.converged, fit.log_likelihood))


def _compare(
    environment: Environment, candidates: Sequence[Candidate], fits: dict[str, MixedFit], reasons: dict[str, str]
) -> Choice:
    """The converged model with the least AIC, of equal ones the simplest, and the table."""
    converged = {name: fit for name, fit in fits.items() if fit.converged} or fits
    there = {name: fit for name, fit in converged.items() if not _is_trend(fit)} or converged
    if not there:
        raise NumericalError(
            f"No model of environment {environment.name!r} could be fitted: "
            f"{'; '.join(f'{name}: {reason}' for name, reason in reasons.items())}."
        )
    best = min(there, key=lambda name: there[name].aic)
    rows = []
    for candidate in candidates:
        name = candidate.name
        if name not in fits:
            continue
        fit = fits[name]
        notes = [] if fit.converged else ["has not converged"]
        notes += ["an autocorrelation of one, which is a trend"] if _is_trend(fit) else []
        held = fit.components.loc[fit.components["bound"] == "boundary", "term"].unique().tolist()
        notes += [f"at a bound: {some_names(held, 3)}"] if held else []
        gap = fit.aic - there[best].aic if name in there else np.nan
        number = fit.n_parameters
        rows.append((name, fit.log_likelihood, number, fit.aic, gap, fit.converged, name == best, "; ".join(notes)))
    for name, reason in reasons.items():
        rows.append((name, np.nan, 0, np.nan, np.nan, False, False, f"not fitted: {reason}"))
    table = pd.DataFrame(rows, columns=list(CANDIDATES[1:]))
    table.insert(0, "env", environment.name)
    chosen = next(candidate for candidate in candidates if candidate.name == best)
    return Choice(chosen, fits[best], table, fits)


def _is_trend(fit: MixedFit) -> bool:
    """Whether an autocorrelation has run to its end: the level of such a field is anything, and so is that of means."""
    table = fit.components
    return bool((table["parameter"].str.startswith("autocorrelation") & (table["bound"] != "")).any())


def tabulate_heritability(
    environment: Environment, candidate: Candidate, covariance: pd.DataFrame, tell: Tell
) -> pd.DataFrame:
    """Heritability of each trait by Cullis, of the same model with lines random; each trait by itself.

    Beside it sed, the root of the mean error variance of a difference between two adjusted means, from the `covariance`
    of their errors.

    References
    ----------
    Cullis, Smith and Coombes 2006, Journal of Agricultural, Biological, and Environmental Statistics 11:381-393.
    """
    rows = []
    for trait in environment.traits:
        tell(environment.name, f"heritability of {trait}")
        laid = lay_candidate(environment, candidate, [trait], lines_random=True)
        lines = environment.plots.factor(environment.line, "line").codes[laid.layout.rows]
        counts = (environment.name, trait, len(np.unique(lines)), len(laid.layout.y))
        try:
            fit = _fit(laid)
            (value,) = fit.heritability(quote_name(environment.line), "cullis")["estimate"]
            note = "" if fit.converged else "has not converged"
        except (UsageError, DataError, NumericalError) as error:
            value, note = np.nan, str(error).rstrip(".")
        rows.append((*counts, float(value), _find_sed(covariance, trait), note))
    return pd.DataFrame(rows, columns=list(HERITABILITY))


def _find_sed(covariance: pd.DataFrame, trait: str) -> float:
    own = np.flatnonzero(covariance.index.get_level_values("trait") == trait)
    V, n = covariance.to_numpy()[np.ix_(own, own)], len(own)
    return float(np.sqrt(2.0 * (np.trace(V) - V.sum() / n) / (n - 1))) if n > 1 else float("nan")
