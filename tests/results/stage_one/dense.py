"""Models of an environment written out from the table of plots: no formulas, nothing sparse, splines by recursion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def find_splines(x: np.ndarray, low: float, high: float, segments: int) -> np.ndarray:
    """Cubic B-splines by the recursion of Cox and de Boor: (n, segments + 3)."""
    step = (high - low) / segments
    knots = low + step * np.arange(-3, segments + 4)
    B = ((x[:, None] >= knots[:-1]) & (x[:, None] < knots[1:])).astype(float)
    B[x >= high] = 0.0
    B[x >= high, segments + 2] = 1.0
    for d in range(1, 4):
        left = (x[:, None] - knots[: -d - 1]) / (d * step) * B[:, :-1]
        B = left + (knots[d + 1 :] - x[:, None]) / (d * step) * B[:, 1:]
    return B


def split_spline(x: np.ndarray, low: float, high: float, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth deviations (n, k), unscaled, and their penalties (k,), by the definition of second differences."""
    B = find_splines(x, low, high, segments)
    n = B.shape[1]
    D = np.zeros((n - 2, n))
    for i in range(n - 2):
        D[i, i : i + 3] = 1.0, -2.0, 1.0
    _, s, Vt = np.linalg.svd(D)
    return B @ Vt[: n - 2].T, s**2


class Field:
    """Plots with values of one environment, trait by trait, and the parts of models of them."""

    def __init__(self, plots: pd.DataFrame, traits: Sequence[str]) -> None:
        parts = [plots[plots[trait].notna()].assign(trait=trait, y=plots[trait]) for trait in traits]
        self.table = table = pd.concat(parts).reset_index(names="plot")
        self.y = table["y"].to_numpy()
        self.trait = table["trait"].map(list(traits).index).to_numpy()
        self.row, self.col = (table[name].astype(float).to_numpy() for name in ("row", "col"))
        self.ends = [(plots[name].astype(int).min(), plots[name].astype(int).max()) for name in ("row", "col")]
        keys = list(zip(table["gen"], table["trait"], strict=True))
        self.cells = list(dict.fromkeys(keys))
        self.lines = np.array([[key == cell for cell in self.cells] for key in keys], dtype=float)
        scaled = [2 * (x - a) / (b - a) - 1 for x, (a, b) in zip((self.row, self.col), self.ends, strict=True)]
        rest = [(table["rep"] == "R2").to_numpy(float), *scaled, scaled[0] * scaled[1]]
        self.linear = scaled
        self.rest = np.column_stack([x * (self.trait == t) for t in range(len(traits)) for x in rest])
        # All replicates alike, and within them all plots.
        counts = table.groupby(["trait", "rep"])["y"].transform("size").to_numpy()
        self.weights = 1.0 / (2 * counts)

    def blocks(self) -> np.ndarray:
        keys = list(zip(self.table["rep"], self.table["block"], strict=True))
        return np.array([[key == other for other in dict.fromkeys(keys)] for key in keys], dtype=float)

    def splines(self) -> dict[str, np.ndarray]:
        """The five terms of rows and columns with penalties scaled away: Z with Var(Zu) = s2 ZZ'."""
        pairs = {}
        segments = [(b - a) // 2 * 2 for a, b in self.ends]
        for k, (name, x) in enumerate((("row", self.row), ("col", self.col))):
            pairs[name] = split_spline(x, *self.ends[k], segments[k])
        Zr, Zc = (Z / np.sqrt(d) for Z, d in pairs.values())
        inner = [split_spline(x, *self.ends[k], segments[k] // 2) for k, x in enumerate((self.row, self.col))]
        (A, da), (B, db) = inner
        product = [A[:, i] * B[:, j] / np.sqrt(da[i] + db[j]) for i in range(len(da)) for j in range(len(db))]
        return {
            "s(row)": Zr,
            "s(row) x col": Zr * self.linear[1][:, None],
            "s(col)": Zc,
            "s(col) x row": Zc * self.linear[0][:, None],
            "s(row) x s(col)": np.column_stack(product),
        }

    def scale(self, Z: np.ndarray, t: int) -> float:
        """Mean variance of Zu over the plots of a trait, around its mean, per unit of variance."""
        own = self.trait == t
        centred = Z[own] - self.weights[own] @ Z[own]
        return float(self.weights[own] @ (centred**2).sum(axis=1))

    def find_means(self, parts: Sequence[tuple[np.ndarray, np.ndarray, bool]], R: np.ndarray) -> Means:
        """Adjusted means from dense mixed model equations.

        parts : Z, G and whether the mean of Zu over the plots counts, of random terms
        """
        X = np.hstack([self.lines, self.rest])
        kept: list[int] = []
        for k in range(X.shape[1]):
            if np.linalg.matrix_rank(X[:, [*kept, k]]) > len(kept):
                kept.append(k)
        X = X[:, kept]
        W = np.hstack([X, *(Z for Z, _, _ in parts)])
        Q = np.linalg.inv(R)
        C = W.T @ Q @ W
        end = X.shape[1]
        V = R.copy()
        for Z, G, _ in parts:
            C[end : end + len(G), end : end + len(G)] += np.linalg.inv(G)
            V += Z @ G @ Z.T
            end += len(G)
        C = np.linalg.inv(C)
        solution = C @ W.T @ Q @ self.y
        K = np.zeros((len(self.cells), len(C)))
        n = self.lines.shape[1]
        for k, (_, trait) in enumerate(self.cells):
            own = (self.table["trait"] == trait).to_numpy() * self.weights
            K[k, k] = 1.0
            K[k, n : X.shape[1]] = own @ X[:, n:]
            end = X.shape[1]
            for Z, G, counts in parts:
                K[k, end : end + len(G)] = own @ Z if counts else 0.0
                end += len(G)
        Vi = np.linalg.inv(V)
        P = Vi - Vi @ X @ np.linalg.inv(X.T @ Vi @ X) @ X.T @ Vi
        value = np.linalg.slogdet(V)[1] + np.linalg.slogdet(X.T @ Vi @ X)[1] + self.y @ P @ self.y
        return Means(self.cells, K @ solution, K @ C @ K.T, -0.5 * float(value), P)


class Means:
    """Cells, means, their covariance, the restricted log likelihood, and P."""

    def __init__(
        self, cells: list[tuple[str, str]], means: np.ndarray, covariance: np.ndarray, value: float, P: np.ndarray
    ) -> None:
        self.cells = cells
        self.means: Mapping[tuple[str, str], float] = dict(zip(cells, means, strict=True))
        index = pd.MultiIndex.from_tuples(cells)
        self.covariance = pd.DataFrame(covariance, index, index)
        self.log_likelihood = value
        self.P = P
