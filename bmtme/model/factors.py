"""Factors of records nested in environments, such as replicates: which level each record belongs to.

A level (environment, label) has an effect for each trait, fixed (they sum to zero within an environment) or random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.errors import UsageError

__all__ = ["FEWEST_LINES", "Factor", "find_replicates", "name_replicates"]

#: A replicate of an environment holds at least so many lines; fewer, and the labels tell plots apart.
FEWEST_LINES = 5
#: Share of the lines of an environment in each replicate, where labels are of several columns.
GOOD_PART = 0.2
#: Lines without which the effect of a replicate cannot be told from theirs.
LEAST_LINES = 2


@dataclass(frozen=True)
class Factor:
    """A factor of the N records of a fit, with K levels in the order of their environments and labels.

    Attributes
    ----------
    name : of the column
    random : whether the effects are random, or fixed
    level : (N,) level of each record, -1 for none
    env : (K,) environment of each level
    labels : (K,) label of each level within its environment
    active : (K, L) bool, which levels have an effect on which trait: of a trait, in an environment, none or at least
        two; every level with a value of it then has one
    """

    name: str
    random: bool
    level: np.ndarray
    env: np.ndarray
    labels: tuple[str, ...]
    active: np.ndarray


def name_replicates(labels: Sequence[str], line: np.ndarray) -> dict[str, np.ndarray]:
    """Places of the records of each replicate of an environment, in the order of their names.

    Of labels of several columns (rep and plot, say), the first column counts where each label of it stands for a good
    part of the lines (`GOOD_PART`), as one of replicates does and one of rows of a field does not; otherwise all do.
    Empty where fewer than two labels stand for `FEWEST_LINES` lines or more: then they tell plots apart.

    Parameters
    ----------
    labels : (n,) of the records of the environment
    line : (n,) their lines
    """
    least = GOOD_PART * len(np.unique(line))
    for names, part in (([label.split(":")[0] for label in labels], least), (labels, 0.0)):
        found = group_labels(names)
        lines = np.array([len(np.unique(line[mine])) for mine in found.values()])
        if np.count_nonzero(lines >= FEWEST_LINES) > 1 and (lines >= part).all():
            return found
    return {}


def group_labels(labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Places of each label, in the order of their names."""
    groups: dict[str, list[int]] = {}
    for n, label in enumerate(labels):
        groups.setdefault(label, []).append(n)
    return {label: np.array(mine) for label, mine in sorted(groups.items())}


def find_replicates(
    kind: str, reps: Sequence[str] | None, line: np.ndarray, env: np.ndarray, observed: np.ndarray, envs: Sequence[str]
) -> Factor | None:
    """The replicates that have effects, None where there are none.

    Parameters
    ----------
    kind : one of `bmtme.choices.REP_EFFECTS`; with ``auto``, the effects on a trait in an environment are fixed where
        two replicates or more hold a value of it, each of them of `FEWEST_LINES` lines or more
    reps : (N,) labels of the records, None where there are none
    line, env : (N,) lines and environments of the records
    observed : (N, L) bool, what is recorded
    envs : names of the environments

    Raises
    ------
    UsageError
        Where effects are asked for (``fixed`` or ``random``) that the records cannot tell.
    """
    if kind == "none" or (kind == "auto" and reps is None):
        return None
    if reps is None:
        raise UsageError(
            f"rep_effect={kind!r} needs to know the replicates: name their column, rep=, when the trial is read, or "
            "leave rep_effect out."
        )
    level, labels = np.full(len(env), -1), list[str]()
    level_env, active = list[int](), list[np.ndarray]()
    for i, name in enumerate(envs):
        here = np.flatnonzero(env == i)
        own = [reps[n] for n in here.tolist()]
        groups = name_replicates(own, line[here])
        if not groups and kind != "auto":
            groups = group_labels(own)
        # Lines with a value of each trait in each replicate.
        lines = np.zeros((len(groups), observed.shape[1]), int)
        for k, mine in enumerate(groups.values()):
            lines[k] = [len(np.unique(line[here[mine]][seen])) for seen in observed[here[mine]].T]
        there = (lines > 0) & ((lines > 0).sum(axis=0) > 1)
        if kind == "auto":
            there &= ~((lines > 0) & (lines < FEWEST_LINES)).any(axis=0)
        if kind == "fixed":
            refuse_confounded(name, list(groups), np.where(there, lines, FEWEST_LINES))
        if not there.any():
            continue
        for k, (label, mine) in enumerate(groups.items()):
            if there[k].any():
                level[here[mine]] = len(labels)
                level_env.append(i)
                labels.append(label)
                active.append(there[k])
    if kind != "auto":
        refuse_none(kind, level, line)
    if not labels:
        return None
    return Factor("rep", kind == "random", level, np.array(level_env, np.int64), tuple(labels), np.array(active, bool))


def refuse_confounded(env: str, labels: Sequence[str], lines: np.ndarray) -> None:
    """Refuse fixed effects of replicates that hold a single line."""
    few = np.flatnonzero((lines < LEAST_LINES).any(axis=1))
    if len(few):
        raise UsageError(
            f"rep_effect='fixed': replicate {labels[few[0]]!r} of environment {env!r} holds one line only, whose "
            f"effect cannot be told from that of the replicate ({len(few)} such in this environment). If the column "
            "tells plots apart rather than replicates, leave rep_effect out; else use rep_effect='random'."
        )


def refuse_none(kind: str, level: np.ndarray, line: np.ndarray) -> None:
    """Refuse effects of replicates that there are not, or that are one with the plots."""
    used = level >= 0
    if not used.any():
        raise UsageError(
            f"rep_effect={kind!r} needs an environment with two replicates or more, and every environment has one. "
            "Leave rep_effect out."
        )
    if max(len(np.unique(line[level == k])) for k in np.unique(level[used])) < LEAST_LINES:
        raise UsageError(
            f"rep_effect={kind!r}: every replicate of every environment holds one line only, so that nothing tells "
            "replicates from plots. Name the column of the replicates as rep=, or leave rep_effect out."
        )
