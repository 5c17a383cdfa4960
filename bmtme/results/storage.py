"""Files of a saved fit: summary.csv, predictions.csv, idata.nc and run.json, written and read back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bmtme.errors import DataError
from bmtme.results.folder import reserve
from bmtme.results.record import RECORD, read_record, write_record
from bmtme.results.spreadsheets import ESCAPED, TEXT, unescape, write_tables

KIND = "fit"
DRAWS, SUMMARY, PREDICTIONS = "idata.nc", "summary.csv", "predictions.csv"

#: How the cells of a column are read, by the first letter of its type; all else is text.
_CELLS: dict[str, Callable[[str], Any]] = {
    "i": int,
    "u": int,
    "f": lambda cell: float(cell or "nan"),
    "b": "True".__eq__,
}


def write_fit(
    folder: Path,
    groups: dict[str, Any],
    run: dict[str, Any],
    summary: pd.DataFrame,
    predictions: pd.DataFrame | None,
    safe_text: bool = False,
    xlsx: bool = False,
) -> None:
    """Write the files of a fit into a folder that is there; `safe_text` and `xlsx` as of `write_tables`.

    Raises
    ------
    OSError
    """
    began = time.perf_counter()
    tables = {Path(SUMMARY).stem: summary.reset_index()}
    if predictions is not None:
        tables[Path(PREDICTIONS).stem] = predictions
    columns = write_tables(folder, tables, safe_text, xlsx)
    write_groups(folder, groups)
    write_record(folder, run, KIND, columns, began=began)


def write_groups(folder: Path, groups: dict[str, Any]) -> None:
    """Write idata.nc.

    Raises
    ------
    OSError
    """
    reserve(folder / DRAWS, sum(dataset.nbytes for dataset in groups.values()))
    try:
        for k, (name, dataset) in enumerate(groups.items()):
            dataset.to_netcdf(folder / DRAWS, mode="a" if k else "w", group=name, engine="h5netcdf")
    except RuntimeError as error:  # how HDF5 reports some failures of the disc
        raise OSError(str(error)) from error


def read_fit(folder: Path) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame | None]:
    """Groups, record and predictions of a saved fit.

    Raises
    ------
    DataError
        If the folder holds no fit, or a file of it is missing or damaged.
    """
    if not any(os.path.exists(folder / name) for name in (DRAWS, RECORD)):
        raise DataError(f"{folder} holds no {DRAWS} and no {RECORD}: expected a folder of Fit.save or 'bmtme fit'.")
    groups, run, tables = read_run(folder, KIND, (PREDICTIONS,))
    return groups, run, tables.get(PREDICTIONS)


def read_run(
    folder: Path, kind: str, files: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, pd.DataFrame]]:
    """Groups, record and tables (those among `files`, or all) of a saved run of a kind.

    Raises
    ------
    DataError
    """
    import xarray

    run, columns = read_record(folder, kind)
    name = DRAWS
    tables = {}
    try:
        with xarray.open_datatree(folder / DRAWS, engine="h5netcdf") as tree:
            groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
        for name in columns:
            if files is None or name in files:
                tables[name] = read_table(folder / name, columns[name])
    except MemoryError:
        raise
    except Exception as error:  # of many libraries; the files are what was written
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{folder} cannot be read as a saved {kind}: its {name} cannot be read: {reason}.") from error
    return groups, run, tables


def read_table(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read a table with columns of given types (see `spreadsheets.describe_columns`).

    As text first: names such as NA stay, and numbers are read back exactly by any pandas. A carriage return is part of
    a name here.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n")
    if ESCAPED in columns.values():
        frame = frame.rename(columns=unescape)
    for name, kind in columns.items():
        if kind == ESCAPED:
            frame[name] = frame[name].map(unescape)
        elif kind != TEXT:
            dtype = np.dtype(kind)
            frame[name] = np.array([_CELLS[dtype.kind](cell) for cell in frame[name]], dtype)
    return frame
