"""The folder of a mixed model's fit: its tables, and run.json."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import MIXED
from bmtme.errors import UsageError
from bmtme.machine import describe_machine, find_versions
from bmtme.results.folder import save_result
from bmtme.results.mixed.field import Grid, read_grids
from bmtme.results.mixed.pictures import ResidualPictures
from bmtme.results.record import read_record, write_record
from bmtme.results.spreadsheets import check_tables, write_tables
from bmtme.results.storage import read_table
from bmtme.words import list_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.results.mixed.fit import MixedFit

__all__ = ["MixedTables", "describe_run", "load_mixed", "name_file", "save_mixed"]

#: Letters of the name of a file at most.
MOST_LETTERS = 80


def describe_run(fit: MixedFit) -> dict[str, Any]:
    """Facts of the run, for run.json."""
    problem = fit.result.problem
    return {
        "model": {"fixed": str(fit.fixed), "random": str(fit.random), "residual": str(fit.residual)},
        "records": problem.n,
        "equations": fit.result.equations.n,
        "factor_entries": fit.result.equations.factor.fill,
        "memory_bytes": fit.result.equations.memory,
        "rank": problem.rank,
        "log_likelihood": fit.log_likelihood,
        "log_likelihood_full": fit.log_likelihood_full,
        "parameters": fit.n_parameters,
        "aic": fit.aic,
        "bic": fit.bic,
        "converged": fit.converged,
        "evaluations": fit.result.evaluations,
        "message": fit.message,
        "notes": list(fit.notes),
    }


def save_mixed(
    folder: str | os.PathLike[str],
    fit: MixedFit,
    run: dict[str, Any],
    safe_text: bool = False,
    xlsx: bool = False,
    more: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write a fit into a new folder; see `MixedFit.save`.

    Parameters
    ----------
    run : dict
        Further facts for run.json, such as the command and its files.
    more : mapping, optional
        Further tables by name.
    """
    check_tables(safe_text, xlsx)
    save_result(folder, partial(_write, fit, run, safe_text, xlsx, more or {}))


def _write(
    fit: MixedFit, run: dict[str, Any], safe_text: bool, xlsx: bool, more: Mapping[str, pd.DataFrame], folder: Path
) -> None:
    began = time.perf_counter()
    tables: dict[str, Any] = {}
    names = {}
    for name, table in {**fit.tables(), **more}.items():
        file = name_file(name, tables)
        tables[file] = table
        names[file] = name
    columns = write_tables(folder, tables, safe_text, xlsx)
    terms = {f"{file}.csv": name.removeprefix("blup-") for file, name in names.items() if name.startswith("blup-")}
    facts = {**run, **fit.record(), "blups": terms, "versions": find_versions(), "machine": describe_machine()}
    write_record(folder, facts, MIXED, columns, began=began)


@dataclass(frozen=True)
class MixedTables(ResidualPictures):
    """What is in the folder of a fit by REML.

    Attributes
    ----------
    tables : dict of DataFrames
        By name, as of `MixedFit.tables`, with those that were asked for besides.
    run : dict
        ``run.json``.
    """

    tables: dict[str, pd.DataFrame]
    run: dict[str, Any]

    def residuals(self) -> pd.DataFrame:
        """As of `bmtme.results.mixed.fit.MixedFit.residuals`."""
        return self.tables["residuals"].copy()

    def grids(self, axes: tuple[str, str] | None = None) -> list[Grid]:
        """As of `bmtme.results.mixed.fit.MixedFit.grids`, by the positions of the residual.

        Raises
        ------
        UsageError
            If it has none, or others are named.
        """
        if "field" not in self.tables:
            raise UsageError(
                f"the folder does not say where plots lie, as the residual of the model, "
                f"{self.run['model']['residual']}, has no rows and columns of a field: in Python "
                "MixedFit.plot_field(axes=('col', 'row')) draws them by any columns."
            )
        grids = read_grids(self.tables["field"])
        if axes is not None and tuple(axes) != grids[0].names:
            raise UsageError(f"the folder has the positions {list_names(grids[0].names)}, not {list_names(axes)}.")
        return grids


def load_mixed(folder: Path) -> MixedTables:
    """The tables of a fit by REML.

    Raises
    ------
    DataError
        If the folder is not such a folder, or a file is missing or damaged.
    """
    run, columns = read_record(folder, MIXED)
    files = dict(run["blups"])
    tables = {}
    for name, types in columns.items():
        term = files.get(name)
        tables[Path(name).stem if term is None else f"blup-{term}"] = read_table(folder / name, types)
    return MixedTables(tables, run)


def name_file(name: str, taken: dict[str, Any]) -> str:
    """A file's name of a term's: letters, digits and - alone, none twice, also where capitals do not count."""
    bare = re.sub(r"[^\w.]+", "-", name).strip("-")[:MOST_LETTERS]
    found, number = bare, 1
    while found.casefold() in {other.casefold() for other in taken}:
        number += 1
        found = f"{bare}-{number}"
    return found
