"""Draws of a mixed model as labelled groups: posterior, effects, sample_stats, observed_data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.results.summary import INTERVAL

if TYPE_CHECKING:
    from bmtme.model.mixed.design import Design, Layout
    from bmtme.results.mixed.components import Named
    from bmtme.results.mixed.sample import Sampled

__all__ = ["collect_groups", "describe_draws", "name_component", "name_effects", "take_effects"]

#: Dimensions of the effects.
FIXED, RANDOM = "fixed_column", "random_effect"


def name_component(named: Named) -> str:
    """A parameter in one text, which `derive` understands, too."""
    return f"{named.term}[{named.parameter}]"


def name_effects(design: Design) -> list[str]:
    """Names of the effects of a term, such as ``us(site):gen[S1, G7]``."""
    names = pd.MultiIndex.from_product([axis.levels for axis in design.axes])
    return [f"{design.name}[{', '.join(map(str, levels))}]" for levels in names]


def collect_groups(
    layout: Layout, named: Sequence[Named], sampled: Sampled, keep: str, attrs: Mapping[str, Any]
) -> dict[str, Any]:
    """Datasets by group.

    keep : what is kept of effects: ``all`` (in the posterior), ``thin`` (a group ``effects``) or ``none``
    """
    import xarray

    chains = sampled.chains
    n, draws = len(chains), len(chains[0].log_density)
    order = [each.place for each in named]
    lead = ("chain", "draw")
    coords: dict[str, Any] = {
        "chain": np.arange(n),
        "draw": np.arange(draws),
        "component": [name_component(each) for each in named],
        "term": ("component", [each.term for each in named]),
        "parameter": ("component", [each.parameter for each in named]),
    }
    parameters = np.stack([chain.parameters for chain in chains])[:, :, order]
    about = {"meaning": "variances, covariances, correlations and loadings, in the units of the data"}
    posterior: dict[str, Any] = {"components": ((*lead, "component"), parameters, about)}
    effects = _collect_effects(layout, sampled) if keep != "none" else {}
    own = _label_effects(layout) if effects else {}
    if keep == "all":
        posterior |= {
            name: ((*lead, dim), values.reshape(n, draws, -1), told) for name, (dim, values, told) in effects.items()
        }
        coords |= own
    groups = {"posterior": xarray.Dataset(posterior, coords, dict(attrs))}
    if keep == "thin":
        where = {
            "effect_chain": ("effect_draw", np.repeat(np.arange(n), len(chains[0].slots))),
            "effect_draw_index": ("effect_draw", np.tile(chains[0].slots, n)),
        }
        thinned = {name: (("effect_draw", dim), values, told) for name, (dim, values, told) in effects.items()}
        groups["effects"] = xarray.Dataset(where | thinned, own, dict(attrs))
    stats = {
        "lp": (lead, np.stack([chain.log_density for chain in chains]), {"meaning": "log density, up to a constant"}),
        "acceptance_rate": (lead, np.stack([chain.accepted for chain in chains])),
        "n_steps": (lead, np.stack([chain.steps for chain in chains])),
        "diverging": (lead, np.stack([chain.diverging for chain in chains])),
    }
    groups["sample_stats"] = xarray.Dataset(stats, {name: coords[name] for name in lead}, dict(attrs))
    groups["observed_data"] = _collect_records(layout, attrs)
    return groups


def _collect_effects(layout: Layout, sampled: Sampled) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
    """Fixed and random effects: dimension, kept draws of all chains (kept, n), and what they are."""
    fixed = np.concatenate([chain.fixed for chain in sampled.chains])
    random = np.concatenate([chain.effects for chain in sampled.chains])
    found = {"fixed_effects": (FIXED, fixed, {"meaning": "effects of fixed columns, missing where sums of others"})}
    if layout.random:
        found["random_effects"] = (RANDOM, random, {"meaning": "effects of the levels of random terms"})
    return found


def _label_effects(layout: Layout) -> dict[str, Any]:
    coords: dict[str, Any] = {FIXED: list(layout.columns.names)}
    if layout.random:
        coords[RANDOM] = [name for design in layout.random for name in name_effects(design)]
        sizes = [int(np.prod([len(axis.levels) for axis in design.axes])) for design in layout.random]
        coords["random_term"] = (RANDOM, np.repeat([design.name for design in layout.random], sizes))
    return coords


def _collect_records(layout: Layout, attrs: Mapping[str, Any]) -> Any:
    """The records in the order of the table."""
    import xarray

    codes = np.zeros(len(layout.y), dtype=np.int64) if layout.trait is None else layout.trait.codes
    order = np.lexsort((codes, layout.rows))
    rows = [str(label) for label in layout.plots.label_all(layout.rows[order])]
    coords: dict[str, Any] = {"obs": np.arange(len(order)), "row_of_table": ("obs", rows)}
    if layout.trait is not None:
        coords["trait"] = ("obs", np.array(layout.trait.levels, dtype=object)[codes[order]].astype(str))
    return xarray.Dataset({"y": ("obs", layout.y[order])}, coords, dict(attrs))


def take_effects(groups: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Kept draws of fixed (kept, p) and random effects (kept, q); None where there are none."""
    source = groups["effects"] if "effects" in groups else groups["posterior"]
    if "fixed_effects" not in source:
        return None
    fixed = source["fixed_effects"].values
    fixed = fixed.reshape(-1, fixed.shape[-1])
    if "random_effects" not in source:
        return fixed, np.zeros((len(fixed), 0))
    random = source["random_effects"].values
    return fixed, random.reshape(-1, random.shape[-1])


def describe_draws(draws: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, standard deviation and ends of the 90% interval of the columns of (kept, n)."""
    lower, upper = np.quantile(draws, INTERVAL, axis=0)
    sd = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.zeros(draws.shape[1:])
    return {"mean": draws.mean(axis=0), "sd": sd, "lower": lower, "upper": upper}
