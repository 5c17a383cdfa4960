"""Phenotypes of a multi-environment trial as labels and arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from bmtme.arguments import as_array, as_text
from bmtme.data.adjusted import AdjustedMeans, lay_means
from bmtme.data.covariances import check_covariances, find_errors, separate_errors, take_covariances
from bmtme.data.effects import check_blocks, check_covariates
from bmtme.data.parts import check_index, check_labels, check_reps, check_values, find_replicates
from bmtme.data.precision import check_correlation, check_errors, check_plots
from bmtme.data.records import Names, as_names, name_environment, read_records
from bmtme.data.tables.cells import NumberFormat
from bmtme.data.tables.files import Table, read_table
from bmtme.data.tables.names import warn_of_dates
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, first_repeat, list_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.checkup.overview import Checkup
    from bmtme.data.relationship.matrix import Relationship

__all__ = ["Trial", "as_trial", "make_trial", "read_trial"]

Codes = str | float | Iterable[str | float]
Errors = str | Mapping[str, str]
BOTH = (
    "n_plots and se do not go together: both say how precise records are, and standard errors contain the numbers of "
    "plots. Name one of the two."
)


@dataclass(frozen=True, eq=False, repr=False)
class Trial:
    """Records of several lines in several environments for several traits. Immutable; its arrays are read-only.

    A record is one plot or one adjusted mean, with a value or a gap for every trait. Records without any value stay,
    so that their line and environment remain listed; the model leaves them out.

    Parameters
    ----------
    lines, envs, traits : sequence of str
        Labels, unique. Those of J lines, I environments and L traits.
    line_index, env_index : (N,) int array
        Of each record, the place of its line in `lines` and of its environment in `envs`.
    values : (N, L) float array
        Values in the user's units, NaN where missing.
    reps : sequence of N str, optional
        Label of each record's replicate or plot.
    blocks : dict of sequences of N str, optional
        By factor, the label of each record's block within its environment, empty for none.
    covariates : dict of (N,) float arrays, optional
        Values of each record by covariate, NaN where missing.
    n_plots : (N,) int array, optional
        Plots of which each record is the mean; zero will do where it has no value.
    se : (N, L) float array, optional
        Known standard error of each value, NaN for traits without any. Does not go with `n_plots`.
    se_correlation : (L, L) float array, optional
        Correlation of the errors of a record's traits.
    error_covariances : dict of (n, L, n, L) float arrays, optional
        By environment, the covariance of the errors of the values of its n records, in their order: a record of each
        line (see `from_means`). Goes without `se`, which is then the root of its diagonal.

    Raises
    ------
    DataError
        If labels repeat, shapes disagree, an index points nowhere, a value is infinite or beyond 1e50, or a number of
        plots is no whole number of at least one, or a standard error is not positive.
    """

    lines: tuple[str, ...]
    envs: tuple[str, ...]
    traits: tuple[str, ...]
    line_index: np.ndarray
    env_index: np.ndarray
    values: np.ndarray
    reps: tuple[str, ...] | None = None
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    n_plots: np.ndarray | None = None
    se: np.ndarray | None = None
    se_correlation: np.ndarray | None = None
    error_covariances: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        for part in ("lines", "envs", "traits"):
            object.__setattr__(self, part, check_labels(getattr(self, part), part))
        values = check_values(self.values, self.traits)
        object.__setattr__(self, "values", values)
        for part, labels in (("line_index", self.lines), ("env_index", self.envs)):
            index = check_index(getattr(self, part), part, len(values), len(labels))
            object.__setattr__(self, part, index)
        if self.reps is not None:
            object.__setattr__(self, "reps", check_reps(self.reps, len(values)))
        object.__setattr__(self, "blocks", check_blocks(self.blocks, len(values)))
        object.__setattr__(self, "covariates", check_covariates(self.covariates, len(values)))
        if self.n_plots is not None:
            seen = np.asarray((~np.isnan(values)).any(axis=1))
            object.__setattr__(self, "n_plots", check_plots(self.n_plots, seen, self.name_records))
        if self.error_covariances is not None:
            if self.se_correlation is not None:
                raise DataError("se_correlation does not go with error_covariances, which tell how errors correlate.")
            given = self.error_covariances
            checked = check_covariances(given, self.envs, self.line_index, self.env_index, ~np.isnan(values))
            object.__setattr__(self, "error_covariances", checked)
            object.__setattr__(self, "se", find_errors(checked, self.envs, self.env_index, values.shape))
        if self.se is not None:
            if self.n_plots is not None:
                raise DataError(BOTH)
            object.__setattr__(self, "se", check_errors(self.se, values, self.traits, self.name_records))
        if self.se_correlation is not None:
            object.__setattr__(self, "se_correlation", check_correlation(self.se_correlation, self.traits))

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writeable: build anew, so that a copy in another process is as immutable.
        return Trial, (
            self.lines,
            self.envs,
            self.traits,
            self.line_index,
            self.env_index,
            self.values,
            self.reps,
            self.blocks,
            self.covariates,
            self.n_plots,
            self.se,
            self.se_correlation,
            self.error_covariances,
        )

    def __repr__(self) -> str:
        n_columns = len(self.envs) * len(self.traits)
        absent = int((self.counts().sum(axis=0) == 0).sum())
        missing = 100 * float(np.isnan(self.values).mean()) if self.values.size else 0.0
        plots = "" if self.n_plots is None else f" of {self.n_plots.sum()} plots"
        names = {"line": self.lines, "environment": self.envs, "trait": self.traits}
        sizes = " x ".join(count_noun(len(own), noun) for noun, own in names.items())
        return (
            f"Trial({sizes}; {count_noun(self.n_records, 'record')}{plots}, {missing:.1f}% of values missing; "
            f"{absent} of {n_columns} environment x trait columns without a value)"
        )

    @property
    def n_records(self) -> int:
        """Number N of records, those without any value included."""
        return len(self.values)

    @property
    def recorded_lines(self) -> list[str]:
        """The lines with a value, in the order of `lines`."""
        places = np.unique(self.line_index[~np.isnan(self.values).all(axis=1)])
        return [self.lines[j] for j in places]

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        line: str,
        env: str | None = None,
        traits: Names | None = None,
        rep: Names | None = None,
        trait: str | None = None,
        value: str | None = None,
        missing: Codes | None = None,
        decimal: str = ".",
        blocks: Names | None = None,
        covariates: Names | None = None,
        n_plots: str | None = None,
        se: Errors | None = None,
        se_correlation: Any = None,
    ) -> Trial:
        """Make a trial from a wide table (one row = one record) or a long one (one row = one value).

        Parameters
        ----------
        df : pandas.DataFrame
            In any order of rows. Lines and environments are listed in order of first appearance.
        line, env : str
            Columns with the names of the lines and environments. Without `env`, all records are of one environment,
            ``all``.
        traits : str or list of str, optional
            Wide: the trait columns, in the order wanted; by default every numeric column that is not used otherwise,
            less those whose name and whole numbers tell of plots, blocks, years and the like (with a warning).
            Long: the traits to take; by default all, in order of first appearance.
        rep : str or list of str, optional
            Column that tells the plots of a line in an environment apart. Of several columns, the joint value counts,
            and some of them may be empty in a row, but not all. A wide table may do without: its repeated rows are
            replicates. In a long table, the values of one line, environment and rep are one record. Blocks tell plots
            apart, too.
        trait, value : str, optional
            Columns of a long table with the trait's name and its value. Both or neither.
        missing : str, number or list of these, optional
            Further codes for a missing value, such as ``[-9, "x"]``. They count among the values of the traits only; a
            number stands for every way to write it.
        decimal : {".", ","}
            Decimal sign of values that are text.
        blocks : str or list of str, optional
            Columns of factors whose levels within an environment, such as blocks, rows or harvest days, have random
            effects. ``rep:block`` is the block within the replicate, where blocks are numbered anew in each. A column
            of `rep` that stands here, too, counts as blocks and not as replicates.
        covariates : str or list of str, optional
            Columns with a number for each plot, such as the stand, on which a trait depends with one slope; they count
            as deviations from the mean of their environment.
        n_plots : str, optional
            Column with the number of plots of which a record is the mean: its residual covariance is that of a plot
            divided by the number. One number serves all traits of a record. Without it, every record is one plot.
        se : dict of str, or str, optional
            Columns with the standard errors of adjusted means, by trait: the variance of a value around its genetic
            value is the residual one and their square. Of a long table, or of one trait, the name of the column. Does
            not go with `n_plots`. Several traits together need `se_correlation`; `bmtme.SingleTrait` does without.
        se_correlation : DataFrame, array or float, optional
            Correlation of the errors of a record's traits, as a joint analysis of the plots gives it: labelled by
            traits, or in their order; of two traits, a number.

        Returns
        -------
        Trial

        Notes
        -----
        Identifiers (lines, environments, reps, names of traits) are text: white space around them is dropped, ``001``
        and ``NA`` stay. Whole numbers become their decimal text, also when stored as floats; numbers with a fraction
        are refused. Values may be numbers or text; an empty cell, NA, NaN and ``.`` are missing values.

        Raises
        ------
        DataError
            If a column is not there or named twice, or `env` is left out and a column seems to tell environments
            apart; for an empty identifier, a value that is text or infinite, a repeated plot, a trait without any
            value, no records, or fewer than two lines with a value.
        UsageError
            If only one of `trait` and `value` is given, or for another decimal sign.
        """
        if not isinstance(df, pd.DataFrame):
            raise UsageError(f"expected a pandas DataFrame, got {type(df).__name__}; read_trial reads files.")
        table = Table.from_frame(df, form=NumberFormat.of(missing, decimal))
        columns = (blocks, covariates, n_plots, se, se_correlation)
        return make_trial(table, line, env, traits, rep, trait, value, *columns)

    @classmethod
    def from_means(cls, means: AdjustedMeans) -> Trial:
        """Make a trial of adjusted means, whose records have errors of known covariance.

        Parameters
        ----------
        means : AdjustedMeans
            As of `bmtme.read_means`. Means that cannot be estimated are missing values.

        Returns
        -------
        Trial
            `bmtme.fit` and `bmtme.cross_validate` take the means themselves, too.
        """
        if not isinstance(means, AdjustedMeans):
            raise UsageError(f"expected AdjustedMeans (bmtme.read_means), got {type(means).__name__}.")
        return cls(**lay_means(means))

    def hide(self, mask: np.ndarray) -> Trial:
        """The same trial with the values under `mask` missing.

        Parameters
        ----------
        mask : (N, L) bool array
            True where a value is to be hidden.
        """
        mask = as_array(mask, "mask")
        if mask.dtype != np.bool_ or mask.shape != self.values.shape:
            raise UsageError(
                f"mask must be a boolean array of shape {self.values.shape}, got {mask.dtype} of shape {mask.shape}."
            )
        return replace(self, values=np.where(mask, np.nan, self.values))

    def take_records(self, records: np.ndarray, **parts: Any) -> Trial:
        """The trial of some of its records, by their places and in that order; `parts` in place of other fields."""
        own = {
            "line_index": self.line_index[records],
            "env_index": self.env_index[records],
            "values": self.values[records],
            "reps": None if self.reps is None else tuple(self.reps[n] for n in records),
            "blocks": {name: tuple(labels[n] for n in records) for name, labels in self.blocks.items()},
            "covariates": {name: values[records] for name, values in self.covariates.items()},
            "n_plots": None if self.n_plots is None else self.n_plots[records],
            "se": None if self.se is None else self.se[records],
        }
        if self.error_covariances is not None:
            taken = take_covariances(self.error_covariances, self.envs, self.env_index, records)
            own["error_covariances"] = taken
        return replace(self, **own | parts)

    def name_records(self) -> list[str]:
        """Words for each record: its line and environment."""
        pairs = zip(self.line_index.tolist(), self.env_index.tolist(), strict=True)
        return [f"line {self.lines[j]!r} in environment {self.envs[i]!r}" for j, i in pairs]

    @property
    def has_se(self) -> np.ndarray:
        """(L,) bool, which traits have known standard errors."""
        return np.zeros(len(self.traits), bool) if self.se is None else ~np.isnan(self.se).all(axis=0)

    @cached_property
    def replicates(self) -> tuple[str, ...] | None:
        """Label of each record's replicate: `reps` less those of its columns that are blocks; None for none."""
        return None if self.reps is None else find_replicates(self.reps, self.blocks)

    def counts(self) -> np.ndarray:
        """Number of records of every line, environment and trait: (J, I, L) int64 array."""
        return self._counts.copy()

    def plots(self) -> np.ndarray:
        """Number of plots of every line, environment and trait, those behind its records: (J, I, L) int64 array."""
        if self.n_plots is None:
            return self.counts()
        seen = ~np.isnan(self.values)
        return self._sum_cells([(self._cells, column * self.n_plots) for column in seen.T]).astype(np.int64)

    def own_errors(self) -> np.ndarray:
        """Known error variance of every value, (N, L), less what it has in common with others of its environment."""
        if self.error_covariances is not None:
            return separate_errors(self.error_covariances, self.envs, self.env_index, ~np.isnan(self.values))
        return np.zeros(self.values.shape) if self.se is None else np.nan_to_num(self.se) ** 2

    def mean_errors(self) -> np.ndarray:
        """Known error variance of the mean of every line, environment and trait: (J, I, L) array."""
        if self.se is None:
            return np.zeros((len(self.lines), len(self.envs), len(self.traits)))
        sums = self._sum_cells([(self._cells, column) for column in np.nan_to_num(self.se.T) ** 2])
        return sums / np.maximum(self.counts(), 1) ** 2

    def cell_means(self) -> np.ndarray:
        """Mean of the plots of every line, environment and trait: (J, I, L) array, NaN where there is none."""
        counts = self.plots()
        # Added up in the order of the values, so that no digit depends on the order of the records.
        weight = np.ones(len(self.values)) if self.n_plots is None else self.n_plots
        orders = [np.lexsort((column * weight, self._cells)) for column in self.values.T]
        columns = np.nan_to_num(self.values, nan=0.0).T * weight
        sums = self._sum_cells([(self._cells[k], column[k]) for k, column in zip(orders, columns, strict=True)])
        return np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)

    @cached_property
    def _counts(self) -> np.ndarray:
        """`counts`, made once: schemes and checks ask for them again for every partition."""
        seen = ~np.isnan(self.values)
        return self._sum_cells([(self._cells, column.astype(np.float64)) for column in seen.T]).astype(np.int64)

    @property
    def _cells(self) -> np.ndarray:
        """(N,) cell of line and environment of each record."""
        return self.line_index * len(self.envs) + self.env_index

    def _sum_cells(self, columns: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """(J, I, L) sums of amounts, given for each trait as (cells, amounts)."""
        shape = (len(self.lines), len(self.envs), len(self.traits))
        sums = [np.bincount(cells, amounts, minlength=shape[0] * shape[1]) for cells, amounts in columns]
        return np.stack(sums, axis=-1).reshape(shape)

    def drop_lines(self, lines: Names) -> Trial:
        """The trial without these lines and their records. Environments and traits stay listed.

        Raises
        ------
        DataError
            If one of the lines is not in the trial.
        """
        dropped = set(as_names(lines, "lines"))
        unknown = dropped.difference(self.lines)
        if unknown:
            raise DataError(f"The trial has no line {list_names(sorted(unknown))}.")
        kept = [name for name in self.lines if name not in dropped]
        if not kept:
            raise DataError("Dropping every line leaves no trial.")
        place = {name: j for j, name in enumerate(kept)}
        new_index = np.array([place.get(name, -1) for name in self.lines], dtype=np.int64)
        records = np.flatnonzero(new_index[self.line_index] >= 0)
        return self.take_records(records, lines=tuple(kept), line_index=new_index[self.line_index[records]])

    def check(
        self,
        relationship: Relationship | None = None,
        *,
        outlier: float = 3.5,
        unrelated: Literal["error", "drop"] = "error",
    ) -> Checkup:
        """Look the trial over: what is there, what is missing, and what may be mistakes. Nothing is changed.

        Parameters
        ----------
        relationship : Relationship, optional
            Compared with the trial by name, and looked over itself.
        outlier : float
            Robust z from which on a value is listed as an outlier; see `bmtme.checkup.oddities.find_outliers`.
        unrelated : {"error", "drop"}
            What the fit is to do about lines without a relationship: with "drop", they are no reason to refuse it.

        Returns
        -------
        Checkup
            ``print`` it for the text; its `findings` is a DataFrame for programs.

        Raises
        ------
        UsageError
            If `outlier` is not positive or `relationship` is something else.
        """
        # Imported here, as the check-up looks at trials.
        from bmtme.checkup.overview import look_over

        return look_over(self, relationship, outlier, unrelated)

    def plot_records(self) -> Figure:
        """Draw which line has records in which environment: of all traits, of some, of none, and how many plots."""
        # Imported here, as pictures are made of trials.
        from bmtme.report.trial_plots import plot_records

        return plot_records(self)

    def to_frame(
        self, *, line: str = "line", env: str = "env", rep: str = "rep", n_plots: str = "n_plots"
    ) -> pd.DataFrame:
        """Wide table, a row per record: line, environment, what else is known of it, and the traits.

        Columns are the labels of the replicate, of blocks, values of covariates, the number of plots or the standard
        errors of the traits (``Yield_se``), as far as there are any.

        Parameters
        ----------
        line, env, rep, n_plots : str
            Names for these columns; they must differ from the traits'. Those of standard errors are ``Yield_se``.
        """
        line, env, rep = as_text(line, "line"), as_text(env, "env"), as_text(rep, "rep")
        labels = {line: [self.lines[j] for j in self.line_index], env: [self.envs[i] for i in self.env_index]}
        if self.reps is not None:
            labels[rep] = list(self.reps)
        labels |= {name: list(own) for name, own in self.blocks.items()}
        counts = {name: own.copy() for name, own in self.covariates.items()}
        if self.n_plots is not None:
            counts[as_text(n_plots, "n_plots")] = self.n_plots.copy()
        if self.se is not None:
            counts |= {f"{self.traits[l]}_se": self.se[:, l].copy() for l in np.flatnonzero(self.has_se)}
        names = [line, env, *([rep] if self.reps is not None else []), *self.blocks, *counts, *self.traits]
        repeat = first_repeat(names)
        if repeat is not None:
            raise UsageError(
                f"two columns would be named {names[repeat[1]]!r}: choose other names for line=, env=, rep= or "
                "n_plots=."
            )
        return pd.DataFrame({**labels, **counts, **dict(zip(self.traits, self.values.T.copy(), strict=True))})


def as_trial(given: Any) -> Trial:
    """A trial, or that of adjusted means.

    Raises
    ------
    UsageError
        For anything else.
    """
    if isinstance(given, AdjustedMeans):
        return Trial.from_means(given)
    if not isinstance(given, Trial):
        raise UsageError(f"expected a Trial (bmtme.read_trial or Trial.from_frame), got {type(given).__name__}.")
    return given


def read_trial(
    path: str | os.PathLike[str],
    *,
    line: str,
    env: str | None = None,
    traits: Names | None = None,
    rep: Names | None = None,
    trait: str | None = None,
    value: str | None = None,
    missing: Codes | None = None,
    decimal: str = ".",
    sheet: str | None = None,
    blocks: Names | None = None,
    covariates: Names | None = None,
    n_plots: str | None = None,
    se: Errors | None = None,
    se_correlation: Any = None,
) -> Trial:
    """Read a trial from a file: CSV or TSV, possibly compressed with gzip, Excel (.xlsx) or Parquet (.parquet).

    Parameters
    ----------
    path : str or path
        The ending of its name tells the format. CSV and TSV are read as text, so that line ``001`` stays ``001``; with
        ``decimal=","``, semicolons may separate the columns. Cells of a workbook that are text stay as they are too; a
        cell that shows a number in a format of zeros only (``001``) is taken as shown.
    line, env, traits, rep, trait, value, missing, decimal, blocks, covariates, n_plots, se, se_correlation
        As for `Trial.from_frame`.
    sheet : str, optional
        Sheet of a workbook; by default the first, with a warning if there are others.

    Returns
    -------
    Trial

    Notes
    -----
    See `Trial.from_frame` for what is an identifier, a value and a missing value, and
    `bmtme.data.tables.texts.read_rows` for the format of delimited text. Rows in messages are rows of the file, the
    header being row 1; those of a Parquet file are its records.

    Raises
    ------
    DataError
        If the file cannot be read, and as for `Trial.from_frame`.
    UsageError
        As for `Trial.from_frame`, and if a library is needed that is not installed (openpyxl for Excel, pyarrow for
        Parquet).
    """
    table = read_table(path, NumberFormat.of(missing, decimal), sheet)
    columns = (blocks, covariates, n_plots, se, se_correlation)
    return make_trial(table, line, env, traits, rep, trait, value, *columns)


def make_trial(table: Table, line: str, env: str | None, *columns: Any) -> Trial:
    """The trial of a table, with a warning of names that may be dates; columns as for `read_records`."""
    table, env = name_environment(table, line, env, *columns)
    trial = Trial(*read_records(table, line, env, *columns))
    warn_of_dates(trial.lines, "line", table.name, stacklevel=4)
    warn_of_dates(trial.envs, "environment", table.name, stacklevel=4)
    return trial
