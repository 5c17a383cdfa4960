"""What schemes share: their arguments, names in a trial, and streams of random numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.arguments import as_list, is_number, show
from bmtme.data.tables.cells import identifier
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.cv.partitions import Scheme

__all__ = ["advise", "as_fraction", "as_unique_names", "check_trial", "find_places", "refuse_empty", "spawn_stream"]

# First word of the spawn keys of the masks: their streams are never those of a sampler, whose keys start
# with the small numbers of models and partitions. The bytes spell "mask".
_MASK_STREAM = 0x6D61736B


def spawn_stream(seed: int, number: int) -> np.random.Generator:
    """Random numbers of the partition of this number, 1 or more; 0 is for what all partitions have in common."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_MASK_STREAM, number)))


#: Of the schemes that can take another one's place, what they do and their name in the shell.
_OTHERS = {
    "CV2": ("hides one trait of all lines in one environment", "cv2"),
    "NewLines": ("hides lines in all environments, to be predicted by their relatives", "new-lines"),
    "NewEnvironments": ("hides all of one environment", "new-envs"),
    "NewLinesNewEnvironments": ("predicts hidden lines in a hidden environment", "new-lines-new-envs"),
}


def advise(trial: Trial, *schemes: Scheme) -> str:
    """A sentence on each of these schemes that makes partitions of the trial."""
    sentences = []
    for scheme in schemes:
        try:
            scheme.masks(trial, 0)
        except DataError:
            continue
        name, envs = type(scheme).__name__, getattr(scheme, "envs", None)
        what, option = _OTHERS[name]
        call = f"envs={list(envs)!r}" if envs else ""
        chosen = " --cv-envs with this environment" if envs else ""
        sentences.append(
            f"{name} can serve, which {what}: bmtme.{name}({call}), in the shell --scheme {option}{chosen}."
        )
    return " ".join(sentences)


def check_trial(trial: Any) -> Trial:
    """The trial; a UsageError if it is something else."""
    if not isinstance(trial, Trial):
        raise UsageError(f"expected a Trial (bmtme.read_trial or Trial.from_frame), got {type(trial).__name__}.")
    return trial


def as_fraction(value: Any, example: str) -> float:
    """A test fraction, strictly between 0 and 1; the example is for the message."""
    if not is_number(value) or not 0.0 < value < 1.0:
        raise UsageError(f"test_fraction must lie strictly between 0 and 1, got {show(value)}: {example}.")
    return float(value)


def as_unique_names(names: Iterable[str] | None, what: str, scheme: str) -> tuple[str, ...] | None:
    """Names as a tuple of text; one name alone may stand without a list."""
    if names is None:
        return None
    found = tuple(_as_name(name, what, scheme) for name in as_list(names, what))
    if not found:
        raise UsageError(f"{scheme}: the list of {what} is empty: leave it out to take all of them.")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UsageError(
            f"{scheme}: {list_names(twice)} stands more than once in the list of {what}: name each one once."
        )
    return found


def _as_name(name: Any, what: str, scheme: str) -> str:
    """A name given as text or as a whole number, as text."""
    try:
        text = identifier(name)
    except DataError:
        text = None
    if text is None:
        raise UsageError(f"{scheme}: {what} must hold names, one text for each, got {show(name)}.")
    return text


def find_places(names: Sequence[str] | None, known: Sequence[str], what: str, scheme: str) -> list[int]:
    """Where the names stand among those of the trial; all of them for None."""
    if names is None:
        return list(range(len(known)))
    place = {name: position for position, name in enumerate(known)}
    for name in names:
        if name not in place:
            raise DataError(
                f"{scheme}: the trial has no {what} {name!r}.{suggest(name, known)} Its {what}s are "
                f"{list_names(known)}."
            )
    return [place[name] for name in names]


def refuse_empty(
    chosen: Sequence[int], used: Collection[int], known: Sequence[str], what: str, where: str, scheme: str
) -> None:
    """Refuse a name that was asked for and has no recorded value; `used` are the places of those that have one."""
    for position in chosen:
        if position not in used:
            raise DataError(
                f"{scheme}: {what} {known[position]!r} has no recorded value in {where}, so there is nothing to score: "
                f"leave this {what} out."
            )
