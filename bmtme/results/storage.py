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
from bmtme.mapped import SLAB, map_file, release, walk_slabs
from bmtme.memory import measure_free_memory
from bmtme.results.folder import reserve
from bmtme.results.record import RECORD, read_record, write_record
from bmtme.results.spreadsheets import ESCAPED, TEXT, unescape, write_tables

KIND = "fit"
DRAWS, SUMMARY, PREDICTIONS = "idata.nc", "summary.csv", "predictions.csv"
#: Draws that would take more than this share of the memory that is free stay in their file.
SHARE = 0.5

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
    """Write idata.nc; what is large, in slabs.

    Raises
    ------
    OSError
    """
    reserve(folder / DRAWS, sum(dataset.nbytes for dataset in groups.values()))
    try:
        for k, (name, dataset) in enumerate(groups.items()):
            large = [each for each, array in dataset.data_vars.items() if is_large(array)]
            rest = dataset.drop_vars(large)
            rest.to_netcdf(folder / DRAWS, mode="a" if k else "w", group=name, engine="h5netcdf")
            if large:
                write_large(folder / DRAWS, name, dataset[large])
    except RuntimeError as error:  # how HDF5 reports some failures of the disc
        raise OSError(str(error)) from error


def is_large(array: Any) -> bool:
    """Whether a variable is written, and read, in parts."""
    return bool(array.dtype == float and array.nbytes >= SLAB and array.ndim > 1)


def write_large(path: Path, name: str, dataset: Any) -> None:
    """Add variables to a group of idata.nc."""
    import h5netcdf

    with h5netcdf.File(path, "a") as file:
        group = file[name]
        for each, array in dataset.data_vars.items():
            for dim, size in array.sizes.items():
                if dim not in group.dimensions:
                    group.dimensions[dim] = size
            variable = group.create_variable(each, array.dims, float)
            variable.attrs.update(array.attrs)
            for slab in walk_slabs(array.shape, 2 if array.ndim > 2 else 1):
                variable[slab] = array.values[slab]
                release(array.values)


def map_large(path: Path, name: str, dataset: Any) -> Any:
    """A group of idata.nc with what is large left in the file, as an array that cannot be changed; the rest in memory.

    Without a copy of what the file holds as it is in memory: all that this version wrote.
    """
    import h5py
    import xarray

    mapped = {}
    with h5py.File(path) as file:
        for each, array in dataset.data_vars.items():
            stored = file[f"{name}/{each}"]
            offset = stored.id.get_offset()  # none where it is in chunks or compressed
            if is_large(array) and offset is not None and stored.dtype == float:
                values = map_file(path, offset, array.shape)
                mapped[each] = xarray.Variable(array.dims, values, array.attrs)
    rest = dataset.drop_vars(mapped).load()
    return rest.assign(mapped)[list(dataset.data_vars)] if mapped else rest


def read_fit(folder: Path, leave: bool = False) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame | None]:
    """Groups, record and predictions of a saved fit.

    leave : as of `read_run`

    Raises
    ------
    DataError
        If the folder holds no fit, or a file of it is missing or damaged.
    """
    if not any(os.path.exists(folder / name) for name in (DRAWS, RECORD)):
        raise DataError(f"{folder} holds no {DRAWS} and no {RECORD}: expected a folder of Fit.save or 'bmtme fit'.")
    groups, run, tables = read_run(folder, KIND, (PREDICTIONS,), leave)
    return groups, run, tables.get(PREDICTIONS)


def read_run(
    folder: Path, kind: str, files: Collection[str] | None = None, leave: bool = False
) -> tuple[dict[str, Any], dict[str, Any], dict[str, pd.DataFrame]]:
    """Groups, record and tables (those among `files`, or all) of a saved run of a kind.

    leave : whether large variables stay in the file, and cannot be changed; they do where they would take more than
        `SHARE` of the memory that is free

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
            data = {name: node.to_dataset() for name, node in tree.children.items()}
            leave |= sum(dataset.nbytes for dataset in data.values()) > SHARE * measure_free_memory()
            groups = {
                name: map_large(folder / DRAWS, name, dataset) if leave else dataset.load()
                for name, dataset in data.items()
            }
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
