"""Values whose known errors correlate between records, as compiled code takes them: see `joint_errors`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bmtme.model.errors import Group
from bmtme.model.layout import Layout


class Groups(NamedTuple):
    """Values with such errors, those of an environment and trait together: group i L + l."""

    first: np.ndarray  # (I L + 1,) their first values
    trait: np.ndarray  # (m,)
    part: np.ndarray  # (m,) partly seen record of each value
    cell: np.ndarray  # (m,) its touched cell
    spread: np.ndarray  # (m,) v
    ones: np.ndarray  # (m,) Q'1
    turn_first: np.ndarray  # (I L + 1,) where Q begins in the next
    turn: np.ndarray  # Q (n, n), row after row
    gain_first: np.ndarray  # (I L + 1,)
    gain: np.ndarray  # regression (n, m) of a trait's errors on those of the others, one trait after the other


def lay_groups(layout: Layout, n_trait: int, groups: tuple[Group, ...]) -> Groups:
    """The groups of the records of a layout."""
    size = len(layout.recorded) * n_trait
    part = np.full(len(layout.rec_line), -1)
    part[layout.part_record] = np.arange(len(layout.part_record))
    part_cell = np.repeat(np.arange(len(layout.cell_line)), np.diff(layout.part_offset))
    place = {group.env * n_trait + group.trait: group for group in groups}
    counts, turns, gains = np.zeros((3, size + 1), np.int64)
    values: list[list[np.ndarray]] = [[], [], [], [], []]
    for k, group in sorted(place.items()):
        counts[k + 1], turns[k + 1], gains[k + 1] = len(group.records), group.turn.size, group.gain.size
        own = part[group.records], group.values, group.turn.sum(axis=0), group.turn.ravel(), group.gain.ravel()
        for found, each in zip(values, own, strict=True):
            found.append(each)
    flat = [np.concatenate([np.zeros(0), *found]) for found in values]
    parts = flat[0].astype(np.int64)
    return Groups(
        first=np.cumsum(counts),
        trait=np.repeat(np.arange(size) % n_trait, counts[1:]),
        part=parts,
        cell=part_cell[parts],
        spread=flat[1],
        ones=flat[2],
        turn_first=np.cumsum(turns),
        turn=flat[3],
        gain_first=np.cumsum(gains),
        gain=flat[4],
    )
