"""Genotypes of NumPy archives (.npz)."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from bmtme.data.tables.cells import unique_names
from bmtme.data.tables.limits import refuse_archive, refuse_cells
from bmtme.errors import DataError, UsageError, blame
from bmtme.words import list_names

__all__ = ["load_archive"]

#: Arrays of a NumPy archive by what they hold: the name of ours first, then others that are understood.
_ARRAYS = {
    "genotypes": ("markers", "genotypes", "codes"),
    "lines": ("line", "lines"),
    "markers": ("snp", "snps", "marker", "marker_names"),
}


def load_archive(path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """Codes (n, m) of a NumPy archive as they are, the names of the lines and of the markers (else their numbers).

    Raises
    ------
    DataError
        If the file cannot be read or is damaged, lacks an array, or one is of another shape or type.
    """
    source = Path(path).name
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as members:
                refuse_archive(members, source)
                refuse_cells(source, sum(member.file_size for member in members.infolist()))
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{source} holds a single array, not an archive of arrays: {_wanted()}")
        with archive:
            keys = {what: next((key for key in choices if key in archive), None) for what, choices in _ARRAYS.items()}
            if keys["genotypes"] is None or keys["lines"] is None:
                raise DataError(f"{source} has the arrays {list_names(archive.files)}: {_wanted()}")
            # A member that is no array comes as bytes.
            arrays = {what: np.asarray(archive[key]) for what, key in keys.items() if key is not None}
    except (DataError, UsageError):
        raise
    except MemoryError:  # an array that says to have more than is there
        raise DataError(f"{source} is no NumPy archive, or a damaged one: {_wanted()}") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, SyntaxError, struct.error) as error:
        if str(error).startswith("Object arrays"):
            raise DataError(f"{source} holds an array of Python objects: {_wanted()}") from None
        raise DataError(f"{source} is no NumPy archive, or a damaged one: {_wanted()}") from None
    except OSError as error:
        raise blame(error, DataError)(f"{os.fspath(path)} cannot be read: {error.strerror or error}.") from None
    codes = arrays["genotypes"]
    key = keys["genotypes"]
    if codes.ndim != 2 or codes.dtype.kind not in "biuf":
        raise DataError(
            f"The array {key!r} of {source} has shape {codes.shape} and type {codes.dtype}: expected numbers, lines in "
            "rows and markers in columns."
        )
    for what, axis in (("lines", 0), ("markers", 1)):
        if what in arrays and arrays[what].shape != (codes.shape[axis],):
            raise DataError(
                f"The array {keys[what]!r} of {source} has shape {arrays[what].shape}, but {key!r} has "
                f"{codes.shape[axis]} {what}: expected one name for each."
            )
    lines = unique_names(arrays["lines"].tolist(), f"the array {keys['lines']!r} of {source}")
    names = [str(name) for name in arrays.get("markers", np.arange(1, codes.shape[1] + 1)).tolist()]
    return codes, lines, names


def _wanted() -> str:
    return (
        "expected markers (lines x markers, numbers), line (names of the lines as text) and, optionally, snp (names of "
        "the markers), as numpy.savez_compressed(path, markers=..., line=..., snp=...) writes them."
    )
