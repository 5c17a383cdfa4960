"""The sparse Cholesky factor at full size: processor seconds, memory, and two identities that no dense twin needs.

A b = rhs is solved, and the trace of A A^-1, a sum over the entries of both where A has one, must be the number of
equations. A field of plots with correlated rows and columns, an animal model of one trait and one of two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse
from threadpoolctl import threadpool_limits

import bmtme
from bmtme.linalg.sparse import SparseCholesky
from validation.registry import Options, Row, make_table, register, write_tables

#: Largest error of the identities, as a share.
LARGEST = 1e-9
HEAD = ("matrix", "equations", "entries of A", "entries of L", "memory, MB", "analyse", "factor", "inverse", "solve")


@dataclass(frozen=True)
class Measured:
    """One matrix: figures for the table, and the larger error of the identities."""

    cells: tuple[str, ...]
    error: float


def make_field(rows: int, columns: int) -> scipy.sparse.csc_array:
    """Plots of AR1 x AR1 residuals with a nugget: the precision of the first, plus the identity."""

    def walk(n: int, rho: float) -> scipy.sparse.dia_array:
        return scipy.sparse.diags_array(
            [np.full(n - 1, -rho), np.full(n, 1 + rho**2), np.full(n - 1, -rho)], offsets=[-1, 0, 1]
        )

    grid = scipy.sparse.kron(walk(rows, 0.6), walk(columns, 0.8))
    return scipy.sparse.csc_array(grid + scipy.sparse.eye_array(rows * columns))


def make_pedigree(animals: int, rng: np.random.Generator, generations: int = 6) -> pd.DataFrame:
    """Generations in which 3% become sires and 30% dams."""
    size = animals // generations
    parents = np.zeros((animals, 2), dtype=np.int64)
    for first in range(size, animals, size):
        last = min(animals, first + size)
        before = rng.permutation(np.arange(first - size, first)) + 1
        n_sires, n_dams = max(2, size * 3 // 100), max(2, size * 3 // 10)
        parents[first:last, 0] = rng.choice(before[:n_sires], last - first)
        parents[first:last, 1] = rng.choice(before[n_sires : n_sires + n_dams], last - first)
    return pd.DataFrame({"id": np.arange(animals) + 1, "sire": parents[:, 0], "dam": parents[:, 1]})


def make_animals(animals: int, groups: int, traits: int) -> scipy.sparse.csc_array:
    """Mixed model equations of animals with a record each, in groups of contemporaries; heritability one third."""
    rng = np.random.default_rng(3)
    inverse = bmtme.pedigree_inverse(make_pedigree(animals, rng)).matrix
    group = scipy.sparse.csc_array((np.ones(animals), (np.arange(animals), rng.integers(0, groups, animals))))
    W = scipy.sparse.hstack([group, scipy.sparse.eye_array(animals)])
    # A little is added to the groups, one of which could be empty.
    penalty = scipy.sparse.block_diag([1e-3 * scipy.sparse.eye_array(group.shape[1]), 2.0 * inverse])
    residual, genetic = (np.eye(traits) + share * (1 - np.eye(traits)) for share in (0.3, 0.5))
    return scipy.sparse.csc_array(
        scipy.sparse.kron(np.linalg.inv(residual), W.T @ W) + scipy.sparse.kron(np.linalg.inv(genetic), penalty)
    )


def measure(name: str, A: scipy.sparse.csc_array) -> Measured:
    """Time each step; the numbers of the second time, when memory is there."""
    lower = scipy.sparse.csc_array(scipy.sparse.tril(A))
    lower.sort_indices()

    def take(step: Callable[[], object]) -> float:
        began = time.process_time()
        step()
        return time.process_time() - began

    made: list[SparseCholesky] = []
    analyse = take(lambda: made.append(SparseCholesky(lower)))
    chol = made[0]
    chol.factor(lower.data)
    factor = take(lambda: chol.factor(lower.data))
    found: list[np.ndarray] = []
    chol.selected_inverse()
    inverse = take(lambda: found.append(chol.selected_inverse()))
    b = np.random.default_rng(1).standard_normal(len(lower.indptr) - 1)
    solve = take(lambda: found.append(chol.solve(b)))
    diagonal = lower.indptr[:-1]
    trace = 2.0 * (lower.data @ found[0]) - lower.data[diagonal] @ found[0][diagonal]
    error = max(float(abs(A @ found[1] - b).max()), abs(trace / len(b) - 1.0))
    cells = (name, f"{chol.n:,}", f"{lower.nnz:,}", f"{chol.fill:,}", f"{chol.memory / 1e6:.0f}")
    return Measured((*cells, *(f"{t:.2f}" for t in (analyse, factor, inverse, solve))), error)


def study(size: float) -> tuple[list[Row], list[tuple[str, ...]]]:
    """Checks and lines of the table, at a share of the full size."""
    side, many, few = int(387 * size**0.5), int(100_000 * size), int(20_000 * size)
    rows, lines = [], []
    measure("compiled", make_field(4, 4))
    with threadpool_limits(1):
        for name, A in (
            (f"field of {side} x {side} plots", make_field(side, side)),
            (f"{many:,} animals", make_animals(many, many // 50, 1)),
            (f"{few:,} animals, two traits", make_animals(few, few // 100, 2)),
        ):
            found = measure(name, A)
            lines.append(found.cells)
            rows.append(
                Row(f"sparse factor: {name}", f"{found.cells[1]} equations", "largest error of two identities",
                    f"{found.error:.1e}", found.error < LARGEST)
            )  # fmt: skip
    return rows, lines


def run_quick(options: Options) -> list[Row]:
    """A fiftieth of the size."""
    return study(0.02)[0]


def run_full(options: Options) -> list[Row]:
    """The whole size, on one thread."""
    began = time.perf_counter()
    rows, lines = study(1.0)
    tables = {"Processor seconds, one thread": make_table(HEAD, lines)}
    write_tables(options, "sparse", rows, tables, time.perf_counter() - began)
    return rows


register("sparse", run_quick, run_full)
