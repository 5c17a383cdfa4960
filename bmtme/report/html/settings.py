"""How a run was made, for the page: command, files, model, chains, versions, time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from bmtme.report.html.content import Block, Facts, Fold

__all__ = ["show_settings", "write_plain"]

#: Signs of a hash that are shown.
HASH = 16


def show_settings(run: Mapping[str, Any], facts: list[tuple[str, str]], folder: str | None = None) -> list[Block]:
    """What was said of the run, then command, files, versions and time.

    facts : of the model and its chains
    folder : that has the results
    """
    shown = list(facts)
    for name, file in run.get("inputs", {}).items():
        shown.append((name, describe_input(file)))
    versions = run.get("versions", {})
    if versions:
        shown.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    seconds = run.get("seconds", {})
    if isinstance(seconds, Mapping) and seconds:
        shown.append(("seconds", ", ".join(f"{name} {value:.3g}" for name, value in seconds.items())))
    if folder is not None:
        shown.append(("folder", folder))
    blocks: list[Block] = [Facts(shown)]
    if run.get("command"):
        blocks.append(Fold("Command", [Facts([("command", quote(run["command"]))])]))
    return blocks


def describe_input(file: Any) -> str:
    """A file of the run, known again by its hash."""
    if not isinstance(file, Mapping):
        return str(file)
    digest = file.get("sha256")
    text = PurePath(str(file.get("path", ""))).name or str(file.get("path", ""))
    return f"{text}, SHA-256 {digest[:HASH]}..." if isinstance(digest, str) else text


def quote(words: list[str]) -> str:
    """A command as a shell takes it."""
    import shlex

    return shlex.join(map(str, words))


def write_plain(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {write_plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(write_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
