"""Libraries that only some users need: imported when they are, with one message where they are absent."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from bmtme.errors import UsageError

__all__ = ["require"]


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a library that belongs to one of the extras.

    Parameters
    ----------
    module : str
        Name of the module to import.
    extra : str
        Extra of this package that brings it.
    purpose : str
        What needs it, as the beginning of a sentence: ``"reading field.xlsx"``.

    Raises
    ------
    UsageError
        If the library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise UsageError(
            f"{purpose} needs the Python library {library}, which cannot be imported ({error}): install it with "
            f"pip install 'bmtme[{extra}]' or pip install {library}."
        ) from None
