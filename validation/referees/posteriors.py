"""Posteriors of one model by two programs: means, SDs and quantiles of every entry, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from bmtme.results.summary import diagnose
from bmtme.testing.uniformity import combine_z
from validation.referees.estimates import ENOUGH, MOST_R_HAT, count_effective
from validation.registry import LEVEL

#: What is compared of each entry.
STATISTICS = ("mean", "SD", "5%", "50%", "95%")
QUANTILES = (0.05, 0.5, 0.95)


def take_entries(
    draws: Mapping[str, np.ndarray], structure: str, envs: Sequence[str], traits: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Every entry that the structure leaves free, with a label.

    Parameters
    ----------
    draws : ``Sigma_t`` and ``R_e`` (chain, draw, L, L), ``s2_E`` (chain, draw, I), ``beta`` (chain, draw, I, L),
        ``tau`` (chain, draw, L)

    Returns
    -------
    names, values (entry, chain, draw) : Sigma_E as roots and tau as logarithms, which have lighter tails
    """
    names, columns = [], []
    for name in ("Sigma_t", "R_e"):
        for a, b in zip(*(part.tolist() for part in np.tril_indices(len(traits))), strict=True):
            if a == b or structure == "unstructured":
                names.append(f"{name}[{traits[a]}, {traits[b]}]")
                columns.append(draws[name][:, :, a, b])
            if structure == "standard":  # one variance; the others are multiples
                break
    for i, env in enumerate(envs):
        names.append(f"root of Sigma_E[{env}]" if structure != "standard" else "root of Sigma_E")
        columns.append(np.sqrt(draws["s2_E"][:, :, i]))
        if structure == "standard":
            break
    for l, trait in enumerate(traits):
        names.append(f"log tau[{trait}]")
        columns.append(np.log(draws["tau"][:, :, l]))
    for i, env in enumerate(envs):
        for l, trait in enumerate(traits):
            names.append(f"beta[{env}, {trait}]")
            columns.append(draws["beta"][:, :, i, l])
    return names, np.array(columns)


@dataclass(frozen=True)
class Measures:
    """Of each entry: its statistics and their Monte Carlo errors (entry, statistic), effective draws, R-hat.

    The effective draws are those of the statistic that has fewest: the mean, the SD or one of the quantiles.
    """

    values: np.ndarray
    errors: np.ndarray
    effective: np.ndarray
    r_hat: np.ndarray


def measure(draws: np.ndarray) -> Measures:
    """From draws (entry, chain, draw).

    Errors, with n the effective draws of a series: of a mean SD(x) / sqrt(n of x); of a standard deviation that of
    the mean of (x - mean)^2, over 2 SD(x); of a quantile q at p half the distance of the sample's quantiles at p - e
    and p + e, e = sqrt(p (1 - p) / n of [x <= q]).
    """
    flat = draws.reshape(len(draws), -1)
    mean, sd = flat.mean(axis=1), flat.std(axis=1, ddof=1)
    squares = (draws - mean[:, None, None]) ** 2
    effective = [count_effective(draws), count_effective(squares)]
    values = [mean, sd]
    errors = [sd / np.sqrt(effective[0]), squares.std(axis=(1, 2)) / np.sqrt(effective[1]) / (2 * sd)]
    for p in QUANTILES:
        quantile = np.quantile(flat, p, axis=1)
        below = (draws <= quantile[:, None, None]).astype(float)
        effective.append(count_effective(below))
        e = np.sqrt(p * (1 - p) / effective[-1])
        spread = [
            np.quantile(x, min(1.0, p + step)) - np.quantile(x, max(0.0, p - step))
            for x, step in zip(flat, e, strict=True)
        ]
        values.append(quantile)
        errors.append(np.array(spread) / 2)
    r_hat = diagnose(draws)[2]
    return Measures(np.column_stack(values), np.column_stack(errors), np.min(effective, axis=0), r_hat)


def find_limit(figures: int) -> float:
    """The largest difference, in errors, that `LEVEL` lets pass among so many."""
    return float(norm.isf(LEVEL / 2 / figures))


def show_p(p: float) -> str:
    """A p-value in two digits, also where it is too small for a number."""
    return f"{p:.2g}" if p > 1e-300 else "< 1e-300"


@dataclass(frozen=True)
class Comparison:
    """Two posteriors of the same entries."""

    names: list[str]
    one: Measures
    other: Measures

    @property
    def z(self) -> np.ndarray:
        """(entry, statistic) differences in Monte Carlo errors."""
        return (self.one.values - self.other.values) / np.hypot(self.one.errors, self.other.errors)

    @property
    def p(self) -> float:
        """Smallest p-value, times the number of differences."""
        return combine_z(self.z)

    @property
    def largest(self) -> str:
        """Which figure differs most, and by how many errors."""
        entry, statistic = np.unravel_index(np.abs(self.z).argmax(), self.z.shape)
        return f"{self.z[entry, statistic]:+.1f} ({STATISTICS[statistic]} of {self.names[entry]})"

    @property
    def shift(self) -> float:
        """Largest difference of two means or quantiles in posterior SDs."""
        columns = [0, 2, 3, 4]
        difference = np.abs(self.one.values - self.other.values)[:, columns]
        return float((difference / self.other.values[:, [1]]).max())

    @property
    def limit(self) -> float:
        """A difference of more errors than this fails: where its p-value times their number is below `LEVEL`."""
        return find_limit(self.z.size)

    @property
    def blind(self) -> tuple[float, float]:
        """Shifts of a mean, in posterior SDs, that just fail: of the entry most and of that least surely known."""
        errors = np.hypot(self.one.errors[:, 0], self.other.errors[:, 0]) / self.other.values[:, 1]
        return self.limit * float(errors.min()), self.limit * float(errors.max())

    @property
    def fewest(self) -> float:
        """Least effective draws of either program, of any statistic."""
        return float(min(self.one.effective.min(), self.other.effective.min()))

    @property
    def converged(self) -> bool:
        """Whether there are enough effective draws, and chains that agree with each other."""
        worst = max(self.one.r_hat.max(), self.other.r_hat.max())
        return bool(self.fewest >= ENOUGH and worst < MOST_R_HAT)

    def tabulate(self) -> list[tuple[str, ...]]:
        """Rows of a table: each statistic by one program / by the other, and the largest difference in errors."""
        rows = []
        for name, ours, theirs, errors, z in zip(
            self.names, self.one.values, self.other.values, self.other.errors, self.z, strict=True
        ):
            digits = [max(0, 1 - int(np.floor(np.log10(error)))) for error in errors]
            cells = [f"{a:.{d}f} / {b:.{d}f}" for a, b, d in zip(ours, theirs, digits, strict=True)]
            rows.append((name, *cells, f"{z[np.abs(z).argmax()]:+.1f}"))
        return rows
