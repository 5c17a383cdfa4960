"""Tables that long studies keep, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import bmtme
from bmtme.linalg.compile import hash_sources

Data = tuple[bmtme.Trial, bmtme.Relationship]


def digest_data(data: Data) -> str:
    """A short name for the values of a trial and its relationship."""
    trial, relationship = data
    digest = hashlib.blake2b(digest_size=8)
    for part in (trial.values, trial.line_index, trial.env_index, relationship.matrix):
        digest.update(part.tobytes())
    return digest.hexdigest()


def keep(
    path: Path | None,
    settings: dict[str, Any],
    make: Callable[[], pd.DataFrame],
    numbers: Sequence[str] = ("mean",),
) -> pd.DataFrame:
    """The table in a file; where there is none, make it and write it there.

    Parameters
    ----------
    path : None keeps nothing
    settings : what the table depends on; written in the first line of the file
    make : makes the table
    numbers : its columns that are no names

    Raises
    ------
    ValueError
        Where the file was made with other settings or other compiled sources.
    """
    header = {**json.loads(json.dumps(settings)), "sources": hash_sources()}
    if path is not None and path.exists():
        with path.open(encoding="utf-8") as file:
            old = json.loads(file.readline())
            differing = [key for key in {**old, **header} if old.get(key) != header.get(key)]
            if differing:
                raise ValueError(f"{path} was made with other {', '.join(differing)}: remove it or use another folder.")
            # Names are text, and the last digit of a number counts.
            return pd.read_csv(file, dtype=str, keep_default_na=False).astype(dict.fromkeys(numbers, float))
    table = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        with beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(header) + "\n")
            table.to_csv(file, index=False)
        beside.replace(path)
    return table
