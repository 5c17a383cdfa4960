"""Small mixed models with everything that can go wrong in one of them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from bmtme.engines.mixed.axes import (
    AR1,
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Identity,
    Known,
    Unstructured,
    Variance,
)
from bmtme.engines.mixed.problem import Problem, Section, Term


def make_relationship(rng: np.random.Generator, n: int) -> tuple[Known, np.ndarray]:
    """A covariance of n, and its inverse as an axis."""
    B = rng.standard_normal((n, n + 3))
    K = B @ B.T / (n + 3)
    return Known(sp.csr_matrix(np.linalg.inv(K)), float(np.linalg.slogdet(K)[1])), K


def make_spatial(rng: np.random.Generator) -> Problem:
    """A field with missing plots, AR1 along both sides; treatment:line unstructured; fixed columns of rank 3 of 4."""
    n_row, n_col, n = 5, 6, 22
    cells = rng.permutation(n_row * n_col)[:n]
    line, treatment = rng.integers(0, 4, n), np.arange(n) % 3
    X = np.c_[np.ones(n), np.eye(3)[treatment]]
    term = Term("treatment:line", (Unstructured(3), Identity(4)), treatment * 4 + line)
    section = Section("field", np.arange(n), (Variance(), AR1(n_col), AR1(n_row)), cells)
    y = 50 + X @ [0.0, 1.0, 2.0, 3.0] + rng.standard_normal(4)[line] + rng.standard_normal(n)
    return Problem(y, X, (term,), (section,))


def make_traits(rng: np.random.Generator) -> Problem:
    """Two traits, some not measured; animals of a known relationship with and without records; weights."""
    animals, units = 6, 9
    known, _ = make_relationship(rng, animals)
    pairs = rng.permutation(2 * units)[: 2 * units - 4]
    trait, unit = np.divmod(pairs, units)
    animal = rng.integers(0, animals - 1, units)[unit]
    n = len(pairs)
    term = Term("trait:animal", (Unstructured(2), known), trait * animals + animal)
    section = Section("trait:units", np.arange(n), (Unstructured(2), Identity(units)), pairs)
    X = sp.csr_matrix((np.ones(n), (np.arange(n), trait)), shape=(n, 2))
    return Problem(5.0 * trait + rng.standard_normal(n), X, (term,), (section,), rng.uniform(0.3, 3, n))


def make_sections(rng: np.random.Generator) -> Problem:
    """Three sections in mixed order, one of known covariance; a term of few records, a slope, and three structures."""
    n = 26
    site, line = np.r_[np.arange(3), rng.integers(0, 3, n - 3)], rng.integers(0, 5, n)
    order = rng.permutation(n)
    where = [order[site[order] == s] for s in range(3)]
    known, _ = make_relationship(rng, len(where[2]))
    places = rng.permutation(len(where[1]) + 2)[: len(where[1])]
    sections = (
        Section("A", where[0], (Variance(), Identity(len(where[0])))),
        Section("B", where[1], (Variance(), AR1(len(where[1]) + 2)), places),
        Section("C", where[2], (known,)),
    )
    slope = sp.csr_matrix((rng.uniform(-1, 1, n), (np.arange(n), line)), shape=(n, 5))
    terms = (
        Term("block", (Variance(), Identity(4)), np.where(site == 0, rng.integers(0, 4, n), -1)),
        Term("slope", (Variance(), Identity(5)), slope),
        Term("corh", (Identity(5), Corh(3)), line * 3 + site),
        Term("fa", (FactorAnalytic(3, 2), Identity(5)), site * 5 + line),
        Term("diag", (Diagonal(3), AR1(5)), site * 5 + line),
        Term("cs", (CompoundSymmetry(3), Identity(5)), site * 5 + line),
    )
    X = np.c_[np.ones(n), rng.standard_normal(n)]
    return Problem(X @ [3.0, 1.0] + rng.standard_normal(n), X, terms, sections)


CASES = {"spatial": make_spatial, "traits": make_traits, "sections": make_sections}
