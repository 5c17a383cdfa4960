"""Relationships between lines: a symmetric matrix whose rows and columns carry the names of the lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd

from bmtme.arguments import as_list, is_number, is_one_of, show
from bmtme.data.relationship.entries import from_labelled, from_square, is_identity, validated
from bmtme.data.relationship.inverse import warn_of_inverse
from bmtme.data.tables.cells import unique_names
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import describe_matches, list_names, match_look_alikes

__all__ = ["Relationship", "match_lines"]


class Relationship:
    """Relationship matrix G of n lines, such as a genomic or pedigree relationship. Immutable.

    Parameters
    ----------
    matrix : (n, n) array or pandas.DataFrame
        Symmetric, finite, with a positive diagonal; differences between mirror images up to 1e-8 of the largest
        diagonal entry are averaged away. The rows and columns of a DataFrame are matched by name.
    lines : sequence of str, optional
        Names of the lines in the order of the array's rows. Of a DataFrame, the order wanted; its index by default.

    Attributes
    ----------
    lines : tuple of str
        Names of the lines.
    matrix : (n, n) float64 array
        Exactly symmetric, C-contiguous, read-only.
    is_identity : bool
        Whether the lines are unrelated with unit variance. No matrix is stored then; `matrix` is made on demand.
    notes : tuple of str
        What `blend` and `bend` did to the matrix, with numbers.

    Warns
    -----
    UserWarning
        Of a matrix that looks like the inverse of a relationship.

    Raises
    ------
    DataError
        For a matrix that is not square, labels that do not fit or repeat, an entry that is missing, text or infinite,
        mirror images that differ, or a diagonal entry that is not positive; lines are named. Eigenvalues are not
        looked at here.

    Notes
    -----
    Names are text: white space around them is dropped, whole numbers become their decimal text, ``001`` stays.
    """

    __slots__ = ("_lines", "_matrix", "_notes", "_position")

    _lines: tuple[str, ...]
    _matrix: np.ndarray | None
    _notes: tuple[str, ...]
    _position: dict[str, int]

    def __init__(self, matrix: np.ndarray | pd.DataFrame, lines: Iterable[Any] | None = None) -> None:
        name = "the relationship matrix"
        if isinstance(matrix, pd.DataFrame):
            entries, names = from_labelled(matrix, lines, name)
        elif lines is None:
            raise UsageError("lines= is needed: the names of the lines in the order of the matrix's rows.")
        else:
            names = unique_names(lines, "lines=")
            entries = from_square(matrix, names, name)
        self._store(names, validated(entries, names, name))
        warn_of_inverse(self._matrix, name, stacklevel=2)

    def _store(self, lines: tuple[str, ...], matrix: np.ndarray | None, notes: tuple[str, ...] = ()) -> None:
        if matrix is not None:
            matrix.setflags(write=False)
        self._lines = lines
        self._matrix = matrix
        self._notes = notes
        self._position = {line: j for j, line in enumerate(lines)}

    @classmethod
    def _stored(cls, lines: tuple[str, ...], matrix: np.ndarray | None, notes: tuple[str, ...] = ()) -> Relationship:
        """Wrap lines and a matrix that are known to be valid."""
        relationship = cls.__new__(cls)
        relationship._store(lines, matrix, notes)
        return relationship

    @classmethod
    def identity(cls, lines: Iterable[Any]) -> Relationship:
        """Unrelated lines of unit variance; no matrix is stored."""
        return cls._stored(unique_names(lines, "lines="), None)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through _stored, as unpickled arrays are writeable.
        return Relationship._stored, (self._lines, self._matrix, self._notes)

    def __repr__(self) -> str:
        if self._matrix is None:
            return f"Relationship({len(self)} lines; identity)"
        return f"Relationship({len(self)} lines; mean diagonal {np.trace(self._matrix) / len(self):.4g})"

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """Names of the lines."""
        return self._lines

    @property
    def matrix(self) -> np.ndarray:
        """The (n, n) matrix, read-only."""
        if self._matrix is not None:
            return self._matrix
        matrix = np.eye(len(self))
        matrix.setflags(write=False)
        return matrix

    @property
    def is_identity(self) -> bool:
        """Whether the matrix is the identity."""
        return self._matrix is None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the matrix, a sentence with numbers each."""
        return self._notes

    def index(self, lines: Iterable[str]) -> np.ndarray:
        """Places of `lines` in this relationship: int64 array. A DataError names the lines that are not there."""
        wanted = [line if isinstance(line, str) else show(line) for line in as_list(lines, "lines=")]
        unknown = [line for line in wanted if line not in self._position]
        if unknown:
            close = describe_matches(match_look_alikes(unknown, self._lines))
            raise DataError(f"The relationship has no line {list_names(unknown)}{f' ({close})' if close else ''}.")
        return np.array([self._position[line] for line in wanted], dtype=np.int64)

    def subset(self, lines: Iterable[str]) -> Relationship:
        """The relationship of these lines, in this order."""
        names = unique_names(lines, "lines=")
        places = self.index(names)
        if self._matrix is None:
            return Relationship._stored(names, None, self._notes)
        matrix = self._matrix[np.ix_(places, places)]
        return Relationship._stored(names, None if is_identity(matrix) else matrix, self._notes)

    def blend(self, weight: float, other: Relationship | None = None) -> Relationship:
        r"""Average with another relationship, :math:`(1 - w) G + w A`.

        Parameters
        ----------
        weight : float
            w, from 0 to 1; 0.01 to 0.2 is usual.
        other : Relationship, optional
            A, matched by name; it may hold more lines. By default the identity, which makes G positive definite and
            lets every line deviate from its relatives.

        Returns
        -------
        Relationship
            With what was done added to its `notes`.

        Raises
        ------
        UsageError
            If the weight is no number from 0 to 1.
        DataError
            If `other` lacks a line.

        Notes
        -----
        VanRaden (2008), J. Dairy Sci. 91:4414-4423, blends G with A by w. The mean diagonals of the two should be
        alike, as w is not a share of the variance otherwise.
        """
        if not is_number(weight) or not 0 <= weight <= 1:
            raise UsageError(f"weight must be a number from 0 to 1, got {show(weight)}.")
        if other is not None and not isinstance(other, Relationship):
            raise UsageError(f"other must be a Relationship, got {type(other).__name__}.")
        matrix = (1.0 - weight) * self.matrix
        if other is None:
            matrix[np.diag_indices_from(matrix)] += weight
        else:
            matrix += weight * other.subset(self.lines).matrix
        before, after = np.trace(self.matrix) / len(self), np.trace(matrix) / len(self)
        note = (
            f"blended: {1 - weight:g} x itself + {weight:g} x {'identity' if other is None else 'the other'}, mean "
            f"diagonal {before:.6g} before, {after:.6g} after"
        )
        return Relationship._stored(self.lines, None if is_identity(matrix) else matrix, (*self.notes, note))

    def bend(self, floor: float = 1e-6) -> Relationship:
        r"""Raise low eigenvalues, so that the matrix is positive definite.

        Parameters
        ----------
        floor : float
            Least eigenvalue relative to the largest, above 0 and below 1. Lower ones, negative ones among them, are
            set to it; the eigenvectors stay.

        Returns
        -------
        Relationship
            With what was done added to its `notes`: how many eigenvalues were raised, from where, and the largest
            change of an entry. Without an eigenvalue to raise, the matrix is the same.

        Raises
        ------
        UsageError
            If `floor` is out of its range.

        Notes
        -----
        Unweighted bending of Jorjani, Klei and Emanuelson (2003), J. Dairy Sci. 86:677-679,
        doi 10.3168/jds.S0022-0302(03)73646-7, in one step and with a floor relative to the largest eigenvalue. A
        matrix that is far from positive semi-definite is wrong in some entry: look at the smallest eigenvalue first.
        """
        if not is_number(floor) or not 0 < floor < 1:
            raise UsageError(f"floor must be a number above 0 and below 1, got {show(floor)}.")
        if self._matrix is None:
            return Relationship._stored(self.lines, None, (*self.notes, "bent: the identity needs none"))
        values, vectors = np.linalg.eigh(self._matrix)
        smallest, largest = float(values[0]), float(values[-1])
        least = floor * largest
        low = int(np.searchsorted(values, least))
        if not low:
            note = (
                f"bent: no eigenvalue is below {floor:g} of the largest, the matrix is unchanged (smallest "
                f"{smallest:.3g}, largest {largest:.3g})"
            )
            return Relationship._stored(self.lines, self._matrix, (*self.notes, note))
        # Only what is added to the matrix is computed: entries that need no change get none from rounding.
        added = (vectors[:, :low] * (least - values[:low])) @ vectors[:, :low].T
        matrix = self._matrix + (added + added.T) / 2
        note = (
            f"bent: {low} of {len(values)} eigenvalues raised to {least:.3g}, {floor:g} of the largest "
            f"({largest:.3g}), the smallest from {smallest:.3g}; largest change of an entry {np.abs(added).max():.3g}, "
            f"mean diagonal {np.trace(self._matrix) / len(self):.6g} before, {np.trace(matrix) / len(self):.6g} after"
        )
        return Relationship._stored(self.lines, None if is_identity(matrix) else matrix, (*self.notes, note))


def match_lines(
    trial: Trial, relationship: Relationship, unrelated: Literal["error", "drop"] = "error"
) -> tuple[Trial, tuple[str, ...]]:
    """Make sure that every line of the trial has a relationship.

    Parameters
    ----------
    trial : Trial
    relationship : Relationship
        May hold lines that the trial does not have, in any order.
    unrelated : {"error", "drop"}
        What to do about lines with a value but no relationship. Lines without either are dropped in both cases:
        there is nothing to learn from them and nothing to predict them by.

    Returns
    -------
    trial : Trial
        The trial with the lines of the relationship only; the same object if none was dropped.
    dropped : tuple of str
        Lines that were dropped, in the order of the trial.

    Raises
    ------
    DataError
        If a line with a value has no relationship and is not to be dropped, or fewer than two lines with a value stay.
    """
    if not is_one_of(unrelated, ("error", "drop")):
        raise UsageError(f"unrelated must be 'error' or 'drop', got {show(unrelated)}.")
    related = set(relationship.lines)
    unknown = tuple(line for line in trial.lines if line not in related)
    if not unknown:
        return trial, ()
    with_value = set(trial.recorded_lines)
    missing = [line for line in unknown if line in with_value]
    if missing and unrelated == "error":
        lines = "1 line has" if len(missing) == 1 else f"{len(missing)} lines have"
        close = describe_matches(match_look_alikes(missing, relationship.lines))
        markers = ""
        if len(missing) == len(with_value) and not close:
            markers = (
                f" Names in the relationship are such as {list_names(relationship.lines[:3])}: if these are markers, "
                "it was made of a table with markers in rows, which has to be turned."
            )
        raise DataError(
            f"{lines} records in the trial but no relationship: {list_names(missing)}{f' ({close})' if close else ''}. "
            "Correct the names, add the lines to the relationship, or have them dropped (unrelated='drop', in the "
            f"shell --drop-unrelated).{markers}"
        )
    if len(with_value) - len(missing) < 2:
        raise DataError(
            f"Only {len(with_value) - len(missing)} of the trial's {len(with_value)} lines with records "
            f"are in the relationship, at least two are needed: names such as {list_names(trial.lines[:3])} do not "
            f"match names such as {list_names(relationship.lines[:3])}."
        )
    return trial.drop_lines(unknown), unknown
