"""Pairs of traits that are nearly one."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

import numpy as np

from bmtme.checkup.findings import Finding, join_texts
from bmtme.data.trial import Trial

__all__ = ["find_alike_traits"]

#: Kind of the findings.
KIND = "traits alike"
#: A correlation from which on two traits are hard to tell apart.
ALIKE = 0.99
#: A correlation elsewhere below which one residual covariance cannot be that of both.
UNLIKE = 0.95
#: Records of both traits from which on a correlation is trusted: of ten records, one of 0.95 exceeds 0.99 once in 70.
FEWEST = 10


def find_alike_traits(trial: Trial, known: Collection[frozenset[tuple[int, int]]] = ()) -> list[Finding]:
    """Pairs of traits with a correlation above 0.99 of the records within environments, or within one of them.

    Deviations from the environments' means are correlated: differences between environments may make any two traits
    alike and do no harm.

    Parameters
    ----------
    known : pairs of columns (environment, trait) that need no further word and are left out
    """
    items = []
    apart = False
    for p, q in combinations(range(len(trial.traits)), 2):
        first, second = trial.traits[p], trial.traits[q]
        within = []
        for i in range(len(trial.envs)):
            if frozenset([(i, p), (i, q)]) in known:
                continue
            pair = trial.values[trial.env_index == i][:, [p, q]]
            pair = pair[~np.isnan(pair).any(axis=1)]
            if len(pair):
                within.append((i, pair - pair.mean(axis=0)))
        if not within:
            continue
        together = np.concatenate([pair for _, pair in within])
        r = _correlate(together, len(within))
        if abs(r) > ALIKE:
            text = f"{first} and {second} (r {r:.4f}{' within environments' if len(within) > 1 else ''})"
            items.append({"trait": first, "other": second, "value": r, "message": text})
            continue
        for i, pair in within:
            r = _correlate(pair, 1)
            if abs(r) > ALIKE:
                rest = [other for k, other in within if k != i]
                elsewhere = _correlate(np.concatenate(rest), len(rest)) if rest else r
                text = f"{first} and {second} in {trial.envs[i]} (r {r:.4f}"
                if abs(elsewhere) < UNLIKE:
                    text += f", {elsewhere:.2f} elsewhere"
                    apart = True
                text += ")"
                items.append({"trait": first, "other": second, "env": trial.envs[i], "value": r, "message": text})
    if not items:
        return []
    texts = [str(item["message"]) for item in items]
    text = (
        f"Traits that are nearly one: {join_texts(texts)}. The data hardly say "
        "how much of either is genetic apart from their small difference; heritabilities near 0, near 1 and between "
        "may all fit, and chains may agree on one of them by chance. Leave one of the two out, or put their difference "
        "(each divided by its standard deviation) in the place of one."
    )
    if apart:
        text += " The model has one residual covariance for all environments, which cannot be both."
    return [Finding.of("warning", KIND, text, items)]


def _correlate(pair: np.ndarray, means: int) -> float:
    """Correlation of centred columns, 0 where one is constant or there are few records."""
    if len(pair) - means < FEWEST - 1:
        return 0.0
    largest = np.abs(pair).max(axis=0)
    if not (largest > 0).all():
        return 0.0
    pair = pair / largest
    return float(np.clip(pair[:, 0] @ pair[:, 1] / np.sqrt((pair**2).sum(axis=0).prod()), -1.0, 1.0))
