"""What a problem refuses, in one message that says what and where; columns that are sums of earlier ones."""

import numpy as np
import pytest
import scipy.sparse as sp

from bmtme.engines.mixed.axes import AR1, Corh, Identity, Unstructured, Variance
from bmtme.engines.mixed.components import describe
from bmtme.engines.mixed.problem import Problem, Section, Term, find_independent
from bmtme.errors import DataError, UsageError

N = 6
UNITS = Section("units", np.arange(N), (Variance(), Identity(N)))
Y = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])
ONE = np.ones((N, 1))


def make(y=Y, X=ONE, terms=(), sections=(UNITS,), weights=None):
    problem = Problem(y, X, terms, sections, weights)
    for section in problem.sections:
        assert len(section.places)
    assert len(problem.designs) == len(terms)
    return problem


def field(cells, *axes):
    return (Section("field", np.arange(N), (Variance(), *axes), np.array(cells)),)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"y": np.r_[Y[:5], np.nan]}, DataError, "missing or infinite"),
        ({"X": np.ones((5, 1))}, UsageError, "6 records and 5 rows of fixed columns"),
        ({"X": np.eye(N)}, DataError, "6 records and 6 fixed effects that can be told apart"),
        ({"y": np.full(N, 3.0)}, DataError, "explain every value"),
        ({"sections": ()}, UsageError, "no residual"),
        ({"sections": (UNITS, UNITS)}, UsageError, "record 1 is in 2 sections"),
        (
            {"sections": (Section("A", np.arange(5), (Variance(), Identity(5))),)},
            UsageError,
            "record 6 is in 0 sections",
        ),
        ({"weights": np.r_[np.ones(5), 0.0]}, DataError, "weights have to be positive"),
        (
            {"sections": field([0, 1, 2, 3, 4, 4], AR1(2), AR1(3))},
            DataError,
            "field has 2 records in one cell, at 2, 2",
        ),
        (
            {"sections": field([0, 1, 2, 3, 4, 6], AR1(2), AR1(3))},
            UsageError,
            "field has 6 cells, and records lie in others",
        ),
        (
            {"terms": (Term("gen", (Variance(), Identity(2)), np.array([0, 1, 2, 0, 1, 0])),)},
            UsageError,
            "gen has 2 effects",
        ),
        ({"terms": (Term("gen", (Variance(), Identity(2)), np.zeros(5, int)),)}, UsageError, "expected 6"),
        ({"terms": (Term("gen", (Variance(), Identity(2)), sp.eye(N)),)}, UsageError, "incidence matrix of"),
        ({"terms": (Term("a", (AR1(6),), np.arange(N)),)}, UsageError, "a has a correlation and no variance"),
        ({"terms": (Term("a", (Unstructured(2), Corh(3)), np.arange(N)),)}, UsageError, "variances on 2 axes"),
        (
            {"terms": (Term("units", (Variance(), Identity(6)), np.arange(N)),)},
            UsageError,
            "two terms by one name: 'units'",
        ),
    ],
)
def test_refused(change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


def test_earlier_columns_win():
    group = np.eye(3)[[0, 0, 1, 1, 2, 2]]
    X = np.c_[np.ones(N), group, np.arange(N), 2 * np.arange(N) - 3, np.zeros(N)]
    problem = make(X=X)
    assert problem.kept.tolist() == [0, 1, 2, 4]
    assert problem.rank == 4
    np.testing.assert_allclose(problem.centred, Y - X @ np.linalg.lstsq(X, Y)[0], atol=1e-12)
    # The mean of a group, a difference of groups, an effect of a group, the last column alone, and twice the slope.
    K = np.array(
        [
            [1, 0, 0, 1, 0, 0, 0],
            [0, 1, 0, -1, 0, 0, 0],
            [0, 1, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 1, 0, 0],
            [-3, 0, 0, 0, 0, 1, 0],
        ]
    )
    by_rank = [np.linalg.matrix_rank(np.vstack([X, k])) == 4 for k in K]
    assert problem.is_estimable(sp.csr_matrix(K)).tolist() == by_rank


def test_columns_of_very_different_size_are_kept():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 5)) * [1e-6, 1.0, 1e6, 1e-3, 1e3]
    assert find_independent(X.T @ X).tolist() == [0, 1, 2, 3, 4]
    X[:, 3] = X[:, 0] * 7 - X[:, 2]
    assert find_independent(X.T @ X).tolist() == [0, 1, 2, 4]


def test_parameters_in_words():
    terms = (Term("gen", (Unstructured(2), Identity(3)), np.arange(N)),)
    problem = make(terms=terms, sections=field(range(N), AR1(2), AR1(3)))
    assert [describe(problem, k) for k in range(6)] == [
        "the variance of field",
        "the autocorrelation of field, axis 2",
        "the autocorrelation of field, axis 3",
        "the variance (1) of gen",
        "the covariance (2, 1) of gen",
        "the variance (2) of gen",
    ]
