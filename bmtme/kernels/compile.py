"""The one place where compile options and the on-disk cache are decided.

numba's cache knows only the file of the cached function: change a helper in another file, or upgrade the
package in place, and the cached caller still runs the old helper. So the cache folder carries a hash of
*all* compiled sources of this package: any change of any of them starts a fresh folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

PACKAGE = Path(__file__).resolve().parent.parent
COMPILED_FOLDERS = ("kernels", "gibbs")

#: Compiled code of other versions is removed after so many days without use.
STALE_DAYS = 90


def hash_sources() -> str:
    """Hash every source file that holds compiled functions, with the versions that compile them."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for folder in COMPILED_FOLDERS:
        for file in sorted((PACKAGE / folder).glob("*.py")):
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
    warnings.warn(
        f"compiled code cannot be kept, because {bases[0]} cannot be written: every start will take a minute. Set "
        "NUMBA_CACHE_DIR to a folder that can be written.",
        UserWarning,
        stacklevel=2,
    )
    return None


def remove_stale(base: Path, keep: Path) -> None:
    """Remove folders of other versions that were not used for `STALE_DAYS`."""
    with contextlib.suppress(OSError):
        keep.touch()
        for folder in base.glob("compiled-*"):
            if folder != keep and time.time() - folder.stat().st_mtime > STALE_DAYS * 86400:
                shutil.rmtree(folder, ignore_errors=True)


CACHE_FOLDER = find_cache_folder()


def compiled(inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile without the GIL, cached in `CACHE_FOLDER`.

    inline : make the function part of its one caller. Every function is optimised again in each function above
        it, so that large steps with a single caller would double the time of the first start.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {"nogil": True}
        if inline:
            options["inline"] = "always"
        if CACHE_FOLDER is None:
            return numba.njit(**options)(function)
        # The cache location is read from the configuration when the dispatcher is made.
        config: Any = numba.config
        before = config.CACHE_DIR
        config.CACHE_DIR = CACHE_FOLDER
        try:
            return numba.njit(cache=True, **options)(function)
        finally:
            config.CACHE_DIR = before

    return decorate
