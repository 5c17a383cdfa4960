"""Mixed models for plots, families and pedigrees: fixed, random and residual parts in words, fitted by REML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bmtme.arguments import as_text, show
from bmtme.model.mixed.design import lay_out
from bmtme.model.mixed.fixed import Fixed, parse_fixed
from bmtme.model.mixed.known import check_known
from bmtme.model.mixed.parser import parse_random, parse_residual
from bmtme.model.mixed.plots import Plots
from bmtme.model.mixed.terms import At, Axis, Random, Residual, Term
from bmtme.results.mixed.fit import Derived, MixedFit
from bmtme.results.mixed.search import find_estimates

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.data.tables.files import Table

__all__ = ["At", "Axis", "Derived", "MixedFit", "Model", "Random", "Residual", "Term", "parse_random", "parse_residual"]


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
        from bmtme.errors import UsageError

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
