"""Factors of records nested in environments, replicates and blocks: which level each record belongs to; covariates.

A level (environment, label) has an effect for each trait, fixed (they sum to zero within an environment) or random. A
covariate is a level of every environment whose effect, the slope, is one for all of them and counts by its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bmtme.errors import DataError, UsageError
from bmtme.words import list_names

__all__ = [
    "FEWEST_LINES",
    "Factor",
    "find_blocks",
    "find_covariate",
    "find_replicates",
    "group_labels",
    "name_replicates",
    "refuse_slopes",
    "settle_replicates",
]

#: A replicate of an environment holds at least so many lines; fewer, and the labels tell plots apart.
FEWEST_LINES = 5
#: Share of the lines of an environment in each replicate, where labels are of several columns.
GOOD_PART = 0.2
#: Singular value, of covariates in units of their length, below which they follow from each other.
ALIKE = 1e-6
#: Lines without which the effect of a replicate cannot be told from theirs.
LEAST_LINES = 2


@dataclass(frozen=True)
class Factor:
    """A factor of the N records of a fit, with K levels in the order of their environments and labels, or a covariate.

    Attributes
    ----------
    name : of the column
    random : whether the effects are random, or fixed
    level : (N,) level of each record, -1 for none
    env : (K,) environment of each level
    labels : (K,) label of each level within its environment
    active : (K, L) bool, which levels have an effect on which trait: of a trait, in an environment, none or at least
        two; every level with a value of it then has one
    block : whether it is one of blocks, not that of the replicates
    weight : (N,) value of a covariate on each record, centred within environments, in units of `unit`; None of a factor
    unit : of a covariate, its standard deviation within environments
    """

    name: str
    random: bool
    level: np.ndarray
    env: np.ndarray
    labels: tuple[str, ...]
    active: np.ndarray
    block: bool = False
    weight: np.ndarray | None = None
    unit: float = 1.0

    @property
    def kind(self) -> str:
        """``replicate``, ``block`` or ``covariate``."""
        return "covariate" if self.weight is not None else "block" if self.block else "replicate"


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
            # Of random effects every record of the environment has a level, one without an effect as well.
            if there[k].any() or kind == "random":
                level[here[mine]] = len(labels)
                level_env.append(i)
                labels.append(label)
                active.append(there[k])
    if kind != "auto":
        refuse_none(kind, level, line)
    if not labels:
        return None
    return Factor("rep", kind == "random", level, np.array(level_env, np.int64), tuple(labels), np.array(active, bool))


def find_blocks(name: str, labels: Sequence[str], env: np.ndarray, observed: np.ndarray, n_env: int) -> Factor:
    """A factor of blocks, with random effects on every trait of an environment that two blocks or more have a value of.

    Parameters
    ----------
    name : of the factor
    labels : (N,) labels of the records within their environments; all records of an environment have one, or none
    env : (N,) environments of the records
    observed : (N, L) bool, what is recorded
    n_env : number of environments
    """
    level, names = np.full(len(env), -1), list[str]()
    level_env, active = list[int](), [np.zeros((0, observed.shape[1]), bool)]
    for i in range(n_env):
        here = np.flatnonzero(env == i)
        groups = group_labels([labels[n] for n in here.tolist()])
        each = [observed[here[mine]].any(axis=0) for mine in groups.values()]
        there = np.array(each, dtype=bool).reshape(-1, observed.shape[1])
        there &= there.sum(axis=0) > 1
        if "" in groups or not there.any():
            continue
        for k, (label, mine) in enumerate(groups.items()):
            level[here[mine]] = len(names)
            level_env.append(i)
            names.append(label)
            active.append(there[k : k + 1])
    return Factor(name, True, level, np.array(level_env, np.int64), tuple(names), np.vstack(active), block=True)


def find_covariate(
    name: str, values: np.ndarray, unit: float, env: np.ndarray, observed: np.ndarray, envs: Sequence[str]
) -> Factor:
    """A covariate with a slope on every trait.

    Parameters
    ----------
    name : of the covariate
    values : (N,) of the records, centred within environments
    unit : its standard deviation
    env : (N,) environments of the records
    observed : (N, L) bool, what is recorded
    envs : names of the environments
    """
    here = np.unique(env)
    active = np.array([observed[env == i].any(axis=0) for i in here])
    labels = tuple(envs[i] for i in here)
    return Factor(
        name, False, np.searchsorted(here, env), here.astype(np.int64), labels, active, weight=values / unit, unit=unit
    )


def refuse_slopes(slopes: Sequence[Factor], env: np.ndarray, observed: np.ndarray, traits: Sequence[str]) -> None:
    """Refuse covariates of which the records of a trait do not tell the slope beside the means of environments.

    Parameters
    ----------
    env : (N,) environments of the records
    observed : (N, L) bool, what is recorded

    Raises
    ------
    DataError
    """
    if not slopes:
        return
    weights = np.column_stack([factor.weight for factor in slopes if factor.weight is not None])
    for l, trait in enumerate(traits):
        here = np.flatnonzero(observed[:, l])
        own = weights[here]
        for i in np.unique(env[here]):
            own[env[here] == i] -= own[env[here] == i].mean(axis=0)
        for c, factor in enumerate(slopes):
            norms = np.linalg.norm(own[:, : c + 1], axis=0)
            if norms[c] <= ALIKE * np.sqrt(len(here)):
                raise DataError(
                    f"the covariate {factor.name!r} does not vary between the plots of {trait!r} in any environment, "
                    "which tells no slope: leave it out of covariates= (in the shell --covariates)."
                )
            if np.linalg.svd(own[:, : c + 1] / norms, compute_uv=False)[-1] <= ALIKE:
                raise DataError(
                    f"the covariate {factor.name!r} follows from {list_names(f.name for f in slopes[:c])} among the "
                    f"plots of {trait!r}: leave one of them out of covariates= (in the shell --covariates)."
                )


def settle_replicates(kind: str, replicates: Factor, blocks: Sequence[Factor], envs: Sequence[str]) -> Factor | None:
    """The replicates without those of environments where they are the blocks of a factor; None where none are left.

    kind : one of `bmtme.choices.REP_EFFECTS`

    Raises
    ------
    UsageError
        Where their effects are asked for.
    """
    twins = np.zeros(len(envs), bool)
    for i in np.unique(replicates.env):
        here = np.flatnonzero(np.isin(replicates.level, np.flatnonzero(replicates.env == i)))
        pairs = [np.column_stack([replicates.level[here], factor.level[here]]) for factor in blocks]
        twins[i] = any(
            len(np.unique(pair, axis=0)) == len(np.unique(pair[:, 0])) == len(np.unique(pair[:, 1])) for pair in pairs
        )
    if kind != "auto" and twins.any():
        raise UsageError(
            f"rep_effect={kind!r}: the replicates of environment {envs[int(twins.argmax())]!r} are its blocks, which "
            "have effects already. Leave rep_effect or this factor of blocks out."
        )
    kept = np.flatnonzero(~twins[replicates.env])
    if not len(kept):
        return None
    place = np.full(len(replicates.env) + 1, -1)
    place[kept] = np.arange(len(kept))
    labels = tuple(replicates.labels[k] for k in kept)
    own = {"level": place[replicates.level], "env": replicates.env[kept], "labels": labels}
    return replace(replicates, **own, active=replicates.active[kept])


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
