"""The methods of a fit that draw; the pictures themselves are in `bmtme.report`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bmtme.results.decisions import Best
from bmtme.results.estimates import Env

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.results.fit import Fit


class FitPictures:
    """Pictures of a `bmtme.results.fit.Fit`: ``figure.savefig("name.png")`` writes one, notebooks show it.

    Colours are those that the colour-blind tell apart. Names stand as they are, the middle of long ones left out.
    Titles say so where the chains do not suffice. Parameters are as of `bmtme.results.decisions.Decisions`, and raise
    what they raise there.
    """

    @property
    def _drawn(self) -> Fit:
        from bmtme.results.fit import Fit

        assert isinstance(self, Fit)
        return self

    def _tell_chains(self, figure: Figure) -> Figure:
        """Add to the title that the chains do not suffice, if so: a picture goes where no summary is."""
        from bmtme.report.panels import add_caution

        if not self._drawn.reliable:
            add_caution(figure, "the chains do not suffice: do not lean on this before a longer run")
        return figure

    def plot_ranking(
        self,
        trait: str | None = None,
        env: Env = None,
        top: float = 0.05,
        best: Best = "high",
        check: str | None = None,
        lines: Sequence[str] | None = None,
        draws: int = 1000,
    ) -> Figure:
        """Values of the lines of `Fit.ranking` with 90% intervals, by rank.

        Up to 40 lines have a row with their name, the check beside them; of more, all are drawn by rank in a panel
        beside. Hollow points are lines without a record.
        """
        from bmtme.report.line_plots import draw_ranking

        table = self._drawn.ranking(trait, env, top, best, check, lines, draws)
        return self._tell_chains(draw_ranking(table, self._drawn.recorded_lines))

    def plot_probabilities(
        self,
        trait: str | None = None,
        env: Env = None,
        top: float = 0.05,
        best: Best = "high",
        check: str | None = None,
        lines: Sequence[str] | None = None,
        draws: int = 1000,
    ) -> Figure:
        """Probabilities of `Fit.ranking` to be among the best, and to be better than the check.

        The 40 lines that are most probably among the best have a row; the dotted line is the share of the best among
        all, the probability of a line of which nothing is known.
        """
        from bmtme.report.line_plots import draw_probabilities

        table = self._drawn.ranking(trait, env, top, best, check, lines, draws)
        return self._tell_chains(draw_probabilities(table))

    def plot_reaction_norms(
        self,
        trait: str | None = None,
        env: Env = None,
        top: float = 5,
        best: Best = "high",
        check: str | None = None,
        draws: int = 1000,
    ) -> Figure:
        """Values of all lines from environment to environment, the one with the lowest mean first.

        Above posterior means of beta_i + u_ij; below deviations from the mean of the trial's lines in the environment.
        The best lines by the mean of these, six at most, and the check have colours, and below 90% intervals.
        ``env`` names two environments at least; default those with a record of the trait.
        """
        from bmtme.report.line_plots import plot_reaction_norms

        return self._tell_chains(plot_reaction_norms(self._drawn, trait, env, top, best, check, draws))

    def plot_trait_correlations(self, env: str | None = None) -> Figure:
        """Correlations of traits as of `Fit.correlations`: genetic, of interactions, and residual.

        Those in an environment, if one is named; else of means over environments, and residual ones of each
        environment where they differ.
        """
        from bmtme.report.estimate_plots import plot_trait_correlations

        return self._tell_chains(plot_trait_correlations(self._drawn, env))

    def plot_env_correlations(self, trait: str | None = None) -> Figure:
        """Genetic correlations of environments as of `Fit.correlations`, by trait where they differ."""
        from bmtme.report.estimate_plots import plot_env_correlations

        return self._tell_chains(plot_env_correlations(self._drawn, trait))

    def plot_heritability(self) -> Figure:
        """Heritabilities of a record in each environment, and of a line's mean, as of `Fit.heritability`."""
        from bmtme.report.estimate_plots import plot_heritability

        return self._tell_chains(plot_heritability(self._drawn))

    def plot_calibration(self, by: Literal["record", "cell", "line"] = "record") -> Figure:
        """Observed values against what `Fit.leave_one_out` predicts, a panel for each trait.

        Dashed is the line where both are equal, the others are regressions within environments. The titles have the
        mean of their slopes and the shares of the values within their 50% and 90% intervals.
        """
        from bmtme.report.calibration import plot_left_out

        return self._tell_chains(plot_left_out(self._drawn, by))

    def plot_chains(self, names: Sequence[str] | None = None) -> Figure:
        """Traces and ranks of some parameters, by chain, with R-hat and effective draws.

        Left: the draws in their order; chains that agree cover the same band, without drift. Right: how the ranks of a
        chain's draws among all draws are spread; chains that agree have flat histograms (Vehtari et al. 2021, Bayesian
        Analysis 16:667-718).

        Parameters
        ----------
        names : sequence of str, optional
            Names in the index of `Fit.summary`; by default the four with the fewest effective draws.

        Raises
        ------
        UsageError
            For a name that is not in the summary.
        """
        from bmtme.report.chain_plots import plot_chains

        return plot_chains(self._drawn, names)
