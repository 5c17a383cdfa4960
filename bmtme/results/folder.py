"""Output folders: written as a whole or not at all.

A folder is made as a hidden draft that takes its place at the end. A process that is killed leaves its draft behind;
the next one that writes the same folder knows by a lock, which ends with its process, that nobody holds it any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bmtme.arguments import check_links, file_path
from bmtme.errors import MachineError, UsageError, blame
from bmtme.mapped import claim_space
from bmtme.results.record import RECORD, UNFINISHED, read_state

#: In a draft: its lock, and whether it is complete.
_LOCK = ".lock"
_COMPLETE = b"complete"


# --- writing --------------------------------------------------------------------------------------------------------


def check_new_folder(folder: str | os.PathLike[str]) -> Path:
    """The path of an output folder, refused where something is there already; drafts of killed processes are removed.

    Raises
    ------
    UsageError
    """
    path = Path(file_path(folder, "folder"))
    check_links(path, f"the output folder {path}")
    for parent in (path, path.parent):
        for draft in _find_drafts(parent, path):
            with contextlib.suppress(OSError):
                _clear(draft, path)
    try:
        there = sorted(os.listdir(path)) if path.is_dir() else []
        is_file = path.exists() and not path.is_dir()
    except OSError as error:
        raise blame(error)(f"the output folder {path} cannot be used: {error.strerror}.") from error
    if is_file:
        raise UsageError(f"the output folder {path} is a file: name another one.")
    if held := _find_drafts(path, path):
        raise UsageError(
            f"the output folder {path} is in use, another process is writing {held[0].name!r} in it: name another "
            "folder. If there is no such process, remove that draft."
        )
    if read_state(path) == UNFINISHED:
        raise UsageError(
            f"the output folder {path} holds an unfinished run: 'bmtme resume {path}' goes on where it stopped (in "
            "Python bmtme.resume). Name another folder, or remove this one, to start anew."
        )
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UsageError(
            f"the output folder {path} is not empty (it holds {there[0]!r}{more}): name another one, or remove what is "
            "in it."
        )
    return path


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a whole folder or nothing: files go to a hidden draft and take their places at the end.

    A folder that exists (and is empty) stays itself, so that mount points, links and "." serve too.

    Raises
    ------
    UsageError
        If the folder holds something already, or cannot be made there.
    MachineError
        If it cannot be written, as on a full disc.
    """
    path = check_new_folder(folder)
    existed = path.is_dir()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft, lock = _make_draft(path, path if existed else path.parent)
    except OSError as error:
        raise blame(error)(f"cannot write the output folder {path}: {error.strerror}.") from error
    try:
        yield draft
        if existed:
            os.write(lock, _COMPLETE)
            move_files(draft, path)
        else:
            os.chmod(draft, 0o777 & ~_umask())
            draft.rename(path)
            with contextlib.suppress(OSError):  # all is there, with a hidden file too many
                (path / _LOCK).unlink()
    except OSError as error:  # of HDF5, too, which has words of its own
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise UsageError(f"the output folder {path} is not empty: another process wrote it meanwhile.") from error
        reason = error.strerror or " ".join(str(error).split())
        raise MachineError(f"cannot write the output folder {path}: {reason}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(lock)


def save_result(folder: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder; where that fails in spite of a good name, a temporary one, which the error names.

    Raises
    ------
    UsageError
        If the folder holds something already.
    MachineError
    """
    written = False
    try:
        with new_folder(folder) as draft:
            write(draft)
            written = True
    except (MachineError, UsageError) as error:
        if not written and not isinstance(error, MachineError):
            raise
        raise type(error)(f"{error} {keep_elsewhere(write)}") from error


def keep_elsewhere(write: Callable[[Path], None]) -> str:
    """Let `write` fill a folder among temporary files or at home, and say in a sentence where it is."""
    places = dict.fromkeys((Path(tempfile.gettempdir()), Path("~").expanduser(), Path.cwd()))
    for place in places:
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix="bmtme-", dir=place))
            write(folder)
        except OSError:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            return f"The results are kept in {folder}: move that folder to where you want it."
    return f"Nor could the results be kept in {' or '.join(map(str, places))}."


def measure_space(folder: Path) -> float:
    """Bytes that are free on the disc of a folder; no limit where the system does not tell."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return math.inf


def check_space(path: Path, size: float) -> None:
    """Refuse to start what could not be written at its end.

    Parameters
    ----------
    path : Path
        Folder to be made, or to be filled further.
    size : float
        Bytes, with those of what is in the folder already.

    Raises
    ------
    MachineError
    """
    above = path.absolute()
    while not above.exists():
        above = above.parent
    free, there = measure_space(above), sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if free < size - there:
        raise MachineError(
            f"the output folder {path} would take about {size / 2**20:,.0f} MB, and there are {free / 2**20:,.0f} MB "
            f"free in {above}: free some space, name a folder on another disc, or keep fewer draws or effects."
        )


def reserve(path: Path, size: int) -> None:
    """Make sure that a file of about so many bytes can be written: HDF5 may crash where a disc is full halfway.

    Raises
    ------
    OSError
    """
    size += size // 20 + 2**20  # what HDF5 adds: names, trees, alignment
    try:
        with open(path, "wb") as file:
            claim_space(file.fileno(), size)
    finally:
        path.unlink(missing_ok=True)


# --- drafts ---------------------------------------------------------------------------------------------------------


def _draft_prefix(path: Path) -> str:
    # Of a name's length, something must be left for the rest.
    return f".{Path(os.path.abspath(path)).name[:50]}.bmtme-"


def _find_drafts(parent: Path, path: Path) -> list[Path]:
    """Drafts of `path` in a folder, if it can be read."""
    try:
        return [entry for entry in parent.iterdir() if entry.name.startswith(_draft_prefix(path))]
    except OSError:
        return []


def _make_draft(path: Path, parent: Path) -> tuple[Path, int]:
    """A draft of `path` in `parent`, and the open file that locks it.

    Raises
    ------
    OSError
    """
    while True:
        draft = Path(tempfile.mkdtemp(prefix=_draft_prefix(path), dir=parent))
        try:
            lock = os.open(draft / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # another process took it for a leftover
            continue
        except BaseException:
            draft.rmdir()
            raise
        held = True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError:  # a file system without locks: leftovers stay, and are named
            pass
        if held and (draft / _LOCK).exists():
            return draft, lock
        os.close(lock)


def _clear(draft: Path, path: Path) -> None:
    """Remove a draft of `path` that nobody holds; one that was being moved is moved to its end.

    Raises
    ------
    OSError
    """
    try:
        lock = os.open(draft / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # killed before there was a lock, or when all else was being removed
        names = os.listdir(draft)
        if not names:
            draft.rmdir()
        elif _LOCK not in names:
            shutil.rmtree(draft)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if draft.parent == path and os.read(lock, len(_COMPLETE)) == _COMPLETE:
            move_files(draft, path)
        shutil.rmtree(draft)
    except BlockingIOError:
        pass  # its process is alive
    finally:
        os.close(lock)


def move_files(draft: Path, path: Path) -> None:
    """Move all files of a draft, `RECORD` last, in place of those that are there.

    Raises
    ------
    OSError
    """
    files = [file for file in draft.iterdir() if file.name != _LOCK]
    for file in sorted(files, key=lambda file: (file.name == RECORD, file.name)):
        file.rename(path / file.name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
