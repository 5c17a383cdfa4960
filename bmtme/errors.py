"""The errors a user can meet. Each carries one clear message and the exit status of the shell command."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["BmtmeError", "DataError", "MachineError", "NumericalError", "UsageError"]


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
