"""REML of an animal model by expectation and maximisation, written out with full matrices: slow and readable.

For records n of animal j(n) and traits l, with an explicit relationship A,

    y_n = B' x_n + u_j(n) + e_n,    rows of U ~ MN(0, A, G),    e_n ~ N(0, R),

traits of a record may be missing (NaN). The missing data of the algorithm (Dempster, Laird and Rubin 1977, J. R. Stat.
Soc. B 39:1-38) are B, under a flat prior, which makes it REML, U, and the residuals of missing traits. Given G and R
they are normal, with the inverse of Henderson's mixed model equations as covariance; so each round is

    G := E(U' A^-1 U) / J,    R := sum_n E(e_n e_n') / N.

It shares no code with other estimates, climbs at every round, and cannot leave the space of covariance matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["EMFit", "fit_by_em"]


@dataclass(frozen=True, eq=False)
class EMFit:
    """Estimates of `fit_by_em`.

    Attributes
    ----------
    genetic, residual : (L, L) arrays
        G and R.
    fixed : (p, L) array
        B, by generalised least squares.
    values : (J, L) array
        Best linear unbiased predictions of U.
    log_likelihood : (rounds,) array
        REML, before each round: -(log|R| + log|A (x) G| + log|C| + y'Py) / 2 with C of the mixed model equations,
        without a constant (ASReml's convention).
    converged : bool
    """

    genetic: np.ndarray
    residual: np.ndarray
    fixed: np.ndarray
    values: np.ndarray
    log_likelihood: np.ndarray
    converged: bool


def fit_by_em(
    Y: np.ndarray,
    X: np.ndarray,
    animal: np.ndarray,
    A: np.ndarray,
    rounds: int = 5000,
    tolerance: float = 1e-7,
) -> EMFit:
    """Estimate G and R.

    Parameters
    ----------
    Y : (N, L) array
        NaN where a trait is missing.
    X : (N, p) array
        Of full column rank, also over the records of each trait.
    animal : (N,) int array
        Row of A.
    A : (J, J) array
        Additive relationship, regular.
    rounds : int
        At most.
    tolerance : float
        Stops where the log likelihood of two rounds differs by less.

    Returns
    -------
    EMFit
    """
    N, L = Y.shape
    J, p = len(A), X.shape[1]
    # Unknowns: B by rows, then U by rows. W (N, L, unknowns) has a row for each record and trait.
    W = np.hstack([np.kron(X, np.eye(L)), np.kron(np.eye(J)[animal], np.eye(L))]).reshape(N, L, -1)
    K = W.shape[2]
    A_inverse = np.linalg.inv(A)
    log_A = np.linalg.slogdet(A)[1]
    spread = np.diag(np.nanvar(Y, axis=0))
    G, R = 0.5 * spread, 0.5 * spread
    # Records with the same traits are taken together.
    seen = np.isfinite(Y)
    patterns = [(np.flatnonzero((seen == o).all(axis=1)), np.flatnonzero(o)) for o in np.unique(seen, axis=0)]
    history: list[float] = []
    while True:
        C, right, squares, log_R = np.zeros((K, K)), np.zeros(K), 0.0, 0.0
        C[p * L :, p * L :] = np.kron(A_inverse, np.linalg.inv(G))
        for n, o in patterns:
            Wn, y, precision = W[np.ix_(n, o)], Y[np.ix_(n, o)], np.linalg.inv(R[np.ix_(o, o)])
            C += Wn.reshape(-1, K).T @ (precision @ Wn).reshape(-1, K)
            right += Wn.reshape(-1, K).T @ (y @ precision).ravel()
            squares += np.sum((y @ precision) * y)
            log_R += len(n) * np.linalg.slogdet(R[np.ix_(o, o)])[1]
        C_inverse = np.linalg.inv(C)
        solution = C_inverse @ right
        log_G = J * np.linalg.slogdet(G)[1] + L * log_A
        history.append(-0.5 * float(log_R + log_G + np.linalg.slogdet(C)[1] + squares - solution @ right))
        U = solution[p * L :].reshape(J, L)
        converged = len(history) > 1 and history[-1] - history[-2] < tolerance
        if converged or len(history) == rounds:
            return EMFit(G, R, solution[: p * L].reshape(p, L), U, np.array(history), converged)

        errors = C_inverse[p * L :, p * L :].reshape(J, L, J, L)
        G = (U.T @ A_inverse @ U + np.einsum("ij,iajb->ab", A_inverse, errors)) / J
        total = np.zeros((L, L))
        for n, o in patterns:
            m = np.setdiff1d(np.arange(L), o)
            whole, rest = np.zeros((L, len(o))), np.zeros((L, L))  # e = whole e_o + N(0, rest)
            whole[o] = np.eye(len(o))
            whole[m] = R[np.ix_(m, o)] @ np.linalg.inv(R[np.ix_(o, o)])
            rest[np.ix_(m, m)] = R[np.ix_(m, m)] - whole[m] @ R[np.ix_(o, m)]
            Wn = W[np.ix_(n, o)]
            e = Y[np.ix_(n, o)] - Wn @ solution
            square = e.T @ e + np.einsum("nak,nbk->ab", Wn @ C_inverse, Wn)
            total += whole @ square @ whole.T + len(n) * rest
        R = total / N
