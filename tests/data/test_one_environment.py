"""Trials of one environment, of which no column needs to tell."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Trial, read_trial
from bmtme.cli.main import main
from bmtme.data.records import ONE_ENVIRONMENT

ROWS = [("a", 1, 1.5, 10.0), ("a", 2, 2.5, 11.0), ("b", 1, 3.5, np.nan), ("b", 2, 4.0, 12.0)]


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["line", "rep", "y", "z"])


def test_wide(frame, tmp_path):
    frame.to_csv(tmp_path / "y.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for trial in (
            Trial.from_frame(frame, line="line", rep="rep"),
            read_trial(tmp_path / "y.csv", line="line", rep="rep"),
        ):
            assert (trial.lines, trial.envs, trial.traits) == (("a", "b"), (ONE_ENVIRONMENT,), ("y", "z"))
            np.testing.assert_array_equal(trial.values, frame[["y", "z"]].to_numpy())
    assert list(frame.columns) == ["line", "rep", "y", "z"]  # the user's own stays as it is


def test_long(frame):
    long = frame.melt(["line", "rep"], var_name="trait")
    trial = Trial.from_frame(long, line="line", rep="rep", trait="trait", value="value")
    assert trial.envs == (ONE_ENVIRONMENT,)
    np.testing.assert_array_equal(trial.values, frame[["y", "z"]].to_numpy())


@pytest.mark.parametrize(
    "name", ["env", "Environment", "site", "Location", "year", "season_2", "Trial_ID", "locationName", "studyYear"]
)
def test_a_column_that_tells_environments_apart(frame, tmp_path, capsys, name):
    frame[name] = ["E", "F"] * 2
    words = rf"No column of environments is named, but the table has the column '{name}' with 2 different .* \(in the"
    with pytest.raises(DataError, match=words):
        Trial.from_frame(frame, line="line", rep="rep", traits="y")
    frame.to_csv(tmp_path / "y.csv", index=False)
    shell = ["check", str(tmp_path / "y.csv"), "--line", "line", "--rep", "rep", "--traits", "y"]
    assert main(shell) == 3
    assert f"y.csv has the column '{name}' with 2 different entries ('E', 'F')" in capsys.readouterr().err
    assert main([*shell, "--env", name]) == 0
    frame[name] = "E"  # the same throughout
    frame.loc[1, name] = None
    assert Trial.from_frame(frame, line="line", rep="rep", traits="y").envs == (ONE_ENVIRONMENT,)


def test_a_column_with_another_role(frame):
    years = frame.rename(columns={"rep": "year"})
    assert Trial.from_frame(years, line="line", rep="year", traits=["y"]).envs == (ONE_ENVIRONMENT,)


def test_the_name_of_the_column_is_free(frame):
    frame[ONE_ENVIRONMENT] = [1.0, 2.0, 3.0, 5.0]
    trial = Trial.from_frame(frame, line="line", rep="rep", traits=[ONE_ENVIRONMENT])
    assert (trial.envs, trial.traits) == ((ONE_ENVIRONMENT,), (ONE_ENVIRONMENT,))
    np.testing.assert_array_equal(trial.values[:, 0], [1, 2, 3, 5])


def test_in_the_shell(frame, tmp_path, capsys):
    frame["y"] = ["1.5", "2.5", "x", "4"]
    frame.to_csv(tmp_path / "y.csv", index=False)
    shell = ["check", str(tmp_path / "y.csv"), "--line", "line", "--rep", "rep", "--traits", "y,z"]
    assert main(shell) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "2 lines, 1 environment (all), 2 traits (y, z)" in said
    assert "1 value that is no number, such as 'x'" in said
