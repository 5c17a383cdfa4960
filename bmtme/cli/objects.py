"""What a command says for programs: one JSON object on stdout (``--json``); everything else goes to stderr."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.streams import say

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LONG", "add_json_option", "list_files", "list_rows", "say_object", "simplify"]

#: Columns of text for programs, which is not wrapped.
LONG = 10**6


def add_json_option(parser: Any) -> None:
    """The option of commands that have something to say for programs."""
    parser.add_argument(
        "--json", action="store_true", help="for programs: one JSON object on stdout, and no other text"
    )


def say_object(args: argparse.Namespace, out: Path | None, **content: Any) -> None:
    """Print the object: the command, the version, the folder or file written if there is one, and what it found.

    Numbers that are missing are null. All letters are ASCII, so that no terminal obeys a name.
    """
    from bmtme import __version__

    head = {"command": args.words[1], "bmtme": __version__, "out": None if out is None else str(out)}
    if out is not None and not out.is_file():
        head["files"] = list_files(out)
    say(json.dumps(simplify({**head, **content}), allow_nan=False))


def list_files(out: Path) -> list[str]:
    """Names of the files that were written."""
    return sorted(path.name for path in out.iterdir() if path.is_file()) if out.is_dir() else []


def list_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table, each an object by column; an index with a name is the first of them."""
    if table.index.name is not None:
        table = table.reset_index()
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def simplify(value: Any) -> Any:
    """The same in what JSON has."""
    if isinstance(value, Mapping):
        return {str(name): simplify(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [simplify(each) for each in value]
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return None if value != value else str(value)  # missing values of pandas are not equal to themselves
