"""A fit written out in full from its layout and its table of components: no engine, no sparse matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.linalg

from bmtme.results.mixed.fit import MixedFit


class Dense:
    """V = sum Z G Z' + R, generalised least squares and predictions, from numbers that the fit reports."""

    def __init__(self, fit: MixedFit, components: pd.DataFrame | None = None) -> None:
        self.fit = fit
        self.layout = fit.layout
        table = fit.components if components is None else components
        self.values = {(row.term, row.parameter): row.estimate for row in table.itertuples()}
        self.y = self.layout.y
        n = len(self.y)
        self.Z, self.G = [], []
        for design in self.layout.random:
            G = self.covariance(design)
            Z = np.zeros((n, len(G)))
            inside = np.flatnonzero(design.cells >= 0)
            Z[inside, design.cells[inside]] = 1.0
            if design.matrix is not None:
                Z = design.matrix.toarray()
            self.Z.append(Z)
            self.G.append(G)
        R = np.zeros((n, n))
        for section in self.layout.residual:
            inside = np.flatnonzero(section.cells >= 0)
            cells = section.cells[inside]
            R[np.ix_(inside, inside)] = self.covariance(section)[np.ix_(cells, cells)]
        if self.layout.weights is not None:
            R /= np.sqrt(np.outer(self.layout.weights, self.layout.weights))
        self.V = R + sum((Z @ G @ Z.T for Z, G in zip(self.Z, self.G, strict=True)), np.zeros((n, n)))
        X = self.layout.columns.matrix.toarray()
        kept: list[int] = []
        for k in range(X.shape[1]):
            if np.linalg.matrix_rank(X[:, [*kept, k]]) > len(kept):
                kept.append(k)
        self.kept, self.X = kept, X[:, kept]
        self.Q = np.linalg.inv(self.V)
        self.C = np.linalg.inv(self.X.T @ self.Q @ self.X)
        self.b = self.C @ self.X.T @ self.Q @ self.y
        self.P = self.Q - self.Q @ self.X @ self.C @ self.X.T @ self.Q

    def covariance(self, design) -> np.ndarray:
        """Kronecker product of the axes, each by its definition."""
        S = np.ones((1, 1))
        scaled = any(axis.axis.has_variance for axis in design.axes)
        if not scaled:
            S = S * self.values[design.name, "variance"]
        for axis in design.axes:
            S = np.kron(S, self.axis(design.name, axis))
        return S

    def axis(self, term, levels) -> np.ndarray:
        kind, names = levels.axis.structure, levels.levels
        n = len(names)
        if kind == "known":
            return np.linalg.inv(levels.precision.matrix.toarray())
        if kind == "ar1":
            rho = self.values[term, f"autocorrelation {levels.axis.name}"]
            return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        if kind == "identity":
            return np.eye(n)
        variance = np.array([self.values.get((term, f"variance {name}"), np.nan) for name in names])
        if kind == "diag":
            return np.diag(variance)
        if kind == "us":
            S = np.diag(variance)
            for i in range(n):
                for j in range(i):
                    S[i, j] = S[j, i] = self.values[term, f"covariance {names[i]}, {names[j]}"]
            return S
        if kind == "fa":
            k = levels.axis.factors
            L = np.array(
                [[self.values.get((term, f"loading {name}, {f + 1}"), 0.0) for f in range(k)] for name in names]
            )
            return L @ L.T + np.diag([self.values[term, f"specific variance {name}"] for name in names])
        r = self.values[term, "correlation"]
        sd = np.sqrt(variance) if kind == "corh" else np.full(n, np.sqrt(self.values[term, "variance"]))
        return np.outer(sd, sd) * (r + (1 - r) * np.eye(n))

    @property
    def log_likelihood(self) -> float:
        """ASReml's convention."""
        return -0.5 * (
            np.linalg.slogdet(self.V)[1] + np.linalg.slogdet(self.X.T @ self.Q @ self.X)[1] + self.y @ self.P @ self.y
        )

    def effects(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of a term, and the covariance of their errors."""
        Z, G = self.Z[place], self.G[place]
        return G @ Z.T @ self.P @ self.y, G - G @ Z.T @ self.P @ Z @ G

    def information(self) -> np.ndarray:
        """Average information of parameters in which V is linear, by differences: (k, k)."""
        table = self.fit.components
        slopes = []
        for k in range(len(table)):
            step = 1e-4 * max(abs(table["estimate"][k]), 1e-3)
            sides = []
            for sign in (1, -1):
                moved = table.copy()
                moved.loc[k, "estimate"] += sign * step
                sides.append(Dense(self.fit, moved).V)
            slopes.append((sides[0] - sides[1]) / (2 * step))
        q = [slope @ self.P @ self.y for slope in slopes]
        return np.array([[0.5 * a @ self.P @ b for b in q] for a in q])

    def slopes_of_fixed(self, H: np.ndarray) -> np.ndarray:
        """Slopes of H Cov(b) H' in the components."""
        table = self.fit.components
        found = []
        for k in range(len(table)):
            step = 1e-4 * max(abs(table["estimate"][k]), 1e-3)
            sides = []
            for sign in (1, -1):
                moved = table.copy()
                moved.loc[k, "estimate"] += sign * step
                sides.append(H @ Dense(self.fit, moved).C @ H.T)
            found.append((sides[0] - sides[1]) / (2 * step))
        return np.array(found)


def project(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares fit of y by columns of any rank."""
    return X @ scipy.linalg.lstsq(X, y)[0]
