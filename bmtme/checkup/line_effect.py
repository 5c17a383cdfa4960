"""Whether data can tell an effect of lines outside the relationship from genetic effects and residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.data.relationship.matrix import Relationship
from bmtme.model.eigenbasis import CLONES
from bmtme.words import count_noun

__all__ = ["count_contrasts", "describe_evening", "describe_obstacle", "describe_weakness"]

#: Contrasts in which lines have to be related unequally. With fewer, the standard error of the variance outside the
#: relationship would be above all the variance between lines, even in data without residuals.
FEWEST_CONTRASTS = 2.0
#: Records beside the first one of their line below which it is said how few tell line effects from residuals.
FEWEST_REPEATED = 10
#: Share of plots imputed from which on it is said if a line effect makes it, and by how much more than without one.
MUCH, MORE = 0.5, 0.25
#: Rows of the relationship that are looked at together.
ROWS = 500

LEAVE = "Leave line_effect out."


def count_contrasts(relationship: Relationship, lines: Sequence[str]) -> float:
    """How many contrasts between these lines tell genetic effects from effects outside the relationship.

    Where means are free, lines are what their contrasts are: with H = K G K, K = I - 11'/J, genetic and other effects
    together have the covariance H s + K t in J - 1 dimensions, and with them alike in size the information about t
    is 1/2 (J - 1) (1 - m1^2 / m2) / variance^2, s not being known; m1 and m2 are the mean eigenvalue of H and the
    mean square. That is zero for G = a I + b 11' and whatever else has H = a K, and below J - 1.

    Returns
    -------
    float
        (J - 1) (1 - m1^2 / m2); NaN where all lines are clones of one.
    """
    J = len(lines)
    if J < 2 or relationship.is_identity:
        return 0.0
    index = relationship.index(lines)
    sums, squares, trace = np.empty(J), 0.0, float(relationship.matrix[index, index].sum())
    for first in range(0, J, ROWS):
        block = relationship.matrix[np.ix_(index[first : first + ROWS], index)]
        sums[first : first + ROWS] = block.sum(axis=1)
        squares += float((block**2).sum())
    total = float(sums.sum())
    m1 = (trace - total / J) / (J - 1)
    m2 = (squares - 2.0 * float(sums @ sums) / J + (total / J) ** 2) / (J - 1)
    if not m1 > CLONES * trace / J:
        return float("nan")
    return (J - 1) * max(0.0, 1.0 - m1**2 / m2)


def describe_obstacle(
    relationship: Relationship, lines: Sequence[str], traits: Sequence[str], counts: np.ndarray
) -> str:
    """Why nothing tells a line effect from others, for the first trait of which that is so; empty where something does.

    A variance outside the relationship shows in lines that are related unequally, so that genetic variances are told
    from it, and in records of one line that are more alike than residuals are, in two environments or as replicates.

    Parameters
    ----------
    counts : (J, L) records of each line and trait
    """
    known: dict[bytes, float] = {}
    for trait, count in zip(traits, counts.T, strict=True):
        here = count > 0
        if here.tobytes() not in known:
            known[here.tobytes()] = count_contrasts(relationship, [lines[j] for j in np.flatnonzero(here).tolist()])
        contrasts = known[here.tobytes()]
        whose = f"{count_noun(int(here.sum()), 'line')} with a record of trait {trait!r}"
        if np.isnan(contrasts):
            return (
                f"line_effect=True: by the relationship the {whose} are clones of one, so that effects outside it "
                "would be all there is. Use Relationship.identity instead, and leave line_effect out."
            )
        if contrasts < FEWEST_CONTRASTS:
            return (
                f"line_effect=True needs lines that are related unequally: the {whose} are unrelated, or all related "
                "alike, or nearly so, and nothing tells effects outside the relationship from genetic effects. "
                f"{LEAVE}"
            )
        if count.max(initial=0) < 2:
            return (
                "line_effect=True needs records of lines in two environments, or replicates: with one record each for "
                f"the {whose}, nothing tells effects of lines from residuals. {LEAVE}"
            )
    return ""


def describe_weakness(traits: Sequence[str], counts: np.ndarray) -> str:
    """Which traits have few records that tell a line effect from residuals; parameters as of `describe_obstacle`."""
    repeated = {trait: int((count[count > 0] - 1).sum()) for trait, count in zip(traits, counts.T, strict=True)}
    few = [f"{trait!r} ({number})" for trait, number in repeated.items() if number < FEWEST_REPEATED]
    if not few:
        return ""
    return (
        f"line_effect=True: few records are further ones of a line that has one already, of {', '.join(few)}; effects "
        "of lines are told from residuals by these alone. See what the notes on Sigma_r say, or leave line_effect out."
    )


def describe_evening(
    lines: Sequence[str], envs: Sequence[str], plots: np.ndarray, without: float, imputed: float
) -> str:
    """Where much is imputed for the sake of a line effect, as lines then have the same number of plots; or empty.

    Parameters
    ----------
    plots : (J, I) of each line in each environment
    without, imputed : share of plots imputed in a model without and with a line effect
    """
    if imputed < MUCH or imputed < without + MORE:
        return ""
    j, i = (int(place) for place in np.unravel_index(plots.argmax(), plots.shape))
    usual = float(np.median(plots[plots[:, i] > 0, i]))
    return (
        "line_effect=True lays out every line of an environment with as many plots as its most replicated line has: "
        f"{lines[j]!r} has {plots[j, i]} in {envs[i]!r}, where {usual:g} is usual, and {100 * imputed:.0f}% of the "
        f"plots are imputed ({100 * without:.0f}% without a line effect). Chains then mix slowly: look at the "
        "effective draws, and run more; or leave some plots of such lines out, or line_effect."
    )
