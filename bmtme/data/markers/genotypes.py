"""Markers of lines: genotypes that are read block by block, from memory or from a file that stays on disk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.data.markers.codes import AUTO, DIPLOID, Coding, FloatArray, MissingCodes, check_coding, choose_coding
from bmtme.data.tables.cells import unique_names
from bmtme.errors import DataError, UsageError
from bmtme.progress import Progress
from bmtme.words import some_names

__all__ = ["Markers", "ask_about_rows"]

#: Genotypes of a block: 32 MB as floats, and wide enough for fast matrix products.
_BLOCK_CELLS = 2**22
#: Rows from which on it is asked whether they are markers, if columns are few.
_FEWEST_LINES = 20

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class Markers:
    """Marker genotypes of n lines: copies of one allele, 0 to the ploidy, in blocks of markers.

    Made by `read_markers` or `Markers.from_frame`. Holds the codes in memory only where their file gives them row by
    row (tables, VCF); those of a PLINK file are read again whenever they are needed.

    Attributes
    ----------
    lines : tuple of str
        Names of the lines.
    names : tuple of str
        Names of the markers; they serve messages and reports and may repeat.
    source : str
        Name of the file, or words for it.
    read : callable
        ``read(start, stop)`` gives the genotypes of a range of all the source's markers for all its lines:
        float64 (lines, stop - start), NaN where missing, the caller's to change.
    line_places, kept : arrays or None
        Places among the source's lines; which of the source's markers are there. None for all.
    ploidy : int
        Sets of chromosomes, the copies that a genotype has of all alleles.
    alleles : tuple of (str, str), or None
        Of each marker the allele whose copies are counted and the other one, empty where the file does not name it;
        None where it names none.
    """

    lines: tuple[str, ...]
    names: tuple[str, ...]
    source: str
    read: Callable[[int, int], FloatArray]
    line_places: npt.NDArray[np.int64] | None = None
    kept: BoolArray | None = None
    ploidy: int = DIPLOID
    alleles: tuple[tuple[str, str], ...] | None = None

    def __repr__(self) -> str:
        return f"Markers({self.source}: {len(self.lines)} lines x {len(self.names)} markers)"

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of lines and of markers."""
        return len(self.lines), len(self.names)

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, coding: str = AUTO, missing: Iterable[Any] = (), ploidy: int = DIPLOID
    ) -> Markers:
        """Markers of a data frame.

        Parameters
        ----------
        frame : (n, m) pandas.DataFrame
            Lines in rows (their names are the index), markers in columns. A frame of one numeric type is not copied,
            and must not be changed while the markers are in use.
        coding, missing, ploidy
            As for `read_markers`.

        Raises
        ------
        DataError
            For a code that is none (line and marker are named), or if a line is named twice.
        """
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(f"expected a pandas DataFrame with lines in rows, got {type(frame).__name__}.")
        lines = unique_names(frame.index, "the index of the marker frame")
        names = tuple(str(name).strip() for name in frame.columns)
        absent = MissingCodes(missing)
        ploidy = check_coding(coding, ploidy)
        ask_about_rows(lines, names, "the markers", stacklevel=3)
        codes = _frame_codes(frame, lines, names, absent)
        return cls.from_codes(codes, lines, names, "the markers", coding, absent, ploidy)

    @classmethod
    def from_codes(
        cls,
        codes: np.ndarray,
        lines: Sequence[str],
        names: Sequence[str],
        source: str,
        coding: str,
        missing: MissingCodes,
        ploidy: int = DIPLOID,
    ) -> Markers:
        """Markers of a numeric (lines, markers) array, which is not copied."""
        lines, names = tuple(lines), tuple(names)
        if not names:
            raise DataError(f"{source} has no markers: expected lines in rows and markers in columns.")

        def raw(start: int, stop: int) -> FloatArray:
            return missing.clear(codes[:, start:stop].astype(np.float64))

        chosen: Coding = choose_coding(
            coding, ((a, raw(a, b)) for a, b in _ranges(len(lines), len(names))), lines, names, source, ploidy
        )
        return cls(lines, names, source, lambda start, stop: chosen.decode(raw(start, stop)), ploidy=ploidy)

    def blocks(self, what: str = "reading markers", progress: bool | None = None) -> Iterator[tuple[slice, FloatArray]]:
        """Genotypes block by block, as often as wanted.

        Parameters
        ----------
        what : str
            Words for the progress shown on stderr.
        progress : bool, optional
            Whether to show it; by default only where stderr is a terminal.

        Yields
        ------
        places : slice
            Among `names`.
        codes : (n, w) float64 array
            Copies of the allele, NaN where missing; the caller's to change.
        """
        total = len(self.names) if self.kept is None else len(self.kept)
        # Of the lines that are read, if only to be left out.
        n = len(self.lines) if self.line_places is None else int(self.line_places.max()) + 1
        bar = Progress(total, what, progress)
        done = 0
        try:
            for start, stop in _ranges(n, total):
                kept = None if self.kept is None else self.kept[start:stop]
                if kept is None or kept.any():
                    codes = self.read(start, stop)
                    if kept is not None and not kept.all():
                        codes = codes[:, kept]
                    if self.line_places is not None:
                        codes = codes[self.line_places]
                    yield slice(done, done + codes.shape[1]), codes
                    done += codes.shape[1]
                bar.update(stop)
        finally:
            bar.close()

    def select(self, lines: BoolArray | None = None, markers: BoolArray | None = None) -> Markers:
        """The markers of some lines, or some of the markers.

        Parameters
        ----------
        lines : (n,) bool array, optional
        markers : (m,) bool array, optional
        """
        chosen = self
        if lines is not None and not lines.all():
            places = np.arange(len(lines)) if self.line_places is None else self.line_places
            names = tuple(line for line, stays in zip(self.lines, lines, strict=True) if stays)
            chosen = replace(chosen, lines=names, line_places=places[lines])
        if markers is not None and not markers.all():
            kept = np.ones(len(markers), dtype=bool) if self.kept is None else self.kept.copy()
            kept[kept] = markers
            names = tuple(name for name, stays in zip(self.names, markers, strict=True) if stays)
            alleles = self.alleles
            if alleles is not None:
                alleles = tuple(pair for pair, stays in zip(alleles, markers, strict=True) if stays)
            chosen = replace(chosen, names=names, kept=kept, alleles=alleles)
        return chosen


def ask_about_rows(lines: Sequence[str], names: Sequence[str], source: str, stacklevel: int) -> None:
    """Warn where rows are many more than columns, so that they may be markers."""
    if len(lines) >= _FEWEST_LINES and len(lines) > 2 * len(names):
        warnings.warn(
            f"{source}: {len(lines):,} rows ({some_names(lines, 3)}) are taken as lines and {len(names):,} columns "
            f"({some_names(names, 3)}) as markers. If the rows are markers, turn the table (in R, t(); in pandas, .T); "
            "if not, so few markers tell little of so many lines.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def _ranges(lines: int, markers: int) -> Iterator[tuple[int, int]]:
    width = max(1, _BLOCK_CELLS // max(lines, 1))
    for start in range(0, markers, width):
        yield start, min(start + width, markers)


def _frame_codes(frame: pd.DataFrame, lines: Sequence[str], names: Sequence[str], missing: MissingCodes) -> np.ndarray:
    """A frame's codes as numbers; cell by cell where some are no numbers, so that the first bad one can be named."""
    codes = frame.to_numpy()
    if codes.dtype.kind in "biuf":
        return codes
    try:
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        pass
    codes = np.empty(frame.shape)
    for k, name in enumerate(names):
        for j, value in enumerate(frame.iloc[:, k].astype(object)):
            try:
                codes[j, k] = missing.parse(value)
            except DataError as error:
                raise DataError(
                    f"The genotype of line {lines[j]!r} at marker {name!r} is {error}: expected a number such as 0, 1 "
                    "or 2, or NaN if missing."
                ) from None
    return codes
