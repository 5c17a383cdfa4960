"""The methods of a fit that estimate: correlations, heritabilities, marker effects; computed in `bmtme.decisions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import pandas as pd

from bmtme.results import decided
from bmtme.results.docstrings import document

if TYPE_CHECKING:
    from bmtme.data.markers.genotypes import Markers
    from bmtme.results.fit import Fit

#: Target environments: all, one, some that count alike, or weights by name.
Env = str | Sequence[str] | Mapping[str, float] | None
#: Of which correlations, and of what pairs.
Kind = Literal["genetic", "residual", "interaction"]
Over = Literal["trait", "env"]


class Estimates:
    """What the draws say of covariances, of markers, and of the records."""

    @property
    def _fit(self) -> Fit:
        from bmtme.results.fit import Fit

        assert isinstance(self, Fit)
        return self

    @document(columns=decided.CORRELATIONS["trait"])
    def correlations(
        self,
        kind: Kind = "genetic",
        over: Over = "trait",
    ) -> pd.DataFrame:
        """Correlations of traits, or of environments, each pair once.

        Parameters
        ----------
        kind : {"genetic", "residual", "interaction"}
            Of genetic effects; of residuals on one plot; of the deviations of genetic effects from their mean over
            environments (over traits only).
        over : {"trait", "env"}
            Over traits the first column is ``env``: None for means over all environments, the only rows where the
            correlation is the same in each; over environments it is ``trait``.

        Returns
        -------
        DataFrame
            {columns}

        Raises
        ------
        UsageError
            For correlations that there are not: of one trait, of traits fitted one at a time, of residuals of two
            environments.

        Notes
        -----
        Of all draws of the genetic covariance C, whatever its structure: over traits, of C_(il,il') in environment i,
        and of mean_ii' C_(il,i'l'); in interactions, of mean_i C_(il,il') - mean_ii' C_(il,i'l'); over environments, of
        C_(il,i'l).
        """
        from bmtme.decisions.correlations import tabulate_correlations

        return tabulate_correlations(self._fit, kind, over)

    def correlation_matrix(
        self,
        kind: Kind = "genetic",
        over: Over = "trait",
        trait: str | None = None,
        env: str | None = None,
    ) -> pd.DataFrame:
        """Posterior means of `correlations` as a labelled square.

        Parameters
        ----------
        kind, over
            As of `correlations`.
        trait, env : str, optional
            Of which trait, over environments, where they do not all have the same; in which environment, over traits,
            default their means over all.
        """
        from bmtme.decisions.correlations import make_matrix

        return make_matrix(self._fit, kind, over, trait, env)

    @document(columns=decided.HERITABILITIES)
    def heritability(
        self,
        kind: Literal["record", "mean", "cullis"] = "record",
        population: Literal["trial", "base"] = "trial",
        env: Env = None,
    ) -> pd.DataFrame:
        """Heritability of a record, of an entry mean, or by the precision of differences between lines.

        Parameters
        ----------
        kind : {"record", "mean", "cullis"}
            Of one record, by environment; of a line's mean over its plots and environments; by Cullis. The latter two
            are of the environments with a record of the trait.
        population : {"trial", "base"}
            Among the trial's lines, or in the base of the relationship, as animal breeders expect it (c = 1).
        env : str or list, optional
            Environments that are meant; default all.

        Returns
        -------
        DataFrame
            ``env`` is None over several environments; of Cullis there is one number, and no interval.

            {columns}

        Notes
        -----
        With c the expected sample variance of the lines' effects per unit of their covariance, C_r the covariance of
        effects outside the relationship, R the residual variance, I environments and r plots in each:

        record: V / (V + R), V = c C_ii + C_r, in environment i.

        mean: V_g / (V_g + V_ge / I + R / (I r)), V_g = c mean_(i != i') C_ii' + C_r and V_g + V_ge = c mean_i C_ii +
        C_r; lines with more or fewer plots count by harmonic means (Piepho & Moehring 2007, Genetics 177:1881-1888).
        Variances of replicates and blocks are not in the denominator.

        cullis: 1 - vbar / (2 sigma2), vbar the mean posterior variance of a difference of two lines, sigma2 the
        posterior mean of c w'Cw + C_r (Cullis et al. 2006, J Agric Biol Environ Stat 11:381-393).
        """
        from bmtme.decisions.heritability import tabulate_heritability

        return tabulate_heritability(self._fit, kind, population, env)

    @document(columns=decided.LEFT_OUT)
    def leave_one_out(self, by: Literal["record", "cell", "line"] = "record") -> pd.DataFrame:
        """Every recorded value as predicted from the others, without fitting again.

        Parameters
        ----------
        by : {"record", "cell", "line"}
            What is left out together: a record with all its traits; all records of a line in an environment; all of a
            line. Of a fit of one trait at a time, values of other traits are no part of it.

        Returns
        -------
        DataFrame
            In the order of the records. Missing where the others say nothing, as of the only record of an environment
            whose mean is free.

            {columns}

        Raises
        ------
        UsageError
            For more than 5,000 values.
        DataError
            If the fit was saved by a version that did not keep the relationship.

        Notes
        -----
        Exact given the covariances, which are held at their posterior means: y_j - yhat_-j = P_jj^-1 (P y)_j and
        variance P_jj^-1, by blocks, P = V^-1 - V^-1 X (X' V^-1 X)^-1 X' V^-1 over the observed values. V holds genetic
        effects, residuals, random replicates and blocks, and the deviations of exchangeable means; X what has a flat
        prior: mu, or free means, fixed replicates, slopes of covariates. It asks for one more record of a line that may
        be seen elsewhere (``by="line"``: that is not), and the covariances have seen the record: it looks for odd
        records and does not replace a cross-validation.
        """
        from bmtme.decisions.leave_one_out import tabulate_left_out

        return tabulate_left_out(self._fit, by)

    @document(columns=decided.MARKER_EFFECTS)
    def marker_effects(self, markers: pd.DataFrame | Markers, env: Env = None, draws: int = 1000) -> pd.DataFrame:
        """Effects of the markers of which the relationship was made; see `score` for other genotypes.

        Parameters
        ----------
        markers : DataFrame or Markers
            Genotypes as `bmtme.vanraden` took them for the relationship of the fit, by its first method.
        env, draws
            As of `bmtme.results.decisions.Decisions`.

        Returns
        -------
        DataFrame
            {columns}

        Raises
        ------
        DataError
            If the markers do not make the relationship of the fit.

        Notes
        -----
        a = Z' (Z_o Z_o')^+ u over the lines o with a record, Z = x - 2 p, u the posterior mean of their effects over
        the target environments, which is Z' G^+ u / c_m, c_m = sum 2 p (1 - p) (VanRaden 2008, J Dairy Sci
        91:4414-4423). Z a gives u of these lines and the expectation of all others; effects outside the relationship
        are no part of it.
        """
        from bmtme.decisions.markers import tabulate_marker_effects

        return tabulate_marker_effects(self._fit, markers, env, draws)

    @document(columns=decided.SCORED)
    def score(
        self,
        markers: pd.DataFrame | Markers,
        training: pd.DataFrame | Markers | None = None,
        env: Env = None,
        draws: int = 1000,
    ) -> pd.DataFrame:
        """Genomic values of lines that are in no relationship, from their markers, by the effects of `marker_effects`.

        Parameters
        ----------
        markers : DataFrame or Markers
            Genotypes to be scored, at the markers of the fit, matched by name; others are left aside. Missing ones
            are at the marker's mean, and as uncertain as genotypes are there.
        training : DataFrame or Markers, optional
            Genotypes of which the relationship of the fit was made; default those lines of `markers` that it has.
        env, draws
            As of `bmtme.results.decisions.Decisions`.

        Returns
        -------
        DataFrame
            In the order of the genotypes, by trait in each.

            {columns}

        Raises
        ------
        DataError
            If the training genotypes do not make the relationship; where fewer than half of the markers are there, have
            other alleles, or a line has other genotypes than in training.

        Warns
        -----
        UserWarning
            Of markers that are not there; of lines with a genotype at fewer than half of the markers; of alleles that
            are counted the other way round, which are turned where both files name them; of allele frequencies so
            unlike those in training that they may be.

        Notes
        -----
        In draw s a line with z = x - 2 p has z'a_s, by `marker_effects` of that draw. Its interval and sd count, too,
        what the markers leave open: a variance of (z'z / c_m - g'G^+g) w'Cw, g its relationship to the lines with a
        record, zero for one of these. So it is what ``ranking`` says of a line of the relationship without a record.

        At a marker without a genotype z is zero in z'a and g, and z^2 in z'z is the mean square of the lines of the
        relationship there, as of a genotype that is independent of the others: so a line without any genotype has the
        variance of an average line of the relationship, and no reliability. A gap that the line has in the
        relationship, too, counts as there: z^2 is zero.
        """
        from bmtme.decisions.scoring import score_genotypes

        return score_genotypes(self._fit, markers, training, env, draws)
