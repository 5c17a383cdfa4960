"""The folder of a mixed model's fit: its tables, and run.json."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import MIXED
from bmtme.results.folder import save_result
from bmtme.results.record import write_record
from bmtme.results.spreadsheets import check_tables, write_tables

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.results.mixed.fit import MixedFit

__all__ = ["describe_run", "name_file", "save_mixed"]

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
    from bmtme import __version__

    tables: dict[str, Any] = {}
    names = {}
    for name, table in {**fit.tables(), **more}.items():
        file = name_file(name, tables)
        tables[file] = table
        names[file] = name
    columns = write_tables(folder, tables, safe_text, xlsx)
    terms = {f"{file}.csv": name.removeprefix("blup-") for file, name in names.items() if name.startswith("blup-")}
    facts = {**run, **fit.record(), "blups": terms, "versions": {"bmtme": __version__}}
    write_record(folder, facts, MIXED, columns)


def name_file(name: str, taken: dict[str, Any]) -> str:
    """A file's name of a term's: letters, digits and - alone, none twice, also where capitals do not count."""
    bare = re.sub(r"[^\w.]+", "-", name).strip("-")[:MOST_LETTERS]
    found, number = bare, 1
    while found.casefold() in {other.casefold() for other in taken}:
        number += 1
        found = f"{bare}-{number}"
    return found
