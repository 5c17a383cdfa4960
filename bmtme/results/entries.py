"""Kinds of entries of the register: what is said of a quantity with draws, and of a column of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.model.scaling import Scaling
from bmtme.results.notes import Note, Values, note_likeness, note_prior_only

if TYPE_CHECKING:
    from bmtme.engines.rotated.draws import Draws
    from bmtme.engines.rotated.problem import Problem

# --- units ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """What a number is in, and how it comes there from the sampler's units.

    Attributes
    ----------
    words : str
        Empty for a number without a unit.
    restore : callable
        Of values and the `Scaling` of the traits along their last dimension (of one trait: numbers).
    """

    words: str
    restore: Callable[[Any, Scaling], Any] = lambda values, scaling: values


NONE = Unit("")
VALUE = Unit("trait's unit", lambda values, scaling: values * scaling.scale + scaling.centre)
DIFFERENCE = Unit("trait's unit", lambda values, scaling: values * scaling.scale)
SLOPE = Unit("trait's unit per unit of the covariate", DIFFERENCE.restore)
COVARIANCE = Unit("product of the traits' units", lambda values, scaling: scaling.restore_residual(values))
DENSITY = Unit("log of 1 / trait's unit", lambda values, scaling: values - np.log(scaling.scale))
VARIANCE = Unit("trait's unit squared", lambda values, scaling: values * scaling.scale**2 / scaling.m)
GENETIC = Unit("product of the traits' units", lambda values, scaling: scaling.restore_genetic(values))
#: Of what is in the user's units throughout.
GIVEN, SQUARE, OWN = Unit("trait's unit"), Unit("trait's unit squared"), Unit("unit of the row")

# --- quantities with draws ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """How `bmtme.results.information` finds the rows of a quantity that show the prior alone, beyond its own slopes.

    Attributes
    ----------
    slopes : name of the variable whose slopes along the parameters stand for those of this quantity
    pairs : quantity by which the entries off the diagonal are judged instead
    along : quantity which, where it is the prior's, takes this one along if that can be nearly anything there
    far : quantity which, where it is the prior's, takes this one along if nearly all of its prior's interval is left
    """

    slopes: str = ""
    pairs: str = ""
    along: str = ""
    far: str = ""


def always(problem: Problem) -> bool:
    """Reported by every model."""
    return True


@dataclass(frozen=True)
class Quantity:
    """Something with draws, stored or derived.

    Attributes
    ----------
    name : str
        Of the variable, and before the brackets of a row such as ``Sigma_t[Yield, ASI]``.
    dims : tuple of str
        After chain and draw. ``trait_bis`` goes with ``trait``: a symmetric matrix, listed from its diagonal on.
    unit : Unit
    meaning : str
        In words, as in ``idata.nc`` and on the page of the outputs.
    draws : callable, optional
        From one chain's `Draws`, in the sampler's units, to (draw, *dims); with a dimension ``line``, to the kept
        effects (kept, ..., J) in the eigenbasis. Without it, the quantity is derived.
    reported : bool
        Whether the draws come from what a model has of its own by this name: C, what `Genetic.report` says, or effects
        of factors of the records.
    when : callable
        Whether a model (by its `Problem`) stores it. Entries of one name may differ in dims if no model stores both.
    needs, derive : tuple of Quantity; callable
        What it is derived from, and how: from arrays (..., *dims) by name, and the expected sample variance of the
        lines' effects per unit of their covariance, to (..., *dims).
    listed : bool
        Whether it has rows in the summary; entries off a diagonal that are zero in all draws have none.
    sparse : bool
        Whether other entries that are zero in all draws have none either.
    checked : bool
        Whether R-hat of a cross-validation counts it.
    range : (float, float), optional
        The least and the most that it can be, where an interval is to be judged by that.
    diagonal : bool
        Whether entries on the diagonal say something.
    notes : tuple of callables
        Of `bmtme.results.notes`, beside those on interval and convergence that every row gets.
    mark : Mark
    title, told : str
        Of its table as printed by ``bmtme fit``, for two dims (``{record}`` is a plot or a record), empty for none;
        beginning of the notes that are told below.
    """

    name: str
    dims: tuple[str, ...]
    unit: Unit
    meaning: str
    draws: Callable[[Draws], np.ndarray] | None = None
    when: Callable[[Problem], bool] = always
    needs: tuple[Quantity, ...] = ()
    derive: Callable[[Values, float], np.ndarray] | None = None
    listed: bool = True
    sparse: bool = False
    checked: bool = True
    range: tuple[float, float] | None = None
    diagonal: bool = True
    notes: tuple[Note, ...] = (note_prior_only, note_likeness)
    mark: Mark = field(default_factory=Mark)
    title: str = ""
    told: str = ""
    reported: bool = False

    @property
    def is_effect(self) -> bool:
        """Whether it is drawn for every line, which takes much memory."""
        return "line" in self.dims


# --- columns of tables ----------------------------------------------------------------------------------------------

TEXT, WHOLE, NUMBER = "text", "int64", "float64"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name, meaning : str
    kind : str
        ``text`` or a type of numpy: that of the column, also after a file is read back.
    unit : Unit
    make : callable, optional
        From what the table is made of (`Cells` of the predictions, `Digest` of the summary's draws, a table of
        predictions and what was observed) to the column's values, in the sampler's units where the unit restores
        them. Without it the column is a key of the rows.
    hidden : bool
        Whether it says something of the mean of hidden plots, and so stands in a cross-validation only.
    """

    name: str
    kind: str
    unit: Unit
    meaning: str
    make: Callable[[Any], Any] | None = None
    hidden: bool = False

    def of(self, source: Any) -> Any:
        """What `make` makes."""
        assert self.make is not None, self.name
        return self.make(source)


def bound(
    unit: Unit,
    of: str = "its 90% interval",
    prefix: str = "",
    suffix: str = "",
    kind: str = NUMBER,
    make: Callable[[Any], Any] | None = None,
    hidden: bool = False,
) -> tuple[Column, Column]:
    """The ends of an interval, ``lower`` and ``upper``, of which `make` gives the values (n, 2)."""

    def take(k: int) -> Callable[[Any], Any] | None:
        return None if make is None else lambda source: make(source)[:, k]

    return (
        Column(f"{prefix}lower{suffix}", kind, unit, f"lower end of {of}", take(0), hidden),
        Column(f"{prefix}upper{suffix}", kind, unit, "upper end of that interval", take(1), hidden),
    )


def name_columns(columns: Sequence[Column]) -> list[str]:
    """Their names, in order."""
    return [column.name for column in columns]


def type_columns(columns: Sequence[Column]) -> dict[str, str]:
    """Types of the columns that are not text, as `pandas.DataFrame.astype` takes them."""
    return {column.name: column.kind for column in columns if column.kind != TEXT}
