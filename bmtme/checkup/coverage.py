"""What a trial covers: which lines and traits were recorded where, and how the environments hang together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from bmtme.checkup.findings import Finding
from bmtme.data.trial import Trial
from bmtme.words import count_noun, some_names

__all__ = [
    "count_common_lines",
    "describe_range",
    "find_checks",
    "find_gaps",
    "find_sparse_parts",
    "place_record",
    "tabulate_columns",
    "tabulate_lines",
]

#: Environments with fewer lines in common than this say little about each other.
FEW_COMMON = 10
#: A line with this many times the usual number of plots of an environment, and at least so many, is a check.
CHECK_TIMES, CHECK_PLOTS = 3, 4


def tabulate_columns(trial: Trial) -> pd.DataFrame:
    """One row per environment and trait: lines and records with a value, and what the values are.

    Returns
    -------
    DataFrame
        env, trait, lines_grown (with a record in the environment), lines, records (both with a value of the trait),
        most_per_line, minimum, median, maximum, mean, sd; NaN where there is nothing.
    """
    counts = trial.counts()
    grown = np.zeros((len(trial.lines), len(trial.envs)), dtype=bool)
    grown[trial.line_index, trial.env_index] = True
    rows = []
    for i, env in enumerate(trial.envs):
        here = trial.values[trial.env_index == i]
        for l, trait in enumerate(trial.traits):
            seen = here[~np.isnan(here[:, l]), l]
            plots = counts[:, i, l]
            facts: list[float] = [float("nan")] * 5
            if len(seen):
                spread = float(seen.std(ddof=1)) if len(seen) > 1 else float("nan")
                facts = [seen.min(), float(np.median(seen)), seen.max(), seen.mean(), spread]
            rows.append((env, trait, int(grown[:, i].sum()), int((plots > 0).sum()), len(seen), plots.max(), *facts))
    names = ["env", "trait", "lines_grown", "lines", "records", "most_per_line"]
    return pd.DataFrame(rows, columns=[*names, "minimum", "median", "maximum", "mean", "sd"])


def tabulate_lines(trial: Trial) -> pd.DataFrame:
    """One row per line: its records with a value, and in how many environments and for how many traits they are."""
    counts = trial.counts()
    with_value = np.bincount(trial.line_index[~np.isnan(trial.values).all(axis=1)], minlength=len(trial.lines))
    return pd.DataFrame(
        {
            "line": list(trial.lines),
            "records": with_value,
            "envs": (counts > 0).any(axis=2).sum(axis=1),
            "traits": (counts > 0).any(axis=1).sum(axis=1),
        }
    )


def count_common_lines(trial: Trial) -> pd.DataFrame:
    """Number of lines with a value in both of two environments; on the diagonal, in the one."""
    seen = np.asarray((trial.counts() > 0).any(axis=2), dtype=np.int64)
    return pd.DataFrame(seen.T @ seen, index=list(trial.envs), columns=list(trial.envs))


def find_gaps(trial: Trial) -> list[Finding]:
    """Environment x trait columns without a value, traits never recorded together, and empty records."""
    found = []
    counts = trial.counts()
    absent = counts.sum(axis=0) == 0
    empty_envs = np.flatnonzero(absent.all(axis=1))
    if len(empty_envs):
        names = [trial.envs[i] for i in empty_envs]
        found.append(
            Finding.of(
                "warning",
                "environment without values",
                f"{count_noun(len(names), 'environment')} without any value: {some_names(names)}.",
                [{"env": env, "message": f"environment {env} has no value of any trait"} for env in names],
            )
        )
    blocks: dict[tuple[int, ...], list[int]] = {}
    for l in range(len(trial.traits)):
        where = tuple(int(i) for i in np.flatnonzero(absent[:, l]) if i not in empty_envs)
        if where:
            blocks.setdefault(where, []).append(l)
    if blocks:
        texts = [
            f"{some_names([trial.traits[l] for l in traits])} in {len(where)} of "
            f"{count_noun(len(trial.envs), 'environment')} ({some_names([trial.envs[i] for i in where], 12)})"
            for where, traits in blocks.items()
        ]
        items = [
            {"env": env, "trait": trait, "message": f"{trait} was not recorded in {env}"}
            for where, traits in blocks.items()
            for trait in (trial.traits[l] for l in traits)
            for env in (trial.envs[i] for i in where)
        ]
        found.append(
            Finding.of(
                "note",
                "absent block",
                f"{count_noun(len(items), 'absent block')}, a trait that was not recorded at all in an environment: "
                f"{'; '.join(texts)}. A fit predicts them through the other environments and traits.",
                items,
            )
        )
    found += _find_single_values(trial, counts)
    found += _find_traits_apart(trial)
    silent = np.isnan(trial.values).all(axis=1)
    if silent.any():
        without = np.setdiff1d(np.arange(len(trial.lines)), trial.line_index[~silent])
        names = [trial.lines[j] for j in without]
        more = f"; {count_noun(len(names), 'line')} with no value at all: {some_names(names)}" if names else ""
        found.append(
            Finding.of(
                "note",
                "empty record",
                f"{count_noun(int(silent.sum()), 'record')} without any value, left out of a fit{more}.",
                [place_record(trial, int(n)) | {"message": "no value of any trait"} for n in np.flatnonzero(silent)],
            )
        )
    return found


def _find_single_values(trial: Trial, counts: np.ndarray) -> list[Finding]:
    """Environment x trait columns with one value."""
    places = np.argwhere(counts.sum(axis=0) == 1)
    if not len(places):
        return []
    names = [f"{trial.traits[l]} in {trial.envs[i]}" for i, l in places]
    return [
        Finding.of(
            "note",
            "single value",
            f"One value only: {some_names(names)}. It tells where the environment's mean is, and nothing of how lines "
            "differ there: what is reported of that comes from the other environments, or from the prior.",
            [
                {"trait": trial.traits[l], "env": trial.envs[i], "message": f"one value of {trial.traits[l]}"}
                for i, l in places
            ],
        )
    ]


def _find_traits_apart(trial: Trial) -> list[Finding]:
    seen = (~np.isnan(trial.values)).astype(np.int64)
    together = seen.T @ seen
    pairs = [
        (trial.traits[p], trial.traits[q])
        for p in range(len(trial.traits))
        for q in range(p + 1, len(trial.traits))
        if together[p, q] == 0 and together[p, p] and together[q, q]
    ]
    if not pairs:
        return []
    texts = [f"{first} and {second}" for first, second in pairs]
    return [
        Finding.of(
            "note",
            "traits apart",
            f"{count_noun(len(pairs), 'pair')} of traits never on one record ({some_names(texts, 5)}): nothing can be "
            "learnt of their residual covariance.",
            [
                {"trait": first, "other": second, "message": f"{first} and {second} are never on one record"}
                for first, second in pairs
            ],
        )
    ]


def find_sparse_parts(trial: Trial) -> list[Finding]:
    """How many line x environment cells are filled, and environments that share few lines or none."""
    if len(trial.envs) < 2:
        return []
    common = count_common_lines(trial).to_numpy()
    recorded = np.flatnonzero(common.diagonal() > 0)
    seen = np.asarray((trial.counts() > 0).any(axis=2))
    seen = seen[seen.any(axis=1)][:, recorded]
    parts, part_of = connected_components(common[np.ix_(recorded, recorded)] > 0, directed=False)
    found = []
    share = float(seen.mean()) if seen.size else 1.0
    single = int((seen.sum(axis=1) == 1).sum())
    pairs = [
        (int(common[i, k]), i, k)
        for a, i in enumerate(recorded)
        for k in recorded[a + 1 :]
        if (parts == 1 or common[i, k]) and common[i, k] < min(FEW_COMMON, common[i, i], common[k, k])
    ]
    if share < 0.5:
        fewest = min((int(common[i, k]), i, k) for a, i in enumerate(recorded) for k in recorded[a + 1 :])
        found.append(
            Finding.of(
                "note",
                "sparse",
                f"A sparse trial: {100 * share:.1f}% of the line x environment cells are filled, and {single:,} of "
                f"{count_noun(len(seen), 'line')} are in one environment only. The fewest lines in common: "
                f"{fewest[0]} ({trial.envs[fewest[1]]} and {trial.envs[fewest[2]]}). What links the environments "
                "are these lines and the relationship.",
            )
        )
    if pairs:
        pairs.sort()
        texts = [f"{trial.envs[i]} and {trial.envs[k]} {n or 'none'}" for n, i, k in pairs]
        found.append(
            Finding.of(
                "warning" if pairs[0][0] == 0 else "note",
                "few lines in common",
                f"{count_noun(len(pairs), 'pair')} of environments with fewer than {FEW_COMMON} lines in common: "
                f"{some_names(texts, 6)}. Little can be learnt of how lines change between these.",
                [
                    {
                        "env": trial.envs[i],
                        "other": trial.envs[k],
                        "value": n,
                        "message": f"{trial.envs[i]} and {trial.envs[k]} have {count_noun(n, 'line')} in common",
                    }
                    for n, i, k in pairs
                ],
            )
        )
    if parts > 1:
        groups = [[trial.envs[recorded[k]] for k in np.flatnonzero(part_of == part)] for part in range(parts)]
        texts = [some_names(group, 5) for group in groups]
        found.append(
            Finding.of(
                "warning",
                "unconnected environments",
                f"The environments fall into {parts} groups without a line in common: {'; '.join(texts[:6])}. Only the "
                "relationship links them; if lines were meant to be the same, look at their names.",
                [
                    {"env": env, "value": part, "message": f"in group {part} of {parts}"}
                    for part, group in enumerate(groups, 1)
                    for env in group
                ],
            )
        )
    return found


def find_checks(trial: Trial) -> list[Finding]:
    """Lines with many more plots in an environment than the others: the checks of an augmented design."""
    seen = ~np.isnan(trial.values).all(axis=1)
    shape = (len(trial.lines), len(trial.envs))
    cell = trial.line_index[seen] * shape[1] + trial.env_index[seen]
    plots = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    usual = np.array([np.median(column[column > 0]) if (column > 0).any() else 0 for column in plots.T])
    often = plots >= np.maximum(CHECK_PLOTS, CHECK_TIMES * usual)
    checks = sorted(np.flatnonzero(often.any(axis=1)), key=lambda j: -int(plots[j].sum()))
    if not len(checks):
        return []
    texts = [_describe_check(trial.lines[j], plots[j], often[j]) for j in checks]
    rest = np.delete(plots, checks, axis=0)
    others = rest[rest > 0]
    usually = describe_range(others) if others.size else "no"
    augmented = ""
    if others.size and np.median(others) == 1:
        augmented = (
            " So this is an augmented design: 'bmtme adjust' (bmtme.adjust) before a fit makes adjusted means of such "
            "plots, with what the checks tell of blocks, rows and columns."
        )
    return [
        Finding.of(
            "note",
            "check",
            f"{count_noun(len(checks), 'check')}, lines with many plots: {some_names(texts, 6)}. The other lines have "
            f"{usually} plot{'' if usually == '1' else 's'} in an environment.{augmented}",
            [
                {
                    "line": trial.lines[j],
                    "value": int(plots[j].sum()),
                    "message": f"{count_noun(int(plots[j].sum()), 'plot')} in "
                    f"{count_noun(int((plots[j] > 0).sum()), 'environment')}: a check",
                }
                for j in checks
            ],
        )
    ]


def _describe_check(name: str, plots: np.ndarray, often: np.ndarray) -> str:
    envs = count_noun(int((plots > 0).sum()), "environment")
    return f"{name} ({plots.sum()} plots in {envs}; {describe_range(plots[often])} each)".replace(", ", " ")


def describe_range(numbers: np.ndarray) -> str:
    """``3``, or ``1 to 20``."""
    low, high = int(numbers.min()), int(numbers.max())
    return str(low) if low == high else f"{low} to {high}"


def place_record(trial: Trial, record: int) -> dict[str, str]:
    """Where a record stands, for the rows of a finding."""
    place = {"line": trial.lines[trial.line_index[record]], "env": trial.envs[trial.env_index[record]]}
    return place if trial.reps is None else place | {"rep": trial.reps[record]}
