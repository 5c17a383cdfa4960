"""Covariates of the records: read, kept and refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Trial, UsageError
from bmtme.data.effects import centre_covariate, scale_covariate
from bmtme.data.order import sort_trial

FRAME = pd.DataFrame(
    [
        ("b", "E1", "1", 3.0, 40.0),
        ("a", "E1", "1", 1.0, 50.0),
        ("a", "E1", "2", 2.0, 60.0),
        ("b", "E2", "1", 4.0, None),
    ],
    columns=["line", "env", "rep", "y", "stand"],
)
COLUMNS = {"line": "line", "env": "env", "rep": "rep"}


def read(frame=FRAME, **settings):
    return Trial.from_frame(frame, **COLUMNS | {"traits": ["y"], "covariates": ["stand"]} | settings)


def test_covariates_stay_with_their_records():
    trial = read()
    wanted = [40.0, 50.0, 60.0, np.nan]
    for copied in (trial, pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial), replace(trial)):
        np.testing.assert_array_equal(copied.covariates["stand"], wanted)
        with pytest.raises(ValueError, match="read-only"):
            copied.covariates["stand"][0] = 0
    ordered, _ = sort_trial(trial)
    np.testing.assert_array_equal(ordered.covariates["stand"], [50.0, 60.0, 40.0, np.nan])
    np.testing.assert_array_equal(trial.drop_lines(["a"]).covariates["stand"], [40.0, np.nan])
    np.testing.assert_array_equal(trial.to_frame()["stand"], wanted)
    assert read(traits=None).traits == ("y",)


def test_a_long_table_says_the_same_in_all_rows_of_a_plot():
    long = FRAME.assign(z=1.0).melt(["line", "env", "rep", "stand"], ["y", "z"])
    keys = {"trait": "variable", "value": "value", "traits": None}
    np.testing.assert_array_equal(read(long, **keys).covariates["stand"], [40.0, 50.0, 60.0, np.nan])
    long.loc[5, "stand"] = 41.0
    with pytest.raises(DataError, match=r"'stand' of the table holds 50 in row 2 .* and 41 in row 6 .* of one plot"):
        read(long, **keys)


def test_centred_within_environments():
    values, env = np.array([1.0, 3.0, np.nan, 10.0, 20.0]), np.array([0, 0, 0, 1, 1])
    np.testing.assert_array_equal(centre_covariate(values, env), [-1.0, 1.0, np.nan, -5.0, 5.0])
    own, unit = scale_covariate(values, env, ~np.isnan(values))
    assert unit == pytest.approx(np.sqrt((1 + 1 + 25 + 25) / 4))
    own, unit = scale_covariate(np.full(3, 0.1) + 0.2, np.zeros(3, int), np.ones(3, bool))
    assert (own == 0).all()
    assert unit == 1.0


@pytest.mark.parametrize(
    ("covariates", "error", "words"),
    [
        ("stands", DataError, "no column 'stands', given as the covariates column. Did you mean 'stand'"),
        (["stand", "stand"], UsageError, "covariates= names 'stand' twice"),
        ("y", DataError, "'y' is given both as covariates and as trait"),
        ("line", DataError, "The column 'line' is given both as line and as covariates"),
    ],
)
def test_bad_names(covariates, error, words):
    with pytest.raises(error, match=words):
        read(covariates=covariates)


@pytest.mark.parametrize(
    ("covariates", "words"),
    [
        ([1.0], "covariates must be a dict"),
        ({"": [1.0] * 4}, "covariates holds the name ''"),
        ({"stand": [1.0]}, r"covariates\['stand'\] must hold one number per record: expected \(4,\), got \(1,\)"),
        ({"stand": list("abcd")}, r"covariates\['stand'\] must be numbers"),
        ({"stand": [1.0, 2.0, np.inf, 0.0]}, r"covariates\['stand'\] holds an infinite value"),
    ],
)
def test_bad_values(covariates, words):
    with pytest.raises(DataError, match=words):
        replace(read(), covariates=covariates)
    with pytest.raises(DataError, match="The covariates column 'stand' of the table holds 'x'"):
        read(FRAME.assign(stand=["1", "2", "x", "3"]))
