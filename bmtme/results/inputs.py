"""Files that a run came from, known again by their hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmtme.errors import DataError


def describe_file(path: str) -> dict[str, Any]:
    """Path and SHA-256 of a file; no hash of a pipe, which can be read only once. Of a folder, those of its files."""
    if os.path.isdir(path):
        names = sorted(file.name for file in Path(path).iterdir() if file.is_file())
        return {"path": path, "sha256": {name: describe_file(os.path.join(path, name))["sha256"] for name in names}}
    digest = None
    if Path(path).is_file():
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path, "sha256": digest}


def refuse_changed(inputs: Mapping[str, Any], directory: str) -> None:
    """Refuse files that are no longer what the run began with.

    inputs : by what they are, as of `describe_file`, with paths from `directory`

    Raises
    ------
    DataError
    """
    for role, given in inputs.items():
        if not isinstance(given, Mapping) or given.get("sha256") is None:
            continue
        path = os.path.join(directory, given["path"])
        if os.path.exists(path) and describe_file(path)["sha256"] != given["sha256"]:
            raise DataError(
                f"the {role} {path} were changed since the run began, which would then be of neither: put the file "
                "back as it was, or start anew in another folder."
            )
