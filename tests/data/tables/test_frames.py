"""Trials from data frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from tests.helpers.trials import same


def test_numeric_identifiers_become_text():
    frame = pd.DataFrame({"line": [1, 2], "env": [2015.0, 2016.0], "rep": [True, False], "y": [1, 2]})
    trial = Trial.from_frame(frame, line="line", env="env", rep="rep", traits="y")
    assert trial.lines == ("1", "2")
    assert trial.envs == ("2015", "2016")
    assert trial.reps == ("True", "False")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.5, r"'line' of the table holds 1\.5, which is no whole number.* \(row 2 \(index label 'q'\)\)"),
        (np.inf, "holds inf, which is no whole number"),
        (1e17, "1e.17, which has lost its last digits"),
        (pd.Timestamp("2020-01-01"), "neither text nor a whole number"),
        (None, r"line column 'line' of the table is empty in row 2 \(index label 'q'\)"),
        (np.nan, "is empty in row 2"),
        (pd.NA, "is empty in row 2"),
        (pd.NaT, "is empty in row 2"),
        ("", "is empty in row 2"),
    ],
)
def test_bad_identifiers_of_a_frame(value, words):
    frame = pd.DataFrame({"line": pd.Series(["a", value, "c"], dtype=object), "env": "E", "y": 1.0})
    frame.index = list("pqr")
    with pytest.raises(DataError, match=words):
        Trial.from_frame(frame, line="line", env="env", traits="y")


@pytest.mark.parametrize("value", [True, 1j, "x", [1], pd.Timestamp("2020-01-01")])
def test_bad_values_of_a_frame(value):
    frame = pd.DataFrame({"line": ["a", "b"], "env": "E", "y": pd.Series([1.0, value], dtype=object)})
    with pytest.raises(DataError, match=r"trait column 'y' of the table holds .* in row 2 \(index label 1\)"):
        Trial.from_frame(frame, line="line", env="env", traits="y")


def test_categorical_nullable_and_float32_columns(wide_frame):
    expected = Trial.from_frame(wide_frame, line="line", env="env", rep="rep")
    frame = wide_frame.astype({"line": "category", "env": "category", "rep": "Int64", "Yield": "Float64"})
    frame["PH"] = frame["PH"].astype(str)  # numbers and nan as text
    assert same(Trial.from_frame(frame, line="line", env="env", rep="rep"), expected)


def test_arrow_columns(wide_frame):
    pytest.importorskip("pyarrow")
    expected = Trial.from_frame(wide_frame, line="line", env="env", rep="rep")
    for frame in (wide_frame.convert_dtypes(dtype_backend="pyarrow"), wide_frame.astype({"line": "string[pyarrow]"})):
        assert same(Trial.from_frame(frame, line="line", env="env", rep="rep"), expected)


def test_frame_is_not_changed_and_column_names_are_text(wide_frame):
    frame = wide_frame.set_axis([0, 1, 2, "Yield ", "PH"], axis=1)
    before = frame.copy(deep=True)
    trial = Trial.from_frame(frame, line="0", env="1", rep="2")
    assert trial.traits == ("Yield", "PH")
    pd.testing.assert_frame_equal(frame, before)


def test_frame_with_two_columns_of_one_name(wide_frame):
    frame = wide_frame.set_axis(["line", "env", "rep", "PH", "PH"], axis=1)
    with pytest.raises(DataError, match="two columns named 'PH'"):
        Trial.from_frame(frame, line="line", env="env")


def test_something_else_than_a_frame():
    with pytest.raises(UsageError, match="expected a pandas DataFrame, got str"):
        Trial.from_frame("pheno.csv", line="line", env="env")
