"""The one place where compile options and the on-disk cache are decided.

numba's cache knows only the file of the cached function: change a helper in another file, or upgrade the
package in place, and the cached caller still runs the old helper. So the cache folder carries a hash of
*all* compiled sources of this package: any change of any of them starts a fresh folder.

numba also trusts what it finds in a file of its cache: a damaged one ends every start with an error of pickle, or runs
as another program. So each file begins with a hash of its name and content, and what does not fit is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.serialize import dumps

PACKAGE = Path(__file__).resolve().parent.parent
#: Files with compiled functions, and with the constants that they read.
COMPILED = (
    "linalg/*.py",
    "linalg/sparse/*.py",
    "model/codes.py",
    "structures/*.py",
    "engines/rotated/*.py",
    "engines/rotated/kernels/*.py",
)

#: Compiled code of other versions is removed after so many days without use.
STALE_DAYS = 90


def hash_sources() -> str:
    """Hash every source file that holds compiled functions, with the versions that compile them."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for pattern in COMPILED:
        for file in sorted(PACKAGE.glob(pattern)):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def find_cache_folder() -> str | None:
    """The folder for compiled code, or None where no folder can be written (then nothing is cached)."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        bases = [Path(given)]
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        bases = [Path(home) / "bmtme"]
    for base in bases:
        folder = base / f"compiled-{hash_sources()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        remove_stale(base, keep=folder)
        return str(folder)
    warn_unwritable(bases[0])
    return None


def warn_unwritable(folder: Path) -> None:
    """Say why every start takes its time."""
    warnings.warn(
        f"compiled code cannot be kept, because {folder} cannot be written: every start will take minutes. Set "
        "NUMBA_CACHE_DIR to a folder that can be written.",
        UserWarning,
        stacklevel=3,
    )


def remove_stale(base: Path, keep: Path) -> None:
    """Remove folders of other versions that were not used for `STALE_DAYS`."""
    with contextlib.suppress(OSError):
        keep.touch()
        for folder in base.glob("compiled-*"):
            if folder != keep and time.time() - folder.stat().st_mtime > STALE_DAYS * 86400:
                shutil.rmtree(folder, ignore_errors=True)


class SealedFile(IndexDataCacheFile):
    """What numba keeps of one function, an index and a file for each of its signatures, with a seal on each file.

    A file that cannot be read, is damaged, belongs to another function or to another signature (two processes that
    compile at a time may give one number to two) counts as absent. One that cannot be written is left out.
    """

    def load(self, key: Any) -> Any:
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def save(self, key: Any, data: Any) -> None:
        try:
            super().save(key, (key, data))
        except OSError:  # such as a full disc: what was compiled is in memory all the same
            warn_unwritable(Path(self._cache_path))

    def _load_index(self) -> Any:
        return self._read(self._index_path) or {}

    def _save_index(self, overloads: Any) -> None:
        self._write(self._index_path, overloads)

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _seal(self, path: str, content: bytes | memoryview) -> bytes:
        digest = hashlib.sha256(os.path.basename(path).encode() + b"\0")
        digest.update(content)
        return digest.digest()

    def _read(self, path: str) -> Any:
        try:
            raw = memoryview(Path(path).read_bytes())
        except OSError:
            return None
        seal, content = raw[:32], raw[32:]
        if seal != self._seal(path, content):
            with contextlib.suppress(OSError):
                os.unlink(path)
            warnings.warn(
                f"compiled code in {CACHE_FOLDER} was damaged: it is compiled again, which may take some minutes.",
                UserWarning,
                stacklevel=2,
            )
            return None
        stamp, value = pickle.loads(content)
        return value if stamp == self._source_stamp else None

    def _write(self, path: str, value: Any) -> None:
        content = dumps((self._source_stamp, value))
        with self._open_for_write(path) as file:
            file.write(self._seal(path, content))
            file.write(content)


class SealedCache(FunctionCache):
    """numba's cache of a function, in sealed files."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = SealedFile(self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())


CACHE_FOLDER = find_cache_folder()


def compiled(inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile without the GIL, cached in `CACHE_FOLDER`.

    inline : make the function part of its one caller. Every function is otherwise optimised again in each function
        above it; those that are large and have several callers are called at addresses (`pointers.call_apart`).
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {"nogil": True}
        if inline:
            options["inline"] = "always"
        dispatcher = numba.njit(**options)(function)
        if CACHE_FOLDER is None or dispatcher is function:  # not compiled: numba is switched off
            return dispatcher
        # The location is read from the configuration when the cache is made.
        config: Any = numba.config
        before = config.CACHE_DIR
        config.CACHE_DIR = CACHE_FOLDER
        try:
            dispatcher._cache = SealedCache(function)
        finally:
            config.CACHE_DIR = before
        return dispatcher

    return decorate
