"""Replicates, blocks and covariates that have effects in a fit: their names, those of each record, and how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bmtme.model.factors import Factor
    from bmtme.model.structure import BMTME
    from bmtme.preparation import Prepared

#: Dimensions of levels by their kind, and that of covariates.
REPLICATE, BLOCK = DIMS = ("replicate", "block")
#: Names of their effects in a posterior.
EFFECTS = {REPLICATE: "rep_effects", BLOCK: "block_effects"}
COVARIATE = "covariate"


def list_levels(prepared: Prepared) -> dict[str, list[str]]:
    """Names of the levels that have effects in computing order, by dimension; factors of blocks one after another.

    A replicate is named by environment and label, a block by environment, factor and label.
    """
    names: dict[str, list[str]] = {dim: [] for dim in DIMS}
    for factor in prepared.factors:
        if factor.kind in DIMS:
            names[factor.kind] += name_levels(factor, prepared.trial.envs)
    return names


def name_levels(factor: Factor, envs: Sequence[str]) -> list[str]:
    """Names of the levels of a factor of environments of these names."""
    own = factor.name if factor.block else ""
    return [name_level(envs[i], label, own) for i, label in zip(factor.env.tolist(), factor.labels, strict=True)]


def name_level(env: str, label: str, factor: str = "") -> str:
    """Name of a level in an environment; of blocks with that of their factor."""
    return "/".join([env, *([factor] if factor else []), label])


def show_levels(parts: Sequence[Prepared]) -> dict[str, list[str]]:
    """Names of the levels that have effects in some part of a trial, in the order in which they are shown.

    That is by environment, in it by factor, and in that by their first record in the file.
    """
    first: dict[str, dict[str, tuple[int, int, int]]] = {dim: {} for dim in DIMS}
    for prepared in parts:
        envs = np.argsort(prepared.shown_envs)
        for f, factor in enumerate(prepared.factors):
            if factor.kind not in DIMS:
                continue
            names, found = name_levels(factor, prepared.trial.envs), first[factor.kind]
            for n, k in zip(prepared.records.tolist(), factor.level.tolist(), strict=True):
                if k >= 0:
                    place = int(envs[factor.env[k]]), f, n
                    found[names[k]] = min(place, found.get(names[k], place))
    return {dim: sorted(found, key=found.__getitem__) for dim, found in first.items()}


def name_replicates_of(prepared: Prepared, records: np.ndarray) -> np.ndarray:
    """Replicate of each of some records (places in the trial given) that has an effect, empty for none."""
    names = np.array([*list_levels(prepared)[REPLICATE], ""])
    levels = np.full(max(records.max(), prepared.records.max()) + 1, -1)
    for factor in prepared.factors:
        if factor.kind == REPLICATE:
            levels[prepared.records] = factor.level
    return names[levels[records]]


def name_blocks_of(prepared: Prepared, shown: Sequence[str]) -> np.ndarray:
    """(N, F) block of each record in each factor, of those `shown`; empty for none."""
    trial, known = prepared.given, set(shown)
    rows = [
        [name_level(trial.envs[trial.env_index[n]], labels[n], name) for name, labels in trial.blocks.items()]
        for n in prepared.records.tolist()
    ]
    return np.array([[name if name in known else "" for name in row] for row in rows], dtype=str)


def describe_replicates(prepared: Prepared, model: BMTME) -> dict[str, Any]:
    """What effects of replicates there are, for the record of a run: kind, and in how many columns with a record."""
    columns = int(prepared.layout.recorded.sum())
    for factor in prepared.factors:
        if factor.kind == REPLICATE:
            counts = {"replicates": len(factor.labels), "columns": count_columns(factor), "of": columns}
            return {"asked": model.rep_effect, "kind": "random" if factor.random else "fixed", **counts}
    none = {"asked": model.rep_effect, "kind": "none", "replicates": 0, "columns": 0, "of": columns}
    if model.rep_effect == "none":
        return none
    return none | {"why": "se" if prepared.given.se is not None else "blocks" if prepared.given.blocks else "lines"}


def describe_blocks(prepared: Prepared) -> dict[str, dict[str, int]]:
    """By factor, how many blocks have effects, and in how many columns with a record."""
    columns = int(prepared.layout.recorded.sum())
    return {
        factor.name: {"blocks": len(factor.labels), "columns": count_columns(factor), "of": columns}
        for factor in prepared.factors
        if factor.block
    }


def count_columns(factor: Factor) -> int:
    """Columns in which a factor has effects."""
    return sum(int(factor.active[factor.env == i].any(axis=0).sum()) for i in np.unique(factor.env))


def number_levels(observed: Any, levels: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Place of each value's levels among these names by dimension, (N, L, factors), -1 for none.

    observed : the group observed_data. Where traits were fitted one at a time a record may have a replicate for some.
    """
    found = {}
    for dim, names in levels.items():
        place = {name: k for k, name in enumerate(names)}
        own = observed[f"record_{dim}"].transpose("record", ...)
        level = np.array([place.get(name, -1) for name in own.values.ravel().tolist()], np.int64).reshape(own.shape)
        if dim == REPLICATE:
            level = np.broadcast_to(level.reshape(len(level), -1), (len(level), observed.sizes["trait"]))[..., None]
        else:
            level = np.broadcast_to(level[:, None, :], (len(level), observed.sizes["trait"], level.shape[1]))
        found[dim] = np.array(level)
    return found


class RecordEffects:
    """What effects of replicates, blocks and covariates a posterior adds to the records of its fit.

    Parameters
    ----------
    posterior, observed : groups of the fit

    Attributes
    ----------
    parts : of each kind, draws (chain, draw, levels, L), and the records' levels (N, L, factors)
    slopes, values : draws (chain, draw, covariates, L), and the records' covariates (N, covariates); None for none
    """

    def __init__(self, posterior: Any, observed: Any) -> None:
        there = {dim: posterior[dim].values.tolist() for dim in DIMS if dim in posterior.dims}
        numbered = number_levels(observed, there)
        self.parts = [
            (posterior[EFFECTS[dim]].transpose("chain", "draw", dim, "trait").values, numbered[dim]) for dim in there
        ]
        self.slopes = self.values = None
        if COVARIATE in posterior.dims:
            self.slopes = posterior["covariate_effects"].transpose("chain", "draw", COVARIATE, "trait").values
            self.values = observed["record_covariate"].transpose("record", COVARIATE).values

    def add_up(self, records: np.ndarray, l: int) -> np.ndarray | float:
        """(chain, draw, n) effects on a trait of some records, 0 where the fit has none."""
        total: np.ndarray | float = 0.0
        for draws, levels in self.parts:
            for level in levels[records, l].T:
                total = total + np.where(level >= 0, draws[:, :, level, l], 0.0)
        if self.slopes is not None and self.values is not None:
            total = total + self.slopes[..., l] @ self.values[records].T
        return total

    def add_up_all(self, shape: tuple[int, int]) -> np.ndarray | float:
        """(chain, draw, N, L) effects of all records, N x L of them; 0 where the fit has none."""
        if not self.parts and self.slopes is None:
            return 0.0
        N, L = shape
        return np.stack([np.asarray(self.add_up(np.arange(N), l)) for l in range(L)], axis=-1)
