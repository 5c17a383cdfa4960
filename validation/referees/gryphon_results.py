"""The analyses of the study `gryphon`, what ASReml-R prints of them, and all programs on each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from validation.referees.animals import (
    Agreement,
    Analysis,
    Animals,
    compare_moments,
    find_posterior,
    fit_animals,
    set_up,
)
from validation.referees.posteriors import find_limit
from validation.referees.reml import Maximum, Sample
from validation.registry import Options

ALONE = Analysis("BWT", ("BWT",))
BY_SEX = Analysis("BWT, means by sex", ("BWT",), by_sex=True)
BOTH = Analysis("BWT and TARSUS", ("BWT", "TARSUS"))
ANALYSES = (ALONE, BY_SEX, BOTH)
#: Kept sweeps of a chain; where sexes stand for environments, half the cells are imputed.
DRAWS = {ALONE: 10_000, BY_SEX: 6000, BOTH: 10_000}
#: Estimates by two REML programs that have both converged differ by no larger a share.
SAME, SAME_ERROR = 1e-5, 1e-3
#: A posterior median further from the REML estimate, in posterior SDs, would want an explanation.
NEAR = 0.5
#: Draws of the importance sampler for two traits.
IMPORTANCE = 1500

#: The program of "How to fit an animal model" (J. Martin and others, https://github.com/JulienGAMartin/wam_tuto,
#: CC-BY 4.0), by a line of the output in its chapters on ASReml-R: "ASReml Version 4.2 26/03/2024".
PROGRAM = "ASReml-R 4.2"
#: As printed there: estimates and standard errors, in the order of `Analysis.labels` and `ratios`.
PRINTED = {
    ALONE: ((3.395398, 0.6349915), (3.828602, 0.5185919), (0.4700163, 0.07650881)),
    BY_SEX: ((3.060441, 0.5243571), (2.938412, 0.4161473), (0.510171, 0.07432388)),
    BOTH: (
        (3.368397, 0.6348307), (2.459809, 1.0732644), (12.345792, 3.0744285),
        (3.849916, 0.5200101), (3.313282, 0.9129234), (17.646432, 2.6670380),
        (0.466646, 0.07671533), (0.4116331, 0.09305863), (0.3814436, 0.1299759), (0.4019799, 0.08607104),
    ),
}  # fmt: skip
#: The mean of sex 1 and the difference of sex 2, printed there with standard errors.
PRINTED_MEANS = ((6.058669, 0.1718244), (2.206996, 0.1619974))


@dataclass(frozen=True)
class Result:
    """One analysis by all programs; ``estimates`` and ``errors`` are REML's, of entries and ratios."""

    analysis: Analysis
    records: int
    maximum: Maximum
    estimates: np.ndarray
    errors: np.ndarray
    exact: Sample
    draws: np.ndarray
    means: np.ndarray
    agreement: Agreement

    @property
    def values(self) -> np.ndarray:
        """bmtme's draws of entries and ratios (chain, draw, entry)."""
        flat = self.analysis.expand(self.draws.reshape(-1, self.draws.shape[2]))
        return flat.reshape(*self.draws.shape[:2], -1)

    def differ(self) -> tuple[float, float]:
        """Largest differences of estimates and of standard errors from the printed ones, as shares of these."""
        printed = np.array(PRINTED[self.analysis])
        share = np.abs(np.column_stack([self.estimates, self.errors]) / printed - 1).max(axis=0)
        return float(share[0]), float(share[1])

    def blind(self) -> float:
        """The shift of a mean, in posterior SDs, that just fails, of the entry or ratio least surely known."""
        a, flat = self.agreement, self.values.reshape(-1, self.values.shape[2])
        errors = np.hypot(a.our_errors, a.exact_errors)[: flat.shape[1]]
        return find_limit(len(a.z)) * float((errors / flat.std(axis=0)).max())

    def place(self) -> np.ndarray:
        """How far the printed estimates are from bmtme's medians, in posterior SDs."""
        flat = self.values.reshape(-1, self.values.shape[2])
        return (np.array(PRINTED[self.analysis])[:, 0] - np.median(flat, axis=0)) / flat.std(axis=0)


def analyse(animals: Animals, analysis: Analysis, draws: int, importance: int, options: Options) -> Result:
    """REML, the exact posterior and bmtme's."""
    traits = set_up(animals, analysis)
    with threadpool_limits(1):
        maximum = traits.maximise()
    exact = find_posterior(analysis, traits, maximum, importance, options.seed, options.cores)
    found, means = fit_animals(animals, analysis, draws, options.seed, options.cores)
    step = 1e-6 * np.abs(maximum.theta).max()
    slopes = np.array([
        (analysis.expand((maximum.theta + e)[None])[0] - analysis.expand((maximum.theta - e)[None])[0]) / (2 * step)
        for e in step * np.eye(len(maximum.theta))
    ])  # fmt: skip
    errors = np.sqrt(np.einsum("kq,kl,lq->q", slopes, maximum.covariance, slopes))
    estimates = analysis.expand(maximum.theta[None])[0]
    agreement = compare_moments(analysis, found, exact, maximum.theta)
    return Result(analysis, len(traits.values), maximum, estimates, errors, exact, found, means, agreement)
