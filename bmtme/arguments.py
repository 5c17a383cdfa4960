"""Checks of plain arguments, shared by the functions a user calls."""

from __future__ import annotations

import errno
import math
import operator
import os
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bmtme.choices import PREDICTED
from bmtme.errors import DataError, UsageError, blame
from bmtme.memory import measure_free_memory, show_bytes

__all__ = [
    "as_array",
    "as_label",
    "as_list",
    "as_text",
    "check_links",
    "check_memory",
    "check_place",
    "check_predicted",
    "file_path",
    "is_number",
    "is_one_of",
    "is_unicode",
    "show",
    "whole_number",
]

#: Counts and seeds are 64-bit numbers in compiled code and in files.
_LARGEST = 2**63 - 1
#: Signs of a label at most: it stands in every row of the tables, in figures and in sentences.
_LONGEST_LABEL = 200


def show(value: Any, most: int = 100) -> str:
    """A value as it stands in a message: on one line, and cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of a user's own type; and a whole number of thousands of digits has no decimal text
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def is_number(value: Any) -> bool:
    """Whether the value is a finite number (True is none)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def is_one_of(value: Any, allowed: Collection[str]) -> bool:
    """Whether the value is a text and among those allowed."""
    return isinstance(value, str) and value in allowed


def is_unicode(text: str) -> bool:
    """Whether a text can be written: Python's may hold halves of pairs, which tables and files cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_array(values: Any, name: str) -> np.ndarray:
    """The values as an array; a DataError if they are nested lists of different lengths."""
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(f"{name} must be an array, got rows of different lengths: {show(values)}.") from None


def as_text(value: Any, name: str) -> str:
    """The value without white space around it; a UsageError if it is no text."""
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a text, got {show(value)}.")
    if not is_unicode(value):
        raise UsageError(f"{name} holds half of a pair of Unicode surrogates, which is no text: {show(value)}.")
    return value.strip()


def as_label(value: Any, name: str) -> str:
    """A text that is to stand in tables and on the terminal, without white space around it.

    Raises
    ------
    UsageError
        If it is no text, is longer than 200 characters, or holds a control character or a line break.
    """
    text = as_text(value, name)
    odd = next((sign for sign in text if unicodedata.category(sign) in ("Cc", "Zl", "Zp")), None)
    if odd is not None:
        raise UsageError(
            f"{name} holds the control character {odd!r}: {show(text)}. Tables and terminals do not show it as it is: "
            "leave it out, here or in the names that the label is made of."
        )
    if len(text) > _LONGEST_LABEL:
        raise UsageError(
            f"{name} has {len(text):,} characters, and {_LONGEST_LABEL} are the most: {show(text, 60)}. Shorten it, or "
            "the names that it is made of."
        )
    return text


def as_list(values: Any, name: str) -> list[Any]:
    """One text as a list, or the members of a list; a UsageError if it is neither."""
    if isinstance(values, str):
        return [values]
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        raise UsageError(f"{name} must be a name or a list of names, got {show(values)}.")
    try:
        return list(values)
    except TypeError:  # an array without dimensions
        raise UsageError(f"{name} must be a name or a list of names, got {show(values)}.") from None


def file_path(value: Any, name: str = "path") -> str:
    """The name of a file or folder as a text.

    Raises
    ------
    UsageError
        If the value is neither text nor path, is empty, too long, or holds what no name of a file can.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"{name} must be the name of a file or folder, got {show(value)}.")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{name} must be the name of a file or folder as a text, got {show(text)}.")
    try:
        os.lstat(text)
    except ValueError:  # a zero byte, or half of a pair of surrogates
        raise UsageError(f"{name} holds a sign that no name of a file can have: {show(text)}.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{name} is too long for the name of a file: {show(text)}.") from None
    return text


def check_memory(needed: float, what: str, advice: str = "ask for less") -> None:
    """Refuse what the memory that is free could not hold.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What was asked for, with the names of the arguments.
    advice : str
        What to do.

    Raises
    ------
    UsageError
    """
    free = measure_free_memory()
    if needed > free:
        raise UsageError(
            f"{what} would take about {show_bytes(needed)} of memory, of which {show_bytes(free)} are free: {advice}."
        )


def whole_number(value: Any, name: str, least: int) -> int:
    """Return the value as a Python int.

    Parameters
    ----------
    value : int or numpy integer
        What the user gave.
    name : str
        Name of the argument, for the message.
    least : int
        Smallest value allowed.

    Raises
    ------
    UsageError
        If the value is no integer (True and 2.0 are none), below `least` or above 2^63 - 1.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, (bool, np.bool_)) or number < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, got {show(value)}.")
    if number > _LARGEST:
        raise UsageError(f"{name} must be a whole number of at most 2^63 - 1, got {show(value)}.")
    return number


def check_predicted(of: Any) -> None:
    """Refuse what no prediction is of; a UsageError."""
    if not is_one_of(of, PREDICTED):
        raise UsageError(f"of must be one of {' or '.join(map(repr, PREDICTED))}, got {show(of)}.")


def check_links(path: str | os.PathLike[str], what: str) -> None:
    """Refuse a path with symbolic links that lead in a circle.

    The system is asked, as what `pathlib` makes of a circle depends on the version of Python.

    Parameters
    ----------
    path : str or path
    what : str
        Words for it, for the message.

    Raises
    ------
    UsageError
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(f"{what} cannot be used: symbolic links lead in a circle there.") from None


def check_place(path: Path, what: str) -> None:
    """Refuse a new file or folder that could not be made in its place.

    Parameters
    ----------
    path : Path
        Folders above it may have to be made too.
    what : str
        Words for it, for the message.

    Raises
    ------
    UsageError
        If what should be the folder above is a file, must not be written in, or is a link that leads nowhere.
    """
    check_links(path, what)
    try:
        above = path.absolute().parent
        while not above.exists():
            if above.is_symlink():
                raise UsageError(f"{what} cannot be made: {above} is a symbolic link that leads nowhere.")
            above = above.parent
    except OSError as error:
        raise blame(error)(f"{what} cannot be made: {error.strerror}.") from None
    if not above.is_dir():
        raise UsageError(f"{what} cannot be made: {above} is a file.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{what} cannot be made: no permission to write in {above}.")
