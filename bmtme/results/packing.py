"""Files of named arrays and plain values, written atomically and read back only as they were written; no pickle.

A file is its first line (what it is, its schema), a line of JSON (kind, values; name, type and shape of each array),
the bytes of the arrays, and the SHA-256 of all before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmtme.errors import DataError, MachineError, blame

#: Of the layout of these files; a larger one is of a newer version of bmtme.
SCHEMA = 1
_FIRST = b"bmtme checkpoint %d\n"
#: Longest line of JSON, longest first line, in bytes.
_MOST_JSON, _MOST_FIRST = 2**30, 40
#: Ending of a file that is being written.
_PART = ".part"
#: Kinds of arrays: numbers and truth values.
_KINDS = "biuf"

_AGAIN = "Take it from a copy, or start the run anew in another folder"


def write_pack(path: Path, kind: str, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Write a file, whole or not at all, in place of one that is there. Returns its SHA-256, as the file ends with it.

    Raises
    ------
    MachineError
        If it cannot be written, as on a full disc.
    """
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    assert all(array.dtype.kind in _KINDS for array in arrays.values()), listed
    head = json.dumps({"kind": kind, "values": dict(values), "arrays": listed}).encode()
    part = path.with_name(path.name + _PART)
    digest = hashlib.sha256()
    try:
        with open(part, "wb") as file:
            pieces: list[bytes | memoryview] = [_FIRST % SCHEMA, head + b"\n", *map(_take_bytes, arrays.values())]
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise MachineError(f"cannot write {path}: {error.strerror or error}.") from error
    return digest.hexdigest()


def _take_bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array, its own where it is contiguous."""
    flat: memoryview = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return flat


def sync_folder(folder: Path) -> None:
    """Have the names of a folder's files on the disc."""
    with contextlib.suppress(OSError):  # not every file system does that
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def read_pack(path: Path, kind: str, expected: str | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Values and arrays of a file of a kind, of which another file perhaps knows the SHA-256.

    Raises
    ------
    DataError
        If it is missing, no such file, of a newer version, damaged, or of another kind.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, path, kind, expected)
    except FileNotFoundError:
        raise DataError(f"{path} is missing, which was written and has been deleted. {_AGAIN}.") from None
    except OSError as error:
        raise blame(error, DataError)(f"{path} cannot be read: {error.strerror}.") from error


def _read(file: Any, path: Path, kind: str, expected: str | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    first = file.readline(_MOST_FIRST)
    words = first.split()
    if words[:2] != [b"bmtme", b"checkpoint"] or len(words) != 3 or not words[2].isdigit():
        raise DataError(f"{path} is no file of a checkpoint of bmtme, or is damaged. {_AGAIN}.")
    if int(words[2]) > SCHEMA:
        raise DataError(
            f"{path} has schema {int(words[2])}, of a newer version of bmtme than this one, which reads {SCHEMA}. Use "
            "the version that wrote it."
        )
    damaged = DataError(f"{path} is damaged or was changed after it was written. {_AGAIN}.")
    digest = hashlib.sha256(first)
    line = file.readline(_MOST_JSON)
    digest.update(line)
    try:
        head = json.loads(line)
        shapes = [(name, np.dtype(form), tuple(shape)) for name, form, shape in head["arrays"]]
        left = os.fstat(file.fileno()).st_size - len(first) - len(line) - digest.digest_size
        sizes = [form.itemsize * int(np.prod(shape, dtype=object)) for _, form, shape in shapes]
        if sum(sizes) != left or any(form.kind not in _KINDS for _, form, _ in shapes):
            raise damaged
        arrays = {}
        for name, form, shape in shapes:
            array = np.empty(shape, form)
            view = _take_bytes(array)
            if file.readinto(view) != len(view):
                raise damaged
            digest.update(view)
            arrays[name] = array
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        raise damaged from None
    if file.read() != digest.digest():
        raise damaged
    if head["kind"] != kind or expected not in (None, digest.hexdigest()):
        raise DataError(f"{path} is not the file that was written there, but another one. {_AGAIN}.")
    return head["values"], arrays
