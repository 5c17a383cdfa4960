"""Deregression against numbers worked by hand, a model in which it is exact, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.errors import DataError, UsageError

TABLE = pd.DataFrame({"line": ["002", "A", "b"], "u": [1.0, -0.6, 0.3], "r2": [0.5, 0.8, 1.0]}, index=[7, 3, 9])


def run(table=TABLE, **changed):
    words = {"line": "line", "blup": "u", "reliability": "r2", "h2": 0.25, "relatives": "unrelated", **changed}
    return bmtme.deregress(table, **words)


def test_by_hand():
    found = run(variance=2.0)
    assert found["line"].tolist() == ["002", "A", "b"]
    np.testing.assert_allclose(found["value"], [2.0, -0.75, 0.3])
    # (1 - h2) / h2 = 3, over 0.1 + 1, 0.1 + 0.25, 0.1 + 0
    np.testing.assert_allclose(found["weight"], [3 / 1.1, 3 / 0.35, 30.0])
    np.testing.assert_allclose(found["se"], [np.sqrt(2.0), np.sqrt(0.5), 0.0])
    assert "se" not in run()
    np.testing.assert_allclose(run(h2=0.5, missed=0.4)["weight"], [1 / 1.4, 1 / 0.65, 2.5])


def test_it_gives_the_means_back():
    """BLUPs of unrelated lines with n records each: the values are the lines' means, the weights n."""
    n, mean, V, R = np.array([1, 2, 5, 20]), np.array([0.4, -1.2, 0.7, 0.1]), 0.6, 1.4
    r2 = V / (V + R / n)
    table = pd.DataFrame({"line": list("abcd"), "u": r2 * mean, "r2": r2})
    found = run(table, h2=V / (V + R), missed=0.0, variance=V)
    np.testing.assert_allclose(found["value"], mean)
    np.testing.assert_allclose(found["weight"], n)
    np.testing.assert_allclose(found["se"], np.sqrt(R / n))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"relatives": "included"}, "'included'"),
        ({"relatives": None}, "one of .unrelated., .removed."),
        ({"h2": 1.0}, "h2 must be the heritability of one record"),
        ({"h2": True}, "h2 must be"),
        ({"missed": 1.0}, "missed must be"),
        ({"variance": 0.0}, "variance must be"),
        ({"blup": "r2"}, "must be three columns"),
        ({"table": [1.0]}, "must be a pandas DataFrame"),
    ],
)
def test_bad_calls(changed, words):
    with pytest.raises(UsageError, match=words):
        run(**changed)


@pytest.mark.parametrize(
    ("column", "place", "value", "words"),
    [
        ("r2", 1, 0.0, "holds 0 for line 'A'.*nothing to be deregressed"),
        ("r2", 0, 62.0, "holds 62 for line '002'.*divide percentages by 100"),
        ("r2", 2, np.nan, "no reliability of line 'b'"),
        ("u", 2, np.nan, "no prediction of line 'b'"),
        ("line", 2, "A", "'A' twice"),
    ],
)
def test_bad_tables(column, place, value, words):
    table = TABLE.copy()
    table[column] = table[column].astype(object)
    table.iloc[place, table.columns.get_loc(column)] = value
    with pytest.raises(DataError, match=words):
        run(table)


def test_a_table_without_rows():
    with pytest.raises(DataError, match="has no rows"):
        run(TABLE.iloc[:0])


def test_weights_cannot_be_infinite():
    with pytest.raises(DataError, match="line 'b' has a reliability of 1"):
        run(missed=0.0)
