"""Cross-validations made of random numbers: no model is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bmtme.cv.result import CrossValidation

ENVS, TRAITS = ("E1", "E2"), ("Yield", "ASI")


def make_result(
    models: dict[str, float],
    *,
    lines: int = 100,
    partitions: int = 10,
    folds: bool = False,
    hide: str = "lines",
    envs: tuple[str, ...] = ENVS,
    traits: tuple[str, ...] = TRAITS,
    baselines: dict[str, str] | None = None,
    seed: int = 1,
    **settings: Any,
) -> CrossValidation:
    """Predictions that correlate with what is observed by about models[label]; a missing one is the environment's mean.

    hide : "lines" (a fifth of them, or folds), "cells" (likewise, in one environment each), "envs" (one in turn)
    """
    rng = np.random.default_rng(seed)
    names = [f"{j:03}" for j in range(1, lines + 1)]
    y = rng.normal(size=(lines, len(envs), len(traits)))
    predicted = {
        label: np.zeros_like(y) if np.isnan(r) else r * (r * y + np.sqrt(1 - r * r) * rng.normal(size=y.shape))
        for label, r in models.items()
    }
    if hide == "envs":
        masks = {env: np.ones((lines, 1), bool) * (np.array(envs) == env) for env in envs}
    else:
        fold = rng.permutation(lines) % partitions
        masks = {}
        for k in range(partitions):
            tested = fold == k if folds else np.isin(np.arange(lines), rng.choice(lines, lines // 5, replace=False))
            kept = rng.integers(len(envs), size=lines)[:, None] != np.arange(len(envs)) if hide == "cells" else True
            masks[str(k + 1)] = tested[:, None] & np.broadcast_to(kept, (lines, len(envs)))
    cells = pd.DataFrame(
        [
            (partition, names[j], envs[i], trait, True)
            for partition, mask in masks.items()
            for j, i in np.argwhere(mask)
            for trait in traits
        ],
        columns=["partition", "line", "env", "trait", "scored"],
    )
    place = (
        cells["line"].map(names.index).to_numpy(),
        cells["env"].map(envs.index).to_numpy(),
        cells["trait"].map(traits.index).to_numpy(),
    )
    tables = []
    for label, f in predicted.items():
        r = 0.0 if np.isnan(models[label]) else models[label]
        sd = np.sqrt(1 - r * r)
        mean = f[place]
        table = cells.drop(columns="scored").assign(model=label, n_obs=1, observed=y[place], mean=mean, sd=0.1)
        for end, z in (("", 1.645), ("_50", 0.674)):
            table[f"mean_lower{end}"], table[f"mean_upper{end}"] = mean - z * sd, mean + z * sd
        error = (y[place] - mean) / sd
        table["log_score"], table["crps"] = -0.5 * error**2 - np.log(sd), np.abs(error)
        tables.append(table)
    predictions = pd.concat(tables, ignore_index=True)
    grouped = predictions.groupby(["model", "partition", "line", "trait"], sort=False)
    line_means = grouped[["observed", "mean"]].mean().assign(n_envs=grouped.size()).reset_index()
    heritability = pd.DataFrame(
        [(env, trait, 0.64, "relationship", "") for env in (*envs, None) for trait in traits],
        columns=["env", "trait", "heritability", "source", "note"],
    )
    heritability["env"] = pd.Series([env for env in (*envs, None) for _ in traits], dtype=object)
    records = []
    for label, mask in masks.items():
        whole, part = mask.all(axis=1), mask.any(axis=1)
        columns = mask.all(axis=0)
        record = {"lines_hidden": whole.sum(), "lines_kept": (~whole).sum(), "envs_hidden": columns.sum()}
        record |= {"envs_kept": (~columns).sum(), "cells_hidden": mask.sum(), "cells_kept": (~mask).sum()}
        records.append({"partition": label, "test_cells": int(part.sum())} | {k: int(n) for k, n in record.items()})
    run = {
        "settings": {
            "scheme": {"name": "NewLines"},
            "models": {
                label: {"structure": "any", **({"baseline": kind} if (kind := (baselines or {}).get(label)) else {})}
                for label in models
            },
            "chains": 2, "draws": 1000, "tune": 500, "seed": seed, "sampler": "gibbs",
            **settings,
        },
        "data": {"partitions": records},
        "seconds": {"sample": 1.0},
    }  # fmt: skip
    return CrossValidation(predictions, line_means, cells, heritability, [], [], run, envs, traits)
