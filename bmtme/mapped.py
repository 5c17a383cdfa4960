"""Arrays in files in place of memory: what is not in use of them is on the disc alone.

To whoever computes they are arrays as others, so that the numbers are the same. Large arrays are walked through in
slabs, and what has been in use is given back by `release`: the system writes it to its file, and reads it where it is
looked at again.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

__all__ = ["SLAB", "Allocate", "claim_space", "map_file", "map_zeros", "release", "take_some", "walk_slabs"]

#: Makes an array of zeros: of a shape, in memory (``np.zeros``) or in a file.
Allocate: TypeAlias = Callable[[tuple[int, ...]], np.ndarray]
#: Bytes that are looked at at a time, and from which on an array is worth a file.
SLAB = 2**24
#: Entries that are picked at a time.
FEW = 32


def map_zeros(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An array of zeros in a file of a folder, without a name, that goes with the array; in memory where it is small.

    Raises
    ------
    OSError
        If there is no room for the whole: where the disc is full later, the process would end by a signal.
    """
    size = 8 * int(np.prod(shape, dtype=object))
    if size < SLAB:
        return np.zeros(shape)
    with tempfile.TemporaryFile(dir=folder) as file:
        claim_space(file.fileno(), size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), float).reshape(shape)


def map_file(path: Path, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in a file from a place on, which cannot be changed.

    Raises
    ------
    OSError
    """
    first = offset - offset % mmap.ALLOCATIONGRANULARITY
    count = int(np.prod(shape))
    with open(path, "rb") as file:
        held = mmap.mmap(file.fileno(), offset - first + 8 * count, access=mmap.ACCESS_READ, offset=first)
    return np.frombuffer(held, float, count, offset - first).reshape(shape)


def claim_space(file: int, size: int) -> None:
    """Have so many bytes of an open file on the disc.

    Raises
    ------
    OSError
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        for start in range(0, size, SLAB):
            os.pwrite(file, bytes(min(SLAB, size - start)), start)


def release(*arrays: Any) -> None:
    """Give back the memory of arrays that are in files; others stay as they are."""
    for array in arrays:
        base = array
        while isinstance(base, np.ndarray):
            base = base.base
        held = getattr(base, "obj", None)
        if isinstance(held, mmap.mmap):
            held.madvise(mmap.MADV_DONTNEED)


def take_some(array: np.ndarray, places: np.ndarray, axis: int = 0) -> np.ndarray:
    """Some entries along an axis, ``array.take(places, axis)``, without the others in memory.

    A few at a time: where they are in a file, the system brings much of what is beside them.
    """
    out = np.empty((*array.shape[:axis], len(places), *array.shape[axis + 1 :]), array.dtype)
    into, given = np.moveaxis(out, axis, 0), np.moveaxis(array, axis, 0)
    for start in range(0, len(places), FEW):
        into[start : start + FEW] = given[places[start : start + FEW]]
        release(array)
    return out


def walk_slabs(shape: tuple[int, ...], lead: int = 2) -> Iterator[tuple[Any, ...]]:
    """Indices of an array of numbers, of parts of about `SLAB` bytes along one of its first dimensions.

    lead : number of the dimensions along which it may be cut, the last of which is
    """
    *outer, length = shape[:lead]
    step = max(1, SLAB // max(1, 8 * int(np.prod(shape[lead:]))))
    for index in np.ndindex(*outer):
        for start in range(0, length, step):
            yield (*index, slice(start, min(start + step, length)))
