"""A factor-analytic genetic covariance over the columns (environment, trait): C = Lambda Lambda' + diag(psi^2).

A few factors say what columns have in common, psi^2 what each has of its own (Smith, Cullis & Thompson 2001, Biometrics
57:1138-1147; Piepho 1998, Theor Appl Genet 97:195-201). In scaled units, in which a trait has standard deviation one,
Lambda ~ MN(0, Omega, I_k): loadings are N(0, 1), those of one trait on one factor have correlation 1/2 between
environments, so that a column without a record learns from its trait elsewhere; psi is signed with a half-t(4, 1), so
that a column with nothing of its own (a Heywood case) is an ordinary point.

C does not change when Lambda is rotated, Lambda -> Lambda Q. Of all rotations the parameters hold the one in which the
rows of k pivot columns are a lower triangle (Geweke & Zhou 1996, Rev Financ Stud 9:557-587). The prior of Lambda does
not change either, so that with the Jacobian prod_c |Lambda_cc|^(k - c) of Lambda = (triangular) Q, c counted from one,
the prior of C is that of free loadings, whatever the pivots: these are spread evenly from the first to the last column,
in environments and traits.

The parameters are Lambda row by row, without the zeros of the pivots' rows, then psi.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.arguments import whole_number
from bmtme.errors import UsageError
from bmtme.linalg.compile import compiled
from bmtme.structures.parameters import LARGEST, SMALLEST
from bmtme.structures.part import Flip, Part, Start
from bmtme.structures.structure import Genetic

#: Degrees of freedom of psi; its scale and that of the loadings is one.
NU = 4.0
#: A start has specific variances, and loadings of pivots on their own factor, no smaller than this in proportion.
LEAST = 0.1


@compiled()
def count_loadings(M, k):
    """Number of loadings of M columns on k factors, zeros left out."""
    return M * k - k * (k - 1) // 2


@compiled()
def count_factors(size, M):
    """The number of factors that makes this number of parameters."""
    k = 1
    while count_loadings(M, k) + M < size:
        k += 1
    return k


@compiled()
def find_pivot(c, M, k):
    """Column whose row of Lambda is zero beyond factor c."""
    return c * (M - 1) // (k - 1) if k > 1 else 0


@compiled()
def count_entries(M, k, entries):
    """How many loadings, the first ones, each column (M,) has."""
    entries[:] = k
    for c in range(k):
        entries[find_pivot(c, M, k)] = c + 1


@compiled()
def unpack_factors(theta, entries, Lambda, psi):
    """Lambda (M, k) and psi (M,); False where out of bounds."""
    M, k = Lambda.shape
    t = 0
    for m in range(M):
        for c in range(k):
            Lambda[m, c] = 0.0
            if c < entries[m]:
                Lambda[m, c] = theta[t]
                if not (abs(theta[t]) < LARGEST):
                    return False
                t += 1
    for m in range(M):
        psi[m] = theta[t + m]
        if not (SMALLEST < abs(psi[m]) < LARGEST):
            return False
    for c in range(k):
        if not (abs(Lambda[find_pivot(c, M, k), c]) > SMALLEST):
            return False
    return True


@compiled()
def pack_factors(entries, Lambda, psi, theta):
    """Parameters of a triangular Lambda and of psi."""
    t = 0
    for m in range(Lambda.shape[0]):
        for c in range(entries[m]):
            theta[t] = Lambda[m, c]
            t += 1
    theta[t:] = psi


@compiled()
def rotate_to_triangle(Lambda):
    """Rotate factors, in place, until the rows of the pivots are a lower triangle."""
    M, k = Lambda.shape
    for a in range(k):
        p = find_pivot(a, M, k)
        for c in range(a + 1, k):
            r = math.hypot(Lambda[p, a], Lambda[p, c])
            if r == 0.0:
                continue
            cosine, sine = Lambda[p, a] / r, Lambda[p, c] / r
            for m in range(M):
                x, y = Lambda[m, a], Lambda[m, c]
                Lambda[m, a] = cosine * x + sine * y
                Lambda[m, c] = cosine * y - sine * x
            Lambda[p, c] = 0.0


@compiled()
def build(part, theta, C):
    """C at these parameters; False where they are out of bounds."""
    M = C.shape[0]
    k = count_factors(theta.shape[0], M)
    entries, Lambda, psi = np.empty(M, np.int64), np.empty((M, k)), np.empty(M)
    count_entries(M, k, entries)
    if not unpack_factors(theta, entries, Lambda, psi):
        return False
    for m in range(M):
        for n in range(m + 1):
            s = 0.0
            for c in range(k):
                s += Lambda[m, c] * Lambda[n, c]
            C[m, n] = s
            C[n, m] = s
        C[m, m] += psi[m] ** 2
    return True


@compiled()
def sum_by_trait(part, Lambda, sums, counts):
    """Sums (L, k) of the loadings of each trait, and the numbers (L,) of its columns."""
    sums[:] = 0.0
    counts[:] = 0
    for m in range(Lambda.shape[0]):
        counts[part.col_trait[m]] += 1
        for c in range(Lambda.shape[1]):
            sums[part.col_trait[m], c] += Lambda[m, c]


@compiled()
def back(part, theta, G, gradient):
    """Log prior with Jacobian; the gradient of everything, from d/dC in G.

    Of n columns of a trait Omega is (I + 1 1') / 2, and its inverse 2 (I - 1 1' / (n + 1)).
    """
    M = G.shape[0]
    k = count_factors(theta.shape[0], M)
    entries, Lambda, psi = np.empty(M, np.int64), np.empty((M, k)), np.empty(M)
    count_entries(M, k, entries)
    if not unpack_factors(theta, entries, Lambda, psi):
        return -np.inf
    sums, counts = np.empty((part.n_trait, k)), np.empty(part.n_trait, np.int64)
    sum_by_trait(part, Lambda, sums, counts)
    lp = 0.0
    t = 0
    for m in range(M):
        l = part.col_trait[m]
        for c in range(entries[m]):
            whitened = 2.0 * (Lambda[m, c] - sums[l, c] / (counts[l] + 1.0))
            s = 0.0
            for n in range(M):
                s += G[m, n] * Lambda[n, c]
            gradient[t] = 2.0 * s - whitened
            lp -= 0.5 * whitened * Lambda[m, c]
            t += 1
            if c == entries[m] - 1 and c < k - 1:  # the last loading of a pivot
                power = k - 1.0 - c
                lp += power * math.log(abs(Lambda[m, c]))
                gradient[t - 1] += power / Lambda[m, c]
    for m in range(M):
        lp -= 0.5 * (NU + 1.0) * math.log1p(psi[m] ** 2 / NU)
        gradient[t + m] = 2.0 * G[m, m] * psi[m] - (NU + 1.0) * psi[m] / (NU + psi[m] ** 2)
    return lp


@compiled()
def complete(rng, part, theta, whole):
    """Loadings of columns without a record given those of their trait, their psi from the prior; other pivots.

    Given n loadings of a trait on a factor, one more is normal with mean their sum / (n + 1) and variance
    (n + 2) / (2 (n + 1)); drawn one by one, each counts for the next.
    """
    M, L = part.col_env.shape[0], part.n_trait
    k = count_factors(theta.shape[0], M)
    entries, Lambda, psi = np.empty(M, np.int64), np.empty((M, k)), np.empty(M)
    count_entries(M, k, entries)
    if not unpack_factors(theta, entries, Lambda, psi):
        return False
    size = part.n_env * L
    if M == size:
        whole[:] = theta
        return True
    sums, counts = np.empty((L, k)), np.empty(L, np.int64)
    sum_by_trait(part, Lambda, sums, counts)
    every, own, places = np.empty((size, k)), np.empty(size), np.full(size, -1)
    for m in range(M):
        places[part.col_env[m] * L + part.col_trait[m]] = m
    for a in range(size):
        m, l = places[a], a % L
        if m >= 0:
            every[a], own[a] = Lambda[m], psi[m]
            continue
        n = counts[l]
        for c in range(k):
            every[a, c] = sums[l, c] / (n + 1.0) + math.sqrt(0.5 * (n + 2.0) / (n + 1.0)) * rng.standard_normal()
            sums[l, c] += every[a, c]
        counts[l] += 1
        own[a] = rng.standard_normal() / math.sqrt(2.0 * rng.standard_gamma(0.5 * NU) / NU)
    rotate_to_triangle(every)
    where = np.empty(size, np.int64)
    count_entries(size, k, where)
    pack_factors(where, every, own, whole)
    return True


@dataclass(frozen=True)
class FactorAnalytic(Genetic):
    """C = Lambda Lambda' + diag(psi^2): factors in common, and a variance of its own of each column.

    Between main effects and `Free`: environments covary as they like, with (k + 1) M - k (k - 1) / 2 parameters for
    k factors over M columns (environment, trait). Columns without a record are served, new environments too: their
    loadings come from those of their trait in other environments. Goes with ``structure="unstructured"``, and has a
    prior of its own (see `bmtme.structures.factor_analytic`) in place of ``prior_t`` and ``prior_E``. Loadings are not
    reported, as any rotation of them means the same; C, its variances and correlations are.

    Parameters
    ----------
    factors : int
        Number of factors k, at least 1 and fewer than the columns with a record.

    Raises
    ------
    UsageError
        If `factors` is not a whole number of at least 1.
    """

    factors: int = 2

    name = "factor_analytic"
    takes_prior_t = False
    takes_prior_E = False
    build = staticmethod(build)
    back = staticmethod(back)
    complete = staticmethod(complete)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", whole_number(self.factors, "factors of FactorAnalytic", 1))

    def check(self, recorded: np.ndarray, envs: Sequence[str], traits: Sequence[str]) -> None:
        M = int(recorded.sum())
        if M == 1:
            raise UsageError(
                f"the genetic structure {self.name} needs records in two environment x trait columns at least: one has "
                "nothing to share factors with. Use bmtme.Proportional()."
            )
        if self.factors >= M:
            raise UsageError(
                f"the genetic structure {self.name} needs fewer factors than environment x trait columns with a "
                f"record, got {self.factors} and {M}: as many assume nothing. Use fewer factors or bmtme.Free()."
            )

    def count(self, part: Part) -> int:
        M = len(part.col_env)
        return int(count_loadings(M, self.factors)) + M

    def start(self, part: Part, start: Start) -> np.ndarray:
        """The largest principal components of C, shortened a little; the rest of its diagonal is that of psi^2."""
        interaction = np.equal.outer(part.col_env, part.col_env) * start.s2_E[part.col_env]
        C = (1.0 + interaction) * start.Sigma_t[np.ix_(part.col_trait, part.col_trait)]
        M, k = len(C), self.factors
        values, vectors = np.linalg.eigh(C)
        Lambda = np.ascontiguousarray((vectors * np.sqrt((1.0 - LEAST) * np.maximum(values, 0.0)))[:, ::-1][:, :k])
        rotate_to_triangle(Lambda)
        for c in range(k):
            p = find_pivot(c, M, k)
            Lambda[p, c] = math.copysign(max(abs(Lambda[p, c]), LEAST * math.sqrt(C[p, p])), Lambda[p, c])
        rest = np.diag(C) - (Lambda**2).sum(axis=1)
        theta, entries = np.empty(part.size), np.empty(M, np.int64)
        count_entries(M, k, entries)
        pack_factors(entries, Lambda, np.sqrt(np.maximum(rest, LEAST * np.diag(C))), theta)
        return theta

    def list_flips(self, part: Part) -> list[Flip]:
        """Of each factor, led by its pivot's loading, and of each psi.

        Without those of the factors steps are longer where the last factor is weak, and some trajectories diverge.
        """
        M, k = len(part.col_env), self.factors
        entries = np.empty(M, np.int64)
        count_entries(M, k, entries)
        first = np.cumsum(entries) - entries
        flips: list[Flip] = []
        for c in range(k):
            lead = int(find_pivot(c, M, k))
            others = tuple(int(first[m]) + c for m in range(M) if m != lead and entries[m] > c)
            flips.append((int(first[lead]) + c, others))
        loadings = int(count_loadings(M, k))
        return [*flips, *((loadings + m, ()) for m in range(M))]
