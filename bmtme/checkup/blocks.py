"""Blocks and covariates: whether effects can be told from means, replicates, lines, residuals and each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from bmtme.checkup.findings import Finding, join_texts
from bmtme.data.effects import scale_covariate
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.model.factors import FEWEST_LINES, find_covariate, group_labels, name_replicates, refuse_slopes
from bmtme.words import count_noun, some_names

__all__ = ["count_blocks", "find_block_faults", "find_covariate_faults", "refuse_effects"]

KIND = "blocks"
ADVICE = "leave it out of blocks= (in the shell --blocks)"
COVARIATES, ADVICE_COVARIATE = "covariates", "leave it out of covariates= (in the shell --covariates)"


def list_environments(trial: Trial, factor: str) -> Iterator[tuple[int, np.ndarray, list[str]]]:
    """Environment, its records with a value, and their labels, of each that has any."""
    labels = trial.blocks[factor]
    seen = ~np.isnan(trial.values).all(axis=1)
    for i in range(len(trial.envs)):
        records = np.flatnonzero(seen & (trial.env_index == i))
        if len(records):
            yield i, records, [labels[n] for n in records.tolist()]


def count_blocks(trial: Trial) -> dict[str, dict[str, int]]:
    """By factor: environments that have blocks, and fewest and most blocks of one, and plots of a block."""
    counts = {}
    for factor in trial.blocks:
        groups = [group_labels(labels) for _, _, labels in list_environments(trial, factor) if any(labels)]
        sizes = [len(mine) for group in groups for mine in group.values()]
        blocks = [len(group) for group in groups]
        counts[factor] = {
            "envs": len(groups),
            "fewest_blocks": min(blocks, default=0),
            "most_blocks": max(blocks, default=0),
            "fewest_plots": min(sizes, default=0),
            "most_plots": max(sizes, default=0),
        }
    return counts


def refuse_effects(trial: Trial) -> None:
    """Refuse blocks and covariates whose effects nothing tells.

    Raises
    ------
    DataError
    """
    for finding in (*find_block_faults(trial), *find_covariate_faults(trial)):
        if finding.severity == "stop":
            raise DataError(finding.summary)


def find_block_faults(trial: Trial) -> list[Finding]:
    """What makes a fit refuse the blocks of a trial, and what their effects lean on."""
    found: list[Finding] = []
    for factor in trial.blocks:
        missing = _find_missing(trial, factor)
        found += (
            missing
            or _find_confounded(trial, factor)
            or [
                *_find_groups(trial, factor),
                *_find_doubtful(trial, factor),
            ]
        )
    for one, other in combinations(trial.blocks, 2):
        found += _find_twins(trial, one, other)
    return found


def find_covariate_faults(trial: Trial) -> list[Finding]:
    """What makes a fit refuse the covariates of a trial, and environments that tell nothing of their slopes."""
    found: list[Finding] = []
    seen = ~np.isnan(trial.values)
    used = seen.any(axis=1)
    for name, values in trial.covariates.items():
        lacking = np.flatnonzero(used & np.isnan(values))
        if len(lacking):
            places = [(trial.lines[trial.line_index[n]], trial.envs[trial.env_index[n]]) for n in lacking.tolist()]
            cases = [{"line": line, "env": env, "message": f"line {line!r} in {env!r}"} for line, env in places]
            text = (
                f"The covariate {name!r} is missing of {count_noun(len(cases), 'plot')} with a value "
                f"({join_texts([case['message'] for case in cases], 3)}): fill it in, take these plots out, or "
                f"{ADVICE_COVARIATE}."
            )
            found.append(Finding.of("stop", COVARIATES, text, cases))
            continue
        flat = [
            trial.envs[i]
            for i in np.unique(trial.env_index[used]).tolist()
            if np.ptp(values[used & (trial.env_index == i)]) == 0.0
        ]
        if flat and len(flat) < len(np.unique(trial.env_index[used])):
            text = (
                f"The covariate {name!r} is the same for all plots of {some_names(flat, 6)}, which tell nothing of it."
            )
            found.append(Finding.of("note", COVARIATES, text, [{"env": env, "message": text} for env in flat]))
    if not any(finding.severity == "stop" for finding in found):
        slopes = []
        for name, values in trial.covariates.items():
            own, unit = scale_covariate(values, trial.env_index, used)
            slopes.append(find_covariate(name, own[used], unit, trial.env_index[used], seen[used], trial.envs))
        try:
            refuse_slopes(slopes, trial.env_index[used], seen[used], trial.traits)
        except DataError as error:
            text = f"{str(error)[:1].upper()}{str(error)[1:]}"
            found.append(Finding.of("stop", COVARIATES, text, [{"message": text}]))
    return found


def _find_missing(trial: Trial, factor: str) -> list[Finding]:
    """Environments where some plots have a label and others none."""
    cases = []
    for i, records, labels in list_environments(trial, factor):
        if not any(labels):
            continue
        for n, label in zip(records.tolist(), labels, strict=True):
            if not label:
                line, env = trial.lines[trial.line_index[n]], trial.envs[i]
                cases.append({"line": line, "env": env, "message": f"line {line!r} in environment {env!r}"})
    if not cases:
        return []
    text = (
        f"{count_noun(len(cases), 'plot')} without a label of {factor!r} beside plots that have one "
        f"({join_texts([case['message'] for case in cases], 3)}): give every plot of an environment its block, or none."
    )
    return [Finding.of("stop", KIND, text, cases)]


def _find_confounded(trial: Trial, factor: str) -> list[Finding]:
    """A factor whose effects are those of environments, or of single plots or lines, everywhere."""
    groups = [(records, group_labels(labels)) for _, records, labels in list_environments(trial, factor)]
    groups = [(records, group) for records, group in groups if "" not in group]
    several = [(records, group) for records, group in groups if len(group) > 1]
    if not groups:
        text = f"{factor!r} has no label beside a value: {ADVICE}."
    elif not several:
        text = f"{factor!r} has one block in every environment, whose effect is the environment's mean: {ADVICE}."
    elif all(len(mine) == 1 for _, group in several for mine in group.values()):
        text = f"Every block of {factor!r} is a single plot, whose effect nothing tells from the residual: {ADVICE}."
    elif all(
        len(np.unique(trial.line_index[records[mine]])) == 1 for records, group in several for mine in group.values()
    ):
        text = f"Every block of {factor!r} holds one line only, whose effect nothing tells from the block's: {ADVICE}."
    else:
        return []
    return [Finding.of("stop", KIND, text, [{"message": text}])]


def _find_twins(trial: Trial, one: str, other: str) -> list[Finding]:
    """Two factors that are the same."""
    for (_, _, first), (_, _, second) in zip(
        list_environments(trial, one), list_environments(trial, other), strict=True
    ):
        if any(first) or any(second):
            if not is_same(first, second):
                return []
    text = f"{one!r} and {other!r} are the same blocks: name one of them as blocks= (in the shell --blocks)."
    return [Finding.of("stop", KIND, text, [{"message": text}])]


def is_same(one: list[str], other: list[str]) -> bool:
    """Whether two lists of labels group the same things together."""
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


def _find_groups(trial: Trial, factor: str) -> list[Finding]:
    """A factor that says of every line the same in all environments: a group of lines."""
    labels: dict[int, set[str]] = {}
    plots = np.zeros(len(trial.lines), int)
    envs: dict[int, set[int]] = {}
    for i, records, own in list_environments(trial, factor):
        for j, label in zip(trial.line_index[records].tolist(), own, strict=True):
            labels.setdefault(j, set()).add(label)
            envs.setdefault(j, set()).add(i)
            plots[j] += 1
    several = [j for j in labels if len(envs[j]) > 1]
    if len(several) < FEWEST_LINES or any(len(labels[j]) > 1 for j in several):
        return []
    text = (
        f"{factor!r} is the same for all plots of a line in every environment: it groups lines, not plots, and its "
        f"effects take up what these groups differ by. If it is no block, {ADVICE}."
    )
    return [Finding.of("warning", KIND, text, [{"message": text}])]


def _find_doubtful(trial: Trial, factor: str) -> list[Finding]:
    """What may be a mistake, and what effects lean on, by environment."""
    cases: dict[str, list[dict[str, Any]]] = {}

    def tell(kind: str, i: int, text: str) -> None:
        cases.setdefault(kind, []).append({"env": trial.envs[i], "message": text})

    for i, records, labels in list_environments(trial, factor):
        groups = group_labels(labels)
        env = trial.envs[i]
        if "" in groups:
            tell("none", i, env)
            continue
        if len(groups) == 1:
            tell("one", i, env)
            continue
        lone = sum(len(mine) == 1 for mine in groups.values())
        if lone:
            tell("lone", i, f"{lone} of {len(groups)} in {env}")
        line = trial.line_index[records]
        parts = count_parts(line, labels)
        if parts == len(groups):
            tell("apart", i, env)
        elif parts > 1:
            tell("parts", i, f"{parts} parts in {env}")
        reps = None if trial.replicates is None else [trial.replicates[n] for n in records.tolist()]
        if reps is not None:
            named = name_replicates(reps, line)
            if len(named) > 1:
                rep = np.empty(len(records), object)
                for name, mine in named.items():
                    rep[mine] = name
                if is_same(rep.tolist(), labels):
                    tell("replicates", i, env)
                elif all(len(set(rep[mine])) > 1 for mine in groups.values()):
                    tell("crossed", i, env)
    texts = {
        "none": "has no labels in {where}, where plots have no such effect",
        "one": "has one block in {where}, whose effect is part of the environment's mean",
        "lone": "has blocks of a single plot ({where}), which add hardly anything to what is known",
        "apart": "has no line in two blocks of {where}: effects of blocks and lines are told apart by relationship, "
        "other environments and the chance by which lines came into blocks",
        "parts": "falls into {where} that have no line in common: these are compared by the relationship and other "
        "environments alone",
        "replicates": "has the replicates of {where} for blocks, which count as blocks there",
        "crossed": "has each block of {where} in several replicates. If blocks are numbered anew in each, name both "
        f"columns as one factor: rep:{factor}",
    }
    found = []
    for kind, text in texts.items():
        if kind in cases:
            listed = cases[kind]
            where = [case["message"] for case in listed]
            shown = join_texts(where) if kind in ("lone", "parts") else some_names(where, 6)
            found.append(Finding.of("note", KIND, f"{factor!r} {text.format(where=shown)}.", listed))
    return found


def count_parts(line: np.ndarray, labels: list[str]) -> int:
    """Connected parts of lines and blocks, a plot joining its line and its block (Searle 1971, section 7.4)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, row = np.unique(line, return_inverse=True)
    _, column = np.unique(labels, return_inverse=True)
    n = row.max() + 1
    size = n + column.max() + 1
    joined = coo_matrix((np.ones(len(row)), (row, n + column)), shape=(size, size))
    return int(connected_components(joined, directed=False)[0])
