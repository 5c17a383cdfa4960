"""The errors a user can meet. Each carries one clear message and the exit status of the shell command."""

from __future__ import annotations

import errno
from typing import ClassVar

__all__ = [
    "BmtmeError",
    "DataError",
    "MachineError",
    "NumericalError",
    "SamplingWarning",
    "UsageError",
    "blame",
    "is_of_machine",
]

#: Failures of the machine; others, such as a name that is too long, are a matter of the file that was named.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}


class BmtmeError(Exception):
    """Base of every error raised on purpose by this package.

    Attributes
    ----------
    exit_code : int
        Exit status of the shell command when this error ends it.
    """

    exit_code: ClassVar[int] = 1


class DataError(BmtmeError, ValueError):
    """The data cannot be used: a file, a table, a matrix, or a column named by the user that is not there."""

    exit_code: ClassVar[int] = 3


class UsageError(BmtmeError, ValueError):
    """A command or a call that makes no sense, whatever the data are."""

    exit_code: ClassVar[int] = 2


class NumericalError(BmtmeError, ArithmeticError):
    """A computation broke down, for example a covariance matrix that is no longer positive definite."""

    exit_code: ClassVar[int] = 4


class MachineError(BmtmeError, OSError):
    """The machine failed, whatever the data and the command are: a full disc, for example."""

    exit_code: ClassVar[int] = 1


class SamplingWarning(UserWarning):
    """What a fit says of its chains; the printed report of the shell says it too."""


def is_of_machine(error: OSError) -> bool:
    """Whether the machine failed, as on a full disc, and not the name of a file or a connection."""
    return error.errno in _MACHINE


def blame(error: OSError, otherwise: type[BmtmeError] = UsageError) -> type[BmtmeError]:
    """What a file that cannot be written, or read, is reported as: a failure of the machine, or as `otherwise`.

    Parameters
    ----------
    error : OSError
    otherwise : class of errors
        `UsageError` for a place to write to that does not serve, `DataError` for a file that is to be read.
    """
    return MachineError if is_of_machine(error) else otherwise
