"""A fit of a mixed model by REML: what users ask of it, as plain tables."""

from __future__ import annotations

import math
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bmtme.errors import UsageError
from bmtme.model.mixed.design import Layout
from bmtme.model.mixed.fixed import Fixed
from bmtme.model.mixed.terms import TRAIT, Random, Residual, Term
from bmtme.results.mixed import effects, field, heritability, likelihood_ratio, means, wald
from bmtme.results.mixed.components import (
    Named,
    find_error,
    list_untold,
    name_components,
    tabulate_components,
    write_notes,
)
from bmtme.results.mixed.correlations import arrange_correlations, tabulate_correlations
from bmtme.results.mixed.expressions import Derived, evaluate
from bmtme.results.mixed.pictures import ResidualPictures
from bmtme.results.reported import Reported

if TYPE_CHECKING:
    from bmtme.engines.mixed.result import REML

__all__ = ["Derived", "MixedFit"]


class MixedFit(ResidualPictures, Reported):
    """A mixed model fitted by restricted maximum likelihood.

    Attributes
    ----------
    fixed : Fixed
    random : Random
    residual : Residual
    layout : Layout
        Records, and where they lie.
    result : REML
        The engine's answer, in arrays.
    """

    def __init__(self, fixed: Fixed, random: Random, residual: Residual, layout: Layout, result: REML) -> None:
        self.fixed = fixed
        self.random = random
        self.residual = residual
        self.layout = layout
        self.result = result

    def __repr__(self) -> str:
        from bmtme.report.mixed import describe_fit
        from bmtme.results.frames import WIDTH

        return describe_fit(self, WIDTH)

    # --- the fit ------------------------------------------------------------------------------------------------

    @property
    def converged(self) -> bool:
        """Whether the likelihood has reached its maximum."""
        return self.result.converged

    @property
    def message(self) -> str:
        """How the search ended, and what to do if it has not converged."""
        return self.result.message

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the estimates, a sentence each."""
        notes = write_notes(self.named, self.result)
        left = self.fixed_effects.loc[lambda table: table["note"] != "", "effect"].tolist()
        if left:
            shown = ", ".join(left[:5]) + (f" and {len(left) - 5:,} more" if len(left) > 5 else "")
            one = len(left) == 1
            notes.append(
                f"{len(left):,} of {self.result.problem.p:,} fixed columns {'is a sum' if one else 'are sums'} of "
                f"earlier ones and {'has' if one else 'have'} no estimate: {shown}"
            )
        if self.layout.trait is not None and TRAIT not in self.fixed.names:
            notes.append(
                f"all traits share their fixed effects, the mean as well: for means of their own write ~ {TRAIT}"
            )
        return tuple(notes)

    @property
    def log_likelihood(self) -> float:
        """Restricted log likelihood without n log 2 pi and log|X'X|, as ASReml prints it."""
        return self.result.log_likelihood

    @property
    def log_likelihood_full(self) -> float:
        """The same with -(n - rank X) / 2 log 2 pi, as lme4 prints it."""
        return self.result.log_likelihood_full

    @property
    def n_parameters(self) -> int:
        """Parameters of the covariances, those at a boundary among them."""
        return len(self.result.phi)

    @property
    def aic(self) -> float:
        """-2 logL + 2 k of `log_likelihood` and k = `n_parameters`: to compare models with one fixed part."""
        return -2.0 * self.log_likelihood + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """-2 logL + k log(n - rank X)."""
        problem = self.result.problem
        return -2.0 * self.log_likelihood + self.n_parameters * math.log(problem.n - problem.rank)

    @cached_property
    def named(self) -> tuple[Named, ...]:
        """The parameters by name, in the order of `components`."""
        return name_components(self.layout, self.result)

    @property
    def components(self) -> pd.DataFrame:
        """Variances, covariances and correlations: term, parameter, estimate, se, z, bound.

        Residual sections stand last, sorted by name; their term contains ``units``. `bound` is ``boundary`` for a
        variance of zero and for a covariance without full rank.
        """
        return tabulate_components(self.named, self.result)

    def list_components(self) -> list[dict[str, Any]]:
        """Names of the parameters in plain values, in the order of `components`."""
        names = ("term", "parameter", "kind", "is_residual")
        return [{name: getattr(each, name) for name in names} | {"levels": list(each.levels)} for each in self.named]

    @cached_property
    def fixed_effects(self) -> pd.DataFrame:
        """Fixed effects: term, effect, estimate, se, z, note; one that is a sum of earlier ones has no estimate."""
        return effects.tabulate_fixed(self.layout, self.result)

    def list_untold(self) -> list[str]:
        """Parameters that the data do not tell, or not apart from others."""
        return list_untold(self.named, self.result)

    # --- tests --------------------------------------------------------------------------------------------------

    def lrt(self, other: MixedFit) -> pd.DataFrame:
        """Likelihood-ratio test between this model and another with the same fixed part.

        Parameters
        ----------
        other : MixedFit
            Of the same records; either may be the larger model.

        Returns
        -------
        DataFrame
            One row: statistic, df, p (of `distribution`), p_plain (of the chi-square with all degrees of freedom),
            distribution (a mixture where a variance is zero in the smaller model), note.

        Raises
        ------
        UsageError
            If the fits are of different records or fixed parts, or neither model is a part of the other.
        """
        if not isinstance(other, MixedFit):
            raise UsageError(f"other must be a fit of a mixed model, got {type(other).__name__}.")
        return likelihood_ratio.compare_likelihoods(self, other)

    def wald(self) -> pd.DataFrame:
        """Tests of the fixed terms.

        Returns
        -------
        DataFrame
            term, df, wald and f (incremental: each term after those before it), den_df, p; f_conditional (after all
            others but those that contain it), den_df_conditional, p_conditional; method: ``moments``, the mean and
            variance of F matched (Kenward and Roger 1997; of one column Satterthwaite's), or ``containment`` where the
            equations are large.
        """
        return self._wald.copy()

    @cached_property
    def _wald(self) -> pd.DataFrame:
        return wald.tabulate_wald(self.layout, self.result)

    # --- effects ------------------------------------------------------------------------------------------------

    def blup(self, term: str | Term) -> pd.DataFrame:
        """Predicted effects of a random term.

        Parameters
        ----------
        term : str or Term
            As in the formula; of a term with ``at()``, all levels or one. The names of its columns suffice where no
            other term has the same.

        Returns
        -------
        DataFrame
            A column for each factor, then blup, se, pev (prediction error variance), reliability
            (1 - pev / variance of the effect), n (records).

        Raises
        ------
        UsageError
            If the model has no such term.
        """
        return effects.tabulate_blups(term, self.random, self.layout, self.result)

    @overload
    def predict(self, classify: str, cov: Literal[False] = False) -> pd.DataFrame: ...
    @overload
    def predict(self, classify: str, cov: Literal[True]) -> tuple[pd.DataFrame, np.ndarray]: ...
    def predict(self, classify: str, cov: bool = False) -> pd.DataFrame | tuple[pd.DataFrame, np.ndarray]:
        """Adjusted means of the levels of some factors.

        Parameters
        ----------
        classify : str
            Factors joined by ``:``, such as ``"gen:site"``.
        cov : bool
            Whether to give the covariance of the means, too.

        Returns
        -------
        table : DataFrame
            A column for each factor, then mean, se, estimable, note (why a mean is missing). Other factors of the fixed
            part are averaged over, all levels alike, and covariates stand at their mean. Random terms over these
            factors, and perhaps over some that are averaged, are counted, others not, with a warning for those over one
            of these factors; ``table.attrs`` names them. A mean that depends on columns left out is not estimable, and
            missing. ``table.attrs["sed"]`` is the standard error of a difference between two means (root mean square
            over all pairs), ``"lsd"`` the least significant difference at 5% of a fixed term, with ``"lsd_df"`` of its
            F test.
        covariance : (m, m) float array
            With `cov`; NaN where not estimable.

        Raises
        ------
        UsageError
        """
        found = means.predict_means(classify, self.fixed, self.layout, self.result)
        table = found.table
        table.attrs = {"averaged": found.averaged, "held": found.held, "ignored": found.ignored, "sed": found.sed}
        if found.term:
            tests = self._wald.set_index("term")
            df = float(tests["den_df"].get(found.term, math.nan))
            table.attrs |= {"lsd": float(stdtrit(df, 0.975)) * found.sed, "lsd_df": df}
        found.tell_ignored(self.layout, stacklevel=2)
        if not cov:
            return table
        covariance = self.result.covariance_of(found.combinations)
        gone = ~table["estimable"].to_numpy()
        covariance[gone, :] = covariance[:, gone] = np.nan
        return table, covariance

    # --- functions of the parameters ----------------------------------------------------------------------------

    def derive(self, expression: str) -> Derived:
        """A function of the parameters with its standard error.

        Parameters
        ----------
        expression : str
            Such as ``"gen / (gen + residual)"``, or ``"us(trait):known(id)[A, B] / sqrt(us(trait):known(id)[A] *
            us(trait):known(id)[B])"``: terms by their names in `components`, with the levels, or the parameter, in
            brackets where a term has several; `residual` where it has one variance; numbers, + - * / ** and brackets,
            sqrt(), log(), exp().

        Returns
        -------
        Derived
            expression, estimate, se.

        Raises
        ------
        UsageError
        """
        value, slopes = evaluate(expression, self.named, self.result.estimates)
        return Derived(expression, value, find_error(slopes, self.result))

    def correlations(self, term: str | Term) -> pd.DataFrame:
        """Correlations between the levels of a term with us(), fa(), corh() or cs(), each pair once.

        Parameters
        ----------
        term : str or Term
            A random term, or a section of the residual by its name in `components`.

        Returns
        -------
        DataFrame
            a, b, covariance, correlation, se (of the correlation, by the delta method).

        Raises
        ------
        UsageError
        """
        return tabulate_correlations(term, self.random, self.layout, self.result, self.named)

    def correlation_matrix(self, term: str | Term) -> pd.DataFrame:
        """The same correlations as a labelled square."""
        return arrange_correlations(self.correlations(term))

    def heritability(self, term: str, kind: Literal["record", "mean", "cullis"] = "record") -> pd.DataFrame:
        """Heritability of a term.

        Parameters
        ----------
        term : str
        kind : {"record", "mean", "cullis"}
            ``record``: V / (V + R), of a plot. ``mean``: V / (V + V_interaction / environments + R / plots), with
            harmonic means over the entries with records. ``cullis``: 1 - the mean prediction error variance of a
            difference / its variance (Cullis, Smith and Coombes 2006, J. Agric. Biol. Environ. Stat. 11:381-393). Other
            terms, such as blocks, mothers or permanent environments, are in no denominator: `derive` takes any.

        Returns
        -------
        DataFrame
            level (section, or level of the term's variance), kind, estimate, se (by the delta method; none of cullis,
            nor where a variance stands at its bound), denominator (its variances in words, each divided by its number
            of plots or levels).

        Raises
        ------
        UsageError
            Also where the data do not tell one of these variances from another.
        """
        return heritability.tabulate_heritability(term, kind, self.random, self.layout, self.result, self.named)

    # --- the field ----------------------------------------------------------------------------------------------

    def residuals(self) -> pd.DataFrame:
        """Of every value in the order of the table: row_of_table (its label in the index), observed, fitted, residual.

        Besides `standardised`, the residual in its standard deviations (missing where an effect fits the value alone);
        with several traits a column trait.
        """
        return field.tabulate_residuals(self.layout, self.result)

    def variogram(self, axes: tuple[str, str] | None = None) -> pd.DataFrame:
        """Sample variogram of the residuals: half the mean square of differences by distance, in each section.

        Parameters
        ----------
        axes : (str, str), optional
            Columns with the positions; by default those of the residual.

        Returns
        -------
        DataFrame
            section, a distance along each axis, n (pairs of plots), gamma.

        Raises
        ------
        UsageError
            If there are no positions.
        """
        return field.tabulate_variogram(self.grids(axes))

    def grids(self, axes: tuple[str, str] | None = None) -> list[field.Grid]:
        """Residuals on the field of each section.

        Parameters
        ----------
        axes : (str, str), optional
            Columns with the positions, the first across; by default those of the residual.

        Raises
        ------
        UsageError
            If there are no positions.
        """
        return field.list_grids(self.layout, self.result, axes)

    # --- files --------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, pd.DataFrame]:
        """What is written: components, fixed_effects, wald, of each random term its predictions, residuals.

        Besides `field`, the residuals by section and position, where the residual has positions.
        """
        found = {"components": self.components, "fixed_effects": self.fixed_effects, "wald": self.wald()}
        for term in self.random.terms:
            found[f"blup-{term}"] = self.blup(term)
        found["residuals"] = self.residuals()
        if field.has_positions(self.layout):
            found["field"] = field.tabulate_grids(self.grids())
        return found

    def record(self) -> dict[str, Any]:
        """Facts of the run, for run.json."""
        from bmtme.results.mixed.storage import describe_run

        return describe_run(self)

    def save(self, folder: str | os.PathLike[str], *, safe_text: bool = False, xlsx: bool = False) -> None:
        """Write the tables and run.json into a new folder, all or nothing.

        Parameters
        ----------
        folder : str or path
            New or empty.
        safe_text, xlsx : bool
            As for `bmtme.Fit.save`.

        Raises
        ------
        UsageError, MachineError
        """
        from bmtme.results.mixed.storage import save_mixed

        save_mixed(folder, self, {}, safe_text, xlsx)
