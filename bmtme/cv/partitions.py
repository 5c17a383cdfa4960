"""Partitions of a trial's line x env x trait cells: what is hidden, what is scored, and what a scheme has to make."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import as_array, as_label, check_predicted, show
from bmtme.choices import GENETIC
from bmtme.cv.arguments import check_trial
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, first_repeat, list_names

__all__ = [
    "BoolArray",
    "Partition",
    "Scheme",
    "Tabulated",
    "check_partition",
    "check_scheme",
    "count_units",
    "describe_scheme",
    "draw_partitions",
    "find_equal",
    "label_apart",
    "tabulate_partitions",
]

BoolArray = npt.NDArray[np.bool_]

#: Entries of a scheme's settings beyond which their number is recorded in their place, and how deep they may lie.
_MOST_SHOWN, _DEEPEST = 100, 4


@dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """One split into training and test cells.

    Parameters
    ----------
    label : str
        Its name in all tables, unique within a scheme: ``"1"``, ``"2"``, ... where it was drawn, otherwise the names of
        what is hidden.
    hidden : array of bool, shape (J, I, L)
        Cells of line x env x trait withheld from training, in the order of the trial's labels. A hidden cell hides all
        its plots. A hidden cell without a recorded value changes nothing and is not scored.
    scored : array of bool, shape (J, I, L), optional
        Hidden cells whose predictions are judged; by default all. Others are hidden only to keep them from training, as
        the other records of a line that is new in a new environment.
    of : {"genetic", "record"}
        What is predicted: genetic values, or records by the training values of their other traits too.

    Raises
    ------
    UsageError
        If the label is no text, longer than 200 characters or holds a control character, the arrays are no
        three-dimensional masks of one shape, or a cell is scored and not hidden.
    """

    label: str
    hidden: BoolArray
    scored: BoolArray = None  # type: ignore[assignment]  # an array from the start on
    of: str = GENETIC

    def __post_init__(self) -> None:
        check_predicted(self.of)
        label = as_label(self.label, "the label of a partition")
        if not label:
            raise UsageError("the label of a partition is empty: name it after what it hides, or number it.")
        object.__setattr__(self, "label", label)
        hidden = _as_mask(self.hidden, label, "hidden")
        scored = hidden if self.scored is None else _as_mask(self.scored, label, "scored")
        if scored.shape != hidden.shape:
            raise UsageError(
                f"partition {label!r}: scored has shape {scored.shape} and hidden {hidden.shape}: both are masks of "
                "(lines, environments, traits)."
            )
        seen = int((scored & ~hidden).sum())
        if seen:
            raise UsageError(
                f"partition {label!r} scores {count_noun(seen, 'cell')} that it does not hide, and what is seen in "
                "training is no test: hide them, or leave them out of scored."
            )
        object.__setattr__(self, "hidden", hidden)
        object.__setattr__(self, "scored", scored)

    def __repr__(self) -> str:
        hidden, scored, of = int(self.hidden.sum()), int(self.scored.sum()), count_noun(self.hidden.size, "cell")
        return f"Partition({self.label!r}, hides {hidden} of {of}, scores {scored})"

    def record_mask(self, trial: Trial) -> BoolArray:
        """Mask of the values of every record, for ``Trial.hide``.

        Parameters
        ----------
        trial : Trial
            The trial the partition was made for.

        Returns
        -------
        numpy.ndarray of bool, shape (N, L)
        """
        self._fits(trial)
        return np.asarray(self.hidden[trial.line_index, trial.env_index], dtype=bool)

    def test_cells(self, trial: Trial) -> BoolArray:
        """The cells that are judged: scored and with a recorded value, shape (J, I, L)."""
        self._fits(trial)
        return np.asarray(self.scored & (trial.counts() > 0), dtype=bool)

    def _fits(self, trial: Trial) -> None:
        check_trial(trial)
        shape = (len(trial.lines), len(trial.envs), len(trial.traits))
        if self.hidden.shape != shape:
            raise UsageError(
                f"partition {self.label!r} was made for a trial of (lines, environments, traits) = "
                f"{self.hidden.shape}, this one has {shape}: make the masks from this trial."
            )


def _as_mask(values: Any, label: str, name: str) -> BoolArray:
    given = as_array(values, f"partition {label!r}: {name}")
    if given.ndim != 3 or given.dtype != np.bool_:
        raise UsageError(
            f"partition {label!r}: {name} must be an array of bool of shape (lines, environments, traits), got "
            f"{given.dtype} of shape {given.shape}."
        )
    mask = given.copy()
    mask.setflags(write=False)
    return mask


# --- schemes ----------------------------------------------------------------------------------------------------


class Scheme(Protocol):
    """What cross-validation asks of a scheme; a user's own object does with this alone."""

    def masks(self, trial: Trial, seed: int) -> list[Partition]:
        """All partitions of the trial."""
        ...


class Tabulated:
    """A scheme whose partitions can be looked at as a table."""

    def masks(self, trial: Trial, seed: int = 0) -> list[Partition]:
        """All partitions of the trial."""
        raise NotImplementedError

    def table(self, trial: Trial, seed: int = 0) -> pd.DataFrame:
        """The hidden cells with a recorded value: partition, line, env, trait, and scored (bool).

        Of the scheme as it is: `bmtme.cross_validate` first joins clones to one with a method ``join``, and what it hid
        is in ``cv.partitions``.
        """
        return tabulate_partitions(self.masks(trial, seed), trial)


def check_scheme(scheme: Any) -> Scheme:
    """Refuse what makes no masks."""
    if isinstance(scheme, type) or not callable(getattr(scheme, "masks", None)):
        raise UsageError(
            "scheme must be a scheme such as bmtme.CV1(), bmtme.NewLines() or bmtme.NewEnvironments(), or an object "
            f"with a method masks(trial, seed), got {show(scheme)}."
        )
    try:
        signature = inspect.signature(scheme.masks)
    except (TypeError, ValueError):  # one that does not tell its arguments
        signature = None
    try:
        if signature is not None:
            signature.bind(None, 0)
    except TypeError as error:
        raise UsageError(f"the method masks of {show(scheme)} must be masks(trial, seed): {error}.") from None
    checked: Scheme = scheme
    return checked


def describe_scheme(scheme: Scheme) -> dict[str, Any]:
    """Name and settings of a scheme in plain values, those that it describes itself with or all its attributes.

    A user's own may fail at that, which is no reason to refuse it: its name will do.
    """
    name = {"name": type(scheme).__name__}
    try:
        describe = getattr(scheme, "describe", None)
        told = describe() if callable(describe) else None
        settings = told if isinstance(told, Mapping) else getattr(scheme, "__dict__", {})
        return name | {str(key): _to_plain(value) for key, value in settings.items() if not str(key).startswith("_")}
    except Exception:
        return name


def _to_plain(value: Any, above: tuple[Any, ...] = ()) -> Any:
    """A value that JSON can hold; long collections, objects, and what cannot be described as words.

    above : what it is a part of
    """
    name = type(value).__name__
    try:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and np.isfinite(value)):
            return value
        if len(above) > _DEEPEST or any(value is each for each in above):
            return name
        inside = (*above, value)
        if callable(getattr(value, "describe", None)) and not isinstance(value, (pd.Series, pd.DataFrame)):
            return _to_plain(value.describe(), inside)
        if isinstance(value, (Mapping, list, tuple)):
            if len(value) > _MOST_SHOWN:
                return f"{name} of {len(value)}"
            if isinstance(value, Mapping):
                return {str(key): _to_plain(each, inside) for key, each in value.items()}
            return [_to_plain(each, inside) for each in value]
        # The usual text of an object is its address, which differs from run to run.
        text = show(value)
        return name if " at 0x" in text else text
    except Exception:
        return name


def draw_partitions(scheme: Scheme, trial: Trial, seed: int) -> list[Partition]:
    """The partitions of a scheme, checked, as it may be a user's own.

    Raises
    ------
    UsageError
        If they are no list of Partition with different labels and the shape of this trial.
    DataError
        As for `check_partition`.
    """
    found: Any = scheme.masks(trial, seed)
    made = list(found) if isinstance(found, Iterable) else [found]
    if not isinstance(found, Iterable) or not all(isinstance(partition, Partition) for partition in made):
        odd = next((each for each in made if not isinstance(each, Partition)), found)
        raise UsageError(f"masks of {show(scheme)} must return a list of bmtme.Partition, got {show(odd)}.")
    if not made:
        raise UsageError(f"{show(scheme)} made no partition: there is nothing to compare.")
    repeat = first_repeat(partition.label for partition in made)
    if repeat is not None:
        raise UsageError(f"{show(scheme)} made two partitions called {made[repeat[1]].label!r}: label them apart.")
    counts = trial.counts()
    for partition in made:
        partition._fits(trial)
        check_partition(partition, trial, counts)
    return made


def check_partition(partition: Partition, trial: Trial, counts: npt.NDArray[np.integer]) -> None:
    """Refuse a partition that cannot be fitted or scored.

    Parameters
    ----------
    partition : Partition
    trial : Trial
    counts : (J, I, L) int array
        Of the trial's plots.

    Raises
    ------
    DataError
        If no scored cell has a recorded value, a trait keeps no training value, or fewer than two lines keep one.
    """
    recorded = counts > 0
    training = recorded & ~partition.hidden
    if not (recorded & partition.hidden).any():
        raise DataError(
            f"Partition {partition.label!r} hides no recorded value, so there is nothing to score: "
            f"hide cells that have a record."
        )
    if not (recorded & partition.scored).any():
        raise DataError(
            f"Partition {partition.label!r} hides recorded values and scores none of them: "
            f"score a hidden cell that has a record."
        )
    untrained = np.flatnonzero(~training.any(axis=(0, 1)))
    if untrained.size:
        raise DataError(
            f"Partition {partition.label!r} leaves no training value of trait "
            f"{list_names(trial.traits[k] for k in untrained)}: a trait must also be recorded outside the hidden "
            f"cells. Choose other cells or leave the trait out."
        )
    lines = int(training.any(axis=(1, 2)).sum())
    if lines < 2:
        raise DataError(
            f"Partition {partition.label!r} leaves training values of {count_noun(lines, 'line')}, and at least two "
            f"are needed: hide fewer lines."
        )


def label_apart(names: Sequence[tuple[str, ...]]) -> list[str]:
    """Labels made of several names each, ``a:b``; the same ones, of names with a colon, are told apart by ``(2)``.

    The names alone say which gets the number, not their order.
    """
    plain = [":".join(parts) for parts in names]
    made: dict[str, int] = {}
    for k in sorted(range(len(names)), key=lambda k: names[k]):
        label, number = plain[k], 1
        while label in made or (number > 1 and label in plain):
            number += 1
            label = f"{plain[k]} ({number})"
        made[label] = k
    return sorted(made, key=lambda label: made[label])


# --- tables -----------------------------------------------------------------------------------------------------


def tabulate_partitions(partitions: Sequence[Partition], trial: Trial) -> pd.DataFrame:
    """Hidden cells with a recorded value of all partitions; in each by line, environment, trait in the trial's order.

    Returns
    -------
    pandas.DataFrame
        The columns partition, line, env, trait (text) and scored (bool). ``bmtme.Partitions.from_frame`` makes the same
        partitions of it.
    """
    lines, envs, traits = (np.array(names, dtype=object) for names in (trial.lines, trial.envs, trial.traits))
    recorded = trial.counts() > 0
    cells = [np.nonzero(partition.hidden & recorded) for partition in partitions]
    labels = np.array([partition.label for partition in partitions], dtype=object)
    j, i, k = (np.concatenate([np.empty(0, np.intp), *(cell[axis] for cell in cells)]) for axis in range(3))
    scored = [partition.scored[cell] for partition, cell in zip(partitions, cells, strict=True)]
    return pd.DataFrame(
        {
            "partition": np.repeat(labels, [cell[0].size for cell in cells]),
            "line": lines[j],
            "env": envs[i],
            "trait": traits[k],
            "scored": np.concatenate([np.empty(0, bool), *scored]),
        }
    )


def count_units(partition: Partition, trial: Trial) -> dict[str, int]:
    """What a partition hides and keeps, in lines, environments and cells.

    Returns
    -------
    dict
        ``lines_hidden``, lines with a scored cell and no training value; ``lines_kept``, lines with a training value;
        ``envs_hidden``, ``envs_kept`` alike; ``cells_hidden``, ``cells_kept``: line x env cells that lose a recorded
        value, and that keep one.
    """
    recorded = trial.counts() > 0
    tested, training = partition.test_cells(trial), recorded & ~partition.hidden
    found: dict[str, int] = {}
    for unit, axes in (("lines", (1, 2)), ("envs", (0, 2))):
        kept = training.any(axis=axes)
        found |= {f"{unit}_hidden": int((tested.any(axis=axes) & ~kept).sum()), f"{unit}_kept": int(kept.sum())}
    found["cells_hidden"] = int((recorded & partition.hidden).any(axis=2).sum())
    found["cells_kept"] = int(training.any(axis=2).sum())
    return found


def find_equal(table: pd.DataFrame) -> list[list[str]]:
    """Partitions that hide and score the same recorded values under several labels, and are one in fact.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `tabulate_partitions`, such as ``cv.partitions``; rows in any order.

    Returns
    -------
    list of lists of str
        Their labels, two or more in each list, in order of first appearance.
    """
    cells = table.groupby(["line", "env", "trait", "scored"], sort=False).ngroup().to_numpy()
    groups: dict[bytes, list[str]] = {}
    for label, rows in table.groupby("partition", sort=False).indices.items():
        groups.setdefault(np.sort(cells[rows]).tobytes(), []).append(str(label))
    return [labels for labels in groups.values() if len(labels) > 1]
