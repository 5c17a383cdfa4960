"""Errors in the sparse Cholesky factor, in pedigrees, and in the twin that estimates variances."""

from __future__ import annotations

from validation.planted.mutant import Mutant

CHOLESKY = "linalg/sparse/test_cholesky.py::"
RANDOM = (CHOLESKY + "test_random_patterns",)
GRID = (CHOLESKY + "test_grids[sizes0]",)

SPARSE = (
    Mutant(
        "sparse: updates of children added to the columns of their parent",
        "linalg/sparse/factor.py",
        "P[p, places[j]] -= C[i, j]",
        "P[p, places[j]] += C[i, j]",
        RANDOM,
    ),
    Mutant(
        "sparse: half of the log determinant",
        "linalg/sparse/factor.py",
        "return -1, 2.0 * total",
        "return -1, total",
        RANDOM,
    ),
    Mutant(
        "sparse: variance above a pivot of one column forgotten in the inverse",
        "linalg/sparse/inverse.py",
        "            total -= P[1 + i, 0] * w * Z12[0, i]\n",
        "            total -= 0.0\n",
        GRID,
    ),
    Mutant(
        "sparse: front of a parent given up before its last child",
        "linalg/sparse/inverse.py",
        "if left[q] == 0:",
        "if left[q] <= 1:",
        GRID,
    ),
    Mutant(
        "sparse: degree without the variables beside the pivot",
        "linalg/sparse/ordering.py",
        "min(b[DEGREE, i] + weight, left) - g[SIZE, i]",
        "min(b[DEGREE, i] + g[SIZE, i], left) - g[SIZE, i]",
        (CHOLESKY + "test_fill_of_a_grid_in_any_order[0]",),
    ),
    Mutant(
        "sparse: rounding error taken as a pivot",
        "linalg/sparse/panels.py",
        "ROUNDING = 1e-14",
        "ROUNDING = -1.0",
        (CHOLESKY + "test_singular_and_indefinite_matrices_name_an_equation[0]",),
    ),
    Mutant(
        "sparse: draws left in the order of the pivots",
        "linalg/sparse/cholesky.py",
        "out[self._order] = columns",
        "out[:] = columns",
        (CHOLESKY + "test_random_patterns", CHOLESKY + "test_disconnected_and_permuted"),
    ),
    Mutant(
        "pedigree: inbreeding of parents left in the variance of their mean",
        "linalg/ancestors.py",
        "variance - 0.25 * (diagonal[first] + diagonal[second])",
        "variance - 0.5",
        ("data/relationship/test_pedigree.py::test_inverse_times_relationship_is_the_identity[None-0]",),
    ),
    Mutant(
        "selection: Mendelian sampling without inbreeding",
        "datasets/selection.py",
        "np.sqrt(variances[now] * genetic_variance)",
        "np.sqrt((0.5 if first else 1.0) * genetic_variance)",
        ("datasets/test_selection.py::test_values_have_the_relationship_of_the_pedigree",),
    ),
    Mutant(
        "EM: errors of the predictions left out of the residual variance",
        "testing/em.py",
        'square = e.T @ e + np.einsum("nak,nbk->ab", Wn @ C_inverse, Wn)',
        "square = e.T @ e",
        ("testing/test_em.py::test_balanced_groups_by_hand",),
    ),
    Mutant(
        "EM: errors of the values left out of the genetic variance",
        "testing/em.py",
        'G = (U.T @ A_inverse @ U + np.einsum("ij,iajb->ab", A_inverse, errors)) / J',
        "G = U.T @ A_inverse @ U / J",
        ("testing/test_em.py::test_balanced_groups_by_hand",),
    ),
)
