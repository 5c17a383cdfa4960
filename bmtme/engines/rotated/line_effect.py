"""The effect of a line outside the relationship: r_j ~ N(0, Sigma_r) over traits, the same in every environment.

Lines differ by more than the relationship says. As r is independent between lines, it stays so in the eigenbasis,
where a line's columns have the covariance d_j C + (C_r + R) with C_r = 1 1' (x) Sigma_r: for covariances, means and u
the pair (C, C_r + R) is all that changes. Whatever conditions on the plots themselves needs r, which is drawn after u:
with residuals e_ij = y - x beta - u of the completed data in the eigenbasis,

r_j | e ~ N(P^-1 sum_i k_i R_i^-1 e_ij, P^-1),  P = Sigma_r^-1 + sum_i k_i R_i^-1,

each R_i^-1 over the traits recorded in environment i. P is the same for all j. Rows must not be scaled by plot
multiples, which would make the r_j of some lines larger than others: the layout then has none.
"""

from __future__ import annotations

import numpy as np

from bmtme.engines.rotated.kernels.genetic import invert_observed
from bmtme.linalg.compile import compiled
from bmtme.linalg.small import factor_cholesky, invert_spd, solve_lower, solve_lower_transposed
from bmtme.model.codes import HALF_T, CovariancePrior
from bmtme.structures.parameters import count_parameters, list_covariance_flips, pack_covariance
from bmtme.structures.part import Flip

#: Of the half-t prior of its standard deviations, in scaled units.
NU, SCALE = 2.0, 2.5
#: Variance at a start, of the residual one.
SHARE = 0.1


def make_prior(shape: int, n_trait: int) -> CovariancePrior:
    """Huang & Wand's prior of Sigma_r, free or diagonal, in scaled units."""
    return CovariancePrior(HALF_T, shape, NU, np.full(n_trait, SCALE), 0.0, np.eye(n_trait))


def count_line_parameters(prior: CovariancePrior) -> int:
    """Number of parameters of Sigma_r."""
    return int(count_parameters(prior.shape, len(prior.scale)))


def list_line_flips(prior: CovariancePrior, first: int) -> list[Flip]:
    """Changes of sign that leave Sigma_r as it is, places counted on from `first`."""
    return list_covariance_flips(prior.shape, len(prior.scale), first)


def start_line(prior: CovariancePrior, R_e: np.ndarray) -> np.ndarray:
    """Parameters of a diagonal Sigma_r of about a share of this residual covariance (L, L)."""
    theta = np.ones(count_line_parameters(prior))
    pack_covariance(prior.shape, np.diag(np.sqrt(SHARE * np.diag(R_e))), theta)
    return theta


@compiled(inline=True)
def add_line_covariance(p, Sigma_r, R):
    """C_r onto R (M, M)."""
    for m in range(R.shape[0]):
        for n in range(R.shape[0]):
            R[m, n] += Sigma_r[p.col_trait[m], p.col_trait[n]]


@compiled(inline=True)
def gather_line(p, GR, G):
    """d/dSigma_r (L, L) from d/d(C_r + R) (M, M) into G."""
    G[:] = 0.0
    for m in range(GR.shape[0]):
        for n in range(GR.shape[0]):
            G[p.col_trait[m], p.col_trait[n]] += GR[m, n]


@compiled()
def draw_line(rng, p, s, w):
    """r | means, u, completed data into s.r (L, J), in the eigenbasis; False where that fails."""
    L, J = s.r.shape
    P, K, Ri = np.empty((L, L)), np.empty((L, L)), np.empty((L, L))
    if not invert_spd(s.Sigma_r, P):
        return False
    s.r[:] = 0.0
    for i in p.seen:
        first = p.block[i] * L
        if not invert_observed(s.R_e[first : first + L], p.recorded[i], Ri):
            return False
        for a in range(L):
            for b in range(L):
                P[a, b] += p.k[i] * Ri[a, b]
        for m in range(p.env_first[i], p.env_first[i] + p.env_width[i]):
            b, beta = p.col_trait[m], s.beta[m]
            for a in range(L):
                weight = p.k[i] * Ri[a, b]
                for j in range(J):
                    s.r[a, j] += weight * (s.Y[m, j] - p.x[j] * beta - p.root_d[j] * s.W[m, j])
    if not factor_cholesky(P, K):
        return False
    one = np.empty(L)
    for j in range(J):
        for a in range(L):
            one[a] = s.r[a, j]
        solve_lower(K, one)
        for a in range(L):
            one[a] += rng.standard_normal()
        solve_lower_transposed(K, one)
        for a in range(L):
            s.r[a, j] = one[a]
    return True


@compiled(inline=True)
def add_line_rows(p, s, i, out):
    """r onto the rows (M, J) of an environment's columns."""
    for m in range(p.env_first[i], p.env_first[i] + p.env_width[i]):
        for j in range(out.shape[1]):
            out[m, j] += s.r[p.col_trait[m], j]


@compiled(inline=True)
def subtract_line_rows(p, s, i, out):
    """Y less r into the rows (M, J) of an environment's columns."""
    for m in range(p.env_first[i], p.env_first[i] + p.env_width[i]):
        for j in range(out.shape[1]):
            out[m, j] = s.Y[m, j] - s.r[p.col_trait[m], j]
