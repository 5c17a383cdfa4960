"""What a sweep returns where it breaks down: the matrix that was not positive definite."""

from __future__ import annotations

FINE, SIGMA_T, SIGMA_E, R_E, PAIR, MEANS = 0, 1, 2, 3, 4, 5

#: Names for messages.
FAILURES = {
    SIGMA_T: "Sigma_t (genetic covariance of the traits)",
    SIGMA_E: "Sigma_E (variance of the trait x genotype x environment effects)",
    R_E: "R_e (residual covariance of the traits)",
    PAIR: "the pair (C, R) of genetic and residual covariance over environments and traits",
    MEANS: "the posterior precision of the environment means (beta)",
}
