"""A finished fit: posterior, summary, predictions; saved to and loaded from a folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from bmtme.arguments import check_predicted, file_path, whole_number
from bmtme.choices import ADJUSTMENT, MIXED, POSTERIOR, RECORD
from bmtme.errors import DataError, UsageError
from bmtme.results import quantities
from bmtme.results.arviz_groups import check_predictive, make_arviz_groups
from bmtme.results.convergence import is_reliable
from bmtme.results.decisions import Decisions
from bmtme.results.diagnosis import diagnose_fit, lay_out
from bmtme.results.docstrings import document
from bmtme.results.folder import save_result
from bmtme.results.frames import SummaryTable
from bmtme.results.line_effects import add_records, draw_line_effects
from bmtme.results.pictures import FitPictures
from bmtme.results.posterior import make_tree
from bmtme.results.record import read_kind
from bmtme.results.reported import Reported
from bmtme.results.spreadsheets import check_tables
from bmtme.results.storage import read_fit, write_fit
from bmtme.results.summary import summarise_posterior
from bmtme.results.traits import BY_TRAIT
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation
    from bmtme.results.mixed.posterior import MixedPosterior


NOUNS = {"line": "line", "env": "environment", "trait": "trait"}


class Fit(Decisions, FitPictures, Reported):
    """Result of `bmtme.fit`.

    Attributes
    ----------
    idata : arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
        Groups posterior, sample_stats, observed_data, constant_data, ``effects`` where they were thinned,
        ``unrecorded`` where the relationship has lines without a record: how their effects follow from the others';
        ``relationship``, that of the lines with a record, where there are 5,000 values at most.
        `to_arviz` has what ArviZ's checks of a model want.
    run : dict
        Settings, seed, versions, timings and facts about the data: ``run.json``, which has a schema and the hashes of
        the files beside.
    """

    def __init__(self, groups: dict[str, Any], run: dict[str, Any], predictions: pd.DataFrame | None) -> None:
        self._groups = groups
        self._predictions = predictions
        self._idata: Any = None
        self._summary: pd.DataFrame | None = None
        self.run = run

    def __repr__(self) -> str:
        data, settings = self.run["data"], self.run["settings"]
        alone = ", one trait at a time" if BY_TRAIT in self.run["facts"] else ""
        sizes = [count_noun(data[f"{noun}s"], words) for noun, words in NOUNS.items()]
        length = f"{count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')}"
        return f"Fit({settings['model']['structure']}{alone}; {' x '.join(sizes)}; {length})"

    def __str__(self) -> str:
        """What it is, and whether it can be leaned on: of a summary, narrow screens hide the diagnostics."""
        verdict, convergence, *others = self._diagnose()
        more = ["fit.diagnose() says of which numbers little or nothing is known."] if others else []
        return "\n".join([repr(self), lay_out([verdict]), lay_out([convergence]), *more])

    def _repr_html_(self) -> str:
        from bmtme.report.markup import show_fit

        return show_fit(self)

    @property
    def idata(self) -> Any:
        if self._idata is None:
            self._idata = make_tree(self._groups)
        return self._idata

    @document(columns=quantities.SUMMARY, rows=[each for each in quantities.QUANTITIES if each.listed])
    def summary(self) -> pd.DataFrame:
        """Posterior summary by name, such as ``Sigma_t[Yield, ASI]``.

        Returns
        -------
        DataFrame
            {columns}

            The note says where an entry is informed by its prior only or the chains do not suffice. The rows are of
            (a record is a plot, or a mean where the records are such)

            {rows}

        Notes
        -----
        Printed, it shows the diagnostics within 80 columns, and at most 40 rows, those with a note among them;
        ``print(fit.summary().to_string())`` shows all. What is made of the table is a plain DataFrame.
        """
        if self._summary is None:
            self._summary = summarise_posterior(self._groups["posterior"], self.run["facts"])
        return SummaryTable(self._summary.copy())

    @document(columns=quantities.list_predictions())
    def predictions(self, of: Literal["genetic", "record"] = "genetic") -> pd.DataFrame:
        """Predictions of every line of the relationship in every environment for every trait.

        Parameters
        ----------
        of : {"genetic", "record"}
            What is predicted: genetic values, or records. Where plots of a cell lack a trait and have others, these
            tell of its residual too.

        Returns
        -------
        DataFrame
            {columns}

            Of records there is ``n_plots`` beside: the number of plots of the cell that lack the trait and have others.
            Where there are some, ``mean`` and ``sd`` are of their mean's expectation given these, and ``lower``,
            ``upper`` the 90% interval for that mean; elsewhere a record is a new plot, and all is as of genetic values.

        Raises
        ------
        UsageError
            If the effects were not kept, or if records are asked for of a model of one trait at a time, which has no
            residual covariance of traits.

        Notes
        -----
        A record adds ``E[e_a | e_b] = R_ab R_bb^-1 (y_b - beta_b - u_b)`` in each of at most 1,000 kept draws, with a
        the trait, b the others recorded on the plot and R the residual covariance (of the environment, where the model
        has one in each); the variance left is ``R_aa - R_ab R_bb^-1 R_ba``. It serves to fill gaps of a table; of the
        line's value elsewhere it says nothing.

        Of an environment x trait column without a record, ``mean`` averages what is expected in each draw of the
        parameters, and ``sd``, ``lower`` and ``upper`` are of what is drawn then: their Monte Carlo error is larger, as
        the tails are long, and the mean need not be the middle of the interval.
        """
        check_predicted(of)
        table = self._look_at_predictions("there are no predictions").copy()
        if of == RECORD:
            if BY_TRAIT in self.run["facts"]:
                raise UsageError(
                    "predictions(of='record') use the residual covariance of traits on one plot, and traits that are "
                    "fitted one at a time have none: fit a model of several traits, without bmtme.SingleTrait."
                )
            add_records(table, self._groups)
        return table

    def line_effects(self, draws: int = 1000) -> Any:
        """Joint draws of the genetic effects of every line of the relationship, also of those without a record.

        Rankings, indices and whatever else compares lines are functions of these draws.

        Parameters
        ----------
        draws : int
            Draws over all chains, at most, evenly kept among those whose effects the fit has (at most 500 with
            ``keep_effects="thin"``); one of each chain at least.

        Returns
        -------
        xarray.DataArray
            (chain, draw, line, env, trait): u = b1 + b2, and r of a line effect outside the relationship, in the
            traits' units, without beta. The coordinates chain and
            draw say which draws of ``idata.posterior`` they go with. Lines as in the relationship.

        Raises
        ------
        UsageError
            If the effects were not kept, or if the draws do not fit into the memory.

        Warns
        -----
        UserWarning
            Of draws above 1 GB, and of lines that are drawn in blocks.

        Notes
        -----
        Lines with a record (o) have the draws of the chains; the others (n) are drawn given these, ``u_n | u_o ~
        N(G_no G_oo^+ u_o, (G_nn - G_no G_oo^+ G_on) (x) C)``, with C the genetic covariance of the environment x trait
        columns in the draw: jointly, so that sibs stay alike and clones are the same; a line effect outside the
        relationship, ``r_n ~ N(0, Sigma_r)``, is each line's own. More than 3,000 lines without a
        record are drawn in blocks of 3,000 in the order of their names; lines of different blocks are alike only
        through their relatives with a record. Mean, standard deviation and interval of the predictions agree with
        these draws. The same fit gives the same numbers, also after it was saved and loaded, and a draw of the run
        the same ones whatever `draws`.
        """
        draws = whole_number(draws, "draws", 1)
        lines = self._look_at_predictions("there are no draws of them")["line"]
        return draw_line_effects(self._groups, list(dict.fromkeys(lines)), self.run["settings"]["seed"], draws)

    def to_arviz(
        self,
        log_likelihood: bool | Literal["record", "value"] = False,
        posterior_predictive: bool | Literal["left_out"] = False,
        draws: int = 1000,
    ) -> Any:
        """The fit as an object on which functions of ArviZ work as they are: loo, compare, loo_pit, bfmi, plot_ppc, ...

        Parameters
        ----------
        log_likelihood : bool or {"record", "value"}
            Log density of each record given all others, joint over its traits ("record"); or of each value given all
            others, those of its own record among them ("value"). True is "record", and "value" beside
            `posterior_predictive`: loo_pit and its plots compare single values.
        posterior_predictive : bool or {"left_out"}
            True: new values of the same plots given the effects of lines, for plot_ppc. "left_out": each value drawn
            given all others, those of its own record among them, for loo_pit and plot_loo_pit: these weight draws as
            if the values had not seen the observed one, and effects have; with True they call right intervals too wide.
        draws : int
            Draws over all chains, at most, evenly kept, if either is asked for; else all are there.

        Returns
        -------
        arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
            posterior
                As of ``idata``, with correlations and heritabilities, and without the effects of lines. All entries
                vary, so that R-hat is never missing: matrices that are zero off their diagonal are variances, such as
                ``sigma2_E (env)``, and correlations have a dimension of pairs.
            sample_stats
                As of ``idata``, with ``energy``, minus ``completed_log_density``: the moves of the sampler are no flow
                with one energy; bfmi of it tells how freely the fit of the records moves.
            observed_data, posterior_predictive, log_likelihood
                ``y (obs)``, with coordinates line, env, trait (but for records of several) and record.
            constant_data
                As of ``idata``.

        Raises
        ------
        UsageError
            If the effects were not kept and are needed, which "left_out" does not; if there are too many values, or
            draws for the memory.
        DataError
            Under flat means, for a column with a single record.

        Notes
        -----
        Log likelihood and left-out values integrate effects and means out (`bmtme.results.pointwise`): in each draw a
        value is from N(y_i - q_i / P_ii, 1 / P_ii), P the precision of all and q = P (y - E y), whose density at y_i is
        its log likelihood. Given its own effects, a record would not be left out, and Pareto k above 0.7 says so. It
        asks for one more record, mostly of a line that was seen elsewhere, and does not replace `bmtme.cross_validate`,
        which asks for new lines or environments. Effects of replicates, blocks and covariates, and means under the
        paper's prior, are held at their draws.
        """
        draws = whole_number(draws, "draws", 1)
        predictive = check_predictive(posterior_predictive)
        if predictive is True:
            self._look_at_predictions("there is no posterior_predictive given effects")
        return make_tree(make_arviz_groups(self._groups, self.run, log_likelihood, predictive, draws))

    def _look_at_predictions(self, loss: str) -> pd.DataFrame:
        if self._predictions is None:
            raise UsageError(
                f"this fit kept no effects (keep_effects='none'), so {loss}: fit again with keep_effects='auto', "
                "'thin' or 'all' (in the shell --keep-effects auto, thin or all)."
            )
        return self._predictions

    @property
    def reliable(self) -> bool:
        """Whether the chains can be leaned on: they agree, their draws suffice, few moves diverged. See `diagnose`."""
        return is_reliable(self.summary(), self.run, self.run["facts"]["envs"], self._traits)

    @property
    def recorded_lines(self) -> list[str]:
        """Names of the lines with a record, each once."""
        return list(dict.fromkeys(self._groups["observed_data"]["record_line"].values.tolist()))

    def diagnose(self) -> str:
        """What can be leaned on and what not, in words: `print` it before anything else.

        Returns
        -------
        str
            Paragraphs, at most 80 columns wide: a verdict; whether the chains agree, moves diverged, or the data have
            two explanations, and what to do; then the quantities of which the prior alone is seen, of which hardly
            anything is known, or which do not fit, by their names in `summary`; environments with few records.
        """
        return lay_out(self._diagnose())

    def _diagnose(self) -> list[str]:
        return diagnose_fit(self.summary(), self.run, self._traits)

    @property
    def _traits(self) -> list[str]:
        return [str(name) for name in self._groups["posterior"]["trait"].values]

    def report(self, file: str | os.PathLike[str], *, check: str | None = None) -> None:
        """Write a page for a browser, as of every result; a fit's ranks the lines.

        Parameters
        ----------
        file : str or path
            See `bmtme.results.reported.Reported.report`.
        check : str, optional
            A line that the others are compared with, and that is marked.

        Raises
        ------
        DataError
            If there is no such line.
        UsageError, MachineError
            If the page cannot be written, or a check is named where nothing is ranked.
        """
        from bmtme.report.html.runs import report_result

        report_result(self, file, check)

    def save(self, folder: str | os.PathLike[str], *, safe_text: bool = False, xlsx: bool = False) -> None:
        """Write summary.csv, predictions.csv, idata.nc and run.json to a new or empty folder.

        Parameters
        ----------
        folder : str or path
        safe_text : bool
            Whether texts of the tables that a spreadsheet program would run, as they begin with = + - @, a tab or a
            line break, get an apostrophe in front (and those that begin with an apostrophe). `load` takes it away.
        xlsx : bool
            Whether to write the tables as sheets of a workbook, tables.xlsx, too; needs the extra ``excel``. There
            text is never a formula.

        Raises
        ------
        UsageError
            If the folder holds something already, or the library for workbooks is not installed.
        MachineError
            If it cannot be written, as on a full disc; the message names a temporary folder with the files instead,
            where there is room for one.
        """
        check_tables(safe_text, xlsx)
        save_result(folder, partial(self._write, safe_text=safe_text, xlsx=xlsx))

    def _write(self, folder: Path, safe_text: bool = False, xlsx: bool = False) -> None:
        write_fit(folder, self._groups, self.run, self.summary(), self._predictions, safe_text, xlsx)


#: Folders that are no result of draws, and what to do with them.
NOT_LOADED = {
    ADJUSTMENT: "adjusted means: bmtme.read_means(folder) reads them, and bmtme.fit takes them in place of a trial.",
    MIXED: "a mixed model's fit by REML, whose tables are CSV files: pandas.read_csv reads them.",
}


def load(folder: str | os.PathLike[str]) -> Fit | CrossValidation | MixedPosterior:
    """Load a fit saved by `Fit.save` or by ``bmtme fit``; a cross-validation, or a mixed model's posterior, likewise.

    Draws that would take more than half of the free memory stay in their file and cannot be changed.

    Raises
    ------
    DataError
        If the folder is not such a folder, is of a newer version, or a file of it is missing or not what was written
        (by its SHA-256 in run.json).
    """
    path = Path(file_path(folder, "folder"))
    if read_kind(path) == "cross-validation":
        # Imported here, as cross-validation is made of results.
        from bmtme.cv.result import load_cross_validation

        return load_cross_validation(path)
    if read_kind(path) in NOT_LOADED:
        raise DataError(f"{path} holds {NOT_LOADED[read_kind(path)]}")
    if read_kind(path) == POSTERIOR:
        from bmtme.results.mixed.posterior import load_posterior

        return load_posterior(path)
    return Fit(*read_fit(path))
