"""Files that a run came from, known again by their hashes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmtme.errors import DataError
from bmtme.results.record import hash_file


def describe_file(path: str) -> dict[str, Any]:
    """Path and SHA-256 of a file; no hash of a pipe, which can be read only once. Of a folder, those of its files."""
    if os.path.isdir(path):
        from bmtme.data.adjusted import COVARIANCES, TABLE

        # What numbers are made of: the record beside it has times of its own.
        names = [name for name in (f"{TABLE}.csv", COVARIANCES) if os.path.isfile(os.path.join(path, name))]
        return {"path": path, "sha256": {name: describe_file(os.path.join(path, name))["sha256"] for name in names}}
    file = Path(path)
    return {"path": path, "sha256": hash_file(file) if file.is_file() else None}


def describe_relationship(path: str) -> dict[str, Any]:
    """The same of a relationship, which may stand in several files: those of GCTA and PLINK keep names apart."""
    folder, name = os.path.split(path)
    stem = re.sub(r"\.(grm|rel|giv)(\..*)?$", "", name, flags=re.IGNORECASE)
    parts = re.compile(re.escape(stem) + r"\.(grm|rel|giv)(\.n)?(\.bin|\.gz)?(\.id)?", re.IGNORECASE)
    found = sorted(file for file in os.listdir(folder or ".") if parts.fullmatch(file))
    if len(found) < 2 or (name != stem and name not in found):
        return describe_file(path)
    return {"path": path, "sha256": {file: describe_file(os.path.join(folder, file))["sha256"] for file in found}}


def describe_role(role: str, path: str) -> dict[str, Any]:
    """What is recorded of a file by what it is in the run."""
    return describe_relationship(path) if role == "relationship" or role.startswith("known ") else describe_file(path)


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
        if os.path.exists(path) and describe_role(role, path)["sha256"] != given["sha256"]:
            raise DataError(
                f"the {role} {path} were changed since the run began, which would then be of neither: put the file "
                "back as it was, or start anew in another folder."
            )
