"""Checks of plain arguments, shared by the functions a user calls."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from bmtme.errors import UsageError

__all__ = ["whole_number"]


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
        If the value is no integer (True and 2.0 are none) or below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, (bool, np.bool_)) or number < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return number
