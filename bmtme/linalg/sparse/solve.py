"""Solutions with a sparse Cholesky factor L: of L, and of its transpose."""

from __future__ import annotations

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
        for i in range(below):
            for j in range(columns):
                w = P[columns + i, j]
                for t in range(k):
                    B[rows[i], t] -= w * B[a + j, t]


@compiled()
def solve_backward(f, x, B):
    """B := L'^-1 B in place; B (n, k) in elimination order."""
    k = B.shape[1]
    for s in range(f.parent.shape[0] - 1, -1, -1):
        columns, below = measure(f, s)
        P = x[f.panel[s] : f.panel[s + 1]].reshape(columns + below, columns)
        a = f.start[s]
        rows = f.rows[f.row_start[s] + columns : f.row_start[s + 1]]
        for i in range(below):
            for j in range(columns):
                w = P[columns + i, j]
                for t in range(k):
                    B[a + j, t] -= w * B[rows[i], t]
        for j in range(columns - 1, -1, -1):
            for m in range(j + 1, columns):
                w = P[m, j]
                for t in range(k):
                    B[a + j, t] -= w * B[a + m, t]
            w = 1.0 / P[j, j]
            for t in range(k):
                B[a + j, t] *= w
