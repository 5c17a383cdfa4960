"""A mixed model meets a table: records in computing order, fixed columns, and where every record lies in every term.

Labels come in, numbers and their labels go out; the engine sees numbers alone. Plots are computed in an order that
their contents tell, so that rows in another order give the same numbers to the last digit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from bmtme.errors import DataError, UsageError
from bmtme.model.mixed.checks import check_words
from bmtme.model.mixed.fixed import Columns, Fixed, make_columns, read_responses
from bmtme.model.mixed.known import Precision, invert_known, match_levels
from bmtme.model.mixed.plots import Factor, Plots
from bmtme.model.mixed.terms import TRAIT, UNITS, At, Axis, Random, Residual, Term, quote_level, quote_name
from bmtme.words import list_names

__all__ = ["AxisLevels", "Design", "Layout", "lay_out"]

_WHOLE = re.compile(r"-?[0-9]+")
#: Levels that a structure needs.
_LEAST = {"us": 1, "diag": 1, "corh": 2, "cs": 2, "fa": 2, "ar1": 2, "known": 1, "identity": 1}


@dataclass(frozen=True, eq=False)
class AxisLevels:
    """An axis with its levels, and its relationship where it has one."""

    axis: Axis
    levels: tuple[str, ...]
    precision: Precision | None = None


@dataclass(frozen=True, eq=False)
class Design:
    """A random term, or a section of the residual.

    Attributes
    ----------
    name : str
        As in tables; of a term at a level ``at(site, "S1"):col``.
    axes : tuple of AxisLevels
        The first varies slowest.
    cells : (n,) int64 array
        Place of each record in their product, -1 outside the term or section.
    at : tuple of At
        Of one level each.
    term : Term, optional
        Of the formula; none of a section.
    matrix : (n, q) scipy.sparse.csr_array, optional
        What each effect adds to each record, where that is not the effect of its cell alone: of two columns, or of a
        spline, where no record has a cell.
    """

    name: str
    axes: tuple[AxisLevels, ...]
    cells: np.ndarray
    at: tuple[At, ...] = ()
    term: Term | None = None
    matrix: sp.csr_array | None = None

    @property
    def levels(self) -> dict[str, str]:
        """Level of each factor of at(), the last first."""
        return {at.name: at.levels[0] for at in reversed(self.at)}

    def find_codes(self, axis: int) -> np.ndarray:
        """Level of each record along an axis (n,), -1 outside the term or section."""
        codes = np.full(len(self.cells), -1, dtype=np.int64)
        inside = self.cells >= 0
        codes[inside] = np.unravel_index(self.cells[inside], [len(made.levels) for made in self.axes])[axis]
        return codes


@dataclass(frozen=True, eq=False)
class Layout:
    """Records and how they lie.

    Attributes
    ----------
    plots : Plots
    y : (n,) float array
    rows : (n,) int64 array
        Row of the table of each record.
    trait : Factor or None
    columns : Columns
        Of the fixed part.
    random, residual : tuples of Design
    weights : (n,) float array, optional
    """

    plots: Plots
    y: np.ndarray
    rows: np.ndarray
    trait: Factor | None
    columns: Columns
    random: tuple[Design, ...]
    residual: tuple[Design, ...]
    weights: np.ndarray | None = None


def lay_out(
    fixed: Fixed,
    random: Random,
    residual: Residual,
    known: Mapping[str, Any],
    plots: Plots,
    weights: str | None = None,
) -> Layout:
    """Lay a table out for a model.

    Raises
    ------
    DataError, UsageError
        With the column, the level, the rows or the term that cannot be used.
    """
    check_words(fixed, random, residual, known, plots)
    values = read_responses(fixed, plots)
    records = _sort_records(fixed, random, residual, plots, values, weights)
    rows, trait_codes = records
    trait = Factor(trait_codes, fixed.traits) if fixed.traits else None
    reader = _Reader(plots, rows, trait, known)
    columns = make_columns(fixed, plots, rows, trait)
    designs = tuple(design for term in random.terms for design in reader.lay_random(term))
    sections = reader.lay_residual(residual)
    y = values[rows, trait_codes]
    return Layout(plots, y, rows, trait, columns, designs, sections, _read_weights(plots, rows, weights))


def _sort_records(
    fixed: Fixed, random: Random, residual: Residual, plots: Plots, values: np.ndarray, weights: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and traits of the records, trait by trait, plots in the order of what is known of them."""
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not len(rows):
        raise DataError(f"{plots.table.name} has no value of {list_names(fixed.responses)}: nothing can be fitted.")
    empty = [name for name, column in zip(fixed.responses, values.T, strict=True) if np.isnan(column).all()]
    if empty:
        raise DataError(f"{plots.table.name} has no value of {list_names(empty)}: leave it out of the fixed formula.")
    parts = [*random.terms, *residual.terms]
    factors = dict.fromkeys(name for term in parts for name in term.columns if name not in (UNITS, TRAIT))
    keys: list[np.ndarray] = [plots.factor(name, "random").codes for name in factors]
    for name in fixed.names:
        if name in factors or name not in plots.table.columns:
            continue
        keys.append(plots.numbers(name, "fixed") if plots.is_numeric(name) else plots.factor(name, "fixed").codes)
    if weights is not None:
        keys.append(plots.numbers(weights, "weights"))
    keys += list(values.T)
    order = rows[np.lexsort([key[rows] for key in keys[::-1]])]
    present = ~np.isnan(values[order])
    trait, place = np.nonzero(present.T)
    return order[place], trait.astype(np.int64)


def _read_weights(plots: Plots, rows: np.ndarray, name: str | None) -> np.ndarray | None:
    if name is None:
        return None
    values = plots.numbers(name, "weights")
    gaps = np.zeros(len(plots), dtype=bool)
    gaps[rows] = np.isnan(values[rows])
    plots.refuse_gaps(gaps, name, "weight", "give it a number, or leave these rows out")
    low = np.flatnonzero(values[rows] <= 0)
    if len(low):
        raise DataError(
            f"The weight {name!r} of {plots.table.name} is {values[rows[low[0]]]:g} in "
            f"{plots.table.row(int(rows[low[0]]))}: expected numbers above 0, such as numbers of plots behind a mean."
        )
    return np.asarray(values[rows])


class _Reader:
    """Places of records in terms."""

    def __init__(self, plots: Plots, rows: np.ndarray, trait: Factor | None, known: Mapping[str, Any]) -> None:
        self.plots = plots
        self.rows = rows
        self.trait = trait
        self.known = known
        self.inverses: dict[int, Precision] = {}
        # Numbers of plots in computing order.
        distinct, first, unit = np.unique(rows, return_index=True, return_inverse=True)
        rank = np.empty(len(distinct), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(distinct))
        labels = plots.label_all(distinct[np.argsort(first)])
        self.unit = Factor(rank[unit], labels)

    def factor(self, name: str, part: str, term: Term) -> Factor:
        """A factor of the records, which is not missing in any."""
        if name == UNITS:
            return self.unit
        if name == TRAIT and self.trait is not None:
            return self.trait
        factor = self.plots.factor(name, part)
        gaps = np.zeros(len(self.plots), dtype=bool)
        gaps[self.rows] = factor.codes[self.rows] < 0
        self.plots.refuse_gaps(
            gaps,
            name,
            f"factor of the {part} term {term}",
            "give it a name, or leave these rows out; for an effect of some rows only, mark these in a column and "
            f'write at(column, "level"):{quote_name(name)}',
        )
        return factor.take(self.rows)

    def split(self, term: Term, part: str) -> list[tuple[str, Term, np.ndarray]]:
        """The term at each combination of the levels of its at(): label, term with these levels, records."""
        found: list[tuple[str, tuple[At, ...], np.ndarray]] = [("", (), np.ones(len(self.rows), dtype=bool))]
        for at in term.at:
            factor = self.factor(at.name, part, term)
            unknown = [level for level in at.levels if level not in factor.levels]
            if unknown:
                raise DataError(
                    f"The {part} term {term} names the level{'s' * (len(unknown) > 1)} {list_names(unknown)} of "
                    f"{at.name!r}, which no plot with a value has: its levels are {list_names(factor.levels)}."
                )
            split = []
            for label, places, inside in found:
                for code, level in enumerate(factor.levels):
                    if at.levels and level not in at.levels:
                        continue
                    place = f"at({quote_name(at.name)}, {quote_level(level)}):"
                    here = inside & (factor.codes == code)
                    if here.any():
                        split.append((label + place, (*places, At(at.name, (level,))), here))
            found = split
        return [(label, Term(term.axes, places), inside) for label, places, inside in found]

    def lay_random(self, term: Term) -> list[Design]:
        """A term, or one for each level of its at()."""
        designs = []
        for label, own, inside in self.split(term, "random"):
            axes, cells = self.lay_axes(own, "random", inside)
            matrix = self.join_columns(own, axes, cells) if axes[0].axis.other is not None else None
            designs.append(Design(label + own.core, axes, cells, own.at, term, matrix))
        return designs

    def join_columns(self, term: Term, axes: tuple[AxisLevels, ...], cells: np.ndarray) -> sp.csr_array:
        """Effects of two columns in each record: that of its cell, of the first, and that of the second."""
        joined, known = axes
        assert joined.axis.other is not None
        assert known.precision is not None
        factor = self.factor(joined.axis.other, "random", term)
        codes = match_levels(known.precision, factor.levels, str(term), joined.axis.other)[factor.codes]
        n, m = len(cells), len(known.levels)
        places = np.concatenate([cells, m + codes])
        return sp.csr_array((np.ones(2 * n), (np.tile(np.arange(n), 2), places)), shape=(n, 2 * m))

    def lay_axes(self, term: Term, part: str, inside: np.ndarray) -> tuple[tuple[AxisLevels, ...], np.ndarray]:
        """Levels of the axes, and the cell of each record."""
        places = np.flatnonzero(inside)
        cells = np.zeros(len(places), dtype=np.int64)
        axes = []
        for axis in term.axes:
            factor = self.factor(axis.name, part, term).take(places)
            if axis.other is not None:
                axes.append(AxisLevels(axis, (axis.name, axis.other)))
                continue
            made = self.lay_axis(axis, factor, term, part)
            codes = self._place(made, factor, term)
            if len(made.levels) < _LEAST[axis.structure]:
                raise DataError(
                    f"The {part} term {term} has one level of {axis.name!r}, {made.levels[0]!r}, and {axis} needs two: "
                    f"write {quote_name(axis.name)} without {axis.structure}()."
                )
            if axis.structure == "fa" and axis.factors is not None and axis.factors >= len(made.levels):
                raise DataError(
                    f"The {part} term {term} has {axis.factors} factors and {len(made.levels)} levels of "
                    f"{axis.name!r}: there must be fewer factors than levels."
                )
            axes.append(made)
            cells = cells * len(made.levels) + codes
        where = np.full(len(self.rows), -1, dtype=np.int64)
        where[places] = cells
        return tuple(axes), where

    def lay_axis(self, axis: Axis, factor: Factor, term: Term, part: str) -> AxisLevels:
        """An axis with all its levels: those of a relationship, the grid of an autoregression, or those there are."""
        if axis.structure == "known":
            value = self.known[axis.name]
            if id(value) not in self.inverses:
                self.inverses[id(value)] = invert_known(value, axis.name)
            precision = self.inverses[id(value)]
            return AxisLevels(axis, precision.levels, precision)
        if axis.structure == "ar1":
            return AxisLevels(axis, self.fill_grid(axis, factor, term, part))
        return AxisLevels(axis, factor.levels)

    def fill_grid(self, axis: Axis, factor: Factor, term: Term, part: str) -> tuple[str, ...]:
        """All positions from the first to the last."""
        if axis.name == TRAIT and self.trait is not None:
            raise UsageError(f"The {part} term {term} has ar1(trait): traits have no order; write us(trait).")
        odd = next((level for level in factor.levels if not _WHOLE.fullmatch(level)), None)
        if odd is not None:
            raise DataError(
                f"The {part} term {term} needs positions as whole numbers in {axis.name!r}, which has {odd!r}: number "
                "the rows or columns of the field as they lie, 1, 2, 3 and so on."
            )
        positions = [int(level) for level in factor.levels]
        if len(set(positions)) < len(positions):
            raise DataError(f"The {part} term {term} has a position of {axis.name!r} written in two ways.")
        least, most = positions[0], positions[-1]
        if most - least + 1 > 20 * len(positions) + 100:
            raise DataError(
                f"The {part} term {term} has {len(positions)} positions of {axis.name!r} from {least} to {most}: a "
                "grid with steps of 1 would be nearly empty. Number the rows or columns of the field 1, 2, 3 and so on."
            )
        return tuple(map(str, range(least, most + 1)))

    def _place(self, made: AxisLevels, factor: Factor, term: Term) -> np.ndarray:
        """Place of each record among the levels of an axis."""
        if made.precision is not None:
            codes = match_levels(made.precision, factor.levels, str(term), made.axis.name)
            return np.asarray(codes[factor.codes])
        if made.axis.structure == "ar1":
            least = int(made.levels[0])
            return np.array([int(level) - least for level in factor.levels], dtype=np.int64)[factor.codes]
        return factor.codes

    def lay_residual(self, residual: Residual) -> tuple[Design, ...]:
        """Sections, sorted by name: every record lies in one, in a cell of its own."""
        parts: list[tuple[str, Term, np.ndarray]] = []
        for term in residual.terms:
            parts += self._split_variances(term) or self.split(term, "residual")
        parts.sort(key=lambda part: part[0])
        times = np.sum([inside for _, _, inside in parts], axis=0)
        if (times != 1).any():
            row = int(self.rows[np.flatnonzero(times != 1)[0]])
            what = "no section" if times.min() == 0 else f"{times.max()} sections"
            raise DataError(
                f"{self.plots.table.row(row).capitalize()} of {self.plots.table.name} is in {what} of the residual "
                f"{residual}: every plot with a value needs one."
            )
        sections = []
        for label, own, inside in parts:
            if inside.sum() == 1:
                row = int(self.rows[np.flatnonzero(inside)[0]])
                raise DataError(
                    f"The section {label.rstrip(':') or residual} of the residual has one plot "
                    f"({self.plots.table.row(row)}), which tells no variance: leave the plot out, or put it into a "
                    "section with others."
                )
            axes, cells = self.lay_axes(own, "residual", inside)
            self.check_cells(own, axes, cells)
            core = own.core if any(axis.name == UNITS for axis in own.axes) else f"{own.core}:{UNITS}"
            sections.append(Design(label + core, axes, cells, own.at))
        return tuple(sections)

    def _split_variances(self, term: Term) -> list[tuple[str, Term, np.ndarray]]:
        """diag(x):units as a section for each level of x, which it is."""
        if term.at or len(term.axes) != 2 or term.axes[0].structure != "diag" or term.axes[1] != Axis(UNITS):
            return []
        return self.split(Term((Axis(UNITS),), (At(term.axes[0].name),)), "residual")

    def check_cells(self, term: Term, axes: tuple[AxisLevels, ...], cells: np.ndarray) -> None:
        """Refuse two records in one cell, and a product in which nearly all cells are empty."""
        inside = np.flatnonzero(cells >= 0)
        order = inside[np.argsort(cells[inside], kind="stable")]
        twin = np.flatnonzero(np.diff(cells[order]) == 0)
        if len(twin):
            pair = sorted(int(self.rows[order[twin[0] + k]]) for k in (0, 1))
            where = np.unravel_index(int(cells[order[twin[0]]]), [len(made.levels) for made in axes])
            place = ", ".join(
                f"{made.axis.name} {made.levels[int(code)]}" for made, code in zip(axes, where, strict=True)
            )
            hint = "correct the positions" if any(made.axis.structure == "ar1" for made in axes) else "add units to it"
            raise DataError(
                f"Two plots lie in one cell of the residual {term}, {place}: {self.plots.name_rows(pair)} of "
                f"{self.plots.table.name} ({len(twin):,} such pairs). Each needs a place of its own: {hint}, or "
                "name what tells the plots apart, such as the site, by | site."
            )
        size = int(np.prod([len(made.levels) for made in axes], dtype=float))
        if size > 50 * len(inside) + 1000:
            raise DataError(
                f"The residual {term} has {size:,} cells for {len(inside):,} records, nearly all of them empty. Where "
                "a factor divides the plots, such as a site, its levels are sections: write units | site."
            )
