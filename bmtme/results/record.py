"""The record of a run, run.json, which vouches for the files beside it: their hashes, its own, and a schema."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from bmtme.errors import BmtmeError, DataError, blame

#: Of run.json and the files it lists; a larger one is of a newer version of bmtme.
SCHEMA = 1
RECORD = "run.json"
#: What is made of a run afterwards, in its folder: a page, and a folder of pictures.
REPORT, PICTURES = "report.html", "pictures"
#: What `write_record` adds to the record of a run.
ADDED = ("schema", "state", "kind", "files", "columns", "sha256")
#: Among the seconds of a run: those of its files; of its sampling before it was stopped, or extended.
WRITE, BEFORE = "write", "before"
#: What a folder is in: only finished runs are read, others are gone on with.
FINISHED, UNFINISHED = "finished", "unfinished"
_UNSEALED = "0" * 64

_AGAIN = "Take it from a copy, or run it again: the same data, seed and versions give the same numbers"


def write_record(
    folder: Path,
    run: dict[str, Any],
    kind: str,
    columns: dict[str, dict[str, str]],
    state: str = FINISHED,
    began: float | None = None,
) -> None:
    """Write run.json: the record of a run, and what is needed to trust the files beside it that are read back.

    A workbook is none of them: people change it.

    Parameters
    ----------
    folder : Path
        With all other files.
    run : dict
    kind : str
        What the folder holds, such as ``fit``.
    columns : dict
        Type of each column of each table that is read back (see `bmtme.results.storage`).
    state : {"finished", "unfinished"}
    began : float, optional
        When the writing of the files began, by `time.perf_counter`: the seconds are added to those of the run.
    """
    from bmtme.results.spreadsheets import WORKBOOK

    files = {
        file.name: hash_file(file)
        for file in sorted(folder.iterdir())
        if file.name[0] != "." and file.name != WORKBOOK and file.is_file()
    }
    if began is not None:
        run = {**run, "seconds": {**run.get("seconds", {}), WRITE: round(time.perf_counter() - began, 3)}}
    # The hash of this file is that of its text with zeros in the hash's place, the last thing in it.
    added = dict(zip(ADDED, (SCHEMA, state, kind, files, columns, _UNSEALED), strict=True))
    text = json.dumps({"schema": SCHEMA, **run, **added}, indent=2, default=str) + "\n"
    before, _, after = text.rpartition(_UNSEALED)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / RECORD).write_text(before + digest + after, encoding="utf-8")


def read_record(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The record of a run and the types of the columns, once every file is what was written.

    Raises
    ------
    DataError
        If the folder is not of this kind, or a file is missing or damaged.
    """
    record, added = read_seal(folder, kind)
    if added["kind"] != kind:
        raise _unreadable(
            folder, kind, f"it holds {'an' if str(added['kind'])[:1] in 'aeiou' else 'a'} {added['kind']}"
        )
    for name, expected in added["files"].items():
        try:
            found = hash_file(folder / name)
        except FileNotFoundError:
            raise _unreadable(
                folder, kind, f"its {name} is missing, which was written and has been deleted. {_AGAIN}"
            ) from None
        except OSError as error:
            raise _unreadable(folder, kind, f"its {name} cannot be read: {error.strerror}", error) from None
        if found != expected:
            raise _unreadable(folder, kind, f"its {name} is damaged or was changed after it was written. {_AGAIN}")
    return record, added["columns"]


def read_seal(folder: Path, kind: str = "run", unfinished: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a run of any kind, and what `write_record` added; the files beside it are not looked at.

    kind : what is looked for, for messages
    unfinished : whether that of an unfinished run is read, too

    Raises
    ------
    DataError
        If there is no record, or it is not what was written.
    """
    text, record = _read_json(folder, kind)
    added = {name: record.pop(name, None) for name in ADDED}
    digest, schema = added["sha256"], added["schema"]
    intact = False
    if isinstance(digest, str) and digest.isascii() and len(digest) == len(_UNSEALED):
        before, _, after = text.rpartition(digest.encode())
        intact = hashlib.sha256(before + _UNSEALED.encode() + after).hexdigest() == digest
    if isinstance(schema, int) and schema > SCHEMA:
        raise _unreadable(
            folder,
            kind,
            f"its {RECORD} has schema {schema}, of a newer version of bmtme than this one, which reads {SCHEMA}"
            f"{'' if intact else ' (or it is damaged)'}. Use the version that wrote it",
        )
    if digest is None or schema is None:
        raise _unreadable(folder, kind, f"its {RECORD} has no schema and no checksums. {_AGAIN}")
    if not intact:
        raise _unreadable(folder, kind, f"its {RECORD} is damaged or was changed after it was written. {_AGAIN}")
    if added["state"] == UNFINISHED and not unfinished:
        raise DataError(
            f"{folder} holds an unfinished {added['kind']}: 'bmtme resume {folder}' goes on where it stopped (in "
            "Python bmtme.resume)."
        )
    if isinstance(record.get("seconds"), dict):
        added[WRITE] = record["seconds"].pop(WRITE, None)
        if not record["seconds"]:
            del record["seconds"]
    return record, added


def read_kind(folder: Path) -> str:
    """What a folder says it holds, such as ``fit``; empty where it does not say, which `read_record` refuses."""
    return _read_word(folder, "kind")


def read_state(folder: Path) -> str:
    """Whether a folder says that its run is `FINISHED` or `UNFINISHED`; empty where it does not say."""
    return _read_word(folder, "state")


def _read_word(folder: Path, name: str) -> str:
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    return str(record.get(name, "")) if isinstance(record, dict) else ""


def _read_json(folder: Path, kind: str) -> tuple[bytes, dict[str, Any]]:
    """Bytes and content of the record.

    Raises
    ------
    DataError
    """
    try:
        text = (folder / RECORD).read_bytes()
        record = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} holds no {RECORD}: expected a folder with a saved {kind}.") from None
    except OSError as error:
        raise _unreadable(folder, kind, f"its {RECORD} cannot be read: {error.strerror}", error) from None
    except (ValueError, RecursionError):
        raise _unreadable(folder, kind, f"its {RECORD} is damaged: it is no JSON text. {_AGAIN}") from None
    if not isinstance(record, dict):
        raise _unreadable(folder, kind, f"its {RECORD} is damaged: it is not the record of a run. {_AGAIN}")
    return text, record


def _unreadable(folder: Path, kind: str, reason: str, error: OSError | None = None) -> BmtmeError:
    made = DataError if error is None else blame(error, DataError)
    return made(f"{folder} cannot be read as a saved {kind}: {reason}.")


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
