"""Solutions with a sparse Cholesky factor L: of L, and of its transpose."""

from __future__ import annotations

import numpy as np

from bmtme.linalg.compile import compiled
from bmtme.linalg.sparse.fronts import measure


@compiled()
def solve_forward(f, x, B):
    """B := L^-1 B in place; B (n, k) in elimination order."""
    k = B.shape[1]
    for s in range(f.parent.shape[0]):
        columns, below = measure(f, s)
        P = x[f.panel[s] : f.panel[s + 1]].reshape(columns + below, columns)
        a = f.start[s]
        rows = f.rows[f.row_start[s] + columns : f.row_start[s + 1]]
        for j in range(columns):
            for m in range(j):
                w = P[j, m]
                for t in range(k):
                    B[a + j, t] -= w * B[a + m, t]
            w = 1.0 / P[j, j]
            for t in range(k):
                B[a + j, t] *= w
        if k < 4:
            for i in range(below):
                for t in range(k):
                    d = 0.0
                    for j in range(columns):
                        d += P[columns + i, j] * B[a + j, t]
                    B[rows[i], t] -= d
        elif below > 0:
            D = np.dot(P[columns:], B[a : a + columns])
            for i in range(below):
                for t in range(k):
                    B[rows[i], t] -= D[i, t]


@compiled()
def solve_backward(f, x, B):
    """B := L'^-1 B in place; B (n, k) in elimination order."""
    k = B.shape[1]
    for s in range(f.parent.shape[0] - 1, -1, -1):
        columns, below = measure(f, s)
        P = x[f.panel[s] : f.panel[s + 1]].reshape(columns + below, columns)
        a = f.start[s]
        rows = f.rows[f.row_start[s] + columns : f.row_start[s + 1]]
        if k < 4:
            for i in range(below):
                for t in range(k):
                    w = B[rows[i], t]
                    for j in range(columns):
                        B[a + j, t] -= P[columns + i, j] * w
        elif below > 0:
            G = np.empty((below, k))
            for i in range(below):
                G[i] = B[rows[i]]
            B[a : a + columns] -= np.dot(P[columns:].T, G)
        for j in range(columns - 1, -1, -1):
            for m in range(j + 1, columns):
                w = P[m, j]
                for t in range(k):
                    B[a + j, t] -= w * B[a + m, t]
            w = 1.0 / P[j, j]
            for t in range(k):
                B[a + j, t] *= w
