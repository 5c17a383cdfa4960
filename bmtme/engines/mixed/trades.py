"""A move of chains in which two variances change what they have of their sum.

What one variance explains another may explain nearly as well, such as a nugget and a field whose neighbours hardly
correlate. The density then is a ridge along which their sum stays, and at either end of it one standard deviation comes
near zero. Proposals at the mode do not follow it: truths at the far end were ranked last among the draws four times as
often as they should be.

The move turns the point (s_1, s_2) of two standard deviations around zero, to an angle that is uniform between the
axes. In every other move it draws the autocorrelations that go with the two anew, uniform between -1 and 1 as in their
prior: of a field that is near zero hardly anything is known of these. Chains walk in log s and t = atanh(rho), so that
the logarithm of the ratio of proposal densities, backward over forward, is

    sum log s - sum log s' + 2 sum (log cosh t' - log cosh t).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmtme.engines.mixed.axes import AR1, Variance
from bmtme.engines.mixed.coordinates import log_cosh
from bmtme.engines.mixed.problem import Section, Term

__all__ = ["Trades"]


class Trades:
    """Proposals that trade variance between blocks.

    Parameters
    ----------
    blocks : as of `Equations`

    Attributes
    ----------
    variances : list of int
        Places in theta of the logarithms of standard deviations.
    correlations : list of lists of int
        Of each of these, the places of the autocorrelations of its block.
    """

    def __init__(self, blocks: Sequence[Section | Term]) -> None:
        self.variances: list[int] = []
        self.correlations: list[list[int]] = []
        k = 0
        for block in blocks:
            found, along = [], []
            for axis in block.axes:
                if isinstance(axis, Variance):
                    found.append(k)
                elif isinstance(axis, AR1):
                    along.append(k)
                k += axis.count
            self.variances += found
            self.correlations += [along] * len(found)

    def __bool__(self) -> bool:
        return len(self.variances) > 1

    def propose(self, theta: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Another theta (k,), and the logarithm of the density of the way back over that of the way there."""
        pair = rng.choice(len(self.variances), 2, replace=False)
        own = np.array([self.variances[each] for each in pair])
        there = theta.copy()
        radius = 0.5 * np.logaddexp(*(2.0 * theta[own]))
        angle = 0.5 * np.pi * rng.random()
        there[own] = radius + np.log(np.maximum([np.sin(angle), np.cos(angle)], 1e-300))
        ratio = float(theta[own].sum() - there[own].sum())
        along = [place for each in pair for place in self.correlations[each]]
        if rng.random() < 0.5 and along:
            there[along] = np.arctanh(rng.uniform(-1.0, 1.0, len(along)))
            ratio += 2.0 * float((log_cosh(there[along]) - log_cosh(theta[along])).sum())
        return there, ratio
