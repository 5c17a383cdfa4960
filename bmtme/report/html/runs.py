"""The page of a result, or of the folder of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bmtme.arguments import file_path
from bmtme.data.adjusted import KIND as ADJUSTMENT
from bmtme.errors import DataError, UsageError
from bmtme.report.html.content import Page
from bmtme.report.html.page import check_report, write_page
from bmtme.results.record import RECORD, REPORT, read_kind, read_record
from bmtme.results.runs import open_run
from bmtme.results.storage import KIND as FIT
from bmtme.results.storage import PREDICTIONS, SUMMARY, read_run

__all__ = ["make_page", "report_result", "report_run"]


def report_result(result: Any, file: str | os.PathLike[str], check: str | None = None) -> None:
    """Write the page of a result of this package; see `bmtme.results.reported.Reported.report`."""
    path = check_report(file)
    write_page(make_page(result, path.stem, check=check), path)


def report_run(
    folder: str | os.PathLike[str], file: str | os.PathLike[str] | None = None, check: str | None = None
) -> Path:
    """Write the page of a run from the files of its folder, into it or elsewhere.

    check : of a fit, a line that the others are compared with

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    DataError
        If the folder holds no such run, or one that is unfinished or damaged, or has no such line.
    UsageError, MachineError
        If the page cannot be written, or there is no ranking for a check.
    """
    path = Path(file_path(folder, "folder"))
    if not (path / RECORD).is_file():
        what = f"holds no {RECORD}" if path.is_dir() else "is no folder"
        raise DataError(f"{path} {what}: expected a folder of 'bmtme fit', 'cv', 'adjust' or 'mixed'.")
    target = check_report(path / REPORT if file is None else file)
    write_page(read_page(path, check), target)
    return target


def read_page(folder: Path, check: str | None = None) -> Page:
    """The page of a folder.

    Raises
    ------
    DataError
    """
    kind, name = read_kind(folder), folder.resolve().name or str(folder)
    if kind == FIT:
        from bmtme.results.fit import Fit

        groups, run, tables = read_run(folder, FIT, (SUMMARY, PREDICTIONS))
        fit = Fit(groups, run, tables.get(PREDICTIONS))
        fit._summary = tables[SUMMARY].set_index("parameter")  # made again it is the same, after some seconds
        return make_page(fit, name, str(folder), check)
    refuse_check(check)
    if kind == ADJUSTMENT:
        return read_means_page(folder, name)
    return make_page(open_run(folder), name, str(folder))


def read_means_page(folder: Path, name: str) -> Page:
    """The page of adjusted means, which may have come from elsewhere, without plots and models."""
    from bmtme.data.adjusted import read_means
    from bmtme.report.html.stage_one import make_adjustment_page
    from bmtme.results.stage_one.storage import TABLES, load_adjustment

    run, columns = read_record(folder, ADJUSTMENT)
    if not all(f"{table}.csv" in columns for table in TABLES):
        return make_adjustment_page(None, run, {"means": read_means(folder).table}, name, str(folder))
    means = load_adjustment(folder)
    return make_adjustment_page(means, run, {"means": means.table, **means.tables()}, name, str(folder))


def refuse_check(check: str | None) -> None:
    """Refuse a check where no lines are ranked.

    Raises
    ------
    UsageError
    """
    if check is not None:
        raise UsageError(
            "check is a line that a fit's ranking is compared with, and this is no fit: leave it out (in the shell "
            "--check)."
        )


def make_page(result: Any, name: str, folder: str | None = None, check: str | None = None) -> Page:
    """The page of a result.

    Parameters
    ----------
    result : Fit, CrossValidation, MixedPosterior, MixedFit, MixedTables or Adjustment
    name : heads the page
    folder : with its files, if it was read from there
    check : of a fit, a line that the others are compared with
    """
    from bmtme import __version__
    from bmtme.cv.result import CrossValidation
    from bmtme.results.fit import Fit
    from bmtme.results.mixed.fit import MixedFit
    from bmtme.results.mixed.posterior import MixedPosterior
    from bmtme.results.mixed.storage import MixedTables

    if isinstance(result, Fit):
        from bmtme.report.html.fit import make_fit_page

        return make_fit_page(result, name, folder, check)
    refuse_check(check)
    if isinstance(result, CrossValidation):
        from bmtme.report.html.cross_validation import make_cv_page

        return make_cv_page(result, name, folder)
    if isinstance(result, MixedPosterior):
        from bmtme.report.html.mixed import make_posterior_page

        return make_posterior_page(result, name, folder)
    if isinstance(result, MixedTables):
        from bmtme.report.html.mixed import make_reml_page

        return make_reml_page(result, result.run, result.tables, name, folder)
    run = {**result.record(), "versions": {"bmtme": __version__}}
    if isinstance(result, MixedFit):
        from bmtme.report.html.mixed import make_reml_page

        return make_reml_page(result, run, result.tables(), name, folder)
    from bmtme.report.html.stage_one import make_adjustment_page

    return make_adjustment_page(result, run, {"means": result.table, **result.tables()}, name, folder)
