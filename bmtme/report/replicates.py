"""What effects of replicates a run has, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmtme.data.trial import Trial
from bmtme.words import count_noun

__all__ = ["list_replicate_facts"]


def list_replicate_facts(found: Any, trial: Trial) -> list[tuple[str, str]]:
    """As (label, text): nothing where the trial knows of no replicates.

    found : as of `bmtme.collection.describe_replicates`, or by trait or model
    """
    if not found or trial.reps is None:
        return []
    by_name: Mapping[str, Any] = {"": found} if "kind" in found else found
    texts: dict[str, list[str]] = {}
    for name, each in by_name.items():
        texts.setdefault(describe(each), []).append(name)
    if len(texts) == 1:
        return [("replicates", next(iter(texts)))]
    lines = [f"{', '.join(names)}: {text}" for text, names in texts.items()]
    return [("replicates" if k == 0 else "", line) for k, line in enumerate(lines)]


def describe(found: Mapping[str, Any]) -> str:
    """In words."""
    if found["kind"] == "none":
        why = "" if found["asked"] == "none" else ": fewer than two hold five lines or more, or another holds fewer"
        return f"without effects{why}"
    columns = count_noun(found["of"], "environment x trait column")
    where = f"each of {columns}" if found["columns"] == found["of"] else f"{found['columns']} of {columns}"
    return f"{found['kind']} effects of {count_noun(found['replicates'], 'replicate')}, in {where}"
