"""Whether a run can be leaned on, in words: divergences, several explanations, agreement of the chains, length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bmtme.results.record import BEFORE
from bmtme.results.summary import GOOD_ESS, GOOD_R_HAT, stretch_draws
from bmtme.results.traits import BY_TRAIT

#: Shorter chains have not had the time to leave where they started.
FEWEST_DRAWS = 200
#: Share of a chain's draws that diverged: worth a word, and too many to lean on; fewer draws than this are an accident.
SOME_DIVERGED, MANY_DIVERGED, ACCIDENT = 0.01, 0.1, 5
#: A chain with this share of its draws in one mode stays there.
STAYS = 0.95
#: A heritability below the one or above the other is in a corner; both corners together hold a posterior in two parts
#: where each has at least the least share and both together at least the most.
LOW, HIGH = 0.05, 0.95
LEAST_CORNER, MOST_CORNERS = 0.02, 0.7
#: The advice goes no further than so many times the length of the run.
LONGEST = 100
#: Chains that are further apart, or had fewer sweeps to find the posterior, may not have found it: more draws from
#: where they are do not help.
APART, LEAST_TUNE = 1.05, 200
#: In the record of a run: whether it can be extended.
EXTENDABLE = "extendable"


def count_corners(heritability: np.ndarray) -> np.ndarray:
    """(2, env, trait) number of heritabilities (draw, env, trait) that are nearly 0, and nearly 1."""
    return np.array([(heritability < LOW).sum(axis=0), (heritability > HIGH).sum(axis=0)])


def measure_sampling(
    corners: np.ndarray, diverging: np.ndarray, acceptance: np.ndarray, modes: list[dict[str, Any]]
) -> dict[str, Any]:
    """How the chains went, for the record of a run.

    Parameters
    ----------
    corners : (2, env, trait) share of the draws whose heritability is nearly 0, and nearly 1
    diverging : (chain, draw) bool
    acceptance : (chain, draw) of Hamiltonian moves, NaN for samplers without
    modes : found before sampling: ``height`` (None where heights could not be compared: then weights say nothing),
        ``weight``, ``heritability`` (env, trait) and ``chains``, the share of each chain's draws that are nearest to it
    """
    low, high = corners
    split = (np.minimum(low, high) >= LEAST_CORNER) & (low + high >= MOST_CORNERS)
    accepted = acceptance.mean(axis=1)
    return {
        "divergences": diverging.sum(axis=1).tolist(),
        "acceptance": None if np.isnan(accepted).any() else accepted.round(3).tolist(),
        "modes": modes,
        "corners": [
            {"env": int(i), "trait": int(l), "low": round(float(low[i, l]), 3), "high": round(float(high[i, l]), 3)}
            for i, l in np.argwhere(split)
        ],
    }


def describe_convergence(
    summary: pd.DataFrame, run: dict[str, Any], envs: Sequence[str], traits: Sequence[str], folder: str | None = None
) -> str:
    """Sentences on whether the draws suffice, the gravest first, naming the worst parameter and what to do.

    folder : of the run, where it is known
    """
    samplings = list_samplings(run["sampling"], traits)
    stuck = [describe_explanations(sampling, run["settings"], envs, own) for sampling, own in samplings]
    corners = [describe_corners(sampling, envs, own) for sampling, own in samplings]
    diverged = describe_all_divergences(run["sampling"], run["settings"])
    agreement = describe_agreement(summary, run, any(stuck), any(corners), any(diverged), folder)
    parts = [*stuck, *corners, *diverged, agreement]
    return " ".join(part for part in parts if part)


def is_reliable(summary: pd.DataFrame, run: Mapping[str, Any], envs: Sequence[str], traits: Sequence[str]) -> bool:
    """Whether `describe_convergence` has nothing against the chains."""
    for sampling, own in list_samplings(run["sampling"], traits):
        apart = describe_explanations(sampling, run["settings"], envs, own) or describe_corners(sampling, envs, own)
        if apart or describe_divergences(sampling, run["settings"]):
            return False
    fewest = min(summary["ess_bulk"].min(), summary["ess_tail"].min())
    return bool(summary["r_hat"].max() <= GOOD_R_HAT and fewest >= GOOD_ESS)


def list_samplings(sampling: dict[str, Any], traits: Sequence[str]) -> list[tuple[dict[str, Any], Sequence[str]]]:
    """How the chains went (see `measure_sampling`), and of which traits: of all, or of each that has chains alone."""
    if BY_TRAIT not in sampling:
        return [(sampling, traits)]
    return [(own, [trait]) for trait, own in sampling[BY_TRAIT].items()]


def describe_agreement(
    summary: pd.DataFrame,
    run: dict[str, Any],
    stuck: bool = False,
    corners: bool = False,
    diverged: bool = False,
    folder: str | None = None,
) -> str:
    """Whether the chains agree and how many effective draws there are.

    stuck : chains sit in different modes, so that more sweeps would not help
    corners : a heritability is nearly 0 or nearly 1 and hardly anything between
    diverged : that was told
    folder : of the run, where it is known
    """
    worst_r, worst_e = summary["r_hat"].max(), summary["ess_bulk"].min()
    if not np.isfinite(worst_e):
        return "Too few draws to judge convergence."
    apart = f"; the largest R-hat is {worst_r:.3f} ({summary['r_hat'].idxmax()})" if np.isfinite(worst_r) else ""
    warm = not (worst_r > APART or diverged) and run["settings"]["tune"] >= LEAST_TUNE

    def advise(worst: float) -> str:
        return advise_length(worst, run, warm, folder)

    text = f"{summary['ess_bulk'].idxmin()} has the fewest effective draws, {worst_e:.0f}{apart}"
    if worst_r > GOOD_R_HAT:
        return f"The chains have NOT converged: {text}." + ("" if stuck else f" {advise(worst_e)}")
    if worst_e < GOOD_ESS:
        return f"Few effective draws: {text}. {advise(worst_e)}"
    tail = summary["ess_tail"].min()
    if tail < GOOD_ESS:
        few = f"{summary['ess_tail'].idxmin()} has {tail:.0f} in its tails, on which intervals rest"
        return f"Few effective draws: {few}{apart}. {advise(tail)}"
    if np.isfinite(worst_r) and corners:
        return f"Every chain weighs the two alike: {text}."
    if np.isfinite(worst_r):
        return f"The chains agree: {text}."
    return f"One chain cannot show whether it converged: {text}."


def advise_length(worst: float, run: dict[str, Any], warm: bool = False, folder: str | None = None) -> str:
    """A longer run in numbers: draws that should give enough effective ones, at least twice as many, and their time.

    warm : whether the warm-up did, so that only draws are lacking, and a fit that can be extended needs them alone
    folder : of the run, where it is known
    """
    settings = run["settings"]
    factor = stretch_draws(worst)
    if factor > LONGEST:
        return f"Even {LONGEST} times as many draws would not do: look for the reason in `bmtme check`."
    spent = run["seconds"]
    drawing, warming = spent["sample"] + spent.get(BEFORE, 0.0), spent.get("warm_up", 0.0)
    begin, draws = "before leaning on these numbers", settings["draws"]
    if warm and run.get(EXTENDABLE):
        more, seconds = (factor - 1) * draws, (factor - 1) * drawing
        how = f"bmtme extend {folder or 'RUN'} --more {more}"
        how += "" if folder else f", in Python bmtme.extend(folder, more={more})"
        return f"Take more draws {begin}: {more:,} of each chain would take about {describe_time(seconds)}: {how}."
    if warm:
        seconds = warming + factor * drawing
        return f"Take more draws {begin}: draws={factor * draws} would take about {describe_time(seconds)}."
    return (
        f"Run more sweeps {begin}: tune={factor * settings['tune']}, draws={factor * draws} would take about "
        f"{describe_time(factor * (warming + drawing))}."
    )


def describe_time(seconds: float) -> str:
    """How long more draws would take."""
    return f"{max(seconds, 1):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def describe_all_divergences(sampling: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """As `describe_divergences`, of each trait that has chains of its own."""
    if BY_TRAIT not in sampling:
        return [describe_divergences(sampling, settings)]
    told = {trait: describe_divergences(own, settings) for trait, own in sampling[BY_TRAIT].items()}
    return [f"{trait}: {text}" for trait, text in told.items() if text]


def describe_divergences(sampling: dict[str, Any], settings: dict[str, Any]) -> str:
    """What share of the draws diverged, why that may be, and what helps; empty where hardly any did."""
    draws = settings["draws"]
    counts = sampling["divergences"]
    worst = int(np.argmax(counts))
    few = sum(counts) < SOME_DIVERGED * draws * len(counts) and counts[worst] < MANY_DIVERGED * draws
    if few or counts[worst] < ACCIDENT:
        return ""
    share = f"{sum(counts):,} of {draws * len(counts):,} draws diverged"
    if len(counts) > 1:
        share += f" (chain {worst + 1}: {counts[worst]:,}"
    if sampling["acceptance"] is not None:
        share += f"{', ' if len(counts) > 1 else ' ('}acceptance {sampling['acceptance'][worst]:.2f}, wanted 0.8"
    share += ")" if "(" in share else ""
    cure = (
        "a variance near zero, or traits that are nearly copies of each other, make the density too steep for the "
        f"steps; a longer warm-up (tune={max(2000, 4 * settings['tune'])}), fewer traits, or priors that keep "
        "variances from zero and from far-off values (HalfT(nu=4) with a scale) help"
    )
    if counts[worst] >= MANY_DIVERGED * draws:
        return f"Do NOT lean on these numbers: {share}, where the chains hardly moved. Likely {cure}."
    return f"{share}: likely {cure}."


def list_stuck(shares: ArrayLike) -> list[int]:
    """Modes in which chains stay while others stay elsewhere; empty where the chains cross or there is one mode.

    shares : (mode, chain) share of a chain's draws that are nearest to a mode
    """
    held = [k for k, chains in enumerate(np.asarray(shares)) if (chains >= STAYS).any()]
    return held if len(held) > 1 else []


def describe_explanations(
    sampling: dict[str, Any], settings: dict[str, Any], envs: Sequence[str], traits: Sequence[str]
) -> str:
    """What it means that chains stay in different modes; empty where they do not."""
    stuck = list_stuck([mode["chains"] for mode in sampling["modes"]])
    if not stuck or settings["draws"] < FEWEST_DRAWS:
        return ""
    modes = [sampling["modes"][k] for k in stuck]
    shares = np.array([mode["heritability"] for mode in modes])
    i, l = divmod(int(np.argmax(np.ptp(shares, axis=0))), len(traits))
    told = []
    for mode, share in zip(modes, shares, strict=True):
        chains = [str(c + 1) for c, held in enumerate(mode["chains"]) if held >= STAYS]
        words = f"{'chain' if len(chains) == 1 else 'chains'} {', '.join(chains)}"
        if mode["height"] is not None:
            words += f"; weight about {100 * mode['weight']:.2g}%"
        told.append(f"{share[i, l]:.2f} ({words})")
    unknown = ""
    if any(mode["height"] is None for mode in modes):
        unknown = " How likely each of them is could not be computed."
    return (
        f"The data have {len(modes)} explanations between which the chains do not cross, so that the numbers below mix "
        f"them: the heritability of {traits[l]} in {envs[i]} is {', or '.join(told)}.{unknown} More sweeps do not "
        "help. Look with `bmtme check` for an environment unlike the others and for traits that are nearly copies; "
        "leave one out, or fit it by itself."
    )


def describe_corners(sampling: dict[str, Any], envs: Sequence[str], traits: Sequence[str]) -> str:
    """Heritabilities that are nearly 0 or nearly 1 and hardly anything between; empty where none is."""
    corners = sampling["corners"]
    if not corners:
        return ""
    first = corners[0]
    more = f" (and {len(corners) - 1} more)" if corners[1:] else ""
    why = (
        "Traits that are nearly copies of each other do that: leave one out, or analyse their difference."
        if len(traits) > 1
        else "Lines that hardly differ in relationship do that: replicate them, or use a relationship from markers."
    )
    return (
        f"The data have two explanations: the heritability of {traits[first['trait']]} in {envs[first['env']]}{more} "
        f"is below {LOW} with probability {first['low']:.2f} and above {HIGH} with probability {first['high']:.2f}; "
        f"the mean of the two is neither. {why}"
    )
