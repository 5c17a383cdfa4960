"""Whether the chains of a cross-validation's fits agree: R-hat, divergent moves, acceptance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.modes import Mode, share_draws
from bmtme.results.convergence import FEWEST_DRAWS, SOME_DIVERGED, list_stuck
from bmtme.results.entries import Quantity
from bmtme.results.rows import Labels, derive_rows

#: Beyond this the chains of a fit disagree. Wider than the 1.01 of a single fit's summary: the largest of some hundred
#: values over all fits passes 1.01 by chance alone.
MOST_R_HAT = 1.05
#: The warm-up aims at an acceptance of 0.8; below this the step size does not suit the posterior.
LEAST_ACCEPTANCE = 0.5


@dataclass(frozen=True)
class Diagnosis:
    """What the chains of one fit say about themselves.

    Attributes
    ----------
    r_hat : float
        The largest over the parameters; NaN for one chain, or fewer than four draws.
    parameter : str
        The one it is of, empty where there is none.
    divergent : int
        Draws whose Hamiltonian move diverged, of all chains.
    draws : int
        Draws of all chains.
    acceptance : float
        Mean acceptance probability of the Hamiltonian moves in the chain where it is least, NaN for the other samplers.
    explanations : int
        Modes in which chains stay while others stay elsewhere; 1 where the chains cross or there is one mode.
    """

    r_hat: float
    parameter: str
    divergent: int
    draws: int
    acceptance: float
    explanations: int = 1

    def describe(self) -> dict[str, Any]:
        """In plain values, for the record of a run; what is missing is None."""
        r_hat, acceptance = (None if np.isnan(x) else round(x, 4) for x in (self.r_hat, self.acceptance))
        return {
            "r_hat": r_hat,
            "parameter": self.parameter,
            "divergent": self.divergent,
            "acceptance": acceptance,
            "explanations": self.explanations,
        }


def diagnose_chains(
    chains: Sequence[Draws], stored: Sequence[Quantity], labels: Labels, modes: Sequence[Mode] = ()
) -> Diagnosis:
    """Diagnose a fit by its covariances, correlations and heritabilities, and the modes found before it.

    stored : what a fit of this model stores, as of `bmtme.results.quantities.choose_stored`
    labels : as of `bmtme.collection.list_labels`
    """
    names, values = zip(*list_parameters(chains, stored, labels), strict=True)
    r_hat = rank_r_hat(np.stack(values))
    acceptance = [float(chain.acceptance.mean()) for chain in chains]
    known = not np.isnan(r_hat).all()
    return Diagnosis(
        float(np.nanmax(r_hat)) if known else np.nan,
        names[int(np.nanargmax(r_hat))] if known else "",
        int(sum(chain.diverging.sum() for chain in chains)),
        sum(len(chain.acceptance) for chain in chains),
        min(acceptance) if not np.isnan(acceptance).any() else np.nan,
        max(1, len(list_stuck(share_draws(modes, chains).T))) if len(chains[0].acceptance) >= FEWEST_DRAWS else 1,
    )


def join_diagnoses(found: Mapping[str, Diagnosis]) -> Diagnosis:
    """Of fits of one trait each, by trait: the worst of each figure."""
    known = {trait: d for trait, d in found.items() if not np.isnan(d.r_hat)}
    worst = max(known, key=lambda trait: known[trait].r_hat) if known else None
    acceptance = [d.acceptance for d in found.values() if not np.isnan(d.acceptance)]
    return Diagnosis(
        np.nan if worst is None else known[worst].r_hat,
        "" if worst is None else f"{known[worst].parameter} of {worst}",
        sum(d.divergent for d in found.values()),
        sum(d.draws for d in found.values()),
        min(acceptance, default=np.nan),
        max(d.explanations for d in found.values()),
    )


def list_parameters(
    chains: Sequence[Draws], stored: Sequence[Quantity], labels: Labels
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and draws (chain, draw) in scaled units, which change no rank; of covariances, the correlations."""
    values = {
        quantity.name: np.stack([quantity.draws(chain) for chain in chains])
        for quantity in stored
        if quantity.draws is not None and not quantity.is_effect
    }
    for row in derive_rows(values, labels, 1.0):
        if row.quantity.checked and not (row.quantity.mark.pairs and row.is_pair):
            yield row.name, row.draws


def rank_r_hat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat, the larger of bulk and folded.

    Here and not by ArviZ, whose way to silence warnings does not bear threads, and which computes it one parameter at
    a time. Source: Vehtari et al. (2021), Bayesian Analysis 16:667-718.

    Parameters
    ----------
    draws : (parameter, chain, draw) array

    Returns
    -------
    (parameter,) array
        NaN for a single chain, fewer than four draws, and a parameter that does not vary.
    """
    P, C, n = draws.shape
    if C < 2 or n < 4:
        return np.full(P, np.nan)
    half = n // 2
    split = np.concatenate([draws[:, :, :half], draws[:, :, -half:]], axis=1)
    folded = np.abs(split - np.median(split, axis=(1, 2), keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.maximum(_r_hat(_normalise(split)), _r_hat(_normalise(folded)))
    found[np.ptp(draws, axis=(1, 2)) == 0] = np.nan
    return found


def _normalise(values: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks over all chains (Blom)."""
    flat = values.reshape(len(values), -1)
    return np.asarray(ndtri((rankdata(flat, axis=1) - 0.375) / (flat.shape[1] + 0.25))).reshape(values.shape)


def _r_hat(values: np.ndarray) -> np.ndarray:
    n = values.shape[2]
    within = values.var(axis=2, ddof=1).mean(axis=1)
    between = n * values.mean(axis=2).var(axis=1, ddof=1)
    return np.asarray(np.sqrt((between / within + n - 1) / n))


def describe_diagnoses(found: Mapping[str, Mapping[str, Diagnosis]], longer: str = "") -> list[str]:
    """Sentences on fits that are not to be leaned on.

    found : by model and partition
    longer : a run of twice the length, in numbers
    """
    stuck, apart, divergent, rejected = [], [], [], []
    for model, by_partition in found.items():
        of = f" of {len(by_partition)}"
        torn = [label for label, d in by_partition.items() if d.explanations > 1]
        if torn:
            stuck.append(f"model {model!r} on {len(torn)}{of} partitions (such as {torn[0]!r})")
        bad = {label: d for label, d in by_partition.items() if d.r_hat > MOST_R_HAT and label not in torn}
        if bad:
            label, worst = max(bad.items(), key=lambda entry: entry[1].r_hat)
            apart.append(
                f"model {model!r} on {len(bad)}{of} partitions (R-hat of {worst.parameter} up to {worst.r_hat:.2f}, "
                f"partition {label!r})"
            )
        bad = {label: d for label, d in by_partition.items() if d.divergent > SOME_DIVERGED * d.draws}
        if bad:
            label, worst = max(bad.items(), key=lambda entry: entry[1].divergent / entry[1].draws)
            divergent.append(
                f"model {model!r} on {len(bad)}{of} partitions (up to {worst.divergent:,} of {worst.draws:,} draws, "
                f"partition {label!r})"
            )
        bad = {label: d for label, d in by_partition.items() if d.acceptance < LEAST_ACCEPTANCE}
        if bad:
            label, worst = min(bad.items(), key=lambda entry: entry[1].acceptance)
            rejected.append(
                f"model {model!r} on {len(bad)}{of} partitions (down to {worst.acceptance:.2f}, partition {label!r})"
            )
    sentences = []
    if stuck:
        sentences.append(
            f"the data have several explanations between which the chains do not cross: {'; '.join(stuck)}. The "
            "predictions mix them, and longer chains do not help: look with bmtme check for an environment unlike the "
            "others and for traits that are nearly copies."
        )
    if apart:
        sentences.append(
            f"the chains do NOT agree: {'; '.join(apart)}. The scores of these partitions may change with longer "
            f"chains: use more tune and draws{f' ({longer})' if longer else ''}, until R-hat is below {MOST_R_HAT}, "
            "before models are compared."
        )
    if divergent:
        sentences.append(
            f"divergent moves: {'; '.join(divergent)}. The sampler then cannot reach a part of the posterior, mostly "
            "where a variance is near zero or two traits are nearly copies: a longer warm-up (tune), fewer traits, or "
            "priors that keep variances from zero (HalfT(nu=4) with a scale) help."
        )
    if rejected:
        sentences.append(
            f"few moves of the sampler are accepted (0.8 is aimed at): {'; '.join(rejected)}. Its step size does not "
            "suit the posterior: use more tune."
        )
    return sentences


def summarise_diagnoses(records: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """All fits in a line, from the record of a run; empty if it has none."""
    entries = [(model, label, d) for model, found in records.items() for label, d in found.items()]
    known = [entry for entry in entries if entry[2]["r_hat"] is not None]
    parts = []
    if known:
        model, label, d = max(known, key=lambda entry: entry[2]["r_hat"])
        parts.append(f"largest R-hat {d['r_hat']:.3f} ({d['parameter']}, {model} on {label})")
    moved = [d["acceptance"] for _, _, d in entries if d["acceptance"] is not None]
    if moved:
        divergent = sum(d["divergent"] for _, _, d in entries)
        parts.append(f"{divergent:,} divergent draws, acceptance {min(moved):.2f} to {max(moved):.2f}")
    return "; ".join(parts)
