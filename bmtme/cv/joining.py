"""Cross-validations made apart, joined where they hid the same cells of the same data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bmtme.cv.result import CrossValidation
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, list_names

#: Settings of a run that make two models of one description differ in their numbers.
SAMPLING = ("draws", "tune", "chains", "seed", "sampler")
#: Parts of the record of a run that are by model.
BY_MODEL = ("diagnostics", "effective_draws", "monte_carlo_noise", "thread_seconds")


def join_runs(named: Mapping[str, CrossValidation]) -> CrossValidation:
    """All models of several cross-validations as one, to be compared.

    Parameters
    ----------
    named : dict of CrossValidation by the name of the run
        Of the same trial, with the same partitions: the same seed and scheme make them, and so does a scheme of
        `bmtme.Partitions.from_frame`.

    Returns
    -------
    CrossValidation
        A label that runs share is one model where its settings and those of the chains are the same (the first run's
        numbers are taken), else it becomes ``"label (run)"``. The scheme, the heritabilities, `top` and `lowest`, and
        the record of the data are those of the first run.

    Raises
    ------
    DataError
        If the runs differ in environments, traits, partitions or observed values; the message says where.
    UsageError
        If there is no run.
    """
    if not named:
        raise UsageError("there is no run to join: name at least one.")
    (first, one), *others = named.items()
    for name, other in others:
        difference = describe_difference(one, other)
        if difference:
            raise DataError(
                f"the runs {first!r} and {name!r} cannot be compared: {difference}. Models are comparable where the "
                "same cells of the same data were hidden: run them in one cross-validation, or with the partitions of "
                "the other run (partitions.csv)."
            )
    labels = name_models(named)
    pieces: dict[str, list[pd.DataFrame]] = {"predictions": [], "line_means": []}
    models: dict[str, Any] = {}
    by_model: dict[str, dict[str, Any]] = {
        part: {} for part in BY_MODEL if any(part in cv.run for cv in named.values())
    }
    failures, warnings = [], []
    for name, cv in named.items():
        mine = labels[name]
        for table, found in pieces.items():
            part = getattr(cv, table)
            part = part[part["model"].isin(mine)]
            found.append(part.assign(model=part["model"].map(mine)))
        models |= {label: cv.run["settings"]["models"][old] for old, label in mine.items()}
        for part, entries in by_model.items():
            entries |= {mine[old]: entry for old, entry in cv.run.get(part, {}).items() if old in mine}
        failures += [(mine[model], *rest) for model, *rest in cv.failures if model in mine]
        warnings += [f"run {name!r}: {text}" for text in cv.warnings]
    run = {**one.run, **by_model, "settings": {**one.run["settings"], "models": models}}
    run["seconds"] = {
        part: sum(cv.run["seconds"].get(part, 0.0) for cv in named.values()) for part in one.run["seconds"]
    }
    run["runs"] = {
        name: {key: cv.run.get(key) for key in ("settings", "versions", "command", "inputs") if key in cv.run}
        for name, cv in named.items()
    }
    tables = {name: pd.concat(found, ignore_index=True) for name, found in pieces.items()}
    return CrossValidation(
        **tables,
        partitions=one.partitions,
        heritability=one.heritability,
        failures=[(model, partition, message) for model, partition, message in failures],
        warnings=warnings,
        run=run,
        envs=one.envs,
        traits=one.traits,
    )


def name_models(named: Mapping[str, CrossValidation]) -> dict[str, dict[str, str]]:
    """New labels by run and label; a model that an earlier run has with the same settings is left out."""

    def settle(cv: CrossValidation, label: str) -> tuple[Any, ...]:
        settings = cv.run["settings"]
        return settings["models"][label], *(settings.get(key) for key in SAMPLING)

    labels: dict[str, dict[str, str]] = {}
    known: dict[str, list[tuple[Any, ...]]] = {}
    for name, cv in named.items():
        labels[name] = {}
        for label in cv.run["settings"]["models"]:
            settled = settle(cv, label)
            if settled not in known.setdefault(label, []):
                known[label].append(settled)
                labels[name][label] = label
    taken = {label for label, found in known.items() if len(found) == 1}
    for name, mine in labels.items():
        for label in mine:
            if len(known[label]) > 1:
                mine[label] = f"{label} ({name})"
                if mine[label] in taken:
                    raise UsageError(f"two models would be called {mine[label]!r}: name the runs otherwise.")
    return labels


def describe_difference(one: CrossValidation, other: CrossValidation) -> str:
    """What keeps two cross-validations from being compared, empty if nothing does."""
    for what, mine, theirs in (("environments", one.envs, other.envs), ("traits", one.traits, other.traits)):
        if set(mine) != set(theirs):
            apart = sorted(set(mine) ^ set(theirs))
            return f"they have different {what} ({list_names(apart)} only in one of them)"
    masks, others = (_index_partitions(cv.partitions) for cv in (one, other))
    if set(masks) != set(others):
        labels = sorted(set(masks) ^ set(others))
        return f"they have different partitions ({list_names(labels)} only in one of them)"
    for label, cells in masks.items():
        if cells != others[label]:
            number = len(cells ^ others[label])
            return f"partition {label!r} hides or scores other cells ({number:,} of them only in one)"
    keys = ["line", "env", "trait"]
    values = [
        cv.predictions.drop_duplicates(["partition", *keys]).set_index(["partition", *keys])[["observed", "n_obs"]]
        for cv in (one, other)
    ]
    shared = values[0].join(values[1].add_suffix("_other"), how="inner").reset_index()
    changed = shared[
        ~np.isclose(shared["observed"], shared["observed_other"], rtol=1e-9, atol=0.0, equal_nan=True)
        | (shared["n_obs"] != shared["n_obs_other"])
    ]
    if len(changed):
        line, env, trait, y, z = changed[[*keys, "observed", "observed_other"]].iloc[0]
        number = len(changed[keys].drop_duplicates())
        return (
            f"the observed values of {count_noun(number, 'cell')} differ, such as line {line!r} in {env!r}, trait "
            f"{trait!r}: {y:g} and {z:g}"
        )
    return ""


def _index_partitions(table: pd.DataFrame) -> dict[str, set[tuple[Any, ...]]]:
    """The cells (line, env, trait, scored) of every partition."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for partition, *cell in table[["partition", "line", "env", "trait", "scored"]].itertuples(index=False, name=None):
        found.setdefault(partition, set()).add((*cell[:3], bool(cell[3])))
    return found
