"""What effects of replicates and blocks a run has, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmtme.data.trial import Trial
from bmtme.words import count_noun, some_names

#: Why there are no effects of replicates, by what `bmtme.results.levels.describe_replicates` says.
NONE = {
    "lines": ": fewer than two hold five lines or more, or another holds fewer",
    "blocks": ": they are blocks, or fewer than two hold five lines or more, or another holds fewer",
    "se": ": values with standard errors are adjusted for them",
}

__all__ = ["list_block_facts", "list_covariate_facts", "list_replicate_facts"]


def list_replicate_facts(found: Any, trial: Trial) -> list[tuple[str, str]]:
    """As (label, text): nothing where the trial knows of no replicates.

    found : as of `bmtme.results.levels.describe_replicates`, or by trait or model
    """
    if not found or trial.replicates is None:
        return []
    by_name: Mapping[str, Any] = {"": found} if "kind" in found else found
    return join_facts("replicates", {name: describe(each) for name, each in by_name.items()})


def list_block_facts(found: Any) -> list[tuple[str, str]]:
    """As (label, text): nothing where there are no blocks.

    found : as of `bmtme.results.levels.describe_blocks`, or by trait
    """
    if not found:
        return []
    by_name: Mapping[str, Any] = (
        {"": found} if any(isinstance(each.get("blocks"), int) for each in found.values()) else found
    )
    texts = {}
    for name, each in by_name.items():
        texts[name] = "; ".join(
            f"{factor}: random effects of {count_noun(own['blocks'], 'block')}, in {describe_columns(own)}"
            for factor, own in each.items()
        )
    return join_facts("blocks", texts) if any(texts.values()) else []


def list_covariate_facts(names: Any) -> list[tuple[str, str]]:
    """As (label, text): nothing where there are none."""
    return [("covariates", f"{some_names(names)}, one slope for each trait")] if names else []


def join_facts(label: str, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Texts by name as (label, text); the names of those that say the same together, none where all do."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    if len(names) == 1:
        return [(label, next(iter(names)))]
    lines = [f"{', '.join(mine)}: {text}" for text, mine in names.items()]
    return [(label if k == 0 else "", line) for k, line in enumerate(lines)]


def describe_columns(found: Mapping[str, Any]) -> str:
    """In how many columns there are effects."""
    columns = count_noun(found["of"], "environment x trait column")
    return f"each of {columns}" if found["columns"] == found["of"] else f"{found['columns']} of {columns}"


def describe(found: Mapping[str, Any]) -> str:
    """Effects of replicates in words."""
    if found["kind"] == "none":
        return f"without effects{'' if found['asked'] == 'none' else NONE[found.get('why', 'lines')]}"
    return f"{found['kind']} effects of {count_noun(found['replicates'], 'replicate')}, in {describe_columns(found)}"
