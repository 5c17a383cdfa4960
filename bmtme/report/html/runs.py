"""The page of a result, or of the folder of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bmtme.choices import POSTERIOR
from bmtme.errors import DataError
from bmtme.report.html.content import Page
from bmtme.report.html.page import check_report, write_page
from bmtme.results.record import RECORD, read_kind, read_record
from bmtme.results.storage import KIND as FIT
from bmtme.results.storage import PREDICTIONS, SUMMARY, read_run, read_table

__all__ = ["PAGE", "make_page", "report_result", "report_run"]

#: The page of a folder, in it.
PAGE = "report.html"
MIXED, ADJUSTMENT, CV = "mixed", "adjustment", "cross-validation"
REPORTED = "a fit, a cross-validation, adjusted means or a mixed model"


def report_result(result: Any, file: str | os.PathLike[str]) -> None:
    """Write the page of a result of this package; see `bmtme.results.reported.Reported.report`."""
    path = check_report(file)
    write_page(make_page(result, path.stem), path)


def report_run(folder: str | os.PathLike[str], file: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a run from the files of its folder, into it or elsewhere.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    DataError
        If the folder holds no such run, or one that is unfinished or damaged.
    UsageError, MachineError
        If the page cannot be written.
    """
    path = Path(folder)
    target = check_report(path / PAGE if file is None else file) if path.is_dir() else Path(PAGE)
    write_page(read_page(path), target)
    return target


def read_page(folder: Path) -> Page:
    """The page of a folder.

    Raises
    ------
    DataError
    """
    from bmtme.report.html.mixed import make_reml_page
    from bmtme.report.html.stage_one import make_adjustment_page

    kind, name = read_kind(folder), folder.resolve().name or str(folder)
    if kind == FIT:
        from bmtme.results.fit import Fit

        groups, run, tables = read_run(folder, FIT, (SUMMARY, PREDICTIONS))
        fit = Fit(groups, run, tables.get(PREDICTIONS))
        fit._summary = tables[SUMMARY].set_index("parameter")  # made again it is the same, after some seconds
        return make_page(fit, name, str(folder))
    if kind == CV:
        from bmtme.cv.result import load_cross_validation

        return make_page(load_cross_validation(folder), name, str(folder))
    if kind == POSTERIOR:
        from bmtme.results.mixed.posterior import load_posterior

        return make_page(load_posterior(folder), name, str(folder))
    if kind in (MIXED, ADJUSTMENT):
        run, tables = read_tables(folder, kind)
        return (make_reml_page if kind == MIXED else make_adjustment_page)(run, tables, name, str(folder))
    if not (folder / RECORD).is_file():
        what = "is no folder" if not folder.is_dir() else f"holds no {RECORD}"
        raise DataError(f"{folder} {what}: expected a folder of 'bmtme fit', 'cv', 'adjust' or 'mixed'.")
    if kind:
        raise DataError(f"{folder} holds a {kind}, of which there is no report: expected a folder of {REPORTED}.")
    read_record(folder, "run")  # says what is wrong with it
    raise DataError(f"{folder} does not say what it holds: expected a folder of {REPORTED}.")


def read_tables(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Facts and tables of a folder, those of effects by the names of their terms.

    Raises
    ------
    DataError
    """
    run, columns = read_record(folder, kind)
    tables = {}
    terms: Mapping[str, str] = run.get("blups", {})
    for name, types in columns.items():
        try:
            table = read_table(folder / name, types)
        except MemoryError:
            raise
        except Exception as error:  # of pandas; the files are what was written
            reason = " ".join(str(error).split()).rstrip(".")
            raise DataError(f"{folder} cannot be read as a saved {kind}: {name}: {reason}.") from error
        tables[f"blup-{terms[name]}" if name in terms else name.removesuffix(".csv")] = table
    return run, tables


def make_page(result: Any, name: str, folder: str | None = None) -> Page:
    """The page of a result.

    Parameters
    ----------
    result : Fit, CrossValidation, MixedPosterior, MixedFit or Adjustment
    name : heads the page
    folder : with its files, if it was read from there
    """
    from bmtme import __version__
    from bmtme.cv.result import CrossValidation
    from bmtme.results.fit import Fit
    from bmtme.results.mixed.fit import MixedFit
    from bmtme.results.mixed.posterior import MixedPosterior

    if isinstance(result, Fit):
        from bmtme.report.html.fit import make_fit_page

        return make_fit_page(result, name, folder)
    if isinstance(result, CrossValidation):
        from bmtme.report.html.cross_validation import make_cv_page

        return make_cv_page(result, name, folder)
    if isinstance(result, MixedPosterior):
        from bmtme.report.html.mixed import make_posterior_page

        return make_posterior_page(result, name, folder)
    run = {**result.record(), "versions": {"bmtme": __version__}}
    if isinstance(result, MixedFit):
        from bmtme.report.html.mixed import make_reml_page

        return make_reml_page(run, result.tables(), name, folder)
    from bmtme.report.html.stage_one import make_adjustment_page

    return make_adjustment_page(run, {"means": result.table, **result.tables()}, name, folder)
