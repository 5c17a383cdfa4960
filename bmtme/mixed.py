"""Mixed models for plots, families and pedigrees: fixed, random and residual parts in words; REML and posterior."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from bmtme.arguments import as_text, show
from bmtme.choices import POSTERIOR
from bmtme.errors import UsageError
from bmtme.mixed_posterior import PosteriorRequest, compute_posterior
from bmtme.model.mixed.design import lay_out
from bmtme.model.mixed.fixed import Fixed, parse_fixed
from bmtme.model.mixed.known import check_known
from bmtme.model.mixed.parser import parse_random, parse_residual
from bmtme.model.mixed.plots import Plots
from bmtme.model.mixed.priors import LKJ, Prior
from bmtme.model.mixed.terms import At, Axis, Random, Residual, Term
from bmtme.results.checkpoint import Checkpoint
from bmtme.results.folder import check_new_folder
from bmtme.results.mixed.fit import Derived, MixedFit
from bmtme.results.mixed.posterior import DerivedDraws, MixedPosterior
from bmtme.results.mixed.search import find_estimates
from bmtme.results.summary import GOOD_ESS

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.data.tables.files import Table

__all__ = [
    "LKJ",
    "At",
    "Axis",
    "Derived",
    "DerivedDraws",
    "MixedFit",
    "MixedPosterior",
    "Model",
    "Random",
    "Residual",
    "Term",
    "parse_random",
    "parse_residual",
]


class Model:
    """A mixed model y = X b + sum_t Z_t u_t + e, with u_t ~ N(0, G_t) and e ~ N(0, R).

    Parameters
    ----------
    fixed : str or Fixed
        Formula of the response and the fixed part, ``"yield ~ site + site:check"``. A numeric column is a covariate,
        text a factor, ``C(x)`` makes a factor of numbers; formulaic reads it, with ``:``, ``*``, ``log(x)``,
        ``bs(x, df=4)`` and so on. Several traits: ``"BWT + TARSUS ~ trait + trait:sex"``.
    random : str or Random, optional
        ``"at(site):col + us(site):gen + known(line)"``: terms joined by ``+``, each a Kronecker product of factors
        joined by ``:``. A plain name has independent levels; ``us(x)`` any covariance, ``diag(x)`` variances,
        ``corh(x)`` variances and one correlation, ``cs(x)`` one of each, ``fa(x, k)`` k factors and specific variances,
        ``ar1(x)`` a correlation that falls with the distance, ``known(x)`` a relationship; ``us(id, dam):known(id)``
        direct and maternal effects with their covariance; ``at(x)`` and ``at(x, "S3")`` make a term of its own at each,
        or one, of the levels. ``units`` is the plot. Names are always factors here, and those with blanks or signs
        stand in back-quotes.
    residual : str or Residual
        ``"units"``, independent plots; ``"ar1(col):ar1(row)"``, a field; ``"... | site"``, parameters of each site's
        own; a sum with ``at()`` where sites differ in structure; ``"us(trait):units"`` with several traits.
    known : dict, optional
        Relationships by factor, matched by name: a `bmtme.Relationship`, a square DataFrame with names, the sparse
        inverse of `bmtme.pedigree_inverse`, or a pedigree with the columns id, sire and dam.

    Raises
    ------
    UsageError
        For a formula that cannot be read, with the place.

    Examples
    --------
    >>> from bmtme import mixed
    >>> model = mixed.Model("yield ~ site", random="site:gen", residual="ar1(col):ar1(row) | site")
    >>> fit = model.fit(plots)  # doctest: +SKIP
    """

    def __init__(
        self,
        fixed: str | Fixed,
        random: str | Random | None = None,
        residual: str | Residual = "units",
        known: Mapping[str, Any] | None = None,
    ) -> None:
        self.fixed = parse_fixed(fixed)
        self.random = parse_random(random)
        self.residual = parse_residual(residual)
        self.known = check_known(known)

    def __repr__(self) -> str:
        known = f", known=<{', '.join(self.known)}>" if self.known else ""
        return f"Model({str(self.fixed)!r}, random={str(self.random)!r}, residual={str(self.residual)!r}{known})"

    @classmethod
    def animal(
        cls,
        fixed: str,
        pedigree: Any,
        id: str = "id",
        dam: str | None = None,
        maternal: bool | Literal["correlated"] = False,
        random: str | Random | None = None,
    ) -> Model:
        """An animal model: additive genetic effects of the individuals of a pedigree.

        Parameters
        ----------
        fixed : str
            With several responses, all effects and the residual have an unstructured covariance of the traits.
        pedigree : DataFrame, PedigreeInverse or Relationship
            As in `known`.
        id : str
            Column of the plots with the individual.
        dam : str, optional
            Column with its mother: an effect of the permanent environment that a mother gives.
        maternal : bool or "correlated"
            Whether mothers have genetic effects besides, uncorrelated with the direct ones, or ``"correlated"``.
        random : str or Random, optional
            Further terms, such as ``"byear"``.

        Returns
        -------
        Model

        Raises
        ------
        UsageError

        Notes
        -----
        Henderson (1976), Biometrics 32:69-83; maternal effects as of Willham (1963), Biometrics 19:18-27. Their
        covariance with direct effects is zero, or that of the term ``us(id, dam):known(id)``, for one trait; it takes
        mothers with records of their own to tell it.
        """
        parsed = parse_fixed(fixed)
        if maternal and dam is None:
            raise UsageError(f"maternal={maternal!r} needs dam=, the column with the mother.")
        if not (isinstance(maternal, bool) or maternal == "correlated"):
            raise UsageError(f"maternal must be True, False or 'correlated', got {show(maternal)}.")
        if maternal == "correlated" and parsed.traits:
            raise UsageError("maternal='correlated' is for one trait: of several, fit one at a time, or maternal=True.")
        trait = (Axis("trait", "us"),) if parsed.traits else ()
        own = [Term((*trait, Axis(as_text(id, "id"), "known")))]
        known = {id: pedigree}
        if dam is not None:
            if maternal == "correlated":
                own = [Term((Axis(as_text(id, "id"), "us", other=dam), Axis(id, "known")))]
            elif maternal:
                own.append(Term((*trait, Axis(dam, "known"))))
                known[dam] = pedigree
            own.append(Term((*trait, Axis(dam))))
        terms = Random((*own, *parse_random(random).terms))
        return cls(fixed, terms, "us(trait):units" if parsed.traits else "units", known)

    def fit(self, plots: pd.DataFrame | Table, weights: str | None = None, progress: bool | None = None) -> MixedFit:
        """Fit the model by restricted maximum likelihood.

        Parameters
        ----------
        plots : DataFrame
            A row for each plot, in any order; a plot without a value keeps its place in the field.
        weights : str, optional
            Column with the weight of each record, such as the number of plots behind a mean: the variance of a residual
            is R divided by it.
        progress : bool, optional
            A line on stderr while the search lasts; default where it is a terminal.

        Returns
        -------
        MixedFit

        Raises
        ------
        DataError
            For a column, level, relationship or plot that cannot be used, by name.
        UsageError
            For a model whose parameters cannot be told apart.
        NumericalError
            If the likelihood cannot be computed.

        Notes
        -----
        Average information REML (Gilmour, Thompson and Cullis 1995, Biometrics 51:1440-1450) on sparse mixed model
        equations.
        """
        layout = lay_out(self.fixed, self.random, self.residual, self.known, Plots.of(plots), weights)
        return MixedFit(self.fixed, self.random, self.residual, layout, find_estimates(layout, progress))

    def posterior(
        self,
        plots: pd.DataFrame | Table,
        draws: int | Literal["auto"] = 2000,
        chains: int = 4,
        seed: int = 1,
        weights: str | None = None,
        prior: Prior | Mapping[str, Prior] | None = None,
        keep_effects: Literal["auto", "all", "thin", "none"] = "auto",
        cores: int | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        ess: int = GOOD_ESS,
        time_limit: float | None = None,
    ) -> MixedPosterior:
        r"""Draw from the posterior of the covariances, and of the effects given them.

        Parameters
        ----------
        plots, weights : as for `fit`
        draws : int or "auto"
            Of each chain; ``"auto"`` goes on until they suffice, as with `bmtme.fit`.
        chains : int
        seed : int
            The same data, seed and settings give the same numbers, whatever the number of cores.
        prior : HalfT, LKJ, or dict of these by term, optional
            Of standard deviations and correlations; default `bmtme.HalfT` with 2 degrees of freedom and a scale of 5
            standard deviations of the trait for effects of a relationship with a mean diagonal of one, as of
            `bmtme.BMTME`, and for residuals of a record with weight one. Terms are named as in `MixedFit.components`,
            or as in the formula; ``residual`` is every section. A scale is for the standard deviation as reported: a
            number, or one for each level of the covariance.
        keep_effects : {"auto", "all", "thin", "none"}
            Whether the effects of all draws, of every 2^k-th (500 at most), or of none are kept; ``auto``: of all below
            64 MB.
        cores : int, optional
            Threads at most; default all processors of this process.
        progress : bool, optional
            A line on stderr; default where it is a terminal.
        checkpoint : str or path, optional
            A new or empty folder, into which the run is written while it is under way, as with `bmtme.fit`:
            `bmtme.resume` goes on with it, `bmtme.extend` gives it more draws.
        ess, time_limit : int, float, optional
            With ``draws="auto"``, as with `bmtme.fit`.

        Returns
        -------
        MixedPosterior

        Raises
        ------
        DataError, UsageError, NumericalError
            As for `fit`; also where the draws do not fit into the memory, or no mode is found.

        Warns
        -----
        UserWarning
            Of a run that is too short to lean on.

        Notes
        -----
        Fixed effects have a flat prior; covariances of several traits or sites have that of Huang and Wand (2013), as
        in `bmtme.HalfT`, or `LKJ`; other correlations, ``ar1`` among them, are uniform; loadings of ``fa`` are normal
        with the scale as their standard deviation. Random and fixed effects are integrated out: chains walk through
        the parameters of the covariances alone (unstructured ones as standard deviations and partial correlations), by
        independence Metropolis with a split t at the mode (Geweke 1989, Econometrica 57:1317-1339), or, where Pareto
        k-hat of its weights is above 0.7 (Vehtari et al. 2024, J. Mach. Learn. Res. 25:72), by Hamiltonian moves with
        the inverse Hessian there as metric, and proposals of the former between them. Where several terms have one
        variance each, two of these trade what they have of their sum between moves.
        """
        request = PosteriorRequest.checked(
            self.fixed, self.random, self.residual, self.known, plots, weights, prior, draws, chains, seed,
            keep_effects, ess, time_limit,
        )  # fmt: skip
        folder = None if checkpoint is None else check_new_folder(checkpoint)
        begin = None if folder is None else partial(Checkpoint.begin, folder, POSTERIOR, request.trim())
        return compute_posterior(request, cores, progress, begin)
