"""What the shell command says: results on stdout, warnings and errors on stderr, one line each."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from bmtme.errors import SamplingWarning
from bmtme.words import show_signs

__all__ = ["complain", "flush", "plain_warnings", "say", "width"]


def say(text: str) -> None:
    """Print on stdout. A reader that went away (``| head``) is no error."""
    stream: TextIO | None = sys.stdout  # None where it was closed by the caller
    if stream is None:
        return
    try:
        _write(stream, text)
    except BrokenPipeError:
        _discard(stream)


def complain(text: str) -> None:
    """Print one line on stderr. That nobody can read it must not end a run."""
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    try:
        _write(stream, " ".join(text.split()))
    except OSError:
        _discard(stream)


def flush() -> None:
    """Flush stdout now: Python would do it at its exit, with a traceback where the reader went away."""
    stream: TextIO | None = sys.stdout
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        _discard(stream)


def width() -> int:
    """Columns for text: those of the terminal within reason, 100 where there is none."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show what bmtme warns of as ``warning: ...``, each text once, and nothing that libraries tell programmers."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = str(message)
        if text not in seen:
            seen.add(text)
            complain(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning)
        warnings.filterwarnings("ignore", category=SamplingWarning)  # the report says it
        warnings.showwarning = show
        yield


def _write(stream: TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # Names are the user's: a terminal that lacks a letter shows its code, too.
    stream.write(show_signs(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _discard(stream: TextIO) -> None:
    """Send the rest of a stream nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
