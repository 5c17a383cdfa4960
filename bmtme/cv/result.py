"""A finished cross-validation: predictions of hidden cells, scores, comparison of models; saved and loaded."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.arguments import file_path
from bmtme.choices import RECORD
from bmtme.cv.advice import STARRED, advise, find_best
from bmtme.cv.compare import COMPARED, compare
from bmtme.cv.differences import By
from bmtme.cv.heritability import HERITABILITY
from bmtme.cv.scores import TOP, score, score_means, summarise
from bmtme.errors import DataError
from bmtme.results.docstrings import document
from bmtme.results.entries import name_columns
from bmtme.results.folder import save_result
from bmtme.results.frames import ComparisonTable, ScoreTable
from bmtme.results.quantities import list_hidden
from bmtme.results.record import read_record, write_record
from bmtme.results.reported import Reported
from bmtme.results.scores import list_overall, list_scores, outline_comparison
from bmtme.results.spreadsheets import check_tables, write_tables
from bmtme.results.storage import read_table
from bmtme.words import count_noun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "cross-validation"
#: Tables that are written and read back; those made of them are written besides.
GIVEN = ("predictions", "line_means", "partitions", "heritability")
#: Of these, the ones that are read back too, if they have the columns of this version, and else made again.
MADE = {"scores": list_scores, "overall": list_overall}


@document(predictions=list_hidden(), heritability=HERITABILITY, scores=list_scores(), overall=list_overall())
@dataclass(eq=False, repr=False)
class CrossValidation(Reported):
    """Result of `bmtme.cross_validate`.

    Attributes
    ----------
    predictions : DataFrame
        Hidden line x env x trait cells with a recorded value that are scored.

        {predictions}
    line_means : DataFrame
        The same of the lines' means over the environments where they are scored (`n_envs` of them), each value less a
        constant of its environment.
    partitions : DataFrame
        Hidden cells with a recorded value (partition, line, env, trait, scored): `bmtme.Partitions.from_frame` makes a
        scheme of them.
    heritability : DataFrame
        Of what was observed, common to all models (see `bmtme.cv.measure_heritability`).

        {heritability}
    failures : list of (model, partition, message)
        Fits that broke down; they have no predictions and no scores.
    warnings : list of str
        What to bear in mind, in sentences: failures, chains that disagree, large Monte Carlo errors.
    run : dict
        Settings, scheme, data, diagnostics of the fits, versions and timings, as written to ``run.json``.
    envs, traits : tuple of str
        Order of the tables.
    scores : DataFrame
        By model, partition, environment and trait (see `bmtme.cv.score`).

        {scores}
    overall : DataFrame
        Scores of `line_means`. Both are made of the predictions, unless ``made`` brings them, by name.

        {overall}
    """

    predictions: pd.DataFrame
    line_means: pd.DataFrame
    partitions: pd.DataFrame
    heritability: pd.DataFrame
    failures: list[tuple[str, str, str]]
    warnings: list[str]
    run: dict[str, Any]
    envs: tuple[str, ...]
    traits: tuple[str, ...]
    scores: pd.DataFrame = field(init=False)
    overall: pd.DataFrame = field(init=False)
    made: InitVar[Mapping[str, pd.DataFrame] | None] = None

    def __post_init__(self, made: Mapping[str, pd.DataFrame] | None) -> None:
        if made is not None:
            self.scores, self.overall = made["scores"], made["overall"]
            return
        settings = self.run["settings"]
        named: dict[str, Any] = {"traits": self.traits, "heritability": self.heritability}
        named |= {"top": settings.get("top", TOP), "lowest": settings.get("lowest", ())}
        self.scores = score(self.predictions, envs=self.envs, **named)
        self.overall = score_means(self.line_means, **named)

    def __repr__(self) -> str:
        settings = self.run["settings"]
        parts = [
            f"{settings['scheme']['name']}{' of records' if settings['scheme'].get('of') == RECORD else ''}",
            f"{count_noun(len(settings['models']), 'model')} x "
            f"{count_noun(len(self.run['data']['partitions']), 'partition')}",
            f"{count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')}",
        ]
        if self.failures:
            parts.append(f"{count_noun(len(self.failures), 'fit')} failed")
        return textwrap.fill(f"CrossValidation({'; '.join(parts)})", 80, subsequent_indent="  ")

    def __str__(self) -> str:
        """What it is, what to bear in mind, and what the comparison of the models can bear."""
        cautions = [textwrap.fill(text, 80, break_on_hyphens=False, break_long_words=False) for text in self.warnings]
        return "\n".join(part for part in (repr(self), *cautions, self.advice()) if part)

    def _repr_html_(self) -> str:
        from bmtme.report.markup import show_cross_validation

        return show_cross_validation(self)

    @document(columns=outline_comparison())
    def summary(self) -> pd.DataFrame:
        """Scores averaged over partitions, with the models ranked in each environment x trait.

        Returns
        -------
        DataFrame
            {columns}

            Partitions share most of their lines, so that the standard errors are too small: `compare` tells whether
            models differ.
        """
        return ScoreTable(summarise(self.scores, envs=self.envs, traits=self.traits))

    @document(columns=COMPARED)
    def compare(self, metric: str = "pearson", against: str | None = None, by: By = "cell") -> pd.DataFrame:
        """Whether models differ by more than chance: paired over partitions, which share most of their lines.

        Parameters
        ----------
        metric : str
            A score. Positive differences speak for `model` in pearson, spearman, log_score, top_share and accuracy;
            negative ones in msep, rmse, crps and in bias, slope and coverage, of which the distances from the best
            value are compared.
        against : str, optional
            Label of the model that every other one is compared with; by default every pair is compared once.
        by : {"cell", "trait", "all"}
            A row for every environment and trait, for every trait (its environments averaged), or one for all.

        Returns
        -------
        DataFrame
            {columns}

            See `bmtme.cv.compare.compare` for the test and the bootstrap, and what they can bear.

        Raises
        ------
        UsageError
            For a metric, a model or a way to average that is none, or fewer than two models.
        """
        table = compare(
            self.scores,
            self.predictions,
            self.run["data"]["partitions"],
            metric=metric,
            against=against,
            by=by,
            envs=self.envs,
            traits=self.traits,
        )
        shown = ComparisonTable(table)
        shown.attrs["metric"] = metric
        return shown

    def best(self, metrics: Sequence[str] = STARRED) -> set[tuple[str, str, str, str]]:
        """The (metric, env, trait, model) where a model is better than every other one: what gets a star.

        By `compare`, with p adjusted below 0.05 against each, and with a mean correlation above zero. Models with the
        very same scores share the place.
        """
        return find_best(self, metrics)[0]

    def advice(self) -> str:
        """What the comparison can bear, in plain sentences."""
        return advise(self)

    def plot_accuracy(self, score: str = "pearson") -> Figure:
        """Accuracy of the models side by side: a panel for each trait, in it the environments.

        Parameters
        ----------
        score : str
            Name of a score, such as ``pearson`` (higher is better) or ``msep`` (lower is better).

        Returns
        -------
        matplotlib.figure.Figure
            Points are means over partitions, bars one naive standard error to either side (none with one partition).
            The line is at zero for correlations, else at the best value if there is one. For ``pearson`` dashes stand
            at the root of the heritability of what was observed: on average no prediction can correlate better with it.

        Raises
        ------
        UsageError
            For a score that is none.
        """
        from bmtme.report.cv_plots import plot_accuracy

        return plot_accuracy(self, score)

    def plot_differences(self, metric: str = "pearson", against: str | None = None) -> Figure:
        """Differences of the models from one of them, paired over partitions: a panel for each trait.

        Parameters
        ----------
        metric : str
            Name of a score.
        against : str, optional
            The model that the others are compared with; by default the first that is fitted to one trait at a time,
            else the first one.

        Returns
        -------
        matplotlib.figure.Figure
            Points are the differences of `compare` in each environment (over environments where each is hidden as a
            whole), bars their 95% intervals. Filled points are told from noise (p below 0.05 after Holm's adjustment),
            hollow ones are not.

        Raises
        ------
        UsageError
            For a metric or a model that is none, or fewer than two models.
        """
        from bmtme.report.cv_plots import plot_differences

        return plot_differences(self, metric, against)

    def plot_calibration(self, model: str | None = None) -> Figure:
        """Observed against predicted values of a model: a panel for each trait, in it the environments by colour.

        Parameters
        ----------
        model : str, optional
            Label of the model; by default the first one.

        Returns
        -------
        matplotlib.figure.Figure
            Every scored value once for each partition that scores it. Dashed is the line where both are equal; the
            others are the regressions of observed on predicted values within each environment. The titles have the mean
            of their slopes, as in ``scores`` (1 is right; below 1, predictions spread too much), and the shares of the
            values that lie within their 50% and 90% intervals.

        Raises
        ------
        UsageError
            For a model that is none.
        """
        from bmtme.report.cv_plots import plot_calibration

        return plot_calibration(self, model)

    def save(self, folder: str | os.PathLike[str], *, safe_text: bool = False, xlsx: bool = False) -> None:
        """Write all tables as CSV, and run.json, to a new or empty folder.

        They are scores.csv, overall.csv, summary.csv, comparison.csv (`compare` by Pearson correlation and MSEP, in the
        column ``metric``), predictions.csv, line_means.csv, partitions.csv and heritability.csv; `bmtme.load` gives the
        result back.

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
        began = time.perf_counter()
        failures = [dict(zip(("model", "partition", "message"), entry, strict=True)) for entry in self.failures]
        run = {**self.run, "failures": failures, "warnings": self.warnings}
        run |= {"envs": list(self.envs), "traits": list(self.traits)}
        tables = {name: getattr(self, name) for name in (*GIVEN, "scores", "overall")}
        tables |= {"summary": self.summary(), "comparison": tabulate_differences(self)}
        write_record(folder, run, KIND, write_tables(folder, tables, safe_text, xlsx), began=began)


def tabulate_differences(cv: CrossValidation) -> pd.DataFrame:
    """Comparisons by the paper's two scores, with a column ``metric`` before; empty with fewer than two models."""
    columns = ["metric", *name_columns(COMPARED)]
    if cv.scores["model"].nunique() < 2:
        return pd.DataFrame(columns=columns)
    tables = [cv.compare(metric).assign(metric=metric) for metric in ("pearson", "msep")]
    return pd.concat(tables, ignore_index=True)[columns]


def load_cross_validation(folder: str | os.PathLike[str]) -> CrossValidation:
    """Load what `CrossValidation.save` or ``bmtme cv`` wrote.

    Raises
    ------
    DataError
        If the folder is not such a folder, is of a newer version, or a file of it is missing or not what was written
        (by its SHA-256 in run.json).
    """
    path = Path(file_path(folder, "folder"))
    run, columns = read_record(path, KIND)
    tables = {}
    for name in GIVEN:
        file = f"{name}.csv"
        if file not in columns:
            raise DataError(f"{path} cannot be read as a saved {KIND}: it has no {file}; an earlier version wrote it.")
        tables[name] = read_table(path / file, columns[file])
    for name in ("env", "trait"):
        column = tables["heritability"][name].astype(object)
        tables["heritability"][name] = column.where(column != "", None)
    failures = [(entry["model"], entry["partition"], entry["message"]) for entry in run.pop("failures")]
    warnings, envs, traits = (run.pop(name) for name in ("warnings", "envs", "traits"))
    # The scores lie there: made again, they would take longer than all the rest where environments and traits are many.
    made = {name: read_table(path / f"{name}.csv", columns[f"{name}.csv"]) for name in MADE if f"{name}.csv" in columns}
    current = all(name in made and list(made[name]) == name_columns(each()) for name, each in MADE.items())
    return CrossValidation(
        **tables,
        failures=failures,
        warnings=warnings,
        run=run,
        envs=tuple(envs),
        traits=tuple(traits),
        made=made if current else None,
    )
