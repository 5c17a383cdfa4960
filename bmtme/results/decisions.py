"""The methods of a fit that choose lines; what they compute is in `bmtme.decisions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from bmtme.results import decided
from bmtme.results.docstrings import document
from bmtme.results.estimates import Env, Estimates

Best = Literal["high", "low"]


class Decisions(Estimates):
    """Functions of the joint draws of `bmtme.results.fit.Fit.line_effects`, of every line of the relationship.

    All return plain tables, and raise UsageError or DataError for names that the fit does not have, and where the
    effects were not kept though they are needed. What several of them take means the same in each:

    Parameters
    ----------
    trait : str, optional
        May be left out where the fit has one.
    env : str, list or dict, optional
        Target environments: one, some that count alike, or weights by name, which are divided by their sum; default
        all of them alike.
    top : float
        The best: below 1 a share of the candidates (at least one, floor(top n + 0.5)), else a number of them.
    best : {"high", "low"}
        Which values are wanted.
    check : str, optional
        A line that the others are compared with; it need not be a candidate.
    lines : list of str, optional
        The candidates; default every line of the relationship, with a record or without.
    draws : int
        As of `bmtme.results.fit.Fit.line_effects`: probabilities are shares of the draws.
    """

    @document(columns=decided.RANKING)
    def ranking(
        self,
        trait: str | None = None,
        env: Env = None,
        top: float = 0.05,
        best: Best = "high",
        check: str | None = None,
        lines: Sequence[str] | None = None,
        draws: int = 1000,
    ) -> pd.DataFrame:
        """Lines in the order of a trait, with what is known of their ranks; parameters as of `Decisions`.

        Returns
        -------
        DataFrame
            Best first. ``attrs`` has env, top (a number), best, trait and check.

            {columns}

        Notes
        -----
        In draw s a line has the value sum_i w_i (beta_i + u_ij), with the weights w of the target environments. Its
        rank is the number of lines that are better, plus one; ``p_top`` and ``p_above_check`` are shares of the draws
        (Dias et al. 2022, Theor Appl Genet 135:1385-1399). The mean of the environments is part of ``value``,
        ``sd``, ``lower`` and ``upper``, and of nothing else. Reliability is 1 - Var(u_j - ubar | y) / Var(u_j - ubar),
        at least 0, ubar the mean of the trial's lines: see `bmtme.decisions.candidates.Candidates`.
        """
        from bmtme.decisions.ranking import rank_lines

        return rank_lines(self._fit, trait, env, top, best, check, lines, draws)

    @document(columns=decided.RANKING)
    def index(
        self,
        weights: Mapping[str, float] | None = None,
        gains: Mapping[str, float] | None = None,
        top: float = 0.05,
        check: str | None = None,
        env: Env = None,
        units: Literal["trait", "sd"] = "trait",
        lines: Sequence[str] | None = None,
        draws: int = 1000,
    ) -> pd.DataFrame:
        """Lines in the order of a selection index I = a'u of several traits, the highest first.

        Parameters
        ----------
        weights : dict, optional
            a by trait; a negative weight is for a trait to be lowered. A trait without one does not count.
        gains : dict, optional
            In place of weights: the gains that are wanted, in proportion to each other; 0 for a trait to be left as it
            is.
        units : {"trait", "sd"}
            Whether weights or gains are per unit of the trait, or per genetic standard deviation among the trial's
            lines.
        top, check, env, lines, draws
            As of `Decisions`.

        Returns
        -------
        DataFrame
            As of `ranking`; ``attrs`` has the weights a by trait too, per unit of the trait, and what was asked.

            {columns}

        Raises
        ------
        NumericalError
            Where the predicted values of traits move together so that gains in all cannot be chosen.

        Warns
        -----
        UserWarning
            Of traits that were fitted one at a time, whose correlation is not known.

        Notes
        -----
        The weights are applied to the genetic values in each draw, which are predictions already: weights by Smith
        (1936) and Hazel (1943), P^-1 G a, would shrink them a second time. Desired gains d take a = S^-1 d (Pesek &
        Baker 1969), S the covariance over the candidates of their posterior means, on which selection acts.
        """
        from bmtme.decisions.index import rank_by_index

        return rank_by_index(self._fit, weights, gains, top, check, env, units, lines, draws)

    @document(columns=decided.JOINT)
    def joint_probabilities(
        self,
        traits: Sequence[str] | None = None,
        env: Env = None,
        each_env: bool = False,
        top: float = 0.05,
        best: Best | Mapping[str, Best] = "high",
        check: str | None = None,
        lines: Sequence[str] | None = None,
        draws: int = 1000,
    ) -> pd.DataFrame:
        """Probabilities to be good in several traits, or environments, at once.

        Parameters
        ----------
        traits : list of str, optional
            Default all of the fit.
        each_env : bool
            Whether a line has to be good in each of the target environments, not in their mean.
        best : {"high", "low"} or dict
            Which values are wanted, of all traits or by trait; of one that a dict leaves out, high ones.
        env, top, check, lines, draws
            As of `Decisions`.

        Returns
        -------
        DataFrame
            The most probable first.

            {columns}

        Warns
        -----
        UserWarning
            As of `index`.

        Notes
        -----
        The event is looked up in each draw. A product of the traits' own probabilities would be right for independent
        traits alone.
        """
        from bmtme.decisions.joint import find_joint_probabilities

        return find_joint_probabilities(self._fit, traits, env, each_env, top, best, check, lines, draws)

    @document(columns=decided.RESPONSE)
    def response(
        self,
        selected: pd.DataFrame | Sequence[str],
        env: Env = None,
        lines: Sequence[str] | None = None,
        draws: int = 1000,
    ) -> pd.DataFrame:
        """Response to selection: mean of the selected lines less that of all candidates, for every trait.

        Parameters
        ----------
        selected : DataFrame or list of str
            A table of `ranking` or `index`, of which the best lines, as many as its ``top``, are selected; or lines.
        env, lines, draws
            As of `Decisions`; default those of the table.

        Returns
        -------
        DataFrame
            {columns}

        Notes
        -----
        The set is chosen once, by posterior means, and then compared in each draw: chosen anew in each draw, by values
        that nobody knows, the response would be too large. It is that of the genetic values of these very lines.
        """
        from bmtme.decisions.response import measure_response

        return measure_response(self._fit, selected, env, lines, draws)

    @document(columns=decided.STABILITY)
    def stability(
        self, trait: str | None = None, env: Env = None, best: Best = "high", draws: int = 1000
    ) -> pd.DataFrame:
        """How the lines' values change from environment to environment; parameters as of `Decisions`.

        ``env`` names two environments at least; default those with a record of the trait.

        Returns
        -------
        DataFrame
            Best first.

            {columns}

        Notes
        -----
        In each draw: the standard deviation over environments of u_ij; the slope of beta_i + u_ij on beta_i + ubar_i
        (Finlay & Wilkinson 1963, Aust J Agric Res 14:742-754), ubar_i the mean of the trial's lines; whether beta_i +
        u_ij is better than beta_i + ubar_i in every environment. Environments of nearly equal means leave the slope
        open: its interval says so.
        """
        from bmtme.decisions.stability import tabulate_stability

        return tabulate_stability(self._fit, trait, env, best, draws)
