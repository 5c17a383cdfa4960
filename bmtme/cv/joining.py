"""Cross-validations made apart, joined where they hid the same cells of the same data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import show
from bmtme.cv.result import CrossValidation
from bmtme.cv.scores import TOP
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
        A label that runs share is one model where its settings, those of the chains, the relationship and what records
        have beside their values (replicates, blocks, covariates) are the same, or the predictions are (the first run's
        numbers are taken), else it becomes ``"label (run)"``. The scheme, the heritabilities and the record of the data
        are those of the first run; ``run["relationships"]`` has the digest of every model's relationship.

    Raises
    ------
    DataError
        If the runs differ in environments, traits, partitions, observed or training values; the message says where.
    UsageError
        If there is no run, or they differ in `top` or `lowest`.
    """
    if not isinstance(named, Mapping) or not all(isinstance(run, CrossValidation) for run in named.values()):
        raise UsageError(f"the runs to join must be a dict of cross-validations by name, got {show(named)}.")
    if not named:
        raise UsageError("there is no run to join: name at least one.")
    (first, one), *others = named.items()
    for name, other in others:
        refuse_options((first, one), (name, other))
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
    relationships: dict[str, str] = {}
    for name, cv in named.items():
        mine = labels[name]
        relationships |= dict.fromkeys(mine.values(), _relate(cv))
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
    run["relationships"] = relationships
    apart = [name for name, cv in others if _relate(cv) != _relate(one)]
    if apart:
        warnings.append(
            f"the relationship of {list_names(apart)} is another than that of {first!r}: models of these runs differ "
            "in it, too."
        )
    run["seconds"] = {
        part: sum(cv.run["seconds"].get(part, 0.0) for cv in named.values()) for part in one.run["seconds"]
    }
    run["runs"] = {
        name: {key: cv.run.get(key) for key in ("settings", "versions", "command", "inputs") if key in cv.run}
        for name, cv in named.items()
    }
    return CrossValidation(
        predictions=pd.concat(pieces["predictions"], ignore_index=True),
        line_means=pd.concat(pieces["line_means"], ignore_index=True),
        partitions=one.partitions,
        heritability=one.heritability,
        failures=[(model, partition, message) for model, partition, message in failures],
        warnings=warnings,
        run=run,
        envs=one.envs,
        traits=one.traits,
    )


def name_models(named: Mapping[str, CrossValidation]) -> dict[str, dict[str, str]]:
    """New labels by run and label; a model that an earlier run has is left out."""
    labels: dict[str, dict[str, str]] = {}
    known: dict[str, list[CrossValidation]] = {}
    for name, cv in named.items():
        labels[name] = {}
        for label in cv.run["settings"]["models"]:
            earlier = known.setdefault(label, [])
            if not any(is_one_model(label, cv, other) for other in earlier):
                earlier.append(cv)
                labels[name][label] = label
    taken = {label for label, found in known.items() if len(found) == 1}
    for name, mine in labels.items():
        for label in mine:
            if len(known[label]) > 1:
                mine[label] = f"{label} ({name})"
                if mine[label] in taken:
                    raise UsageError(f"two models would be called {mine[label]!r}: name the runs otherwise.")
    return labels


def is_one_model(label: str, one: CrossValidation, other: CrossValidation) -> bool:
    """Whether a label stands for the same model in both runs: by what it was made with, or by what it predicts."""
    settings = [cv.run["settings"] for cv in (one, other)]
    if settings[0]["models"][label] != settings[1]["models"][label]:
        return False
    made = [
        [cv.run["settings"].get(key) for key in SAMPLING] + [_relate(cv), cv.run["data"].get("effects_digest")]
        for cv in (one, other)
    ]
    if made[0] == made[1]:
        return True
    keys = ["partition", "line", "env", "trait"]
    tables = [cv.predictions[cv.predictions["model"] == label].set_index(keys) for cv in (one, other)]
    numbers = [name for name in tables[0].select_dtypes("number") if name in tables[1]]
    if len(tables[0]) != len(tables[1]) or not len(tables[0]):
        return False
    values = tables[1].reindex(tables[0].index)[numbers].to_numpy()
    return np.allclose(tables[0][numbers].to_numpy(), values, rtol=1e-9, atol=0.0, equal_nan=True)


def refuse_options(*runs: tuple[str, CrossValidation]) -> None:
    """Refuse runs that do not look for the same best lines."""
    for key, default in (("top", TOP), ("lowest", ())):
        found = {name: cv.run["settings"].get(key, default) for name, cv in runs}
        values = [value if key == "top" else set(value) for value in found.values()]
        if values[0] != values[1]:
            texts = " and ".join(
                f"{value if key == 'top' else list_names(value) or 'none'} in {name!r}" for name, value in found.items()
            )
            raise UsageError(
                f"the runs differ in {key} ({texts}), by which top_share is scored: run them with the same {key}."
            )


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
    if one.run["data"]["trial_digest"] != other.run["data"]["trial_digest"]:
        return "the hidden values are the same, but the models learnt from other values, plots or lines"
    return ""


def _relate(cv: CrossValidation) -> str:
    """The digest of the relationship of a run."""
    return str(cv.run["data"]["relationship_digest"])


def _index_partitions(table: pd.DataFrame) -> dict[str, set[tuple[Any, ...]]]:
    """The cells (line, env, trait, scored) of every partition."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for partition, *cell in table[["partition", "line", "env", "trait", "scored"]].itertuples(index=False, name=None):
        found.setdefault(partition, set()).add((*cell[:3], bool(cell[3])))
    return found
