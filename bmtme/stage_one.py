"""Stage one of a two-stage analysis: plots become adjusted means with the covariance of their errors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from bmtme.arguments import file_path, is_one_of, show
from bmtme.choices import SPATIAL
from bmtme.data.records import as_names
from bmtme.data.tables.files import Table, read_table
from bmtme.errors import UsageError
from bmtme.model.environments import Roles, read_environments
from bmtme.progress import Progress
from bmtme.results.mixed.search import announce_compilation
from bmtme.results.stage_one.choice import choose_model, refuse_unreplicated, tabulate_heritability
from bmtme.results.stage_one.field import find_outliers, tabulate_plots
from bmtme.results.stage_one.means import tabulate_means
from bmtme.results.stage_one.result import Adjustment
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.model.stage_one import Environment

__all__ = ["adjust"]


def adjust(
    plots: pd.DataFrame | Table | str | os.PathLike[str],
    line: str,
    env: str | None,
    traits: str | Iterable[str],
    rep: str | None = None,
    block: str | None = None,
    row: str | None = None,
    col: str | None = None,
    spatial: Literal["auto", "none", "linear", "rows_cols", "ar1", "ar1_nugget", "psplines"] = "auto",
    envs: str | Iterable[str] | None = None,
    progress: bool | None = None,
) -> Adjustment:
    """Adjust the plots of each environment for its design and field: means of lines, and their errors' covariance.

    In each environment lines are fixed, replicates, too, and blocks within them are random; several traits are fitted
    jointly, residuals with any covariance between them, all else with effects and variances of each trait. Never are
    these means shrunken: `bmtme.fit`, which takes the value as it is, shrinks once.

    Parameters
    ----------
    plots : DataFrame or path
        A row for each plot, in any order; of a file, read as by `bmtme.read_trial`. A plot without a value keeps its
        place in the field.
    line, env : str
        Columns with the names of lines and environments; `env` may be None where there is one environment.
    traits : str or list of str
        Columns with values. A trait without a value in an environment is left out there.
    rep, block, row, col : str, optional
        Columns with replicates, blocks within them, and positions in the field as whole numbers. Of an environment in
        which one is empty it is left out.
    spatial : str
        What is made of the field. ``auto``: the model with the least AIC of these, which all have the same fixed
        part, straight lines along rows and columns and their product among it. ``linear``: these alone. ``rows_cols``:
        random rows and columns. ``ar1``: an autoregression along both in the residual. ``ar1_nugget``: beside
        independent errors. ``psplines``: two-dimensional P-splines. ``none``: positions do not count.
    envs : list of str, optional
        Environments to adjust; default all. Of one in which every line has one plot nothing tells errors.
    progress : bool, optional
        A line on stderr while models are fitted; default where it is a terminal.

    Returns
    -------
    Adjustment
        The means, their covariances, the candidates, heritabilities, outliers, and the plots with trend and residual.

    Raises
    ------
    DataError
        For contents that cannot be used: a column that is not there, positions that are no whole numbers, two plots in
        one place, an environment whose lines leave nothing to tell errors from.
    UsageError
        For a use that makes no sense, such as a spatial model without positions.
    NumericalError
        If no model of an environment can be fitted.

    Notes
    -----
    REML by average information. A mean is that of the average plot: all replicates alike, and within them all plots.
    P-splines are those of Rodriguez-Alvarez, Boer, van Eeuwijk and Eilers (2018), Spatial Statistics 23:52-71: cubic,
    with one segment between neighbouring positions (an even number, at most 20), half as many in the product of rows
    and columns, and five variances.

    Examples
    --------
    >>> means = bmtme.adjust(plots, line="gen", env="site", traits="yield", row="row", col="col")  # doctest: +SKIP
    >>> fit = bmtme.fit(means, relationship)  # doctest: +SKIP
    """
    if not is_one_of(spatial, SPATIAL):
        raise UsageError(f"spatial must be one of {', '.join(map(repr, SPATIAL))}, got {show(spatial)}.")
    roles = Roles(line, env, traits, rep, block, row, col)
    if spatial not in ("auto", "none") and not {"row", "col"} & set(roles.design):
        raise UsageError(f"spatial={spatial!r} needs the positions of plots: name their columns as row= and col=.")
    environments = read_environments(_as_table(plots), roles)
    if envs is not None:
        environments = _take_environments(environments, as_names(envs, "envs"))
    refuse_unreplicated(environments)
    bar = Progress(1, "stage one", progress)
    parts: dict[str, list[Any]] = {"table": [], "candidates": [], "heritability": [], "plots": []}
    covariances, fits = {}, {}
    try:
        announce_compilation(bar)
        for number, environment in enumerate(environments, start=1):
            tell = _Teller(bar, f"environment {number} of {len(environments)}")
            choice = choose_model(environment, spatial, tell)
            table, covariances[environment.name] = tabulate_means(environment, choice.fit)
            parts["table"].append(table)
            parts["candidates"].append(choice.table)
            parts["plots"].append(tabulate_plots(environment, choice.fit))
            parts["heritability"].append(
                tabulate_heritability(environment, choice.candidate, covariances[environment.name], tell)
            )
            fits[environment.name] = choice.fit
    finally:
        bar.close()
    joined = {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
    return Adjustment(
        **joined,
        covariances=covariances,
        outliers=find_outliers(joined["plots"]),
        fits=fits,
        axes=tuple(name for role, name in roles.design.items() if role in ("row", "col")),
        notes=tuple(_list_notes(environments)),
    )


def _take_environments(environments: list[Environment], names: list[str]) -> list[Environment]:
    """Those that are named, in the order of the table."""
    there = [environment.name for environment in environments]
    for name in names:
        if name not in there:
            raise UsageError(
                f"envs names the environment {name!r}, of which there are no values.{suggest(name, there)} There are "
                f"{list_names(there)}."
            )
    if not names:
        raise UsageError("envs names no environment: leave it out for all.")
    return [environment for environment in environments if environment.name in names]


class _Teller:
    """Says on a line what is being fitted."""

    def __init__(self, bar: Progress, where: str) -> None:
        self.bar = bar
        self.where = where

    def __call__(self, env: str, what: str) -> None:
        self.bar.write(f"{self.where}, {env}: {what} ...")


def _as_table(plots: Any) -> Table:
    if isinstance(plots, Table):
        return plots
    if isinstance(plots, pd.DataFrame):
        return Table.from_frame(plots)
    if isinstance(plots, str | os.PathLike):
        return read_table(file_path(plots, "plots"))
    raise UsageError(f"plots must be a DataFrame or the name of a file, a row for each plot, got {show(plots)}.")


def _list_notes(environments: list[Environment]) -> list[str]:
    return [f"{environment.name}: {note}" for environment in environments for note in environment.notes]
