"""What a fit by REML has found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.components import Component
from bmtme.engines.mixed.equations import Equations
from bmtme.engines.mixed.problem import Problem


@dataclass(frozen=True, eq=False)
class REML:
    """A fit by restricted maximum likelihood.

    Attributes
    ----------
    problem : Problem
    equations : Equations
        The mixed model equations.
    phi : array (k,)
        Unconstrained parameters.
    log_likelihood : float
        Restricted, without n log 2 pi and log|X'X| (as ASReml prints it).
    converged : bool
    message : str
        In words, how the search ended, and what to do if it has not converged.
    evaluations : int
        Of the likelihood.
    gradient, information : arrays (k,), (k, k)
        Of the log likelihood in phi; the average information.
    components : tuple of Component
    covariance : array (r, r)
        Of the estimates of the components; zero where one is held on a boundary.
    fixed : array (p,)
        Fixed effects; NaN of columns that were left out as sums of earlier ones.
    effects : tuple of arrays
        Of every term, (q,): BLUPs.
    """

    problem: Problem
    equations: Equations
    phi: np.ndarray
    log_likelihood: float
    converged: bool
    message: str
    evaluations: int
    gradient: np.ndarray
    information: np.ndarray
    components: tuple[Component, ...]
    covariance: np.ndarray
    fixed: np.ndarray
    effects: tuple[np.ndarray, ...]

    @property
    def log_likelihood_full(self) -> float:
        """The same with -(n - rank X)/2 log 2 pi (as lme4 prints it)."""
        return self.log_likelihood - 0.5 * (self.problem.n - self.problem.rank) * math.log(2 * math.pi)

    @property
    def estimates(self) -> np.ndarray:
        """Estimates of the components (r,)."""
        return np.array([component.estimate for component in self.components])

    def make_covariances(self, block: int) -> tuple[np.ndarray | None, ...]:
        """Covariance of every axis of a block; None of one without parameters."""
        axes = self.problem.blocks[block].axes
        split = self.equations.split(self.phi)[block]
        return tuple(axis.covariance(own) if axis.count else None for axis, own in zip(axes, split, strict=True))

    def find_pev(self, term: int) -> np.ndarray:
        """Prediction error variances Var(u - u_hat) of a term's effects (q,), from the selected inverse."""
        return self._error_variances[term].copy()

    @cached_property
    def _error_variances(self) -> tuple[np.ndarray, ...]:
        self.equations.go_to(self.phi)
        return self.equations.find_error_variances()

    @cached_property
    def fixed_covariance(self) -> np.ndarray:
        """Covariance (rank, rank) of the fixed effects that are kept."""
        self.equations.go_to(self.phi)
        return self.equations.find_fixed_covariance()

    def find_residuals(self) -> np.ndarray:
        """y - X b - sum Z u (n,), in the units of y whatever the weights."""
        fitted = self.problem.X[:, self.problem.kept] @ self.fixed[self.problem.kept]
        for Z, u in zip(self.problem.designs, self.effects, strict=True):
            fitted = fitted + Z @ u
        return self.problem.y - fitted

    def find_deletions(self) -> tuple[np.ndarray, np.ndarray]:
        """(P y) and diag P (n,): how each record differs from what the others predict; see `Equations`."""
        return self.equations.find_deletions(self.phi)

    def find_fitted_variances(self) -> np.ndarray:
        """Errors of the fitted values (n,), as variances: a residual has the variance of R less this."""
        self.equations.go_to(self.phi)
        weights = 1.0 if self.problem.weights is None else self.problem.weights
        return self.equations.find_fitted_variances() / weights

    def combine(self, combinations: sp.spmatrix | np.ndarray) -> np.ndarray:
        """Values (m,) of combinations (m, p + sum q) of all fixed columns, then the effects of every term."""
        solution = np.concatenate([np.nan_to_num(self.fixed), *self.effects])
        return np.asarray(sp.csr_matrix(combinations) @ solution)

    def covariance_of(self, combinations: sp.spmatrix | np.ndarray) -> np.ndarray:
        """Covariance (m, m) of the errors of such combinations: of b_hat and of u_hat - u."""
        self.equations.go_to(self.phi)
        return self.equations.find_covariance(combinations)

    def is_estimable(self, combinations: sp.spmatrix | np.ndarray) -> np.ndarray:
        """Which of such combinations do not depend on the fixed columns that were left out."""
        return self.problem.is_estimable(sp.csr_matrix(combinations)[:, : self.problem.p])

    def derive(self, slopes: np.ndarray) -> np.ndarray:
        """Standard errors (m,) of functions of the components with these slopes (m, r), by the delta method."""
        slopes = np.atleast_2d(slopes)
        return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, self.covariance, slopes), 0.0))
